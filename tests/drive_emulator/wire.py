"""HTTP/1.1 by hand: one request in, one answer out, and cuts at exact places.

The standard library's handler cannot stop in the middle of a body or of an answer, which is
what half of the faults are about; so framing (Content-Length, chunked bodies, 411, keep-alive,
100-continue) is done here.
"""

from __future__ import annotations

import json
import socket
import struct
import sys
import urllib.parse
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import BinaryIO

MAX_LINE = 65_536
MAX_HEADERS = 200
READ_STEP = 65_536


class Hangup(Exception):
    """The peer went away, or spoke something that is not HTTP."""


@dataclass
class Request:
    """One HTTP request. `body` may be short: then `complete` is False."""

    method: str
    target: str
    headers: dict[str, str]
    version: str = "HTTP/1.1"
    path: str = ""
    query: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    complete: bool = True
    overridden: int | None = None
    """Body bytes of a request that came with X-HTTP-Method-Override; else None."""

    def __post_init__(self) -> None:
        parts = urllib.parse.urlsplit(self.target)
        self.path = urllib.parse.unquote(parts.path)
        self.add_query(parts.query)

    def add_query(self, text: str) -> None:
        self.query.update(urllib.parse.parse_qsl(text, keep_blank_values=True))

    @property
    def length(self) -> int | None:
        """The declared Content-Length, or None. Raises Hangup when it is no number."""
        text = self.headers.get("content-length")
        if text is None:
            return None
        if not text.isdigit():
            raise Hangup(f"bad Content-Length {text!r}")
        return int(text)

    @property
    def chunked(self) -> bool:
        return "chunked" in self.headers.get("transfer-encoding", "").lower()

    @property
    def keep_alive(self) -> bool:
        connection = self.headers.get("connection", "").lower()
        return "close" not in connection and self.version == "HTTP/1.1"

    def flag(self, name: str) -> bool:
        return self.query.get(name, "").lower() == "true"


@dataclass
class Response:
    """One HTTP answer."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""

    @classmethod
    def json(cls, value: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
        body = json.dumps(value, indent=1, ensure_ascii=False).encode()
        kind = {"Content-Type": "application/json; charset=UTF-8"}
        return cls(status, kind | dict(headers or {}), body)

    def head(self, *, keep_alive: bool) -> bytes:
        # 308 is "Resume Incomplete" here, and httplib2 reads the number only.
        phrase = "Resume Incomplete" if self.status == 308 else _phrase(self.status)
        lines = [f"HTTP/1.1 {self.status} {phrase}"]
        lines += [f"{name}: {value}" for name, value in self.headers.items()]
        if self.status != 204:
            lines.append(f"Content-Length: {len(self.body)}")
        if not keep_alive:
            lines.append("Connection: close")
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Unknown"


def read_head(stream: BinaryIO) -> Request | None:
    """The next request's head, or None when the peer closed between requests."""
    line = stream.readline(MAX_LINE)
    if not line:
        return None
    try:
        method, target, version = line.decode("latin-1").split()
    except ValueError:
        raise Hangup("not an HTTP request line") from None
    return Request(method.upper(), target, read_headers(stream), version)


def read_headers(stream: BinaryIO) -> dict[str, str]:
    """Header lines up to the empty one, names in lower case; the last of a name wins."""
    headers: dict[str, str] = {}
    for _ in range(MAX_HEADERS):
        line = stream.readline(MAX_LINE)
        if line in (b"\r\n", b"\n"):
            return headers
        if not line:
            raise Hangup("closed inside the headers")
        name, colon, value = line.decode("latin-1").partition(":")
        if not colon:
            raise Hangup("a header line without a colon")
        headers[name.strip().lower()] = value.strip()
    raise Hangup("too many headers")


def read_body(request: Request, stream: BinaryIO, limit: int | None = None) -> None:
    """Fill `request.body`, at most `limit` bytes of it; whatever is missing is noted.

    A peer that goes away in the middle leaves a short body and `complete` False: an upload
    session keeps the aligned part of it, so the bytes must not be thrown away here.
    """
    parts: list[bytes] = []
    try:
        if request.chunked:
            request.complete = _read_chunked(stream, parts, limit)
        else:
            wanted = request.length or 0
            take = wanted if limit is None else min(wanted, limit)
            got = _read_exactly(stream, take, parts)
            request.complete = got == wanted
    except OSError:
        request.complete = False
    request.body = b"".join(parts)


def _read_exactly(stream: BinaryIO, wanted: int, parts: list[bytes]) -> int:
    got = 0
    while got < wanted:
        piece = stream.read(min(READ_STEP, wanted - got))
        if not piece:
            break
        parts.append(piece)
        got += len(piece)
    return got


def _read_chunked(stream: BinaryIO, parts: list[bytes], limit: int | None) -> bool:
    room = limit
    while True:
        line = stream.readline(MAX_LINE)
        try:
            size = int(line.split(b";")[0], 16)
        except ValueError:
            return False
        if size == 0:
            while stream.readline(MAX_LINE) not in (b"\r\n", b"\n", b""):
                pass
            return True
        take = size if room is None else min(size, room)
        if _read_exactly(stream, take, parts) < size:
            return False
        if room is not None:
            room -= take
        stream.readline(MAX_LINE)


def abort(connection: socket.socket) -> None:
    """Make the coming close an RST instead of a FIN; clients tell the two apart."""
    shape = "hh" if sys.platform == "win32" else "ii"
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack(shape, 1, 0))
