"""Resumable upload sessions, as strict as live accounts were reported to be.

Chunks are multiples of 262,144 bytes but the last. A 308 carries `Range: bytes=0-K`, or none
when nothing is stored. A chunk of 256 KiB or more that is not aligned is stored rounded down;
a gap is 503 with a text body; a chunk too small is 400 with a text body. The server may keep
less than was sent, and keeps the aligned part of a chunk whose connection was cut. A session
lives a week.
"""

from __future__ import annotations

import re
import secrets
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from .behaviour import Behaviour
from .clock import Clock
from .errors import plain
from .items import Caller, Content
from .metadata import Metadata
from .wire import Request, Response

ALIGNMENT = 262_144
_RANGE = re.compile(r"bytes (?:(\d+)-(\d+)|\*)/(\d+|\*)\Z")


@dataclass
class Session:
    """One upload. `file_id` is None for a create; `answer` is set once it is complete."""

    id: str
    caller: Caller
    file_id: str | None
    meta: Metadata
    mime_type: str
    query: dict[str, str]
    total: int | None
    started: float
    data: bytearray = field(default_factory=bytearray)
    answer: Response | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)


Finish = Callable[[Session, Content], Response]


class Sessions:
    """All sessions; each has its own lock, so that two uploads never wait for one another."""

    def __init__(
        self, behaviour: Behaviour, clock: Clock, finish: Finish, note: Callable[[str], None]
    ) -> None:
        self._behaviour = behaviour
        self._clock = clock
        self._finish = finish
        self._note = note
        self._lock = threading.Lock()
        self._sessions: dict[str, Session] = {}

    def start(
        self,
        caller: Caller,
        file_id: str | None,
        meta: Metadata,
        request: Request,
    ) -> Session:
        length = request.headers.get("x-upload-content-length")
        session = Session(
            id=secrets.token_urlsafe(24),
            caller=caller,
            file_id=file_id,
            meta=meta,
            mime_type=request.headers.get("x-upload-content-type", ""),
            query=dict(request.query),
            total=int(length) if length and length.isdigit() else None,
            started=self._clock.now(),
        )
        with self._lock:
            self._sessions[session.id] = session
        return session

    def open(self) -> list[Session]:
        """Sessions that were started and not finished."""
        with self._lock:
            return [s for s in self._sessions.values() if s.answer is None]

    def expire(self) -> None:
        """Forget all sessions: what comes next for one of them is 404 (or 410)."""
        with self._lock:
            self._sessions.clear()

    def cancel(self, session_id: str) -> Response:
        self._find(session_id)
        with self._lock:
            del self._sessions[session_id]
        return Response(499)

    def receive(self, request: Request) -> Response:
        """A chunk or a status query; also what came of a chunk that was cut."""
        session = self._find(request.query["upload_id"])
        with session.lock:
            if session.answer is not None:
                return session.answer
            return self._receive(session, request)

    def _find(self, session_id: str) -> Session:
        with self._lock:
            session = self._sessions.get(session_id)
            if session is not None:
                age = self._clock.now() - session.started
                if age <= self._behaviour.session_lifetime:
                    return session
                del self._sessions[session_id]
        raise plain(self._behaviour.session_gone_status, "No such upload session.")

    def _receive(self, session: Session, request: Request) -> Response:
        header = request.headers.get("content-range")
        if header is None:
            # The whole content in one request, whatever was stored before.
            session.data = bytearray()
            total = len(request.body) if request.complete else request.length or 0
            first, last = 0, total - 1
            if session.total is not None and session.total != total:
                raise plain(400, "The body is not as long as the upload was announced to be.")
        else:
            match = _RANGE.match(header)
            if match is None:
                raise plain(400, f"Failed to parse Content-Range header {header!r}.")
            known = self._total(session, match[3])
            if match[1] is None:
                if request.body:
                    raise plain(400, "A status query has no body.")
                return _progress(session)
            first, last, total = int(match[1]), int(match[2]), known
            if last < first or (request.complete and last - first + 1 != len(request.body)):
                raise plain(400, "Content-Range and the body differ in length.")
        return self._store(session, request, first, last, total)

    def _total(self, session: Session, text: str) -> int:
        """The size of the whole, -1 while it is unknown."""
        if text == "*":
            return -1 if session.total is None else session.total
        if session.total is not None and session.total != int(text):
            raise plain(400, "The size of the upload has changed.")
        session.total = int(text)
        return session.total

    def _store(self, session: Session, request: Request, first: int, last: int, total: int) -> Response:
        stored = len(session.data)
        if first > stored:
            self._note(f"upload chunk at {first} leaves a gap after {stored}")
            raise plain(503, f"Invalid request. Offset {first} is past the stored {stored}.")
        if total >= 0 and last >= total:
            raise plain(400, "The chunk reaches past the end of the upload.")
        is_last = last + 1 == total
        length = last - first + 1
        if not is_last and length < ALIGNMENT:
            self._note(f"upload chunk of {length} bytes is too small")
            raise plain(400, f"Chunks must be multiples of {ALIGNMENT} bytes, got {length}.")
        if not is_last and length % ALIGNMENT:
            self._note(f"upload chunk of {length} bytes is not a multiple of {ALIGNMENT}")
        take = self._kept(len(request.body), whole=is_last and request.complete)
        # What is stored already is not stored again: a re-sent chunk may overlap.
        session.data += request.body[stored - first : take] if take > stored - first else b""
        if len(session.data) != total or not request.complete:
            return _progress(session)
        content = Content.of(bytes(session.data))
        # A refusal at the end (a full Drive, an id in use) leaves what was there before.
        del session.data[stored:]
        session.answer = self._finish(session, content)
        session.data = bytearray()
        return session.answer

    def _kept(self, size: int, *, whole: bool) -> int:
        limit = self._behaviour.keep_at_most
        if limit is not None and size > limit:
            return limit - limit % ALIGNMENT
        return size if whole else size - size % ALIGNMENT


def _progress(session: Session) -> Response:
    stored = len(session.data)
    return Response(308, {"Range": f"bytes=0-{stored - 1}"} if stored else {})
