"""undo: back out what HEAD brought, as a new version. History only grows.

What HEAD brought is how it differs from what this device had before it: for a commit or a restore its parent, for
a pull or a merge the HEAD before, as the reflog has it. What is not committed is committed first; of the paths
that HEAD changed, each gets what it held before, all others stay. So a second undo takes the first one back; but
one that was cut off and is given again is only finished.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from memstore import reflog
from memstore.actions import checkout, taken_up
from memstore.actions.record import log_archived, record
from memstore.actions.restore import bring_back
from memstore.actions.select import Chosen, head_or_refuse
from memstore.ids import ContentId, VersionId
from memstore.manifest import history
from memstore.manifest.version import ChangeKind, Entry, Kind, Meta, Version
from memstore.progress import SILENT, Progress
from memstore.reports import Restored, RestoreReport, UndoReport

if TYPE_CHECKING:
    from memstore.repository import Repository


SAVED: Final = "saved before an undo"
"""The reason of the version that an undo makes first of what is not committed."""


def undo(repository: Repository, *, actor: str = "", progress: Progress = SILENT) -> UndoReport:
    """Raises `BadInput` where there is no version, or no `Data/` to bring anything back to."""
    with repository.writing() as writer:
        checkout.finish(repository, writer)
        finished = taken_up.taken_up(repository, taken_up.UNDO)
        if finished is not None and finished.target is not None:
            return _of_finished(repository, finished, repository.version(finished.target))
        undone, above = _to_undo(repository, head_or_refuse(repository))
        before, pulled = _before(repository, undone)
        chosen, gone = _way_back(repository, before)
        for version in above:
            _leave_out(repository, version, undone, before, chosen, gone)
        saved = record(repository, writer, None, meta=Meta(reason=SAVED), progress=progress)
        log_archived(repository, saved.version)
        report = RestoreReport(None, (), None)
        if chosen or gone:
            meta = Meta(
                note=_note(repository, undone, before if pulled else None), reason=taken_up.UNDO, actor=actor
            )
            report = bring_back(repository, writer, chosen, gone, meta=lambda _: meta, progress=progress)
        notes = report.notes
        if not report.restored and not report.warnings:
            notes = (
                f"version {str(undone)[:12]} changed nothing here: there is nothing to undo; "
                "'memsync restore . --at TIME' brings back an earlier state",
            )
        elif report.restored:
            notes = (*notes, *_carried_on(repository, undone, pulled))
        first = saved.version.id if saved.version else report.saved_first
        if first is None:
            first = _saved_in(above)
        notes = (*_passed_over(above), *notes)
        return UndoReport(
            report._replace(saved_first=first, notes=notes, warnings=(*saved.warnings, *report.warnings)),
            undone,
            before,
            pulled,
        )


def _to_undo(repository: Repository, head: VersionId) -> tuple[VersionId, list[Version]]:
    """The version to back out, and those above it that are none: what an undo had only saved when it was cut off, and
    what took away something forgotten, which can't come back. With a pull all goes back that came with it."""
    above: list[Version] = []
    version = repository.version(head)
    while len(version.parents) == 1 and (version.reason == SAVED or _forgets(repository, version)):
        above.append(version)
        version = repository.version(version.parents[0])
    return version.id, above


def _forgets(repository: Repository, version: Version) -> bool:
    """Whether a `forget` made it, here or on another device: all that it took away is forgotten."""
    if not all(change.change == ChangeKind.DELETE for change in version.changes):
        return False
    if _before(repository, version.id)[1]:
        return False
    from memstore.actions.expunge import DROPPED, FORGETS

    if version.reason != DROPPED.reason and not version.note.startswith(FORGETS):
        return False
    held = [repository.entry(change.path, version.parents[0]) for change in version.changes]
    return all(entry is not None and repository.reader.forgotten(entry.content) for entry in held)


def _saved_in(above: Sequence[Version]) -> VersionId | None:
    return next((version.id for version in above if version.reason == SAVED), None)


