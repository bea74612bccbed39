"""What is never committed, wherever it lies: the bytes of this workspace's own sign-in files.

A copy of the Drive token or of the OAuth client file in `Data/`, a hard link to it, or the file itself by some
configuration would go to the remote and stay in history. It is known by its bytes, not by its name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from memstore import files
from memstore.errors import DiskTrouble
from memstore.ids import ContentId

if TYPE_CHECKING:
    from memstore.workspace import Workspace

SHORTEST: Final = 16
"""Bytes; a shorter file holds no credential, and its bytes may be anybody's."""
LARGEST: Final = 1 << 20


class Withheld:
    """The sign-in files of a workspace as they are now. Read only when a file of the very size turns up."""

    def __init__(self, workspace: Workspace) -> None:
        self._sizes: dict[int, list[tuple[str, str]]] = {}
        self._known: dict[str, ContentId | None] = {}
        named = (("Drive token", workspace.token_path), ("OAuth client file", workspace.credentials_path))
        for what, path in named:
            try:
                size = files.size(path)
            except OSError:
                continue
            if SHORTEST <= size <= LARGEST:
                self._sizes.setdefault(size, []).append((what, path))

    def reason(self, content: ContentId, size: int) -> str | None:
        """Why these bytes are not committed; None for all others."""
        for what, path in self._sizes.get(size, ()):
            if path not in self._known:
                self._known[path] = _content_of(path)
            if self._known[path] == content:
                return f"it has the bytes of this workspace's {what}, which is never committed"
        return None


def _content_of(path: str) -> ContentId | None:
    try:
        return ContentId.of(files.read(path))
    except (OSError, DiskTrouble):
        return None
