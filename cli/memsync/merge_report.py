"""What a pull brought, for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

from memsync import render

if TYPE_CHECKING:
    from memstore.reports import PullReport


def show_pull(page: render.Page, report: PullReport) -> None:
    if report.saved_first is not None:
        page.line(f"{page.id(report.saved_first)} saved first: what was not committed here")
    if report.status == "nothing":
        page.line("nothing to pull: every version of the remote is here")
    elif report.version is not None:
        merged = f"  merged {render.plural(len(report.merged), 'file')}" if report.merged else ""
        page.line(f"{page.id(report.version)} is the newest version now{merged}")
    for path in report.merged[: render.SHOWN_CHANGES]:
        page.line(f"  {page.paint('merge  ', 'cyan')}  {render.name(path)}")
    page.more(len(report.merged) - render.SHOWN_CHANGES)
    told = {
        *report.merged,
        *(row.path for row in report.conflicts),
        *(row.kept_as for row in report.conflicts),
    }
    others = [change for change in report.changes if change.path not in told]
    for change in others[: render.SHOWN_CHANGES]:
        page.line(f"  {page.word(change.change.word)}  {render.name(change.path)}")
    page.more(len(others) - render.SHOWN_CHANGES)
    for row in report.conflicts:
        kept = (
            f"the other side is {render.name(row.kept_as)}" if row.kept_as else "the other side is in history"
        )
        page.line(f"  {page.paint('both   ', 'red')}  {render.name(row.path)}  ({kept})")
    if report.conflicts and any(row.kept_as for row in report.conflicts):
        page.line("next: keep what is right, delete the side files, and run 'memsync commit'")
    for note in report.notes:
        page.line(render.visible(note))
