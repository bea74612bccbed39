"""A person's hand in the mirror: edits come home as versions, and nothing anybody wrote is lost."""

from __future__ import annotations

import os
import re
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from memstore.errors import DiskTrouble
from memstore.worktree import materialise
from tests.folder_place import (
    Cut,
    Place,
    archived,
    forget_catalogue,
    pushed,
    put,
    references,
    tree,
    trouble,
    without_waiting,
)

STAMP = r"\d{4}-\d\d-\d\dT\d\d-\d\d-\d\dZ"


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    without_waiting(monkeypatch)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


# -- a person's hand -------------------------------------------------------------------------------------------


def test_an_edit_in_the_mirror_becomes_the_newest_version_and_appears_in_data(place: Place) -> None:
    pushed(place, {"Core/a.txt": b"mine\n", "b.txt": b"b\n"})
    put(place.remote, {"Core/a.txt": b"by hand\n"})
    report = place.push()
    assert (place.data / "Core/a.txt").read_bytes() == b"by hand\n"
    assert place.mirror["Core/a.txt"] == b"by hand\n"
    assert place.history("Core/a.txt") == [b"by hand\n", b"mine\n"]
    assert any("Core/a.txt" in note and "by hand" in note for note in report.notes)
    with place.open() as store:
        newest = next(store.history())
        assert (newest.actor, [change.path for change in newest.changes]) == ("drive", ["Core/a.txt"])
        assert newest.changes[0].archived_as is not None
        assert store.status().clean
    assert tree(place.clone("other").data)["Core/a.txt"] == b"by hand\n"
    assert place.push().status == "nothing"


def test_an_edit_is_brought_home_when_the_file_was_about_to_be_replaced(place: Place) -> None:
    pushed(place, {"a.txt": b"mine\n"})
    put(place.remote, {"a.txt": b"by hand\n"})
    report = pushed(place, {"a.txt": b"changed here\n"})
    (beside,) = [path for path in tree(place.data) if path != "a.txt"]
    assert re.fullmatch(rf"a \(from Drive {STAMP}\)\.txt", beside)
    assert tree(place.data) == {"a.txt": b"changed here\n", beside: b"by hand\n"}
    assert any(beside in note for note in report.notes)
    assert place.mirror["a.txt"] == b"changed here\n"
    assert place.mirror[beside] == b"by hand\n"
    with place.open() as store:
        assert next(store.history(beside)).actor == "drive"
        assert store.status().clean
    assert place.push().status == "nothing"


def test_what_is_uncommitted_in_data_is_committed_before_an_edit_comes_home(place: Place) -> None:
    pushed(place, {"a.txt": b"mine\n"})
    put(place.remote, {"a.txt": b"by hand\n"})
    place.write({"a.txt": b"not committed\n"})
    place.push()
    assert (place.data / "a.txt").read_bytes() == b"not committed\n"
    assert {b"mine\n", b"by hand\n", b"not committed\n"} <= place.contents()


def test_the_same_edit_on_both_sides_makes_no_copy(place: Place) -> None:
    pushed(place, {"a.txt": b"mine\n"})
    put(place.remote, {"a.txt": b"agreed\n"})
    pushed(place, {"a.txt": b"agreed\n"})
    assert tree(place.data) == {"a.txt": b"agreed\n"}
    assert place.mirror["a.txt"] == b"agreed\n"
    assert place.push().status == "nothing"


def test_an_edit_of_a_file_that_was_deleted_here_comes_home_beside(place: Place) -> None:
    pushed(place, {"a.txt": b"mine\n", "b.txt": b"b\n"})
    put(place.remote, {"a.txt": b"by hand\n"})
    pushed(place, {"a.txt": None})
    assert b"by hand\n" in tree(place.data).values()
    assert b"by hand\n" in place.contents()
    assert "a.txt" not in place.mirror
    assert place.push().status == "nothing"


def test_an_edit_of_more_than_a_piece_comes_home_whole(place: Place) -> None:
    pushed(place, {"a.bin": b"small"})
    large = os.urandom(17 << 20)
    put(place.remote, {"a.bin": large})
    place.push()
    assert (place.data / "a.bin").read_bytes() == large
    with place.open() as store:
        assert store.read("a.bin") == large
        assert store.verify().ok


def test_an_edit_comes_home_though_the_network_fails_right_after(place: Place) -> None:
    pushed(place, {"a.txt": b"mine\n"})
    put(place.remote, {"a.txt": b"by hand\n"})
    for at in range(1, 40):
        place.push(cut=Cut(at, trouble, after=True))
    place.push()
    assert place.history("a.txt") == [b"by hand\n", b"mine\n"]
    assert place.mirror["a.txt"] == b"by hand\n"


