"""The answer of the commands that record a version."""

from __future__ import annotations

from typing import TYPE_CHECKING

from memsync import render
from memsync.invocation import Invocation

if TYPE_CHECKING:
    from memstore.reports import CommitReport


def answer_recorded(call: Invocation, report: CommitReport, nothing: str = "nothing changed") -> int:
    """Show what was recorded and return the exit code: 1 if something was left out."""
    if call.json:
        call.answer(report.as_json())
        return call.warn(report.warnings)
    with call.page() as page:
        version = report.version
        if version is None:
            page.line(nothing)
        else:
            note = next(iter(render.visible(version.note).splitlines()), "")
            counts = render.summary(change.change for change in version.changes)
            page.line(f"{page.id(version.id)} {page.paint(note, 'bold') + '  ' if note else ''}({counts})")
            page.changes(
                version.changes,
                limit=render.SHOWN_CHANGES,
                rest=f"memsync show {str(version.id)[: render.SHORT_ID]}",
            )
    return call.warn(report.warnings)
