"""A crew: processes of our own that do one kind of work side by side, where the interpreter's lock would make
threads wait for one another.

Each is a fresh interpreter that imports one function and calls it on one job after another, bytes in and bytes
out. Nothing is shared with it and nothing is inherited, so it is the same on every system, and safe to start
where other threads run. Where no process can be started, or one dies, its jobs are done here: slower, the same
result. They end when their standard input does, and so with us, however we end.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections import deque
from collections.abc import Callable
from importlib import import_module
from types import TracebackType
from typing import IO, TYPE_CHECKING, Final, NamedTuple, Self

if TYPE_CHECKING:
    import subprocess
    from queue import SimpleQueue


class Answer(NamedTuple):
    """What became of a job: two strings of bytes, that the second need not be copied about."""

    facts: bytes
    body: bytes


Work = Callable[[bytes], Answer]
"""A function of a module, known there by its own name."""

AHEAD: Final = 2
"""Jobs that each may have before it at a time: one in work, one that waits, so that it never does."""
_MOST: Final = 4
"""More would cost more memory (some 20 MB each) than they save time beside one process that does the rest."""
_LENGTH: Final = 8  # bytes of a length on the pipes, little-endian
_GREETING: Final = b"ready"

_START: Final = """
import signal, sys
signal.signal(signal.SIGINT, signal.SIG_IGN)
work, sys.path[:] = sys.argv[1], sys.argv[2:]
from memstore.crew import serve
serve(work)
"""


class Crew:
    """Answers come in the order of the jobs.

    with Crew(work) as crew:
        for job in jobs:
            crew.ask(job)
            if crew.full:
                take(crew.answer())
        while crew.waiting:
            take(crew.answer())
    """

    def __init__(self, work: Work, size: int | None = None) -> None:
        """`size` is how many processes: by default as many as there are processors, 4 at most."""
        self._work = work
        self._members = [_Member(work) for _ in range(min(_MOST, _processors()) if size is None else size)]
        self._jobs: deque[tuple[bytes, _Member | None]] = deque()
        self._asked = 0

    @property
    def waiting(self) -> int:
        """Jobs that were asked for and not answered yet."""
        return len(self._jobs)

    @property
    def size(self) -> int:
        """How many there are: so many jobs in a row go to one each."""
        return len(self._members)

    @property
    def full(self) -> bool:
        """Whether an answer should be taken before the next job is given: so memory stays bounded."""
        return len(self._jobs) >= max(1, AHEAD * len(self._members))

    def ask(self, job: bytes) -> None:
        member = self._members[self._asked % len(self._members)] if self._members else None
        self._asked += 1
        if member is not None:
            member.give(job)
        self._jobs.append((job, member))

    def answer(self) -> Answer:
        """Of the oldest job; waits for it."""
        job, member = self._jobs.popleft()
        answer = None if member is None else member.take()
        return self._work(job) if answer is None else answer

    def close(self) -> None:
        """Stop what is still in work; when this returns no process is left."""
        self._jobs.clear()
        for member in self._members:
            member.end()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class _Member:
    """One process, and a thread that hands it its jobs: it may be busy telling us an answer just then."""

    def __init__(self, work: Work) -> None:
        import subprocess  # here, for the crew itself has no use for it, and is to start fast
        from queue import SimpleQueue

        self._process: subprocess.Popen[bytes] | None = None
        self._greeted = False
        self._queue: SimpleQueue[bytes | None] = SimpleQueue()
        if getattr(sys, "frozen", False) or not sys.executable:
            return  # that program is no Python interpreter
        with contextlib.suppress(OSError, ValueError):
            house = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
            name = f"{work.__module__}:{work.__qualname__}"
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", "-c", _START, name, house, *sys.path],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                bufsize=0,
                creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
            )
            assert self._process.stdout is not None
            _widen(self._process.stdout.fileno())
            threading.Thread(target=self._feed, name="memsync crew", daemon=True).start()

    def give(self, job: bytes) -> None:
        if self._process is not None:
            self._queue.put(job)

    def take(self) -> Answer | None:
        """The answer to the oldest job; None if there will be none, for this job and all after it."""
        if self._process is None:
            return None
        source = self._process.stdout
        assert source is not None
        try:
            if not self._greeted:
                self._greeted = _read(source, len(_GREETING)) == _GREETING
                if not self._greeted:
                    raise EOFError  # another program than it was taken for
            lengths = _read(source, 2 * _LENGTH)
            facts = _read(source, int.from_bytes(lengths[:_LENGTH], "little"))
            return Answer(facts, _read(source, int.from_bytes(lengths[_LENGTH:], "little")))
        except (OSError, EOFError):
            self.end()
            return None

    def end(self) -> None:
        process, self._process = self._process, None
        self._queue.put(None)
        if process is None:
            return
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()

    def _feed(self) -> None:
        process = self._process
        target = None if process is None else process.stdin
        while target is not None and (job := self._queue.get()) is not None:
            try:
                _write(target, len(job).to_bytes(_LENGTH, "little"), job)
            except (OSError, ValueError):
                return  # it died, or was ended: who waits for its answer will see


def serve(name: str) -> None:
    """The life of one of the crew: answer the jobs on standard input until it ends. `name`: module:function."""
    source, target = (
        os.fdopen(0, "rb", buffering=0, closefd=False),
        os.fdopen(1, "wb", buffering=0, closefd=False),
    )
    module, _, function = name.partition(":")
    work: Work = getattr(import_module(module), function)
    with contextlib.suppress(OSError, EOFError):
        _write(target, _GREETING)
        while True:
            job = _read(source, int.from_bytes(_read(source, _LENGTH), "little"))
            facts, body = work(job)
            lengths = len(facts).to_bytes(_LENGTH, "little") + len(body).to_bytes(_LENGTH, "little")
            _write(target, lengths + facts, body)


def _read(source: IO[bytes], length: int) -> bytes:
    """So many bytes. Raises `EOFError` where there are fewer."""
    parts = []
    while length:
        part = source.read(length)
        if not part:
            raise EOFError
        parts.append(part)
        length -= len(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _write(target: IO[bytes], *parts: bytes) -> None:
    for part in parts:
        view = memoryview(part)
        while view:
            view = view[target.write(view) :]


def _processors() -> int:
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity is not None else os.cpu_count() or 1


def _widen(descriptor: int) -> None:
    """Let a pipe hold 1 MiB, where the system (Linux) can: its writer then need not wait for each reading."""
    if sys.platform == "linux":
        import fcntl

        with contextlib.suppress(OSError):
            fcntl.fcntl(descriptor, fcntl.F_SETPIPE_SZ, 1 << 20)
