"""What may have become of the pending steps when the power went.

Exhaustively where they are few. Where the product explodes: nothing and everything, each beginning of them,
each one alone missing and alone there, every write torn, and a sample by a seed of all the rest.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from tests.crash_disk.disk import Disk, Fate, Pending, Torn, Write, sectors_of


class Bounds(NamedTuple):
    """How far to go."""

    exhaustive: int = 7
    """Up to so many pending steps all subsets are built."""
    samples: int = 24
    """Of what is beyond, so many at each moment."""
    tears: int = 8
    """Of one write, so many ways."""


def fates(disk: Disk, choice: random.Random, bounds: Bounds) -> Iterator[tuple[Fate, ...]]:
    """One fate for each pending step, in their order. Some come twice."""
    pending = disk.pending
    count = len(pending)
    for number in range(count + 1):
        yield (*[True] * number, *[False] * (count - number))
    for number in range(count):
        for alone in (True, False):
            yield tuple((other == number) == alone for other in range(count))
    for number, item in enumerate(pending):
        for torn in _tears(item, choice, bounds.tears):
            for others in (True, False):
                yield tuple(torn if other == number else others for other in range(count))
    if count <= bounds.exhaustive:
        yield from itertools.product((True, False), repeat=count)
    for _ in range(bounds.samples if count > 1 else 0):
        yield _sampled(pending, choice, bounds)


def _tears(item: Pending, choice: random.Random, most: int) -> Sequence[Torn]:
    if not isinstance(item, Write) or not most:
        return ()
    sectors = list(sectors_of(item))
    found = [
        Torn(frozenset(), True),  # the length is there, the bytes are zeros
        *(
            Torn(frozenset(sectors[:number]), grown)
            for number in range(1, len(sectors))
            for grown in (False, True)
        ),
        *(Torn(frozenset(sectors) - {sector}, True) for sector in sectors[: len(sectors) - 1]),
    ]
    if len(sectors) > 2:
        found.append(Torn(frozenset(sectors[::2]), True))
        found.append(Torn(frozenset(sectors[1::2]), True))
    if len(found) <= most:
        return found
    return [found[0], *choice.sample(found[1:], most - 1)]


def _sampled(pending: Sequence[Pending], choice: random.Random, bounds: Bounds) -> tuple[Fate, ...]:
    likely = choice.choice((0.15, 0.5, 0.85))
    drawn: list[Fate] = []
    for item in pending:
        tears = _tears(item, choice, bounds.tears) if choice.random() < 0.3 else ()
        drawn.append(choice.choice(tears) if tears else choice.random() < likely)
    return tuple(drawn)
