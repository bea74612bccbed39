"""repair: whatever still has a good copy gives it back; what nobody has is named, and nothing is deleted."""

from __future__ import annotations

import json
import os
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from click.testing import CliRunner
from memsync.app import app

from memstore import Store, files
from memstore.errors import MemsyncError
from memstore.ids import ContentId
from memstore.objects.encoding import Encoded
from memstore.objects.record import Encoding, RecordKind
from memstore.objects.tombstone import FORGOTTEN, Tombstone
from memstore.reports import RepairReport
from tests.damaged_place import one_file_system
from tests.folder_place import Death, Place, forget_catalogue, without_waiting

ALL_STEPS = bool(os.environ.get("MEMSYNC_TEST_ALL_STEPS"))
NOTE = b"remember the milk, and what was said of it\n"
NOISE = random.Random(5).randbytes(3000)
LATER = random.Random(6).randbytes(2000)


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    without_waiting(monkeypatch)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """A pack with three versions, and a segment with a fourth."""
    made = Place(tmp_path)
    made.commit({"Core/a.txt": NOTE, "noise.bin": NOISE})
    made.commit({"Core/a.txt": NOTE * 40, "Core/gone.txt": b"only in history\n" * 9})
    made.commit({"Core/a.txt": NOTE * 40 + b"and the bread\n", "Core/gone.txt": None})
    assert made.push().status == "success"
    made.commit({"later.bin": LATER, "Core/a.txt": NOTE * 41})
    return made


def repair(place: Place, *, dry_run: bool = False) -> RepairReport:
    with Store.open_damaged(place.root, environ={}) as store:
        return store.repair(dry_run=dry_run)


def whole(place: Place, *, remote: bool = False) -> bool:
    with place.open() as store:
        return store.verify(remote=remote, read_data=remote).ok


def without_remote(place: Place) -> None:
    (place.root / ".memsync/remote.json").unlink()
    shutil.rmtree(place.remote)


def pack_of(place: Place) -> Path:
    (path,) = (place.root / ".memsync/packs").glob("*.pack")
    return path


def segment_of(place: Place) -> Path:
    (path,) = (place.root / ".memsync/segments").glob("*.seg")
    return path


def flip(path: Path, offset: int) -> None:
    data = bytearray(path.read_bytes())
    data[offset] ^= 0x10
    path.chmod(0o644)
    path.write_bytes(data)


def everything(place: Place) -> list[tuple[str, dict[str, bytes]]]:
    """Each version with all that it holds, newest first."""
    with place.open() as store:
        return [
            (str(version.id), {row.path: store.read(row.path, at=version) for row in store.ls(at=version)})
            for version in store.history()
        ]


def test_a_whole_store_has_nothing_to_mend(place: Place) -> None:
    before = everything(place)
    for dry_run in (True, False):
        report = repair(place, dry_run=dry_run)
        assert (report.mended, report.problems, report.warnings) == ((), (), ())
    assert everything(place) == before


# -- an open segment, while the catalogue is there -------------------------------------------------------------


class Scratched(NamedTuple):
    """What becomes of a segment of some versions that no pack has: bytes flipped, its end cut off, or gone."""

    how: str
    at: int = 0

    def done_to(self, path: Path) -> None:
        data = path.read_bytes()
        if self.how == "gone":
            path.unlink()
        elif self.how == "cut":
            path.write_bytes(data[: self.at])
        else:
            torn = bytes(byte ^ 0xFF for byte in data[self.at : self.at + 8])
            path.write_bytes(data[: self.at] + torn + data[self.at + 8 :])


@pytest.fixture(scope="module")
def unsent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """A pack with two versions; a segment with two more, each a delta on the one before, and a new file."""
    with pytest.MonkeyPatch.context() as patch:
        without_waiting(patch)
        one_file_system(patch)
        made = Place(tmp_path_factory.mktemp("unsent"))
        made.commit({"note.txt": NOTE * 9})
        made.commit({"note.txt": NOTE * 9 + b"two\n"})
        assert made.push().status == "success"
        made.commit({"note.txt": NOTE * 9 + b"two\nthree\n"})
        made.commit({"note.txt": NOTE * 9 + b"two\nthree\nfour\n", "other.txt": LATER[:50]})
        without_remote(made)
        yield made


def scratches(place: Place, step: int) -> list[Scratched]:
    size = segment_of(place).stat().st_size
    return [
        Scratched("gone"),
        *(Scratched("cut", at) for at in range(0, size, step)),
        *(Scratched("flipped", at) for at in range(0, size, step)),
    ]


