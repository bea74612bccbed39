"""What was forgotten leaves this device: at a forget, and wherever a push or a pull meets its tombstones.

Unlike a collection this waits for nothing: neither for what leans on a forgotten content (that is encoded anew),
nor for other devices. Packs that were sent and those that were not are written anew apart, so that what waits
for a push stays told apart; the names of those that lie on the remote are noted, and the next push deletes them
there as soon as what stays of them was sent (`collection.erase`).
"""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final, NamedTuple

from memstore.actions import checkout, compact, remote_state
from memstore.actions.checkout import Step
from memstore.actions.dictionaries import sharing
from memstore.actions.leaving import Leaving, leaving
from memstore.actions.record import log_archived, record
from memstore.actions.remote_state import RemoteState
from memstore.actions.seal import seal
from memstore.ids import ContentId
from memstore.manifest.removed import forgotten, later_form
from memstore.manifest.version import Change, ChangeKind, Entry, Kind, Meta, Version
from memstore.objects.record import RecordKind
from memstore.objects.tombstone import Tombstone

if TYPE_CHECKING:
    from memstore.actions.compact import Rewritten
    from memstore.repository import Repository
    from memstore.writer import Writer

FORGETS: Final = "forget "
"""How the note begins of a version by which this device forgets; its reason is the person's."""
DROPPED: Final = Meta(note="what it held was forgotten", reason="forgotten on another device")
REPAIR_FIRST: Final = "run 'memsync repair', and then the same command again"


class Expunged(NamedTuple):
    state: RemoteState | None
    contents: frozenset[ContentId]
    """What was still here."""
    objects: frozenset[ContentId]
    """The same with the pieces of large files, and dictionaries."""
    packs: int
    """How many were written anew."""


def expunge(
    repository: Repository,
    writer: Writer,
    state: RemoteState | None,
    pieces: Collection[ContentId] = (),
) -> Expunged:
    """Write every pack anew that holds something forgotten, without it. For the holder of the lock. `pieces` are
    some that only forgotten contents had: they go though no recipe here says whose they were.

    Raises `DamagedData` where such a pack is damaged: nothing has changed then.
    """
    told = forgotten(repository.catalogue, repository.reader)
    here = {id for id in told if lies_here(repository, id)}
    orphans = {id for id in pieces if id not in told and lies_here(repository, id)}
    if not here and not orphans:
        return Expunged(state, frozenset(), frozenset(), 0)
    orphans |= sharing(repository, here) - here  # of our own, of which nobody else knew
    seal(repository, writer)
    gone = leaving(repository, here, None, orphans=orphans)
    count = 0
    for published in (False, True):
        state, packs = _rewritten(repository, state, gone, published)
        count += packs
    return Expunged(state, gone.contents, gone.objects, count)


def lies_here(repository: Repository, id: ContentId) -> bool:
    """Whether some record here holds the content, or says of what pieces it is."""
    kinds = (RecordKind.CONTENT, RecordKind.RECIPE)
    return any(row.kind in kinds for row in repository.catalogue.locations(id))


def drop_from_head(
    repository: Repository,
    writer: Writer,
    told: Collection[ContentId] | None = None,
    *,
    meta: Meta = DROPPED,
    stones: Sequence[Tombstone] = (),
) -> tuple[Version | None, list[str]]:
    """A version that deletes the paths at which HEAD holds something forgotten, and their files in `Data/`: (the
    version, warnings). `told` are the contents, all forgotten ones by default. With `stones`, the tombstones become
    durable in the same instant. What is not committed at those paths is committed first, and stays: a warning says
    that it may hold it still, or, where it is this device that forgets, that it does."""
    told = forgotten(repository.catalogue, repository.reader) if told is None else told
    warnings: list[str] = []
    if _held_at(repository, told) and os.path.isdir(repository.workspace.data):
        paths = [entry.path for entry in _held_at(repository, told)]
        saved = record(
            repository,
            writer,
            paths,
            meta=Meta(reason="saved before what was forgotten went", actor=meta.actor),
        )
        log_archived(repository, saved.version)
        warnings += saved.warnings
        warnings += [
            later_form(change.path)
            for change in (saved.version.changes if saved.version is not None else ())
            if change.entry is not None and (not stones or change.change == ChangeKind.APPEND)
        ]
    entries = _held_at(repository, told)
    for stone in stones:
        writer.add_tombstone(stone)
    if not entries:
        if stones:
            writer.commit(repository.head())
        return None, warnings
    steps = [Step(entry.path, entry, None) for entry in entries]
    version = writer.add_version(
        [Change(entry.path, ChangeKind.DELETE, None) for entry in entries],
        meta=meta,
        time_ms=writer.time_of_next(),
        announce=lambda id: checkout.begin(repository, id, steps),
    )
    if os.path.isdir(repository.workspace.data):  # else it is finished when its disk is back
        warnings += [left.warning for left in checkout.apply(repository, writer, steps)]
        checkout.close(repository)
    return version, warnings


def left_data(version: Version | None) -> list[str]:
    """A note of what such a version took out of `Data/`."""
    if version is None:
        return []
    some = ", ".join(change.path for change in version.changes[:3]) + (
        " …" if len(version.changes) > 3 else ""
    )
    return [f"what {some} held was forgotten on another device; it left Data/ here as well"]


def _held_at(repository: Repository, told: Collection[ContentId]) -> list[Entry]:
    """HEAD's entries that hold one of them."""
    if not told:
        return []
    return [
        Entry(path, Kind(kind), size, ContentId(content), modified)
        for path, kind, size, content, modified in [row[:5] for row in repository.catalogue.tree()]
        if content in told
    ]


def _rewritten(
    repository: Repository, state: RemoteState | None, gone: Leaving, published: bool
) -> tuple[RemoteState | None, int]:
    """Those packs written anew that other devices can fetch, or those that they can't: (state, how many)."""
    theirs: set[str] = set() if state is None else remote_state.published(state)
    old = frozenset(
        name for name in compact.holding(repository, gone.objects) if (name in theirs) == published
    )
    if not old:
        return state, 0
    compact.require_whole(repository, old, so="what was forgotten stays in it for now", hint=REPAIR_FIRST)
    made = compact.rewrite(repository, old, gone.objects)
    if state is not None:
        state = _noted(repository, state, old, made, published)
    compact.swap(repository, old, made)
    return state, len(old)


def _noted(
    repository: Repository, state: RemoteState, old: frozenset[str], made: Rewritten, published: bool
) -> RemoteState:
    """The state, saved before the old packs go: of those that lie on the remote it says that they must go there
    too, and that nobody need fetch them again."""
    new = {pack.name for pack in made.packs}
    known = {*state.sent, *state.superseded, *remote_state.fossils(state)}
    there = (old & known) - new
    remade = {name for name in state.remade if name not in old} | (new if published else set())
    return remote_state.save(
        repository,
        replace(
            state,
            sent=tuple(name for name in state.sent if name not in old),
            unpublished=tuple(name for name in state.unpublished if name not in old),
            superseded=tuple(sorted({*state.superseded, *there})),
            remade=tuple(sorted(remade)),
            erase=tuple(sorted({*state.erase, *there})),
        ),
    )


__all__ = ["DROPPED", "REPAIR_FIRST", "Expunged", "drop_from_head", "expunge", "left_data", "lies_here"]
