"""Who descends from whom: found in the catalogue, told without its numbers, which differ from device to device.

The catalogue numbers versions so that parents come before children; walking by descending number therefore
meets each version after all its descendants.
"""

from __future__ import annotations

import heapq
from collections.abc import Collection, Sequence

from memstore.ids import VersionId
from memstore.manifest.history import is_ancestor
from memstore.objects.catalogue import Catalogue


def newest(catalogue: Catalogue, versions: Collection[VersionId]) -> list[VersionId]:
    """Those of the versions that no other of them descends from, in the order of time and id."""
    numbers = {version: _seq(catalogue, version) for version in set(versions)}
    left = [
        version
        for version, seq in numbers.items()
        if not any(other > seq and is_ancestor(catalogue, seq, other) for other in numbers.values())
    ]
    return sorted(left, key=lambda version: (_time(catalogue, version), version))


def parents(catalogue: Catalogue, seq: int) -> list[int]:
    first = catalogue.db.execute("SELECT parent FROM versions WHERE seq = ?", (seq,)).fetchone()[0]
    if first is None:
        return []
    others = catalogue.db.execute("SELECT parent FROM other_parents WHERE seq = ?", (seq,))
    return [first, *(row[0] for row in others)]


def nearest_common(
    catalogue: Catalogue, one: Sequence[VersionId], two: Sequence[VersionId]
) -> tuple[list[VersionId], set[int], set[int]]:
    """The nearest common versions of two sides, in the order of time and id, and the numbers of those versions
    that only the one side has, and only the other. A side is a version, or several taken together."""
    marks: dict[int, int] = {}
    waiting: list[int] = []

    def mark(seq: int, what: int) -> None:
        if seq not in marks:
            heapq.heappush(waiting, -seq)
        marks[seq] = marks.get(seq, 0) | what

    for side, what in ((one, _ONE), (two, _TWO)):
        for version in side:
            mark(_seq(catalogue, version), what)
    common: list[int] = []
    only: tuple[set[int], set[int]] = (set(), set())
    open_ones = len(waiting)
    while waiting and open_ones:
        seq = -heapq.heappop(waiting)
        what = marks[seq]
        if not what & _BELOW:
            open_ones -= 1
        if what & _BOTH == _BOTH:
            if not what & _BELOW:
                common.append(seq)
            what = _BOTH | _BELOW
        else:
            only[what - 1].add(seq)
        for parent in parents(catalogue, seq):
            before = marks.get(parent, _BELOW)
            mark(parent, what)
            open_ones += bool(before & _BELOW) - bool(marks[parent] & _BELOW)
    found = [catalogue.version_id(seq) for seq in common]
    return sorted(found, key=lambda version: (_time(catalogue, version), version)), *only


_ONE, _TWO, _BELOW = 1, 2, 4
"""Reached from the one side, from the other; below a common version."""
_BOTH = _ONE | _TWO


def _seq(catalogue: Catalogue, version: VersionId) -> int:
    seq = catalogue.seq(version)
    assert seq is not None, version
    return seq


def _time(catalogue: Catalogue, version: VersionId) -> int:
    seq = _seq(catalogue, version)
    row = catalogue.db.execute("SELECT time FROM versions WHERE seq = ?", (seq,)).fetchone()
    return int(row[0])
