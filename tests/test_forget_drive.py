"""forget on Google Drive, by the emulator: packs, files, the trash and revisions, for ever."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from memstore.reports import ForgetReport
from tests.drive_emulator import DriveEmulator
from tests.drive_memory import DriveMemory, no_waiting
from tests.forgetful_place import SECRET, keys, note, where
from tests.naive_reader import NaiveStore, read_pack


@pytest.fixture
def emulator() -> Iterator[DriveEmulator]:
    with DriveEmulator() as running, no_waiting(running):
        yield running


@pytest.fixture
def memory(tmp_path: Path, emulator: DriveEmulator) -> DriveMemory:
    return DriveMemory(tmp_path, emulator)


def on_drive(memory: DriveMemory) -> list[str]:
    """Every revision of every file, in the trash as well, and every object in a pack, that holds the secret."""
    drive = memory.emulator.drive
    found = []
    with memory.open() as store:
        packs = NaiveStore(store.repository.format.store)
    with drive.lock:
        items = list(drive.items.values())
    for item in items:
        found += [item.name for revision in item.revisions if SECRET in revision.content.data]
        if item.content is not None and item.content.data.startswith(b"MSYNCPAK"):
            read_pack(packs, item.name, item.content.data)
    packs.settle()
    return found + [id.hex()[:12] for (_, id), plain in packs.objects.items() if SECRET in plain]


def forget(memory: DriveMemory, *targets: str) -> ForgetReport:
    with memory.open() as store:
        report = store.forget(list(targets))
    assert report.error is None, report.error
    assert not memory.emulator.violations
    return report


def test_nothing_of_it_is_left_on_drive(memory: DriveMemory) -> None:
    person = memory.emulator.person
    for number in range(3):
        memory.commit({"Core/Keys.txt": keys(number), "Core/Rules.txt": note(number)})
        assert memory.push().error is None
    memory.commit({"Core/Keys.txt": None, "Core/Thrown.txt": keys(7), "Core/Away.txt": keys(8)})
    memory.push()
    person.trash(person.find("MemoryVDB/Core/Thrown.txt"))
    person.move(person.find("MemoryVDB/Core/Away.txt"), person.add_folder("Elsewhere"))
    person.rename(person.find("MemoryVDB/Archive"), "Archiv")
    assert len(on_drive(memory)) > 6
    report = forget(memory, "Core/Keys.txt", "Core/Thrown.txt", "Core/Away.txt")
    assert report.mirror_files >= 5 and report.remote_packs == 4
    assert on_drive(memory) == []
    assert where(memory.base) == []
    memory.commit({"Core/Rules.txt": note(30)})
    assert memory.push().error is None
    assert on_drive(memory) == []
    with memory.open() as store:
        assert store.verify(remote=True, read_data=True).ok
    assert sorted(path.name for path in (memory.clone("other") / "Core").iterdir()) == ["Rules.txt"]


def test_revisions_of_a_file_that_goes_on_go_as_well(memory: DriveMemory) -> None:
    memory.commit({"Rules.txt": note(1)})
    memory.push()
    version = memory.commit({"Rules.txt": note(1) + SECRET})
    memory.push()
    memory.commit({"Rules.txt": note(1) + SECRET + b"\nmore\n"})
    memory.push()
    memory.commit({"Rules.txt": note(2)})
    memory.push()
    with memory.open() as store:
        first, *_ = [
            store.forget(["Rules.txt"], at=version),
            store.forget([str(change.entry.content) for one in store.history("Rules.txt")
                          for change in one.changes if change.entry and b"more" in _read(store, change)]),
        ]  # fmt: skip
    assert first.revisions == 1
    assert on_drive(memory) == []
    assert memory.mirror["Rules.txt"] == note(2)
    with memory.open() as store:
        assert store.verify(remote=True, read_data=True).ok


def _read(store: object, change: object) -> bytes:
    from memstore.objects.reader import Removed

    try:
        return bytes(store.repository.read(change.entry.content))  # type: ignore[attr-defined]
    except Removed:
        return b""


def test_a_file_on_drive_that_a_person_changed_is_warned_of_and_comes_home(memory: DriveMemory) -> None:
    first = memory.commit({"Keys.txt": keys(0), "Rules.txt": note(0)})
    assert memory.push().error is None
    person = memory.emulator.person
    person.edit(person.find("MemoryVDB/Keys.txt"), keys(0) + b"a line by a person\n")
    report = forget(memory, "Keys.txt")
    (warning,) = report.warnings
    assert first is not None and "Keys.txt on" in warning and "may hold it still" in warning
    pushed = memory.push()
    assert [line for line in pushed.warnings if "may hold it still" in line]
    (beside,) = [path.name for path in memory.data.iterdir() if path.name != "Rules.txt"]
    forget(memory, beside)
    assert on_drive(memory) == []
    assert where(memory.base) == []


def test_cut_off_on_drive_another_run_finishes(memory: DriveMemory) -> None:
    for number in range(2):
        memory.commit({"Keys.txt": keys(number), "Rules.txt": note(number)})
        assert memory.push().error is None
    memory.emulator.fault("files.delete status=500")
    with memory.open() as store:
        report = store.forget(["Keys.txt"])
        assert report.error is not None and report.exit_code == 5
    assert on_drive(memory)
    assert where(memory.root) == []
    memory.emulator.clear_faults()
    forget(memory)
    assert on_drive(memory) == []
    with memory.open() as store:
        assert not store.forgetting
        assert store.verify(remote=True, read_data=True).ok
