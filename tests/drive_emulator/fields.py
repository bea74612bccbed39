"""The `fields` parameter: its grammar, and the names each answer may hold.

Strict as Drive is: a name the schema does not have (`etag`, which v3 no longer knows) is 400,
and nothing in the answer is returned that was not asked for. In particular a list whose
`fields` lack `nextPageToken` is cut silently; the emulator notes it as a violation.

    selection = item *("," item)      item = "*" | name ["/" item | "(" selection ")"]
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .errors import ApiError

Mask = dict[str, "Mask"]
"""Chosen names to what is chosen inside; an empty mask means the whole value."""

Schema = Mapping[str, "str | None"]


def _names(text: str, **nested: str) -> Schema:
    return {**dict.fromkeys(text.split()), **nested}


# The names of the v3 schemas as of November 2026; None is a plain value, "*" an open map.
SCHEMAS: Mapping[str, Schema] = {
    "File": _names(
        "copyRequiresWriterPermission createdTime description driveId explicitlyTrashed"
        " fileExtension folderColorRgb fullFileExtension hasAugmentedPermissions hasThumbnail"
        " headRevisionId iconLink id inheritedPermissionsDisabled isAppAuthorized kind"
        " md5Checksum mimeType modifiedByMe modifiedByMeTime modifiedTime name originalFilename"
        " ownedByMe parents permissionIds quotaBytesUsed resourceKey sha1Checksum"
        " sha256Checksum shared sharedWithMeTime size spaces starred teamDriveId thumbnailLink"
        " thumbnailVersion trashed trashedTime version viewedByMe viewedByMeTime"
        " viewersCanCopyContent webContentLink webViewLink writersCanShare",
        appProperties="*",
        properties="*",
        capabilities="*",
        clientEncryptionDetails="*",
        contentHints="*",
        contentRestrictions="*",
        downloadRestrictions="*",
        exportLinks="*",
        imageMediaMetadata="*",
        labelInfo="*",
        lastModifyingUser="User",
        linkShareMetadata="*",
        owners="User",
        permissions="*",
        sharingUser="User",
        shortcutDetails="*",
        trashingUser="User",
        videoMediaMetadata="*",
    ),
    "FileList": _names("incompleteSearch kind nextPageToken", files="File"),
    "Change": _names(
        "changeType driveId fileId kind removed teamDriveId time type",
        file="File",
        drive="Drive",
        teamDrive="*",
    ),
    "ChangeList": _names("kind newStartPageToken nextPageToken", changes="Change"),
    "StartPageToken": _names("kind startPageToken"),
    "GeneratedIds": _names("ids kind space"),
    "Revision": _names(
        "id keepForever kind md5Checksum mimeType modifiedTime originalFilename publishAuto"
        " published publishedLink publishedOutsideDomain size",
        exportLinks="*",
        lastModifyingUser="User",
    ),
    "RevisionList": _names("kind nextPageToken", revisions="Revision"),
    "Drive": _names(
        "backgroundImageLink colorRgb createdTime hidden id kind name orgUnitId themeId",
        backgroundImageFile="*",
        capabilities="*",
        restrictions="*",
    ),
    "DriveList": _names("kind nextPageToken", drives="Drive"),
    "User": _names("displayName emailAddress kind me permissionId photoLink"),
    "About": _names(
        "appInstalled canCreateDrives canCreateTeamDrives folderColorPalette kind maxUploadSize",
        driveThemes="*",
        exportFormats="*",
        importFormats="*",
        maxImportSizes="*",
        storageQuota="*",
        teamDriveThemes="*",
        user="User",
    ),
}

# What comes when nothing is asked for: on a file four names only.
DEFAULTS: Mapping[str, str] = {
    "File": "kind,id,name,mimeType",
    "FileList": "kind,nextPageToken,incompleteSearch,files(kind,id,name,mimeType)",
    "ChangeList": "kind,nextPageToken,newStartPageToken,"
    "changes(kind,type,changeType,time,removed,fileId,file(kind,id,name,mimeType))",
    "Revision": "kind,id,mimeType,modifiedTime",
    "RevisionList": "kind,nextPageToken,revisions(kind,id,mimeType,modifiedTime)",
    "Drive": "kind,id,name",
    "DriveList": "kind,nextPageToken,drives(kind,id,name)",
}


def mask_for(text: str | None, schema: str) -> Mask:
    """The mask of a `fields` value (None or empty: the default). Raises a 400 `ApiError`."""
    if not text:
        text = DEFAULTS.get(schema, "*")
    parser = _Parser(text)
    mask = parser.selection(schema, "")
    if parser.rest:
        raise _bad(parser.rest)
    return mask


def pick(value: Any, mask: Mask) -> Any:
    """The part of a JSON value that the mask chose; arrays are looked through."""
    if not mask:
        return value
    if isinstance(value, list):
        return [pick(item, mask) for item in value]
    if not isinstance(value, dict):
        return value
    return {name: pick(value[name], inner) for name, inner in mask.items() if name in value}


def _bad(name: str) -> ApiError:
    return ApiError("invalidParameter", f"Invalid field selection {name}", parameter="fields")


class _Parser:
    def __init__(self, text: str) -> None:
        self.rest = text.replace(" ", "")

    def selection(self, schema: str | None, prefix: str) -> Mask:
        mask: Mask = {}
        whole = False
        while True:
            name, inner = self.item(schema, prefix)
            if name == "*":
                whole = True
            else:
                mask[name] = {**mask.get(name, {}), **inner} if inner else {}
            if not self.rest.startswith(","):
                return {} if whole else mask
            self.rest = self.rest[1:]

    def item(self, schema: str | None, prefix: str) -> tuple[str, Mask]:
        end = 0
        while end < len(self.rest) and (self.rest[end].isalnum() or self.rest[end] in "*_-"):
            end += 1
        name, self.rest = self.rest[:end], self.rest[end:]
        if name == "*":
            return name, {}
        inner_schema = self._known(name, schema, prefix)
        if self.rest.startswith("/"):
            self.rest = self.rest[1:]
            inner_name, inner = self.item(inner_schema, f"{prefix}{name}/")
            return name, {} if inner_name == "*" else {inner_name: inner}
        if self.rest.startswith("("):
            self.rest = self.rest[1:]
            mask = self.selection(inner_schema, f"{prefix}{name}/")
            if not self.rest.startswith(")"):
                raise _bad(self.rest or f"{prefix}{name}(")
            self.rest = self.rest[1:]
            return name, mask
        return name, {}

    def _known(self, name: str, schema: str | None, prefix: str) -> str | None:
        """The schema inside `name`; refuses a name the schema does not have."""
        if schema == "*" and name:
            return "*"
        names = SCHEMAS.get(schema or "", {})
        if name not in names:
            raise _bad(prefix + name)
        return names[name]
