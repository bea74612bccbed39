"""`drive_upload`: what a save manager calls after each save.

It always commits the file first, whatever the network does; then it sends what the remote lacks and mirrors
that one file. It never raises for what the network does.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypedDict

from memstore import files, logs
from memstore.errors import BadInput, MemsyncError
from memstore.manifest.version import as_text
from memstore.worktree.names import shown

if TYPE_CHECKING:
    from memstore.store import Store


class UploadResult(TypedDict):
    """The contract's answer."""

    status: str
    """`success` or `fail`."""
    attempts: int
    """The most tries that any one request took; 0 when nothing was sent."""
    drive_path: str | None
    """`Drive/MemoryVDB/Meta/AI_Architecture.txt`; None when the upload failed."""
    notes: str


def drive_upload(
    local_file_path: str | os.PathLike[str], metadata: Mapping[str, Any] | None = None
) -> UploadResult:
    """Commit and upload one file of `Data/`.

    `metadata` may hold `file` (its path relative to `Data/`, for whoever reads the call), `tags` (list of
    str), `chat_name`, `note`, `reason`, `actor`. Without a remote set, `drive:` is meant. Anything that goes
    wrong is in the result: a missing file, or one outside `Data/`, is `fail` with 0 attempts.
    """
    from memstore.store import Store

    facts = dict(metadata or {})
    try:
        place = os.path.abspath(os.fspath(local_file_path))
        if not os.path.lexists(place):
            return _failed(f"no such file: {place}")
        with Store.open(os.path.dirname(place)) as store:
            return _upload(store, place, facts)
    except MemsyncError as error:
        return _failed(f"{error.message}; {error.hint}" if error.hint else error.message)
    except OSError as error:
        trouble = files.disk_error(error, "could not use", str(error.filename or "the disk"))
        return _failed(f"{trouble.message}; {trouble.hint}")


def _upload(store: Store, place: str, facts: Mapping[str, Any]) -> UploadResult:
    from memstore.actions import remote_state

    path = _relative(store, place)
    if os.path.isdir(place) and not os.path.islink(place):
        raise BadInput(f"{place} is a folder", hint="name a file; 'memsync push' sends everything")
    tags, chat = _tags(facts.get("tags")), as_text(facts.get("chat_name"))
    report = store.commit_report(
        [path],
        note=as_text(facts.get("note")),
        context_tags=tags,
        chat_name=chat,
        reason=as_text(facts.get("reason")),
        actor=as_text(facts.get("actor")),
    )
    left_out = [warning for warning in report.warnings if f"'{shown(path)}'" in warning]
    if left_out:  # what HEAD has is not what was asked to be uploaded
        notes = "; ".join(left_out)
        logs.log_uploads(store.workspace, [logs.UploadLine(_now(), path, "fail", 0, tags, chat, notes)])
        return _failed(notes)
    where = store.workspace.paths.drive_root.rstrip("/") + "/" + path
    remote = store.remote()
    if _token_missing(store, "drive:" if remote is None else remote.url):
        line = logs.UploadLine(_now(), path, "token_missing", 0, tags, chat, "Drive token missing")
        logs.log_uploads(store.workspace, [line])
        return _failed("Drive token missing")
    if remote is not None:
        return _sent(store, path, where, report.warnings, tags, chat)
    store.set_remote("drive:")
    answer = _failed("")
    try:
        answer = _sent(store, path, where, report.warnings, tags, chat)
    finally:
        if answer["status"] == "fail":  # what nobody chose and nothing reached is not the remote from now on
            remote_state.take_back(store.repository)
    return answer


def _sent(
    store: Store, path: str, where: str, warnings: Sequence[str], tags: list[str], chat: str
) -> UploadResult:
    """Send what the remote lacks, and mirror that file there as `where`."""
    if store.is_on_remote(path):
        notes = "Skipped: the remote has this content already"
        logs.log_uploads(store.workspace, [logs.UploadLine(_now(), path, "skipped", 0, tags, chat, notes)])
        return {"status": "success", "attempts": 0, "drive_path": where, "notes": notes}
    known = _is_carried(store, path)
    pushed = store.push([path])
    if pushed.status == "fail":
        error = pushed.error or {}
        return {
            "status": "fail",
            "attempts": pushed.attempts,
            "drive_path": None,
            "notes": f"{error.get('message', 'the push failed')}; {error.get('hint', '')}".rstrip("; "),
        }
    notes = "; ".join((*warnings, *pushed.notes, *pushed.warnings)) or "Uploaded"
    attempts = max(1, pushed.attempts)
    mirror = pushed.mirror
    if not known and (mirror.created or mirror.updated):
        # An earlier push sent the version; this one made the file that people read.
        line = logs.UploadLine(_now(), path, "success", attempts, tags, chat, "put into the mirror")
        logs.log_uploads(store.workspace, [line])
    there = where if not pushed.ahead else None  # every version is safe; what people read waits for the merge
    return {"status": "success", "attempts": attempts, "drive_path": there, "notes": notes}


def _is_carried(store: Store, path: str) -> bool:
    """Whether a push would carry a version of that file, and so log it."""
    from memstore.actions import carried, remote_state

    state = remote_state.load(store.repository)
    return state is not None and carried.carries(store.repository, state, path)


def _relative(store: Store, place: str) -> str:
    data = store.workspace.data
    for base, full in (
        (data, place),
        (
            os.path.realpath(data),
            os.path.join(os.path.realpath(os.path.dirname(place)), os.path.basename(place)),
        ),
    ):
        relative = os.path.relpath(full, base)
        if relative != os.curdir and not relative.startswith(os.pardir + os.sep) and relative != os.pardir:
            return relative.replace(os.sep, "/")
    raise BadInput(f"{place} is outside the data folder {data}", hint="only files in Data/ are uploaded")


def _token_missing(store: Store, url: str) -> bool:
    from memstore.remotes.url import parse_url

    if not parse_url(url, store.workspace).is_drive:
        return False
    return not os.path.exists(store.workspace.token_path)


def _tags(given: object) -> list[str]:
    """A list of tags; one text is one tag."""
    if not given:
        return []
    return [
        as_text(tag)
        for tag in ([given] if isinstance(given, str) or not isinstance(given, Iterable) else given)
    ]


def _failed(notes: str) -> UploadResult:
    return {"status": "fail", "attempts": 0, "drive_path": None, "notes": notes}


def _now() -> int:
    return time.time_ns() // 1_000_000
