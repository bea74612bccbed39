"""What a pack or a segment holds, into the catalogue: its objects, what reading them costs, its versions.

Everything here runs in a transaction of the caller's. Objects are entered file by file, versions once all files are
in, as a parent may lie in another; and so are the costs that hang on a base in another.
"""

from __future__ import annotations

import contextlib
import os
from array import array
from collections.abc import Iterable, Iterator
from typing import Final

from memstore import files
from memstore.errors import DamagedData
from memstore.ids import VersionId
from memstore.manifest import history
from memstore.manifest.history import Found
from memstore.manifest.version_format import decode
from memstore.objects import encoding
from memstore.objects.catalogue import Catalogue, Location, PlaceKind, kept_cost, key_of, path_of
from memstore.objects.pack import Tail, read_tail
from memstore.objects.reader import ObjectReader
from memstore.objects.record import Header, RecordKind
from memstore.objects.segment import Group, Segment
from memstore.objects.tombstone import ANY_FORGOTTEN, FORGOTTEN, Tombstone

AT_ONCE: Final = 100_000
"""Objects that are entered together, in the order of the table: the more, the sooner; and 20 MB."""
_OF_DELTA: Final = 8
"""Numbers that are kept of a delta while costs are settled."""
COSTS_UNSURE: Final = "costs unsure"
"""A fact of the catalogue, while some object's base has not been met yet."""


# -- objects -----------------------------------------------------------------------------------------------


def tail_of(state: str, name: str) -> Tail:
    """What the end of a pack that lies here tells. Raises `DamagedData`."""
    path = path_of(state, name, PlaceKind.PACK)
    descriptor = files.open_read(path)
    try:
        return read_tail(
            lambda offset, length: files.read_at(descriptor, offset, length),
            files.size(path),
            f"pack {name[:12]}",
        )
    finally:
        os.close(descriptor)


def enter_tail(catalogue: Catalogue, name: str, tail: Tail) -> list[Found]:
    """Enter a pack's objects; its versions are for `enter_versions`, once all packs are in."""
    place = catalogue.add_place(PlaceKind.PACK, name, tail.size)
    costs: dict[int, int] = {}
    bases = {key_of(base) for base in tail.entries.bases()}
    places: list[tuple[int, int, int]] = []
    for entry in tail.entries:
        key, base = key_of(entry.key), key_of(entry.base) if entry.base else None
        cost = _cost(catalogue, costs, entry.raw, entry.rank, base)
        if key in bases:
            costs[key] = min(cost, costs.get(key, cost))
        places.append((key, entry.offset, cost))
        if len(places) >= AT_ONCE:
            catalogue.add_contents(place, places)
            places.clear()
    catalogue.add_contents(place, places)
    rows = [
        _metadata_location(catalogue, costs, record.header, place, record.group, record.inner)
        for record in tail.metadata
        if record.header.id
    ]
    catalogue.add_objects(rows)
    for record in tail.metadata:
        if record.header.kind == RecordKind.TOMBSTONE:
            _note_forgotten(catalogue, record.payload)
    return [*versions_in_tail(place, tail)]


def enter_group(catalogue: Catalogue, segment: Segment, group: Group, place: int) -> list[Found]:
    """Enter the objects of a commit in a segment; its versions are for `enter_versions`."""
    costs: dict[int, int] = {}
    rows: list[Location] = []
    found: list[Found] = []
    for header, offset in segment.records(group):
        if header.kind == RecordKind.VERSION:
            payload = segment.read_at(offset + header.length, header.stored)
            plain = encoding.decode(header.encoding, payload, header.raw)
            found.append(Found(decode(plain), place, offset, -1, plain))
        elif header.id:
            rows.append(_metadata_location(catalogue, costs, header, place, offset, -1))
            if header.kind == RecordKind.TOMBSTONE:
                _note_forgotten(catalogue, segment.read_at(offset + header.length, header.stored))
            if len(rows) >= AT_ONCE:
                catalogue.add_objects(rows)  # where a base that comes again is looked for
                rows.clear()
                costs.clear()
    catalogue.add_objects(rows)
    return found


def _note_forgotten(catalogue: Catalogue, tombstone: bytes) -> None:
    """Let everybody who asks for contents know that some were forgotten."""
    with contextlib.suppress(DamagedData):
        if Tombstone.unpacked(tombstone).why == FORGOTTEN:
            catalogue.set_fact(ANY_FORGOTTEN, 1)


