"""`memsync pull`"""

from __future__ import annotations

from memstore.errors import Conflict, MemsyncError
from memstore.reports import PullReport
from memsync.invocation import Invocation
from memsync.merge_report import show_pull
from memsync.verb import verb


@verb(
    "pull",
    examples=[
        ("memsync pull", "bring Data/ to the newest version that another machine pushed"),
        ("memsync pull && memsync push", "the same, then send what is new here"),
    ],
)
def command(call: Invocation) -> int | None:
    """Fetch new versions from the remote and bring Data/ to the newest.

    What is not committed is committed first. Where this machine and another have versions that were made
    apart, both are fetched and kept, nothing is touched, and the exit code is 3: merging is not there yet.
    """
    with call.store() as store:
        try:
            report = store.pull()
        except MemsyncError as error:
            if not call.json:
                raise
            failed = PullReport("conflict" if isinstance(error, Conflict) else "fail", store.head())
            call.answer({**failed.as_json(), "error": error.as_json()})
            return error.exit_code
    if call.json:
        call.answer(report.as_json())
    else:
        with call.page() as page:
            show_pull(page, report)
    return call.warn(report.warnings)
