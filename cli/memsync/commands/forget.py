"""`memsync forget`"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import click

from memstore.errors import BadInput
from memsync import render
from memsync.failure import Interrupted
from memsync.invocation import Invocation
from memsync.verb import verb

if TYPE_CHECKING:
    from memstore.reports import ForgetReport, Forgotten
    from memstore.store import Store

SHOWN: Final = 20
"""Contents and paths that a person sees; `--json` has all of them."""


@verb(
    "forget",
    examples=[
        ("memsync forget Core/Keys.txt --everywhere --dry-run", "what would go"),
        ("memsync forget Core/Keys.txt --everywhere", "all that the file ever held"),
        ("memsync forget Core/Rules.txt --at 3f2a91c0 --everywhere", "only what it held in that version"),
        ("memsync forget --everywhere", "go on with one that was cut off"),
    ],
)
@click.argument("targets", metavar="[PATH|CONTENT]…", nargs=-1, type=click.Path(path_type=str))
@click.option("--everywhere", is_flag=True, help="Yes, in every copy: there is no other way to forget.")
@click.option("--at", metavar="ID|TIME", help="Only what the paths held in that version.")
@click.option("--reason", default="", metavar="R", help="Why; stays in history.")
@click.option("--actor", default="", metavar="A", help="Who does it.")
@click.option("--yes", is_flag=True, help="Don't ask.")
@click.option("--dry-run", is_flag=True, help="Say what would go; change nothing.")
def command(
    call: Invocation,
    *,
    targets: Sequence[str],
    everywhere: bool,
    at: str | None,
    reason: str,
    actor: str,
    yes: bool,
    dry_run: bool,
) -> int | None:
    """Remove what should never have been saved, everywhere and for good.

    PATH means all that a file, or the files of a folder, ever held, with what is not committed there yet; files of
    a folder that no version ever had stay. CONTENT is 8 or more digits of a content's id, as 'memsync log --json'
    shows it. It leaves Data/, all packs here and on the remote, the readable copy with its
    Archive/ and its revisions; other devices drop theirs at their next pull or push. Nobody can bring it back.

    The versions stay, with paths, notes, times and hashes: don't forget a file whose very name is the secret. A
    password that was seen by others should be changed as well.
    """
    with call.store() as store:
        if not targets and not store.forgetting:
            raise click.UsageError("which PATH or CONTENT?", call.context)
        if not everywhere and not dry_run:
            raise click.UsageError(
                "nothing was removed. To forget means to delete in every version and every copy, here, on the "
                "remote and on other devices, for good: say so with --everywhere, or look first with --dry-run; "
                "to put a file away and keep it in history: memsync archive PATH",
                call.context,
            )
        meant = [_meant(call, store, text, at) for text in targets]
        if dry_run or (targets and not yes):  # one that was cut off was agreed to
            plan = store.forget_dry_run(meant, at=at)
            if dry_run:
                return _answer(call, plan)
            if not _agreed(call, plan):
                click.echo("nothing was removed", err=True)
                return 1
        report = store.forget(meant, at=at, reason=reason, actor=actor)
    return _answer(call, report)


def _meant(call: Invocation, store: Store, text: str, at: str | None) -> str:
    """A path as the store knows it, or the digits of a content's id."""
    import re

    try:
        return call.path(store, text)
    except BadInput:
        if at is None and re.fullmatch("[0-9a-fA-F]{8,64}", text):
            return text
        raise


def _agreed(call: Invocation, plan: ForgetReport) -> bool:
    """What the person says. Raises `click.UsageError` where nobody can be asked."""
    if call.json or not _on_a_terminal():
        raise click.UsageError(
            f"this would remove {_total(plan.contents)} for good: say --yes where nobody can be asked",
            call.context,
        )
    for line in _lines(plan):
        click.echo(line, err=True)
    try:
        return click.confirm(f"Remove {_total(plan.contents)} everywhere and for good?", err=True)
    except click.Abort:
        raise Interrupted("stopped; nothing was removed", hint="--dry-run only says what would go") from None


def _on_a_terminal() -> bool:
    return sys.stdin is not None and sys.stdin.isatty()


def _answer(call: Invocation, report: ForgetReport) -> int | None:
    if call.json:
        call.answer(report.as_json())
    else:
        with call.page() as page:
            if report.contents:
                would = "would be forgotten" if report.dry_run else "forgotten"
                page.line(f"{_total(report.contents)} {would}")
            else:
                page.line("there is nothing to forget")
            for line in [*_lines(report), *_done(report)]:
                page.line(line)
            for note in report.notes:
                page.line(render.visible(note))
        if report.error is not None:
            said = render.paint("error:", "red", err=True)
            click.echo(f"{said} the remote: {render.visible(str(report.error['message']))}", err=True)
            click.echo(f"  hint: {render.visible(str(report.error['hint']))}", err=True)
    warned = call.warn(report.warnings)
    return report.exit_code or warned or None


def _total(contents: Sequence[Forgotten]) -> str:
    size = render.size(sum(content.size for content in contents))
    return f"{render.plural(len(contents), 'content')} ({size})"


def _lines(report: ForgetReport) -> list[str]:
    lines = [
        f"  {str(content.content)[: render.SHORT_ID]}  {render.size(content.size)}  "
        f"{render.visible(', '.join(content.paths))}"
        for content in report.contents[:SHOWN]
    ]
    if len(report.contents) > SHOWN:
        lines.append(f"  … and {len(report.contents) - SHOWN} more")
    for told, paths in (
        ("would leave Data/" if report.dry_run else "left Data/", report.deleted),
        ("with what was not committed yet in", report.uncommitted),
        ("never committed, so it stays", report.left),
    ):
        if paths:
            some = ", ".join(paths[:SHOWN]) + (" …" if len(paths) > SHOWN else "")
            lines.append(f"  {told}: {render.visible(some)}")
    return lines


def _done(report: ForgetReport) -> list[str]:
    if not report.contents:
        return []
    packs = render.plural(report.packs, "pack")
    if report.dry_run:
        return [f"  here {packs} and the open log would be written anew", *_remote_to_be(report)]
    lines = [f"  here {packs} written anew"]
    if report.torn:
        lines.append(f"  here {render.plural(report.torn, 'damaged file')} deleted that held it")
    if report.remote is not None:
        files = render.plural(report.mirror_files, "file")
        lines.append(
            f"  on the remote {render.plural(report.remote_packs, 'pack')}, {files} of the readable copy and "
            f"{render.plural(report.revisions, 'revision')} deleted"
        )
    return lines


def _remote_to_be(report: ForgetReport) -> list[str]:
    if report.remote is None:
        return []
    return [f"  the same on {render.visible(report.remote)}, and in its readable copy"]
