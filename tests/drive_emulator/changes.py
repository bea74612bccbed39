"""The feed of changes: one entry per file, the latest; tokens are places in it.

`changes.list` from a saved token costs one request when nothing happened, knows no folder
filter, and gives a file that changed five times once.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from .errors import ApiError
from .items import Item


@dataclass(frozen=True)
class Change:
    number: int
    file_id: str
    moment: float
    gone: Item | None = None
    """The item as it last was, when it was deleted for ever (who could see it still hears)."""


class ChangeLog:
    """Append-only; guarded by the drive's lock."""

    def __init__(self) -> None:
        self._changes: list[Change] = []
        self._latest: dict[str, int] = {}

    def note(self, item: Item, moment: float, *, gone: bool = False) -> None:
        number = len(self._changes)
        self._changes.append(Change(number, item.id, moment, item if gone else None))
        self._latest[item.id] = number

    @property
    def end(self) -> int:
        return len(self._changes)

    def place(self, token: str | None) -> int:
        """The place a page token means. Tokens start at 1. Raises a 400 `ApiError`."""
        if not token:
            raise ApiError("required", "Required", status=400, parameter="pageToken")
        if not token.isdigit() or not 1 <= int(token) <= self.end + 1:
            raise ApiError("invalid", f"Invalid Value: {token}", parameter="pageToken")
        return int(token) - 1

    def since(self, place: int) -> Iterator[Change]:
        for change in self._changes[place:]:
            if self._latest[change.file_id] == change.number:
                yield change
