"""Hints that lead out: what an error or a problem names is a command that helps in that very state."""

from __future__ import annotations

import os
import random
import shutil
import time
from pathlib import Path
from typing import BinaryIO

import pytest

from memstore import Store, files
from memstore.errors import DamagedData, MemsyncError, RemoteMissing
from memstore.ids import ContentId
from memstore.manifest.retention import Rules
from memstore.remotes.folder import FolderRemote
from tests.folder_place import Place, head_of, put, without_waiting

LAST = Rules(last=1)
NOTES: dict[str, bytes | None] = {"Core/a.txt": b"a\n", "Core/b.txt": b"b\n"}
DAY_NS = 86_400 * 1_000_000_000


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    without_waiting(monkeypatch)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    place = Place(tmp_path)
    place.commit(NOTES)
    assert place.push().status == "success"
    return place


def mirror_and_clone_are_whole(place: Place) -> None:
    assert place.mirror == {path: data for path, data in NOTES.items() if data is not None}
    copy = place.clone("whole")
    assert {path: (copy.data / path).read_bytes() for path in NOTES} == NOTES
    with place.open() as store:
        assert store.verify(remote=True, read_data=True).ok


# -- another device's collection -------------------------------------------------------------------------------


def test_what_another_devices_collection_took_is_a_note_until_a_push_takes_note_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = Place(tmp_path, config="[mirror]\nenabled = false\n")
    for number in range(3):
        place.commit({"note.txt": b"%d\n" % number * 50})
        place.push()
    silent = place.clone("silent")
    silent.commit({"other.txt": b"other\n"})
    silent.push()
    with place.open() as store:
        store.pull()
        assert store.gc(LAST).marked > 0
    later = time.time_ns() + 40 * DAY_NS
    monkeypatch.setattr(time, "time_ns", lambda: later)
    with place.open() as store:
        assert store.gc(LAST).deleted > 0
    for _ in range(2):  # before a pull, which brings none of it in order, and after
        with silent.open() as store:
            report = store.verify(remote=True)
            assert report.ok
            assert any("'memsync push'" in note for note in report.notes)
            mended = store.repair()
            assert (mended.ok, mended.mended) == (True, ())
            assert any("'memsync push'" in note for note in mended.notes)
            store.pull()
    silent.push()
    with silent.open() as store:
        assert store.verify(remote=True).notes == store.verify().notes
        assert store.verify(remote=True).ok


def test_a_pack_that_nobody_collected_is_missed_after_a_collection_as_before(place: Place) -> None:
    place.commit({"Core/a.txt": b"new\n"})
    place.push()
    with place.open() as store:
        store.gc(LAST)
    store_half = FolderRemote(str(place.remote))
    for file in store_half.list("packs/"):
        store_half.delete(file.name)
    with place.open() as store:
        kinds = {problem.kind for problem in store.verify(remote=True).problems}
        assert kinds == {"remote_missing_pack"}
        assert store.repair().ok
        assert store.verify(remote=True, read_data=True).ok


# -- a remote that is gone -------------------------------------------------------------------------------------


@pytest.mark.parametrize("gone", ["", ".memsync"])
def test_a_remote_that_is_gone_is_made_anew_by_the_two_commands_that_the_hint_names(
    place: Place, gone: str
) -> None:
    shutil.rmtree(place.remote / gone)
    failed = place.push()
    assert failed.exit_code == 5
    assert failed.error is not None
    assert f"'memsync remote set {place.remote}', then 'memsync push'" in str(failed.error["hint"])
    assert not (place.remote / ".memsync").exists()  # a disk that is not mounted is not filled unasked
    with place.open() as store:
        store.set_remote(str(place.remote))
    assert place.push().status == "success"
    mirror_and_clone_are_whole(place)


def test_naming_a_remote_again_that_is_there_forgets_nothing_of_it(place: Place) -> None:
    before = (place.root / ".memsync" / "remote.json").read_bytes()
    with place.open() as store:
        store.set_remote(str(place.remote))
    assert (place.root / ".memsync" / "remote.json").read_bytes() == before


