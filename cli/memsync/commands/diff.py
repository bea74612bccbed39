"""`memsync diff`"""

from __future__ import annotations

from collections.abc import Sequence

import click

from memsync.difference import answer_differences
from memsync.invocation import Invocation
from memsync.revision import split_versions
from memsync.verb import verb


@verb(
    "diff",
    splits_at_dashes=True,
    examples=[
        ("memsync diff", "what is not committed yet"),
        ("memsync diff 3f2a91c0 Core/Rules.txt", "one file, from a version to now"),
        ('memsync diff "2 days ago" yesterday', "between two times"),
    ],
)
@click.argument("arguments", metavar="[A [B]] [PATH]…", nargs=-1, type=click.Path(path_type=str))
def command(call: Invocation, *, arguments: Sequence[str]) -> int | None:
    """Show how files differ between versions and now.

    Without A: from HEAD to what lies in the memory folder. With A: from A to the folder. With A and B:
    from A to B. A and B are ids of 8 or more digits, HEAD, HEAD~1 (the one before), or times. HEAD and
    a version's id always mean the version; a time is a path if a file of that name is in the folder or
    in HEAD; after '--' everything is a path. Text is shown line by line, anything else by its size.
    """
    with call.store() as store:
        versions, texts = split_versions(call, store, arguments, most=2)
        a, b = [*versions, None, None][:2]
        paths = [call.path(store, text) for text in texts]
        old = store.version(a).id if a is not None else store.head()
        new = store.version(b).id if b is not None else None
        differences = store.diff(old, new, paths)
        answer_differences(
            call,
            differences,
            old=str(old)[:12] if old else "",
            new=str(new)[:12] if new else "Data",
            heading={
                "from": str(old) if old else None,
                "to": str(new) if new else None,
            },
        )
    return None
