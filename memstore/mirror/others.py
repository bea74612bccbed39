"""What other devices did to the mirror since this one looked.

Drive has no compare-and-swap: two devices that are at the mirror at the same time may each make a file of one path,
and give both the same archive name. Whoever sees such twins makes one of them again. Which one stays follows from the
files alone, so that several who do this at once never remove both: of a path's the newest, of an archive name's the
oldest, for each other one is touched only beside one that stays. What has a person's bytes is no part of this.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from memstore.errors import Conflict, RemoteMissing
from memstore.ids import ContentId
from memstore.manifest.removed import is_forgotten
from memstore.merging.names import apart
from memstore.mirror.apply import set_aside
from memstore.mirror.departure import ARCHIVE, departure, has_left
from memstore.mirror.known import forget, is_in_history, notes_for, remember
from memstore.remotes.base import MirrorFile, MirrorTarget

if TYPE_CHECKING:
    from memstore.repository import Repository


class _Ours(NamedTuple):
    """A file as some device of ours left it."""

    content: ContentId
    seen: MirrorFile

    @property
    def age(self) -> tuple[int, str]:
        """Sorts the oldest first."""
        return self.seen.made_ms, self.seen.handle


def learn_of_others(repository: Repository, target: MirrorTarget) -> None:
    """Note what other devices did to a mirror that keeps notes: files that they made, refreshed, or moved to
    `Archive/`; and make one of twins. What a person did is left to the steps."""
    there: dict[str, list[_Ours]] = {}
    paths: dict[str, str] = {}
    for seen in target.walk():
        paths[seen.handle] = seen.path
        noted = seen.notes.get("content")
        if seen.trashed or noted is None or seen.md5 is None or seen.md5 != seen.notes.get("md5"):
            continue
        there.setdefault(seen.path, []).append(_Ours(ContentId.from_hex(noted), seen))
    known = set[str]()
    gone = set[str]()
    for path in sorted(there):
        own = [file for file in there[path] if is_in_history(repository, path, file.content)]
        if path.startswith(ARCHIVE):
            _one_of_each_name(
                target, path, [file for file in there[path] if file not in own], bool(own), there
            )
        stays = _one_of_each_path(repository, target, path, own, there)
        if stays is not None:
            remember(repository, path, stays.content, stays.seen)
            known.add(path)
        gone |= {file.seen.handle for file in own if file is not stays}
    rows = repository.catalogue.db.execute("SELECT path, handle FROM mirror").fetchall()
    for path, handle in rows:
        if path not in known and (has_left(path, paths.get(handle, path)) or handle in gone):
            forget(repository, path)


def _one_of_each_path(
    repository: Repository,
    target: MirrorTarget,
    path: str,
    files: Sequence[_Ours],
    there: Mapping[str, Sequence[_Ours]],
) -> _Ours | None:
    """The newest file of a path stays; None if none does. An older one goes to the archive name of what it holds."""
    row = repository.catalogue.tree_entry(path)
    current = None if row is None else ContentId(row[2])
    # A twin of what another device archived goes first, whatever its age.
    left = [
        file
        for file in sorted(files, key=lambda file: file.age)
        if file.content == current or not _leave(repository, target, path, file, there, only_twins=True)
    ]
    for file in left[:-1]:
        _leave(repository, target, path, file, there)
    return left[-1] if left else None


def _leave(
    repository: Repository,
    target: MirrorTarget,
    path: str,
    file: _Ours,
    there: Mapping[str, Sequence[_Ours]],
    *,
    only_twins: bool = False,
) -> bool:
    """Take a file from its path: to its archive name, or to the trash if the same bytes lie there, or stay."""
    left = departure(repository, path, file.content)
    archived = {} if left is None else {other.content for other in there.get(left.name, ())}
    taken = left is not None and (left.content in archived or file.content in archived)
    if only_twins and not taken:
        return False
    with contextlib.suppress(Conflict, RemoteMissing):  # somebody was quicker
        if is_forgotten(repository.catalogue, repository.reader, file.content):
            target.erase(file.seen)
        elif left is None or taken:
            target.remove(file.seen)
        else:
            set_aside(repository, target, left, file.content, file.seen)
    return True


def _one_of_each_name(
    target: MirrorTarget,
    path: str,
    files: Sequence[_Ours],
    taken: bool,
    there: Mapping[str, Sequence[_Ours]],
) -> None:
    """The oldest file of an archive name keeps it, unless `Data/` has a file of that name. Of the others one with
    other bytes is marked as references are, one with the same bytes goes to the trash."""
    kept = set[ContentId]()
    for file in sorted(files, key=lambda file: file.age):
        name = apart(path, file.content)
        with contextlib.suppress(Conflict, RemoteMissing):
            if not kept and not taken:
                pass
            elif file.content in kept or any(other.content == file.content for other in there.get(name, ())):
                target.remove(file.seen)
            else:
                target.move(file.seen, name, notes_for(file.content, file.seen.md5))
        kept.add(file.content)