def _passed_over(above: Sequence[Version]) -> tuple[str, ...]:
    return tuple(
        f"version {str(version.id)[:12]} took away what was forgotten, which can't come back: what is undone is the "
        "version before it"
        for version in above
        if version.reason != SAVED
    )


def _leave_out(
    repository: Repository,
    version: Version,
    undone: VersionId,
    before: VersionId | None,
    chosen: dict[str, Chosen],
    gone: list[str],
) -> None:
    """Of what this version, which stands above `undone`, changed, only what `undone` had changed as well goes back."""
    for path in {change.path for change in version.changes}:
        held = repository.entry(path, undone)
        had = None if before is None else repository.entry(path, before)
        if (held and (held.content, held.kind)) == (had and (had.content, had.kind)):
            chosen.pop(path, None)
            if path in gone:
                gone.remove(path)


def _of_finished(repository: Repository, finished: taken_up.Finished, made: Version) -> UndoReport:
    """What an undo answers that was cut off while `Data/` was written, and is finished now: it does nothing else."""
    undone, above = _to_undo(repository, made.parents[0])
    before, pulled = _before(repository, undone)
    restored = [
        Restored(path, new.content if new else None, str((new and before) or made.id))
        for path, _, new in finished.steps
    ]
    told = taken_up.no_warning(repository, finished)
    report = RestoreReport(
        made.id,
        tuple(sorted(restored)),
        _saved_in(above),
        (
            *_passed_over(above),
            f"{told}: nothing else was done; another 'memsync undo' takes it back",
            *_carried_on(repository, undone, pulled),
        ),
        tuple(repository.warnings),
    )
    repository.warnings.clear()
    return UndoReport(report, undone, before, pulled)


def _carried_on(repository: Repository, undone: VersionId, pulled: bool) -> tuple[str, ...]:
    """What a person must know who backs out what other devices made: for these it is a version like any other."""
    if not pulled and len(repository.version(undone).parents) < 2:
        return ()
    return (
        "the next push carries this to the other devices: what they had made is then out of their folders as well, and "
        "in history only. 'memsync undo' right now, or 'memsync restore . --at "
        f"{str(undone)[:12]}' at any time, brings it back",
    )


def _before(repository: Repository, head: VersionId) -> tuple[VersionId | None, bool]:
    """What HEAD was on this device before it became this one, as far as is known, else its first parent; None if
    it is a first version. And whether a pull brought it."""
    for stand in reversed(reflog.read(repository.state)):
        if stand.word == reflog.PULLED and stand.head == head:
            if stand.before is not None and repository.catalogue.seq(stand.before) is not None:
                return stand.before, True
            break
    parents = repository.version(head).parents
    return parents[0] if parents else None, False


def _way_back(repository: Repository, before: VersionId | None) -> tuple[dict[str, Chosen], list[str]]:
    """What paths held before, and which paths held nothing. For HEAD alone."""
    if before is None:
        return {}, [row[0] for row in repository.catalogue.tree()]
    chosen: dict[str, Chosen] = {}
    gone: list[str] = []
    for path, _, old in history.tree_against(repository.catalogue, repository.seq(before)):
        if old is None:
            gone.append(path)
        else:
            kind, size, content, modified = old
            chosen[path] = Chosen(path, Entry(path, Kind(kind), size, ContentId(content), modified), before)
    return chosen, gone


def _note(repository: Repository, undone: VersionId, pulled_onto: VersionId | None) -> str:
    """Which version, and its note's first line; that it came with a pull, unless it is the merge itself of what was
    here."""
    version = repository.version(undone)
    note = next(iter(version.note.splitlines()), "")
    merged_here = len(version.parents) > 1 and pulled_onto in version.parents
    what = "" if pulled_onto is None or merged_here else "the pull of "
    return f"undo {what}{str(undone)[:12]}" + (f": {note}" if note else "")
