"""Which arguments mean a version and which a path, where a command takes both.

An argument is a version if it is 8 to 64 hex digits, HEAD, or reads as a time, and no file or folder of
that name is there; what follows `--` is always a path. `ID:PATH` is split at the last colon whose left side
is a version.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from memstore.errors import BadInput
from memsync.verb import AFTER_DASHES

if TYPE_CHECKING:
    from memstore.store import Store
    from memsync.invocation import Invocation


def means_version(text: str) -> bool:
    """Whether the text has the form of an id, an id's prefix or a time."""
    from memstore.times import looks_like_id, parse_time

    if text.upper() == "HEAD" or looks_like_id(text):
        return True
    try:
        parse_time(text, now_ms=time.time_ns() // 1_000_000, end=True)
    except BadInput:
        return False
    return True


def split_versions(
    call: Invocation, store: Store, arguments: Sequence[str], *, most: int
) -> tuple[list[str], list[str]]:
    """The leading arguments that are versions, at most `most`, and the rest, which are paths as typed."""
    after_dashes = call.context.meta.get(AFTER_DASHES)
    if after_dashes is not None:
        if len(arguments) > most:
            raise click.UsageError(f"more than {most} before '--', where versions stand", call.context)
        return list(arguments), list(after_dashes)
    count = 0
    for text in arguments[:most]:
        if not means_version(text) or _is_there(call, store, text):
            break
        count += 1
    return list(arguments[:count]), list(arguments[count:])


def split_file(call: Invocation, store: Store, text: str) -> tuple[str | None, str | None]:
    """(version or None, path as typed or None) of `ID`, `ID:PATH` or `PATH`."""
    if _is_there(call, store, text):
        return None, text
    if means_version(text):
        return text, None
    for at in range(len(text) - 1, 0, -1):
        if text[at] == ":" and means_version(text[:at]):
            if at == len(text) - 1:
                raise click.UsageError(f"no path after the colon: {text}", call.context)
            return text[:at], text[at + 1 :]
    return None, text


def _is_there(call: Invocation, store: Store, text: str) -> bool:
    return (
        os.path.lexists(os.path.join(call.cwd, text))
        or os.path.lexists(os.path.join(store.workspace.data, text))
        or store.known(text)
    )
