"""`memsync commit`"""

from __future__ import annotations

from collections.abc import Sequence

import click

from memsync.invocation import Invocation
from memsync.verb import verb
from memsync.version_report import answer_recorded


@verb(
    "commit",
    examples=[
        ("memsync commit", "everything that changed"),
        ('memsync commit Meta/AI.txt -m "new summary" --tag llama', "one file, with a note and a tag"),
    ],
)
@click.argument("paths", metavar="[PATH]…", nargs=-1, type=click.Path(path_type=str))
@click.option("-m", "--note", default="", help="What this version is, in a sentence.")
@click.option("--tag", "tags", metavar="T", multiple=True, help="A context tag; may be repeated.")
@click.option("--chat", default="", metavar="NAME", help="The chat it belongs to.")
@click.option(
    "--reason", default="", metavar="R", help="Why content was replaced; goes into the archive log."
)
@click.option("--actor", default="", metavar="A", help="Who made the change.")
@click.option(
    "--allow-deletions",
    is_flag=True,
    help="Record deletions even when more than half of 20 files or more are gone.",
)
def command(
    call: Invocation, *, paths: Sequence[str], note: str, tags: Sequence[str], chat: str, reason: str,
    actor: str, allow_deletions: bool,
) -> int | None:  # fmt: skip
    """Record what changed in the memory folder.

    With PATHs only what changed there; nothing else is looked at. Nothing changed: no version is made.
    What a change replaces or deletes stays in history under an archive reference, shown after the arrow.
    """
    with call.store() as store:
        report = store.commit_report(
            call.paths(store, paths),
            note=note,
            context_tags=tags,
            chat_name=chat,
            reason=reason,
            actor=actor,
            allow_deletions=allow_deletions,
        )
        return answer_recorded(call, report)
