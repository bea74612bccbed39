"""A command that was cut off while it wrote `Data/`, given again: it goes on where it stopped, and no more."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from memstore import Store, files
from memstore.actions import restore, undo
from memstore.manifest.version import Version
from tests.command_line import run
from tests.conftest import Memory, tree
from tests.folder_place import without_waiting
from tests.merge_places import Clock, Device

Work = Callable[[Store], object]


def cut(data: Path, store: Store, work: Work) -> None:
    """Ctrl-C when the second step is done in `Data/`; no later step is done either."""
    left = 2

    def stop(step: str, path: str, data_: bytes) -> None:
        nonlocal left
        left -= path.startswith(str(data)) and step in {"rename", "remove"}
        if left <= 0:
            raise KeyboardInterrupt

    with store, files.watch(stop), pytest.raises(KeyboardInterrupt):
        work(store)
    assert (data.parent / ".memsync/checkout").exists()


def cut_before_its_version(store: Store, work: Work, monkeypatch: pytest.MonkeyPatch, verb: object) -> None:
    """Ctrl-C when what was not committed is saved, and nothing else has happened."""

    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt), store:
        patch.setattr(verb, "_record" if verb is restore else "bring_back", stop)
        work(store)


@pytest.fixture
def good_then_bad(memory: Memory, monkeypatch: pytest.MonkeyPatch) -> list[Version]:
    """Six files, good, then bad; the current folder is theirs."""
    monkeypatch.chdir(memory.root)
    made = []
    for word in ("good", "bad"):
        for number in range(6):
            memory.write(f"{number}.txt", f"{word} {number}\n")
        made.append(memory.commit(note=word))
    return made


@pytest.mark.parametrize("unfinished_work", [False, True])
def test_an_undo_that_was_cut_off_is_finished_by_the_next_and_not_taken_back(
    memory: Memory, good_then_bad: list[Version], unfinished_work: bool
) -> None:
    good, bad = good_then_bad
    if unfinished_work:
        memory.write("mine.txt", "not committed\n")
    mine = {"mine.txt": b"not committed\n"} if unfinished_work else {}
    cut(memory.data, memory.store, Store.undo)
    assert {b"good 0\n", b"bad 5\n"} < set(memory.tree().values())
    report = memory.reopen().undo()
    assert memory.tree() == memory.manifest() == memory.manifest(good) | mine
    assert (report.undone, report.back_to, report.restore.warnings) == (bad.id, good.id, ())
    assert report.restore.version == memory.store.head()
    assert [row.path for row in report.restore.restored] == sorted(memory.manifest(good))
    assert {row.source for row in report.restore.restored} == {str(good.id)}
    assert (report.restore.saved_first is not None) == unfinished_work
    assert "an interrupted undo of 6 paths was finished" in report.restore.notes[0]
    count = len(memory.versions())
    memory.store.undo()  # one that was meant
    assert memory.tree() == memory.manifest(bad) | mine
    assert len(memory.versions()) == count + 1


def test_the_command_that_finishes_an_undo_says_so_and_exits_0(
    memory: Memory, good_then_bad: list[Version]
) -> None:
    cut(memory.data, memory.store, Store.undo)
    done = run("undo")
    assert done.exit_code == 0, done.output
    assert f"undid {str(good_then_bad[1].id)[:12]}  bad\n" in done.stdout
    assert "an interrupted undo of 6 paths was finished: nothing else was done" in done.stdout
    assert tree(memory.data)["0.txt"] == b"good 0\n"
    assert run("undo").exit_code == 0
    assert tree(memory.data)["0.txt"] == b"bad 0\n"


def test_an_undo_that_was_cut_off_when_it_had_saved_ones_work_backs_out_what_it_was_to(
    memory: Memory, good_then_bad: list[Version], monkeypatch: pytest.MonkeyPatch
) -> None:
    good, bad = good_then_bad
    memory.write("0.txt", "mine\n")
    memory.write("mine.txt", "mine\n")
    cut_before_its_version(memory.store, Store.undo, monkeypatch, undo)
    saved = memory.reopen().version("HEAD")
    assert saved.reason == undo.SAVED
    report = memory.store.undo()
    assert memory.tree() == memory.manifest(good) | {"mine.txt": b"mine\n"}
    assert (report.undone, report.back_to, report.restore.saved_first) == (bad.id, good.id, saved.id)
    memory.store.undo()
    assert memory.tree() == memory.manifest(saved)


def test_another_command_that_finishes_an_undo_names_it(memory: Memory, good_then_bad: list[Version]) -> None:
    cut(memory.data, memory.store, Store.undo)
    assert "an interrupted undo of 6 paths was finished" in run("status").stderr
    assert tree(memory.data)["0.txt"] == b"good 0\n"


@pytest.mark.parametrize("at", ["HEAD~1", "id"])
@pytest.mark.parametrize("unfinished_work", [False, True])
def test_a_restore_that_was_cut_off_is_finished_by_the_next(
    memory: Memory, good_then_bad: list[Version], at: str, unfinished_work: bool
) -> None:
    """HEAD~1 is what it was when the restore was given first."""
    good, _ = good_then_bad
    if unfinished_work:
        memory.write("0.txt", "mine\n")
    at = str(good.id) if at == "id" else at
    cut(memory.data, memory.store, lambda store: store.restore(["."], at=at))
    count = len(memory.reopen().repository.catalogue.db.execute("SELECT 1 FROM versions").fetchall())
    report = memory.store.restore(["."], at=at)
    assert memory.tree() == memory.manifest(good)
    assert (report.version, report.restored, report.warnings) == (None, (), ())
    assert "an interrupted restore of 6 paths was finished" in report.notes[0]
    assert len(memory.versions()) == count
    memory.store.restore(["."], at="HEAD~1")  # one that was meant
    assert memory.tree()["1.txt"] == b"bad 1\n"


def test_a_restore_of_head_1_that_was_stopped_when_it_had_saved_ones_work_says_which_version_it_meant(
    memory: Memory, good_then_bad: list[Version], monkeypatch: pytest.MonkeyPatch
) -> None:
    memory.write("0.txt", "mine\n")
    memory.close()

    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(restore, "_record", stop)
        stopped = run("restore", "./0.txt", "1.txt", "--at", "HEAD~1")
    assert stopped.exit_code == 130
    command = f"memsync restore ./0.txt 1.txt --at {str(good_then_bad[0].id)[:12]}"
    assert f"hint: run '{command}': it goes on" in stopped.stderr
    assert run(*command.split()[1:]).exit_code == 0
    assert tree(memory.data)["0.txt"] == b"good 0\n"


def test_an_archive_that_was_cut_off_is_finished_by_the_next(
    memory: Memory, good_then_bad: list[Version]
) -> None:
    paths = ["0.txt", "1.txt", "2.txt"]
    cut(memory.data, memory.store, lambda store: store.archive(paths))
    report = memory.reopen().archive(paths)
    assert report.version is not None and report.warnings == ()
    assert [change.path for change in report.version.changes] == paths
    assert report.version.id == memory.store.head()
    assert set(memory.tree()) == {"3.txt", "4.txt", "5.txt"}


def test_a_pull_that_was_cut_off_is_finished_by_the_next_which_tells_what_it_brought(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_waiting(monkeypatch)
    clock = Clock(monkeypatch)
    laptop = Device.first(tmp_path, "laptop", {f"{number}.txt": b"one\n" for number in range(4)})
    server = laptop.joined_by("server")
    clock.tick()
    server.save({"0.txt": b"two\n", "1.txt": None, "2.txt": b"two\n", "new.txt": b"two\n"})
    server.push()
    cut(laptop.data, laptop.open(), Store.pull)
    report = laptop.pull()
    assert laptop.tree == server.tree
    assert (report.status, str(report.version), report.warnings) == ("success", server.head, ())
    assert {change.path: change.change.word for change in report.changes} == {
        "0.txt": "replace", "1.txt": "delete", "2.txt": "replace", "new.txt": "add",
    }  # fmt: skip
    assert "an interrupted pull of 4 paths was finished" in report.notes[0]
    assert laptop.pull().status == "nothing"
