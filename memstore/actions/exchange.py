"""exchange: pull and push, until this device and the remote have the same: what scripts use (`push --pull`)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from memstore.errors import MemsyncError, RemoteMissing
from memstore.reports import PullReport, PushReport

ROUNDS: Final = 3
"""Another device may push between our pull and our push; more often than this is for the next call."""


def exchange(pull: Callable[[], PullReport], push: Callable[[], PushReport]) -> PushReport:
    """Pull, then push; again where the remote was ahead once more. A pull that fails holds up no push: what is
    here is sent all the same, and the error is in the report."""
    pulled: PullReport | None = None
    for _ in range(ROUNDS):
        failed: MemsyncError | None = None
        try:
            pulled = _both(pulled, pull())
        except RemoteMissing:
            pass  # nothing was ever pushed there
        except MemsyncError as error:
            failed = error
        report = push()._replace(pulled=pulled)
        if failed is not None and (report.error or {}).get("code") != failed.code:
            return report._replace(
                pull_error=failed.as_json(), exit_code=report.exit_code or failed.exit_code
            )
        if failed is not None or not report.ahead:
            break
    return report


def _both(before: PullReport | None, now: PullReport) -> PullReport:
    """What two pulls brought together."""
    if before is None or before.status == "nothing":
        return now
    if now.status == "nothing":
        return before
    return PullReport(
        "conflict" if "conflict" in (before.status, now.status) else "success",
        now.version,
        tuple(sorted({*before.merged, *now.merged})),
        (*before.conflicts, *now.conflicts),
        (*before.notes, *now.notes),
        (*before.warnings, *now.warnings),
        (*before.changes, *now.changes),
        before.saved_first or now.saved_first,
    )