@pytest.mark.parametrize("gone", ["", ".memsync"])
def test_repair_says_that_it_could_not_look_at_a_remote_that_is_gone(place: Place, gone: str) -> None:
    shutil.rmtree(place.remote / gone)
    for dry_run in (True, False):
        with place.open() as store:
            report = store.repair(dry_run=dry_run)
            assert report.ok
            (warning,) = report.warnings
            assert str(place.remote) in warning
    with place.open() as store, pytest.raises(RemoteMissing):
        store.verify(remote=True)


def test_repair_has_nothing_to_say_of_a_remote_that_nothing_was_sent_to(tmp_path: Path) -> None:
    place = Place(tmp_path)
    place.commit(NOTES)
    with place.open() as store:
        assert store.repair().warnings == ()


def test_an_emptied_remote_is_filled_by_the_push_that_verify_and_repair_name(place: Place) -> None:
    shutil.rmtree(place.remote / ".memsync")
    (place.remote / ".memsync").mkdir()
    with place.open() as store:
        for problems in (store.verify(remote=True).problems, store.repair().problems):
            assert [problem.kind for problem in problems] == ["remote_missing_pack"]
            assert "'memsync push'" in problems[0].hint
    assert place.push().status == "success"
    mirror_and_clone_are_whole(place)


# -- files of the store that are gone or garbage -----------------------------------------------------------------


def test_a_garbage_remote_json_is_mended_by_what_every_command_names(place: Place) -> None:
    (place.root / ".memsync" / "remote.json").write_bytes(b"garbage")
    hints = []
    with place.open() as store:
        hints += [problem.hint for problem in store.verify().problems]
        hints += [problem.hint for problem in store.repair().problems]
        for command in (store.status, store.push):
            with pytest.raises(DamagedData) as caught:
                command()
            hints.append(caught.value.hint)
        assert len(hints) == 4
        assert all("'memsync remote set URL'" in hint and "repair" not in hint for hint in hints)
        store.set_remote(str(place.remote))
        assert store.verify(remote=True).ok
        assert store.push().exit_code == 0


def test_a_lost_format_file_is_written_anew_by_the_repair_that_every_command_names(place: Place) -> None:
    path = place.root / ".memsync" / "format"
    before = path.read_bytes()
    path.unlink()
    for command in (Store.open, Store.init):
        with pytest.raises(DamagedData) as caught:
            command(place.root, environ={})
        assert "'memsync repair'" in caught.value.hint
    assert not path.exists()
    with Store.open_damaged(place.root, environ={}) as store:
        assert [row.kind for row in store.repair(dry_run=True).mended] == ["format"]
        assert not path.exists()
        assert [row.kind for row in store.repair().mended] == ["format"]
    assert path.read_bytes() == before
    assert place.push().exit_code == 0


def test_a_store_that_was_never_made_whole_is_completed_by_init(tmp_path: Path) -> None:
    (tmp_path / "assistant" / ".memsync").mkdir(parents=True)
    put(tmp_path / "assistant", {"paths.json": b"{}"})
    with pytest.raises(MemsyncError) as caught:
        Store.open(tmp_path / "assistant", environ={})
    assert "'memsync init'" in caught.value.hint
    Store.init(tmp_path / "assistant", environ={}).close()


def test_what_repair_leaves_does_not_name_repair_alone(place: Place) -> None:
    place.commit({"Core/a.txt": b"other\n"})
    place.push()
    packs = place.root / ".memsync" / "packs"
    oldest = min(packs.glob("*.pack"), key=lambda path: path.stat().st_mtime_ns)
    oldest.write_bytes(oldest.read_bytes().replace(b"a\n", b"x\n"))
    (place.remote / ".memsync" / "packs" / oldest.stem).unlink()
    with place.open() as store:
        report = store.repair()
    lost = [problem for problem in report.problems if problem.kind.endswith("_object")]
    assert lost
    assert all("Data/" in problem.hint and "'memsync repair' again" in problem.hint for problem in lost)


