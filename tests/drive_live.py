"""What Google does where nothing it wrote says so: `python -m tests.drive_live`, with a real account.

Needs a token file (`memsync login`), named by MEMSYNC_LIVE_TOKEN, and a network. It works in a folder of its
own in My Drive, removes that folder at the end, and prints a table for docs/google-drive.md. Whatever the
answers are, the client is written to do with either; the emulator can play both.
"""

from __future__ import annotations

import os
import secrets
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from memstore.config import GOOGLE_ROOT_URL
from memstore.remotes.drive.api import FIELDS, FOLDER_TYPE, DriveApi
from memstore.remotes.drive.layout import quoted
from memstore.remotes.drive.tokens import TokenCredentials
from memstore.remotes.drive.transfer import Announced
from memstore.remotes.drive.trouble import Answer
from memstore.remotes.limiter import Limiter
from memstore.remotes.retry import Retry

CRLF_BODY = b"a line that ends in CR\r"


@dataclass(frozen=True)
class Bench:
    """A throw-away folder on a Drive."""

    api: DriveApi
    folder: str

    @classmethod
    def open(cls, token: str, root_url: str = GOOGLE_ROOT_URL) -> Bench:
        api = DriveApi(root_url, TokenCredentials(token), Retry(), Limiter())
        return cls(api, _made(api, f"memsync-live-{secrets.token_hex(4)}", None))

    def remove(self) -> None:
        self.api.call("cleaning up", self.api.files.delete(fileId=self.folder), write=True)
        self.api.close()

    def ids(self, count: int = 1) -> list[str]:
        request = self.api.files.generateIds(count=count, space="drive", type="files")
        return [str(identity) for identity in self.api.call("reserving ids", request)["ids"]]

    def folder_in(self, name: str, parent: str | None = None) -> str:
        return _made(self.api, name, parent or self.folder)

    def file_in(self, name: str, parent: str | None = None, **more: Any) -> dict[str, Any]:
        body = {"name": name, "parents": [parent or self.folder], "mimeType": "text/plain", **more}
        return self.api.call("making a file", self.api.files.create(body=body, fields=FIELDS), write=True)

    def raw(self, method: str, uri: str, body: bytes | None = None, **headers: str) -> Answer:
        """One request whose refusal is an answer too."""
        everything = tuple(status for status in range(300, 600) if status not in (429, 500, 502, 503, 504))
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.api.retry.run(lambda: self.api.send("asking", method, uri, body, named, also=everything))

    def sent(self, request: Any) -> Answer:
        headers = {name.replace("-", "_"): value for name, value in request.headers.items()}
        body = request.body.encode() if isinstance(request.body, str) else request.body
        return self.raw(request.method, request.uri, body, **headers)


def _made(api: DriveApi, name: str, parent: str | None) -> str:
    body: dict[str, Any] = {"name": name, "mimeType": FOLDER_TYPE}
    if parent:
        body["parents"] = [parent]
    return str(api.call("making a folder", api.files.create(body=body, fields="id"), write=True)["id"])


def _word(answer: Answer) -> str:
    return f"{answer.status} {answer.reason or answer.said}".strip()


def root_by_get(bench: Bench) -> str:
    return _word(bench.sent(bench.api.files.get(fileId="root", fields="id")))


def root_in_a_query(bench: Bench) -> str:
    request = bench.api.files.list(
        q=f"'root' in parents and mimeType = {quoted(FOLDER_TYPE)} and trashed = false", fields="files(id)"
    )
    found = bench.api.call("listing", request).get("files", [])
    return (
        "finds our folder" if any(row["id"] == bench.folder for row in found) else "does not find our folder"
    )


def id_never_reserved(bench: Bench) -> str:
    body = {"id": "1" + secrets.token_urlsafe(24), "name": "x", "parents": [bench.folder]}
    return _word(bench.sent(bench.api.files.create(body=body, fields="id")))


def id_in_use(bench: Bench) -> str:
    identity = bench.ids()[0]
    bench.file_in("taken", id=identity)
    body = {"id": identity, "name": "taken again", "parents": [bench.folder]}
    return _word(bench.sent(bench.api.files.create(body=body, fields="id")))


def id_of_a_deleted_file(bench: Bench) -> str:
    identity = bench.ids()[0]
    bench.file_in("short-lived", id=identity)
    bench.api.call("deleting", bench.api.files.delete(fileId=identity), write=True)
    body = {"id": identity, "name": "again", "parents": [bench.folder]}
    return _word(bench.sent(bench.api.files.create(body=body, fields="id")))


def id_in_use_when_a_session_starts(bench: Bench) -> str:
    identity = bench.ids()[0]
    bench.file_in("taken", id=identity)
    body = {"id": identity, "name": "taken again", "parents": [bench.folder]}
    request = bench.api.files.create(body=body, media_body=Announced("text/plain", 3), fields="id")
    request.headers |= {"X-Upload-Content-Length": "3", "X-Upload-Content-Type": "text/plain"}
    start = bench.sent(request)
    if start.status != 200:
        return f"at the start: {_word(start)}"
    end = bench.raw("PUT", start.headers["location"], b"abc", content_range="bytes 0-2/3")
    return f"at the end: {_word(end)}"


def parent_added_twice(bench: Bench) -> str:
    made = bench.file_in("stays")
    request = bench.api.files.update(
        fileId=made["id"],
        body={"name": "stays"},
        addParents=bench.folder,
        removeParents=bench.folder,
        fields="id",
    )
    return _word(bench.sent(request))


