"""Erasing: files of the mirror that hold what was forgotten go for ever, wherever they lie and whoever put them.

A file in the trash is no exception, nor is one that a person copied there, as far as this login sees it. Where a
remote keeps earlier revisions of a file that goes on with other bytes, those that hold it go as well.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, NamedTuple

from memstore.errors import BadInput, Conflict, RemoteMissing
from memstore.ids import ContentId
from memstore.manifest.removed import forgotten, is_forgotten
from memstore.mirror.known import Foreign, content_of, forget, is_in_history
from memstore.mirror.plan import Mirrored
from memstore.progress import Progress
from memstore.remotes.base import MirrorFile, MirrorTarget

if TYPE_CHECKING:
    from memstore.repository import Repository


class Doomed(NamedTuple):
    """A content that is to go."""

    content: ContentId
    size: int
    md5: str | None
    """Hex digits; None where nobody could read it any more."""


class Erased(NamedTuple):
    files: int
    revisions: int
    left: tuple[str, ...]
    """Paths of files that somebody changed at that very moment: another run looks again."""
    changed: tuple[str, ...] = ()
    """Paths of files that held one of them until a person changed them: other bytes, which may hold it still."""
    strange: tuple[str, ...] = ()
    """Paths of files that no version has, and of which nothing is known here, where another device had put one of
    them."""


def erase(
    repository: Repository,
    target: MirrorTarget,
    doomed: Sequence[Doomed],
    paths: Collection[str],
    progress: Progress,
) -> Erased:
    """Look through the whole mirror, `Archive/` included. `paths` are those that ever held one of them: files
    there, and what became of such files, may have earlier revisions with it."""
    by_id = {row.content: row for row in doomed}
    sums = {row.md5: row for row in doomed if row.md5 is not None}
    sizes = {row.size for row in doomed}
    files = revisions = 0
    left: list[str] = []
    handles = _handles(repository, paths)
    others: list[MirrorFile] = []
    progress.begin("looking through the mirror", 0, "files")
    try:
        for seen in [*target.walk(trashed=True), *_elsewhere(repository, target, by_id)]:
            progress.advance(1)
            try:
                if _holds(target, seen, by_id, sums, sizes):
                    target.erase(seen)
                    files += 1
                    continue
                if seen.path in paths and not seen.trashed:
                    others.append(seen)
                if seen.md5 is not None and (seen.handle in handles or _may_descend(seen.path, paths)):
                    revisions += target.drop_revisions(seen, sums.keys())
            except (Conflict, BadInput):  # a name that only a person's program could give
                left.append(seen.path)
            except RemoteMissing:
                continue  # gone meanwhile
    finally:
        progress.end()
    strange = _of_nobody(repository, target, others)
    changed = _changed_by_hand(repository, target, by_id)
    return Erased(files, revisions, tuple(left), tuple(changed), tuple(strange))


def erase_ours(repository: Repository, target: MirrorTarget) -> list[str]:
    """Files that this device put there or knows of, before it heard that what they hold was forgotten: they go at
    once, also while the mirror waits for a merge. A note for each."""
    told = forgotten(repository.catalogue, repository.reader)
    if not told:
        return []
    rows = _noted(repository, told)
    notes = []
    there = target.look([(row.path, row.handle or None) for row in rows]) if rows else ()
    for row, seen in zip(rows, there, strict=True):
        if seen is not None:
            if content_of(repository, target, seen, row) != row.content:
                continue  # another device or a person has been there: the next step at this path sees to it
            target.erase(seen)
            notes.append(f"{seen.path} in the mirror held what was forgotten; it was removed there")
        forget(repository, row.path)
    return notes


def erase_foreign(
    repository: Repository, target: MirrorTarget, foreign: Sequence[Foreign]
) -> tuple[list[Foreign], list[str]]:
    """Of files that somebody else put into the mirror, those that hold something forgotten go, and are not brought
    home: (the others, a note for each)."""
    others: list[Foreign] = []
    notes: list[str] = []
    for item in foreign:
        if not is_forgotten(repository.catalogue, repository.reader, ContentId.of(item.content)):
            others.append(item)
            continue
        target.erase(item.seen)
        forget(repository, item.path)
        notes.append(f"{item.seen.path} in the mirror held what was forgotten; it was removed there")
    return others, notes


def _holds(
    target: MirrorTarget,
    seen: MirrorFile,
    by_id: dict[ContentId, Doomed],
    sums: dict[str, Doomed],
    sizes: set[int],
) -> bool:
    """Whether a file has the bytes of one of them now."""
    if seen.md5 is None:  # a folder: only its bytes tell
        return seen.size in sizes and ContentId.of(target.fetch(seen.handle, seen.size)) in by_id
    if seen.md5 in sums:
        return sums[seen.md5].size == seen.size
    if seen.md5 != seen.notes.get("md5"):
        return False
    try:
        return ContentId.from_hex(seen.notes.get("content", "")) in by_id
    except ValueError:
        return False


def _noted(repository: Repository, contents: Collection[ContentId]) -> list[Mirrored]:
    """The files of the mirror that held one of them when they were looked at last."""
    return [
        Mirrored(path, ContentId(content), size, handle, stamp)
        for path, content, size, handle, stamp in repository.catalogue.db.execute(
            "SELECT path, content, size, coalesce(handle, path), stamp FROM mirror ORDER BY path"
        ).fetchall()
        if content in contents
    ]


def _of_nobody(repository: Repository, target: MirrorTarget, others: Sequence[MirrorFile]) -> list[str]:
    """Of files at paths that held one of them, those of which nothing is known here, because another device put them
    there, and which no version has: a person's. Where HEAD has the path, a push brings them home anyway."""
    found = []
    for seen in others:
        row = repository.catalogue.db.execute("SELECT 1 FROM mirror WHERE path = ?", (seen.path,)).fetchone()
        if row is not None or repository.catalogue.tree_entry(seen.path) is not None:
            continue
        if seen.md5 is not None:
            ours = seen.md5 == seen.notes.get("md5")
        else:
            ours = is_in_history(repository, seen.path, ContentId.of(target.fetch(seen.handle)))
        if not ours:
            found.append(seen.path)
    return found


