"""A file on its way into the store: what HEAD had of it, what was found, what became of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from memstore.errors import DiskTrouble
from memstore.ids import ContentId
from memstore.worktree import names
from memstore.worktree.found import Found, StatKey

if TYPE_CHECKING:
    from memstore.suspects import Suspect


class Old(NamedTuple):
    """What HEAD holds for a path."""

    kind: int
    size: int
    content: ContentId
    modified_ms: int


class Candidate(NamedTuple):
    """A file that is new or may differ from HEAD."""

    found: Found
    old: Old | None


class Ingested(NamedTuple):
    """A file whose content is in the store now, or will be with this commit."""

    found: Found
    old: Old | None
    content: ContentId
    size: int
    stat: StatKey | Found
    """What lstat said when exactly this content was read; the scan's own finding, where that still held."""
    modified_ms: int
    appended: bool
    """The old content is a prefix of this one."""
    suspects: tuple[Suspect, ...] = ()
    """Lines that look like credentials and are new with this content."""
    client: str | None = None
    """Whose sign-in the content is; see `withheld.client_of`."""


class Unreadable(NamedTuple):
    """A file that could not be read; the others are committed all the same."""

    path: str
    warning: str


def left_out(path: str, reason: str) -> Unreadable:
    return Unreadable(path, f"'{names.shown(path)}' is left out: {reason}")


def unreadable(path: str, reason: str) -> Unreadable:
    return Unreadable(path, f"'{names.shown(path)}' could not be read and is left as it was: {reason}")


def reason(error: OSError | DiskTrouble) -> str:
    """Why a file could not be read, for a warning."""
    if isinstance(error, DiskTrouble):
        return error.message
    return error.strerror or str(error)
