"""`memsync archive`"""

from __future__ import annotations

from collections.abc import Sequence

import click

from memsync.invocation import Invocation
from memsync.verb import verb
from memsync.version_report import answer_recorded


@verb(
    "archive",
    examples=[
        ('memsync archive Meta/Old_Plan.txt --reason "done with it"', "put one file away"),
        ("memsync archive Core/Rules.txt --keep", "name what it is now, and leave it there"),
    ],
)
@click.argument("paths", metavar="PATH…", nargs=-1, required=True, type=click.Path(path_type=str))
@click.option("--reason", default="", metavar="R", help="Why; goes into the archive log.")
@click.option("-m", "--note", default="", help="What this version is, in a sentence.")
@click.option("--actor", default="", metavar="A", help="Who does it.")
@click.option("--keep", is_flag=True, help="Leave the files in the memory folder.")
def command(
    call: Invocation, *, paths: Sequence[str], reason: str, note: str, actor: str, keep: bool
) -> int | None:
    """Put files away: out of the folder, safe in history.

    Each gets an archive reference, 'Archive/<folders>/<name>_<time>.<ext>', which costs no space.
    'memsync ls Archive/' lists them, 'memsync restore REFERENCE' brings one back.
    """
    with call.store() as store:
        report = store.archive(
            call.paths(store, paths) or [], reason=reason, note=note, actor=actor, keep=keep
        )
        return answer_recorded(call, report, "nothing was archived")
