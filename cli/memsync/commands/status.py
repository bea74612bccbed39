"""`memsync status`"""

from __future__ import annotations

from typing import TYPE_CHECKING

from memsync import render
from memsync.invocation import Invocation
from memsync.verb import verb

if TYPE_CHECKING:
    from memstore.reports import StatusReport
    from memstore.store import Store


@verb(
    "status",
    examples=[
        ("memsync status", "is everything committed and pushed?"),
        ("memsync status --json", "the same for a script; warnings are in it"),
    ],
)
def command(call: Invocation) -> int | None:
    """Show what is not committed or not pushed yet.

    It also says when the last push succeeded, why the last one failed, which conflicts of a merge still
    wait for a person, and what to type next. The network is not asked.
    """
    with call.store() as store:
        report = store.status()
        if call.json:
            call.answer(report.as_json())
        else:
            _show(call, store, report)
    call.warn(report.warnings)
    return None  # looking changes nothing: a warning is told, and is no failure of the look


def _show(call: Invocation, store: Store, report: StatusReport) -> None:
    with call.page() as page:
        if report.head is None:
            page.line("head    none: nothing is committed yet")
        else:
            head = store.version(report.head)
            note = next(iter(render.visible(head.note).splitlines()), "")
            when = f"{render.local_time(head.time_ms)} ({render.ago(head.time_ms)})"
            page.line(f"head    {page.id(head.id)}  {when}{'  ' + page.paint(note, 'bold') if note else ''}")
        _show_remote(page, report)
        if report.changes:
            counts = render.summary(change.change.word for change in report.changes)
            page.line(f"changes {counts}")
            for change in report.changes[: render.SHOWN_CHANGES]:
                page.line(f"  {page.word(change.change.word)}  {render.name(change.path)}")
            page.more(len(report.changes) - render.SHOWN_CHANGES, "memsync status --json has all")
        elif report.head is not None:
            page.line("changes none: the memory folder is as HEAD has it")
        if report.conflicts:
            page.line("conflicts to settle: keep what is right, then delete the side file and commit")
            for path in report.conflicts:
                page.line(f"  {page.paint(render.name(path), 'red')}")
        following = _next(report)
        if following:
            page.line(f"next    {following}")


def _show_remote(page: render.Page, report: StatusReport) -> None:
    remote = report.remote
    if remote is None:
        page.line("remote  none")
        return
    if remote.last_push_ms is None:
        pushed = "never pushed"
    else:
        pushed = (
            f"last push {render.local_time(remote.last_push_ms, seconds=False)}"
            f" ({render.ago(remote.last_push_ms)})"
        )
    waiting = (
        f"{render.plural(report.unpushed, 'version')} to push" if report.unpushed else "all versions pushed"
    )
    page.line(f"remote  {render.name(remote.url)}  {pushed}, {waiting}")
    if remote.last_error:
        when = f" ({render.ago(remote.last_error_ms)})" if remote.last_error_ms is not None else ""
        page.line(f"        {page.paint('last error', 'red')}{when}: {render.visible(remote.last_error)}")


def _next(report: StatusReport) -> str:
    if report.changes:
        return 'memsync commit -m "what this is"'
    if report.head is None:
        return "put files into the memory folder and run 'memsync commit'"
    if report.remote is None:
        return "memsync remote set FOLDER, or 'drive:' for Google Drive: so far there is one copy only"
    if report.unpushed:
        return "memsync push"
    return ""
