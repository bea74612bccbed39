"""gc: contents that no kept version holds leave, small packs become few, and the remote follows.

Version records stay, all of them; each content that leaves has a tombstone (invariant 11). On a remote the
old packs are marked first and deleted by a later run (`actions/collection.py`). Old files in `torn/` go as well.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from memstore import files
from memstore.actions import collection, compact, fetch, push, remote_state, torn
from memstore.actions.leaving import (
    incomplete,
    leaving,
    plain_size,
    require_whole_history,
    stored_size,
)
from memstore.actions.remote_state import RemoteState
from memstore.actions.seal import seal
from memstore.actions.settle import at_hand, compacted, versions_at_hand
from memstore.actions.unsent import unsent_packs
from memstore.current import pack_names
from memstore.errors import MemsyncError
from memstore.ids import ContentId
from memstore.manifest import held, history, retention
from memstore.manifest.removed import in_force
from memstore.manifest.retention import Dated, Rules
from memstore.manifest.version import rfc3339
from memstore.mirror.trim import trim
from memstore.objects.catalogue import PlaceKind, path_of
from memstore.objects.tombstone import FORGOTTEN
from memstore.progress import SILENT, Progress
from memstore.remotes.base import OpenRemote
from memstore.reports import GcReport, counted

if TYPE_CHECKING:
    from memstore.repository import Repository


class _There(NamedTuple):
    """What was done on the remote."""

    marked: int
    """Packs."""
    trimmed: int
    """Files of the mirror's `Archive/`."""
    swept: collection.Swept


class _Plan(NamedTuple):
    kept: int
    """Versions whose contents stay."""
    unwanted: set[ContentId]
    notes: tuple[str, ...] = ()
    """What whoever wrote the rules ought to know."""


def gc(
    repository: Repository,
    state: RemoteState | None,
    open_remote: Callable[[], OpenRemote] | None,
    rules: Rules,
    *,
    keep_archived: bool = True,
    progress: Progress = SILENT,
) -> GcReport:
    """Collect here, and then on the remote (`open_remote`; None: only here). Trouble with the remote is in the
    report; what was done here stands, and the next run goes on. Raises `DamagedData` where part of the
    history cannot be read."""
    error: MemsyncError | None = None
    notes: list[str] = []
    if state is not None and open_remote is not None:
        error = _send(repository, open_remote, progress)
    with push.one_push(repository):
        repository.refresh()
        state = remote_state.load(repository)
        packs_before, bytes_before = _packs(repository)
        with repository.writing() as writer:
            if state is None:
                seal(repository, writer)
                packs_before, bytes_before = _packs(repository)
            require_whole_history(repository)
            plan = _plan(repository, rules, keep_archived)
            notes += plan.notes
            settled = None if state is None else remote_state.published(state)
            sizes = [(name, size) for name, size in _sizes(repository) if settled is None or name in settled]
            take = compact.to_merge(sizes, repository.workspace.config.push_pack_size)
            removed_bytes = plain_size(repository, leaving(repository, plan.unwanted, settled).contents)
            done = compacted(repository, state, take, plan.unwanted)
        packs_after, bytes_after = _packs(repository)
        cleared = torn.clear(repository, notes, dry_run=False, progress=progress)
    there = _There(0, 0, collection.Swept(0, 0, 0))
    if open_remote is not None and done.state is not None:
        if error is None:
            error = _send(repository, open_remote, progress)
        if error is None:
            try:
                there = _on_the_remote(repository, open_remote, notes, progress)
            except MemsyncError as trouble:
                error = trouble
    if open_remote is None and done.state is not None:
        notes.append("the remote was not touched (--local); a run without it brings it up to date")
    return GcReport(
        versions=repository.catalogue.version_count(),
        versions_kept=plan.kept,
        removed=len(done.gone.contents),
        removed_bytes=removed_bytes,
        packs_before=packs_before,
        packs_after=packs_after,
        bytes_before=bytes_before,
        bytes_after=bytes_after,
        marked=there.marked,
        deleted=there.swept.packs,
        deleted_bytes=there.swept.bytes,
        waiting=there.swept.waiting,
        trimmed=there.trimmed,
        torn=len(cleared),
        torn_bytes=sum(file.size for file in cleared),
        notes=tuple(notes),
        error=None if error is None else error.as_json(),
        exit_code=0 if error is None else error.exit_code,
    )


def dry_run(
    repository: Repository,
    state: RemoteState | None,
    rules: Rules,
    *,
    keep_archived: bool = True,
    local: bool = False,
) -> GcReport:
    """What a collection would do here; nothing is changed, and the remote is not asked. Packs are counted as
    they are now, for how many there will be shows only when they are written. A collection pushes first, so
    nothing counts as unsent; but with `local`, what waits for a push stays as it is."""
    repository.refresh()
    require_whole_history(repository)
    plan = _plan(repository, rules, keep_archived)
    settled = remote_state.published(state) if state is not None and local else None
    going = leaving(repository, plan.unwanted, settled)
    packs, _ = _packs(repository)
    notes = [*plan.notes, "nothing was removed: this was a dry run"]
    cleared = torn.clear(repository, notes, dry_run=True)
    size = sum(end for _, _, end in repository.catalogue.places().values())  # the open log as well
    return GcReport(
        versions=repository.catalogue.version_count(),
        versions_kept=plan.kept,
        removed=len(going.contents),
        removed_bytes=plain_size(repository, going.contents),
        packs_before=packs,
        packs_after=packs,
        bytes_before=size,
        bytes_after=size - stored_size(repository, going.objects),
        torn=len(cleared),
        torn_bytes=sum(file.size for file in cleared),
        dry_run=True,
        notes=tuple(notes),
    )


