"""`memsync restore`"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from memstore.errors import BadInput, typed
from memsync import render
from memsync.failure import Interrupted
from memsync.invocation import Invocation
from memsync.restore_report import show_restored
from memsync.revision import NEITHER, means_version
from memsync.verb import PLACE, verb

if TYPE_CHECKING:
    from memstore.reports import RestoreReport
    from memstore.store import Store


@verb(
    "restore",
    examples=[
        ("memsync restore Core/Rules.txt --at 2025-04-23", "as it was at the end of that day"),
        ("memsync restore Archive/Core/Rules_2025-04-23T14-02-00Z.txt", "what an archive reference names"),
        ("memsync restore Core --at 3f2a91c0 --to /tmp/then", "a folder, beside the memory folder"),
    ],
)
@click.argument("paths", metavar="PATH…", nargs=-1, required=True, type=click.Path(path_type=str))
@click.option("--at", metavar="ID|TIME", help="The version; a time means the newest that is not later.")
@click.option("--to", metavar="DEST", type=PLACE, help="Write there instead; makes no version. See above.")
@click.option("--exact", is_flag=True, help="Also remove files that a folder did not have then.")
def command(
    call: Invocation, *, paths: Sequence[str], at: str | None, to: str | None, exact: bool
) -> int | None:
    """Bring back any version of a file or folder.

    PATH is a file, a folder, '.' for everything, or an archive reference. What comes back is a new
    version, and whatever is not committed at those places is committed first: nothing is lost. Without
    --at: what HEAD has, or the last content the path had if it is gone. A TIME is '2025-04-23',
    '2025-04-23T14:00Z', '2 days ago'; a day, a minute or a second is meant to its end, so the time beside a
    version in 'memsync log' names that version.

    With --to a single file becomes DEST, or lies in it where DEST is a folder; a folder, or several PATHs,
    keep their names in the memory folder: 'Core' is then DEST/Core. What stands there is not overwritten.
    """
    if at is not None and not means_version(at):
        raise BadInput(f"neither a version nor a time: {at!r}", hint=NEITHER)
    with call.store() as store:
        asked = [call.path(store, path) for path in paths]
        meant = _from_head(store, at)
        is_folder = to is not None and os.path.isdir(to)
        try:
            report = store.restore(asked, at=at, to=None if to is None else os.path.abspath(to), exact=exact)
        except KeyboardInterrupt:
            if meant is None or to is not None:
                raise
            again = " ".join(["memsync restore", *map(typed, paths), "--at", meant] + ["--exact"] * exact)
            raise Interrupted(hint=f"run '{again}': it goes on where it stopped") from None
        if call.json:
            call.answer(report.as_json())
        else:
            with call.page() as page:
                did = "wrote" if to else "restored"
                where = f" to {_place(to, is_folder, asked, report)}" if to else ""
                show_restored(page, store, report, did, where=where)
    return call.warn(report.warnings)


def _place(to: str, is_folder: bool, asked: Sequence[str], report: RestoreReport) -> str:
    """Where it lies now: what was asked for below `to`, where that is one thing. `is_folder`: `to` was one before."""
    if len(asked) > 1 or not asked[0].rstrip("/."):
        return to
    folder = asked[0].rstrip("/")
    if any(row.path.startswith(folder + "/") for row in report.restored):
        return os.path.join(to, *folder.split("/"))
    if is_folder and report.restored:
        return os.path.join(to, os.path.basename(report.restored[0].path))
    return to


def _from_head(store: Store, at: str | None) -> str | None:
    """The id of what is said from HEAD on: what is saved first moves HEAD. None where a restore was just finished:
    whether it is the same, and HEAD is meant as it was before, the library sees."""
    from memstore.times import steps_back

    if at is None or steps_back(at)[0].upper() != "HEAD" or store.head() is None or store.repository.finished:
        return None
    return str(store.version(at).id)[: render.SHORT_ID]
