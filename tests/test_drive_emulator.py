"""Claims about the Drive emulator, made through the real client library where it can make them.

The emulator is what all of memsync's Drive code is tested against; so each point of strictness
and each kind of fault is itself tested here. Nothing sleeps: time is moved by `advance`.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.drive_emulator import (
    CLIENT_ID,
    CLIENT_SECRET,
    FOLDER,
    SCOPE_FILE,
    SCOPE_FULL,
    SCOPE_READONLY,
    DriveEmulator,
)
from tests.drive_emulator import client as library
from tests.drive_emulator.faults import parse

KIB256 = 262_144
ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def emulator() -> Iterator[DriveEmulator]:
    with DriveEmulator() as running:
        yield running


@pytest.fixture
def drive(emulator: DriveEmulator) -> Any:
    """The client library under `drive.file`."""
    return library.service(emulator.url, emulator.token_info())


@pytest.fixture
def full(emulator: DriveEmulator) -> Any:
    """The client library under the full scope."""
    return library.service(emulator.url, emulator.token_info(SCOPE_FULL))


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


@pytest.fixture
def wire(emulator: DriveEmulator) -> Wire:
    return Wire(emulator)


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


def upload(drive: Any, name: str, data: bytes, chunk: int = KIB256) -> Any:
    """A resumable create that reads by position and has no stream, as memsync's own will."""
    from googleapiclient.http import MediaUpload

    class Positioned(MediaUpload):  # type: ignore[misc]
        def chunksize(self) -> int:
            return chunk

        def mimetype(self) -> str:
            return "text/plain"

        def size(self) -> int:
            return len(data)

        def resumable(self) -> bool:
            return True

        def has_stream(self) -> bool:
            return False

        def getbytes(self, begin: int, length: int) -> bytes:
            return data[begin : begin + length]

    return drive.files().create(body={"name": name}, media_body=Positioned())


def finish(request: Any) -> tuple[Any, int]:
    """Go on after every broken connection; the answer, and how often it broke."""
    broken = 0
    while True:
        try:
            _, answer = request.next_chunk()
        except (OSError, http.client.HTTPException):
            broken += 1
            assert broken < 10
            continue
        if answer is not None:
            return answer, broken


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


# --- uploads ---


@pytest.mark.parametrize("resumable", [False, True])
@pytest.mark.parametrize("data", [b"", b"one\ntwo\r\n", bytes(range(256)) * 3000])
def test_an_upload_comes_back_with_size_and_checksums(
    emulator: DriveEmulator, drive: Any, data: bytes, resumable: bool
) -> None:
    asked = "id,size,md5Checksum,sha256Checksum,mimeType,headRevisionId"
    request = drive.files().create(
        body={"name": "n"}, media_body=media(data, resumable=resumable), fields=asked
    )
    answer = request.execute()
    assert answer["md5Checksum"] == hashlib.md5(data).hexdigest()
    assert answer["sha256Checksum"] == hashlib.sha256(data).hexdigest()
    assert (answer["size"], answer["mimeType"]) == (str(len(data)), "text/plain")
    assert emulator.tree() == {"n": data}
    assert drive.files().get_media(fileId=answer["id"]).execute() == data
    assert emulator.violations == []


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("data", [b"", b"text", b"ends in CR\r", b"--no boundary\n", b"\r\n\r\n"])
def test_multipart_is_read_with_either_line_end(
    emulator: DriveEmulator, wire: Wire, end: str, data: bytes
) -> None:
    head = end.join(
        (
            *("--b1", "Content-Type: application/json", "", '{"name": "m"}'),
            *("--b1", "Content-Type: text/plain", "", ""),
        )
    )
    body = head.encode() + data + f"{end}--b1--{end}".encode()
    kind = {"Content-Type": 'multipart/related; boundary="b1"'}
    assert wire("POST", "/upload/drive/v3/files?uploadType=multipart", body, kind).status == 200
    assert emulator.tree() == {"m": data}


def test_a_payload_ending_in_cr_may_lose_it_in_the_librarys_multipart(
    emulator: DriveEmulator, drive: Any
) -> None:
    put(drive, "kept", b"line\r")
    emulator.behaviour.lf_multipart_eats_cr = True
    put(drive, "eaten", b"line\r")
    assert emulator.tree() == {"kept": b"line\r", "eaten": b"line"}


def test_a_chunked_request_body_is_read(emulator: DriveEmulator, wire: Wire) -> None:
    pieces = iter([b'{"name":', b' "in pieces"}'])
    headers = {"Content-Type": "application/json", "Transfer-Encoding": "chunked"}
    assert wire("POST", "/drive/v3/files", pieces, headers).status == 200
    session = wire.start()
    whole = iter([b"a" * 1000, b"b" * 500])
    headers = {"Content-Range": "bytes 0-1499/1500", "Transfer-Encoding": "chunked"}
    assert wire("PUT", session, whole, headers).json["size"] == "1500"
    assert len(emulator.tree()["big"]) == 1500


