"""What Drive's refusals mean, and what mends each.

Google documents the reasons at developers.google.com/drive/api/guides/handle-errors; which of them are worth
another try is settled here, once. A body need not be JSON: upload sessions and front ends answer in text.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite
from typing import Final

from memstore.errors import MemsyncError, NotLoggedIn, RemoteFull, RemoteMissing, RemoteTrouble
from memstore.remotes.retry import TryAgain

RATE_REASONS: Final = frozenset(
    ["userRateLimitExceeded", "rateLimitExceeded", "sharingRateLimitExceeded", "tooManyRequests"]
)
TRANSIENT: Final = frozenset([408, 500, 502, 503, 504])
SKEW: Final = 300.0
"""Seconds by which a clock may be off before it is worth a word; Kerberos and TLS set-ups allow as much."""

_LONGEST_SAID: Final = 200
"""Characters of the server's own words that a message repeats."""

_FULL: Final[Mapping[str, tuple[str, str]]] = {
    "storageQuotaExceeded": (
        "the Google Drive is full",
        "free some space (drive.google.com/settings/storage; the trash counts) and run the command again",
    ),
    "quotaExceeded": ("the quota of this Google account is used up", "free some space or try again tomorrow"),
    "dailyLimitExceeded": (
        "the daily limit of this Google Cloud project is used up",
        "run the command again tomorrow, or raise the quota in the Cloud console",
    ),
    "numChildrenInNonRootLimitExceeded": (
        "a folder on Drive has 500,000 files, more than which it can't hold",
        "mirror less of Data/ (mirror.exclude in config.toml), or clear that folder's Archive/",
    ),
    "myDriveHierarchyDepthLimitExceeded": (
        "folders on Drive can't be nested deeper than 100 levels",
        "leave that path out of the mirror (mirror.exclude in config.toml)",
    ),
    "teamDriveHierarchyTooDeep": (
        "folders on this shared drive can't be nested any deeper",
        "leave that path out of the mirror (mirror.exclude in config.toml)",
    ),
    "teamDriveFileLimitExceeded": (
        "the shared drive has 500,000 items, more than which it can't hold",
        "clear it out, or use another drive: 'memsync remote set'",
    ),
}
_REFUSED: Final[Mapping[str, tuple[str, str]]] = {
    "insufficientFilePermissions": (
        "Drive does not allow this account to change that file or folder",
        "ask its owner for the right to edit, or set another remote with 'memsync remote set'",
    ),
    "appNotAuthorizedToFile": (
        "Drive does not allow this OAuth client to touch that file",
        "use the OAuth client of the first machine, or 'memsync login --scope drive'",
    ),
    "insufficientPermissions": (
        "the login does not include the permission for this",
        "run 'memsync login' again and leave the box for Google Drive ticked",
    ),
    "domainPolicy": (
        "the administrators of this domain do not allow Drive apps",
        "ask them, or use another account: 'memsync login'",
    ),
    "accessNotConfigured": (
        "the Google Drive API is not enabled in your Google Cloud project",
        "enable it there (docs/google-drive.md, step 2), wait a minute, and run the command again",
    ),
}


class IdInUse(Exception):
    """409 for a pre-generated id: an earlier try landed, or another process was as quick."""


