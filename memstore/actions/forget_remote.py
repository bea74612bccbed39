"""forget's remote half: what others have sent is fetched first; then what stays is sent, the packs that hold what was
forgotten are deleted there, and the mirror is gone through. Trouble leaves the record (`forgetting.py`) in place.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from memstore.actions import collection, fetch, forgetting, push, remote_state
from memstore.actions.expunge import expunge
from memstore.actions.forgetting import Intent
from memstore.actions.leaving import incomplete
from memstore.actions.remote_state import RemoteState
from memstore.errors import BadInput, MemsyncError, RemoteMissing
from memstore.identity import StoreFormat
from memstore.ids import ContentId
from memstore.manifest.removed import in_force
from memstore.mirror import erase as mirror_erase
from memstore.objects.catalogue import key_of
from memstore.objects.pack import read_tail
from memstore.objects.record import RecordKind
from memstore.progress import Progress
from memstore.remotes.base import OpenRemote, Remote, RemoteFile
from memstore.reports import ForgetReport
from memstore.worktree.names import shown

if TYPE_CHECKING:
    from memstore.repository import Repository

ROUNDS: Final = 4
"""Times that the remote is looked at again: another device may push what it had at the very moment."""


def fetch_all(
    repository: Repository, open_remote: Callable[[], OpenRemote] | None, progress: Progress
) -> MemsyncError | None:
    """Everything that others have sent: what they gave a path is forgotten with it. What went wrong."""
    if open_remote is None:
        return None
    with push.one_push(repository):
        repository.refresh()
        try:
            remote = open_remote()
            try:
                if _is_there(repository, remote):
                    _learn(repository, remote, progress)
            finally:
                remote.close()
        except MemsyncError as error:
            return error
    return None


def _is_there(repository: Repository, remote: OpenRemote) -> bool:
    """Whether anything was ever pushed there. Raises `BadInput` for the remote of another store, and `RemoteMissing`
    where one that was there is not, a disk that is not mounted say."""
    try:
        remote.prepare(create=False)
        theirs = StoreFormat.parse(remote.read("format"), remote.url)
    except RemoteMissing:
        state = remote_state.load(repository)
        if state is not None and state.store is not None:
            raise
        return False
    if theirs.store != repository.format.store:
        raise BadInput(
            f"{remote.url} belongs to another store", hint="choose another with 'memsync remote set URL'"
        )
    return True


def _learn(repository: Repository, remote: OpenRemote, progress: Progress) -> RemoteState:
    state = remote_state.load(repository)
    assert state is not None
    _, listed = fetch.look_at_heads(remote)
    state, _ = collection.learn(state, remote, listed)
    counting = fetch.fetch_what_counts(repository, state, remote, progress)
    store = repository.format.store.hex()
    return remote_state.save(repository, remote_state.with_sent(replace(state, store=store), counting))


def everywhere(
    repository: Repository,
    what: Intent,
    open_remote: Callable[[], OpenRemote],
    done: ForgetReport,
    error: MemsyncError | None,
    progress: Progress,
) -> ForgetReport:
    """The remote's half, and the end of the record where all of it succeeded."""
    state = remote_state.load(repository)
    assert state is not None
    packs, files, mirror, notes = 0, 0, mirror_erase.Erased(0, 0, ()), list(done.notes)
    finished = False
    try:
        if error is not None:
            raise error
        packs, files, finished = _from_packs(repository, what, open_remote, progress)
        if not finished:
            notes.append(
                "another device goes on sending what was forgotten: run it again when that has ended"
            )
        mirror = _from_mirror(repository, what, open_remote, progress)
        if mirror.left:
            finished = False
            notes.append(f"{', '.join(mirror.left[:3])} changed at that very moment: run it again")
        error = None
    except MemsyncError as trouble:
        error, finished = trouble, False
    if finished:
        forgetting.close(repository)
    else:
        notes.append("what is here is gone; the remote is not through: 'memsync forget --everywhere' goes on")
    return done._replace(
        remote=state.url,
        remote_packs=packs,
        mirror_files=files + mirror.files,
        revisions=mirror.revisions,
        notes=tuple(notes),
        warnings=(
            *done.warnings,
            *(_may_hold(path, state.url) for path in mirror.changed),
            *(_strange(path, state.url) for path in mirror.strange),
        ),
        error=None if error is None else error.as_json(),
        exit_code=error.exit_code if error is not None else 0 if finished else 1,
    )


