"""What is known of the mirror: a row of the catalogue for each file that memsync put there.

Rows are hints (invariant 4): whoever touches a file looks at it first.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

from memstore.errors import BadInput
from memstore.ids import ContentId, VersionId
from memstore.manifest import history
from memstore.manifest.version import Entry
from memstore.mirror.plan import INTENDED, Mirrored, Selection, wanted
from memstore.remotes.base import FETCHED_AT_MOST, TOO_LARGE, MirrorFile, MirrorTarget, OpenRemote

if TYPE_CHECKING:
    from memstore.objects.connection import Connection
    from memstore.repository import Repository


AT_ONCE: Final = 1000
"""Files that are looked at together where looking is free."""
LOOK_AT_ONCE: Final = 100
"""Files of the mirror that are looked at together."""


class Foreign(NamedTuple):
    """A mirror file that holds somebody's bytes."""

    path: str
    """The path of `Data/` it belongs to."""
    seen: MirrorFile
    mirrored: Mirrored | None
    content: bytes

    @property
    def below(self) -> ContentId | None:
        """What they changed: what memsync put there last, on whichever device where the mirror keeps notes."""
        try:
            return ContentId.from_hex(self.seen.notes["content"])
        except (KeyError, ValueError):
            return None if self.mirrored is None else self.mirrored.content


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
    return note(repository, Mirrored(path, content, made.size, made.handle, made.stamp))


def note(repository: Repository, row: Mirrored, state: str = "") -> Mirrored:
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


def intend(repository: Repository, entry: Entry) -> None:
    """Note that a file may lie there from now on: if its put is cut off and the path is gone from `Data/` by the
    next push, that one looks for it."""
    # At once: a row without its state, after a power cut, would say that the file is there, under no name.
    note(repository, Mirrored(entry.path, entry.content, entry.size, "", ""), INTENDED)


def forget(repository: Repository, path: str) -> None:
    repository.catalogue.db.execute("DELETE FROM mirror WHERE path = ?", (path,))


def set_state(repository: Repository, path: str, state: str) -> None:
    repository.catalogue.db.execute("UPDATE mirror SET state = ? WHERE path = ?", (state, path))


def relearn(repository: Repository, target: OpenRemote, finished: VersionId | None) -> None:
    """Fill the table from what lies in a mirror that keeps no notes, after the catalogue was lost, or in a new clone
    (of one that keeps them, `learn_of_others` tells as much).

    Only files whose bytes are known of history at that very path are taken for ours; whatever else is there
    is found when a step meets it. `finished` is the version that the mirror was brought to last, if that is
    known: what it should hold and does not, a person changed or took away.
    """
    db = repository.catalogue.db
    for seen in target.walk():
        if _may_be_ours(db, seen):
            id = ContentId.of(target.fetch(seen.handle))
            if is_in_history(repository, seen.path, id):
                remember(repository, seen.path, id, seen)
    if finished is not None:
        selection = Selection(repository.workspace.config)
        met = {path for (path,) in db.execute("SELECT path FROM mirror")}
        for entry in repository.entries(finished):
            if entry.path not in met and selection.takes(entry):
                note(repository, Mirrored(entry.path, entry.content, entry.size, entry.path, ""))


def _may_be_ours(db: Connection, seen: MirrorFile) -> bool:
    """Whether history knows the path, and the file is one that would be read back."""
    known = db.execute("SELECT 1 FROM paths WHERE name = ?", (seen.path,)).fetchone()
    return known is not None and seen.size <= FETCHED_AT_MOST


def learn_what_left(repository: Repository, target: OpenRemote, finished: VersionId | None) -> None:
    """Of a mirror that keeps no notes: note what other devices put there and HEAD has no more, so that the plan sees
    it; only files whose bytes are known of history at that very path. And forget what they took away that was made
    anew here since the mirror was `finished`: its content may be the old one, and its file is gone."""
    db = repository.catalogue.db
    rows = dict(db.execute("SELECT path, state FROM mirror").fetchall())
    gone = {path for path, state in rows.items() if not state}
    for seen in target.walk():
        gone.discard(seen.path)
        if seen.path in rows or repository.catalogue.tree_entry(seen.path) is not None:
            continue
        if _may_be_ours(db, seen):
            id = ContentId.of(target.fetch(seen.handle))
            if is_in_history(repository, seen.path, id):
                remember(repository, seen.path, id, seen)
    head = repository.head_seq()
    if finished is None or head is None:
        return
    since = repository.seq(finished)
    for path in gone:
        if (repository.catalogue.last_change(head, path) or 0) > since:
            forget(repository, path)


def forget_removed(repository: Repository, target: MirrorTarget, only: Sequence[str]) -> int:
    """Forget of these paths and folders the files that a person removed (or trashed) though they are up to date, so
    that the plan makes them again; how many. Others come back by themselves when their content changes."""
    rows = [
        Mirrored(path, ContentId(content), size, handle, stamp)
        for path, content, size, handle, stamp in repository.catalogue.db.execute(
            "SELECT path, mirror.content, mirror.size, coalesce(handle, path), stamp "
            "FROM mirror JOIN tree USING (path) WHERE state = '' AND mirror.content = tree.content ORDER BY path"
        )
        if wanted(path, only)
    ]
    count = 0
    for start in range(0, len(rows), LOOK_AT_ONCE):
        some = rows[start : start + LOOK_AT_ONCE]
        for row, seen in zip(some, target.look([(row.path, row.handle) for row in some]), strict=True):
            if seen is None or (seen.trashed and content_of(repository, target, seen, row) is not None):
                forget(repository, row.path)
                count += 1
    return count


def changed_by_hand(
    repository: Repository, target: MirrorTarget, only: Sequence[str] | None, known: Sequence[Foreign]
) -> tuple[list[Foreign], int, list[str]]:
    """Mirror files that are up to date for us but not as we left them, how many have an earlier version again (now
    noted, so that the plan sees it), and a sentence for each that is too large to be read. Looks at every one: for
    remotes where looking is free."""
    met = {item.path for item in known}
    found: list[Foreign] = []
    earlier = 0
    told: list[str] = []
    for noted in _noted(repository):
        rows = [row for row in noted if row.path not in met and wanted(row.path, only)]
        for row, seen in zip(rows, target.look([(row.path, row.handle) for row in rows]), strict=True):
            if seen is None or seen.trashed or seen.stamp == row.stamp:
                continue
            try:
                content = content_of(repository, target, seen, row)
                if content is None:
                    found.append(Foreign(row.path, seen, row, target.fetch(seen.handle)))
            except BadInput as error:
                if error.code != TOO_LARGE:
                    raise
                told.append(f"{error.message}; {error.hint}")
                continue
            if content is not None:
                remember(repository, row.path, content, seen)
                earlier += content != row.content
    return found, earlier, told


def _noted(repository: Repository) -> Iterator[list[Mirrored]]:
    """What lies in the mirror as far as is known, so much at a time: who goes through it may note more."""
    rows: list[Mirrored] = []
    while True:
        rows = [
            Mirrored(path, ContentId(content), size, handle, stamp)
            for path, content, size, handle, stamp in repository.catalogue.db.execute(
                "SELECT path, content, size, coalesce(handle, path), stamp FROM mirror "
                "WHERE state = '' AND path > ? ORDER BY path LIMIT ?",
                (rows[-1].path if rows else "", AT_ONCE),
            )
        ]
        if not rows:
            return
        yield rows
