"""The history as lanes of text: which version came from which.

    *      9f31…   a merge of the versions in both lanes
    |-\\
    | *    77d0…
    * |    02a4…
    |-/
    *      5c1e…   what both came from

A lane keeps its column as long as it lasts. It is named by the version that comes next in it; one version is in
one lane only, so a lane ends where another already waits for the same version.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from memstore.ids import VersionId


class Graph:
    """Fed every version in log order (children before parents), whether it is shown or not."""

    def __init__(self) -> None:
        self._lanes: list[VersionId | None] = []

    def node(self, id: VersionId) -> str:
        """The line of a version, to be asked for before `step`."""
        column = self._column(id)
        marks = ["|" if lane is not None else " " for lane in self._lanes]
        marks[column] = "*"
        return " ".join(marks)

    def lanes(self) -> str:
        """A line between versions."""
        return " ".join("|" if lane is not None else " " for lane in self._lanes)

    def step(self, id: VersionId, parents: Sequence[VersionId]) -> str:
        """Go on below a version. The line that shows how lanes part or meet there; '' where none does."""
        lanes = self._lanes
        column = self._column(id)
        lanes[column] = None
        ends, begun = {column}, set[int]()
        for parent in parents:
            there = lanes.index(parent) if parent in lanes else None
            if lanes[column] is None and (there is None or there > column):
                lanes[column] = parent  # the lane on the right ends here, if there is one
                if there is not None:
                    lanes[there] = None
            elif there is None:
                there = self._free(column + 1, ends)  # not where one ends just now
                lanes[there] = parent
                begun.add(there)
            if there is not None:
                ends.add(there)
        line = self._joint(ends, begun) if len(ends) > 1 else ""
        while lanes and lanes[-1] is None:
            lanes.pop()
        return line

    def _column(self, id: VersionId) -> int:
        """Where the version stands: in the lane that waits for it, else in a new one."""
        if id not in self._lanes:
            self._lanes[self._free(0)] = id
        return self._lanes.index(id)

    def _free(self, start: int, but: Collection[int] = ()) -> int:
        """The first column from `start` on that no lane is in."""
        for column in range(start, len(self._lanes)):
            if self._lanes[column] is None and column not in but:
                return column
        self._lanes += [None] * (max(start, len(self._lanes)) + 1 - len(self._lanes))
        return len(self._lanes) - 1

    def _joint(self, ends: set[int], begun: set[int]) -> str:
        low, high = min(ends), max(ends)
        marks = ""
        for place, lane in enumerate(self._lanes):
            between = low <= place < high
            if place in begun:
                mark = "\\"
            elif lane is not None:
                mark = "|"
            else:
                mark = "/" if place in ends else "-" if between else " "
            marks += mark + ("-" if between else " ")
        return marks.rstrip()
