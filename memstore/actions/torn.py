"""What lies in `torn/`, and what of it a collection lets go.

A commit that was killed leaves there what it had written, which no version ever named, and a repair leaves the damaged
files whose place others took. Both are kept for a next repair. When the whole store reads back, that repair would find
nothing to do: so what is old then goes.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Final, NamedTuple

from memstore import files
from memstore.progress import SILENT, Progress
from memstore.reports import counted
from memstore.repository import TORN_NAME

if TYPE_CHECKING:
    from memstore.repository import Repository

KEPT_DAYS: Final = 30
"""So long everything stays, whatever it is."""
LARGE: Final = 100_000_000
"""Bytes from which on a person is told of it."""


class Lying(NamedTuple):
    """A file in `torn/`."""

    path: str
    size: int
    since_ns: int
    """When it came there, by this machine's clock: a file that is moved keeps the time of its bytes, so the later of
    its two times counts."""


def lying(repository: Repository) -> list[Lying]:
    """Every file there; mostly there is not even the folder."""
    folder = os.path.join(repository.state, TORN_NAME)
    found = []
    for name in files.names(folder):
        path = os.path.join(folder, name)
        if os.path.isfile(path) and not os.path.islink(path):
            facts = os.lstat(path)
            found.append(Lying(path, facts.st_size, max(facts.st_mtime_ns, facts.st_ctime_ns)))
    return found


def told(repository: Repository) -> list[str]:
    """A sentence where it is so much that somebody may miss the room."""
    size = sum(file.size for file in lying(repository))
    if size < LARGE:
        return []
    folder = os.path.join(repository.state, TORN_NAME)
    return [
        f"{size / 1e6:,.0f} MB lie in {folder}, left by commits that were cut off or by a repair: "
        f"'memsync gc' removes what is older than {KEPT_DAYS} days"
    ]


def clear(
    repository: Repository, notes: list[str], *, dry_run: bool, progress: Progress = SILENT
) -> list[Lying]:
    """Remove (`dry_run`: don't) what is old, if all of the store reads back; what it was. Why it stays is a note."""
    before = time.time_ns() - KEPT_DAYS * 86_400_000_000_000
    old = [file for file in lying(repository) if file.since_ns < before]
    if not old:
        return []
    from memstore.actions.verify import verify  # reads everything: only where there is a reason

    if not verify(repository, progress=progress).ok:
        size = sum(file.size for file in old)
        notes.append(
            f"{counted(len(old), 'old file')} ({size:,} bytes) in torn/ may still help to mend what is damaged, "
            "and stay: run 'memsync verify', then 'memsync repair'"
        )
        return []
    if dry_run:
        return old
    with repository.locked():
        for file in old:
            files.discard(file.path)
    return [file for file in old if not files.exists(file.path)]
