"""Archive references: names for what a path held before. They are no files and no objects, only names that
a version's change carries; the catalogue finds them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final, NamedTuple

from memstore.ids import ContentId, VersionId
from memstore.manifest.history import archived_name
from memstore.manifest.version import Change, ChangeKind, Entry, Kind, archive_name, archive_name_with
from memstore.objects.catalogue import Catalogue

FOLDER: Final = "Archive/"
_STAMP: Final = re.compile(r"_(\d{4})-(\d\d)-(\d\d)T(\d\d)-(\d\d)-(\d\d)Z(~[0-9a-f]{8})?")


class Reference(NamedTuple):
    """One archive reference, resolved."""

    name: str
    path: str
    """Where it came from."""
    entry: Entry
    """What the path held."""
    version: VersionId
    """The version that recorded the reference."""


class References:
    """Gives the changes of one version their references, each with a name that no other content has."""

    def __init__(self, catalogue: Catalogue, time_ms: int) -> None:
        self._catalogue = catalogue
        self._time_ms = time_ms
        self._taken: dict[str, ContentId] | None = None

    def given_to(self, change: Change) -> Change:
        """The change with `archived_as`, where it replaced, deleted or archived something."""
        if change.change not in (ChangeKind.REPLACE, ChangeKind.DELETE, ChangeKind.ARCHIVE):
            return change
        row = self._catalogue.tree_entry(change.path)
        if row is None:
            return change
        content = ContentId(row[2])
        name = archive_name(change.path, self._time_ms)
        taken = self._names_taken()
        if taken.get(name.casefold(), content) != content:
            name = archive_name_with(change.path, self._time_ms, content)
        taken[name.casefold()] = content
        return change._replace(archived_as=name)

    def _names_taken(self) -> dict[str, ContentId]:
        """Names of the same second, and real files in `Data/Archive/`, case-folded: name → content."""
        if self._taken is None:
            second = self._time_ms - self._time_ms % 1000
            self._taken = {
                reference.name.casefold(): reference.entry.content
                for reference in between(self._catalogue, second, second + 999)
            }
            # Any spelling of `Archive/` is the same folder on a disk that folds case.
            rows = self._catalogue.db.execute(
                "SELECT path, content FROM tree WHERE path >= 'A' AND path < 'b' AND path LIKE 'archive/%'"
            )
            for path, content in rows:
                self._taken.setdefault(path.casefold(), ContentId(content))
        return self._taken


def between(catalogue: Catalogue, first_ms: int, last_ms: int) -> Iterator[Reference]:
    """The references that versions of those times recorded, both ends included."""
    rows = catalogue.db.execute(
        "SELECT seq, id, time, parent, name, archived FROM versions "
        "CROSS JOIN changes USING (seq) CROSS JOIN paths USING (path) "
        "WHERE time BETWEEN ? AND ? AND archived IS NOT NULL",
        (first_ms, last_ms),
    ).fetchall()
    yield from _resolved(catalogue, rows)


def under(catalogue: Catalogue, folder: str = "") -> Iterator[Reference]:
    """Every reference whose name lies under `folder` (`Archive/…`), sorted by name."""
    rows = catalogue.db.execute(
        "SELECT seq, id, time, parent, name, archived FROM changes "
        "CROSS JOIN versions USING (seq) CROSS JOIN paths USING (path) WHERE archived IS NOT NULL"
    ).fetchall()
    folder = folder.rstrip("/")
    named = [(archived_name(row[4], row[2], row[5]) or "", row) for row in rows]
    chosen = [
        (name, row) for name, row in named if not folder or name == folder or name.startswith(folder + "/")
    ]
    yield from _resolved(
        catalogue, [row for _, row in sorted(chosen, key=lambda item: (item[0], item[1][0]))]
    )


def find(catalogue: Catalogue, name: str) -> list[Reference]:
    """The references of that very name; more than one only where devices that worked apart gave it twice."""
    if not name.startswith(FOLDER):
        return []
    found: dict[ContentId, Reference] = {}
    for match in _STAMP.finditer(name):
        year, month, day, hour, minute, second = (int(part) for part in match.groups()[:6])
        instant = _epoch_ms(year, month, day, hour, minute, second)
        if instant is not None:
            for reference in between(catalogue, instant, instant + 999):
                if reference.name == name:
                    found.setdefault(reference.entry.content, reference)
    return list(found.values())


def _epoch_ms(year: int, month: int, day: int, hour: int, minute: int, second: int) -> int | None:
    from datetime import UTC, datetime

    try:
        return int(datetime(year, month, day, hour, minute, second, tzinfo=UTC).timestamp()) * 1000
    except ValueError:
        return None


def _resolved(
    catalogue: Catalogue, rows: list[tuple[int, bytes, int, int | None, str, str]]
) -> Iterator[Reference]:
    for _, id, time_ms, parent, path, archived in rows:
        name = archived_name(path, time_ms, archived)
        before = None if parent is None else catalogue.entry_at(parent, path)
        if name is not None and before is not None:
            kind, size, content, modified = before[:4]
            entry = Entry(path, Kind(kind), size, ContentId(content), modified)
            yield Reference(name, path, entry, VersionId(id))
