"""Bringing the mirror to the plan, one file after another, touching only what is as memsync left it.

A file that is not as memsync left it is a person's: it goes onto a list for `bring_home` and is left alone.
Each finished step is noted at once, so that a mirror cut anywhere goes on where it stopped.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple

from memstore.errors import Conflict, MemsyncError, RemoteMissing
from memstore.ids import ContentId, VersionId
from memstore.manifest import history
from memstore.manifest.version import Entry
from memstore.mirror import plan
from memstore.mirror.departure import marked
from memstore.mirror.plan import Mirrored, Step, Work
from memstore.objects.reader import Removed
from memstore.progress import Progress
from memstore.remotes.base import BytesSource, MirrorFile, MirrorTarget, OpenRemote
from memstore.reports import MirrorCounts, counted

if TYPE_CHECKING:
    from memstore.repository import Repository

LOOK_AT_ONCE: Final = 100


class Foreign(NamedTuple):
    """A mirror file that holds somebody's bytes."""

    path: str
    """The path of `Data/` it belongs to."""
    seen: MirrorFile
    mirrored: Mirrored | None
    content: bytes


@dataclass(slots=True)
class Outcome:
    """What became of the steps."""

    created: int = 0
    updated: int = 0
    moved: int = 0
    skipped: int = 0
    failed: int = 0
    notes: list[str] = field(default_factory=list)
    foreign: list[Foreign] = field(default_factory=list)
    left: int = 0
    """Steps that were not begun, because the work was interrupted."""
    error: MemsyncError | None = None
    """What ended the work early."""

    def counts(self) -> MirrorCounts:
        return MirrorCounts(self.created, self.updated, self.moved, self.skipped, self.failed)


def apply(repository: Repository, target: MirrorTarget, steps: Sequence[Step], progress: Progress) -> Outcome:
    """Do the steps. Ends early, with `left` counted, on Ctrl-C and on trouble with the remote."""
    outcome = Outcome()
    progress.begin("mirror", len(steps), "files")
    done = 0
    try:
        for start in range(0, len(steps), LOOK_AT_ONCE):
            batch = steps[start : start + LOOK_AT_ONCE]
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
                _do(repository, target, step, seen.get(step.path), outcome)
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
    return outcome


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
        if seen.path == step.archive_as:
            _after_move(repository, target, step, seen, outcome)
        else:
            _renamed(repository, target, step, seen, outcome)
        return
    if step.work in (Work.REPLACE, Work.RETIRE):
        _after_move(repository, target, step, _moved(target, step, seen), outcome)
        return
    assert step.entry is not None
    _update(repository, target, step.entry, seen, outcome)


def _moved(target: MirrorTarget, step: Step, seen: MirrorFile) -> MirrorFile:
    """The old file under its archive name; where a person (or `Data/Archive/`) has that, marked as references
    are."""
    assert step.archive_as is not None and step.mirrored is not None
    notes = notes_for(step.mirrored.content, seen.md5)
    try:
        return target.move(seen, step.archive_as, notes)
    except Conflict:
        if target.look([(step.archive_as, None)])[0] is None:
            raise  # it was the file itself that changed
        return target.move(seen, marked(step.archive_as, step.mirrored.content), notes)


def _after_move(
    repository: Repository, target: MirrorTarget, step: Step, moved: MirrorFile, outcome: Outcome
) -> None:
    """What follows once the old file has its archive name. It is forgotten last, so that a push that was cut
    off on the way comes by here again."""
    assert step.mirrored is not None
    outcome.moved += 1
    if step.archive_content not in (None, step.mirrored.content):
        _complete(repository, target, moved, step.archive_content)
    forget(repository, step.path)
    if step.entry is not None:
        _put(repository, target, step.entry, outcome)


def _put(repository: Repository, target: MirrorTarget, entry: Entry, outcome: Outcome) -> None:
    source = BytesSource(repository.read(entry.content))
    _intend(repository, entry)
    made = target.put(entry.path, source, notes_for(entry.content, source.md5()), entry.modified_ms)
    remember(repository, entry.path, entry.content, made)
    outcome.created += 1


def _update(
    repository: Repository, target: MirrorTarget, entry: Entry, seen: MirrorFile, outcome: Outcome
) -> None:
    source = BytesSource(repository.read(entry.content))
    made = target.update(seen, source, notes_for(entry.content, source.md5()), entry.modified_ms)
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
        _set_state(repository, step.path, "left")
        outcome.skipped += 1
        return
    _update(repository, target, step.entry, seen, outcome)
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
        outcome.notes.append(f"{step.path} could not be mirrored: {error.message}")
        return
    content = target.fetch(found.handle)
    id = ContentId.of(content)
    if step.entry is not None and id == step.entry.content:
        remember(repository, step.path, id, found)
        outcome.skipped += 1
    elif is_in_history(repository, step.path, id):
        _on_from(repository, target, step, remember(repository, step.path, id, found), found, outcome)
    else:
        outcome.foreign.append(Foreign(step.path, found, step.mirrored, content))


def _on_from(
    repository: Repository,
    target: MirrorTarget,
    step: Step,
    there: Mirrored,
    found: MirrorFile,
    outcome: Outcome,
) -> None:
    """An earlier version of ours lies there, put by a push that was cut off before it could note that."""
    renewed = plan.renewed(repository, step, there)
    if renewed is None:
        outcome.skipped += 1
        return
    try:
        _change(repository, target, renewed, found, outcome)
    except (Conflict, RemoteMissing) as error:
        outcome.failed += 1
        outcome.notes.append(f"{step.path} could not be mirrored: {error.message}")


