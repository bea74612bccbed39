"""What the actions answer: small frozen values, each with the JSON document of the contract.

A value costs a fifth of a millisecond to define, and no command needs all of them: they lie by subject in
`saving`, `looking`, `exchange` and `care`, and each of these is imported when one of its values is asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from memstore.ids import VersionId
    from memstore.reports.care import (
        ForgetReport,
        Forgotten,
        GcReport,
        Mended,
        Problem,
        RepairReport,
        VerifyReport,
    )
    from memstore.reports.exchange import MirrorCounts, PullConflict, PulledChange, PullReport, PushReport
    from memstore.reports.looking import (
        FileDifference,
        LeftOut,
        ListedFile,
        MergedPath,
        PendingChange,
        RemoteStatus,
        StatusReport,
    )
    from memstore.reports.saving import CommitReport, Restored, RestoreReport, UndoReport

__all__ = [
    "CommitReport",
    "FileDifference",
    "ForgetReport",
    "Forgotten",
    "GcReport",
    "LeftOut",
    "ListedFile",
    "Mended",
    "MergedPath",
    "MirrorCounts",
    "PendingChange",
    "Problem",
    "PullConflict",
    "PullReport",
    "PulledChange",
    "PushReport",
    "RemoteStatus",
    "RepairReport",
    "RestoreReport",
    "Restored",
    "StatusReport",
    "UndoReport",
    "VerifyReport",
    "counted",
    "id_text",
]

_HOMES = {
    "saving": ("CommitReport", "Restored", "RestoreReport", "UndoReport"),
    "looking": (
        "LeftOut",
        "PendingChange",
        "RemoteStatus",
        "StatusReport",
        "ListedFile",
        "FileDifference",
        "MergedPath",
    ),
    "exchange": ("PullConflict", "PulledChange", "PullReport", "MirrorCounts", "PushReport"),
    "care": ("Problem", "VerifyReport", "Mended", "RepairReport", "GcReport", "Forgotten", "ForgetReport"),
}


def __getattr__(name: str) -> Any:
    for home, names in _HOMES.items():
        if name in names:
            from importlib import import_module

            return getattr(import_module(f"memstore.reports.{home}"), name)
    raise AttributeError(f"module 'memstore.reports' has no attribute {name!r}")


def counted(number: int, noun: str) -> str:
    """`1 file`, `2,000 files`: how a note or a warning tells a number."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def id_text(id: VersionId | None) -> str | None:
    """How a document tells a version, or that there is none."""
    return None if id is None else str(id)
