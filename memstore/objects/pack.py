"""Packs: sealed, immutable, named by the BLAKE3 of their bytes. The layout is in docs/format.md, "Packs".

    header | data records | groups of metadata records | index | trailer

The trailer has a fixed length and says where the metadata begins, so that one ranged read of the end tells a
reader everything but the file contents. The index lists the data records in order; their offsets follow
from their lengths, their ids are cut to 8 bytes.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final, NamedTuple

import msgpack
from blake3 import blake3

from memstore import files
from memstore.errors import DamagedData
from memstore.ids import KEY_BYTES, PackId
from memstore.objects import encoding
from memstore.objects.file_header import FEATURES, FORMAT, pack_file_header, parse_file_header
from memstore.objects.record import (
    Encoding,
    Header,
    RecordKind,
    check_lengths,
    header_length,
    pack_header,
    parse_header,
    read_varint,
    varint,
)

__all__ = ["FEATURES", "FORMAT", "IndexEntry", "MetadataRecord", "PackWriter", "Tail", "read_tail"]

MAGIC: Final = b"MSYNCPAK"
END_MAGIC: Final = b"MSYNCEND"
TRAILER_LENGTH: Final = 8 + 8 + 16 + 8
"""Where metadata begins (u64), where the index begins (u64), BLAKE3 of all between (16 bytes), magic."""

_MEND: Final = "run 'memsync repair', which brings back what the remote or Data/ has"

GROUP_SIZE: Final = 1 << 20
"""Plain bytes after which a metadata group is closed: what reading one version costs at most."""

PLAIN_AT_MOST: Final = 16 << 20, 256
"""What the groups of a pack may come to when they are unpacked: so many bytes, and so many times the bytes that
they take. A writer keeps to it, so that nobody's reader is made to unpack a bomb."""

FIRST_READ: Final = 64 << 10
"""How much of the end a reader asks for first."""


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


class MetadataRecord(NamedTuple):
    """A record inside a group: where the group begins, where in its plain bytes the record does."""

    header: Header
    payload: bytes
    """As stored; decode by the header's encoding."""
    group: int
    inner: int


class Tail(NamedTuple):
    """What the end of a pack tells."""

    entries: list[IndexEntry]
    metadata: list[MetadataRecord]
    size: int


