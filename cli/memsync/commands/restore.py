"""`memsync restore`"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from memstore.errors import BadInput
from memsync import render
from memsync.invocation import Invocation
from memsync.revision import NEITHER, means_version
from memsync.verb import verb

if TYPE_CHECKING:
    from memstore.reports import RestoreReport
    from memstore.store import Store


@verb(
    "restore",
    examples=[
        ("memsync restore Core/Rules.txt --at 2025-04-23", "as it was at the end of that day"),
        ("memsync restore Archive/Core/Rules_2025-04-23T14-02-00Z.txt", "what an archive reference names"),
        ("memsync restore Core --at 3f2a91c0 --to /tmp/then", "a folder, beside the memory folder"),
    ],
)
@click.argument("paths", metavar="PATH…", nargs=-1, required=True, type=click.Path(path_type=str))
@click.option("--at", metavar="ID|TIME", help="The version; a time means the newest that is not later.")
@click.option(
    "--to", metavar="DEST", type=click.Path(path_type=str), help="Write there instead; makes no version."
)
@click.option("--exact", is_flag=True, help="Also remove files that a folder did not have then.")
def command(
    call: Invocation, *, paths: Sequence[str], at: str | None, to: str | None, exact: bool
) -> int | None:
    """Bring back any version of a file or folder.

    PATH is a file, a folder, '.' for everything, or an archive reference. What comes back is a new
    version, and whatever is not committed at those places is committed first: nothing is lost. Without
    --at: what HEAD has, or the last content the path had if it is gone. A TIME is '2025-04-23',
    '2025-04-23T14:00Z', '2 days ago'.
    """
    if at is not None and not means_version(at):
        raise BadInput(f"neither a version nor a time: {at!r}", hint=NEITHER)
    with call.store() as store:
        report = store.restore(
            [call.path(store, path) for path in paths],
            at=at,
            to=None if to is None else os.path.abspath(to),
            exact=exact,
        )
        if call.json:
            call.answer(report.as_json())
        else:
            _show(call, store, report, to)
    return call.warn(report.warnings)


def _show(call: Invocation, store: Store, report: RestoreReport, to: str | None) -> None:
    with call.page() as page:
        if report.saved_first is not None:
            page.line(f"{page.id(report.saved_first)} saved first: what was not committed there")
        back = [row for row in report.restored if row.content is not None]
        removed = len(report.restored) - len(back)
        did = f"{'wrote' if to else 'restored'} {render.plural(len(back), 'file')}"
        if to:
            did += f" to {to}"
        if removed:
            did += f", removed {removed:,}"
        if report.restored:
            page.line(f"{page.id(report.version)} {did}" if report.version else did)
        elif not report.notes:
            page.line("nothing to restore: the memory folder has that already")
        times: dict[str, str] = {}
        for row in report.restored[: render.SHOWN_CHANGES]:
            if row.content is None:
                page.line(f"  {page.word('delete')}  {render.name(row.path)}")
                continue
            if row.source not in times:
                times[row.source] = render.local_time(store.version(row.source).time_ms)
            page.line(f"  {render.name(row.path)}  ← {page.id(row.source)}  {times[row.source]}")
        page.more(len(report.restored) - render.SHOWN_CHANGES)
        for note in report.notes:
            page.line(render.visible(note))
