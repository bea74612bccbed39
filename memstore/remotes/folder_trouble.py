"""What the disk under a remote folder says, as trouble of the remote."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager

from memstore import files
from memstore.errors import BadInput, Conflict, DiskTrouble, RemoteFull, RemoteMissing, RemoteTrouble, typed

_FULL = (errno.ENOSPC, errno.EDQUOT)
_REFUSED = (errno.EACCES, errno.EPERM, errno.EROFS)


def expect_root(root: str) -> None:
    """Raises `RemoteMissing` where the remote's folder is not there, as when its disk is not mounted."""
    if not os.path.isdir(root):
        raise RemoteMissing(
            f"the remote folder {root} is not there",
            hint="mount the disk or share it is on; where it is to be made (anew): "
            f"'memsync remote set {typed(root)}', then 'memsync push'",
        )


@contextmanager
def trouble(root: str, doing: str) -> Iterator[None]:
    """What the disk says inside, raised as `RemoteTrouble`, `BadInput` or `Conflict`. `doing` is the sentence's
    beginning (`could not read`), `root` the remote's folder."""
    try:
        yield
    except DiskTrouble as error:
        cause = error.__cause__
        number = cause.errno if isinstance(cause, OSError) else None
        raise _translated(root, number, error.message) from error
    except OSError as error:
        if isinstance(error, FileNotFoundError | NotADirectoryError):
            expect_root(root)
        message = f"{doing} {error.filename or root}: {error.strerror or error}"
        raise _translated(root, error.errno, message) from error


def _translated(root: str, number: int | None, message: str) -> RemoteTrouble | BadInput | Conflict:
    if number in _FULL:
        return RemoteFull(message, hint="free some space there and run the command again")
    if number in files.BAD_NAME_ERRORS:
        hint = "that disk can't hold a file of this name; rename it in Data/"
        return BadInput(message, hint=hint, code=files.BAD_NAME)
    if number in (errno.ENOTDIR, errno.EEXIST, errno.EISDIR):
        return Conflict(message, hint="a file stands where a folder is needed, or the other way round")
    found = RemoteTrouble(
        message, hint=f"check that {root} is mounted and answers, and run the command again"
    )
    if number in _REFUSED:
        found.retryable = False
        found.hint = f"{root} can't be written: check its permissions, or how it is mounted"
    return found


def is_absence(error: BaseException) -> bool:
    """Whether it says that something is not there."""
    cause = error.__cause__ if isinstance(error, DiskTrouble) else error
    return isinstance(cause, FileNotFoundError)
