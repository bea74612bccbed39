"""A version: one commit. How it is stored is in `version_format`.

A version stores only its changes. What the folder held is the manifest of its first parent with these
changes applied; what a change replaced is found there too, so an archive reference costs one byte unless
its default name was taken.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from enum import IntEnum
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from memstore.ids import ContentId, ManifestId, VersionId


class Kind(IntEnum):
    """What a path is. The numbers are format."""

    FILE = 0
    EXECUTABLE = 1
    SYMLINK = 2


class ChangeKind(IntEnum):
    """How a path differs from the parent version. The numbers are format."""

    ADD = 0
    APPEND = 1
    REPLACE = 2
    DELETE = 3
    ARCHIVE = 4

    @property
    def word(self) -> str:
        return self.name.lower()


class Entry(NamedTuple):
    """What a manifest holds for one path."""

    path: str
    """Relative to `Data/`, `/` between parts, as the system gave it (no Unicode normalisation)."""
    kind: Kind
    size: int
    """Bytes; for a symlink, of its target."""
    content: ContentId
    modified_ms: int
    """Milliseconds since the epoch, UTC."""


class Change(NamedTuple):
    """How one path differs from the version's first parent."""

    path: str
    change: ChangeKind
    entry: Entry | None
    """What the path holds from here on; None for a delete, and for an archive that removed the file."""
    archived_as: str | None = None
    """The archive reference to what the path held before; None where nothing was archived."""

    def as_json(self) -> dict[str, object]:
        row: dict[str, object] = {
            "path": self.path,
            "change": self.change.word,
            "size": self.entry.size if self.entry else None,
            "content": str(self.entry.content) if self.entry else None,
        }
        if self.archived_as is not None:
            row["archived_as"] = self.archived_as
        return row


class Meta(NamedTuple):
    """Who, and why."""

    note: str = ""
    context_tags: tuple[str, ...] = ()
    chat_name: str = ""
    reason: str = ""
    actor: str = ""

    def as_text(self) -> Meta:
        """As a version can hold it, whatever a program gave: what can't be read again must not be written."""
        tags = tuple(map(as_text, self.context_tags or ()))
        return Meta(
            as_text(self.note), tags, as_text(self.chat_name), as_text(self.reason), as_text(self.actor)
        )


def as_text(given: object) -> str:
    """None is nothing said. Half of a surrogate pair, which JSON can hold and UTF-8 can't, becomes U+FFFD."""
    text = "" if given is None else str(given)
    return (
        text if text.isascii() else text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    )


NO_META: Final = Meta()


class Version(NamedTuple):
    """One commit, as recorded."""

    id: VersionId
    parents: tuple[VersionId, ...]
    generation: int
    """1 for a first version, else one more than the greatest of its parents'."""
    time_ms: int
    """Milliseconds since the epoch, UTC; never earlier than its parents'."""
    device: str
    """Readable name of the device that made it."""
    device_id: str
    """8 hex digits that stay the same for one clone."""
    meta: Meta
    changes: Sequence[Change]
    """One for each path that differs from the first parent, sorted by path. Of a version that was read, and whose
    record is large, each look makes them anew."""
    manifest: ManifestId | None = None
    merge_rules: int = 0
    """Revision of the merge rules, for a merge made by them; else 0."""
    extra: Mapping[str, Any] = MappingProxyType({})
    """Keys of a newer memsync, kept as they are."""

    @property
    def time(self) -> datetime:
        return datetime.fromtimestamp(self.time_ms / 1000, UTC)

    @property
    def note(self) -> str:
        return self.meta.note

    @property
    def context_tags(self) -> tuple[str, ...]:
        return self.meta.context_tags

    @property
    def chat_name(self) -> str:
        return self.meta.chat_name

    @property
    def reason(self) -> str:
        return self.meta.reason

    @property
    def actor(self) -> str:
        return self.meta.actor

    def as_json(self) -> dict[str, object]:
        """The entry of the contract's `log`."""
        return {
            "version": str(self.id),
            "parents": [str(parent) for parent in self.parents],
            "time": rfc3339(self.time_ms),
            "device": self.device,
            "device_id": self.device_id,
            "note": self.note,
            "context_tags": list(self.context_tags),
            "chat_name": self.chat_name,
            "reason": self.reason,
            "actor": self.actor,
            "changes": [change.as_json() for change in self.changes],
        }


def rfc3339(time_ms: int) -> str:
    """UTC with `Z`; milliseconds only where there are some."""
    moment = datetime.fromtimestamp(time_ms // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    return f"{moment}.{time_ms % 1000:03d}Z" if time_ms % 1000 else f"{moment}Z"


def archive_name(path: str, time_ms: int) -> str:
    """The default archive reference for what `path` held before a version of that time.

    `Core/Rules.txt` at 14:02 becomes `Archive/Core/Rules_2025-04-23T14-02-00Z.txt`. The extension is what
    follows the last dot of the name, unless that dot begins it.
    """
    folder, slash, name = path.rpartition("/")
    stem, dot, extension = name.rpartition(".")
    if not stem:
        stem, dot, extension = name, "", ""
    moment = datetime.fromtimestamp(time_ms // 1000, UTC).strftime("%Y-%m-%dT%H-%M-%SZ")
    return f"Archive/{folder}{slash}{stem}_{moment}{dot}{extension}"


def archive_name_with(path: str, time_ms: int, content: ContentId) -> str:
    """The reference where the default name is taken by other content: `~` and 8 digits follow the time."""
    folder, slash, name = archive_name(path, time_ms).rpartition("/")
    stamp = name.rindex("Z", 0, name.rindex(".") if _has_extension(path) else None) + 1
    return f"{folder}{slash}{name[:stamp]}~{content.hex()[:8]}{name[stamp:]}"


def _has_extension(path: str) -> bool:
    return path.rpartition("/")[2].rfind(".") > 0
