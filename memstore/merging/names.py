"""Names that a merge gives: to the side that is laid beside the other, and to what a disk would take for one."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Final

from memstore.ids import ContentId
from memstore.worktree.names import LONGEST_NAME, folded

LONGEST_DEVICE: Final = 40
_SIDE: Final = r" \(from [A-Za-z0-9-]+ \d{4}-\d\d-\d\dT\d\d-\d\d-\d\dZ(~[0-9a-f]{8,64})?\)(\.[^./]*)?\Z"


def beside(path: str, device: str, time_ms: int, content: ContentId | None = None, digits: int = 8) -> str:
    """`Core/Rules.txt` of `laptop` becomes `Core/Rules (from laptop 2025-04-23T14-02-00Z).txt`; with `content`,
    so many digits of it follow the time. The device's name keeps its letters, digits and `-`."""
    name = re.sub(r"[^A-Za-z0-9-]+", "-", device).strip("-")[:LONGEST_DEVICE] or "device"
    stamp = datetime.fromtimestamp(time_ms // 1000, UTC).strftime("%Y-%m-%dT%H-%M-%SZ")
    mark = "" if content is None else f"~{content.hex()[:digits]}"
    return _with(path, f" (from {name} {stamp}{mark})")


def apart(path: str, content: ContentId) -> str:
    """The path with `~` and 8 digits of its content before the extension."""
    return _with(path, f"~{content.hex()[:8]}")


def is_side_file(path: str) -> bool:
    """Whether the path is named as `beside` names one."""
    return re.search(_SIDE, path) is not None


def _with(path: str, words: str) -> str:
    """The path with words between its stem and its extension; a stem that would be too long is cut."""
    folder, slash, name = path.rpartition("/")
    stem, dot, extension = name.rpartition(".")
    if not stem:
        stem, dot, extension = name, "", ""
    room = LONGEST_NAME - len((words + dot + extension).encode())
    if room < 1:  # an extension as long as a name
        stem, dot, extension, room = name, "", "", LONGEST_NAME - len(words.encode())
    kept = stem.encode()[:room].decode("utf-8", "ignore")
    return f"{folder}{slash}{kept}{words}{dot}{extension}"


def folders(paths: Iterable[str]) -> set[str]:
    """Every folder above any of the paths."""
    found: set[str] = set()
    for path in paths:
        for folder in above(path):
            if folder in found:
                break
            found.add(folder)
    return found


def above(path: str) -> Iterator[str]:
    """The folders above a path, the nearest first."""
    end = path.rfind("/")
    while end > 0:
        yield path[:end]
        end = path.rfind("/", 0, end)


__all__ = ["above", "apart", "beside", "folded", "folders", "is_side_file"]
