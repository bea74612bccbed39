"""What a path held before what it holds: for who asks for a version that is there already."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final, NamedTuple

from memstore.errors import DamagedData, typed
from memstore.ids import VersionId

if TYPE_CHECKING:
    from memstore.repository import Repository

LOOKED_AT: Final = 50
"""Changes of a path that are gone back through."""


class HeldBefore(NamedTuple):
    """The change that gave a path, or something below it, what it holds, and a version that holds what was before."""

    changed: VersionId
    changed_ms: int
    earlier: VersionId


def held_before(repository: Repository, path: str, version: VersionId) -> HeldBefore | None:
    """Of a file or folder ('' for all) as that version has it; None where all that it held before is still there."""
    catalogue = repository.catalogue
    now: int | None = repository.seq(version)
    for _ in range(LOOKED_AT):
        seq = None if now is None else catalogue.last_replacing(now, path)
        if seq is None:
            return None
        changed = catalogue.version_id(seq)
        made = repository.version(changed)
        if not made.parents:
            return None
        before = made.parents[0]
        for change in made.changes:
            if path and change.path != path and not change.path.startswith(path + "/"):
                continue
            held = repository.entry(change.path, before)
            holds = repository.entry(change.path, version)
            if held is not None and (holds is None or held.content != holds.content):
                earlier = catalogue.last_change(repository.seq(before), path) if path else None
                named = before if earlier is None else catalogue.version_id(earlier)
                return HeldBefore(changed, made.time_ms, named)
        now = repository.seq(before)
    return None


def told(repository: Repository, path: str, version: VersionId) -> str | None:
    """The same for a person, with the line to type. None also where damage hides it: who only asked for what is there
    needs not hear of that now."""
    try:
        found = held_before(repository, path, version)
    except DamagedData:
        return None
    if found is None:
        return None
    when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(found.changed_ms // 1000))
    name = typed(path)
    return (
        f"version {str(found.changed)[:12]} of {when} changed {path or 'something'} last; 'memsync restore {name} --at "
        f"{str(found.earlier)[:12]}' brings back what was there before"
    )
