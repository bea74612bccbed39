"""A person changed a file in the mirror: their bytes become a version before anything touches the file.

If `Data/` holds what the mirror held, the person's bytes are the path's new content, in `Data/` too.
Otherwise both sides changed: theirs is committed beside it, as `Rules (from Drive 2025-04-23T14-02-00Z).txt`.
What a commit would not take in (a sign-in; a credential, where these are refused) stays in the mirror, and is said.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from memstore.actions import checkout, secrets
from memstore.actions.checkout import Step
from memstore.actions.record import log_archived, record
from memstore.actions.secrets import Suspected
from memstore.errors import DamagedData, typed
from memstore.ids import ContentId
from memstore.manifest.references import References
from memstore.manifest.removed import is_forgotten, later_form
from memstore.manifest.version import Change, ChangeKind, Entry, Kind, Meta
from memstore.merging import names
from memstore.mirror.known import Foreign, remember
from memstore.objects import chunker, encoding
from memstore.objects.record import PIECE_LIMIT, RecordKind
from memstore.progress import SILENT
from memstore.withheld import client_of
from memstore.worktree.names import shown

if TYPE_CHECKING:
    from memstore.repository import Repository
    from memstore.suspects import Suspect
    from memstore.writer import Writer

ACTOR = "drive"


def bring_home(repository: Repository, foreign: Sequence[Foreign], where: str) -> tuple[list[str], list[str]]:
    """Commit the bytes a person left in the mirror; a sentence for each that came home, and warnings. `where` names
    the remote. Raises `BadInput` as a commit does."""
    secrets.require(repository.workspace.config)
    notes: list[str] = []
    warnings: list[str] = []
    with repository.writing() as writer:
        checkout.finish(repository, writer)
        weighed = _weighed(repository, writer, foreign)
        warnings += [_stays(repository, item.path, why, where) for item, why, _ in weighed if why is not None]
        coming = [(item, suspects) for item, why, suspects in weighed if why is None]
        paths = [item.path for item, _ in coming if _is_here(repository, item.path)]
        if paths:
            saved = record(repository, writer, paths, meta=Meta(reason="saved before changes came home"))
            log_archived(repository, saved.version)
            warnings += saved.warnings
        changes: list[Change] = []
        steps: list[Step] = []
        suspected: list[Suspected] = []
        for item, suspects in coming:
            path = item.path
            content = ContentId.of(item.content)
            _store(writer, content, item.content)
            row = repository.catalogue.tree_entry(item.path)
            head = None if row is None else Entry(item.path, Kind(row[0]), row[1], ContentId(row[2]), row[3])
            modified = item.seen.modified_ms or time.time_ns() // 1_000_000
            if head is not None and head.content == content:
                notes.append(f"{item.path} was changed on {where} by hand as it was here")
            elif head is not None and head.content == item.below:
                entry = Entry(item.path, head.kind, len(item.content), content, modified)
                changes.append(Change(item.path, _kind(item, head), entry))
                steps.append(Step(item.path, head, entry))
                notes.append(f"{item.path} was changed on {where} by hand; that is its newest version now")
            else:
                path = beside = _beside(repository, item.path, content, modified)
                entry = Entry(beside, Kind.FILE, len(item.content), content, modified)
                if repository.catalogue.tree_entry(beside) is None:
                    changes.append(Change(beside, ChangeKind.ADD, entry))
                    steps.append(Step(beside, None, entry))
                notes.append(
                    f"{item.path} was changed on {where} by hand, and here is another content too; theirs is {beside}"
                )
            if item.below is not None and is_forgotten(repository.catalogue, repository.reader, item.below):
                warnings.append(later_form(path))
            if suspects:
                suspected.append(Suspected(path, suspects))
        warnings += secrets.weighed(repository.workspace.config, suspected) if suspected else []
        if changes:
            time_ms = writer.time_of_next()
            references = References(repository.catalogue, time_ms)
            version = writer.add_version(
                [references.given_to(change) for change in changes],
                meta=Meta(note=f"changed by hand on {where}", actor=ACTOR),
                time_ms=time_ms,
                announce=lambda id: checkout.begin(repository, id, steps),
            )
            log_archived(repository, version)
            warnings += [left.warning for left in checkout.apply(repository, writer, steps, SILENT)]
            checkout.close(repository)
    for item, _ in coming:
        remember(repository, item.path, ContentId.of(item.content), item.seen)
    return notes, warnings


def _weighed(
    repository: Repository, writer: Writer, foreign: Sequence[Foreign]
) -> list[tuple[Foreign, str | None, tuple[Suspect, ...]]]:
    """Each with why it is not committed, or None, and with what looks like a credential in it and did not before: as
    a commit of these bytes would have it."""
    config = repository.workspace.config
    looking = secrets.wanted(config)
    weighed: list[tuple[Foreign, str | None, tuple[Suspect, ...]]] = []
    for item in foreign:
        content = ContentId.of(item.content)
        why = writer.withheld.reason(content, len(item.content), client_of(item.content))
        suspects: tuple[Suspect, ...] = ()
        if looking and why is None and len(item.content) <= PIECE_LIMIT and not writer.has(content):
            suspects = _suspects(repository, item)
            line = next((suspect for suspect in suspects if suspect.line), None)
            if line is not None and config.commit_secrets == secrets.REFUSE:
                why = f"line {line.line} looks like a credential ({line.kind}), and these are refused"
        weighed.append((item, why, suspects))
    return weighed


def _suspects(repository: Repository, item: Foreign) -> tuple[Suspect, ...]:
    from memstore.suspects import look, not_in

    old = b""
    if item.below is not None:
        with contextlib.suppress(DamagedData):
            old = repository.read(item.below)
    if item.content.startswith(old):
        return look(item.content, len(old))
    return not_in(look(item.content), old)


def _stays(repository: Repository, path: str, why: str, where: str) -> str:
    """The warning for what does not come home. Deleting it there is in nobody's way: history has what was below."""
    back = ""
    if repository.catalogue.tree_entry(path) is not None:
        back = f"; 'memsync push {typed(path)}' then puts back what is here"
    return (
        f"{shown(path)} was changed on {where} by hand and stays there as it is, in no version: {why}. Take that out, "
        f"or delete the file there{back}"
    )


