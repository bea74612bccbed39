"""The Drive emulator: metadata, fields and queries."""

from __future__ import annotations

from typing import Any

import pytest

from tests.drive_emulator import FOLDER, SCOPE_FULL, DriveEmulator
from tests.drive_emulator import client as library
from tests.emulator_wire import Wire, folder, look, names, put, refusal


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
