"""The mirror on a folder remote: readable, never overwritten blind, and what a person does there comes home."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

import pytest

from memstore.remotes.folder import FolderRemote
from memstore.reports import PushReport
from tests.command_line import run
from tests.folder_place import (
    Place,
    archived,
    forget_catalogue,
    pushed,
    put,
    references,
    tree,
    without_waiting,
)

STAMP = r"\d{4}-\d\d-\d\dT\d\d-\d\d-\d\dZ"


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    without_waiting(monkeypatch)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def counts(report: PushReport) -> tuple[int, int, int, int, int]:
    mirror = report.mirror
    return mirror.created, mirror.updated, mirror.moved, mirror.skipped, mirror.failed


# -- what memsync does there -----------------------------------------------------------------------------------


def test_files_lie_there_under_their_own_names(place: Place) -> None:
    files: dict[str, bytes | None] = {
        "Core/Rules.txt": b"be kind\n",
        "Meta/naïve ☃.json": b"{}",
        "empty": b"",
        "Archive/kept by hand.txt": b"a real file\n",
    }
    pushed(place, files)
    assert place.mirror == files


def test_a_replaced_file_moves_to_its_archive_name_with_the_old_bytes(place: Place) -> None:
    pushed(place, {"Core/Rules.txt": b"be kind\n"})
    report = pushed(place, {"Core/Rules.txt": b"be wise\n"})
    assert counts(report) == (1, 0, 1, 0, 0)
    (name,) = archived(place)
    assert re.fullmatch(rf"Archive/Core/Rules_{STAMP}\.txt", name)
    assert place.mirror == {"Core/Rules.txt": b"be wise\n", name: b"be kind\n"}
    assert archived(place) == references(place)


def test_an_appended_file_is_updated_in_place(place: Place) -> None:
    pushed(place, {"a.txt": b"one\n"})
    report = pushed(place, {"a.txt": b"one\ntwo\n"})
    assert counts(report) == (0, 1, 0, 0, 0)
    assert place.mirror == {"a.txt": b"one\ntwo\n"}


def test_a_replaced_file_above_the_archives_limit_is_updated_in_place(tmp_path: Path) -> None:
    place = Place(tmp_path, config="[mirror]\narchive_max_size = 100\n")
    pushed(place, {"a.txt": b"x" * 101, "b.txt": b"x" * 100})
    report = pushed(place, {"a.txt": b"y" * 101, "b.txt": b"y" * 100})
    assert counts(report) == (1, 1, 1, 0, 0)
    assert place.mirror["a.txt"] == b"y" * 101
    assert [*archived(place).values()] == [b"x" * 100]


def test_a_deleted_file_moves_to_the_archive(place: Place) -> None:
    pushed(place, {"Core/a.txt": b"a\n", "b.txt": b"b\n"})
    report = pushed(place, {"Core/a.txt": None})
    assert counts(report) == (0, 0, 1, 0, 0)
    assert archived(place) == references(place)
    assert place.mirror == {"b.txt": b"b\n"} | references(place)
    assert not (place.remote / "Core").exists()


def test_an_archived_file_moves_to_the_archive_and_a_kept_one_stays(place: Place) -> None:
    pushed(place, {"a.txt": b"a\n", "b.txt": b"b\n"})
    with place.open() as store:
        store.archive(["a.txt"])
        store.archive(["b.txt"], keep=True)
    place.push()
    assert place.mirror.keys() - archived(place).keys() == {"b.txt"}
    assert b"a\n" in archived(place).values()


def test_appended_then_replaced_between_two_pushes_the_archive_holds_what_the_reference_does(
    place: Place,
) -> None:
    pushed(place, {"a.txt": b"one\n"})
    place.commit({"a.txt": b"one\ntwo\n"})
    place.commit({"a.txt": b"new\n"})
    place.push()
    assert [*references(place).values()] == [b"one\ntwo\n"]
    assert archived(place) == references(place)
    assert place.mirror["a.txt"] == b"new\n"


def test_replaced_twice_between_two_pushes_the_archive_holds_what_lay_in_the_mirror(place: Place) -> None:
    pushed(place, {"a.txt": b"one"})
    place.commit({"a.txt": b"two"})
    place.commit({"a.txt": b"three"})
    place.push()
    assert [*archived(place).values()] == [b"one"]
    assert archived(place).items() <= references(place).items()
    assert place.mirror["a.txt"] == b"three"


def test_deleted_and_made_again_between_two_pushes(place: Place) -> None:
    pushed(place, {"a.txt": b"one"})
    place.commit({"a.txt": None})
    place.commit({"a.txt": b"two"})
    place.push()
    assert [*archived(place).values()] == [b"one"]
    assert place.mirror["a.txt"] == b"two"


def test_a_file_becomes_a_folder_and_back(place: Place) -> None:
    pushed(place, {"turns": b"a file", "x": b"x"})
    (place.data / "turns").unlink()
    assert counts(pushed(place, {"turns/below/a.txt": b"in a folder"})) == (1, 0, 1, 0, 0)
    assert place.mirror["turns/below/a.txt"] == b"in a folder"
    shutil.rmtree(place.data / "turns")
    assert counts(pushed(place, {"turns": b"a file again"})) == (1, 0, 1, 0, 0)
    assert place.mirror["turns"] == b"a file again"
    assert sorted(archived(place).values()) == [b"a file", b"in a folder"]
    assert place.push().status == "nothing"


def test_symlinks_are_in_packs_only(place: Place) -> None:
    os.symlink("a.txt", place.data / "link")
    pushed(place, {"a.txt": b"a\n"})
    assert place.mirror == {"a.txt": b"a\n"}
    assert not (place.remote / "link").is_symlink()


def test_a_file_of_the_archive_folder_keeps_its_name_when_a_reference_wants_it(place: Place) -> None:
    pushed(place, {"a.txt": b"one\n"})
    place.commit({"a.txt": b"two\n"})
    (name,) = references(place)
    pushed(place, {name: b"a real file of that name\n"})
    assert place.mirror[name] == b"a real file of that name\n" or name not in archived(place)
    place.push()
    assert place.mirror["a.txt"] == b"two\n"
    assert {b"one\n", b"a real file of that name\n"} <= set(archived(place).values())
    assert place.push().status == "nothing"


def test_status_says_what_a_stopped_push_left_of_the_mirror(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    pushed(place, {"a.txt": b"a\n"})
    place.commit({"a.txt": b"a\nmore\n", "b.txt": b"b\n", "c.txt": b"c\n"})
    with monkeypatch.context() as patch:
        patch.setattr(FolderRemote, "put", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        assert any("stopped" in note for note in place.push().notes)
    with place.open() as store:
        assert (store.status().unpushed, store.status().mirror_waiting) == (0, 2)
    assert "2 files of the mirror left for the next push" in run("-C", str(place.root), "status").stdout
    place.push()
    with place.open() as store:
        assert store.status().mirror_waiting == 0


# -- what is chosen --------------------------------------------------------------------------------------------


def test_only_what_is_included_and_not_excluded_is_mirrored(tmp_path: Path) -> None:
    place = Place(tmp_path, config='[mirror]\ninclude = ["Core/**", "*.md"]\nexclude = ["secret*"]\n')
    pushed(
        place,
        {"Core/a.txt": b"a", "Core/secret.txt": b"s", "Meta/b.txt": b"b", "Meta/c.md": b"c"},
    )
    assert place.mirror.keys() == {"Core/a.txt", "Meta/c.md"}
    assert len(tree(place.clone("other").data)) == 4


def test_what_is_no_longer_chosen_moves_to_the_archive_and_comes_back_when_it_is(place: Place) -> None:
    pushed(place, {"a.txt": b"a", "b.md": b"b"})
    config = place.root / ".memsync/config.toml"
    config.write_text('[mirror]\nexclude = ["*.md"]\n')
    place.push()
    assert place.mirror.keys() - archived(place).keys() == {"a.txt"}
    assert [*archived(place).values()] == [b"b"]
    config.write_text("")
    place.push()
    assert place.mirror.keys() - archived(place).keys() == {"a.txt", "b.md"}


def test_a_mirror_that_is_off_is_left_as_it_is(tmp_path: Path) -> None:
    place = Place(tmp_path, config="[mirror]\nenabled = false\n")
    report = pushed(place, {"a.txt": b"a"})
    assert report.versions == 1
    assert place.mirror == {}


def test_a_file_that_grew_above_the_limit_leaves_the_mirror_and_the_push_says_so(tmp_path: Path) -> None:
    place = Place(tmp_path, config="[mirror]\nmax_file_size = 10\n")
    pushed(place, {"a.txt": b"small"})
    report = pushed(place, {"a.txt": b"small" * 3})
    assert "a.txt" not in place.mirror
    assert any("max_file_size" in note and "a.txt" in note for note in report.notes)
    assert place.push().status == "nothing"


@pytest.mark.parametrize("change", [b"one\r\ntwo\r\n", b"one  \ntwo\n", b"one\ntwo", b"one\ntwo\n\n\n"])
def test_with_meaningful_text_blanks_and_line_ends_are_versions_but_not_sent(
    tmp_path: Path, change: bytes
) -> None:
    place = Place(tmp_path, config='[mirror]\nmeaningful = "text"\n')
    pushed(place, {"a.txt": b"one\ntwo\n"})
    report = pushed(place, {"a.txt": change})
    assert report.versions == 1
    assert not any(report.mirror.as_json().values())
    assert place.mirror == {"a.txt": b"one\ntwo\n"}
    assert place.history("a.txt") == [change, b"one\ntwo\n"]
    pushed(place, {"a.txt": b"one\ntwo\nthree\n"})
    assert place.mirror["a.txt"] == b"one\ntwo\nthree\n"


# -- the catalogue is disposable -------------------------------------------------------------------------------


def hands(place: Place) -> None:
    """One of everything, on both sides, since the last push."""
    put(
        place.remote,
        {
            "edited.txt": b"by hand\n",
            "both.txt": b"by hand too\n",
            "removed.txt": None,
            "new.txt": b"theirs\n",
        },
    )
    for path, data in place.mirror.items():
        os.utime(place.remote / path, (1_700_000_000, 1_700_000_000))
        assert data is not None
    place.commit(
        {
            "both.txt": b"changed here\n",
            "appended.txt": b"one\ntwo\n",
            "replaced.txt": b"new\n",
            "deleted.txt": None,
            "new.txt": b"ours\n",
        }
    )


@pytest.mark.parametrize("by_hand", [False, True])
def test_a_catalogue_deleted_between_pushes_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, by_hand: bool
) -> None:
    ends: list[tuple[dict[str, bytes], dict[str, bytes]]] = []
    for lose in (False, True):
        now = 1_700_000_000_000_000_000
        monkeypatch.setattr("time.time_ns", lambda now=now: now)
        place = Place(tmp_path / str(lose))
        first: dict[str, bytes | None] = {
            f"{name}.txt": name.encode()
            for name in ("edited", "both", "removed", "deleted", "replaced", "same")
        }
        pushed(place, first | {"appended.txt": b"one\n", "Archive/own.txt": b"a real one\n"})
        if by_hand:
            hands(place)
        if lose:
            forget_catalogue(place)
        place.push()
        ends.append((place.mirror, tree(place.data)))
        if lose:
            forget_catalogue(place)
        assert place.push().status == "nothing"
        assert (place.mirror, tree(place.data)) == ends[-1]
    assert ends[0] == ends[1]


def test_what_another_device_put_there_and_this_one_deleted_leaves_the_mirror(place: Place) -> None:
    place.commit({"a.txt": b"one"})
    place.push()
    second = place.clone("second")
    second.push()
    place.commit({"new.txt": b"new"})
    place.push()
    with second.open() as store:
        store.pull()
    second.commit({"new.txt": None})
    second.push()
    assert [path for path in second.mirror if not path.startswith("Archive/")] == ["a.txt"]
    assert [content for path, content in second.mirror.items() if path.startswith("Archive/")] == [b"new"]


def test_what_another_device_took_from_the_mirror_comes_back_with_the_file_that_is_made_anew(
    place: Place,
) -> None:
    pushed(place, {"a.txt": b"one\n", "b.txt": b"b\n"})
    second = place.clone("second")
    pushed(second, {"a.txt": None})
    with place.open() as store:
        store.pull()
    pushed(place, {"a.txt": b"one\n"})
    assert place.mirror["a.txt"] == b"one\n"


def test_a_clone_learns_the_mirror_and_goes_on_with_it(place: Place) -> None:
    pushed(place, {"a.txt": b"one\n", "b.txt": b"b\n"})
    second = place.clone("second")
    report = pushed(second, {"a.txt": b"two\n"})
    assert counts(report) == (1, 0, 1, 0, 0)
    assert place.mirror["a.txt"] == b"two\n"
    assert [*archived(place).values()] == [b"one\n"]


def test_a_mirror_that_another_device_refreshed_is_not_archived_once_more(place: Place) -> None:
    pushed(place, {"a.txt": b"one\n", "b.txt": b"b\n"})
    second = place.clone("second")
    pushed(second, {"a.txt": b"two\n"})
    for path in archived(place):
        (place.remote / path).unlink()
    with place.open() as store:
        store.pull()
    place.push()
    assert place.mirror == {"a.txt": b"two\n", "b.txt": b"b\n"}


@pytest.mark.parametrize("name", ["y" * 240, "y" * 240 + ".md", "ü" * 118 + ".md", "." + "z" * 250])
def test_a_name_without_room_for_the_time_of_an_archive_name_is_cut_for_it(place: Place, name: str) -> None:
    pushed(place, {name: b"one\n", "Deep/" + name: b"deep\n"})
    report = pushed(place, {name: b"two\n"})
    assert (report.status, report.mirror.failed, report.warnings) == ("success", 0, ())
    report = pushed(place, {name: None, "Deep/" + name: None})
    assert (report.status, report.mirror.failed, report.warnings) == ("success", 0, ())
    there = place.mirror
    assert sorted(there.values()) == [b"deep\n", b"one\n", b"two\n"]
    assert all(path.startswith("Archive/") for path in there)
    assert all(len(path.rpartition("/")[2].encode()) <= 255 for path in there)
    assert place.push().status == "nothing"
    held = references(place)
    assert sorted(held.values()) == [b"deep\n", b"one\n", b"two\n"]
    with place.open() as store:
        assert store.restore(list(held)[:1]).warnings == ()
