"""Every fault at every request of a push: the next push leaves what an undisturbed one leaves.

A case is a scene, a request of its push (counted on the emulator), a fault that strikes there once, and how
patient the first push is: `patient` tries again by itself, `brief` stops at the first trouble, and `killed`
is a process of its own that gets SIGKILL there. `make crashtest` runs all of them; the fast suite a sample.
"""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NamedTuple

import pytest

from memstore.reports import PushReport
from tests.drive_emulator import DriveEmulator
from tests.drive_emulator.kinds import Kind
from tests.drive_memory import (
    ROOT,
    DriveMemory,
    Scene,
    Shape,
    fixed_clock,
    kill,
    no_waiting,
    shape,
    tree,
    what_is_open,
)

CONFIG: Final = "[drive]\nchunk_size = 2097152\n"
BIG: Final = random.Random(5).randbytes(5_400_000)
"""Above the limit of one multipart request, and three chunks."""
TIME_MS: Final = 1_900_000_000_123
"""When what comes home from Drive is committed: later than any version of a scene."""
SAMPLE: Final = 24
"""Cases of the fast suite."""
SEED: Final = 20261123

BRIEF: Final = {"MEMSYNC_PUSH_ATTEMPTS": "1", "MEMSYNC_PUSH_BUDGET": "0"}
SHORT: Final = {"MEMSYNC_DRIVE_TIMEOUT": "0.5"}


# -- scenes: (what was pushed before, what happens then) -------------------------------------------------------


def _first(memory: DriveMemory) -> None:
    memory.commit(
        {
            "Core/Rules.txt": b"be kind\n",
            "Core/log.txt": b"one\n",
            "Meta/deep/state.json": b'{"turn": 1}\n',
            "empty.txt": b"",
        }
    )


def _later(memory: DriveMemory) -> None:
    memory.commit(
        {
            "Core/Rules.txt": b"be kind\n",
            "Core/log.txt": b"one\n",
            "Core/gone.txt": b"to be deleted\n",
            "Core/same.txt": b"stays\n",
        }
    )
    assert memory.push().status == "success"
    memory.commit(
        {
            "Core/Rules.txt": b"be kind, be brief\n",
            "Core/log.txt": b"one\ntwo\n",
            "Core/gone.txt": None,
            "New/added.txt": b"added\n",
            "Meta/index.bin": BIG,
        }
    )


def _by_hand(memory: DriveMemory) -> None:
    """A large file replaced here; on Drive a note edited, one renamed, one thrown away, all by a person."""
    notes = {f"Core/{name}.txt": f"{name}\n".encode() for name in ("edited", "renamed", "trashed", "same")}
    memory.commit({**notes, "Meta/index.bin": BIG})
    assert memory.push().status == "success"
    person = memory.emulator.person
    person.edit(person.find(f"{ROOT}/Core/edited.txt"), b"a person wrote this\n")
    person.rename(person.find(f"{ROOT}/Core/renamed.txt"), "another name.txt")
    person.trash(person.find(f"{ROOT}/Core/trashed.txt"))
    memory.commit(
        {
            "Core/edited.txt": b"edited\nhere too\n",
            "Core/renamed.txt": b"renamed\nand appended to\n",
            "Core/trashed.txt": b"all new\n",
            "Meta/index.bin": BIG[::-1],
        }
    )


SCENES: Final[dict[str, Callable[[DriveMemory], None]]] = {
    "first push": _first,
    "later push": _later,
    "after a person": _by_hand,
}


# -- faults ------------------------------------------------------------------------------------------------


class Seen(NamedTuple):
    """A request of the undisturbed push."""

    kind: Kind
    sent: int
    """Bytes of its body."""
    got: int
    """Bytes of the answer's."""


def always(seen: Seen) -> bool:
    return True


def writes(seen: Seen) -> bool:
    return "write" in seen.kind.tags


def has_body(seen: Seen) -> bool:
    return seen.sent > 4


def answers(seen: Seen) -> bool:
    return seen.got > 20


def creates(seen: Seen) -> bool:
    return "create" in seen.kind.tags or seen.kind.name == "upload.start"


def downloads(seen: Seen) -> bool:
    return seen.kind.name == "files.get.media" and seen.got > 3


