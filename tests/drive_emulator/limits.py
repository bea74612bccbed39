"""What slows a client down: the write-rate bucket, the quota of units, the daily upload.

The real brake on Drive is creates, about 2 to 3 a second sustained; 750 GB a day of upload is
refused as an ordinary `userRateLimitExceeded`, so only a total budget ends a retry loop.
"""

from __future__ import annotations

import threading

from .behaviour import Behaviour
from .clock import Clock
from .errors import ApiError


class Limits:
    """Counters with a lock of their own; every check raises `ApiError` or counts."""

    def __init__(self, behaviour: Behaviour, clock: Clock) -> None:
        self._behaviour = behaviour
        self._clock = clock
        self._lock = threading.Lock()
        self._tokens: float | None = None
        self._filled = clock.now()
        self._minute = 0
        self._units = 0
        self._day = 0
        self._sent = 0

    def create(self) -> None:
        """Take one from the bucket of creates, which fills at `creates_per_second`."""
        rate = self._behaviour.creates_per_second
        if rate is None:
            return
        with self._lock:
            now = self._clock.now()
            full = float(max(1, self._behaviour.create_burst))
            have = full if self._tokens is None else self._tokens
            have = min(full, have + (now - self._filled) * rate)
            self._filled = now
            if have < 1:
                self._tokens = have
                raise self._too_fast()
            self._tokens = have - 1

    def charge(self, units: int) -> None:
        """Count quota units of this minute."""
        allowed = self._behaviour.units_per_minute
        if allowed is None:
            return
        with self._lock:
            minute = int(self._clock.now() // 60)
            if minute != self._minute:
                self._minute, self._units = minute, 0
            if self._units + units > allowed:
                raise ApiError("userRateLimitExceeded")
            self._units += units

    def upload(self, size: int) -> None:
        """Count bytes of this day's upload."""
        allowed = self._behaviour.daily_upload_limit
        if allowed is None:
            return
        with self._lock:
            day = int(self._clock.now() // 86_400)
            if day != self._day:
                self._day, self._sent = day, 0
            if self._sent + size > allowed:
                raise ApiError("userRateLimitExceeded")
            self._sent += size

    def _too_fast(self) -> ApiError:
        plain = self._behaviour.write_limit_status == 429
        return ApiError(
            "rateLimitExceeded" if plain else "userRateLimitExceeded",
            status=self._behaviour.write_limit_status,
            retry_after=self._behaviour.write_limit_retry_after,
        )
