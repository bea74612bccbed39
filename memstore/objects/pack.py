"""Packs: sealed, immutable, named by the BLAKE3 of their bytes. The layout is in docs/format.md, "Packs".

    header | data records | groups of metadata records | index | trailer

The trailer has a fixed length and says where the metadata begins, so that one ranged read of the end tells a
reader everything but the file contents. The index lists the data records in order; their offsets follow
from their lengths, their ids are cut to 8 bytes.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Iterator
from typing import Any, Final, NamedTuple

from blake3 import blake3

from memstore import files
from memstore.errors import DamagedData
from memstore.ids import PackId
from memstore.objects import encoding
from memstore.objects.file_header import FEATURES, FORMAT, pack_file_header, parse_file_header
from memstore.objects.pack_index import MEND, Index, IndexWriter
from memstore.objects.record import (
    Encoding,
    Header,
    RecordKind,
    pack_header,
    parse_header,
)

__all__ = ["FEATURES", "FORMAT", "MetadataRecord", "PackWriter", "Tail", "read_tail"]

MAGIC: Final = b"MSYNCPAK"
END_MAGIC: Final = b"MSYNCEND"
TRAILER_LENGTH: Final = 8 + 8 + 16 + 8
"""Where metadata begins (u64), where the index begins (u64), BLAKE3 of all between (16 bytes), magic."""

GROUP_SIZE: Final = 1 << 20
"""Plain bytes after which a metadata group is closed: what reading one version costs at most."""

PLAIN_AT_MOST: Final = 16 << 20, 256
"""What the groups of a pack may come to when they are unpacked: so many bytes, and so many times the bytes that
they take. A writer keeps to it, so that nobody's reader is made to unpack a bomb."""

FIRST_READ: Final = 64 << 10
"""How much of the end a reader asks for first."""


class MetadataRecord(NamedTuple):
    """A record inside a group: where the group begins, where in its plain bytes the record does."""

    header: Header
    payload: bytes
    """As stored; decode by the header's encoding."""
    group: int
    inner: int


class Tail(NamedTuple):
    """What the end of a pack tells."""

    entries: Index
    metadata: list[MetadataRecord]
    size: int


class PackWriter:
    """Writes one pack into a temporary file of `folder`; `finish` gives it its name."""

    def __init__(self, folder: str, store: bytes) -> None:
        self._folder = folder
        self._opened = files.new_file(folder, make=True)
        self._descriptor, self._path = self._opened.__enter__()
        self._hash = blake3()
        self._buffer: list[bytes] = []
        self._buffered = 0
        self.size = 0
        self._index = IndexWriter()
        self._group: list[bytes] = []
        self._group_size = 0
        self._metadata: list[bytes] = []
        self._plain = 0
        header = pack_file_header(MAGIC, {"format": FORMAT, "features": [], "key": None, "store": store})
        self._write(header)

    def add(self, header: Header, record: bytes) -> None:
        """Copy a data record, header and payload as they are."""
        self._index.add(header, self.size)
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
        return len(self._index)

    def finish(self) -> tuple[PackId, str, int]:
        """(id, path, size) of the pack, durable under its name. Nothing may be added after."""
        self._close_group()
        metadata_at = self.size
        tail = blake3()
        for record in self._metadata:
            tail.update(record)
            self._write(record)
        index_at = self.size
        raw = self._index.packed()
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
        raise DamagedData(f"{what} is cut short or no pack", hint=MEND)
    metadata_at, index_at = struct.unpack_from("<QQ", data, len(data) - TRAILER_LENGTH)
    end = size - TRAILER_LENGTH
    if not metadata_at <= index_at <= end:
        raise DamagedData(f"the trailer of {what} is damaged", hint=MEND)
    if metadata_at < start:
        data = read_at(metadata_at, size - metadata_at)
        start = metadata_at
    view = memoryview(data)[metadata_at - start : end - start]
    if blake3(view).digest()[:16] != data[end - start + 16 : end - start + 32]:
        raise DamagedData(f"the index of {what} is damaged", hint=MEND)
    metadata: list[MetadataRecord] = []
    at = plain = 0
    while at < index_at - metadata_at:
        header = parse_header(view, at)
        if header.kind != RecordKind.GROUP:
            raise DamagedData(f"the metadata of {what} is damaged", hint=MEND)
        payload = bytes(view[at + header.length : at + header.length + header.stored])
        plain += header.raw
        if plain > _most_plain(index_at - metadata_at):
            raise DamagedData(f"{what} would unpack to more than any pack does", hint=MEND)
        metadata.extend(read_group(encoding.decode(header.encoding, payload, header.raw), metadata_at + at))
        at += header.length + header.stored
    header = parse_header(view, at)
    if header.kind != RecordKind.INDEX or header.raw > _most_plain(header.stored):
        raise DamagedData(f"the index of {what} is damaged", hint=MEND)
    payload = bytes(view[at + header.length : at + header.length + header.stored])
    raw = encoding.decode(header.encoding, payload, header.raw)
    return Tail(Index(raw, metadata_at), metadata, size)


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
            raise DamagedData("a record in a group is cut short", hint=MEND)
        yield MetadataRecord(header, raw[start : start + header.stored], group, at)
        at = start + header.stored


def check_header(data: bytes, what: str) -> dict[str, Any]:
    """The facts at a pack's beginning; raises `DamagedData` if it is none, or of a newer format."""
    return parse_file_header(data, MAGIC, what)[0]
