"""What a command that records a version answers."""

from __future__ import annotations

from typing import NamedTuple

from memstore.ids import ContentId, VersionId
from memstore.manifest.version import Version, rfc3339
from memstore.reports import id_text


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
            "version": id_text(self.version),
            "restored": [
                {
                    "path": row.path,
                    "content": None if row.content is None else str(row.content),
                    "from": row.source,
                }
                for row in self.restored
            ],
            "saved_first": id_text(self.saved_first),
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
            "back_to": id_text(self.back_to),
            "pulled": self.pulled,
        }
