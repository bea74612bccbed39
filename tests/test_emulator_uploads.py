"""The Drive emulator: uploads and downloads, reserved ids, revisions."""

from __future__ import annotations

import hashlib
import json
import os
import socket
from typing import Any

import pytest

from tests.drive_emulator import DriveEmulator
from tests.emulator_wire import KIB256, Wire, folder, look, media, put, refusal

# -- uploads ---------------------------------------------------------------------------------------------------


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


# -- ids -------------------------------------------------------------------------------------------------------


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


# -- downloads -------------------------------------------------------------------------------------------------


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
