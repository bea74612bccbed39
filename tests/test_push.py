"""push to a folder: packs, then the head, then the mirror; cut anywhere and pushed again; two devices."""

from __future__ import annotations

import json
import os
import shutil
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from memstore import files
from memstore.actions import remote_state
from memstore.errors import BadInput
from memstore.identity import StoreFormat
from memstore.store import Store
from tests.folder_place import (
    HUGE,
    SMALL_ARCHIVE,
    Cut,
    Death,
    Place,
    everything_happens,
    expected_mirror,
    head_of,
    pushed,
    put,
    tree,
    trouble,
    without_waiting,
)


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    without_waiting(monkeypatch)


def upload_log(place: Place) -> list[dict[str, Any]]:
    path = place.root / "upload_log.json"
    return [json.loads(line) for line in path.read_bytes().splitlines()] if path.exists() else []


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path, config=SMALL_ARCHIVE)


# -- order -----------------------------------------------------------------------------------------------------


def test_a_push_sends_packs_then_the_head_then_deletes_the_old_one_then_mirrors(place: Place) -> None:
    everything_happens(place)
    told: list[tuple[str, str]] = []
    with place.open() as store:
        assert place.push_of(store, told=told).status == "success"
    wrote = [
        f"{verb} {name.partition('/')[0]}" if verb in ("create", "delete") else "mirror"
        for verb, name in told
        if verb in ("create", "delete", "put", "update", "move", "remove")
    ]
    once = [step for number, step in enumerate(wrote) if wrote[number - 1 : number] != [step]]
    assert once == ["create packs", "create heads", "delete heads", "mirror"]


def test_heads_are_listed_before_packs(place: Place) -> None:
    everything_happens(place)
    told: list[tuple[str, str]] = []
    with place.open() as store:
        place.push_of(store, told=told)
    assert [name for verb, name in told if verb == "list"][:2] == ["heads/", "packs/"]


def test_the_first_push_writes_the_format_before_any_pack(place: Place) -> None:
    place.commit({"a.txt": b"a\n"})
    told: list[tuple[str, str]] = []
    with place.open() as store:
        place.push_of(store, told=told)
    created = [name.partition("/")[0] for verb, name in told if verb == "create"]
    assert created == ["format", "packs", "heads"]


def test_a_version_is_never_sent_before_the_objects_it_names(tmp_path: Path) -> None:
    place = Place(tmp_path, config="[push]\npack_size = 1048576\n[mirror]\nenabled = false\n")
    for number in range(3):
        place.commit({f"{number}.bin": os.urandom(900_000)})
    place.push()
    assert len(place.packs) > 1
    order: list[str] = []
    with Store.open(place.root) as store:
        for (name,) in store.repository.catalogue.db.execute(
            "SELECT name FROM places WHERE kind = 1 ORDER BY place"
        ):
            order.append(name)
        rows: list[tuple[str, int]] = store.repository.catalogue.db.execute(
            "SELECT name, count(versions.seq) FROM places LEFT JOIN versions USING (place) "
            "WHERE kind = 1 GROUP BY name"
        ).fetchall()
        holds = dict(rows)
    assert [holds[name] for name in order] == [0] * (len(order) - 1) + [3]


# -- what is reported ------------------------------------------------------------------------------------------


def test_an_unchanged_push_is_nothing_and_writes_nothing(place: Place) -> None:
    everything_happens(place)
    place.push()
    before, log = tree(place.remote), upload_log(place)
    told: list[tuple[str, str]] = []
    with place.open() as store:
        report = place.push_of(store, told=told)
    assert (report.status, report.versions, report.packs, report.bytes_sent) == ("nothing", 0, 0, 0)
    assert not any(report.mirror.as_json().values())
    assert not {verb for verb, _ in told} & {"create", "delete", "put", "update", "move", "remove"}
    assert tree(place.remote) == before
    assert upload_log(place) == log


def test_a_push_before_the_first_commit_is_nothing(place: Place) -> None:
    assert place.push().status == "nothing"


def test_a_push_counts_what_it_sent(place: Place) -> None:
    place.commit({"a.txt": b"a\n", "b.txt": b"b\n"})
    place.commit({"a.txt": b"aa\n"})
    report = place.push()
    assert (report.status, report.versions, report.objects, report.packs) == ("success", 2, 3, 1)
    assert report.mirror.as_json() == {"created": 2, "updated": 0, "moved": 0, "skipped": 0, "failed": 0}


def test_files_above_the_mirrors_limit_are_in_packs_only_and_the_push_says_so(place: Place) -> None:
    place.commit({"huge.txt": HUGE, "a.txt": b"a\n"})
    report = place.push()
    assert place.mirror == {"a.txt": b"a\n"}
    assert any("mirror.max_file_size" in note and "huge.txt" in note for note in report.notes)
    assert tree(place.clone("other").data)["huge.txt"] == HUGE