def _metadata_location(
    catalogue: Catalogue, costs: dict[int, int], header: Header, place: int, offset: int, inner: int
) -> Location:
    key, base = key_of(header.id), key_of(header.base) if header.base else None
    cost = _cost(catalogue, costs, header.raw, header.rank, base)
    costs[key] = min(cost, costs.get(key, cost))
    if header.kind == RecordKind.MANIFEST:
        catalogue.set_fact("checkpoint", header.id)
    return Location(
        key,
        place,
        offset,
        inner,
        header.kind,
        header.encoding,
        header.length,
        header.raw,
        header.stored,
        base,
        header.rank,
        cost,
    )


def _cost(catalogue: Catalogue, costs: dict[int, int], raw: int, rank: int, base: int | None) -> int:
    """What reading will cost; a base that is not here yet is taken to be as dear as a chain of its rank, until
    `settle_costs`."""
    own = encoding.own_cost(raw)
    if base is None:
        return own
    below = costs.get(base)
    if below is None:
        below = catalogue.cost_of(base)
        if below is None:
            catalogue.set_fact(COSTS_UNSURE, 1)
            return own + own * rank
        costs[base] = below
    return own + below


def settle_costs(catalogue: Catalogue) -> None:
    """Packs come in the order of their names, a delta perhaps before its base: now all are here."""
    keys, costs = array("q"), array("q")  # of what decodes alone, of which there may be a million
    deltas = array("q")  # and of what does not
    settled: list[Location] = []
    for place in catalogue.places().values():
        for _, row in catalogue.objects_in(place[0]):
            own = encoding.own_cost(row.raw)
            if row.base is not None:
                deltas.extend((row.rank, row.key, row.base, own, row.cost, row.place, row.offset, row.inner))
                continue
            keys.append(row.key)
            costs.append(own)
            if kept_cost(own) != row.cost:
                settled.append(row._replace(cost=own))
    best: dict[int, int] = {}
    bases = {deltas[at] for at in range(2, len(deltas), _OF_DELTA)}
    for key, cost in zip(keys, costs, strict=True):
        if key in bases:
            best[key] = min(cost, best.get(key, cost))
    this_rank: dict[int, int] = {}
    last = 0
    for at in sorted(range(0, len(deltas), _OF_DELTA), key=deltas.__getitem__):
        rank, key, base, cost, known, where, offset, inner = deltas[at : at + _OF_DELTA]
        if rank != last:
            best = this_rank | best  # of several forms a reader takes the one of lowest rank
            this_rank, last = {}, rank
        cost += best.get(base, cost * rank)
        if key in bases:
            this_rank[key] = min(cost, this_rank.get(key, cost))
        if kept_cost(cost) != known:
            settled.append(catalogue.located(where, offset, inner, cost >> 10)[1])
    catalogue.add_objects(settled)
    catalogue.db.execute("DELETE FROM facts WHERE name = ?", (COSTS_UNSURE,))


# -- versions ----------------------------------------------------------------------------------------------


def versions_in_tail(place: int, tail: Tail) -> Iterator[Found]:
    """The versions of a pack that was entered as that place."""
    for record in tail.metadata:
        if record.header.kind == RecordKind.VERSION:
            encoded = encoding.decode(record.header.encoding, record.payload, record.header.raw)
            yield Found(decode(encoded), place, record.group, record.inner)


def enter_versions(catalogue: Catalogue, found: Iterable[Found]) -> None:
    """Add versions, parents before children whatever their order in the files."""
    for item in sorted(found, key=lambda item: item.version.generation):
        history.add_version(catalogue, *item)


def adopt_strays(catalogue: Catalogue, reader: ObjectReader) -> None:
    """Enter versions that came before their parents, as far as these are there now."""
    while True:
        rows = catalogue.db.execute("SELECT id, place, offset, inner FROM strays").fetchall()
        adopted = 0
        for id, place, offset, inner in rows:
            try:
                record = reader.version_record(VersionId(id), place, offset, inner)
                version = decode(record)
            except (DamagedData, FileNotFoundError):
                continue
            adopted += history.add_version(catalogue, version, place, offset, inner, record)
        if not adopted:
            return
