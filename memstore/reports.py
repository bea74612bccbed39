"""What the actions answer: small frozen values, each with the JSON document of the contract."""

from __future__ import annotations

from typing import NamedTuple

from memstore.ids import ContentId, VersionId
from memstore.manifest.version import Change, ChangeKind, Version, rfc3339


def counted(number: int, noun: str) -> str:
    """`1 file`, `2,000 files`: how a note or a warning tells a number."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _text(id: VersionId | None) -> str | None:
    return None if id is None else str(id)


class CommitReport(NamedTuple):
    """What a commit (or an archive) recorded; `version` is None when nothing had changed."""

    version: Version | None
    warnings: tuple[str, ...] = ()
    """One sentence for each thing that was left out or held back; any of them makes the exit code 1."""

    def as_json(self) -> dict[str, object]:
        version = self.version
        return {
            "version": str(version.id) if version else None,
            "parents": [str(parent) for parent in version.parents] if version else [],
            "time": rfc3339(version.time_ms) if version else None,
            "changes": [change.as_json() for change in version.changes] if version else [],
            "warnings": list(self.warnings),
        }


class PendingChange(NamedTuple):
    """A path of `Data/` that differs from HEAD and is not committed yet."""

    path: str
    change: ChangeKind
    size: int | None = None

    def as_json(self) -> dict[str, object]:
        return {"path": self.path, "change": self.change.word}


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

    @property
    def clean(self) -> bool:
        return not self.changes

    def as_json(self) -> dict[str, object]:
        return {
            "clean": self.clean,
            "head": _text(self.head),
            "changes": [change.as_json() for change in self.changes],
            "unpushed": self.unpushed,
            "conflicts": list(self.conflicts),
            "remote": self.remote.as_json() if self.remote else None,
            "mirror_waiting": self.mirror_waiting,
            "warnings": list(self.warnings),
        }


class Restored(NamedTuple):
    """One path that was brought back."""

    path: str
    content: ContentId | None
    """None where `--exact` removed the path."""
    source: str
    """The version it came from, 64 hex digits."""


class RestoreReport(NamedTuple):
    """`version` is None when `Data/` had it all already, or when it was written elsewhere (`to`)."""

    version: VersionId | None
    restored: tuple[Restored, ...]
    saved_first: VersionId | None
    """The version that holds what was uncommitted at those paths."""
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    def as_json(self) -> dict[str, object]:
        return {
            "version": _text(self.version),
            "restored": [
                {
                    "path": row.path,
                    "content": None if row.content is None else str(row.content),
                    "from": row.source,
                }
                for row in self.restored
            ],
            "saved_first": _text(self.saved_first),
            "notes": list(self.notes),
            "warnings": list(self.warnings),
        }


class UndoReport(NamedTuple):
    """What an undo did, as a restore tells it, and which version it backed out."""

    restore: RestoreReport
    undone: VersionId
    back_to: VersionId | None
    """What this device had before it; None for a first version."""
    pulled: bool = False
    """Whether a pull brought it: all that came with it is backed out."""

    def as_json(self) -> dict[str, object]:
        return {
            **self.restore.as_json(),
            "undone": str(self.undone),
            "back_to": _text(self.back_to),
            "pulled": self.pulled,
        }


class MirrorCounts(NamedTuple):
    """What a push did to the mirror, in files."""

    created: int = 0
    updated: int = 0
    moved: int = 0
    skipped: int = 0
    failed: int = 0

    def as_json(self) -> dict[str, int]:
        return {name: getattr(self, name) for name in ("created", "updated", "moved", "skipped", "failed")}


class PullConflict(NamedTuple):
    path: str
    kept_as: str | None
    """The side file that holds the other side; None where it is in history only."""


class PullReport(NamedTuple):
    status: str
    """`success`, `nothing` or `conflict`."""
    version: VersionId | None
    merged: tuple[str, ...] = ()
    conflicts: tuple[PullConflict, ...] = ()
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    def as_json(self) -> dict[str, object]:
        return {
            "status": self.status,
            "version": _text(self.version),
            "merged": list(self.merged),
            "conflicts": [{"path": row.path, "kept_as": row.kept_as} for row in self.conflicts],
            "notes": list(self.notes),
            "warnings": list(self.warnings),
        }


class PushReport(NamedTuple):
    status: str
    """`success`, `nothing` or `fail`."""
    versions: int = 0
    objects: int = 0
    packs: int = 0
    bytes_sent: int = 0
    requests: int = 0
    attempts: int = 0
    """The most tries that any one request took."""
    mirror: MirrorCounts = MirrorCounts()
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    """Any of them makes the exit code 1; notes never do."""
    error: dict[str, object] | None = None
    exit_code: int = 0
    """What the error asks for; 0 without one."""
    ahead: bool = False
    """The remote has versions that HEAD does not descend from, so the mirror was left as it is."""
    pulled: PullReport | None = None
    """Of a push that pulls as well."""
    pull_error: dict[str, object] | None = None
    """Why it could not; what is here was sent all the same."""
    erased: int = 0
    """Packs that were deleted there because they held what was forgotten."""
    erased_files: int = 0
    """Files of the mirror that were, whoever forgot it; those that forget itself finds are in its own report."""

    def as_json(self) -> dict[str, object]:
        document: dict[str, object] = {
            "status": self.status,
            "versions": self.versions,
            "objects": self.objects,
            "packs": self.packs,
            "bytes_sent": self.bytes_sent,
            "requests": self.requests,
            "mirror": self.mirror.as_json(),
            "notes": list(self.notes),
            "warnings": list(self.warnings),
        }
        if self.error is not None:
            document["error"] = self.error
        if self.pull_error is not None:
            document["pull"] = {"error": self.pull_error}
        elif self.pulled is not None:
            document["pull"] = self.pulled.as_json()
        return document


class MergedPath(NamedTuple):
    """Where a path of a merge came from."""

    path: str
    change: ChangeKind
    """How the merge differs from the parents that have it otherwise: `add`, `replace` or `delete`."""
    sources: tuple[VersionId, ...]
    """The parents that have it as the merge has it; none: the merge made it of theirs."""

    def as_json(self) -> dict[str, object]:
        return {"path": self.path, "change": self.change.word, "from": [str(id) for id in self.sources]}


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

    @property
    def ok(self) -> bool:
        return not self.problems

    def as_json(self) -> dict[str, object]:
        return {
            "ok": self.ok,
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
            "remote": {
                "marked": self.marked,
                "deleted": self.deleted,
                "deleted_bytes": self.deleted_bytes,
                "waiting": self.waiting,
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
            "version": _text(self.version),
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
            row["version"] = _text(self.version)
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

    def as_json(self) -> dict[str, object]:
        return {
            "path": self.path,
            "change": self.change.word,
            "old_size": self.old_size,
            "new_size": self.new_size,
            "binary": self.binary,
        }


__all__ = [
    "Change",
    "CommitReport",
    "FileDifference",
    "GcReport",
    "ListedFile",
    "Mended",
    "MergedPath",
    "MirrorCounts",
    "PendingChange",
    "Problem",
    "PullConflict",
    "PullReport",
    "PushReport",
    "RemoteStatus",
    "RepairReport",
    "RestoreReport",
    "Restored",
    "StatusReport",
    "UndoReport",
    "VerifyReport",
]