def test_a_body_without_content_length_is_411(emulator: DriveEmulator, wire: Wire) -> None:
    session = wire.start()
    with socket.create_connection(("127.0.0.1", emulator.port)) as connection:
        connection.sendall(f"PUT {session} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        assert connection.recv(100).startswith(b"HTTP/1.1 411 ")
    assert "without Content-Length" in emulator.violations[0]


@pytest.mark.parametrize("method", ["PUT", "POST"])
def test_chunks_are_stored_and_asked_for(emulator: DriveEmulator, wire: Wire, method: str) -> None:
    data = os.urandom(2 * KIB256 + 7)
    session = wire.start(size=len(data))
    assert "range" not in wire.ask(session, len(data)).headers
    first = wire.chunk(session, data[:KIB256], 0, len(data), method)
    assert (first.status, first.headers["range"]) == (308, f"bytes=0-{KIB256 - 1}")
    wire.chunk(session, data[KIB256 : 2 * KIB256], KIB256, len(data), method)
    assert emulator.tree() == {}, "before the last byte there is no file"
    last = wire.chunk(session, data[2 * KIB256 :], 2 * KIB256, len(data), method)
    assert last.json["md5Checksum"] == hashlib.md5(data).hexdigest()
    assert wire.ask(session, len(data)).json == last.json, "a finished session says so again"
    assert emulator.tree() == {"big": data}


def test_an_upload_of_unknown_size_ends_with_the_chunk_that_names_it(
    emulator: DriveEmulator, wire: Wire
) -> None:
    session = wire.start()
    wire.chunk(session, b"a" * KIB256, 0, "*")
    assert wire.chunk(session, b"b", KIB256, KIB256 + 1).status == 200
    assert emulator.tree() == {"big": b"a" * KIB256 + b"b"}


def test_an_unaligned_chunk_is_rounded_down(emulator: DriveEmulator, wire: Wire) -> None:
    session = wire.start()
    raw = wire.chunk(session, b"a" * (KIB256 + 100), 0, 10 * KIB256)
    assert raw.headers["range"] == f"bytes=0-{KIB256 - 1}"
    assert "not a multiple" in emulator.violations[0]


def test_a_gap_is_503_and_a_small_chunk_400_and_both_in_plain_text(wire: Wire) -> None:
    session = wire.start()
    gap = wire.chunk(session, b"a" * KIB256, KIB256, 10 * KIB256)
    small = wire.chunk(session, b"a" * 1000, 0, 10 * KIB256)
    assert (gap.status, small.status) == (503, 400)
    for raw in (gap, small):
        assert raw.headers["content-type"].startswith("text/plain")
        with pytest.raises(ValueError, match="Expecting value"):
            json.loads(raw.body)


def test_the_server_may_keep_less_than_was_sent(emulator: DriveEmulator, drive: Any) -> None:
    emulator.behaviour.keep_at_most = KIB256
    data = os.urandom(5 * KIB256 + 11)
    request = drive.files().create(
        body={"name": "n"}, media_body=media(data, resumable=True, chunk=3 * KIB256)
    )
    _, answer = request.next_chunk()
    assert (request.resumable_progress, answer) == (KIB256, None)
    while answer is None:
        _, answer = request.next_chunk()
    assert emulator.tree() == {"n": data}


@pytest.mark.parametrize("status", [404, 410])
def test_a_session_lives_a_week(emulator: DriveEmulator, wire: Wire, status: Any) -> None:
    emulator.behaviour.session_gone_status = status
    session = wire.start()
    emulator.advance(6 * 86_400)
    emulator.expire_tokens()
    wire.token = emulator.token_info()["token"]
    assert wire.ask(session).status == 308
    emulator.advance(2 * 86_400)
    wire.token = emulator.token_info()["token"]
    assert wire.ask(session).status == status


def test_a_session_can_be_cancelled(emulator: DriveEmulator, wire: Wire) -> None:
    session = wire.start()
    assert wire("DELETE", session).status == 499
    assert wire.ask(session).status == 404
    assert emulator.api.sessions.open() == []


def test_an_update_replaces_content_in_place_and_keeps_a_revision(
    emulator: DriveEmulator, drive: Any
) -> None:
    file_id = put(drive, "n", b"old")
    for number, resumable in enumerate((False, True)):
        body = media(b"new %d" % number, resumable=resumable)
        drive.files().update(fileId=file_id, media_body=body).execute()
    assert emulator.tree() == {"n": b"new 1"}
    shown = drive.revisions().list(fileId=file_id, fields="*").execute()["revisions"]
    assert len(shown) == 3
    assert look(drive, file_id)["headRevisionId"] == shown[-1]["id"]
    old = drive.revisions().get_media(fileId=file_id, revisionId=shown[0]["id"]).execute()
    assert old == b"old"


def test_revisions_vanish_past_100_or_after_30_days(emulator: DriveEmulator, drive: Any) -> None:
    emulator.behaviour.max_revisions = 3
    file_id = put(drive, "n", b"0")
    revisions = drive.revisions()
    first = revisions.list(fileId=file_id).execute()["revisions"][0]["id"]
    revisions.update(fileId=file_id, revisionId=first, body={"keepForever": True}).execute()
    for number in range(5):
        drive.files().update(fileId=file_id, media_body=media(b"%d" % number)).execute()
    shown = revisions.list(fileId=file_id).execute()["revisions"]
    assert [shown[0]["id"] == first, len(shown)] == [True, 3]
    revisions.delete(fileId=file_id, revisionId=shown[1]["id"]).execute()
    assert refusal(revisions.delete(fileId=file_id, revisionId=shown[2]["id"]))[0] == 403
    emulator.advance(31 * 86_400)
    emulator.behaviour.token_lifetime = 10 * 86_400
    assert len(emulator.drive.items[file_id].revisions) == 2
    assert len(drive.revisions().list(fileId=file_id).execute()["revisions"]) == 2


# --- ids ---


def test_a_create_with_a_reserved_id_lands_once(emulator: DriveEmulator, drive: Any) -> None:
    ids = drive.files().generateIds(count=3).execute()["ids"]
    assert len(set(ids)) == 3
    for resumable in (False, True):
        file_id = ids.pop()
        body = {"name": "n", "id": file_id}
        content = media(b"x", resumable=resumable)
        drive.files().create(body=body, media_body=content).execute()
        again = drive.files().create(body=body, media_body=media(b"x"))
        assert refusal(again) == (409, "fileIdInUse")
    folder(drive, "F", id=ids[0])
    assert refusal(lambda: folder(drive, "F", id=ids[0])) == (409, "fileIdInUse")
    assert len(emulator.files()) == 3


def test_an_id_that_was_never_reserved_is_400(drive: Any) -> None:
    assert refusal(lambda: put(drive, "n", id="1" + "a" * 32))[0] == 400


def test_reserved_ids_may_run_out(emulator: DriveEmulator, drive: Any) -> None:
    file_id = drive.files().generateIds(count=1).execute()["ids"][0]
    emulator.behaviour.reserved_id_lifetime = 60
    emulator.advance(61)
    assert refusal(lambda: put(drive, "n", id=file_id))[0] == 400


@pytest.mark.parametrize("when", ["start", "finish"])
def test_a_resumable_create_hears_of_an_id_in_use_early_or_late(
    emulator: DriveEmulator, drive: Any, when: Any
) -> None:
    emulator.behaviour.resumable_id_check = when
    file_id = drive.files().generateIds(count=1).execute()["ids"][0]
    put(drive, "n", b"first", id=file_id)
    emulator.reset_counts()
    again = drive.files().create(
        body={"name": "n", "id": file_id}, media_body=media(b"second", resumable=True)
    )
    assert refusal(again) == (409, "fileIdInUse")
    assert emulator.count("upload.chunk") == (0 if when == "start" else 1)
    assert emulator.tree() == {"n": b"first"}


def test_at_most_1000_ids_a_call(drive: Any) -> None:
    assert len(drive.files().generateIds(count=1000).execute()["ids"]) == 1000
    assert refusal(drive.files().generateIds(count=1001))[0] == 400


# --- metadata, fields, queries ---


def test_nothing_comes_back_that_was_not_asked_for(drive: Any) -> None:
    file_id = put(drive, "n")
    assert set(drive.files().get(fileId=file_id).execute()) == {"kind", "id", "name", "mimeType"}
    assert look(drive, file_id, "id,size") == {"id": file_id, "size": "1"}
    shown = drive.files().list(fields="files/id,files(name)").execute()
    assert shown == {"files": [{"id": file_id, "name": "n"}]}
    assert look(drive, file_id, "lastModifyingUser/me") == {"lastModifyingUser": {"me": True}}


@pytest.mark.parametrize("fields", ["etag", "id,etag", "files(id", "id)", "id,,name", "labels(x)"])
def test_unknown_fields_are_400_and_leave_nothing_behind(
    emulator: DriveEmulator, drive: Any, fields: str
) -> None:
    request = drive.files().create(body={"name": "n"}, fields=fields)
    assert refusal(request) == (400, "invalidParameter")
    assert emulator.files() == []


def test_about_wants_fields(drive: Any) -> None:
    assert refusal(drive.about().get()) == (400, "required")
    asked = "user(emailAddress),storageQuota(limit,usage)"
    about = drive.about().get(fields=asked).execute()
    assert about["storageQuota"]["usage"] == "0"
    assert about["user"] == {"emailAddress": "person@example.com"}


def test_a_list_whose_fields_lack_the_page_token_is_cut_silently(emulator: DriveEmulator, drive: Any) -> None:
    for number in range(3):
        put(drive, str(number))
    assert drive.files().list(pageSize=2, fields="files(id)").execute().keys() == {"files"}
    assert "cut silently" in emulator.violations[0]


@pytest.mark.parametrize(
    ("q", "found"),
    [
        ("name = 'NOTES.txt'", ["Notes.txt"]),
        ("name != 'notes.txt'", ["F", "it's", r"back\slash", "old report"]),
        (r"name = 'it\'s'", ["it's"]),
        (r"name = 'back\\slash'", [r"back\slash"]),
        ("name contains 'rep'", ["old report"]),
        ("name contains 'port'", []),
        (f"mimeType = '{FOLDER}'", ["F"]),
        (f"mimeType != '{FOLDER}' and name contains 'not'", ["Notes.txt"]),
        ("modifiedTime > '2025-01-01T00:00:00'", ["F", "it's", r"back\slash", "Notes.txt"]),
        ("modifiedTime <= '2020-01-01T00:00:00Z'", ["old report"]),
        ("modifiedTime = '2019-12-31T23:59:59.123-00:00'", ["old report"]),
        ("'root' in parents and name = 'F'", ["F"]),
        ("appProperties has { key='k' and value='v' }", ["it's"]),
        ("appProperties has { key='k' and value='w' }", []),
        ("not (name = 'F' or name contains 'o')", ["Notes.txt", r"back\slash", "it's"]),
        ("name = 'F' or name = \"F\"", None),
        ("name = 'F' or name = 'it\\'s' and trashed = true", []),
        ("trashed = true", ["gone"]),
        ("starred = true", []),
        ("name like 'F'", None),
        ("title = 'F'", None),
        ("name = 'F' and", None),
        ("(name = 'F'", None),
        ("name = 'a\\b'", None),
        ("modifiedTime > 'yesterday'", None),
        ("trashed = 'true'", None),
        ("", ["F", "it's", r"back\slash", "Notes.txt", "old report", "gone"]),
    ],
)
def test_queries(drive: Any, q: str, found: list[str] | None) -> None:
    folder(drive, "F")
    put(drive, "Notes.txt")
    put(drive, "it's", appProperties={"k": "v"})
    put(drive, r"back\slash")
    put(drive, "old report", modifiedTime="2019-12-31T23:59:59.1239Z")
    gone = put(drive, "gone")
    drive.files().update(fileId=gone, body={"trashed": True}).execute()
    if found is None:
        assert refusal(drive.files().list(q=q)) == (400, "invalid")
        return
    if q and "trashed" not in q:
        q = f"({q}) and trashed = false"
    assert sorted(names(drive, q or None)) == sorted(found)


def test_an_unknown_parent_in_a_query_is_404(drive: Any) -> None:
    assert refusal(drive.files().list(q="'nowhere' in parents")) == (404, "notFound")


def test_mixing_and_with_or_is_noted(emulator: DriveEmulator, drive: Any) -> None:
    names(drive, "name = 'a' or name = 'b' and trashed = false")
    names(drive, "(name = 'a' or name = 'b') and trashed = false")
    assert len(emulator.violations) == 1


def test_pages_may_be_short_or_empty_and_still_give_everything(emulator: DriveEmulator, drive: Any) -> None:
    for number in range(7):
        put(drive, str(number))
    emulator.behaviour.page_limit = 3
    emulator.behaviour.empty_pages = True
    files, sizes, seen = drive.files(), [], []
    request = files.list(orderBy="name desc", fields="nextPageToken,files(name)")
    while request is not None:
        answer = request.execute()
        sizes.append(len(answer["files"]))
        seen += [item["name"] for item in answer["files"]]
        request = files.list_next(request, answer)
    assert seen == list("6543210")
    assert sizes == [0, 3, 0, 3, 0, 1]


def test_a_page_token_belongs_to_its_query(drive: Any) -> None:
    put(drive, "a")
    put(drive, "b")
    token = drive.files().list(pageSize=1).execute()["nextPageToken"]
    assert refusal(drive.files().list(pageSize=1, pageToken=token, q="trashed=false"))[0] == 400
    assert refusal(drive.files().list(pageSize=1001))[0] == 400


def test_order_by(drive: Any) -> None:
    for name, day in (("b", 2), ("A", 3), ("c", 1)):
        put(drive, name, modifiedTime=f"2025-01-0{day}T00:00:00Z")
    for order, expected in (
        ("name", "Abc"),
        ("modifiedTime", "cbA"),
        ("modifiedTime desc,name", "Abc"),
        ("createdTime", "bAc"),
    ):
        shown = drive.files().list(orderBy=order).execute()["files"]
        assert "".join(item["name"] for item in shown) == expected
    assert refusal(drive.files().list(orderBy="size"))[0] == 400


def test_a_long_url_comes_as_a_post_and_is_read_as_a_get(emulator: DriveEmulator, drive: Any) -> None:
    put(drive, "n")
    q = " or ".join(f"name = 'some rather long name number {i}'" for i in range(60))
    assert names(drive, f"{q} or name = 'n'") == ["n"]
    entry = emulator.log.entries[-1]
    assert (entry.kind.name, "?" in entry.target) == ("files.list", False)
    assert entry.bytes_in > 2048


def test_app_properties_have_limits_and_belong_to_one_app(emulator: DriveEmulator, drive: Any) -> None:
    file_id = put(drive, "n", appProperties={"id": "a" * 64, "gone": "soon"})
    update = drive.files().update
    update(fileId=file_id, body={"appProperties": {"gone": None, "é" * 20: "x" * 84}}).execute()
    assert set(look(drive, file_id)["appProperties"]) == {"id", "é" * 20}
    long = {"appProperties": {"é" * 20: "x" * 85}}
    assert refusal(update(fileId=file_id, body=long)) == (403, "propertyLengthLimitExceeded")
    many = {"appProperties": {str(number): "v" for number in range(29)}}
    assert refusal(update(fileId=file_id, body=many))[0] == 403
    other = library.service(emulator.url, emulator.token_info(SCOPE_FULL, "another.app"))
    assert "appProperties" not in look(other, file_id)
    assert names(other, "appProperties has { key='id' and value='" + "a" * 64 + "' }") == []


def test_times_and_versions(emulator: DriveEmulator, drive: Any) -> None:
    file_id = put(drive, "n", modifiedTime="2025-04-23T14:00:00.1239+02:00")
    before = look(drive, file_id)
    assert before["modifiedTime"] == "2025-04-23T12:00:00.123Z"
    drive.files().update(fileId=file_id, body={"modifiedTime": "2020-01-01T00:00:00Z"}).execute()
    after = look(drive, file_id)
    assert after["modifiedTime"] == "2020-01-01T00:00:00.000Z"
    assert int(after["version"]) > int(before["version"])
    assert refusal(lambda: put(drive, "n", modifiedTime="last week"))[0] == 400


@pytest.mark.parametrize("field", ["parents", "size", "md5Checksum", "createdTime", "id"])
def test_what_may_not_be_written_in_an_update(drive: Any, field: str) -> None:
    file_id = put(drive, "n")
    request = drive.files().update(fileId=file_id, body={field: "x"})
    assert refusal(request) == (403, "fieldNotWritable")


def test_an_unknown_name_in_a_body_is_noted(emulator: DriveEmulator, wire: Wire) -> None:
    body = b'{"name": "n", "title": "n"}'
    assert wire("POST", "/drive/v3/files", body, {"Content-Type": "application/json"}).status == 200
    assert "title" in emulator.violations[0]
    broken = wire("POST", "/drive/v3/files", b"{", {"Content-Type": "application/json"})
    assert broken.json["error"]["errors"][0]["reason"] == "parseError"


# --- folders: twins, moves, trash, limits ---


def test_names_are_not_unique(emulator: DriveEmulator, drive: Any) -> None:
    twins = {put(drive, "n", b"one"), put(drive, "n", b"two")}
    assert len(twins) == 2
    assert {entry.id for entry in emulator.entries()} == twins
    assert sorted(emulator.tree()) == sorted(f"n#{file_id}" for file_id in twins)


def test_a_move_is_add_and_remove(emulator: DriveEmulator, drive: Any) -> None:
    one, two = folder(drive, "one"), folder(drive, "two")
    file_id = put(drive, "n", b"x", one)
    update = drive.files().update
    assert refusal(update(fileId=file_id, addParents=two)) == (403, "cannotAddParent")
    assert refusal(update(fileId=file_id, removeParents=one))[0] == 400
    moved = update(fileId=file_id, addParents=two, removeParents=one, fields="parents").execute()
    assert moved["parents"] == [two]
    assert emulator.tree() == {"two/n": b"x"}
    assert refusal(update(fileId=one, addParents=one, removeParents="root"))[0] == 400
    assert refusal(update(fileId=two, addParents=file_id, removeParents="root"))[0] == 403
    assert refusal(lambda: put(drive, "m", b"", "nowhere")) == (404, "notFound")


@pytest.mark.parametrize("answer", ["accepted", "refused"])
def test_a_retried_move_may_be_refused(emulator: DriveEmulator, drive: Any, answer: Any) -> None:
    emulator.behaviour.repeated_add_parent = answer
    home = folder(drive, "home")
    file_id = put(drive, "n", b"x", home)
    again = drive.files().update(fileId=file_id, addParents=home, removeParents="root")
    if answer == "refused":
        assert refusal(again)[0] == 400
    else:
        again.execute()
    assert emulator.tree() == {"home/n": b"x"}


def test_trash_cascades_and_comes_back(emulator: DriveEmulator, drive: Any) -> None:
    home = folder(drive, "home")
    file_id = put(drive, "n", b"x", home)
    drive.files().update(fileId=home, body={"trashed": True}).execute()
    inner = look(drive, file_id, "trashed,explicitlyTrashed")
    assert inner == {"trashed": True, "explicitlyTrashed": False}
    assert look(drive, home, "explicitlyTrashed") == {"explicitlyTrashed": True}
    assert names(drive, f"'{home}' in parents") == ["n"], "a list shows trash unless told"
    assert names(drive, f"'{home}' in parents and trashed = false") == []
    drive.files().update(fileId=home, body={"trashed": False}).execute()
    assert emulator.tree() == {"home/n": b"x"}


def test_the_trash_empties_itself_after_30_days(emulator: DriveEmulator, drive: Any) -> None:
    emulator.person.trash(put(drive, "n"))
    emulator.advance(29 * 86_400)
    assert len(emulator.files()) == 1
    emulator.advance(2 * 86_400)
    assert emulator.files() == []


def test_delete_is_for_ever_and_takes_what_is_below(emulator: DriveEmulator, drive: Any) -> None:
    home = folder(drive, "home")
    file_id = put(drive, "n", b"x", home)
    drive.files().delete(fileId=home).execute()
    assert refusal(drive.files().get(fileId=file_id)) == (404, "notFound")
    assert refusal(drive.files().delete(fileId=home))[0] == 404
    assert emulator.files() == []


def test_limits_of_folders(emulator: DriveEmulator, drive: Any) -> None:
    emulator.behaviour.max_children = 2
    emulator.behaviour.max_depth = 3
    deep = folder(drive, "2", folder(drive, "1"))
    deepest = folder(drive, "3", deep)
    too_deep = (403, "myDriveHierarchyDepthLimitExceeded")
    assert refusal(lambda: folder(drive, "4", deepest)) == too_deep
    put(drive, "a", b"", deep)
    too_many = (403, "numChildrenInNonRootLimitExceeded")
    assert refusal(lambda: put(drive, "b", b"", deep)) == too_many
    for number in range(4):
        put(drive, str(number))


def test_a_full_drive(emulator: DriveEmulator, drive: Any) -> None:
    emulator.behaviour.storage_limit = 10
    file_id = put(drive, "n", b"12345678")
    full = (403, "storageQuotaExceeded")
    assert refusal(lambda: put(drive, "m", b"123")) == full
    big = drive.files().create(body={}, media_body=media(b"123", resumable=True))
    assert refusal(big) == full
    drive.files().update(fileId=file_id, media_body=media(b"1234567890")).execute()
    drive.files().delete(fileId=file_id).execute()
    put(drive, "m", b"1234567890")


def test_copy_makes_a_file_of_its_own(emulator: DriveEmulator, drive: Any) -> None:
    file_id = put(drive, "n", b"x", appProperties={"k": "v"})
    made = drive.files().copy(fileId=file_id, body={"name": "m"}, fields="*").execute()
    assert (made["appProperties"], made["md5Checksum"]) == ({"k": "v"}, look(drive, file_id)["md5Checksum"])
    assert emulator.tree() == {"n": b"x", "m": b"x"}


# --- downloads ---


def test_ranges(wire: Wire, drive: Any) -> None:
    target = f"/drive/v3/files/{put(drive, 'n', b'0123456789')}?alt=media"
    for asked, status, body in (
        ("bytes=0-3", 206, b"0123"),
        ("bytes=8-99", 206, b"89"),
        ("bytes=7-", 206, b"789"),
        ("bytes=-2", 206, b"89"),
        ("bytes=10-", 416, None),
        ("lines=1-2", 200, b"0123456789"),
    ):
        raw = wire("GET", target, headers={"Range": asked})
        assert raw.status == status, asked
        assert body is None or raw.body == body
    empty = f"/drive/v3/files/{put(drive, 'e', b'')}?alt=media"
    assert wire("GET", empty, headers={"Range": "bytes=0-99"}).status == 416
    home = f"/drive/v3/files/{folder(drive, 'home')}?alt=media"
    assert wire("GET", home).json["error"]["errors"][0]["reason"] == "fileNotDownloadable"


# --- changes, the person, visibility ---


def test_changes_name_each_file_once_and_cost_one_request_when_nothing_happened(
    emulator: DriveEmulator, drive: Any
) -> None:
    token = drive.changes().getStartPageToken().execute()["startPageToken"]
    file_id, other = put(drive, "n"), put(drive, "m")
    drive.files().update(fileId=file_id, body={"name": "n2"}).execute()
    drive.files().delete(fileId=other).execute()
    answer = drive.changes().list(pageToken=token).execute()
    shown = [(change["fileId"], change["removed"]) for change in answer["changes"]]
    assert shown == [(file_id, False), (other, True)]
    assert answer["changes"][0]["file"]["name"] == "n2"
    rest = drive.changes().list(pageToken=answer["newStartPageToken"]).execute()
    assert rest["changes"] == []
    first = drive.changes().list(pageToken=token, pageSize=1).execute()
    second = drive.changes().list(pageToken=first["nextPageToken"]).execute()
    assert [change["fileId"] for change in second["changes"]] == [other]
    assert refusal(drive.changes().list(pageToken="99999"))[0] == 400


def test_a_person_edits_what_an_app_made_and_the_app_sees_it(emulator: DriveEmulator, drive: Any) -> None:
    home = folder(drive, "home")
    file_id = put(drive, "n", b"x", home)
    token = drive.changes().getStartPageToken().execute()["startPageToken"]
    person = emulator.person
    assert person.find("home/n") == file_id
    person.edit(file_id, b"by hand")
    person.rename(file_id, "m")
    person.move(file_id, "root")
    hidden = person.add_file("theirs", b"t", parent=home)
    assert emulator.tree() == {"m": b"by hand", "home/theirs": b"t"}
    changes = drive.changes().list(pageToken=token).execute()["changes"]
    assert [change["fileId"] for change in changes] == [file_id]
    assert names(drive, f"'{home}' in parents") == []
    person.trash(file_id)
    assert look(drive, file_id)["trashed"] is True
    person.untrash(file_id)
    person.delete(file_id)
    assert drive.changes().list(pageToken=token).execute()["changes"][0]["removed"] is True
    person.delete(hidden)
    assert emulator.tree() == {}


def test_drive_file_sees_only_what_its_client_id_made(emulator: DriveEmulator, drive: Any, full: Any) -> None:
    mine = put(drive, "mine")
    theirs = emulator.person.add_file("theirs", b"")
    other = library.service(emulator.url, emulator.token_info(client_id="another.app"))
    for service, file_id in ((drive, theirs), (other, mine)):
        assert refusal(service.files().get(fileId=file_id)) == (404, "notFound")
        assert refusal(service.files().update(fileId=file_id, body={"name": "n"}))[0] == 404
    assert (names(drive), names(other)) == (["mine"], [])
    assert names(full) == ["mine", "theirs"]
    assert refusal(lambda: put(other, "n", b"", folder(drive, "home")))[0] == 404


def test_the_root_alias(emulator: DriveEmulator, drive: Any, full: Any) -> None:
    file_id = put(drive, "n", b"", "root")
    root = emulator.drive.root.id
    assert look(drive, file_id)["parents"] == [root]
    assert look(full, "root")["id"] == root
    assert names(drive, f"'{root}' in parents") == names(drive, "'root' in parents") == ["n"]
    assert refusal(drive.files().get(fileId="root"))[0] == 404
    emulator.behaviour.drive_file_sees_root = True
    assert look(drive, "root")["id"] == root


def test_what_is_unsettled_about_parents_and_renames_can_be_played_both_ways(
    emulator: DriveEmulator, drive: Any
) -> None:
    file_id = put(drive, "n", modifiedTime="2020-01-01T00:00:00Z")
    for shown, modified in ((True, False), (False, True)):
        emulator.behaviour.drive_file_shows_parents = shown
        emulator.behaviour.rename_is_modification = modified
        drive.files().update(fileId=file_id, body={"name": "m"}).execute()
        answer = look(drive, file_id)
        assert ("parents" in answer) is shown
        assert (answer["modifiedTime"] > "2020-01-02") is modified


def test_reading_only(emulator: DriveEmulator, drive: Any) -> None:
    file_id = put(drive, "n", b"x")
    emulator.behaviour.read_only = True
    refused = (403, "insufficientFilePermissions")
    assert refusal(drive.files().update(fileId=file_id, body={"name": "m"})) == refused
    assert refusal(drive.files().delete(fileId=file_id)) == refused
    assert drive.files().get_media(fileId=file_id).execute() == b"x"
    reader = library.service(emulator.url, emulator.token_info(SCOPE_READONLY))
    assert refusal(lambda: put(reader, "n")) == (403, "insufficientPermissions")


def test_shared_drives_are_seen_only_by_those_who_ask(emulator: DriveEmulator, full: Any) -> None:
    team = emulator.add_shared_drive("Team")
    both: dict[str, Any] = {"supportsAllDrives": True, "includeItemsFromAllDrives": True}
    make = full.files().create
    body = {"name": "n", "parents": [team]}
    assert refusal(make(body=body, media_body=media(b"x")))[0] == 404
    made = make(body=body, media_body=media(b"x"), supportsAllDrives=True, fields="id,driveId")
    file_id = made.execute()["id"]
    assert refusal(full.files().get(fileId=file_id))[0] == 404
    full.files().get(fileId=file_id, supportsAllDrives=True).execute()
    assert names(full) == []
    assert names(full, **both) == ["n"]
    assert names(full, f"'{team}' in parents", **both) == ["n"]
    assert names(full, corpora="drive", driveId=team, **both) == ["n"]
    assert refusal(full.files().list(includeItemsFromAllDrives=True))[0] == 400
    assert full.drives().list().execute()["drives"][0]["name"] == "Team"
    assert full.changes().list(pageToken="1").execute()["changes"] == []
    assert len(full.changes().list(pageToken="1", **both).execute()["changes"]) == 1
    emulator.behaviour.max_drive_items = 1
    again = make(body=body, supportsAllDrives=True)
    assert refusal(again) == (403, "teamDriveFileLimitExceeded")


def test_a_read_only_shared_drive(emulator: DriveEmulator, full: Any) -> None:
    team = emulator.add_shared_drive("Team", role="reader")
    request = full.files().create(body={"name": "n", "parents": [team]}, supportsAllDrives=True)
    assert refusal(request) == (403, "insufficientFilePermissions")


@pytest.mark.parametrize(
    ("role", "delete", "trash"),
    [("organizer", 200, 200), ("fileOrganizer", 403, 200), ("writer", 403, 403), ("reader", 403, 403)],
)
def test_what_may_be_removed_from_a_shared_drive_goes_by_the_role_there(
    emulator: DriveEmulator, full: Any, role: Any, delete: int, trash: int
) -> None:
    team = emulator.add_shared_drive("Team", role)
    file_id = emulator.person.add_file("n", b"n", parent=team)
    call = {"fileId": file_id, "supportsAllDrives": True}
    may = full.files().get(**call, fields="capabilities(canDelete,canTrash)").execute()["capabilities"]
    assert may == {"canDelete": delete == 200, "canTrash": trash == 200}
    request = full.files().update(**call, body={"trashed": True})
    if trash == 200:
        assert request.execute()
    else:
        assert refusal(request) == (403, "insufficientFilePermissions")
    request = full.files().delete(**call)
    if delete == 200:
        assert request.execute() == ""
    else:
        assert refusal(request) == (403, "insufficientFilePermissions")


# --- batch ---


def test_a_batch_answers_each_call_and_charges_each(emulator: DriveEmulator, drive: Any) -> None:
    file_id = put(drive, "n")
    emulator.reset_counts()
    got: dict[str, tuple[Any, Any]] = {}
    batch = drive.new_batch_http_request(lambda key, *rest: got.update({key: rest}))
    batch.add(drive.files().get(fileId=file_id), request_id="a")
    batch.add(drive.files().get(fileId="nowhere"), request_id="b")
    batch.add(drive.files().create(body={"name": "ünï"}), request_id="c")
    batch.add(drive.files().delete(fileId=file_id), request_id="d")
    batch.execute()
    assert got["a"][0]["id"] == file_id
    assert got["b"][1].resp.status == 404
    assert (got["c"][0]["name"], got["d"][1]) == ("ünï", None)
    assert (emulator.requests, emulator.units) == (1, 5 + 5 + 50 + 50)
    assert emulator.count("files.get") == 2
    assert emulator.tree() == {"ünï": b""}


def test_a_batch_holds_100_calls_and_no_media(drive: Any, wire: Wire) -> None:
    def post(calls: list[str]) -> Raw:
        parts = [f"--b\r\nContent-Type: application/http\r\n\r\n{call} HTTP/1.1\r\n\r\n" for call in calls]
        body = "\r\n".join([*parts, "--b--\r\n"]).encode()
        return wire("POST", "/batch/drive/v3", body, {"Content-Type": "multipart/mixed; boundary=b"})

    file_id = put(drive, "n")
    assert post([f"GET /drive/v3/files/{file_id}"] * 100).body.count(b"200 OK") == 100
    assert post([f"GET /drive/v3/files/{file_id}"] * 101).status == 400
    assert b"400 Bad Request" in post([f"GET /drive/v3/files/{file_id}?alt=media"]).body


# --- signing in ---


def test_an_expired_token_is_401_and_one_refresh_mends_it(
    emulator: DriveEmulator, drive: Any, wire: Wire
) -> None:
    emulator.advance(emulator.behaviour.token_lifetime + 1)
    assert wire("GET", "/drive/v3/files").status == 401
    assert names(drive) == []
    assert emulator.count("token") == 1
    assert emulator.requests == 3, "the refused, its repetition, and the raw one; not the refresh"
    assert wire("GET", "/drive/v3/files", headers={"Authorization": ""}).status == 401


def test_a_revoked_grant_is_invalid_grant(emulator: DriveEmulator, drive: Any) -> None:
    from google.auth.exceptions import RefreshError

    emulator.revoke_tokens()
    with pytest.raises(RefreshError, match="invalid_grant"):
        names(drive)


def test_a_testing_consent_kills_the_refresh_token_after_a_week(emulator: DriveEmulator, drive: Any) -> None:
    from google.auth.exceptions import RefreshError

    emulator.behaviour.refresh_lifetime = 7 * 86_400
    emulator.advance(8 * 86_400)
    with pytest.raises(RefreshError, match="invalid_grant"):
        names(drive)


def test_revoke_ends_a_grant(emulator: DriveEmulator, wire: Wire) -> None:
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    body = f"token={wire.token}".encode()
    assert wire("POST", "/revoke", body, form).status == 200
    assert wire("GET", "/drive/v3/files").status == 401
    assert wire("POST", "/revoke", body, form).json["error"] == "invalid_token"


def browse(url: str) -> None:
    """A browser that follows the consent page to wherever it leads."""
    with urllib.request.urlopen(url, timeout=10) as page:
        page.read()


@pytest.mark.parametrize("consent", ["grant", "deny"])
def test_the_installed_app_flow_runs_from_end_to_end(
    emulator: DriveEmulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, consent: Any
) -> None:
    import webbrowser

    from google_auth_oauthlib.flow import InstalledAppFlow

    class Browser:
        def open(self, url: str, **_: Any) -> bool:
            threading.Thread(target=browse, args=(url,), daemon=True).start()
            return True

    monkeypatch.setenv("OAUTHLIB_INSECURE_TRANSPORT", "1")
    monkeypatch.setattr(webbrowser, "get", lambda *_: Browser())
    emulator.behaviour.consent = consent
    secrets = emulator.write_credentials(tmp_path / "credentials.json")
    flow = InstalledAppFlow.from_client_secrets_file(str(secrets), [SCOPE_FILE])
    if consent == "deny":
        with pytest.raises(Exception, match="access_denied"):
            flow.run_local_server(port=0, timeout_seconds=10)
        return
    made = flow.run_local_server(port=0, timeout_seconds=10)
    assert made.refresh_token
    info = json.loads(made.to_json())
    assert info["token_uri"] == f"{emulator.url}token"
    assert names(library.service(emulator.url, info)) == []


def test_the_token_server_is_strict(emulator: DriveEmulator, wire: Wire) -> None:
    emulator.sign_in()

    def token(**form: str) -> tuple[int, str]:
        known = {"client_id": CLIENT_ID, "client_secret": CLIENT_SECRET}
        body = urllib.parse.urlencode(known | form).encode()
        raw = wire("POST", "/token", body, {"Content-Type": "application/x-www-form-urlencoded"})
        return raw.status, raw.json.get("error", "")

    assert token(grant_type="password") == (400, "unsupported_grant_type")
    assert token(grant_type="refresh_token", refresh_token="no") == (400, "invalid_grant")
    assert token(grant_type="refresh_token", client_secret="no") == (401, "invalid_client")
    assert token(grant_type="authorization_code", code="no") == (400, "invalid_grant")
    out_of_band = urllib.parse.urlencode(
        {
            "client_id": CLIENT_ID,
            "response_type": "code",
            "redirect_uri": "urn:ietf:wg:oauth:2.0:oob",
            "scope": SCOPE_FILE,
        }
    )
    assert wire("GET", f"/auth?{out_of_band}").status == 400


def test_the_device_flow(emulator: DriveEmulator, wire: Wire) -> None:
    form = {"Content-Type": "application/x-www-form-urlencoded"}

    def post(target: str, **values: str) -> Raw:
        known = {"client_id": CLIENT_ID, "client_secret": CLIENT_SECRET}
        return wire("POST", target, urllib.parse.urlencode(known | values).encode(), form)

    assert post("/device/code", scope=SCOPE_FULL).json["error"] == "invalid_scope"
    device = post("/device/code", scope=SCOPE_FILE).json
    grant = "urn:ietf:params:oauth:grant-type:device_code"
    poll = {"grant_type": grant, "device_code": device["device_code"]}
    assert post("/token", **poll).json["error"] == "authorization_pending"
    emulator.tokens.approve(device["user_code"])
    wire.token = post("/token", **poll).json["access_token"]
    assert wire("GET", "/drive/v3/files").status == 200


def test_token_files_are_what_sign_ins_leave(emulator: DriveEmulator, tmp_path: Path) -> None:
    from google.oauth2.credentials import Credentials

    path = emulator.write_token(tmp_path / "token.json")
    assert os.name == "nt" or path.stat().st_mode & 0o777 == 0o600
    info = json.loads(path.read_text(encoding="utf-8"))
    assert names(library.service(emulator.url, info)) == []
    assert Credentials.from_authorized_user_info(info).valid  # type: ignore[no-untyped-call]
    legacy = json.loads(emulator.write_legacy_token(tmp_path / "old.json").read_text())
    assert {"_module", "_class"} <= legacy.keys()
    loaded = Credentials.from_authorized_user_info(legacy)  # type: ignore[no-untyped-call]
    assert not loaded.token, "it loads, with an empty access token"


# --- faults ---


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ("error=userRateLimitExceeded", (403, "userRateLimitExceeded")),
        ("error=rateLimitExceeded", (403, "rateLimitExceeded")),
        ("status=429", (429, "tooManyRequests")),
        ("status=500", (500, "internalError")),
        ("status=502", (502, "badGateway")),
        ("status=503", (503, "backendError")),
        ("status=504", (504, "gatewayTimeout")),
        ("status=404", (404, "notFound")),
        ("status=410", (410, "deleted")),
        ("error=storageQuotaExceeded", (403, "storageQuotaExceeded")),
        ("error=quotaExceeded", (403, "quotaExceeded")),
        ("error=dailyLimitExceeded", (403, "dailyLimitExceeded")),
        ("error=teamDriveFileLimitExceeded", (403, "teamDriveFileLimitExceeded")),
        ("error=appNotAuthorizedToFile", (403, "appNotAuthorizedToFile")),
        ("error=rateLimitExceeded status=429", (429, "rateLimitExceeded")),
    ],
)
def test_errors_by_rule(emulator: DriveEmulator, drive: Any, rule: str, expected: tuple[int, str]) -> None:
    made = emulator.fault(f"create nth=2 {rule}")
    put(drive, "a")
    assert refusal(lambda: put(drive, "b")) == expected
    put(drive, "c")
    assert sorted(emulator.tree()) == ["a", "c"]
    assert (made.seen, made.fired) == (3, 1)