def _store(writer: Writer, content: ContentId, data: bytes) -> None:
    """As a commit would: a large content is a recipe of pieces."""
    if writer.has(content):
        return
    if len(data) <= PIECE_LIMIT:
        writer.add(RecordKind.CONTENT, content, len(data), encoding.encode(data))
        return
    pieces: list[tuple[ContentId, int]] = []
    for id, piece in chunker.pieces(lambda offset, length: data[offset : offset + length], len(data)):
        if not writer.has(id):
            writer.add(RecordKind.CONTENT, id, len(piece), encoding.encode(piece))
        pieces.append((id, len(piece)))
    writer.add_recipe(content, pieces)


def _is_here(repository: Repository, path: str) -> bool:
    from memstore.worktree import found

    return (
        found.look(repository.workspace.data, path) is not None
        or repository.catalogue.tree_entry(path) is not None
    )


def _kind(item: Foreign, head: Entry) -> ChangeKind:
    prefix = item.content[: head.size]
    appended = len(item.content) >= head.size and ContentId.of(prefix) == head.content
    return ChangeKind.APPEND if appended else ChangeKind.REPLACE


def _beside(repository: Repository, path: str, content: ContentId, modified_ms: int) -> str:
    """A name beside the path that nothing else has."""
    for marked, digits in ((None, 0), (content, 8), (content, 64)):
        beside = names.beside(path, "Drive", modified_ms, marked, digits)
        row = repository.catalogue.tree_entry(beside)
        if row is None and not _is_here(repository, beside):
            return beside
        if row is not None and row[2] == content:
            return beside
    return beside
