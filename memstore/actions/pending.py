"""What a commit would record, found without writing anything: for `status` and `diff`."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from memstore.actions.candidate import Candidate
from memstore.actions.compare import Comparison
from memstore.actions.here import content_at
from memstore.actions.large import Prefix
from memstore.actions.record import check_data_folder
from memstore.errors import DiskTrouble
from memstore.ids import ContentId
from memstore.manifest.version import ChangeKind, Entry, Kind
from memstore.worktree import names, reading
from memstore.worktree.ignore import Ignore
from memstore.worktree.scan import scan

if TYPE_CHECKING:
    from memstore.repository import Repository


class Pending(NamedTuple):
    """A path whose content in `Data/` is not HEAD's."""

    path: str
    change: ChangeKind
    old: Entry | None
    new: Entry | None


def pending(
    repository: Repository, paths: Sequence[str] | None = None, warnings: list[str] | None = None
) -> Iterator[Pending]:
    """What differs from HEAD, in path order. `warnings` is filled with what could not be looked at."""
    check_data_folder(repository)
    data = repository.workspace.data
    ignore = Ignore.load(data)
    scanned = scan(data, ignore, paths)
    comparison = Comparison(repository, scanned, ignore, paths)
    candidates = list(comparison.candidates)
    notes = warnings if warnings is not None else []
    notes += scanned.warnings
    rows: dict[str, Pending] = {}
    for change in comparison.gone:
        row = repository.catalogue.tree_entry(change.path)
        if row is not None:
            old = Entry(change.path, Kind(row[0]), row[1], ContentId(row[2]), row[3])
            rows[change.path] = Pending(change.path, ChangeKind.DELETE, old, None)
    for candidate in candidates:
        try:
            found = _examine(repository, candidate)
        except FileNotFoundError:
            continue
        except DiskTrouble as error:
            notes.append(f"'{names.shown(candidate.found.path)}' could not be read: {error.message}")
            continue
        if found is not None:
            rows[found.path] = found
    for path in sorted(rows):
        yield rows[path]


def _examine(repository: Repository, candidate: Candidate) -> Pending | None:
    found, old = candidate
    kind = Kind(found.kind)
    prefix = Prefix(old)
    if kind == Kind.SYMLINK or old is None:
        here = content_at(repository, found.path)
        if here is None:
            return None
        content, size, appended = here.content, here.key.size, False
    else:
        from blake3 import blake3

        with reading.StableFile(os.path.join(repository.workspace.data, found.path)) as file:
            whole = blake3(max_threads=blake3.AUTO)
            for piece in file.pieces():
                whole.update(piece)
                prefix.update(piece)
            content, size, appended = ContentId(whole.digest()), file.size, prefix.holds()
    new = Entry(found.path, kind, size, content, found.modified_ms)
    if old is None:
        return Pending(found.path, ChangeKind.ADD, None, new)
    before = Entry(found.path, Kind(old.kind), old.size, old.content, old.modified_ms)
    if (before.content, before.kind) == (content, kind):
        return None
    same_kind = before.kind == kind
    change = ChangeKind.APPEND if appended and same_kind else ChangeKind.REPLACE
    return Pending(found.path, change, before, new)
