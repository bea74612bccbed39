"""How `Data/` stands to HEAD, and HEAD to the remote. Nothing here writes."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from memstore import files, reflog
from memstore.actions import pending as pending_changes
from memstore.actions import torn
from memstore.actions.unfinished import FINISH_FORGETTING, FORGETTING
from memstore.errors import typed
from memstore.manifest.version import ChangeKind
from memstore.merging.names import is_side_file
from memstore.reports import counted
from memstore.reports.looking import LeftOut, PendingChange, RemoteStatus, StatusReport

if TYPE_CHECKING:
    from memstore.actions.pending import Pending
    from memstore.repository import Repository


def status(
    repository: Repository, remote: RemoteStatus | None, unpushed: int, oldest_unpushed_ms: int | None
) -> StatusReport:
    """How `Data/` stands to HEAD; what is known of the remote is the caller's to say."""
    warnings: list[str] = list(repository.warnings)
    differing, left_out = _without_refused(
        repository, list(pending_changes.pending(repository, None, warnings))
    )
    changes = tuple(
        PendingChange(row.path, row.change, row.new.size if row.new else None) for row in differing
    )
    if files.exists(os.path.join(repository.state, FORGETTING)):
        warnings.append(f"a 'memsync forget' is not finished; {FINISH_FORGETTING}")
    lost = [id for id in reflog.lost(repository.state) if repository.catalogue.seq(id) is None]
    if lost:
        warnings.append(
            f"version {str(lost[-1])[:12]} is lost with a damaged file, and maybe others before it: 'memsync repair' "
            "brings back what can be"
        )
    warnings += torn.told(repository)
    unwritten, unremoved = _behind(repository)
    hours = repository.workspace.config.status_warn_unpushed_hours
    if remote is not None and oldest_unpushed_ms is not None:
        waited = (time.time_ns() // 1_000_000 - oldest_unpushed_ms) / 3_600_000
        if waited > hours:
            warnings.append(
                f"{counted(unpushed, 'version')} not on the remote yet, the oldest for {waited:.0f} hours: "
                "run 'memsync push'"
            )
    return StatusReport(
        head=repository.head(),
        changes=changes,
        unpushed=unpushed,
        oldest_unpushed_ms=oldest_unpushed_ms,
        conflicts=_side_files(repository, changes),
        remote=remote,
        warnings=tuple(warnings),
        unwritten=unwritten,
        unremoved=unremoved,
        left_out=left_out,
    )


def _without_refused(
    repository: Repository, rows: Sequence[Pending]
) -> tuple[list[Pending], tuple[LeftOut, ...]]:
    """What a commit would record, and what it would leave out for its bytes."""
    if not any(row.new for row in rows):
        return list(rows), ()
    # Here: what is unchanged is to be told quickly.
    from memstore.actions.refused import TAKE_IT_OUT, Refusals, deleting

    refusals = Refusals(repository)
    left: list[LeftOut] = []
    others: list[Pending] = []
    for row in rows:
        new, old = row.new, row.old
        reason = suspect = None
        if new is not None and (old is None or old.content != new.content):
            reason = refusals.reason(row.path, new.kind, new.content, new.size)
            suspect = refusals.suspect(row) if reason is None else None
        if suspect is not None:
            left.append(LeftOut(row.path, suspect, TAKE_IT_OUT))
        elif reason is None:
            others.append(row)
        elif old is not None:
            hint = f"'memsync restore {typed(row.path)}' brings HEAD's content back"
            left.append(LeftOut(row.path, reason, hint))
        else:
            hint = f"delete it yourself: {deleting(repository, row.path)}"
            left.append(LeftOut(row.path, reason, hint))
    return others, tuple(left)


def _behind(repository: Repository) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Paths that could not be written as HEAD has them, and paths that HEAD has not and that could not be removed."""
    if not repository.is_behind():
        return (), ()
    from memstore.actions import behind  # seldom needed

    found = sorted(behind.standing(repository))
    wanted = {path for path in found if repository.catalogue.tree_entry(path) is not None}
    return tuple(path for path in found if path in wanted), tuple(
        path for path in found if path not in wanted
    )


def _side_files(repository: Repository, changes: Sequence[PendingChange]) -> tuple[str, ...]:
    """What merges laid beside the other side and is there still: by their names, which nothing else has."""
    gone = {change.path for change in changes if change.change == ChangeKind.DELETE}
    rows = repository.catalogue.db.execute("SELECT path FROM tree WHERE path LIKE '% (from %' ORDER BY path")
    return tuple(path for (path,) in rows if is_side_file(path) and path not in gone)
