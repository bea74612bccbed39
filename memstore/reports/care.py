"""What verify, repair, gc and forget answer."""

from __future__ import annotations

from typing import NamedTuple

from memstore.ids import ContentId, VersionId
from memstore.reports import id_text


class Problem(NamedTuple):
    """Something `verify` found."""

    kind: str
    """`damaged_object`, `missing_object`, `damaged_pack`, `damaged_segment`, `damaged_version`, `missing_version`,
    `manifest_mismatch`, `remote_missing_pack`, `remote_damaged_pack`, `catalogue` …"""
    id: str
    paths: tuple[str, ...]
    """Paths whose versions need it (at most 20)."""
    hint: str
    versions: tuple[str, ...] = ()
    """Ids of versions that need it, the newest first (at most 20)."""

    def as_json(self) -> dict[str, object]:
        return {
            "kind": self.kind,
            "id": self.id,
            "paths": list(self.paths),
            "versions": list(self.versions),
            "hint": self.hint,
        }


class VerifyReport(NamedTuple):
    objects: int
    bytes: int
    """Plain bytes of all contents that were read back and compared with their ids."""
    problems: tuple[Problem, ...]
    versions: int = 0
    notes: tuple[str, ...] = ()
    quick: bool = False
    """No contents were read."""

    @property
    def ok(self) -> bool:
        return not self.problems

    def as_json(self) -> dict[str, object]:
        return {
            "ok": self.ok,
            "quick": self.quick,
            "objects": self.objects,
            "bytes": self.bytes,
            "versions": self.versions,
            "problems": [problem.as_json() for problem in self.problems],
            "notes": list(self.notes),
        }


class Mended(NamedTuple):
    """Something that `repair` brought back, or would."""

    kind: str
    """As a problem's, or `remote_head`, `catalogue`, `format`, `reflog`, `remote_state`, `checkout`."""
    id: str
    how: str
    """A sentence's second half: from where it came, or what became of the damaged file."""
    paths: tuple[str, ...] = ()

    def as_json(self) -> dict[str, object]:
        return {"kind": self.kind, "id": self.id, "how": self.how, "paths": list(self.paths)}


class RepairReport(NamedTuple):
    mended: tuple[Mended, ...]
    problems: tuple[Problem, ...]
    """What could not be brought back, or, of a dry run, what is not expected to be."""
    dry_run: bool = False
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    """Such as a remote that did not answer."""

    @property
    def ok(self) -> bool:
        return not self.problems

    def as_json(self) -> dict[str, object]:
        return {
            "ok": self.ok,
            "dry_run": self.dry_run,
            "mended": [row.as_json() for row in self.mended],
            "problems": [problem.as_json() for problem in self.problems],
            "notes": list(self.notes),
            "warnings": list(self.warnings),
        }


class GcReport(NamedTuple):
    """What a collection did, or (`dry_run`) would do. Sizes are bytes."""

    versions: int
    versions_kept: int
    """Those whose contents are all kept; the records of the others stay as well."""
    removed: int
    """Contents that left, each with a tombstone."""
    removed_bytes: int
    """Their plain size."""
    packs_before: int
    packs_after: int
    bytes_before: int
    """Of the packs here."""
    bytes_after: int
    marked: int = 0
    """Packs on the remote that count no more."""
    deleted: int = 0
    """Packs on the remote that were deleted, having been marked earlier."""
    deleted_bytes: int = 0
    waiting: int = 0
    """Marked packs that stay until every device has pushed, or was silent for long."""
    trimmed: int = 0
    """Files of the mirror's `Archive/` that held what left, and were removed there."""
    torn: int = 0
    """Old files in `.memsync/torn/` that were removed."""
    torn_bytes: int = 0
    dry_run: bool = False
    notes: tuple[str, ...] = ()
    error: dict[str, object] | None = None
    """What went wrong with the remote; what was done here stands."""
    exit_code: int = 0

    def as_json(self) -> dict[str, object]:
        document: dict[str, object] = {
            "dry_run": self.dry_run,
            "versions": self.versions,
            "versions_kept": self.versions_kept,
            "removed": self.removed,
            "removed_bytes": self.removed_bytes,
            "packs": {"before": self.packs_before, "after": self.packs_after},
            "bytes": {"before": self.bytes_before, "after": self.bytes_after},
            "torn": {"removed": self.torn, "bytes": self.torn_bytes},
            "remote": {
                "marked": self.marked,
                "deleted": self.deleted,
                "deleted_bytes": self.deleted_bytes,
                "waiting": self.waiting,
                "archive_removed": self.trimmed,
            },
            "notes": list(self.notes),
        }
        if self.error is not None:
            document["error"] = self.error
        return document


class Forgotten(NamedTuple):
    """One content that was, or would be, forgotten."""

    content: ContentId
    size: int
    """Bytes that it had as a file."""
    paths: tuple[str, ...]
    """The paths that held it in some version: they stay in history, and so does its hash."""
    versions: int
    """How many versions brought it."""

    def as_json(self) -> dict[str, object]:
        return {
            "content": str(self.content),
            "size": self.size,
            "paths": list(self.paths),
            "versions": self.versions,
        }


class ForgetReport(NamedTuple):
    """What was forgotten, or (`dry_run`) would be."""

    contents: tuple[Forgotten, ...]
    deleted: tuple[str, ...] = ()
    """Paths that HEAD held one of them at: they leave `Data/`, with a version that says so."""
    version: VersionId | None = None
    """That version; None where HEAD held none of them."""
    packs: int = 0
    """Packs here that were written anew without them."""
    torn: int = 0
    """Files in `.memsync/torn/` that held one of them."""
    remote_packs: int = 0
    """Packs on the remote that were deleted, after what stays of them lay there."""
    mirror_files: int = 0
    """Files of the mirror and its `Archive/` that were deleted for ever."""
    revisions: int = 0
    """Earlier revisions that Drive kept of other files of the mirror."""
    remote: str | None = None
    """Its address; None where none is set."""
    uncommitted: tuple[str, ...] = ()
    """Paths among those that were named, whose files had content that no version had: that goes as well."""
    left: tuple[str, ...] = ()
    """Files of a named folder that no version ever had: they stay in `Data/`."""
    dry_run: bool = False
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    error: dict[str, object] | None = None
    """What went wrong with the remote; what was done here stands, and another run finishes it."""
    exit_code: int = 0

    def as_json(self) -> dict[str, object]:
        document: dict[str, object] = {
            "dry_run": self.dry_run,
            "contents": [content.as_json() for content in self.contents],
            "deleted": list(self.deleted),
            "uncommitted": list(self.uncommitted),
            "left": list(self.left),
            "version": id_text(self.version),
            "packs": self.packs,
            "torn": self.torn,
            "remote": None
            if self.remote is None
            else {
                "url": self.remote,
                "packs": self.remote_packs,
                "mirror_files": self.mirror_files,
                "revisions": self.revisions,
            },
            "notes": list(self.notes),
            "warnings": list(self.warnings),
        }
        if self.error is not None:
            document["error"] = self.error
        return document
