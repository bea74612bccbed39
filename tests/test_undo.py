"""undo: what HEAD brought is backed out as a new version, and nothing is ever lost by it."""

from __future__ import annotations

import json
import os
import random
import re
from pathlib import Path

import pytest

from memstore.errors import BadInput
from memstore.manifest.version import Version
from memstore.reports import UndoReport
from tests.command_line import run
from tests.conftest import Memory, words
from tests.folder_place import without_waiting
from tests.merge_places import Clock, Device


def undone(memory: Memory) -> UndoReport:
    report = memory.store.undo()
    assert memory.store.status().clean
    assert memory.store.verify().problems == ()
    return report


def test_the_last_commit_is_backed_out_as_a_new_version(memory: Memory, three: list[Version]) -> None:
    before = memory.manifest(three[1])
    report = undone(memory)
    assert (report.undone, report.back_to) == (three[2].id, three[1].id)
    assert memory.tree() == memory.manifest() == before
    made = memory.versions()[-1]
    assert (made.id, made.parents) == (report.restore.version, (three[2].id,))
    assert (made.note, made.reason) == (f"undo {str(three[2].id)[:12]}", "undo")
    assert words(made.changes) == {
        "Core/Late.txt": "delete", "Core/Rules.txt": "replace", "Core/Tone.txt": "replace",
    }  # fmt: skip
    assert {row.path: row.source for row in report.restore.restored if row.content} == {
        "Core/Rules.txt": str(three[1].id), "Core/Tone.txt": str(three[1].id),
    }  # fmt: skip


def test_a_second_undo_takes_the_first_one_back(memory: Memory, three: list[Version]) -> None:
    last = memory.manifest()
    for _ in range(2):
        undone(memory)
        assert memory.tree() == memory.manifest(three[1])
        undone(memory)
        assert memory.tree() == last
    assert len(memory.versions()) == 7


def test_what_the_commit_did_not_touch_stays_as_it_is(memory: Memory) -> None:
    memory.save("a.txt", "one")
    memory.save("b.txt", "one")
    memory.save("a.txt", "two")
    undone(memory)
    assert memory.tree() == {"a.txt": b"one", "b.txt": b"one"}


def test_unfinished_work_is_a_version_first_and_what_it_touched_elsewhere_stays(memory: Memory) -> None:
    memory.save("a.txt", "one")
    memory.save("a.txt", "two")
    memory.write("a.txt", "unfinished")
    memory.write("new.txt", "unfinished too")
    report = undone(memory)
    assert memory.tree() == {"a.txt": b"one", "new.txt": b"unfinished too"}
    saved = report.restore.saved_first
    assert saved is not None
    assert memory.store.read("a.txt", at=saved) == b"unfinished"
    undone(memory)
    assert memory.tree() == {"a.txt": b"unfinished", "new.txt": b"unfinished too"}


def test_a_restore_is_backed_out(memory: Memory, three: list[Version]) -> None:
    memory.store.restore(["."], at=three[0], exact=True)
    assert memory.tree() == memory.manifest(three[0])
    undone(memory)
    assert memory.tree() == memory.manifest(three[2])


def test_an_archived_note_is_back(memory: Memory, three: list[Version]) -> None:
    memory.store.archive(["Core/Tone.txt"])
    undone(memory)
    assert memory.tree() == memory.manifest(three[2])


def test_the_first_commit_of_all_is_backed_out_to_nothing_and_comes_back(memory: Memory) -> None:
    first = memory.save("Core/a.txt", "one")
    report = undone(memory)
    assert (memory.tree(), report.back_to) == ({}, None)
    undone(memory)
    assert memory.tree() == memory.manifest(first) == {"Core/a.txt": b"one"}


def test_a_file_that_had_become_a_folder_is_a_file_again(memory: Memory) -> None:
    memory.save("turns", "a file")
    (memory.data / "turns").unlink()
    memory.write("turns/1.txt", "below")
    memory.commit()
    memory.write("turns/2.txt", "below, not committed")
    report = undone(memory)
    assert memory.tree() == {"turns": b"a file"}
    assert report.restore.saved_first is not None
    assert memory.store.read("turns/2.txt", at=report.restore.saved_first) == b"below, not committed"


