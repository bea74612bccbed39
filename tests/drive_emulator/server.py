"""The server: threads, connections, and the order in which faults strike a request.

For each request: head, rules, latency, body (perhaps cut), hooks, drop or error *before*; the
effect; hooks, drop or error *after*; the answer (perhaps deformed). Nothing here holds a lock
while it waits, and every wait ends when the emulator stops.
"""

from __future__ import annotations

import os
import signal
import socket
import socketserver
import threading
import time
import traceback
from collections.abc import Callable
from email.utils import formatdate
from typing import BinaryIO, Protocol, cast

from .api import Api
from .batch import pack, unpack
from .behaviour import Behaviour
from .errors import ApiError
from .faults import Faults, Plan, Side
from .kinds import Kind, kind_of
from .log import Entry, RequestLog
from .oauth import TokenServer
from .wire import Hangup, Request, Response, abort, read_body, read_head

_BODY_METHODS = ("POST", "PUT", "PATCH")


class Controller(Protocol):
    """The control endpoint, as the server knows it."""

    def __call__(self, request: Request) -> Response: ...
    def answered(self, request: Request) -> None: ...


class RetryWatch:
    """Notes who comes back sooner than Retry-After asked."""

    def __init__(self, now: Callable[[], float], note: Callable[[str], None]) -> None:
        self._now = now
        self._note = note
        self._lock = threading.Lock()
        self._until: dict[str, float] = {}

    def came(self, request: Request) -> None:
        key = _key(request)
        with self._lock:
            until = self._until.pop(key, None)
        if until is not None and self._now() < until - 0.01:
            self._note(f"{key} came back before Retry-After was over")

    def answered(self, request: Request, response: Response) -> None:
        after = response.headers.get("Retry-After")
        if after is not None:
            with self._lock:
                self._until[_key(request)] = self._now() + float(after)


def _key(request: Request) -> str:
    return f"{request.method} {request.path} {request.query.get('upload_id', '')}".rstrip()


class Core:
    """What every connection shares: from a request and its plan to an answer."""

    def __init__(
        self,
        api: Api,
        tokens: TokenServer,
        faults: Faults,
        log: RequestLog,
        behaviour: Behaviour,
        watch: RetryWatch,
        control: Controller,
        now: Callable[[], float],
    ) -> None:
        self.api = api
        self.tokens = tokens
        self.faults = faults
        self.log = log
        self.behaviour = behaviour
        self.watch = watch
        self.control = control
        self.now = now
        self.stopping = threading.Event()

    def answer(self, request: Request, kind: Kind, plan: Plan, entry: Entry) -> Response:
        """The effect and its answer, unless a rule answers first."""
        refused = plan.answer("before")
        if refused is not None:
            return refused
        if kind.name == "batch":
            return self._batch(request)
        if not kind.is_drive:
            return self.tokens.handle(kind.name, request)
        response, entry.client = self.api.handle(request, kind)
        return response

    def _batch(self, request: Request) -> Response:
        """Each inner call is counted, charged and struck by error rules like any other."""
        answers: list[tuple[str, Response]] = []
        try:
            calls = [(part, inner, kind_of(inner)) for part, inner in unpack(request)]
        except ApiError as error:
            return error.response()
        for content_id, inner, kind in calls:
            entry = self.log.begin(kind, inner.method, inner.target, in_batch=True)
            plan = self.faults.plan(kind, inner)
            entry.faults = tuple(rule.text for rule in plan.rules)
            self.hooks(plan, "before", inner)
            if kind.carries_media:
                response = ApiError("badRequest", "A batch carries no media.").response()
            else:
                response = self.answer(inner, kind, plan, entry)
            self.hooks(plan, "after", inner)
            response = plan.answer("after") or response
            entry.status, entry.outcome = response.status, "answered"
            answers.append((content_id, response))
        return pack(answers)

    def hooks(self, plan: Plan, side: Side, request: Request) -> None:
        for rule in plan.hooks(side):
            if rule.kill is not None:
                _kill(rule.kill)
            if rule.hook is not None:
                rule.hook(request)

    def wait(self, seconds: float) -> None:
        if seconds > 0:
            self.stopping.wait(min(seconds, self.behaviour.hang_seconds))


def _kill(pid: int) -> None:
    try:
        os.kill(pid, getattr(signal, "SIGKILL", signal.SIGTERM))
    except ProcessLookupError:
        # It has ended already, which is what the rule is for.
        return