def test_an_error_after_the_effect(emulator: DriveEmulator, drive: Any) -> None:
    emulator.fault("files.create* nth=1 status=503 at=after")
    assert refusal(lambda: put(drive, "n"))[0] == 503
    assert emulator.tree() == {"n": b"x"}


@pytest.mark.parametrize("form", ["text", "html", "empty"])
def test_error_bodies_need_not_be_json(emulator: DriveEmulator, wire: Wire, form: str) -> None:
    emulator.fault(f"files.list status=503 retry-after=7 body={form}")
    raw = wire("GET", "/drive/v3/files")
    assert (raw.status, raw.headers["retry-after"]) == (503, "7")
    with pytest.raises(ValueError, match="Expecting value"):
        json.loads(raw.body)


def test_coming_back_before_retry_after_is_noted(emulator: DriveEmulator, wire: Wire) -> None:
    emulator.fault("files.list nth=1..2 status=429 retry-after=7")
    wire("GET", "/drive/v3/files")
    emulator.advance(8)
    wire("GET", "/drive/v3/files")
    assert emulator.violations == []
    wire("GET", "/drive/v3/files")
    assert "Retry-After" in emulator.violations[0]


def tries(emulator: DriveEmulator, drive: Any) -> list[bool]:
    """Which of 40 requests went through."""
    files = drive.files()
    found = []
    for _ in range(40):
        try:
            files.list().execute()
            found.append(True)
        except Exception:
            found.append(False)
    emulator.clear_faults()
    return found


