"""Writing into `Data/` so that it can be finished after a crash (invariant 5).

Before anything in `Data/` is touched, a durable *checkout record* says from which version to which, and what
each path held and will hold. Until it is closed, whatever command comes next finishes it first: a path that
still has its old content gets the new one; any other content is somebody's work and is committed before.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from memstore import files
from memstore.actions import behind
from memstore.actions.here import content_at, same
from memstore.actions.record import log_archived, record
from memstore.actions.sealed import UNREADABLE, opened, packed, sealed, unpacked
from memstore.errors import BadInput, Conflict, DamagedData, DiskTrouble, typed
from memstore.ids import ContentId, VersionId
from memstore.manifest.references import References
from memstore.manifest.version import Change, ChangeKind, Entry, Kind, Meta
from memstore.merging.names import above
from memstore.progress import SILENT, Progress
from memstore.worktree import found, materialise
from memstore.worktree.found import StatKey
from memstore.worktree.names import problem, shown

if TYPE_CHECKING:
    from memstore.repository import Repository
    from memstore.writer import Writer


class Step(NamedTuple):
    """What one path held when the checkout began, and what it is to hold; None: nothing."""

    path: str
    old: Entry | None
    new: Entry | None


class Left(NamedTuple):
    """A path that could not be brought to what it is to hold; '' for a folder that could not be synced."""

    path: str
    warning: str


def begin(repository: Repository, target: VersionId | None, steps: Sequence[Step]) -> None:
    """Write the record; durable when this returns. `target` is the version that must exist for the checkout
    to count, None if it exists already."""
    document = {
        "format": 1,
        "from": _bytes(repository.head()),
        "to": _bytes(target),
        "steps": [[step.path, packed(step.old), packed(step.new)] for step in _from_here(repository, steps)],
    }
    files.write_atomic(repository.checkout_record, sealed(document))


def close(repository: Repository) -> None:
    """The checkout is whole: the record goes."""
    files.remove(repository.checkout_record)
    files.sync_dir(repository.state)


def apply(
    repository: Repository, writer: Writer, steps: Sequence[Step], progress: Progress = SILENT
) -> list[Left]:
    """Bring `Data/` from each step's old content to its new one; what could not be, and why. These paths are noted
    as `behind`, durable when this returns.

    The record must be open; the caller closes it. What a path holds that is neither is left alone here: see
    `settle`, which commits it first.
    """
    left: dict[Step, str] = {}
    stats: list[tuple[str, StatKey | None]] = []
    clock = files.clock_of(repository.state)
    data = repository.workspace.data
    # Done, and not durable yet: what was removed, and what lay there already, whoever put it there.
    removed: list[Step] = []
    there: list[Step] = []
    steps = _from_here(repository, steps)
    progress.begin("restoring", len(steps), "files")
    try:
        for step in sorted(steps, key=lambda step: step.new is not None):  # a file may be in a folder's way
            try:
                key, durable = _take(repository, data, step)
                if not durable:
                    (there if step.new else removed).append(step)
                if step.new is not None:
                    safe = key is not None and not found.racy(key, clock)
                    stats.append((step.path, key if safe else None))
            except (BadInput, Conflict, DiskTrouble, DamagedData) as error:
                # A record that stays open would have every later command meet the same trouble again.
                left[step] = behind.told(step.path, error)
            progress.advance(1)
    finally:
        progress.end()
    told = [Left(step.path, warning) for step, warning in left.items()]
    try:
        _sync_folders(data, {_nearest(data, step.path) for step in removed}.union(*_all_above(there)))
    except DiskTrouble as error:
        told.append(Left("", f"{error.message}; {error.hint}"))
        left |= dict.fromkeys((*removed, *there), "")
    level = [step.path for step in steps if step not in left]
    behind.note(repository, {step.path: step.old for step in left}, level)
    writer.remember(stats)
    writer.finish()
    return told


def _from_here(repository: Repository, steps: Sequence[Step]) -> list[Step]:
    """The steps from what `Data/` holds where it is behind, and not from what HEAD has there."""
    known = behind.load(repository)
    return [step._replace(old=known[step.path]) if step.path in known else step for step in steps]


def _nearest(data: str, path: str) -> str:
    """The folder of a file that was removed, or what is left above it: others went with their last file."""
    return next((folder for folder in above(path) if materialise.is_real_path(data, folder)), "")


def _all_above(steps: Iterable[Step]) -> Iterator[tuple[str, ...]]:
    return ((*above(step.path), "") for step in steps)


def _sync_folders(data: str, folders: Iterable[str]) -> None:
    """The names in these folders of `Data/` ('' is itself) survive a power cut. Raises `DiskTrouble`."""
    for folder in sorted(folders):
        if not folder:
            files.sync_dir(data)
        elif materialise.is_real_path(data, folder):
            files.sync_dir(os.path.join(data, folder))


def finish(repository: Repository, writer: Writer) -> list[str]:
    """Finish a checkout that a crash left open, if there is one, the crash of whoever held the lock before us
    included, and write what could not be written before. What a person should know about it goes to the
    repository's warnings. Returns why what still can't be written can't."""
    try:
        before, target, steps = load(repository)
    except FileNotFoundError:
        return _catch_up(repository, writer)
    unmoved = target != before and repository.head() == before
    if target is not None and (unmoved or repository.catalogue.seq(target) is None):
        # HEAD never moved to the version it was for, and Data/ is only written after: nothing happened.
        close(repository)
        return []
    if not os.path.isdir(repository.workspace.data):
        return []  # such as a disk that is not mounted: it is finished when that is back
    folders = {step.path.rpartition("/")[0] for step in steps if problem(step.path) is None}
    materialise.sweep_temporaries(repository.workspace.data, folders)
    planned = steps
    steps, notes = settle(
        repository, writer, steps, reason="found when an interrupted restore or pull was finished"
    )
    notes += [left.warning for left in apply(repository, writer, steps)]
    close(repository)
    from memstore.actions.taken_up import Finished, verb_of

    to = None if target is None else VersionId(target)
    begun = None if before is None else VersionId(before)
    repository.finished = Finished(verb_of(repository, to), begun, to, repository.head(), planned)
    repository.warnings += [repository.finished.told, *notes]
    return []


