"""`memsync ls`"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

import click

from memstore.errors import BadInput
from memsync import placing, render
from memsync.invocation import Invocation
from memsync.revision import split_versions
from memsync.verb import verb

if TYPE_CHECKING:
    from memstore.reports import ListedFile
    from memstore.store import Store

GONE: Final = {"retention": "(removed by 'memsync gc')", "forgotten": "(forgotten)"}
"""Of references whose content nobody can bring back."""


@verb(
    "ls",
    splits_at_dashes=True,
    examples=[
        ("memsync ls Core", "what HEAD has under a folder"),
        ("memsync ls 2025-04-23", "everything there was at the end of that day"),
        ("memsync ls Archive/", "the archive references, and where each came from"),
        ("memsync ls Archive/Core", "those of a folder"),
    ],
)
@click.argument("arguments", metavar="[ID] [PATH]", nargs=-1, type=click.Path(path_type=str))
def command(call: Invocation, *, arguments: Sequence[str]) -> int | None:
    """List the files of a version, or the archive references.

    ID is 8 or more digits of a version's id, HEAD~1, or a time; without it, HEAD. HEAD and a version's
    id always mean the version; a time is a path if a file of that name is in the folder or in HEAD; what
    follows '--' always is one. Sizes are those of the content, times those of the file.
    """
    with call.store() as store:
        versions, texts = split_versions(call, store, arguments, most=1)
        if len(texts) > 1:
            error = click.UsageError("one PATH at a time", call.context)
            error.hint = placing.hint("ls", arguments)  # type: ignore[attr-defined]
            raise error
        at = store.version(versions[0]).id if versions else store.head()
        if at is None:
            if texts and not _is_archive(texts[0]):
                raise BadInput("nothing is committed yet", hint="make a version with 'memsync commit'")
            rows: Iterator[ListedFile] = iter(())
        else:
            rows = store.ls(_path(call, store, texts[0]) if texts else "", at)
        if call.json:
            call.answer({"version": str(at) if at else None, "files": [row.as_json() for row in rows]})
            return None
        any_yet = False
        with call.page() as page:
            for row in rows:
                any_yet = True
                when = render.local_time(row.modified_ms, seconds=False)
                origin = "" if row.origin is None else page.paint(f"  ← {render.name(row.origin)}", "dim")
                gone = "" if row.removed is None else page.paint(f"  {GONE[row.removed]}", "red")
                page.line(f"{render.size(row.size):>8}  {when}  {render.name(row.path)}{origin}{gone}")
        if not any_yet:
            click.echo("no files" if at else "no files: nothing is committed yet", err=True)
    return None


def _path(call: Invocation, store: Store, text: str) -> str:
    if _is_archive(text):
        return "Archive"
    try:
        return call.path(store, text)
    except BadInput:
        if store.holds_references(text):
            return text.rstrip("/")
        raise


def _is_archive(text: str) -> bool:
    """Whether it is the references' folder, which is there even while there are none."""
    return text.rstrip("/") == "Archive"
