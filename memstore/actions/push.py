"""push: packs, then the head, then the mirror (invariant 2).

The store's lock is held while sealing and while a person's changes come home, never while the network is
used. What was sent is noted after each pack, so that an interrupted push goes on where it stopped.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from memstore import files, logs
from memstore.actions import carried, collection, remote_state
from memstore.actions.contact import contact
from memstore.actions.publish import publish
from memstore.actions.remote_state import RemoteState
from memstore.actions.seal import seal
from memstore.actions.sending import send_packs
from memstore.actions.unsent import nothing_to_do, unsent_packs
from memstore.errors import MemsyncError, StoreLocked
from memstore.ids import VersionId
from memstore.mirror import apply as mirror_apply
from memstore.mirror import known as mirror_known
from memstore.mirror import plan as mirror_plan
from memstore.mirror.apply import Outcome
from memstore.mirror.erase import erase_foreign, erase_ours
from memstore.mirror.others import learn_of_others
from memstore.progress import SILENT, Progress
from memstore.remotes.base import OpenRemote
from memstore.reports import PushReport, counted
from memstore.worktree.names import brief

if TYPE_CHECKING:
    from memstore.repository import Repository
    from memstore.writer import Writer

_BEGUN: Final = "push begun"
"""A fact: seconds since the epoch, while a push is under way."""
_LEFT_BEHIND: Final = "push killed"
"""A fact: when a push began that was killed, until the remote was swept after it."""
SWEPT_AFTER: Final = 24 * 3600
"""Seconds after a push that was killed; no push takes so long."""
ROUNDS: Final = 3
"""What comes home from the mirror, or is committed meanwhile, is pushed in another round; more than two would be a
person typing along."""


@dataclass(slots=True)
class _Work:
    """What this push has done so far."""

    versions: int = 0
    objects: int = 0
    packs: int = 0
    heads: int = 0
    erased: int = 0
    erased_files: int = 0
    ahead: bool = False
    head: VersionId | None = None
    """HEAD as it is on the remote: commits go on meanwhile."""
    outcome: Outcome = field(default_factory=Outcome)
    notes: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    carrying: carried.Ids = frozenset()
    """The versions in the packs that are being sent."""
    carried: carried.Ids = frozenset()
    """Those that a head was published for."""

    def sent(self, objects: int) -> None:
        """A pack lies there, of so many data records."""
        self.packs += 1
        self.objects += objects


def push(
    repository: Repository,
    state: RemoteState,
    open_remote: Callable[[], OpenRemote],
    *,
    paths: Sequence[str] | None = None,
    mirror: bool = True,
    progress: Progress = SILENT,
) -> PushReport:
    """Send what the remote lacks and refresh the mirror (of `paths` only, where given).

    What goes wrong with the remote is in the report, not raised; so is Ctrl-C once the head is there.
    """
    work = _Work()
    mirror = mirror and repository.workspace.config.mirror_enabled
    error: MemsyncError | None = None
    remote: OpenRemote | None = None
    with one_push(repository):
        repository.refresh()
        state = remote_state.load(repository) or state  # another push may have had its turn since it was read
        state, unlogged = carried.log_earlier(repository, state)
        work.warnings += filter(None, [unlogged])
        work.carrying = carried.of_unsent(repository, state)
        try:
            if repository.head() is None and state.store is None:
                return PushReport("nothing", warnings=tuple(work.warnings))
            if _is_drive(state) and nothing_to_do(repository, state, paths, mirror):
                return PushReport("nothing", warnings=tuple(work.warnings))
            remote = open_remote()
            _begin(repository, remote)
            for _ in range(ROUNDS):
                state = _send(repository, state, remote, work, progress)
                gone = erase_ours(repository, remote)
                work.erased_files += len(gone)
                work.notes += gone
                if not mirror or work.ahead:
                    break
                try:
                    state, again = _mirror(repository, state, remote, paths, work, progress)
                except KeyboardInterrupt:
                    work.notes.append("stopped: the rest of the mirror waits for the next push")
                    break
                if not again:
                    break
            else:
                work.notes.append(
                    "new versions came meanwhile: the rest of the mirror waits for the next push"
                )
        except MemsyncError as trouble:
            error = trouble
        finally:
            if remote is not None:
                remote.close()
        error = error or work.outcome.error
        report = _report(remote, work, error)
        warning = logs.log_uploads(
            repository.workspace,
            carried.lines(repository, work.carried, work.carrying, report.attempts, error),
        )
        logged = warning is None and unlogged is None
        _note_result(repository, error, sent=report.status == "success", logged=logged)
        if remote is not None:
            repository.catalogue.set_fact(_BEGUN, None)
    if warning is not None and warning != unlogged:
        report = report._replace(warnings=(*report.warnings, warning))
    return report


def _is_drive(state: RemoteState) -> bool:
    """Whether each look costs a request; a folder is looked at even when nothing is new."""
    return state.url.startswith("drive:")


@contextlib.contextmanager
def one_push(repository: Repository) -> Iterator[None]:
    """Two pushes of one workspace take turns; commits go on meanwhile."""
    import filelock

    seconds = repository.workspace.config.lock_timeout
    lock = filelock.FileLock(os.path.join(repository.state, "push.lock"))
    try:
        lock.acquire(timeout=seconds)
    except filelock.Timeout:
        raise StoreLocked(
            f"another push of this workspace has been running for {seconds:g} s"
            if seconds
            else "another push of this workspace is running, and lock_timeout = 0 says not to wait for it",
            hint="wait for it to end; commits are not held up by it",
        ) from None
    except OSError as error:
        raise files.disk_error(error, "could not lock", lock.lock_file) from error
    try:
        yield
    finally:
        lock.release()


def _begin(repository: Repository, remote: OpenRemote) -> None:
    """Note that a push is under way, so that the next one knows if this was killed: then something half-written may
    lie on the remote, and goes once it is surely nobody's any more."""
    catalogue = repository.catalogue
    killed, now = catalogue.fact(_BEGUN), int(time.time())
    if killed is not None:
        catalogue.set_fact(_LEFT_BEHIND, killed)
    catalogue.set_fact(_BEGUN, now)
    since = catalogue.fact(_LEFT_BEHIND)
    if isinstance(since, int) and abs(now - since) > SWEPT_AFTER:
        remote.sweep()
        catalogue.set_fact(_LEFT_BEHIND, None)


