"""`memsync log`"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from typing import TYPE_CHECKING, Final

import click

from memstore.errors import MemsyncError
from memsync import render
from memsync.invocation import Invocation
from memsync.verb import verb

if TYPE_CHECKING:
    from memstore.manifest.outline import Outline
    from memstore.manifest.version import Version
    from memstore.store import Store

WRITTEN_AT_ONCE: Final = 1 << 16
"""Characters of a document that are written together."""


@verb(
    "log",
    examples=[
        ("memsync log Core/Rules.txt -n 5", "the last five versions that changed a file"),
        ("memsync log --graph", "which version came from which, across merges"),
        ("memsync log --tag llama --since 2025-04-01", "what was tagged so since then"),
    ],
)
@click.argument("path", metavar="[PATH]", required=False, type=click.Path(path_type=str))
@click.option("--graph", is_flag=True, help="Draw beside them which version came from which.")
@click.option("-n", "--limit", metavar="N", type=click.IntRange(min=1), help="At most so many versions.")
@click.option("--tag", metavar="T", help="Only versions with this context tag.")
@click.option("--chat", metavar="C", help="Only versions of this chat.")
@click.option("--since", metavar="T", help="Only versions not before this time; a date is its first instant.")
@click.option("--until", metavar="T", help="Only versions not after this time; a day or minute to its end.")
def command(
    call: Invocation, *, path: str | None, graph: bool, limit: int | None, tag: str | None,
    chat: str | None, since: str | None, until: str | None,
) -> int | None:  # fmt: skip
    """Show the history, newest first.

    With PATH (a file or a folder) only the versions that changed it. Each block shows the version's id,
    its time here, the device, what was said about it, and its changes; '→' names the archive reference to
    what a change replaced. A version always comes before those that it was made from.
    """
    with call.store() as store:
        asked = None if path is None else call.path(store, path)
        if call.json:
            return _stream_json(
                store.history(asked, limit=limit, tag=tag, chat=chat, since=since, until=until)
            )
        versions = store.outlines(asked, limit=limit, tag=tag, chat=chat, since=since, until=until)
        if graph:
            _draw(call, store, versions)
        else:
            _show(call, versions)
    return None


def _show(call: Invocation, versions: Iterator[Outline]) -> None:
    any_yet = False
    with call.page() as page:
        for version in versions:
            if any_yet:
                page.line()
            any_yet = True
            _block(page, version)
        if not any_yet:
            page.line("no versions")


def _draw(call: Invocation, store: Store, versions: Iterator[Outline]) -> None:
    """The same with the lanes beside it. Those of versions that were not asked for part and meet all the same."""
    from memsync.graph import Graph

    version = next(versions, None)
    with call.page() as page:
        if version is None:
            page.line("no versions")
            return
        graph, any_yet = Graph(), False
        for id, parents in store.family():
            shown = version.id == id
            if shown and any_yet:
                page.line(graph.lanes())
            node = graph.node(id)
            joint = graph.step(id, parents)
            if shown:
                with page.beside([node, *filter(None, [joint]), graph.lanes()]):
                    _block(page, version)
                version, any_yet = next(versions, None), True
                if version is None:
                    return
            elif joint and any_yet:
                page.line(joint)


def _block(page: render.Page, version: Outline) -> None:
    # There is no pager: on a terminal one huge version must not push all others off the screen.
    limit = render.SHOWN_CHANGES if page.terminal else None
    page.version(version)
    more = limit is not None and len(version.changes) > limit
    page.changes(version.changes, limit=limit, rest=f"memsync show {str(version.id)[:12]}" if more else "")


def _stream_json(versions: Iterator[Version]) -> int:
    """One document, written piece by piece: neither a long history nor a large version needs memory for it. Where
    reading fails half-way, what came so far is whole and `error` says the rest."""
    first = next(versions, None)
    waiting, length, comma = ['{"versions": ['], 0, ""
    end, code = "]}", 0
    try:
        for version in () if first is None else chain([first], versions):
            for piece in render.version_document(version):
                waiting.append(comma + piece)
                comma = ""
                length += len(piece)
                if length > WRITTEN_AT_ONCE:
                    click.echo("".join(waiting), nl=False)
                    waiting, length = [], 0
            comma = ",\n"
    except MemsyncError as error:
        end, code = f'], "error": {render.document(error.as_json())}}}', error.exit_code
    click.echo("".join(waiting) + end)
    return code
