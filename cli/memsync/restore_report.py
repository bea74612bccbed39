"""What came back, for people: the answer of `restore` and `undo`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from memsync import render

if TYPE_CHECKING:
    from memstore.reports import RestoreReport
    from memstore.store import Store


def show_restored(
    page: render.Page, store: Store, report: RestoreReport, did: str, *, where: str = ""
) -> None:
    """`did` is the word for what was done to the files, `where` what follows their number."""
    if report.saved_first is not None:
        page.line(f"{page.id(report.saved_first)} saved first: what was not committed there")
    back = [row for row in report.restored if row.content is not None]
    removed = len(report.restored) - len(back)
    done = f"{did} {render.plural(len(back), 'file')}{where}"
    if removed and not back:
        done = f"removed {render.plural(removed, 'file')}"
    elif removed:
        done += f", removed {removed:,}"
    if report.restored:
        page.line(f"{page.id(report.version)} {done}" if report.version else done)
    elif report.version is not None:
        page.line(f"{page.id(report.version)} recorded, but nothing of it could be written")
    elif report.warnings:
        page.line("nothing was restored")
    elif not report.notes:
        page.line("nothing to restore: the memory folder has that already")
    times: dict[str, str] = {}
    for row in report.restored[: render.SHOWN_CHANGES]:
        if row.content is None:
            page.line(f"  {page.word('delete')}  {render.name(row.path)}")
            continue
        if row.source not in times:
            times[row.source] = render.local_time(store.version(row.source).time_ms)
        page.line(f"  {render.name(row.path)}  ← {page.id(row.source)}  {times[row.source]}")
    page.more(len(report.restored) - render.SHOWN_CHANGES)
    for note in report.notes:
        page.line(render.visible(note))