def chunks(seen: Seen) -> bool:
    return seen.kind.name == "upload.chunk"


FAULTS: Final[dict[str, Callable[[Seen], bool]]] = {
    "drop=before": always,
    "drop=before reset": always,
    "drop=after": always,
    "drop=after reset": always,
    "hang=1.0": always,
    "hang=1.0 at=after": always,
    "cut=1": has_body,
    "cut=50%": has_body,
    "cut=99%": has_body,
    "truncate=10": answers,
    "truncate=0": answers,
    "corrupt=2": downloads,
    "truncate=2": downloads,
    "status=500": always,
    "status=502 body=html": always,
    "status=503": always,
    "status=503 body=text": always,
    "status=503 body=empty": always,
    "status=503 body=html at=after": always,
    "status=504": always,
    "error=backendError at=after": always,
    "error=userRateLimitExceeded": always,
    "error=userRateLimitExceeded at=after": writes,
    "error=rateLimitExceeded retry-after=7": always,
    "status=429 retry-after=3": always,
    "error=authError": always,
    "error=storageQuotaExceeded": writes,
    "error=quotaExceeded": writes,
    "error=dailyLimitExceeded": always,
    "error=numChildrenInNonRootLimitExceeded": creates,
    "error=myDriveHierarchyDepthLimitExceeded": creates,
    "error=teamDriveFileLimitExceeded": creates,
    "error=insufficientFilePermissions": writes,
    "error=appNotAuthorizedToFile": writes,
    "error=fileIdInUse at=after": creates,
    "error=invalid": creates,
    "error=notFound body=text": chunks,
    "status=410 body=text": chunks,
}  # fmt: skip
"""Rule of the emulator → the requests that it can strike."""


class Case(NamedTuple):
    scene: str
    request: int
    """1 is the first of the push."""
    fault: str
    """A rule; for `killed`, `before` or `after`."""
    how: str
    """`patient`, `brief` or `killed`."""

    def __str__(self) -> str:
        return f"{self.scene}: request {self.request}, {self.fault}, {self.how}"


# -- a scene, its undisturbed end, and one case --------------------------------------------------------------


@dataclass(repr=False)
class Stage:
    """A scene set up once, and what its push leaves when nothing disturbs it."""

    name: str
    memory: DriveMemory
    scene: Scene
    requests: list[Seen] = field(default_factory=list)
    end: Shape = field(default_factory=lambda: Shape({}, [], [], [], []))
    data: dict[str, bytes] = field(default_factory=dict)

    @classmethod
    def set(cls, name: str, base: Path, emulator: DriveEmulator) -> Stage:
        memory = DriveMemory(base, emulator, config=CONFIG)
        SCENES[name](memory)
        stage = cls(name, memory, Scene(memory))
        stage.scene.again()
        assert memory.push().status == "success"
        stage.requests = [Seen(row.kind, row.bytes_in, row.bytes_out) for row in emulator.log.entries]
        stage.end, stage.data = shape(emulator), tree(memory.data)
        assert not emulator.violations
        assert not [path for path in stage.end.files if "#" in path], "the undisturbed push made twins"
        assert len([path for path in stage.end.files if "/heads/" in path]) == 1
        assert memory.push().status == "nothing"
        return stage

    def cases(self) -> Iterator[Case]:
        for number, seen in enumerate(self.requests, 1):
            for fault, strikes in FAULTS.items():
                if strikes(seen):
                    yield Case(self.name, number, fault, "brief")
                    yield Case(self.name, number, fault, "patient")
            for side in ("before", "after"):
                yield Case(self.name, number, side, "killed")

    def run(self, case: Case) -> None:
        """Raises `AssertionError` where the end is not that of an undisturbed push."""
        memory = self.scene.again()
        emulator = memory.emulator
        if case.how == "killed":
            kill(memory, case.request, case.fault, TIME_MS)
        else:
            rule = emulator.fault(f"any nth={case.request} {case.fault}")
            environ = {**(BRIEF if case.how == "brief" else {}), **(SHORT if "hang" in case.fault else {})}
            struck = memory.push(environ=environ)
            assert rule.fired == 1
            assert_told(struck)
        emulator.clear_faults()
        emulator.advance(10)  # what a brief push was asked to wait
        again = memory.push()
        assert (again.status, again.exit_code) in (("success", 0), ("nothing", 0)), again
        self._assert_undisturbed(memory)

    def _assert_undisturbed(self, memory: DriveMemory) -> None:
        emulator = memory.emulator
        there = shape(emulator)
        assert sorted(there.files) == sorted(self.end.files)
        assert there.files == self.end.files
        assert there[1:] == self.end[1:]
        assert emulator.violations == []
        assert what_is_open(memory.root) == ([], [], 0)
        assert tree(memory.data) == self.data
        logged = {line["file"] for line in memory.upload_lines() if line["status"] == "success"}
        assert logged >= set(self.data), "a file that was carried has no line of success"
        # One that never heard of its head took it for another device's, and looks once more.
        for _ in range(2):
            emulator.reset_counts()
            assert memory.push().status == "nothing"
        assert emulator.requests == 0
        with memory.open() as store:
            assert store.verify(remote=True).problems == ()
        try:
            assert tree(memory.clone("clone")) == self.data
        finally:
            shutil.rmtree(memory.base / "clone")


