"""The same on Drive, as `test_repair_theirs.py` has it of a folder: what a device that is gone left damaged there, or
lost, stops nobody. Drive's listings lag, so what they do not show is believed lost only after a day."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from memstore import Store
from memstore.errors import DamagedData, RemoteTrouble
from memstore.reports import RepairReport
from tests.drive_emulator import DriveEmulator
from tests.drive_memory import ROOT, DriveMemory, no_waiting
from tests.folder_place import put, tree

PACKS, HEADS = f"{ROOT}/.memsync/packs", f"{ROOT}/.memsync/heads"
FIRST, SECOND = (random.Random(seed).randbytes(1500) for seed in (11, 12))


class Left:
    """A device that stays, and what one that is gone pushed since: two packs, a version in each."""

    def __init__(self, base: Path, emulator: DriveEmulator) -> None:
        self.emulator = emulator
        self.gone = gone = DriveMemory(base, emulator, name="gone")
        gone.commit({"both.txt": b"both have it\n"})
        assert gone.push().status == "success"
        self.data = gone.clone("here")
        self.environ = {**gone.environ, "MEMSYNC_DEVICE": "here"}
        self.packs: list[str] = []
        self.versions: list[str] = []
        for made in ({"first.bin": FIRST}, {"second.bin": SECOND}):
            before = self._listed(PACKS)
            self.versions.append(str(gone.commit(made)))
            assert gone.push().status == "success"
            (new,) = self._listed(PACKS) - before
            self.packs.append(new)
        put(self.data, {"later.txt": b"and went on\n"})
        with self.open() as store:
            store.commit()

    def heads(self) -> set[str]:
        return self._listed(HEADS)

    def _listed(self, folder: str) -> set[str]:
        drive = self.emulator.drive
        found = {drive.items[id].name for id in drive.children[self.emulator.person.find(folder)]}
        return {name for name in found if len(name) == 64}

    def bytes_of(self, pack: str) -> bytes:
        return (self.gone.data.parent / f".memsync/packs/{pack}.pack").read_bytes()

    def open(self) -> Store:
        return Store.open(self.data.parent, environ=self.environ)

    def repair(self) -> RepairReport:
        with self.open() as store:
            return store.repair()

    def ends_well(self, *names: str) -> None:
        self.emulator.advance(60)  # what was written a moment ago is listed by now
        with self.open() as store:
            store.pull()
            assert set(tree(self.data)) == {"both.txt", "later.txt", *names}
            pushed = store.push()
            assert (pushed.status, pushed.warnings) == ("success", ())
            assert store.verify(remote=True, read_data=True).ok
            report = store.repair()
            assert (report.mended, report.problems, report.warnings) == ((), (), ())


@pytest.fixture
def left(tmp_path: Path) -> Iterator[Left]:
    with DriveEmulator() as emulator, no_waiting(emulator):
        yield Left(tmp_path, emulator)


def test_what_is_good_in_a_damaged_pack_on_drive_is_taken(left: Left) -> None:
    person = left.emulator.person
    file = person.find(f"{PACKS}/{left.packs[1]}")
    harmed = bytearray(left.bytes_of(left.packs[1]))
    harmed[-10] ^= 1  # where the pack says what it holds: all of that is whole
    person.edit(file, bytes(harmed))
    with left.open() as store, pytest.raises(DamagedData) as caught:
        store.pull()
    assert "memsync repair" in caught.value.hint
    report = left.repair()
    assert "remote_damaged_pack" in {row.kind for row in report.mended}
    left.ends_well("first.bin", "second.bin")
    assert (left.data / "second.bin").read_bytes() == SECOND


def test_a_pack_that_is_gone_from_drive_is_waited_for_and_then_named(
    left: Left, monkeypatch: pytest.MonkeyPatch
) -> None:
    person = left.emulator.person
    person.delete(person.find(f"{PACKS}/{left.packs[1]}"))
    with left.open() as store, pytest.raises((RemoteTrouble, DamagedData)):
        store.pull()
    first = left.repair()
    (lost,) = left.heads()
    (problem,) = first.problems
    assert (problem.kind, problem.id, lost) == ("remote_missing_version", lost, left.versions[1])
    assert "24 hours" in problem.hint
    later = SimpleNamespace(time=lambda: time.time() + 25 * 3600)
    monkeypatch.setattr("memstore.actions.repair_theirs.time", later)
    second = left.repair()
    assert ("remote_missing_version", lost) in {(problem.kind, problem.id) for problem in second.problems}
    assert {row.kind for row in second.mended} == {"remote_head"}
    assert left.heads() == {left.versions[0]}
    monkeypatch.undo()
    left.ends_well("first.bin")
