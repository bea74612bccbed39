"""undo: back out what HEAD brought, as a new version. History only grows.

What HEAD brought is how it differs from what this device had before it: for a commit or a restore its parent, for
a pull or a merge the HEAD before, as the reflog has it. What is not committed is committed first; of the paths
that HEAD changed, each gets what it held before, all others stay. So a second undo takes the first one back.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from memstore import reflog
from memstore.actions import checkout
from memstore.actions.record import log_archived, record
from memstore.actions.restore import bring_back
from memstore.actions.select import Chosen, head_or_refuse
from memstore.ids import ContentId, VersionId
from memstore.manifest import history
from memstore.manifest.version import Entry, Kind, Meta
from memstore.progress import SILENT, Progress
from memstore.reports import RestoreReport, UndoReport

if TYPE_CHECKING:
    from memstore.repository import Repository


def undo(repository: Repository, *, actor: str = "", progress: Progress = SILENT) -> UndoReport:
    """Raises `BadInput` where there is no version, or no `Data/` to bring anything back to."""
    with repository.writing() as writer:
        checkout.finish(repository, writer)
        undone = head_or_refuse(repository)
        before, pulled = _before(repository)
        chosen, gone = _way_back(repository, before)
        saved = record(repository, writer, None, meta=Meta(reason="saved before an undo"), progress=progress)
        log_archived(repository, saved.version)
        report = RestoreReport(None, (), None)
        if chosen or gone:
            meta = Meta(
                note=_note(repository, undone, before if pulled else None), reason="undo", actor=actor
            )
            report = bring_back(repository, writer, chosen, gone, meta=meta, progress=progress)
        notes = report.notes
        if not report.restored and not report.warnings:
            notes = (
                f"version {str(undone)[:12]} changed nothing here: there is nothing to undo; "
                "'memsync restore . --at TIME' brings back an earlier state",
            )
        first = saved.version.id if saved.version else report.saved_first
        return UndoReport(
            report._replace(saved_first=first, notes=notes, warnings=(*saved.warnings, *report.warnings)),
            undone,
            before,
            pulled,
        )


def _before(repository: Repository) -> tuple[VersionId | None, bool]:
    """What HEAD was on this device before it became what it is, as far as is known, else its first parent; None if
    it is a first version. And whether a pull brought it."""
    head = head_or_refuse(repository)
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