def check_scratched(place: Place, scratched: Scratched, first: str) -> None:
    """No version is lost, HEAD is what it was, and what can't be read is named: the third version's content, if it
    was hit, for nothing else has it."""
    before = [version for version, _ in everything(place)]
    saved = place.root.with_name("saved")
    shutil.copytree(place.root, saved, symlinks=True)
    try:
        scratched.done_to(segment_of(place))
        if first:
            with place.open() as store:
                getattr(store, first)()
        report = repair(place)
        with place.open() as store:
            assert [str(version.id) for version in store.history()] == before, scratched
            assert store.read("note.txt") == NOTE * 9 + b"two\nthree\nfour\n"
            assert store.read("other.txt") == LATER[:50]
            left = [(problem.kind, problem.id) for problem in report.problems]
            assert [(problem.kind, problem.id) for problem in store.verify().problems] == left
            try:
                third = store.read("note.txt", at=before[1])
            except MemsyncError:
                assert [problem.kind for problem in report.problems] == ["missing_object"], scratched
            else:
                assert (third, report.problems) == (NOTE * 9 + b"two\nthree\n", ()), scratched
    finally:
        shutil.rmtree(place.root)
        saved.rename(place.root)


@pytest.mark.parametrize("first", ["", "status", "verify"])
def test_a_damaged_segment_costs_no_version_that_the_catalogue_knows(unsent: Place, first: str) -> None:
    some = scratches(unsent, 1)
    for scratched in [some[0], *random.Random(first).sample(some, 8)]:
        check_scratched(unsent, scratched, first)


@pytest.mark.soak
@pytest.mark.parametrize("first", ["", "status"])
def test_no_damage_of_a_segment_costs_a_version_that_the_catalogue_knows(unsent: Place, first: str) -> None:
    for scratched in scratches(unsent, 2):
        check_scratched(unsent, scratched, first)


def test_a_commit_between_the_loss_of_a_segment_and_its_repair_loses_neither(place: Place) -> None:
    before = {version for version, _ in everything(place)}
    segment_of(place).unlink()
    new = place.commit({"new.txt": NOTE})
    repair(place)
    with place.open() as store:
        assert {str(id) for id, _ in store.family()} == {*before, str(new)}


# -- from the remote -------------------------------------------------------------------------------------------


def harm_flip(path: Path) -> None:
    flip(path, path.stat().st_size // 2)


def harm_tail(path: Path) -> None:
    flip(path, path.stat().st_size - 60)


def harm_cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-30])


def harm_gone(path: Path) -> None:
    path.unlink()


HARMS = [harm_flip, harm_tail, harm_cut, harm_gone]


@pytest.mark.parametrize("forgotten", [False, True])
@pytest.mark.parametrize("harm", HARMS)
def test_a_damaged_pack_is_fetched_from_the_remote(
    place: Place, harm: Callable[[Path], None], forgotten: bool
) -> None:
    before = everything(place)
    path = pack_of(place)
    harm(path)
    left = path.read_bytes() if path.exists() else None
    if forgotten:
        forget_catalogue(place)
    told = repair(place, dry_run=True)
    assert not whole(place)
    assert path.stem in {row.id for row in told.mended}
    report = repair(place)
    assert report.ok, report
    assert path.stem in {row.id for row in report.mended}
    assert everything(place) == before
    assert whole(place, remote=True)
    torn = [kept.read_bytes() for kept in (place.root / ".memsync/torn").glob("*")]
    assert torn == ([left] if left is not None else []), "the damaged file is kept"


def test_a_pack_damaged_in_two_places_here_and_there_is_put_together(place: Place) -> None:
    before = everything(place)
    path = pack_of(place)
    there = place.remote / ".memsync/packs" / path.stem
    flip(path, path.read_bytes().index(NOISE[10:60]))
    flip(there, there.stat().st_size - 60)
    (place.data / "noise.bin").unlink()
    assert repair(place).ok
    assert everything(place) == before


# -- from here -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("forgotten", [False, True])
@pytest.mark.parametrize("harm", [harm_tail, harm_cut])
def test_the_good_records_of_a_pack_without_its_index_are_written_again(
    place: Place, harm: Callable[[Path], None], forgotten: bool
) -> None:
    before = everything(place)
    without_remote(place)
    harm(pack_of(place))
    if forgotten:
        forget_catalogue(place)
    report = repair(place)
    if forgotten and not report.ok:  # the index or a group of versions is gone: nothing names them any more
        assert {problem.kind for problem in report.problems} == {"missing_version"}
        return
    assert report.ok, report
    assert everything(place) == before


