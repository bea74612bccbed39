"""Joining: a clone into a folder whose `Data/` holds files already. They are committed, and merged with the rest."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from memstore import files
from memstore.errors import BadInput
from memstore.store import Store
from tests.command_line import run
from tests.folder_place import Death, Place, put, tree, without_waiting

THERE: dict[str, bytes | None] = {
    "Core/Rules.txt": b"be kind\n",
    "same.txt": b"same\n",
    "theirs.txt": b"theirs\n",
}
HERE: dict[str, bytes | None] = {
    "Core/Rules.txt": b"be brief\n",
    "same.txt": b"same\n",
    "mine.txt": b"mine\n",
}


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    """A memory on a remote, with two versions."""
    without_waiting(monkeypatch)
    made = Place(tmp_path)
    made.commit({"Core/Rules.txt": b"first rules\n", "gone.txt": b"deleted since\n"})
    made.commit({**THERE, "gone.txt": None})
    made.push()
    return made


def checked(place: Place, root: Path) -> Place:
    """What a joined folder must be, whatever was on its way."""
    joined = Place.at(root, place.remote)
    found = tree(joined.data)
    beside = [path for path in found if path not in {*THERE, *HERE}]
    assert len(beside) == 1 and beside[0].startswith("Core/Rules (from ")
    assert {found["Core/Rules.txt"], found[beside[0]]} == {b"be kind\n", b"be brief\n"}
    assert {path: found[path] for path in ("same.txt", "mine.txt", "theirs.txt")} == {
        "same.txt": b"same\n", "mine.txt": b"mine\n", "theirs.txt": b"theirs\n",
    }  # fmt: skip
    with joined.open() as store:
        assert store.verify().problems == ()
        assert not store.status().changes
        head = store.head()
        assert head is not None
        mine, theirs = sorted(
            (store.version(id) for id in store.version(head).parents), key=lambda v: v.generation
        )
        assert (mine.parents, mine.reason) == ((), "saved before joining")
        assert str(theirs.id) in place.heads
    assert not (joined.root / ".memsync/clone").exists()
    return joined


def test_files_that_are_there_are_committed_and_merged(place: Place) -> None:
    root = place.base / "other"
    put(root / "Data", HERE)
    with Store.clone(str(place.remote), root, environ={}) as store:
        assert store.joined is not None
        assert [row.path for row in store.joined.conflicts] == ["Core/Rules.txt"]
    joined = checked(place, root)
    assert joined.push().status == "success"
    with place.open() as store:
        assert store.pull().status == "success"
    assert tree(place.data) == tree(joined.data)


def test_a_workspace_that_was_only_made_joins_with_what_was_not_committed_there(place: Place) -> None:
    root = place.base / "other"
    Store.init(root, environ={}).close()
    put(root / "Data", HERE)
    Store.clone(str(place.remote), root, environ={}).close()
    checked(place, root)


def test_paths_json_says_where_the_files_are(place: Place) -> None:
    root = place.base / "other"
    put(root, {"paths.json": b'{"local_data_dir": "memory/"}', "memory/mine.txt": b"mine"})
    Store.clone(str(place.remote), root, environ={}).close()
    assert tree(root / "memory") == {**tree(place.data), "mine.txt": b"mine"}


def test_the_same_files_join_without_a_word(place: Place) -> None:
    root = place.base / "other"
    put(root / "Data", THERE)
    with Store.clone(str(place.remote), root, environ={}) as store:
        assert store.joined is not None and store.joined.conflicts == ()
    assert tree(root / "Data") == tree(place.data)


def test_an_ignored_file_alone_is_left_where_it_is(place: Place) -> None:
    root = place.base / "other"
    put(root / "Data", {"scratch.tmp": b"ignored\n"})
    Store.clone(str(place.remote), root, environ={}).close()
    assert tree(root / "Data") == {**tree(place.data), "scratch.tmp": b"ignored\n"}


@pytest.mark.parametrize("which", ["of that store", "of another store"])
def test_a_workspace_with_versions_is_refused_with_the_way_out_and_left_as_it_is(
    place: Place, which: str
) -> None:
    if which == "of that store":
        other = place.clone("other")
    else:
        other = Place(place.base, name="other")
        other.commit({"a.txt": b"another store's\n"})
    other.write({"later.txt": b"not committed\n"})
    before = tree(other.root)
    with pytest.raises(BadInput, match="with versions of its own") as caught:
        Store.clone(str(place.remote), other.root, environ={})
    assert "memsync pull" in caught.value.hint and "copy the files" in caught.value.hint
    assert tree(other.root) == before


def test_a_wrong_address_leaves_the_files_alone(place: Place) -> None:
    root = place.base / "other"
    put(root / "Data", HERE)
    before = tree(root)
    with pytest.raises(BadInput):
        Store.clone(str(place.base / "nowhere"), root, environ={})
    assert tree(root) == before


def dies_at(number: int) -> files.Observer:
    steps = 0

    def watch(step: str, path: str, data: bytes) -> None:
        nonlocal steps
        if step in ("read", "sync"):
            return
        steps += 1
        if steps == number:
            raise Death

    return watch


@pytest.mark.parametrize("first", [0, *(pytest.param(first, marks=pytest.mark.crash) for first in (1, 2, 3))])
def test_joining_cut_off_at_any_step_is_finished_by_the_next(place: Place, first: int) -> None:
    """Every fourth step for each `first`; and at none of them is a file that was there gone."""
    for number in range(1 + first, 400, 4):
        root = place.base / f"dead{number}"
        put(root / "Data", HERE)
        try:
            with files.watch(dies_at(number)):
                Store.clone(str(place.remote), root, environ={}).close()
        except Death:
            now = tree(root / "Data")
            assert now["mine.txt"] == b"mine\n"
            if now["Core/Rules.txt"] != b"be brief\n":
                with Place.at(root, place.remote).open() as store:
                    kept = [store.read("Core/Rules.txt", at=v) for v in store.history() if not v.parents]
                assert b"be brief\n" in kept
            if (root / ".memsync/clone").exists() or not (root / ".memsync/format").exists():
                Store.clone(str(place.remote), root, environ={}).close()
            checked(place, root)
        else:
            checked(place, root)
            return
    raise AssertionError("there are more steps than were tried")


def test_files_that_came_while_a_clone_lay_cut_off_are_joined(place: Place) -> None:
    joined = 0
    for number in range(2, 60, 6):
        root = place.base / f"dead{number}"
        try:
            with files.watch(dies_at(number)):
                Store.clone(str(place.remote), root, environ={}).close()
            break
        except Death:
            if not (root / ".memsync/clone").exists() or files.names(str(root / "Data")):
                continue
            put(root / "Data", HERE)
            Store.clone(str(place.remote), root, environ={}).close()
            checked(place, root)
            joined += 1
    assert joined > 2


def test_the_next_step_after_a_clone_begins_in_its_folder(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder, step in ((".", "memsync status"), ("my notes", 'cd "my notes" && memsync status')):
        here = place.base / f"in {folder}"
        here.mkdir()
        monkeypatch.chdir(here)
        assert run("clone", str(place.remote), folder).stdout.endswith(f"next: {step}\n")


def test_the_command_tells_what_was_kept_and_ends_with_1(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("other", "another"):
        put(place.base / name / "Data", HERE)
    monkeypatch.chdir(place.base)
    result = run("clone", str(place.remote), "other")
    assert result.exit_code == 1
    assert "both     Core/Rules.txt" in result.stdout and "memsync push" in result.stdout
    result = run("clone", str(place.remote), "another", "--json")
    assert result.exit_code == 1
    answer = json.loads(result.stdout)
    assert [row["path"] for row in answer["joined"]["conflicts"]] == ["Core/Rules.txt"]
    assert os.path.samefile(answer["workspace"], place.base / "another")
