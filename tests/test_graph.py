"""`log --graph`: lanes that can be followed by eye, held to the parents they stand for."""

from __future__ import annotations

import random
import re
from pathlib import Path

import pytest
from memsync.graph import Graph

from memstore.ids import VersionId
from tests.command_line import run
from tests.folder_place import without_waiting
from tests.merge_places import Clock, Device

Family = list[tuple[str, str]]
"""(version, its parents), a letter each, in log order."""


def id_of(letter: str) -> VersionId:
    return VersionId(letter.encode() * 32)


def drawn(family: Family) -> list[str]:
    graph, lines = Graph(), []
    for letter, parents in family:
        lines.append(graph.node(id_of(letter)).replace("*", letter))
        joint = graph.step(id_of(letter), [id_of(parent) for parent in parents])
        lines += [joint] if joint else []
    return lines


@pytest.mark.parametrize(
    ("family", "lines"),
    [
        ([("b", "a"), ("a", "")], ["b", "a"]),
        (
            [("m", "ab"), ("a", "r"), ("b", "r"), ("r", "")],
            ["m", r"|-\ ".rstrip(), "a |", "| b", "|-/", "r"],
        ),
        (
            [("m", "ab"), ("b", "r"), ("a", "r"), ("r", "")],
            ["m", r"|-\ ".rstrip(), "| b", "a |", "|-/", "r"],
        ),
        (
            [("m", "abc"), ("c", "r"), ("a", "r"), ("b", "r"), ("r", "")],
            ["m", r"|-\-\ ".rstrip(), "| | c", "a | |", "|-|-/", "| b", "|-/", "r"],
        ),
        ([("x", "r"), ("y", "r"), ("r", "")], ["x", "| y", "|-/", "r"]),
        ([("x", ""), ("y", "")], ["x", "y"]),
    ],
)
def test_small_histories_look_so(family: Family, lines: list[str]) -> None:
    assert drawn(family) == lines


@pytest.mark.parametrize("seed", range(40))
def test_whoever_follows_the_lanes_finds_the_parents(seed: int) -> None:
    """A reader that knows nothing but the picture: from each version down, along `|`, and at a joint along
    `-` to where a lane goes on or turns."""
    dice = random.Random(seed)
    letters = [chr(ord("A") + number) for number in range(dice.randrange(2, 26))]
    family: Family = []
    for number, letter in enumerate(letters):
        count = min(number, dice.choice((1, 1, 1, 2, 2, 3)))
        near = letters[max(0, number - 5) : number]
        family.append((letter, "".join(sorted(dice.sample(near, min(count, len(near)))))))
    family.reverse()
    graph = Graph()
    waiting: dict[int, set[str]] = {}
    """By column: the children whose lane is there."""
    found: dict[str, set[str]] = {letter: set() for letter in letters}
    for letter, parents in family:
        column = graph.node(id_of(letter)).index("*")
        assert column % 2 == 0
        assert all(len(mark) == 1 for mark in graph.node(id_of(letter)).split())
        for child in waiting.pop(column, set()):
            found[child].add(letter)
        joint = graph.step(id_of(letter), [id_of(parent) for parent in parents])
        after = graph.lanes()
        if not joint:
            if parents:
                waiting[column] = {letter}
        else:
            ends = _touched(joint, column, waiting)
            for place, (mark, held) in ends.items():
                if mark == "/":  # it ends here, in the lane of the version
                    waiting[column] = waiting.get(column, set()) | held
                    if place == column:
                        waiting.pop(column)
                else:
                    waiting[place] = waiting.get(place, set()) | {letter}
        for place in [*waiting]:
            if place >= len(after) or after[place] != "|":
                waiting.pop(place)
    for letter, parents in family:
        assert set(parents) <= found[letter], (letter, parents, found[letter])


def _touched(joint: str, column: int, waiting: dict[int, set[str]]) -> dict[int, tuple[str, set[str]]]:
    """The columns between the ends of the joint's stroke, with their mark and who waits there."""
    stroke = [place for place, mark in enumerate(joint) if mark == "-"]
    low, high = min(stroke) - 1, max(stroke) + 1
    return {
        place: (joint[place], waiting.get(place, set()))
        for place in range(low, high + 1, 2)
        if joint[place] in "|/\\"
    }


# -- the command -------------------------------------------------------------------------------------------


def test_two_devices_that_merged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    without_waiting(monkeypatch)
    clock = Clock(monkeypatch)
    laptop = Device.first(tmp_path, "laptop", {"a.txt": b"one\n"})
    server = laptop.joined_by("server")
    clock.tick()
    server.save({"server.txt": b"s\n"}, note="on the server")
    clock.tick()
    laptop.save({"laptop.txt": b"l\n"}, note="on the laptop")
    server.push()
    laptop.push()
    laptop.pull()
    clock.tick()
    laptop.save({"a.txt": b"two\n"}, note="after")
    monkeypatch.chdir(laptop.root)
    lines = run("log", "--graph").stdout.splitlines()
    marks = [re.split("[^*|/ \\\\-]", line)[0].rstrip() for line in lines]
    assert sum("*" in mark for mark in marks) == 5
    assert marks[0] == "*" and marks[marks.index("|-\\") - 1] == "*"
    assert "|-/" in marks
    assert all(mark in ("*", "|", "| |", "* |", "| *", "|-\\", "|-/", "") for mark in marks)
    assert sum("on the laptop" in line for line in lines) == 1
    only = run("log", "--graph", "server.txt").stdout
    assert "on the server" in only and "on the laptop" not in only
    assert run("log", "--graph", "-n", "1").stdout.startswith("*  ")
    assert run("log", "--graph", "--tag", "nobody").stdout == "no versions\n"
    with laptop.open() as store:
        order = [version.id for version in store.history()]
        family = dict(store.family())
        assert list(family) == order
        assert all(order.index(parent) > order.index(id) for id in order for parent in family[id])
        assert family == {version.id: version.parents for version in store.history()}
