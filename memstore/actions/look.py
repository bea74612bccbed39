"""Looking into history: versions, and the bytes that they hold. Nothing here writes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import date
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from memstore.actions import select
from memstore.actions.select import At
from memstore.errors import BadInput, typed
from memstore.manifest import history, references
from memstore.manifest.outline import Outline
from memstore.manifest.version import Version

if TYPE_CHECKING:
    from memstore.repository import Repository

Told = TypeVar("Told", Version, Outline)


def versions(
    repository: Repository,
    path: str | None = None,
    *,
    limit: int | None = None,
    tag: str | None = None,
    chat: str | None = None,
    since: str | date | None = None,
    until: str | date | None = None,
) -> Iterator[Version]:
    """Versions newest first; with `path`, those that changed it (or what lies below it), with these changes
    only. An archive reference stands for where it came from. Raises `BadInput` for a path no version ever had."""
    read = partial(history.versions_of, lost=True)
    return _asked_for(read, repository, path, limit, tag, chat, since, until)


def outlines(
    repository: Repository,
    path: str | None = None,
    *,
    limit: int | None = None,
    tag: str | None = None,
    chat: str | None = None,
    since: str | date | None = None,
    until: str | date | None = None,
) -> Iterator[Outline]:
    """The same in outline."""
    return _asked_for(history.outlines_of, repository, path, limit, tag, chat, since, until)


def _asked_for(
    read: Callable[..., Iterator[Told]],
    repository: Repository,
    path: str | None,
    limit: int | None,
    tag: str | None,
    chat: str | None,
    since: str | date | None,
    until: str | date | None,
) -> Iterator[Told]:
    if path:
        path = path.rstrip("/")
        if not select.known(repository, path):
            raise select.not_found(
                repository,
                path,
                BadInput(f"{path} is in no version", hint="'memsync ls' shows what the last version holds"),
            )
        found = references.find(repository.catalogue, path)
        path = found[0].path if found else path
    where, values, now = "1", list[object](), time.time_ns() // 1_000_000
    for than, said, end in ((">=", since, False), ("<=", until, True)):
        if said is not None:
            from memstore.times import parse_time

            where += f" AND time {than} ?"
            values.append(parse_time(said, now_ms=now, end=end))
    given = 0
    with repository.catalogue.snapshot() as catalogue:
        for version in read(catalogue, where, values, path=path):
            if limit is not None and given >= limit:
                return
            if tag is not None and tag not in version.meta.context_tags:
                continue
            if chat is not None and chat != version.meta.chat_name:
                continue
            given += 1
            yield version


def read_stream(repository: Repository, path: str, at: At | None = None) -> Iterator[bytes]:
    """The content of one file (or archive reference) of a version, HEAD's by default, in checked pieces."""
    version = select.head_or_refuse(repository) if at is None else select.version_id(repository, at)
    entry = repository.entry(path, version)
    if entry is None:
        reference = select.one_reference(repository, path)
        if reference is not None:
            yield from repository.stream(reference.entry.content)
            return
        below = next(iter(repository.entries(version, path)), None)
        if below is not None:
            raise BadInput(f"{path or '.'} is a folder", hint=f"'memsync ls {typed(path)}' lists its files")
        raise select.not_found(
            repository,
            path,
            BadInput(
                f"{path} is not in version {str(version)[:12]}",
                hint=f"'memsync log {typed(path)}' shows which versions have it",
            ),
        )
    select.require_known(repository, path, version, entry)
    yield from repository.stream(entry.content)


__all__ = ["read_stream", "versions"]
