"""Recording how `Data/` differs from HEAD, for who holds the store's lock: the inside of a commit, and what every
command does first that is about to write into `Data/`.

    scan → compare with the stat cache → read, hash, encode what may differ → append → publish

Data flows forward: a scan's rows become candidates, candidates become ingested files, these become changes,
and the changes a version. Nothing of it is visible before the version is durable.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from memstore import files
from memstore.actions import secrets
from memstore.actions.candidate import Ingested, Unreadable
from memstore.actions.compare import Comparison
from memstore.actions.ingest import ingest
from memstore.actions.secrets import Suspected
from memstore.cycles import no_looking_for_cycles
from memstore.errors import BadInput
from memstore.manifest import history
from memstore.manifest.references import References
from memstore.manifest.version import Change, ChangeKind, Entry, Kind, Meta, Version
from memstore.progress import SILENT, Progress
from memstore.reports.saving import CommitReport
from memstore.worktree import found as worktree
from memstore.worktree.ignore import Ignore
from memstore.worktree.names import problem
from memstore.worktree.scan import scan

if TYPE_CHECKING:
    from memstore.repository import Repository
    from memstore.writer import Writer


_KINDS: Final = tuple(Kind)


def record(
    repository: Repository,
    writer: Writer,
    paths: Sequence[str] | None,
    *,
    meta: Meta,
    allow_deletions: bool = False,
    progress: Progress = SILENT,
) -> CommitReport:
    """Record what changed, in `paths` only where given; writes no log. Raises `BadInput` for a path that is neither
    there nor in HEAD, and when `Data/` is missing or not the folder it was."""
    with no_looking_for_cycles():
        return _record(
            repository, writer, paths, meta=meta, allow_deletions=allow_deletions, progress=progress
        )


def _record(
    repository: Repository,
    writer: Writer,
    paths: Sequence[str] | None,
    *,
    meta: Meta,
    allow_deletions: bool,
    progress: Progress,
) -> CommitReport:
    check_data_folder(repository)
    secrets.require(repository.workspace.config)
    clock = files.clock_of(repository.state)
    ignore = Ignore.load(repository.workspace.data)
    scanned = scan(repository.workspace.data, ignore, paths)
    comparison = Comparison(repository, scanned, ignore, paths)
    stats = worktree.StatColumns()
    untouched: list[tuple[str, history.Stat | None]] = []
    changes: list[Change] = []
    unreadable: list[str] = []
    suspected: list[Suspected] = []
    # Of each file only what the version needs is kept: there may be a million of them.
    for item in ingest(repository, writer, comparison.candidates, progress):
        if isinstance(item, Unreadable):
            # What went while we looked was not left out; the next commit records that it is gone.
            if paths is not None or os.path.lexists(os.path.join(repository.workspace.data, item.path)):
                unreadable.append(item.warning)
            continue
        change = _change(item)
        if change is None:
            untouched.append((item.found.path, _safe_stat(item, clock)))
        else:
            changes.append(change)
            stats.note(item.found.path, _safe_stat(item, clock))
        if item.suspects:
            suspected.append(Suspected(item.found.path, item.suspects))
    told = secrets.weighed(repository.workspace.config, suspected) if suspected else []
    warnings = [*repository.warnings, *scanned.warnings, *unreadable, *told]
    repository.warnings.clear()
    gone = comparison.gone
    held = _held_back(repository, gone, changes, paths) if not allow_deletions else 0
    if held:
        gone = _replaced(gone, changes)
        warnings.append(
            f"{held} of {repository.catalogue.tree_size()} files are gone from Data/; their deletion is held "
            "back: bring them back, or run 'memsync commit --allow-deletions'"
        )
    changes += gone
    version: Version | None = None
    if changes:
        time_ms = writer.time_of_next()
        if repository.workspace.config.archive_automatic:
            references = References(repository.catalogue, time_ms)
            changes = [references.given_to(change) for change in changes]
        version = writer.add_version(changes, meta=meta, time_ms=time_ms, stats=stats)
    writer.remember(untouched)
    safe = {path: found for path, found in comparison.still.items() if not worktree.racy(found.key, clock)}
    writer.keep_still(safe, comparison.not_still, ignore.fingerprint)
    writer.finish()
    _remember_data_folder(repository)
    return CommitReport(version, tuple(warnings))


def _replaced(gone: Sequence[Change], changes: Sequence[Change]) -> list[Change]:
    """The deletions that can't be held back: a folder stands where the file was, or the other way round. `changes`
    are those of what is there."""
    here = {change.path for change in changes}
    folders = {path[:end] for path in here for end in range(len(path)) if path[end] == "/"}
    return [
        change
        for change in gone
        if change.path in folders
        or any(change.path[:end] in here for end in range(len(change.path)) if change.path[end] == "/")
    ]


# -- Data/ itself ------------------------------------------------------------------------------------------


def check_data_folder(repository: Repository) -> None:
    """Refuse a `Data/` that is missing, or is another folder without any of HEAD's files (an unmounted disk)."""
    data = repository.workspace.data
    try:
        facts = os.stat(data)
    except OSError:
        raise BadInput(
            f"the data folder {data} is not there",
            hint="bring it back (is its disk mounted?), or correct local_data_dir in paths.json; nothing was recorded",
        ) from None
    if not os.path.isdir(data):
        raise BadInput(f"{data} is no folder", hint="move that file away and bring the folder back")
    known = repository.catalogue.fact("data folder")
    if known is None or known == f"{facts.st_dev}:{facts.st_ino}":
        return
    if not repository.catalogue.tree_holds(1):
        return
    for row in repository.catalogue.tree():
        if problem(row[0]) is None and files.exists(os.path.join(data, row[0])):
            return
    raise BadInput(
        f"{data} is not the folder it was, and holds none of the files of the last version",
        hint="mount the disk it lies on, or bring the folder back; if it is meant to be empty, run "
        "'memsync restore .' to fill it",
    )


