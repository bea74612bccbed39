"""commit: record how `Data/` differs from HEAD.

    scan → compare with the stat cache → read, hash, encode what may differ → append → publish

Data flows forward: a scan's rows become candidates, candidates become ingested files, these become changes,
and the changes a version. Nothing of it is visible before the version is durable.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

from memstore import files, logs
from memstore.actions.ingest import Candidate, Ingested, Old, Unreadable, ingest
from memstore.errors import BadInput
from memstore.ids import ContentId
from memstore.manifest.references import References
from memstore.manifest.version import Change, ChangeKind, Entry, Kind, Meta, Version
from memstore.progress import SILENT, Progress
from memstore.reports import CommitReport
from memstore.worktree import found as worktree
from memstore.worktree.found import Found
from memstore.worktree.ignore import Ignore
from memstore.worktree.scan import Scan, scan

if TYPE_CHECKING:
    from memstore.repository import Repository
    from memstore.writer import Writer

TreeRow = tuple[str, int, int, bytes, int, int | None, int | None, int | None, int | None]


CHECKOUT_NAME: Final = "checkout"
"""Of the checkout record in `.memsync/`."""


class Comparison(NamedTuple):
    """What a scan says of HEAD's manifest."""

    candidates: list[Candidate]
    """Files that are new, or may differ: to be read."""
    gone: list[Change]
    """Deletes, without their archive references yet."""
    seen: int
    """Files that were found at all."""


def commit(
    repository: Repository,
    paths: Sequence[str] | None = None,
    *,
    meta: Meta,
    allow_deletions: bool = False,
    progress: Progress = SILENT,
) -> CommitReport:
    """Record what changed, in `paths` only where given. Raises `BadInput` for a path that is neither there
    nor in HEAD, and when `Data/` is missing or not the folder it was."""
    with repository.writing() as writer:
        finish_checkout(repository, writer)
        report = record(
            repository, writer, paths, meta=meta, allow_deletions=allow_deletions, progress=progress
        )
        return _with_log(repository, report)


def finish_checkout(repository: Repository, writer: Writer) -> None:
    """Finish what a crash left half-done in `Data/`, the crash of whoever held the lock before us included."""
    if files.exists(os.path.join(repository.state, CHECKOUT_NAME)):
        from memstore.actions import checkout  # seldom needed, and commit must start fast

        repository.warnings += checkout.finish(repository, writer)


def record(
    repository: Repository,
    writer: Writer,
    paths: Sequence[str] | None,
    *,
    meta: Meta,
    allow_deletions: bool = False,
    progress: Progress = SILENT,
) -> CommitReport:
    """The same for who holds the lock already; writes no log."""
    check_data_folder(repository)
    clock = files.clock_of(repository.state)
    ignore = Ignore.load(repository.workspace.data)
    scanned = scan(repository.workspace.data, ignore, paths)
    comparison = compare(repository, scanned, ignore, paths)
    warnings = [*repository.warnings, *scanned.warnings]
    repository.warnings.clear()
    ingested: list[Ingested] = []
    for item in ingest(repository, writer, comparison.candidates, progress):
        if isinstance(item, Unreadable):
            warnings.append(item.warning)
        else:
            ingested.append(item)
    changes = [change for item in ingested if (change := _change(item)) is not None]
    gone = comparison.gone
    held = _held_back(repository, gone, ingested, paths) if not allow_deletions else 0
    if held:
        gone = _replaced(gone, ingested)
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
        version = writer.add_version(changes, meta=meta, time_ms=time_ms)
    _remember(writer, ingested, clock)
    _remember_data_folder(repository)
    return CommitReport(version, tuple(warnings))


# -- comparing ---------------------------------------------------------------------------------------------


def compare(repository: Repository, scanned: Scan, ignore: Ignore, paths: Sequence[str] | None) -> Comparison:
    """Merge the scan with HEAD's manifest, both in path order. Exhausts the scan."""
    candidates: list[Candidate] = []
    gone: list[str] = []
    seen = 0
    rows = _tree_rows(repository, paths)
    row = next(rows, None)
    for seen_file in scanned.files:
        item = seen_file
        seen += 1
        path = item.path
        while row is not None and row[0] < path:
            gone.append(row[0])
            row = next(rows, None)
        if row is None or row[0] != path:
            candidates.append(Candidate(item, None))
            continue
        if row[1] == Kind.EXECUTABLE and not files.POSIX:
            item = item._replace(kind=row[1])  # a system without mode bits can't have changed them
        # The stat cache: what lstat said when the file last had HEAD's content, where that is safe.
        if row[5:] != item[2:] or row[1] != item[1]:
            candidates.append(Candidate(item, Old(row[1], row[2], ContentId(row[3]), row[4])))
        row = next(rows, None)
    while row is not None:
        gone.append(row[0])
        row = next(rows, None)
    if paths is not None:
        gone += _now_folders(repository, candidates, gone)
    deletes = [
        Change(path, ChangeKind.DELETE, None) for path in gone if _is_gone(repository, scanned, ignore, path)
    ]
    if paths is not None:
        _all_known(repository, paths, candidates, deletes, scanned)
    return Comparison(candidates, deletes, seen)