def test_probability_is_the_same_each_time_for_a_seed(emulator: DriveEmulator, drive: Any) -> None:
    emulator.fault("any p=0.3 seed=7 status=500")
    first = tries(emulator, drive)
    emulator.fault("any p=0.3 seed=7 status=500")
    assert first == tries(emulator, drive)
    emulator.fault("any p=0.3 seed=8 status=500")
    assert first != tries(emulator, drive)
    assert 0 < first.count(False) < 40
    emulator.fault("any times=3 status=500")
    assert tries(emulator, drive).count(False) == 3
    emulator.fault("any nth=2,4..5,39.. status=500")
    failed = [number for number, ok in enumerate(tries(emulator, drive), 1) if not ok]
    assert failed == [2, 4, 5, 39, 40]


@pytest.mark.parametrize("reset", ["", " reset"])
def test_a_connection_dropped_before_the_create_leaves_nothing(
    emulator: DriveEmulator, wire: Wire, reset: str
) -> None:
    emulator.fault(f"files.create drop=before{reset}")
    body, kind = b'{"name": "n"}', {"Content-Type": "application/json"}
    error = ConnectionResetError if reset else http.client.RemoteDisconnected
    with pytest.raises(error):
        wire("POST", "/drive/v3/files", body, kind)
    assert emulator.files() == []
    assert emulator.log.entries[-1].outcome == "dropped before"


