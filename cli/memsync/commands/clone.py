"""`memsync clone`"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

from memstore.errors import typed
from memsync import render
from memsync.invocation import Invocation
from memsync.merge_report import show_pull
from memsync.verb import PLACE, verb

if TYPE_CHECKING:
    from memstore.reports import PullReport


@verb(
    "clone",
    examples=[
        ("memsync clone /mnt/backup/memory assistant", "from a folder remote"),
        ("memsync clone drive:MemoryVDB ~/assistant", "from Google Drive"),
        ("memsync clone drive: .", "join with the Data/ of this folder"),
    ],
)
@click.argument("url", metavar="URL", type=click.Path(path_type=str))
@click.argument("folder", metavar="DIR", type=PLACE)
def command(call: Invocation, *, url: str, folder: str) -> int | None:
    """Make a workspace from all that a remote has.

    DIR gets the whole history, and the newest version in its 'Data/'. What 'Data/' holds already is committed
    first, and merged: where a file is there and on the remote with other content, both are kept. Work on
    both machines then, and exchange with 'memsync push' and 'memsync pull'.
    """
    from memstore.store import Store

    root = os.path.abspath(os.path.join(call.cwd, folder))
    with Store.clone(url, root, progress=call.progress()) as store:
        head = store.head()
        catalogue = store.repository.catalogue
        count, total = catalogue.tree_totals()
        versions = catalogue.version_count()
    joined = store.joined
    if call.json:
        document = {
            "workspace": root,
            "version": str(head) if head else None,
            "versions": versions,
            "files": count,
            "bytes": total,
            "warnings": list(store.lacking),
        }
        call.answer(document if joined is None else {**document, "joined": joined.as_json()})
        return max(_code(call, joined), call.warn(store.lacking))
    with call.page() as page:
        brought = (
            f"{render.plural(versions, 'version')}, {render.plural(count, 'file')} ({render.size(total)})"
        )
        page.line(f"cloned {brought} into {folder}")
        if head is not None:
            page.line(f"newest: {page.id(head)}")
        if joined is not None:
            page.line("joined with the files that were there:")
            show_pull(page, joined)
        there = "" if root == os.path.abspath(call.cwd) else f"cd {typed(folder)} && "
        page.line(f"next: {there}memsync {'status' if joined is None else 'push'}")
    return max(_code(call, joined), call.warn(store.lacking))


def _code(call: Invocation, joined: PullReport | None) -> int:
    """As for a pull: 1 where both sides of something were kept, or something was left out."""
    if joined is None:
        return 0
    return max(call.warn(joined.warnings), int(bool(joined.conflicts)))
