"""pull from a folder: HEAD moves forward; what is uncommitted is committed first; what was made apart stays."""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path

import pytest

from memstore.errors import BadInput, Conflict, DamagedData, MemsyncError, RemoteMissing, RemoteTrouble
from tests.command_line import run
from tests.folder_place import (
    Cut,
    Death,
    Place,
    Watched,
    head_of,
    put,
    tree,
    trouble,
    without_waiting,
)


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    without_waiting(monkeypatch)


@pytest.fixture
def two(tmp_path: Path) -> tuple[Place, Place]:
    """Two workspaces at the same version."""
    first = Place(tmp_path)
    first.commit(
        {"a.txt": b"a\n", "gone.txt": b"to be deleted\n", "turns": b"a file\n", "Core/b.txt": b"b\n"}
    )
    first.push()
    return first, first.clone("second")


def goes_on(place: Place) -> str:
    """Every kind of change, committed and pushed; the newest version."""
    place.commit({"a.txt": b"a\nmore\n", "gone.txt": None, "turns": None})
    put(place.data, {"turns/1.txt": b"below\n", "Core/new.txt": b"new\n"})
    os.symlink("a.txt", place.data / "link")
    (place.data / "Core/b.txt").chmod(0o755)
    head = place.commit()
    place.push()
    assert head is not None
    return head


def test_a_head_that_is_ahead_is_brought_into_data(two: tuple[Place, Place]) -> None:
    first, second = two
    head = goes_on(second)
    with first.open() as store:
        report = store.pull()
        assert (report.status, str(report.version)) == ("success", head)
        assert store.status().clean
        assert store.verify().ok
    assert tree(first.data) == tree(second.data)
    assert os.readlink(first.data / "link") == "a.txt"
    assert os.access(first.data / "Core/b.txt", os.X_OK)
    assert head_of(first) == head


