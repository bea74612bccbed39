"""How differences look: to people a coloured unified diff, to programs a document with its text."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from memsync import render
from memsync.textdiff import unified

if TYPE_CHECKING:
    from memstore.reports import FileDifference
    from memsync.invocation import Invocation


def answer_differences(
    call: Invocation,
    differences: Iterable[FileDifference],
    *,
    old: str,
    new: str,
    heading: Mapping[str, Any],
) -> None:
    """Show them (with `--json`, `heading` and a list of `differences`); `old` and `new` name the sides."""
    if call.json:
        rows = [{**row.as_json(), "diff": text_difference(row, old, new)} for row in differences]
        call.answer({**heading, "differences": rows})
        return
    with call.page() as page:
        any_yet = False
        for row in differences:
            if any_yet:
                page.line()
            any_yet = True
            show_difference(page, row, old, new)
        if not any_yet:
            page.line("no difference")


def show_difference(page: render.Page, row: FileDifference, old: str, new: str) -> None:
    """One file: a line with its change and sizes, then its text."""
    page.line(
        f"{page.word(row.change.word).rstrip()} {page.paint(render.name(row.path), 'bold')}  {_sizes(row)}"
    )
    for sentence in row.removed:
        page.line(f"  {render.visible(sentence)}")
    if row.binary or row.removed:
        return
    for line in unified_lines(row, old, new):
        page.line(_coloured(page, render.visible(line)))


def text_difference(row: FileDifference, old: str, new: str) -> str | None:
    """The unified diff as one text; None where the sides have no text to show."""
    return None if row.binary or row.removed else "\n".join(unified_lines(row, old, new))


def unified_lines(row: FileDifference, old: str, new: str) -> list[str]:
    """The unified diff of a text; its first component names the side, so that `patch -p1` takes it. A name that would
    not stay on its line is spelt out."""
    path = render.name(row.path)
    return list(
        unified(
            row.old or b"",
            row.new or b"",
            f"{old}/{path}" if row.old_size is not None else "/dev/null",
            f"{new}/{path}" if row.new_size is not None else "/dev/null",
        )
    )


def _coloured(page: render.Page, line: str) -> str:
    if line.startswith(("--- ", "+++ ")):
        return page.paint(line, "bold")
    colour = {"+": "green", "-": "red", "@": "cyan"}.get(line[:1])
    return page.paint(line, colour) if colour else line


def _sizes(row: FileDifference) -> str:
    what = "binary, " if row.binary else ""
    if row.old_size is None:
        sizes = render.size(row.new_size or 0)
    elif row.new_size is None:
        sizes = f"had {render.size(row.old_size)}"
    elif row.old_size == row.new_size:
        sizes = render.size(row.new_size)
    else:
        sizes = f"{render.size(row.old_size)} → {render.size(row.new_size)}"
    return f"({what}{sizes})"
