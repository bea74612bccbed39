"""Reading objects back: find, decode along the chain, compare with the id. Nothing unchecked leaves here."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from blake3 import blake3

from memstore.errors import DamagedData
from memstore.ids import ID_BYTES, ContentId, Id, ManifestId, VersionId
from memstore.objects import encoding
from memstore.objects.catalogue import Catalogue, Location
from memstore.objects.record import EDGE, PIECE_LIMIT, Edges, Encoding, Piece, RecordKind
from memstore.objects.tombstone import FORGOTTEN, Tombstone

_PIECE_START: Final = b"\x92\xc4\x20"
"""msgpack: an array of two, the first of them 32 bytes."""
KEPT_BASES: Final = 4
LARGEST_KEPT: Final = 512 << 10
"""Of contents that decode alone, and that deltas were read on last: so many are kept, of at most so many plain bytes.
Very many notes may lean on one dictionary."""
_SHORTEST_PIECE: Final = len(_PIECE_START) + ID_BYTES + 1


class Missing(DamagedData):
    """No stored form of an object is known here."""

    code = "missing_object"


def parse_recipe(payload: bytes) -> list[Piece]:
    """The pieces that a recipe names, in order. Raises `DamagedData`.

    Read by hand and not by msgpack: 64 MiB of empty arrays would be gigabytes of lists before they turned out
    to be no recipe.
    """
    count, at = _array_header(payload)
    if count * _SHORTEST_PIECE > len(payload):
        raise _no_recipe()
    pieces = []
    for _ in range(count):
        if payload[at : at + len(_PIECE_START)] != _PIECE_START:
            raise _no_recipe()
        at += len(_PIECE_START)
        piece = payload[at : at + ID_BYTES]
        length, at = _unsigned(payload, at + ID_BYTES)
        if len(piece) != ID_BYTES or not 0 < length <= PIECE_LIMIT:
            raise _no_recipe()
        pieces.append((ContentId(piece), length))
    if at != len(payload):
        raise _no_recipe()
    return pieces


def _array_header(data: bytes) -> tuple[int, int]:
    first = data[0] if data else 0
    if 0x90 <= first <= 0x9F:
        return first & 0x0F, 1
    if first in (0xDC, 0xDD):
        width = 2 if first == 0xDC else 4
        return int.from_bytes(data[1 : 1 + width], "big"), 1 + width
    raise _no_recipe()


def _unsigned(data: bytes, at: int) -> tuple[int, int]:
    """A msgpack unsigned integer, and the offset after it."""
    first = data[at] if at < len(data) else 0xC0
    if first < 0x80:
        return first, at + 1
    if 0xCC <= first <= 0xCF:
        width = 1 << (first - 0xCC)
        if at + 1 + width <= len(data):
            return int.from_bytes(data[at + 1 : at + 1 + width], "big"), at + 1 + width
    raise _no_recipe()


def _no_recipe() -> DamagedData:
    return DamagedData("a recipe does not decode", hint="run 'memsync verify'")


class Removed(Missing):
    """The content was removed on purpose, and a tombstone says so: no damage, and nothing brings it back."""

    code = "removed"
    exit_code = 8


class ObjectReader:
    """Reads from the segments and packs of one store. `load` may be called from several threads."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue
        self._bases: OrderedDict[tuple[int, int, int], bytes] = OrderedDict()
        self._lock = threading.Lock()

    def close(self) -> None:
        """Let go of the files; they are opened again when needed."""
        self._catalogue.files.close()
        with self._lock:
            self._bases.clear()

    # -- by id ---------------------------------------------------------------------------------------------

    def read(self, id: ContentId) -> bytes:
        """The whole content in memory. Raises `DamagedData` if it is missing or no copy of it is good."""
        return b"".join(self.stream(id))

    def stream(self, id: ContentId) -> Iterator[bytes]:
        """The content in pieces of at most 16 MiB, each checked before it is given."""
        forms = self._catalogue.locations(id)
        if self.forgotten(id, forms) is not None:
            raise self._gone(id)  # though its bytes may be here until it has left every pack
        pieces = self.recipe(id, forms)
        if pieces is None:
            yield self.object(id, RecordKind.CONTENT, forms)
            return
        whole = blake3(max_threads=blake3.AUTO)
        for piece, length in pieces:
            data = self.object(piece, RecordKind.CONTENT)
            if len(data) != length:
                raise DamagedData(f"the recipe of {str(id)[:12]} is damaged", hint="run 'memsync verify'")
            whole.update(data)
            yield data
        if whole.digest() != id:
            raise DamagedData(
                f"content {str(id)[:12]} does not match its id: its recipe is damaged",
                hint="run 'memsync verify'",
            )

    def recipe(self, id: ContentId, forms: Sequence[Location] | None = None) -> list[Piece] | None:
        """The pieces of a large content; None if it is one object. `forms` is what the catalogue has of it, where
        the caller asked already."""
        known = self._catalogue.locations(id) if forms is None else forms
        found = [row for row in known if row.kind == RecordKind.RECIPE]
        if not found:
            return None
        for location in found:
            with contextlib.suppress(DamagedData):
                return parse_recipe(self._decode([location]))
        raise DamagedData(f"the recipe of {str(id)[:12]} does not decode", hint="run 'memsync verify'")

    def manifest(self, id: ManifestId) -> bytes | None:
        """A checkpoint's canonical manifest; None if there is no good one of that id."""
        for location in self._catalogue.locations(id):
            if location.kind == RecordKind.MANIFEST:
                data = self._decode(self._catalogue.chain(location))
                if ManifestId.of(data) == id:
                    return data
        return None

    def object(self, id: ContentId, kind: RecordKind, forms: Sequence[Location] | None = None) -> bytes:
        """One content record's plain bytes, checked against the id. Every stored form is tried, and of each
        base every form as well."""
        plans = self.plans(id, kind, forms)
        try:
            return self.load(id, plans)
        except DamagedData:
            for location in self._catalogue.locations(id):
                if location.kind == kind:
                    data = self._by_other_bases(id, location)
                    if data is not None:
                        return data
            raise

    def plans(
        self, id: Id, kind: RecordKind, forms: Sequence[Location] | None = None
    ) -> list[list[Location]]:
        """For each stored form that may be it, the chain to read; best first. Needs the catalogue."""
        plans = []
        trouble: DamagedData | None = None
        for location in self._catalogue.locations(id) if forms is None else forms:
            if location.kind == kind:
                try:
                    plans.append(self._catalogue.chain(location))
                except DamagedData as error:
                    trouble = error
        if not plans:
            if trouble is not None:
                raise trouble
            raise self._gone(id)
        return plans

    def tombstone(self, location: Location) -> Tombstone:
        """The tombstone at a location. Raises `DamagedData`."""
        return Tombstone.unpacked(self._payload(location))

    def forgotten(self, id: ContentId, forms: Sequence[Location] | None = None) -> Tombstone | None:
        """The tombstone by which a content is forgotten; None for any other. `forms` is what the catalogue has of
        it, where the caller asked already."""
        for row in self._catalogue.locations(id) if forms is None else forms:
            if row.kind == RecordKind.TOMBSTONE:
                with contextlib.suppress(DamagedData):
                    stone = self.tombstone(row)
                    if stone.content == id and stone.why == FORGOTTEN:
                        return stone
        return None

    def removed(self, id: ContentId) -> Tombstone | None:
        """The tombstone of a content that is gone on purpose: forgotten, or let go by `gc` and not stored again."""
        forms = self._catalogue.locations(id)
        told = self._tombstones(id, forms)
        stored = any(row.kind in (RecordKind.CONTENT, RecordKind.RECIPE) for row in forms)
        if not told or (stored and told[-1].why != FORGOTTEN):
            return None
        return told[-1]

    def _tombstones(self, id: Id, forms: Sequence[Location]) -> list[Tombstone]:
        """Those of a content; what says most comes last: forgotten, then the latest."""
        told = [self.tombstone(row) for row in forms if row.kind == RecordKind.TOMBSTONE]
        told = [tombstone for tombstone in told if tombstone.content == id]
        return sorted(told, key=lambda tombstone: (tombstone.why == FORGOTTEN, tombstone.time_ms))

    def _gone(self, id: Id) -> Missing:
        """Why no form of a content is here: removed on purpose, or missing."""
        told = self._tombstones(id, self._catalogue.locations(id))
        if not told:
            return Missing(
                f"content {str(id)[:12]} is not in this store",
                hint="run 'memsync verify'; 'memsync pull' brings what the remote has",
            )
        last = told[-1]
        day = time.strftime("%Y-%m-%d", time.gmtime(last.time_ms / 1000))
        how = "forgotten on purpose" if last.why == FORGOTTEN else "removed by retention ('memsync gc')"
        return Removed(
            f"content {str(id)[:12]} was {how} on {day}",
            hint="'memsync log PATH' shows the path's other versions; their contents may still be there",
        )

    def load(self, id: ContentId, plans: Sequence[Sequence[Location]]) -> bytes:
        """The first of the planned forms that decodes to `id`. Does not touch the catalogue unless a file
        has moved meanwhile."""
        trouble: DamagedData | None = None
        for plan in plans:
            try:
                data = self._decode(plan)
            except FileNotFoundError:
                raise
            except DamagedData as error:
                trouble = error
                continue
            if ContentId.of(data) == id:
                return data
        raise DamagedData(
            f"content {str(id)[:12]} is damaged: {trouble.message if trouble else 'it does not match its id'}",
            hint="run 'memsync verify' to see which paths and versions need it",
        )

    def reads_back(self, id: ContentId, location: Location) -> bool:
        """Whether one stored form of a content decodes to it, on whichever stored forms of its bases."""
        try:
            self.load(id, [self._catalogue.chain(location)])
        except DamagedData:
            return self._by_other_bases(id, location) is not None
        return True

    def _by_other_bases(self, id: ContentId, location: Location) -> bytes | None:
        """Decode link by link, checking each; where one is bad, go round it by another stored form of it."""
        bad: set[tuple[int, int]] = set()
        while (location.place, location.offset) not in bad:
            try:
                chain = self._catalogue.chain(location, without=bad)
            except DamagedData:
                return None
            data: bytes | None = None
            for link in reversed(chain):
                try:
                    data = encoding.decode(Encoding(link.encoding), self._payload(link), link.raw, data)
                    head = self._catalogue.files.header(link.place, link.offset, link.inner)
                except DamagedData:
                    data = None
                if data is None or ContentId.of(data) != head.id:
                    bad.add((link.place, link.offset))
                    break
            else:
                assert data is not None
                return data if ContentId.of(data) == id else None
        return None

    def base(self, plan: Sequence[Location]) -> bytes:
        """The plain bytes of a chain's first member, checked against the id in its own header: a delta made
        against bytes that are not what they claim to be could never be read again."""
        first = plan[0]
        header = self._catalogue.files.header(first.place, first.offset, first.inner)
        return self.load(ContentId(header.id), [plan])

    def edges(self, pieces: Iterable[Piece]) -> dict[ContentId, Edges]:
        """Those of the pieces that are stored as they are; not compared with their ids."""
        found = {}
        for id, length in pieces:
            for location in self._catalogue.locations(id):
                if (
                    location.encoding == Encoding.RAW
                    and location.inner < 0
                    and location.raw == length >= EDGE
                ):
                    begin = location.offset + location.header
                    with contextlib.suppress(DamagedData, FileNotFoundError):
                        found[id] = (
                            self.record(location.place, begin, EDGE),
                            self.record(location.place, begin + length - EDGE, EDGE),
                        )
        return found

    # -- by place ------------------------------------------------------------------------------------------

    def version_record(self, id: VersionId, place: int, offset: int, inner: int) -> bytes:
        """A version's encoded bytes, not compared with its id yet."""
        return self._catalogue.files.version_record(id, place, offset, inner)

    def record(self, place: int, offset: int, length: int) -> bytes:
        """A stretch of a segment or pack as it is."""
        return self._catalogue.files.read(place, offset, length)

    def decoded(self, location: Location, below: bytes | None) -> bytes:
        """What one stored form is, given the plain bytes of its base (None: it decodes alone); not compared with its
        id. Raises `DamagedData`."""
        return encoding.decode(Encoding(location.encoding), self._payload(location), location.raw, below)

    def _decode(self, plan: Sequence[Location]) -> bytes:
        data = None if len(plan) == 1 else self._lowest(plan[-1])
        for location in reversed(plan if data is None else plan[:-1]):
            payload = self._payload(location)
            data = encoding.decode(Encoding(location.encoding), payload, location.raw, data)
        assert data is not None
        return data

    def _lowest(self, location: Location) -> bytes | None:
        """What a chain ends with, from memory where it was read just before; None where it is too large for that.
        It is not compared with its id: what was made of it is."""
        if location.raw > LARGEST_KEPT:
            return None
        where = location.key, location.place, location.offset
        with self._lock:
            kept = self._bases.get(where)
            if kept is not None:
                self._bases.move_to_end(where)
                return kept
        data = encoding.decode(Encoding(location.encoding), self._payload(location), location.raw)
        with self._lock:
            self._bases[where] = data
            while len(self._bases) > KEPT_BASES:
                self._bases.popitem(last=False)
        return data

    def _payload(self, location: Location) -> bytes:
        if location.inner >= 0:
            return self._catalogue.files.in_group(location.place, location.offset, location.inner)[1]
        payload = self._catalogue.files.read(
            location.place, location.offset + location.header, location.stored
        )
        if len(payload) != location.stored:
            raise DamagedData("a segment or pack is shorter than it was", hint="run 'memsync verify'")
        return payload


__all__ = ["Missing", "ObjectReader", "Piece", "Removed", "parse_recipe"]
