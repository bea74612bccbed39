"""forget: contents leave everywhere, for good: the packs here and on the remote, `Data/`, the mirror.

In this order: what other devices have sent is fetched; a record of what is meant is made (`forgetting.py`); one
commit deletes the paths at which HEAD holds it and lays down the tombstones; every pack that holds it is written
anew (`expunge.py`); a push sends what stays, and deletes the old packs there (`collection.erase`); then the mirror
is gone through (`mirror/erase.py`). Cut off anywhere, another run finishes. From the tombstones on nobody sends,
serves or repairs it. Versions, paths, notes and hashes stay in history (invariant 11).
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

from memstore.actions import (
    behind,
    checkout,
    compact,
    dictionaries,
    forgetting,
    leftovers,
    push,
    remote_state,
    select,
    unsaved,
)
from memstore.actions.checkout import Step
from memstore.actions.expunge import FORGETS, REPAIR_FIRST, drop_from_head, expunge, lies_here
from memstore.actions.forget_remote import everywhere, fetch_all
from memstore.actions.forgetting import Intent
from memstore.actions.here import content_at
from memstore.actions.leaving import lost_versions, unread_packs
from memstore.actions.record import log_archived, record
from memstore.actions.refused import deleting
from memstore.actions.select import At
from memstore.errors import BadInput, DamagedData
from memstore.ids import SHORTEST_PREFIX, ContentId
from memstore.manifest import history, references
from memstore.manifest.removed import forgotten
from memstore.manifest.version import Entry, Meta
from memstore.objects.tombstone import FORGOTTEN, Tombstone
from memstore.progress import SILENT, Progress
from memstore.remotes.base import OpenRemote
from memstore.reports import ForgetReport, Forgotten, counted

if TYPE_CHECKING:
    from memstore.repository import Repository
    from memstore.writer import Writer

STAYS: Final = "the paths, notes and hashes of what was forgotten stay in history"


def forget(
    repository: Repository,
    targets: Sequence[str],
    open_remote: Callable[[], OpenRemote] | None,
    *,
    at: At | None = None,
    reason: str = "",
    actor: str = "",
    progress: Progress = SILENT,
) -> ForgetReport:
    """Forget what `targets` name (see `chosen`), and finish what an earlier call left undone. `open_remote` is None
    where no remote is set. Trouble with the remote is in the report: what was done here stands. Raises `BadInput`
    for a target that history has not, `DamagedData` where what must be rewritten is damaged."""
    error = fetch_all(repository, open_remote, progress)
    with push.one_push(repository):
        repository.refresh()
        with repository.writing() as writer:
            warnings = [*checkout.finish(repository, writer), *_not_known(repository)]
            fresh = unsaved.unsaved(repository, targets, at)
            if fresh.going:
                meta = Meta(reason="saved before it was forgotten", actor=actor)
                report = record(repository, writer, [row.path for row in fresh.going], meta=meta)
                log_archived(repository, report.version)
                warnings += report.warnings
            rows, notes = chosen(repository, targets, at)
            what = forgetting.intent(repository, rows).joined(forgetting.load(repository))
            known = {row.content for row in rows}
            rows += described(repository, {row.content for row in what.contents} - known)
            if not rows:
                warnings += fresh.holding(repository, forgotten(repository.catalogue, repository.reader))
                return ForgetReport((), left=fresh.left, notes=tuple(notes), warnings=tuple(warnings))
            ids = {row.content for row in what.contents}
            told = forgotten(repository.catalogue, repository.reader)
            # A dictionary may be made of pieces of them: it goes in the same instant.
            made_of = dictionaries.sharing(repository, ids - told)
            what = what._replace(objects=what.objects | made_of)
            whole = compact.holding(repository, what.objects)
            compact.require_whole(repository, whole, so="nothing was forgotten", hint=REPAIR_FIRST)
            forgetting.save(repository, what)
            now = time.time_ns() // 1_000_000
            stones = [Tombstone(id, FORGOTTEN, now) for id in sorted((ids | made_of) - told)]
            meta = Meta(note=_note(rows), reason=reason, actor=actor)
            version, more = drop_from_head(repository, writer, ids, meta=meta, stones=stones)
            warnings += more
            warnings += _out_of_data(repository, writer, what)
            here = expunge(repository, writer, remote_state.load(repository), what.objects)
            warnings += _stuck(repository, rows)
            warnings += fresh.holding(repository, ids | told)
            torn = leftovers.erase(repository, what.objects, what.paths)
            still_there = behind.load(repository)
    done = ForgetReport(
        tuple(rows),
        tuple(
            change.path
            for change in (() if version is None else version.changes)
            if change.path not in still_there
        ),
        None if version is None else version.id,
        here.packs,
        torn,
        uncommitted=tuple(row.path for row in fresh.going),
        left=fresh.left,
        notes=(*notes, STAYS),
        warnings=tuple(warnings),
    )
    if open_remote is None:
        forgetting.close(repository)
        return done
    return everywhere(repository, what, open_remote, done, error, progress)


def dry_run(
    repository: Repository, targets: Sequence[str], *, at: At | None = None, url: str | None = None
) -> ForgetReport:
    """What `forget` would take, as far as is known here; nothing is changed, and the remote is not asked."""
    repository.refresh()
    unknown = _not_known(repository)
    fresh = unsaved.unsaved(repository, targets, at)
    rows, notes = chosen(repository, targets, at)
    rows = unsaved.joined(rows, fresh.going)
    what = forgetting.intent(repository, rows).joined(forgetting.load(repository))
    rows += described(repository, {row.content for row in what.contents} - {row.content for row in rows})
    ids = {row.content for row in what.contents}
    objects = what.objects | dictionaries.sharing(repository, ids)
    going = {row.path for row in fresh.going}
    held = {row[0] for row in list(repository.catalogue.tree()) if row[3] in ids}
    return ForgetReport(
        tuple(rows),
        tuple(sorted(held | going)),
        uncommitted=tuple(sorted(going)),
        left=fresh.left,
        packs=len(compact.holding(repository, objects)),
        remote=url,
        dry_run=True,
        notes=(*notes, STAYS, "nothing was removed: this was a dry run"),
        warnings=(
            *unknown,
            *fresh.holding(repository, ids | forgotten(repository.catalogue, repository.reader)),
        ),
    )


def _not_known(repository: Repository) -> list[str]:
    """A warning where versions are lost: a password must be removable all the same. Raises `DamagedData` where a pack
    can't be read: what is meant may lie in it, and a repair can do something about that."""
    unread = unread_packs(repository)
    if unread:
        raise DamagedData(
            f"pack {unread[0][:12]} cannot be read, and may hold what is to go: nothing was forgotten",
            hint=REPAIR_FIRST,
        )
    lost = lost_versions(repository)
    if not lost:
        return []
    return [
        f"{counted(lost, 'version')} of the history cannot be read, and may have held more than is named here: that "
        "stays. 'memsync repair' brings back what can be; run the 'memsync forget' again after it"
    ]


