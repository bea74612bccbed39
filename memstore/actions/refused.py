"""What lies in `Data/` and no commit takes in, found without writing anything: for `status`, and for whoever names
such a file. What decides is what a commit asks itself (`Writer.forgotten`, `Withheld`)."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Final

from memstore import files
from memstore.actions import secrets
from memstore.actions.here import content_at
from memstore.errors import BadInput, DamagedData, DiskTrouble, typed
from memstore.ids import ContentId
from memstore.manifest.removed import any_forgotten
from memstore.manifest.version import ChangeKind, Kind
from memstore.objects.record import PIECE_LIMIT, RecordKind
from memstore.withheld import LARGEST_SHAPE, Withheld, client_of
from memstore.worktree import found as worktree
from memstore.worktree.ignore import FILE_NAME, Ignore
from memstore.worktree.names import shown

if TYPE_CHECKING:
    from memstore.actions.pending import Pending
    from memstore.repository import Repository


TAKE_IT_OUT: Final = (
    "take it out; if it is none, let it through once: MEMSYNC_COMMIT_SECRETS=warn memsync commit"
)


class Refusals:
    """What commits of this workspace leave out for their bytes."""

    def __init__(self, repository: Repository) -> None:
        self._repository = repository
        self._forgotten = any_forgotten(repository.catalogue)
        self._withheld = Withheld(repository.workspace)
        config = repository.workspace.config
        self._looking = config.commit_secrets == secrets.REFUSE and secrets.wanted(config)

    def reason(self, path: str, kind: Kind, content: ContentId, size: int) -> str | None:
        """Why a file of `Data/` that has this content, in `size` bytes, is left out; None if it is not."""
        if self._forgotten:
            stone = self._repository.reader.forgotten(content)
            if stone is not None:
                return stone.refusal()
        client = None
        if kind != Kind.SYMLINK and size <= LARGEST_SHAPE:
            try:
                client = client_of(files.read(os.path.join(self._repository.workspace.data, path)))
            except (OSError, DiskTrouble):  # gone since, and then nothing of it is committed either
                return None
        return self._withheld.reason(content, size, client)

    def suspect(self, row: Pending) -> str | None:
        """Why nothing is committed while a file is as it is: a line that is new in it looks like a credential."""
        new, old = row.new, row.old
        if not self._looking or new is None or new.kind == Kind.SYMLINK or new.size > PIECE_LIMIT:
            return None
        if any(
            form.kind != RecordKind.TOMBSTONE for form in self._repository.catalogue.locations(new.content)
        ):
            return None
        from memstore.suspects import look, not_in

        try:
            raw = files.read(os.path.join(self._repository.workspace.data, row.path))
        except (OSError, DiskTrouble):
            return None
        appended = row.change == ChangeKind.APPEND
        found = look(raw, old.size if appended and old is not None else 0)
        if found and old is not None and not appended and old.size <= PIECE_LIMIT:
            with contextlib.suppress(DamagedData):
                found = not_in(found, self._repository.read(old.content))
        for suspect in found:
            if suspect.line:
                return (
                    f"line {suspect.line} looks like a credential ({suspect.kind}), and with commit.secrets = "
                    '"refuse" nothing is committed while it is there'
                )
        return None


def deleting(repository: Repository, path: str) -> str:
    """The command by which a person deletes a file of `Data/`."""
    return f"rm {typed(os.path.join(repository.workspace.data, path))}"


def never_committed(repository: Repository, path: str) -> BadInput | None:
    """The error for a path that history does not have: why, and what to do. None where `Data/` has it neither."""
    place = os.path.join(repository.workspace.data, path)
    if not os.path.lexists(place):
        return None
    is_folder = os.path.isdir(place) and not os.path.islink(place)
    why, hint = _why(repository, path, is_folder)
    return BadInput(
        f"{shown(path)} is in Data/, but no version has it: {why}", hint=hint, code="never_committed"
    )


def not_in_head(repository: Repository, path: str) -> BadInput | None:
    """The error for what a commit has just left out of HEAD, which earlier versions may have: why, and what to do. None
    where it is not in `Data/`."""
    place = os.path.join(repository.workspace.data, path)
    if not os.path.lexists(place):
        return None
    if os.path.isdir(place) and not os.path.islink(place):
        why, hint = "its files are left out", f"'memsync commit {typed(path or '.')}' says why"
    else:
        why, hint = _why(repository, path, is_folder=False)
    return BadInput(
        f"{shown(path) if path else '.'} is in Data/, but the last version has nothing of it: {why}",
        hint=hint,
        code="left_out",
    )


def _why(repository: Repository, path: str, is_folder: bool) -> tuple[str, str]:
    """Why history has nothing of what lies at a path of `Data/`, and what to do about it."""
    ignore = Ignore.load(repository.workspace.data)
    if ignore.covers(path, is_folder):
        if ignore.own_rule(path, is_folder):
            return (
                f"a rule of {FILE_NAME} leaves it out",
                f"take that rule out, then 'memsync commit {typed(path)}'",
            )
        return (
            "its name is one that is left out as noise",
            f"to have it in all the same, put the line '!{path}' into Data/{FILE_NAME}, then "
            f"'memsync commit {typed(path)}'",
        )
    if is_folder:
        return (
            "no file of it was ever committed",
            f"'memsync commit {typed(path)}' does, or says what it leaves out",
        )
    try:
        here = content_at(repository, path)
    except DiskTrouble as error:
        return error.message, error.hint
    item = worktree.look(repository.workspace.data, path)
    if here is not None and item is not None:
        reason = Refusals(repository).reason(path, here.kind, here.content, item.size)
        if reason is not None:
            return reason, f"delete it yourself: {deleting(repository, path)}"
    return "it was never committed", f"'memsync commit {typed(path)}' records it, or says why not"
