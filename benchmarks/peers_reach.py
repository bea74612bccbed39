"""What a row is to reach, and whether it did."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

OWN = "memsync"
Figures = Mapping[str, float]
"""Tool → figure; smaller is better in every row."""


class Reach(NamedTuple):
    """A goal: its words in the table, and the test. None: it can't be told, a figure is missing."""

    text: str
    met: Callable[[Figures], bool | None]


def best(figures: Figures) -> float | None:
    """The best peer's figure."""
    return min((value for name, value in figures.items() if name != OWN), default=None)


def ratio(figures: Figures) -> float | None:
    """memsync's figure to the best peer's."""
    peer = best(figures)
    return figures[OWN] / peer if peer and OWN in figures else None


def of_best(limit: float) -> Reach:
    def met(figures: Figures) -> bool | None:
        found = ratio(figures)
        return None if found is None else found <= limit

    return Reach(f"≤ {limit:g} of the best", met)


def of(peer: str, limit: float, words: str = "") -> Reach:
    def met(figures: Figures) -> bool | None:
        if peer not in figures or OWN not in figures:
            return None
        return figures[OWN] <= limit * figures[peer]

    return Reach(f"≤ {limit:g} of {words or peer}", met)


def of_second(limit: float) -> Reach:
    """Of the second best peer."""

    def met(figures: Figures) -> bool | None:
        peers = sorted(value for name, value in figures.items() if name != OWN)
        return figures[OWN] <= limit * peers[1] if len(peers) > 1 and OWN in figures else None

    return Reach(f"≤ {limit:g} of the second best", met)


def at_most(limit: float, words: str) -> Reach:
    """In the row's own unit; `words` say it."""
    return Reach(f"≤ {words}", lambda figures: figures[OWN] <= limit if OWN in figures else None)


def both(first: Reach, second: Reach) -> Reach:
    def met(figures: Figures) -> bool | None:
        answers = (first.met(figures), second.met(figures))
        if False in answers:
            return False
        return None if None in answers else True

    return Reach(f"{first.text}, and {second.text}", met)
