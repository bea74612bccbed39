"""Bytes to Drive and back.

Up to `SMALL` a file goes as one multipart request; above it through an upload session, chunk by chunk, that
is asked how far it got after anything unclear, and is taken up again by a later process. Size and md5 come
back with every upload and are compared. Downloads are ranges of our own, never a whole large file at once.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from googleapiclient.http import MediaUpload

from memstore.errors import RemoteTrouble
from memstore.remotes.base import Source
from memstore.remotes.drive.api import DriveApi, has_id, unreadable
from memstore.remotes.drive.journal import Journal, Upload
from memstore.remotes.drive.trouble import Answer, IdRefused, judge
from memstore.remotes.retry import TryAgain

SMALL: Final = 4 << 20
"""Bytes. Google's guide allows 5 MB in a multipart upload. A session costs a request more (a third of a second,
and one of 12 that a first push may make), and saves at most this much when a connection is cut."""
SESSION_LIFE: Final = 6 * 86_400.0
"""Seconds; a session lives a week, and one that is nearly over is not worth taking up."""
_CONTENT_RANGE: Final = re.compile(r"bytes (\d+)-(\d+)/(\d+)")
_RANGE: Final = re.compile(r"bytes=0-(\d+)")


class Announced(MediaUpload):  # type: ignore[misc] # the library has no types
    """What the library must know of a body to address an upload. It never sees the bytes: its own loop
    re-sends an empty body after some faults, and its multipart form may lose a final CR.
    """

    def __init__(self, mime_type: str, size: int) -> None:
        self._mime_type = mime_type
        self._size = size

    def mimetype(self) -> str:
        return self._mime_type

    def size(self) -> int:
        return self._size

    def resumable(self) -> bool:
        return True

    def chunksize(self) -> int:
        return self._size

    def has_stream(self) -> bool:
        return False

    def getbytes(self, begin: int, length: int) -> bytes:
        raise NotImplementedError(f"{length} bytes at {begin}: our own loop sends them")


class Transfer:
    """Uploads and downloads through one `DriveApi`. Used by several threads at once."""

    def __init__(self, api: DriveApi, journal: Journal, chunk_size: int) -> None:
        """`chunk_size` is bytes, a multiple of 262,144 as upload sessions demand."""
        self._api = api
        self._journal = journal
        self._chunk = chunk_size

    # -- up ------------------------------------------------------------------------------------------------

    def upload(
        self,
        doing: str,
        key: str,
        request: Any,
        source: Source,
        *,
        creating: bool,
        again: Callable[[], dict[str, Any] | None] | None = None,
    ) -> dict[str, Any]:
        """Send a request that the library built with `Announced`, with the source's bytes as its body.

        `key` names the upload in the journal. `again` is asked before a try that follows an unclear one; what
        it returns, if not None, is the answer. Returns the file as Drive has it now; that its size and md5
        are the source's is for `arrived` to say. Raises what `DriveApi.call` does.
        """
        small = source.size <= SMALL
        session = None
        if not small:
            session = _Session(self._api, self._journal, doing, key, request, source, creating=creating)
        first = True

        def step() -> dict[str, Any] | None:
            nonlocal first
            if session is not None:
                return session.step(self._chunk)  # which asks by itself what became of the last one
            if not first and again is not None and (settled := again()) is not None:
                return settled
            first = False
            return self._multipart(doing, request, source, creating)

        while True:
            row = self._api.retry.run(step)
            if row is not None:
                return row

    def _multipart(self, doing: str, request: Any, source: Source, creating: bool) -> dict[str, Any]:
        # CRLF throughout: with bare LF a body that ends in CR may lose it.
        boundary = "memsync-" + secrets.token_hex(16)
        head = (
            f"--{boundary}\r\nContent-Type: application/json; charset=UTF-8\r\n\r\n"
            f"{request.body}\r\n"
            f"--{boundary}\r\nContent-Type: {request.resumable.mimetype()}\r\n"
            "Content-Transfer-Encoding: binary\r\n\r\n"
        )
        body = b"".join((head.encode(), source.read_at(0, source.size), f"\r\n--{boundary}--\r\n".encode()))
        self._api.count(bytes_sent=source.size)
        answer = self._api.send(
            doing,
            request.method,
            request.uri.replace("uploadType=resumable", "uploadType=multipart"),
            body,
            {**request.headers, "content-type": f'multipart/related; boundary="{boundary}"'},
            write=True,
            creating=creating,
        )
        return parsed(answer, doing)

    # -- down ----------------------------------------------------------------------------------------------

    def read(self, doing: str, identity: str, offset: int, length: int | None) -> bytes:
        """A range of a file, to its end without a length. A range past the end gives what there is."""
        parts = [*self.pieces(doing, identity, offset, length)]
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def pieces(
        self, doing: str, identity: str, offset: int = 0, length: int | None = None
    ) -> Iterator[bytes]:
        """The same, a chunk at a time."""
        request = self._api.files.get_media(fileId=identity, supportsAllDrives=True)
        end = None if length is None else offset + length
        while end is None or offset < end:
            last = offset + self._chunk if end is None else min(end, offset + self._chunk)
            part, size = self._api.retry.run(
                lambda first=offset, last=last: self._range(doing, request, first, last)  # type: ignore[misc]
            )
            if part:
                yield part
            offset += len(part)
            if offset >= size:
                return

    def _range(self, doing: str, request: Any, first: int, last: int) -> tuple[bytes, int]:
        """Bytes from `first` to before `last`, or to the end of the file; and the file's size."""
        answer = self._api.send(
            doing,
            "GET",
            request.uri,
            None,
            {**request.headers, "range": f"bytes={first}-{last - 1}"},
            also=(416,),
        )
        if answer.status == 416:
            return b"", 0  # nothing there: an empty file, or a range past the end
        if answer.status == 200:
            return answer.body[first:last], len(answer.body)
        match = _CONTENT_RANGE.fullmatch(answer.headers.get("content-range", ""))
        size = int(match[3]) if match else 0
        if match is None or int(match[1]) != first or len(answer.body) != min(last, size) - first:
            raise TryAgain(RemoteTrouble(f"{doing}: the answer was cut short", hint="run the command again"))
        return answer.body, size


