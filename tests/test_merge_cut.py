"""A pull that merges, cut before any of its steps on the disk: the next command finishes it, or begins anew."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from memstore import files
from tests.folder_place import without_waiting
from tests.merge_places import Clock, Device

FAST = 11
"""Every so manieth step is tried in the fast suite."""


def apart(base: Path, clock: Clock) -> Device:
    """A device with work that is not committed, beside a remote that has gone another way."""
    laptop = Device.first(
        base, "laptop", {"Rules.txt": b"one\ntwo\nthree\n", "gone.txt": b"gone\n", "log.txt": b"begin\n"}
    )
    server = laptop.joined_by("server")
    server.save(
        {"Rules.txt": b"server\n", "gone.txt": None, "log.txt": b"begin\nserver\n", "new/a.txt": b"a\n"}
    )
    server.push()
    clock.tick()
    laptop.save({"log.txt": b"begin\nlaptop\n"})
    laptop.write({"Rules.txt": b"laptop\n", "mine.txt": b"mine\n"})
    return laptop


def cut_everywhere(base: Path, clock: Clock, every: int) -> int:
    laptop = apart(base, clock)
    saved = base / "saved"
    shutil.copytree(laptop.root, saved, symlinks=True)
    assert laptop.pull().status == "conflict"
    expected = laptop.tree
    for number in range(1, 1000, every):
        shutil.rmtree(laptop.root)
        shutil.copytree(saved, laptop.root, symlinks=True)
        left = [number]

        def cut(step: str, path: str, data: bytes, left: list[int] = left) -> None:
            left[0] -= step != "read"
            if left[0] <= 0:
                raise KeyboardInterrupt  # and so does every later step

        with files.watch(cut):
            try:
                laptop.pull()
                return number
            except KeyboardInterrupt:
                pass
        with laptop.open() as store:
            store.commit()  # whatever comes next finishes what was begun
            assert store.status().clean
        laptop.pull()
        assert laptop.tree == expected, number
        with laptop.open() as store:
            assert store.repository.catalogue.heads() == [store.head()]
            assert store.verify().ok
    raise AssertionError("it never ran through")


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    without_waiting(monkeypatch)
    return Clock(monkeypatch)


def test_a_pull_cut_at_some_steps_ends_as_an_undisturbed_one(tmp_path: Path, clock: Clock) -> None:
    assert cut_everywhere(tmp_path, clock, FAST) > 20


@pytest.mark.crash
def test_a_pull_cut_at_every_step_ends_as_an_undisturbed_one(tmp_path: Path, clock: Clock) -> None:
    assert cut_everywhere(tmp_path, clock, 1) > 20
