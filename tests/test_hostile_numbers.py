"""Numbers in versions that no honest device writes: what they would end goes on, and what they say is not believed."""

from __future__ import annotations

from pathlib import Path

import pytest

from memstore.errors import DamagedData
from memstore.ids import ContentId
from memstore.manifest.version import Change, ChangeKind, Entry, Kind, Meta
from memstore.manifest.version_format import LAST_GENERATION, LAST_SIZE, decode, encode_again
from memstore.objects.encoding import encode
from memstore.objects.record import RecordKind
from tests.folder_place import Place, forget_catalogue, head_of, tree, without_waiting


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    without_waiting(monkeypatch)


@pytest.fixture
def two(tmp_path: Path) -> tuple[Place, Place]:
    first = Place(tmp_path)
    first.commit({"a.txt": b"a\n"})
    first.push()
    return first, first.clone("second")


def counts(place: Place, generation: int) -> None:
    """The catalogue says that of HEAD."""
    with place.open() as store, store.repository.writing() as writer:
        writer.repository.catalogue.db.execute("UPDATE versions SET generation = ?", (generation,))
        writer.finish()


# -- generations -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("generation", [LAST_GENERATION - 1, 4711])
def test_a_generation_that_does_not_follow_from_the_parents_is_not_believed(
    two: tuple[Place, Place], generation: int
) -> None:
    first, second = two
    counts(second, generation)
    second.commit({"b.txt": b"b\n"})
    assert second.push().status == "success"
    with first.open() as store:
        assert store.pull().status == "success"
        assert store.version(str(store.head())).generation == generation + 1
    for place in (first, first.clone("third")):
        head = head_of(place)
        for name in ("c.txt", "d.txt"):
            assert place.commit({name: name.encode()}) is not None
        with place.open() as store:
            versions = list(store.history())
            assert [version.generation for version in versions] == [4, 3, generation + 1, 1]
            assert str(versions[2].id) == head
            assert store.verify().ok
    forget_catalogue(first)
    assert first.commit({"e.txt": b"e"}) is not None
    assert first.push().status == "success"
    with second.open() as store:
        store.pull()
    assert tree(second.data) == tree(first.data)


def test_no_version_is_written_with_a_number_that_nobody_could_read(two: tuple[Place, Place]) -> None:
    first, _ = two
    counts(first, (1 << 63) - 2)
    with pytest.raises(DamagedData) as caught:
        first.commit({"b.txt": b"b\n"})
    assert "repair" in caught.value.hint
    with first.open() as store:
        assert [problem.kind for problem in store.verify().problems] == ["damaged_catalogue"]
        store.repair()
    assert first.commit() is not None
    with first.open() as store:
        version = store.version(str(store.head()))
        assert (version.generation, store.verify().ok) == (2, True)
    with pytest.raises(DamagedData):
        decode(encode_again(version._replace(generation=LAST_GENERATION + 1)))


# -- sizes -----------------------------------------------------------------------------------------------------


def says(place: Place, sizes: dict[str, int]) -> str:
    """A version in which these paths hold four bytes, said to be so many."""
    id = ContentId.of(b"four")
    with place.open() as store, store.repository.writing() as writer:
        writer.add(RecordKind.CONTENT, id, 4, encode(b"four"))
        changes = [
            Change(path, ChangeKind.ADD, Entry(path, Kind.FILE, size, id, 1_000))
            for path, size in sorted(sizes.items())
        ]
        return str(writer.add_version(changes, meta=Meta()).id)


def test_sizes_that_no_sum_holds_stop_nobody_and_are_named(two: tuple[Place, Place]) -> None:
    first, second = two
    paths = [f"{number:04}.txt" for number in range(1_100)]
    version = says(second, dict.fromkeys(paths, LAST_SIZE))
    assert second.push(mirror=False).status == "success"
    with first.open() as store:
        assert store.pull().status == "success"
        assert store.status().clean
        (problem,) = store.verify().problems
        assert (problem.kind, problem.id, problem.paths) == ("wrong_size", version, tuple(paths[:20]))
        assert store.verify(quick=True).ok
    third = first.clone("third")
    assert tree(third.data) == tree(first.data)
    assert first.push().error is None


def test_verify_names_a_size_that_is_not_its_content_s(two: tuple[Place, Place]) -> None:
    first, _ = two
    with first.open() as store:
        assert store.verify().ok
    version = says(first, {"right.txt": 4, "wrong.txt": 3})
    with first.open() as store:
        problems = store.verify().problems
        assert [(row.kind, row.id, row.paths) for row in problems] == [
            ("wrong_size", version, ("wrong.txt",))
        ]
        assert store.read("wrong.txt") == b"four"


def test_a_size_beyond_any_disk_is_no_version(two: tuple[Place, Place]) -> None:
    first, _ = two
    with first.open() as store:
        version = store.version(str(store.head()))
    change = version.changes[0]
    assert change.entry is not None
    for size in (LAST_SIZE, LAST_SIZE + 1, (1 << 63) - 1):
        record = encode_again(
            version._replace(changes=(change._replace(entry=change.entry._replace(size=size)),))
        )
        if size <= LAST_SIZE:
            assert decode(record).changes[0].entry is not None
        else:
            with pytest.raises(DamagedData):
                decode(record)
