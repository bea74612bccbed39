"""What a person writes for a remote, understood.

drive:               the folder that paths.json names (`drive_root`)
drive:FOLDER/PATH    that folder, from the top of My Drive
drive://FOLDER_ID    that folder, wherever it is, shared drives included
a plain path         a folder: absolute, with ~, relative to the current folder, or file:///…
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from memstore.errors import BadInput
from memstore.workspace import around
from memstore.worktree.names import shown

if TYPE_CHECKING:
    from memstore.workspace import Workspace

UNDERSTOOD: Final = (
    "memsync understands: drive: (the folder in paths.json), drive:FOLDER/PATH, drive://FOLDER_ID, "
    "or the path of a folder, such as /mnt/backup/memory (./name where the name has a colon)"
)
_SCHEME: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:")
"""Two characters at least: `C:` is a Windows drive."""
_FOLDER_ID: Final = re.compile(r"[A-Za-z0-9_-]{2,128}")
"""Drive's ids; 33 characters today, shared drives 19."""
_STATE: Final = ".memsync"


@dataclass(frozen=True, slots=True)
class RemoteUrl:
    """A remote as a person named it, understood. Exactly one of the three places is set."""

    normalised: str
    """What to store and show: a path made absolute; `drive:` stays `drive:` and follows paths.json."""
    path: str | None = None
    """A folder, absolute."""
    folder: tuple[str, ...] | None = None
    """A folder on Drive, part by part from the top of My Drive."""
    folder_id: str | None = None
    """A folder on Drive, by its id."""

    @property
    def is_drive(self) -> bool:
        return self.path is None


def parse_url(url: str, workspace: Workspace | None = None) -> RemoteUrl:
    """What `url` names, for `workspace` (None before there is one: then `drive:` is the default folder).

    Raises `BadInput` for anything memsync does not understand, and for a folder that would hold the
    workspace or lie in its `Data/`.
    """
    understood = _understood(url, workspace)
    try:
        understood.normalised.encode()
    except UnicodeEncodeError:
        raise BadInput(
            f"not the address of a remote: '{shown(understood.normalised)}' is not UTF-8",
            hint="rename that folder, or name another one",
        ) from None
    return understood


def _understood(url: str, workspace: Workspace | None) -> RemoteUrl:
    if not url.strip() or any(character < " " for character in url):
        raise BadInput(f"not a remote: {url!r}", hint=UNDERSTOOD)
    scheme = _SCHEME.match(url)
    kind = scheme.group().lower() if scheme else ""
    if kind == "drive:":
        return _drive(url[len(kind) :], workspace)
    if kind == "file:":
        return _folder(_file_path(url), workspace)
    if kind:
        raise BadInput(f"not a kind of remote that memsync knows: {url}", hint=UNDERSTOOD)
    return _folder(url, workspace)


def _drive(rest: str, workspace: Workspace | None) -> RemoteUrl:
    if not rest:
        folder = workspace.drive_folder if workspace is not None else ("MemoryVDB",)
        return RemoteUrl("drive:", folder=folder)
    if rest.startswith("//"):
        identity = rest[2:].removesuffix("/")
        if not _FOLDER_ID.fullmatch(identity):
            raise BadInput(
                f"not the id of a Drive folder: {identity!r}",
                hint="it is the last part of the folder's address in the browser; " + UNDERSTOOD,
            )
        return RemoteUrl(f"drive://{identity}", folder_id=identity)
    parts = tuple(rest.strip("/").split("/"))
    if any(part.strip() in ("", ".", "..") or part.casefold() == _STATE for part in parts):
        raise BadInput(f"not a folder on Drive: {rest!r}", hint=UNDERSTOOD)
    return RemoteUrl("drive:" + "/".join(parts), folder=parts)


def _file_path(url: str) -> str:
    from urllib.parse import urlsplit
    from urllib.request import url2pathname

    parts = urlsplit(url)
    if parts.netloc not in ("", "localhost") or not parts.path.startswith("/"):
        raise BadInput(f"not the address of a folder on this machine: {url}", hint=UNDERSTOOD)
    return url2pathname(parts.path)


def _folder(written: str, workspace: Workspace | None) -> RemoteUrl:
    path = os.path.abspath(os.path.expanduser(written))
    if os.path.basename(path).casefold() == _STATE:
        raise BadInput(
            f"{path} is a store's own folder", hint=f"name the folder above it: {os.path.dirname(path)}"
        )
    if os.path.exists(path) and not os.path.isdir(path):
        raise BadInput(f"{path} is no folder", hint="name a folder; one that is not there yet will be made")
    for root, data in around(path):
        if _inside(root, path):
            raise BadInput(
                f"{path} is a memsync workspace, not a remote",
                hint="in it, run 'memsync remote set FOLDER' and 'memsync push'; then name that FOLDER here",
            )
        if (workspace is None or root != workspace.root) and _inside(path, data):
            raise BadInput(
                f"the remote {path} lies in the data folder of the workspace {root}",
                hint="a remote must be outside; best on another disk",
            )
    if workspace is not None:
        for ours, what in ((workspace.data, "Data/"), (workspace.state, "the store's own folder")):
            if _inside(path, ours):
                raise BadInput(
                    f"the remote {path} lies in {what} of this workspace ({ours})",
                    hint="a remote must be outside; best on another disk",
                )
        for ours, what in ((workspace.root, "this workspace"), (workspace.data, "its Data/")):
            if _inside(ours, path):
                raise BadInput(
                    f"the remote {path} would contain {what} ({ours})",
                    hint="name a folder of its own for the remote; best on another disk",
                )
    return RemoteUrl(path, path=path)


def _inside(path: str, folder: str) -> bool:
    """Whether `path` is `folder` or below it, once symlinks are followed (as far as the parts exist)."""
    path, folder = (os.path.normcase(os.path.realpath(place)) for place in (path, folder))
    return path == folder or path.startswith(folder.rstrip(os.sep) + os.sep)