def _is_gone(repository: Repository, scanned: Scan, ignore: Ignore, path: str) -> bool:
    """Whether a path of HEAD that the scan did not show was deleted. It was not if it could not be looked at,
    or if it is ignored now and still there: then it stays as it is."""
    for hidden in scanned.unseen:
        if not hidden or path == hidden or path.startswith(hidden + "/"):
            return False
    return not (ignore.covers(path) and worktree.look(repository.workspace.data, path) is not None)


def _now_folders(repository: Repository, candidates: Sequence[Candidate], gone: Sequence[str]) -> list[str]:
    """Files of HEAD that named paths show to be folders now: no version may hold `a` and `a/b`."""
    known = set(gone)
    found = []
    for candidate in candidates:
        path = candidate.found.path
        end = -1 if candidate.old is not None else path.rfind("/")
        while end > 0 and path[:end] not in known:
            known.add(path[:end])
            if repository.catalogue.tree_entry(path[:end]) is not None:
                found.append(path[:end])
            end = path.rfind("/", 0, end)
    return found


def _replaced(gone: Sequence[Change], ingested: Sequence[Ingested]) -> list[Change]:
    """The deletions that can't be held back: a folder stands where the file was, or the other way round."""
    here = {item.found.path for item in ingested}
    folders = {path[:end] for path in here for end in range(len(path)) if path[end] == "/"}
    return [
        change
        for change in gone
        if change.path in folders
        or any(change.path[:end] in here for end in range(len(change.path)) if change.path[end] == "/")
    ]


def _tree_rows(repository: Repository, paths: Sequence[str] | None) -> Iterator[TreeRow]:
    if paths is None or "" in paths:
        yield from repository.catalogue.tree()
        return
    if len(paths) == 1:
        yield from repository.catalogue.tree(paths[0])
        return
    rows = {row[0]: row for path in paths for row in repository.catalogue.tree(path)}
    for path in sorted(rows):
        yield rows[path]


def _all_known(
    repository: Repository,
    paths: Sequence[str],
    candidates: Iterable[Candidate],
    deletes: Iterable[Change],
    scanned: Scan,
) -> None:
    """Each path that was asked for is there, or was in HEAD, or the scan has said what is wrong with it."""
    met = {candidate.found.path for candidate in candidates} | {change.path for change in deletes}
    data = repository.workspace.data
    for path in paths:
        if path in met or path in scanned.unseen or files.exists(os.path.join(data, path)):
            continue
        if next(iter(repository.catalogue.tree(path)), None) is None:
            raise BadInput(
                f"{path} is neither in Data/ nor in the last version",
                hint="'memsync status' shows what changed; 'memsync ls' what the last version holds",
            )


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
    if not repository.catalogue.tree_size():
        return
    for row in repository.catalogue.tree():
        if files.exists(os.path.join(data, row[0])):
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
    ingested: Sequence[Ingested],
    paths: Sequence[str] | None,
) -> int:
    """How many deletions to hold back: all of them when more than half of at least so many files are gone.

    A file that was moved is not gone: its content is among what was added. Paths that were named on purpose
    are meant.
    """
    total = repository.catalogue.tree_size()
    if paths is not None or total < repository.workspace.config.commit_held_back_minimum:
        return 0
    if 2 * len(gone) <= total:
        return 0
    here = {item.content for item in ingested}
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
    entry = Entry(found.path, Kind(found.kind), item.size, item.content, item.modified_ms)
    if old is None:
        kind = ChangeKind.ADD
    elif item.appended and old.kind == found.kind:
        kind = ChangeKind.APPEND
    else:
        kind = ChangeKind.REPLACE
    return Change(found.path, kind, entry)


def _remember(writer: Writer, ingested: Iterable[Ingested], clock: int) -> None:
    """Fill the stat cache, with what is safe to believe (the racy-clean rule)."""
    rows = [(item.found.path, None if worktree.racy(item.stat, clock) else item.stat) for item in ingested]
    writer.remember(rows)
    writer.finish()


def _with_log(repository: Repository, report: CommitReport) -> CommitReport:
    """The archive_log's lines; a log that can't be written is a warning, the version stands."""
    warning = log_archived(repository, report.version)
    if warning is None:
        return report
    return CommitReport(report.version, (*report.warnings, warning))


def log_archived(repository: Repository, version: Version | None) -> str | None:
    """One line in the archive_log for each archive reference of a version; a warning, or None. For the holder of
    the store's lock."""
    if version is None:
        return None
    lines = []
    for change in version.changes:
        if change.archived_as is not None:
            before = repository.entry(change.path, version.parents[0]) if version.parents else None
            if before is not None:
                lines.append(
                    logs.ArchiveLine(
                        version.time_ms, change.path, change.archived_as, before.content, version.reason
                    )
                )
    return logs.log_archived(repository.workspace, lines, locked=True)


__all__ = ["Found", "check_data_folder", "commit", "compare", "finish_checkout", "log_archived", "record"]
