"""Merging three contents of one file: JSON by key, JSON lines and text by line."""

from __future__ import annotations

from typing import Any, Final

from memstore.merging import keyed, lines

LARGEST: Final = 16 << 20
"""Bytes of both sides together, above which contents are not merged."""
LARGEST_COPY: Final = 1 << 20
"""Bytes above which what is no text is not laid beside the other side."""


def merge(base: bytes | None, earlier: bytes, later: bytes) -> bytes | None:
    """Both sides' changes to a content, of which the later side's last change is the later one. None where they
    overlap, where one is no text, and where there is no `base`."""
    if base is None or not (is_text(base) and is_text(earlier) and is_text(later)):
        return None
    try:
        documents = [keyed.parsed(data) for data in (base, earlier, later)]
    except (ValueError, RecursionError):
        documents = []
    for kind in (dict, list):
        if documents and all(isinstance(document, kind) for document in documents):
            merged = _by_key(documents, later)
            if merged is not None or kind is dict:
                return merged
    merged = _by_line(base, earlier, later)
    if merged is None or not documents:
        return merged
    try:  # a list, say: what comes out must still be a document
        keyed.parsed(merged)
    except (ValueError, RecursionError):
        return None
    return merged


def is_text(data: bytes) -> bool:
    """UTF-8 without NUL."""
    if b"\0" in data:
        return False
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def _by_key(documents: list[Any], manner: bytes) -> bytes | None:
    style = keyed.style_of(manner)
    try:
        return (keyed.written(keyed.merge(*documents), style) + style.end).encode()
    except (keyed.Overlap, UnicodeEncodeError):  # a lone surrogate can't be written
        return None


def _by_line(base: bytes, earlier: bytes, later: bytes) -> bytes | None:
    sides = [_split(data) for data in (base, earlier, later)]
    apart = all(_is_json_lines(side) for side in sides)
    merged = lines.merge(*sides, apart=apart)
    if merged is None:
        return None
    ends = [side[-1:] == b"\n" for side in (base, earlier, later)]
    end = ends[2] if ends[1] == ends[0] else ends[1]
    return b"\n".join(merged) + (b"\n" if merged and (end or merged[-1] == b"") else b"")


def _split(data: bytes) -> list[bytes]:
    """Lines without their ends."""
    return data.removesuffix(b"\n").split(b"\n") if data else []


def _is_json_lines(rows: list[bytes]) -> bool:
    """Whether each line is an object for itself."""
    for row in rows:
        line = row.strip()
        if line and not (line.startswith(b"{") and line.endswith(b"}")):
            return False
        try:
            if line and not isinstance(keyed.parsed(line), dict):
                return False
        except (ValueError, RecursionError):
            return False
    return True
