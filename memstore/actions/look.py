"""Looking: status, history, listings and differences. Nothing here writes."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

from memstore import files
from memstore.actions import pending as pending_changes
from memstore.actions import select
from memstore.actions.select import At
from memstore.actions.state_files import FINISH_FORGETTING, FORGETTING
from memstore.errors import BadInput
from memstore.ids import VersionId
from memstore.manifest import history, references
from memstore.manifest.version import ChangeKind, Entry, Kind, Version
from memstore.merging.names import is_side_file
from memstore.objects.reader import Removed
from memstore.reports import (
    FileDifference,
    ListedFile,
    PendingChange,
    RemoteStatus,
    StatusReport,
    counted,
)
from memstore.worktree import reading

if TYPE_CHECKING:
    from memstore.repository import Repository

SHOWN_TEXT: Final = 1 << 20
"""Bytes up to which a text is shown line by line."""


def status(
    repository: Repository, remote: RemoteStatus | None, unpushed: int, oldest_unpushed_ms: int | None
) -> StatusReport:
    """How `Data/` stands to HEAD; what is known of the remote is the caller's to say."""
    warnings: list[str] = list(repository.warnings)
    changes = tuple(
        PendingChange(row.path, row.change, row.new.size if row.new else None)
        for row in pending_changes.pending(repository, None, warnings)
    )
    if files.exists(os.path.join(repository.state, FORGETTING)):
        warnings.append(f"a 'memsync forget' is not finished; {FINISH_FORGETTING}")
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
    )


def _side_files(repository: Repository, changes: Sequence[PendingChange]) -> tuple[str, ...]:
    """What merges laid beside the other side and is there still: by their names, which nothing else has."""
    gone = {change.path for change in changes if change.change == ChangeKind.DELETE}
    rows = repository.catalogue.db.execute("SELECT path FROM tree WHERE path LIKE '% (from %' ORDER BY path")
    return tuple(path for (path,) in rows if is_side_file(path) and path not in gone)


def versions(
    repository: Repository,
    path: str | None = None,
    *,
    limit: int | None = None,
    tag: str | None = None,
    chat: str | None = None,
    since: str | None = None,
    until: str | None = None,
) -> Iterator[Version]:
    """Versions newest first; with `path`, those that changed it (or what lies below it), with these changes
    only. An archive reference stands for where it came from. Raises `BadInput` for a path no version ever had."""
    from memstore.times import parse_time

    if path:
        path = path.rstrip("/")
        if not select.known(repository, path):
            raise BadInput(f"{path} is in no version", hint="'memsync ls' shows what the last version holds")
        found = references.find(repository.catalogue, path)
        path = found[0].path if found else path
    now = time.time_ns() // 1_000_000
    where, values = "1", list[object]()
    if since is not None:
        where += " AND time >= ?"
        values.append(parse_time(since, now_ms=now, end=False))
    if until is not None:
        where += " AND time <= ?"
        values.append(parse_time(until, now_ms=now, end=True))
    given = 0
    with repository.catalogue.snapshot() as catalogue:
        for version in history.versions_of(catalogue, where, values, path=path, lost=True):
            if limit is not None and given >= limit:
                return
            if tag is not None and tag not in version.context_tags:
                continue
            if chat is not None and chat != version.chat_name:
                continue
            given += 1
            yield version


def listing(repository: Repository, path: str = "", at: At | None = None) -> Iterator[ListedFile]:
    """A version's files under a folder; the archive references instead or beside them, where `path` is
    `Archive` or below it. Raises `BadInput` for a path that is neither."""
    path = path.rstrip("/")
    rows: list[ListedFile] = []
    any_files = False
    if at is not None or repository.head() is not None:
        version = select.head_or_refuse(repository) if at is None else select.version_id(repository, at)
        for entry in repository.entries(version, path):
            any_files = True
            if (path + "/").startswith(references.FOLDER):
                rows.append(_listed(entry))
            else:
                yield _listed(entry)
    if (path + "/").startswith(references.FOLDER):
        rows += [_listed_reference(reference) for reference in references.under(repository.catalogue, path)]
        yield from sorted(rows, key=lambda row: row.path)
        if rows or path + "/" == references.FOLDER:
            return
    if path and not any_files:
        raise BadInput(
            f"{path} is not in that version", hint="'memsync ls' without a path shows everything it holds"
        )


def _listed(entry: Entry) -> ListedFile:
    return ListedFile(entry.path, entry.kind.name.lower(), entry.size, entry.content, entry.modified_ms)


def _listed_reference(reference: references.Reference) -> ListedFile:
    entry = reference.entry
    return ListedFile(
        reference.name,
        "archived",
        entry.size,
        entry.content,
        entry.modified_ms,
        reference.path,
        reference.version,
    )


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
    before = None if old is None else _text(repository, old)
    after = None
    if new is not None:
        after = _text_on_disk(repository, new) if on_disk else _text(repository, new)
    binary = (old is not None and before is None) or (new is not None and after is None)
    return FileDifference(
        path,
        change,
        None if old is None else old.size,
        None if new is None else new.size,
        None if binary else before,
        None if binary else after,
        binary,
    )


def _text(repository: Repository, entry: Entry) -> bytes | None:
    if entry.size > SHOWN_TEXT:
        return None
    try:
        return _if_text(repository.read(entry.content))
    except Removed:
        return None  # sizes are all that is left to compare


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


def read_stream(repository: Repository, path: str, at: At | None = None) -> Iterator[bytes]:
    """The content of one file (or archive reference) of a version, HEAD's by default, in checked pieces."""
    version = select.head_or_refuse(repository) if at is None else select.version_id(repository, at)
    entry = repository.entry(path, version)
    if entry is None:
        reference = select.one_reference(repository, path)
        if reference is not None:
            yield from repository.stream(reference.entry.content)
            return
        below = next(iter(repository.entries(version, path)), None)
        if below is not None:
            raise BadInput(f"{path or '.'} is a folder", hint=f"'memsync ls {path}' lists its files")
        raise BadInput(
            f"{path} is not in version {str(version)[:12]}",
            hint=f"'memsync log {path}' shows which versions have it",
        )
    select.require_known(repository, path, version, entry)
    yield from repository.stream(entry.content)


__all__ = ["changes_of", "differences", "listing", "read_stream", "status", "versions"]
