"""What the emulator saw: every request, the bytes, and each breach of the protocol.

Counts are about Drive requests only: signing in and the control endpoint are kept apart,
because "how many requests did this push cost" does not mean token refreshes.
"""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import dataclass
from typing import Any

from .kinds import Kind


@dataclass
class Entry:
    """One request. Bytes are those of the bodies, as they went over the wire."""

    number: int
    kind: Kind
    method: str
    target: str
    in_batch: bool = False
    client: str = ""
    status: int | None = None
    outcome: str = "open"
    faults: tuple[str, ...] = ()
    bytes_in: int = 0
    bytes_out: int = 0

    def as_json(self) -> dict[str, Any]:
        return {
            "number": self.number,
            "kind": self.kind.name,
            "method": self.method,
            "target": self.target,
            "in_batch": self.in_batch,
            "client": self.client,
            "status": self.status,
            "outcome": self.outcome,
            "faults": list(self.faults),
            "bytes_in": self.bytes_in,
            "bytes_out": self.bytes_out,
        }


class RequestLog:
    """Thread-safe; an entry's `outcome` says whether and how its connection ended early."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._entries: list[Entry] = []
        self._violations: list[str] = []
        self._number = 0

    def begin(self, kind: Kind, method: str, target: str, *, in_batch: bool = False) -> Entry:
        with self._lock:
            self._number += 1
            entry = Entry(self._number, kind, method, target, in_batch)
            self._entries.append(entry)
            return entry

    def violation(self, text: str) -> None:
        """Note something Drive lets pass or refuses, and a sound client never does."""
        with self._lock:
            self._violations.append(text)

    def reset(self) -> None:
        """Forget requests and violations, so that the next count starts from nothing."""
        with self._lock:
            self._entries.clear()
            self._violations.clear()

    @property
    def violations(self) -> list[str]:
        with self._lock:
            return list(self._violations)

    @property
    def entries(self) -> list[Entry]:
        with self._lock:
            return list(self._entries)

    @property
    def requests(self) -> int:
        """HTTP requests to Drive; a batch is one."""
        return sum(1 for entry in self.entries if entry.kind.is_drive and not entry.in_batch)

    def count(self, pattern: str = "any") -> int:
        """Calls whose kind or one of whose tags matches; calls inside a batch included."""
        return sum(1 for entry in self.entries if entry.kind.matches(pattern))

    def counts(self) -> Counter[str]:
        return Counter(entry.kind.name or "unknown" for entry in self.entries)

    @property
    def units(self) -> int:
        """Quota units charged: each call of a batch costs what it costs alone."""
        return sum(entry.kind.units for entry in self.entries)

    @property
    def bytes_in(self) -> int:
        entries = self.entries
        return sum(e.bytes_in for e in entries if e.kind.is_drive and not e.in_batch)

    @property
    def bytes_out(self) -> int:
        entries = self.entries
        return sum(e.bytes_out for e in entries if e.kind.is_drive and not e.in_batch)
