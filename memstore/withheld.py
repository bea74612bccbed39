"""What is never committed, wherever it lies: a sign-in.

A copy of the Drive token or of the OAuth client file in `Data/`, a hard link to it, or the file itself by some
configuration would go to the remote and stay in history. It is known by its bytes, not by its name; a client file
that was written out anew by its shape, a JSON object with a secret of a client that this workspace signs in with;
and a token by its shape alone, whoever's it is: one that was moved into `Data/` left nothing to hold it against.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from memstore import files
from memstore.errors import DiskTrouble
from memstore.ids import ContentId

if TYPE_CHECKING:
    from memstore.workspace import Workspace

SHORTEST: Final = 16
"""Bytes; a shorter file holds no credential, and its bytes may be anybody's."""
LARGEST: Final = 1 << 20
LARGEST_SHAPE: Final = 1 << 16
"""Bytes; a sign-in file is some hundred, and what is far larger is not read as JSON."""
TOKEN: Final = ""
"""What `client_of` says of a token: it matters no more whose it is, and no client has this id."""
_MARK: Final = b'"client_secret"'
"""What every such object has; so nearly all files cost one search."""


class Withheld:
    """The sign-in files of a workspace as they are now. Read only when a file of the very size, or one of the very
    shape, turns up."""

    def __init__(self, workspace: Workspace) -> None:
        self._sizes: dict[int, list[tuple[str, str]]] = {}
        self._paths: list[str] = []
        self._known: dict[str, ContentId | None] = {}
        self._clients: set[str] | None = None
        named = (("Drive token", workspace.token_path), ("OAuth client file", workspace.credentials_path))
        for what, path in named:
            try:
                size = files.size(path)
            except OSError:
                continue
            if SHORTEST <= size <= LARGEST:
                self._paths.append(path)
                self._sizes.setdefault(size, []).append((what, path))

    def reason(self, content: ContentId, size: int, client: str | None = None) -> str | None:
        """Why these bytes are not committed; None for all others. `client` is what `client_of` says of them."""
        for what, path in self._sizes.get(size, ()):
            if path not in self._known:
                self._known[path] = _content_of(path)
            if self._known[path] == content:
                return f"it has the bytes of this workspace's {what}, which is never committed"
        if client == TOKEN:
            return "it is a sign-in token (a client_secret and a refresh_token), which is never committed"
        if client is not None and client in self._own_clients():
            return (
                "it holds a secret of the client that this workspace signs in with, which is never committed"
            )
        return None

    def _own_clients(self) -> set[str]:
        if self._clients is None:
            found = (_client(_document(_read(path))) for path in self._paths)
            self._clients = {client for client in found if client is not None}
        return self._clients


def client_of(raw: bytes) -> str | None:
    """Whose sign-in these bytes are a file of: `TOKEN` for a token as `memsync login` and Google's libraries write
    it; the id of the OAuth client for what else has its secret, such as the client file that is downloaded; None for
    anything else."""
    if len(raw) > LARGEST_SHAPE or _MARK not in raw:
        return None
    document = _document(raw)
    if all(isinstance(document.get(name), str) for name in ("client_secret", "refresh_token")):
        return TOKEN
    return _client(document)


def _document(raw: bytes) -> dict[str, Any]:
    """The JSON object that these bytes are; else an empty one."""
    try:
        document = json.loads(raw)
    except (ValueError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {}


def _client(document: dict[str, Any]) -> str | None:
    """The id of the client whose secret it holds."""
    for facts in (document, document.get("installed"), document.get("web")):
        if isinstance(facts, dict) and isinstance(facts.get("client_secret"), str):
            client = facts.get("client_id")
            if isinstance(client, str) and client:
                return client
    return None


def _content_of(path: str) -> ContentId | None:
    raw = _read(path)
    return ContentId.of(raw) if raw else None


def _read(path: str) -> bytes:
    """Nothing where it can't be read."""
    try:
        return files.read(path)
    except (OSError, DiskTrouble):
        return b""
