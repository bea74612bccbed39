"""The things a Drive holds, and who is asking: plain values without rules of their own."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from .clock import to_text

FOLDER = "application/vnd.google-apps.folder"
SHORTCUT = "application/vnd.google-apps.shortcut"
GOOGLE_TYPES = "application/vnd.google-apps."
OCTETS = "application/octet-stream"

SCOPE_FULL = "https://www.googleapis.com/auth/drive"
SCOPE_FILE = "https://www.googleapis.com/auth/drive.file"
SCOPE_READONLY = "https://www.googleapis.com/auth/drive.readonly"
SCOPES = frozenset({SCOPE_FULL, SCOPE_FILE, SCOPE_READONLY})

ME: Mapping[str, Any] = {
    "kind": "drive#user",
    "displayName": "A Person",
    "me": True,
    "permissionId": "01234567890123456789",
    "emailAddress": "person@example.com",
}


@dataclass(frozen=True)
class Caller:
    """Who asks: a client id with scopes, or the person in front of the web interface."""

    client_id: str
    scopes: frozenset[str]
    person: bool = False

    @property
    def sees_all(self) -> bool:
        return self.person or SCOPE_FULL in self.scopes or SCOPE_READONLY in self.scopes

    @property
    def may_write(self) -> bool:
        return self.person or SCOPE_FULL in self.scopes or SCOPE_FILE in self.scopes


PERSON = Caller("", frozenset(), person=True)


@dataclass(frozen=True)
class Content:
    """Bytes with the checksums every upload's answer carries. Hash outside of any lock."""

    data: bytes
    md5: str
    sha1: str
    sha256: str

    @classmethod
    def of(cls, data: bytes) -> Content:
        md5 = hashlib.md5(data, usedforsecurity=False).hexdigest()
        sha1 = hashlib.sha1(data, usedforsecurity=False).hexdigest()
        return cls(data, md5, sha1, hashlib.sha256(data).hexdigest())

    @property
    def size(self) -> int:
        return len(self.data)


@dataclass
class Revision:
    """One content of a file. They vanish after 30 days or past 100: no history."""

    id: str
    content: Content
    mime_type: str
    modified: float
    keep_forever: bool = False

    def as_json(self) -> dict[str, Any]:
        return {
            "kind": "drive#revision",
            "id": self.id,
            "mimeType": self.mime_type,
            "modifiedTime": to_text(self.modified),
            "keepForever": self.keep_forever,
            "md5Checksum": self.content.md5,
            "size": str(self.content.size),
            "published": False,
            "lastModifyingUser": dict(ME),
        }


@dataclass(frozen=True)
class Birth:
    """When an item came, and how many listings had been answered by then (for lag)."""

    moment: float
    by_name: int
    by_parent: int


@dataclass
class Item:
    """A file or folder. `parent` is None for a root; `drive_id` for what is in My Drive."""

    id: str
    name: str
    mime_type: str
    parent: str | None
    drive_id: str | None
    created: float
    modified: float
    birth: Birth
    apps: set[str] = field(default_factory=set)
    """The client ids that made it: what `drive.file` goes by."""
    app_properties: dict[str, dict[str, str]] = field(default_factory=dict)
    """By client id: an app never sees another's."""
    properties: dict[str, str] = field(default_factory=dict)
    extra: dict[str, Any] = field(default_factory=dict)
    starred: bool = False
    explicitly_trashed: bool = False
    trashed_at: float | None = None
    version: int = 1
    revisions: list[Revision] = field(default_factory=list)

    @property
    def is_folder(self) -> bool:
        return self.mime_type == FOLDER

    @property
    def content(self) -> Content | None:
        return self.revisions[-1].content if self.revisions else None

    @property
    def size(self) -> int:
        return self.revisions[-1].content.size if self.revisions else 0


Role = Literal["organizer", "fileOrganizer", "writer", "reader"]
"""On a shared drive: manager, content manager, contributor, viewer (Drive's guide, "Roles and permissions")."""
MAY_TRASH = ("organizer", "fileOrganizer")
MAY_DELETE = ("organizer",)


