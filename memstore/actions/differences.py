"""How versions differ from one another, and from what lies in `Data/`. Nothing here writes."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

from memstore.actions import pending as pending_changes
from memstore.actions import select
from memstore.actions.select import At
from memstore.ids import VersionId
from memstore.manifest.version import ChangeKind, Entry, Kind, Version
from memstore.objects.reader import Removed
from memstore.reports.looking import FileDifference
from memstore.worktree import reading

if TYPE_CHECKING:
    from memstore.repository import Repository

SHOWN_TEXT: Final = 1 << 20
"""Bytes up to which a text is shown line by line."""


def differences(
    repository: Repository, a: At | None = None, b: At | None = None, paths: Sequence[str] = ()
) -> Iterator[FileDifference]:
    """From version `a` (HEAD by default) to version `b`, or without `b` to what lies in `Data/` now."""
    if b is None and (a is None or _is_head(repository, a)):
        for row in pending_changes.pending(repository, [path.rstrip("/") for path in paths] or None):
            yield _difference(repository, row.path, row.change, row.old, row.new, on_disk=True)
        return
    old = None if a is None else select.version_id(repository, a)
    new = select.head_or_refuse(repository) if b is None else select.version_id(repository, b)
    before = iter(()) if old is None else _entries(repository, old, paths)
    after = _entries(repository, new, paths)
    on_disk: dict[str, Entry | None] = {}
    if b is None:
        on_disk = {
            row.path: row.new for row in pending_changes.pending(repository) if _named(row.path, paths)
        }
        after = _as_on_disk(after, on_disk)
    for path, one, other in _side_by_side(before, after):
        if one is not None and other is not None and (one.content, one.kind) == (other.content, other.kind):
            continue
        kind = ChangeKind.ADD if one is None else ChangeKind.DELETE if other is None else ChangeKind.REPLACE
        yield _difference(repository, path, kind, one, other, on_disk=path in on_disk)


def changes_of(repository: Repository, version: Version) -> Iterator[FileDifference]:
    """What one version changed against its first parent."""
    parent = version.parents[0] if version.parents else None
    for change in version.changes:
        old = None if parent is None else repository.entry(change.path, parent)
        yield _difference(repository, change.path, change.change, old, change.entry, on_disk=False)


def _is_head(repository: Repository, at: At) -> bool:
    return select.version_id(repository, at) == repository.head()


def _named(path: str, paths: Sequence[str]) -> bool:
    """Whether a path is one of these or lies below one; there are none: it is."""
    names = [name.rstrip("/") for name in paths]
    return not names or any(not name or path == name or path.startswith(name + "/") for name in names)


def _entries(repository: Repository, version: VersionId, paths: Sequence[str]) -> Iterator[Entry]:
    """What a version holds of these paths, of all where there are none, in the order of the paths."""
    if len(paths) <= 1:
        return repository.entries(version, paths[0].rstrip("/") if paths else "")
    found = {entry.path: entry for path in paths for entry in repository.entries(version, path.rstrip("/"))}
    return iter([found[path] for path in sorted(found)])


def _as_on_disk(entries: Iterator[Entry], pending: dict[str, Entry | None]) -> Iterator[Entry]:
    """HEAD's entries with what is pending (None: gone) in their place, still in the order of the paths."""
    for _, head, now in _side_by_side(entries, (entry for _, entry in sorted(pending.items()) if entry)):
        if now is not None:
            yield now
        elif head is not None and head.path not in pending:
            yield head


def _side_by_side(
    before: Iterator[Entry], after: Iterator[Entry]
) -> Iterator[tuple[str, Entry | None, Entry | None]]:
    """(path, entry before, entry after) of all paths that one of the two has; both must be in the order of the
    paths. Nothing is gathered: they may be very many."""
    one, other = next(before, None), next(after, None)
    while one is not None or other is not None:
        path = min(entry.path for entry in (one, other) if entry is not None)
        old = one if one is not None and one.path == path else None
        new = other if other is not None and other.path == path else None
        yield path, old, new
        if old is not None:
            one = next(before, None)
        if new is not None:
            other = next(after, None)


def _difference(
    repository: Repository,
    path: str,
    change: ChangeKind,
    old: Entry | None,
    new: Entry | None,
    *,
    on_disk: bool,
) -> FileDifference:
    removed: list[str] = []
    before = None if old is None else _text(repository, old, removed)
    after = None
    if new is not None:
        after = _text_on_disk(repository, new) if on_disk else _text(repository, new, removed)
    binary = (old is not None and before is None) or (new is not None and after is None)
    if removed:  # whether it was text nobody knows any more
        return FileDifference(
            path,
            change,
            None if old is None else old.size,
            None if new is None else new.size,
            removed=tuple(removed),
        )
    return FileDifference(
        path,
        change,
        None if old is None else old.size,
        None if new is None else new.size,
        None if binary else before,
        None if binary else after,
        binary,
    )


def _text(repository: Repository, entry: Entry, removed: list[str]) -> bytes | None:
    """None for what can't be shown; of what was removed on purpose, `removed` says so."""
    if entry.size > SHOWN_TEXT:
        return None
    try:
        return _if_text(repository.read(entry.content))
    except Removed as error:
        removed.append(error.message)
        return None


def _text_on_disk(repository: Repository, entry: Entry) -> bytes | None:
    if entry.size > SHOWN_TEXT:
        return None
    place = os.path.join(repository.workspace.data, entry.path)
    read = reading.read_link if entry.kind == Kind.SYMLINK else reading.read_small
    try:
        return _if_text(read(place)[0])
    except FileNotFoundError:
        return b""


def _if_text(data: bytes) -> bytes | None:
    """Text is UTF-8 without NUL."""
    if b"\0" in data:
        return None
    try:
        data.decode()
    except UnicodeDecodeError:
        return None
    return data


__all__ = ["changes_of", "differences"]
