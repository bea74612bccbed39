"""`memsync push`"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from memstore.errors import Conflict, MemsyncError, RemoteMissing
from memsync import render
from memsync.failure import tell
from memsync.invocation import Invocation
from memsync.verb import verb

if TYPE_CHECKING:
    from memstore.reports import PullReport, PushReport


@verb(
    "push",
    examples=[
        ("memsync push", "everything that the remote lacks, then its readable mirror"),
        ("memsync push --pull", "first fetch what other machines sent: for scripts"),
        ("memsync push --no-mirror", "versions only; they are safe without a mirror"),
    ],
)
@click.argument("paths", metavar="[PATH]…", nargs=-1, type=click.Path(path_type=str))
@click.option("--no-mirror", is_flag=True, help="Send versions only; leave the readable files as they are.")
@click.option("--dry-run", is_flag=True, help="Say what would be sent, and send nothing.")
@click.option(
    "--pull", "pull_first", is_flag=True, help="Fetch what the remote has first, as 'memsync pull' does."
)
def command(
    call: Invocation, *, paths: Sequence[str], no_mirror: bool, dry_run: bool, pull_first: bool
) -> int | None:
    """Send new versions to the remote; refresh its mirror.

    Every version that the remote lacks is sent; PATHs limit the mirror only. What is not committed is not
    sent. An interrupted push is finished by the next one.
    """
    if paths and no_mirror:
        raise click.UsageError("PATHs limit the mirror, which --no-mirror leaves out", call.context)
    with call.store() as store:
        limited = call.paths(store, paths)
        pulled: PullReport | None = None
        apart: Conflict | None = None
        if pull_first and not dry_run:
            try:
                pulled = store.pull()
            except RemoteMissing:  # nothing was ever pushed there: nothing to fetch
                pass
            except Conflict as error:  # what is here is sent all the same: a backup never waits for a person
                apart = error
            except MemsyncError as error:
                return _failed(call, error)
        try:
            report = store.push(limited, mirror=not no_mirror, dry_run=dry_run)
        except MemsyncError as error:
            return _failed(call, error)
        empty = store.head() is None
    if call.json:
        document = report.as_json()
        if pulled is not None:
            document["pull"] = pulled.as_json()
        elif apart is not None:
            document["pull"] = {"error": apart.as_json()}
        call.answer(document)
    else:
        _show(call, report, pulled, dry_run=dry_run, empty=empty)
        if apart is not None:
            tell(apart.message, apart.hint)
    warned = call.warn((*(pulled.warnings if pulled else ()), *report.warnings))
    if pulled is not None and pulled.conflicts:
        warned = 1
    return report.exit_code or (apart.exit_code if apart is not None else warned)


def _failed(call: Invocation, error: MemsyncError) -> int:
    """A push that ended before it could report answers like one that reported its failure."""
    if not call.json:
        raise error
    from memstore.reports import PushReport

    call.answer(PushReport("fail", error=error.as_json()).as_json())
    return error.exit_code


def _show(
    call: Invocation, report: PushReport, pulled: PullReport | None, *, dry_run: bool, empty: bool
) -> None:
    with call.page() as page:
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
    if report.error is not None:
        tell(str(report.error.get("message", "the push failed")), str(report.error.get("hint") or ""))


def _sent(report: PushReport, *, dry_run: bool) -> str:
    sent = f"{'would send' if dry_run else 'sent'} {render.plural(report.versions, 'version')}"
    facts = [render.plural(report.objects, "object")]
    if report.packs:
        facts.append(render.plural(report.packs, "pack"))
    facts.append(render.size(report.bytes_sent))
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