class PackWriter:
    """Writes one pack into a temporary file of `folder`; `finish` gives it its name."""

    def __init__(self, folder: str, store: bytes) -> None:
        self._folder = folder
        self._opened = files.new_file(folder)
        self._descriptor, self._path = self._opened.__enter__()
        self._hash = blake3()
        self._buffer: list[bytes] = []
        self._buffered = 0
        self.size = 0
        self._entries: list[IndexEntry] = []
        self._group: list[bytes] = []
        self._group_size = 0
        self._metadata: list[bytes] = []
        self._plain = 0
        header = pack_file_header(MAGIC, {"format": FORMAT, "features": [], "key": None, "store": store})
        self._write(header)

    def add(self, header: Header, record: bytes) -> None:
        """Copy a data record, header and payload as they are."""
        self._entries.append(
            IndexEntry(
                header.kind,
                header.encoding,
                header.id[:KEY_BYTES],
                header.raw,
                header.stored,
                header.base,
                header.rank,
                self.size,
                header.length,
            )
        )
        self._write(record)

    def add_metadata(self, header: Header, payload: bytes) -> None:
        """Add a metadata record; its payload is stored plain unless it is a delta, for the group is compressed."""
        packed = pack_header(
            header.kind,
            header.encoding,
            header.id,
            header.raw,
            len(payload),
            header.base,
            header.rank,
        )
        if self._group and self._group_size + len(packed) + len(payload) > GROUP_SIZE:
            self._close_group()
        self._group += (packed, payload)
        self._group_size += len(packed) + len(payload)

    @property
    def objects(self) -> int:
        return len(self._entries)

    def finish(self) -> tuple[PackId, str, int]:
        """(id, path, size) of the pack, durable under its name. Nothing may be added after."""
        self._close_group()
        metadata_at = self.size
        tail = blake3()
        for record in self._metadata:
            tail.update(record)
            self._write(record)
        index_at = self.size
        raw = _pack_index(self._entries)
        payload = encoding.compress_metadata(raw)
        index = pack_header(RecordKind.INDEX, Encoding.ZSTD, b"", len(raw), len(payload)) + payload
        tail.update(index)
        self._write(index)
        self._write(struct.pack("<QQ", metadata_at, index_at) + tail.digest()[:16] + END_MAGIC)
        self._flush()
        files.sync(self._descriptor, self._path)
        pack = PackId(self._hash.digest())
        path = os.path.join(self._folder, f"{pack}.pack")
        self._opened.__exit__(None, None, None)
        files.publish(self._path, path)
        return pack, path, self.size

    def abandon(self) -> None:
        """Remove the unfinished file."""
        try:
            self._opened.__exit__(GeneratorExit, GeneratorExit(), None)
        except GeneratorExit:
            return

    def _close_group(self) -> None:
        if not self._group:
            return
        raw = b"".join(self._group)
        payload = encoding.compress_metadata(raw)
        how = Encoding.ZSTD
        stored = sum(map(len, self._metadata))
        if len(payload) >= len(raw) or self._plain + len(raw) > _most_plain(stored + len(payload)):
            payload, how = raw, Encoding.RAW
        self._plain += len(raw)
        self._metadata.append(pack_header(RecordKind.GROUP, how, b"", len(raw), len(payload)) + payload)
        self._group, self._group_size = [], 0

    def _write(self, data: bytes) -> None:
        self.size += len(data)
        self._buffer.append(data)
        self._buffered += len(data)
        if self._buffered >= 1 << 20:
            self._flush()

    def _flush(self) -> None:
        data = b"".join(self._buffer)
        self._hash.update(data)
        files.write_all(self._descriptor, data, self._path)
        self._buffer, self._buffered = [], 0


def read_tail(read_at: Callable[[int, int], bytes], size: int, what: str) -> Tail:
    """Index and metadata of a pack of `size` bytes: the end in one read, or two if there is much of it.

    The header is not read here (`check_header`). Raises `DamagedData`.
    """
    start = max(0, size - FIRST_READ)
    data = read_at(start, size - start)
    if len(data) < TRAILER_LENGTH or data[-8:] != END_MAGIC or len(data) != size - start:
        raise DamagedData(f"{what} is cut short or no pack", hint=_MEND)
    metadata_at, index_at = struct.unpack_from("<QQ", data, len(data) - TRAILER_LENGTH)
    end = size - TRAILER_LENGTH
    if not metadata_at <= index_at <= end:
        raise DamagedData(f"the trailer of {what} is damaged", hint=_MEND)
    if metadata_at < start:
        data = read_at(metadata_at, size - metadata_at)
        start = metadata_at
    view = memoryview(data)[metadata_at - start : end - start]
    if blake3(view).digest()[:16] != data[end - start + 16 : end - start + 32]:
        raise DamagedData(f"the index of {what} is damaged", hint=_MEND)
    metadata: list[MetadataRecord] = []
    at = plain = 0
    while at < index_at - metadata_at:
        header = parse_header(view, at)
        if header.kind != RecordKind.GROUP:
            raise DamagedData(f"the metadata of {what} is damaged", hint=_MEND)
        payload = bytes(view[at + header.length : at + header.length + header.stored])
        plain += header.raw
        if plain > _most_plain(index_at - metadata_at):
            raise DamagedData(f"{what} would unpack to more than any pack does", hint=_MEND)
        metadata.extend(read_group(encoding.decode(header.encoding, payload, header.raw), metadata_at + at))
        at += header.length + header.stored
    header = parse_header(view, at)
    if header.kind != RecordKind.INDEX or header.raw > _most_plain(header.stored):
        raise DamagedData(f"the index of {what} is damaged", hint=_MEND)
    payload = bytes(view[at + header.length : at + header.length + header.stored])
    raw = encoding.decode(header.encoding, payload, header.raw)
    return Tail(list(_unpack_index(raw, metadata_at)), metadata, size)