# -- versions ----------------------------------------------------------------------------------------------


def _send(
    repository: Repository, state: RemoteState, remote: OpenRemote, work: _Work, progress: Progress
) -> RemoteState:
    """Packs, then heads. Returns the state as it was saved."""
    state, listed, notes = contact(repository, state, remote, progress)
    with repository.writing() as writer:
        state = _without_forgotten(repository, writer, state, work)
        seal(repository, writer)
        heads, work.head = repository.catalogue.heads(), repository.head()
    work.carrying = carried.of_unsent(repository, state)
    if not remote.listing_is_free and any(f"heads/{head}" in listed for head in heads):
        state = _sent_by_others(repository, state, remote)
    versions = remote_state.unpushed(repository, state)[0]
    packs_before = work.packs
    state = send_packs(repository, state, remote, work.sent, progress)
    state, published = publish(repository, state, remote, listed, heads, work.head)
    work.heads += published.markers
    work.ahead = published.ahead
    work.warnings += published.warnings
    collection.say_seen(repository, state, remote, notes)
    state, erased = collection.erase(repository, state, remote)
    work.erased += erased
    if erased:
        work.notes.append(f"{erased} pack(s) on the remote held what was forgotten; they were deleted there")
    work.versions += versions
    work.carried |= work.carrying
    work.carrying = frozenset()
    if work.heads or work.packs > packs_before:
        progress.say(f"every version is safe on {remote.url}")
    return state