class _Session:
    """One upload session, as far as it got."""

    def __init__(
        self,
        api: DriveApi,
        journal: Journal,
        doing: str,
        key: str,
        request: Any,
        source: Source,
        *,
        creating: bool,
    ) -> None:
        self._api = api
        self._journal = journal
        self._doing = doing
        self._key = key
        self._request = request
        self._source = source
        self._creating = creating
        self._md5 = source.md5()
        self._uri: str | None = None
        self._offset: int | None = 0
        """What the server has; None while nobody but it knows."""
        open_one = journal.upload(key)
        if open_one is not None and self._fits(open_one):
            self._uri, self._offset = open_one.uri, None

    def _fits(self, upload: Upload) -> bool:
        young = 0 <= time.time() - upload.began < SESSION_LIFE
        return young and upload.size == self._source.size and upload.md5 == self._md5

    def step(self, chunk: int) -> dict[str, Any] | None:
        """One request or two: the file when it is complete, None while there is more to send.

        A step that fails leaves the session such that the next one asks it how far it got, or begins a
        new session if this one is gone.
        """
        if self._uri is None:
            self._start()
        if self._offset is None:
            row = self._ask()
            if row is not None or self._uri is None:
                return row
        return self._send(chunk)

    def _start(self) -> None:
        source, request = self._source, self._request
        headers = {
            **request.headers,
            "X-Upload-Content-Type": request.resumable.mimetype(),
            "X-Upload-Content-Length": str(source.size),
        }
        body = request.body.encode()
        answer = self._api.send(
            self._doing, request.method, request.uri, body, headers, write=True, creating=self._creating
        )
        uri = answer.headers.get("location", "")
        if not uri:
            raise TryAgain(
                RemoteTrouble(f"{self._doing}: Drive opened no upload", hint="run the command again")
            )
        self._uri, self._offset = uri, 0
        self._journal.set_upload(self._key, Upload(uri, source.size, self._md5, time.time()))

    def _ask(self) -> dict[str, Any] | None:
        """Where the session stands. Its answer may be that the upload is complete."""
        answer = self._put(b"", f"bytes */{self._source.size}")
        if answer is None:
            return None
        if answer.status != 308:
            return parsed(answer, self._doing)
        self._offset = _stored(answer.headers)
        return None

    def _send(self, chunk: int) -> dict[str, Any] | None:
        first = self._offset or 0
        piece = self._source.read_at(first, min(chunk, self._source.size - first))
        self._offset = None
        self._api.count(bytes_sent=len(piece))
        answer = self._put(piece, f"bytes {first}-{first + len(piece) - 1}/{self._source.size}")
        if answer is None:
            return None
        if answer.status != 308:
            return parsed(answer, self._doing)
        stored = _stored(answer.headers)
        if stored <= first:
            raise TryAgain(
                RemoteTrouble(
                    f"{self._doing}: Drive does not keep what is sent", hint="run the command again"
                )
            )
        self._offset = stored
        return None

    def _put(self, body: bytes, content_range: str) -> Answer | None:
        """The session's answer; None if it is gone, and the next step begins another."""
        assert self._uri is not None
        headers = {"content-range": content_range, "content-length": str(len(body))}
        try:
            answer = self._api.send(
                self._doing, "PUT", self._uri, body, headers,
                creating=self._creating, also=(308, 400, 404, 410),
            )  # fmt: skip
        except TryAgain:
            self._offset = None
            raise
        if answer.status == 400 and answer.reason and self._creating:
            # A refusal in Drive's own form is about the file, not about the chunk: the id, most likely.
            raise IdRefused(judge(answer, self._doing))
        if answer.status in (400, 404, 410):
            self._journal.end_upload(self._key)
            self._uri = None
            raise TryAgain(
                RemoteTrouble(
                    f"{self._doing}: the upload session was ended by Drive ({answer.status})",
                    hint="run the command again",
                )
            )
        return answer


def _stored(headers: Mapping[str, str]) -> int:
    """Bytes that a 308 says are stored; without a Range, none."""
    match = _RANGE.fullmatch(headers.get("range", ""))
    return int(match[1]) + 1 if match else 0


def parsed(answer: Answer, doing: str) -> dict[str, Any]:
    """The file that an upload's answer describes."""
    import json

    try:
        row = json.loads(answer.body)
    except (ValueError, RecursionError):
        row = None
    if not isinstance(row, dict) or not has_id(row):
        raise TryAgain(unreadable(doing))
    return row


def arrived(row: Mapping[str, Any], source: Source) -> bool:
    """Whether the file on Drive has the source's size and md5."""
    return str(row.get("size")) == str(source.size) and row.get("md5Checksum") == source.md5()


def md5_of(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()