def _remember_data_folder(repository: Repository) -> None:
    facts = os.stat(repository.workspace.data)
    now = f"{facts.st_dev}:{facts.st_ino}"
    if repository.catalogue.fact("data folder") != now:
        repository.catalogue.set_fact("data folder", now)


def _held_back(
    repository: Repository,
    gone: Sequence[Change],
    changes: Sequence[Change],
    paths: Sequence[str] | None,
) -> int:
    """How many deletions to hold back: all of them when more than half of at least so many files are gone.

    A file that was moved is not gone: its content is among what was added (`changes`). Paths that were named on
    purpose are meant.
    """
    if paths is not None or not gone:
        return 0
    total = repository.catalogue.tree_size()  # reads the whole table
    if total < repository.workspace.config.commit_held_back_minimum or 2 * len(gone) <= total:
        return 0
    here = {change.entry.content for change in changes if change.entry is not None}
    lost = 0
    for change in gone:
        row = repository.catalogue.tree_entry(change.path)
        lost += row is None or row[2] not in here
    return len(gone) if 2 * lost > total else 0


# -- changes -----------------------------------------------------------------------------------------------


def _change(item: Ingested) -> Change | None:
    """How an ingested file differs from HEAD; None if only its times do."""
    found, old = item.found, item.old
    if old is not None and old.content == item.content and old.kind == found.kind:
        return None
    entry = Entry(found.path, _KINDS[found.kind], item.size, item.content, item.modified_ms)
    if old is None:
        kind = ChangeKind.ADD
    elif item.appended and old.kind == found.kind:
        kind = ChangeKind.APPEND
    else:
        kind = ChangeKind.REPLACE
    return Change(found.path, kind, entry)


def _safe_stat(item: Ingested, clock: int) -> history.Stat | None:
    """What the stat cache may believe of a file from now on (the racy-clean rule)."""
    return None if worktree.racy(item.stat, clock) else item.stat[-4:]


def log_archived(repository: Repository, version: Version | None) -> str | None:
    """One line in the archive_log for each archive reference of a version; a warning, or None. For the holder of
    the store's lock."""
    archived = [] if version is None else [change for change in version.changes if change.archived_as]
    if version is None or not archived:
        return None
    from memstore import logs

    lines = []
    for change in archived:
        if change.archived_as is not None:
            before = repository.entry(change.path, version.parents[0]) if version.parents else None
            if before is not None:
                lines.append(
                    logs.ArchiveLine(
                        version.time_ms, change.path, change.archived_as, before.content, version.reason
                    )
                )
    return logs.log_archived(repository.workspace, lines, locked=True)
