"""A mistyped path is answered with the one that may have been meant."""

from __future__ import annotations

from pathlib import Path

import pytest

from memstore.actions import similar
from tests.command_line import run
from tests.folder_place import Place


@pytest.fixture
def place(tmp_path: Path) -> Place:
    made = Place(tmp_path)
    made.commit({"Core/Rules.txt": b"be kind\n", "Meta/plan.md": b"a plan\n", "Core/gone.txt": b"gone\n"})
    made.commit({"Core/gone.txt": None})
    return made


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("Core/Rulez.txt", "Core/Rules.txt"),
        ("core/rules.txt", "Core/Rules.txt"),
        ("Rules.txt", "Core/Rules.txt"),
        ("Old/plan.md", "Meta/plan.md"),
        ("Core/gon.txt", "Core/gone.txt"),
        ("rules", "Core/Rules.txt"),
        ("Rulez", "Core/Rules.txt"),
        ("Rulez.txt", "Core/Rules.txt"),
        ("Core/Rule", "Core/Rules.txt"),
    ],
)
@pytest.mark.parametrize("verb", ["restore", "log", "commit"])
def test_a_path_that_is_like_it_is_named(place: Place, verb: str, typed: str, meant: str) -> None:
    result = run("-C", str(place.root), verb, typed)
    assert (result.exit_code, f"hint: did you mean {meant}?" in result.stderr) == (8, True)


def test_of_several_that_are_like_it_two_are_named_the_nearest_first(place: Place) -> None:
    place.commit({"Core/Rules 2.txt": b"others\n", "Core/Rules (old).txt": b"former\n"})
    said = run("-C", str(place.root), "restore", "Rules").stderr
    assert "did you mean Core/Rules.txt or Core/Rules 2.txt?" in said


def test_what_is_like_nothing_gets_no_guess(place: Place) -> None:
    with place.open() as store:
        assert store.similar("zzz") == []
        assert store.similar("") == []


@pytest.mark.parametrize("verb", ["restore", "log", "commit", "ls"])
def test_a_path_like_nothing_is_sent_to_the_lists_and_not_back_to_where_it_came_from(
    place: Place, verb: str
) -> None:
    said = run("-C", str(place.root), verb, "zzz").stderr
    assert "hint: 'memsync ls' lists what there is, 'memsync ls Archive/'" in said
    assert "memsync log PATH" not in said


def test_in_a_long_history_only_the_last_name_is_looked_at(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(similar, "COMPARED", 0)
    with place.open() as store:
        assert store.similar("Core/Rulez.txt") == []
        assert store.similar("RULES.TXT") == ["Core/Rules.txt"]


def test_two_of_the_same_last_name_are_both_named(place: Place) -> None:
    place.commit({"Other/plan.md": b"another\n"})
    assert (
        "did you mean Meta/plan.md or Other/plan.md?"
        in run("-C", str(place.root), "restore", "plan.md").stderr
    )


def test_a_version_in_the_place_of_a_path_is_told_where_it_goes(place: Place) -> None:
    told = run("-C", str(place.root), "restore", "Core/Rules.txt", "HEAD~1").stderr
    assert "memsync restore Core/Rules.txt --at HEAD~1" in told
