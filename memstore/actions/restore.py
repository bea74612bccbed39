"""restore: bring files of history back, as a new version.

What stands uncommitted at those paths is committed first; then the new version is recorded and `Data/` is
brought to it under a checkout record, so that a crash at any point is finished by the next command.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

from memstore import files
from memstore.actions import checkout, held_before, restorable, secrets, select, taken_up
from memstore.actions.checkout import Step
from memstore.actions.record import check_data_folder, log_archived, record
from memstore.actions.select import At, Chosen
from memstore.errors import BadInput, typed
from memstore.ids import ContentId, VersionId
from memstore.manifest.references import References
from memstore.manifest.version import Change, ChangeKind, Entry, Kind, Meta
from memstore.objects.record import PIECE_LIMIT
from memstore.progress import SILENT, Progress
from memstore.reports.saving import Restored, RestoreReport
from memstore.worktree import found as worktree
from memstore.worktree import materialise
from memstore.worktree.names import problem

if TYPE_CHECKING:
    from memstore.repository import Repository
    from memstore.writer import Writer


SAVED: Final = "saved before a restore"
"""The reason of the version that holds what stood uncommitted at paths that are brought back."""


def restore(
    repository: Repository,
    paths: Sequence[str],
    *,
    at: At | None = None,
    exact: bool = False,
    actor: str = "",
    progress: Progress = SILENT,
) -> RestoreReport:
    """Bring paths, folders ('' for all) or archive references back. Raises `BadInput` for what history has
    not; nothing is changed then."""
    with repository.writing() as writer:
        checkout.finish(repository, writer)
        finished = taken_up.taken_up(repository, taken_up.RESTORE)
        told: tuple[str, ...] = ()
        if finished is not None:
            told = (taken_up.no_warning(repository, finished),)
            at = _as_before(repository, finished, at)
        if at is not None:  # what is saved first moves HEAD
            at = select.version_id(repository, at)
        chosen = _choose(repository, paths, at)
        _refuse_contradiction(chosen)
        data = repository.workspace.data
        if not os.path.isdir(data):
            files.make_dir(data)  # bringing everything back is the mend for a folder that is gone
        elif not chosen or _any_here(repository):
            check_data_folder(repository)
        later = _later_files(repository, paths, chosen) if exact else []
        report = bring_back(
            repository,
            writer,
            chosen,
            later,
            meta=lambda changes: Meta(note=_note(repository, paths, at, chosen, changes), actor=actor),
            progress=progress,
        )
        notes = () if report.restored or report.warnings else _already(repository, paths, at)
        warnings = (*repository.warnings, *report.warnings)
        repository.warnings.clear()
        return report._replace(notes=(*told, *notes), warnings=warnings)


def _as_before(repository: Repository, finished: taken_up.Finished, at: At | None) -> At | None:
    """For a restore that is given again when it was cut off: HEAD and HEAD~1 as they were when it was given first."""
    head = finished.before
    if not isinstance(at, str) or head is None or not select.counts_from_head(at):
        return at
    version = repository.version(head)
    if version.reason == SAVED and version.parents:
        head = version.parents[0]
    return select.version_id(repository, at, head=head)


def bring_back(
    repository: Repository,
    writer: Writer,
    chosen: dict[str, Chosen],
    gone: Sequence[str],
    *,
    meta: Callable[[Sequence[Change]], Meta],
    progress: Progress = SILENT,
) -> RestoreReport:
    """Make paths hold what was chosen, and those `gone` nothing, as a new version (`meta`: of its changes); what
    stands uncommitted there is committed first. `restored` is empty where all was so already. What can't be read
    back, or not be written or saved where it is to lie, is taken out of `chosen` and `gone` and left as it is; raises
    `DamagedData`, `DiskTrouble` or `BadInput` where that is everything."""
    warnings = restorable.leave_out_nameless(chosen, gone)
    warnings += restorable.leave_out_damaged(repository, chosen, gone)
    removed = {*_in_the_way(repository, chosen), *gone}
    warnings += restorable.leave_out_unwritable(repository, chosen, removed)
    saved, left_out = _save_first(repository, writer, [*chosen, *sorted(removed)])
    if left_out:
        warnings += left_out
        warnings += restorable.leave_out_unsaved(repository, chosen, removed, left_out)
    steps = [Step(path, _head_entry(repository, path), chosen[path].entry) for path in sorted(chosen)]
    steps += [Step(path, _head_entry(repository, path), None) for path in sorted(removed)]
    done = [step for step in steps if restorable.differs_on_disk(repository, step)]
    changes = [change for step in steps if (change := _change(repository, step)) is not None]
    if not done and not changes:
        return RestoreReport(None, (), saved, (), tuple(warnings))
    version = _record(repository, writer, steps, changes, meta(changes))
    left = checkout.apply(repository, writer, done, progress)
    checkout.close(repository)
    warnings += [item.warning for item in left]
    wanted = {step.path for step in done} | {change.path for change in changes}
    wanted -= {item.path for item in left}
    return RestoreReport(
        version, _restored(chosen, sorted(removed), wanted, version), saved, (), tuple(warnings)
    )


def restore_to(
    repository: Repository, paths: Sequence[str], destination: str, *, at: At | None = None
) -> RestoreReport:
    """Write files of history to a place outside `Data/`; no version. One file goes to `destination` itself
    unless that is a folder; several go below it. Raises `BadInput` for what is there already and differs."""
    chosen = _choose(repository, paths, at)
    warnings = restorable.leave_out_nameless(chosen)
    warnings += restorable.leave_out_removed(repository, chosen)
    destination = os.path.abspath(destination)
    data = os.path.realpath(repository.workspace.data)
    for inside in (data, os.path.realpath(repository.state)):
        if (os.path.realpath(destination) + os.sep).startswith(inside + os.sep):
            raise BadInput(
                f"{destination} lies in {inside}",
                hint="leave out --to to restore into Data/, or name a place outside",
            )
    single = len(chosen) == 1 and len(paths) == 1 and not os.path.isdir(destination)
    places: dict[str, tuple[str, str]] = {}
    for path, item in chosen.items():
        alone = path == select_target(paths[0], item) if len(paths) == 1 else False
        if single and alone:
            places[path] = os.path.dirname(destination), os.path.basename(destination)
        elif alone:
            places[path] = destination, os.path.basename(path)
        else:
            places[path] = destination, path
    for path, (root, name) in places.items():
        place = os.path.join(root, name)
        if files.exists(place) and not _holds(place, chosen[path].entry):
            raise BadInput(f"{place} is there already", hint="name another place, or move that file away")
    for path, (root, name) in places.items():
        entry = chosen[path].entry
        files.make_dir(root)
        materialise.write_file(root, name, entry.kind, repository.stream(entry.content), entry.modified_ms)
    return RestoreReport(None, _restored(chosen, [], set(chosen), None), None, (), tuple(warnings))


def select_target(path: str, item: Chosen) -> str:
    """Where a path that names one file leads: an archive reference to where it came from."""
    return item.path if path.startswith("Archive/") and path != item.path else path.rstrip("/")


def change_kind(repository: Repository, old: Entry | None, new: Entry) -> ChangeKind:
    """How a path differs that held `old` and will hold `new`."""
    if old is None:
        return ChangeKind.ADD
    if old.kind != new.kind or Kind.SYMLINK in (old.kind, new.kind) or old.size > new.size:
        return ChangeKind.REPLACE
    if new.size > PIECE_LIMIT:
        return ChangeKind.REPLACE
    whole = memoryview(repository.read(new.content))
    return ChangeKind.APPEND if ContentId.of(whole[: old.size]) == old.content else ChangeKind.REPLACE


# -- choosing ----------------------------------------------------------------------------------------------


def _choose(repository: Repository, paths: Sequence[str], at: At | None) -> dict[str, Chosen]:
    chosen: dict[str, Chosen] = {}
    for path in paths:
        for item in select.files_at(repository, path, at):
            chosen[item.path] = item
    return chosen


def _refuse_contradiction(chosen: dict[str, Chosen]) -> None:
    """Two versions may hold `a` and `a/b`, one folder can't."""
    for path in chosen:
        for folder in restorable.above(path):
            if folder in chosen:
                raise BadInput(
                    f"{folder} was a file and {path} lay in a folder of that name: both can't be brought back",
                    hint="restore one of them, or give --to a place for the other",
                )