def test_a_content_comes_back_from_the_file_in_data_and_its_deltas_with_it(place: Place) -> None:
    before = everything(place)
    without_remote(place)
    place.write({"Core/a.txt": NOTE})  # as in the first version; the two others are deltas of it
    path = pack_of(place)
    data = path.read_bytes()
    flip(path, data.index(NOISE[10:60]))
    flip(path, data.index(bytes(ContentId.of(NOTE))) + 40)
    report = repair(place)
    assert report.ok, report
    assert {"noise.bin", "Core/a.txt"} <= {name for row in report.mended for name in row.paths}
    assert everything(place) == before
    assert whole(place)


def test_a_renamed_file_in_data_gives_its_content_back_too(place: Place) -> None:
    before = everything(place)
    without_remote(place)
    (place.data / "noise.bin").rename(place.data / "noise again.bin")
    path = pack_of(place)
    flip(path, path.read_bytes().index(NOISE[10:60]))
    assert repair(place).ok
    assert everything(place) == before


def test_what_nobody_has_is_named_with_its_paths_and_versions(place: Place) -> None:
    lost = b"only in history\n" * 9
    without_remote(place)
    path = pack_of(place)
    offset = path.read_bytes().index(bytes(ContentId.of(lost))) + 40
    flip(path, offset)
    report = repair(place)
    (problem,) = report.problems
    assert (problem.id, problem.paths) == (str(ContentId.of(lost)), ("Core/gone.txt",))
    with place.open() as store:
        (second,) = [v for v in store.history() if "Core/gone.txt" in {c.path for c in v.changes if c.entry}]
        assert problem.versions == (str(second.id),)
        assert store.read("noise.bin") == NOISE
    assert "memsync" in problem.hint
    assert repair(place).problems == report.problems, "and again, each time it is asked"


def test_what_came_back_later_is_taken_then(place: Place) -> None:
    """What an earlier repair put aside is looked through again."""
    before = everything(place)
    shutil.copytree(place.remote, place.base / "kept")
    without_remote(place)
    (place.data / "Core/a.txt").unlink()
    path = pack_of(place)
    flip(path, path.read_bytes().index(bytes(ContentId.of(NOTE))) + 40)
    assert {name for row in repair(place).problems for name in row.paths} == {"Core/a.txt"}
    place.write({"Core/a.txt": NOTE})
    assert repair(place).ok
    assert everything(place) == before


@pytest.mark.parametrize("last", [False, True])
def test_a_damaged_segment_is_sealed_without_its_bad_record(place: Place, last: bool) -> None:
    if not last:
        place.commit({"latest.txt": b"latest\n"})
    before = everything(place)
    without_remote(place)
    path = segment_of(place)
    flip(path, path.read_bytes().index(LATER[10:60]))
    (place.data / "Core/a.txt").unlink()
    report = repair(place)
    assert report.ok, report
    assert everything(place) == before
    assert any((place.root / ".memsync/torn").iterdir())


def test_a_push_loses_nothing_of_a_last_commit_that_is_damaged(place: Place) -> None:
    path = segment_of(place)
    flip(path, path.read_bytes().index(LATER[10:60]))
    head = everything_but(place, "later.bin")
    place.push()
    assert everything_but(place, "later.bin") == head
    assert any((place.root / ".memsync/torn").iterdir()), "the damaged segment is kept"
    assert repair(place).ok, "Data/ has the damaged one"


def everything_but(place: Place, path: str) -> list[tuple[str, dict[str, bytes]]]:
    with place.open() as store:
        return [
            (str(v.id), {r.path: store.read(r.path, at=v) for r in store.ls(at=v) if r.path != path})
            for v in store.history()
        ]


# -- the small files -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["", "{", '{"format": 1, "features": [], "store": "00"}'])
def test_a_damaged_format_file_is_written_anew(place: Place, text: str) -> None:
    before = everything(place)
    path = place.root / ".memsync/format"
    good = path.read_bytes()
    path.write_text(text)
    assert "format" in {row.kind for row in repair(place, dry_run=True).mended}
    assert path.read_text() == text
    assert repair(place).ok
    assert path.read_bytes() == good
    assert everything(place) == before


def test_a_format_file_that_names_another_store_begins_none(place: Place) -> None:
    before = everything(place)
    path = place.root / ".memsync/format"
    good = json.loads(path.read_bytes())
    path.write_text(json.dumps(good | {"store": "f" * 32}, sort_keys=True) + "\n")
    result = CliRunner().invoke(app, ["-C", str(place.root), "commit"])
    assert (result.exit_code, "memsync repair" in result.stderr) == (6, True)
    assert len(list((place.root / ".memsync/segments").glob("*.seg"))) == 1
    assert repair(place).ok
    assert everything(place) == before


