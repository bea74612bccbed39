"""pull: fetch what the remote has, and move HEAD forward to it.

A head that is simply ahead is checked out as it is. Heads that were made apart are not merged here yet; they
are reported, and nothing of either is touched.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from memstore.actions import checkout, fetch, remote_state
from memstore.actions.checkout import Step
from memstore.actions.commit import log_archived, record
from memstore.actions.remote_state import RemoteState
from memstore.errors import BadInput, Conflict, RemoteMissing
from memstore.identity import StoreFormat
from memstore.ids import ContentId, VersionId
from memstore.manifest import history
from memstore.manifest.version import Entry, Kind, Meta
from memstore.progress import SILENT, Progress
from memstore.remotes.base import OpenRemote
from memstore.reports import PullReport

if TYPE_CHECKING:
    from memstore.repository import Repository
    from memstore.writer import Writer


def pull(
    repository: Repository, state: RemoteState, remote: OpenRemote, *, progress: Progress = SILENT
) -> PullReport:
    """Bring HEAD to the remote's newest version. What is uncommitted in `Data/` is committed first.

    Raises `Conflict` where both sides have versions that the other lacks, `RemoteMissing` where nothing was
    pushed yet.
    """
    repository.refresh()
    heads = _fetch(repository, state, remote, progress)
    if not heads:
        return PullReport("nothing", repository.head())
    with repository.writing() as writer:
        ours = repository.head()
        ahead = [head for head in heads if not _contains(repository, ours, head)]
        if not ahead:
            return PullReport("nothing", ours)
        saved = record(repository, writer, None, meta=Meta(reason="saved before a pull"))
        log_archived(repository, saved.version)
        ours = repository.head()
        target = _only_one(repository, ours, heads, remote.url)
        warnings = forward(repository, writer, target, progress)
        return PullReport("success", target, warnings=(*saved.warnings, *warnings))


def forward(
    repository: Repository, writer: Writer, target: VersionId, progress: Progress = SILENT
) -> list[str]:
    """Move HEAD to a version that descends from it (or to any, in a store that has none), and `Data/` with
    it, under a checkout record. Returns warnings."""
    steps = list(_steps(repository, target))
    checkout.begin(repository, target, steps)
    writer.move_head(target)
    warnings = checkout.apply(repository, writer, steps, progress)
    checkout.close(repository)
    return warnings


def _steps(repository: Repository, target: VersionId) -> Iterator[Step]:
    """How `Data/` must change to go from HEAD to a version: found by SQL, only what differs is made objects."""
    for path, old, new in history.tree_against(repository.catalogue, repository.seq(target)):
        yield Step(path, _entry(path, old), _entry(path, new))


def _entry(path: str, row: tuple[int, int, bytes, int] | None) -> Entry | None:
    if row is None:
        return None
    return Entry(path, Kind(row[0]), row[1], ContentId(row[2]), row[3])


def _fetch(
    repository: Repository, state: RemoteState, remote: OpenRemote, progress: Progress
) -> list[VersionId]:
    remote.prepare(create=False)
    if state.store is None or remote.listing_is_free:
        theirs = StoreFormat.parse(remote.read("format"), remote.url)
        if theirs.store != repository.format.store:
            raise BadInput(
                f"{remote.url} belongs to another store",
                hint=f"choose another folder, or bring that store here: memsync clone {remote.url} DIR",
                code="other_store",
            )
        state = replace(state, store=theirs.store.hex())
    heads = fetch.listed_heads(remote)
    if not heads:
        raise RemoteMissing(f"nothing was pushed to {remote.url} yet", hint="run 'memsync push' first")
    present = [name for name, (_, kind, _) in repository.catalogue.places().items() if kind == 1]
    if any(repository.catalogue.seq(head) is None for head in heads):
        there, _ = fetch.fetch_packs(repository.state, remote, present, progress)
        repository.refresh()
        if fetch.fetch_named(repository, remote, heads, progress):
            repository.refresh()
        fetch.require_heads(repository, remote, heads)
        state = remote_state.with_sent(state, there)
    remote_state.save(repository, replace(state, heads=tuple(sorted(str(head) for head in heads))))
    return heads


def _contains(repository: Repository, ours: VersionId | None, other: VersionId) -> bool:
    """Whether `other` is `ours` or one of its ancestors."""
    if ours is None:
        return False
    return history.is_ancestor(repository.catalogue, repository.seq(other), repository.seq(ours))


def _only_one(
    repository: Repository, ours: VersionId | None, heads: list[VersionId], where: str
) -> VersionId:
    """The one head that descends from HEAD and all other heads. Raises `Conflict` if there is none."""
    for head in heads:
        others = [other for other in (ours, *heads) if other is not None and other != head]
        if all(_contains(repository, head, other) for other in others):
            return head
    moment = time.strftime("%Y-%m-%d %H:%M")
    raise Conflict(
        f"this device and {where} have versions that were made apart ({moment}); they are all safe here now",
        hint="'memsync log' shows both sides; 'memsync push' keeps sending this one's, nothing is overwritten",
        code="diverged",
    )
