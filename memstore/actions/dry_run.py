"""push --dry-run: what a push would send, as far as it is known without asking the remote."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from memstore.actions import remote_state
from memstore.actions.remote_state import RemoteState
from memstore.mirror import plan as mirror_plan
from memstore.objects.catalogue import PlaceKind
from memstore.reports import MirrorCounts, PushReport

if TYPE_CHECKING:
    from memstore.repository import Repository


def dry_run(
    repository: Repository, state: RemoteState, *, paths: Sequence[str] | None = None, mirror: bool = True
) -> PushReport:
    """What a push would report, with nothing sent."""
    repository.refresh()
    versions, _ = remote_state.unpushed(repository, state)
    sent = set(state.sent)
    rows = repository.catalogue.db.execute(
        "SELECT places.name, count(*), sum(stored + header), places.kind FROM objects JOIN places USING (place) "
        "WHERE objects.kind = 1 GROUP BY place"
    ).fetchall()
    unsent = [row for row in rows if row[0] not in sent]
    counts = MirrorCounts()
    if mirror and repository.workspace.config.mirror_enabled:
        planned = [step.work for step in mirror_plan.steps(repository, paths)]
        counts = MirrorCounts(
            created=sum(work in (mirror_plan.Work.CREATE, mirror_plan.Work.REPLACE) for work in planned),
            updated=planned.count(mirror_plan.Work.UPDATE),
            moved=sum(work in (mirror_plan.Work.REPLACE, mirror_plan.Work.RETIRE) for work in planned),
        )
    anything = versions or any(counts.as_json().values())
    return PushReport(
        "success" if anything else "nothing",
        versions=versions,
        objects=sum(row[1] for row in unsent),
        packs=sum(row[3] == PlaceKind.PACK for row in unsent) + any(row[3] == 0 for row in unsent),
        bytes_sent=sum(row[2] for row in unsent),
        mirror=counts,
        notes=("nothing was sent: this was a dry run",) if anything else (),
    )
