"""Panels of lines over two logarithmic axes, as SVG that needs no script, no font and no library."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from typing import Final, NamedTuple

WIDTH: Final = 460
HEIGHT: Final = 300
LEFT, RIGHT, TOP, BOTTOM = 64, 16, 40, 40
ROW: Final = 18
"""Height of a line of the legend."""
COLOURS: Final = ("#0b6e99", "#d9730d", "#448361", "#9065b0", "#c14c8a")
"""Told apart on white by most eyes; each line has its own marks as well."""
DASHES: Final = ("", "6 3", "2 3", "8 3 2 3", "12 4")


class Panel(NamedTuple):
    """`lines`: name → (how many, milliseconds)."""

    what: str
    lines: dict[str, list[tuple[int, float]]]


class _Axis(NamedTuple):
    low: int
    """Decades: the axis runs from 10**low to 10**high."""
    high: int

    @classmethod
    def around(cls, values: Sequence[float]) -> _Axis:
        low = math.floor(math.log10(min(values)))
        return cls(low, max(low + 1, math.ceil(math.log10(max(values)))))

    def share(self, value: float) -> float:
        return (math.log10(value) - self.low) / (self.high - self.low)


def draw(panels: Sequence[Panel], caption: str) -> str:
    """The whole picture, a panel beside the other, with one scale of time."""
    times = _Axis.around([took for panel in panels for row in panel.lines.values() for _, took in row])
    legend = ROW * max(len(panel.lines) for panel in panels)
    width, height = WIDTH * len(panels), HEIGHT + legend + 44
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        'font-family="system-ui, sans-serif" font-size="12" role="img">',
        "<title>What commands cost as files and versions grow</title>",
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
    ]
    for number, panel in enumerate(panels):
        parts.append(f'<g transform="translate({number * WIDTH} 0)">')
        parts += _panel(panel, times)
        parts.append("</g>")
    parts.append(f'<text x="{LEFT}" y="{height - 14}" fill="#666666" font-size="11">{escape(caption)}</text>')
    parts.append("</svg>")
    return "\n".join(parts) + "\n"


def _panel(panel: Panel, times: _Axis) -> list[str]:
    counts = _Axis.around([count for row in panel.lines.values() for count, _ in row])
    inner, tall = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM

    def x(count: float) -> float:
        return LEFT + inner * counts.share(count)

    def y(took: float) -> float:
        return TOP + tall * (1 - times.share(took))

    parts = [f'<text x="{LEFT}" y="22" font-size="14" font-weight="600">{escape(panel.what)}</text>']
    for decade in range(counts.low, counts.high + 1):
        place = x(10**decade)
        parts.append(_rule(place, TOP, place, TOP + tall))
        parts.append(_label(place, TOP + tall + 18, f"{10**decade:,}", "middle"))
    for decade in range(times.low, times.high + 1):
        place = y(10**decade)
        parts.append(_rule(LEFT, place, LEFT + inner, place))
        parts.append(_label(LEFT - 6, place + 4, _time(10**decade), "end"))
    for number, (name, row) in enumerate(panel.lines.items()):
        colour, dash = COLOURS[number % len(COLOURS)], DASHES[number % len(DASHES)]
        points = " ".join(f"{x(count):.1f},{y(took):.1f}" for count, took in row)
        drawn = f'fill="none" stroke="{colour}" stroke-width="2" stroke-dasharray="{dash}"'
        parts.append(f'<polyline points="{points}" {drawn}/>')
        parts += [
            f'<circle cx="{x(count):.1f}" cy="{y(took):.1f}" r="3" fill="{colour}">'
            f"<title>{escape(name)}: {count:,}, {took:.1f} ms</title></circle>"
            for count, took in row
        ]
        level = HEIGHT + 10 + ROW * number
        parts.append(f'<path d="M{LEFT} {level}h28" {drawn}/>')
        told = f"{name}: {_time(row[0][1])} to {_time(row[-1][1])}"
        parts.append(f'<text x="{LEFT + 36}" y="{level + 4}">{escape(told)}</text>')
    return parts


def _rule(x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="#e3e2e0"/>'


def _label(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="#666666">{text}</text>'


def _time(milliseconds: float) -> str:
    return f"{milliseconds:.3g} ms" if milliseconds < 1000 else f"{milliseconds / 1000:.3g} s"
