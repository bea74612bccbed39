"""The Drive emulator: twins, moves, the trash, limits of folders."""

from __future__ import annotations

from typing import Any

import pytest

from tests.drive_emulator import DriveEmulator
from tests.emulator_wire import folder, look, media, names, put, refusal


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
