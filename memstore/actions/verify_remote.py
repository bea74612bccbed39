"""verify --remote: what lies on the remote, against what was sent there and what a clone would find."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Final, NamedTuple

from blake3 import blake3

from memstore import files, trees
from memstore.actions import collection, fetch
from memstore.actions.leftovers import SCRATCH
from memstore.actions.remote_losses import look
from memstore.actions.remote_state import FILL, MEND, RemoteState, head_ids
from memstore.actions.verify import hash_pack, paths_in, verify
from memstore.errors import BadInput, DamagedData, RemoteMissing, RemoteTrouble
from memstore.identity import StoreFormat
from memstore.ids import PackId, VersionId
from memstore.objects.catalogue import PlaceKind, path_of
from memstore.progress import SILENT, Progress
from memstore.remotes.base import BytesSource, FileSource, Remote, RemoteFile
from memstore.reports import Problem, counted
from memstore.repository import Repository
from memstore.workspace import Paths, Workspace

DAMAGED_HERE: Final = (
    "pack {} is damaged here, so it says nothing about the one on the remote: 'memsync verify --remote --read-data' "
    "reads that one"
)


class Found(NamedTuple):
    """What a look at a remote brought."""

    problems: list[Problem]
    notes: list[str]


def verify_remote(
    repository: Repository,
    state: RemoteState,
    remote: Remote,
    *,
    read_data: bool = False,
    progress: Progress = SILENT,
) -> Found:
    """Compare the remote's listing with what was sent: names, sizes, md5 where the remote knows it; and see whether
    its format is ours. A pack that is damaged here is no measure of the one there. Raises `BadInput` for the format
    of a newer memsync. `read_data` downloads every pack and decodes all that is in it.

    What a collection took that this device has not taken note of yet is no fault: it is noted."""
    remote.prepare(create=False)
    problems: list[Problem] = []
    notes: list[str] = []
    marked = remote.list("heads/")
    heads = [file for file in marked if head_ids([file.name])]
    listed = {file.name.rpartition("/")[2]: file for file in remote.list("packs/")}
    hint = MEND if listed or heads else FILL
    if read_data or remote.listing_is_free or not _lists_our_format(repository, remote):
        problems += _check_format(repository, remote, bool(heads or listed))
    if read_data or remote.listing_is_free:
        problems += _check_heads(remote, heads)
    missing = sorted(set(state.sent) - set(listed))
    if missing and is_news(state, marked):
        notes.append(
            f"{counted(len(missing), 'pack')} less on the remote since another device's 'memsync gc' or 'forget': "
            "that is no damage; the next 'memsync push' here takes note of it"
        )
    else:
        problems += [
            Problem("remote_missing_pack", name, paths_in(repository, name), hint) for name in missing
        ]
    places = repository.catalogue.places()
    for name, file in sorted(listed.items()):
        path = path_of(repository.state, name, PlaceKind.PACK)
        if not files.exists(path):
            continue
        if files.size(path) == file.size and (file.md5 is None or file.md5 == _md5(path)):
            continue
        known = places.get(name)
        if hash_pack(path, SILENT) == name or (known is not None and known[2] != file.size):
            problems.append(Problem("remote_damaged_pack", name, paths_in(repository, name), hint))
        else:
            notes.append(DAMAGED_HERE.format(name[:12]))
    if not heads and listed:
        problems.append(
            Problem(
                "remote_missing_head",
                remote.url,
                (),
                f"try again in a minute, in case its listing lags; if it stays so, {MEND}",
            )
        )
    unknown = any(repository.catalogue.seq(head) is None for head in _ids(heads))
    if remote.listing_is_free or unknown:
        problems += _of_others(repository, state, remote, _ids(heads), listed, read_data)
    if read_data:
        read = [listed[name] for name in sorted(listed)]
        problems += _read_remote(repository, remote, _ids(heads), read, notes, progress)
    return Found(problems, notes)


def is_news(state: RemoteState, marked: Sequence[RemoteFile]) -> bool:
    """Whether there is a collection, or a forget, of which this device has not taken note yet. `marked` is what
    lies in `heads/`. Its marker may name other packs than are gone: it may have come after the one that took them."""
    return not collection.notes_in(file.name for file in marked).collections <= set(state.settled)


def is_damaged(remote: Remote, file: RemoteFile, path: str) -> bool:
    """Whether a pack there has other bytes than the good one here at `path`. Where the remote knows no sums,
    all of it is read."""
    if files.size(path) != file.size:
        return True
    if file.md5 is not None:
        return file.md5 != _md5(path)
    hasher = blake3(max_threads=blake3.AUTO)
    for piece in remote.read_stream(file.name):
        hasher.update(piece)
    return str(PackId(hasher.digest())) != file.name.rpartition("/")[2]


def _lists_our_format(repository: Repository, remote: Remote) -> bool:
    ours = BytesSource(repository.format.encoded()).md5()
    return any(file.name == "format" and file.md5 == ours for file in remote.list("format"))


def _check_format(repository: Repository, remote: Remote, needed: bool) -> Iterator[Problem]:
    try:
        data = remote.read("format")
        theirs = StoreFormat.parse(data, remote.url)
    except RemoteMissing:
        if needed:
            yield Problem("remote_missing_format", "format", (), MEND)
    except (DamagedData, BadInput, RemoteTrouble) as error:  # the remote was there just now: it is this file
        if error.code == "newer_format":
            raise
        yield Problem("remote_damaged_format", "format", (), f"{error.message}; {MEND}")
    else:
        if theirs.store != repository.format.store:
            hint = f"it names another store than this one; if the packs there are yours, {MEND}"
            yield Problem("remote_damaged_format", "format", (), hint)
        elif json.loads(data) != json.loads(repository.format.encoded()):
            yield Problem("remote_damaged_format", "format", (), f"it is not what it must be; {MEND}")


def _ids(heads: Sequence[RemoteFile]) -> list[VersionId]:
    return head_ids(sorted({file.name for file in heads}))


def _of_others(
    repository: Repository,
    state: RemoteState,
    remote: Remote,
    heads: Sequence[VersionId],
    listed: Mapping[str, RemoteFile],
    read_data: bool,
) -> Iterator[Problem]:
    """Of what other devices brought: packs whose ends can't be read, and versions that no pack there holds."""
    losses = look(repository, state, remote, heads, listed, read=False)
    for name in () if read_data else losses.damaged:  # else they are read whole
        yield Problem("remote_damaged_pack", name, (), fetch.LOST)
    hint = fetch.LOST
    if not remote.listing_is_free:
        hours = repository.workspace.config.gc_grace_hours
        hint = (
            f"try again in a minute, in case its listing lags; once it has stayed so for {hours:g} hours "
            "(gc.grace_hours), 'memsync repair' removes its marker"
        )
    for head in losses.lost:
        yield Problem("remote_missing_version", str(head), (), f"no pack there holds it; {hint}")


