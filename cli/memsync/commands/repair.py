"""`memsync repair`"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import click

from memsync import render
from memsync.commands.verify import DAMAGED, short, show_problems
from memsync.invocation import Invocation
from memsync.verb import verb

if TYPE_CHECKING:
    from memstore.reports import RepairReport

SHOWN: Final = 100
"""Lines of what was mended that a person sees; `--json` has all of them."""


@verb(
    "repair",
    examples=[
        ("memsync repair --dry-run", "what is damaged, and where a good copy of it is"),
        ("memsync repair", "bring it back"),
    ],
)
@click.option("--dry-run", is_flag=True, help="Change nothing; say what would be done.")
def command(call: Invocation, *, dry_run: bool) -> int | None:
    """Bring back what damage took, here and on the remote.

    Good copies are taken from the remote, from another pack, from the damaged files themselves and from the
    files in Data/; a content's hash decides what is good. Packs and heads that the remote lost are sent again.
    Damaged files are moved to .memsync/torn/; 'memsync gc' removes them after 30 days, once all reads back.

    Exit code 6 if something could not be brought back: it is named, with the paths and versions that need it.
    """
    with call.store(damaged=True) as store:
        report = store.repair(dry_run=dry_run)
    if call.json:
        call.answer(report.as_json())
    else:
        with call.page() as page:
            _show(page, report)
    warned = call.warn(report.warnings)
    return warned if report.ok else DAMAGED


def _show(page: render.Page, report: RepairReport) -> None:
    if not report.mended and report.ok:
        page.line(page.paint("nothing to mend" + (" here" if report.warnings else ""), "green"))
    for row in report.mended[:SHOWN]:
        would = "would be mended" if report.dry_run else "mended"
        kind = row.kind.replace("_", " ")
        what = short(row.id) if row.id.startswith(kind) else f"{kind} {short(row.id)}"
        page.line(f"{would}: {what}: {render.visible(row.how)}")
    if len(report.mended) > SHOWN:
        page.line(f"… and {len(report.mended) - SHOWN} more")
    if not report.ok:
        can_not = "would stay" if report.dry_run else "could not be brought back"
        page.line(page.paint(f"{render.plural(len(report.problems), 'problem')} {can_not}:", "red"))
        show_problems(page, report.problems)
    for note in report.notes:
        page.line(render.visible(note))
