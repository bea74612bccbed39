"""`memsync log`"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

import click

from memstore.errors import MemsyncError
from memsync import render
from memsync.invocation import Invocation
from memsync.verb import verb

if TYPE_CHECKING:
    from memstore.manifest.version import Version

AT_ONCE: Final = 100
"""Versions written together."""


@verb(
    "log",
    examples=[
        ("memsync log Core/Rules.txt -n 5", "the last five versions that changed a file"),
        ("memsync log --tag llama --since 2025-04-01", "what was tagged so since then"),
    ],
)
@click.argument("path", metavar="[PATH]", required=False, type=click.Path(path_type=str))
@click.option("-n", "--limit", metavar="N", type=click.IntRange(min=1), help="At most so many versions.")
@click.option("--tag", metavar="T", help="Only versions with this context tag.")
@click.option("--chat", metavar="C", help="Only versions of this chat.")
@click.option("--since", metavar="T", help="Only versions not before this time; a date is its first instant.")
@click.option("--until", metavar="T", help="Only versions not after this time; a date is its last instant.")
def command(
    call: Invocation, *, path: str | None, limit: int | None, tag: str | None, chat: str | None,
    since: str | None, until: str | None,
) -> int | None:  # fmt: skip
    """Show the history, newest first.

    With PATH (a file or a folder) only the versions that changed it. Each block shows the version's id,
    its time here, the device, what was said about it, and its changes; '→' names the archive reference to
    what a change replaced.
    """
    with call.store() as store:
        versions = store.history(
            None if path is None else call.path(store, path),
            limit=limit, tag=tag, chat=chat, since=since, until=until,
        )  # fmt: skip
        if call.json:
            return _stream_json(versions)
        _show(call, versions)
    return None


def _show(call: Invocation, versions: Iterator[Version]) -> None:
    any_yet = False
    with call.page() as page:
        # There is no pager: on a terminal one huge version must not push all others off the screen.
        limit = render.SHOWN_CHANGES if page.terminal else None
        for version in versions:
            if any_yet:
                page.line()
            any_yet = True
            page.version(version)
            page.changes(version.changes, limit=limit, rest=f"memsync show {str(version.id)[:12]}")
        if not any_yet:
            page.line("no versions")


def _stream_json(versions: Iterator[Version]) -> int:
    """One document, written version by version: a long history needs no memory for it. Where reading fails
    half-way, what came so far is whole and `error` says the rest."""
    first = next(versions, None)
    if first is None:
        click.echo('{"versions": []}')
        return 0
    waiting = ['{"versions": [' + render.document(first.as_json())]
    try:
        for version in versions:
            waiting.append(",\n" + render.document(version.as_json()))
            if len(waiting) >= AT_ONCE:
                click.echo("".join(waiting), nl=False)
                waiting.clear()
    except MemsyncError as error:
        click.echo("".join(waiting) + f'], "error": {render.document(error.as_json())}}}')
        return error.exit_code
    click.echo("".join(waiting) + "]}")
    return 0
