"""The names of things: BLAKE3-256 hashes, a distinct type for each kind of thing.

An id is its 32 bytes; `str(id)` is 64 lowercase hex digits, as `b3sum` prints them. Two ids of different
kinds are never interchangeable for a type checker, though both are `bytes` at run time.
"""

from __future__ import annotations

from typing import Self

from blake3 import blake3

ID_BYTES = 32
KEY_BYTES = 8
"""How much of an id the indexes keep. Two contents may share a key; the full id decides (docs/format.md)."""

SHORTEST_PREFIX = 8
"""Hex digits a person must type at least."""

# BLAKE3's derive-key mode: a hash in one context is never a hash in another, so that no file's content
# can pose as a version or a manifest.
_VERSION_CONTEXT = "memsync version 1"
_MANIFEST_CONTEXT = "memsync manifest 1"
_VERSION_HASHER = blake3(derive_key_context=_VERSION_CONTEXT)


class Id(bytes):
    """32 bytes that name something by its content."""

    __slots__ = ()

    def __str__(self) -> str:
        return self.hex()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.hex()[:12]}…)"

    @classmethod
    def from_hex(cls, text: str) -> Self:
        """The id that 64 hex digits spell. Raises `ValueError` for anything else."""
        raw = bytes.fromhex(text)
        if len(raw) != ID_BYTES or len(text) != 2 * ID_BYTES:
            raise ValueError(f"not an id: {text!r}")
        return cls(raw)

    @property
    def key(self) -> bytes:
        """The first 8 bytes, by which indexes find it."""
        return self[:KEY_BYTES]


class ContentId(Id):
    """BLAKE3-256 of a file's plain bytes; `b3sum FILE` prints the same."""

    __slots__ = ()

    @classmethod
    def of(cls, content: bytes | bytearray | memoryview) -> ContentId:
        return cls(blake3(content).digest())


class VersionId(Id):
    """BLAKE3-256, derive-key mode, of a version's encoded form."""

    __slots__ = ()

    @classmethod
    def of(cls, encoded: bytes) -> VersionId:
        hasher = _VERSION_HASHER.copy()  # half the time of making one, and a log reads thousands
        hasher.update(encoded)
        return cls(hasher.digest())


class ManifestId(Id):
    """BLAKE3-256, derive-key mode, of a canonical manifest."""

    __slots__ = ()

    @staticmethod
    def hasher() -> blake3:
        """A running hash to feed a canonical manifest to, entry by entry."""
        return blake3(derive_key_context=_MANIFEST_CONTEXT)

    @classmethod
    def of(cls, canonical: bytes) -> ManifestId:
        return cls(blake3(canonical, derive_key_context=_MANIFEST_CONTEXT).digest())


class PackId(Id):
    """BLAKE3-256 of a pack's bytes, which is also its file name."""

    __slots__ = ()
