"""kill -9 at any moment of real processes: whatever had reported success is there afterwards, and whole."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from memstore import Store
from memstore.ids import ContentId, VersionId
from memstore.manifest import history
from tests.conftest import Memory, tree

PATHS = ("Core/Rules.txt", "Meta/State.json", "log.txt", "vectors.bin")
VERBS = ("commit", "commit", "commit", "restore", "archive", "push", "pull")
UNKILLED = 3
"""Commands that run to their end first."""
STEP = b"\x01"
COMMAND = """
import os, signal, sys, threading, time
from memstore import files
from memsync.__main__ import main

at, wait = int(sys.argv.pop(1)), float(sys.argv.pop(1))
steps = 0

def die():
    time.sleep(wait)
    os.kill(os.getpid(), signal.SIGTERM if os.name == "nt" else signal.SIGKILL)

def tell(step, path, data):
    global steps
    if step != "read":
        os.write(2, b"\\x01")
        steps += 1
        if steps == at:
            threading.Thread(target=die).start()

with files.watch(tell):
    main()
"""
"""A real command that tells on stderr, by a byte, each step that it is about to take on the disk; so many seconds
after the step of that number it is killed, wherever it is."""


class Life:
    """A memory folder whose owner's processes keep getting killed."""

    def __init__(self, root: Path, seed: int) -> None:
        self.memory = Memory(root / "memory")
        self.remote = root / "remote"
        self.elsewhere = root / "elsewhere"
        """Another device, whose processes nobody kills."""
        self.memory.store.set_remote(str(self.remote))
        self.memory.store.close()
        self.choice = random.Random(seed)
        self.reported: dict[str, dict[str, bytes]] = {}
        """What had been reported as committed: version → what `Data/` held."""
        self.at_risk: set[bytes] = set()
        """What stood in `Data/`, committed or not, when a restore was about to replace it."""
        self.steps: dict[str, int] = {}
        """How many steps on the disk a command takes."""
        self.killed = 0
        """How many died by it, all of them after they had begun to change the disk."""

    # -- commands ------------------------------------------------------------------------------------------

    def run(self, *arguments: str, kill: bool) -> dict[str, Any] | None:
        """What the command printed if it printed all of it; killed at a random moment after its first step."""
        verb = arguments[0]
        at = self.choice.randint(1, self.steps.get(verb, 8) or 1) if kill else 0
        wait = self.choice.choice((0, self.choice.expovariate(1 / 0.002)))
        process = subprocess.run(
            [sys.executable, "-c", COMMAND, str(at), str(wait), *arguments, "--json"],
            cwd=self.memory.root,
            capture_output=True,
            timeout=120,
            check=False,
        )
        out, told = process.stdout, process.stderr
        if process.returncode in (0, 1):
            self.steps[verb] = told.count(STEP)
        else:
            assert process.returncode < 0 or sys.platform == "win32", told.replace(STEP, b"").decode()
            self.killed += 1
        try:
            answer: dict[str, Any] = json.loads(out)
        except ValueError:
            assert process.returncode != 0
            return None
        return answer

    def change(self) -> None:
        """A few saves: append, replace, add, delete."""
        for path in self.choice.sample(PATHS, self.choice.randrange(1, 4)):
            place = self.memory.data / path
            if not place.exists() or self.choice.random() < 0.4:
                size = 200_000 if path == "vectors.bin" else 500
                self.memory.write(path, self.choice.randbytes(self.choice.randrange(size)))
            elif self.choice.random() < 0.15:
                place.unlink()
            else:
                with place.open("ab") as file:
                    file.write(b"appended %d\n" % self.choice.randrange(10**6))

    def commit(self, *, kill: bool) -> None:
        self.change()
        before = tree(self.memory.data)
        answer = self.run("commit", "-m", "a turn", kill=kill)
        if answer is not None and answer["version"] is not None:
            self.reported[answer["version"]] = before

    def restore(self, *, kill: bool) -> None:
        self.change()
        self.at_risk = set(tree(self.memory.data).values())
        target = self.choice.choice(list(self.reported))
        self.run("restore", ".", "--at", target, kill=kill)

    def archive(self, *, kill: bool) -> None:
        self.change()
        here = sorted(tree(self.memory.data))
        if not here:
            return
        self.at_risk = set(tree(self.memory.data).values())
        self.run("archive", *(f"Data/{path}" for path in self.choice.sample(here, 1)), kill=kill)

    def push(self, *, kill: bool) -> None:
        self.run("push", kill=kill)

    def pull(self, *, kill: bool) -> None:
        """Another device has pushed meanwhile."""
        if not self.elsewhere.exists():
            Store.clone(str(self.remote), self.elsewhere, environ={"MEMSYNC_DEVICE": "desk"}).close()
        with Store.open(self.elsewhere, environ={"MEMSYNC_DEVICE": "desk"}) as store:
            store.pull()
            for path in (f"desk {self.choice.randrange(3)}.txt", self.choice.choice(PATHS)):
                place = self.elsewhere / "Data" / path
                place.parent.mkdir(parents=True, exist_ok=True)
                place.write_bytes(self.choice.randbytes(300))
            version = store.commit()
            assert version is not None
            assert store.push().status == "success"
        self.change()
        self.at_risk = set(tree(self.memory.data).values())
        self.run("pull", kill=kill)

    # -- claims --------------------------------------------------------------------------------------------

    def check(self, *, thoroughly: bool) -> None:
        """Opening finishes what was cut; then all that was reported is here."""
        with Store.open(self.memory.root) as store:
            ids = {str(version.id) for version in store.history()}
            assert set(self.reported) <= ids
            for id in self.choice.sample(list(self.reported), min(3, len(self.reported))):
                self.holds(store, id)
            self.nothing_vanished(store)
            if thoroughly:
                for id in self.reported:
                    self.holds(store, id)
                assert store.verify().problems == ()

    def holds(self, store: Store, id: str) -> None:
        version = VersionId.from_hex(id)
        rows = {
            entry.path: store.repository.read(entry.content) for entry in store.repository.entries(version)
        }
        assert rows == self.reported[id]

    def nothing_vanished(self, store: Store) -> None:
        """What stood in `Data/` is in some version now, or stands there still."""
        here = {ContentId.of(content) for content in tree(self.memory.data).values()}
        somewhere = here | history.contents(store.repository.catalogue)
        assert {ContentId.of(content) for content in self.at_risk} <= somewhere
        self.at_risk.clear()

    def end(self, folder: Path) -> None:
        """Undisturbed, everything ends well, on the remote as well."""
        self.commit(kill=False)
        self.run("pull", kill=False)
        assert (self.run("push", kill=False) or {})["status"] in {"success", "nothing"}
        self.check(thoroughly=True)
        with Store.clone(str(self.remote), folder) as clone:
            assert {str(version.id) for version in clone.history()} >= set(self.reported)
            assert clone.verify().problems == ()
        assert tree(folder / "Data") == tree(self.memory.data)
        left = [path.name for path in (self.memory.state / "segments").iterdir()]
        assert len(left) <= 1 + self.killed


