"""The reflog: where HEAD has been on this device, oldest first, in `.memsync/reflog`.

    <version id> <UTC time> sealed
    <version id> <UTC time> pulled <the HEAD before, or ->
    <version id> <UTC time> lost

A line is written when sealing takes a HEAD out of a segment, and before a pull or merge moves HEAD to a version
that has other parents than the HEAD before, so that `undo` knows the way back; and when a
segment is shorter than it was, of the newest version that it lost; or when a repair found one nowhere any more.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from typing import Final, NamedTuple

from memstore import files
from memstore.ids import VersionId

REFLOG_NAME: Final = "reflog"
SEALED: Final = "sealed"
PULLED: Final = "pulled"
LOST: Final = "lost"


class Stand(NamedTuple):
    """A HEAD, and for one that was pulled the HEAD before it (None: there was none, or it is not known)."""

    head: VersionId
    word: str
    before: VersionId | None


def read(state: str) -> list[Stand]:
    """Earlier HEADs, oldest first; a line that is no id is passed over."""
    try:
        lines = files.read(os.path.join(state, REFLOG_NAME)).decode("ascii", "replace").split("\n")
    except FileNotFoundError:
        return []
    stands = []
    for line in lines:
        # A line whose sync was refused may have become a hole of zeros before the next one.
        head, _, word, before = [*line.lstrip("\0").split(" "), "", "", "", ""][:4]
        id = _id(head)
        if id is not None:
            stands.append(Stand(id, word, _id(before)))
    return stands


def lost(state: str) -> list[VersionId]:
    """The versions that a line says are lost, oldest first; each may be back since. Cheap where there is none."""
    try:
        data = files.read(os.path.join(state, REFLOG_NAME))
    except FileNotFoundError:
        return []
    if f" {LOST}\n".encode() not in data:
        return []
    return [stand.head for stand in read(state) if stand.word == LOST]


def append(state: str, stands: Iterable[Stand]) -> None:
    """Durable when this returns. For the holder of the store's lock."""
    path = os.path.join(state, REFLOG_NAME)
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    lines = ""
    for head, word, before in stands:
        lines += f"{head} {now} {word}" + (f" {before or '-'}" if word == PULLED else "") + "\n"
    if not lines:
        return
    # A line that a crash cut short must not swallow the next one.
    cut = files.exists(path) and files.read(path)[-1:] not in (b"\n", b"")
    files.append_line(path, ("\n" * cut + lines).encode(), durable=True)
    files.sync_dir(state)


def _id(text: str) -> VersionId | None:
    try:
        return VersionId.from_hex(text)
    except ValueError:
        return None
