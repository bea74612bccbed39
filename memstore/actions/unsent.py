"""What the remote lacks, as far as is known without asking it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from memstore.actions import remote_state
from memstore.actions.remote_state import RemoteState
from memstore.mirror import plan as mirror_plan
from memstore.objects.catalogue import PlaceKind, path_of

if TYPE_CHECKING:
    from memstore.repository import Repository


def unsent_packs(repository: Repository, state: RemoteState) -> list[tuple[str, str, int, int]]:
    """(name, path, bytes, data records) of packs the remote lacks, in the order in which they were made: a
    version's objects may lie in earlier ones."""
    sent = set(state.sent)
    unsent = [
        (place, name, size)
        for name, (place, kind, size) in repository.catalogue.places().items()
        if kind == PlaceKind.PACK and name not in sent
    ]
    if not unsent:
        return []
    objects = dict(
        repository.catalogue.db.execute(
            "SELECT place, count(*) FROM objects WHERE inner < 0 GROUP BY place"
        ).fetchall()
    )
    return [
        (name, path_of(repository.state, name, PlaceKind.PACK), size, objects.get(place, 0))
        for place, name, size in sorted(unsent)
    ]


def has_content(repository: Repository, state: RemoteState, path: str) -> bool:
    """Whether a pack that was sent holds HEAD's version of a path, and the mirror has it where it should."""
    head = repository.head()
    if head is None or repository.entry(path, head) is None or not state.heads:
        return False
    catalogue = repository.catalogue
    seq = catalogue.last_change(repository.seq(head), path)
    place = None if seq is None else catalogue.place_name(catalogue.where(seq)[1])
    if place is None or place[0] not in remote_state.published(state):
        return False
    if not repository.workspace.config.mirror_enabled:
        return True
    return next(mirror_plan.steps(repository, [path]), None) is None


def nothing_to_do(
    repository: Repository, state: RemoteState, paths: Sequence[str] | None, mirror: bool
) -> bool:
    """Known without asking: every version is there, one head, the mirror finished. Costs no request."""
    if state.store is None or repository.head() is None:
        return repository.head() is None
    if not _all_is_sent(repository, state):
        return False
    # What is named is looked at there.
    return not mirror or (paths is None and _mirror_is_done(repository, state))


def _all_is_sent(repository: Repository, state: RemoteState) -> bool:
    heads = {str(head) for head in repository.catalogue.heads()}
    if remote_state.unpushed(repository, state)[0] or set(state.heads) != heads or state.erase:
        return False
    return not unsent_packs(repository, state)


def _mirror_is_done(repository: Repository, state: RemoteState) -> bool:
    """Whether nothing of it waits for us; while there are several heads, it waits for their merge."""
    if len(repository.catalogue.heads()) > 1:
        return True
    if remote_state.others_pushed(repository):
        return False
    if mirror_plan.is_current(repository, state.mirrored):
        return True
    known = repository.catalogue.fact(mirror_plan.KNOWN)
    return bool(known) and not any(True for _ in mirror_plan.steps(repository))
