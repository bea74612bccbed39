"""After a collection: what this device has and no pack that counts holds is written anew, to be sent again.

Both sides of a collection use it: who collects (`gc`), and every other device, at its next push.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable
from dataclasses import replace
from itertools import combinations
from typing import TYPE_CHECKING, NamedTuple

from memstore.actions import collection, compact, remote_state
from memstore.actions.leaving import Leaving, leaving
from memstore.actions.remote_state import RemoteState
from memstore.current import pack_names
from memstore.ids import ContentId
from memstore.manifest.held import held
from memstore.manifest.removed import in_force
from memstore.merging import ancestry
from memstore.objects.tombstone import FORGOTTEN, RETENTION, Tombstone
from memstore.progress import Progress
from memstore.remotes.base import Remote

if TYPE_CHECKING:
    from memstore.actions.seal import Sealed
    from memstore.repository import Repository


class Compacted(NamedTuple):
    """What became of the packs here."""

    state: RemoteState | None
    gone: Leaving
    old: frozenset[str]
    """Packs that are no longer here."""
    made: list[Sealed]


def settle(
    repository: Repository,
    state: RemoteState,
    remote: Remote,
    *,
    newcomer: bool,
    progress: Progress,
) -> RemoteState:
    """Where a collection took packs that this device counts on: fetch what took their place, and make packs of
    what is in none that counts. The push sends them."""
    from memstore.actions import fetch

    fossils = remote_state.fossils(state)
    new = state.collections.keys() - set(state.settled)
    here = pack_names(repository.state)
    if not collection.must_settle(bool(new) or newcomer, here, fossils):
        return state
    there = [file.name.rpartition("/")[2] for file in remote.list("packs/")]
    counting = collection.live(there, fossils)
    gone = collection.no_longer_there(here, fossils.union(state.sent), counting)
    if gone or new:  # what was collected or forgotten may be here in packs of our own
        counting = set(fetch.fetch_what_counts(repository, state, remote, progress))
    if gone:
        with repository.writing():
            here = pack_names(repository.state)
            gone = collection.no_longer_there(here, fossils.union(state.sent), counting)
            removed = in_force(repository.catalogue, repository.reader)
            # What was forgotten leaves next (`expunge`), which sees to it that it leaves the remote as well.
            unwanted = {id for id, stone in removed.items() if stone.why != FORGOTTEN} - at_hand(repository)
            state = compacted(repository, state, gone, unwanted, tombstones=False).state or state
    sent = {name for name in state.sent if name in counting}
    sent.update(counting.intersection(pack_names(repository.state)))
    settled = tuple(sorted(state.collections))
    return remote_state.save(repository, replace(state, sent=tuple(sorted(sent)), settled=settled))


def at_hand(repository: Repository) -> set[ContentId]:
    """What no collection here may take: what `versions_at_hand` hold."""
    return held(repository.catalogue, versions_at_hand(repository))


def versions_at_hand(repository: Repository) -> set[int]:
    """The heads, HEAD where it is none, and the versions that a merge of them will be held against."""
    catalogue = repository.catalogue
    head = repository.head()
    heads = {*catalogue.heads(), *([] if head is None else [head])}
    wanted = set(heads)
    for one, two in combinations(sorted(heads), 2):
        wanted.update(ancestry.nearest_common(catalogue, [one], [two])[0])
    return {seq for seq in map(catalogue.seq, wanted) if seq is not None}


def compacted(
    repository: Repository,
    state: RemoteState | None,
    take: Collection[str],
    unwanted: Iterable[ContentId],
    *,
    tombstones: bool = True,
) -> Compacted:
    """Rewrite the packs `take`, and those that hold what is unwanted. For the holder of the lock.

    With a remote only packs that lie there are touched, so that what was not sent yet stays told apart.
    """
    settled = None if state is None else remote_state.published(state).union(take)
    gone = leaving(repository, unwanted, settled)
    old = frozenset(compact.holding(repository, gone.objects) | set(take))
    if not old:
        return Compacted(state, gone, old, [])
    compact.require_whole(repository, old)
    stones = _tombstones(repository, gone.contents) if tombstones else {}
    made = compact.rewrite(repository, old, gone.objects, stones)
    new = [pack.name for pack in made.packs]
    if state is not None:
        # Before the old ones go: a pack that is not here any more must not look lost, nor be fetched again.
        there = set(state.sent) - remote_state.fossils(state)
        superseded = {*state.superseded, *(old & there)} - set(new)
        remade = {name for name in (*state.remade, *new) if name not in old or name in new}
        state = remote_state.save(
            repository,
            replace(
                state,
                sent=tuple(name for name in state.sent if name not in superseded),
                superseded=tuple(sorted(superseded)),
                remade=tuple(sorted(remade)),
            ),
        )
    compact.swap(repository, old, made)
    return Compacted(state, gone, old - set(new), made.packs)


def _tombstones(repository: Repository, contents: Iterable[ContentId]) -> dict[ContentId, Tombstone]:
    known = tuple(sorted(repository.catalogue.heads()))
    now = time.time_ns() // 1_000_000
    return {id: Tombstone(id, RETENTION, now, known) for id in contents}