@pytest.mark.skipif(os.name != "posix", reason="links and mode bits")
def test_links_and_modes_are_as_they_were(memory: Memory) -> None:
    memory.write("tool", "run me").chmod(0o755)
    (memory.data / "link").symlink_to("tool")
    memory.commit()
    (memory.data / "link").unlink()
    memory.write("link", "a file now")
    (memory.data / "tool").chmod(0o644)
    memory.commit()
    undone(memory)
    assert os.readlink(memory.data / "link") == "tool"
    assert os.access(memory.data / "tool", os.X_OK)


def test_before_the_first_version_there_is_nothing_to_undo(memory: Memory) -> None:
    memory.write("a.txt", "not committed")
    with pytest.raises(BadInput, match="no version yet") as caught:
        memory.store.undo()
    assert caught.value.exit_code == 8
    assert memory.versions() == []


# -- pulls and merges --------------------------------------------------------------------------------------


@pytest.fixture
def two(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Device, Device, Clock]:
    without_waiting(monkeypatch)
    clock = Clock(monkeypatch)
    laptop = Device.first(tmp_path, "laptop", {"a.txt": b"one\n", "b.txt": b"one\n"})
    return laptop, laptop.joined_by("server"), clock


def undo(device: Device) -> UndoReport:
    with device.open() as store:
        report = store.undo()
        assert store.verify().problems == ()
        assert store.status().clean
        return report


@pytest.mark.parametrize("pushed", [False, True])
def test_a_pull_is_backed_out_whole_however_many_versions_it_brought(
    two: tuple[Device, Device, Clock], pushed: bool
) -> None:
    laptop, server, clock = two
    before, head = laptop.tree, laptop.head
    for number in range(3):
        clock.tick()
        server.save({"a.txt": b"one\nserver %d\n" % number, f"{number}.txt": b"new\n"})
    server.push()
    laptop.pull()
    assert laptop.tree == server.tree
    if pushed:  # nothing of it is forgotten when the log is sealed
        laptop.push()
    report = undo(laptop)
    assert (laptop.tree, str(report.back_to), str(report.undone)) == (before, head, server.head)
    undo(laptop)
    assert laptop.tree == server.tree


def test_a_merge_is_backed_out_to_what_this_device_had_and_the_other_gets_that_as_a_version(
    two: tuple[Device, Device, Clock],
) -> None:
    laptop, server, clock = two
    clock.tick()
    server.save({"a.txt": b"one\nthe server's\n", "server.txt": b"s\n"})
    server.push()
    clock.tick()
    laptop.save({"a.txt": b"the laptop's\none\n"})
    laptop.write({"laptop.txt": b"not committed\n"})
    laptop.pull()
    merged = laptop.tree
    assert set(merged) == {"a.txt", "b.txt", "server.txt", "laptop.txt"}
    report = undo(laptop)
    assert laptop.tree == {
        "a.txt": b"the laptop's\none\n",
        "b.txt": b"one\n",
        "laptop.txt": b"not committed\n",
    }
    with laptop.open() as store:
        assert len(store.version(report.undone).parents) == 2
        assert report.back_to in store.version(report.undone).parents
    laptop.push()
    server.pull()
    assert server.tree == laptop.tree
    undo(laptop)
    assert laptop.tree == merged


def test_on_either_device_undo_goes_back_to_what_that_one_had(two: tuple[Device, Device, Clock]) -> None:
    """The merge is one version with its parents in one order; whose was whose is known on each."""
    laptop, server, clock = two
    clock.tick()
    server.save({"server.txt": b"s\n"})
    laptop.save({"laptop.txt": b"l\n"})
    had = {device.name: device.tree for device in (laptop, server)}
    server.push()
    laptop.push()
    laptop.pull()
    server.pull()
    assert laptop.head == server.head
    for device in (laptop, server):
        undo(device)
        assert device.tree == had[device.name]


def hinted(note: str) -> list[str]:
    """The restore that a note names, as it is typed."""
    found = re.search(r"'memsync (restore [^']+)'", note)
    assert found, note
    return found[1].split()


@pytest.mark.parametrize("apart", [False, True])
def test_undoing_a_pull_tells_that_the_next_push_undoes_it_everywhere_and_what_brings_it_back(
    two: tuple[Device, Device, Clock], monkeypatch: pytest.MonkeyPatch, apart: bool
) -> None:
    laptop, server, clock = two
    clock.tick()
    server.save({"a.txt": b"the server's\n", "server.txt": b"s\n"})
    server.push()
    made = server.tree
    if apart:
        clock.tick()
        laptop.save({"laptop.txt": b"l\n"})
    laptop.pull()
    monkeypatch.chdir(laptop.root)
    done = run("undo")
    assert done.exit_code == 0
    assert "the next push carries this to the other devices" in done.stdout
    back = hinted(done.stdout)
    laptop.push()
    server.pull()
    assert "server.txt" not in server.tree
    for device in (laptop, server):  # it works at any time, and on either
        monkeypatch.chdir(device.root)
        assert run(*back).exit_code == 0
        assert device.tree.items() >= made.items()


