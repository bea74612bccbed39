"""repair of an open segment, whose versions no pack has yet."""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from memstore.errors import MemsyncError
from tests.damaged_place import one_file_system
from tests.folder_place import Place, without_waiting
from tests.mended_place import (
    LATER,
    NOTE,
    everything,
    flip,
    repair,
    segment_of,
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
