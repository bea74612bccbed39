"""What a forget finds in `Data/` that no version has yet: which of it is meant as well, and which stays."""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

from memstore.actions import select
from memstore.actions.pending import Pending, pending
from memstore.actions.refused import Refusals, deleting
from memstore.actions.select import At
from memstore.ids import ContentId
from memstore.manifest import references
from memstore.manifest.removed import forgotten
from memstore.reports import Forgotten
from memstore.worktree.names import shown

if TYPE_CHECKING:
    from memstore.repository import Repository

EMPTY: Final = ContentId.of(b"")


class Unsaved(NamedTuple):
    """Files of `Data/` below the targets, whose content no version has yet at their paths."""

    going: tuple[Pending, ...]
    """At paths that some version had: all that a path ever held is meant, so that is meant as well."""
    staying: tuple[Pending, ...]
    """At paths that no version ever had. Nobody could bring them back, and nobody named them: they stay."""

    @property
    def left(self) -> tuple[str, ...]:
        return tuple(row.path for row in self.staying)

    def holding(self, repository: Repository, ids: Collection[ContentId]) -> list[str]:
        """A warning for each that stays and has one of these contents."""
        return [
            f"{shown(row.path)} was never committed, and holds what is forgotten: delete it yourself, "
            f"'{deleting(repository, row.path)}'"
            for row in self.staying
            if row.new is not None and row.new.content in ids
        ]


def unsaved(repository: Repository, targets: Sequence[str], at: At | None) -> Unsaved:
    """With `at`, only what was held then is meant. Nothing is written."""
    named = [target.rstrip("/") for target in targets] if at is None else []
    named = [path for path in named if _names_files(repository, path)]
    if not named:
        return Unsaved((), ())
    told = forgotten(repository.catalogue, repository.reader)
    refusals = Refusals(repository)
    going: list[Pending] = []
    staying: list[Pending] = []
    for row in pending(repository, named):
        new = row.new
        if new is None:
            continue
        if not _was_known(repository, row.path):
            staying.append(row)
        elif new.content not in told and new.content != EMPTY:  # the first goes in any case
            refused = refusals.reason(row.path, new.kind, new.content, new.size)
            (going if refused is None else staying).append(row)
    return Unsaved(tuple(going), tuple(staying))


def _names_files(repository: Repository, path: str) -> bool:
    """Whether a target means files, and not an archive reference or a content's id, and there are such in HEAD or in
    `Data/`."""
    if references.find(repository.catalogue, path) or (path and not select.known(repository, path)):
        return False
    if next(iter(repository.catalogue.tree(path)), None) is not None:
        return True
    return os.path.lexists(os.path.join(repository.workspace.data, path))


def _was_known(repository: Repository, path: str) -> bool:
    """Whether some version had a file at that very path."""
    found = repository.catalogue.db.execute("SELECT 1 FROM paths WHERE name = ?", (path,)).fetchone()
    return found is not None


def joined(rows: Sequence[Forgotten], going: Sequence[Pending]) -> list[Forgotten]:
    """The contents with those that would be saved first, as they will be told of then."""
    known = {row.content: row for row in rows}
    for row in going:
        assert row.new is not None
        content = row.new.content
        before = known.get(content, Forgotten(content, row.new.size, (), 0))
        known[content] = before._replace(paths=tuple(sorted({*before.paths, row.path})))
    return [known[content] for content in sorted(known)]
