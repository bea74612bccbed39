"""pull: fetch what the remote has, and bring HEAD to what unites it with what is here.

A head that is simply ahead is checked out as it is; heads that were made apart are merged first. What is not
committed in `Data/` is committed before anything else, and `Data/` is written under a checkout record, so that a
pull that dies half-way is finished by the next command.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from memstore import reflog
from memstore.actions import checkout, collection, fetch, leftovers, remote_state, taken_up
from memstore.actions.checkout import Step
from memstore.actions.expunge import drop_from_head, expunge, left_data
from memstore.actions.merge import ON_CONFLICT, Joined, merge
from memstore.actions.record import log_archived, record
from memstore.actions.remote_state import RemoteState
from memstore.errors import BadInput, Conflict, DamagedData, RemoteMissing, UsageError, typed
from memstore.identity import StoreFormat
from memstore.ids import ContentId, VersionId
from memstore.manifest import history
from memstore.manifest.removed import any_forgotten, forgotten
from memstore.manifest.version import ChangeKind, Entry, Kind, Meta
from memstore.merging.names import is_side_file
from memstore.objects.catalogue import PlaceKind
from memstore.progress import SILENT, Progress
from memstore.reflog import Stand
from memstore.remotes.base import OpenRemote
from memstore.reports import PullConflict, PulledChange, PullReport

if TYPE_CHECKING:
    from memstore.repository import Repository
    from memstore.writer import Writer


SAVED: Final = "saved before a pull"
"""The reason of the version that holds what was not committed."""


def pull(
    repository: Repository,
    state: RemoteState,
    remote: OpenRemote,
    *,
    on_conflict: str = "keep-both",
    progress: Progress = SILENT,
) -> PullReport:
    """Bring HEAD to the remote's newest version, merging where both sides have versions that the other lacks.

    `on_conflict` is what to do where the sides exclude one another: `keep-both`, `ours`, `theirs` or `fail`. Raises
    `Conflict` for `fail`, `RemoteMissing` where nothing was pushed yet.
    """
    if on_conflict not in ON_CONFLICT:
        raise UsageError(
            f"no way to settle a conflict: {on_conflict!r}", hint="give one of " + ", ".join(ON_CONFLICT)
        )
    repository.refresh()
    damaged: list[str] = []
    heads = _fetch(repository, state, remote, damaged, progress)
    with repository.writing() as writer:
        trouble = fetch.set_aside(remote, damaged) + checkout.finish(repository, writer)
        trouble += _without_forgotten(repository, writer)
        ours = repository.head()
        heads = [*heads, *_apart_here(repository, heads)]
        if all(_contains(repository, ours, head) for head in heads):
            report = _of_finished(repository, ours)
        else:
            meta = Meta(reason=SAVED)
            report = unite(repository, writer, heads, meta, on_conflict=on_conflict, progress=progress)
        version, warnings = drop_from_head(repository, writer)
        if version is not None:
            status = "success" if report.status == "nothing" else report.status
            gone = tuple(PulledChange(change.path, change.change) for change in version.changes)
            report = report._replace(
                status=status,
                version=version.id,
                notes=(*report.notes, *left_data(version)),
                changes=(*report.changes, *gone),
            )
        return report._replace(warnings=(*report.warnings, *trouble, *warnings))


def _of_finished(repository: Repository, ours: VersionId | None) -> PullReport:
    """What a pull answers that has nothing to bring: what an earlier one had brought, if that was cut off while
    `Data/` was written, and is finished now."""
    finished = taken_up.taken_up(repository, taken_up.PULL)
    if finished is None:
        return PullReport("nothing", ours)
    told = taken_up.no_warning(repository, finished)
    warnings = tuple(repository.warnings)
    repository.warnings.clear()
    changes = tuple(PulledChange(path, _kind(Step(path, old, new))) for path, old, new in finished.steps)
    sides = [path for path, change in changes if change == ChangeKind.ADD and is_side_file(path)]
    notes = [f"{path} is one side of a conflict: keep what is right, delete it and commit" for path in sides]
    before = finished.before
    saved = before if before is not None and repository.version(before).reason == SAVED else None
    return PullReport(
        "success", ours, notes=(told, *notes), warnings=warnings, changes=changes, saved_first=saved
    )


def _without_forgotten(repository: Repository, writer: Writer) -> list[str]:
    """What another device forgot leaves the packs here, and what lies beside them; a warning where a damaged one stands
    in the way."""
    if not any_forgotten(repository.catalogue):
        return []
    try:
        gone = expunge(repository, writer, remote_state.load(repository))
        leftovers.erase_if_new(repository, forgotten(repository.catalogue, repository.reader), gone.objects)
    except DamagedData as error:
        return [
            f"what was forgotten is still here: {error.message}; 'memsync repair', then 'memsync pull' again"
        ]
    return []


def unite(
    repository: Repository,
    writer: Writer,
    heads: Sequence[VersionId],
    meta: Meta,
    *,
    on_conflict: str = "keep-both",
    progress: Progress = SILENT,
) -> PullReport:
    """Commit what stands in `Data/`, with that meta, and bring HEAD and `Data/` to what unites it with the heads."""
    saved = record(repository, writer, None, meta=meta, progress=progress)
    log_archived(repository, saved.version)
    ours = repository.head()
    known = [*heads] if ours is None else [ours, *heads]
    first = None if saved.version is None else saved.version.id
    try:
        joined = merge(repository, writer, known, ours=ours, on_conflict=on_conflict)
    except Conflict as error:
        raise error if first is None else _with_saved(error, first) from None
    changes, warnings = forward(repository, writer, joined.version, progress)
    return PullReport(
        "conflict" if joined.clashes else "success",
        joined.version,
        merged=joined.combined,
        conflicts=tuple(PullConflict(clash.path, clash.kept_as) for clash in joined.clashes),
        notes=(*joined.notes, *_others_conflicts(changes, joined)),
        warnings=(*saved.warnings, *joined.warnings, *warnings),
        changes=tuple(changes),
        saved_first=first,
    )


def _with_saved(error: Conflict, saved: VersionId) -> Conflict:
    """The same, for who would otherwise find a version in the log that nobody told of."""
    told = Conflict(
        f"{error.message}; what was not committed here was committed first, as version {str(saved)[:12]}",
        hint=error.hint,
    )
    told.paths, told.saved_first = error.paths, saved
    return told


def _others_conflicts(changes: Sequence[PulledChange], joined: Joined) -> list[str]:
    """A note for each side file that another device's merge laid there: this device would hear nothing of it."""
    ours = {clash.kept_as for clash in joined.clashes}
    return [
        f"{path} is one side of a conflict that another device met: keep what is right, delete it and commit"
        for path, change in changes
        if change == ChangeKind.ADD and path not in ours and is_side_file(path)
    ]


