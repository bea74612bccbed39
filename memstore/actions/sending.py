"""Packs on their way to the remote: each is held against its name before it goes.

Under the name of a good pack a damaged one would stand in the way of every clone, and of that good one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from memstore import files
from memstore.actions import remote_state
from memstore.actions.remote_state import RemoteState
from memstore.actions.unsent import unsent_packs
from memstore.errors import DamagedData, MemsyncError, StoreLocked
from memstore.progress import SILENT, Progress
from memstore.remotes.base import FileSource, Remote, ToldSource

if TYPE_CHECKING:
    from memstore.repository import Repository

TRIES: Final = 3
"""Packs here may be written anew while they are sent; more often than that somebody else is at work."""


def send_packs(
    repository: Repository,
    state: RemoteState,
    remote: Remote,
    sent: Callable[[int], None],
    progress: Progress,
) -> RemoteState:
    """Send what is not there: the state as it was saved. `sent` is called for each pack that lies there now, with the
    number of its data records. A pull in another process may write a pack anew meanwhile, without what was forgotten:
    then what took its place goes.

    Raises `DamagedData` for a pack whose bytes are not what its name says; nothing of it was sent.
    """
    for _ in range(TRIES):
        pending = unsent_packs(repository, state)
        progress.begin("sending", sum(size for _, _, size, _ in pending), "B")
        try:
            for name, path, _, objects in pending:
                try:
                    _send(remote, name, path, progress)
                except (FileNotFoundError, MemsyncError):
                    if files.exists(path):
                        raise
                    break
                state = remote_state.save(repository, remote_state.just_sent(state, name))
                sent(objects)
            else:
                return state
        finally:
            progress.end()
        repository.refresh()
        state = remote_state.load(repository) or state
    raise StoreLocked(
        "the packs here were written anew again and again while they were sent",
        hint="wait for the other memsync commands of this workspace to end, then run 'memsync push' again",
    )


def _send(remote: Remote, name: str, path: str, progress: Progress) -> None:
    from memstore.actions.verify import hash_pack

    if hash_pack(path, SILENT) != name:
        raise DamagedData(
            f"pack {name[:12]} is damaged here, and was not sent: its bytes do not match its name",
            hint="run 'memsync repair', then 'memsync push' again",
        )
    source = ToldSource(FileSource(path), progress.advance)
    remote.create(f"packs/{name}", source)
    source.finish()