# -- what is known of the mirror ---------------------------------------------------------------------------


def content_of(
    repository: Repository, target: MirrorTarget, seen: MirrorFile, mirrored: Mirrored
) -> ContentId | None:
    """What a mirror file holds, if memsync put it there, whichever of its devices did; None if a person did."""
    if seen.stamp == mirrored.stamp:
        return mirrored.content
    if seen.md5 is not None:
        if seen.md5 != seen.notes.get("md5"):
            return None
        try:
            return ContentId.from_hex(seen.notes["content"])
        except (KeyError, ValueError):
            return mirrored.content
    id = ContentId.of(target.fetch(seen.handle))
    return id if id == mirrored.content or is_in_history(repository, mirrored.path, id) else None


def is_in_history(repository: Repository, path: str, content: ContentId) -> bool:
    """Whether some version of that path has this content."""
    return any(
        change.entry is not None and change.entry.content == content
        for _, change in history.path_history(repository.catalogue, path)
    )


def notes_for(content: ContentId, md5: str | None) -> dict[str, str]:
    """What stands on a mirror file: its content id, and the md5 by which Drive shows it untouched."""
    notes = {"content": str(content)}
    if md5 is not None:
        notes["md5"] = md5
    return notes


def remember(repository: Repository, path: str, content: ContentId, made: MirrorFile) -> Mirrored:
    """Note what lies in the mirror for a path; the note."""
    return _note(repository, Mirrored(path, content, made.size, made.handle, made.stamp))


def _note(repository: Repository, row: Mirrored, state: str = "") -> Mirrored:
    repository.catalogue.db.execute(
        "INSERT OR REPLACE INTO mirror (path, content, size, handle, stamp, state) VALUES (?, ?, ?, ?, ?, ?)",
        # A folder's handle is the path itself, which need not stand there twice.
        (
            row.path,
            bytes(row.content),
            row.size,
            None if row.handle == row.path else row.handle,
            row.stamp,
            state,
        ),
    )
    return row


def _intend(repository: Repository, entry: Entry) -> None:
    """Note that a file may lie there from now on: if its put is cut off and the path is gone from `Data/` by the
    next push, that one looks for it."""
    # At once: a row without its state, after a power cut, would say that the file is there, under no name.
    _note(repository, Mirrored(entry.path, entry.content, entry.size, "", ""), plan.INTENDED)


def forget(repository: Repository, path: str) -> None:
    repository.catalogue.db.execute("DELETE FROM mirror WHERE path = ?", (path,))


def _set_state(repository: Repository, path: str, state: str) -> None:
    repository.catalogue.db.execute("UPDATE mirror SET state = ? WHERE path = ?", (state, path))


def relearn(repository: Repository, target: OpenRemote, finished: VersionId | None) -> int:
    """Fill the table from what lies in the mirror, after the catalogue was lost, or in a new clone.

    Only files whose bytes are known of history at that very path are taken for ours; whatever else is there
    is found when a step meets it. `finished` is the version that the mirror was brought to last, if that is
    known: a folder keeps no notes, so what it should hold and does not, a person changed or took away.
    Returns how many were recognised.
    """
    found = 0
    db = repository.catalogue.db
    for seen in target.walk():
        if seen.trashed:
            continue
        noted = seen.notes.get("content")
        if noted is not None and seen.md5 is not None and seen.md5 == seen.notes.get("md5"):
            id = ContentId.from_hex(noted)
        elif seen.md5 is None and db.execute("SELECT 1 FROM paths WHERE name = ?", (seen.path,)).fetchone():
            id = ContentId.of(target.fetch(seen.handle))
        else:
            continue
        if is_in_history(repository, seen.path, id):
            remember(repository, seen.path, id, seen)
            found += 1
    if finished is not None and target.listing_is_free:
        selection = plan.Selection(repository.workspace.config)
        met = {path for (path,) in db.execute("SELECT path FROM mirror")}
        for entry in repository.entries(finished):
            if entry.path not in met and selection.takes(entry):
                _note(repository, Mirrored(entry.path, entry.content, entry.size, entry.path, ""))
    return found


def changed_by_hand(
    repository: Repository, target: MirrorTarget, only: Sequence[str] | None, known: Sequence[Foreign]
) -> tuple[list[Foreign], int]:
    """Mirror files that are up to date for us but not as we left them, and how many have an earlier version
    again (now noted, so that the plan sees it). Looks at every one: for remotes where looking is free."""
    rows = [
        Mirrored(path, ContentId(content), size, handle, stamp)
        for path, content, size, handle, stamp in repository.catalogue.db.execute(
            "SELECT path, content, size, coalesce(handle, path), stamp FROM mirror WHERE state = '' ORDER BY path"
        )
        if only is None or any(not name or path == name or path.startswith(name + "/") for name in only)
    ]
    met = {item.path for item in known}
    found: list[Foreign] = []
    earlier = 0
    for row, seen in zip(rows, target.look([(row.path, row.handle) for row in rows]), strict=True):
        if row.path in met or seen is None or seen.trashed or seen.stamp == row.stamp:
            continue
        content = content_of(repository, target, seen, row)
        if content is None:
            found.append(Foreign(row.path, seen, row, target.fetch(seen.handle)))
        else:
            remember(repository, row.path, content, seen)
            earlier += content != row.content
    return found, earlier