def _most_plain(stored: int) -> int:
    floor, times = PLAIN_AT_MOST
    return floor + times * stored


def read_group(raw: bytes, group: int) -> Iterator[MetadataRecord]:
    """The records of a group's plain bytes."""
    at = 0
    while at < len(raw):
        header = parse_header(raw, at)
        start = at + header.length
        if start + header.stored > len(raw):
            raise DamagedData("a record in a group is cut short", hint=_MEND)
        yield MetadataRecord(header, raw[start : start + header.stored], group, at)
        at = start + header.stored


def check_header(data: bytes, what: str) -> dict[str, Any]:
    """The facts at a pack's beginning; raises `DamagedData` if it is none, or of a newer format."""
    return parse_file_header(data, MAGIC, what)[0]


def _pack_index(entries: list[IndexEntry]) -> bytes:
    """Columns, each compressible by itself: see docs/format.md, "Index"."""
    position = {entry.key: number for number, entry in enumerate(entries)}
    kinds = bytes(entry.kind << 4 | entry.encoding for entry in entries)
    lengths = b"".join(varint(entry.raw) + varint(entry.stored) for entry in entries)
    bases, outside = bytearray(), bytearray()
    for number, entry in enumerate(entries):
        if entry.encoding != Encoding.DELTA:
            continue
        at = position.get(entry.base)
        # How far back the base stands in this pack; 0 says that its key is in the last column.
        back = number - at if at is not None and at < number else 0
        bases += varint(back) + varint(entry.rank)
        if not back:
            outside += entry.base
    first = entries[0].offset if entries else 0
    columns = [first, b"".join(entry.key for entry in entries), kinds, lengths, bytes(bases), bytes(outside)]
    packed: bytes = msgpack.packb(columns, use_bin_type=True)
    return packed


def _unpack_index(raw: bytes, limit: int) -> Iterable[IndexEntry]:
    try:
        offset, keys, kinds, lengths, bases, outside = msgpack.unpackb(raw)
        yield from _entries(int(offset), bytes(keys), bytes(kinds), lengths, bases, bytes(outside), limit)
    except (ValueError, TypeError, OverflowError, msgpack.UnpackException) as error:
        raise DamagedData("an index does not decode", hint=_MEND) from error


def _entries(
    offset: int, keys: bytes, kinds: bytes, lengths: bytes, bases: bytes, outside: bytes, limit: int
) -> Iterator[IndexEntry]:
    if len(keys) != KEY_BYTES * len(kinds) or offset < 0:
        raise DamagedData("the columns of an index differ in length", hint=_MEND)
    at = bases_at = outside_at = 0
    known = {first: (RecordKind(first >> 4), Encoding(first & 0x0F)) for first in set(kinds)}
    for number, first in enumerate(kinds):
        kind, how = known[first]
        begin = KEY_BYTES * number
        raw_length, at = read_varint(lengths, at)
        stored, at = read_varint(lengths, at)
        check_lengths(kind, raw_length, stored)
        base, rank = b"", 0
        if how == Encoding.DELTA:
            back, bases_at = read_varint(bases, bases_at)
            rank, bases_at = read_varint(bases, bases_at)
            if back > number:
                raise DamagedData("an index names a base before its first entry", hint=_MEND)
            if back:
                base = keys[KEY_BYTES * (number - back) : KEY_BYTES * (number - back + 1)]
            else:
                base = outside[outside_at : outside_at + KEY_BYTES]
                outside_at += KEY_BYTES
        header = header_length(kind, how, raw_length, stored, rank)
        yield IndexEntry(
            kind, how, keys[begin : begin + KEY_BYTES], raw_length, stored, base, rank, offset, header
        )
        offset += header + stored
        if offset > limit:
            raise DamagedData("an index points past its pack", hint=_MEND)
