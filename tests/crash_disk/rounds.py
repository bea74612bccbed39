"""All cases of a scene, or a sample of them, on a disk in memory where there is one."""

from __future__ import annotations

import contextlib
import functools
import os
import random
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final, NamedTuple

import pytest

from memstore.remotes import open as opening
from memstore.remotes.retry import Retry
from tests.crash_disk import check
from tests.crash_disk.check import Case, Played, Trouble
from tests.crash_disk.states import Bounds
from tests.crash_disk.world import Scene

SEED: Final = 20250423
MOMENT: Final = Bounds(exhaustive=2, samples=0, tears=0)
"""For the one moment that a recording with trouble ends with."""
_MEMORY: Final = "/dev/shm"


class Count(NamedTuple):
    """What was tried."""

    points: int
    """Steps after which the power went, or calls at which the trouble came."""
    states: int
    """States that were opened, no two of a point alike."""


@contextlib.contextmanager
def empty_disk() -> Iterator[Path]:
    """A folder for one recording, in memory if the system has such a place: thousands of states are built."""
    inside = _MEMORY if os.path.isdir(_MEMORY) and os.access(_MEMORY, os.W_OK) else None
    root = os.path.realpath(tempfile.mkdtemp(prefix="memsync-crash-", dir=inside))
    try:
        yield Path(root)
    finally:
        shutil.rmtree(root, ignore_errors=True)


@contextlib.contextmanager
def no_waiting() -> Iterator[None]:
    """Between two tries of a remote no time passes; it is counted against the patience all the same."""
    hurried = functools.partial(Retry, sleep=lambda _: None)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(opening, "Retry", hurried)
        yield


def every_state(scene: Scene, bounds: Bounds, *, sample: int | None = None) -> Count:
    """Record the scene and try each state that a crash may leave of it (a sample of so many, where given)."""
    choice = random.Random(SEED)
    with empty_disk() as root:
        played = check.play(scene, root)
        check.assert_recorded_whole(played)
        tried: Iterable[Case] = check.cases(played, choice, bounds)
        if sample is not None:
            known = list(tried)
            tried = choice.sample(known, min(sample, len(known)))
        states = 0
        for states, case in enumerate(tried, 1):  # noqa: B007 - the last number is their count
            _try(played, case)
        return Count(len(played.recorder.steps) + 1, states)


def every_trouble(
    scene: Scene, kind: str, *, only: int | None = None, every: int = 1, most: int = 24
) -> Count:
    """Kill the workload at each call (`kind` "kill"), or refuse each sync ("sync"; "sync, kill": and kill it at
    once), let a person go on, and cut the power after that. `only` tries one of the calls, `every` each
    so-manieth, from the first on."""
    points = states = 0
    at = only or 1
    while True:
        trouble = Trouble(kill_at=at) if kind == "kill" else Trouble(None, at, kind == "sync, kill")
        choice = random.Random(SEED + at)
        with empty_disk() as root, no_waiting():
            try:
                played = check.play(scene, root, trouble)
            except BaseException as error:
                error.add_note(f"{scene.name}: {trouble}")
                raise
            if not played.struck:
                return Count(points, states)
            points += 1
            found = list(check.cases(played, choice, MOMENT))
            for case in [*found[:most], *choice.sample(found[most:], min(most // 2, len(found[most:])))]:
                _try(played, case, str(trouble))
                states += 1
        if only is not None:
            return Count(points, states)
        at += every


def _try(played: Played, case: Case, what: str = "") -> None:
    try:
        check.check(played, case)
    except BaseException as error:
        error.add_note(f"{played.scene.name}: {case} {what}")
        raise
