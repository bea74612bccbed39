"""Bringing the mirror to the plan, one file after another, touching only what is as memsync left it.

A file that is not as memsync left it is a person's: it goes onto a list for `bring_home` and is left alone.
Each finished step is noted at once, so that a mirror cut anywhere goes on where it stopped.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from memstore.errors import BadInput, Conflict, MemsyncError, RemoteMissing
from memstore.files import BAD_NAME
from memstore.ids import ContentId
from memstore.manifest.version import Entry
from memstore.merging.names import apart
from memstore.mirror import plan
from memstore.mirror.departure import Departure, has_left
from memstore.mirror.known import (
    Foreign,
    content_of,
    forget,
    intend,
    is_in_history,
    notes_for,
    remember,
    set_state,
)
from memstore.mirror.plan import Plan, Step, Work
from memstore.objects.reader import Removed
from memstore.progress import Progress
from memstore.remotes.base import TOO_LARGE, BytesSource, MirrorFile, MirrorTarget
from memstore.reports import MirrorCounts, counted
from memstore.worktree.names import BAD_PATH, brief

if TYPE_CHECKING:
    from memstore.repository import Repository


@dataclass(slots=True)
class Outcome:
    """What became of the steps."""

    created: int = 0
    updated: int = 0
    moved: int = 0
    skipped: int = 0
    failed: int = 0
    notes: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    foreign: list[Foreign] = field(default_factory=list)
    unheld: list[str] = field(default_factory=list)
    """Paths whose names the mirror's disk can't hold."""
    left: int = 0
    """Steps that were not begun, because the work was interrupted."""
    error: MemsyncError | None = None
    """What ended the work early."""

    def counts(self) -> MirrorCounts:
        return MirrorCounts(self.created, self.updated, self.moved, self.skipped, self.failed)


def apply(repository: Repository, target: MirrorTarget, steps: Plan, progress: Progress) -> Outcome:
    """Do the steps. Ends early, with `left` counted, on Ctrl-C and on trouble with the remote."""
    outcome = Outcome()
    progress.begin("mirror", len(steps), "files")
    done = 0
    try:
        for batch in steps:
            looked = [step for step in batch if step.mirrored is not None]
            seen = (
                dict(
                    zip(
                        [step.path for step in looked],
                        target.look(
                            [(step.path, step.mirrored.handle or None) for step in looked if step.mirrored]
                        ),
                        strict=True,
                    )
                )
                if looked
                else {}
            )
            for step in batch:
                _do_if_named(repository, target, step, seen.get(step.path), outcome)
                done += 1
                progress.advance(1)
    except KeyboardInterrupt:
        outcome.left = len(steps) - done
        outcome.notes.append(
            f"stopped: the next push goes on with {counted(outcome.left, 'file')} of the mirror"
        )
    except MemsyncError as error:
        outcome.left = len(steps) - done
        outcome.failed += 1
        outcome.error = error
    finally:
        progress.end()
    if outcome.unheld:
        some = ", ".join(map(brief, outcome.unheld[:3])) + (" …" if len(outcome.unheld) > 3 else "")
        outcome.warnings.append(
            f"{counted(len(outcome.unheld), 'file')} left out, as the mirror's disk can't hold that name: "
            f"{some}; rename in Data/ what is to be read there"
        )
    return outcome


def _do_if_named(
    repository: Repository, target: MirrorTarget, step: Step, seen: MirrorFile | None, outcome: Outcome
) -> None:
    """One step. A name that the mirror refuses (such as an archive reference of another system) or its disk can't hold,
    or a file there that is too large to be read back, ends no other."""
    try:
        _do(repository, target, step, seen, outcome)
    except BadInput as error:
        if error.code not in (BAD_NAME, BAD_PATH, TOO_LARGE):
            raise
        outcome.failed += 1
        if error.code == BAD_NAME:
            outcome.unheld.append(step.path)
            return
        told = f"{brief(step.path)} could not be mirrored: {error.message}"
        outcome.warnings.append(told if error.code == BAD_PATH else f"{error.message}; {error.hint}")


def _do(
    repository: Repository, target: MirrorTarget, step: Step, seen: MirrorFile | None, outcome: Outcome
) -> None:
    if step.mirrored is not None:
        known = None if seen is None else content_of(repository, target, seen, step.mirrored)
        if step.work == Work.ERASE and (seen is None or known == step.mirrored.content):
            _erase(repository, target, step, seen, outcome)
            return
        if seen is None or (seen.trashed and known is not None):
            _without_file(repository, target, step, seen, outcome)
            return
        if known is None:  # in the trash as well: it empties itself after a while
            outcome.foreign.append(Foreign(step.path, seen, step.mirrored, target.fetch(seen.handle)))
            return
        if known != step.mirrored.content and not is_in_history(repository, step.path, known):
            _leave_to_others(step, outcome)
            return
        if known != step.mirrored.content and seen.path == step.path:
            # Another device refreshed it, or this one was cut off before it could note that it had.
            renewed = plan.renewed(repository, step, remember(repository, step.path, known, seen))
            if renewed is None:
                outcome.skipped += 1
                return
            step = renewed
    try:
        _change(repository, target, step, seen, outcome)
    except (Conflict, RemoteMissing) as error:
        _in_the_way(repository, target, step, error, outcome)
    except (
        Removed
    ):  # a commit replaced it meanwhile, and a collection let it go: the next push has what is there now
        outcome.skipped += 1


def _erase(
    repository: Repository, target: MirrorTarget, step: Step, seen: MirrorFile | None, outcome: Outcome
) -> None:
    """What was forgotten goes, whatever name a person gave it, and from the trash; then the new file comes."""
    try:
        if seen is not None:
            target.erase(seen)
            outcome.notes.append(f"{seen.path} in the mirror held what was forgotten; it was removed there")
        forget(repository, step.path)
        if step.entry is not None:
            _put(repository, target, step.entry, outcome)
    except (Conflict, RemoteMissing) as error:
        _in_the_way(repository, target, step, error, outcome)


def _change(
    repository: Repository, target: MirrorTarget, step: Step, seen: MirrorFile | None, outcome: Outcome
) -> None:
    if step.work == Work.ERASE:
        _erase(repository, target, step, seen, outcome)
        return
    if seen is None:
        assert step.entry is not None
        _put(repository, target, step.entry, outcome)
        return
    if seen.path != step.path:
        if seen.path == step.archive_as or has_left(step.path, seen.path):
            _archived_already(repository, target, step, seen, outcome)
        else:
            _renamed(repository, target, step, seen, outcome)
        return
    if step.work in (Work.REPLACE, Work.RETIRE):
        assert step.archive_as is not None and step.mirrored is not None
        moved = _moved(target, step.archive_as, step.mirrored.content, seen)
        _after_move(repository, target, step, moved, outcome)
        return
    _update(repository, target, step, seen, outcome)


def set_aside(
    repository: Repository,
    target: MirrorTarget,
    left: Departure,
    content: ContentId,
    seen: MirrorFile,
) -> None:
    """Move a file that holds that content from its path to the name under which it left."""
    moved = _moved(target, left.name, content, seen)
    if left.content != content:
        _complete(repository, target, moved, left.content)


def _moved(target: MirrorTarget, name: str, content: ContentId, seen: MirrorFile) -> MirrorFile:
    """The old file under its archive name; where a person (or `Data/Archive/`) has that, marked as references
    are."""
    notes = notes_for(content, seen.md5)
    try:
        return target.move(seen, name, notes)
    except Conflict:
        if target.look([(name, None)])[0] is None:
            raise  # it was the file itself that changed
        return target.move(seen, apart(name, content), notes)


def _after_move(
    repository: Repository, target: MirrorTarget, step: Step, moved: MirrorFile, outcome: Outcome
) -> None:
    """What follows once the old file has its archive name. It is forgotten last, so that a push that was cut
    off on the way comes by here again."""
    assert step.mirrored is not None
    outcome.moved += 1
    there = (None, step.mirrored.content)
    if moved.path == step.archive_as and step.archive_content not in there:
        _complete(repository, target, moved, step.archive_content)
    forget(repository, step.path)
    if step.entry is not None:
        _put(repository, target, step.entry, outcome)


def _archived_already(
    repository: Repository, target: MirrorTarget, step: Step, seen: MirrorFile, outcome: Outcome
) -> None:
    """Another device archived the file; or this one did, and was cut off before it could note that."""
    lying = _lying_there(repository, target, step)
    if lying is None:
        _after_move(repository, target, step, seen, outcome)
        return
    _on_from(repository, target, step, *lying, outcome)


def _leave_to_others(step: Step, outcome: Outcome) -> None:
    """It holds what no version here has: another device is ahead, and its mirror is newer than ours would be."""
    outcome.skipped += 1
    outcome.notes.append(
        f"another device has put a newer {step.path} into the mirror; 'memsync push --pull' brings that here"
    )


def _lying_there(
    repository: Repository, target: MirrorTarget, step: Step
) -> tuple[ContentId, MirrorFile] | None:
    """Another file of ours at the step's path: what it holds, and the file. A device put it there meanwhile."""
    assert step.mirrored is not None
    found = target.look([(step.path, None)])[0]
    if found is None or found.trashed or found.handle == step.mirrored.handle:
        return None
    content = content_of(repository, target, found, step.mirrored)
    return None if content is None else (content, found)


