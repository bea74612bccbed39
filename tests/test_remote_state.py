"""Who writes down what is known of the remote takes back nothing that others noted meanwhile."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memstore.actions import remote_state
from memstore.actions.remote_state import RemoteState
from memstore.remotes.folder import FolderRemote
from tests.folder_place import Place, head_of, without_waiting

NAMES = st.lists(st.sampled_from("abcdef"), unique=True, max_size=5).map(tuple)
STATES = st.builds(
    RemoteState,
    url=st.just("folder"),
    sent=NAMES,
    unpublished=NAMES,
    erase=NAMES,
    collections=st.dictionaries(st.sampled_from("pqr"), NAMES, max_size=3),
    registered=st.booleans(),
    mirrored=st.sampled_from([None, "1", "2"]),
)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    without_waiting(monkeypatch)
    made = Place(tmp_path)
    made.commit({"a.txt": b"0\n"})
    made.push()
    return made


@given(base=STATES, ours=STATES, theirs=STATES)
def test_what_either_side_added_is_there_and_what_either_took_away_is_not(
    base: RemoteState, ours: RemoteState, theirs: RemoteState
) -> None:
    joined = remote_state._joined(base, ours, theirs)
    for name in ("sent", "unpublished", "erase", "collections"):
        was, mine, other = (set(getattr(state, name)) for state in (base, ours, theirs))
        kept = was & mine & other
        assert set(getattr(joined, name)) == kept | (mine - was) | (other - was)
        assert len(getattr(joined, name)) == len(set(getattr(joined, name)))
    for name in ("registered", "mirrored"):
        was, mine, other = (getattr(state, name) for state in (base, ours, theirs))
        assert getattr(joined, name) == (other if mine == was else mine)
    assert remote_state._joined(base, base, theirs) == theirs
    assert remote_state._joined(base, ours, base) == ours


def test_what_is_saved_is_what_is_loaded(place: Place) -> None:
    with place.open() as store:
        state = remote_state.load(store.repository)
        assert state is not None and state.sent and state.base == state
        saved = remote_state.save(store.repository, replace(state, mirrored=None))
        assert remote_state.load(store.repository) == saved == saved.base


def at_its_first_pack(monkeypatch: pytest.MonkeyPatch, act: Any) -> None:
    """Something happens in the workspace when a push has sent its first pack."""
    create = FolderRemote.create
    happened: list[bool] = []

    def then(self: FolderRemote, name: str, *rest: Any) -> Any:
        done = create(self, name, *rest)
        if name.startswith("packs/") and not happened:
            happened.append(True)
            act()
        return done

    monkeypatch.setattr(FolderRemote, "create", then)


def test_another_remote_that_is_set_during_a_push_stays_set(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def elsewhere() -> None:
        with place.open() as store:
            store.set_remote(tmp_path / "elsewhere")

    place.commit({"a.txt": b"1\n"})
    at_its_first_pack(monkeypatch, elsewhere)
    assert place.push().status == "success"
    with place.open() as store:
        status = store.remote()
        assert status is not None and status.url == str(tmp_path / "elsewhere")
        assert store.push().versions == 2
    assert place.heads == [head_of(place)], "and the push that was under way came to its end"


def test_what_a_pull_fetches_during_a_push_is_not_sent_again(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    second = place.clone("second")
    second.commit({"b.txt": b"of the second\n"})
    second.push()
    place.commit({"a.txt": b"1\n"})

    def pull() -> None:
        with place.open() as store:
            store.pull()

    at_its_first_pack(monkeypatch, pull)
    place.push()
    with place.open() as store:
        state = remote_state.load(store.repository)
        assert state is not None
        there = {path.stem for path in (place.remote / ".memsync/packs").iterdir()}
        assert set(state.sent) == there
        assert remote_state.unpushed(store.repository, state)[0] <= 1, "the merge, at most"
