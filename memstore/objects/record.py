"""Records: what segments and packs are made of. The layout is in docs/format.md, "Records".

A record carries its own header, so that every index can be rebuilt by reading. There is no checksum of its
own: a content is compared with its id after decoding, and what has no id (versions, groups) lies under the
hash of a commit record or of the whole pack.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final, NamedTuple

from memstore.errors import DamagedData
from memstore.ids import ID_BYTES, KEY_BYTES, ContentId


class RecordKind(IntEnum):
    """High four bits of a record's first byte."""

    CONTENT = 1
    """The bytes of a file, or of a piece of a large one."""
    RECIPE = 2
    """The pieces a large file is made of; its id is the file's content id."""
    VERSION = 3
    MANIFEST = 4
    """A checkpoint: a full canonical manifest."""
    TOMBSTONE = 5
    """A content that was removed, by retention or because it was to be forgotten."""
    DICTIONARY = 6
    """Reserved: a zstd dictionary."""
    GROUP = 7
    """In packs: metadata records compressed together."""
    INDEX = 8
    """In packs: where its data records are."""
    COMMIT = 15
    """In segments: everything since the previous one counts."""


class Encoding(IntEnum):
    """Low four bits of a record's first byte."""

    RAW = 0
    ZSTD = 1
    """A zstd frame without its four magic bytes."""
    DELTA = 2
    """The same, with the plain bytes of another object of its kind as prefix."""
    DICTIONARY = 3
    """Reserved."""


PIECE_LIMIT: Final = 16 << 20
"""Plain bytes of one content record at most; a larger file is a recipe of pieces."""
Piece = tuple[ContentId, int]
"""A piece of a large file: (content id, plain bytes)."""
EDGE: Final = 64
Edges = tuple[bytes, bytes]
"""The first and the last `EDGE` bytes of a piece."""

_RAW_LIMITS: Final = {
    RecordKind.CONTENT: PIECE_LIMIT,
    RecordKind.RECIPE: 64 << 20,
    RecordKind.VERSION: 1 << 30,
    RecordKind.MANIFEST: PIECE_LIMIT,
    RecordKind.TOMBSTONE: 1 << 16,
    RecordKind.DICTIONARY: 1 << 20,
    RecordKind.GROUP: (1 << 30) + (1 << 20),
    RecordKind.INDEX: 1 << 30,
}
"""What a header may declare: checked before anything is allocated."""

_WITHOUT_ID: Final = frozenset({RecordKind.VERSION, RecordKind.GROUP, RecordKind.INDEX})
_FIRST_BYTES: Final = {kind << 4 | how: (kind, how) for kind in RecordKind for how in Encoding}
HEADER_LIMIT: Final = 1 + ID_BYTES + 5 + 5 + KEY_BYTES + 5


class Header(NamedTuple):
    """A record's header, and how many bytes it takes."""

    kind: RecordKind
    encoding: Encoding
    id: bytes
    """32 bytes; empty for a version, a group and an index, whose id is computed or needless."""
    raw: int
    """Plain bytes."""
    stored: int
    """Bytes of the payload that follows the header."""
    base: bytes
    """Key (8 bytes) of a delta's base; empty otherwise."""
    rank: int
    """0 for what decodes alone; for a delta, the base's rank when it was made, plus 1."""
    length: int
    """Bytes of the header itself."""


def varint(number: int) -> bytes:
    """Unsigned LEB128."""
    if number < 0x80:
        return bytes((number,))
    if number < 0x4000:
        return bytes((number & 0x7F | 0x80, number >> 7))
    out = bytearray()
    while number >= 0x80:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def read_varint(data: bytes | memoryview, at: int) -> tuple[int, int]:
    """(number, offset after it). Raises `DamagedData` past five bytes or the end."""
    number = shift = 0
    end = len(data)
    if at + 1 < end:  # nearly always it takes two bytes at most
        first, second = data[at], data[at + 1]
        if first < 0x80:
            return first, at + 1
        if second < 0x80:
            return first & 0x7F | second << 7, at + 2
    end = min(end, at + 5)
    while at < end:
        byte = data[at]
        at += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number, at
        shift += 7
    raise DamagedData("a number in a record runs past its end", hint="run 'memsync verify'")


def pack_header(
    kind: RecordKind,
    encoding: Encoding,
    id: bytes,
    raw: int,
    stored: int,
    base: bytes = b"",
    rank: int = 0,
) -> bytes:
    """The bytes that stand before a payload of `stored` bytes."""
    first = bytes((kind << 4 | encoding,))
    lengths = varint(raw) + varint(stored)
    if encoding == Encoding.DELTA:
        return first + id + lengths + base + varint(rank)
    return first + id + lengths


def header_length(kind: RecordKind, encoding: Encoding, raw: int, stored: int, rank: int) -> int:
    """Bytes that `pack_header` makes of these."""
    length = 1 if kind in _WITHOUT_ID else 1 + ID_BYTES
    for number in (raw, stored):
        length += 1 if number < 0x80 else 2 if number < 0x4000 else (number.bit_length() + 6) // 7
    if encoding == Encoding.DELTA:
        length += KEY_BYTES + len(varint(rank))
    return length


def parse_header(data: bytes | memoryview, at: int) -> Header:
    """The header that begins at `at`. Raises `DamagedData` if there is none, or it declares too much."""
    try:
        first = data[at]
        kind, encoding = _FIRST_BYTES.get(first) or (RecordKind(first >> 4), Encoding(first & 0x0F))
    except (ValueError, IndexError):
        raise DamagedData("no record begins where one should", hint="run 'memsync verify'") from None
    start = at
    at += 1
    id = b""
    if kind not in _WITHOUT_ID:
        id = bytes(data[at : at + ID_BYTES])
        at += ID_BYTES
    raw, at = read_varint(data, at)
    stored, at = read_varint(data, at)
    base, rank = b"", 0
    if encoding is Encoding.DELTA:
        base = bytes(data[at : at + KEY_BYTES])
        at += KEY_BYTES
        rank, at = read_varint(data, at)
    check_lengths(kind, raw, stored)
    if at > len(data):
        raise DamagedData("a record's header is cut short", hint="run 'memsync verify'")
    return Header(kind, encoding, id, raw, stored, base, rank, at - start)


def check_lengths(kind: RecordKind, raw: int, stored: int) -> None:
    """Raises `DamagedData` for lengths that no record of that kind has."""
    limit = _RAW_LIMITS.get(kind)
    # zstd never expands by more than a few bytes in a thousand, and raw is what is stored otherwise.
    if limit is None or raw > limit or stored > raw + (raw >> 8) + 64:
        raise DamagedData("a record declares an impossible length", hint="run 'memsync verify'")