def _changed_by_hand(
    repository: Repository, target: MirrorTarget, contents: Collection[ContentId]
) -> list[str]:
    """Where those that are there still lie; they stay noted, for the next push to bring them home. The others are
    forgotten: they went, or another device has put something else there."""
    rows = _noted(repository, contents)
    there = target.look([(row.path, row.handle or None) for row in rows]) if rows else ()
    changed = []
    for row, seen in zip(rows, there, strict=True):
        if seen is not None and content_of(repository, target, seen, row) is None:
            changed.append(seen.path)
        else:
            forget(repository, row.path)
    return changed


def _handles(repository: Repository, paths: Collection[str]) -> set[str]:
    """By what the remote knows the mirror's files of these paths, also where a person gave them other names."""
    rows = repository.catalogue.db.execute("SELECT path, handle FROM mirror WHERE handle IS NOT NULL")
    return {handle for path, handle in rows if path in paths}


def _elsewhere(
    repository: Repository, target: MirrorTarget, by_id: Collection[ContentId]
) -> Sequence[MirrorFile]:
    """Files that memsync put there and a person moved out of the mirror."""
    rows = [
        (path, handle)
        for path, handle, content in repository.catalogue.db.execute(
            "SELECT path, handle, content FROM mirror WHERE handle IS NOT NULL"
        ).fetchall()
        if content in by_id
    ]
    if not rows:
        return []
    return [seen for seen in target.look(rows) if seen is not None and seen.trashed]


def _may_descend(path: str, paths: Collection[str]) -> bool:
    """Whether a file of the mirror is one of these paths', or has an archive name of one."""
    if path in paths:
        return True
    if not path.startswith("Archive/"):
        return False
    below = path.removeprefix("Archive/")
    return any(below.startswith(_stem(one) + "_") for one in paths)


def _stem(path: str) -> str:
    folder, slash, name = path.rpartition("/")
    stem, dot, _ = name.rpartition(".")
    return f"{folder}{slash}{stem if dot and stem else name}"