def test_a_pull_says_what_it_changed_in_data(
    two: tuple[Place, Place], monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = two
    goes_on(second)
    put(second.data, {f"many/{number:02}.txt": b"x\n" for number in range(30)})
    second.commit()
    second.push()
    monkeypatch.chdir(first.root)
    told = run("pull").stdout
    assert re.search(r"^  add +Core/new\.txt$", told, re.MULTILINE)
    assert re.search(r"^  replace +a\.txt$", told, re.MULTILINE)
    assert re.search(r"^  delete +gone\.txt$", told, re.MULTILINE)
    assert "  … and 17 more\n" in told
    second.commit({"a.txt": None})
    second.push()
    document = json.loads(run("push", "--pull", "--json").stdout)["pull"]
    assert document["changes"] == [{"path": "a.txt", "change": "delete"}]


def test_a_side_file_of_another_devices_merge_is_told_of(two: tuple[Place, Place]) -> None:
    first, second = two
    third = first.clone("third")
    first.commit({"a.txt": b"one\n"})
    first.push()
    second.commit({"a.txt": b"two\n"})
    with second.open() as store:
        (conflict,) = store.pull().conflicts
        store.push()
    with third.open() as store:
        report = store.pull()
    assert (report.status, report.conflicts) == ("success", ())
    (note,) = report.notes
    assert note.startswith(f"{conflict.kept_as} is one side of a conflict")


def test_status_says_that_another_device_has_pushed(
    two: tuple[Place, Place], monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = two
    second.commit({"b.txt": b"b\n"})
    second.push()
    first.commit({"c.txt": b"c\n"})
    monkeypatch.chdir(first.root)
    assert run("status", "--json").stdout.count('"ahead": false') == 1
    assert run("push").exit_code == 1
    told = run("status").stdout
    assert "another device has pushed" in told and told.endswith("next    memsync push --pull\n")
    assert run("push", "--pull").exit_code == 0
    assert "another device" not in run("status").stdout


def test_a_pull_with_nothing_new_is_nothing(two: tuple[Place, Place]) -> None:
    first, second = two
    before = tree(first.data)
    for place in (first, second):
        with place.open() as store:
            report = store.pull()
            assert (report.status, str(report.version)) == ("nothing", head_of(first))
    first.commit({"mine.txt": b"not pushed\n"})
    with first.open() as store:
        assert store.pull().status == "nothing"
    assert tree(first.data) == before | {"mine.txt": b"not pushed\n"}


def test_a_pull_from_a_folder_that_nothing_was_pushed_to_names_the_push(tmp_path: Path) -> None:
    place = Place(tmp_path)
    place.commit({"a.txt": b"a\n"})
    with place.open() as store, pytest.raises(RemoteMissing, match="is not there") as caught:
        store.pull()
    assert "then 'memsync push'" in caught.value.hint


def test_after_a_pull_both_go_on_in_turns(two: tuple[Place, Place]) -> None:
    first, second = two
    for number in range(3):
        for writer, reader in ((first, second), (second, first)):
            writer.commit({"turn.txt": b"%d %s" % (number, writer.root.name.encode())})
            assert writer.push().status == "success"
            assert writer.heads == [head_of(writer)]
            with reader.open() as store:
                assert store.pull().status == "success"
            assert tree(reader.data) == tree(writer.data)


def test_what_is_uncommitted_is_a_version_before_anything_else_happens(two: tuple[Place, Place]) -> None:
    first, second = two
    goes_on(second)
    first.write({"mine.txt": b"not committed\n", "a.txt": b"a\nmine\n"})
    with first.open() as store:
        try:
            store.pull()
        except Conflict:
            # Both sides have versions of their own now: without merging, a person decides.
            assert tree(first.data)["a.txt"] == b"a\nmine\n"
    assert tree(first.data)["mine.txt"] == b"not committed\n"
    assert {b"not committed\n", b"a\nmine\n", b"a\nmore\n"} <= first.contents()


def test_files_that_no_version_knows_and_that_are_ignored_survive_a_pull(two: tuple[Place, Place]) -> None:
    first, second = two
    goes_on(second)
    first.write({"scratch.tmp": b"ignored\n"})
    with first.open() as store:
        assert store.pull().status == "success"
    assert tree(first.data)["scratch.tmp"] == b"ignored\n"


def test_both_sides_of_what_was_made_apart_are_here_after_a_pull(two: tuple[Place, Place]) -> None:
    first, second = two
    goes_on(second)
    first.commit({"mine.txt": b"mine\n"})
    with first.open() as store:
        try:
            store.pull()
        except Conflict as error:
            assert (error.exit_code, error.code) == (3, "diverged")
            assert error.hint
            assert tree(first.data)["a.txt"] == b"a\n"
            assert str(store.head()) == head_of(first)
    assert tree(first.data)["mine.txt"] == b"mine\n"
    assert {b"mine\n", b"a\nmore\n", b"new\n"} <= first.contents()


def test_a_pull_of_what_was_never_pushed_says_so(tmp_path: Path) -> None:
    place = Place(tmp_path)
    place.commit({"a.txt": b"a\n"})
    with place.open() as store, pytest.raises(RemoteMissing) as caught:
        store.pull()
    assert caught.value.exit_code == 5


def test_a_pull_from_another_store_is_refused(two: tuple[Place, Place], tmp_path: Path) -> None:
    first, _ = two
    other = Place(tmp_path / "elsewhere")
    other.commit({"theirs.txt": b"theirs\n"})
    other.push()
    with first.open() as store:
        store.set_remote(str(other.remote))
        with pytest.raises(BadInput, match="another store") as caught:
            store.pull()
    assert (caught.value.exit_code, caught.value.code) == (8, "other_store")
    assert "theirs.txt" not in tree(first.data)


def test_a_damaged_pack_is_refused_and_changes_nothing(two: tuple[Place, Place]) -> None:
    first, second = two
    old = set(first.packs)
    goes_on(second)
    (new,) = set(first.packs) - old
    path = first.remote / ".memsync/packs" / new
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    before, head = tree(first.data), head_of(first)
    with first.open() as store, pytest.raises(DamagedData) as caught:
        store.pull()
    assert (caught.value.exit_code, tree(first.data), head_of(first)) == (6, before, head)
    path.write_bytes(whole)
    with first.open() as store:
        assert store.pull().status == "success"
        assert store.verify().ok


def test_packs_without_heads_are_trouble(two: tuple[Place, Place]) -> None:
    first, _ = two
    shutil.rmtree(first.remote / ".memsync/heads")
    with first.open() as store, pytest.raises(RemoteTrouble, match="no heads"):
        store.pull()


def test_a_head_whose_pack_is_not_in_the_folder_is_named_as_missing_and_changes_nothing(
    two: tuple[Place, Place],
) -> None:
    first, second = two
    old = set(first.packs)
    goes_on(second)
    (new,) = set(first.packs) - old
    path = first.remote / ".memsync/packs" / new
    whole = path.read_bytes()
    path.unlink()
    before, head = tree(first.data), head_of(first)
    with first.open() as store, pytest.raises(DamagedData, match="is missing") as caught:
        store.pull()
    assert (caught.value.exit_code, tree(first.data), head_of(first)) == (6, before, head)
    assert new in caught.value.message and "memsync repair" in caught.value.hint
    path.write_bytes(whole)
    with first.open() as store:
        assert store.pull().status == "success"


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("how", [trouble, Death])
def test_a_pull_cut_at_any_call_and_made_again_ends_as_an_undisturbed_one(
    two: tuple[Place, Place], monkeypatch: pytest.MonkeyPatch, how: type[BaseException], after: bool
) -> None:
    first, second = two
    head = goes_on(second)
    told: list[tuple[str, str]] = []
    saved = first.base / "saved"
    shutil.copytree(first.root, saved, symlinks=True)
    before = tree(first.data)
    with first.open() as store:
        monkeypatch.setattr(store, "_open_remote", lambda: Watched(first.remote, told))
        store.pull()
    for at in range(1, len(told) + 1):
        shutil.rmtree(first.root)
        shutil.copytree(saved, first.root, symlinks=True)
        remote = Watched(first.remote, [], Cut(at, how, after=after))
        with first.open() as store:
            monkeypatch.setattr(store, "_open_remote", lambda remote=remote: remote)
            with pytest.raises((MemsyncError, Death)):
                store.pull()
        assert tree(first.data) == before
        with first.open() as store:
            assert store.pull().status == "success"
            assert store.status().clean
        assert (tree(first.data), head_of(first)) == (tree(second.data), head)