def test_a_dry_run_counts_what_versions_take_and_not_their_contents_alone(place: Place) -> None:
    for number in range(5):
        place.commit({"a.txt": b"%d\n" % number})
    would, did = place.push(dry_run=True).bytes_sent, place.push().bytes_sent
    assert did / 2 < would < did * 2


def test_a_dry_run_sends_nothing_and_says_what_a_push_would(place: Place) -> None:
    everything_happens(place)
    before, log = tree(place.remote), upload_log(place)
    would = place.push(dry_run=True)
    assert tree(place.remote) == before
    assert upload_log(place) == log
    did = place.push()
    assert (would.versions, would.mirror.moved, would.mirror.updated) == (
        did.versions, did.mirror.moved, did.mirror.updated,
    )  # fmt: skip
    assert would.mirror.created == did.mirror.created
    assert place.push(dry_run=True).status == "nothing"


def test_no_mirror_sends_versions_only_and_a_later_push_brings_the_mirror_up(place: Place) -> None:
    everything_happens(place)
    before = place.mirror
    assert place.push(mirror=False).versions > 0
    assert place.mirror == before
    assert place.heads == [head_of(place)]
    report = place.push()
    assert (report.status, report.versions) == ("success", 0)
    assert expected_mirror(place).items() <= place.mirror.items()


def test_a_path_limits_the_mirror_only(place: Place) -> None:
    place.commit({"Core/a.txt": b"a\n", "Meta/b.txt": b"b\n"})
    report = place.push("Core")
    assert place.mirror == {"Core/a.txt": b"a\n"}
    assert report.versions == 1
    assert tree(place.clone("other").data) == {"Core/a.txt": b"a\n", "Meta/b.txt": b"b\n"}
    place.push()
    assert place.mirror == {"Core/a.txt": b"a\n", "Meta/b.txt": b"b\n"}


def test_what_is_not_committed_is_not_sent(place: Place) -> None:
    place.commit({"a.txt": b"a\n"})
    place.write({"a.txt": b"later\n", "b.txt": b"b\n"})
    place.push()
    assert place.mirror == {"a.txt": b"a\n"}


# -- the log ---------------------------------------------------------------------------------------------------


def test_every_file_whose_content_was_carried_has_one_line_of_success(place: Place) -> None:
    place.commit({"a.txt": b"a\n", "b.txt": b"b\n"}, context_tags=["llama"], chat_name="one")
    place.commit({"a.txt": b"a\nmore\n"}, context_tags=["late"], chat_name="two")
    place.push()
    lines = {line["file"]: line for line in upload_log(place)}
    assert len(upload_log(place)) == 2
    assert set(lines["a.txt"]) == {
        "timestamp", "file", "status", "attempts", "context_tags", "chat_name", "notes",
    }  # fmt: skip
    assert (lines["a.txt"]["status"], lines["a.txt"]["attempts"]) == ("success", 1)
    assert (lines["a.txt"]["context_tags"], lines["a.txt"]["chat_name"]) == (["late"], "two")
    assert "append" in lines["a.txt"]["notes"]
    assert (lines["b.txt"]["context_tags"], lines["b.txt"]["chat_name"]) == (["llama"], "one")
    place.commit({"b.txt": b"bb\n"})
    place.push()
    assert [line["file"] for line in upload_log(place)][2:] == ["b.txt"]


def test_a_push_that_fails_logs_each_file_it_tried_to_carry(place: Place) -> None:
    place.commit({"a.txt": b"a\n", "b.txt": b"b\n"})
    report = place.push(cut=Cut(1, trouble, after=False))
    assert (report.status, report.exit_code) == ("fail", 5)
    assert report.error is not None and report.error["message"] == "the line went dead"
    assert [(line["file"], line["status"]) for line in upload_log(place)] == [
        ("a.txt", "fail"), ("b.txt", "fail"),
    ]  # fmt: skip
    assert "the line went dead" in upload_log(place)[0]["notes"]
    with place.open() as store:
        remote = store.status().remote
        assert remote is not None and remote.last_error == "the line went dead"
    place.push()
    assert [line["status"] for line in upload_log(place)] == ["fail"] * 2 + ["success"] * 2
    with place.open() as store:
        remote = store.status().remote
        assert remote is not None and remote.last_error is None


