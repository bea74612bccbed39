"""The crew: many processes or none at all, the same answers in the same order."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from random import Random

import pytest
from blake3 import blake3

from memstore import crew as crews
from memstore.actions import bulk, ingest
from memstore.crew import Answer, Crew, Work
from memstore.manifest.version import Kind
from memstore.worktree.ignore import Ignore
from memstore.worktree.scan import scan
from tests import crew_work
from tests.conftest import Memory, words


def answers(work: Work, jobs: Iterable[bytes], size: int = 2) -> Iterator[Answer]:
    with Crew(work, size) as crew:
        for job in jobs:
            crew.ask(job)
            if crew.full:
                yield crew.answer()
        while crew.waiting:
            yield crew.answer()


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_answers_come_in_the_order_of_the_jobs_whatever_each_takes() -> None:
    jobs = [bytes((number,)) for number in range(30)]
    assert [answer.body for answer in answers(crew_work.now_slowly_now_fast, jobs)] == jobs


def test_jobs_and_answers_larger_than_any_pipe_come_through() -> None:
    jobs = [os.urandom(300_000) for _ in range(5)]
    for job, answer in zip(jobs, answers(crew_work.large, jobs), strict=True):
        assert answer == (job, job * 40)


def test_the_work_is_done_elsewhere_and_nobody_is_left_afterwards() -> None:
    pids = {int(answer.facts) for answer in answers(crew_work.backwards, [b"ab"] * 6)}
    assert len(pids) == 2
    assert os.getpid() not in pids
    if os.name == "posix":
        assert not any(alive(pid) for pid in pids)


def test_a_crew_that_is_given_up_in_the_middle_leaves_nobody() -> None:
    with pytest.raises(KeyboardInterrupt), Crew(crew_work.backwards, 2) as crew:
        for _ in range(4):
            crew.ask(b"x" * 1000)
        processes = [member._process for member in crew._members]
        raise KeyboardInterrupt
    assert all(process is not None and process.returncode is not None for process in processes)


def test_the_jobs_of_one_that_dies_are_done_here() -> None:
    home = str(os.getpid()).encode()
    told = [b"%d" % number if number % 5 else b"die" for number in range(20)]
    got = answers(crew_work.dies_away_from_home, [home + b" " + word for word in told])
    assert [answer.body for answer in got] == told


def _none_can_start(*_: object, **__: object) -> None:
    raise OSError("no more processes")


@pytest.mark.parametrize("trouble", ["no process", "no interpreter", "frozen", "another program"])
def test_where_none_can_be_started_the_work_is_done_here(
    monkeypatch: pytest.MonkeyPatch, trouble: str
) -> None:
    if trouble == "no process":
        monkeypatch.setattr(subprocess, "Popen", _none_can_start)
    elif trouble == "frozen":
        monkeypatch.setattr(sys, "frozen", True, raising=False)
    else:
        monkeypatch.setattr(sys, "executable", "" if trouble == "no interpreter" else "/bin/echo")
    got = list(answers(crew_work.backwards, [b"ab", b"cd", b"ef"]))
    assert [answer.body for answer in got] == [b"ba", b"dc", b"fe"]
    assert {int(answer.facts) for answer in got} == {os.getpid()}


# -- what it does of a commit --------------------------------------------------------------------------------


@pytest.fixture
def many(monkeypatch: pytest.MonkeyPatch, memory: Memory) -> Memory:
    """A memory in which a crew is called for 20 files already."""
    monkeypatch.setattr(ingest, "MANY", 20)
    monkeypatch.setattr(ingest, "JOB_FILES", 7)
    monkeypatch.setattr(crews, "_processors", lambda: 2)
    return memory


def fill(memory: Memory, count: int = 60) -> dict[str, bytes]:
    random = Random(count)
    contents = {
        f"{number % 5}/{number}.txt": random.randbytes(random.choice((0, 1, 15, 16, 900)))
        + b"word " * (number % 11)
        for number in range(count)
    }
    contents["0/twin.txt"] = contents["1/1.txt"]
    for path, content in contents.items():
        memory.write(path, content)
    return contents


def test_a_first_commit_by_a_crew_holds_every_file(many: Memory) -> None:
    contents = fill(many)
    many.write("2/large.bin", os.urandom(1 << 20) * 17)
    (many.data / "link").symlink_to("0/twin.txt")
    (many.data / "run.sh").write_bytes(b"#!/bin/sh\n")
    (many.data / "run.sh").chmod(0o755)
    version = many.commit()
    assert set(words(version.changes).values()) == {"add"}
    held = {change.path: change.entry for change in version.changes}
    large = held.pop("2/large.bin")
    assert large is not None
    link, script = held.pop("link"), held.pop("run.sh")
    assert link is not None and script is not None
    assert (link.kind, script.kind) == (Kind.SYMLINK, Kind.EXECUTABLE)
    assert {path: entry.content for path, entry in held.items() if entry} == {
        path: blake3(content).digest() for path, content in contents.items()
    }
    many.reopen()
    assert {path: many.store.read(path) for path in contents} == contents
    assert many.store.verify().ok
    assert many.store.commit() is None


def test_of_many_files_only_what_is_new_is_stored(many: Memory) -> None:
    contents = fill(many)
    many.commit()
    held = many.store.verify().objects
    for path, content in contents.items():
        many.write(path, content)  # the same again, with another time
        many.write("copy/" + path, content)
    version = many.commit()
    assert words(version.changes) == {"copy/" + path: "add" for path in contents}
    assert many.store.verify().objects == held


def test_of_many_files_those_that_changed_become_deltas_of_what_they_were(many: Memory) -> None:
    contents = fill(many)
    many.commit()
    grown = {path: content + b"and one line more\n" for path, content in contents.items()}
    grown["1/1.txt"] = b"something else"
    for path, content in grown.items():
        many.write(path, content)
    changed = words(many.commit().changes)
    assert changed.pop("1/1.txt") == "replace"
    assert changed == dict.fromkeys(changed, "append")
    many.reopen()
    assert {path: many.store.read(path) for path in grown} == grown
    assert many.store.verify().ok


def test_a_file_that_changed_since_it_was_seen_is_taken_as_it_is_now(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"before")
    (found,) = scan(str(tmp_path), Ignore()).files
    (tmp_path / "a.txt").write_bytes(b"and after")
    (taken,) = bulk.unpack_answer(bulk.take_in(bulk.pack_job(str(tmp_path), [(found, None)])).facts)
    assert (taken.what, taken.raw, taken.content) == (bulk.READ, 9, blake3(b"and after").digest())
    assert taken.stat is not None
    assert taken.stat[0] == 9


def test_what_can_not_be_read_is_told_and_the_rest_is_taken(tmp_path: Path) -> None:
    for name in ("a.txt", "b.txt", "c.txt", "d.txt"):
        (tmp_path / name).write_bytes(name.encode() * 10)
    found = list(scan(str(tmp_path), Ignore()).files)
    (tmp_path / "a.txt").unlink()
    (tmp_path / "b.txt").unlink()
    (tmp_path / "b.txt").mkdir()
    (tmp_path / "c.txt").unlink()
    (tmp_path / "c.txt").symlink_to("d.txt")
    answer = bulk.take_in(bulk.pack_job(str(tmp_path), [(item, None) for item in found]))
    taken = bulk.unpack_answer(answer.facts)
    assert [row.what for row in taken] == [bulk.UNREADABLE] * 3 + [bulk.READ]
    assert all(row.reason for row in taken[:3])
    assert len(answer.body) == taken[3].record


def segments(memory: Memory) -> dict[str, int]:
    return {place.name: place.stat().st_size for place in (memory.state / "segments").iterdir()}


class _Stopping:
    """A progress that does something when half of 60 files are in."""

    def __init__(self, act: object) -> None:
        self.act = act
        self.seen = 0

    def begin(self, label: str, total: int, unit: str) -> None:
        pass

    def advance(self, amount: int) -> None:
        self.seen += 1
        if self.seen == 30 and callable(self.act):
            self.act()

    def end(self) -> None:
        pass

    def say(self, sentence: str) -> None:
        pass


@pytest.fixture
def called(monkeypatch: pytest.MonkeyPatch) -> list[Crew]:
    """The crews that are called together from here on."""
    met: list[Crew] = []
    enter = Crew.__enter__

    def entered(crew: Crew) -> Crew:
        met.append(crew)
        return enter(crew)

    monkeypatch.setattr(Crew, "__enter__", entered)
    return met


def test_an_interrupted_commit_by_a_crew_leaves_no_process_and_no_trace(
    many: Memory, called: list[Crew]
) -> None:
    contents = fill(many)

    def interrupt() -> None:
        raise KeyboardInterrupt

    sizes = segments(many)
    many.store.progress = _Stopping(interrupt)
    with pytest.raises(KeyboardInterrupt):
        many.store.commit()
    (crew,) = called
    assert all(member._process is None for member in crew._members)
    assert segments(many) == sizes
    assert many.reopen().head() is None
    assert len(many.commit().changes) == len(contents)


def test_a_commit_whose_crew_is_killed_is_whole_all_the_same(many: Memory, called: list[Crew]) -> None:
    contents = fill(many)

    def kill() -> None:
        for member in called[0]._members:
            if member._process is not None:
                member._process.kill()

    many.store.progress = _Stopping(kill)
    assert len(many.commit().changes) == len(contents)
    many.reopen()
    assert {path: many.store.read(path) for path in contents} == contents
    assert many.store.verify().ok
