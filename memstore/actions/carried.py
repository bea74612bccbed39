"""What an upload carries, for the upload_log: one line for each file whose content goes along."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from memstore import logs
from memstore.actions import remote_state
from memstore.actions.remote_state import RemoteState
from memstore.errors import MemsyncError

if TYPE_CHECKING:
    from memstore.repository import Repository

Lines = dict[str, logs.UploadLine]
"""By path."""


def of_unsent(repository: Repository, state: RemoteState) -> Lines:
    """The files whose content is in versions that the remote lacks; the newest version of each speaks for it."""
    sent = remote_state.published(state)
    return _of(repository, [place for name, place in _places(repository) if name not in sent])


def log_earlier(repository: Repository, state: RemoteState) -> RemoteState:
    """What a push published and could not log, because it was killed in the mirror, is logged now."""
    if not state.unlogged:
        return state
    places = [place for name, place in _places(repository) if name in state.unlogged]
    if logs.log_uploads(repository.workspace, lines(_of(repository, places), {}, 1, None)) is not None:
        return state
    return remote_state.save(repository, replace(state, unlogged=()))


def _places(repository: Repository) -> list[tuple[str, int]]:
    return [(name, row[0]) for name, row in repository.catalogue.places().items()]


def _of(repository: Repository, places: list[int]) -> Lines:
    if not places:
        return {}
    from memstore.manifest import history

    marks = ",".join("?" * len(places))
    found: Lines = {}
    for version in history.versions_of(repository.catalogue, f"place IN ({marks})", places):
        for change in version.changes:
            if change.entry is not None and change.path not in found:
                found[change.path] = logs.UploadLine(
                    version.time_ms,
                    change.path,
                    "success",
                    1,
                    version.context_tags,
                    version.chat_name,
                    f"{change.change.word} in version {str(version.id)[:12]}",
                )
    return found


def lines(
    done: Mapping[str, logs.UploadLine],
    left: Mapping[str, logs.UploadLine],
    attempts: int,
    error: MemsyncError | None,
) -> list[logs.UploadLine]:
    """What to log now: `done` was published; `left` was not, for which `error` is the reason."""
    now = time.time_ns() // 1_000_000
    told = [line._replace(time_ms=now, attempts=max(1, attempts)) for line in done.values()]
    if error is None:
        return told
    status: logs.UploadStatus = "token_missing" if error.code == "token_missing" else "fail"
    for line in left.values():
        notes = f"{line.notes}: {error.message}"
        told.append(line._replace(time_ms=now, status=status, attempts=attempts, notes=notes))
    return told