def _out_of_data(repository: Repository, writer: Writer, what: Intent) -> list[str]:
    """Remove files of `Data/` that hold it and that HEAD does not: somebody put them back. What could not be removed
    just now, or by an earlier run, is known and told of. Warnings."""
    ids = {row.content for row in what.contents}
    steps = []
    for path in (
        sorted(what.paths - behind.load(repository).keys())
        if os.path.isdir(repository.workspace.data)
        else ()
    ):
        here = content_at(repository, path)
        if here is not None and here.content in ids:
            steps.append(Step(path, Entry(path, here.kind, 0, here.content, 0), None))
    return [left.warning for left in checkout.apply(repository, writer, steps)] if steps else []


def _stuck(repository: Repository, rows: Sequence[Forgotten]) -> list[str]:
    """A warning for each that can't leave because a larger file, which is kept, has it as one of its pieces."""
    return [
        f"{str(row.content)[:12]} ({', '.join(row.paths)}) is part of a larger file as well, and stays while that "
        "does: forget that file too"
        for row in rows
        if lies_here(repository, row.content)
    ]


# -- what is meant -----------------------------------------------------------------------------------------


def chosen(
    repository: Repository, targets: Sequence[str], at: At | None
) -> tuple[list[Forgotten], list[str]]:
    """The contents that the targets name, and what a person should know. A target is a path (all that it, or what
    lies below it, ever held; with `at`, what it held then), an archive reference, or a content's id, of which 8
    digits or more are enough. Raises `BadInput`."""
    ids: set[ContentId] = set()
    for target in targets:
        ids |= _contents_of(repository, target, at)
    notes = []
    if unsaved.EMPTY in ids:
        ids.remove(unsaved.EMPTY)
        notes.append("empty files are left: there is nothing in them to forget")
    return described(repository, ids), notes


def described(repository: Repository, ids: set[ContentId]) -> list[Forgotten]:
    """Each with the paths that held it."""
    if not ids:
        return []
    paths: dict[ContentId, set[str]] = {id: set() for id in ids}
    sizes: dict[ContentId, int] = {}
    versions = dict.fromkeys(ids, 0)
    for version in history.versions_of(repository.catalogue, lost=True):
        met = set()
        for change in version.changes:
            entry = change.entry
            if entry is not None and entry.content in ids:
                paths[entry.content].add(change.path)
                sizes[entry.content] = entry.size
                met.add(entry.content)
        for id in met:
            versions[id] += 1
    return [Forgotten(id, sizes.get(id, 0), tuple(sorted(paths[id])), versions[id]) for id in sorted(ids)]


def _contents_of(repository: Repository, target: str, at: At | None) -> set[ContentId]:
    if at is not None:
        return {item.entry.content for item in select.files_at(repository, target, at)}
    found = references.find(repository.catalogue, target)
    if found:
        return {reference.entry.content for reference in found}
    if not target or select.known(repository, target):
        return {
            change.entry.content
            for version in history.versions_of(
                repository.catalogue, path=target.rstrip("/") or None, lost=True
            )
            for change in version.changes
            if change.entry is not None
        }
    return _by_prefix(repository, target)


def _by_prefix(repository: Repository, text: str) -> set[ContentId]:
    digits = text.lower()
    looks = SHORTEST_PREFIX <= len(digits) <= 64 and all(digit in "0123456789abcdef" for digit in digits)
    found = (
        [id for id in sorted(history.contents(repository.catalogue, lost=True)) if str(id).startswith(digits)]
        if looks
        else []
    )
    if not found:
        error = BadInput(
            f"no version has the path {text}, nor a content with that id",
            hint="'memsync log PATH --json' shows each content's id",
        )
        told = select.not_found(repository, text.rstrip("/"), error)
        if told is not error:  # it lies in Data/ only
            told.hint = f"there is nothing to forget; delete it yourself: {deleting(repository, text)}"
        raise told
    if len(found) > 1:
        some = ", ".join(str(id)[:16] for id in found[:4])
        raise BadInput(f"{text} is ambiguous: {some} …", hint="give more digits of the id")
    return {found[0]}


def _note(rows: Sequence[Forgotten]) -> str:
    paths = sorted({path for row in rows for path in row.paths})
    return FORGETS + ", ".join(paths[:3]) + (" …" if len(paths) > 3 else "")
