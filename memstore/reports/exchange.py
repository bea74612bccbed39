"""What pull and push answer."""

from __future__ import annotations

from typing import NamedTuple

from memstore.ids import VersionId
from memstore.manifest.version import ChangeKind
from memstore.reports import id_text


class PullConflict(NamedTuple):
    path: str
    kept_as: str | None
    """The side file that holds the other side; None where it is in history only."""


class PulledChange(NamedTuple):
    """A path of `Data/` that a pull changed."""

    path: str
    change: ChangeKind
    """`ADD`, `REPLACE` or `DELETE`."""

    def as_json(self) -> dict[str, object]:
        return {"path": self.path, "change": self.change.word}


class PullReport(NamedTuple):
    status: str
    """`success`, `nothing` or `conflict`."""
    version: VersionId | None
    merged: tuple[str, ...] = ()
    conflicts: tuple[PullConflict, ...] = ()
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    changes: tuple[PulledChange, ...] = ()
    """What is otherwise in `Data/` now, merged paths and side files included, in path order."""
    saved_first: VersionId | None = None
    """The version that holds what was not committed."""

    def as_json(self) -> dict[str, object]:
        return {
            "status": self.status,
            "version": id_text(self.version),
            "changes": [change.as_json() for change in self.changes],
            "merged": list(self.merged),
            "conflicts": [{"path": row.path, "kept_as": row.kept_as} for row in self.conflicts],
            "saved_first": id_text(self.saved_first),
            "notes": list(self.notes),
            "warnings": list(self.warnings),
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
