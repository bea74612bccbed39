"""What a mistyped path may have meant."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from memstore.repository import Repository

COMPARED: Final = 5000
"""Paths of a history that are compared letter by letter, which takes 60 µs each; of a longer one only those of the
same last name are looked at."""
_ALIKE: Final = 0.75
"""Share of letters that two paths must have in common, as `difflib` counts."""


def similar(repository: Repository, path: str) -> list[str]:
    """The paths of history, two at most, that are most like one that is nowhere."""
    db = repository.catalogue.db
    name = path.rpartition("/")[2]
    if not name:
        return []
    rows = db.execute(
        "SELECT name FROM paths WHERE lower(name) IN (lower(:path), lower(:name)) "
        "OR substr(lower(name), -length(:name) - 1) = '/' || lower(:name) ORDER BY length(name), name LIMIT 2",
        {"path": path, "name": name},
    ).fetchall()
    if rows or db.execute("SELECT count(*) FROM paths").fetchone()[0] > COMPARED:
        return [row[0] for row in rows]
    from difflib import get_close_matches

    known: dict[str, str] = {}
    for (there,) in db.execute("SELECT name FROM paths"):
        form = there.casefold()  # of which what was left out when typing is left out
        if "/" not in path:
            form = form.rpartition("/")[2]
        if "." not in name:
            form = os.path.splitext(form)[0]
        known.setdefault(form, there)
    return [known[found] for found in get_close_matches(path.casefold(), known, n=2, cutoff=_ALIKE)]
