"""Which member of a chain of deltas a new content is to lean on."""

from __future__ import annotations

from collections.abc import Sequence

from memstore.errors import DamagedData
from memstore.ids import ContentId
from memstore.objects.catalogue import Catalogue, Location
from memstore.objects.encoding import CHAIN_LIMIT
from memstore.objects.record import RecordKind


def chain_of(catalogue: Catalogue, content: ContentId) -> list[Location]:
    """A content's form and what it is made of, down to what decodes alone; empty where none is whole."""
    for location in catalogue.locations(content):
        if location.kind == RecordKind.CONTENT:
            try:
                return catalogue.chain(location)
            except DamagedData:
                continue
    return []


def member(plan: Sequence[Location], own: int) -> int | None:
    """Which member of a chain a new one is to lean on: the newest, while there is room; then the newest that
    leaves half of it free, so that the versions to come lean on one another again and not all on that one."""
    if plan and plan[0].cost + own <= CHAIN_LIMIT:
        return 0
    for limit in (CHAIN_LIMIT // 2, CHAIN_LIMIT):
        for number, link in enumerate(plan):
            if link.cost + own <= limit:
                return number
    return None
