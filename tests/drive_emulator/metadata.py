"""The body of a create or update: what may be written, and what is refused.

`parents` in an update is `fieldNotWritable` (a move is addParents and removeParents);
`appProperties` hold 30 pairs an app, each at most 124 bytes of UTF-8, key and value together.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .behaviour import Behaviour
from .clock import from_text
from .errors import ApiError
from .fields import SCHEMAS

_EXTRA = frozenset(("description", "originalFilename", "folderColorRgb", "shortcutDetails"))
_BOTH = frozenset(
    (
        *("name", "mimeType", "modifiedTime", "viewedByMeTime", "trashed", "starred", "kind"),
        *("appProperties", "properties", "description", "originalFilename", "folderColorRgb"),
        *("copyRequiresWriterPermission", "writersCanShare", "inheritedPermissionsDisabled"),
        *("contentHints", "contentRestrictions", "downloadRestrictions"),
    )
)
_CREATE_ONLY = frozenset(("id", "parents", "createdTime", "shortcutDetails", "driveId"))


@dataclass(frozen=True)
class Metadata:
    """A parsed body. None: not mentioned."""

    id: str | None = None
    name: str | None = None
    mime_type: str | None = None
    parents: tuple[str, ...] | None = None
    modified: float | None = None
    created: float | None = None
    app_properties: Mapping[str, str | None] = field(default_factory=dict)
    properties: Mapping[str, str | None] = field(default_factory=dict)
    trashed: bool | None = None
    starred: bool | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)
    unknown: tuple[str, ...] = ()
    """Names no schema has: Drive ignores them, the emulator notes a violation."""


def parse_metadata(text: bytes, *, creating: bool) -> Metadata:
    """Read a JSON body; an empty one says nothing. Raises `ApiError`."""
    body = _object(text)
    known = SCHEMAS["File"]
    for name in body:
        if name in _BOTH or name not in known or (creating and name in _CREATE_ONLY):
            continue
        if name == "parents":
            raise ApiError(
                "fieldNotWritable",
                "The parents field is not directly writable in update requests."
                " Use the addParents and removeParents parameters instead.",
            )
        raise ApiError("fieldNotWritable")
    return Metadata(
        id=_text(body, "id"),
        name=_text(body, "name"),
        mime_type=_text(body, "mimeType"),
        parents=_parents(body),
        modified=_time(body, "modifiedTime"),
        created=_time(body, "createdTime"),
        app_properties=_pairs(body, "appProperties"),
        properties=_pairs(body, "properties"),
        trashed=_flag(body, "trashed"),
        starred=_flag(body, "starred"),
        extra={name: body[name] for name in _EXTRA if name in body},
        unknown=tuple(name for name in body if name not in known),
    )


def parse_keep_forever(text: bytes) -> bool | None:
    """The one thing of a revision that can be written here."""
    return _flag(_object(text), "keepForever")


def _object(text: bytes) -> Mapping[str, Any]:
    if not text.strip():
        return {}
    try:
        body = json.loads(text)
    except ValueError:
        raise ApiError("parseError") from None
    if not isinstance(body, dict):
        raise ApiError("parseError")
    return body


def merged(old: Mapping[str, str], new: Mapping[str, str | None], limits: Behaviour) -> dict[str, str]:
    """Properties after an update: named keys are set, null removes, the rest stays."""
    result = dict(old)
    for key, value in new.items():
        if value is None:
            result.pop(key, None)
            continue
        if len(key.encode()) + len(value.encode()) > limits.max_property_bytes:
            raise ApiError("propertyLengthLimitExceeded")
        result[key] = value
    if len(result) > limits.max_app_properties:
        raise ApiError("propertyCountLimitExceeded")
    return result


def _wrong(name: str) -> ApiError:
    return ApiError("invalid", f"Invalid value for field {name}", parameter=name)


def _text(body: Mapping[str, Any], name: str) -> str | None:
    value = body.get(name)
    if value is None or isinstance(value, str):
        return value
    raise _wrong(name)


def _flag(body: Mapping[str, Any], name: str) -> bool | None:
    value = body.get(name)
    if value is None or isinstance(value, bool):
        return value
    raise _wrong(name)


def _time(body: Mapping[str, Any], name: str) -> float | None:
    text = _text(body, name)
    if text is None:
        return None
    try:
        return from_text(text)
    except ValueError:
        raise _wrong(name) from None


def _parents(body: Mapping[str, Any]) -> tuple[str, ...] | None:
    value = body.get("parents")
    if value is None:
        return None
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise _wrong("parents")
    return tuple(value)


def _pairs(body: Mapping[str, Any], name: str) -> Mapping[str, str | None]:
    value = body.get(name) or {}
    if not isinstance(value, dict):
        raise _wrong(name)
    for item in value.values():
        if item is not None and not isinstance(item, str):
            raise _wrong(name)
    return value
