"""How long work tells how far it got: a seam, so that the library never prints."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Told by the library, shown (or not) by whoever called it. Calls may come from several threads."""

    def begin(self, label: str, total: int, unit: str) -> None:
        """A stretch of work starts: `total` in `unit` ("B" for bytes, else a plural noun); 0 if unknown."""

    def advance(self, amount: int) -> None:
        """`amount` more units are done."""

    def end(self) -> None:
        """The stretch is over, whether finished or not."""

    def say(self, sentence: str) -> None:
        """Something a person wants to know now, such as that everything is safe on the remote."""


class Silent:
    """The `Progress` of whoever does not look."""

    def begin(self, label: str, total: int, unit: str) -> None:
        pass

    def advance(self, amount: int) -> None:
        pass

    def end(self) -> None:
        pass

    def say(self, sentence: str) -> None:
        pass


SILENT = Silent()