def _catch_up(repository: Repository, writer: Writer) -> list[str]:
    """Try again what could not be written; why it still can't be. No checkout record is needed: a path that has
    HEAD's content is level with it, whoever finds it so."""
    if not repository.is_behind() or not os.path.isdir(repository.workspace.data):
        return []
    head = repository.head()
    waiting = behind.standing(repository)
    steps: list[Step] = []
    level: list[Step] = []
    for path in behind.load(repository):
        entry = None if head is None else repository.entry(path, head)
        if path in waiting:
            steps.append(Step(path, waiting[path], entry))
            continue
        level.append(Step(path, None, entry))
        with contextlib.suppress(DiskTrouble):
            if entry is not None and head is not None and not same(content_at(repository, path), entry):
                repository.warnings.append(_overtaken(path, head))
    with contextlib.suppress(DiskTrouble):  # else they are tried again
        held = [step for step in level if problem(step.path) is None]
        _sync_folders(repository.workspace.data, set().union(*_all_above(held)))
        behind.note(repository, {}, [step.path for step in level])
    return [left.warning for left in apply(repository, writer, steps)]


def _overtaken(path: str, head: VersionId) -> str:
    brought = typed(f"{str(head)[:12]}:{shown(path)}")
    return (
        f"{shown(path)} was changed here while what a pull or restore had brought could not be written: your change "
        f"becomes the newest version, and 'memsync cat {brought}' shows what it replaces; bring both together where "
        "both are wanted"
    )


def load(repository: Repository) -> tuple[bytes | None, bytes | None, list[Step]]:
    """(HEAD when it was begun, the version that must be HEAD for it to count, its steps) of the record. Raises
    `FileNotFoundError`, and `DamagedData` for one that can't be read."""
    data = files.read(repository.checkout_record)
    try:
        document = opened(data)
        before, target = document["from"], document["to"]
        steps = [
            Step(row[0], unpacked(row[0], row[1]), unpacked(row[0], row[2])) for row in document["steps"]
        ]
        if not all(isinstance(step.path, str) for step in steps) or not isinstance(target, bytes | None):
            raise TypeError("it is not what memsync writes")
    except UNREADABLE as error:
        raise DamagedData(
            f"the checkout record {repository.checkout_record} cannot be read: {error}",
            hint="'memsync repair' puts it aside; then 'memsync status' shows what an unfinished restore left in "
            "Data/",
        ) from error
    return before, target, steps


