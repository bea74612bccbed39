"""What a log says of a version: all of it but what its changes hold. A long history is mostly read for that, and
the values of a whole `Version` would be half of its cost."""

from __future__ import annotations

from typing import Any, NamedTuple

from memstore.ids import VersionId
from memstore.manifest.version import Change, Meta, Version
from memstore.manifest.version_format import (
    LARGE,
    archived_name,
    decode_known,
    meta_of,
    rows_under,
    unpack,
    unreadable,
)


class ChangeOutline(NamedTuple):
    """A change without what the path holds since: see `Change`."""

    path: str
    change: int
    """The number of a `ChangeKind`."""
    archived_as: str | None = None


class Outline(NamedTuple):
    """A version without what it holds: see `Version`."""

    id: VersionId
    parents: tuple[VersionId, ...]
    time_ms: int
    device: str
    meta: Meta
    changes: tuple[ChangeOutline, ...]


def outline_of(version: Version) -> Outline:
    """The outline of a version that was read whole."""
    changes = tuple([_outlined(change) for change in version.changes])
    return Outline(version.id, version.parents, version.time_ms, version.device, version.meta, changes)


def _outlined(change: Change) -> ChangeOutline:
    return ChangeOutline(change.path, change.change, change.archived_as)


def outline_known(encoded: bytes, id: VersionId, under: str = "") -> Outline:
    """As `version_format.decode_known`."""
    if len(encoded) >= LARGE:
        return outline_of(decode_known(encoded, id, under))
    try:
        parents, _, time_ms, device, _, meta, rows, _ = unpack(encoded)
        if under:
            rows = rows_under(rows, under)
        changes = tuple(
            [
                # Two members and six: no archive reference, as nearly always (docs/format.md, "Versions").
                ChangeOutline(row[1], row[0], None if len(row) in (2, 6) else _archived(row, time_ms))
                for row in rows
            ]
        )
        return Outline(id, tuple(map(VersionId, parents)), time_ms, device, meta_of(meta), changes)
    except (ValueError, TypeError, KeyError, AttributeError, IndexError) as error:
        raise unreadable(id, error) from error


def _archived(row: tuple[Any, ...], time_ms: int) -> str | None:
    length = len(row)
    if length == 3:
        return archived_name(row[1], row[2], time_ms)
    return archived_name(row[1], row[6], time_ms) if length > 6 else None
