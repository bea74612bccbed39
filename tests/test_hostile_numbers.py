"""Numbers in versions that no honest device writes: what they would end goes on, and what they say is not believed."""

from __future__ import annotations

from pathlib import Path

import pytest

from memstore.errors import DamagedData
from memstore.manifest.version_format import LAST_GENERATION, decode, encode_again
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
