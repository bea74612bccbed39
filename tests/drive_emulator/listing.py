"""files.list and changes.list: which items, in which order, on which page, and how late.

A listing may be short of what was just created (facts: by name for seconds to minutes; by
parent it was seen to behave; by id it never lags), and any page may be short or empty.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from .clock import to_text
from .drive import Drive
from .errors import ApiError, not_found
from .items import Caller, Item, View
from .query import Query, parse_query

MAX_PAGE = 1000

_KEYS: Mapping[str, Callable[[View], Any]] = {
    "createdTime": lambda view: view.created,
    "folder": lambda view: 0 if view.item.is_folder else 1,
    "modifiedByMeTime": lambda view: view.modified,
    "modifiedTime": lambda view: view.modified,
    "name": lambda view: view.name.casefold(),
    "name_natural": lambda view: view.name.casefold(),
    "quotaBytesUsed": lambda view: view.item.size,
    "recency": lambda view: view.modified,
    "sharedWithMeTime": lambda view: 0,
    "starred": lambda view: 0 if view.starred else 1,
    "viewedByMeTime": lambda view: 0,
}


@dataclass
class _Page:
    """What a page token stands for: the rest of a list, and the request it belongs to."""

    request: tuple[str, ...]
    rest: list[str]
    fresh: bool = True


@dataclass(frozen=True)
class Answer:
    """One page, with what the log wants to know about it."""

    body: dict[str, Any]
    notes: tuple[str, ...] = ()


class Lister:
    """Keeps open page tokens; called with the drive's lock held."""

    def __init__(self, drive: Drive) -> None:
        self._drive = drive
        self._pages: dict[str, _Page] = {}
        self._numbers = itertools.count(1)

    def files(self, caller: Caller, params: Mapping[str, str]) -> Answer:
        """One page of files.list. Raises `ApiError` for a bad parameter."""
        size = self._size(params)
        asked = tuple(
            params.get(name, "") for name in ("q", "orderBy", "corpora", "driveId", "spaces", "pageSize")
        )
        notes: list[str] = []
        token = params.get("pageToken")
        if token:
            page = self._pages.get(token)
            if page is None or page.request != asked:
                raise ApiError("invalid", "Invalid Value", parameter="pageToken")
        else:
            page = _Page(asked, self._search(caller, params, notes))
        body: dict[str, Any] = {"kind": "drive#fileList", "incompleteSearch": False}
        if self._drive.behaviour.empty_pages and page.fresh and page.rest:
            shown, rest = [], page.rest
        else:
            shown, rest = page.rest[:size], page.rest[size:]
        if rest:
            body["nextPageToken"] = self._keep(_Page(asked, rest, fresh=bool(shown)))
        # An item deleted between two pages is simply missing from the second.
        present = [self._drive.items[file_id] for file_id in shown if file_id in self._drive.items]
        body["files"] = [self._drive.view(caller, item).as_json() for item in present]
        return Answer(body, tuple(notes))

    def _size(self, params: Mapping[str, str]) -> int:
        """What was asked for, or less: short pages are legal."""
        shortest = self._drive.behaviour.page_limit
        return min(page_size(params), shortest or MAX_PAGE)

    def _keep(self, page: _Page) -> str:
        token = f"~!!~{next(self._numbers):08d}"
        self._pages[token] = page
        return token

    def _search(self, caller: Caller, params: Mapping[str, str], notes: list[str]) -> list[str]:
        drive = self._drive
        order = _order(params.get("orderBy", ""))
        query = parse_query(params["q"], drive.resolve) if params.get("q") else None
        if query is not None and query.mixed:
            notes.append(f"q mixes and/or without parentheses: {params['q']}")
        spaces = set((params.get("spaces") or "drive").split(","))
        if not spaces <= {"drive", "appDataFolder", "photos"}:
            raise ApiError("invalid", "Invalid Value", parameter="spaces")
        candidates = self._candidates(caller, params, query)
        by_name = query is None or "name" in query.fields or not query.parents
        found = (
            []
            if "drive" not in spaces
            else [
                view
                for item in candidates
                if drive.visible(caller, item) and item.parent and self._listed(item, by_name)
                for view in (drive.view(caller, item),)
                if query is None or query.matches(view)
            ]
        )
        if by_name:
            drive.lists_by_name += 1
        else:
            drive.lists_by_parent += 1
        found.sort(key=lambda view: view.item.id)
        for key, reverse in reversed(order):
            found.sort(key=key, reverse=reverse)
        return [view.item.id for view in found]

    def _candidates(self, caller: Caller, params: Mapping[str, str], query: Query | None) -> list[Item]:
        drive = self._drive
        everywhere = drives_included(params)
        for parent in query.parents if query else ():
            # The search index does not say which of the parents it does not know.
            if parent != drive.root.id:
                item = drive.get(caller, parent, all_drives=params_all_drives(params))
                if item.drive_id is not None and not everywhere:
                    raise not_found("")
        if query is not None and query.only_parent is not None:
            ids = drive.children.get(query.only_parent, {})
            items = [drive.items[file_id] for file_id in ids]
        else:
            items = list(drive.items.values())
        drive_id = params.get("driveId")
        if params.get("corpora") == "drive" or drive_id:
            if not drive_id or not everywhere or params.get("corpora") != "drive":
                raise ApiError("invalid", "corpora=drive and driveId go together.")
            if drive_id not in drive.shared:
                raise ApiError("notFound", f"Shared drive not found: {drive_id}")
            return [item for item in items if item.drive_id == drive_id]
        return [item for item in items if everywhere or item.drive_id is None]

    def _listed(self, item: Item, by_name: bool) -> bool:
        """Whether a listing of this sort knows the item yet."""
        behaviour, birth = self._drive.behaviour, item.birth
        age = self._drive.clock.now() - birth.moment
        if by_name:
            seen = self._drive.lists_by_name - birth.by_name
            return seen >= behaviour.name_lag_lists and age >= behaviour.name_lag_seconds
        seen = self._drive.lists_by_parent - birth.by_parent
        return seen >= behaviour.parent_lag_lists and age >= behaviour.parent_lag_seconds

    def changes(self, caller: Caller, params: Mapping[str, str]) -> Answer:
        """One page of changes.list: the latest change of each file since the token."""
        drive = self._drive
        limit = self._size(params)
        removed = params.get("includeRemoved", "true").lower() != "false"
        everywhere = drives_included(params)
        place = drive.changes.place(params.get("pageToken"))
        shown: list[dict[str, Any]] = []
        body: dict[str, Any] = {"kind": "drive#changeList"}
        for change in drive.changes.since(place):
            item = change.gone or drive.items[change.file_id]
            hidden = not drive.visible(caller, item) or (change.gone and not removed)
            if hidden or (item.drive_id is not None and not everywhere):
                continue
            if params.get("driveId") and item.drive_id != params["driveId"]:
                continue
            if len(shown) == limit:
                body["nextPageToken"] = str(change.number + 1)
                break
            entry: dict[str, Any] = {
                "kind": "drive#change",
                "type": "file",
                "changeType": "file",
                "time": to_text(change.moment),
                "removed": change.gone is not None,
                "fileId": change.file_id,
            }
            if change.gone is None:
                entry["file"] = drive.view(caller, item).as_json()
            shown.append(entry)
        else:
            body["newStartPageToken"] = str(drive.changes.end + 1)
        body["changes"] = shown
        return Answer(body)