def final_cr(bench: Bench, newline: bytes) -> str:
    body = {"name": "cr", "parents": [bench.folder]}
    request = bench.api.files.create(
        body=body, media_body=Announced("text/plain", len(CRLF_BODY)), fields=FIELDS
    )
    lines = (
        b"--b", b"Content-Type: application/json", b"", str(request.body).encode(),
        b"--b", b"Content-Type: text/plain", b"", CRLF_BODY, b"--b--", b"",
    )  # fmt: skip
    uri = request.uri.replace("uploadType=resumable", "uploadType=multipart")
    answer = bench.raw(
        request.method, uri, newline.join(lines), content_type="multipart/related; boundary=b",
        authorization=request.headers.get("authorization", ""),
    )  # fmt: skip
    if answer.status != 200:
        return _word(answer)
    import json

    kept = int(json.loads(answer.body)["size"])
    return "kept" if kept == len(CRLF_BODY) else f"{kept} of {len(CRLF_BODY)} bytes kept"


def file_in_a_trashed_folder(bench: Bench) -> str:
    folder = bench.folder_in("thrown away")
    bench.api.call(
        "trashing", bench.api.files.update(fileId=folder, body={"trashed": True}, fields="id"), write=True
    )
    body = {"name": "new", "parents": [folder]}
    answer = bench.sent(bench.api.files.create(body=body, fields=FIELDS))
    return (
        _word(answer)
        if answer.status != 200
        else f"made, trashed: {b'true' in answer.body.split(b'trashed')[1][:9]}"
    )


def children_of_an_unknown_folder(bench: Bench) -> str:
    request = bench.api.files.list(
        q=f"{quoted('1' + secrets.token_urlsafe(24))} in parents", fields="files(id)"
    )
    return _word(bench.sent(request))


def name_in_another_case(bench: Bench) -> str:
    bench.file_in("Rules.TXT")
    request = bench.api.files.list(
        q=f"name = 'rules.txt' and {quoted(bench.folder)} in parents", fields="files(id)"
    )
    return "found" if bench.api.call("listing", request).get("files") else "not found (or the listing lags)"


def lag(bench: Bench, query: Callable[[str, str], str]) -> str:
    name = f"lag-{secrets.token_hex(4)}"
    made = bench.file_in(name)
    began = time.monotonic()
    while time.monotonic() - began < 60:
        request = bench.api.files.list(q=query(bench.folder, name), fields="files(id)", pageSize=1000)
        if any(row["id"] == made["id"] for row in bench.api.call("listing", request).get("files", [])):
            return f"seen after {time.monotonic() - began:.1f} s"
        time.sleep(1)
    return "not seen for 60 s"


def changes_below_a_trashed_folder(bench: Bench) -> str:
    folder = bench.folder_in("with a file in it")
    made = bench.file_in("below", folder)
    changes = bench.api._drive().changes()  # the client itself asks nothing of changes
    token = bench.api.call("asking", changes.getStartPageToken())["startPageToken"]
    bench.api.call(
        "trashing", bench.api.files.update(fileId=folder, body={"trashed": True}, fields="id"), write=True
    )
    seen = bench.api.call("asking", changes.list(pageToken=token, fields="changes(fileId)")).get(
        "changes", []
    )
    return "named" if any(row["fileId"] == made["id"] for row in seen) else "not named"


QUESTIONS: dict[str, Callable[[Bench], str]] = {
    "`files.get('root')` with this scope": root_by_get,
    "`'root' in parents` in a query": root_in_a_query,
    "create with an id that was never reserved": id_never_reserved,
    "create with an id in use": id_in_use,
    "create with the id of a file that was deleted": id_of_a_deleted_file,
    "an id in use in a resumable create": id_in_use_when_a_session_starts,
    "`addParents` of the parent a file already has": parent_added_twice,
    "final CR of a payload, multipart with LF": lambda bench: final_cr(bench, b"\n"),
    "final CR of a payload, multipart with CRLF": lambda bench: final_cr(bench, b"\r\n"),
    "create in a folder that is in the trash": file_in_a_trashed_folder,
    "children of a folder that does not exist": children_of_an_unknown_folder,
    "`name =` in another case": name_in_another_case,
    "listing by parent after a create": lambda bench: lag(
        bench, lambda parent, _: f"{quoted(parent)} in parents"
    ),
    "listing by name after a create": lambda bench: lag(bench, lambda _, name: f"name = {quoted(name)}"),
    "descendants of a trashed folder in `changes`": changes_below_a_trashed_folder,
}


def answers(bench: Bench) -> dict[str, str]:
    return {question: ask(bench) for question, ask in QUESTIONS.items()}


def main() -> int:
    token = os.environ.get("MEMSYNC_LIVE_TOKEN")
    if not token:
        print("name a token file: MEMSYNC_LIVE_TOKEN=drive_token.json", file=sys.stderr)
        return 2
    bench = Bench.open(token, os.environ.get("MEMSYNC_DRIVE_ROOT_URL", GOOGLE_ROOT_URL))
    try:
        print(f"| asked on {datetime.now(UTC):%Y-%m-%d} | answer |\n| --- | --- |")
        for question, answer in answers(bench).items():
            print(f"| {question} | {answer} |")
    finally:
        bench.remove()
    return 0


if __name__ == "__main__":
    sys.exit(main())
