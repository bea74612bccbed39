"""The two logs that other programs read: JSON lines at the paths that `paths.json` names.

Each line is appended whole, under a lock. A log that can't be written never costs a commit or a push: the
functions return the sentence that the caller adds to its warnings, or None when all went well.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from memstore import files
from memstore.errors import MemsyncError
from memstore.ids import ContentId

if TYPE_CHECKING:
    from memstore.workspace import Workspace

LOCK_NAME: Final = "logs.lock"
LOCK_SECONDS: Final = 10.0
"""How long an append waits for another; the holder only writes one line, and a dead one holds nothing."""

_AT_ONCE: Final = 4096
"""Lines of one write."""

UploadStatus = Literal["success", "fail", "skipped", "token_missing"]


class UploadLine(NamedTuple):
    """One file whose content an upload carried, or tried to."""

    time_ms: int
    """Milliseconds since the epoch, UTC."""
    file: str
    """Relative to `Data/`."""
    status: UploadStatus
    attempts: int
    context_tags: Sequence[str] = ()
    chat_name: str = ""
    notes: str = ""

    def as_json(self) -> dict[str, object]:
        return {
            "timestamp": timestamp(self.time_ms),
            "file": self.file,
            "status": self.status,
            "attempts": self.attempts,
            "context_tags": list(self.context_tags),
            "chat_name": self.chat_name,
            "notes": self.notes,
        }


class ArchiveLine(NamedTuple):
    """One archive reference that a version recorded."""

    time_ms: int
    """Milliseconds since the epoch, UTC."""
    file: str
    """The path it came from, relative to `Data/`."""
    archived_as: str
    content: ContentId
    """Of what was archived."""
    reason: str = ""

    def as_json(self) -> dict[str, object]:
        return {
            "timestamp": timestamp(self.time_ms),
            "file": self.file,
            "archived_as": self.archived_as,
            "input_hash": str(self.content),
            "reason": self.reason,
        }


def timestamp(time_ms: int) -> str:
    """`2025-04-23T14:00:00Z`: whole seconds, as the contract has them."""
    from datetime import UTC, datetime

    return datetime.fromtimestamp(time_ms // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def log_uploads(workspace: Workspace, lines: Iterable[UploadLine], *, locked: bool = False) -> str | None:
    """Append to the upload_log; a warning, or None. `locked`: the caller holds the store's lock."""
    return _append(workspace, workspace.upload_log, lines, locked)


def log_archived(workspace: Workspace, lines: Iterable[ArchiveLine], *, locked: bool = False) -> str | None:
    """Append to the archive_log; a warning, or None. `locked`: the caller holds the store's lock."""
    return _append(workspace, workspace.archive_log, lines, locked)


def _append(
    workspace: Workspace, path: str, lines: Iterable[UploadLine | ArchiveLine], locked: bool
) -> str | None:
    parts = _encoded(lines)
    try:
        first = next(parts, None)
        if first is None:
            return None
        if locked:
            _append_all(path, chain([first], parts))
        else:
            import filelock  # 45 ms

            with filelock.FileLock(os.path.join(workspace.state, LOCK_NAME), timeout=LOCK_SECONDS):
                _append_all(path, chain([first], parts))
    except MemsyncError as error:
        return f"the log was not written: {error.message}"
    except (OSError, TimeoutError) as error:  # filelock's Timeout is a TimeoutError
        return f"the log was not written: {path}: {getattr(error, 'strerror', None) or error}"
    return None


def _encoded(lines: Iterable[UploadLine | ArchiveLine]) -> Iterator[bytes]:
    """Lines as they are written, so many at a time: there may be a million."""
    rest = iter(lines)
    while some := list(islice(rest, _AT_ONCE)):
        import json  # mostly there are none

        # What UTF-8 can't hold (a name with stray bytes) becomes `\udcff`, which JSON reads as it was.
        text = "".join(json.dumps(line.as_json(), ensure_ascii=False) + "\n" for line in some)
        yield text.encode("utf-8", "backslashreplace")


def _append_all(path: str, parts: Iterable[bytes]) -> None:
    for part in parts:
        _append_whole(path, part)


def _append_whole(path: str, data: bytes) -> None:
    """One write at the end, on a line of its own even where a crash or another program left half a line."""
    files.make_dir(os.path.dirname(path))
    if _ends_within_a_line(path):
        data = b"\n" + data
    files.append_line(path, data)


def _ends_within_a_line(path: str) -> bool:
    try:
        with open(path, "rb", buffering=0) as log:
            if log.seek(0, os.SEEK_END) == 0:
                return False
            log.seek(-1, os.SEEK_END)
            return log.read(1) != b"\n"
    except FileNotFoundError:
        return False