def test_a_damaged_checkout_record_is_put_aside(place: Place) -> None:
    path = place.root / ".memsync/checkout"
    path.write_bytes(b"\x93nonsense")
    result = CliRunner().invoke(app, ["-C", str(place.root), "status"])
    assert (result.exit_code, "memsync repair" in result.stderr) == (6, True)
    assert repair(place).ok
    assert not path.exists()
    assert whole(place)


def test_a_damaged_remote_json_is_written_anew_if_this_store_is_there(place: Place) -> None:
    path = place.root / ".memsync/remote.json"
    path.write_text(path.read_text().replace('"check": "', '"check": "0'))
    assert not whole(place)
    assert repair(place).ok
    assert whole(place, remote=True)
    assert place.push().status == "success"
    path.write_text(json.dumps({"url": str(place.base / "elsewhere"), "check": "0"}))
    report = repair(place)
    assert [problem.kind for problem in report.problems] == ["damaged_remote_state"]
    assert "memsync remote set" in report.problems[0].hint


def test_a_reflog_line_that_names_nothing_goes(place: Place) -> None:
    path = place.root / ".memsync/reflog"
    good = path.read_bytes()
    path.write_bytes(b"0" * 64 + good[64:] + good + good[:70])
    assert not whole(place)
    assert repair(place).ok
    assert path.read_bytes() == good
    assert whole(place)


def test_a_catalogue_that_says_other_things_than_the_versions_is_built_anew(place: Place) -> None:
    before = everything(place)
    with place.open() as store:
        db = store.repository.catalogue.db
        db.execute("UPDATE changes SET change = 1 WHERE change = 2")
        db.execute("UPDATE tree SET kind = 1")
        assert {problem.kind for problem in store.verify().problems} == {"damaged_catalogue"}
    report = repair(place)
    assert report.ok and "catalogue" in {row.kind for row in report.mended}
    assert everything(place) == before


# -- the remote ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("harm", HARMS)
def test_a_pack_that_the_remote_lost_or_holds_damaged_is_sent_again(
    place: Place, harm: Callable[[Path], None]
) -> None:
    path = place.remote / ".memsync/packs" / place.packs[0]
    harm(path)
    assert not whole(place, remote=True)
    report = repair(place)
    assert report.ok, report
    assert whole(place, remote=True)
    place.push()
    assert everything(place.clone("another")) == everything(place)


def test_a_remote_without_heads_gets_them_from_its_packs(place: Place) -> None:
    other = place.clone("other")
    other.commit({"theirs.txt": b"from the other device\n"})
    other.push()
    heads = place.heads
    for name in heads:
        (place.remote / ".memsync/heads" / name).unlink()
    assert place.push().status == "fail"
    assert repair(place).ok
    assert place.heads == heads
    assert place.push().status == "success"


@pytest.mark.parametrize(
    "text", [None, "", "{", '{"store": "00000000000000000000000000000000", "features": []}']
)
def test_a_remote_s_format_file_is_written_anew(place: Place, text: str | None) -> None:
    path = place.remote / ".memsync/format"
    good = path.read_bytes()
    path.unlink()
    if text is not None:
        path.write_text(text)
    assert not whole(place, remote=True)
    assert repair(place).ok
    assert path.read_bytes() == good


def test_an_unreadable_head_is_written_anew(place: Place) -> None:
    path = place.remote / ".memsync/heads" / place.heads[0]
    path.write_text('{"pa')
    assert not whole(place, remote=True)
    assert repair(place).ok
    assert json.loads(path.read_text())["format"] == 1
    assert whole(place, remote=True)


def test_the_remote_of_another_store_is_left_alone(place: Place, tmp_path: Path) -> None:
    (tmp_path / "strangers").mkdir()
    stranger = Place(tmp_path / "strangers", name="s")
    stranger.commit({"a.txt": b"theirs\n"})
    stranger.push()
    shutil.rmtree(place.remote)
    shutil.copytree(stranger.remote, place.remote)
    before = {path.name: path.read_bytes() for path in place.remote.rglob("*") if path.is_file()}
    report = repair(place)
    assert report.warnings and "another store" in report.warnings[0]
    assert {path.name: path.read_bytes() for path in place.remote.rglob("*") if path.is_file()} == before


