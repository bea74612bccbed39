"""Which arguments mean a version and which a path, where a command takes both.

HEAD and the id of a version always mean the version, and HEAD~1 and ID~1 the one before. What reads as a time,
or has the form of an id that no version has, means a path where a file or folder of that name lies in `Data/`
or in HEAD's version; what follows `--` is always a path. `ID:PATH` is split at the last colon whose left side is
a version.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import click

from memstore.errors import BadInput
from memsync.verb import AFTER_DASHES

if TYPE_CHECKING:
    from memstore.store import Store
    from memsync.invocation import Invocation

NEITHER: Final = (
    "an id is 8 or more digits from 'memsync log'; HEAD~1 is the version before the last; "
    'a time is 2025-04-23, "2 days ago", yesterday'
)
"""The hint for what should be a version and is not."""


def means_version(text: str) -> bool:
    """Whether the text is HEAD, has the form of an id or of an id's prefix (or is so many before one), or a time."""
    from memstore.times import looks_like_id, parse_time, steps_back

    name, _ = steps_back(text)
    if name.upper() == "HEAD" or looks_like_id(name):
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
        if not _is_version(call, store, text):
            break
        count += 1
    return list(arguments[:count]), list(arguments[count:])


def split_file(call: Invocation, store: Store, text: str) -> tuple[str | None, str | None]:
    """(version or None, path as typed or None) of `ID`, `ID:PATH` or `PATH`."""
    if _is_version(call, store, text):
        return text, None
    for at in range(len(text) - 1, 0, -1):
        if text[at] == ":" and means_version(text[:at]):
            if not _names_one(store, text[:at]) and _is_there(call, store, text):
                break
            if at == len(text) - 1:
                raise click.UsageError(f"no path after the colon: {text}", call.context)
            return text[:at], text[at + 1 :]
    return None, text


def _is_version(call: Invocation, store: Store, text: str) -> bool:
    return means_version(text) and (_names_one(store, text) or not _is_there(call, store, text))


def _names_one(store: Store, text: str) -> bool:
    """Whether the text is HEAD, or an id that a version has, or so many versions before."""
    from memstore.times import looks_like_id, steps_back

    name, _ = steps_back(text)
    if name.upper() == "HEAD":
        return True
    if not looks_like_id(name):
        return False
    try:
        store.version(name)
    except BadInput:
        return False
    return True


def _is_there(call: Invocation, store: Store, text: str) -> bool:
    """Whether the path lies in `Data/` now or in HEAD's version; one that only the past has does not count."""
    data = os.path.realpath(store.workspace.data)
    for base in (call.cwd, data):
        folder = os.path.realpath(base)
        inside = folder == data or folder.startswith(data + os.sep)
        if inside and os.path.lexists(os.path.join(folder, text)):
            return True
    return store.known(text) and next(iter(store.repository.catalogue.tree(text)), None) is not None
