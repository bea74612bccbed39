"""Paths at which `Data/` stays behind HEAD, because what HEAD has could not be written there.

A pull may bring a name that this disk can't hold, or a folder may be locked. HEAD has the file all the same, and
its absence is nobody's deletion: a commit must leave that path alone, or it would take the file from every device.
So these paths are noted in `.memsync/behind`, each with what `Data/` holds there instead. Every command that takes
the store's lock tries them again. A path that holds something else by then is somebody's work, which the next commit
takes; it tells them what that replaces.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Final

from memstore import files
from memstore.actions.here import content_at, same
from memstore.actions.sealed import UNREADABLE, opened, packed, sealed, unpacked
from memstore.errors import DamagedData, DiskTrouble, MemsyncError
from memstore.manifest.version import Entry
from memstore.merging.names import above
from memstore.worktree.found import look
from memstore.worktree.ignore import Ignore
from memstore.worktree.names import brief, problem
from memstore.worktree.scan import scan

if TYPE_CHECKING:
    from memstore.repository import Repository

FORMAT: Final = 1
WRITTEN_TO: Final = "written_to"
"""The code of an error for a path that holds somebody's work by now: the next commit takes it."""


def load(repository: Repository) -> dict[str, Entry | None]:
    """Of each such path what `Data/` held there. Raises `DamagedData` for a record that can't be read."""
    try:
        data = files.read(repository.behind_record)
    except FileNotFoundError:
        return {}
    try:
        rows = opened(data)["paths"].items()
        found = {path: unpacked(path, row) for path, row in rows}
        # What is no path is kept like any other: a version may name one, and here it leads nowhere.
        if not all(isinstance(path, str) for path in found):
            raise TypeError("it is not what memsync writes")
    except (*UNREADABLE, AttributeError) as error:
        raise DamagedData(
            f"the record of unwritten files {repository.behind_record} cannot be read: {error}",
            hint="'memsync repair' puts it aside; then 'memsync status' shows which files are not in Data/, and "
            "'memsync restore' writes them",
        ) from error
    return found


def note(
    repository: Repository, fallen_behind: Mapping[str, Entry | None], level: Iterable[str] = ()
) -> None:
    """Add paths, each with what `Data/` holds there, and take out those that are level with HEAD again. Durable when
    this returns. For the holder of the lock."""
    known = load(repository)
    now = {**known, **fallen_behind}
    for path in level:
        now.pop(path, None)
    if now == known:
        return
    if now:
        rows = {path: packed(entry) for path, entry in sorted(now.items())}
        files.write_atomic(repository.behind_record, sealed({"format": FORMAT, "paths": rows}))
    else:
        files.remove(repository.behind_record)
        files.sync_dir(repository.state)


def told(path: str, error: MemsyncError) -> str:
    """What a person should know of such a path."""
    said = f"{brief(path)} is left as it was: {error.message}; {error.hint}"
    if error.code == WRITTEN_TO:
        return said
    return f"{said}; later commands try it again, and until then 'memsync commit' leaves that path alone"


def standing(repository: Repository) -> dict[str, Entry | None]:
    """Those that are still behind, each with what `Data/` held: that lies there still, or nothing does, or it can't
    be looked at."""
    head = repository.head()
    return {
        path: old
        for path, old in load(repository).items()
        if _is_behind(repository, path, old, None if head is None else repository.entry(path, head))
    }


def _is_behind(repository: Repository, path: str, old: Entry | None, wanted: Entry | None) -> bool:
    if problem(path) is not None:
        return wanted is not None  # no file of this system can have that name
    try:
        here = content_at(repository, path)
        if same(here, wanted):
            return False
        return not _others_are_there(repository, path) if here is None else same(here, old)
    except DiskTrouble:
        return True


def _others_are_there(repository: Repository, path: str) -> bool:
    """Whether files lie in a folder of that name, or one where a folder above it would be: no version holds both."""
    data = repository.workspace.data
    ignore = Ignore.load(data)
    for folder in above(path):
        if look(data, folder) is not None and not ignore.covers(folder):
            return True
    return next(iter(scan(data, ignore, [path]).files), None) is not None