def test_a_connection_dropped_after_the_create_makes_the_library_send_it_twice(
    emulator: DriveEmulator, drive: Any
) -> None:
    emulator.fault("files.create nth=1 drop=after")
    drive.files().create(body={"name": "n"}).execute()
    assert len(emulator.tree()) == 2, "a twin: httplib2 re-sends what got no status line"
    file_id = drive.files().generateIds(count=1).execute()["ids"][0]
    emulator.fault("files.create nth=1 drop=after")
    assert refusal(drive.files().create(body={"name": "m", "id": file_id}))[0] == 409
    assert len(emulator.tree()) == 3, "with a reserved id there is none"


def test_an_upload_cut_in_the_middle_keeps_the_aligned_part_and_resumes(
    emulator: DriveEmulator, drive: Any
) -> None:
    data = os.urandom(4 * KIB256 + 5)
    kept: list[int] = []
    emulator.fault(f"upload.chunk nth=1..4 cut={2 * KIB256 + 1000}")
    emulator.fault("upload.status", hook=lambda _: kept.append(len(emulator.api.sessions.open()[0].data)))
    _, broken = finish(upload(drive, "n", data, chunk=8 * KIB256))
    assert broken >= 1
    assert kept[0] == 2 * KIB256
    assert emulator.tree() == {"n": data}


