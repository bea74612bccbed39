"""The dictionary of a large commit, and a forget: nothing of what was forgotten stays in it."""

from __future__ import annotations

from pathlib import Path

import pytest

from memstore.objects import dictionary
from tests.folder_place import Place
from tests.naive_reader import CONTENT, read_store
from tests.noted_place import (
    SECRET,
    SECRETS,
    collect,
    dictionaries,
    few_are_many,
    leaning,
    naive,
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


def windows(secret: bytes = SECRET) -> set[bytes]:
    return {secret[at : at + 8] for at in range(len(secret) - 7)}


def traces(place: Place) -> list[bytes]:
    """The contents in which eight bytes of the secret stand, wherever the place keeps some."""
    found = []
    for folder in (place.root / ".memsync", place.remote / ".memsync"):
        store = read_store(folder) if folder.exists() else None
        for (_, id), plain in store.objects.items() if store is not None else ():
            if any(window in plain for window in windows()):
                found.append(id)
    return found


@pytest.mark.parametrize("pushed", [False, True])
def test_what_was_forgotten_is_in_no_dictionary_anywhere(tmp_path: Path, pushed: bool) -> None:
    place = Place(tmp_path)
    contents = with_secret()
    place.commit(contents)
    (id,) = dictionaries(naive(place))
    assert SECRET[:20] in naive(place).objects[CONTENT, id]
    other = None
    if pushed:
        assert place.push().error is None
        other = place.clone("desk")
    with place.open() as store:
        report = store.forget(SECRETS)
        assert report.error is None and report.exit_code == 0
    assert not traces(place)
    assert id not in dictionaries(naive(place))
    kept = {path: content for path, content in contents.items() if path not in SECRETS}
    whole(place, kept)
    if other is not None:
        with other.open() as store:
            store.pull()
            store.push()
        assert not traces(other)
        whole(other, kept)


@pytest.mark.parametrize("remote", [False, True])
def test_what_left_by_retention_is_in_no_dictionary_once_it_is_forgotten(
    tmp_path: Path, remote: bool
) -> None:
    """It can't be read any more, and pieces of it are in what others lean on."""
    place = Place(tmp_path) if remote else without_remote(tmp_path)
    contents = with_secret()
    place.commit(contents)
    place.commit(dict.fromkeys(SECRETS, b"harmless\n"))
    collect(place)
    assert traces(place)
    with place.open() as store:
        assert store.forget(SECRETS).error is None
    assert not traces(place)
    assert not dictionaries(naive(place))


def test_a_dictionary_of_our_own_goes_when_another_device_forgets(place: Place) -> None:
    """Both took in the same notes before they met; each made a dictionary of them."""
    place.commit({"first.md": b"hello\n"})
    assert place.push().error is None
    other = place.clone("desk")
    contents = with_secret()
    place.commit(contents)
    other.commit({**contents, "Notes/0/0001.md": b"another note than it was " * 20})
    assert place.push().error is None
    with place.open() as store:
        assert store.forget(SECRETS).error is None
    assert dictionaries(naive(other)).keys() not in (set(), dictionaries(naive(place)).keys())
    with other.open() as store:
        store.pull()
        store.push()
    with place.open() as store:
        store.pull()
    for one in (place, other):
        assert not [id for id in traces(one) if dictionary.is_dictionary(naive(one).objects[CONTENT, id])]


def test_forgetting_what_it_is_not_made_of_leaves_the_dictionary(place: Place) -> None:
    contents = notes()
    place.commit(contents)
    before = naive(place)
    with place.open() as store:
        assert store.forget(["Notes/4/0222.md"]).error is None
    del contents["Notes/4/0222.md"]
    after = naive(place)
    assert dictionaries(after).keys() == dictionaries(before).keys()
    assert leaning(after) == leaning(before) - 1
    whole(place, contents)


def test_what_is_the_same_in_a_note_that_left_by_retention_is_in_no_dictionary_either(tmp_path: Path) -> None:
    """The secret came into the dictionary from notes that are not here any more, and that nobody names."""
    place = without_remote(tmp_path)
    contents = with_secret()
    contents["Notes/4/0222.md"] += SECRET
    place.commit(contents)
    place.commit(dict.fromkeys(SECRETS, b"harmless\n"))
    collect(place)
    with place.open() as store:
        assert store.forget(["Notes/4/0222.md"]).error is None
    assert not traces(place)
    del contents["Notes/4/0222.md"]
    whole(place, contents | dict.fromkeys(SECRETS, b"harmless\n"))
