"""The comparison as a table, as a section of a document, and as JSON."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Final, NamedTuple

from benchmarks import machine
from benchmarks.peers_bench import Outcome
from benchmarks.peers_reach import OWN, ratio
from benchmarks.peers_rows import Row

COLUMNS: Final = (OWN, "git", "restic", "borg")
METHOD: Final = """\
Each tool in turn does the same work on the same folder; every command is a process of its own, begun cold when all
that was written before is on disk, its output thrown away; each figure is the median (runs: {runs}). The ratio is
memsync's figure to the best peer's.

Durability is equal: memsync syncs what it commits before it answers, restic and borg sync their packs and
segments, and git is told to (`core.fsync=all`, loose objects in batches, `core.fsyncMethod=batch`: its fastest way
that survives a power cut; `gc.auto=0`, so that it collects only where a row says so, before the clock starts).
Everything else is each tool's default: restic encrypts and compresses with zstd, borg compresses with lz4 and does
not encrypt here, git deflates. restic and borg look at the whole folder for one changed note, since a version of
that file alone is not what is wanted. What comes out is checked: clones against the folder, contents read back
against what was written, logs against git's count."""


class Line(NamedTuple):
    """One line of the table."""

    row: Row
    outcome: Outcome
    date: str

    @property
    def met(self) -> bool | None:
        return self.row.reach.met(self.outcome.figures)

    @property
    def work(self) -> str:
        return f"{self.row.work}: {self.outcome.what}" if self.outcome.what else self.row.work


class Results:
    """Lines by their row, kept in a file if one is named, so that rows can be measured one at a time."""

    def __init__(self, path: str = "") -> None:
        self._path = path
        self._rows: dict[str, dict[str, object]] = {}
        self.peaks: dict[str, dict[str, int]] = {}
        if path and os.path.exists(path):
            with open(path, encoding="utf-8") as file:
                document = json.load(file)
            self._rows, self.peaks = document["rows"], document["peaks"]

    def add(self, row: Row, outcomes: Sequence[Outcome]) -> list[Line]:
        date = f"{datetime.now(UTC):%Y-%m-%d}"
        self._rows[row.key] = {"date": date, "outcomes": [outcome._asdict() for outcome in outcomes]}
        if self._path:
            with open(self._path, "w", encoding="utf-8") as file:
                json.dump({"rows": self._rows, "peaks": self.peaks}, file, indent=1)
        return [Line(row, outcome, date) for outcome in outcomes]

    def lines(self, rows: Iterable[Row]) -> list[Line]:
        """What is known, in the order of the table."""
        found = []
        for row in rows:
            kept = self._rows.get(row.key)
            if kept is not None:
                outcomes = kept["outcomes"]
                assert isinstance(outcomes, list)
                found += [Line(row, Outcome(**outcome), str(kept["date"])) for outcome in outcomes]
        return found


def shown(line: Line) -> list[str]:
    """The cells of a line."""
    form = _FORMS[line.row.unit]
    figures = line.outcome.figures
    cells = [form(figures[name]) if name in figures else "–" for name in COLUMNS]
    compared = ratio(figures)
    met = {True: "yes", False: "**no**", None: "–"}[line.met]
    return [line.work, *cells, "–" if compared is None else _three(compared), line.row.reach.text, met]


HEAD: Final = ["work", *COLUMNS, "to the best", "reach", "met"]


def text(lines: Sequence[Line]) -> str:
    """For a terminal."""
    table = [HEAD, *([cell.replace("**", "") for cell in shown(line)] for line in lines)]
    widths = [max(len(row[column]) for row in table) for column in range(len(HEAD))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in table
    )


def section(
    time: Sequence[Line],
    sizes: Sequence[Line],
    *,
    versions: Mapping[str, str],
    absent: Sequence[str],
    runs: int,
    scale: float,
) -> str:
    """The section of docs/benchmarks.md."""
    tools = ", ".join(f"{name} {version}" for name, version in versions.items())
    dates = sorted({line.date for line in (*time, *sizes)})
    when = dates[0] if len(dates) == 1 else f"{dates[0]} to {dates[-1]}"
    parts = [
        "## Side by side with git, restic and borg",
        f"{when}; {machine.describe()}; {tools}. Written by `benchmarks/peers.py`.",
    ]
    if absent:
        parts.append(f"Not installed here, and left out: {', '.join(absent)}.")
    if scale != 1:
        parts.append(f"**All sizes times {scale:g}: a trial of the bench, not a measurement.**")
    parts.append(METHOD.format(runs=runs))
    parts += [_table(lines) for lines in (time, sizes) if lines]
    remarks = [f"- {line.work}: {line.outcome.remark}" for line in (*time, *sizes) if line.outcome.remark]
    if remarks:
        parts.append("\n".join(remarks))
    return "\n\n".join(parts)


def documents(lines: Sequence[Line]) -> list[dict[str, object]]:
    """For `--json`: seconds, milliseconds and bytes as measured."""
    return [
        {
            "row": line.row.key,
            "what": line.outcome.what,
            "work": line.row.work,
            "unit": "bytes" if line.row.unit == "MB" else line.row.unit,
            "figures": line.outcome.figures,
            "ratio": ratio(line.outcome.figures),
            "reach": line.row.reach.text,
            "met": line.met,
            "remark": line.outcome.remark,
            "date": line.date,
        }
        for line in lines
    ]


def _table(lines: Sequence[Line]) -> str:
    rows = [HEAD, ["---"] * len(HEAD), *(shown(line) for line in lines)]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _three(value: float) -> str:
    """Three digits that mean something."""
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}" if value >= 0.001 else f"{value:.1g}"


def _bytes(value: float) -> str:
    return f"{value:,.0f} B" if value < 10_000 else f"{value / 1000:,.1f} KB"


_FORMS: Final[dict[str, Callable[[float], str]]] = {
    "s": lambda value: f"{_three(value)} s",
    "ms": lambda value: f"{_three(value)} ms",
    "times": _three,
    "MB": lambda value: f"{_three(value / 1e6)} MB",
    "bytes": _bytes,
}
