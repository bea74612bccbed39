"""The index of a pack: its data records in order, in columns (docs/format.md, "Index").

Packs may have a million records. So neither the writer nor the reader has an object for each: the one adds to
columns, the other keeps columns, from which an entry is made when it is asked for.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from typing import Final, NamedTuple

import msgpack

from memstore.errors import DamagedData
from memstore.ids import KEY_BYTES
from memstore.objects.record import (
    Encoding,
    Header,
    RecordKind,
    check_lengths,
    header_length,
    read_varint,
    varint,
)

MEND: Final = "run 'memsync repair', which brings back what the remote or Data/ has"


class IndexEntry(NamedTuple):
    """A data record as the index shows it."""

    kind: RecordKind
    encoding: Encoding
    key: bytes
    raw: int
    stored: int
    base: bytes
    rank: int
    offset: int
    length: int
    """Bytes of the record's header."""


class IndexWriter:
    """The index of a pack that is being written."""

    def __init__(self) -> None:
        self._keys = bytearray()
        self._kinds = bytearray()
        self._lengths = bytearray()
        self._first = 0
        self._deltas = array("Q")
        """The numbers of the entries that are deltas."""
        self._bases = bytearray()
        """The keys of their bases."""
        self._ranks = array("Q")

    def __len__(self) -> int:
        return len(self._kinds)

    def add(self, header: Header, offset: int) -> None:
        """The next record, which begins at that offset: where the one before it ends."""
        if not self._kinds:
            self._first = offset
        if header.encoding == Encoding.DELTA:
            self._deltas.append(len(self._kinds))
            self._bases += header.base
            self._ranks.append(header.rank)
        self._keys += header.id[:KEY_BYTES]
        self._kinds.append(header.kind << 4 | header.encoding)
        self._lengths += varint(header.raw) + varint(header.stored)

    def packed(self) -> bytes:
        """Columns, each compressible by itself."""
        wanted = {bytes(self._bases[at : at + KEY_BYTES]) for at in range(0, len(self._bases), KEY_BYTES)}
        position: dict[bytes, int] = {}
        if wanted:
            for number in range(len(self._kinds)):
                key = bytes(self._keys[KEY_BYTES * number : KEY_BYTES * (number + 1)])
                if key in wanted:
                    position[key] = number
        bases, outside = bytearray(), bytearray()
        for nth, (number, rank) in enumerate(zip(self._deltas, self._ranks, strict=True)):
            base = bytes(self._bases[KEY_BYTES * nth : KEY_BYTES * (nth + 1)])
            at = position.get(base)
            # How far back the base stands in this pack; 0 says that its key is in the last column.
            back = number - at if at is not None and at < number else 0
            bases += varint(back) + varint(rank)
            if not back:
                outside += base
        columns = [self._first, self._keys, self._kinds, self._lengths, bases, outside]
        packed: bytes = msgpack.packb(columns, use_bin_type=True)
        return packed


class Index:
    """What an index tells, entry by entry."""

    def __init__(self, raw: bytes, limit: int) -> None:
        """Of the plain bytes of an index whose records all end before `limit`. Raises `DamagedData`."""
        self._kinds = self._keys = b""
        self._raws, self._stored, self._offsets = array("I"), array("I"), array("Q")
        self._bases = bytearray()
        """The keys of the bases of those that are deltas, in their order."""
        self._ranks = array("Q")
        try:
            first, keys, kinds, lengths, bases, outside = msgpack.unpackb(raw)
            self._keys, self._kinds = bytes(keys), bytes(kinds)
            self._read(int(first), lengths, bases, bytes(outside), limit)
        except (ValueError, TypeError, OverflowError, msgpack.UnpackException) as error:
            raise DamagedData("an index does not decode", hint=MEND) from error

    def _read(self, offset: int, lengths: bytes, bases: bytes, outside: bytes, limit: int) -> None:
        keys, kinds = self._keys, self._kinds
        if len(keys) != KEY_BYTES * len(kinds) or offset < 0:
            raise DamagedData("the columns of an index differ in length", hint=MEND)
        at = bases_at = outside_at = 0
        known = {first: (RecordKind(first >> 4), Encoding(first & 0x0F)) for first in set(kinds)}
        for number, first in enumerate(kinds):
            kind, how = known[first]
            raw, at = read_varint(lengths, at)
            stored, at = read_varint(lengths, at)
            check_lengths(kind, raw, stored)
            rank = 0
            if how == Encoding.DELTA:
                back, bases_at = read_varint(bases, bases_at)
                rank, bases_at = read_varint(bases, bases_at)
                if back > number:
                    raise DamagedData("an index names a base before its first entry", hint=MEND)
                if back:
                    base = keys[KEY_BYTES * (number - back) : KEY_BYTES * (number - back + 1)]
                else:
                    base = outside[outside_at : outside_at + KEY_BYTES]
                    outside_at += KEY_BYTES
                if len(base) != KEY_BYTES:
                    raise DamagedData("an index names a base that it has no key of", hint=MEND)
                self._bases += base
                self._ranks.append(rank)
            self._raws.append(raw)
            self._stored.append(stored)
            self._offsets.append(offset)
            offset += header_length(kind, how, raw, stored, rank) + stored
            if offset > limit:
                raise DamagedData("an index points past its pack", hint=MEND)

    def __len__(self) -> int:
        return len(self._kinds)

    def __iter__(self) -> Iterator[IndexEntry]:
        keys, kinds = self._keys, self._kinds
        known = {first: (RecordKind(first >> 4), Encoding(first & 0x0F)) for first in set(kinds)}
        nth = 0
        for number, (first, raw, stored, offset) in enumerate(
            zip(kinds, self._raws, self._stored, self._offsets, strict=True)
        ):
            kind, how = known[first]
            base, rank = b"", 0
            if how == Encoding.DELTA:
                base, rank = bytes(self._bases[KEY_BYTES * nth : KEY_BYTES * (nth + 1)]), self._ranks[nth]
                nth += 1
            header = header_length(kind, how, raw, stored, rank)
            key = keys[KEY_BYTES * number : KEY_BYTES * (number + 1)]
            yield IndexEntry(kind, how, key, raw, stored, base, rank, offset, header)

    def bases(self) -> set[bytes]:
        """The keys of all bases of its deltas."""
        return {bytes(self._bases[at : at + KEY_BYTES]) for at in range(0, len(self._bases), KEY_BYTES)}


__all__ = ["MEND", "Index", "IndexEntry", "IndexWriter"]
