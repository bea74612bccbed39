"""Two devices that worked apart: what a pull makes of it, and that any device makes the same."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.folder_place import without_waiting
from tests.merge_places import Clock, Device


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    without_waiting(monkeypatch)
    return Clock(monkeypatch)


@pytest.fixture
def two(tmp_path: Path, clock: Clock) -> tuple[Device, Device]:
    """The second is later: its clock goes on by a minute before its change."""
    laptop = Device.first(
        tmp_path,
        "laptop",
        {"Rules.txt": b"one\ntwo\nthree\n", "log.txt": b"begin\n", "state.json": b'{"a": 1, "b": 2}\n'},
    )
    return laptop, laptop.joined_by("server")


def test_two_devices_that_merge_at_once_make_the_same_version(
    two: tuple[Device, Device], clock: Clock
) -> None:
    laptop, server = two
    laptop.save(
        {
            "Rules.txt": b"ONE\ntwo\nthree\n",
            "log.txt": b"begin\nlaptop\n",
            "state.json": b'{"a": 7, "b": 2}\n',
        }
    )
    clock.tick()
    server.save(
        {
            "Rules.txt": b"one\ntwo\nTHREE\n",
            "log.txt": b"begin\nserver\n",
            "state.json": b'{"a": 1, "b": 9}\n',
        }
    )
    laptop.push()
    server.push()
    assert len(laptop.heads) == 2
    clock.tick()
    mine = laptop.pull()
    clock.tick()
    theirs = server.pull()
    assert mine.status == theirs.status == "success"
    assert mine.version == theirs.version
    assert laptop.tree == server.tree
    assert laptop.tree["Rules.txt"] == b"ONE\ntwo\nTHREE\n"
    assert laptop.tree["log.txt"] == b"begin\nlaptop\nserver\n"
    assert laptop.tree["state.json"] == b'{"a": 7, "b": 9}\n'
    assert mine.merged == ("Rules.txt", "log.txt", "state.json")
    with laptop.open() as store:
        assert store.status().clean
        assert store.verify().ok
        assert store.version(str(mine.version)).merge_rules == 1
    laptop.push()
    server.push()
    assert laptop.heads == [str(mine.version)]


def test_where_both_changed_the_same_line_both_are_kept(two: tuple[Device, Device], clock: Clock) -> None:
    laptop, server = two
    laptop.save({"Rules.txt": b"laptop\n"})
    clock.tick()
    server.save({"Rules.txt": b"server\n"})
    laptop.push()
    server.push()
    report = laptop.pull()
    beside = "Rules (from laptop 2025-04-23T14-02-00Z).txt"
    assert report.as_json()["conflicts"] == [{"path": "Rules.txt", "kept_as": beside}]
    assert (laptop.tree["Rules.txt"], laptop.tree[beside]) == (b"server\n", b"laptop\n")
    assert server.pull().version == report.version