def test_a_file_that_a_person_removed_stays_away_until_it_changes(place: Place) -> None:
    pushed(place, {"a.txt": b"a\n", "b.txt": b"b\n"})
    (place.remote / "a.txt").unlink()
    pushed(place, {"b.txt": b"b\nb\n"})
    assert "a.txt" not in place.mirror
    assert (place.data / "a.txt").exists()
    report = pushed(place, {"a.txt": b"changed\n"})
    assert place.mirror["a.txt"] == b"changed\n"
    assert any("a.txt" in note and "removed" in note for note in report.notes)


@pytest.mark.parametrize("named", ["Core/a.txt", "Core", "."])
def test_a_push_that_names_what_a_person_removed_puts_it_back(place: Place, named: str) -> None:
    pushed(place, {"Core/a.txt": b"a\n", "b.txt": b"b\n"})
    (place.remote / "Core" / "a.txt").unlink()
    assert place.push().status == "nothing"
    assert place.push("b.txt").status == "nothing"
    report = place.push(named)
    assert (report.status, report.mirror.created) == ("success", 1)
    assert any("removed" in note for note in report.notes)
    assert place.mirror == {"Core/a.txt": b"a\n", "b.txt": b"b\n"}
    assert place.push(named).status == "nothing"


def test_a_file_that_a_person_removed_and_that_is_deleted_here_is_no_trouble(place: Place) -> None:
    pushed(place, {"a.txt": b"a\n", "b.txt": b"b\n"})
    (place.remote / "a.txt").unlink()
    pushed(place, {"a.txt": None})
    assert place.mirror == {"b.txt": b"b\n"}
    assert place.push().status == "nothing"


def test_a_renamed_file_keeps_its_new_name_and_its_bytes(place: Place) -> None:
    pushed(place, {"a.txt": b"a\n", "b.txt": b"b\n"})
    (place.remote / "a.txt").rename(place.remote / "mine now.txt")
    pushed(place, {"a.txt": b"a\nmore\n"})
    assert place.mirror == {"a.txt": b"a\nmore\n", "b.txt": b"b\n", "mine now.txt": b"a\n"}


def test_a_persons_file_where_memsync_wants_to_write_comes_home_first(place: Place) -> None:
    pushed(place, {"b.txt": b"b\n"})
    put(place.remote, {"notes/a.txt": b"a person's\n"})
    pushed(place, {"notes/a.txt": b"memsync's\n"})
    assert place.mirror["notes/a.txt"] == b"memsync's\n"
    assert b"a person's\n" in place.contents()
    assert b"a person's\n" in tree(place.data).values()
    assert place.push().status == "nothing"


def test_the_same_bytes_where_memsync_wants_to_write_are_taken_for_its_own(place: Place) -> None:
    put(place.remote, {"a.txt": b"a\n"})
    pushed(place, {"a.txt": b"a\n"})
    pushed(place, {"a.txt": b"a\nb\n"})
    assert place.mirror == {"a.txt": b"a\nb\n"}
    assert tree(place.data) == {"a.txt": b"a\nb\n"}


def test_a_persons_file_under_an_archive_name_is_not_overwritten(place: Place) -> None:
    pushed(place, {"a.txt": b"one\n"})
    place.commit({"a.txt": b"two\n"})
    (name,) = references(place)
    put(place.remote, {name: b"a person's\n"})
    place.push()
    assert place.mirror[name] == b"a person's\n"
    assert place.mirror["a.txt"] == b"two\n"
    assert sorted(archived(place).values()) == [b"a person's\n", b"one\n"]
    assert place.push().status == "nothing"


@pytest.mark.parametrize("mine", [{"notes": b"a file\n"}, {"notes/deep/a.txt": b"below\n"}])
def test_a_persons_folder_or_file_in_the_way_is_left_and_named(place: Place, mine: dict[str, bytes]) -> None:
    other = {"notes/theirs.txt": b"theirs\n"} if "notes" in mine else {"notes": b"theirs\n"}
    pushed(place, {"b.txt": b"b\n"})
    put(place.remote, other)
    place.commit(dict(mine))
    report = place.push()
    assert report.mirror.failed == 1
    assert any("could not be mirrored" in told for told in report.warnings)
    assert place.mirror == {"b.txt": b"b\n"} | other
    assert set(mine.values()) <= place.contents()


def test_a_mirror_file_set_back_to_an_earlier_version_gets_the_newest_again(place: Place) -> None:
    pushed(place, {"a.txt": b"one\n"})
    pushed(place, {"a.txt": b"two\n"})
    put(place.remote, {"a.txt": b"one\n"})
    place.push()
    assert place.mirror["a.txt"] == b"two\n"
    assert place.push().status == "nothing"


def test_a_file_only_touched_is_not_taken_for_an_edit(place: Place) -> None:
    pushed(place, {"a.txt": b"one\n"})
    os.utime(place.remote / "a.txt", (1, 1))
    assert place.push().status == "nothing"
    assert place.history("a.txt") == [b"one\n"]


# -- nothing a person wrote is lost ----------------------------------------------------------------------------

