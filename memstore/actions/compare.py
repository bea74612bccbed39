"""Comparing `Data/` with HEAD: what is new, what may differ, what is gone. Nothing is read but names and stats."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence, Set
from typing import TYPE_CHECKING, Final

from memstore import files
from memstore.actions.candidate import Candidate, Old
from memstore.actions.stillness import Stillness
from memstore.errors import BadInput
from memstore.ids import ContentId
from memstore.manifest.version import Change, ChangeKind, Kind
from memstore.worktree import found as worktree
from memstore.worktree import still
from memstore.worktree.ignore import Ignore
from memstore.worktree.names import problem
from memstore.worktree.scan import Scan
from memstore.worktree.still import Still

if TYPE_CHECKING:
    from memstore.repository import Repository
    from memstore.worktree.found import Found

MANY: Final = 2000
"""Files in HEAD from which on folders are remembered that are still: a table of a fifth of their rows' size."""
VERY_MANY: Final = 30_000
"""Files from which on another process is worth its start: it has looked at so many in the time of that."""

TreeRow = tuple[str, int, int, bytes, int, int | None, int | None, int | None, int | None]


class Comparison:
    """What a scan says of HEAD's manifest."""

    def __init__(
        self, repository: Repository, scanned: Scan, ignore: Ignore, paths: Sequence[str] | None
    ) -> None:
        self.behind = _behind(repository)
        """Paths that are left alone: what HEAD has there could not be written, which is nobody's deletion."""
        self.candidates: Iterator[Candidate] = self._compared()
        """Files that are new, or may differ: to be read. In path order; they come while the scan goes on."""
        self.gone: list[Change] = []
        """Deletes, without their archive references yet. Complete when `candidates` is exhausted."""
        self.still: dict[str, Still] = {}
        """Folders whose files all have HEAD's content, and that were not known for it."""
        self.not_still: list[str] = []
        """Folders that are no longer as they were known to be. Both complete with `candidates`."""
        self._repository = repository
        self._scanned = scanned
        self._ignore = ignore
        self._paths = paths

    def _compared(self) -> Iterator[Candidate]:
        missing: list[str] = []
        if self._paths is None:
            by_folder = still.POSSIBLE and self._repository.catalogue.tree_holds(MANY)
            found = self._by_folder(missing) if by_folder else self._merged(missing)
            yield from self._not_behind(found) if self.behind else found
            self._note_gone(missing)
            return
        candidates = list(self._not_behind(self._merged(missing)))
        self._note_gone(missing + self._now_folders(candidates, missing))
        self._all_known(self._paths, candidates)
        yield from candidates

    def _not_behind(self, candidates: Iterable[Candidate]) -> Iterator[Candidate]:
        return (candidate for candidate in candidates if candidate.found.path not in self.behind)

    # -- folder by folder ----------------------------------------------------------------------------------

    def _by_folder(self, missing: list[str]) -> Iterator[Candidate]:
        """As `_merged`, but what lies in a folder that is still is not looked at one by one."""
        catalogue, data = self._repository.catalogue, self._repository.workspace.data
        known = catalogue.still(self._ignore.fingerprint)
        waiting = [""]
        with Stillness(data, known, helped=catalogue.tree_holds(VERY_MANY)) as stillness:
            while waiting:
                prefix = waiting.pop()
                inside = stillness.folders_in(prefix)
                if inside is None:
                    folders: list[str] = []
                    yield from self._in_folder(prefix, folders, missing)
                    inside = folders
                waiting += reversed(inside)
        self.not_still += stillness.changed

    def _in_folder(self, prefix: str, folders: list[str], missing: list[str]) -> Iterator[Candidate]:
        """One folder's own files against HEAD's; its folders go into `folders`."""
        scanned, data = self._scanned, self._repository.workspace.data
        noted, said = len(missing), len(scanned.warnings) + len(scanned.unseen)
        before = still.look(data, prefix, ())
        items: list[Found] = []
        for item in scanned.folder(prefix):
            if isinstance(item, str):
                folders.append(item)
            else:
                items.append(item)
        differ = list(self._against(items, self._rows_in(prefix, folders), missing))
        yield from differ
        if differ or len(missing) > noted or len(scanned.warnings) + len(scanned.unseen) > said:
            return
        if before is not None:
            found = still.found(data, prefix, before[0], items, folders)
            if found is not None:
                self.still[prefix] = found

    def _rows_in(self, prefix: str, folders: Sequence[str]) -> Iterator[TreeRow]:
        """HEAD's rows below a folder, but for what lies in these folders of it."""
        lower = prefix
        for folder in folders:
            yield from self._repository.catalogue.tree_rows(lower, folder)
            lower = _beyond(folder)
        yield from self._repository.catalogue.tree_rows(lower, _beyond(prefix) if prefix else None)

    # -- row by row ----------------------------------------------------------------------------------------

    def _merged(self, missing: list[str]) -> Iterator[Candidate]:
        """Merge the scan with the table of HEAD's manifest."""
        yield from self._against(self._scanned.files, self._tree_rows(), missing)

    def _against(
        self, items: Iterable[Found], rows: Iterator[TreeRow], missing: list[str]
    ) -> Iterator[Candidate]:
        """Files found and HEAD's rows, row by row, both in path order."""
        row = next(rows, None)
        for item in items:
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
        if path in self.behind or problem(path) is not None:  # no file here ever had that name
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


def _behind(repository: Repository) -> Set[str]:
    if not repository.is_behind():
        return frozenset()
    from memstore.actions import behind  # seldom needed, and a commit must start fast

    return behind.standing(repository).keys()


def _beyond(folder: str) -> str:
    """The first path, in the order of their bytes, that comes after all in a folder given as `a/b/`: '0' follows
    '/' in UTF-8."""
    return folder[:-1] + "0"
