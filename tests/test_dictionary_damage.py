"""The dictionary of a large commit, damaged: one copy is enough, and what leaned on both is encoded anew."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from memstore.manifest import history
from memstore.manifest.version import Change
from memstore.objects.catalogue import Catalogue
from tests.folder_place import Place
from tests.noted_place import dictionaries, few_are_many, naive, notes, whole


@pytest.fixture(autouse=True)
def _few_are_many(monkeypatch: pytest.MonkeyPatch) -> None:
    few_are_many(monkeypatch)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def copies(place: Place) -> list[tuple[Path, int, int]]:
    """(file, where the payload begins, where it ends) of each copy of the dictionary."""
    found = []
    with place.open() as store:
        catalogue = store.repository.catalogue
        (id,) = dictionaries(naive(place))
        for row in catalogue.locations(id):
            name, kind = catalogue.place_name(row.place) or ("", 0)
            path = (
                place.root
                / ".memsync"
                / ("packs" if kind else "segments")
                / (name + (".pack" if kind else ".seg"))
            )
            found.append((path, row.offset + row.header, row.offset + row.header + row.stored))
    return sorted(found)


def damage(spot: tuple[Path, int, int]) -> None:
    path, start, end = spot
    data = bytearray(path.read_bytes())
    for at in range(start + 20, end, 50):
        data[at] ^= 0x55
    path.chmod(0o644)
    path.write_bytes(data)


@pytest.mark.parametrize("sealed", [False, True])
@pytest.mark.parametrize("which", [0, 1])
def test_one_damaged_copy_costs_nothing(place: Place, sealed: bool, which: int) -> None:
    contents = notes()
    place.commit(contents)
    place.commit({"more.md": b"so that the first commit is not the last\n"})
    if sealed:
        with place.open() as store, store.repository.writing() as writer:
            from memstore.actions.seal import seal

            seal(store.repository, writer)
    damage(copies(place)[which])
    with place.open() as store:
        assert {path: store.read(path) for path in contents} == contents
        assert not store.verify().ok
    for name in place.root.glob(".memsync/catalogue.sqlite*"):
        name.unlink()
    with place.open() as store:
        assert {path: store.read(path) for path in contents} == contents
        report = store.repair()
        assert not report.problems, report.problems
    whole(place, contents)


def test_both_copies_damaged_what_is_in_data_is_encoded_anew(place: Place) -> None:
    contents = notes(120)
    place.commit(contents)
    place.commit({"more.md": b"so that the first commit is not the last\n"})
    for spot in copies(place):
        damage(spot)
    with place.open() as store:
        assert not store.verify().ok
        assert not store.repair().problems
    whole(place, contents)


def test_who_needs_very_many_damaged_contents_is_found_in_one_go(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.commit(notes(120))
    place.commit({"more.md": b"so that the first commit is not the last\n"})
    for spot in copies(place):
        damage(spot)
    with place.open() as store:
        gone_through: list[int] = []
        changes_of = history.changes_of

        def noted(catalogue: Catalogue, seq: int) -> Iterator[Change]:
            gone_through.append(seq)
            return changes_of(catalogue, seq)

        monkeypatch.setattr(history, "changes_of", noted)
        problems = [row for row in store.verify().problems if row.kind == "damaged_object"]
        assert len(problems) == 120 - 80
        assert all(len(row.paths) == len(row.versions) == 1 for row in problems)
        assert len(gone_through) <= 4


def test_both_copies_damaged_and_data_gone_the_remote_still_has_it(place: Place) -> None:
    contents = notes(120)
    place.commit(contents)
    assert place.push().error is None
    for spot in copies(place):
        damage(spot)
    for path in contents:
        (place.data / path).unlink()
    with place.open() as store:
        assert not store.verify().ok
        assert not store.repair().problems
        store.restore(["."])
    whole(place, contents)
