"""How Drive writes a file's time and type."""

from __future__ import annotations

import mimetypes
from datetime import UTC, datetime


def mime_type_of(name: str) -> str:
    """By the name's ending, so that Drive shows text as text; never one that Drive would convert."""
    guess, encoding = mimetypes.guess_type(name)
    return guess if guess and not encoding and "google-apps" not in guess else "application/octet-stream"


def rfc3339(modified_ms: int) -> str:
    """A time in milliseconds since the epoch as Drive takes it."""
    moment = datetime.fromtimestamp(modified_ms / 1000, UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{modified_ms % 1000:03d}Z"


def milliseconds(text: object) -> int:
    """The same read back; 0 for what is no time."""
    try:
        return round(datetime.fromisoformat(str(text)).timestamp() * 1000)
    except (ValueError, OverflowError):
        return 0
