"""verify: every flipped byte is found, named with its paths and its mend; nothing is ever changed."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from memsync.app import app

from memstore import Store
from memstore.actions import verify
from memstore.ids import ContentId
from memstore.objects.catalogue import PlaceKind
from memstore.objects.segment import Scan, Segment
from memstore.reports import Problem, VerifyReport
from memstore.repository import Repository
from tests.conftest import Memory
from tests.folder_place import Place, tree, without_waiting

NOTE = b"remember the milk, and what was said of it\n"
NOISE = bytes(os.urandom(3000))


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    without_waiting(monkeypatch)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """A pack with two versions, and a segment with a third."""
    made = Place(tmp_path)
    made.commit({"Core/a.txt": NOTE, "noise.bin": NOISE})
    made.commit({"Core/a.txt": NOTE * 2})
    made.push()
    made.commit({"later.txt": NOISE[::-1], "Core/a.txt": NOTE * 3})
    return made


def pack_of(place: Place) -> Path:
    (path,) = (place.root / ".memsync/packs").glob("*.pack")
    return path


def segment_of(place: Place) -> Path:
    (path,) = (place.root / ".memsync/segments").glob("*.seg")
    return path


def verified(place: Place, **how: bool) -> VerifyReport:
    with place.open() as store:
        return store.verify(**how)


def flip(path: Path, offset: int) -> None:
    data = bytearray(path.read_bytes())
    data[offset] ^= 0x10
    path.chmod(0o644)
    path.write_bytes(data)


def paths_named(problems: tuple[Problem, ...]) -> set[str]:
    return {path for problem in problems for path in problem.paths}


def test_a_whole_store_is_ok_and_every_content_was_read(place: Place) -> None:
    report = verified(place)
    assert (report.ok, report.objects, report.versions) == (True, 5, 3)
    assert report.bytes == len(NOTE) * 6 + len(NOISE) * 2


@pytest.mark.parametrize("quick", [False, True])
def test_a_byte_flipped_anywhere_in_a_pack_is_found(place: Place, quick: bool) -> None:
    path = pack_of(place)
    whole = path.read_bytes()
    for offset in range(0, len(whole), 61):
        flip(path, offset)
        report = verified(place, quick=quick)
        assert not report.ok, offset
        named = [problem for problem in report.problems if problem.id == path.stem]
        assert named and all(problem.hint for problem in report.problems), offset
        assert "Core/a.txt" in paths_named(report.problems), offset
        path.write_bytes(whole)
    assert verified(place).ok


def test_a_byte_flipped_anywhere_in_a_segment_is_found(place: Place) -> None:
    path = segment_of(place)
    whole = path.read_bytes()
    for offset in range(0, len(whole), 61):
        flip(path, offset)
        report = verified(place)
        assert not report.ok, offset
        assert all(problem.hint for problem in report.problems), offset
        path.write_bytes(whole)
    assert verified(place).ok


def test_the_paths_whose_versions_need_a_damaged_content_are_named(place: Place) -> None:
    path = pack_of(place)
    flip(path, path.read_bytes().index(NOISE[100:200]))
    (damaged,) = [row for row in verified(place).problems if row.kind == "damaged_object"]
    assert (damaged.id, damaged.paths) == (str(ContentId.of(NOISE)), ("noise.bin",))
    assert "memsync" in damaged.hint


def test_quick_reads_no_contents(place: Place) -> None:
    report = verified(place, quick=True)
    assert (report.ok, report.objects, report.bytes, report.quick) == (True, 0, 0, True)
    assert not verified(place).quick


def test_a_missing_pack_whose_name_is_not_known_is_named_by_the_versions_it_held(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    pack_of(place).unlink()
    with place.open() as store:
        ids = [str(version.id) for version in store.history()][1:]
        store.repository.catalogue.db.execute("DELETE FROM places WHERE kind = ?", (PlaceKind.PACK,))
        store.repository.catalogue.db.commit()
        report = store.verify()
    (missing,) = [problem for problem in report.problems if problem.kind == "missing_pack"]
    assert (missing.id, list(missing.versions)) == ("of unknown name", ids)
    monkeypatch.chdir(place.root)
    said = CliRunner().invoke(app, ["verify"]).output
    assert not re.search(r"place \d|pack  \d+$", said, re.MULTILINE), said


def test_a_missing_pack_is_found_and_what_it_held_is_named(place: Place) -> None:
    path = pack_of(place)
    whole = path.read_bytes()
    path.unlink()
    report = verified(place)
    assert not report.ok
    assert all(problem.hint for problem in report.problems)
    path.write_bytes(whole)
    assert verified(place).ok


def test_a_cut_pack_is_found(place: Place) -> None:
    path = pack_of(place)
    path.chmod(0o644)
    path.write_bytes(path.read_bytes()[:-20])
    assert not verified(place).ok


def test_verify_changes_nothing_of_what_it_finds(place: Place) -> None:
    flip(pack_of(place), 500)
    flip(segment_of(place), 500)
    kept = ("packs/", "segments/")
    before = {path: data for path, data in tree(place.root / ".memsync").items() if path.startswith(kept)}
    verified(place)
    after = {path: data for path, data in tree(place.root / ".memsync").items() if path.startswith(kept)}
    assert after == before


# -- the remote ------------------------------------------------------------------------------------------------


def test_a_whole_remote_is_ok(place: Place) -> None:
    assert verified(place, remote=True).ok
    assert verified(place, remote=True, read_data=True).ok


def remote_pack(place: Place) -> Path:
    return place.remote / ".memsync/packs" / place.packs[0]


def remove(path: Path) -> None:
    path.unlink()


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


@pytest.mark.parametrize(("harm", "kind"), [(remove, "remote_missing_pack"), (cut, "remote_damaged_pack")])
def test_a_missing_or_cut_pack_of_the_remote_is_named_with_its_paths(
    place: Place, harm: Callable[[Path], None], kind: str
) -> None:
    name = place.packs[0]
    harm(remote_pack(place))
    (problem,) = verified(place, remote=True, quick=True).problems
    assert (problem.kind, problem.id) == (kind, name)
    assert {"Core/a.txt", "noise.bin"} <= set(problem.paths)
    assert "memsync" in problem.hint


def test_a_flipped_byte_on_the_remote_is_found_when_its_data_are_read(place: Place) -> None:
    flip(remote_pack(place), 700)
    problems = verified(place, remote=True, read_data=True, quick=True).problems
    assert {(problem.kind, problem.id) for problem in problems} == {("remote_damaged_pack", place.packs[0])}


@pytest.mark.parametrize("harm", [cut, lambda path: flip(path, 700)])
def test_a_pack_that_is_damaged_here_is_not_said_to_be_damaged_there(
    place: Place, harm: Callable[[Path], None]
) -> None:
    pack_of(place).chmod(0o644)
    harm(pack_of(place))
    report = verified(place, remote=True, read_data=True)
    assert {problem.id for problem in report.problems if problem.kind == "damaged_pack"} == {place.packs[0]}
    assert not [problem for problem in report.problems if problem.kind.startswith("remote_")]
    assert harm is not cut or [note for note in report.notes if "is damaged here" in note]
    with place.open() as store:
        planned = store.repair(dry_run=True)
        assert not [row for row in planned.mended if row.kind.startswith("remote_")]
        done = store.repair()
    kinds = [
        {(row.kind, row.id) for row in report.mended if "pack" in row.kind} for report in (planned, done)
    ]
    assert kinds[0] == kinds[1] == {("damaged_pack", place.packs[0])}
    assert verified(place, remote=True, read_data=True).ok


def test_a_pack_that_is_cut_on_both_sides_is_named_on_both(place: Place) -> None:
    pack_of(place).chmod(0o644)
    cut(pack_of(place))
    remote_pack(place).write_bytes(remote_pack(place).read_bytes()[:-2])
    kinds = {problem.kind for problem in verified(place, remote=True).problems}
    assert {"damaged_pack", "remote_damaged_pack"} <= kinds


def test_a_remote_without_heads_is_named(place: Place) -> None:
    for name in place.heads:
        (place.remote / ".memsync/heads" / name).unlink()
    kinds = {problem.kind for problem in verified(place, remote=True, quick=True).problems}
    assert kinds == {"remote_missing_head"}


# -- the command -----------------------------------------------------------------------------------------------


def test_the_command_exits_6_and_names_what_is_damaged(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place.root)
    assert CliRunner().invoke(app, ["verify"]).exit_code == 0
    flip(pack_of(place), pack_of(place).read_bytes().index(NOISE[100:200]))
    result = CliRunner().invoke(app, ["verify"])
    assert result.exit_code == 6
    assert "noise.bin" in result.output and pack_of(place).stem[:8] in result.output
    document = json.loads(CliRunner().invoke(app, ["verify", "--json"]).stdout)
    assert not document["ok"]
    assert {"kind", "id", "paths", "hint"} <= document["problems"][0].keys()
    assert CliRunner().invoke(app, ["verify", "--quick"]).exit_code == 6


def test_reading_a_damaged_content_exits_6_and_says_whom_to_ask(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(place.root)
    flip(pack_of(place), pack_of(place).read_bytes().index(NOISE[100:200]))
    (place.data / "noise.bin").unlink()
    for command, codes in ((["cat", "noise.bin"], {6}), (["restore", "noise.bin"], {1, 6})):
        result = CliRunner().invoke(app, command)
        assert result.exit_code in codes, result.output
        assert "memsync verify" in result.output
    assert not (place.data / "noise.bin").exists()


def test_where_others_never_rest_the_last_look_is_taken_while_they_wait(
    memory: Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory.save("a.txt", "a")
    moved = Problem("damaged_version", "ab" * 32, (), "its pack was moved away just then")
    looks: list[bool] = []
    real = verify._verify

    def looked(repository: Repository, **how: Any) -> VerifyReport:
        looks.append(repository._held > 0)
        if len(looks) == 2:
            raise FileNotFoundError("place 7")
        report = real(repository, **how)
        return report if looks[-1] else report._replace(problems=(moved,))

    names = iter(range(100))
    monkeypatch.setattr(verify, "_verify", looked)
    monkeypatch.setattr(verify, "_files", lambda _: [str(next(names))])
    assert memory.store.verify().ok
    assert looks == [False] * verify.TRIES + [True]


def test_a_commit_of_another_process_after_a_segment_was_read_is_no_damage_of_it(
    memory: Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory.write("a.txt", b"one\n")
    memory.store.commit()
    real = Segment.scan

    def scanned(segment: Segment, start: int | None = None) -> Scan:
        scan = real(segment, start)
        monkeypatch.setattr(Segment, "scan", real)
        memory.write("a.txt", b"one\ntwo\n")
        with Store.open(memory.root, environ=memory.environ) as other:
            assert other.commit() is not None
        return scan

    with Store.open(memory.root, environ=memory.environ) as store:
        monkeypatch.setattr(Segment, "scan", scanned)
        assert store.verify().problems == ()


def test_status_goes_on_saying_that_versions_are_lost_until_they_are_back(tmp_path: Path) -> None:
    place = Place(tmp_path)
    for number in range(4):
        place.commit({f"{number}.bin": os.urandom(900)})
    (segment,) = (place.root / ".memsync/segments").iterdir()
    whole = segment.read_bytes()
    os.truncate(segment, len(whole) // 2)
    place.commit({"new.txt": b"new\n"})
    for _ in range(2):
        with place.open() as store:
            (warning,) = store.status().warnings
            assert "is lost" in warning
            assert "'memsync repair'" in warning
    with place.open() as store:
        assert store.repair().ok
        assert store.status().warnings == ()


def test_a_pull_that_was_cut_off_between_two_packs_is_no_damage_and_the_next_one_finishes_it(
    tmp_path: Path,
) -> None:
    place = Place(tmp_path)
    place.commit({"a.txt": b"one\n"})
    place.push()
    desk = tmp_path / "desk"
    Store.clone(str(place.remote), desk, environ={"MEMSYNC_DEVICE": "desk"}).close()
    packs = place.remote / ".memsync/packs"
    before = set(packs.iterdir())
    for text in (b"two\n", b"three\n"):
        place.commit({"a.txt": text})
        place.push()
        last = {*packs.iterdir()} - before
        before |= last
    (pack,) = last
    (desk / ".memsync/packs" / f"{pack.name}.pack").write_bytes(pack.read_bytes())
    with Store.open(desk, environ={"MEMSYNC_DEVICE": "desk"}) as store:
        report = store.verify()
        assert report.ok
        assert any("'memsync pull' fetches the rest" in note for note in report.notes)
        store.pull()
        whole = store.verify()
        assert (whole.ok, whole.versions, whole.notes) == (True, 3, ())
        assert store.read("a.txt") == b"three\n"
