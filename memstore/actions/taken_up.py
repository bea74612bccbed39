"""A command that was cut off while `Data/` was written, and is given again: it goes on where it stopped.

Opening the store finishes the checkout. The command would then begin anew from what it had made itself: an undo
would back out the undo, `HEAD~1` be the version that was to be replaced, an archived file be gone. So it asks here
first whether it is what was just finished.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

from memstore import reflog
from memstore.ids import VersionId
from memstore.manifest.version import ChangeKind, Entry
from memstore.reports import counted

if TYPE_CHECKING:
    from memstore.repository import Repository

ARCHIVE: Final = "archive"
PULL: Final = "pull"
RESTORE: Final = "restore"
UNDO: Final = "undo"
"""The verb of an undo, and the reason that its version bears."""
OTHER: Final = "change"
"""What a push brought home, and a forget took away."""


class Finished(NamedTuple):
    """A checkout that a crash or Ctrl-C had left open, and that was finished."""

    verb: str
    before: VersionId | None
    """HEAD when it was begun."""
    target: VersionId | None
    """The version that `Data/` was brought to; None: HEAD was that already."""
    head: VersionId | None
    """HEAD since; another than the target where somebody had written to a path meanwhile."""
    steps: Sequence[tuple[str, Entry | None, Entry | None]]
    """(path, what it held, what it holds now)."""

    @property
    def told(self) -> str:
        return f"an interrupted {self.verb} of {counted(len(self.steps), 'path')} was finished"


def verb_of(repository: Repository, target: VersionId | None) -> str:
    """Which command made the checkout to this version."""
    if target is None:
        return RESTORE
    stands = reflog.read(repository.state)
    if any(stand.word == reflog.PULLED and stand.head == target for stand in stands):
        return PULL
    version = repository.version(target)
    if version.reason == UNDO:
        return UNDO
    if version.changes and all(change.change == ChangeKind.ARCHIVE for change in version.changes):
        return ARCHIVE
    return RESTORE if version.note.startswith(f"{RESTORE} ") else OTHER


def taken_up(repository: Repository, verb: str) -> Finished | None:
    """What was just finished, if that was this verb's and HEAD is still as it was left. It is told once."""
    finished, repository.finished = repository.finished, None
    if finished is None or finished.verb != verb or finished.head != repository.head():
        return None
    return finished


def no_warning(repository: Repository, finished: Finished) -> str:
    """What was finished is what was asked for: a note, no warning."""
    if finished.told in repository.warnings:
        repository.warnings.remove(finished.told)
    return finished.told
