"""repair: whatever still has a good copy gives it back; what nobody has is named, and nothing is deleted."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner
from memsync.app import app

from memstore.errors import MemsyncError
from memstore.ids import ContentId
from memstore.objects.encoding import Encoded
from memstore.objects.record import Encoding, RecordKind
from memstore.objects.tombstone import FORGOTTEN, Tombstone
from tests.folder_place import Place, forget_catalogue, without_waiting
from tests.mended_place import (
    HARMS,
    NOISE,
    NOTE,
    everything,
    flip,
    harm_cut,
    harm_tail,
    pack_of,
    repair,
    stored,
    whole,
    without_remote,
)


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    without_waiting(monkeypatch)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return stored(tmp_path)


def test_a_whole_store_has_nothing_to_mend(place: Place) -> None:
    before = everything(place)
    for dry_run in (True, False):
        report = repair(place, dry_run=dry_run)
        assert (report.mended, report.problems, report.warnings) == ((), (), ())
    assert everything(place) == before


# -- from the remote -------------------------------------------------------------------------------------------


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


# -- the command -----------------------------------------------------------------------------------------------


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
