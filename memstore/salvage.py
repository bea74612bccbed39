"""What damage leaves: a flipped byte costs the record it hit, not the commit around it nor those after it.

Nothing here trusts a damaged stretch. An object in it counts only if it reads back as its id, and a version
only if one that counts names it, for an id is a hash of what it names. Where a version is lost for good, an
empty *stand-in* takes its place in the catalogue, so that the versions after it can be read; `verify` names it.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from memstore import files, reflog
from memstore.errors import DamagedData
from memstore.ids import ContentId, VersionId
from memstore.manifest import history
from memstore.manifest.history import Found
from memstore.manifest.records import LOST_NOTE, is_of
from memstore.manifest.version import Meta, Version
from memstore.manifest.version_format import decode
from memstore.objects import encoding
from memstore.objects.catalogue import Catalogue, Location, key_of
from memstore.objects.reader import ObjectReader
from memstore.objects.record import HEADER_LIMIT, Encoding, Header, RecordKind, pack_header, parse_header
from memstore.objects.segment import Placed, Scan, Segment

if TYPE_CHECKING:
    from memstore.repository import Repository

# -- what a damaged stretch still holds --------------------------------------------------------------------


def enter_objects(catalogue: Catalogue, reader: ObjectReader, records: Iterable[Placed], place: int) -> None:
    """Enter the contents of a damaged stretch that read back as their ids: also those whose base is there once
    more, behind them."""
    wanted = [row for row in records if row.header.kind in (RecordKind.CONTENT, RecordKind.RECIPE)]
    while wanted:
        left = []
        for header, offset in wanted:
            location = _location(catalogue, header, place, offset)
            catalogue.add_objects([location])
            if not _reads_back(reader, header, location):
                catalogue.remove_object(location)
                left.append(Placed(header, offset))
        if len(left) == len(wanted):
            return
        wanted = left


def versions_in(segment: Segment, records: Iterable[Placed], place: int) -> Iterator[Found]:
    """The versions of a damaged stretch that decode. They count only if `proven`."""
    for header, offset in records:
        if header.kind == RecordKind.VERSION:
            payload = segment.read_at(offset + header.length, header.stored)
            try:
                record = encoding.decode(header.encoding, payload, header.raw)
                version = decode(record)
            except DamagedData:
                continue
            yield Found(version, place, offset, -1, record)


def proven(
    catalogue: Catalogue, good: Iterable[Found], doubtful: Iterable[Found], heads: Iterable[VersionId | None]
) -> list[Found]:
    """Those doubtful versions that a good one, or a HEAD, descends from."""
    known = {bytes(item.version.id): item for item in doubtful}
    wanted = [parent for item in good for parent in item.version.parents]
    wanted += [head for head in heads if head is not None]
    counted = []
    while wanted:
        item = known.pop(bytes(wanted.pop()), None)
        if item is not None and catalogue.seq(item.version.id) is None:
            counted.append(item)
            wanted += item.version.parents
    return counted


def sound(repository: Repository, segment: Segment, scan: Scan, place: int | None) -> Iterator[Placed]:
    """The records of a segment's damaged stretches that are worth keeping: contents that read back, versions
    that count."""
    db = repository.catalogue.db
    if place is None:
        return
    for start, end in scan.damaged:
        records = {offset: Placed(header, offset) for header, offset in segment.salvage(start, end)}
        for record in _known_in(repository.catalogue, segment, place, start, end):
            records.setdefault(record.offset, record)
        for record in records.values():
            header, offset = record
            if header.kind == RecordKind.VERSION:
                known = db.execute(
                    "SELECT id FROM versions WHERE place = ? AND offset = ?", (place, offset)
                ).fetchone()
                item = next(versions_in(segment, [record], place), None)
                if known is not None and item is not None and item.version.id == known[0]:
                    yield record
            elif header.kind in (RecordKind.CONTENT, RecordKind.RECIPE):
                location = _location(repository.catalogue, header, place, offset)
                if _reads_back(repository.reader, header, location):
                    yield record


def _known_in(catalogue: Catalogue, segment: Segment, place: int, start: int, end: int) -> Iterator[Placed]:
    """The records that the catalogue knows in a damaged stretch: a walk from one to the next does not come past a
    header that is damaged."""
    rows = catalogue.db.execute(
        "SELECT offset FROM objects WHERE place = :place AND inner < 0 AND offset >= :start AND offset < :end "
        "UNION SELECT offset FROM versions WHERE place = :place AND offset >= :start AND offset < :end",
        {"place": place, "start": start, "end": end},
    )
    for (offset,) in rows.fetchall():
        try:
            header = parse_header(segment.read_at(offset, HEADER_LIMIT), 0)
        except DamagedData:
            continue
        if offset + header.length + header.stored <= end:
            yield Placed(header, offset)


def _location(catalogue: Catalogue, header: Header, place: int, offset: int) -> Location:
    base = key_of(header.base) if header.encoding == Encoding.DELTA else None
    below = 0 if base is None else catalogue.cost_of(base) or encoding.own_cost(header.raw) * header.rank
    return Location(
        key_of(header.id),
        place,
        offset,
        -1,
        header.kind,
        header.encoding,
        header.length,
        header.raw,
        header.stored,
        base,
        header.rank,
        encoding.own_cost(header.raw) + below,
    )


def _reads_back(reader: ObjectReader, header: Header, location: Location) -> bool:
    id = ContentId(header.id)
    if header.kind == RecordKind.CONTENT:
        return reader.reads_back(id, location)
    try:
        for _ in reader.stream(id):
            pass
    except DamagedData:
        return False
    return True


# -- what is lost for good ---------------------------------------------------------------------------------


def stand_in(catalogue: Catalogue, reader: ObjectReader, head: VersionId | None) -> list[VersionId]:
    """Where HEAD is here but some of its ancestors are nowhere, let stand-ins take their place; their ids.

    HEAD never moves to a version before all its ancestors are here; so this is no listing that lags.
    """
    strays = {
        bytes(id): where
        for id, *where in catalogue.db.execute("SELECT id, place, offset, inner FROM strays").fetchall()
    }
    todo = [head] if head is not None and bytes(head) in strays else []
    seen: set[bytes] = set()
    lost: dict[bytes, Version] = {}
    while todo:
        id = todo.pop()
        place, offset, inner = strays[bytes(id)]
        try:
            version = decode(reader.version_record(id, place, offset, inner), id=id)
        except (DamagedData, FileNotFoundError):
            return []
        for parent in version.parents:
            if bytes(parent) in seen or catalogue.seq(parent) is not None:
                continue
            seen.add(bytes(parent))
            if bytes(parent) in strays:
                todo.append(parent)
            else:
                lost[bytes(parent)] = version
    for raw, child in lost.items():
        _add_stand_in(catalogue, VersionId(raw), child)
    return [VersionId(raw) for raw in lost]


def _add_stand_in(catalogue: Catalogue, id: VersionId, child: Version) -> None:
    """A version of no changes, taken to come after the newest that is known from before it."""
    row = catalogue.db.execute(
        "SELECT id FROM versions WHERE generation < ? ORDER BY generation DESC, time DESC, id LIMIT 1",
        (child.generation - 1,),
    ).fetchone()
    version = Version(
        id,
        () if row is None else (VersionId(row[0]),),
        child.generation - 1,
        child.time_ms,
        child.device,
        child.device_id,
        Meta(note=LOST_NOTE),
        (),
    )
    history.add_version(catalogue, version, history.NOWHERE, 0, -1)


def remade(catalogue: Catalogue, reader: ObjectReader, segment: str, scan: Scan) -> Iterator[bytes]:
    """Versions of a segment's damaged stretches whose records no longer decode, from the catalogue, which keeps
    what no pack has; only where they are what their ids say."""
    place = catalogue.places().get(segment)
    if place is None:
        return
    for start, end in scan.damaged:
        rows = catalogue.db.execute(
            "SELECT id, offset, encoded FROM versions JOIN records USING (seq) "
            "WHERE place = ? AND offset >= ? AND offset < ?",
            (place[0], start, end),
        ).fetchall()
        for id, offset, record in rows:
            try:
                decode(reader.version_record(VersionId(id), place[0], offset, -1), id=VersionId(id))
            except DamagedData:
                if is_of(record, VersionId(id)):
                    yield record


def kept(catalogue: Catalogue, seq: int) -> bytes:
    """A version's encoded form, if the catalogue keeps it: of a version that no pack has; else nothing."""
    row = catalogue.db.execute("SELECT encoded FROM records WHERE seq = ?", (seq,)).fetchone()
    return b"" if row is None else row[0] if isinstance(row[0], bytes) else repr(row[0]).encode()


