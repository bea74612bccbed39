"""Records in `.memsync` that prove themselves: msgpack, and after it the first 16 bytes of its BLAKE3."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgpack
from blake3 import blake3

from memstore.ids import ContentId
from memstore.manifest.version import Entry, Kind

CHECK_BYTES: Final = 16

UNREADABLE: Final = (ValueError, KeyError, TypeError, IndexError, msgpack.UnpackException)
"""What reading a record raises that is not what memsync writes."""


def sealed(document: object) -> bytes:
    body: bytes = msgpack.packb(document, use_bin_type=True)
    return body + blake3(body).digest()[:CHECK_BYTES]


def opened(data: bytes) -> Any:
    """The document. Raises one of `UNREADABLE` for damaged bytes."""
    body, check = data[:-CHECK_BYTES], data[-CHECK_BYTES:]
    if blake3(body).digest()[:CHECK_BYTES] != check:
        body = data  # as memsync wrote it once, without its hash; with a hash that does not fit it does not parse
    return msgpack.unpackb(body)


def packed(entry: Entry | None) -> list[object] | None:
    """What a path holds, without its path."""
    if entry is None:
        return None
    return [int(entry.kind), entry.size, bytes(entry.content), entry.modified_ms]


def unpacked(path: str, row: Sequence[object] | None) -> Entry | None:
    """Raises one of `UNREADABLE` for what is no such row."""
    if row is None:
        return None
    kind, size, content, modified = row
    if not (type(kind) is type(size) is type(modified) is int and isinstance(content, bytes)):
        raise TypeError("it is not what memsync writes")
    return Entry(path, Kind(kind), size, ContentId(content), modified)
