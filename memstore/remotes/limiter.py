"""One pace for the whole process: as fast as the remote allows, found out by asking.

Additive increase, multiplicative decrease, as TCP does. There is no limit until the remote first says that
it is too much; then the pace is a share of what was really reached, and creeps up with each request that
works. Drive sustains about 2 to 3 file creates a second; nobody knows the number for an account beforehand.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Final

DECREASE: Final = 0.7
INCREASE: Final = 0.05
"""Requests a second, for each that works."""
SLOWEST: Final = 0.05
FASTEST: Final = 50.0
"""Requests a second: above it the remote has shown that there is no limit worth keeping."""
EPISODE: Final = 1.0
"""Seconds in which several refusals (of threads that were under way together) count as one."""
WINDOW: Final = 10.0
"""Seconds over which the pace so far is measured."""


class Limiter:
    """The pace of one kind of request. Used by several threads at once."""

    def __init__(
        self, *, clock: Callable[[], float] = time.monotonic, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self._clock = clock
        self._sleep = sleep
        self._lock = threading.Lock()
        self._rate: float | None = None
        self._next = 0.0
        self._slowed = float("-inf")
        self._recent: deque[float] = deque(maxlen=500)

    @property
    def rate(self) -> float | None:
        """Requests a second now allowed; None as long as the remote never complained."""
        return self._rate

    def wait(self) -> None:
        """Returns when the next request may be sent."""
        with self._lock:
            now = self._clock()
            self._recent.append(now)
            if self._rate is None:
                return
            start = max(now, self._next)
            self._next = start + 1 / self._rate
        if start > now:
            self._sleep(start - now)

    def worked(self) -> None:
        """The remote took a request."""
        with self._lock:
            if self._rate is not None:
                self._rate += INCREASE
                if self._rate > FASTEST:
                    self._rate = None

    def refused(self) -> None:
        """The remote said that it was too much."""
        with self._lock:
            now = self._clock()
            if now - self._slowed < EPISODE:
                return
            self._slowed = now
            if self._rate is None:
                sent = [moment for moment in self._recent if now - moment <= WINDOW]
                self._rate = min(FASTEST, len(sent) / max(1.0, now - sent[0])) if sent else 1.0
            self._rate = max(SLOWEST, self._rate * DECREASE)
            self._next = max(self._next, now + 1 / self._rate)


_limiters: dict[str, Limiter] = {}
_lock = threading.Lock()


def limiter_for(key: str) -> Limiter:
    """The process's one limiter for `key` (a server and a kind of request)."""
    with _lock:
        return _limiters.setdefault(key, Limiter())