def test_a_remote_that_is_away_keeps_nobody_from_mending_what_is_here(place: Place) -> None:
    shutil.rmtree(place.remote)
    path = pack_of(place)
    harm_tail(path)
    report = repair(place)
    assert report.ok, report
    assert whole(place)


# -- interruptions, and the command ----------------------------------------------------------------------------


class _Stop:
    def __init__(self, at: int) -> None:
        self.at = at
        self.steps = 0

    def __call__(self, step: str, path: str, data: bytes) -> None:
        if step in ("read", "sync"):
            return
        self.steps += 1
        if self.steps == self.at:
            raise Death


def harmed(base: Place, folder: Path, remote: bool) -> Place:
    shutil.copytree(base.base, folder, symlinks=True)
    place = Place.at(folder / "assistant", folder / "remote")
    (place.root / ".memsync/remote.json").unlink()
    with place.open() as store:
        if remote:
            store.set_remote(str(place.remote))
            store.push()
    path = (
        pack_of(place)
        if len(list((place.root / ".memsync/packs").glob("*"))) == 1
        else sorted((place.root / ".memsync/packs").glob("*"))[0]
    )
    flip(path, path.stat().st_size - 60)
    return place


@pytest.mark.parametrize("remote", [False, True])
def test_a_repair_cut_off_at_any_step_is_finished_by_the_next(
    tmp_path: Path, place: Place, remote: bool
) -> None:
    before = everything(place)
    for at in _steps(remote):
        cut = harmed(place, tmp_path / f"cut-{remote}-{at}", remote)
        stop = _Stop(at)
        try:
            with files.watch(stop):
                repair(cut)
        except Death:
            pass
        assert repair(cut).ok, at
        assert everything(cut) == before, at
        finished = stop.steps < at
        shutil.rmtree(cut.base)
        if finished:
            return
    if not ALL_STEPS:
        return
    raise AssertionError("it never came to its end")


def _steps(remote: bool) -> Iterator[int]:
    if ALL_STEPS:
        yield from range(1, 500)
    yield from (1, 3, 5, 7, 9, 12, 15)


def test_the_command_says_what_it_did_and_exits_6_for_what_is_lost(place: Place) -> None:
    run = CliRunner()
    assert run.invoke(app, ["-C", str(place.root), "repair"]).exit_code == 0
    harm_tail(pack_of(place))
    told = run.invoke(app, ["-C", str(place.root), "repair", "--dry-run"])
    assert (told.exit_code, "would be mended" in told.stdout) == (0, True), told.output
    result = run.invoke(app, ["-C", str(place.root), "repair", "--json"])
    document = json.loads(result.stdout)
    assert (result.exit_code, document["ok"], document["dry_run"]) == (0, True, False)
    assert {"kind", "id", "how", "paths"} <= document["mended"][0].keys()
    without_remote(place)
    shutil.rmtree(place.root / ".memsync/torn")  # it has a good copy too
    path = pack_of(place)
    flip(path, path.read_bytes().index(bytes(ContentId.of(b"only in history\n" * 9))) + 40)
    result = run.invoke(app, ["-C", str(place.root), "repair"])
    assert result.exit_code == 6
    assert "Core/gone.txt" in result.stdout and "in version" in result.stdout


def test_commits_that_a_cut_segment_lost_are_named_and_come_back_from_the_catalogue_and_data(
    place: Place,
) -> None:
    before = everything(place)
    path = segment_of(place)
    path.write_bytes(path.read_bytes()[:400])
    for _ in range(2):
        assert not whole(place), "named each time, until it is mended"
    report = repair(place)
    assert report.ok, report
    assert everything(place) == before
    assert whole(place)
    place.commit({"later.bin": b"and on"})
    assert [v for v, _ in everything(place)][1:] == [v for v, _ in before]


def test_what_was_forgotten_is_not_brought_back(place: Place) -> None:
    """Not from `Data/`, not from a damaged file, though versions name it."""
    gone = ContentId.of(NOISE)
    with place.open() as store, store.repository.writing() as writer:
        payload = Tombstone(gone, FORGOTTEN, 1_745_416_800_000).packed()
        plain = Encoded(Encoding.RAW, payload, b"", 0, 0)
        writer.add(RecordKind.TOMBSTONE, gone, len(payload), plain)
        writer.commit(store.head())
    without_remote(place)
    path = pack_of(place)
    flip(path, path.read_bytes().index(NOISE[10:60]))
    report = repair(place)
    assert report.ok, report
    with place.open() as store, pytest.raises(MemsyncError):
        store.read("noise.bin")