def assert_told(report: PushReport) -> None:
    """Either it went on, or it says what was wrong and what mends it."""
    if report.status == "fail":
        assert report.error is not None
        assert report.error["message"] and report.error["hint"], report.error
        assert report.exit_code in (4, 5), report.error


@pytest.fixture(scope="module")
def stages(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Stage]]:
    with pytest.MonkeyPatch.context() as patch:
        fixed_clock(patch, TIME_MS)
        made = {}
        running = []
        try:
            for name in SCENES:
                emulator = DriveEmulator().start()
                running.append(emulator)
                with no_waiting(emulator):
                    made[name] = Stage.set(name, tmp_path_factory.mktemp("scene"), emulator)
            yield made
        finally:
            for emulator in running:
                emulator.stop()


def run_all(stages: dict[str, Stage], cases: list[Case]) -> list[str]:
    """What went wrong, a line for each failed case; the count is printed."""
    wrong = []
    for case in cases:
        stage = stages[case.scene]
        try:
            with no_waiting(stage.memory.emulator):
                stage.run(case)
        except Exception as error:  # every case is tried, whatever came of those before
            wrong.append(f"{case}: {type(error).__name__}: {' '.join(str(error).split())[:300]}")
            print(f"\n{wrong[-1]}", flush=True)
    print(f"\n{len(cases)} cases, {len(wrong)} failures")
    return wrong


def test_a_push_struck_by_a_fault_is_finished_by_the_next_as_if_nothing_had_been_sample(
    stages: dict[str, Stage],
) -> None:
    dice = random.Random(SEED)
    every = [case for stage in stages.values() for case in stage.cases()]
    slow = [case for case in every if case.how == "killed" or "hang" in case.fault]
    quick = [case for case in every if case not in slow]
    chosen = dice.sample(quick, SAMPLE - 4) + dice.sample(slow, 4)
    wrong = run_all(stages, chosen)
    assert not wrong, "\n".join(wrong)


@pytest.mark.crash
@pytest.mark.parametrize("scene", SCENES)
@pytest.mark.parametrize("how", ["brief", "patient", "killed"])
def test_a_push_struck_by_any_fault_at_any_request_is_finished_by_the_next(
    stages: dict[str, Stage], scene: str, how: str
) -> None:
    cases = [case for case in stages[scene].cases() if case.how == how]
    assert len(cases) > 20
    wrong = run_all(stages, cases)
    assert not wrong, "\n".join(wrong)


def test_every_request_of_a_push_and_every_fault_that_can_strike_it_is_a_case(
    stages: dict[str, Stage],
) -> None:
    kinds = {seen.kind.name for stage in stages.values() for seen in stage.requests}
    assert kinds >= {
        "files.list", "files.get", "files.get.media", "files.generateIds", "files.create", "files.update",
        "files.create.multipart", "files.update.multipart", "files.delete", "upload.start", "upload.chunk",
    }  # fmt: skip
    struck = {case.fault for stage in stages.values() for case in stage.cases()}
    assert struck == {*FAULTS, "before", "after"}
