"""Under which name what lies in the mirror has left its path.

History is followed from HEAD back through the parents, as it happened: of two devices' versions, which the
catalogue numbers as they came, the one before is not always the one that was replaced.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple

from memstore.ids import ContentId
from memstore.manifest.history import entry_at
from memstore.manifest.records import change_at
from memstore.manifest.references import STAMP
from memstore.manifest.version import ChangeKind, archive_name
from memstore.merging.ancestry import parents
from memstore.merging.names import apart
from memstore.objects.catalogue import Catalogue
from memstore.worktree.names import LONGEST_NAME, problem

if TYPE_CHECKING:
    from memstore.repository import Repository

ARCHIVE: Final = "Archive/"
"""The folder of archive names, in the mirror as in a reference."""
_SECOND_MS: Final = 1000
_MARK: Final = r"~[0-9a-f]{8}"
_CUT: Final = LONGEST_NAME - 3
"""Bytes from which on a name may have been cut: as many as there are, less what is left of a letter of four."""


class Departure(NamedTuple):
    """How a content left its path."""

    name: str
    """The archive name it bears from then on; no other content has it, as far as history is known here."""
    content: ContentId
    """What the name stands for: the content that was asked for, or what became of it by appends."""


class _Left(NamedTuple):
    """A version after which a path has another content."""

    reference: str | None
    """None where there is none for it: archiving is off, or a merge had it from another parent than its first."""
    time_ms: int


class _Way(NamedTuple):
    """How far one walk back has come."""

    seq: int
    first: Departure | None
    """The earliest departure met on this way."""
    pending: _Left | None
    """How what the next version holds has left."""
    above: ContentId | None
    """What the path held last, on a way through another parent than the first: if it is the same, nothing left."""


def departure(repository: Repository, path: str, content: ContentId) -> Departure | None:
    """How that content left the path on the way to HEAD; None if only appends came after it.

    Where HEAD's history does not have it, it counts as if the newest change had replaced it, beside what did leave
    then.
    """
    catalogue = repository.catalogue
    head = repository.head()
    if head is None:
        return named(repository, path, 0, content)
    newest: int | None = None
    met: set[int] = set()
    ways = [_Way(repository.seq(head), None, None, None)]
    while ways:
        way = ways.pop()
        touched = catalogue.last_touch(way.seq, path)
        if touched is None or touched in met:
            continue
        met.add(touched)
        time_ms, change = change_at(catalogue, touched, path)
        newest = time_ms if newest is None else newest
        holds = None if change.entry is None else change.entry.content
        first = way.first
        if way.pending is not None and holds is not None and holds != way.above:
            first = _departure(repository, path, way.pending, holds)
        if holds == content:
            return first
        leaves = change.change not in (ChangeKind.ADD, ChangeKind.APPEND)
        below = [_Way(seq, first, _Left(None, time_ms), holds) for seq in parents(catalogue, touched)]
        if below:  # its change tells how it differs from the first parent
            below[0] = below[0]._replace(
                pending=_Left(change.archived_as, time_ms) if leaves else None, above=None
            )
        ways += reversed(below)
    return Departure(apart(archive_name(path, newest or 0), content), content)


def named(repository: Repository, path: str, time_ms: int, content: ContentId) -> Departure:
    """A name made as the reference would have been, for what left without one."""
    return _departure(repository, path, _Left(None, time_ms), content)


def has_left(path: str, now: str) -> bool:
    """Whether a file of that path bears a name in `Archive/` under which it left, whichever device gave it. Under
    another name it lies there because a person put it there."""
    if now == path or not now.startswith(ARCHIVE):
        return False
    name = now.rpartition("/")[2]
    stem, _, extension = archive_name(path, 0).rpartition("/")[2].rpartition("_1970-01-01T00-00-00Z")
    if re.fullmatch(f"{re.escape(stem)}{STAMP}({_MARK})*{re.escape(extension)}", name):
        return True
    kept, mark, _ = name.rpartition("~")
    if len(name.encode()) < _CUT or not mark:
        return False
    kept = re.sub(r"(~[0-9a-f]{0,8})+\Z", "", kept)  # an earlier mark, cut for this one
    return kept.startswith(f"{stem}_") or stem.startswith(kept)


def _departure(repository: Repository, path: str, left: _Left, content: ContentId) -> Departure:
    name = left.reference or archive_name(path, left.time_ms)
    if (
        problem(name, windows=False)
        is not None  # a reference may be longer than any file's name, or an enemy's
        or _is_a_file(repository.catalogue, name)
        or _has_rivals(repository.catalogue, path, name, left, content)
    ):
        name = apart(name, content)
    if problem(name, windows=False) is not None:
        name = apart(archive_name(path, left.time_ms), content)
    return Departure(name, content)


def _is_a_file(catalogue: Catalogue, name: str) -> bool:
    """Whether `Data/Archive/` has, or had in the mirror, a real file of that name."""
    return bool(
        catalogue.db.execute(
            "SELECT EXISTS (SELECT 1 FROM tree WHERE path = :name) OR "
            "EXISTS (SELECT 1 FROM mirror WHERE path = :name)",
            {"name": name},
        ).fetchone()[0]
    )


def _has_rivals(catalogue: Catalogue, path: str, name: str, left: _Left, content: ContentId) -> bool:
    """Whether other content may have that name. Two references have one name only where devices worked apart; a
    name that is made here is at most one of those of its second."""
    begin = left.time_ms - left.time_ms % _SECOND_MS
    rows = catalogue.db.execute(
        "SELECT seq, parent, archived FROM paths JOIN changes USING (path) JOIN versions USING (seq) "
        "WHERE name = ? AND time BETWEEN ? AND ?",
        (path, begin, begin + _SECOND_MS - 1),
    ).fetchall()
    if len(rows) < 2:
        return False
    if left.reference is None:
        return True
    for seq, parent, archived in rows:
        if archived and parent is not None and change_at(catalogue, seq, path)[1].archived_as == name:
            before = entry_at(catalogue, parent, path)
            if before is not None and before[2] != content:
                return True
    return False