def _plan(repository: Repository, rules: Rules, keep_archived: bool) -> _Plan:
    catalogue = repository.catalogue
    removed = in_force(catalogue, repository.reader)
    forgotten = {id for id, stone in removed.items() if stone.why == FORGOTTEN}
    at_hand = versions_at_hand(repository)
    total = catalogue.version_count()
    if rules.keep_everything:
        unwanted = removed.keys() - held.held(catalogue, at_hand) if removed else set()
        return _Plan(total, unwanted | forgotten)
    heads = {seq for seq in map(catalogue.seq, catalogue.heads()) if seq is not None}
    versions = [
        Dated(repository.seq(version.id), version.time_ms, version.context_tags)
        for version in history.versions_of(catalogue)
    ]
    now_ms = time.time_ns() // 1_000_000
    kept = retention.kept(versions, heads, rules, now_ms=now_ms)
    wanted = held.held(catalogue, kept | at_hand)
    if keep_archived:
        wanted |= held.archived_by_name(catalogue)
    unwanted = held.named_beside(catalogue, wanted) | forgotten
    if removed:
        unwanted |= removed.keys() - held.held(catalogue, at_hand)
    return _Plan(len(kept), unwanted, _told(rules, versions, now_ms))


def _told(rules: Rules, versions: Sequence[Dated], now_ms: int) -> tuple[str, ...]:
    """Of rules that do something else than they look like."""
    told = []
    ahead = retention.ahead(versions, now_ms) if rules.by_time else []
    if ahead:
        newest = max(version.time_ms for version in ahead)
        told.append(
            f"{counted(len(ahead), 'version')} dated in the future, the newest {rfc3339(newest)}: a clock is wrong, or "
            "was. What goes by time keeps the contents of all of them; 'memsync gc --keep-last N' goes by their number"
        )
    unknown = set(rules.tags).difference(*(version.tags for version in versions))
    told += [f"no version has the tag {tag!r}: that rule keeps nothing" for tag in sorted(unknown)]
    return tuple(told)


def _sizes(repository: Repository) -> list[tuple[str, int]]:
    return [
        (name, files.size(path_of(repository.state, name, PlaceKind.PACK)))
        for name in pack_names(repository.state)
    ]


def _packs(repository: Repository) -> tuple[int, int]:
    sizes = _sizes(repository)
    return len(sizes), sum(size for _, size in sizes)


# -- the remote --------------------------------------------------------------------------------------------


def _send(
    repository: Repository, open_remote: Callable[[], OpenRemote], progress: Progress
) -> MemsyncError | None:
    """Everything the remote lacks; what went wrong with it."""
    state = remote_state.load(repository)
    if state is None:
        return None
    report = push.push(repository, state, open_remote, mirror=False, progress=progress)
    if report.error is None:
        return None
    told = report.error
    error = MemsyncError(str(told["message"]), hint=str(told["hint"]), code=str(told["code"]))
    error.exit_code, error.retryable = report.exit_code, bool(told["retryable"])
    return error


def _on_the_remote(
    repository: Repository, open_remote: Callable[[], OpenRemote], notes: list[str], progress: Progress
) -> _There:
    """Mark what was superseded here, delete what was marked before and can be spared, and let what left leave the
    mirror's archive as well."""
    with push.one_push(repository):
        state = remote_state.load(repository)
        assert state is not None
        if state.store is None:  # nothing was ever sent: there was no version
            return _There(0, 0, collection.Swept(0, 0, 0))
        remote = open_remote()
        try:
            remote.prepare(create=False)
            heads, listed = fetch.look_at_heads(remote)
            state, told = collection.learn(state, remote, listed)
            counting = fetch.fetch_what_counts(repository, state, remote, progress)
            if any(repository.catalogue.seq(head) is None for head in heads):
                notes.append("the remote's listing lags: marking and deleting wait for the next run")
                return _There(0, 0, collection.Swept(0, 0, 0))
            state = remote_state.save(repository, remote_state.with_sent(state, counting))
            marked = 0
            if not unsent_packs(repository, state):
                state, marked = collection.mark(repository, state, remote, told)
            fossils = remote_state.fossils(state)
            removed = in_force(repository.catalogue, repository.reader)
            remote.sweep()
            trimmed = 0
            if repository.workspace.config.mirror_enabled:
                trimmed = trim(repository, remote, removed.keys() - at_hand(repository), progress)
            if not fossils.isdisjoint(pack_names(repository.state)):
                notes.append(
                    "a version that was pushed at the same moment needs what was marked: it is sent again by the "
                    "next push, and nothing is deleted before"
                )
                return _There(marked, trimmed, collection.Swept(0, 0, len(fossils)))
            if incomplete(repository, removed):
                notes.append("something is missing here, so nothing is deleted there: run 'memsync verify'")
                return _There(marked, trimmed, collection.Swept(0, 0, len(fossils)))
            return _There(marked, trimmed, collection.sweep(repository, state, remote, told))
        finally:
            remote.close()
