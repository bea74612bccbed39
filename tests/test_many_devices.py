"""Ten devices that push to one Drive at the same time, without a lock: no twin, no version lost, one head at the end.

Each device is a thread with a workspace of its own; they share nothing but the emulator. A *twin* is a second file
of one name in one folder.
"""

from __future__ import annotations

import random
import shutil
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import pytest

from memstore.store import Store
from tests.drive_emulator import DriveEmulator
from tests.drive_memory import ROOT, DriveMemory, no_waiting
from tests.folder_place import tree

ROUNDS = 6
"""In which all must have the same, once each in turn sends and fetches."""


class Outcome(NamedTuple):
    """For the record."""

    pushes: int
    ahead: int
    """Pushes that found versions of others."""
    versions: int
    merges: int
    most_heads: int
    rounds: int


class Crowd:
    def __init__(self, base: Path, emulator: DriveEmulator, count: int, seed: int) -> None:
        self.base, self.emulator, self.seed = base, emulator, seed
        self.environ = {"MEMSYNC_DRIVE_ROOT_URL": emulator.url}
        first = DriveMemory(base, emulator, name="device0")
        first.commit({"shared.txt": b"begin\n", "Core/Rules.txt": b"one\ntwo\nthree\n"})
        assert first.push().status == "success"
        self.roots = [first.root]
        for number in range(1, count):
            root = base / f"device{number}"
            root.mkdir()
            shutil.copy(first.token, root)
            Store.clone("drive:", root, environ=self._environ(number)).close()
            self.roots.append(root)
        self.saved: dict[str, set[bytes]] = {}
        """Each version that a commit gave, with the contents that it recorded."""
        self.pushes = self.ahead = self.most_heads = 0
        self._lock = threading.Lock()

    def _environ(self, number: int) -> dict[str, str]:
        return {**self.environ, "MEMSYNC_DEVICE": f"device{number}"}

    def run(self, goes_on: Callable[[int], bool]) -> None:
        """All devices at once, each as long as `goes_on` says so of its number of pushes."""
        together = threading.Barrier(len(self.roots))
        with ThreadPoolExecutor(len(self.roots)) as threads:
            for done in [
                threads.submit(self._work, number, together, goes_on) for number in range(len(self.roots))
            ]:
                done.result()

    def _work(self, number: int, together: threading.Barrier, goes_on: Callable[[int], bool]) -> None:
        dice = random.Random(self.seed * 100 + number)
        root, turn = self.roots[number], 0
        together.wait(60)
        while goes_on(turn):
            turn += 1
            with Store.open(root, environ=self._environ(number)) as store:
                for _ in range(dice.randrange(1, 3)):
                    self._save(store, root, dice, f"device {number}, turn {turn}\n".encode())
                report = store.push(pull=dice.random() < 0.5)
            assert report.error is None and report.pull_error is None, report
            with self._lock:
                self.pushes += 1
                self.ahead += report.ahead
                self.most_heads = max(self.most_heads, len(self.heads))

    def _save(self, store: Store, root: Path, dice: random.Random, line: bytes) -> None:
        path = dice.choice(("shared.txt", "Core/Rules.txt", f"Own/{root.name}.txt"))
        place = root / "Data" / path
        place.parent.mkdir(exist_ok=True)
        before = place.read_bytes() if place.exists() else b""
        place.write_bytes(line if dice.random() < 0.1 else before + line)
        version = store.commit()
        if version is not None:
            contents = {
                store.repository.read(change.entry.content) for change in version.changes if change.entry
            }
            with self._lock:
                self.saved[str(version.id)] = contents

    @property
    def heads(self) -> list[str]:
        """The markers of versions: `heads/` has other notes too. Twins apart."""
        there = (path.rpartition("/") for path in self.emulator.tree())
        return [
            name for folder, _, name in there if folder == f"{ROOT}/.memsync/heads" and "-" not in name[:64]
        ]

    def settle(self) -> Outcome:
        """Everyone in turn until nobody has anything to do, then everything that must hold."""
        for rounds in range(1, ROUNDS + 1):  # noqa: B007 - told below
            heads = set()
            for number, root in enumerate(self.roots):
                with Store.open(root, environ=self._environ(number)) as store:
                    report = store.push(pull=True)
                    assert report.error is None and report.pull_error is None, report
                    heads.add(store.head())
            if len(heads) == 1 and len(self.heads) == 1:
                break
        assert len(heads) == 1 and len(self.heads) == 1, f"after {ROUNDS} rounds: {heads}, {self.heads}"
        there = self.emulator.tree()
        twins = [path for path in there if "#" in path]
        assert twins == [], twins
        trees = [tree(root / "Data") for root in self.roots]
        assert all(found == trees[0] for found in trees)
        mirror = {
            path.removeprefix(f"{ROOT}/"): data
            for path, data in there.items()
            if not path.startswith((f"{ROOT}/.memsync/", f"{ROOT}/Archive/"))
        }
        assert mirror == trees[0]
        other = self.base / "reader"
        other.mkdir()
        shutil.copy(self.roots[0] / "drive_token.json", other)
        with Store.clone("drive:", other, environ=self.environ) as store:
            assert store.verify().problems == ()
            versions = {str(version.id): version for version in store.history()}
            lost = self.saved.keys() - versions.keys()
            assert not lost, f"{len(lost)} of {len(self.saved)} versions are lost"
            for id, contents in self.saved.items():
                changes = versions[id].changes
                assert contents == {store.repository.read(c.entry.content) for c in changes if c.entry}
            assert tree(other / "Data") == trees[0]
        merges = sum(len(version.parents) > 1 for version in versions.values())
        return Outcome(self.pushes, self.ahead, len(versions), merges, self.most_heads, rounds)


def test_devices_that_push_at_once_make_no_twin_and_lose_no_version(tmp_path: Path) -> None:
    with DriveEmulator() as emulator, no_waiting(emulator):
        crowd = Crowd(tmp_path, emulator, 4, seed=1)
        crowd.run(lambda turn: turn < 2)
        assert crowd.settle().pushes == 8


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(3))
def test_ten_devices_push_at_once_for_a_minute(tmp_path: Path, seed: int) -> None:
    with DriveEmulator() as emulator, no_waiting(emulator):
        crowd = Crowd(tmp_path, emulator, 10, seed=seed)
        end = time.monotonic() + 60
        crowd.run(lambda _: time.monotonic() < end)
        outcome = crowd.settle()
        print(outcome)
        assert outcome.pushes >= 20 and outcome.most_heads > 1
