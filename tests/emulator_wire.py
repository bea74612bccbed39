"""How the tests of the Drive emulator speak to it: by the real client library, and by plain HTTP for what that would
never send.

The emulator is what all of memsync's Drive code is tested against; so each point of strictness and each kind of fault
is itself tested, in `test_emulator_*.py`.
"""

from __future__ import annotations

import http.client
import json
import urllib.parse
from typing import Any, NamedTuple

import pytest

from tests.drive_emulator import FOLDER, SCOPE_FILE, DriveEmulator

KIB256 = 262_144


class Raw(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Wire:
    """Plain HTTP, for what the client library would never send."""

    def __init__(self, emulator: DriveEmulator, scope: str = SCOPE_FILE) -> None:
        self.port = emulator.port
        self.token = emulator.token_info(scope)["token"]

    def __call__(
        self, method: str, target: str, body: Any = None, headers: dict[str, str] | None = None
    ) -> Raw:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        sent = {"Authorization": f"Bearer {self.token}"} | (headers or {})
        connection.request(method, target, body, sent, encode_chunked=not isinstance(body, bytes))
        answer = connection.getresponse()
        raw = Raw(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read())
        connection.close()
        return raw

    def start(self, name: str = "big", size: int | None = None, **extra: Any) -> str:
        """Start a resumable create; the session's path and query."""
        headers = {"Content-Type": "application/json", "X-Upload-Content-Type": "text/plain"}
        if size is not None:
            headers["X-Upload-Content-Length"] = str(size)
        body = json.dumps({"name": name} | extra).encode()
        target = "/upload/drive/v3/files?uploadType=resumable&fields=id,size,md5Checksum"
        raw = self("POST", target, body, headers)
        assert raw.status == 200, raw.body
        parts = urllib.parse.urlsplit(raw.headers["location"])
        return f"{parts.path}?{parts.query}"

    def chunk(self, session: str, data: bytes, first: int, total: int | str, method: str = "PUT") -> Raw:
        content_range = f"bytes {first}-{first + len(data) - 1}/{total}"
        return self(method, session, data, {"Content-Range": content_range})

    def ask(self, session: str, total: int | str = "*") -> Raw:
        return self("PUT", session, b"", {"Content-Range": f"bytes */{total}"})


def refusal(call: Any) -> tuple[int, str]:
    """Status and reason of the error a library call ends in."""
    from googleapiclient.errors import HttpError

    with pytest.raises(HttpError) as caught:
        (call.execute if hasattr(call, "execute") else call)()
    details = json.loads(caught.value.content)["error"]["errors"][0]
    return caught.value.resp.status, details["reason"]


def media(data: bytes, *, resumable: bool = False, chunk: int = KIB256) -> Any:
    from googleapiclient.http import MediaInMemoryUpload

    return MediaInMemoryUpload(data, mimetype="text/plain", chunksize=chunk, resumable=resumable)


def put(drive: Any, name: str, data: bytes = b"x", parent: str = "root", **body: Any) -> str:
    """Create a small file; its id."""
    meta = {"name": name, "parents": [parent]} | body
    request = drive.files().create(body=meta, media_body=media(data), fields="id")
    return str(request.execute()["id"])


def folder(drive: Any, name: str, parent: str = "root", **body: Any) -> str:
    meta = {"name": name, "mimeType": FOLDER, "parents": [parent]} | body
    return str(drive.files().create(body=meta, fields="id").execute()["id"])


def names(drive: Any, q: str | None = None, **more: Any) -> list[str]:
    fields = "nextPageToken,files(name)"
    answer = drive.files().list(q=q, fields=fields, orderBy="name", **more).execute()
    return [item["name"] for item in answer["files"]]


def look(drive: Any, file_id: str, fields: str = "*") -> dict[str, Any]:
    answer: dict[str, Any] = drive.files().get(fileId=file_id, fields=fields).execute()
    return answer