def test_what_could_not_be_logged_is_told_and_logged_by_the_next_push_that_can(place: Place) -> None:
    (place.root / "upload_log.json").mkdir()
    place.commit({"a.txt": b"1"})
    for status in ("success", "nothing"):  # the second has nothing to send, and still nowhere to log
        report = place.push()
        assert report.status == status
        (warning,) = report.warnings
        assert warning.startswith("the log was not written: ")
    (place.root / "upload_log.json").rmdir()
    assert place.push().warnings == place.push().warnings == ()
    assert [(line["file"], line["status"]) for line in upload_log(place)] == [("a.txt", "success")]


def test_a_mirror_that_fails_does_not_make_the_upload_a_failure_in_the_log(place: Place) -> None:
    place.commit({"a.txt": b"a\n"})
    calls: list[tuple[str, str]] = []
    with place.open() as store:
        place.push_of(store, told=calls)
    first_put = [verb for verb, _ in calls].index("put") + 1
    place.commit({"b.txt": b"b\n"})
    shutil.rmtree(place.remote)
    again_place = Place(place.base, name="second")
    again_place.commit({"a.txt": b"a\n"})
    report = again_place.push(cut=Cut(first_put, trouble, after=False))
    assert (report.status, report.versions, report.mirror.failed) == ("fail", 1, 1)
    assert [line["status"] for line in upload_log(again_place)] == ["success"]


def test_what_a_persons_edit_adds_is_logged_with_the_push_that_carried_it(place: Place) -> None:
    place.commit({"a.txt": b"a\n"})
    place.push()
    put(place.remote, {"a.txt": b"by hand\n"})
    place.push()
    assert [(line["file"], line["status"]) for line in upload_log(place)][1:] == [("a.txt", "success")]


# -- heads -----------------------------------------------------------------------------------------------------


def test_superseded_heads_are_deleted_by_the_push_that_replaces_them(place: Place) -> None:
    place.commit({"a.txt": b"1"})
    place.push()
    first = place.heads
    place.commit({"a.txt": b"2"})
    place.push()
    assert place.heads == [head_of(place)] != first


def test_heads_that_a_dead_push_left_are_deleted_by_the_next_though_nothing_is_new(place: Place) -> None:
    for number in range(3):
        place.commit({"a.txt": b"%d" % number})
        place.push()
    with place.open() as store:
        ids = [str(version.id) for version in store.history()]
    for old in ids[1:]:
        (place.remote / ".memsync/heads" / old).write_bytes(b"{}")
    assert len(place.heads) == 3
    assert place.push().status == "nothing"
    assert place.heads == [ids[0]]


def two_devices(place: Place) -> tuple[Place, Place]:
    """Both have the first version; the first device pushed another."""
    place.commit({"a.txt": b"a\n"})
    place.push()
    second = place.clone("second")
    place.commit({"first.txt": b"of the first\n"})
    place.push()
    return place, second


def test_a_device_that_is_behind_sends_its_versions_and_waits_with_the_mirror(place: Place) -> None:
    first, second = two_devices(place)
    mirror = first.mirror
    second.commit({"second.txt": b"of the second\n"})
    report = second.push()
    assert report.status == "success"
    assert (report.versions, report.packs) == (1, 1)
    assert any("another device" in warning and "memsync pull" in warning for warning in report.warnings)
    assert sorted([head_of(first), head_of(second)]) == first.heads
    assert first.mirror == mirror
    assert any("another device" in warning for warning in first.push().warnings)
    assert first.mirror == mirror


def test_no_head_that_is_unknown_here_is_ever_deleted(place: Place) -> None:
    first, second = two_devices(place)
    for number in range(3):
        second.commit({"second.txt": b"%d" % number})
        second.push()
        first.commit({"first.txt": b"%d" % number})
        first.push()
        assert first.heads == sorted([head_of(first), head_of(second)])


# -- remotes that are not what they were -----------------------------------------------------------------------


def test_an_emptied_remote_is_filled_again(place: Place) -> None:
    everything_happens(place)
    place.push()
    before = expected_mirror(place)
    for name in os.listdir(place.remote):
        shutil.rmtree(place.remote / name)
    (place.remote / ".memsync").mkdir()
    assert place.push().status == "success"
    assert place.mirror == before
    assert place.heads == [head_of(place)]
    assert tree(place.clone("other").data) == tree(place.data)


def test_a_remote_without_its_store_is_not_begun_anew_behind_a_persons_back(place: Place) -> None:
    place.commit({"a.txt": b"a\n"})
    place.push()
    shutil.rmtree(place.remote)
    place.remote.mkdir()
    report = place.push()
    assert (report.status, report.exit_code) == ("fail", 5)
    assert not list(place.remote.iterdir())
    assert report.error is not None and "'memsync remote set" in str(report.error["hint"])


def test_a_pack_that_vanished_from_the_remote_is_sent_again(place: Place) -> None:
    place.commit({"a.txt": b"a\n"})
    place.push()
    for name in place.packs:
        (place.remote / ".memsync/packs" / name).unlink()
    assert place.push().packs == 1
    assert tree(place.clone("other").data) == {"a.txt": b"a\n"}


