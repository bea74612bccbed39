"""`memsync pull`"""

from __future__ import annotations

import click

from memsync.invocation import Invocation
from memsync.merge_report import show_pull
from memsync.verb import verb


@verb(
    "pull",
    examples=[
        ("memsync pull", "fetch and merge; where both changed, keep both"),
        ("memsync pull --on-conflict fail", "change nothing if a person must decide (exit code 3)"),
    ],
)
@click.option(
    "--on-conflict", type=click.Choice(["keep-both", "ours", "theirs", "fail"]), default="keep-both",
    show_default=True, help="What to do where both sides changed the same text.",
)  # fmt: skip
def command(call: Invocation, *, on_conflict: str) -> int | None:
    """Fetch new versions from the remote and merge them.

    What is not committed is committed first. Whatever is not chosen stays in history: nothing is lost.
    """
    with call.store() as store:
        report = store.pull(on_conflict=on_conflict)
    if call.json:
        call.answer(report.as_json())
    else:
        with call.page() as page:
            show_pull(page, report)
    warned = call.warn(report.warnings)
    if report.status == "conflict":
        return 3 if on_conflict == "fail" else 1
    return 1 if report.conflicts and on_conflict == "keep-both" else warned