def _from_packs(
    repository: Repository, what: Intent, open_remote: Callable[[], OpenRemote], progress: Progress
) -> tuple[int, int, bool]:
    """Push what stays, which deletes the old packs there, until none of those that lie there holds it: (packs and
    files of the mirror deleted, whether none holds it)."""
    deleted = files = 0
    for number in range(ROUNDS):
        found = _bring(repository, what, open_remote, progress)
        if found is None:
            return deleted, files, True  # nothing was ever pushed
        state = remote_state.load(repository)
        assert state is not None
        if number and not found and not state.erase:
            return deleted, files, True
        report = push.push(repository, state, open_remote, mirror=False, progress=progress)
        deleted += report.erased
        files += report.erased_files
        if report.error is not None:
            raise _as_error(report.error, report.exit_code)
    return deleted, files, False


def _bring(
    repository: Repository, what: Intent, open_remote: Callable[[], OpenRemote], progress: Progress
) -> int | None:
    """Fetch the packs there that hold it and are not here, those that do not count any more as well, and let it leave
    them here: how many were written anew; None where there is no store on the remote."""
    with push.one_push(repository):
        repository.refresh()
        remote = open_remote()
        try:
            if not _is_there(repository, remote):
                return None
            state = _learn(repository, remote, progress)
            known = {*repository.catalogue.places(), *state.erase}
            if incomplete(repository, in_force(repository.catalogue, repository.reader)):
                # Somebody has leant on it just now: once more what is about to be deleted, to encode that anew.
                known -= set(state.erase)
            for file in remote.list("packs/"):
                if file.name.rpartition("/")[2] not in known and _holds(remote, file, what.objects):
                    fetch.fetch_pack(repository.state, remote, file, progress)
        finally:
            remote.close()
        repository.refresh()
        with repository.writing() as writer:
            return expunge(repository, writer, remote_state.load(repository), what.objects).packs


def _holds(remote: Remote, file: RemoteFile, objects: Iterable[ContentId]) -> bool:
    """Whether the pack's index names one of them."""
    keys = {key_of(id) for id in objects}
    ids = {bytes(id) for id in objects}
    try:
        tail = read_tail(
            lambda offset, length: remote.read(file.name, offset, length),
            file.size,
            f"pack {file.name[6:18]}",
        )
    except RemoteMissing:
        return False
    return any(key_of(entry.key) in keys for entry in tail.entries) or any(
        row.header.kind == RecordKind.RECIPE and row.header.id in ids for row in tail.metadata
    )


def _from_mirror(
    repository: Repository, what: Intent, open_remote: Callable[[], OpenRemote], progress: Progress
) -> mirror_erase.Erased:
    with push.one_push(repository):
        repository.refresh()
        remote = open_remote()
        try:
            if not _is_there(repository, remote):
                return mirror_erase.Erased(0, 0, ())
            remote.sweep()
            erased = mirror_erase.erase(repository, remote, what.contents, what.paths, progress)
        finally:
            remote.close()
        state = remote_state.load(repository)
        if erased.changed and state is not None:  # though HEAD is as it was, the next push is to look at them
            remote_state.save(repository, replace(state, mirrored=None))
        return erased


def _may_hold(path: str, where: str) -> str:
    """The warning for a file that a person made of one that held it."""
    return (
        f"{shown(path)} on {where} was changed by hand from what was forgotten, and the change stays: it may hold it "
        "still. Delete it there; or run 'memsync push', which brings it here, and then the 'memsync forget' that this "
        "names"
    )


def _strange(path: str, where: str) -> str:
    """The warning for a file that lies where another device had put what was forgotten, and is nobody's version."""
    return (
        f"{shown(path)} on {where} has bytes that no version has, at a path that held what was forgotten: it may hold "
        "it still. Look at it, and delete it there"
    )


def _as_error(told: dict[str, object], exit_code: int) -> MemsyncError:
    error = MemsyncError(str(told["message"]), hint=str(told["hint"]), code=str(told["code"]))
    error.exit_code, error.retryable = exit_code, bool(told["retryable"])
    return error
