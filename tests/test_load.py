"""Many processes and threads at once on one store and its remote: no error, no lost version, nothing damaged."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from memstore import Store
from memstore.ids import ContentId
from tests.conftest import Memory
from tests.load import KEPT, Done, Save, Worker

SECONDS = float(os.environ.get("MEMSYNC_SOAK_SECONDS", "600"))
CHECKOUT = Path(__file__).resolve().parent.parent
SETTINGS = f"""
lock_timeout = 120.0
[gc]
keep_tags = ["{KEPT}"]
keep_last = 1
grace_hours = 0
"""


class Crowd:
    """Processes and threads on one workspace."""

    def __init__(self, memory: Memory, remote: Path, *, seed: int) -> None:
        self.memory, self.remote, self.seed = memory, remote, seed
        memory.reconfigured(SETTINGS)
        memory.store.set_remote(str(remote))
        self.saves: list[Save] = []

    def work(self, *, processes: int, threads: int, steps: int = sys.maxsize, seconds: float = 600) -> Done:
        """All of them at once; what they did together. Nothing may have gone wrong."""
        memory, facts = self.memory, (str(self.seed), str(steps), str(seconds))
        apart = [
            subprocess.Popen(
                [sys.executable, "-m", "tests.load", str(memory.root), f"process{number}", *facts],
                cwd=CHECKOUT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            for number in range(processes)
        ]
        here: list[Done] = []

        def work(name: str) -> None:
            here.append(Worker(memory.root, name, self.seed, steps, seconds).run())

        running = [threading.Thread(target=work, args=(f"thread{number}",)) for number in range(threads)]
        answers: list[tuple[str, str]] = []

        def listen(process: subprocess.Popen[str]) -> None:
            answers.append(process.communicate("go\n", timeout=seconds + 600))

        running += [threading.Thread(target=listen, args=(process,)) for process in apart]
        for thread in running:
            thread.start()
        for thread in running:
            thread.join()
        done = Done()
        for told in here:
            done.add(told)
        for out, errors in answers:
            assert out, errors
            done.add(Done.from_json(out))
        assert len(here) == threads and len(answers) == processes
        assert not done.troubles, "\n".join(done.troubles[:4])
        self.saves += done.saves
        return done

    def nothing_is_lost(self) -> None:
        """Every save that was reported is in the store, in its remote, and in a fresh clone; all is sound."""
        store = self.memory.reopen()
        assert store.push().error is None
        assert store.verify(remote=True, read_data=True).problems == ()
        assert len(self.memory.repository.catalogue.heads()) == 1
        self._complete(store)
        clone = Store.clone(str(self.remote), self.memory.root.parent / "clone")
        try:
            assert clone.head() == store.head()
            self._complete(clone)
        finally:
            clone.close()

    def _complete(self, store: Store) -> None:
        versions = {str(version.id): version for version in store.history()}
        held: dict[str, set[str]] = {}
        for version in versions.values():
            for change in version.changes:
                if change.entry is not None:
                    held.setdefault(change.path, set()).add(str(change.entry.content))
        for save in self.saves:
            assert save.content in held[save.path]
            if save.version is None:
                continue
            changes = {change.path: change.entry for change in versions[save.version].changes}
            entry = changes[save.path]
            assert entry is not None and str(entry.content) == save.content
            if save.kept:
                assert ContentId.of(store.read(save.path, at=save.version)) == entry.content
        for row in store.ls():
            assert ContentId.of(store.read(row.path)) == row.content


def test_a_few_processes_and_threads_at_once_lose_nothing(memory: Memory, tmp_path: Path) -> None:
    crowd = Crowd(memory, tmp_path / "remote", seed=1)
    done = crowd.work(processes=2, threads=2, steps=25)
    assert done.actions["save"] > 20
    crowd.nothing_is_lost()


@pytest.mark.soak
def test_sixteen_processes_and_sixteen_threads_for_ten_minutes_lose_nothing(
    memory: Memory, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    crowd = Crowd(memory, tmp_path / "remote", seed=int(os.environ.get("MEMSYNC_SOAK_SEED", "1")))
    began = time.monotonic()
    done = crowd.work(processes=16, threads=16, seconds=SECONDS)
    took = time.monotonic() - began
    crowd.nothing_is_lost()
    counts = ", ".join(f"{name}: {count:,}" for name, count in sorted(done.actions.items()))
    record_property(
        "tried",
        f"16 processes and 16 threads for {took:.0f} s: {counts}; {done.waited} gave up waiting for the store; "
        f"{len(crowd.saves):,} saves, none lost",
    )
