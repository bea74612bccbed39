"""`memsync verify`"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import click

from memsync import render
from memsync.invocation import Invocation
from memsync.verb import verb

if TYPE_CHECKING:
    from collections.abc import Sequence

    from memstore.reports import Problem, VerifyReport

DAMAGED: Final = 6
"""The contract's exit code for damaged data."""


@verb(
    "verify",
    examples=[
        ("memsync verify", "read back everything that is here"),
        ("memsync verify --remote", "and see that the remote has all of it, with the right sizes and sums"),
    ],
)
@click.option("--remote", is_flag=True, help="Compare the remote's listing with what it must have.")
@click.option("--quick", is_flag=True, help="Check the structure only; read no contents.")
@click.option("--read-data", is_flag=True, help="With --remote: download and decode everything.")
def command(call: Invocation, *, remote: bool, quick: bool, read_data: bool) -> int | None:
    """Read everything back and compare it with its hashes.

    Exit code 6 if something is damaged or missing; each problem comes with the paths that need it and
    what to do about it.
    """
    if read_data and not remote:
        raise click.UsageError("--read-data needs --remote", call.context)
    if read_data and quick:
        raise click.UsageError("--quick and --read-data exclude each other", call.context)
    with call.store() as store:
        report = store.verify(remote=remote, quick=quick, read_data=read_data)
        status = store.remote() if remote else None
    if call.json:
        call.answer(report.as_json())
    else:
        with call.page() as page:
            _show(page, report, None if status is None else status.url)
    return None if report.ok else DAMAGED


def _show(page: render.Page, report: VerifyReport, remote_url: str | None) -> None:
    versions = render.plural(report.versions, "version")
    if report.quick:
        checked = f"{versions}; contents were not read ('memsync verify' reads them)"
    else:
        checked = f"{versions}, {render.plural(report.objects, 'object')} ({render.size(report.bytes)})"
    if report.ok:
        page.line(f"{page.paint('structure whole' if report.quick else 'all whole', 'green')}: {checked}")
    else:
        problems = render.plural(len(report.problems), "problem")
        page.line(f"{page.paint(problems, 'red')} found in {checked}")
    show_problems(page, report.problems)
    if remote_url is not None:
        wrong = sum(problem.kind.startswith("remote_") for problem in report.problems)
        found = f"{render.plural(wrong, 'problem')} found" if wrong else "nothing is missing"
        page.line(f"on the remote ({render.name(remote_url)}) {found}")
    for note in report.notes:
        page.line(render.visible(note))


def short(id: str) -> str:
    """An id's first digits; the whole of a file's name or a remote's address."""
    return id[: render.SHORT_ID] if len(id) == 64 and "/" not in id else render.name(id)


def show_problems(page: render.Page, problems: Sequence[Problem]) -> None:
    """What is damaged, which paths and versions need it, what to do."""
    for problem in problems:
        page.line(f"  {problem.kind.replace('_', ' ')}  {short(problem.id)}")
        for path in problem.paths:
            page.line(f"      {render.name(path)}")
        if problem.versions:
            ids = ", ".join(id[: render.SHORT_ID] for id in problem.versions)
            page.line(f"      in version {ids}")
        if problem.hint:
            page.line(f"      hint: {render.visible(problem.hint)}")