def _without_forgotten(
    repository: Repository, writer: Writer, state: RemoteState, work: _Work
) -> RemoteState:
    """Nothing that was forgotten is sent, whoever forgot it: it leaves HEAD and the packs here before, and what lies
    beside them."""
    from memstore.actions import checkout, leftovers
    from memstore.actions.expunge import drop_from_head, expunge, left_data
    from memstore.manifest.removed import any_forgotten, forgotten

    if not any_forgotten(repository.catalogue):
        return state
    checkout.finish(repository, writer)
    version, warnings = drop_from_head(repository, writer)
    work.notes += left_data(version)
    work.warnings += warnings
    gone = expunge(repository, writer, state)
    leftovers.erase_if_new(repository, forgotten(repository.catalogue, repository.reader), gone.objects)
    return gone.state or state


def _sent_by_others(repository: Repository, state: RemoteState, remote: OpenRemote) -> RemoteState:
    """With what lies there already of what we were about to send. Our head is published, and not by us: another
    device made the same merge, and its pack of it may be the same to the last byte."""
    ours = [name for name, *_ in unsent_packs(repository, state)]
    if not ours:
        return state
    listed = {file.name.rpartition("/")[2] for file in remote.list("packs/")}
    there = collection.live(listed, remote_state.fossils(state))
    return remote_state.save(repository, remote_state.with_sent(state, sorted(there.intersection(ours))))


# -- the mirror --------------------------------------------------------------------------------------------


def _mirror(
    repository: Repository,
    state: RemoteState,
    remote: OpenRemote,
    paths: Sequence[str] | None,
    work: _Work,
    progress: Progress,
) -> tuple[RemoteState, bool]:
    """One round on the mirror: (state, whether something came home and must be pushed)."""
    from memstore.actions.bring_home import bring_home

    learned = _look_at_others(repository, state, remote, work)
    back = 0 if paths is None else mirror_known.forget_removed(repository, remote, paths)
    if back:
        work.notes.append(
            f"{counted(back, 'file')} removed from the mirror by hand: named here, and so put back"
        )
    if learned:
        learn_of_others(repository, remote)
    elif mirror_plan.is_current(repository, state.mirrored) and not remote.listing_is_free and not back:
        return state, False
    key = mirror_plan.current_key(repository)
    steps = mirror_plan.Plan(mirror_plan.steps(repository, paths, remote.refuses))
    if repository.head() != work.head:
        return state, True  # a commit came meanwhile: versions go before the mirror that shows them
    # Who published this head may be at the same steps right now, and hears of nobody who publishes none: so the
    # next push looks at the mirror once more.
    remote_state.note_others(repository, learned and bool(steps) and not work.heads)
    outcome = mirror_apply.apply(repository, remote, steps, progress)
    _add(work.outcome, outcome)
    large = mirror_plan.too_large(repository, paths)
    if large and steps:
        some = ", ".join(large[:3]) + (" …" if len(large) > 3 else "")
        note = f"{counted(len(large), 'file')} above mirror.max_file_size, in packs only: {some}"
        if note not in work.notes:
            work.notes.append(note)
    if steps or work.versions:
        _tell_nameless(mirror_plan.nameless(repository, remote.refuses, paths), work)
    foreign, notes = erase_foreign(repository, remote, outcome.foreign)
    work.notes += notes
    earlier = 0
    if remote.listing_is_free:
        more, earlier, large_ones = mirror_known.changed_by_hand(repository, remote, paths, foreign)
        work.warnings += [told for told in large_ones if told not in (*work.warnings, *work.outcome.warnings)]
        more, notes = erase_foreign(repository, remote, more)
        work.notes += notes
        foreign = [*foreign, *more]
        if earlier and not foreign and outcome.error is None and not outcome.left:
            work.notes.append(f"{counted(earlier, 'file')} of the mirror had an earlier version again")
            return replace(state, mirrored=None), True
    if foreign:
        notes, warnings = bring_home(repository, foreign, remote.url)
        work.notes += notes
        work.warnings += [told for told in warnings if told not in work.warnings]
        # Home they come in any case; but what ended this round would end the next as well, and what stays where it
        # is would stay there.
        state = remote_state.save(repository, replace(state, mirrored=None))
        return state, bool(notes or earlier) and outcome.error is None and not outcome.left
    finished = outcome.error is None and not outcome.left and not outcome.failed
    state = replace(state, mirrored=key if finished and paths is None else None)
    return remote_state.save(repository, state), False


