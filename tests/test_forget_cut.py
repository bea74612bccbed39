"""forget, cut off at any step: the next run finishes, no trace is left and nothing else is lost."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from memstore import files
from memstore.remotes.base import MirrorFile
from memstore.remotes.folder import FolderRemote
from tests.folder_place import Death, Place, tree, without_waiting
from tests.forgetful_place import forget, keys, lived, note, read, where, whole


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    without_waiting(monkeypatch)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


@contextmanager
def _cut_at(number: int) -> Iterator[list[str]]:
    steps: list[str] = []

    def observe(step: str, path: str, data: bytes) -> None:
        if step in ("read", "sync_all"):
            return
        steps.append(step)
        if len(steps) == number:
            raise Death

    with files.watch(observe):
        yield steps


def _cut_and_finished(base: Path, number: int) -> bool:
    """A forget that ends at the step of that number, and the run after it; whether it got to its end."""
    base.mkdir()
    place = Place(base)
    first = place.commit({"Keys.txt": keys(0), "Rules.txt": note(0)})
    place.push()
    place.commit({"Keys.txt": keys(1), "Rules.txt": note(1)})
    place.push()
    place.commit({"Copy.txt": keys(1), "Rules.txt": note(2)})
    finished = False
    try:
        with _cut_at(number), place.open() as store:
            store.forget(["Keys.txt"])
            finished = True
    except Death:
        pass
    with place.open() as store:
        again = [] if store.forgetting else ["Keys.txt"]
    forget(place, *again)
    assert where(base) == [], number
    assert read(place, "Rules.txt", first) == note(0)
    assert tree(place.data) == {"Rules.txt": note(2)}
    whole(place)
    return finished


@pytest.mark.crash
def test_cut_at_any_step_on_the_disk_another_run_finishes(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    number = 1
    while not _cut_and_finished(tmp_path / str(number), number):
        number += 1
    record_property(
        "tried", f"a forget cut at {number - 1} steps on the disk: 0 traces left, 0 contents lost"
    )
    assert number > 40


@pytest.mark.parametrize("number", [14, 38])
def test_cut_at_some_step_on_the_disk_another_run_finishes(tmp_path: Path, number: int) -> None:
    assert not _cut_and_finished(tmp_path / "place", number)


class _Dying(FolderRemote):
    """The process ends at a call that changes something there; `left` is shared by all that one process opens."""

    def __init__(self, path: Path, left: list[int]) -> None:
        super().__init__(str(path))
        self._left = left

    def _count(self) -> None:
        self._left[0] -= 1
        if self._left[0] == 0:
            raise Death

    def create(self, *args: Any, **named: Any) -> None:
        self._count()
        super().create(*args, **named)

    def delete(self, name: str) -> None:
        self._count()
        super().delete(name)

    def erase(self, seen: MirrorFile) -> None:
        self._count()
        super().erase(seen)


def _cut_there_and_finished(base: Path, number: int) -> bool:
    """The same, ended at that change of the remote."""
    base.mkdir()
    place = Place(base)
    versions = lived(place)
    finished = False
    left = [number]
    with place.open() as store:
        store.__dict__["_open_remote"] = lambda: _Dying(place.remote, left)
        try:
            assert store.forget(["Core/Keys.txt"]).error is None
            finished = True
        except Death:
            pass
    with place.open() as store:
        again = [] if store.forgetting else ["Core/Keys.txt"]
    forget(place, *again)
    assert where(base) == [], number
    assert read(place, "Core/Rules.txt", versions[0]) == note(0)
    whole(place)
    return finished


@pytest.mark.soak
def test_cut_at_any_change_of_the_remote_another_run_finishes(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    number = 1
    while not _cut_there_and_finished(tmp_path / str(number), number):
        number += 1
    record_property(
        "tried", f"a forget cut at {number - 1} changes of the remote: 0 traces left, 0 contents lost"
    )
    assert number > 10


def test_while_the_remote_is_away_what_is_here_goes_and_the_next_run_finishes(place: Place) -> None:
    lived(place)
    hidden = place.remote.with_name("hidden")
    place.remote.rename(hidden)
    with place.open() as store:
        report = store.forget(["Core/Keys.txt"])
        assert report.error is not None and report.exit_code == 5
        assert any("forget" in line for line in store.status().warnings)
    assert where(place.root) == []
    hidden.rename(place.remote)
    assert where(place.remote)
    assert forget(place).mirror_files
    assert where(place.base) == []
    with place.open() as store:
        assert not store.forgetting
        assert store.status().warnings == ()
    whole(place)
