"""What a look answers: how things stand, what there is, how it differs."""

from __future__ import annotations

from typing import NamedTuple

from memstore.ids import ContentId, VersionId
from memstore.manifest.version import ChangeKind, rfc3339
from memstore.reports import id_text


class PendingChange(NamedTuple):
    """A path of `Data/` that differs from HEAD and is not committed yet."""

    path: str
    change: ChangeKind
    size: int | None = None

    def as_json(self) -> dict[str, object]:
        return {"path": self.path, "change": self.change.word}


class LeftOut(NamedTuple):
    """A file of `Data/` that no commit takes in, whatever HEAD has at its path."""

    path: str
    reason: str
    hint: str

    def as_json(self) -> dict[str, object]:
        return {"path": self.path, "reason": self.reason, "hint": self.hint}


class RemoteStatus(NamedTuple):
    """What is known of the remote without asking it. Times are milliseconds since the epoch, UTC."""

    url: str
    last_push_ms: int | None = None
    last_error: str | None = None
    last_error_ms: int | None = None

    def as_json(self) -> dict[str, object]:
        return {
            "url": self.url,
            "last_push": None if self.last_push_ms is None else rfc3339(self.last_push_ms),
            "last_error": self.last_error,
        }


class StatusReport(NamedTuple):
    """How `Data/` stands to HEAD, and HEAD to the remote."""

    head: VersionId | None
    changes: tuple[PendingChange, ...]
    unpushed: int
    """Versions the remote lacks, as far as is known here; 0 without a remote."""
    oldest_unpushed_ms: int | None
    conflicts: tuple[str, ...]
    """Side files of merges that nobody has settled yet."""
    remote: RemoteStatus | None
    warnings: tuple[str, ...] = ()
    mirror_waiting: int = 0
    """Files of the mirror that a push left to the next one, while every version is on the remote."""
    ahead: bool = False
    """Another device has pushed versions that are not here, as a push or a pull has seen."""
    unwritten: tuple[str, ...] = ()
    """Paths that `Data/` does not hold as HEAD has them, for they could not be written; commits leave them alone."""
    unremoved: tuple[str, ...] = ()
    """Paths that HEAD no longer has, and whose files could not be removed; commits leave them alone as well."""
    left_out: tuple[LeftOut, ...] = ()
    """Files that differ from HEAD and that every commit leaves out; they are not among `changes`."""

    @property
    def clean(self) -> bool:
        return not self.changes

    def as_json(self) -> dict[str, object]:
        return {
            "clean": self.clean,
            "head": id_text(self.head),
            "changes": [change.as_json() for change in self.changes],
            "unpushed": self.unpushed,
            "conflicts": list(self.conflicts),
            "remote": self.remote.as_json() if self.remote else None,
            "mirror_waiting": self.mirror_waiting,
            "ahead": self.ahead,
            "unwritten": list(self.unwritten),
            "unremoved": list(self.unremoved),
            "left_out": [row.as_json() for row in self.left_out],
            "warnings": list(self.warnings),
        }


class ListedFile(NamedTuple):
    """A row of `ls`: a path of a version, or an archive reference."""

    path: str
    kind: str
    """`file`, `executable`, `symlink`; for an archive reference, `archived`."""
    size: int
    content: ContentId
    modified_ms: int
    origin: str | None = None
    """For an archive reference: the path it came from."""
    version: VersionId | None = None
    """For an archive reference: the version that recorded it."""
    removed: str | None = None
    """For an archive reference whose content is gone: `retention` (by `gc`) or `forgotten`."""

    def as_json(self) -> dict[str, object]:
        row: dict[str, object] = {
            "path": self.path,
            "kind": self.kind,
            "size": self.size,
            "content": str(self.content),
            "modified": rfc3339(self.modified_ms),
        }
        if self.origin is not None:
            row["from"] = self.origin
            row["version"] = id_text(self.version)
        if self.removed is not None:
            row["removed"] = self.removed
        return row


class FileDifference(NamedTuple):
    """How one path differs between two sides; None on a side where it is not there."""

    path: str
    change: ChangeKind
    old_size: int | None
    new_size: int | None
    old: bytes | None = None
    """The plain bytes of a side that is text and at most 1 MiB; None for anything else."""
    new: bytes | None = None
    binary: bool = False
    """One of the sides is no text, or too large to show."""
    removed: tuple[str, ...] = ()
    """A sentence for each side whose content `gc` or `forget` removed: which, how and when. There is no text then."""

    def as_json(self) -> dict[str, object]:
        return {
            "path": self.path,
            "change": self.change.word,
            "old_size": self.old_size,
            "new_size": self.new_size,
            "binary": self.binary,
            "removed": list(self.removed),
        }


class MergedPath(NamedTuple):
    """Where a path of a merge came from."""

    path: str
    change: ChangeKind
    """How the merge differs from the parents that have it otherwise: `add`, `replace` or `delete`."""
    sources: tuple[VersionId, ...]
    """The parents that have it as the merge has it; none: the merge made it of theirs."""

    def as_json(self) -> dict[str, object]:
        return {"path": self.path, "change": self.change.word, "from": [str(id) for id in self.sources]}
