"""`memsync show`"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import click

from memstore.errors import BadInput, typed
from memstore.manifest.version import ChangeKind
from memsync import render
from memsync.difference import show_difference, text_difference
from memsync.invocation import Invocation
from memsync.revision import split_file
from memsync.verb import verb

if TYPE_CHECKING:
    from memstore.manifest.version import Version
    from memstore.reports import FileDifference, MergedPath
    from memstore.store import Store

SHOWN_BYTES = 1 << 20
"""Larger contents are told by their size, as `Store.diff` does."""


@verb(
    "show",
    examples=[
        ("memsync show 3f2a91c0", "a version: who, when, why, and its diff"),
        ("memsync show 3f2a91c0:Core/Rules.txt", "a file as that version has it"),
    ],
)
@click.argument("what", metavar="[ID][:PATH]", required=False, type=click.Path(path_type=str))
def command(call: Invocation, *, what: str | None) -> int | None:
    """Show a version, or a file as a version has it.

    ID is 8 or more digits of a version's id, HEAD~1 (the version before HEAD), or a time. Without an ID:
    HEAD. 'memsync cat' writes the exact bytes; this shows what is safe to show on a terminal. Of a merge it
    shows which path came from which side, and what it made of both.
    """
    with call.store() as store:
        at, path = (None, None) if what is None else split_file(call, store, what)
        if path is not None:
            _show_file(call, store, at, path)
            return None
        meant = at if at is not None else store.head()
        if meant is None:
            raise BadInput("there is no version to show", hint="make one with 'memsync commit'")
        version = store.version(meant)
        if call.json:
            _answer_version(call, store, version)
        else:
            _show_version(call, store, version)
    return None


def _show_version(call: Invocation, store: Store, version: Version) -> None:
    parent = str(version.parents[0])[:12] if version.parents else ""
    with call.page() as page:
        page.version(version, head=version.id == store.head())
        if len(version.parents) > 1:
            _show_merge(page, store, version)
            return
        page.changes(version.changes, limit=None)
        for row in _differences(store, version):
            page.line()
            show_difference(page, row, parent, str(version.id)[:12])


def _show_merge(page: render.Page, store: Store, version: Version) -> None:
    """What came from where, and what came from nowhere as it is against each parent."""
    from memstore.actions.origin import made, origins

    rows = origins(store.repository, version)
    for parent in version.parents:
        other = store.version(parent)
        page.line(
            f"  from {page.id(parent)}  {render.local_time(other.time_ms)}  {render.name(other.device)}"
        )
        _show_paths(page, [row for row in rows if parent in row.sources])
    combined = [row for row in rows if not row.sources]
    if combined:
        page.line("  of both")
        _show_paths(page, combined)
    added: set[str] = set()  # such as a side file: against either parent it says the same
    for parent in version.parents:
        for difference in made(store.repository, version, parent, rows):
            if difference.change is ChangeKind.ADD:
                if difference.path in added:
                    continue
                added.add(difference.path)
            page.line()
            show_difference(page, difference, str(parent)[:12], str(version.id)[:12])
    page.line()
    for parent in version.parents:
        short = str(parent)[:12]
        page.line(f"all that differs from {short}: memsync diff {short} {str(version.id)[:12]}")


def _show_paths(page: render.Page, rows: Sequence[MergedPath]) -> None:
    for row in rows:
        page.line(f"    {page.word(row.change.word)}  {render.name(row.path)}")
    if not rows:
        page.line("    nothing of its own")


def _answer_version(call: Invocation, store: Store, version: Version) -> None:
    parent = str(version.parents[0])[:12] if version.parents else ""
    rows = [
        {
            **row.as_json(),
            "diff": text_difference(row, parent, str(version.id)[:12]),
        }
        for row in _differences(store, version)
    ]
    document = {**version.as_json(), "differences": rows}
    if len(version.parents) > 1:
        from memstore.actions.origin import origins

        document["origins"] = [row.as_json() for row in origins(store.repository, version)]
    call.answer(document)


def _differences(store: Store, version: Version) -> Iterator[FileDifference]:
    from memstore.actions.differences import changes_of

    return changes_of(store.repository, version)


def _show_file(call: Invocation, store: Store, at: str | None, path: str) -> None:
    meant = at if at is not None else store.head()
    if meant is None:
        raise BadInput("there is no version to show a file of", hint="make one with 'memsync commit'")
    version = store.version(meant)
    found = call.path(store, path)
    content = store.read(found, at=version.id)
    text = content.decode("utf-8") if len(content) <= SHOWN_BYTES and _is_text(content) else None
    if call.json:
        from memstore.ids import ContentId

        call.answer(
            {
                "version": str(version.id),
                "path": found,
                "size": len(content),
                "content": str(ContentId.of(content)),
                "text": text,
            }
        )
        return
    if text is None:
        click.echo(
            f"{render.name(found)}: {render.size(len(content))}, not text"
            f" ('memsync cat {typed(f'{str(version.id)[:12]}:{found}')} > FILE' writes it)"
        )
        return
    click.echo(render.visible(text), nl=not text.endswith("\n"))


def _is_text(content: bytes) -> bool:
    if b"\0" in content:
        return False
    try:
        content.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True
