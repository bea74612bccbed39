"""Collections on a remote, without a lock: first marked, later deleted.

Who compacted packs leaves a *marker* in `heads/`, a file with a fresh name that lists the packs it took the
place of, the *fossils*. From then on they do not count: who pushes reads `heads/` first, and where it finds
a marker that is new to it, it lists the packs again, sends what is in none that counts, and only then
publishes; last it says so with a *seen* file. A fossil is deleted when every device that is known there has
said so, or has been silent for long, and when the deleter has made sure that no version needs it.

So a push at the very moment of a collection loses nothing: either it saw the marker, or it has not said so,
and the fossil that it may have counted on is still there.

The decisions are pure functions; `tests/test_collection_model.py` plays every interleaving with them.
"""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final, NamedTuple

from memstore import merging
from memstore.actions import remote_state
from memstore.actions.remote_state import RemoteState
from memstore.errors import DamagedData, RemoteMissing
from memstore.manifest import history
from memstore.objects.tombstone import FORGOTTEN
from memstore.remotes.base import BytesSource, Remote

if TYPE_CHECKING:
    from memstore.repository import Repository

FORMAT: Final = 1
_MARKER: Final = re.compile(r"gc-([0-9a-f]{16})")
_SEEN: Final = re.compile(r"seen-([0-9a-f]{16})-([0-9a-f]{8})")
_DEVICE: Final = re.compile(r"device-([0-9a-f]{8})")
_HOUR_MS: Final = 3_600_000


class Notes(NamedTuple):
    """What the names in `heads/` say, heads aside."""

    collections: frozenset[str]
    seen: Mapping[str, frozenset[str]]
    """collection → the devices that have sent again what it took."""
    devices: frozenset[str]


class Marker(NamedTuple):
    """One collection, as its marker's body has it."""

    id: str
    device: str
    time_ms: int
    fossils: frozenset[str]


class Swept(NamedTuple):
    """What a sweep did on the remote."""

    packs: int
    bytes: int
    waiting: int
    """Fossils that have to wait for some device."""


# -- decisions ---------------------------------------------------------------------------------------------


def notes_in(names: Iterable[str]) -> Notes:
    """From a listing of `heads/`."""
    collections, devices = set(), set()
    seen: dict[str, set[str]] = {}
    for name in names:
        last = name.rpartition("/")[2]
        if found := _MARKER.fullmatch(last):
            collections.add(found[1])
        elif found := _SEEN.fullmatch(last):
            seen.setdefault(found[1], set()).add(found[2])
        elif found := _DEVICE.fullmatch(last):
            devices.add(found[1])
    told = {id: frozenset(by) for id, by in seen.items()}
    return Notes(frozenset(collections), told, frozenset(devices))


def live(listed: Iterable[str], fossils: Collection[str]) -> set[str]:
    """The packs that count: what lies there and is no fossil."""
    return set(listed).difference(fossils)


def must_settle(new: bool, here: Collection[str], fossils: Collection[str]) -> bool:
    """Whether a device must look what of its own is gone: at a collection that is new to it, or when it has a
    pack that does not count."""
    return new or not set(here).isdisjoint(fossils)


def no_longer_there(here: Iterable[str], sent: Collection[str], counting: Collection[str]) -> set[str]:
    """Packs of this device that were sent and do not count any more: what is in no other goes again."""
    return {name for name in here if name in sent and name not in counting}


def may_delete(
    marker: Marker, notes: Notes, devices: Collection[str], now_ms: int, *, grace_ms: int, silence_ms: int
) -> bool:
    """Whether a collection's fossils may go: no push that has not seen it can still be under way."""
    age = now_ms - marker.time_ms
    return age >= grace_ms and (all_have_seen(marker, notes, devices) or age >= silence_ms)


def all_have_seen(marker: Marker, notes: Notes, devices: Collection[str]) -> bool:
    """Whether every device that pushes there, or made a version, has said that it saw the collection."""
    return notes.devices.union(devices) <= notes.seen.get(marker.id, frozenset()) | {marker.device}


# -- reading and writing them ------------------------------------------------------------------------------


def read(remote: Remote, id: str) -> Marker | None:
    """The collection's marker; None if it is gone, or is not to be understood (then it takes nothing)."""
    try:
        body = json.loads(remote.read(f"heads/gc-{id}"))
        fossils = frozenset(str(name) for name in body["fossils"])
        return Marker(id, str(body["device"]), int(body["time"]), fossils)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError):
        return None
    except (RemoteMissing, DamagedData):
        return None


def learn(state: RemoteState, remote: Remote, listed: Sequence[str]) -> tuple[RemoteState, Notes]:
    """The state with the collections that are there now, and no others; each marker is read once."""
    notes = notes_in(listed)
    known = {id: fossils for id, fossils in state.collections.items() if id in notes.collections}
    for id in sorted(notes.collections - known.keys()):
        marker = read(remote, id)
        if marker is not None:
            known[id] = tuple(sorted(marker.fossils))
    settled = tuple(id for id in state.settled if id in known)
    return replace(state, collections=known, settled=settled), notes