def test_packs_without_heads_are_trouble_and_nothing_is_written(place: Place) -> None:
    place.commit({"a.txt": b"a\n"})
    place.push()
    for name in place.heads:
        (place.remote / ".memsync/heads" / name).unlink()
    place.commit({"a.txt": b"aa\n"})
    before = tree(place.remote)
    report = place.push()
    assert (report.status, report.exit_code) == ("fail", 5)
    assert report.error is not None and "no heads" in str(report.error["message"])
    assert tree(place.remote) == before


def test_a_remote_of_another_store_is_refused_and_stays_as_it_is(place: Place, tmp_path: Path) -> None:
    other = Place(tmp_path / "elsewhere")
    other.commit({"theirs.txt": b"theirs\n"})
    other.push()
    before = tree(other.remote)
    place.commit({"a.txt": b"a\n"})
    with place.open() as store:
        store.set_remote(str(other.remote))
        report = store.push()
    assert (report.status, report.exit_code) == ("fail", 8)
    assert report.error is not None and report.error["code"] == "other_store"
    assert tree(other.remote) == before


def test_another_store_mounted_at_the_same_place_later_is_refused_as_well(
    place: Place, tmp_path: Path
) -> None:
    other = Place(tmp_path / "elsewhere")
    other.commit({"theirs.txt": b"theirs\n"})
    other.push()
    place.commit({"a.txt": b"a\n"})
    place.push()
    shutil.rmtree(place.remote)
    shutil.copytree(other.remote, place.remote)
    before = tree(place.remote)
    place.commit({"a.txt": b"aa\n"})
    report = place.push()
    assert report.exit_code == 8
    assert tree(place.remote) == before
    with place.open() as store, pytest.raises(BadInput, match="another store"):
        store.pull()


@pytest.mark.parametrize("known", [False, True], ids=["first contact", "later"])
def test_a_remote_of_a_newer_format_is_refused_and_stays_as_it_is(place: Place, known: bool) -> None:
    place.commit({"a.txt": b"a\n"})
    place.push()
    format = place.remote / ".memsync/format"
    format.write_bytes(json.dumps(json.loads(format.read_bytes()) | {"format": 99}).encode())
    place.commit({"a.txt": b"aa\n"})
    before = tree(place.remote)
    with place.open() as store:
        if not known:
            state = remote_state.load(store.repository)
            assert state is not None
            remote_state.save(store.repository, replace(state, store=None, sent=(), heads=()))
        report = store.push()
    assert report.exit_code == 8
    assert report.error is not None and report.error["code"] == "newer_format"
    assert tree(place.remote) == before


def test_a_format_file_that_vanished_is_written_again_where_our_packs_lie(place: Place) -> None:
    place.commit({"a.txt": b"a\n"})
    place.push()
    (place.remote / ".memsync/format").unlink()
    place.commit({"a.txt": b"aa\n"})
    assert place.push().status == "success"
    with place.open() as store:
        ours = store.repository.format
    assert StoreFormat.parse((place.remote / ".memsync/format").read_bytes(), "there") == ours


def test_a_push_without_a_remote_names_the_command_that_sets_one(tmp_path: Path) -> None:
    with Store.init(tmp_path / "alone") as store, pytest.raises(BadInput) as caught:
        store.push()
    assert "memsync remote set" in caught.value.hint


def test_what_a_killed_push_left_half_written_in_a_folder_goes_a_day_later(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    pushed(place, {"a/one.txt": b"one\n"})
    place.commit({"a/two.txt": b"two\n"})
    with pytest.raises(Death):
        place.push(cut=Cut(3, Death, after=False))
    ours, young = (
        place.remote / folder / (files.TEMPORARY_PREFIX + "0" * 16) for folder in ("a", ".memsync/packs")
    )
    theirs = place.remote / "a" / ".memsync-tmp"
    for left in (ours, young, theirs):
        left.write_bytes(b"half")
    then = time.time()
    monkeypatch.setattr("memstore.actions.push.time.time", lambda: then + 3600)
    assert place.push().status == "success"
    assert ours.exists(), "another device may still be at it"
    monkeypatch.setattr("memstore.actions.push.time.time", lambda: then + 26 * 3600)
    os.utime(young, (then + 26 * 3600 - 60,) * 2)
    pushed(place, {"a/three.txt": b"three\n"})
    assert [left.exists() for left in (ours, young, theirs)] == [False, True, True]
    os.utime(young, (0, 0))
    pushed(place, {"a/four.txt": b"four\n"})
    assert young.exists(), "it is looked for once"