def _in_the_way(repository: Repository, chosen: dict[str, Chosen]) -> set[str]:
    """What HEAD or `Data/` has as a file where a folder must be, and below a folder where a file must be. It
    is archived like anything that is replaced."""
    from memstore.worktree.ignore import Ignore
    from memstore.worktree.scan import scan

    data = repository.workspace.data
    found: set[str] = set()
    for folder in {folder for path in chosen for folder in restorable.above(path)}:
        if repository.catalogue.tree_entry(folder) is not None or worktree.look(data, folder) is not None:
            found.add(folder)
    below = [path for path in chosen if os.path.isdir(os.path.join(data, path))]
    for path in chosen:
        found |= {row[0] for row in repository.catalogue.tree(path)}
    if below:
        found |= {item.path for item in scan(data, Ignore.load(data), below).files}
    return found - set(chosen)


def _any_here(repository: Repository) -> bool:
    """Whether `Data/` holds anything at all: an empty one may be filled, whatever folder it is."""
    return bool(files.names(repository.workspace.data))


def _later_files(repository: Repository, paths: Sequence[str], chosen: dict[str, Chosen]) -> list[str]:
    """For `--exact`: what HEAD or `Data/` has under the folders and the chosen version has not."""
    from memstore.worktree.ignore import Ignore
    from memstore.worktree.scan import scan

    folders = [
        path.rstrip("/")
        for path in paths
        if path.rstrip("/") not in chosen and select.one_reference(repository, path) is None
    ]
    data = repository.workspace.data
    later: set[str] = set()
    for folder in folders:
        later |= {row[0] for row in repository.catalogue.tree(folder)}
        later |= {item.path for item in scan(data, Ignore.load(data), [folder]).files}
    return sorted(later - set(chosen))