def settle(
    repository: Repository, writer: Writer, steps: Sequence[Step], *, reason: str
) -> tuple[list[Step], list[str]]:
    """Commit what paths hold that is neither a step's old nor its new content, before it is replaced.

    HEAD already has the new contents; so the stray ones are committed on top, and the new ones again after
    that: both are in history, and `Data/` ends as it was meant to. Returns the steps from what is there now,
    and what a person should know.
    """
    stray = []
    for step in steps:
        try:
            here = content_at(repository, step.path)
        except DiskTrouble:
            continue  # `apply` meets it again, and leaves it as it is
        if here is None or same(here, step.old) or same(here, step.new):
            continue
        stray.append(step)
    if not stray:
        return list(steps), []
    # Reading anew, whatever the stat cache says: HEAD has the new content, the disk has not.
    writer.remember([(step.path, None) for step in stray])
    report = record(repository, writer, [step.path for step in stray], meta=Meta(reason=reason))
    log_archived(repository, report.version)
    notes = list(report.warnings)
    changes = []
    standing: dict[str, Entry] = {}
    for step in stray:
        row = repository.catalogue.tree_entry(step.path)
        if row is None:
            continue  # it could not be read, and is left alone
        now = standing[step.path] = Entry(step.path, Kind(row[0]), row[1], ContentId(row[2]), row[3])
        if step.new is None:
            changes.append(Change(step.path, ChangeKind.DELETE, None))
        elif (now.content, now.kind) != (step.new.content, step.new.kind):
            changes.append(Change(step.path, ChangeKind.REPLACE, step.new))
        notes.append(
            f"{step.path} was written to meanwhile; 'memsync log {typed(step.path)}' shows that content"
        )
    if changes:
        add_with_references(repository, writer, changes, Meta(reason=reason))
    return [step._replace(old=standing.get(step.path, step.old)) for step in steps], notes


def add_with_references(
    repository: Repository, writer: Writer, changes: Sequence[Change], meta: Meta
) -> VersionId:
    """A version of these changes, each with its archive reference."""
    time_ms = writer.time_of_next()
    if repository.workspace.config.archive_automatic:
        references = References(repository.catalogue, time_ms)
        changes = [references.given_to(change) for change in changes]
    version = writer.add_version(changes, meta=meta, time_ms=time_ms)
    log_archived(repository, version)
    return version.id


class _Taken(NamedTuple):
    key: StatKey | None
    """Of what the path has now; None if that is nothing."""
    durable: bool


def _take(repository: Repository, data: str, step: Step) -> _Taken:
    """One step on the disk."""
    if step.new is None:
        if problem(step.path) is not None:
            return _Taken(None, durable=True)  # it never lay there
        if same(content_at(repository, step.path), step.old):
            materialise.remove_file(data, step.path)
        return _Taken(None, durable=False)
    here = content_at(repository, step.path)
    if here is not None and here.content == step.new.content:
        if here.kind == step.new.kind:
            return _Taken(here.key, durable=False)
        if Kind.SYMLINK not in (here.kind, step.new.kind):
            executable = step.new.kind == Kind.EXECUTABLE
            materialise.set_executable(data, step.path, executable)
            item = found.look(data, step.path)
            return _Taken(None if item is None else item.key, durable=False)
    if here is not None and not same(here, step.old):
        raise BadInput(
            f"{step.path} was written to while memsync was about to write it",
            hint="'memsync commit' records that, and says how to see what it replaces",
            code=behind.WRITTEN_TO,
        )
    pieces = repository.stream(step.new.content)
    key = materialise.write_file(data, step.path, step.new.kind, pieces, step.new.modified_ms, durable=True)
    return _Taken(key, durable=True)


def _bytes(id: VersionId | None) -> bytes | None:
    return None if id is None else bytes(id)