class IdRefused(Exception):
    """400 for a create with a pre-generated id: its reservation ran out, most likely (nowhere documented)."""

    def __init__(self, verdict: Exception) -> None:
        super().__init__(str(verdict))
        self.verdict = verdict
        """What to raise if the id was not to blame."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back: status, headers (names in lower case), body."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def reason(self) -> str:
        """Drive's word for what is wrong; empty if the body has none."""
        errors = self._error().get("errors")
        first = errors[0] if isinstance(errors, list) and errors else {}
        reason = first.get("reason") if isinstance(first, dict) else None
        return reason if isinstance(reason, str) else ""

    @property
    def said(self) -> str:
        """The server's own words, one short line."""
        message = self._error().get("message")
        text = message if isinstance(message, str) else self.body[:2000].decode("utf-8", "replace")
        if "<" in text:
            text = ""  # a front end's HTML page tells a person nothing
        return " ".join(text.split())[:_LONGEST_SAID]

    def _error(self) -> Mapping[str, object]:
        try:
            document = json.loads(self.body)
        except (ValueError, RecursionError):
            return {}
        error = document.get("error") if isinstance(document, dict) else None
        return error if isinstance(error, dict) else {}

    @property
    def retry_after(self) -> float | None:
        """Seconds, whichever of its two forms Retry-After has."""
        text = self.headers.get("retry-after", "").strip()
        if not text:
            return None
        try:
            seconds = float(text)
        except ValueError:
            from email.utils import parsedate_to_datetime

            try:
                seconds = parsedate_to_datetime(text).timestamp() - time.time()
            except (ValueError, TypeError, OverflowError, IndexError):
                return None
        return max(0.0, seconds) if isfinite(seconds) else None


def judge(answer: Answer, doing: str, *, skew: float = 0.0) -> Exception:
    """The exception that a refusal deserves: `TryAgain`, or the error for the caller."""
    status, reason = answer.status, answer.reason
    said = f"{doing}: Drive answered {status}"
    detail = reason or answer.said
    message = f"{said} ({detail})" if detail else said
    if status == 429 or (status == 403 and reason in RATE_REASONS):
        error = RemoteTrouble(
            f"{message}: too many requests, or more than 750 GB in a day",
            hint="wait a while and run the command again; it goes on where it stopped",
        )
        return TryAgain(error, limited=True, after=answer.retry_after)
    if status in TRANSIENT:
        trouble = RemoteTrouble(message, hint="run the command again; it goes on where it stopped")
        return TryAgain(trouble, after=answer.retry_after)
    return _final(status, reason, message, doing, skew)


def _final(status: int, reason: str, message: str, doing: str, skew: float) -> MemsyncError:
    if reason in _FULL:
        what, mend = _FULL[reason]
        return RemoteFull(f"{doing}: {what}", hint=mend)
    if status == 401:
        return NotLoggedIn(
            f"{doing}: Drive does not accept the login", hint="run 'memsync login' again" + clock_hint(skew)
        )
    if reason in _REFUSED or status == 403:
        what, mend = _REFUSED.get(
            reason, (f"Drive refused ({reason or 'no reason given'})", "run 'memsync login' again")
        )
        return NotLoggedIn(f"{doing}: {what}", hint=mend, code="refused")
    if status in (404, 410):
        return RemoteMissing(
            f"{doing}: it is not on Drive, or not visible to this login", hint="run the command again"
        )
    trouble = RemoteTrouble(message, hint="run the command again; if it stays, report it with this message")
    trouble.retryable = False
    return trouble


def lost(error: BaseException, doing: str, *, skew: float = 0.0) -> Exception:
    """The same for an exchange that broke off: no answer, so whether it had an effect is unknown."""
    import ssl

    if isinstance(error, ssl.SSLCertVerificationError):
        trouble = RemoteTrouble(
            f"{doing}: the server's certificate was not accepted ({error.verify_message})",
            hint="check this machine's clock first, then its proxy or certificate store" + clock_hint(skew),
        )
        trouble.retryable = False
        return trouble
    words = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    return TryAgain(
        RemoteTrouble(
            f"{doing}: no answer from Drive ({words[:_LONGEST_SAID]})",
            hint="check the network and run the command again; it goes on where it stopped",
        )
    )


def clock_hint(skew: float) -> str:
    """Half a sentence about this machine's clock, if it is `skew` seconds ahead of the server's."""
    if abs(skew) < SKEW:
        return ""
    side = "ahead" if skew > 0 else "behind"
    return f"; this machine's clock is {abs(skew) / 60:.0f} minutes {side} of Google's: set it first"
