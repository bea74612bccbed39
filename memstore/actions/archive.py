"""archive: record a reference to a path's current content and take the file out of `Data/`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from memstore.actions import checkout, select, taken_up
from memstore.actions.checkout import Step
from memstore.actions.record import log_archived, record
from memstore.errors import BadInput, typed
from memstore.ids import ContentId
from memstore.manifest.references import References
from memstore.manifest.version import Change, ChangeKind, Entry, Kind, Meta
from memstore.progress import SILENT, Progress
from memstore.reports import CommitReport
from memstore.worktree import found

if TYPE_CHECKING:
    from memstore.repository import Repository


def archive(
    repository: Repository,
    paths: Sequence[str],
    *,
    meta: Meta,
    keep: bool = False,
    progress: Progress = SILENT,
) -> CommitReport:
    """Archive files, or all files of folders. What is uncommitted at those paths is committed first.

    `keep` leaves the files where they are. Raises `BadInput` for a path that is not in `Data/`.
    """
    if not paths:
        raise BadInput("nothing to archive", hint="name the files: memsync archive PATH…")
    with repository.writing() as writer:
        checkout.finish(repository, writer)
        finished = taken_up.taken_up(repository, taken_up.ARCHIVE)
        if finished is not None and _all_in(paths, finished):
            return _of_finished(repository, finished)
        for path in paths:
            if not os.path.lexists(os.path.join(repository.workspace.data, path)):
                raise _not_there(path)
        saved = record(repository, writer, paths, meta=Meta(reason="saved before it was archived"))
        log_archived(repository, saved.version)
        warnings = list(saved.warnings)
        entries: dict[str, Entry] = {}
        for path in paths:
            here = [
                row
                for row in repository.catalogue.tree(path)
                if found.look(repository.workspace.data, row[0])
            ]
            if not here:
                from memstore.actions.refused import not_in_head  # seldom needed

                left_out = not_in_head(repository, path) or _not_there(path)
                raise select.not_found(repository, path, left_out)
            for row in here:
                entries[row[0]] = Entry(row[0], Kind(row[1]), row[2], ContentId(row[3]), row[4])
        time_ms = writer.time_of_next()
        references = References(repository.catalogue, time_ms)
        changes = [
            references.given_to(Change(path, ChangeKind.ARCHIVE, entry if keep else None))
            for path, entry in sorted(entries.items())
        ]
        steps = [Step(path, entry, None) for path, entry in sorted(entries.items())]
        version = writer.add_version(
            changes,
            meta=meta,
            time_ms=time_ms,
            announce=None if keep else lambda id: checkout.begin(repository, id, steps),
        )
        warning = log_archived(repository, version)
        if warning is not None:
            warnings.append(warning)
        if not keep:
            warnings += [left.warning for left in checkout.apply(repository, writer, steps, progress)]
            checkout.close(repository)
        return CommitReport(version, tuple(warnings))


def _all_in(paths: Sequence[str], finished: taken_up.Finished) -> bool:
    """Whether these, or what lay in them, is what was archived."""
    gone = [path for path, *_ in finished.steps]
    return all(
        any(not path or file == path or file.startswith(path + "/") for file in gone) for path in paths
    )


def _of_finished(repository: Repository, finished: taken_up.Finished) -> CommitReport:
    """What an archive answers that was cut off while the files were removed, and is finished now."""
    assert finished.target is not None  # what `archive` began is always a version's
    taken_up.no_warning(repository, finished)
    warnings = tuple(repository.warnings)
    repository.warnings.clear()
    return CommitReport(repository.version(finished.target), warnings)


def _not_there(path: str) -> BadInput:
    return BadInput(
        f"{path or '.'} is not in Data/, so there is nothing to archive",
        hint=f"'memsync log {typed(path)}' shows what became of it",
    )
