"""Publishing: a marker for each head that was made here, and none for what these supersede.

No lock is needed: names are fresh, markers are created before any is deleted, and only those go whose versions are
ancestors of one that stays. Two devices that push at the same instant leave two heads, each of them whole.
"""

from __future__ import annotations

import json
import time
from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from memstore.actions import fetch, remote_state
from memstore.actions.remote_state import RemoteState
from memstore.errors import DamagedData
from memstore.ids import VersionId
from memstore.merging import ancestry
from memstore.remotes.base import BytesSource, Remote

if TYPE_CHECKING:
    from memstore.repository import Repository


class Published(NamedTuple):
    """What became of our heads."""

    markers: int
    """How many were created."""
    ahead: bool
    """The remote has versions that HEAD does not descend from."""
    warnings: tuple[str, ...]


def publish(
    repository: Repository,
    state: RemoteState,
    remote: Remote,
    listed: Sequence[str],
    heads: Sequence[VersionId],
    head: VersionId | None,
) -> tuple[RemoteState, Published]:
    """Create the markers of our heads, then delete those that they supersede. `head`: HEAD as it was when they were
    sealed; commits go on meanwhile."""
    catalogue = repository.catalogue
    there = set(remote_state.head_ids(listed))
    unknown = {head for head in there if catalogue.seq(head) is None}
    ours = [other for other in heads if other == head or _is_ours(repository, state, other, there)]
    published = there - unknown
    created = 0
    for other in ours:
        # One that was there and is gone, with a head beside it that is not known here, was superseded by that.
        if other not in there and not (unknown and str(other) in state.heads):
            body = {"format": 1, "device": repository.device.name, "packs": list(state.unpublished)}
            notes = {"pack": state.unpublished[-1]} if state.unpublished else {}
            try:
                remote.create(f"heads/{other}", BytesSource(json.dumps(body).encode()), notes)
                created += 1
            except DamagedData:
                # Another device published the same version since we listed: its marker does as well.
                if fetch.packs_named(remote, other) is None:
                    raise
            published.add(other)
    left = set(ancestry.newest(catalogue, published))
    for other in sorted((there - unknown) - left):
        remote.delete(f"heads/{other}")
    left |= unknown
    ahead = len(left) > 1 or head not in left
    warnings: tuple[str, ...] = ()
    if ahead:
        who = "another device has pushed" if unknown else "the remote has"
        warnings = (
            f"{who} versions that are not in this one's: everything of this one is on the remote as well, the "
            "mirror is left as it is; 'memsync pull' merges both, and 'memsync push --pull' does that and pushes",
        )
    state = remote_state.save(
        repository,
        replace(
            state,
            unpublished=(),
            unlogged=(*state.unlogged, *state.unpublished),
            heads=tuple(sorted(map(str, left))),
            last_push_ms=time.time_ns() // 1_000_000,
            last_error=None,
            last_error_ms=None,
        ),
    )
    return state, Published(created, ahead, warnings)


def _is_ours(
    repository: Repository, state: RemoteState, head: VersionId, there: Collection[VersionId]
) -> bool:
    """Whether to publish a head that is not HEAD: what came from here. A version that was fetched without
    its head belongs to a push that is under way, and may not be whole yet."""
    if head in there:
        return True
    row = repository.catalogue.db.execute(
        "SELECT name FROM versions JOIN places USING (place) WHERE seq = ?", (repository.catalogue.seq(head),)
    ).fetchone()
    return row is not None and row[0] in state.unpublished
