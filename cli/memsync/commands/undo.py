"""`memsync undo`"""

from __future__ import annotations

from typing import TYPE_CHECKING

from memsync import render
from memsync.failure import Interrupted
from memsync.invocation import Invocation
from memsync.restore_report import show_restored
from memsync.verb import verb

if TYPE_CHECKING:
    from memstore.manifest.version import Version
    from memstore.reports import UndoReport
    from memstore.store import Store


@verb(
    "undo",
    examples=[
        ("memsync undo", "the last commit, restore, pull or merge had better not been"),
        ("memsync undo && memsync undo", "… or perhaps it had: all is as before"),
    ],
)
def command(call: Invocation) -> int | None:
    """Back out the last commit, restore, pull or merge.

    Each path that it changed gets what it held here before; all others stay as they are. That is a new
    version: history only grows, so a second undo takes the first one back; one that was cut off is only
    finished. What is not committed is committed first. An undone pull goes to the other devices with the next
    push, as any version does. What 'memsync forget' removed stays removed. To go further back:
    'memsync log', and 'memsync restore . --at ID'.
    """
    with call.store() as store:
        report = store.undo()
        try:
            _answer(call, store, report)
        except KeyboardInterrupt:
            raise Interrupted(
                "stopped; the undo is done", hint="another 'memsync undo' takes it back"
            ) from None
    return call.warn(report.restore.warnings)


def _answer(call: Invocation, store: Store, report: UndoReport) -> None:
    if call.json:
        call.answer(report.as_json())
        return
    with call.page() as page:
        if report.restore.restored:
            page.line(_undid(page, report, store.version(report.undone)))
        show_restored(page, store, report.restore, "brought back")


def _undid(page: render.Page, report: UndoReport, version: Version) -> str:
    note = next(iter(render.visible(version.note).splitlines()), "")
    what = "the pull of all up to " if report.pulled else ""
    if len(version.parents) > 1 and (not report.pulled or report.back_to in version.parents):
        what = "the merge "
    return f"undid {what}{page.id(report.undone)}  {page.paint(note, 'bold')}".rstrip()
