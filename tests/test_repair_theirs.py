"""What a device that is gone left damaged on the remote, or lost there: it is found and named, and stops nobody."""

from __future__ import annotations

import os
import random
import shutil
from pathlib import Path

import pytest

from memstore import Store
from memstore.errors import DamagedData, RemoteTrouble
from memstore.objects.catalogue import PlaceKind
from memstore.remotes.folder import FolderRemote
from memstore.reports import VerifyReport
from tests.folder_place import Place, Watched, tree, without_waiting
from tests.mended_place import flip, repair

FIRST = random.Random(11).randbytes(1500)
SECOND = random.Random(12).randbytes(1500)


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    without_waiting(monkeypatch)


class Left:
    """A device that pushed two packs, one version in each, and is gone; and one that stays, and has not pulled."""

    def __init__(self, base: Path) -> None:
        self.here = Place(base)
        self.here.commit({"ours.txt": b"from the one that stays\n"})
        self.here.push()
        gone = self.here.clone("gone")
        self.packs: list[Path] = []
        self.versions: list[str] = []
        for files in ({"first.bin": FIRST}, {"second.bin": SECOND, "first.bin": FIRST + b"more\n"}):
            before = set(gone.packs)
            self.versions.append(str(gone.commit({**files})))
            gone.push(mirror=False)
            (new,) = set(gone.packs) - before
            self.packs.append(gone.remote / ".memsync/packs" / new)
        shutil.rmtree(gone.root)
        self.here.commit({"later.txt": b"and went on\n"})

    def pull(self) -> dict[str, bytes]:
        with self.here.open() as store:
            store.pull()
        return tree(self.here.data)

    def verify(self, *, read_data: bool = False) -> VerifyReport:
        with self.here.open() as store:
            return store.verify(remote=True, read_data=read_data)

    def ends_well(self, *names: str) -> None:
        """What is whole is pulled, pushed and cloned, and nobody has anything to say any more."""
        assert {"ours.txt", "later.txt", *names} == set(self.pull())
        pushed = self.here.push()
        assert (pushed.status, pushed.warnings) == ("success", ())
        assert len(self.here.heads) == 1
        assert self.verify(read_data=True).ok
        report = repair(self.here)
        assert (report.mended, report.problems, report.warnings) == ((), (), ())
        assert tree(self.here.clone("another").data) == tree(self.here.data)


@pytest.fixture
def left(tmp_path: Path) -> Left:
    return Left(tmp_path)


def test_a_whole_remote_of_others_is_read_by_repair_and_left_as_it_is(left: Left) -> None:
    before = tree(left.here.remote)
    report = repair(left.here)
    assert (report.mended, report.problems, report.warnings) == ((), (), ())
    assert tree(left.here.remote) == before
    left.ends_well("first.bin", "second.bin")


@pytest.mark.parametrize("kept", [True, False])
def test_a_pack_of_another_device_that_is_lost_is_named_and_the_versions_before_it_get_their_head(
    left: Left, kept: bool
) -> None:
    for pack in left.packs[1:] if kept else left.packs:
        pack.unlink()
    with left.here.open() as store, pytest.raises(DamagedData, match="is missing") as caught:
        store.pull()
    assert "memsync repair" in caught.value.hint
    for read_data in (False, True):
        assert left.versions[1] in {problem.id for problem in left.verify(read_data=read_data).problems}
    told = repair(left.here, dry_run=True)
    assert left.versions[1] in {problem.id for problem in told.problems}
    assert left.versions[1] in left.here.heads, "a dry run leaves it"
    report = repair(left.here)
    assert [(problem.kind, problem.id) for problem in report.problems] == [
        ("remote_missing_version", left.versions[1])
    ]
    assert (left.versions[0] in left.here.heads) == kept
    left.ends_well(*(["first.bin"] if kept else []))
    if kept:
        assert (left.here.data / "first.bin").read_bytes() == FIRST


def test_a_head_that_nobody_made_goes_with_a_word(left: Left) -> None:
    left.pull()
    nobody = os.urandom(32).hex()
    (left.here.remote / ".memsync/heads" / nobody).write_bytes(b"{}")
    assert nobody in {problem.id for problem in left.verify().problems}
    assert nobody in {problem.id for problem in repair(left.here).problems}
    left.ends_well("first.bin", "second.bin")


def test_bytes_that_are_no_pack_stop_neither_pull_nor_clone_and_repair_takes_them_away(left: Left) -> None:
    noise = left.here.remote / ".memsync/packs" / os.urandom(32).hex()
    noise.write_bytes(os.urandom(100))
    assert noise.name in {problem.id for problem in left.verify().problems}
    with left.here.open() as store:
        (warning,) = store.pull().warnings
    assert noise.name[:12] in warning
    left.here.clone("before")
    assert {row.id for row in repair(left.here).mended} == {noise.name}
    assert not noise.exists()
    left.ends_well("first.bin", "second.bin")


