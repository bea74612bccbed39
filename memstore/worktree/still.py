"""Folders in which nothing has changed: seen by one comparison of bytes for each.

Of a folder whose files all have HEAD's content, the catalogue keeps what `lstat` said of the folder and of each
file in it, as one string. While the folder itself has not changed (no name came or went), its names need no
reading, and the files are looked at in C alone: no line of Python for any of them. That is what a commit does
with nearly every folder.

Only where a folder can be looked at through a descriptor; elsewhere every folder is listed.
"""

from __future__ import annotations

import os
from array import array
from collections.abc import Iterable, Sequence
from functools import partial
from itertools import chain
from operator import attrgetter
from typing import TYPE_CHECKING, Final, NamedTuple

import msgpack

from memstore import files
from memstore.worktree.found import Found, StatKey, kind_of, stat_key

if TYPE_CHECKING:
    from memstore.crew import Answer

POSSIBLE: Final = files.POSIX and os.stat in os.supports_dir_fd and os.stat in os.supports_follow_symlinks

_OPEN_FOLDER: Final = (
    os.O_RDONLY | getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOFOLLOW", 0)
)
_WORDS: Final = 5
_facts = attrgetter("st_mode", "st_size", "st_mtime_ns", "st_ctime_ns", "st_ino")


class Still(NamedTuple):
    """A folder as it was when every file in it had HEAD's content."""

    key: StatKey
    """Of the folder itself."""
    names: Sequence[str]
    """Of its files."""
    folders: Sequence[str]
    """Prefixes of the folders in it, in path order: `a/b/`."""
    stats: bytes
    """Of each file: mode, size, times, inode, as machine words."""

    def packed(self) -> bytes:
        packed: bytes = msgpack.packb((tuple(self.key), list(self.names), list(self.folders), self.stats))
        return packed


_NEVER: Final = StatKey(-1, -1, -1, -1)
"""No folder has that."""


def unpack(packed: bytes) -> Still:
    """What `packed` gave; for bytes that it did not give (a damaged catalogue) a folder that never is still."""
    try:
        key, names, folders, stats = msgpack.unpackb(packed)
        "".join([*names, *folders])
        return Still(StatKey(*key), names, folders, stats)
    except (ValueError, TypeError, msgpack.UnpackException):
        return Still(_NEVER, (), (), b"")


def look(data: str, prefix: str, names: Iterable[str]) -> tuple[StatKey, bytes] | None:
    """What lstat says now of a folder ('' or ending in `/`) and of these files in it; None where something is
    not there, is out of the ordinary, or can't be looked at."""
    place = os.path.join(data, prefix[:-1]) if prefix else data
    try:
        descriptor = os.open(place, _OPEN_FOLDER if prefix else _OPEN_FOLDER & ~getattr(os, "O_NOFOLLOW", 0))
        try:
            key = stat_key(os.fstat(descriptor))
            lstat = partial(os.stat, dir_fd=descriptor, follow_symlinks=False)
            return key, array("q", chain.from_iterable(map(_facts, map(lstat, names)))).tobytes()
        finally:
            os.close(descriptor)
    except (OSError, OverflowError):
        return None


def is_still(data: str, prefix: str, known: Still) -> bool:
    """Whether the folder and its files are as they were."""
    return look(data, prefix, known.names) == (known.key, known.stats)


def pack_job(data: str, known: Sequence[tuple[str, bytes]]) -> bytes:
    """Folders, each with what `Still.packed` gave, for one of a crew to look at."""
    job: bytes = msgpack.packb((data, known))
    return job


def check(job: bytes) -> Answer:
    """The work of one of a crew: a byte for each folder, 1 where it is still."""
    from memstore.crew import Answer

    data, known = msgpack.unpackb(job)
    return Answer(bytes(is_still(data, prefix, unpack(packed)) for prefix, packed in known), b"")


def found(
    data: str, prefix: str, key: StatKey, items: Sequence[Found], folders: Sequence[str]
) -> Still | None:
    """What is to be known of a folder of which a scan saw these files, all with HEAD's content, and these folders
    after `key` was taken; None where something has changed since."""
    names = [item.path[len(prefix) :] for item in items]
    now = look(data, prefix, names)
    if now is None or now[0] != key:
        return None
    words = array("q")
    words.frombytes(now[1])
    for number, item in enumerate(items):
        mode, *facts = words[_WORDS * number : _WORDS * (number + 1)]
        if (kind_of(mode), *facts) != item[1:]:
            return None
    return Still(key, names, folders, now[1])
