"""A person's hand in the mirror: no byte string that ever existed on either side is lost.

Between saves and pushes a person edits, renames, moves, throws away, brings back and deletes files and
folders on Drive, at random. What was saved here is in some version for ever. What the person wrote is either
in some version or still lies on Drive as the person left it, unless the person wrote over it or deleted it;
and once every note has changed here, every note that the person edited has come home.
"""

from __future__ import annotations

import random
import time
import types
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest

import memstore.writer
from memstore.reports import PushReport
from tests.drive_emulator import DriveEmulator
from tests.drive_emulator.tree import Entry
from tests.drive_memory import ROOT, STORE, DriveMemory, no_waiting, tree

SEEDS: Final = 100
FAST: Final = 4
STEPS: Final = 30
FOLDERS: Final = ("", "Core/", "Meta/deep/")


class Hand:
    """Both sides, and what must still be readable."""

    def __init__(self, memory: DriveMemory, seed: int) -> None:
        self.memory = memory
        self.emulator = memory.emulator
        self.person = memory.emulator.person
        self.dice = random.Random(seed)
        self.saved: set[bytes] = set()
        """What was committed here."""
        self.written: dict[str, bytes] = {}
        """What the person wrote and did not destroy, by the id of the file."""
        self.elsewhere = self.person.add_folder("Elsewhere")

    def fresh(self) -> bytes:
        return self.dice.randbytes(12).hex().encode() + b"\n"

    # -- here ----------------------------------------------------------------------------------------------

    def save(self, everything: bool = False) -> None:
        have = sorted(tree(self.memory.data))
        chosen = have if everything else self.dice.sample(have, min(2, len(have)))
        changes: dict[str, bytes | None] = {path: self._changed(path, everything) for path in chosen}
        if not everything and self.dice.random() < 0.6:
            changes[f"{self.dice.choice(FOLDERS)}note{self.dice.randrange(8)}.txt"] = self.fresh()
        self.memory.commit(changes)
        self.saved |= set(tree(self.memory.data).values())

    def _changed(self, path: str, everything: bool) -> bytes | None:
        old = (self.memory.data / path).read_bytes()
        if not everything and self.dice.random() < 0.25:
            return None
        return old + b"more\n" if self.dice.random() < 0.5 else self.fresh()

    def push(self) -> PushReport:
        gone = {path for path in tree(self.memory.data) if path not in self.memory.mirror}
        kept = set(self.versions_of_mirror())
        report = self.memory.push()
        assert (report.status, report.exit_code) in (("success", 0), ("nothing", 0)), report
        assert not report.warnings, report
        told = " ".join(report.notes)
        for path in gone & kept & self.memory.mirror.keys():
            assert path in told, f"{path} is there again and nobody was told"
        self.assert_nothing_lost()
        return report

    def versions_of_mirror(self) -> list[str]:
        """Paths at which memsync knows that it put something."""
        with self.memory.open() as store:
            rows = store.repository.catalogue.db.execute("SELECT path FROM mirror WHERE state = ''")
            return [path for (path,) in rows]

    # -- on Drive --------------------------------------------------------------------------------------------

    def visible(self, *, folders: bool = False, trashed: bool = False) -> list[Entry]:
        return [
            entry
            for entry in self.emulator.entries()
            if entry.path.startswith(f"{ROOT}/")
            and not f"{entry.path}/".startswith(STORE)
            and entry.is_folder == folders
            and entry.trashed == trashed
        ]

    def act(self) -> None:
        """One thing that a person does."""
        what = self.dice.choice(
            ["edit"] * 5 + ["rename", "move", "away", "trash", "untrash", "delete", "copy"] * 2
            + ["rename folder", "trash folder", "delete folder", "empty trash", "revert", "own file"]
        )  # fmt: skip
        folders = what.endswith("folder")
        there = self.visible(folders=folders, trashed=what == "untrash")
        if not there and what != "empty trash":
            return
        target = self.dice.choice(there) if there else None
        self._do(what, target)

    def _do(self, what: str, target: Entry | None) -> None:
        if what == "empty trash":
            self._destroy([entry.id for entry in self.emulator.entries() if entry.trashed])
            self.person.empty_trash()
            return
        assert target is not None
        match what:
            case "edit" | "revert":
                content = self.fresh() if what == "edit" else self._earlier(target)
                self._destroy([target.id])
                self.person.edit(target.id, content)
                self.written[target.id] = content
            case "rename" | "rename folder":
                self.person.rename(target.id, f"by hand {self.dice.randrange(99)}.txt")
            case "move":
                folders = [row.id for row in self.visible(folders=True)]
                self.person.move(target.id, self.dice.choice([self.person.find(ROOT), *folders]))
            case "away":
                self.person.move(target.id, self.elsewhere)
            case "trash" | "trash folder":
                self.person.trash(target.id)
            case "untrash":
                self.person.untrash(target.id)
            case "delete" | "delete folder":
                below = [row.id for row in self.emulator.entries(target.id)] if target.is_folder else []
                self._destroy([target.id, *below])
                self.person.delete(target.id)
            case "copy":
                copied = self.person.copy(target.id, f"copy {self.dice.randrange(99)}.txt")
                self.written[copied] = self.emulator.read(copied)
            case "own file":
                content = self.fresh()
                mine = self.person.add_file("mine.txt", content, parent=self.person.find(ROOT))
                self.written[mine] = content

    def _earlier(self, target: Entry) -> bytes:
        return self.dice.choice(sorted(self.saved)) if self.saved else self.emulator.read(target.id)

    def _destroy(self, ids: list[str]) -> None:
        """The person does away with these themselves."""
        for identity in ids:
            self.written.pop(identity, None)

    # -- what must hold --------------------------------------------------------------------------------------

    def assert_nothing_lost(self) -> None:
        versions = self.memory.contents()
        assert self.saved <= versions, "what was saved here is in no version"
        for identity, content in self.written.items():
            if content not in versions:
                item = self.emulator.drive.items.get(identity)
                assert item is not None and item.content is not None, "memsync removed a person's file"
                assert item.content.data == content, "memsync wrote over a person's bytes"

    def edited_notes(self) -> set[bytes]:
        """What the person wrote into files that stand for a note here."""
        with self.memory.open() as store:
            rows = store.repository.catalogue.db.execute(
                "SELECT handle FROM mirror WHERE state = ''"
            ).fetchall()
        return {self.written[handle] for (handle,) in rows if handle in self.written}


