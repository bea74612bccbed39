"""Bytes on the way out: whole, or a range (206; 416 past the end, so for any empty file)."""

from __future__ import annotations

import re

from .errors import ApiError
from .items import Content
from .wire import Response

_RANGE = re.compile(r"bytes=(\d*)-(\d*)\Z")


def download(content: Content | None, mime_type: str, range_header: str | None) -> Response:
    """The answer to alt=media. Raises 403 for what holds no bytes, 416 for a range outside."""
    if content is None:
        raise ApiError("fileNotDownloadable")
    headers = {"Content-Type": mime_type, "Accept-Ranges": "bytes"}
    match = _RANGE.match(range_header or "")
    if match is None or match[1] == match[2] == "":
        # A header that is no range is ignored, as HTTP says.
        return Response(200, headers, content.data)
    size = content.size
    if match[1]:
        first = int(match[1])
        last = min(int(match[2]), size - 1) if match[2] else size - 1
    else:
        first, last = max(0, size - int(match[2])), size - 1
    if first >= size or last < first:
        headers["Content-Range"] = f"bytes */{size}"
        headers["Content-Type"] = "text/html"
        return Response(416, headers, b"Request range not satisfiable")
    headers["Content-Range"] = f"bytes {first}-{last}/{size}"
    return Response(206, headers, content.data[first : last + 1])