def _put(repository: Repository, target: MirrorTarget, entry: Entry, outcome: Outcome) -> None:
    source = BytesSource(repository.read(entry.content))
    intend(repository, entry)
    made = target.put(entry.path, source, notes_for(entry.content, source.md5()), entry.modified_ms)
    remember(repository, entry.path, entry.content, made)
    outcome.created += 1


def _update(
    repository: Repository, target: MirrorTarget, step: Step, seen: MirrorFile, outcome: Outcome
) -> None:
    entry, mirrored = step.entry, step.mirrored
    assert entry is not None and mirrored is not None
    source = BytesSource(repository.read(entry.content))
    made = target.update(seen, source, notes_for(entry.content, source.md5()), entry.modified_ms)
    if made.path != seen.path and has_left(step.path, made.path):
        # Another device archived it at this very moment. Its bytes come back, under a name that stands for nothing
        # else: what its new name stands for may be more, of versions that are not here yet.
        before = BytesSource(repository.read(mirrored.content))
        notes = notes_for(mirrored.content, before.md5())
        back = target.update(made, before, notes, seen.modified_ms)
        target.move(back, apart(made.path, mirrored.content), notes)
        raise Conflict(
            f"{step.path} was archived by another device meanwhile", hint="run 'memsync push' again"
        )
    remember(repository, entry.path, entry.content, made)
    outcome.updated += 1


