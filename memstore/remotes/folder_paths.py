"""What is really there in a remote folder.

The folder is shared with people and machines that memsync knows nothing of: a name is followed only inside
the root and never through a symlink.
"""

from __future__ import annotations

import os
import stat


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


def stamp_of(facts: os.stat_result) -> str:
    """Another whenever the bytes may be others: size, mtime in nanoseconds, inode."""
    return f"{facts.st_size}-{facts.st_mtime_ns}-{facts.st_ino}"
