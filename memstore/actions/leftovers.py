"""What killed processes and repairs left lying: no version needs it, and any of it may hold what was forgotten.

Files in `torn/` that hold a record of it, half-written packs, segments and files of `Data/`, and copies of a remote
that a `verify` read. It goes where something is forgotten, and on every other device as soon as that hears of it. A
process that is at work on such a file at that very moment makes it once more.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING, Final

from blake3 import blake3

from memstore import files, trees
from memstore.actions.seal import sweep
from memstore.ids import ID_BYTES, ContentId
from memstore.repository import TORN_NAME
from memstore.worktree import materialise
from memstore.worktree.names import problem

if TYPE_CHECKING:
    from memstore.repository import Repository

SCRATCH: Final = "verify-"
"""What the names of folders in `.memsync` begin with into which a remote is read."""
_CLEARED: Final = "leftovers cleared"
"""A fact: a hash of the contents that were forgotten when all this was gone through last."""
_PIECE: Final = 1 << 20


def erase(repository: Repository, ids: Collection[ContentId], paths: Iterable[str]) -> int:
    """Remove all of it that holds, or may hold, one of these contents, which `paths` held; how many files there were
    in `torn/`. For the holder of the store's lock."""
    torn = erase_torn(repository, ids)
    sweep(repository, 0)
    if os.path.isdir(repository.workspace.data):
        folders = {path.rpartition("/")[0] for path in paths}
        kept = [folder for folder in folders if not folder or problem(folder) is None]
        materialise.sweep_temporaries(repository.workspace.data, kept)
    for name in files.names(repository.state):
        if name.startswith(SCRATCH):
            trees.remove(os.path.join(repository.state, name))
    return torn


def erase_if_new(repository: Repository, told: Collection[ContentId], objects: Collection[ContentId]) -> None:
    """The same on a device that may just have heard of it: where some of `told`, all that was forgotten, was not when
    this was done last. `objects` are what left the packs here just now, pieces of large files as well."""
    digest = blake3(b"".join(sorted(told))).hexdigest()
    if not objects and repository.catalogue.fact(_CLEARED) == digest:
        return
    erase(repository, {*told, *objects}, (row[0] for row in _paths(repository)))
    repository.catalogue.set_fact(_CLEARED, digest)


def erase_torn(repository: Repository, ids: Collection[ContentId]) -> int:
    """Remove the files in `torn/` that hold a record of one of them; how many. A record says its content's id in
    its first bytes, whatever became of the rest of the file."""
    folder = os.path.join(repository.state, TORN_NAME)
    count = 0
    for name in files.names(folder):
        path = os.path.join(folder, name)
        if os.path.isfile(path) and not os.path.islink(path) and _names_any(path, ids):
            files.remove(path)
            count += 1
    if count:
        files.sync_dir(folder)
    return count


def _names_any(path: str, ids: Collection[ContentId]) -> bool:
    wanted = [bytes(id) for id in ids]
    descriptor = files.open_read(path)
    try:
        offset, before = 0, b""
        while piece := files.read_at(descriptor, offset, _PIECE):
            window = before + piece
            if any(id in window for id in wanted):
                return True
            before = piece[-ID_BYTES:]
            offset += len(piece)
    finally:
        os.close(descriptor)
    return False


def _paths(repository: Repository) -> Iterable[tuple[str]]:
    """Every path of history: a half-written file lies beside its place, whichever of them that was."""
    return repository.catalogue.db.execute("SELECT name FROM paths")