def page_size(params: Mapping[str, str], default: int = 100) -> int:
    text = params.get("pageSize", str(default))
    if not text.isdigit() or not 1 <= int(text) <= MAX_PAGE:
        raise ApiError("invalidParameter", f"Invalid value '{text}'.", parameter="pageSize")
    return int(text)


def params_all_drives(params: Mapping[str, str]) -> bool:
    return "true" in (
        params.get("supportsAllDrives", "").lower(),
        params.get("supportsTeamDrives", "").lower(),
    )


def drives_included(params: Mapping[str, str]) -> bool:
    """Whether a list reaches shared drives: it takes both parameters."""
    included = params.get("includeItemsFromAllDrives", "").lower() == "true"
    if included and not params_all_drives(params):
        raise ApiError(
            "invalid",
            "includeItemsFromAllDrives needs supportsAllDrives=true.",
            parameter="includeItemsFromAllDrives",
        )
    return included


def _order(text: str) -> list[tuple[Callable[[View], Any], bool]]:
    if not text:
        return [(_KEYS["recency"], True)]
    keys: list[tuple[Callable[[View], Any], bool]] = []
    for part in text.split(","):
        name, _, direction = part.strip().partition(" ")
        if name not in _KEYS or direction.strip() not in ("", "desc"):
            raise ApiError("invalid", "Invalid Value", parameter="orderBy")
        keys.append((_KEYS[name], direction.strip() == "desc"))
    return keys