def register(repository: Repository, state: RemoteState, remote: Remote) -> RemoteState:
    """Say once that this device pushes here; before it lists the heads, so that no collection overlooks it."""
    if state.registered:
        return state
    remote.create(f"heads/device-{repository.device.id}", BytesSource(b""))
    return remote_state.save(repository, replace(state, registered=True))


def say_seen(repository: Repository, state: RemoteState, remote: Remote, notes: Notes) -> None:
    """Tell that all that collections took and we have is there again. After publishing."""
    device = repository.device.id
    for id in state.settled:
        if device not in notes.seen.get(id, frozenset()):
            remote.create(f"heads/seen-{id}-{device}", BytesSource(b""))


def mark(repository: Repository, state: RemoteState, remote: Remote, notes: Notes) -> tuple[RemoteState, int]:
    """Make the packs that this device's compaction took the place of fossils: (state, how many). All that
    stays of them must be there already."""
    there = {file.name.rpartition("/")[2] for file in remote.list("packs/")}
    fossils = sorted(there.intersection(state.superseded) - remote_state.fossils(state))
    if fossils:
        id = os.urandom(8).hex()
        now = time.time_ns() // 1_000_000
        body = {"format": FORMAT, "device": repository.device.id, "time": now, "fossils": fossils}
        remote.create(f"heads/gc-{id}", BytesSource(json.dumps(body).encode()))
        # Who has seen none of them looks again because of the new one: those that are through may go.
        for earlier, names in state.collections.items():
            if there.isdisjoint(names):
                _remove(remote, earlier, notes)
        state = replace(
            state, collections={**state.collections, id: tuple(fossils)}, settled=(*state.settled, id)
        )
    return remote_state.save(repository, replace(state, superseded=())), len(fossils)


def erase(repository: Repository, state: RemoteState, remote: Remote) -> tuple[RemoteState, int]:
    """Delete at once the packs that hold what was forgotten: (state, how many). All that stays of them must be
    there already. The marker comes first: who pushes at the same moment, and counts on one of them, sees it at
    the next push, and sends again what is in no pack that counts."""
    if not state.erase:
        return state, 0
    there = {file.name.rpartition("/")[2] for file in remote.list("packs/")}
    doomed = sorted(there.intersection(state.erase))
    if doomed:
        id = os.urandom(8).hex()
        now = time.time_ns() // 1_000_000
        body = {
            "format": FORMAT,
            "device": repository.device.id,
            "time": now,
            "why": FORGOTTEN,
            "fossils": doomed,
        }
        remote.create(f"heads/gc-{id}", BytesSource(json.dumps(body).encode()))
        state = remote_state.save(
            repository,
            replace(
                state,
                collections={**state.collections, id: tuple(doomed)},
                settled=tuple(sorted({*state.settled, id})),
            ),
        )
        for name in doomed:
            remote.delete(f"packs/{name}")
    superseded = tuple(name for name in state.superseded if name not in state.erase)
    return remote_state.save(repository, replace(state, erase=(), superseded=superseded)), len(doomed)


def sweep(repository: Repository, state: RemoteState, remote: Remote, notes: Notes) -> Swept:
    """Delete the fossils of every collection that is ripe. The caller has made sure that no version needs
    them."""
    config = repository.workspace.config
    devices = {version.device_id for version in history.versions_of(repository.catalogue)}
    devices.discard(merging.DEVICE_ID)  # nobody in particular, so nobody who could see anything
    listed = {file.name.rpartition("/")[2]: file.size for file in remote.list("packs/")}
    now = time.time_ns() // 1_000_000
    deleted = freed = waiting = 0
    for id in sorted(state.collections):
        marker = read(remote, id)
        if marker is None:
            continue
        lying = sorted(marker.fossils & listed.keys())
        if not may_delete(
            marker,
            notes,
            devices,
            now,
            grace_ms=int(config.gc_grace_hours * _HOUR_MS),
            silence_ms=config.gc_silent_days * 24 * _HOUR_MS,
        ):
            waiting += len(lying)
            continue
        for name in lying:
            remote.delete(f"packs/{name}")
            deleted += 1
            freed += listed.pop(name)
        if all_have_seen(marker, notes, devices):
            _remove(remote, id, notes)
    return Swept(deleted, freed, waiting)


def _remove(remote: Remote, id: str, notes: Notes) -> None:
    """A marker that nobody needs any more, and what was said of it."""
    remote.delete(f"heads/gc-{id}")
    for device in sorted(notes.seen.get(id, frozenset())):
        remote.delete(f"heads/seen-{id}-{device}")