def test_a_client_that_dies_in_the_middle_of_an_upload_leaves_the_aligned_part(
    emulator: DriveEmulator, wire: Wire
) -> None:
    session = wire.start()
    head = f"PUT {session} HTTP/1.1\r\nContent-Length: {3 * KIB256}\r\n"
    head += f"Content-Range: bytes 0-{3 * KIB256 - 1}/{4 * KIB256}\r\n\r\n"
    with socket.create_connection(("127.0.0.1", emulator.port)) as connection:
        connection.sendall(head.encode() + b"a" * (KIB256 + 99))
        connection.shutdown(socket.SHUT_WR)
        assert connection.recv(10) == b""
    assert wire.ask(session).headers["range"] == f"bytes=0-{KIB256 - 1}"


def test_the_last_chunk_dropped_after_it_landed(emulator: DriveEmulator, drive: Any) -> None:
    emulator.fault("upload.last nth=1..2 drop=after")
    answer, broken = finish(upload(drive, "n", b"x"))
    assert (answer["name"], broken) == ("n", 1)
    assert emulator.tree() == {"n": b"x"}


def test_the_librarys_own_stream_sends_an_empty_body_again_and_waits(
    emulator: DriveEmulator, drive: Any
) -> None:
    """The trap the emulator must be able to show: a stream is at its end on the second try."""
    emulator.behaviour.body_timeout = 0.2
    emulator.fault("upload.chunk nth=1 drop=before")
    request = drive.files().create(body={"name": "n"}, media_body=media(b"x" * 99, resumable=True))
    with pytest.raises(http.client.RemoteDisconnected):
        request.next_chunk()
    outcomes = [(entry.bytes_in, entry.outcome) for entry in emulator.log.entries[1:3]]
    assert outcomes == [(99, "dropped before"), (0, "cut")]


