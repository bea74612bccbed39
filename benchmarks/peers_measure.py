"""Running a command cold and measuring it: its wall time, and the memory of all its processes together."""

from __future__ import annotations

import os
import subprocess
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

INTERVAL: Final = 0.005
"""Seconds between two looks at the memory of a running command."""
CACHES: Final = "/proc/sys/vm/drop_caches"


class BenchError(Exception):
    """A command that had to succeed did not, or what came out of it is wrong."""


class Job(NamedTuple):
    """One command line and the folder it is run in."""

    argv: Sequence[str]
    folder: str


class Sample(NamedTuple):
    """What one run of a command took."""

    seconds: float
    peak: int
    """Most bytes resident at one time, the command and all its children together; 0 without `/proc`."""


def run(job: Job, environment: Mapping[str, str]) -> Sample:
    """Run a command in a process of its own, its output thrown away. Raises `BenchError` if it fails."""
    with tempfile.TemporaryFile() as said:
        began = time.perf_counter()
        process = subprocess.Popen(
            job.argv,
            cwd=job.folder,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=said,
        )
        memory = _Memory(process.pid)
        memory.start()
        code = process.wait()
        seconds = time.perf_counter() - began
        memory.end()
        if code:
            said.seek(0)
            raise _failed(job, code, said.read())
    return Sample(seconds, memory.peak)


def output(job: Job, environment: Mapping[str, str], given: bytes = b"") -> bytes:
    """What a command says on its standard output. Raises `BenchError` if it fails."""
    done = subprocess.run(
        job.argv, cwd=job.folder, env=dict(environment), input=given, capture_output=True, check=False
    )
    if done.returncode:
        raise _failed(job, done.returncode, done.stderr)
    return done.stdout


def may_drop_caches() -> bool:
    return os.access(CACHES, os.W_OK)


def drop_caches() -> None:
    """Everything cached of every disk is forgotten; what was written is on disk first."""
    os.sync()
    with open(CACHES, "w", encoding="ascii") as file:
        file.write("3\n")


def growth(before: Mapping[str, int], after: Mapping[str, int]) -> int:
    """Bytes that new files have and old ones gained. Both map a path to its size."""
    return sum(max(0, size - before.get(path, 0)) for path, size in after.items())


def sizes(folder: str) -> dict[str, int]:
    """path → size of the files below a folder; an absent folder has none."""
    return {
        os.path.join(place, name): os.lstat(os.path.join(place, name)).st_size
        for place, _, names in os.walk(folder)
        for name in names
    }


def size(folder: str) -> int:
    return sum(sizes(folder).values())


def _failed(job: Job, code: int, said: bytes) -> BenchError:
    words = " ".join(os.path.basename(part) if os.path.isabs(part) else part for part in job.argv)
    text = said.decode(errors="replace").strip()[-600:]
    return BenchError(f"'{words}' ended with {code}: {text}")


class _Memory:
    """Looks at a process and its descendants until told to stop."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self.peak = 0

    def start(self) -> None:
        if os.path.isdir("/proc/self/task"):
            self._thread.start()

    def end(self) -> None:
        self._over.set()
        if self._thread.ident is not None:
            self._thread.join()

    def _watch(self) -> None:
        while True:
            now, highest = _resident(self._pid)
            self.peak = max(self.peak, now, highest)
            if self._over.wait(INTERVAL):
                return


def _resident(pid: int) -> tuple[int, int]:
    """(bytes resident now in the process and its descendants, the highest that one of them ever had).

    Pages that processes share are counted once for each: too much rather than too little.
    """
    total = highest = 0
    waiting = [pid]
    while waiting:
        one = waiting.pop()
        try:
            with open(f"/proc/{one}/status", "rb") as file:
                status = file.read()
            for task in os.listdir(f"/proc/{one}/task"):
                with open(f"/proc/{one}/task/{task}/children", "rb") as file:
                    waiting += [int(child) for child in file.read().split()]
        except OSError:
            continue  # it ended meanwhile
        total += _field(status, b"VmRSS:")
        highest = max(highest, _field(status, b"VmHWM:"))
    return total, highest


def _field(status: bytes, name: bytes) -> int:
    """A field of `/proc/PID/status` in bytes; a process that is ending has none."""
    value = status.partition(name)[2].split(None, 1)
    return int(value[0]) * 1024 if value else 0