def _check_heads(remote: Remote, heads: Sequence[RemoteFile]) -> Iterator[Problem]:
    for name in sorted({file.name.rpartition("/")[2] for file in heads}):
        for head in head_ids([name]):
            try:
                if fetch.packs_named(remote, head) is None:
                    yield Problem("remote_damaged_head", name, (), MEND)
            except RemoteMissing:
                continue  # superseded just now
            except RemoteTrouble as error:
                yield Problem("remote_damaged_head", name, (), f"{error.message}; {MEND}")


def _read_remote(
    repository: Repository,
    remote: Remote,
    heads: Sequence[VersionId],
    listed: Sequence[RemoteFile],
    notes: list[str],
    progress: Progress,
) -> Iterator[Problem]:
    """Fetch every pack into a store that is thrown away, and verify that one: what a clone would find. What a device
    that is gone left without what was before it, and no head needs, is noted."""
    root = os.path.join(repository.state, SCRATCH + os.urandom(8).hex())
    workspace = Workspace(root, Paths(), repository.workspace.config)
    scratch = Repository.create(workspace, repository.format)
    progress.begin("reading the remote", sum(file.size for file in listed), "B")
    try:
        for file in listed:
            name = file.name.rpartition("/")[2]
            try:
                fetch.fetch_pack(scratch.state, remote, file, progress)
            except RemoteMissing as error:
                yield Problem("remote_missing_pack", name, paths_in(repository, name), error.message)
            except (DamagedData, RemoteTrouble) as error:  # the remote was there just now: it is this file
                hint = f"{error.message}; {MEND}"
                yield Problem("remote_damaged_pack", name, paths_in(repository, name), hint)
        progress.end()
        found = verify(scratch, progress=progress).problems
        rows = scratch.catalogue.db.execute("SELECT id FROM strays").fetchall()
        strays = {str(VersionId(id)) for (id,) in rows}
        if not strays.isdisjoint(map(str, heads)):  # all that comes from one is a stray itself
            strays = set()
        if strays:
            notes.append(
                f"{counted(len(strays), 'version')} there came without what was before, and no head needs "
                f"{'it' if len(strays) == 1 else 'them'}: what is lost with a device that is gone stops nobody"
            )
        for problem in found:
            if problem.id not in strays:
                yield problem._replace(kind="remote_" + problem.kind)
    finally:
        progress.end()
        scratch.close()
        trees.remove(root)


def _md5(path: str) -> str:
    return FileSource(path).md5()
