"""A push takes its time, and commits and other pushes of the same workspace go on meanwhile."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from memstore.actions import push, remote_state
from memstore.actions.publish import publish
from memstore.remotes.base import RemoteFile
from memstore.remotes.folder import FolderRemote
from tests.folder_place import Place, head_of, without_waiting


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    without_waiting(monkeypatch)
    made = Place(tmp_path)
    made.commit({"a.txt": b"0\n"})
    return made


def commit_before_each_head(place: Place, monkeypatch: pytest.MonkeyPatch, times: int) -> None:
    """Another process commits when what was sealed is sent, and its head is not there yet."""
    numbers = count(1)

    def late(*args: Any) -> Any:
        number = next(numbers)
        if number <= times:
            place.commit({"a.txt": b"%d\n" % number})
        return publish(*args)

    monkeypatch.setattr("memstore.actions.push.publish", late)


def test_a_commit_that_comes_while_a_push_sends_is_sent_too_and_is_no_other_device(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit_before_each_head(place, monkeypatch, times=1)
    report = place.push()
    assert (report.status, report.versions, report.warnings, report.notes) == ("success", 2, (), ())
    assert (place.heads, place.mirror) == ([head_of(place)], {"a.txt": b"1\n"})


def test_while_commits_keep_coming_the_mirror_waits_for_the_versions_that_it_would_show(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit_before_each_head(place, monkeypatch, times=100)
    report = place.push()
    assert (report.status, report.warnings, place.mirror) == ("success", (), {})
    assert report.notes == ("new versions came meanwhile: the rest of the mirror waits for the next push",)
    monkeypatch.undo()
    assert place.push().notes == ()
    assert (place.heads, place.mirror) == ([head_of(place)], {"a.txt": b"%d\n" % push.ROUNDS})


def listed_before(remote: FolderRemote, heads: Sequence[RemoteFile]) -> Any:
    """The remote, of whose heads one sees what lay there a moment ago."""

    class Earlier:
        def __getattr__(self, verb: str) -> Any:
            return getattr(remote, verb)

        def list(self, prefix: str) -> Sequence[RemoteFile]:
            return heads if prefix == "heads/" else remote.list(prefix)

    return Earlier()


@pytest.mark.parametrize("damaged", [False, True])
def test_a_head_that_another_device_publishes_at_the_same_moment_is_no_damage(
    place: Place, damaged: bool
) -> None:
    place.push()
    remote = FolderRemote(str(place.remote))
    earlier = remote.list("heads/")
    second = place.clone("second")
    second.commit({"a.txt": b"of the second\n"})
    second.push()
    marker = place.remote / ".memsync/heads" / head_of(second)
    if damaged:
        marker.write_bytes(b"no marker")
    body = marker.read_bytes()
    with place.open() as store:
        store.pull()
        store._open_remote = lambda: listed_before(remote, earlier)  # type: ignore[method-assign]
        report = store.push()
    assert (report.error or {}).get("code") == ("damaged" if damaged else None)
    assert marker.read_bytes() == body
    assert place.heads == [head_of(second)]


def test_a_push_that_waited_for_another_sends_nothing_again_and_logs_nothing_twice(place: Place) -> None:
    place.push()
    place.commit({"a.txt": b"1\n"})
    with place.open() as store:
        read_before = remote_state.load(store.repository)
        assert read_before is not None
        place.push()
        logged = (place.root / "upload_log.json").read_bytes()
        report = push.push(store.repository, read_before, store._open_remote)
        assert (report.status, report.packs, report.bytes_sent) == ("nothing", 0, 0)
        assert remote_state.load(store.repository).heads == (head_of(place),)  # type: ignore[union-attr]
    assert (place.root / "upload_log.json").read_bytes() == logged
