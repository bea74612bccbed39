"""Every error memsync raises on purpose, each with its mend.

An error carries a `code` (a stable word for programs), a `message` for a person, a `hint` (what mends it,
a command where there is one) and `retryable` (whether the same call may succeed later unchanged).
The command line maps `exit_code` to the process's exit status; nothing else decides it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from memstore.ids import VersionId


def typed(text: str) -> str:
    """A path as one word of a command line that a hint gives: as a POSIX shell reads it, in double quotes where they
    do, as the command itself often stands in single ones."""
    import re  # for what went wrong only, as shlex
    import shlex

    text = text or "."  # all of `Data/`
    if text.startswith("-"):
        text = f"./{text}"  # else it were an option
    if re.fullmatch(r"(?!~)[\w@%+=:,./~-]+", text):
        return text
    return shlex.quote(text) if set(text) & set('"$`!\\') else f'"{text}"'


class MemsyncError(Exception):
    """The root: everything memsync raises for the caller to see."""

    code = "error"
    exit_code = 8
    retryable = False

    def __init__(self, message: str, *, hint: str = "", code: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        if code is not None:
            self.code = code

    def as_json(self) -> dict[str, object]:
        """The `error` object of the contract."""
        return {
            "code": self.code,
            "message": self.message,
            "hint": self.hint,
            "retryable": self.retryable,
        }


class UsageError(MemsyncError):
    """The call itself makes no sense, whatever the workspace holds."""

    code = "usage"
    exit_code = 2


class BadInput(MemsyncError):
    """Workspace, configuration, path, id or time are not what they must be."""

    code = "bad_input"


class NoWorkspace(BadInput):
    """No `paths.json` and `.memsync/` in the folder or above it."""

    code = "no_workspace"


class Conflict(MemsyncError):
    """A person must decide; `paths` are those that both sides changed, where that is the reason, and `saved_first` is
    the version that holds what was not committed."""

    code = "conflict"
    exit_code = 3
    paths: tuple[str, ...] = ()
    saved_first: VersionId | None = None


class NotLoggedIn(MemsyncError):
    """No token, a token that is refused, or no right to the thing asked for."""

    code = "not_logged_in"
    exit_code = 4


class RemoteTrouble(MemsyncError):
    """The remote did not answer as it should; what is here is whole, and trying again may help."""

    code = "remote_trouble"
    exit_code = 5
    retryable = True


class RemoteMissing(RemoteTrouble):
    """A named file is not on the remote."""

    code = "remote_missing"


class RemoteFull(RemoteTrouble):
    """The remote has no room or its quota is spent: trying again at once does not help."""

    code = "remote_full"
    retryable = False


class DamagedData(MemsyncError):
    """Stored bytes do not match the hash that names them, or cannot be read as the format says."""

    code = "damaged"
    exit_code = 6


class MissingBase(DamagedData):
    """A delta whose base is nowhere: its own bytes may be whole."""


class StoreLocked(MemsyncError):
    """Another process holds the store and kept it past `lock_timeout`."""

    code = "locked"
    exit_code = 7
    retryable = True


class DiskTrouble(MemsyncError):
    """The local disk refused: full, read-only, an I/O error. Nothing half-made is visible."""

    code = "disk"
    exit_code = 8
    retryable = True