@pytest.mark.parametrize("place", ["in a content", "in its index"])
def test_what_is_good_in_a_damaged_pack_of_another_device_comes_back(left: Left, place: str) -> None:
    pack = left.packs[1]
    data = pack.read_bytes()
    flip(pack, data.index(SECOND[10:60]) if place == "in a content" else len(data) - 60)
    with left.here.open() as store, pytest.raises(DamagedData, match="is damaged") as caught:
        store.pull()
    assert "memsync repair" in caught.value.hint
    assert pack.name in {problem.id for problem in left.verify(read_data=True).problems}
    assert pack.name in {row.id for row in repair(left.here, dry_run=True).mended}
    assert pack.exists()
    report = repair(left.here)
    assert pack.name in {row.id for row in report.mended}
    assert not pack.exists()
    if place == "in its index":
        assert report.ok, report
        left.ends_well("first.bin", "second.bin")
        assert (left.here.data / "second.bin").read_bytes() == SECOND
        return
    assert {path for problem in report.problems for path in problem.paths} == {"second.bin"}
    assert left.pull()["first.bin"] == FIRST + b"more\n"
    left.here.push(mirror=False)
    with Store.clone(str(left.here.remote), left.here.base / "another", environ={}) as store:
        assert any("second.bin" in warning for warning in store.lacking)
    other = Place.at(left.here.base / "another", left.here.remote)
    assert tree(other.data) == tree(left.here.data)
    # Then it turns up again on one device, and comes to the other.
    left.here.write({"found.bin": SECOND})
    assert repair(left.here).ok
    left.here.commit()
    left.here.push()
    assert repair(other).ok
    with other.open() as store:
        assert store.verify(remote=True, read_data=True).ok


def test_a_version_whose_parent_is_lost_is_named_once_and_stops_nobody(left: Left) -> None:
    left.packs[0].unlink()
    with left.here.open() as store, pytest.raises(DamagedData, match="is missing"):
        store.pull()
    assert [problem.id for problem in repair(left.here).problems] == [left.versions[1]]
    left.ends_well()
    (note,) = (note for note in left.verify(read_data=True).notes if "no head needs" in note)
    assert "1 version" in note


def test_a_pack_that_went_damaged_to_the_remote_is_mended_once_its_records_are_here(left: Left) -> None:
    """An older memsync sent it: it is in no store any more as it should be."""
    here = left.here
    left.pull()
    here.push()
    here.commit({"n.bin": os.urandom(3000)})
    here.push()
    with here.open() as store:
        places = store.repository.catalogue.places()
    name = max((place, name) for name, (place, kind, _) in places.items() if kind == PlaceKind.PACK)[1]
    (here.root / f".memsync/packs/{name}.pack").chmod(0o644)
    for pack in (here.root / f".memsync/packs/{name}.pack", here.remote / ".memsync/packs" / name):
        flip(pack, 1000)
    here.commit({"one more.txt": b"one more\n"})
    assert repair(here).ok, "n.bin still lies in Data/"
    assert not (here.remote / ".memsync/packs" / name).exists()
    left.ends_well("first.bin", "second.bin", "n.bin", "one more.txt")


def test_a_device_that_was_not_gone_after_all_brings_its_version_back(left: Left) -> None:
    desk = left.here.clone("desk")
    before = set(desk.packs)
    desk.commit({"desk.txt": b"from the desk\n"})
    desk.push(mirror=False)
    (new,) = set(desk.packs) - before
    (desk.remote / ".memsync/packs" / new).unlink()
    assert not repair(left.here).ok
    left.ends_well("first.bin", "second.bin")
    desk.push()
    with desk.open() as store:
        assert store.pull().status == "success"
    assert desk.push().status == "success"
    assert "desk.txt" in left.pull()


def test_where_listings_lag_a_lost_head_is_only_taken_away_once_it_was_missed_for_long(
    left: Left, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Watched, "listing_is_free", False)
    monkeypatch.setattr(FolderRemote, "listing_is_free", False)
    left.packs[1].unlink()
    with left.here.open() as store, pytest.raises(RemoteTrouble) as caught:
        store.pull()
    assert (caught.value.exit_code, "lags" in caught.value.hint) == (5, True)
    for _ in range(2):
        (problem,) = repair(left.here).problems
        assert (problem.id, "lags" in problem.hint) == (left.versions[1], True)
        assert left.versions[1] in left.here.heads
    (left.here.root / ".memsync/config.toml").write_text("[gc]\ngrace_hours = 0\n")
    (problem,) = repair(left.here).problems
    assert (problem.kind, problem.id) == ("remote_missing_version", left.versions[1])
    assert left.versions[1] not in left.here.heads
    monkeypatch.undo()
    left.ends_well("first.bin")