def forward(
    repository: Repository, writer: Writer, target: VersionId, progress: Progress = SILENT
) -> tuple[list[PulledChange], list[str]]:
    """Move HEAD to a version that descends from it (or to any, in a store that has none), and `Data/` with
    it, under a checkout record. Returns what is otherwise in `Data/` now, and warnings."""
    steps = list(_steps(repository, target))
    reflog.append(repository.state, [Stand(target, reflog.PULLED, repository.head())])
    checkout.begin(repository, target, steps)
    writer.move_head(target)
    left = checkout.apply(repository, writer, steps, progress)
    checkout.close(repository)
    not_done = {item.path for item in left}
    changes = [PulledChange(step.path, _kind(step)) for step in steps if step.path not in not_done]
    return changes, [item.warning for item in left]


def _kind(step: Step) -> ChangeKind:
    if step.old is None:
        return ChangeKind.ADD
    return ChangeKind.DELETE if step.new is None else ChangeKind.REPLACE


def _steps(repository: Repository, target: VersionId) -> Iterator[Step]:
    """How `Data/` must change to go from HEAD to a version: only what differs is made objects."""
    for path, old, new in history.tree_against(repository.catalogue, repository.seq(target)):
        yield Step(path, _entry(path, old), _entry(path, new))


def _entry(path: str, row: tuple[int, int, bytes, int] | None) -> Entry | None:
    if row is None:
        return None
    return Entry(path, Kind(row[0]), row[1], ContentId(row[2]), row[3])


def _fetch(
    repository: Repository, state: RemoteState, remote: OpenRemote, damaged: list[str], progress: Progress
) -> list[VersionId]:
    """Bring what is new; the heads that are there. `damaged` is filled with packs that are."""
    remote.prepare(create=False)
    if state.store is None or remote.listing_is_free:
        theirs = StoreFormat.parse(remote.read("format"), remote.url)
        if theirs.store != repository.format.store:
            raise BadInput(
                f"{remote.url} belongs to another store",
                hint=f"choose another folder, or bring that store here: memsync clone {typed(remote.url)} DIR",
                code="other_store",
            )
        state = replace(state, store=theirs.store.hex())
    noted, listed = fetch.look_at_heads(remote)
    heads = sorted(noted)
    remote_state.note_listed(repository, state, heads)
    if not heads:
        raise RemoteMissing(f"nothing was pushed to {remote.url} yet", hint="run 'memsync push' first")
    there: list[str] = []
    known = state.collections.keys()
    state, _ = collection.learn(state, remote, listed)
    if state.collections.keys() - known:  # what was removed or forgotten there is to leave here as well
        there = fetch.fetch_what_counts(repository, state, remote, progress, damaged)
    if any(repository.catalogue.seq(head) is None for head in heads):
        since = fetch.last_seq(repository)
        found = fetch.fetch_noted(repository, state, remote, noted, progress)
        there = found or fetch.fetch_what_counts(repository, state, remote, progress, damaged)
        lacking = not found and fetch.lacks_contents(repository, since)
        if not found and fetch.fetch_named(
            repository, remote, heads, progress, lacking=lacking, damaged=damaged
        ):
            repository.refresh()
        fetch.require_heads(repository, remote, heads, damaged)
    now = remote_state.load(repository)  # a push of another process may go on meanwhile
    if now is not None and now.url == state.url:
        collections = {**now.collections, **state.collections}
        now = replace(now, store=state.store, heads=tuple(sorted(map(str, heads))), collections=collections)
        remote_state.save(repository, remote_state.with_sent(now, there))
    return heads


def _contains(repository: Repository, ours: VersionId | None, other: VersionId) -> bool:
    """Whether `other` is `ours` or one of its ancestors."""
    if ours is None:
        return False
    return history.is_ancestor(repository.catalogue, repository.seq(other), repository.seq(ours))


def _apart_here(repository: Repository, listed: Sequence[VersionId]) -> list[VersionId]:
    """Heads of this store that no remote has listed: what another copy of this folder left here, say. What was
    fetched without its head may not be whole yet and is none of them."""
    rows = repository.catalogue.db.execute(
        "SELECT id FROM heads JOIN versions USING (seq) JOIN places USING (place) WHERE places.kind = ? ORDER BY id",
        (PlaceKind.SEGMENT,),
    )
    return [head for row in rows if (head := VersionId(row[0])) not in listed and head != repository.head()]
