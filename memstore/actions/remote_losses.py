"""What other devices brought to a remote and is not here: is it whole, and do packs hold all that heads need?

A device that is gone mends nothing. What it left there, damaged or without its packs, others find by this.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from blake3 import blake3

from memstore import files
from memstore.actions import remote_state
from memstore.actions.fetch import HEADER_SPACE, NEWER
from memstore.entering import versions_in_tail
from memstore.errors import DamagedData, RemoteMissing
from memstore.ids import PackId, VersionId
from memstore.objects.catalogue import PlaceKind, path_of
from memstore.objects.pack import check_header, read_tail
from memstore.progress import SILENT, Progress
from memstore.remotes.base import Remote, RemoteFile

if TYPE_CHECKING:
    from memstore.actions.remote_state import RemoteState
    from memstore.repository import Repository


class Losses(NamedTuple):
    """What a look at the packs of others brought."""

    others: tuple[str, ...]
    """The packs that are not here."""
    damaged: Mapping[str, str]
    """Those of them that are: name → what name their bytes have, '' where nobody asked."""
    lost: tuple[VersionId, ...]
    """Heads that are not known here, and that no pack there holds with all that is before them."""


def look(
    repository: Repository,
    state: RemoteState | None,
    remote: Remote,
    heads: Sequence[VersionId],
    listed: Mapping[str, RemoteFile],
    *,
    read: bool,
    broken: Collection[str] = (),
    progress: Progress = SILENT,
) -> Losses:
    """Look at the end of each pack that is not here, and through all of it (`read`). `heads` must have been listed
    before the packs (invariant 2). What no longer counts there is only asked for versions. `broken` are packs that
    are here and not whole."""
    others = sorted(
        name
        for name in listed
        if _is_pack(name)
        and (name in broken or not files.exists(path_of(repository.state, name, PlaceKind.PACK)))
    )
    idle = set() if state is None else remote_state.fossils(state).union(state.superseded, state.erase)
    damaged: dict[str, str] = {}
    before: dict[VersionId, tuple[VersionId, ...]] = {}
    progress.begin("reading the remote", sum(listed[name].size for name in others), "B")
    try:
        for name in others:
            try:
                before |= _versions(remote, listed[name])
                found = name if name in idle or not read else hash_there(remote, name, progress)
            except RemoteMissing:
                continue  # collected just now
            except DamagedData as error:
                if error.code == NEWER:
                    raise
                found = hash_there(remote, name, progress) if read else ""
                if found == name:
                    found = ""  # rightly named, and no pack
            if found != name and name not in idle:
                damaged[name] = found
    finally:
        progress.end()
    unknown = [head for head in heads if repository.catalogue.seq(head) is None]
    lost = tuple(head for head in unknown if not _is_whole(repository, head, before))
    return Losses(tuple(name for name in others if name not in idle), damaged, lost)


def hash_there(remote: Remote, name: str, progress: Progress = SILENT) -> str:
    """The name that a pack there should have, by its bytes. Raises `RemoteMissing`."""
    hasher = blake3(max_threads=blake3.AUTO)
    for piece in remote.read_stream(f"packs/{name}"):
        hasher.update(piece)
        progress.advance(len(piece))
    return str(PackId(hasher.digest()))


def _is_pack(name: str) -> bool:
    try:
        PackId.from_hex(name)
    except ValueError:
        return False
    return True


def _versions(remote: Remote, file: RemoteFile) -> dict[VersionId, tuple[VersionId, ...]]:
    """The versions that the end of a pack there holds, each with its parents. Raises `DamagedData`."""
    what = f"pack {os.path.basename(file.name)[:12]}"
    check_header(remote.read(file.name, 0, min(HEADER_SPACE, file.size)), what)
    tail = read_tail(lambda offset, length: remote.read(file.name, offset, length), file.size, what)
    return {item.version.id: item.version.parents for item in versions_in_tail(0, tail)}


def _is_whole(
    repository: Repository, head: VersionId, before: Mapping[VersionId, Collection[VersionId]]
) -> bool:
    """Whether all that a version comes from is known here or lies there."""
    todo, seen = [head], set()
    while todo:
        id = todo.pop()
        if id in seen or repository.catalogue.seq(id) is not None:
            continue
        if id not in before:
            return False
        seen.add(id)
        todo += before[id]
    return True