@dataclass(frozen=True)
class SharedDrive:
    id: str
    name: str
    created: float
    role: Role = "organizer"
    """What the account is there."""

    @property
    def read_only(self) -> bool:
        return self.role == "reader"

    def as_json(self) -> dict[str, Any]:
        return {
            "kind": "drive#drive",
            "id": self.id,
            "name": self.name,
            "createdTime": to_text(self.created),
            "hidden": False,
            "capabilities": {"canEdit": not self.read_only, "canAddChildren": not self.read_only},
        }


@dataclass(frozen=True)
class View:
    """An item as one caller sees it: what queries look at and answers show."""

    item: Item
    caller: Caller
    trashed: bool
    writable: bool = True
    role: Role = "organizer"
    shown_parents: Sequence[str] = ()

    @property
    def name(self) -> str:
        return self.item.name

    @property
    def mime_type(self) -> str:
        return self.item.mime_type

    @property
    def modified(self) -> float:
        return self.item.modified

    @property
    def created(self) -> float:
        return self.item.created

    @property
    def starred(self) -> bool:
        return self.item.starred

    @property
    def parents(self) -> Sequence[str]:
        return [self.item.parent] if self.item.parent else []

    @property
    def app_properties(self) -> Mapping[str, str]:
        return self.item.app_properties.get(self.caller.client_id, {})

    @property
    def properties(self) -> Mapping[str, str]:
        return self.item.properties

    def as_json(self) -> dict[str, Any]:
        """The whole File resource; the fields mask picks from it."""
        item = self.item
        answer: dict[str, Any] = {
            "kind": "drive#file",
            "id": item.id,
            "name": item.name,
            "mimeType": item.mime_type,
            "starred": item.starred,
            "trashed": self.trashed,
            "explicitlyTrashed": item.explicitly_trashed,
            "version": str(item.version),
            "createdTime": to_text(item.created),
            "modifiedTime": to_text(item.modified),
            "modifiedByMeTime": to_text(item.modified),
            "modifiedByMe": True,
            "ownedByMe": item.drive_id is None,
            "shared": item.drive_id is not None,
            "spaces": ["drive"],
            "lastModifyingUser": dict(ME),
            "isAppAuthorized": self.caller.client_id in item.apps,
            "writersCanShare": True,
            "viewersCanCopyContent": True,
            "copyRequiresWriterPermission": False,
            "quotaBytesUsed": str(item.size),
            "webViewLink": f"https://drive.google.com/file/d/{item.id}/view",
            "capabilities": {
                "canEdit": self.writable,
                "canAddChildren": self.writable and item.is_folder,
                "canTrash": self.writable and self.role in MAY_TRASH,
                "canDelete": self.writable and self.role in MAY_DELETE,
                "canDownload": not item.is_folder,
            },
        }
        answer |= item.extra
        if self.shown_parents:
            answer["parents"] = list(self.shown_parents)
        if item.drive_id is None:
            answer["owners"] = [dict(ME)]
        else:
            answer |= {"driveId": item.drive_id, "teamDriveId": item.drive_id}
        if item.trashed_at is not None:
            answer["trashedTime"] = to_text(item.trashed_at)
        if self.app_properties:
            answer["appProperties"] = dict(self.app_properties)
        if item.properties:
            answer["properties"] = dict(item.properties)
        if item.content is not None:
            answer |= self._of_content(item.content)
        return answer

    def _of_content(self, content: Content) -> dict[str, Any]:
        suffix = self.name.rpartition(".")[2] if "." in self.name else ""
        return {
            "size": str(content.size),
            "md5Checksum": content.md5,
            "sha1Checksum": content.sha1,
            "sha256Checksum": content.sha256,
            "headRevisionId": self.item.revisions[-1].id,
            "originalFilename": self.item.extra.get("originalFilename", self.name),
            "fileExtension": suffix,
            "fullFileExtension": suffix,
        }
