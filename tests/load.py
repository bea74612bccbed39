"""One worker of a crowd on one store: it saves files of its own, reads them back, pushes, verifies and collects.

    python -m tests.load ROOT NAME SEED STEPS SECONDS

Each save goes to a file of the worker's own, and what it reported is noted: path, content, version. Three of four
saves have the tag `kept`; collections let go of what only the others hold, so these are not read again.
"""

from __future__ import annotations

import json
import os
import random
import sys
import time
import traceback
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from memstore import Store
from memstore.errors import StoreLocked
from memstore.ids import ContentId

KEPT = "kept"
FILES = 4
"""Of each worker."""
ACTIONS = {
    "save": 48,
    "read": 24,
    "look": 8,
    "push": 7,
    "verify": 5,
    "collect": 3,
    "save all": 3,
    "open again": 2,
}
"""What a worker does, and how often of a hundred times."""


class Save(NamedTuple):
    path: str
    content: str
    version: str | None
    """None where another worker's commit of everything had taken it in before."""
    kept: bool


@dataclass
class Done:
    """What a worker did, and what went wrong."""

    saves: list[Save] = field(default_factory=list)
    actions: Counter[str] = field(default_factory=Counter)
    waited: int = 0
    """Actions that gave up waiting for the store: allowed, nothing is lost by it."""
    troubles: list[str] = field(default_factory=list)

    def add(self, other: Done) -> None:
        self.saves += other.saves
        self.actions += other.actions
        self.waited += other.waited
        self.troubles += other.troubles

    def to_json(self) -> str:
        return json.dumps(vars(self))

    @classmethod
    def from_json(cls, text: str) -> Done:
        told = json.loads(text)
        saves = [Save(*row) for row in told["saves"]]
        return cls(saves, Counter(told["actions"]), told["waited"], told["troubles"])


class Worker:
    """`steps` actions, or as many as `seconds` allow: whichever ends first."""

    def __init__(self, root: Path, name: str, seed: int, steps: int, seconds: float) -> None:
        self.root, self.name = root, name
        self.dice = random.Random(f"{seed} {name}")
        self.steps, self.end = steps, time.monotonic() + seconds
        self.contents: dict[str, bytes] = {}
        self.done = Done()
        self.store = Store.open(root)

    def run(self) -> Done:
        try:
            while self.steps > 0 and time.monotonic() < self.end and not self.done.troubles:
                self.steps -= 1
                (action,) = self.dice.choices(list(ACTIONS), list(ACTIONS.values()))
                try:
                    getattr(self, "_" + action.replace(" ", "_"))()
                    self.done.actions[action] += 1
                except StoreLocked:
                    self.done.waited += 1
                except Exception:
                    self.done.troubles.append(f"{self.name}, {action}: {traceback.format_exc()}")
        finally:
            self.store.close()
        return self.done

    def _save(self) -> None:
        path = f"{self.name}/{self.dice.randrange(FILES)}.txt"
        old = self.contents.get(path, b"")
        line = f"{self.name} has {self.steps} to go {self.dice.random()}\n".encode()
        new = (
            old + line
            if len(old) < 20_000 and self.dice.random() < 0.8
            else line * self.dice.randrange(1, 40)
        )
        place = self.root / "Data" / path
        place.parent.mkdir(exist_ok=True)
        written = place.with_suffix(".tmp")
        written.write_bytes(new)
        os.replace(written, place)
        self.contents[path] = new
        kept = self.dice.random() < 0.75
        while True:  # what was written is committed before it is written again
            try:
                version = self.store.commit([path], context_tags=[KEPT] if kept else [], note=self.name)
                break
            except StoreLocked:
                self.done.waited += 1
        if version is not None:
            (change,) = version.changes
            assert change.entry is not None and change.entry.content == ContentId.of(new)
        self.done.saves.append(
            Save(path, str(ContentId.of(new)), None if version is None else str(version.id), kept)
        )

    def _save_all(self) -> None:
        self.store.commit(context_tags=[KEPT], note="everything")

    def _read(self) -> None:
        mine = [save for save in self.done.saves if save.kept and save.version is not None]
        if mine:
            save = self.dice.choice(mine)
            assert str(ContentId.of(self.store.read(save.path, at=save.version))) == save.content

    def _look(self) -> None:
        self.store.status()
        for number, version in enumerate(self.store.history(limit=20)):
            if number % 5 == 0:
                assert self.store.version(version).id == version.id
        assert self.contents.keys() <= {row.path for row in self.store.ls()}

    def _push(self) -> None:
        report = self.store.push(mirror=self.dice.random() < 0.3)
        if report.error is not None:
            if report.error["code"] == StoreLocked.code:
                raise StoreLocked("another worker holds the store")
            raise AssertionError(report.error)

    def _verify(self) -> None:
        report = self.store.verify(quick=self.dice.random() < 0.9)
        assert report.problems == (), report.problems

    def _collect(self) -> None:
        report = self.store.gc()
        if report.error is not None:
            if report.error["code"] == StoreLocked.code:
                raise StoreLocked("another worker holds the store")
            raise AssertionError(report.error)

    def _open_again(self) -> None:
        self.store.close()
        self.store = Store.open(self.root)


def main(arguments: list[str]) -> int:
    root, name, seed, steps, seconds = arguments
    sys.stdin.readline()
    print(Worker(Path(root), name, int(seed), int(steps), float(seconds)).run().to_json())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
