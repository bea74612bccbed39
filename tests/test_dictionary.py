"""The dictionary of a large commit: a content like any other that many lean on, and that leaves with what it holds."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest
from blake3 import blake3

from memstore import crew as crews
from memstore.actions import compact, fill, training
from memstore.crew import Crew
from memstore.errors import DamagedData
from memstore.objects import dictionary, encoding
from memstore.objects.record import Encoding
from memstore.repository import Repository
from memstore.worktree.materialise import FreshTree
from tests.folder_place import Place
from tests.naive_reader import CONTENT, read_store
from tests.noted_place import (
    NOTES,
    collect,
    dictionaries,
    few_are_many,
    leaning,
    naive,
    note,
    notes,
    whole,
    with_secret,
    without_remote,
)


@pytest.fixture(autouse=True)
def _few_are_many(monkeypatch: pytest.MonkeyPatch) -> None:
    few_are_many(monkeypatch)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def trained(texts: list[bytes], coming: int) -> bytes | None:
    return dictionary.trained([dictionary.Text(blake3(raw).digest()[:8], raw) for raw in texts], coming)


# -- by itself -------------------------------------------------------------------------------------------------


def test_what_leans_on_a_dictionary_reads_as_any_delta_does() -> None:
    texts = [note(number) for number in range(200)]
    content = trained(texts, 1000)
    assert content is not None and dictionary.is_dictionary(content)
    made = dictionary.Dictionary(b"12345678 and more", content)
    for text in [*texts[:20], note(5000), b"x" * 16, os.urandom(3000).replace(b"\0", b"1")]:
        how, payload, base = encoding.encode_quickly(text, made)
        assert (base == b"12345678") == (how == Encoding.DELTA)
        assert encoding.decode(how, payload, len(text), content) == text
    assert len(encoding.encode_quickly(note(5000), made)[1]) < 0.7 * len(
        encoding.encode_quickly(note(5000))[1]
    )


@pytest.mark.parametrize("raw", [b"", b"fifteen bytes..", b"a\0b" * 20, b"a large text\n" * 2000])
def test_what_is_no_small_text_leans_on_none(raw: bytes) -> None:
    content = trained([note(number) for number in range(200)], 1000)
    assert content is not None
    assert encoding.encode_quickly(raw, dictionary.Dictionary(b"12345678", content))[2] == b""


def test_there_is_none_where_it_would_not_pay() -> None:
    texts = [note(number) for number in range(200)]
    noise = [random.Random(number).randbytes(400).replace(b"\0", b"1") for number in range(200)]
    assert trained(noise, 10**9) is None  # nothing in common
    assert trained(texts, 3) is None  # it would be stored for three
    assert trained(texts[:20], 10**9) is None  # too few to tell
    assert trained([b"the very same text"] * 200, 1000) is None


def test_a_dictionary_says_what_it_is_made_of() -> None:
    texts = [note(number) for number in range(200)]
    content = trained(texts, 1000)
    assert content is not None
    made_of, pieces = dictionary.parts(content)
    assert made_of == {blake3(raw).digest()[:8] for number, raw in enumerate(texts) if number % 8}
    shared = dictionary.units(b"".join(texts))
    assert len(dictionary.units(pieces) & shared) > 0.6 * len(dictionary.units(pieces))
    with pytest.raises(DamagedData):
        dictionary.parts(dictionary.TITLE + b"\x05" + bytes(39))


def test_a_piece_of_eight_bytes_is_noticed() -> None:
    units = dictionary.units(b"abcdefghijklmnopqrstuvwxyz")
    assert dictionary.shares(units, b"1234 defghijk 5678")
    assert not dictionary.shares(units, b"1234 defghij 5678")
    assert dictionary.shares(units, b"xyz")
    assert not dictionary.shares(units, b"")


# -- a commit --------------------------------------------------------------------------------------------------


def test_a_large_commit_leans_on_a_dictionary_that_is_stored_twice(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    contents = notes()
    place.commit(contents)
    whole(place, contents)
    stored = naive(place)
    ((id, copies),) = dictionaries(stored).items()
    assert copies == 2
    assert leaning(stored) == NOTES - 80  # but for those that it was made of
    forms = [form.id for form in stored.forms]
    assert forms[-1] == id  # far from the first
    with place.open() as store:
        assert store.status().clean
        assert store.verify().objects == NOTES
        assert store.commit() is None
        size = sum(row[2] for row in store.repository.catalogue.places().values())
    monkeypatch.setattr(training, "JOBS", 0)
    other = Place(place.base / "without")
    other.commit(contents)
    with other.open() as store:
        assert size < 0.9 * sum(row[2] for row in store.repository.catalogue.places().values())


def test_a_catalogue_that_is_built_anew_says_the_same_of_what_reading_costs(place: Place) -> None:
    place.commit(notes())
    with place.open() as store:
        rows = "SELECT short, offset, cost FROM objects ORDER BY short, offset"
        before = store.repository.catalogue.db.execute(rows).fetchall()
        with store.repository.locked():
            store.repository.read_anew()
        assert store.repository.catalogue.db.execute(rows).fetchall() == before
    assert place.push().error is None
    with place.open() as store:
        costs = "SELECT short, cost FROM objects ORDER BY short"
        before = [(short, cost) for short, _, cost in before]
        known = set(store.repository.catalogue.db.execute(costs).fetchall())
        assert known >= set(before)


def test_a_crew_stores_what_one_process_does(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    contents = notes()
    monkeypatch.setattr(crews, "_processors", lambda: 2)
    place.commit(contents)
    monkeypatch.setattr(crews, "_processors", lambda: 0)
    other = Place(place.base / "other")
    other.commit(contents)
    ours, theirs = (
        [(form.id, form.encoding, form.payload) for form in naive(one).forms] for one in (place, other)
    )
    assert ours == theirs
    whole(place, contents)


def test_a_crew_that_dies_leaves_the_dictionary_to_whoever_is_left(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(crews, "_processors", lambda: 2)
    ask = Crew.ask

    def killing(crew: Crew, job: bytes) -> None:
        ask(crew, job)
        for member in crew._members:
            if member._process is not None:
                member._process.kill()

    monkeypatch.setattr(Crew, "ask", killing)
    contents = notes()
    place.commit(contents)
    assert leaning(naive(place)) == NOTES - 80
    whole(place, contents)


def test_what_is_here_already_has_no_dictionary_made_of_it(place: Place) -> None:
    place.commit(notes())
    place.commit({"copy/" + path: content for path, content in notes().items()})
    assert len(dictionaries(naive(place))) == 1


def test_versions_to_come_lean_on_the_notes(place: Place) -> None:
    contents = notes()
    place.commit(contents)
    for turn in range(3):
        contents["Notes/4/0222.md"] += b"and one line more in turn %d\n" % turn
        place.commit(contents)
    whole(place, contents)
    form = max(naive(place).forms, key=lambda form: form.rank)
    assert form.rank == 4


# -- a clone, a push -------------------------------------------------------------------------------------------


def test_a_clones_crew_writes_what_leans_on_a_dictionary(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    contents = notes()
    place.commit(contents)
    assert place.push().error is None
    left: list[str] = []
    alone = fill._alone

    def noted(repository: Repository, tree: FreshTree, row: fill.Row, unwritten: fill.Left) -> fill.Key:
        left.append(row[0])
        return alone(repository, tree, row, unwritten)

    monkeypatch.setattr(fill, "_alone", noted)
    monkeypatch.setattr(crews, "_processors", lambda: 2)
    other = place.clone("desk")
    assert len(left) <= 30  # of the first job at most
    assert {path: (other.data / path).read_bytes() for path in contents} == contents
    whole(other, contents)
    remote = read_store(place.remote / ".memsync")
    assert dictionaries(remote) == dictionaries(naive(other))


def test_whoever_reads_many_notes_reads_the_dictionary_once(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    contents = notes()
    place.commit(contents)
    lengths: list[int] = []
    decode = encoding.decode

    def noted(how: Encoding, payload: bytes, length: int, base: bytes | None = None) -> bytes:
        lengths.append(length)
        return decode(how, payload, length, base)

    monkeypatch.setattr(encoding, "decode", noted)
    with place.open() as store:
        for path in contents:
            store.read(path)
    assert len(lengths) == NOTES + 1


# -- gc --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("remote", [False, True])
def test_a_dictionary_stays_while_anything_leans_on_it_and_goes_with_the_last(
    tmp_path: Path, remote: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compact, "TWICE", 20)
    place = Place(tmp_path) if remote else without_remote(tmp_path)
    contents = notes()
    place.commit(contents)
    if remote:
        assert place.push().error is None
    before = {form.id: form.payload for form in naive(place).forms}
    gone = [path for number, path in enumerate(contents) if number % 2]
    place.commit(dict.fromkeys(gone), allow_deletions=True)
    kept = {path: content for path, content in contents.items() if path not in gone}
    collect(place)
    stored = naive(place)
    assert set(dictionaries(stored).values()) == {2}
    assert leaning(stored) == (NOTES - 80) // 2
    assert all(before[form.id] == form.payload for form in stored.forms if form.kind == CONTENT)
    whole(place, kept)
    place.commit(dict.fromkeys([*kept][20:]), allow_deletions=True)
    collect(place)
    stored = naive(place)
    assert not dictionaries(stored)
    assert {id for kind, id in stored.objects if kind == CONTENT} == {
        blake3(kept[path]).digest() for path in [*kept][:20]
    }
    whole(place, {path: kept[path] for path in [*kept][:20]})


# -- all of it -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
def test_whatever_is_done_after_a_large_commit_everything_reads_back(tmp_path: Path, seed: int) -> None:
    choice = random.Random(seed)
    place = Place(tmp_path)
    now = with_secret() if seed % 2 else notes(160)
    place.commit(now)
    for turn in range(8):
        do = choice.choice(("edit", "edit", "many", "delete", "gc", "forget", "push", "repair", "clone"))
        paths = sorted(now)
        if do == "edit":
            for path in choice.sample(paths, 5):
                now[path] += b"one line more in turn %d\n" % turn
            place.commit(now)
        elif do == "many":
            now |= {f"More/{turn}/{number}.md": note(1000 * (turn + 1) + number) for number in range(130)}
            place.commit(now)
        elif do == "delete":
            gone = choice.sample(paths, len(paths) // 3)
            place.commit(dict.fromkeys(gone), allow_deletions=True)
            now = {path: content for path, content in now.items() if path not in gone}
        elif do == "gc":
            collect(place)
        elif do == "forget":
            gone = choice.sample(paths, 2)
            with place.open() as store:
                assert store.forget(gone).error is None
            now = {
                path: content for path, content in now.items() if content not in {now[path] for path in gone}
            }
        elif do == "push":
            assert place.push().error is None
        elif do == "repair":
            with place.open() as store:
                assert not store.repair().problems
        else:
            assert place.push().error is None
            other = place.clone(f"clone {turn}")
            assert {path: (other.data / path).read_bytes() for path in now} == now
        whole(place, now)
