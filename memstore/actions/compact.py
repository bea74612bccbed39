"""Compacting: some packs become new ones that hold what is to stay.

Packs are immutable. The new ones are durable before the old ones go, so a crash leaves at worst both, which
the next collection tidies. Three rules keep every survivor readable: a delta whose base goes is encoded anew;
of several forms of an object the one of the lowest rank stays; and no new form has a higher rank than the
old, so that what leans on it can go on doing so.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

from blake3 import blake3

from memstore import entering, files, superseded
from memstore.actions.seal import Sealed, write_packs
from memstore.errors import DamagedData
from memstore.ids import ContentId, Id, PackId, VersionId
from memstore.manifest.history import Found
from memstore.manifest.removed import newer
from memstore.objects import encoding
from memstore.objects.catalogue import Location, key_of
from memstore.objects.encoding import Base
from memstore.objects.pack import MetadataRecord
from memstore.objects.places import PlaceKind, path_of
from memstore.objects.record import HEADER_LIMIT, Encoding, Header, RecordKind, pack_header, parse_header
from memstore.objects.tombstone import Tombstone

if TYPE_CHECKING:
    from memstore.repository import Repository

GEOMETRIC: Final = 2
"""Each pack that is left alone is at least so many times as large as all smaller ones together."""
TWICE: Final = 1000
"""Deltas on one content from which on it is stored twice."""
SEE: Final = "run 'memsync verify' to see what is affected"
_PIECE: Final = 1 << 20


def to_merge(packs: Sequence[tuple[str, int]], limit: int) -> set[str]:
    """The names of small packs (name, bytes) that are to become one. Pure.

    What stays is a geometric row, so the number of packs grows with the logarithm of the history, and each
    byte is written anew as often. Packs from half of `limit` (bytes) on are large enough.
    """
    small = sorted((size, name) for name, size in packs if 2 * size < limit)
    total = chosen = 0
    for number, (size, _) in enumerate(small):
        if number and size < GEOMETRIC * total:
            chosen = number + 1
        total += size
    return {name for _, name in small[:chosen]}


def holding(repository: Repository, drop: Collection[ContentId]) -> set[str]:
    """The packs that hold any of these contents, and those with deltas on one of them."""
    if not drop:
        return set()
    keys = {key_of(id) for id in drop}
    found = set()
    for name, (place, kind, _) in repository.catalogue.places().items():
        if kind == PlaceKind.PACK and any(
            row.kind != RecordKind.TOMBSTONE and (row.key in keys or row.base in keys)
            for _, row in repository.catalogue.objects_in(place)
        ):
            found.add(name)
    return found


def require_whole(
    repository: Repository, packs: Collection[str], *, so: str = "nothing was collected", hint: str = SEE
) -> None:
    """Raises `DamagedData` if a pack does not match its name: copying it would make its damage look sound. `so` says
    what that means, and `hint` what to do."""
    for name in sorted(packs):
        hasher = blake3(max_threads=blake3.AUTO)
        descriptor = files.open_read(path_of(repository.state, name, PlaceKind.PACK))
        try:
            offset = 0
            while piece := files.read_at(descriptor, offset, _PIECE):
                hasher.update(piece)
                offset += len(piece)
        finally:
            os.close(descriptor)
        if str(PackId(hasher.digest())) != name:
            raise DamagedData(
                f"pack {name[:12]} is damaged: its bytes do not match its name; {so}", hint=hint
            )


class Rewritten(NamedTuple):
    """What a compaction wrote; nothing old is gone yet."""

    packs: list[Sealed]
    found: list[Found]
    """Versions of the old packs that packs which stay hold as well."""


def rewrite(
    repository: Repository,
    packs: Collection[str],
    drop: Collection[ContentId],
    tombstones: Mapping[ContentId, Tombstone] | None = None,
) -> Rewritten:
    """Write what stays of `packs`, and these tombstones, into new packs, durable when this returns. What the
    other packs have at no higher rank is not written again. For the holder of the lock.

    `packs` must contain `holding(drop)`.
    """
    work = _Work(repository, packs, drop, dict(tombstones or {}))
    sealed = write_packs(repository, work.data(), work.metadata())
    return Rewritten(sealed, work.found)


def swap(repository: Repository, packs: Collection[str], made: Rewritten) -> None:
    """Let the catalogue know the new packs, and the old ones no more, and remove their files."""
    catalogue = repository.catalogue
    places = catalogue.places()
    catalogue.db.execute("BEGIN IMMEDIATE")
    try:
        found = list(made.found)
        for pack in made.packs:
            tail = entering.tail_of(repository.state, pack.name)
            if pack.name in places:  # of a compaction that was cut off here: it came out the same
                found += entering.versions_in_tail(places[pack.name][0], tail)
            else:
                found += entering.enter_tail(catalogue, pack.name, tail)
        old = {name for name in packs if name in places} - {pack.name for pack in made.packs}
        for name in old:
            catalogue.drop_place(places[name][0])
        entering.settle_costs(catalogue)
        entering.enter_versions(catalogue, found)
    except BaseException:
        catalogue.db.execute("ROLLBACK")
        raise
    catalogue.db.execute("COMMIT")
    if old:
        # The newest first: for who reads meanwhile, what leans on another is gone before what it leans on.
        going = sorted(old, key=lambda name: places[name][0], reverse=True)
        superseded.remove(repository.state, repository.device.id, going, [pack.name for pack in made.packs])
    repository.reader.close()


class _Work:
    """One compaction: which form of each object is written, and how."""

    def __init__(
        self,
        repository: Repository,
        packs: Collection[str],
        drop: Collection[ContentId],
        tombstones: dict[ContentId, Tombstone],
    ) -> None:
        self._repository = repository
        self._catalogue = repository.catalogue
        self._reader = repository.reader
        places = {name: row[0] for name, row in self._catalogue.places().items() if row[1] == PlaceKind.PACK}
        self._old = {place for name, place in places.items() if name in packs}
        self._old_names = sorted((name for name in packs if name in places), key=places.__getitem__)
        self._kept_names = [name for name in places if name not in packs]
        self._places = places
        self._drop = drop if isinstance(drop, set | frozenset) else set(drop)
        self._dropped_keys = {key_of(id) for id in drop}
        self._tombstones = tombstones
        self._written: set[bytes] = set()
        self.found: list[Found] = []

    # -- data ----------------------------------------------------------------------------------------------

    def data(self) -> Iterator[tuple[Header, bytes]]:
        leaning: Counter[int] = Counter()
        for name in self._old_names:
            for raw_id, location in self._catalogue.objects_in(self._places[name]):
                id = ContentId(raw_id)
                if location.inner >= 0 or id in self._drop:
                    continue
                record = self._catalogue.files.read(
                    location.place, location.offset, location.header + location.stored
                )
                header = parse_header(record[:HEADER_LIMIT], 0)
                if self._is_chosen(header.kind, id, location):
                    header, record = self._form(id, location, header, record)
                    if header.rank == 1:
                        leaning[key_of(header.base)] += 1
                    yield header, record
        yield from self._once_more(leaning)

    def _once_more(self, leaning: Mapping[int, int]) -> Iterator[tuple[Header, bytes]]:
        """What very many lean on, a second time, far from the first: so damage to one spot doesn't cost them all."""
        for base, count in leaning.items():
            if count < TWICE:
                continue
            for row in self._catalogue.with_key(base.to_bytes(8, "big", signed=True)):
                record = self._catalogue.files.read(row.place, row.offset, row.header + row.stored)
                header = parse_header(record[:HEADER_LIMIT], 0)
                if row.rank == 0 and bytes((header.kind,)) + header.id in self._written:
                    yield header, record
                    break

    def _is_chosen(self, kind: RecordKind, id: Id, location: Location) -> bool:
        """Whether this form is the one to write: the lowest rank of all, written once, and only if no pack
        that stays has one as low."""
        written = bytes((kind,)) + id  # a million of them take half of what pairs would
        if written in self._written:
            return False
        forms = [row for row in self._catalogue.locations(id) if row.kind == kind]
        if len(forms) > 1:
            staying = min((row.rank for row in forms if row.place not in self._old), default=None)
            best = next(row for row in forms if row.place in self._old)  # sorted by rank
            if staying is not None and staying <= best.rank:
                return False
            if best != location:
                return False
        self._written.add(written)
        return True

    def _form(self, id: ContentId, location: Location, header: Header, record: bytes) -> tuple[Header, bytes]:
        """The record as it is, or encoded anew where its base goes."""
        if location.base is None or location.base not in self._dropped_keys:
            return header, record
        raw = self._reader.object(id, header.kind)
        form = encoding.encode(raw, self._base_for(location))
        packed = pack_header(
            header.kind, form.encoding, id, len(raw), len(form.payload), form.base, form.rank
        )
        anew = Header(
            header.kind,
            form.encoding,
            bytes(id),
            len(raw),
            len(form.payload),
            form.base,
            form.rank,
            len(packed),
        )
        return anew, packed + form.payload

    def _base_for(self, location: Location) -> Base | None:
        """The nearest member of the old chain that stays: its rank is lower than that of the base that goes."""
        try:
            chain = self._catalogue.chain(location)
            for number, link in enumerate(chain[1:], 1):
                if link.key not in self._dropped_keys:
                    key = link.key.to_bytes(8, "big", signed=True)
                    return Base(key, self._reader.base(chain[number:]), link.rank, link.cost)
        except DamagedData:
            return None
        return None

    # -- metadata ------------------------------------------------------------------------------------------

    def metadata(self) -> Iterator[tuple[Header, bytes]]:
        staying = self._versions_that_stay()
        versions: set[VersionId] = set()
        for name in self._old_names:
            for record in entering.tail_of(self._repository.state, name).metadata:
                header = record.header
                if header.kind == RecordKind.VERSION:
                    raw = encoding.decode(header.encoding, record.payload, header.raw)
                    id = VersionId.of(raw)
                    if id in staying:
                        self.found.append(staying[id])
                    elif id not in versions:
                        versions.add(id)
                        yield header._replace(encoding=Encoding.RAW), raw
                elif header.kind == RecordKind.TOMBSTONE:
                    tombstone = Tombstone.unpacked(record.payload)
                    known = self._tombstones.get(tombstone.content)
                    self._tombstones[tombstone.content] = newer(known, tombstone)
                elif self._metadata_stays(self._places[name], record):
                    yield header, record.payload
        for content, tombstone in sorted(self._tombstones.items()):
            if not self._told_elsewhere(tombstone):
                payload = tombstone.packed()
                size = len(payload)
                yield (
                    Header(RecordKind.TOMBSTONE, Encoding.RAW, bytes(content), size, size, b"", 0, 0),
                    payload,
                )

    def _versions_that_stay(self) -> dict[VersionId, Found]:
        return {
            item.version.id: item
            for name in self._kept_names
            for item in entering.versions_in_tail(
                self._places[name], entering.tail_of(self._repository.state, name)
            )
        }

    def _metadata_stays(self, place: int, record: MetadataRecord) -> bool:
        header = record.header
        if header.kind == RecordKind.RECIPE and header.id in self._drop:
            return False
        location = next(
            row
            for row in self._catalogue.locations(header.id)
            if (row.place, row.offset, row.inner) == (place, record.group, record.inner)
        )
        return self._is_chosen(header.kind, ContentId(header.id), location)

    def _told_elsewhere(self, tombstone: Tombstone) -> bool:
        """Whether a pack that stays has this tombstone already."""
        return any(
            row.kind == RecordKind.TOMBSTONE
            and row.place not in self._old
            and self._reader.tombstone(row) == tombstone
            for row in self._catalogue.locations(tombstone.content)
        )