def test_a_truncated_and_a_corrupted_download(emulator: DriveEmulator, wire: Wire, drive: Any) -> None:
    target = f"/drive/v3/files/{put(drive, 'n', b'0123456789')}?alt=media"
    emulator.fault("files.get.media nth=1 truncate=4")
    emulator.fault("files.get.media nth=2 corrupt=3")
    with pytest.raises(http.client.IncompleteRead) as caught:
        wire("GET", target)
    assert caught.value.partial == b"0123"
    assert wire("GET", target).body == b"012" + bytes([ord("3") ^ 1]) + b"456789"
    assert wire("GET", target).body == b"0123456789"


@pytest.mark.parametrize("sort", ["name", "parent"])
def test_listings_may_lag_by_count(emulator: DriveEmulator, drive: Any, sort: str) -> None:
    setattr(emulator.behaviour, f"{sort}_lag_lists", 2)
    q = "name = 'n'" if sort == "name" else "'root' in parents"
    other = "'root' in parents" if sort == "name" else "name = 'n'"
    file_id = put(drive, "n")
    assert look(drive, file_id)["name"] == "n", "by id it is there at once"
    assert names(drive, other) == ["n"]
    assert [names(drive, q) for _ in range(3)] == [[], [], ["n"]]


def test_listings_may_lag_by_time(emulator: DriveEmulator, drive: Any) -> None:
    emulator.behaviour.name_lag_seconds = 30
    put(drive, "n")
    assert names(drive, "name = 'n'") == []
    emulator.advance(31)
    assert names(drive, "name = 'n'") == ["n"]


def test_creates_have_a_bucket(emulator: DriveEmulator, drive: Any) -> None:
    emulator.behaviour.creates_per_second = 0.01
    emulator.behaviour.create_burst = 3
    for number in range(3):
        put(drive, str(number))
    assert refusal(lambda: put(drive, "3")) == (403, "userRateLimitExceeded")
    emulator.advance(101)
    put(drive, "3")
    emulator.behaviour.write_limit_status = 429
    assert refusal(lambda: folder(drive, "4")) == (429, "rateLimitExceeded")