class Connection(socketserver.BaseRequestHandler):
    """One client connection, request after request."""

    server: Listener
    request: socket.socket

    def setup(self) -> None:
        self.core = self.server.core
        self.request.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.stream = cast(BinaryIO, self.request.makefile("rb"))
        self.server.opened(self.request)

    def handle(self) -> None:
        try:
            while not self.core.stopping.is_set() and self._one():
                pass
        except (Hangup, OSError):
            # The peer went away; whoever it was has its own view of that.
            return

    def finish(self) -> None:
        self.server.closed(self.request)
        self.stream.close()

    def _one(self) -> bool:
        """Serve one request; whether the connection goes on."""
        self.request.settimeout(None)
        request = read_head(self.stream)
        if request is None:
            return False
        self.request.settimeout(self.core.behaviour.body_timeout)
        if request.headers.get("expect", "").lower() == "100-continue":
            self.request.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        self._override(request)
        kind = kind_of(request)
        if kind.name == "control":
            read_body(request, self.stream)
            keep = self._send(request, self.core.control(request))
            self.core.control.answered(request)
            return keep
        entry = self.core.log.begin(kind, request.method, request.target)
        self.core.watch.came(request)
        if request.method in _BODY_METHODS and request.length is None and not request.chunked:
            return self._length_required(request, entry)
        plan = self.core.faults.plan(kind, request)
        entry.faults = tuple(rule.text for rule in plan.rules)
        return self._serve(request, kind, plan, entry)

    def _override(self, request: Request) -> None:
        """A GET with a long URL comes as a POST whose body is the query (the library does so)."""
        override = request.headers.get("x-http-method-override", "").upper()
        if request.method == "POST" and override:
            read_body(request, self.stream)
            request.method, request.overridden = override, len(request.body)
            if override == "GET":
                request.add_query(request.body.decode("latin-1"))
                request.body = b""

    def _length_required(self, request: Request, entry: Entry) -> bool:
        self.core.log.violation(f"{request.method} {request.path} without Content-Length")
        entry.status, entry.outcome = 411, "answered"
        body = b"<!DOCTYPE html><title>Error 411 (Length Required)!!1</title>"
        self._send(request, Response(411, {"Content-Type": "text/html"}, body), keep=False)
        return False

    def _serve(self, request: Request, kind: Kind, plan: Plan, entry: Entry) -> bool:
        core = self.core
        core.wait(plan.latency)
        if core.stopping.is_set():
            return self._gone(entry, plan, "stopped")
        cut = plan.cut(request.length or 0)
        if request.overridden is None:
            read_body(request, self.stream, cut)
        entry.bytes_in = request.overridden or len(request.body)
        core.hooks(plan, "before", request)
        if cut is not None or not request.complete:
            request.complete = False
            core.api.keep_partial(request, kind)
            return self._gone(entry, plan, "cut")
        if plan.drops("before"):
            return self._gone(entry, plan, "dropped before")
        hang = plan.hang("before")
        if hang is not None:
            core.wait(hang)
            return self._gone(entry, plan, "hung before")
        response = core.answer(request, kind, plan, entry)
        entry.status = response.status
        core.hooks(plan, "after", request)
        hang = plan.hang("after")
        if hang is not None:
            core.wait(hang)
            return self._gone(entry, plan, "hung after")
        if plan.drops("after"):
            return self._gone(entry, plan, "dropped after")
        response = plan.answer("after") or response
        core.watch.answered(request, response)
        return self._reply(request, response, plan, entry)

    def _reply(self, request: Request, response: Response, plan: Plan, entry: Entry) -> bool:
        body, ends_early = plan.deform(response.body)
        entry.status, entry.bytes_out = response.status, len(body)
        if ends_early:
            head = response.head(keep_alive=request.keep_alive)
            self.request.sendall(head + body)
            return self._gone(entry, plan, "truncated")
        entry.outcome = "answered"
        return self._send(request, Response(response.status, response.headers, body))

    def _gone(self, entry: Entry, plan: Plan, outcome: str) -> bool:
        entry.outcome = outcome
        if plan.reset:
            abort(self.request)
        return False

    def _send(self, request: Request, response: Response, *, keep: bool = True) -> bool:
        response.headers.setdefault("Date", formatdate(self.core.now(), usegmt=True))
        keep = keep and request.keep_alive
        head = response.head(keep_alive=keep)
        # One write: two would wait for one another on a slow acknowledgement.
        self.request.sendall(head if request.method == "HEAD" else head + response.body)
        return keep


class Listener(socketserver.ThreadingTCPServer):
    """Loopback only. `close_all` ends every connection, so that stopping is bounded."""

    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, port: int, core: Core) -> None:
        self.core = core
        self._connections: set[socket.socket] = set()
        self._lock = threading.Lock()
        super().__init__(("127.0.0.1", port), Connection)

    def opened(self, connection: socket.socket) -> None:
        with self._lock:
            self._connections.add(connection)

    def closed(self, connection: socket.socket) -> None:
        with self._lock:
            self._connections.discard(connection)

    def handle_error(self, request: object, client_address: object) -> None:
        """A fault hook that raised, or a mistake here: tests see it among the violations."""
        self.core.log.violation("the emulator itself failed: " + traceback.format_exc())

    def shutdown_request(self, request: socket.socket | tuple[bytes, socket.socket]) -> None:
        """Close plainly: `shutdown` first would turn an asked-for RST into a FIN."""
        assert isinstance(request, socket.socket)
        request.close()

    def close_all(self, within: float) -> None:
        """End every connection and wait for their threads, at most `within` seconds."""
        self.core.stopping.set()
        with self._lock:
            connections = list(self._connections)
        for connection in connections:
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                # It closed by itself in the meantime.
                continue
        deadline = time.monotonic() + within
        while time.monotonic() < deadline:
            with self._lock:
                if not self._connections:
                    return
            time.sleep(0.005)
