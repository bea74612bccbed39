"""Merging three lists of lines (or of anything that compares equal or not).

The difference between two lists is ours, not difflib's or a package's: what comes out of a merge is format (the
same parents give the same version id on every device), so it may not change with the Python that runs it. Lines
that occur once on either side are anchors (patience diff); between anchors the shortest edit is looked for
(Myers) up to `LONGEST_EDIT`, and what is further apart counts as replaced as a whole. So the cost is bounded:
n log n for the anchors, `LONGEST_EDIT` squared between two of them.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Hashable, Sequence
from typing import Final, NamedTuple, TypeVar

LONGEST_EDIT: Final = 200
"""Inserted and deleted lines between two anchors, up to which the shortest edit is found."""

T = TypeVar("T", bound=Hashable)


class Hunk(NamedTuple):
    """Items `start` to `end` of the base became items `first` to `last` of the other list."""

    start: int
    end: int
    first: int
    last: int


def hunks(base: Sequence[Hashable], other: Sequence[Hashable]) -> list[Hunk]:
    """How `other` differs from `base`, in order; never two that touch."""
    found: list[Hunk] = []
    at, there = 0, 0
    for here, same in [*_matches(base, other), (len(base), len(other))]:
        if here > at or same > there:
            found.append(Hunk(at, here, there, same))
        at, there = here + 1, same + 1
    return found


def merge(
    base: Sequence[T], earlier: Sequence[T], later: Sequence[T], *, apart: bool = False
) -> list[T] | None:
    """Both sides' changes to `base`; None where they overlap.

    What both changed in the same way counts once, and what both put at the end stays, the earlier side's first;
    an append overlaps with nothing. Other changes to neighbouring lines overlap, unless each line stands for
    itself (`apart`): then they don't, and two insertions at one place both stay wherever it is.
    """
    merged: list[T] = []
    at = 0
    for start, end, one, two in _groups(hunks(base, earlier), hunks(base, later), len(base), apart):
        merged += base[at:start]
        at = end
        mine, theirs = _side(base, earlier, one, start, end), _side(base, later, two, start, end)
        if not two or (one and mine == theirs):
            merged += mine
        elif not one:
            merged += theirs
        elif start == end and (apart or start == len(base)):
            merged += [*mine, *theirs[_common(mine, theirs) :]]
        else:
            return None
    merged += base[at:]
    return merged


def _common(mine: Sequence[T], theirs: Sequence[T]) -> int:
    """How many items both begin with."""
    return next(
        (n for n, (a, b) in enumerate(zip(mine, theirs, strict=False)) if a != b), min(len(mine), len(theirs))
    )


def _groups(
    one: list[Hunk], two: list[Hunk], length: int, apart: bool
) -> list[tuple[int, int, list[Hunk], list[Hunk]]]:
    """(start, end, hunks of the one side, of the other) of stretches of the base that belong together."""
    groups: list[tuple[int, int, list[Hunk], list[Hunk]]] = []
    rows = sorted(
        [(hunk, 0) for hunk in one] + [(hunk, 1) for hunk in two], key=lambda row: (*row[0][:2], row[1])
    )
    for hunk, side in rows:
        start, end, mine, theirs = groups[-1] if groups else (0, -1, [], [])
        inserts = hunk.start == hunk.end
        free = apart or (inserts and hunk.start == length)  # an append overlaps with nothing
        touches = hunk.start == end and ((inserts and start == end) or not free)
        if not (hunk.start < end or touches):
            start, end, mine, theirs = hunk.start, hunk.end, [], []
            groups.append((start, end, mine, theirs))
        (theirs if side else mine).append(hunk)
        groups[-1] = (start, max(end, hunk.end), mine, theirs)
    return groups


def _side(base: Sequence[T], other: Sequence[T], changed: list[Hunk], start: int, end: int) -> list[T]:
    """What a side has for items `start` to `end` of the base."""
    items: list[T] = []
    at = start
    for hunk in changed:
        items += [*base[at : hunk.start], *other[hunk.first : hunk.last]]
        at = hunk.end
    return [*items, *base[at:end]]


# -- what stayed -------------------------------------------------------------------------------------------


def _matches(a: Sequence[Hashable], b: Sequence[Hashable]) -> list[tuple[int, int]]:
    """Pairs of places of items that stayed, in order on either side."""
    pairs: list[tuple[int, int]] = []
    waiting = [(0, len(a), 0, len(b))]
    while waiting:
        low, high, left, right = waiting.pop()
        while low < high and left < right and a[low] == b[left]:
            pairs.append((low, left))
            low, left = low + 1, left + 1
        while low < high and left < right and a[high - 1] == b[right - 1]:
            high, right = high - 1, right - 1
            pairs.append((high, right))
        if low == high or left == right:
            continue
        anchors = _anchors(a, low, high, b, left, right)
        if not anchors:
            pairs += _shortest_edit(a, low, high, b, left, right)
        for here, there in anchors:
            pairs.append((here, there))
            waiting.append((low, here, left, there))
            low, left = here + 1, there + 1
        if anchors:
            waiting.append((low, high, left, right))
    return sorted(pairs)


def _anchors(
    a: Sequence[Hashable], low: int, high: int, b: Sequence[Hashable], left: int, right: int
) -> list[tuple[int, int]]:
    """The longest run, in order on both sides, of items that occur once on either."""
    once_a, once_b = _once(a, low, high), _once(b, left, right)
    pairs = [(here, once_b[item]) for item, here in once_a.items() if item in once_b]
    tails: list[int] = []
    ends: list[int] = []
    before: list[int] = []
    for number, (_, there) in enumerate(pairs):
        place = bisect_left(tails, there)
        before.append(ends[place - 1] if place else -1)
        tails[place : place + 1] = [there]
        ends[place : place + 1] = [number]
    chosen: list[tuple[int, int]] = []
    number = ends[-1] if ends else -1
    while number >= 0:
        chosen.append(pairs[number])
        number = before[number]
    return chosen[::-1]


def _once(items: Sequence[Hashable], low: int, high: int) -> dict[Hashable, int]:
    """Where the items lie that occur once between two places, in order."""
    count: dict[Hashable, int] = {}
    for place in range(low, high):
        count[items[place]] = -1 if items[place] in count else place
    return {item: place for item, place in count.items() if place >= 0}


def _shortest_edit(
    a: Sequence[Hashable], low: int, high: int, b: Sequence[Hashable], left: int, right: int
) -> list[tuple[int, int]]:
    """Myers' greedy search ("An O(ND) Difference Algorithm", 1986); no pairs where the edit is too long."""
    wide, tall = high - low, right - left
    furthest = {1: 0}
    trail: list[dict[int, int]] = []
    for edits in range(min(wide + tall, LONGEST_EDIT) + 1):
        trail.append(dict(furthest))
        for diagonal in range(-edits, edits + 1, 2):
            down = diagonal == -edits or (
                diagonal != edits and furthest[diagonal - 1] < furthest[diagonal + 1]
            )
            x = furthest[diagonal + 1] if down else furthest[diagonal - 1] + 1
            y = x - diagonal
            while x < wide and y < tall and a[low + x] == b[left + y]:
                x, y = x + 1, y + 1
            furthest[diagonal] = x
            if x >= wide and y >= tall:
                return [(low + i, left + j) for i, j in _walked(trail, wide, tall)]
    return []


def _walked(trail: list[dict[int, int]], x: int, y: int) -> list[tuple[int, int]]:
    pairs: list[tuple[int, int]] = []
    for edits in range(len(trail) - 1, -1, -1):
        furthest = trail[edits]
        diagonal = x - y
        down = diagonal == -edits or (
            diagonal != edits and furthest.get(diagonal - 1, -1) < furthest.get(diagonal + 1, -1)
        )
        came = diagonal + 1 if down else diagonal - 1
        old_x = furthest[came] if edits else 0
        old_y = old_x - came if edits else 0
        while x > old_x and y > old_y:
            x, y = x - 1, y - 1
            pairs.append((x, y))
        x, y = old_x, old_y
    return pairs