@contextmanager
def its_own_time(emulator: DriveEmulator) -> Iterator[None]:
    """Inside, time passes on Drive and in versions where the emulator's is advanced, and nowhere else: which names
    fall into one second follows from the seed alone, however fast the machine is."""
    begin, clock = int(time.time()), emulator.clock
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(clock, "now", lambda: begin + clock._offset)
        patch.setattr(
            memstore.writer, "time", types.SimpleNamespace(time_ns=lambda: int(clock.now() * 1_000_000_000))
        )
        yield


def by_hand(base: Path, seed: int) -> int:
    """One person's day; how many byte strings there were."""
    with DriveEmulator(seed=seed) as emulator, no_waiting(emulator), its_own_time(emulator):
        hand = Hand(DriveMemory(base, emulator), seed)
        memory = hand.memory
        memory.commit({f"{folder}note{n}.txt": hand.fresh() for folder in FOLDERS for n in range(2)})
        hand.saved |= set(tree(memory.data).values())
        hand.push()
        for _ in range(STEPS):
            emulator.advance(hand.dice.choice((0, 0, 0.4, 90)))
            for _ in range(hand.dice.randrange(3)):
                hand.act()
            if hand.dice.random() < 0.6:
                hand.save()
            if hand.dice.random() < 0.5:
                hand.push()
        hand.push()
        must_come_home = hand.edited_notes()
        hand.save(everything=True)
        hand.push()
        assert not must_come_home - memory.contents(), "a note that the person edited did not come home"
        hand.push()
        assert memory.push().status == "nothing"
        assert tree(memory.clone("clone")) == tree(memory.data)
        assert len(memory.heads) == 1
        with memory.open() as store:
            assert store.verify(remote=True).ok
        return len(hand.saved) + len(hand.written)


