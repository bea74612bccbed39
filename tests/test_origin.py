"""`show` of a merge, and `diff` against its parents: what came from where."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from memstore.actions.origin import origins
from tests.command_line import run
from tests.folder_place import without_waiting
from tests.merge_places import Clock, Device


@pytest.fixture
def merged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Device, dict[str, str]]:
    """The device that merged, and the last version of each side by its device's name."""
    without_waiting(monkeypatch)
    clock = Clock(monkeypatch)
    laptop = Device.first(
        tmp_path,
        "laptop",
        {"a.txt": b"1\n2\n3\n", "gone.txt": b"x\n", "log.txt": b"begin\n", "same.txt": b"s\n"},
    )
    server = laptop.joined_by("server")
    clock.tick()
    server.save({"server.txt": b"s\n", "gone.txt": None, "log.txt": b"begin\nserver\n"})
    clock.tick()
    laptop.save({"a.txt": b"1\n2\nthree\n", "log.txt": b"begin\nlaptop\n"})
    heads = {"server": server.head, "laptop": laptop.head}
    server.push()
    laptop.pull()
    return laptop, heads


def test_each_path_says_which_side_it_came_from(merged: tuple[Device, dict[str, str]]) -> None:
    device, heads = merged
    with device.open() as store:
        head = store.head()
        assert head is not None
        rows = {row.path: row for row in origins(store.repository, store.version(head))}
    assert {path: (row.change.word, [str(id) for id in row.sources]) for path, row in rows.items()} == {
        "a.txt": ("replace", [heads["laptop"]]),
        "gone.txt": ("delete", [heads["server"]]),
        "log.txt": ("replace", []),
        "server.txt": ("add", [heads["server"]]),
    }


def test_show_tells_it_and_how_both_sides_were_united(
    merged: tuple[Device, dict[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    device, heads = merged
    monkeypatch.chdir(device.root)
    text = run("show").stdout
    mine, theirs = (text.index(f"  from {heads[name][:12]}") for name in ("laptop", "server"))
    sides = {"laptop": mine, "server": theirs, "both": text.index("  of both")}
    for path, side in (
        ("a.txt", "laptop"),
        ("server.txt", "server"),
        ("gone.txt", "server"),
        ("log.txt", "both"),
    ):
        assert max(place for place in sides.values() if place < text.index(f"  {path}\n")) == sides[side]
    assert text.count("+server") == 1 and text.count("+laptop") == 1
    assert "+three" not in text
    answer = json.loads(run("show", "--json").stdout)
    assert {row["path"]: row["from"] for row in answer["origins"]} == {
        "a.txt": [heads["laptop"]], "gone.txt": [heads["server"]], "log.txt": [], "server.txt": [heads["server"]],
    }  # fmt: skip
    assert "origins" not in json.loads(run("show", heads["laptop"], "--json").stdout)


def test_a_side_file_is_shown_once_and_what_differs_on_both_sides_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_waiting(monkeypatch)
    clock = Clock(monkeypatch)
    laptop = Device.first(tmp_path, "laptop", {"a.txt": b"a\n", "log.txt": b"begin\n"})
    server = laptop.joined_by("server")
    clock.tick()
    server.save({"a.txt": b"server's\n", "log.txt": b"begin\nserver\n"})
    clock.tick()
    laptop.save({"a.txt": b"laptop's\n", "log.txt": b"begin\nlaptop\n"})
    heads = (laptop.head, server.head)
    server.push()
    laptop.pull()
    monkeypatch.chdir(laptop.root)
    text = run("show").stdout
    assert text.count("+server's\n") == 1
    assert text.count("\nreplace log.txt") == 2
    assert sorted(text.splitlines()[-2:]) == sorted(
        f"all that differs from {str(head)[:12]}: memsync diff {str(head)[:12]} {str(laptop.head)[:12]}"
        for head in heads
    )


def test_diff_goes_against_either_parent(
    merged: tuple[Device, dict[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    device, heads = merged
    monkeypatch.chdir(device.root)
    for name, paths in (("laptop", {"gone.txt", "log.txt", "server.txt"}), ("server", {"a.txt", "log.txt"})):
        answer = json.loads(run("diff", heads[name], device.head, "--json").stdout)
        assert {row["path"] for row in answer["differences"]} == paths
        assert f"memsync diff {heads[name][:12]} {device.head[:12]}" in run("show").stdout