def test_undoing_a_joining_tells_it_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    without_waiting(monkeypatch)
    there = Device.first(tmp_path, "there", {"theirs.txt": b"t\n"})
    here = Device(tmp_path, "here")
    here.write({"mine.txt": b"m\n"})
    joined = there.joined_by("here")
    assert set(joined.tree) == {"theirs.txt", "mine.txt"}
    report = undo(joined)
    assert joined.tree == {"mine.txt": b"m\n"}
    assert report.pulled
    monkeypatch.chdir(joined.root)
    joined.push()
    there.pull()
    assert there.tree == {"mine.txt": b"m\n"}
    assert run(*hinted(report.restore.notes[0])).exit_code == 0
    joined.push()
    there.pull()
    assert there.tree == {"theirs.txt": b"t\n", "mine.txt": b"m\n"}


def test_undoing_ones_own_commit_says_nothing_of_other_devices(two: tuple[Device, Device, Clock]) -> None:
    laptop, _, clock = two
    clock.tick()
    laptop.save({"a.txt": b"two\n"})
    assert undo(laptop).restore.notes == ()


# -- the command -------------------------------------------------------------------------------------------


def test_the_command_answers_as_restore_does(memory: Memory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(memory.root)
    assert run("undo").exit_code == 8
    assert json.loads(run("undo", "--json").stdout)["error"]["code"] == "bad_input"
    first = memory.save("a.txt", "one")
    second = memory.save("a.txt", "two", note="worse\nmuch worse")
    memory.write("b.txt", "not committed")
    result = run("undo")
    assert result.exit_code == 0
    assert f"undid {str(second.id)[:12]}  worse\n" in result.stdout
    assert "saved first" in result.stdout and f"a.txt  ← {str(first.id)[:12]}" in result.stdout
    answer = json.loads(run("undo", "--json").stdout)
    assert set(answer) == {
        "version",
        "restored",
        "saved_first",
        "notes",
        "warnings",
        "undone",
        "back_to",
        "pulled",
    }
    assert [row["path"] for row in answer["restored"]] == ["a.txt"]
    assert memory.tree() == {"a.txt": b"two", "b.txt": b"not committed"}


def test_the_command_says_that_it_was_a_pull_that_it_undid(
    two: tuple[Device, Device, Clock], monkeypatch: pytest.MonkeyPatch
) -> None:
    laptop, server, clock = two
    for number in range(2):
        clock.tick()
        server.save({"a.txt": b"%d\n" % number})
    server.push()
    laptop.pull()
    monkeypatch.chdir(laptop.root)
    assert f"undid the pull of all up to {server.head[:12]}\n" in run("undo").stdout
    with laptop.open() as store:
        assert store.version(laptop.head).note == f"undo the pull of {server.head[:12]}"
    assert f"undid {laptop.head[:12]}" in run("undo").stdout


# -- against a plain model ---------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(2))
def test_undo_of_anything_gives_what_was_there_before_it(
    memory: Memory, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    without_waiting(monkeypatch)
    dice = random.Random(seed)
    names = ("a.txt", "b.txt", "Core/c.txt", "Core/d.txt")
    memory.save("a.txt", "begun")
    for turn in range(12):
        before = memory.tree()
        verb = dice.choice(("commit", "commit", "restore", "archive"))
        made: object = None
        if verb == "restore":
            version = dice.choice(memory.versions())
            made = memory.store.restore(["."], at=version, exact=dice.random() < 0.5).version
        elif verb == "archive" and before:
            made = memory.store.archive([dice.choice(sorted(before))]).version
        else:
            for name in dice.sample(names, 2):
                place = memory.data / name
                if place.exists() and dice.random() < 0.3:
                    place.unlink()
                else:
                    memory.write(name, f"turn {turn}\n" * dice.randrange(1, 50))
            made = memory.store.commit(allow_deletions=True)
        after = memory.tree()
        if made is None:
            continue
        undone(memory)
        assert memory.tree() == before
        if dice.random() < 0.5:
            undone(memory)
            assert memory.tree() == after
