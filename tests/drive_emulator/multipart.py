"""Multipart bodies, with CRLF line ends as the standard wants or bare LF as the library sends.

Which of the two is read off the first line; payloads are taken byte for byte. With bare LF a
payload that ends in CR is ambiguous, and whether Drive then keeps the CR is unsettled.
"""

from __future__ import annotations

import email.message
import re
from dataclasses import dataclass

from .errors import ApiError


@dataclass(frozen=True)
class Part:
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True)
class Parts:
    parts: list[Part]
    bare_lf: bool


def split(content_type: str, body: bytes, *, want: str, lf_eats_cr: bool = False) -> Parts:
    """The parts of a `want` body (`multipart/related`). Raises a 400 `ApiError`."""
    boundary = _boundary(content_type, want)
    dashes = b"--" + boundary
    if not body.startswith(dashes):
        raise ApiError("badRequest", "The body does not begin with its boundary.")
    crlf = body.startswith(dashes + b"\r\n")
    end = b"\r\n" if crlf else b"\n"
    before = b"\r?\n" if lf_eats_cr or crlf else b"\n"
    # The first delimiter has no line end of its own before it.
    pieces = re.split(before + re.escape(dashes) + rb"(?=\r?\n|--)", b"\n" + body)
    if len(pieces) < 3 or not pieces[-1].startswith(b"--"):
        raise ApiError("badRequest", "The multipart body is not closed.")
    return Parts([_part(piece, end) for piece in pieces[1:-1]], bare_lf=not crlf)


def _boundary(content_type: str, want: str) -> bytes:
    message = email.message.Message()
    message["content-type"] = content_type
    boundary = message.get_param("boundary")
    if message.get_content_type() != want or not isinstance(boundary, str):
        raise ApiError("badRequest", f"The body must be {want} with a boundary.")
    return boundary.encode("latin-1")


def _part(piece: bytes, end: bytes) -> Part:
    # The piece begins with the rest of its delimiter's line.
    piece = piece.removeprefix(end)
    if piece.startswith(end):
        return Part({}, piece.removeprefix(end))
    head, blank, body = piece.partition(end + end)
    if not blank:
        raise ApiError("badRequest", "A part has no empty line after its headers.")
    headers: dict[str, str] = {}
    for line in head.decode("latin-1").splitlines():
        name, _, value = line.partition(":")
        headers[name.strip().lower()] = value.strip()
    return Part(headers, body)