def _tell_nameless(left: Sequence[tuple[str, str]], work: _Work) -> None:
    """Once a push: what its name keeps out of this mirror."""
    if not left:
        return
    some = ", ".join(f"{brief(path)} ({reason})" for path, reason in left[:3]) + (
        " …" if len(left) > 3 else ""
    )
    told = (
        f"{counted(len(left), 'file')} can't lie in the mirror under that name, and stay in packs only: {some}; give "
        "them another name on the device that made them ('memsync log' shows which), or, if nobody meant them, let "
        "'memsync undo' or 'memsync restore . --exact --at ID' go back to before they came"
    )
    if told not in work.warnings:
        work.warnings.append(told)


def _look_at_others(repository: Repository, state: RemoteState, remote: OpenRemote, work: _Work) -> bool:
    """Learn from a folder what others did to the mirror; whether a Drive is to be asked for that, which costs
    requests."""
    where = state.folder or remote.url
    asked = not remote.listing_is_free and remote_state.others_pushed(repository)
    if repository.catalogue.fact(mirror_plan.KNOWN) != where:
        repository.catalogue.db.execute("DELETE FROM mirror")
        if len(state.sent) > work.packs or state.mirrored is not None:
            asked = not remote.listing_is_free
            if not asked:
                last = mirror_plan.finished_version(repository, state.mirrored)
                mirror_known.relearn(repository, remote, last)
        repository.catalogue.set_fact(mirror_plan.KNOWN, where)
    elif remote.listing_is_free and remote_state.others_pushed(repository):
        last = mirror_plan.finished_version(repository, state.mirrored)
        mirror_known.learn_what_left(repository, remote, last)
    return asked


def _add(total: Outcome, more: Outcome) -> None:
    total.created += more.created
    total.updated += more.updated
    total.moved += more.moved
    total.skipped += more.skipped
    total.failed += more.failed
    total.notes += more.notes
    total.warnings += [told for told in more.warnings if told not in total.warnings]
    total.left = more.left
    total.error = more.error


# -- telling -----------------------------------------------------------------------------------------------


def _report(remote: OpenRemote | None, work: _Work, error: MemsyncError | None) -> PushReport:
    counts = work.outcome.counts()
    did = work.versions or work.packs or work.heads or any(counts.as_json().values()) or work.outcome.left
    status = "fail" if error is not None else "success" if did else "nothing"
    return PushReport(
        status,
        versions=work.versions,
        objects=work.objects,
        packs=work.packs,
        bytes_sent=remote.bytes_sent if remote else 0,
        requests=remote.requests if remote else 0,
        attempts=remote.most_attempts if remote else 0,
        mirror=counts,
        notes=(*work.notes, *work.outcome.notes),
        warnings=(*work.warnings, *work.outcome.warnings),
        ahead=work.ahead,
        erased=work.erased,
        erased_files=work.erased_files,
        error=None if error is None else error.as_json(),
        exit_code=0 if error is None else error.exit_code,
    )


def _note_result(repository: Repository, error: MemsyncError | None, *, sent: bool, logged: bool) -> None:
    state = remote_state.load(repository)
    if state is None:
        return
    if logged and state.unlogged:
        state = remote_state.save(repository, replace(state, unlogged=()))
    if error is not None:
        now = time.time_ns() // 1_000_000
        remote_state.save(repository, replace(state, last_error=error.message, last_error_ms=now))
    elif sent and state.last_error is not None:
        remote_state.save(repository, replace(state, last_error=None, last_error_ms=None))
