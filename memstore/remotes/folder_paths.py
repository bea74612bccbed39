"""What is really there in a remote folder.

The folder is shared with people and machines that memsync knows nothing of: a name is followed only inside
the root and never through a symlink.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from typing import Final

from memstore import files
from memstore.remotes.base import MirrorFile, Source

PIECE: Final = 1 << 20
"""Bytes copied at a time."""


def entry(path: str) -> os.stat_result | None:
    """What has this name (a symlink is itself), None if nothing does."""
    try:
        return os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None


def real_folder(root: str, below: str) -> bool:
    """Whether `below` (a `/` path under `root`, "" for the root) is a folder reached without any symlink."""
    path = root
    for part in below.split("/") if below else ():
        path = os.path.join(path, part)
        facts = entry(path)
        if facts is None or not stat.S_ISDIR(facts.st_mode):
            return False
    return True


def names_in(folder: str) -> Sequence[str]:
    """What a folder holds; nothing where there is none, or something else has its name."""
    facts = entry(folder)
    if facts is None or not stat.S_ISDIR(facts.st_mode):
        return []
    return files.names(folder)


def stamp_of(facts: os.stat_result) -> str:
    """Another whenever the bytes may be others: size, mtime in nanoseconds, inode."""
    return f"{facts.st_size}-{facts.st_mtime_ns}-{facts.st_ino}"


def seen_as(path: str, facts: os.stat_result) -> MirrorFile:
    """The file that has this path of the mirror and these facts."""
    return MirrorFile(
        path=path,
        handle=path,
        size=facts.st_size,
        md5=None,
        stamp=stamp_of(facts),
        modified_ms=facts.st_mtime_ns // 1_000_000,
    )


def holds(path: str, source: Source) -> bool:
    """Whether the file at `path` has the source's bytes, read back from there."""
    descriptor = files.open_read(path)
    try:
        if os.fstat(descriptor).st_size != source.size:
            return False
        return all(
            files.read_at(descriptor, offset, min(PIECE, source.size - offset))
            == source.read_at(offset, min(PIECE, source.size - offset))
            for offset in range(0, source.size, PIECE)
        )
    finally:
        os.close(descriptor)
