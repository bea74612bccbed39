"""Who made a version: an id that stays with a clone, and is never shared by two."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from memstore import files
from memstore.identity import load_device
from memstore.store import Store
from tests.conftest import Memory
from tests.drive_emulator import DriveEmulator
from tests.drive_memory import DriveMemory, no_waiting
from tests.folder_place import Place


def id_of(root: Path) -> str:
    with Store.open(root, environ={}) as store:
        return store.repository.device.id


def test_every_version_bears_the_id_and_the_name_of_its_device(tmp_path: Path) -> None:
    memory = Memory(tmp_path / "memory", {"MEMSYNC_DEVICE": "laptop"})
    first = memory.save("a.txt", "one")
    memory.environ = {"MEMSYNC_DEVICE": "laptop, renamed"}
    memory.reopen()
    second = memory.save("a.txt", "two")
    assert (first.device, second.device) == ("laptop", "laptop, renamed")
    assert first.device_id == second.device_id == memory.repository.device.id
    assert len(bytes.fromhex(first.device_id)) == 4
    memory.close()


def test_a_copy_is_another_device_and_the_original_stays_what_it_was(memory: Memory) -> None:
    memory.save("a.txt", "both")
    memory.close()
    before = id_of(memory.root)
    copies = []
    for name in ("second", "third"):
        root = memory.root.parent / name
        shutil.copytree(memory.root, root)
        copies.append(id_of(root))
        assert id_of(root) == copies[-1], "a copy changes once"
    assert len({before, *copies}) == 3
    assert id_of(memory.root) == before
    memory.reopen()


def test_a_folder_that_was_moved_is_the_same_device_and_a_copy_put_in_its_place_is_not(
    memory: Memory,
) -> None:
    memory.save("a.txt", "one")
    memory.close()
    before = id_of(memory.root)
    moved = memory.root.parent / "moved"
    os.rename(memory.root, moved)
    assert id_of(moved) == before
    shutil.copytree(moved, memory.root)
    assert id_of(memory.root) != before
    assert id_of(moved) == before
    memory.reopen()


def test_a_disk_that_gives_out_new_inodes_at_each_mount_keeps_the_device(
    memory: Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory.save("a.txt", "one")
    memory.close()
    before = id_of(memory.root)
    for number in range(3):
        monkeypatch.setattr(files, "identity", lambda _, number=number: (7, 1000 + number))
        assert id_of(memory.root) == before
    monkeypatch.undo()
    memory.reopen()


def test_a_copy_of_the_same_path_on_another_machine_is_another_device(
    memory: Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = memory.repository.device.id
    memory.close()
    monkeypatch.setattr("memstore.identity.machine", lambda: "another")
    assert id_of(memory.root) == before, "the same file: the machine was renamed"
    identity = files.identity
    monkeypatch.setattr("memstore.identity.machine", lambda: "a third")
    monkeypatch.setattr(files, "identity", lambda descriptor: (identity(descriptor)[0] + 1, 5))
    assert id_of(memory.root) != before
    monkeypatch.undo()
    memory.reopen()


def test_two_processes_that_notice_a_copy_at_once_give_it_one_id(
    memory: Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory.close()
    root = memory.root.parent / "second"
    shutil.copytree(memory.root, root)
    state = str(root / ".memsync")
    with monkeypatch.context() as patch:  # each reads the file before the other has replaced it
        patch.setattr("memstore.identity._write_device", lambda *_: True)
        ids = {load_device(state, "x").id for _ in range(2)}
    assert ids == {load_device(state, "x").id} == {load_device(state, "x").id}
    memory.reopen()


def test_a_device_file_that_cannot_be_read_is_made_anew(memory: Memory) -> None:
    before = memory.save("a.txt", "one")
    for damage in (b"", b"no JSON", b'{"id": "xyz"}', b'{"id": 3}', b"[]"):
        memory.close()
        (memory.state / "device").write_bytes(damage)
        memory.store = Store.open(memory.root, environ={})
        assert len(bytes.fromhex(memory.repository.device.id)) == 4
    assert memory.store.head() == before.id
    assert memory.save("a.txt", "two").parents == (before.id,)


def test_a_copy_knows_its_remote_and_learns_anew_what_lies_there(tmp_path: Path) -> None:
    place = Place(tmp_path)
    place.commit({"a.txt": b"one\n"})
    place.push()
    shutil.copytree(place.root, tmp_path / "copy")
    copy = Place.at(tmp_path / "copy", place.remote)
    before = place.packs
    copy.commit({"b.txt": b"the copy's\n"})
    report = copy.push()
    assert (report.status, report.versions, report.packs) == ("success", 1, 1)
    assert len(place.packs) == len(before) + 1
    with place.open() as store:
        assert store.pull().status == "success"
    assert (place.data / "b.txt").read_bytes() == b"the copy's\n"


def test_two_copies_never_use_the_same_reserved_ids_on_drive(tmp_path: Path) -> None:
    """Ids are reserved a thousand at a time: the copy's pack would meet the original's under its id."""
    with DriveEmulator() as emulator, no_waiting(emulator):
        memory = DriveMemory(tmp_path, emulator)
        memory.commit({"a.txt": b"one\n"})
        assert memory.push(mirror=False).status == "success"
        shutil.copytree(memory.root, tmp_path / "copy")
        contents = set()
        for root in (memory.root, tmp_path / "copy"):
            data = f"made in {root.name}\n".encode()
            (root / "Data" / f"{root.name}.txt").write_bytes(data)
            with Store.open(root, environ=memory.environ) as store:
                store.commit()
                assert store.push(mirror=False).status == "success"
            contents.add(data)
        assert len([path for path in emulator.tree() if "/packs/" in path]) == 3
        assert len([path for path in memory.heads if "device-" not in path]) == 2
        other = DriveMemory(tmp_path, emulator, name="reader")
        shutil.rmtree(other.root)
        memory.clone("reader")
        assert contents <= other.contents()


def test_ids_that_a_backup_brought_back_never_cost_a_pack(tmp_path: Path) -> None:
    """The folder is put back as it was, with its journal: what was made with the ids since then stays."""
    with DriveEmulator() as emulator, no_waiting(emulator):
        memory = DriveMemory(tmp_path, emulator)
        memory.commit({"a.txt": b"one\n"})
        memory.push(mirror=False)
        backup = tmp_path / "backup"
        shutil.copytree(memory.root, backup)
        memory.commit({"a.txt": b"two\n"})
        memory.push(mirror=False)
        packs = {path for path in emulator.tree() if "/packs/" in path}
        shutil.rmtree(memory.root)
        shutil.copytree(backup, memory.root)
        memory.commit({"b.txt": b"three\n"})
        assert memory.push(mirror=False).status == "success"
        assert packs < {path for path in emulator.tree() if "/packs/" in path}