def keep_known(state: str, catalogue: Catalogue, segment: str) -> None:
    """Before the catalogue is made anew: keep the versions that it knows of a segment which was cut, in `torn/`,
    and note the newest in the reflog, so that `verify` goes on naming what is lost and `repair` finds it."""
    rows = catalogue.db.execute(
        "SELECT id, encoded FROM versions JOIN records USING (seq) JOIN places USING (place) "
        "WHERE places.name = ? ORDER BY seq",
        (segment,),
    )
    known = [(VersionId(id), record) for id, record in rows if is_of(record, VersionId(id))]
    if not known:
        return
    torn = os.path.join(state, "torn")
    files.make_dir(torn)
    data = b"".join(
        pack_header(RecordKind.VERSION, Encoding.RAW, b"", len(record), len(record)) + record
        for _, record in known
    )
    files.write_atomic(os.path.join(torn, f"{segment}-known-{os.urandom(4).hex()}"), data)
    reflog.append(state, [reflog.Stand(known[-1][0], reflog.LOST, None)])


def note_lost(catalogue: Catalogue) -> None:
    """Say of versions whose file is gone that their records are nowhere."""
    catalogue.db.execute(
        "UPDATE versions SET place = ?, offset = 0, inner = -1 WHERE place NOT IN (SELECT place FROM places)",
        (history.NOWHERE,),
    )
