"""clone: the whole history and the newest version, from a folder; cut anywhere, begun again; damage refused."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path
from random import Random
from typing import cast

import pytest
from blake3 import blake3

from memstore import files
from memstore.actions import clone as clone_module
from memstore.actions import fill
from memstore.errors import BadInput, DamagedData, MemsyncError, RemoteTrouble
from memstore.manifest import history
from memstore.objects.catalogue import path_of
from memstore.remotes.base import OpenRemote
from memstore.store import Store
from memstore.worktree.found import StatKey, racy, safe_before, stat_key
from memstore.worktree.materialise import FreshTree
from tests.folder_place import Cut, Death, Place, Watched, tree, trouble, without_waiting


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    without_waiting(monkeypatch)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """Three versions of a few files, pushed in two packs."""
    made = Place(tmp_path)
    made.write({"Core/a.txt": b"one\n", "Core/deep/b.bin": bytes(range(256)) * 400, "empty": b""})
    (made.data / "run.sh").write_bytes(b"#!/bin/sh\n")
    os.chmod(made.data / "run.sh", 0o755)
    os.symlink("Core/a.txt", made.data / "link")
    made.commit(note="first", context_tags=["llama"], chat_name="one")
    made.push()
    made.commit({"Core/a.txt": b"one\ntwo\n"}, note="second")
    made.commit({"Core/a.txt": b"new\n", "empty": None}, note="third")
    made.push()
    return made


def all_versions(place: Place) -> list[tuple[object, ...]]:
    with place.open() as store:
        return [
            (str(version.id), version.note, version.context_tags, version.chat_name, version.changes)
            for version in store.history()
        ]


def assert_equal(place: Place, other: Place) -> None:
    assert tree(other.data) == tree(place.data)
    assert all_versions(other) == all_versions(place)
    assert other.history("Core/a.txt") == place.history("Core/a.txt")
    with other.open() as store:
        assert store.status().clean
        assert store.verify().ok


def test_very_many_files_come_out_by_a_crew_as_they_do_one_by_one(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    noise = [os.urandom(length) for length in (0, 1, 5_000, 40_000)]
    place.write({f"Many/{number % 7}/{number}.bin": noise[number % 4] for number in range(60)})
    place.commit(note="many")
    place.push()
    monkeypatch.setattr(fill, "MANY", 10)
    monkeypatch.setattr(fill, "JOB_FILES", 4)
    assert_equal(place, place.clone("by a crew"))


@pytest.mark.parametrize("many", [5, 1000], ids=["crew", "alone"])
def test_what_is_not_wanted_is_not_written_and_keeps_its_place_among_the_rows(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, many: int
) -> None:
    monkeypatch.setattr(fill, "MANY", many)
    monkeypatch.setattr(fill, "JOB_FILES", 3)
    place.commit({f"Many/{number}": b"%d" % number for number in range(9)})
    secret = blake3(b"4").digest()
    with place.open() as store:
        seq = store.repository.head_seq()
        assert seq is not None
        rows = list(history.entries_at(store.repository.catalogue, seq))
        out = FreshTree(str(tmp_path / "out"))
        told = list(
            fill.fill(store.repository, out, len(rows), rows, {secret}, fill.Left(bears_losses=False))
        )
    assert [row for row, _ in told] == rows
    assert [row[0] for row, key in told if key == (None,) * 4] == ["Many/4"]
    assert all(key == stat_key(os.lstat(tmp_path / "out" / row[0])) for row, key in told if row[3] != secret)
    expected = tree(place.data)
    del expected["Many/4"]
    assert tree(tmp_path / "out") == expected


def test_records_are_found_wherever_they_lie(place: Place, tmp_path: Path) -> None:
    noise = {
        f"{number}.bin": os.urandom(length) for number, length in enumerate((1, 300_000, 9_000, 60, 8_192))
    }
    place.commit(noise)
    with place.open() as store:
        catalogue = store.repository.catalogue
        ids = [blake3(content).digest() for content in noise.values()]
        starts = catalogue.starts(ids)
        (name,) = {catalogue.place_name(place) for place, _ in starts}
        assert name is not None
        with fill._Source(path_of(store.repository.state, *name)) as source:
            for number in (0, 1, 2, 3, 4, 4, 0, 3, 1, 0, 2):
                assert source.content(starts[number][1], ids[number], {}) == noise[f"{number}.bin"]
            assert source.content(starts[0][1], ids[1], {}) is None
            with pytest.raises(DamagedData):
                source.content(1 << 40, ids[0], {})


@pytest.mark.parametrize("step", [1, 1_000_000])
def test_the_cache_doubts_what_the_racy_rule_doubts(place: Place, step: int) -> None:
    clock = 1_700_000_000_000_000_000
    random = Random(step)
    ages = [*(random.randrange(-10, 4000) for _ in range(60)), 0, 100, 2000]
    with place.open() as store, store.repository.writing() as writer:
        for mtime_age in ages[:20]:
            rows = [
                (f"{n:03}", 0, 1, b"", 0, 1, clock - mtime_age * 1_000_000, clock - age * 1_000_000 + step, n)
                for n, age in enumerate(ages)
            ]
            writer.fill_tree(rows)
            history.doubt_stats(store.repository.catalogue, *safe_before(clock))
            believed = {row[0] for row in store.repository.catalogue.tree() if row[5] is not None}
            assert believed == {row[0] for row in rows if not racy(StatKey(*row[5:]), clock)}
        writer.rollback()


# -- what it makes ---------------------------------------------------------------------------------------------


def test_a_clone_equals_its_source(place: Place) -> None:
    other = place.clone("other")
    assert_equal(place, other)
    assert os.readlink(other.data / "link") == "Core/a.txt"
    assert os.access(other.data / "run.sh", os.X_OK)
    assert int((other.data / "Core/a.txt").stat().st_mtime) == int(
        (place.data / "Core/a.txt").stat().st_mtime
    )
    assert not [name for name in os.listdir(other.root) if "clone" in name]
    assert not (other.root / ".memsync/clone").exists()


def test_what_a_clone_wrote_need_not_be_read_again_to_know_that_it_is_clean(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    for path in tree(place.data):  # long ago, so that no file is as young as the stat cache
        (place.data / path).write_bytes(path.encode())
        os.utime(place.data / path, (1_600_000_000, 1_600_000_000))
    place.commit()
    place.push()

    def clock(_folder: str) -> int:
        """As if writing the files had taken ten seconds."""
        written = any(place.base.glob("other/Data*/Core"))
        return time.time_ns() + (10_000_000_000 if written else 0)

    monkeypatch.setattr(files, "clock_of", clock)
    other = place.clone("other")
    read: list[str] = []
    with (
        other.open() as store,
        files.watch(lambda step, path, _: read.append(path) if step == "read" else None),
    ):
        status = store.status()
    assert status.clean
    assert {path for path in read if path.startswith(str(other.data))} <= {str(other.data / ".memsyncignore")}


def test_restores_work_in_the_clone(place: Place) -> None:
    other = place.clone("other")
    oldest = all_versions(place)[-1][0]
    with other.open() as store:
        store.restore(["Core/a.txt"], at=str(oldest))
        store.restore(["empty"])
        (reference,) = [row.path for row in store.ls("Archive") if row.origin == "Core/a.txt"][:1]
        assert store.read(reference) in (b"one\ntwo\n", b"new\n")
    assert (other.data / "Core/a.txt").read_bytes() == b"one\n"
    assert (other.data / "empty").read_bytes() == b""


def test_commit_and_push_from_the_clone_reach_the_first_workspace(place: Place) -> None:
    other = place.clone("other")
    other.commit({"new.txt": b"of the clone\n"})
    report = other.push()
    assert (report.status, report.versions, report.packs) == ("success", 1, 1)
    with place.open() as store:
        assert store.pull().status == "success"
    assert_equal(other, place)


def test_a_clone_has_nothing_to_push(place: Place) -> None:
    assert place.clone("other").push().status == "nothing"


def test_two_clones_are_two_devices(place: Place) -> None:
    devices = set()
    for name in ("one", "two"):
        with place.clone(name).open() as store:
            devices.add(store.repository.device.id)
    assert len(devices) == 2


def test_a_paths_json_that_is_there_decides_where_the_files_go(place: Place) -> None:
    root = place.base / "other"
    root.mkdir()
    (root / "paths.json").write_text('{"local_data_dir": "memory/", "drive_root": "Drive/X/"}')
    with Store.clone(str(place.remote), root, environ={}) as store:
        assert store.status().clean
    assert tree(root / "memory") == tree(place.data)
    assert not (root / "Data").exists()


# -- folders that are taken ------------------------------------------------------------------------------------


def test_a_workspace_is_refused_and_left_as_it_is(place: Place) -> None:
    other = place.clone("other")
    other.write({"later.txt": b"not committed\n"})
    before = tree(other.root)
    with pytest.raises(BadInput, match="workspace already") as caught:
        Store.clone(str(place.remote), other.root, environ={})
    assert "memsync pull" in caught.value.hint
    assert tree(other.root) == before


def test_a_file_in_the_place_of_the_folder_is_refused(place: Place) -> None:
    (place.base / "other").write_bytes(b"a file")
    with pytest.raises(BadInput, match="is no folder"):
        Store.clone(str(place.remote), place.base / "other", environ={})


@pytest.mark.parametrize("make", [False, True])
def test_a_place_without_a_store_leaves_nothing_behind(tmp_path: Path, make: bool) -> None:
    if make:
        (tmp_path / "nothing").mkdir()
    with pytest.raises(BadInput, match="no memsync store"):
        Store.clone(str(tmp_path / "nothing"), tmp_path / "other", environ={})
    assert not (tmp_path / "other").exists()


# -- cut off ---------------------------------------------------------------------------------------------------


def watched(place: Place, monkeypatch: pytest.MonkeyPatch, cut: Cut | None) -> list[tuple[str, str]]:
    told: list[tuple[str, str]] = []
    remote = cast(OpenRemote, Watched(place.remote, told, cut))
    monkeypatch.setattr(clone_module, "open_remote", lambda *_: remote)
    return told


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("how", [trouble, KeyboardInterrupt, Death])
def test_a_clone_cut_at_any_call_of_the_remote_can_be_repeated(
    place: Place, monkeypatch: pytest.MonkeyPatch, how: type[BaseException], after: bool
) -> None:
    told = watched(place, monkeypatch, None)
    place.clone("undisturbed")
    for at in range(1, len(told) + 1):
        watched(place, monkeypatch, Cut(at, how, after=after))
        with pytest.raises((MemsyncError, KeyboardInterrupt, Death)):
            place.clone(f"cut {at}")
        again = watched(place, monkeypatch, None)
        assert_equal(place, place.clone(f"cut {at}"))
        assert len(again) <= len(told)


def dies_after(steps: int) -> files.Observer:
    left = steps

    def observe(_step: str, _path: str, _data: bytes) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            raise Death

    return observe


def test_a_clone_that_dies_at_any_step_on_the_disk_can_be_repeated(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[str] = []
    with files.watch(lambda step, _path, _: steps.append(step)):
        place.clone("undisturbed")
    for at in range(0, len(steps), 2):
        with files.watch(dies_after(at)), pytest.raises(Death):
            place.clone("dead")
        state = place.base / "dead/.memsync"
        whole = (state / "format").exists() and not (state / "clone").exists()
        assert_equal(place, Place.at(place.base / "dead", place.remote) if whole else place.clone("dead"))
        shutil.rmtree(place.base / "dead")


def test_a_repeated_clone_fetches_only_what_is_missing(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    told = watched(place, monkeypatch, None)
    place.clone("undisturbed")
    last = max(number for number, (verb, _) in enumerate(told, 1) if verb == "read_stream")
    watched(place, monkeypatch, Cut(last, trouble, after=False))
    with pytest.raises(RemoteTrouble):
        place.clone("other")
    told = watched(place, monkeypatch, None)
    place.clone("other")
    assert [verb for verb, _ in told].count("read_stream") == 1


# -- damage ----------------------------------------------------------------------------------------------------


def damage(path: Path, how: str) -> None:
    data = bytearray(path.read_bytes())
    if how == "flipped":
        data[len(data) // 2] ^= 1
    elif how == "cut":
        del data[-10:]
    else:
        data[:] = b""
    path.write_bytes(data)


@pytest.mark.parametrize("how", ["flipped", "cut", "emptied"])
@pytest.mark.parametrize("made", [False, True], ids=["new folder", "empty folder"])
def test_a_damaged_pack_is_refused_and_nothing_is_left_behind(place: Place, how: str, made: bool) -> None:
    damage(place.remote / ".memsync/packs" / place.packs[0], how)
    root = place.base / "other"
    if made:
        root.mkdir()
    with pytest.raises(DamagedData) as caught:
        place.clone("other")
    assert caught.value.exit_code == 6
    assert place.packs[0][:12] in caught.value.message
    assert caught.value.hint
    assert root.exists() == made
    assert not made or not list(root.iterdir())


def test_a_file_whose_name_is_right_but_that_is_no_pack_is_left_out_with_a_warning(place: Place) -> None:
    garbage = b"not a pack at all"
    name = blake3(garbage).hexdigest()
    (place.remote / ".memsync/packs" / name).write_bytes(garbage)
    with Store.clone(str(place.remote), place.base / "other", environ={}) as store:
        (warning,) = store.lacking
    assert name[:12] in warning and "memsync repair" in warning
    assert_equal(place, Place.at(place.base / "other", place.remote))


def test_a_damaged_format_file_is_refused_and_nothing_is_left_behind(place: Place) -> None:
    (place.remote / ".memsync/format").write_bytes(b"{")
    with pytest.raises(DamagedData):
        place.clone("other")
    assert not (place.base / "other").exists()


def test_a_newer_format_is_refused_and_nothing_is_left_behind(place: Place) -> None:
    path = place.remote / ".memsync/format"
    path.write_bytes(path.read_bytes().replace(b'"features": []', b'"features": ["from the future"]'))
    with pytest.raises(BadInput, match="newer memsync") as caught:
        place.clone("other")
    assert caught.value.exit_code == 8
    assert not (place.base / "other").exists()


def test_packs_without_heads_are_trouble_and_nothing_is_left_behind(place: Place) -> None:
    shutil.rmtree(place.remote / ".memsync/heads")
    (place.remote / ".memsync/heads").mkdir()
    with pytest.raises(RemoteTrouble, match="no heads") as caught:
        place.clone("other")
    assert caught.value.exit_code == 5
    assert not (place.base / "other").exists()


def test_a_head_whose_pack_is_not_in_the_folder_is_named_as_missing_and_a_later_clone_finds_it(
    place: Place,
) -> None:
    hidden = {name: (place.remote / ".memsync/packs" / name).read_bytes() for name in place.packs}
    with place.open() as store:
        newest = store.repository.catalogue.db.execute(
            "SELECT name FROM places WHERE kind = 1 ORDER BY place DESC"
        ).fetchone()[0]
    (place.remote / ".memsync/packs" / newest).unlink()
    with pytest.raises(DamagedData, match="is missing") as caught:
        place.clone("other")
    assert (caught.value.exit_code, "memsync repair" in caught.value.hint) == (6, True)
    (place.remote / ".memsync/packs" / newest).write_bytes(hidden[newest])
    assert_equal(place, place.clone("other"))


def test_a_remote_that_holds_nothing_yet_makes_an_empty_workspace(tmp_path: Path) -> None:
    place = Place(tmp_path)
    place.commit({"a.txt": b"a"})
    place.push(cut=Cut(8, trouble, after=False))
    assert place.packs == []
    with place.clone("other").open() as store:
        assert store.head() is None
        assert store.status().clean
