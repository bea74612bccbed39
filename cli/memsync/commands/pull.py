"""`memsync pull`"""

from __future__ import annotations

import click

from memstore.errors import Conflict, MemsyncError
from memstore.reports import PullConflict, PullReport
from memsync.invocation import Invocation
from memsync.merge_report import show_pull
from memsync.verb import verb


@verb(
    "pull",
    examples=[
        ("memsync pull", "bring Data/ to what this and other machines have made"),
        ("memsync pull --on-conflict fail", "merge only what needs no person"),
    ],
)
@click.option(
    "--on-conflict",
    type=click.Choice(["keep-both", "ours", "theirs", "fail"]),
    default="keep-both",
    show_default=True,
    help="What to do where both sides changed the same: see above.",
)
def command(call: Invocation, *, on_conflict: str) -> int | None:
    """Fetch new versions from the remote and merge them into Data/.

    What is not committed is committed first, and the answer names that version. Where this machine and
    another have versions that were made apart, they are merged: text by line, JSON by key. Where both
    changed the same, both are kept: the later side's has the name, the other lies beside it as 'Rules
    (from laptop 2025-04-23T14-02-00Z).txt', and the exit code is 1. 'ours' or 'theirs' take this machine's
    or the remote's side there, and the other stays in history; 'fail' merges nothing then, with exit code 3.
    """
    with call.store() as store:
        try:
            report = store.pull(on_conflict=on_conflict)
        except MemsyncError as error:
            if not call.json:
                raise
            if isinstance(error, Conflict):
                apart = tuple(PullConflict(path, None) for path in error.paths)
                failed = PullReport("conflict", store.head(), conflicts=apart, saved_first=error.saved_first)
            else:
                failed = PullReport("fail", store.head())
            call.answer({**failed.as_json(), "error": error.as_json()})
            return error.exit_code
    if call.json:
        call.answer(report.as_json())
    else:
        with call.page() as page:
            show_pull(page, report)
    warned = call.warn(report.warnings)
    return 1 if report.conflicts else warned
