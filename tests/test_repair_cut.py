"""repair, cut off at any step: the next one finishes."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from memstore import files
from tests.folder_place import Death, Place, without_waiting
from tests.mended_place import everything, flip, pack_of, repair, stored

ALL_STEPS = bool(os.environ.get("MEMSYNC_TEST_ALL_STEPS"))


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    without_waiting(monkeypatch)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return stored(tmp_path)


class _Stop:
    def __init__(self, at: int) -> None:
        self.at = at
        self.steps = 0

    def __call__(self, step: str, path: str, data: bytes) -> None:
        if step in ("read", "sync"):
            return
        self.steps += 1
        if self.steps == self.at:
            raise Death


def harmed(base: Place, folder: Path, remote: bool) -> Place:
    shutil.copytree(base.base, folder, symlinks=True)
    place = Place.at(folder / "assistant", folder / "remote")
    (place.root / ".memsync/remote.json").unlink()
    with place.open() as store:
        if remote:
            store.set_remote(str(place.remote))
            store.push()
    path = (
        pack_of(place)
        if len(list((place.root / ".memsync/packs").glob("*"))) == 1
        else sorted((place.root / ".memsync/packs").glob("*"))[0]
    )
    flip(path, path.stat().st_size - 60)
    return place


@pytest.mark.parametrize("remote", [False, True])
def test_a_repair_cut_off_at_any_step_is_finished_by_the_next(
    tmp_path: Path, place: Place, remote: bool
) -> None:
    before = everything(place)
    for at in _steps(remote):
        cut = harmed(place, tmp_path / f"cut-{remote}-{at}", remote)
        stop = _Stop(at)
        try:
            with files.watch(stop):
                repair(cut)
        except Death:
            pass
        assert repair(cut).ok, at
        assert everything(cut) == before, at
        finished = stop.steps < at
        shutil.rmtree(cut.base)
        if finished:
            return
    if not ALL_STEPS:
        return
    raise AssertionError("it never came to its end")


def _steps(remote: bool) -> Iterator[int]:
    if ALL_STEPS:
        yield from range(1, 500)
    yield from (1, 3, 5, 7, 9, 12, 15)
