"""A line on stderr for work that lasts: what, how far, how much, and the time left."""

from __future__ import annotations

import shutil
import sys
import threading
import time
from collections.abc import Callable
from typing import Final, TextIO

from memsync.render import size, visible

PATIENCE: Final = 1.0
"""Seconds of work before anything is shown: most commands are over by then."""
REDRAW: Final = 0.1
"""Seconds between two drawings."""
_CLEAR: Final = "\r\x1b[K"


class ProgressLine:
    """`memstore.progress.Progress` on a terminal. Its methods may be called from any thread."""

    def __init__(self, stream: TextIO | None = None, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream = sys.stderr if stream is None else stream
        self._clock = clock
        self._lock = threading.Lock()
        self._label = ""
        self._unit = ""
        self._total = 0
        self._done = 0
        self._began = 0.0
        self._drawn_at: float | None = None
        """When the line was last drawn; None while there is none on the screen."""
        self._working = False

    def begin(self, label: str, total: int, unit: str) -> None:
        with self._lock:
            self._wipe()
            self._label, self._unit, self._total, self._done = label, unit, total, 0
            self._began = self._clock()
            self._working = True

    def advance(self, amount: int) -> None:
        with self._lock:
            self._done += amount
            now = self._clock()
            if not self._working or now - self._began < PATIENCE:
                return
            if self._drawn_at is None or now - self._drawn_at >= REDRAW:
                self._draw(now)

    def end(self) -> None:
        with self._lock:
            self._working = False
            self._wipe()

    def say(self, sentence: str) -> None:
        with self._lock:
            self._wipe()
            self._write(visible(sentence) + "\n")

    def _draw(self, now: float) -> None:
        parts = [self._amount(self._done)]
        if self._total > 0:
            share = min(1.0, self._done / self._total)
            done = size(self._done) if self._unit == "B" else f"{self._done:,}"
            parts = [f"{share:4.0%}", f"{done} of {self._amount(self._total)}"]
            left = self._time_left(now)
            if left:
                parts.append(left)
        width = shutil.get_terminal_size().columns - 1
        self._write(_CLEAR + visible("  ".join([self._label, *parts]))[:width])
        self._drawn_at = now

    def _amount(self, count: int) -> str:
        return size(count) if self._unit == "B" else f"{count:,} {self._unit}"

    def _time_left(self, now: float) -> str:
        if self._done <= 0 or self._done >= self._total:
            return ""
        seconds = round((now - self._began) * (self._total - self._done) / self._done)
        if seconds >= 3600:
            return f"{seconds // 3600} h {seconds % 3600 // 60:02d} min left"
        if seconds >= 60:
            return f"{seconds // 60} min {seconds % 60:02d} s left"
        return f"{max(1, seconds)} s left"

    def _wipe(self) -> None:
        if self._drawn_at is not None:
            self._write(_CLEAR)
            self._drawn_at = None

    def _write(self, text: str) -> None:
        try:
            self._stream.write(text)
            self._stream.flush()
        except (OSError, ValueError):  # the terminal is gone; the work is not
            pass
