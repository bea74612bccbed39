"""`memsync gc`"""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from memsync import render
from memsync.invocation import Invocation
from memsync.verb import verb

if TYPE_CHECKING:
    from memstore.manifest.retention import Rules
    from memstore.reports import GcReport


def _span(_: click.Context, __: click.Parameter, text: str | None) -> int | None:
    """Milliseconds in `36h`, `90d`, `12w`, `6m`, `2y`."""
    from memstore.manifest.retention import span_ms

    try:
        return None if text is None else span_ms(text)
    except ValueError:
        raise click.BadParameter(f"{text!r} is no time such as 36h, 90d, 12w, 6m or 2y") from None


@verb(
    "gc",
    examples=[
        ("memsync gc --keep-within 90d --keep-monthly 24 --dry-run", "what would go, and how many bytes"),
        ("memsync gc --keep-within 90d --keep-monthly 24", "let it go"),
        ("memsync gc", "by the rules in .memsync/config.toml; without any, only tidy the packs"),
    ],
)
@click.option("--keep-last", type=click.IntRange(0), metavar="N", help="Keep the N newest versions.")
@click.option(
    "--keep-within", callback=_span, metavar="TIME", help="Keep those up to TIME older than the newest: 90d."
)
@click.option(
    "--keep-daily", type=click.IntRange(0), metavar="N", help="Keep the last one of each of N days."
)
@click.option(
    "--keep-weekly", type=click.IntRange(0), metavar="N", help="Keep the last one of each of N weeks."
)
@click.option(
    "--keep-monthly", type=click.IntRange(0), metavar="N", help="Keep the last one of each of N months."
)
@click.option("--keep-tag", "keep_tags", multiple=True, metavar="T", help="Keep versions with this tag.")
@click.option("--drop-archived", is_flag=True, help="Let the rules decide on archived files as well.")
@click.option("--dry-run", is_flag=True, help="Say what would go; change nothing.")
@click.option("--local", is_flag=True, help="Leave the remote as it is.")
def command(
    call: Invocation,
    *,
    keep_last: int | None,
    keep_within: int | None,
    keep_daily: int | None,
    keep_weekly: int | None,
    keep_monthly: int | None,
    keep_tags: tuple[str, ...],
    drop_archived: bool,
    dry_run: bool,
    local: bool,
) -> int | None:
    """Let old contents go by your rules, and make few packs of many.

    A version is kept if any rule wants it; the newest always is. Contents that no kept version holds leave, the
    records of all versions stay. What 'memsync archive' put away is kept. Any --keep-… given here stands in the
    place of all gc.keep_* keys in the configuration; with no rule at all, every content is kept.

    Days, weeks and months are those of UTC, weeks from Monday. What is dated in the future, because a clock
    was wrong, is kept by every rule that goes by time.

    What commits that were cut off, and repairs, left in .memsync/torn/ goes after 30 days, if the whole
    store reads back.

    On a remote the old packs are marked, and deleted by a later run, when every device has pushed since
    and a day (gc.grace_hours) has passed.
    """
    numbers = (keep_last, keep_within, keep_daily, keep_weekly, keep_monthly)
    rules: Rules | None = None
    if keep_tags or any(number is not None for number in numbers):
        from memstore.manifest.retention import Rules

        last, within_ms, daily, weekly, monthly = (number or 0 for number in numbers)
        rules = Rules(last, within_ms, daily, weekly, monthly, keep_tags)
    with call.store() as store:
        keep_archived = False if drop_archived else None
        if dry_run:
            report = store.gc_dry_run(rules, keep_archived=keep_archived, local=local)
        else:
            report = store.gc(rules, keep_archived=keep_archived, local=local)
    if call.json:
        call.answer(report.as_json())
    else:
        with call.page() as page:
            _show(page, report)
        if report.error is not None:
            said = render.paint("error:", "red", err=True)
            click.echo(f"{said} the remote: {render.visible(str(report.error['message']))}", err=True)
            click.echo(f"  hint: {render.visible(str(report.error['hint']))}", err=True)
    return report.exit_code or None


def _show(page: render.Page, report: GcReport) -> None:
    would = "would go" if report.dry_run else "gone"
    contents = render.plural(report.removed, "content")
    page.line(f"{contents} ({render.size(report.removed_bytes)}) {would}")
    if report.versions_kept == report.versions:
        page.line("  the rules keep every version; 'memsync gc --help' has rules that let old contents go")
    else:
        page.line(
            f"  {report.versions_kept} of {render.plural(report.versions, 'version')} keep theirs; all records stay"
        )
    before, after = render.size(report.bytes_before), render.size(report.bytes_after)
    packs = render.plural(report.packs_before, "pack")
    if report.dry_run:
        page.line(f"  {packs} and the open log take {before} here; about {after} afterwards")
    else:
        page.line(
            f"  here {packs} ({before}) before, {render.plural(report.packs_after, 'pack')} ({after}) now"
        )
    if report.torn:
        left = render.plural(report.torn, "old file")
        page.line(
            f"  in torn/ {left} of commits that were cut off ({render.size(report.torn_bytes)}) {would}"
        )
    if report.trimmed:
        page.line(f"  in the readable copy {render.plural(report.trimmed, 'file')} of Archive/ removed")
    if report.deleted:
        freed = render.size(report.deleted_bytes)
        page.line(f"  on the remote {render.plural(report.deleted, 'pack')} deleted ({freed})")
    if report.waiting:
        new = f" ({report.marked} of them just now)" if 0 < report.marked < report.waiting else ""
        page.line(
            f"  on the remote {render.plural(report.waiting, 'pack')} marked to go{new}; a later 'memsync gc' deletes "
            "what every device has seen and gc.grace_hours are over for"
        )
    for note in report.notes:
        page.line(render.visible(note))
