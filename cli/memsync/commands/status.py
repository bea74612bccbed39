"""`memsync status`"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from memsync import render
from memsync.invocation import Invocation
from memsync.verb import verb

if TYPE_CHECKING:
    from memstore.reports import LeftOut, StatusReport
    from memstore.store import Store

APART: Final = "there are versions here that were made apart from HEAD: 'memsync pull' merges them"
AHEAD: Final = "another device has pushed versions that are not here: 'memsync push --pull' merges them"
TOKEN_MISSING: Final = "Drive token missing"
"""The last error of a push without a token (issue 3's wording; memstore/remotes/drive/tokens.py)."""


@verb(
    "status",
    examples=[
        ("memsync status", "is everything committed and pushed?"),
        ("memsync status --json", "the same for a script; warnings are in it"),
    ],
)
def command(call: Invocation) -> int | None:
    """Show what is not committed or not pushed yet.

    It also says when the last push succeeded, why the last one failed, and what to type next. The network
    is not asked.
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
        if _apart(store, report):
            page.line(f"apart   {APART}")
        elif report.ahead:
            page.line(f"ahead   {AHEAD}")
        _show_changes(page, store, report)
        if report.conflicts:
            page.line("conflicts to settle: keep what is right, then delete the side file and commit")
            for path in report.conflicts:
                page.line(f"  {page.paint(render.name(path), 'red')}")
        following = _next(store, report)
        if following:
            page.line(f"next    {following}")


def _show_changes(page: render.Page, store: Store, report: StatusReport) -> None:
    if report.changes:
        counts = render.summary(change.change for change in report.changes)
        page.line(f"changes {counts}")
        for change in report.changes[: render.SHOWN_CHANGES]:
            page.line(f"  {page.word(change.change.word)}  {render.name(change.path)}")
        page.more(len(report.changes) - render.SHOWN_CHANGES, "memsync status --json has all")
        if _held_back(store, report):
            page.line(
                "        most files are gone: 'memsync commit' will hold their deletion back, unless they "
                "were moved; --allow-deletions records it"
            )
    elif report.head is not None and not (report.unwritten or report.unremoved or report.left_out):
        page.line("changes none: the memory folder is as HEAD has it")
    _show_left_out(page, report.left_out)
    _show_behind(page, report.unwritten, "missing", "of HEAD could not be written here")
    if report.unwritten:
        page.line("        each commit and pull tries again; 'memsync restore PATH' says why it fails")
    _show_behind(page, report.unremoved, "left   ", "that HEAD no longer has could not be removed here")
    if report.unremoved:
        page.line("        each commit and pull tries again; or remove them yourself")


def _show_left_out(page: render.Page, rows: Sequence[LeftOut]) -> None:
    if not rows:
        return
    page.line(f"left out: {render.plural(len(rows), 'file')} that no commit takes in")
    for row in rows[: render.SHOWN_CHANGES]:
        page.line(f"  {render.name(row.path)}: {render.visible(row.reason)}")
        page.line(f"        {render.visible(row.hint)}")
    page.more(len(rows) - render.SHOWN_CHANGES, "memsync status --json has all")


def _show_behind(page: render.Page, paths: Sequence[str], word: str, told: str) -> None:
    if not paths:
        return
    page.line(f"{word} {render.plural(len(paths), 'file')} {told}; commits leave them alone:")
    for path in paths[: render.SHOWN_CHANGES]:
        page.line(f"  {render.name(path)}")
    page.more(len(paths) - render.SHOWN_CHANGES, "memsync status --json has all")


def _show_remote(page: render.Page, report: StatusReport) -> None:
    remote = report.remote
    if remote is None:
        page.line("remote  none")
        return
    page.line(f"remote  {render.name(remote.url)}  {_pushed(report, remote.last_push_ms)}")
    if report.mirror_waiting:
        page.line(
            f"        {render.plural(report.mirror_waiting, 'file')} of the mirror left for the next push"
        )
    if remote.last_error:
        when = f" ({render.ago(remote.last_error_ms)})" if remote.last_error_ms is not None else ""
        page.line(f"        {page.paint('last error', 'red')}{when}: {render.visible(remote.last_error)}")


def _pushed(report: StatusReport, last_push_ms: int | None) -> str:
    waiting = f"{render.plural(report.unpushed, 'version')} to push" if report.unpushed else ""
    if last_push_ms is not None:
        when = f"{render.local_time(last_push_ms, seconds=False)} ({render.ago(last_push_ms)})"
        return f"last push {when}, {waiting or 'all versions pushed'}"
    if waiting:
        return f"never pushed, {waiting}"
    return "nothing to push yet" if report.head is None else "all versions are there"  # as after a clone


def _apart(store: Store, report: StatusReport) -> bool:
    """Whether a pull has something to merge that is here already."""
    return report.remote is not None and len(store.repository.catalogue.heads()) > 1


def _held_back(store: Store, report: StatusReport) -> bool:
    """Whether commit may hold the deletions back: more than half of the files, where there are enough."""
    gone = sum(change.change.word == "delete" for change in report.changes)
    if not gone:
        return False
    total = store.repository.catalogue.tree_size()
    return total >= store.workspace.config.commit_held_back_minimum and 2 * gone > total


def _next(store: Store, report: StatusReport) -> str:
    if report.changes:
        return 'memsync commit -m "what this is"'
    if report.head is None:
        return "put files into the memory folder and run 'memsync commit'"
    if report.remote is None:
        return "memsync remote set FOLDER, or 'drive:' for Google Drive: so far there is one copy only"
    if report.remote.last_error == TOKEN_MISSING and not os.path.lexists(store.workspace.token_path):
        return "memsync login"
    apart = _apart(store, report) or report.ahead
    if report.unpushed or apart or report.mirror_waiting:
        return "memsync push --pull" if apart else "memsync push"
    return ""
