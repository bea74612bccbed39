"""What other devices brought to the remote, and is damaged or lost there: a device that is gone mends nothing.

What is whole of it comes here, and with it whatever a damaged pack still holds (`Salvage`), durable; the damaged
file lies in `torn/` as well, and only then leaves the remote, so that a good one can take its place. A head whose
version is in no pack is in everybody's way: its marker goes, once what is whole before it has one.

Nothing is lost by that to a device that is not gone after all: it sends again the packs that are not there any more,
and its next pull unites its version with the rest.
"""

from __future__ import annotations

import os
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, NamedTuple

from memstore import files
from memstore.actions import collection, remote_state, state_files
from memstore.actions import fetch as fetch_actions
from memstore.actions.remote_losses import hash_there, look
from memstore.actions.remote_state import RemoteState
from memstore.errors import BadInput, DamagedData, RemoteMissing
from memstore.identity import StoreFormat
from memstore.ids import VersionId
from memstore.progress import Progress
from memstore.remotes.base import OpenRemote, RemoteFile
from memstore.reports import Mended, Problem

if TYPE_CHECKING:
    from memstore.repository import Repository

TAKEN: Final = (
    "what is good in it was taken, and 'memsync push' sends it again; the damaged file lies in torn/"
)
GONE: Final = (
    "no pack there holds it any more, and its marker was in everybody's way; if the device that made it is still "
    "there, 'memsync push' and 'memsync pull' on that one bring it back"
)
"""The hint for a version that is lost."""
_MISSED: Final = "missed head "
"""What the names of facts begin with that say since when (seconds) a listing that may lag shows no pack of a head."""


class Theirs(NamedTuple):
    """What was found, and came here."""

    heads: tuple[VersionId, ...] = ()
    """The heads that were unknown here, before anything came."""
    damaged: Mapping[str, str] = MappingProxyType({})
    """Packs there that are damaged, each in `torn/` by now, with the name that its bytes have."""


def bring(
    repository: Repository,
    remote: OpenRemote,
    broken: Collection[str],
    *,
    losses: bool,
    dry_run: bool,
    progress: Progress,
) -> Theirs:
    """Where something of others is damaged or lost there, or something is missing here (`losses`), bring what is whole
    into `packs/`, and what is damaged into `torn/`. Nothing where the remote is another store's. `broken` are packs
    here that could not be fetched again."""
    try:
        remote.prepare(create=False)
        if StoreFormat.parse(remote.read("format"), remote.url).store != repository.format.store:
            return Theirs()
    except (RemoteMissing, BadInput, DamagedData):
        return Theirs()  # `repair_remote.mend` says what is to be said
    names = [file.name for file in remote.list("heads/")]
    heads = remote_state.head_ids(names)
    listed = {file.name.rpartition("/")[2]: file for file in remote.list("packs/")}
    state = remote_state.load_or_none(repository) or RemoteState(remote.url)
    state, _ = collection.learn(state, remote, names)
    there = look(repository, state, remote, heads, listed, read=True, broken=broken, progress=progress)
    damaged = dict(there.damaged)
    if not (damaged or there.lost or (losses and there.others)):
        return Theirs()
    unknown = tuple(head for head in heads if repository.catalogue.seq(head) is None)
    if dry_run:
        return Theirs(unknown, damaged)
    whole = []
    progress.begin("fetching", sum(listed[name].size for name in there.others), "B")
    try:
        for name in there.others:
            if name in damaged:
                if not _put_aside(repository, remote, listed[name], damaged[name], progress):
                    del damaged[name]
                continue
            if name in broken:
                continue  # whole by now: `fetch` would have brought it
            fetch_actions.fetch_pack(repository.state, remote, listed[name], progress)
            whole.append(name)
    finally:
        progress.end()
    now = remote_state.load_or_none(repository)
    if now is not None and whole:
        remote_state.save(repository, remote_state.with_sent(now, whole))
    return Theirs(unknown, damaged)


def _put_aside(
    repository: Repository, remote: OpenRemote, file: RemoteFile, bytes_of: str, progress: Progress
) -> bool:
    """Keep a damaged pack in `torn/`, durable. False if its bytes are others each time: then it is the way here."""
    torn = os.path.join(repository.state, state_files.TORN)
    files.make_dir(torn)
    try:
        temporary, found = fetch_actions.download(torn, remote, file, progress)
    except RemoteMissing:
        return False
    name = file.name.rpartition("/")[2]
    if str(found) != (bytes_of or name):
        files.discard(temporary)
        return False
    files.publish(temporary, os.path.join(torn, f"{name}.pack-remote-{os.urandom(4).hex()}"))
    return True


def mend_packs(
    repository: Repository, state: RemoteState, remote: OpenRemote, theirs: Theirs, dry_run: bool
) -> list[Mended]:
    """Take the damaged packs away there: what is good of them is here, durable."""
    done = []
    for name, bytes_of in theirs.damaged.items():
        if not dry_run:
            try:
                if hash_there(remote, name) != (bytes_of or name):
                    continue  # somebody has mended it meanwhile
            except RemoteMissing:
                continue
            state = remote_state.load_or_none(repository) or state
            remote_state.save(
                repository, replace(state, sent=tuple(other for other in state.sent if other != name))
            )
            remote.delete(f"packs/{name}")
        done.append(Mended("remote_damaged_pack", name, TAKEN))
    return done


def lost_heads(
    repository: Repository, remote: OpenRemote, theirs: Theirs, packs: set[str]
) -> dict[VersionId, bool]:
    """The heads of theirs whose marker is to go: each with whether its version is here, from a damaged pack, so that
    the next push publishes it. A listing that may lag is believed once it has said so for `gc.grace_hours`."""
    catalogue = repository.catalogue
    found = {}
    for head in theirs.heads:
        seq = catalogue.seq(head)
        place = None if seq is None else catalogue.place_name(catalogue.where(seq)[1])
        if place is not None and place[0] in packs:
            continue
        if seq is not None or remote.listing_is_free or _missed_for_long(repository, head):
            found[head] = seq is not None
    return found


def _missed_for_long(repository: Repository, head: VersionId) -> bool:
    now = int(time.time())
    since = repository.catalogue.fact(_MISSED + str(head))
    if not isinstance(since, int):
        repository.catalogue.set_fact(_MISSED + str(head), now)
        return False
    return now - since >= repository.workspace.config.gc_grace_hours * 3600


def take_markers(
    repository: Repository, remote: OpenRemote, lost: dict[VersionId, bool], names: Sequence[str]
) -> tuple[list[Mended], list[Problem]]:
    """Remove these markers: (those whose versions came here, those whose versions are lost). The markers of what is
    whole before them must be there."""
    done, problems = [], []
    for head, is_here in lost.items():
        if str(head) in names:
            remote.delete(f"heads/{head}")
        repository.catalogue.set_fact(_MISSED + str(head), None)
        if is_here:
            done.append(
                Mended("remote_head", str(head), "its version is here now: 'memsync push' sends both")
            )
        else:
            problems.append(Problem("remote_missing_version", str(head), (), GONE))
    return done, problems
