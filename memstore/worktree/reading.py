"""Reading a file that somebody may be writing.

What is read belongs together: the file is looked at before and after, and bytes that changed in between are
not returned. A file that became a symlink, a pipe or a folder since it was found is never followed or waited
for. Such a change is a `DiskTrouble` with the code `CHANGED`: look at the path again, and read what is there.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from types import TracebackType
from typing import Final, Self

from memstore import files
from memstore.errors import DiskTrouble
from memstore.worktree.found import StatKey, stat_key
from memstore.worktree.names import shown

SMALL: Final = 16 << 20
"""Bytes up to which a file is read as a whole."""

CHANGED: Final = "file_changed"

_TRIES: Final = 5


def read_small(place: str) -> tuple[bytes, StatKey]:
    """All bytes of the file at a place on the disk, at most `SMALL` of them, and the stat key they go with.

    A file that changes while it is read is read again, up to 5 times. Raises `DiskTrouble` with the code
    `CHANGED` if it won't rest, is larger, or is no file any more; `FileNotFoundError` as the system gives it.
    """
    for _ in range(_TRIES):
        descriptor, before = _open(place)
        try:
            size = before.st_size
            if size > SMALL:
                break
            content = os.read(descriptor, size + 1)
            after = os.fstat(descriptor)
        except OSError as error:
            raise files.disk_error(error, "could not read", place) from error
        finally:
            os.close(descriptor)
        if (
            len(content) == after.st_size == size
            and before.st_mtime_ns == after.st_mtime_ns
            and before.st_ctime_ns == after.st_ctime_ns
        ):
            return content, stat_key(after)
    raise changed(place)


def read_link(place: str) -> tuple[bytes, StatKey]:
    """The target of the symlink at a place on the disk, as bytes, never followed, and its stat key.

    Raises as `read_small`.
    """
    for _ in range(_TRIES):
        try:
            before = os.lstat(place)
            if not stat.S_ISLNK(before.st_mode):
                break
            target = os.readlink(os.fsencode(place))
            after = os.lstat(place)
        except FileNotFoundError:
            raise
        except OSError as error:
            raise files.disk_error(error, "could not read the symbolic link", place) from error
        if stat_key(before) == stat_key(after):
            if not files.POSIX:  # pragma: no cover - Windows answers in its own spelling
                target = target.removeprefix(b"\\\\?\\").replace(b"\\", b"/")
            return target, stat_key(after)
    raise changed(place)


class StableFile(contextlib.AbstractContextManager["StableFile"]):
    """A file of any size, opened once and read at positions, safely from several threads.

        with StableFile(place) as file:
            ... file.read_at(offset, length) ...
            if file.changed(): ...  # what was read does not belong together

    Opening raises as `read_small` does.
    """

    def __init__(self, place: str) -> None:
        self.place = place
        self._descriptor, facts = _open(place)
        self.key = stat_key(facts)

    @property
    def size(self) -> int:
        """Bytes, when it was opened."""
        return self.key.size

    def read_at(self, offset: int, length: int) -> bytes:
        """`length` bytes from `offset`; fewer only at the end of the file."""
        try:
            return files.read_at(self._descriptor, offset, length)
        except OSError as error:
            raise files.disk_error(error, "could not read", self.place) from error

    def read_into(self, offset: int, room: memoryview) -> int:
        """Fill `room` from `offset`: how many bytes that were; fewer only at the end of the file."""
        try:
            return files.read_into(self._descriptor, offset, room)
        except OSError as error:
            raise files.disk_error(error, "could not read", self.place) from error

    def pieces(self, length: int = 1 << 20) -> Iterator[bytes]:
        """The file from its start to the size it was opened with, in pieces of `length` bytes."""
        for offset in range(0, self.size, length):
            yield self.read_at(offset, min(length, self.size - offset))

    def changed(self) -> bool:
        """Whether the file has been written to, or the place given to another file, since it was opened."""
        if stat_key(os.fstat(self._descriptor)) != self.key:
            return True
        try:
            return stat_key(os.lstat(self.place)) != self.key
        except OSError:
            return True

    def close(self) -> None:
        os.close(self._descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def changed(place: str) -> DiskTrouble:
    return DiskTrouble(
        f"{shown(place)} keeps changing while it is read",
        hint="run 'memsync commit' again when the program that writes it has finished",
        code=CHANGED,
    )


def _open(place: str) -> tuple[int, os.stat_result]:
    try:
        descriptor = files.open_read(place)
    except FileNotFoundError:
        raise
    except OSError as error:
        if os.path.islink(place) or os.path.isdir(place):
            raise changed(place) from error
        raise files.disk_error(error, "could not read", place) from error
    facts = os.fstat(descriptor)
    if not stat.S_ISREG(facts.st_mode):
        os.close(descriptor)
        raise changed(place)
    return descriptor, facts


class Recycled:
    """Reads a file into memory that is used again as soon as nobody has a view of it.

    A page that the system gives anew has to be cleared and mapped, which may take several times as long as filling it
    (docs/performance.md); and what a thread lets go of goes back to the system.
    """

    def __init__(self, file: StableFile, room: int) -> None:
        """`room`: the most bytes of one read."""
        self._file = file
        self._room = room
        self._buffers: list[bytearray] = []

    def read_at(self, offset: int, length: int) -> memoryview:
        """As `StableFile.read_at`; by one thread at a time."""
        buffer = next((one for one in self._buffers if not _is_viewed(one)), None)
        if buffer is None:
            buffer = bytearray(self._room)
            self._buffers.append(buffer)
        view = memoryview(buffer)
        return view[: self._file.read_into(offset, view[:length])]


def _is_viewed(buffer: bytearray) -> bool:
    """Python refuses to resize a bytearray that somebody has a view of."""
    try:
        buffer.append(buffer.pop())
    except BufferError:
        return True
    return False