PATHS = ("a.txt", "Core/b.txt", "Core/deep/c.md", "d")
BYTES = st.one_of(
    st.binary(min_size=1, max_size=30), st.sampled_from([b"one\n", b"one\ntwo\n", b"one\ntwo\nthree\n"])
)
SAVE = st.tuples(st.just("save"), st.sampled_from(PATHS), BYTES)
APPEND = st.tuples(st.just("append"), st.sampled_from(PATHS), BYTES)
DELETE = st.tuples(st.just("delete"), st.sampled_from(PATHS), st.just(b""))
EDIT = st.tuples(st.just("edit"), st.sampled_from(PATHS), BYTES)
REMOVE = st.tuples(st.just("remove"), st.sampled_from(PATHS), st.just(b""))
RENAME = st.tuples(st.just("rename"), st.sampled_from(PATHS), st.sampled_from([b"x", b"y"]))
PLAIN = st.sampled_from(["commit", "push", "push Core", "forget", "cut"])
STEP = st.one_of(SAVE, APPEND, DELETE, EDIT, REMOVE, RENAME, st.tuples(PLAIN, st.just(""), st.just(b"\x05")))


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(STEP, min_size=3, max_size=24))
def test_every_byte_string_that_ever_lay_on_either_side_can_still_be_read(
    steps: list[tuple[str, str, bytes]],
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        place = Place(Path(folder))
        pushed(place, {"a.txt": b"one\n"})
        written: set[bytes] = {b"one\n"}
        by_hand: set[bytes] = set()
        for number, (verb, path, data) in enumerate(steps):
            here, there = place.data / path, place.remote / path
            if verb in ("save", "append"):
                whole = (here.read_bytes() if verb == "append" and here.exists() else b"") + data
                place.write({path: whole})
                written.add(whole)
                place.commit()
            elif verb == "delete" and here.exists():
                place.write({path: None})
                place.commit()
            elif verb == "edit":
                if not in_the_way(place.remote, path):
                    by_hand -= unseen(place, there)
                    put(place.remote, {path: data})
                    by_hand.add(data)
            elif verb == "remove" and there.is_file():
                by_hand -= unseen(place, there)
                there.unlink()
            elif verb == "rename" and there.is_file():
                there.rename(place.remote / f"{number}-{data.decode()}")
            elif verb == "commit":
                place.commit()
            elif verb == "push":
                assert place.push().exit_code == 0
            elif verb == "push Core":
                assert place.push("Core").exit_code == 0
            elif verb == "forget":
                forget_catalogue(place)
            elif verb == "cut":
                place.push(cut=Cut(3 + number, trouble, after=bool(number % 2)))
            if verb not in ("save", "append", "commit"):
                assert_nothing_lost(place, written, by_hand)
        assert place.push().exit_code == 0
        assert_nothing_lost(place, written, by_hand)
        assert place.push().status == "nothing"
        assert tree(place.clone("clone").data) == tree(place.data)
        with place.open() as store:
            assert store.status().clean
            assert store.verify().ok


def unseen(place: Place, file: Path) -> set[bytes]:
    """A person's bytes that no push has met yet: whoever overwrites or removes their own means it."""
    return {file.read_bytes()} - place.contents() if file.is_file() else set()


def in_the_way(root: Path, path: str) -> bool:
    """Whether the path is a folder, or below a file."""
    return (root / path).is_dir() or any(
        (root / above).is_file() for above in map(str, Path(path).parents) if above != "."
    )


def assert_nothing_lost(place: Place, written: set[bytes], by_hand: set[bytes]) -> None:
    """What was saved is in a version; what a person wrote is in a version or lies where they left it."""
    held = place.contents()
    assert written <= held
    assert by_hand <= held | set(place.mirror.values())


def test_a_hand_and_a_change_here_of_a_long_name_are_both_kept(place: Place) -> None:
    name = "y" * 240 + ".md"
    pushed(place, {name: b"mine\n"})
    put(place.remote, {name: b"by hand\n"})
    report = pushed(place, {name: b"changed here\n"})
    assert (report.status, report.warnings) == ("success", ())
    assert sorted(tree(place.data).values()) == [b"by hand\n", b"changed here\n"]
    assert all(len(path) <= 255 for path in tree(place.data))
    assert place.push().status == "nothing"


def test_what_came_from_a_hand_and_can_not_be_written_is_a_warning(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    pushed(place, {"a.txt": b"mine\n"})
    put(place.remote, {"a.txt": b"by hand\n"})

    def refuse(*_: object, **__: object) -> None:
        raise DiskTrouble("could not write a.txt", hint="look at that disk")

    with monkeypatch.context() as patch:
        patch.setattr(materialise, "write_file", refuse)
        report = place.push()
    assert len([told for told in report.warnings if "a.txt is left as it was" in told]) == 1
    assert place.commit() is None
    assert tree(place.data) == {"a.txt": b"by hand\n"}
