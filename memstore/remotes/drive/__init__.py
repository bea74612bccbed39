"""Google Drive as a remote. Everything heavy is imported when a remote is opened."""

from __future__ import annotations

from typing import TYPE_CHECKING

from memstore.remotes.base import OpenRemote

if TYPE_CHECKING:
    from memstore.progress import Progress
    from memstore.remotes.retry import Retry
    from memstore.remotes.url import RemoteUrl
    from memstore.workspace import Workspace


def open_drive(place: RemoteUrl, workspace: Workspace, retry: Retry, progress: Progress) -> OpenRemote:
    """The Drive remote at `place`. Raises `NotLoggedIn` (code `token_missing`) without a token file."""
    from memstore.remotes.drive.remote import DriveRemote

    return DriveRemote.open(place, workspace, retry, progress)
