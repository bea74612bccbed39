"""The Drive emulator: changes, what a person does, and who sees what."""

from __future__ import annotations

from typing import Any

import pytest

from tests.drive_emulator import SCOPE_READONLY, DriveEmulator
from tests.drive_emulator import client as library
from tests.emulator_wire import folder, look, media, names, put, refusal


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
