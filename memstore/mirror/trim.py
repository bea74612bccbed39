"""Trimming the mirror's `Archive/`: what a collection let go leaves it as well.

What lies there is the readable side of the archive references: an automatic one lasts as long as the rules keep what
it stands for, and what `memsync archive` put away stays with its content. Only files that bear the name of a
reference, and hold to the byte what was removed, are touched.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from memstore.errors import BadInput, Conflict, RemoteMissing
from memstore.ids import ContentId
from memstore.manifest.records import sizes_of
from memstore.manifest.references import FOLDER, looks_like_one
from memstore.progress import Progress
from memstore.remotes.base import MirrorFile, MirrorTarget

if TYPE_CHECKING:
    from memstore.repository import Repository


def trim(
    repository: Repository, target: MirrorTarget, removed: Collection[ContentId], progress: Progress
) -> int:
    """Remove files of the mirror's `Archive/` that hold one of these contents; how many went."""
    if not removed:
        return 0
    sizes = sizes_of(repository.catalogue, removed)
    gone = 0
    progress.begin("looking through the mirror's archive", 0, "files")
    try:
        for seen in [*target.walk(FOLDER.rstrip("/"))]:
            progress.advance(1)
            if (
                looks_like_one(seen.path)
                and seen.size in sizes
                and not _is_a_file_of_data(repository, seen.path)
                and _content(target, seen) in removed
            ):
                try:
                    target.remove(seen)
                    gone += 1
                except (BadInput, Conflict, RemoteMissing):
                    continue  # somebody was there at this very moment: the next collection looks again
    finally:
        progress.end()
    return gone


def _content(target: MirrorTarget, seen: MirrorFile) -> ContentId | None:
    """What an untouched file holds; None if a person changed it, or it is gone."""
    if seen.md5 is not None:
        if seen.md5 != seen.notes.get("md5"):
            return None
        try:
            return ContentId.from_hex(seen.notes["content"])
        except (KeyError, ValueError):
            return None
    try:
        return ContentId.of(target.fetch(seen.handle))
    except (BadInput, RemoteMissing):
        return None


def _is_a_file_of_data(repository: Repository, path: str) -> bool:
    """Whether `Data/Archive/` has, or had when the mirror was made, a real file of that name."""
    query = (
        "SELECT EXISTS (SELECT 1 FROM tree WHERE path = ?1) OR EXISTS (SELECT 1 FROM mirror WHERE path = ?1)"
    )
    return bool(repository.catalogue.db.execute(query, (path,)).fetchone()[0])
