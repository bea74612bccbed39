"""Sealing: what the segments hold becomes packs, by copying.

The order makes every crash harmless: packs durable under their names, HEAD in the reflog, a new segment that
repeats HEAD, and only then the old segments go. Cut anywhere, the next seal finds what is in packs already.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Final, NamedTuple

from memstore import entering, files, reflog, salvage
from memstore.current import segment_names
from memstore.errors import DamagedData
from memstore.ids import VersionId
from memstore.objects import encoding
from memstore.objects.catalogue import PlaceKind
from memstore.objects.pack import PackWriter
from memstore.objects.record import Encoding, Header, RecordKind
from memstore.objects.segment import Placed, Scan, Segment
from memstore.reflog import Stand

if TYPE_CHECKING:
    from memstore.repository import Repository
    from memstore.writer import Writer


_STALE_SECONDS: Final = 24 * 3600


class Sealed(NamedTuple):
    """A new pack."""

    name: str
    path: str
    size: int
    objects: int


def seal(repository: Repository, writer: Writer) -> list[Sealed]:
    """Turn all segments into packs; the packs that were made, in the order they must be sent.

    For the holder of the lock. A segment that holds nothing but its HEAD stays as it is.
    """
    segments = _open_all(repository)
    try:
        places = repository.catalogue.places()
        scans = [(segment, _to_known_end(segment.scan(), places.get(segment.name))) for segment in segments]
        if not any(scan.damaged or any(group.records for group in scan.groups) for _, scan in scans):
            return []
        sweep(repository, _STALE_SECONDS)
        packs = _write_packs(repository, scans)
        _swap(repository, writer, scans, packs)
        return packs
    finally:
        for segment in segments:
            segment.close()


def _to_known_end(scan: Scan, known: tuple[int, int, int] | None) -> Scan:
    """A commit that the catalogue has seen and that no longer verifies is damage, though it be the last one."""
    if known is None or known[2] <= scan.end:
        return scan
    return scan._replace(damaged=[*scan.damaged, (scan.end, min(known[2], scan.size))])


def _open_all(repository: Repository) -> list[Segment]:
    opened = []
    for name in segment_names(repository.state):
        try:
            segment = Segment(os.path.join(repository.state, "segments", name + ".seg"))
        except DamagedData:
            continue  # of a newer format: named by `verify`, and left where it is
        if segment.is_of(repository.format.store):
            opened.append(segment)
        else:
            segment.close()
    return opened


def sweep(repository: Repository, seconds: float) -> None:
    """Remove what killed processes left half-written so long ago; what is younger may be a download that goes on, and
    would have to begin again."""
    limit = time.time() - seconds
    for folder in ("packs", "segments"):
        for name in files.names(os.path.join(repository.state, folder)):
            path = os.path.join(repository.state, folder, name)
            if name.startswith(files.TEMPORARY_PREFIX) and os.stat(path).st_mtime <= limit:
                files.discard(path)


def _write_packs(repository: Repository, scans: list[tuple[Segment, Scan]]) -> list[Sealed]:
    return write_packs(repository, _data(repository, scans), _metadata(repository, scans))


def write_packs(
    repository: Repository,
    data: Iterable[tuple[Header, bytes]],
    metadata: Iterable[tuple[Header, bytes]],
) -> list[Sealed]:
    """New packs, durable under their names: data records (as they are to lie there) first, then metadata
    records (header, payload), all of it in the last pack, for a version is never sent before its objects."""
    folder = os.path.join(repository.state, "packs")
    limit = repository.workspace.config.push_pack_size
    sealed: list[Sealed] = []
    pack = PackWriter(folder, repository.format.store)
    try:
        for header, record in data:
            if pack.objects and pack.size + len(record) > limit:
                objects = pack.objects
                sealed.append(_finished(pack, objects))
                pack = PackWriter(folder, repository.format.store)
            pack.add(header, record)
        count = 0
        for header, payload in metadata:
            pack.add_metadata(header, payload)
            count += 1
        if pack.objects or count:
            sealed.append(_finished(pack, pack.objects))
        else:
            pack.abandon()
    except BaseException:
        pack.abandon()
        raise
    return sealed


def _finished(pack: PackWriter, objects: int) -> Sealed:
    id, path, size = pack.finish()
    return Sealed(str(id), path, size, objects)


def _data(repository: Repository, scans: list[tuple[Segment, Scan]]) -> Iterator[tuple[Header, bytes]]:
    packs = _pack_places(repository)
    for segment, scan in scans:
        for header, offset in _records(repository, segment, scan):
            if header.kind == RecordKind.CONTENT and not _packed(repository, header, packs):
                yield header, segment.read_at(offset, header.length + header.stored)


def _metadata(repository: Repository, scans: list[tuple[Segment, Scan]]) -> Iterator[tuple[Header, bytes]]:
    packs = _pack_places(repository)
    for segment, scan in scans:
        for header, offset in _records(repository, segment, scan):
            if header.kind == RecordKind.CONTENT:
                continue
            payload = segment.read_at(offset + header.length, header.stored)
            if header.kind == RecordKind.VERSION:
                raw = encoding.decode(header.encoding, payload, header.raw)
                if not _version_packed(repository, raw, packs):
                    yield header._replace(encoding=Encoding.RAW), raw
            elif header.kind == RecordKind.TOMBSTONE or not _packed(repository, header, packs):
                yield header, payload  # a content may have several tombstones, and another may say less
        for raw in salvage.remade(repository.catalogue, repository.reader, segment.name, scan):
            yield Header(RecordKind.VERSION, Encoding.RAW, b"", len(raw), len(raw), b"", 0, 0), raw


def _records(repository: Repository, segment: Segment, scan: Scan) -> Iterator[Placed]:
    """What counts in a segment: its good groups, and what is still sound between them."""
    place = repository.catalogue.places().get(segment.name)
    yield from salvage.sound(repository, segment, scan, None if place is None else place[0])
    for group in scan.groups:
        yield from segment.records(group)


def _pack_places(repository: Repository) -> set[int]:
    return {place for place, kind, _ in repository.catalogue.places().values() if kind == PlaceKind.PACK}


def _packed(repository: Repository, header: Header, packs: set[int]) -> bool:
    """Whether a pack has this object, at no higher rank: so after a crash between pack and segment."""
    if packs.isdisjoint(repository.catalogue.may_lie_in(header.id)):
        return False
    return any(
        form.place in packs and form.kind == header.kind and form.rank <= header.rank
        for form in repository.catalogue.locations(header.id)
    )


def _version_packed(repository: Repository, raw: bytes, packs: set[int]) -> bool:
    seq = repository.catalogue.seq(VersionId.of(raw))
    return seq is not None and repository.catalogue.where(seq)[1] in packs


def _swap(
    repository: Repository, writer: Writer, scans: list[tuple[Segment, Scan]], packs: list[Sealed]
) -> None:
    """New packs in, HEADs into the reflog, a new segment, the old ones out."""
    heads = {scan.groups[-1].head for _, scan in scans if scan.groups} | {repository.head()}
    _note_heads(repository, {head for head in heads if head is not None})
    catalogue = repository.catalogue
    places = catalogue.places()
    catalogue.db.execute("BEGIN IMMEDIATE")
    try:
        found = []
        for pack in packs:
            if pack.name not in places:
                found += entering.enter_tail(
                    catalogue, pack.name, entering.tail_of(repository.state, pack.name)
                )
        new_segment = repository.new_segment()
        for segment, _ in scans:
            place = places.get(segment.name)
            if place is not None:
                catalogue.drop_place(place[0])
                catalogue.db.execute("DELETE FROM facts WHERE name = ?", ("head of " + segment.name,))
        entering.enter_versions(catalogue, found)
        salvage.note_lost(catalogue)
    except BaseException:
        catalogue.db.execute("ROLLBACK")
        raise
    catalogue.db.execute("COMMIT")
    writer.switch(*new_segment)
    # Also for a pack that an interrupted seal left, whose name nobody may have made durable yet.
    files.sync_dir(os.path.join(repository.state, "packs"))
    for segment, scan in scans:
        if scan.damaged or (scan.end < scan.size and not segment.own):
            torn = os.path.join(repository.state, "torn")
            files.make_dir(torn)
            files.rename(segment.path, os.path.join(torn, os.path.basename(segment.path)))
            files.sync_dir(torn)
        else:
            files.remove(segment.path)
    files.sync_dir(os.path.join(repository.state, "segments"))
    repository.reader.close()


def _note_heads(repository: Repository, heads: set[VersionId]) -> None:
    """Lines for the reflog, HEAD's last; durable when this returns."""
    current = repository.head()
    ordered = sorted(heads, key=lambda head: (head == current, head))
    reflog.append(repository.state, [Stand(head, reflog.SEALED, None) for head in ordered])
