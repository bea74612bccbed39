"""Which contents are removed: what the tombstones say, and which of them still hold.

A *forgotten* content stays so. A *retention* tombstone is void once some version holds the content, or put it away
by name, that its collector did not know: one made after it, or made elsewhere at the same time.
"""

from __future__ import annotations

from collections.abc import Iterator

from memstore.errors import DamagedData, typed
from memstore.ids import ContentId, VersionId
from memstore.manifest.held import archived_by_name, held, with_ancestors
from memstore.objects.catalogue import Catalogue
from memstore.objects.reader import ObjectReader
from memstore.objects.record import RecordKind
from memstore.objects.tombstone import ANY_FORGOTTEN, FORGOTTEN, Tombstone
from memstore.worktree.names import shown


def tombstones(catalogue: Catalogue, reader: ObjectReader, *, lenient: bool = False) -> Iterator[Tombstone]:
    """All that are here; a content may have several. Raises `DamagedData`; `lenient` leaves out what is damaged, for
    who looks for damage and mends it: the file that it stands in is named by itself."""
    for _, location in catalogue.of_kind(RecordKind.TOMBSTONE):
        try:
            yield reader.tombstone(location)
        except DamagedData:
            if not lenient:
                raise


def any_forgotten(catalogue: Catalogue) -> bool:
    """Whether anything was ever forgotten, as far as is known here. Costs nothing."""
    return catalogue.fact(ANY_FORGOTTEN) is not None


def forgotten(catalogue: Catalogue, reader: ObjectReader, *, lenient: bool = False) -> set[ContentId]:
    """The contents that were forgotten, whether they are still here or not. Raises as `tombstones`."""
    if not any_forgotten(catalogue):
        return set()
    told = tombstones(catalogue, reader, lenient=lenient)
    return {stone.content for stone in told if stone.why == FORGOTTEN}


def is_forgotten(catalogue: Catalogue, reader: ObjectReader, content: ContentId) -> bool:
    """Whether that one was."""
    return any_forgotten(catalogue) and reader.forgotten(content) is not None


def later_form(path: str) -> str:
    """The warning for a path whose content was made from one that was forgotten: other bytes, which nobody named."""
    return (
        f"{shown(path)} was changed from what was forgotten, and the change stays: it may hold it still. Copy what "
        f"you want of it elsewhere, and run 'memsync forget {typed(shown(path))} --everywhere'"
    )


def in_force(
    catalogue: Catalogue, reader: ObjectReader, *, lenient: bool = False
) -> dict[ContentId, Tombstone]:
    """The contents that are removed, each with a tombstone that holds, the newest of them. Raises as `tombstones`."""
    found: dict[ContentId, Tombstone] = {}
    by_knowledge: dict[tuple[VersionId, ...], list[Tombstone]] = {}
    for tombstone in tombstones(catalogue, reader, lenient=lenient):
        if tombstone.why == FORGOTTEN:
            found[tombstone.content] = newer(found.get(tombstone.content), tombstone)
        else:
            by_knowledge.setdefault(tombstone.known, []).append(tombstone)
    for known, told in by_knowledge.items():
        still_held = held_without(catalogue, known)
        for tombstone in told:
            if tombstone.content not in still_held:
                found[tombstone.content] = newer(found.get(tombstone.content), tombstone)
    return found


def held_without(catalogue: Catalogue, known: tuple[VersionId, ...]) -> set[ContentId]:
    """The contents held, or put away by name, by versions that are neither these heads nor their ancestors. (What was
    put away is in no manifest from there on, and is kept unless told otherwise: by somebody who knew of it.)"""
    seqs = [seq for seq in map(catalogue.seq, known) if seq is not None]
    before = with_ancestors(catalogue, seqs)
    others = {row[0] for row in catalogue.db.execute("SELECT seq FROM versions") if row[0] not in before}
    return held(catalogue, others) | archived_by_name(catalogue, others) if others else set()


def newer(one: Tombstone | None, other: Tombstone) -> Tombstone:
    """Of two tombstones for a content, the one that says more: forgotten before retention, then the later."""
    if one is None:
        return other
    return max(one, other, key=lambda tombstone: (tombstone.why == FORGOTTEN, tombstone.time_ms))
