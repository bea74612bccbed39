"""How segments and packs begin: a magic, the format they are of, whose they are (docs/format.md, "File headers")."""

from __future__ import annotations

import struct
from typing import Any, Final

import msgpack
from blake3 import blake3

from memstore.errors import DamagedData

FORMAT: Final = 1
FEATURES: Final = frozenset[str]()
"""What this memsync can read beyond format 1; a file that requires more is refused."""

NEWER: Final = "newer_format"
"""The error code of a file that is whole, but not for this memsync."""


def pack_file_header(magic: bytes, facts: dict[str, Any]) -> bytes:
    """Magic, length (u32, little-endian), msgpack map, and 8 bytes of BLAKE3 of all that."""
    body: bytes = msgpack.packb(facts, use_bin_type=True)
    start = magic + struct.pack("<I", len(body)) + body
    return start + blake3(start).digest()[:8]


def parse_file_header(data: bytes, magic: bytes, what: str) -> tuple[dict[str, Any], int]:
    """(facts, length of the header). Raises `DamagedData` for what is no such file, or needs a newer memsync."""
    hint = "run 'memsync verify'"
    if data[:8] != magic or len(data) < 12:
        raise DamagedData(f"{what} does not begin as it must", hint=hint)
    end = 12 + struct.unpack_from("<I", data, 8)[0]
    if len(data) < end + 8 or blake3(data[:end]).digest()[:8] != data[end : end + 8]:
        raise DamagedData(f"the header of {what} is damaged", hint=hint)
    try:
        facts: dict[str, Any] = msgpack.unpackb(data[12:end])
        needed = set(facts["features"]) - FEATURES
        number = facts["format"]
    except (ValueError, KeyError, TypeError, msgpack.UnpackException) as error:
        raise DamagedData(f"the header of {what} is damaged", hint=hint) from error
    if number != FORMAT or needed:
        raise DamagedData(
            f"{what} was written by a newer memsync (format {number}, features {sorted(map(str, needed))})",
            hint="pip install --upgrade memsync",
            code=NEWER,
        )
    if facts.get("key") is not None:
        raise DamagedData(
            f"{what} is encrypted", hint="use a memsync that can read encrypted stores", code=NEWER
        )
    return facts, end + 8
