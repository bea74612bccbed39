"""Comparing `Data/` with HEAD: what is new, what may differ, what is gone. Nothing is read but names and stats."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from memstore import files
from memstore.actions.ingest import Candidate, Old
from memstore.errors import BadInput
from memstore.ids import ContentId
from memstore.manifest.version import Change, ChangeKind, Kind
from memstore.worktree import found as worktree
from memstore.worktree.ignore import Ignore
from memstore.worktree.scan import Scan

if TYPE_CHECKING:
    from memstore.repository import Repository

TreeRow = tuple[str, int, int, bytes, int, int | None, int | None, int | None, int | None]


class Comparison:
    """What a scan says of HEAD's manifest."""

    def __init__(
        self, repository: Repository, scanned: Scan, ignore: Ignore, paths: Sequence[str] | None
    ) -> None:
        self.candidates: Iterator[Candidate] = self._compared()
        """Files that are new, or may differ: to be read. In path order; they come while the scan goes on."""
        self.gone: list[Change] = []
        """Deletes, without their archive references yet. Complete when `candidates` is exhausted."""
        self._repository = repository
        self._scanned = scanned
        self._ignore = ignore
        self._paths = paths

    def _compared(self) -> Iterator[Candidate]:
        missing: list[str] = []
        if self._paths is None:
            yield from self._merged(missing)
            self._note_gone(missing)
            return
        candidates = list(self._merged(missing))
        self._note_gone(missing + self._now_folders(candidates, missing))
        self._all_known(self._paths, candidates)
        yield from candidates

    def _merged(self, missing: list[str]) -> Iterator[Candidate]:
        """Merge the scan with the table of HEAD's manifest, row by row, both in path order."""
        rows = self._tree_rows()
        row = next(rows, None)
        for item in self._scanned.files:
            path = item.path
            while row is not None and row[0] < path:
                missing.append(row[0])
                row = next(rows, None)
            if row is None or row[0] != path:
                yield Candidate(item, None)
                continue
            if row[1] == Kind.EXECUTABLE and not files.POSIX:
                item = item._replace(kind=row[1])  # noqa: PLW2901 - no mode bits there that could have changed
            # The stat cache: what lstat said when the file last had HEAD's content, where that is safe.
            if row[5:] != item[2:] or row[1] != item[1]:
                yield Candidate(item, Old(row[1], row[2], ContentId(row[3]), row[4]))
            row = next(rows, None)
        while row is not None:
            missing.append(row[0])
            row = next(rows, None)

    def _tree_rows(self) -> Iterator[TreeRow]:
        catalogue, paths = self._repository.catalogue, self._paths
        if paths is None or "" in paths:
            yield from catalogue.tree()
            return
        if len(paths) == 1:
            yield from catalogue.tree(paths[0])
            return
        rows = {row[0]: row for path in paths for row in catalogue.tree(path)}
        for path in sorted(rows):
            yield rows[path]

    def _note_gone(self, missing: Sequence[str]) -> None:
        self.gone += [Change(path, ChangeKind.DELETE, None) for path in missing if self._is_gone(path)]

    def _is_gone(self, path: str) -> bool:
        """Whether a path of HEAD that the scan did not show was deleted. It was not if it could not be looked at,
        or if it is ignored now and still there: then it stays as it is."""
        for hidden in self._scanned.unseen:
            if not hidden or path == hidden or path.startswith(hidden + "/"):
                return False
        data = self._repository.workspace.data
        return not (self._ignore.covers(path) and worktree.look(data, path) is not None)

    def _now_folders(self, candidates: Sequence[Candidate], missing: Sequence[str]) -> list[str]:
        """Files of HEAD that named paths show to be folders now: no version may hold `a` and `a/b`."""
        known = set(missing)
        found = []
        for candidate in candidates:
            path = candidate.found.path
            end = -1 if candidate.old is not None else path.rfind("/")
            while end > 0 and path[:end] not in known:
                known.add(path[:end])
                if self._repository.catalogue.tree_entry(path[:end]) is not None:
                    found.append(path[:end])
                end = path.rfind("/", 0, end)
        return found

    def _all_known(self, paths: Sequence[str], candidates: Sequence[Candidate]) -> None:
        """Each path that was asked for is there, or was in HEAD, or the scan has said what is wrong with it."""
        met = {candidate.found.path for candidate in candidates} | {change.path for change in self.gone}
        data = self._repository.workspace.data
        for path in paths:
            if path in met or path in self._scanned.unseen or files.exists(os.path.join(data, path)):
                continue
            if next(iter(self._repository.catalogue.tree(path)), None) is None:
                raise BadInput(
                    f"{path} is neither in Data/ nor in the last version",
                    hint="'memsync status' shows what changed; 'memsync ls' what the last version holds",
                )
