"""What an upload carries, for the upload_log: one line for each file whose content goes along.

Versions are what is noted while a push works; their lines are made when they are written, for there may be a million
of them.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from memstore import logs
from memstore.actions import remote_state
from memstore.actions.remote_state import RemoteState
from memstore.errors import MemsyncError
from memstore.manifest.records import version_of

if TYPE_CHECKING:
    from memstore.repository import Repository

Ids = frozenset[bytes]
"""Of versions."""


def of_unsent(repository: Repository, state: RemoteState) -> Ids:
    """The versions that the remote lacks."""
    sent = remote_state.published(state)
    return _in(repository, [place for name, place in _places(repository) if name not in sent])


def carries(repository: Repository, state: RemoteState, path: str) -> bool:
    """Whether a push would carry a content of that file, and so log it."""
    rows = repository.catalogue.db.execute(
        "SELECT id FROM paths JOIN changes USING (path) JOIN versions USING (seq) WHERE name = ? AND NOT gone",
        (path,),
    )
    return not of_unsent(repository, state).isdisjoint(row[0] for row in rows)


def log_earlier(repository: Repository, state: RemoteState) -> tuple[RemoteState, str | None]:
    """What a push published and could not log, because it was killed in the mirror or the log could not be written,
    is logged now; a warning where it still can't be, and then it waits for the next push."""
    if not state.unlogged:
        return state, None
    done = _in(repository, [place for name, place in _places(repository) if name in state.unlogged])
    told = lines(repository, done, frozenset(), 1, None)
    warning = logs.log_uploads(repository.workspace, told)
    if warning is not None:
        return state, warning
    return remote_state.save(repository, replace(state, unlogged=())), None


def lines(
    repository: Repository, done: Ids, left: Ids, attempts: int, error: MemsyncError | None
) -> Iterator[logs.UploadLine]:
    """What to log now: `done` was published; `left` was not, for which `error` is the reason."""
    now = time.time_ns() // 1_000_000
    for line in _of(repository, done):
        yield line._replace(time_ms=now, attempts=max(1, attempts))
    if error is None:
        return
    status: logs.UploadStatus = "token_missing" if error.code == "token_missing" else "fail"
    for line in _of(repository, left):
        notes = f"{line.notes}: {error.message}"
        yield line._replace(time_ms=now, status=status, attempts=attempts, notes=notes)


def _places(repository: Repository) -> list[tuple[str, int]]:
    return [(name, row[0]) for name, row in repository.catalogue.places().items()]


def _in(repository: Repository, places: list[int]) -> Ids:
    marks = ",".join("?" * len(places))
    rows = repository.catalogue.db.execute(f"SELECT id FROM versions WHERE place IN ({marks})", places)
    return frozenset(row[0] for row in rows)


def _of(repository: Repository, ids: Collection[bytes]) -> Iterator[logs.UploadLine]:
    """A line for each file that got a content in one of these versions; the newest of them speaks for it."""
    if not ids:
        return
    order = "SELECT seq, id FROM versions ORDER BY time DESC, generation DESC, id"
    newest = [seq for seq, id in repository.catalogue.db.execute(order) if id in ids]
    met: set[str] = set()
    for seq in newest:
        version = version_of(repository.catalogue, seq)
        for change in version.changes:
            if change.entry is None or change.path in met:
                continue
            if (
                seq != newest[-1]
            ):  # nobody asks for the paths of the last, which may be the first of all, and large
                met.add(change.path)
            yield logs.UploadLine(
                version.time_ms,
                change.path,
                "success",
                1,
                version.context_tags,
                version.chat_name,
                f"{change.change.word} in version {str(version.id)[:12]}",
            )
