"""The lock of the store: one process at a time.

A lock is no content of the disk: its file stands for something, holds nothing, and may lie there or not.
"""

from __future__ import annotations

import errno
import os
import sys
import time
from typing import Final

_LOOK_AGAIN: Final = 0.02
"""Seconds between two tries to take a lock."""

_OPEN: Final = os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)


def take(path: str, seconds: float) -> int:
    """The exclusive lock on a file that stands for something, for this process alone; give the descriptor back to
    `release`. Waits so many seconds, then `TimeoutError`; `OSError` where the system can't lock.

    The kernel lets go of it when the process ends, however it ends. It is the lock that the `filelock` library
    takes, whose import would be a quarter of the time of a small commit.
    """
    deadline = time.monotonic() + seconds
    while True:
        descriptor = os.open(path, _OPEN, 0o644)
        try:
            if _locks(descriptor) and os.fstat(descriptor).st_nlink:  # else somebody has removed the file
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError(errno.ETIMEDOUT, "another process holds the lock", path)
        time.sleep(min(_LOOK_AGAIN, left))


def release(descriptor: int) -> None:
    """Let go of what `take` gave."""
    os.close(descriptor)


def _locks(descriptor: int) -> bool:
    if sys.platform == "win32":  # pragma: no cover
        import msvcrt

        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except PermissionError:
            return False
        return True
    import fcntl

    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
