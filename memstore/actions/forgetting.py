"""The record of a forget that is under way: `.memsync/forgetting`, written before anything goes.

What is forgotten can't be asked any more what it was, so all that later steps need to know of it stands here: its
size and MD5, by which copies in the mirror are found, and the pieces that were its alone. While the file is there
the forget is not finished, and running it again goes on.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final, NamedTuple

from memstore import files
from memstore.actions.leaving import leaving
from memstore.actions.unfinished import FORGETTING
from memstore.errors import DamagedData
from memstore.ids import ContentId
from memstore.manifest.removed import forgotten
from memstore.mirror.erase import Doomed

if TYPE_CHECKING:
    from memstore.reports import Forgotten
    from memstore.repository import Repository

FORMAT: Final = 1


class Intent(NamedTuple):
    contents: tuple[Doomed, ...] = ()
    objects: frozenset[ContentId] = frozenset()
    """The contents, the pieces that only they have, and the dictionaries that may hold bytes of them."""
    paths: frozenset[str] = frozenset()
    """All that held one of them in some version."""

    def joined(self, other: Intent) -> Intent:
        """Both; of a content that both know, what the first says, unless only the other knows its MD5."""
        rows = {row.content: row for row in other.contents}
        for row in self.contents:
            if row.md5 is not None or row.content not in rows:
                rows[row.content] = row
        known = tuple(rows[content] for content in sorted(rows))
        return Intent(known, self.objects | other.objects, self.paths | other.paths)


def intent(repository: Repository, contents: Iterable[Forgotten]) -> Intent:
    """What is to be known of these contents, read while they are still here."""
    rows = [*contents]
    gone = forgotten(repository.catalogue, repository.reader)
    doomed = tuple(
        Doomed(row.content, row.size, None if row.content in gone else _md5(repository, row.content))
        for row in rows
    )
    ids = frozenset(row.content for row in rows)
    parts = leaving(repository, ids, None).objects
    return Intent(doomed, ids | parts, frozenset(path for row in rows for path in row.paths))


def load(repository: Repository) -> Intent:
    """Of an earlier forget that was not finished; empty where there is none. Raises `DamagedData`."""
    path = _path(repository)
    try:
        facts = json.loads(files.read(path))
        return Intent(
            tuple(
                Doomed(ContentId.from_hex(row["content"]), int(row["size"]), row["md5"])
                for row in facts["contents"]
            ),
            frozenset(ContentId.from_hex(id) for id in facts["objects"]),
            frozenset(str(path) for path in facts["paths"]),
        )
    except FileNotFoundError:
        return Intent()
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise DamagedData(
            f"{path} cannot be read: {error}",
            hint="remove it, and run the 'memsync forget' again with the same names: what is forgotten stays so",
        ) from error


def save(repository: Repository, what: Intent) -> None:
    """Durable when this returns."""
    facts = {
        "format": FORMAT,
        "contents": [
            {"content": str(row.content), "size": row.size, "md5": row.md5} for row in what.contents
        ],
        "objects": sorted(bytes(id).hex() for id in what.objects),
        "paths": sorted(what.paths),
    }
    files.write_atomic(_path(repository), (json.dumps(facts, indent=1) + "\n").encode())


def close(repository: Repository) -> None:
    """The forget is finished."""
    if files.exists(_path(repository)):
        files.remove(_path(repository))
        files.sync_dir(repository.state)


def _md5(repository: Repository, content: ContentId) -> str | None:
    digest = hashlib.md5(usedforsecurity=False)
    try:
        for piece in repository.stream(content):
            digest.update(piece)
    except DamagedData:
        return None
    return digest.hexdigest()


def _path(repository: Repository) -> str:
    return os.path.join(repository.state, FORGETTING)
