"""Time as the emulator knows it: real, plus whatever a test added.

Tests never sleep: a session that lives a week or a token that lives an hour is made to
expire by `Clock.advance`. Times on the wire are RFC 3339 in UTC with milliseconds, the
precision in which Drive keeps `modifiedTime`.
"""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime, timedelta

_RFC3339 = re.compile(
    r"(\d{4}-\d{2}-\d{2})"
    r"(?:[Tt](\d{2}:\d{2}:\d{2})(?:\.(\d{1,9}))?(Z|z|[+-]\d{2}:\d{2})?)?\Z"
)


class Clock:
    """Seconds since the epoch, real time plus an offset that only grows.

    `offset` is a plain float that is only ever replaced, so reading needs no lock.
    """

    def __init__(self) -> None:
        self._offset = 0.0

    def now(self) -> float:
        return time.time() + self._offset

    def advance(self, seconds: float) -> None:
        """Let `seconds` pass at once. Time does not run backwards."""
        if seconds < 0:
            raise ValueError("time does not run backwards")
        self._offset += seconds


def to_text(moment: float) -> str:
    """Seconds since the epoch as `2025-04-23T14:00:00.000Z`."""
    # Integer arithmetic: a float division would turn .123 into .122 now and then.
    whole, millis = divmod(round(moment * 1000), 1000)
    base = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=whole)
    return f"{base:%Y-%m-%dT%H:%M:%S}.{millis:03d}Z"


def from_text(text: str) -> float:
    """RFC 3339 to seconds since the epoch, cut to milliseconds.

    A date alone is its midnight; a time without a zone is UTC. Raises ValueError.
    """
    match = _RFC3339.match(text)
    if match is None:
        raise ValueError(f"not an RFC 3339 time: {text!r}")
    day, clock, fraction, zone = match.groups()
    base = datetime.fromisoformat(f"{day}T{clock or '00:00:00'}")
    offset = timedelta()
    if zone and zone not in "Zz":
        sign = -1 if zone[0] == "-" else 1
        offset = sign * timedelta(hours=int(zone[1:3]), minutes=int(zone[4:6]))
    seconds = (base.replace(tzinfo=UTC) - offset).timestamp()
    millis = int((fraction or "0").ljust(3, "0")[:3])
    return seconds + millis / 1000
