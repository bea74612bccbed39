"""`memsync clone`"""

from __future__ import annotations

import os

import click

from memsync import render
from memsync.invocation import Invocation
from memsync.verb import verb


@verb(
    "clone",
    examples=[
        ("memsync clone /mnt/backup/memory assistant", "from a folder remote"),
        ("memsync clone drive:MemoryVDB ~/assistant", "from Google Drive"),
    ],
)
@click.argument("url", metavar="URL", type=click.Path(path_type=str))
@click.argument("folder", metavar="DIR", type=click.Path(path_type=str))
def command(call: Invocation, *, url: str, folder: str) -> int | None:
    """Make a workspace from all that a remote has.

    DIR gets the whole history, and the newest version in its 'Data/'. Work on both machines then, and
    exchange with 'memsync push' and 'memsync pull'.
    """
    from memstore.store import Store

    root = os.path.abspath(os.path.join(call.cwd, folder))
    with Store.clone(url, root, progress=call.progress()) as store:
        head = store.head()
        count = total = versions = 0
        if head is not None:
            for row in store.ls("", head):
                count, total = count + 1, total + row.size
            versions = sum(1 for _ in store.history())
    if call.json:
        call.answer(
            {
                "workspace": root,
                "version": str(head) if head else None,
                "versions": versions,
                "files": count,
                "bytes": total,
            }
        )
        return None
    with call.page() as page:
        brought = (
            f"{render.plural(versions, 'version')}, {render.plural(count, 'file')} ({render.size(total)})"
        )
        page.line(f"cloned {brought} into {folder}")
        if head is not None:
            page.line(f"newest: {page.id(head)}")
        page.line(f"next: cd {folder} && memsync status")
    return None