def test_quotas_of_units_and_of_bytes_a_day(emulator: DriveEmulator, drive: Any) -> None:
    emulator.behaviour.daily_upload_limit = 5
    put(drive, "n", b"12345")
    over = (403, "userRateLimitExceeded")
    assert refusal(lambda: put(drive, "m", b"1")) == over
    big = drive.files().create(body={}, media_body=media(b"1", resumable=True))
    assert refusal(big) == over
    emulator.advance(86_400)
    emulator.behaviour.units_per_minute = 120
    assert names(drive) == ["n"]
    emulator.advance(60)
    names(drive)
    assert refusal(drive.files().list()) == over


def test_latency_does_not_hold_others_up_and_a_hang_ends_with_the_emulator(
    emulator: DriveEmulator, wire: Wire
) -> None:
    emulator.fault("files.list hang=20")
    emulator.fault("about.get latency=20")
    held = threading.Event()
    emulator.fault("any at=before match=pageSize", hook=lambda _: held.set())
    ended: list[str] = []

    def ask(target: str) -> None:
        try:
            wire("GET", target)
        except (OSError, http.client.HTTPException) as error:
            ended.append(type(error).__name__)

    targets = ("/drive/v3/files?pageSize=5", "/drive/v3/about?fields=user")
    threads = [threading.Thread(target=ask, args=(target,)) for target in targets]
    for thread in threads:
        thread.start()
    assert held.wait(5)
    assert wire("GET", "/drive/v3/files/generateIds").status == 200
    began = time.monotonic()
    emulator.stop()
    for thread in threads:
        thread.join(5)
    assert time.monotonic() - began < 5
    assert len(ended) == 2, "neither got an answer, both were let go"


def test_a_hang_after_the_effect(emulator: DriveEmulator, wire: Wire) -> None:
    emulator.fault("files.create hang=0.01 at=after")
    with pytest.raises(http.client.RemoteDisconnected):
        wire("POST", "/drive/v3/files", b"{}", {"Content-Type": "application/json"})
    assert len(emulator.files()) == 1


@pytest.mark.parametrize(("side", "landed"), [("before", 0), ("after", 1)])
def test_a_hook_strikes_before_or_after_the_effect(
    emulator: DriveEmulator, drive: Any, side: str, landed: int
) -> None:
    seen: list[int] = []
    emulator.fault(f"create nth=2 at={side}", hook=lambda _: seen.append(len(emulator.files())))
    put(drive, "a")
    put(drive, "b")
    assert seen == [1 + landed]


@pytest.mark.skipif(os.name == "nt", reason="needs SIGKILL")
def test_a_rule_can_kill_a_process_at_an_exact_request(emulator: DriveEmulator) -> None:
    program = "import sys, http.client\nsys.stdin.readline()\n" + (
        f"c = http.client.HTTPConnection('127.0.0.1', {emulator.port})\n"
        "for _ in range(9):\n c.request('GET', '/drive/v3/files'); c.getresponse().read()\n"
    )
    child = subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE)
    emulator.fault(f"files.list nth=3 kill={child.pid}")
    child.communicate(b"go\n", timeout=20)
    assert child.returncode == -signal.SIGKILL
    assert emulator.count("files.list") == 3


def test_token_requests_can_fail_too(emulator: DriveEmulator, drive: Any) -> None:
    from google.auth.exceptions import RefreshError

    emulator.expire_tokens()
    emulator.fault("any status=500 p=0.0")
    emulator.fault("token times=99 status=403 body=html")
    with pytest.raises(RefreshError):
        names(drive)
    emulator.clear_faults()
    assert names(drive) == []


def test_faults_strike_calls_inside_a_batch(emulator: DriveEmulator, drive: Any) -> None:
    emulator.fault("files.create nth=2 error=userRateLimitExceeded")
    failed: list[bool] = []
    batch = drive.new_batch_http_request(lambda _k, _r, error: failed.append(error is not None))
    for number in range(3):
        batch.add(drive.files().create(body={"name": str(number)}))
    batch.execute()
    assert failed == [False, True, False]
    assert sorted(emulator.tree()) == ["0", "2"]


@pytest.mark.parametrize(
    "text",
    ["any", "any nth=x status=500", "any error=nonsense", "any drop=never", "any what=1"],
)
def test_a_rule_that_makes_no_sense_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="fault rule"):
        parse(text)


# --- counting, threads, the process ---


def test_requests_bytes_and_units_are_counted(emulator: DriveEmulator, drive: Any) -> None:
    file_id = put(drive, "n", b"x" * 1000)
    names(drive)
    drive.files().get_media(fileId=file_id).execute()
    assert emulator.counts() == {
        "files.create.multipart": 1,
        "files.list": 1,
        "files.get.media": 1,
    }
    assert (emulator.requests, emulator.units) == (3, 50 + 100 + 200)
    assert (emulator.count("write"), emulator.count("read"), emulator.count("create")) == (1, 2, 1)
    assert emulator.bytes_in > 1000 < emulator.bytes_out
    emulator.reset_counts()
    assert (emulator.requests, emulator.bytes_in) == (0, 0)


def test_many_threads_at_once(emulator: DriveEmulator) -> None:
    info = emulator.token_info()

    def work(number: int) -> None:
        files = library.service(emulator.url, info).files()
        for turn in range(10):
            name = f"{number}-{turn}"
            content = media(name.encode(), resumable=turn % 2 == 0)
            files.create(body={"name": name}, media_body=content).execute()

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    expected = {f"{i}-{t}": f"{i}-{t}".encode() for i in range(6) for t in range(10)}
    assert emulator.tree() == expected


def test_the_process_form_is_driven_over_http(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.drive_emulator", "--port", "0", "--state", str(tmp_path)]
    command += ["--fault", "files.list nth=1 status=503", "--set", "page_limit=1"]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        announced = json.loads(process.stdout.readline())
        info = json.loads(Path(announced["token"]).read_text(encoding="utf-8"))
        drive = library.service(announced["url"], info)

        def control(name: str, body: Any = None) -> Any:
            data = None if body is None else json.dumps(body).encode()
            request = urllib.request.Request(announced["control"] + name, data)
            with urllib.request.urlopen(request, timeout=10) as answer:
                return json.load(answer)

        assert refusal(drive.files().list())[0] == 503
        file_id = put(drive, "n")
        control("person", {"do": "edit", "file_id": file_id, "data": "by hand"})
        assert drive.files().get_media(fileId=file_id).execute() == b"by hand"
        control("fault", {"rule": "files.list nth=1 status=429"})
        assert refusal(drive.files().list())[0] == 429
        state = control("state")
        assert (state["requests"], state["counts"]["files.list"]) == (4, 2)
        assert [entry["path"] for entry in control("entries?root=root")] == ["n"]
        control("behaviour", {"read_only": "true"})
        assert refusal(drive.files().delete(fileId=file_id))[0] == 403
        control("stop", {})
        assert process.wait(10) == 0
    finally:
        process.kill()
        process.communicate()


def test_a_hundred_small_requests_are_quick(emulator: DriveEmulator, wire: Wire) -> None:
    """The project's own tests make thousands: the server may take a millisecond or so for each."""
    connection = http.client.HTTPConnection("127.0.0.1", emulator.port)
    headers = {"Authorization": f"Bearer {wire.token}", "Content-Type": "application/json"}
    began = time.process_time()
    for number in range(100):
        connection.request("POST", "/drive/v3/files", json.dumps({"name": str(number)}), headers)
        connection.getresponse().read()
    connection.close()
    assert time.process_time() - began < 1.0
