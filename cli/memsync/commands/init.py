"""`memsync init`"""

from __future__ import annotations

import os

import click

from memsync.invocation import Invocation
from memsync.verb import PLACE, verb


@verb(
    "init",
    examples=[
        ("memsync init", "the current folder becomes a workspace"),
        ("memsync init ~/assistant", "another folder; it is made if need be"),
    ],
)
@click.argument("folder", metavar="[DIR]", default=".", type=PLACE)
def command(call: Invocation, *, folder: str) -> int | None:
    """Make a workspace, or complete one.

    A workspace is a folder with 'paths.json' (where everything lies), 'Data/' (the memory) and
    '.memsync/' (its history). What is there already stays as it is, so running this again is harmless.
    """
    from memstore.store import Store

    root = os.path.join(call.cwd, folder)
    parts = (os.path.join(root, ".memsync"), os.path.join(root, "paths.json"))
    missing = [part for part in parts if not os.path.exists(part)]
    with Store.init(root, progress=call.progress()) as store:
        workspace, data = os.path.abspath(root), store.workspace.data
        head = store.head()
    if call.json:
        call.answer({"workspace": workspace, "data": data, "created": len(missing) == len(parts)})
        return None
    with call.page() as page:
        if len(missing) == len(parts):
            page.line(f"made a workspace in {workspace}")
        elif missing:
            page.line(f"mended the workspace in {workspace}: {', '.join(map(os.path.basename, missing))}")
        else:
            page.line(f"the workspace in {workspace} is complete already")
        if head is None:
            page.line(f"next: put files into {data} and run 'memsync commit'")
    return None
