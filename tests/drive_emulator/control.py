"""The control endpoint: the same levers over HTTP, for an emulator in another process.

    GET  /_control/state        requests, counts, units, bytes, violations, faults' firings
    GET  /_control/log          every request
    GET  /_control/entries      ?root=ID: path, id, md5, trashed of everything below
    GET  /_control/files        every file as the person sees it
    POST /_control/fault        {"rule": "files.create nth=2 drop=after"}
    POST /_control/clear-faults
    POST /_control/reset-counts
    POST /_control/behaviour    {"name_lag_lists": 3}
    POST /_control/advance      {"seconds": 604801}
    POST /_control/expire-tokens   /_control/revoke-tokens   /_control/expire-sessions
    POST /_control/approve      {"user_code": "...", "deny": false}
    POST /_control/person       {"do": "edit", "file_id": "...", "data": "text"}
    POST /_control/shared-drive {"name": "Team", "role": "fileOrganizer"}
    POST /_control/stop         (the process form ends)

Nothing here is logged, counted or struck by faults. A mistake in a request is 400 with
`{"error": text}`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, cast, get_args

from .errors import ApiError
from .items import PERSON, Role
from .wire import Request, Response

if TYPE_CHECKING:
    from .emulator import DriveEmulator

_ACTIONS = frozenset(
    (
        *("find", "add_file", "add_folder", "add_document", "copy"),
        *("edit", "rename", "move", "trash", "untrash", "delete", "empty_trash"),
    )
)


class Control:
    """Answers requests below `/_control/`."""

    def __init__(self, emulator: DriveEmulator, stop: Callable[[], None]) -> None:
        self._emulator = emulator
        self._stop = stop
        self._gets: Mapping[str, Callable[[Request], object]] = {
            "state": self._state,
            "log": lambda _: [entry.as_json() for entry in emulator.log.entries],
            "entries": lambda request: [
                entry._asdict() for entry in emulator.entries(request.query.get("root", "root"))
            ],
            "files": lambda _: emulator.files(),
        }
        self._posts: Mapping[str, Callable[[dict[str, Any]], object]] = {
            "fault": lambda body: emulator.fault(body["rule"]).text,
            "clear-faults": lambda _: emulator.clear_faults(),
            "reset-counts": lambda _: emulator.reset_counts(),
            "behaviour": self._behaviour,
            "advance": lambda body: emulator.advance(float(body["seconds"])),
            "expire-tokens": lambda _: emulator.expire_tokens(),
            "revoke-tokens": lambda _: emulator.revoke_tokens(),
            "expire-sessions": lambda _: emulator.expire_sessions(),
            "approve": lambda body: emulator.tokens.approve(body["user_code"], deny=bool(body.get("deny"))),
            "person": self._person,
            "shared-drive": lambda body: emulator.add_shared_drive(
                body["name"], _role(body.get("role", "organizer"))
            ),
            "stop": lambda _: None,
        }

    def __call__(self, request: Request) -> Response:
        name = request.path.removeprefix("/_control/")
        try:
            if request.method == "GET" and name in self._gets:
                return Response.json(self._gets[name](request))
            if request.method == "POST" and name in self._posts:
                body = json.loads(request.body or b"{}")
                return Response.json({"result": self._posts[name](body)})
        except (ApiError, KeyError, LookupError, TypeError, ValueError) as error:
            return Response.json({"error": f"{type(error).__name__}: {error}"}, status=400)
        return Response.json({"error": f"no control is called {name!r}"}, status=404)

    def answered(self, request: Request) -> None:
        """Called when the answer is out: only now may the server be ended by it."""
        if request.method == "POST" and request.path == "/_control/stop":
            self._stop()

    def _state(self, _: Request) -> object:
        log = self._emulator.log
        return {
            "url": self._emulator.url,
            "requests": log.requests,
            "counts": dict(log.counts()),
            "units": log.units,
            "bytes_in": log.bytes_in,
            "bytes_out": log.bytes_out,
            "violations": log.violations,
            "faults": [
                {"rule": rule.text, "seen": rule.seen, "fired": rule.fired}
                for rule in self._emulator.faults.rules()
            ],
        }

    def _behaviour(self, body: dict[str, Any]) -> None:
        for name, value in body.items():
            self._emulator.behaviour.set(name, str(value))

    def _person(self, body: dict[str, Any]) -> object:
        action = body.pop("do")
        if action not in _ACTIONS:
            raise ValueError(f"a person can't {action!r}")
        if "data" in body:
            body["data"] = str(body["data"]).encode()
        return getattr(self._emulator.person, action)(**body)


def _role(word: object) -> Role:
    for role in get_args(Role):
        if role == word:
            return cast(Role, role)
    raise ValueError(f"no role on a shared drive is called {word!r}")


def all_files(emulator: DriveEmulator) -> list[dict[str, Any]]:
    """Every item as a File resource, whoever made it, trash included."""
    drive = emulator.drive
    with drive.lock:
        items = [item for item in drive.items.values() if item.parent is not None]
        return [drive.view(PERSON, item).as_json() for item in items]