def test_a_pack_that_is_damaged_here_and_gone_there_is_sent_by_the_push_that_repair_names(
    place: Place,
) -> None:
    (pack,) = (place.root / ".memsync" / "packs").glob("*.pack")
    flipped = bytearray(pack.read_bytes())
    flipped[-30] ^= 0x40
    pack.write_bytes(flipped)
    (place.remote / ".memsync" / "packs" / pack.stem).unlink()
    with place.open() as store:
        expected = store.repair(dry_run=True)
        report = store.repair()
    assert report.ok and expected.ok
    assert set(report.mended) == set(expected.mended)
    assert any("'memsync push'" in row.how for row in report.mended)
    assert place.push().status == "success"
    mirror_and_clone_are_whole(place)


def test_a_text_that_data_still_has_is_whole_again_though_what_its_delta_leans_on_is_lost(
    tmp_path: Path,
) -> None:
    place = Place(tmp_path)
    noise = random.Random(4)
    lines = [f"{noise.random()} line {number}\n" for number in range(200)]
    packs: list[str] = []
    for number in range(3):
        lines[number] = f"changed {number}\n"
        place.commit({"Core/a.txt": "".join(lines).encode()})
        place.push()
        packs += set(place.packs) - set(packs)
    first = place.root / ".memsync" / "packs" / f"{packs[0]}.pack"
    flipped = bytearray(first.read_bytes())
    flipped[1500] ^= 0x40
    first.write_bytes(flipped)
    (place.remote / ".memsync" / "packs" / packs[0]).unlink()
    newest = ContentId.of("".join(lines).encode())
    with place.open() as store:
        expected = store.repair(dry_run=True)
        report = store.repair()
        assert set(report.mended) == set(expected.mended)
        assert str(newest) in {row.id for row in report.mended}
        left = {problem.id for problem in report.problems}
        assert left == {problem.id for problem in expected.problems}
        assert {problem.id for problem in store.verify().problems} == left
        assert len(left) == 2 and str(newest) not in left
    assert place.push().status == "success"
    with Store.clone(str(place.remote), tmp_path / "copy", environ={}) as copy:
        assert copy.read("Core/a.txt") == "".join(lines).encode()
        (warning,) = copy.lacking  # the first version's content is nowhere any more
        assert "'memsync verify'" in warning
        assert {problem.id for problem in copy.verify().problems} == left
        gc = copy.gc(Rules())
        assert gc.error is None
        assert copy.read("Core/a.txt") == "".join(lines).encode()


def test_a_clone_of_a_whole_remote_has_nothing_to_warn_of(place: Place) -> None:
    with place.open() as store:
        store.gc(LAST)
    with Store.clone(str(place.remote), place.base / "copy", environ={}) as copy:
        assert copy.lacking == ()


def test_versions_that_nobody_has_any_more_are_named_until_somebody_brings_them(place: Place) -> None:
    head = head_of(place)
    kept = place.base / "kept"
    place.remote.rename(kept)
    (pack,) = (place.root / ".memsync" / "packs").glob("*.pack")
    pack.unlink()
    for _ in range(2):
        with place.open() as store:
            report = store.repair()
            assert not any(row.kind.endswith("_version") for row in report.mended)
            for problems in (report.problems, store.verify().problems):
                assert [(problem.kind, problem.id) for problem in problems] == [("missing_version", head)]
    kept.rename(place.remote)
    with place.open() as store:
        assert store.repair().ok
        assert store.verify(remote=True).ok
        store.pull()
        assert head in {str(version.id) for version in store.history()}
        assert store.read("Core/a.txt") == b"a\n"


# -- a store that nobody may write -------------------------------------------------------------------------------


def test_a_store_that_can_only_be_read_is_looked_at_and_verified_and_nothing_is_made_in_it(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    (place.data / "Core" / "a.txt").write_bytes(b"changed\n")
    state = place.root / ".memsync"
    with place.open() as store:
        store.status()
    before = sorted(os.listdir(state))
    assert not any(name.endswith("-wal") for name in before)

    def no_writing(path: str, *, writable: bool = True) -> BinaryIO:
        assert not writable
        return open(path, "rb", buffering=0)

    may = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: mode != os.W_OK and may(path, mode))
    monkeypatch.setattr(files, "open_append", no_writing)
    with place.open() as store:
        assert store.verify(remote=True).ok
        assert [row.path for row in store.status().changes] == ["Core/a.txt"]
        assert len(list(store.history())) == 1
        assert store.read("Core/a.txt") == b"a\n"
        assert sorted(os.listdir(state)) == before
