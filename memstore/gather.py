"""Gathering what damage left: the records of damaged files that decode to their ids.

A delta is only as good as its base, and its base may be in another damaged file, in the store, or be a file
that still lies in `Data/`. So the remnants are gone through again and again, until nothing more is proven.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import Final

import msgpack

from memstore.errors import DamagedData
from memstore.ids import KEY_BYTES, ContentId, ManifestId, VersionId
from memstore.manifest.version_format import decode
from memstore.objects import encoding
from memstore.objects.catalogue import Catalogue
from memstore.objects.reader import ObjectReader, parse_recipe
from memstore.objects.record import Encoding, RecordKind
from memstore.objects.wreck import Remnant

_KEPT: Final = 64 << 20
"""Bytes of plain contents that are kept at hand: the next delta's base is mostly the last one proven."""


class Gathering:
    """What is proven so far. The catalogue must not show what lies in damaged files."""

    def __init__(self, catalogue: Catalogue, reader: ObjectReader, named: Iterable[VersionId]) -> None:
        """`named`: versions that are known to exist, whatever became of their records."""
        self._catalogue = catalogue
        self._reader = reader
        self._named = set(named)
        self.objects: dict[tuple[int, bytes], Remnant] = {}
        """(kind, id) → the proven record of lowest rank."""
        self.versions: dict[VersionId, bytes] = {}
        """Encoded forms of proven versions."""
        self._by_key: dict[tuple[int, bytes], list[Remnant]] = {}
        self._kept: OrderedDict[tuple[int, bytes], bytes] = OrderedDict()
        self._kept_size = 0
        self._found: dict[bytes, tuple[ContentId, Callable[[], bytes | None]]] = {}

    def add_found(self, id: ContentId, read: Callable[[], bytes | None]) -> None:
        """A content that is not from a record: `read` gives its bytes, or None where they are gone again."""
        self._found[id.key] = (id, read)

    def prove(self, remnants: Iterable[Remnant]) -> list[Remnant]:
        """Take what proves itself, until nothing more does; what is left over, for a later call."""
        open_ones = list(remnants)
        while True:
            left = [remnant for remnant in open_ones if not self._take(remnant)]
            if len(left) == len(open_ones):
                return left
            open_ones = left

    # -- one record ----------------------------------------------------------------------------------------

    def _take(self, remnant: Remnant) -> bool:
        header = remnant.header
        try:
            if header.kind == RecordKind.VERSION:
                return self._take_version(remnant)
            if header.kind == RecordKind.CONTENT:
                raw = self._decoded(remnant)
                proven = raw is not None and ContentId.of(raw) == header.id
            elif header.kind == RecordKind.MANIFEST:
                raw = self._decoded(remnant)
                proven = raw is not None and ManifestId.of(raw) == header.id
            elif header.kind == RecordKind.RECIPE:
                raw, proven = None, self._is_recipe(remnant)
            elif header.kind == RecordKind.TOMBSTONE:
                raw, proven = None, _is_tombstone(remnant)
            else:
                return True
        except DamagedData:
            return False
        if not proven:
            return False
        key = (int(header.kind), header.id)
        before = self.objects.get(key)
        if before is None or header.rank < before.header.rank:
            self.objects[key] = remnant
        self._by_key.setdefault((key[0], header.id[:KEY_BYTES]), []).append(remnant)
        if raw is not None:
            self._keep((key[0], header.id), raw)
        return True

    def _take_version(self, remnant: Remnant) -> bool:
        raw = encoding.decode(remnant.header.encoding, remnant.payload(), remnant.header.raw)
        version = decode(raw)
        if not (remnant.trusted or version.id in self._named):
            return False
        self._named.update(version.parents)  # an id is a hash of what it names
        self.versions[version.id] = raw
        return True

    def _is_recipe(self, remnant: Remnant) -> bool:
        """Whether its pieces are all to be had, and are the file that it is named for."""
        hasher = None
        for piece, length in parse_recipe(remnant.payload()):
            raw = self.plain(piece)
            if raw is None or len(raw) != length:
                return False
            if hasher is None:
                from blake3 import blake3

                hasher = blake3(max_threads=blake3.AUTO)
            hasher.update(raw)
        return hasher is not None and hasher.digest() == remnant.header.id

    # -- plain bytes ---------------------------------------------------------------------------------------

    def plain(self, id: ContentId) -> bytes | None:
        """One content record's plain bytes, from the store or from what is proven."""
        kept = self._kept.get((int(RecordKind.CONTENT), id))
        if kept is not None:
            return kept
        try:
            return self._reader.object(id, RecordKind.CONTENT)
        except (DamagedData, FileNotFoundError):
            pass
        remnant = self.objects.get((int(RecordKind.CONTENT), id))
        if remnant is not None:
            return self._decoded(remnant)
        return self._from_found(id.key)

    def _decoded(self, remnant: Remnant) -> bytes | None:
        """Its plain bytes, unchecked; None while a base is missing."""
        kind = remnant.header.kind
        links = [remnant]
        data: bytes | None = None
        while links[-1].header.encoding == Encoding.DELTA:
            last = links[-1].header
            data = self._base(kind, last.base, last.rank)
            if data is not None:
                break
            below = [
                row for row in self._by_key.get((int(kind), last.base), ()) if row.header.rank < last.rank
            ]
            if not below:
                return None
            links.append(min(below, key=lambda row: row.header.rank))
        for link in reversed(links):
            data = encoding.decode(link.header.encoding, link.payload(), link.header.raw, data)
        return data

    def _base(self, kind: RecordKind, key: bytes, rank: int) -> bytes | None:
        """A base that is at hand, in the store (at a lower rank: so that every chain ends), or found."""
        for row in self._by_key.get((int(kind), key), ()):
            kept = self._kept.get((int(kind), row.header.id))
            if kept is not None and row.header.rank < rank:
                return kept
        if kind != RecordKind.CONTENT:
            return None
        for location in self._catalogue.with_key(key):
            if location.kind == kind and location.rank < rank:
                try:
                    return self._reader.base(self._catalogue.chain(location))
                except (DamagedData, FileNotFoundError):
                    continue
        return self._from_found(key)

    def _from_found(self, key: bytes) -> bytes | None:
        found = self._found.get(key)
        if found is None:
            return None
        raw = found[1]()
        return raw if raw is not None and ContentId.of(raw) == found[0] else None

    def _keep(self, key: tuple[int, bytes], raw: bytes) -> None:
        self._kept[key] = raw
        self._kept_size += len(raw)
        while self._kept_size > _KEPT:
            _, gone = self._kept.popitem(last=False)
            self._kept_size -= len(gone)


def _is_tombstone(remnant: Remnant) -> bool:
    try:
        facts = msgpack.unpackb(remnant.payload())
        return bool(facts["content"] == remnant.header.id)
    except (ValueError, KeyError, TypeError, msgpack.UnpackException):
        return False
