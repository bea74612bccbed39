"""What one look at a file tells, and how far it can be trusted.

A **stat key** is what changes whenever a file's bytes may have changed: size, modification time, change time
and inode. Equal keys mean equal bytes unless the key is **racy**: taken so soon after a change that a second
change could have left the same times.
"""

from __future__ import annotations

import errno
import os
import stat
from array import array
from typing import Final, NamedTuple

from memstore import files
from memstore.manifest.version import Kind

SAFE_AGE_NS: Final = 2_000_000_000
"""FAT keeps times in steps of 2 s, the coarsest clock a data folder may lie on."""

FINE_AGE_NS: Final = 100_000_000
"""Where a change time has digits below a millisecond, the disk keeps times as the system's clock has them, which
ticks every 16 ms at the slowest (Windows; Linux 1 to 10 ms)."""

_MOST: Final = (1 << 63) - 1  # SQLite's largest integer; some inodes and times are larger
_JUNCTION: Final = 0xA0000003  # IO_REPARSE_TAG_MOUNT_POINT: Windows' other kind of link to a folder

_FILE: Final = int(Kind.FILE)
_EXECUTABLE: Final = int(Kind.EXECUTABLE)
_SYMLINK: Final = int(Kind.SYMLINK)


class StatKey(NamedTuple):
    """Size in bytes, times in nanoseconds since the epoch, inode: all within SQLite's integers."""

    size: int
    mtime_ns: int
    ctime_ns: int
    """Of the last change of bytes or mode, which no program can set; on Windows, of the creation."""
    inode: int


class Found(NamedTuple):
    """A file in `Data/`. Flat, and of plain `int` and `str`, so that SQLite binds it as it is."""

    path: str
    kind: int
    """The number of a `Kind`. A system without mode bits has no executables: every file there is a FILE."""
    size: int
    """Bytes; for a symlink, of its target."""
    mtime_ns: int
    ctime_ns: int
    inode: int

    @property
    def key(self) -> StatKey:
        return StatKey(*self[2:])

    @property
    def modified_ms(self) -> int:
        """What a manifest records: milliseconds since the epoch, UTC."""
        return self.mtime_ns // 1_000_000


class StatColumns:
    """What `lstat` said of very many files: 40 bytes each. Asked for in the order in which they were noted, or
    nearly so, each is found at once."""

    def __init__(self) -> None:
        self._paths: list[str] = []
        self._numbers = array("q")
        self._next = 0
        self._places: dict[str, int] | None = None

    def note(self, path: str, stat: tuple[int, int, int, int] | None) -> None:
        """None: what was said is not safe to believe."""
        self._paths.append(path)
        self._numbers.extend(stat or _NONE)

    def get(self, path: str, /) -> tuple[int, int, int, int] | None:
        """None for an unknown path, too."""
        place: int | None = self._next
        if self._next >= len(self._paths) or self._paths[self._next] != path:
            if self._places is None:
                self._places = {known: number for number, known in enumerate(self._paths)}
            place = self._places.get(path)
        if place is None:
            return None
        self._next = place + 1
        size, mtime, ctime, inode = self._numbers[4 * place : 4 * place + 4]
        return None if size < 0 else (size, mtime, ctime, inode)


_NONE: Final = (-1, 0, 0, 0)


def racy(key: StatKey | Found, clock_ns: int) -> bool:
    """Whether a file must be compared by content though its key is the one that was kept.

    `clock_ns` is what the clock of that file system (`files.clock_of`) said when the key was kept.
    """
    safe = clock_ns - (FINE_AGE_NS if key.ctime_ns % 1_000_000 else SAFE_AGE_NS)
    return key.mtime_ns >= safe or key.ctime_ns >= safe


def safe_before(clock_ns: int) -> tuple[int, int]:
    """`racy` for very many at once: times before the first are safe where the change time has digits below a
    millisecond, before the second elsewhere."""
    return clock_ns - FINE_AGE_NS, clock_ns - SAFE_AGE_NS


def stat_key(facts: os.stat_result) -> StatKey:
    mtime, ctime = facts.st_mtime_ns, facts.st_ctime_ns
    if mtime > _MOST or ctime > _MOST:
        mtime, ctime = min(mtime, _MOST), min(ctime, _MOST)
    return StatKey(facts.st_size, mtime, ctime, facts.st_ino & _MOST)


def kind_of(mode: int) -> int | None:
    """The number of the `Kind` for an lstat's mode; None for what no version holds (folder, pipe, device)."""
    form = stat.S_IFMT(mode)
    if form == stat.S_IFREG:
        # The owner's bit decides, as it does for git.
        return _EXECUTABLE if mode & 0o100 and files.POSIX else _FILE
    return _SYMLINK if form == stat.S_IFLNK else None


def is_folder(facts: os.stat_result) -> bool:
    """Whether an lstat shows a folder that really is there, not a link to one."""
    return stat.S_ISDIR(facts.st_mode) and getattr(facts, "st_reparse_tag", 0) != _JUNCTION


def described(facts: os.stat_result) -> str:
    """What an lstat shows, in words with their article."""
    if stat.S_ISDIR(facts.st_mode):
        return "a folder" if is_folder(facts) else "a link to a folder"
    words = {
        stat.S_IFREG: "a file",
        stat.S_IFLNK: "a symbolic link",
        stat.S_IFIFO: "a named pipe",
        stat.S_IFSOCK: "a socket",
        stat.S_IFBLK: "a device",
        stat.S_IFCHR: "a device",
    }
    return words.get(stat.S_IFMT(facts.st_mode), "no ordinary file")


def look(data: str, path: str) -> Found | None:
    """The file at a path that `check_path` passed, by one lstat; None if no file or symlink is there.

    Folders above it are taken as they are: `scan` is what refuses symlinks on the way. `OSError` as the
    system gives it, for anything but absence.
    """
    try:
        facts = os.lstat(os.path.join(data, path))
    except OSError as error:
        # ELOOP: a link above it leads to itself.
        if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
            return None
        raise
    kind = kind_of(facts.st_mode)
    return None if kind is None else Found(path, kind, *stat_key(facts))
