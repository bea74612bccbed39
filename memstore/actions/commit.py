"""commit: record how `Data/` differs from HEAD, as a version of its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from memstore.actions.record import log_archived, record
from memstore.manifest.version import Meta
from memstore.progress import SILENT, Progress
from memstore.reports.saving import CommitReport

if TYPE_CHECKING:
    from memstore.repository import Repository


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
        if repository.checkout_is_open() or repository.is_behind():
            from memstore.actions import checkout  # seldom needed, and a commit must start fast

            checkout.finish(repository, writer)
        report = record(
            repository, writer, paths, meta=meta, allow_deletions=allow_deletions, progress=progress
        )
        return _with_log(repository, report)


def _with_log(repository: Repository, report: CommitReport) -> CommitReport:
    """The archive_log's lines; a log that can't be written is a warning, the version stands."""
    warning = log_archived(repository, report.version)
    if warning is None:
        return report
    return CommitReport(report.version, (*report.warnings, warning))
