"""push --dry-run: what a push would send, as far as it is known without asking the remote."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from memstore.actions import remote_state
from memstore.actions.remote_state import RemoteState
from memstore.mirror import plan as mirror_plan
from memstore.objects.catalogue import PlaceKind
from memstore.objects.record import RecordKind
from memstore.reports import MirrorCounts, PushReport

if TYPE_CHECKING:
    from memstore.repository import Repository


def dry_run(
    repository: Repository, state: RemoteState, *, paths: Sequence[str] | None = None, mirror: bool = True
) -> PushReport:
    """What a push would report, with nothing sent. Bytes are about what would go: packs and the mirror's files."""
    repository.refresh()
    versions, _ = remote_state.unpushed(repository, state)
    sent = remote_state.published(state) | set(state.sent)
    catalogue = repository.catalogue
    packs = objects = size = 0
    open_segment = False
    for name, (place, kind, end) in catalogue.places().items():
        if name in sent:
            continue
        contents = sum(row.kind == RecordKind.CONTENT for _, row in catalogue.objects_in(place))
        objects += contents
        size += end if kind == PlaceKind.PACK or versions else 0  # a segment becomes a pack of about its size
        packs += bool(contents) and kind == PlaceKind.PACK
        open_segment |= bool(contents) and kind == PlaceKind.SEGMENT
    counts = MirrorCounts()
    if mirror and repository.workspace.config.mirror_enabled:
        planned: Counter[mirror_plan.Work] = Counter()
        for step in mirror_plan.steps(repository, paths):
            size += step.entry.size if step.entry is not None else 0
            planned[step.work] += 1
        work = mirror_plan.Work
        counts = MirrorCounts(
            created=planned[work.CREATE] + planned[work.REPLACE],
            updated=planned[work.UPDATE],
            moved=planned[work.REPLACE] + planned[work.RETIRE],
        )
    anything = versions or any(counts.as_json().values())
    return PushReport(
        "success" if anything else "nothing",
        versions=versions,
        objects=objects,
        packs=packs + open_segment,
        bytes_sent=size,
        mirror=counts,
        notes=("nothing was sent: this was a dry run",) if anything else (),
    )
