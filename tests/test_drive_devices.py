"""Two devices and one Drive: what either puts into the mirror, archives or refreshes there, the other knows."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from memstore.ids import ContentId
from memstore.manifest import references
from tests.drive_emulator import DriveEmulator
from tests.drive_memory import DriveMemory, fixed_clock, no_waiting, tree


@pytest.fixture
def two(tmp_path: Path) -> Iterator[tuple[DriveMemory, DriveMemory]]:
    with DriveEmulator() as emulator, no_waiting(emulator):
        laptop = DriveMemory(tmp_path, emulator, name="laptop")
        laptop.commit({"Core/Rules.txt": b"rules\n", "log.txt": b"begin\n"})
        assert laptop.push().exit_code == 0
        yield laptop, laptop.second("server")


def synced(memory: DriveMemory) -> None:
    report = memory.push(pull=True)
    assert (report.exit_code, report.error, report.pull_error, report.warnings) == (0, None, None, ())
    assert not report.notes, report


def test_in_turns_the_mirror_is_what_both_have(two: tuple[DriveMemory, DriveMemory]) -> None:
    for number in range(3):
        for memory in two:
            synced(memory)
            memory.commit(
                {
                    f"{memory.root.name}-{number}.txt": b"new\n",
                    "Core/Rules.txt": f"{memory.root.name} {number}\n".encode(),
                    "log.txt": (memory.data / "log.txt").read_bytes() + b"more\n",
                }
            )
            synced(memory)
            assert {k: v for k, v in memory.mirror.items() if not k.startswith("Archive/")} == tree(
                memory.data
            )
    for memory in two:
        synced(memory)
    assert tree(two[0].data) == tree(two[1].data)
    archived = {data for path, data in two[0].mirror.items() if path.startswith("Archive/")}
    assert archived == {
        b"rules\n",
        *(b"%s %d\n" % (m.root.name.encode(), n) for m in two for n in range(3)),
    } - {b"server 2\n"}


def test_a_hand_that_changed_what_another_device_put_there_changes_the_newest_version(
    two: tuple[DriveMemory, DriveMemory],
) -> None:
    """This device only pulled that version; nothing was changed here."""
    laptop, server = two
    synced(server)
    server.commit({"Core/Rules.txt": b"rules\nserver\n"})
    synced(server)
    with laptop.open() as store:
        store.pull()
    person = laptop.emulator.person
    person.edit(person.find("MemoryVDB/Core/Rules.txt"), b"rules\nserver\nby hand\n")
    report = laptop.push()
    assert [note for note in report.notes if "newest version now" in note]
    assert tree(laptop.data) == {"Core/Rules.txt": b"rules\nserver\nby hand\n", "log.txt": b"begin\n"}


def test_both_at_once_end_with_one_head_and_one_mirror(two: tuple[DriveMemory, DriveMemory]) -> None:
    laptop, server = two
    laptop.commit({"Core/Rules.txt": b"rules\nlaptop\n", "a.txt": b"a\n"})
    server.commit({"Core/Rules.txt": b"rules\nserver\n", "b.txt": b"b\n"})
    assert laptop.push().ahead is False
    assert server.push().ahead is True
    assert len(laptop.heads) == 2
    for memory in (laptop, server, laptop):
        synced(memory)
    assert len(laptop.heads) == 1
    assert {k: v for k, v in laptop.mirror.items() if not k.startswith("Archive/")} == tree(laptop.data)
    assert tree(laptop.data) == tree(server.data)


def test_two_files_of_one_path_become_one(two: tuple[DriveMemory, DriveMemory]) -> None:
    laptop, server = two
    laptop.commit({"new.txt": b"new\n"})
    synced(laptop)
    synced(server)
    with server.open() as store:  # as if the list had not shown it
        store.repository.catalogue.db.execute("DELETE FROM mirror WHERE path = 'new.txt'")
    server.commit({"other.txt": b"other\n"})
    assert server.push().exit_code == 0
    assert [path for path in server.mirror if path.startswith("new.txt#")]
    synced(laptop)
    assert {k: v for k, v in laptop.mirror.items() if not k.startswith("Archive/")} == tree(laptop.data)
    for memory in two:
        memory.commit({"new.txt": memory.root.name.encode()})
        synced(memory)
    assert server.mirror["new.txt"] == b"server"


def rightly_archived(memory: DriveMemory) -> None:
    """No twins, and what bears a reference's name is what the reference stands for."""
    assert [path for path in memory.mirror if "#" in path] == []
    with memory.open() as store:
        for path, data in memory.mirror.items():
            found = references.find(store.repository.catalogue, path)
            assert not found or ContentId.of(data) in {reference.entry.content for reference in found}, path


@pytest.mark.parametrize("seed", range(4))
def test_a_name_in_the_archive_is_that_of_what_lies_there(
    two: tuple[DriveMemory, DriveMemory], seed: int
) -> None:
    """Also where two devices replace within a second, and one of them does so on the other's side of a merge."""
    dice = random.Random(seed)
    with pytest.MonkeyPatch.context() as patch:
        fixed_clock(patch, time.time_ns() // 1_000_000)
        for number in range(8):
            memory = dice.choice(two)
            line = f"{memory.root.name} {number}\n".encode()
            for path in dice.sample(("Core/Rules.txt", "log.txt"), dice.randrange(1, 3)):
                before = (memory.data / path).read_bytes()
                memory.commit({path: line if dice.random() < 0.4 else before + line})
            assert memory.push(pull=dice.random() < 0.6).error is None
    for memory in (*two, *two):
        assert memory.push(pull=True).error is None
        rightly_archived(memory)
    assert {k: v for k, v in two[0].mirror.items() if not k.startswith("Archive/")} == tree(two[0].data)
