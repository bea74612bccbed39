"""The switches: what is unsettled about Drive, how large its limits are, how strict it is.

Everything here may be changed while the emulator runs. Where the facts carry a (?) both
answers can be played; limits have Drive's own values and are made small by tests.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Literal

WEEK = 7 * 86_400.0
MONTH = 30 * 86_400.0


@dataclass
class Behaviour:
    """Set attributes directly, or by text with `set` (`--set name=value`)."""

    # --- unsettled in the facts: both answers can be played ---
    reserved_id_lifetime: float | None = None
    """Seconds a reserved id stays usable; None: for ever. After it a create answers 400."""
    resumable_id_check: Literal["start", "finish"] = "start"
    """When a resumable create with an id in use hears 409: at the start or at the end."""
    repeated_add_parent: Literal["accepted", "refused"] = "accepted"
    """`addParents` of the parent a file already has: nothing happens, or 400."""
    lf_multipart_eats_cr: bool = False
    """A payload ending in CR loses it in a multipart body with bare LF line ends."""
    drive_file_sees_root: bool = False
    """Whether `files.get('root')` answers a `drive.file` token, or 404."""
    rename_is_modification: bool = True
    """Whether a new name or type sets modifiedTime, or only content does."""
    drive_file_shows_parents: bool = True
    """Whether `parents` names a folder that the token itself cannot see."""
    changes_name_descendants: bool = False
    """Whether trashing or deleting a folder puts each descendant into changes."""

    # --- lists ---
    page_limit: int | None = None
    """Never more than this many items on a page, whatever pageSize says (legal)."""
    empty_pages: bool = False
    """Put an empty page with a nextPageToken before every page (legal)."""
    name_lag_lists: int = 0
    """A created file is missing from this many listings by name (or without a parent)."""
    name_lag_seconds: float = 0.0
    parent_lag_lists: int = 0
    """The same for listings by parent only. By id a file is always seen."""
    parent_lag_seconds: float = 0.0

    # --- uploads ---
    keep_at_most: int | None = None
    """The server keeps at most this much of each chunk, rounded down to 256 KiB."""
    session_lifetime: float = WEEK
    session_gone_status: Literal[404, 410] = 404

    # --- signing in ---
    token_lifetime: float = 3599.0
    refresh_lifetime: float | None = None
    """Seconds a refresh token lives; a consent screen in "Testing" means a week."""
    consent: Literal["grant", "deny"] = "grant"

    # --- limits ---
    max_children: int = 500_000
    max_depth: int = 100
    max_drive_items: int = 500_000
    max_app_properties: int = 30
    max_property_bytes: int = 124
    max_revisions: int = 100
    revision_lifetime: float = MONTH
    trash_lifetime: float = MONTH
    storage_limit: int | None = 15 * 2**30
    daily_upload_limit: int | None = 750 * 10**9
    """Bytes a day; above it an ordinary userRateLimitExceeded, as Drive says it."""
    units_per_minute: int | None = None
    """Quota units a minute and user; 325,000 on Drive. None: not enforced, only counted."""
    creates_per_second: float | None = None
    """The write-rate bucket. Drive sustains 2 to 3; None: no bucket."""
    create_burst: int = 10
    write_limit_status: Literal[403, 429] = 403
    write_limit_retry_after: float | None = None
    read_only: bool = False
    """Every file may only be read: writes answer insufficientFilePermissions."""

    # --- how the server itself behaves ---
    body_timeout: float = 20.0
    """Real seconds the server waits for the rest of a request it was promised."""
    hang_seconds: float = 20.0
    """The longest a hanging connection is kept open."""

    def set(self, name: str, text: str) -> None:
        """Set one switch from text. Raises ValueError for an unknown name or a bad value."""
        for field in dataclasses.fields(self):
            if field.name == name:
                setattr(self, name, _parse(str(field.type), text))
                return
        raise ValueError(f"no switch is called {name!r}")


def _parse(kind: str, text: str) -> object:
    if "None" in kind and text.lower() in ("none", ""):
        return None
    if kind.startswith("Literal"):
        for choice in kind[kind.index("[") + 1 : kind.index("]")].split(","):
            if choice.strip().strip("\"'") == text:
                return int(text) if text.isdigit() else text
        raise ValueError(f"{text!r} is not one of {kind}")
    if kind == "bool":
        if text.lower() not in ("true", "false"):
            raise ValueError(f"{text!r} is neither true nor false")
        return text.lower() == "true"
    return float(text) if kind.startswith("float") else int(text)