def _head_entry(repository: Repository, path: str) -> Entry | None:
    row = repository.catalogue.tree_entry(path)
    return None if row is None else Entry(path, Kind(row[0]), row[1], ContentId(row[2]), row[3])


# -- recording ---------------------------------------------------------------------------------------------


def _save_first(
    repository: Repository, writer: Writer, paths: Sequence[str]
) -> tuple[VersionId | None, list[str]]:
    """Commit what stands at these paths and is not in HEAD."""
    data = repository.workspace.data
    here = [
        path
        for path in paths
        if problem(path) is None
        and os.path.lexists(os.path.join(data, path))
        and materialise.is_real_path(data, path.rpartition("/")[0])
    ]
    if not here:
        return None, []
    try:
        report = record(repository, writer, here, meta=Meta(reason=SAVED))
    except BadInput as error:
        if error.code != secrets.REFUSED:
            raise
        raise BadInput(
            error.message,
            hint="what lies there is committed before it is replaced: move that file out of Data/, where nothing is "
            "lost of it, and run the command again; if it is no credential: MEMSYNC_COMMIT_SECRETS=warn memsync "
            "restore …",
            code=error.code,
        ) from error
    log_archived(repository, report.version)
    return (report.version.id if report.version else None), list(report.warnings)


def _change(repository: Repository, step: Step) -> Change | None:
    if step.new is None:
        return None if step.old is None else Change(step.path, ChangeKind.DELETE, None)
    if step.old is not None and (step.old.content, step.old.kind) == (step.new.content, step.new.kind):
        return None
    return Change(step.path, change_kind(repository, step.old, step.new), step.new)


def _record(
    repository: Repository, writer: Writer, steps: list[Step], changes: list[Change], meta: Meta
) -> VersionId | None:
    """Write the checkout record, then the version if HEAD differs."""
    if not changes:
        checkout.begin(repository, None, steps)
        return None
    time_ms = writer.time_of_next()
    if repository.workspace.config.archive_automatic:
        references = References(repository.catalogue, time_ms)
        changes = [references.given_to(change) for change in changes]
    version = writer.add_version(
        changes, meta=meta, time_ms=time_ms, announce=lambda id: checkout.begin(repository, id, steps)
    )
    log_archived(repository, version)
    return version.id


def _note(
    repository: Repository,
    paths: Sequence[str],
    at: At | None,
    chosen: dict[str, Chosen],
    changes: Sequence[Change],
) -> str:
    """What was asked for, as far as it changed anything, and which version it came from: the changes themselves
    stand below it in the log."""
    changed = [change.path for change in changes]
    names = []
    for path in paths:
        reference = select.one_reference(repository, path)
        name = path.rstrip("/") if reference is None else reference.path
        if not name or any(file == name or file.startswith(name + "/") for file in changed):
            names.append(name or ".")
    names = list(dict.fromkeys(names))
    sources = {chosen[path].source for path in changed if path in chosen}
    if not sources and at is not None:
        sources = {select.version_id(repository, at)}
    origin = f" from version {str(next(iter(sources)))[:12]}" if len(sources) == 1 else ""
    return f"{taken_up.RESTORE} {', '.join(names[:3])}{' …' if len(names) > 3 else ''}{origin}"


def _already(repository: Repository, paths: Sequence[str], at: At | None) -> tuple[str, ...]:
    """That there was nothing to do, and what may have been meant: what was there before that."""
    what = ", ".join(path or "." for path in paths)
    asks = typed(paths[0]) if len(paths) == 1 else "PATH"
    version = select.head_or_refuse(repository) if at is None else select.version_id(repository, at)
    asked = [path.rstrip("/") for path in paths if select.one_reference(repository, path) is None]
    earlier = [told for path in asked[:3] if (told := held_before.told(repository, path, version))]
    if at is not None:
        return (f"Data/ has that version of {what} already", *earlier)
    return (
        f"Data/ has the last version of {what} already; 'memsync log {asks}' shows earlier ones to restore with --at",
        *earlier,
    )


def _restored(
    chosen: dict[str, Chosen], removed: Sequence[str], wanted: set[str], version: VersionId | None
) -> tuple[Restored, ...]:
    rows = [
        Restored(path, item.entry.content, str(item.source))
        for path, item in sorted(chosen.items())
        if path in wanted
    ]
    rows += [Restored(path, None, str(version or "")) for path in removed if path in wanted]
    return tuple(rows)


def _holds(place: str, entry: Entry) -> bool:
    try:
        return os.path.isfile(place) and ContentId.of(files.read(place)) == entry.content
    except OSError:
        return False
