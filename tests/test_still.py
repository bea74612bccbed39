"""Folders in which nothing has changed are not listed, and nothing that has changed is missed for it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from random import Random

import pytest

from memstore.actions import compare, stillness
from memstore.crew import Crew
from memstore.worktree import found, still
from memstore.worktree.scan import Scan
from tests.conftest import Memory, words

pytestmark = pytest.mark.skipif(not still.POSSIBLE, reason="folders are always listed here")


@pytest.fixture
def calm(monkeypatch: pytest.MonkeyPatch, memory: Memory) -> Memory:
    """A memory of any size whose stats are believed at once: in a test no content of another length follows
    within a tick of the clock."""
    monkeypatch.setattr(compare, "MANY", 0)
    monkeypatch.setattr(found, "FINE_AGE_NS", -(10**12))
    monkeypatch.setattr(found, "SAFE_AGE_NS", -(10**12))
    return memory


@pytest.fixture
def listed(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The folders that are listed from here on."""
    met: list[str] = []
    folder = Scan.folder

    def noted(scan: Scan, prefix: str) -> list[found.Found | str]:
        met.append(prefix)
        return folder(scan, prefix)

    monkeypatch.setattr(Scan, "folder", noted)
    yield met


def fill(memory: Memory) -> None:
    for path in ("a.txt", "f/a.txt", "f/b.txt", "f/g/a.txt", "g/a.txt", "g/h/i/a.txt"):
        memory.write(path, path)
    memory.commit()
    assert memory.store.commit() is None  # sees that they are still
    memory.reopen()


def test_of_a_memory_in_which_nothing_changed_no_folder_is_listed(calm: Memory, listed: list[str]) -> None:
    fill(calm)
    listed.clear()
    assert calm.store.commit() is None
    assert calm.store.status().clean
    assert listed == []


def test_only_the_folder_of_a_change_is_listed(calm: Memory, listed: list[str]) -> None:
    fill(calm)
    listed.clear()
    calm.write("f/g/a.txt", "longer than it was")
    assert words(calm.commit().changes) == {"f/g/a.txt": "replace"}
    assert listed == ["f/g/"]
    listed.clear()
    assert calm.store.commit() is None
    assert calm.store.commit() is None
    assert listed == ["f/g/"]  # once, to see that it is still again


def test_a_path_committed_by_name_is_not_still_until_it_was_seen(calm: Memory, listed: list[str]) -> None:
    fill(calm)
    calm.save("g/a.txt", "longer than it was")
    listed.clear()
    assert calm.store.commit() is None
    assert listed == ["g/"]


def test_a_mode_that_changed_and_a_folder_that_went_are_seen(calm: Memory) -> None:
    fill(calm)
    (calm.data / "f/b.txt").chmod(0o755)
    shutil.rmtree(calm.data / "g")
    assert words(calm.commit(allow_deletions=True).changes) == {
        "f/b.txt": "replace",
        "g/a.txt": "delete",
        "g/h/i/a.txt": "delete",
    }
    assert set(calm.manifest()) == {"a.txt", "f/a.txt", "f/b.txt", "f/g/a.txt"}


def test_other_ignore_rules_have_every_folder_listed(calm: Memory, listed: list[str]) -> None:
    calm.write("f/a.log", "left out by no rule yet")
    fill(calm)
    listed.clear()
    calm.write(".memsyncignore", "*.md\n")
    assert words(calm.commit().changes) == {".memsyncignore": "add"}
    assert set(listed) == {"", "f/", "f/g/", "g/", "g/h/", "g/h/i/"}


def test_a_folder_with_something_to_warn_of_is_told_of_every_time(calm: Memory) -> None:
    fill(calm)
    os.mkfifo(calm.data / "f" / "pipe")
    for _ in range(3):
        assert any("pipe" in warning for warning in calm.store.commit_report().warnings)


def test_a_restore_is_seen_by_the_commit_after_it(calm: Memory) -> None:
    fill(calm)
    first = calm.store.head()
    assert first is not None
    calm.save("f/a.txt", "longer than it was")
    assert calm.store.commit() is None
    calm.store.restore(["f/a.txt"], at=first)
    assert calm.store.commit() is None
    calm.write("f/a.txt", "longer than it was")
    assert words(calm.commit().changes) == {"f/a.txt": "replace"}


def test_two_processes_see_what_one_sees(
    calm: Memory, listed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compare, "VERY_MANY", 1)
    monkeypatch.setattr(stillness, "WHILE_IT_STARTS", 0)
    asked: list[bytes] = []
    ask = Crew.ask

    def noted(crew: Crew, job: bytes) -> None:
        asked.append(job)
        ask(crew, job)

    monkeypatch.setattr(Crew, "ask", noted)
    fill(calm)
    listed.clear()
    asked.clear()
    assert calm.store.commit() is None
    assert listed == [] and len(asked) == 1
    for path in ("f/b.txt", "g/h/i/a.txt"):
        calm.write(path, "another content of it")
    shutil.rmtree(calm.data / "f/g")
    version = calm.store.commit()
    assert version is not None
    assert [change.path for change in version.changes] == ["f/b.txt", "f/g/a.txt", "g/h/i/a.txt"]
    assert {"f/", "g/h/i/"} <= {*listed} <= {"f/", "f/g/", "g/h/i/"}


def test_few_folders_are_seen_sooner_than_another_process_starts(
    calm: Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compare, "VERY_MANY", 1)
    monkeypatch.setattr(Crew, "__init__", None)
    fill(calm)
    assert calm.store.commit() is None


@pytest.mark.parametrize("seed", range(6))
def test_whatever_is_done_to_a_folder_a_commit_brings_the_manifest_to_it(calm: Memory, seed: int) -> None:
    random = Random(seed)
    names = ["a", "a.txt", "b", "b0", "c-", "c"]

    def place() -> str:
        return "/".join(random.choice(names) for _ in range(random.randint(1, 3)))

    for step in range(60):
        path = calm.data / place()
        what = random.randrange(8)
        if what < 4:
            if not any(parent.is_file() for parent in path.parents) and not path.is_dir():
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(b"x" * (step + 1))
        elif what == 4 and path.is_dir():
            shutil.rmtree(path)
        elif what == 5 and path.is_file():
            path.unlink()
        elif what == 6 and path.exists():
            other = calm.data / place()
            if not other.exists() and other.parent.is_dir() and path not in other.parents:
                path.rename(other)
        elif what == 7 and path.is_file():
            calm.store.commit([path.relative_to(calm.data).as_posix()])
        if step % 3 == 0:
            calm.store.commit(allow_deletions=True)
            assert calm.manifest() == calm.tree()
            assert calm.store.status().clean
    assert calm.store.verify().ok