def _complete(
    repository: Repository, target: MirrorTarget, moved: MirrorFile, content: ContentId | None
) -> None:
    """The reference stands for more than what lay in the mirror: appends came before the replace."""
    assert content is not None
    try:
        source = BytesSource(repository.read(content))
    except Removed:
        return  # by a collection: what lay in the mirror is what is left of it
    target.update(moved, source, notes_for(content, source.md5()), moved.modified_ms)


def _renamed(
    repository: Repository, target: MirrorTarget, step: Step, seen: MirrorFile, outcome: Outcome
) -> None:
    """A person gave the file another name or folder: it keeps it, and the new bytes go there."""
    if step.entry is None:
        outcome.notes.append(f"{step.path} was moved to {seen.path} in the mirror by hand; it is left there")
        set_state(repository, step.path, "left")
        outcome.skipped += 1
        return
    _update(repository, target, step, seen, outcome)
    outcome.notes.append(
        f"{step.path} was moved to {seen.path} in the mirror by hand; it is kept up to date there"
    )


def _without_file(
    repository: Repository, target: MirrorTarget, step: Step, seen: MirrorFile | None, outcome: Outcome
) -> None:
    """A person removed (or trashed) the file: a change of its content puts it there again, and says so. Or an
    earlier push moved it to its archive name and was cut off before it could note that."""
    how = "moved to the trash" if seen is not None else "removed"
    moved = _cut_move(target, step) if seen is None else None
    try:
        if moved is not None:
            _after_move(repository, target, step, moved, outcome)
            return
        lying = _lying_there(repository, target, step)
        if lying is not None:  # of twins, another device let that one stay
            _on_from(repository, target, step, *lying, outcome)
            return
        forget(repository, step.path)
        if step.entry is None:
            outcome.skipped += 1
            return
        _put(repository, target, step.entry, outcome)
    except (Conflict, RemoteMissing) as error:
        _in_the_way(repository, target, step, error, outcome)
        return
    outcome.notes.append(
        f"{step.path} had been {how} in the mirror by hand; it changed since, so it is there again"
    )


def _cut_move(target: MirrorTarget, step: Step) -> MirrorFile | None:
    """The old file, if it lies under its archive name already."""
    if step.archive_as is None or step.mirrored is None:
        return None
    found = target.look([(step.archive_as, None)])[0]
    if found is None or found.trashed:
        return None
    wanted = (step.mirrored.content, step.archive_content)
    return found if ContentId.of(target.fetch(found.handle)) in wanted else None


def _in_the_way(
    repository: Repository, target: MirrorTarget, step: Step, error: MemsyncError, outcome: Outcome
) -> None:
    """Something else is where memsync wanted to write: a person's file comes home, the rest waits."""
    found = target.look([(step.path, None)])[0]
    if found is None or found.trashed:
        outcome.failed += 1
        outcome.warnings.append(f"{step.path} could not be mirrored: {error.message}; {error.hint}")
        return
    content = target.fetch(found.handle)
    id = ContentId.of(content)
    if step.entry is not None and id == step.entry.content:
        remember(repository, step.path, id, found)
        outcome.skipped += 1
    elif is_in_history(repository, step.path, id):
        _on_from(repository, target, step, id, found, outcome)
    elif found.md5 is not None and found.md5 == found.notes.get("md5"):
        _leave_to_others(step, outcome)
    else:
        outcome.foreign.append(Foreign(step.path, found, step.mirrored, content))


def _on_from(
    repository: Repository,
    target: MirrorTarget,
    step: Step,
    holds: ContentId,
    found: MirrorFile,
    outcome: Outcome,
) -> None:
    """A version of ours lies there, put by another device, or by a push that was cut off before it could note
    that."""
    if not is_in_history(repository, step.path, holds):
        _leave_to_others(step, outcome)
        return
    there = remember(repository, step.path, holds, found)
    renewed = plan.renewed(repository, step, there)
    if renewed is None:
        outcome.skipped += 1
        return
    try:
        _change(repository, target, renewed, found, outcome)
    except (Conflict, RemoteMissing) as error:
        outcome.failed += 1
        outcome.warnings.append(f"{step.path} could not be mirrored: {error.message}; {error.hint}")
