"""`memsync push`"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from memstore.errors import MemsyncError
from memsync import render
from memsync.failure import tell
from memsync.invocation import Invocation
from memsync.verb import verb

if TYPE_CHECKING:
    from memstore.reports import PushReport


@verb(
    "push",
    examples=[
        ("memsync push", "everything that the remote lacks, then its readable mirror"),
        ("memsync push --pull", "first fetch and merge what other machines sent: for scripts"),
        ("memsync push --no-mirror", "versions only; they are safe without a mirror"),
    ],
)
@click.argument("paths", metavar="[PATH]…", nargs=-1, type=click.Path(path_type=str))
@click.option("--no-mirror", is_flag=True, help="Send versions only; leave the readable files as they are.")
@click.option("--dry-run", is_flag=True, help="Say what would be sent, and send nothing.")
@click.option(
    "--pull",
    "pull_first",
    is_flag=True,
    help="Fetch and merge what the remote has first, as 'memsync pull' does.",
)
def command(
    call: Invocation, *, paths: Sequence[str], no_mirror: bool, dry_run: bool, pull_first: bool
) -> int | None:
    """Send new versions to the remote; refresh its mirror.

    Every version that the remote lacks is sent; PATHs limit the mirror only, and what a person removed there of
    them is put back ('.' for all of it). What is not committed is not
    sent. An interrupted push is finished by the next one. Where another machine has pushed versions that are
    not here, this one's are sent all the same, the mirror waits, and the exit code is 1: --pull brings and
    merges them as well.
    """
    if paths and no_mirror:
        raise click.UsageError("PATHs limit the mirror, which --no-mirror leaves out", call.context)
    with call.store() as store:
        limited = call.paths(store, paths)
        try:
            report = store.push(
                limited,
                mirror=not no_mirror,
                dry_run=dry_run,
                pull=(pull_first or None) if not dry_run else False,
            )
        except MemsyncError as error:
            return _failed(call, error)
        empty = store.head() is None
    if call.json:
        call.answer(report.as_json())
    else:
        _show(call, report, dry_run=dry_run, empty=empty)
    pulled = report.pulled
    warned = call.warn((*(pulled.warnings if pulled else ()), *report.warnings))
    return report.exit_code or (1 if pulled is not None and pulled.conflicts else warned)


def _failed(call: Invocation, error: MemsyncError) -> int:
    """A push that ended before it could report answers like one that reported its failure."""
    if not call.json:
        raise error
    from memstore.reports import PushReport

    call.answer(PushReport("fail", error=error.as_json()).as_json())
    return error.exit_code


def _show(call: Invocation, report: PushReport, *, dry_run: bool, empty: bool) -> None:
    with call.page() as page:
        pulled = report.pulled
        if pulled is not None and pulled.status != "nothing":
            from memsync.merge_report import show_pull

            show_pull(page, pulled)
        if report.status == "nothing":
            why = "nothing is committed yet" if empty else "the remote has every version"
            page.line(f"nothing to push: {why}")
        elif report.status == "success" or report.versions:
            page.line(_sent(report, dry_run=dry_run))
        mirrored = _mirrored(report)
        if mirrored:
            page.line(mirrored)
        for note in report.notes:
            page.line(render.visible(note))
    for error in (report.pull_error, report.error):
        if error is not None:
            tell(str(error.get("message", "the push failed")), str(error.get("hint") or ""))


def _sent(report: PushReport, *, dry_run: bool) -> str:
    if not report.versions and not report.packs:  # the rest of the mirror, or heads that another superseded
        cost = f" ({render.size(report.bytes_sent)})" if report.bytes_sent else ""
        return f"no new versions to send: the remote has every one{cost}"
    sent = f"{'would send' if dry_run else 'sent'} {render.plural(report.versions, 'version')}"
    facts = [render.plural(report.objects, "object")]
    if report.packs:
        facts.append(render.plural(report.packs, "pack"))
    facts.append(f"{'about ' if dry_run else ''}{render.size(report.bytes_sent)}")
    if report.requests:
        facts.append(render.plural(report.requests, "request"))
    return f"{sent} ({', '.join(facts)})"


def _mirrored(report: PushReport) -> str:
    words = (
        ("created", "created"), ("updated", "updated"), ("moved", "moved to Archive/"),
        ("skipped", "skipped"), ("failed", "failed"),
    )  # fmt: skip
    counts = [
        f"{count:,} {word}"
        for key, word in words
        if (count := getattr(report.mirror, key)) and key != "skipped"
    ]
    return f"mirror: {', '.join(counts)}" if counts else ""
