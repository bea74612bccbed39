"""Several processes on one store: writers take turns, readers are never in anybody's way."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from memstore import Store
from memstore.errors import StoreLocked
from tests.conftest import Memory

TURNS = 6

WRITER = """
import sys
from pathlib import Path
from memstore import Store
root, name, turns, seals = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), sys.argv[4] == "push"
sys.stdin.readline()
for turn in range(turns):
    (root / "Data" / name).write_text(f"{name} at {turn}\\n" * (turn + 1))
    with Store.open(root) as store:
        version = store.commit([name], note=f"{name} {turn}")
        print(version.id, flush=True)
        if seals and turn % 2:
            print(store.push().status, flush=True)
"""


class Writer:
    """A process of its own that waits for the start, then commits one file again and again."""

    def __init__(self, memory: Memory, name: str, turns: int = TURNS, *, push: bool = False) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(memory.root), name, str(turns), "push" if push else ""],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def start(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write("go\n")
        self.process.stdin.flush()

    @property
    def running(self) -> bool:
        return self.process.poll() is None

    def end(self) -> list[str]:
        """What it printed; it must have succeeded."""
        out, errors = self.process.communicate(timeout=120)
        assert self.process.returncode == 0, errors
        return out.split()


def memsync(memory: Memory, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "memsync", *arguments],
        cwd=memory.root,
        env=os.environ | environ,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def one_line(memory: Memory, count: int) -> None:
    """History is one line of that many versions, and all of it is sound."""
    memory.reopen()
    versions = memory.versions()
    assert len(versions) == count
    assert len(memory.repository.catalogue.heads()) == 1
    parents = {version.id: version.parents for version in versions}
    at = memory.store.head()
    walked = 0
    while at is not None:
        walked += 1
        at = parents[at][0] if parents[at] else None
    assert walked == count
    assert memory.store.verify().problems == ()


# -- writers -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [2, 8])
def test_processes_that_commit_at_once_all_succeed_one_after_the_other(memory: Memory, count: int) -> None:
    memory.save("begin.txt", "one")
    turns = TURNS if count == 2 else 3
    writers = [Writer(memory, f"{number}.txt", turns) for number in range(count)]
    for writer in writers:
        writer.start()
    ids = [id for writer in writers for id in writer.end()]
    assert len(set(ids)) == count * turns
    one_line(memory, 1 + count * turns)
    assert {str(version.id) for version in memory.versions()} >= set(ids)
    for number in range(count):
        assert memory.store.read(f"{number}.txt").decode().startswith(f"{number}.txt at {turns - 1}\n")
    assert memory.manifest() == memory.tree()


def test_commands_that_commit_everything_at_once_all_exit_0(memory: Memory) -> None:
    for number in range(4):
        memory.write(f"{number}.txt", f"{number}")
    running = [
        subprocess.Popen(
            [sys.executable, "-m", "memsync", "commit", "--json", f"Data/{number}.txt"],
            cwd=memory.root,
            stdout=subprocess.PIPE,
        )
        for number in range(4)
    ]
    answers = [json.loads(process.communicate(timeout=120)[0]) for process in running]
    assert [process.returncode for process in running] == [0] * 4
    assert len({answer["version"] for answer in answers}) == 4
    one_line(memory, 4)


def test_writers_beside_one_that_pushes_lose_nothing(memory: Memory, tmp_path: Path) -> None:
    memory.store.set_remote(str(tmp_path / "remote"))
    writers = [Writer(memory, f"{number}.txt", push=number == 0) for number in range(3)]
    for writer in writers:
        writer.start()
    printed = [word for writer in writers for word in writer.end()]
    ids = [word for word in printed if len(word) == 64]
    assert len(set(ids)) == 3 * TURNS
    assert {word for word in printed if len(word) < 64} <= {"success", "nothing"}
    one_line(memory, 3 * TURNS)
    assert memory.store.push().status in {"success", "nothing"}
    clone = Store.clone(str(tmp_path / "remote"), tmp_path / "clone")
    assert {str(version.id) for version in clone.history()} == set(ids)
    clone.close()


def test_threads_with_a_store_each_commit_one_after_the_other(memory: Memory) -> None:
    failed: list[BaseException] = []

    def work(number: int) -> None:
        try:
            with Store.open(memory.root) as store:
                for turn in range(5):
                    memory.write(f"{number}.txt", f"{number} {turn}")
                    assert store.commit([f"{number}.txt"]) is not None
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    one_line(memory, 20)


# -- readers -----------------------------------------------------------------------------------------------


def test_a_reader_beside_writers_and_a_push_never_fails(memory: Memory, tmp_path: Path) -> None:
    memory.store.set_remote(str(tmp_path / "remote"))
    for number in range(5):
        memory.save("steady.txt", f"steady {number}\n" * 50)
    first = memory.versions()[0]
    writers = [Writer(memory, "a.txt", 12, push=True), Writer(memory, "b.txt", 12)]
    for writer in writers:
        writer.start()
    rounds = 0
    before = 0
    while any(writer.running for writer in writers):
        with Store.open(memory.root) as store:
            for reader in (memory.store, store):
                seen = 0
                for version in reader.history():
                    seen += 1
                    if seen % 4 == 0:
                        assert reader.version(version).id == version.id
                assert seen >= before
                before = seen
                for row in reader.ls():
                    assert len(reader.read(row.path, at=reader.head())) > 0
                assert reader.read("steady.txt", at=first) == b"steady 0\n" * 50
                reader.status()
        rounds += 1
    for writer in writers:
        writer.end()
    assert rounds > 2
    one_line(memory, 5 + 24)


Half = Callable[[Store], Any]


@pytest.mark.parametrize(
    "begin",
    [lambda store: store.history(), lambda store: store.ls(), lambda store: store.ls(at=store.head())],
    ids=["history", "ls", "ls of a version"],
)
@pytest.mark.parametrize("seals", [False, True], ids=["commit", "push"])
def test_a_listing_that_is_half_read_is_in_nobodys_way(
    memory: Memory, tmp_path: Path, begin: Half, seals: bool
) -> None:
    memory.store.set_remote(str(tmp_path / "remote"))
    for number in range(5):
        memory.write(f"{number}.txt", f"{number}")
        memory.commit()
    listing = begin(memory.store)
    next(listing)
    with Store.open(memory.root) as other:
        memory.write("new.txt", "new")
        assert other.commit() is not None
        if seals:
            assert other.push().status == "success"
    assert memory.store.read("4.txt") == b"4"
    assert memory.store.read("new.txt") == b"new"
    memory.save("mine.txt", "mine")
    assert len(list(listing)) == 4, "and it goes on with what was there when it began"
    one_line(memory, 7)


def test_commands_that_find_no_catalogue_at_once_all_succeed(memory: Memory) -> None:
    for number in range(10):
        memory.save("a.txt", f"turn {number}")
    memory.store.close()
    for path in memory.state.glob("catalogue.sqlite*"):
        path.unlink()
    running = [
        subprocess.Popen(
            [sys.executable, "-m", "memsync", "log", "--json"],
            cwd=memory.root,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        for _ in range(5)
    ]
    for process in running:
        out, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors
        assert len(json.loads(out)["versions"]) == 10
    one_line(memory, 10)


# -- the lock ----------------------------------------------------------------------------------------------


def test_a_commit_that_waits_too_long_exits_7_and_says_what_to_do(memory: Memory) -> None:
    memory.write("a.txt", "one")
    with memory.repository.locked():
        told = memsync(memory, "commit", MEMSYNC_LOCK_TIMEOUT="0.2")
        assert told.returncode == 7
        assert "lock_timeout" in told.stderr.lower()
        assert "Traceback" not in told.stderr
        told = memsync(memory, "commit", "--json", MEMSYNC_LOCK_TIMEOUT="0.2")
        assert told.returncode == 7
        error = json.loads(told.stdout)["error"]
        assert (error["code"], error["retryable"]) == ("locked", True)
    assert memsync(memory, "commit").returncode == 0


def test_a_commit_waits_for_its_turn(memory: Memory) -> None:
    memory.write("a.txt", "one")
    with memory.repository.locked():
        waiting = subprocess.Popen(
            [sys.executable, "-m", "memsync", "commit"], cwd=memory.root, stdout=subprocess.DEVNULL
        )
        with pytest.raises(subprocess.TimeoutExpired):
            waiting.wait(timeout=1.0)
    assert waiting.wait(timeout=120) == 0
    assert memory.store.read("a.txt") == b"one"


def test_while_the_store_is_held_readers_see_the_last_commit(memory: Memory) -> None:
    memory.save("a.txt", "one")
    with memory.repository.locked():
        for arguments in (["cat", "HEAD:a.txt"], ["log"], ["ls"], ["status"]):
            if arguments[0] == "cat":
                arguments[1] = f"{memory.store.head()}:a.txt"
            told = memsync(memory, *arguments, MEMSYNC_LOCK_TIMEOUT="0.1")
            assert told.returncode == 0, told.stderr


def test_a_lock_whose_holder_was_killed_is_free(memory: Memory) -> None:
    holder = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import sys\nfrom memstore import Store\n"
            "with Store.open(sys.argv[1]).repository.locked():\n"
            "    print('held', flush=True)\n    sys.stdin.read()",
            str(memory.root),
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    with pytest.raises(StoreLocked), memory.repository.locked(0.05):
        pass
    holder.kill()
    holder.communicate()
    memory.save("a.txt", "one")


def test_the_lock_is_re_entrant_within_a_repository_and_released_once(memory: Memory) -> None:
    repository = memory.repository
    with repository.locked(), repository.locked():
        pass
    with Store.open(memory.root) as other, other.repository.locked(0.05):
        pass
