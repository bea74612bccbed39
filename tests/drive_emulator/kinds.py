"""The kind of a request: what it is called in counts and in fault rules.

    about.get  files.get  files.get.media  files.list  files.create  files.create.multipart
    files.create.media  files.update  files.update.multipart  files.update.media
    files.delete  files.copy  files.emptyTrash  files.generateIds
    upload.start  upload.chunk  upload.status  upload.cancel
    changes.getStartPageToken  changes.list
    revisions.list  revisions.get  revisions.get.media  revisions.update  revisions.delete
    drives.list  drives.get  batch
    token  revoke  auth  device          (signing in: never counted as Drive requests)

Tags group them: `read`, `write`, `create` (whatever would make a file come to exist, so also
the last chunk of a resumable create), `upload.last` (a chunk that would complete its upload).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from .wire import Request

# Quota units, from the facts: get 5, list 100, edit 50, download 200, ids 5.
UNITS: Mapping[str, int] = {
    "about.get": 5,
    "files.get": 5,
    "files.get.media": 200,
    "files.list": 100,
    "files.generateIds": 5,
    "changes.getStartPageToken": 5,
    "changes.list": 100,
    "revisions.list": 100,
    "revisions.get": 5,
    "revisions.get.media": 200,
    "drives.list": 100,
    "drives.get": 5,
    "batch": 0,
    # One edit for a whole resumable upload: charged when it starts.
    "upload.chunk": 0,
    "upload.status": 0,
    "upload.cancel": 0,
}
EDIT_UNITS = 50

_SIGNING_IN = {
    "/token": "token",
    "/revoke": "revoke",
    "/auth": "auth",
    "/device/code": "device",
}
_ROUTES: tuple[tuple[str, str, str], ...] = (
    ("GET", r"about", "about.get"),
    ("GET", r"files", "files.list"),
    ("POST", r"files", "files.create"),
    ("GET", r"files/generateIds", "files.generateIds"),
    ("DELETE", r"files/trash", "files.emptyTrash"),
    ("GET", r"files/(?P<file>[^/]+)", "files.get"),
    ("PATCH", r"files/(?P<file>[^/]+)", "files.update"),
    ("DELETE", r"files/(?P<file>[^/]+)", "files.delete"),
    ("POST", r"files/(?P<file>[^/]+)/copy", "files.copy"),
    ("GET", r"files/(?P<file>[^/]+)/revisions", "revisions.list"),
    ("GET", r"files/(?P<file>[^/]+)/revisions/(?P<revision>[^/]+)", "revisions.get"),
    ("PATCH", r"files/(?P<file>[^/]+)/revisions/(?P<revision>[^/]+)", "revisions.update"),
    ("DELETE", r"files/(?P<file>[^/]+)/revisions/(?P<revision>[^/]+)", "revisions.delete"),
    ("GET", r"changes/startPageToken", "changes.getStartPageToken"),
    ("GET", r"changes", "changes.list"),
    ("GET", r"drives", "drives.list"),
    ("GET", r"drives/(?P<drive>[^/]+)", "drives.get"),
)
_COMPILED = tuple((method, re.compile(path), name) for method, path, name in _ROUTES)
_UPLOAD = re.compile(r"(?:/resumable)?/upload/drive/v3/files(?:/(?P<file>[^/]+))?")
_LAST = re.compile(r"bytes (?:\d+-(\d+)|\*)/(\d+)\Z")


@dataclass(frozen=True)
class Kind:
    """What a request is. `name` is empty when the emulator has no such method."""

    name: str
    tags: frozenset[str] = frozenset()
    ids: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_drive(self) -> bool:
        return self.name not in _SIGNING_IN.values() and self.name != "control"

    @property
    def carries_media(self) -> bool:
        return self.name.startswith("upload.") or self.name.endswith((".media", ".multipart"))

    def matches(self, pattern: str) -> bool:
        """Whether a name or tag pattern means this kind; `any` is every Drive request."""
        if pattern == "any":
            return self.is_drive
        return any(fnmatchcase(name, pattern) for name in (self.name, *self.tags))

    @property
    def units(self) -> int:
        return UNITS.get(self.name, EDIT_UNITS) if self.is_drive else 0


def kind_of(request: Request) -> Kind:
    """Classify by method, path and headers; the body is not needed (it may never come)."""
    if request.path.startswith("/_control/"):
        return Kind("control")
    if request.path in _SIGNING_IN:
        return Kind(_SIGNING_IN[request.path])
    if request.path == "/batch/drive/v3":
        return Kind("batch")
    upload = _UPLOAD.fullmatch(request.path)
    if upload is not None:
        return _upload_kind(request, {"file": upload["file"]} if upload["file"] else {})
    if not request.path.startswith("/drive/v3/"):
        return Kind("")
    rest = request.path.removeprefix("/drive/v3/")
    for method, pattern, name in _COMPILED:
        match = pattern.fullmatch(rest)
        if match is not None and method == request.method:
            media = request.query.get("alt") == "media" and name.endswith(".get")
            return _tagged(name + ".media" if media else name, match.groupdict())
    return Kind("")


def _upload_kind(request: Request, ids: Mapping[str, str]) -> Kind:
    if "upload_id" in request.query:
        if request.method == "DELETE":
            return Kind("upload.cancel", frozenset({"write"}), ids)
        return _chunk_kind(request, ids)
    verb = "files.update" if ids else "files.create"
    match request.query.get("uploadType"):
        case "resumable":
            return Kind("upload.start", frozenset({"write"}), ids)
        case "multipart":
            return _tagged(f"{verb}.multipart", ids)
        case "media":
            return _tagged(f"{verb}.media", ids)
    return Kind("")


def _chunk_kind(request: Request, ids: Mapping[str, str]) -> Kind:
    content_range = request.headers.get("content-range")
    if content_range is not None and content_range.startswith("bytes */"):
        return Kind("upload.status", frozenset({"read"}), ids)
    tags = {"write"}
    match = _LAST.match(content_range or "")
    if content_range is None or (match and match[1] and int(match[1]) + 1 == int(match[2])):
        tags.add("upload.last")
        if not ids:
            tags.add("create")
    return Kind("upload.chunk", frozenset(tags), ids)


def _tagged(name: str, ids: Mapping[str, str]) -> Kind:
    reads = UNITS.get(name, EDIT_UNITS) != EDIT_UNITS
    tags = {"read" if reads else "write"}
    if name.startswith("files.create") or name == "files.copy":
        tags.add("create")
    return Kind(name, frozenset(tags), ids)