def live(life: Life, rounds: int) -> Iterator[int]:
    for number in range(rounds):
        kill = number >= UNKILLED
        verb = life.choice.choice(VERBS) if kill else "commit"
        if number == UNKILLED - 1:
            life.push(kill=False)
        getattr(life, verb)(kill=kill)
        yield number


def test_25_rounds_of_kill_lose_nothing_that_was_reported(tmp_path: Path) -> None:
    life = Life(tmp_path, seed=20250423)
    for number in live(life, 25):
        life.check(thoroughly=number % 8 == 7)
    life.end(tmp_path / "clone")
    assert life.killed > 10
    assert len(life.reported) > 5


@pytest.mark.crash
@pytest.mark.parametrize("seed", range(10))
def test_a_thousand_rounds_of_kill_lose_nothing_that_was_reported(
    tmp_path: Path, seed: int, record_property: Callable[[str, object], None]
) -> None:
    life = Life(tmp_path, seed)
    for number in live(life, 100):
        life.check(thoroughly=number % 10 == 9)
    life.end(tmp_path / "clone")
    assert life.killed > 50
    record_property(
        "tried",
        f"kill -9, seed {seed}: 100 rounds, {life.killed} killed after their first step on the disk, "
        f"{len(life.reported)} reported, 0 lost",
    )


LOOP = """
import random, sys
from pathlib import Path
from memstore import Store
root, seed = Path(sys.argv[1]), int(sys.argv[2])
choice = random.Random(seed)
with Store.open(root) as store:
    print("ready", flush=True)
    for turn in range(100_000):
        path = choice.choice(["a.txt", "b.txt", "c/d.txt"])
        place = root / "Data" / path
        place.parent.mkdir(exist_ok=True)
        content = f"{seed} {turn} {path}\\n" * choice.randrange(1, 300)
        place.write_text(content)
        version = store.commit([path])
        print(version.id, path, len(content), flush=True)
        if turn % 9 == 8:
            store.push(mirror=False)
"""


def loops(folder: Path, rounds: int, seed: int) -> None:
    """A process that commits and pushes without a pause, killed anywhere."""
    memory = Memory(folder / "memory")
    memory.store.set_remote(str(folder / "remote"))
    memory.close()
    choice = random.Random(seed)
    reported: dict[str, tuple[str, int]] = {}
    for number in range(rounds):
        process = subprocess.Popen(
            [sys.executable, "-c", LOOP, str(memory.root), str(seed * 1000 + number)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        told = [process.stdout.readline() for _ in range(choice.randrange(1, 24))]
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(timeout=choice.expovariate(1 / 0.01))
        process.kill()
        more, errors = process.communicate()
        out = "".join(told) + more
        assert "Traceback" not in errors
        for line in out.splitlines(keepends=True):
            if line.endswith("\n"):
                version, name, size = line.split()
                reported[version] = (name, int(size))
        with Store.open(memory.root) as store:
            assert {str(version.id) for version in store.history()} >= set(reported)
            for id, (path, length) in reported.items():
                entry = store.repository.entry(path, VersionId.from_hex(id))
                assert entry is not None
                assert entry.size == length
            assert store.verify().problems == ()
    assert len(reported) > rounds
    memory.reopen()
    assert memory.store.push(mirror=False).status in {"success", "nothing"}
    with Store.clone(str(folder / "remote"), folder / "clone") as clone:
        assert {str(version.id) for version in clone.history()} >= set(reported)
        assert clone.verify().problems == ()
    memory.close()


def test_a_process_that_commits_without_a_pause_is_killed_four_times(tmp_path: Path) -> None:
    loops(tmp_path, 4, 1)


@pytest.mark.crash
@pytest.mark.parametrize("seed", range(2, 8))
def test_a_process_that_commits_without_a_pause_is_killed_over_and_over(tmp_path: Path, seed: int) -> None:
    loops(tmp_path, 25, seed)
