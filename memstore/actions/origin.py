"""origin: what a merge took from which of its parents."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from memstore.actions.differences import differences
from memstore.ids import VersionId
from memstore.manifest.version import ChangeKind, Entry, Version
from memstore.reports.looking import FileDifference, MergedPath

if TYPE_CHECKING:
    from memstore.repository import Repository


def origins(repository: Repository, merge: Version) -> list[MergedPath]:
    """Each path that not all parents of a merge have as it has it, sorted."""
    now = _entries(repository, merge.id)
    sides = {parent: _entries(repository, parent) for parent in merge.parents}
    rows = []
    for path in sorted(now.keys() | {path for side in sides.values() for path in side}):
        here = now.get(path)
        same = tuple(parent for parent, side in sides.items() if _same(side.get(path), here))
        if len(same) < len(sides):
            others = [side[path] for parent, side in sides.items() if parent not in same and path in side]
            change = ChangeKind.DELETE if here is None else ChangeKind.REPLACE if others else ChangeKind.ADD
            rows.append(MergedPath(path, change, same))
    return rows


def made(
    repository: Repository, merge: Version, parent: VersionId, rows: list[MergedPath]
) -> Iterator[FileDifference]:
    """How those of the paths that came from no parent as they are differ from what this parent has."""
    paths = [row.path for row in rows if not row.sources]
    if paths:
        yield from differences(repository, parent, merge, paths)


def _entries(repository: Repository, version: VersionId) -> dict[str, Entry]:
    return {entry.path: entry for entry in repository.entries(version)}


def _same(one: Entry | None, two: Entry | None) -> bool:
    if one is None or two is None:
        return one is two
    return (one.content, one.kind) == (two.content, two.kind)
