"""The batch endpoint's envelope: up to 100 calls in one request, no media, each charged."""

from __future__ import annotations

import io
import secrets

from .errors import ApiError
from .multipart import split
from .wire import Hangup, Request, Response, read_head

MAX_CALLS = 100


def unpack(request: Request) -> list[tuple[str, Request]]:
    """The calls inside with their Content-IDs. Raises a 400 `ApiError`."""
    body = request.body.lstrip(b"\r\n")
    parts = split(request.headers.get("content-type", ""), body, want="multipart/mixed").parts
    if len(parts) > MAX_CALLS:
        raise ApiError("badRequest", f"The batch holds {len(parts)} calls, at most 100 may be.")
    calls: list[tuple[str, Request]] = []
    for part in parts:
        if part.headers.get("content-type", "").split(";")[0] != "application/http":
            raise ApiError("badRequest", "A part of the batch is not application/http.")
        stream = io.BytesIO(part.body)
        try:
            inner = read_head(stream)
        except Hangup as error:
            raise ApiError("badRequest", f"A part of the batch: {error}") from None
        if inner is None:
            raise ApiError("badRequest", "A part of the batch is empty.")
        inner.body = stream.read().strip()
        if "authorization" not in inner.headers and "authorization" in request.headers:
            inner.headers["authorization"] = request.headers["authorization"]
        calls.append((part.headers.get("content-id", ""), inner))
    return calls


def pack(answers: list[tuple[str, Response]]) -> Response:
    boundary = "batch_" + secrets.token_hex(12)
    lines: list[bytes] = []
    for content_id, answer in answers:
        echoed = content_id.replace("<", "<response-", 1)
        lines.append(
            f"--{boundary}\r\nContent-Type: application/http\r\nContent-ID: {echoed}\r\n\r\n".encode(
                "latin-1"
            )
        )
        # The library looks for an empty line after at least one header, which 204 has not.
        empty = answer.status == 204
        inner = Response(204, {"Content-Length": "0"}) if empty else answer
        lines.append(inner.head(keep_alive=True) + inner.body + b"\r\n")
    lines.append(f"--{boundary}--\r\n".encode())
    kind = f"multipart/mixed; boundary={boundary}"
    return Response(200, {"Content-Type": kind}, b"".join(lines))