@pytest.mark.parametrize("then", ["trash", "away", "rename", "nothing"])
@pytest.mark.parametrize("gone", [False, True], ids=["changed here", "deleted here"])
def test_a_note_that_a_person_edited_comes_home_whatever_they_did_with_it_next(
    then: str, gone: bool, tmp_path: Path
) -> None:
    with DriveEmulator() as emulator, no_waiting(emulator):
        hand = Hand(DriveMemory(tmp_path, emulator), 0)
        memory = hand.memory
        memory.commit({"Core/Rules.txt": b"be kind\n", "Core/other.txt": b"other\n"})
        memory.push()
        rules = emulator.person.find(f"{ROOT}/Core/Rules.txt")
        emulator.person.edit(rules, b"a person's\n")
        if then == "trash":
            emulator.person.trash(rules)
        elif then == "away":
            emulator.person.move(rules, hand.elsewhere)
        elif then == "rename":
            emulator.person.rename(rules, "Our rules.txt")
        memory.commit({"Core/Rules.txt": None if gone else b"be brief\n"})
        report = memory.push()
        assert report.status == "success"
        assert any("Core/Rules.txt" in note for note in report.notes)
        assert b"a person's\n" in memory.contents()
        assert memory.push().status == "nothing"
        if then == "away":
            assert emulator.read(rules) == b"a person's\n"
        if not gone:
            assert b"be brief\n" in memory.mirror.values()


@pytest.mark.parametrize("gone", [False, True], ids=["changed here", "deleted here"])
@pytest.mark.parametrize("folder", ["Archive", "Archive/Meta"])
@pytest.mark.parametrize("devices", [1, 2])
def test_a_note_that_a_person_moved_into_the_archive_is_that_note_and_the_push_says_so(
    devices: int, folder: str, gone: bool, tmp_path: Path
) -> None:
    with DriveEmulator() as emulator, no_waiting(emulator):
        memory = DriveMemory(tmp_path, emulator)
        memory.commit({"Core/Rules.txt": b"be kind\n", "Meta/other.txt": b"other\n"})
        memory.push()
        memory.commit({"Core/Rules.txt": b"be brief\n", "Meta/other.txt": b"another\n"})
        memory.push()
        if devices == 2:
            other = memory.second("laptop")
            other.commit({"Meta/third.txt": b"third\n"})
            other.push()
            with memory.open() as store:
                store.pull()
        rules = emulator.person.find(f"{ROOT}/Core/Rules.txt")
        emulator.person.move(rules, emulator.person.find(f"{ROOT}/{folder}"))
        memory.commit({"Core/Rules.txt": None if gone else b"be true\n"})
        report = memory.push()
        end = "left there" if gone else "kept up to date there"
        assert report.notes == (
            f"Core/Rules.txt was moved to {folder}/Rules.txt in the mirror by hand; it is {end}",
        )
        assert memory.mirror[f"{folder}/Rules.txt"] == (b"be brief\n" if gone else b"be true\n")
        assert "Core/Rules.txt" not in memory.mirror
        assert memory.push().status == "nothing"


def test_what_leaves_while_the_archive_lies_in_the_trash_goes_to_a_new_one(tmp_path: Path) -> None:
    with DriveEmulator() as emulator, no_waiting(emulator):
        memory = DriveMemory(tmp_path, emulator)
        memory.commit({"Core/Rules.txt": b"one\n", "Core/other.txt": b"other\n"})
        memory.push()
        memory.commit({"Core/Rules.txt": b"two\n"})
        memory.push()
        emulator.person.trash(emulator.person.find(f"{ROOT}/Archive"))
        memory.commit({"Core/Rules.txt": b"two\nand more\n"})
        memory.commit({"Core/Rules.txt": b"three\n", "Core/other.txt": None})
        report = memory.push()
        assert (report.status, report.mirror.failed, report.warnings) == ("success", 0, ())
        emulator.person.empty_trash()
        there = memory.mirror
        assert there.pop("Core/Rules.txt") == b"three\n"
        assert sorted(there.values()) == [b"other\n", b"two\nand more\n"]
        assert all(path.startswith("Archive/Core/") for path in there)
        assert memory.push().status == "nothing"


@pytest.mark.parametrize("seed", range(FAST))
def test_no_byte_string_is_lost_whatever_a_person_does(seed: int, tmp_path: Path) -> None:
    assert by_hand(tmp_path, seed) > 20


@pytest.mark.soak
def test_no_byte_string_is_lost_in_a_hundred_days_of_a_person(tmp_path: Path) -> None:
    wrong, strings = [], 0
    for seed in range(SEEDS):
        try:
            strings += by_hand(tmp_path / str(seed), seed)
        except Exception as error:  # every seed is tried, whatever came of those before
            wrong.append(f"seed {seed}: {type(error).__name__}: {' '.join(str(error).split())[:300]}")
            print(f"\n{wrong[-1]}", flush=True)
    print(f"\n{SEEDS} days, {strings} byte strings, {len(wrong)} failures")
    assert not wrong, "\n".join(wrong)
