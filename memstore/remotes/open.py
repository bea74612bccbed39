"""From a remote's address to a remote that works."""

from __future__ import annotations

from typing import TYPE_CHECKING

from memstore.progress import SILENT, Progress
from memstore.remotes.base import OpenRemote
from memstore.remotes.retry import Retry, Retrying
from memstore.remotes.url import parse_url

if TYPE_CHECKING:
    from memstore.workspace import Workspace


def open_remote(url: str, workspace: Workspace, progress: Progress = SILENT) -> OpenRemote:
    """Both halves of the remote at `url`. Nothing is asked of it yet; the first verb may find it missing.

    Raises `BadInput` (see `parse_url`), and for Drive `NotLoggedIn` when there is no usable token.
    """
    place = parse_url(url, workspace)
    config = workspace.config
    retry = Retry(attempts=config.push_attempts, budget=config.push_budget, tell=progress.say)
    if place.path is not None:
        from memstore.remotes.folder import FolderRemote

        return Retrying(FolderRemote(place.path), retry)
    from memstore.remotes.drive import open_drive

    return open_drive(place, workspace, retry, progress)
