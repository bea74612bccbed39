"""What a pull from Drive costs, in requests: one where nothing is new, one more for each pack that is."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from memstore.reports import PullReport
from memstore.store import Store
from tests.drive_emulator import DriveEmulator
from tests.drive_memory import ROOT, DriveMemory, no_waiting
from tests.folder_place import put, tree

STORE = f"{ROOT}/.memsync"


class Two:
    """Two devices on one Drive; each opening is a process of its own, which knows only what is on its disk."""

    def __init__(self, base: Path, emulator: DriveEmulator) -> None:
        self.emulator = emulator
        self.first = DriveMemory(base, emulator, name="first")
        self.first.commit({"a.txt": b"one\n"})
        assert self.first.push().status == "success"
        self.data = self.first.clone("second")
        self.environ = {**self.first.environ, "MEMSYNC_DEVICE": "second"}

    def open(self) -> Store:
        return Store.open(self.data.parent, environ=self.environ)

    def pull(self) -> PullReport:
        with self.open() as store:
            return store.pull()

    @contextmanager
    def costs(self, requests: int) -> Iterator[None]:
        before = self.emulator.requests
        yield
        assert self.emulator.requests - before == requests, self.emulator.counts()


@pytest.fixture
def two(tmp_path: Path) -> Iterator[Two]:
    with DriveEmulator() as emulator, no_waiting(emulator):
        yield Two(tmp_path, emulator)


def test_a_pull_with_nothing_new_is_one_request(two: Two) -> None:
    for _ in range(2):
        with two.costs(1):
            assert two.pull().status == "nothing"


def test_so_it_is_after_our_own_push_and_on_a_copy_of_the_other_after_its_first_look(two: Two) -> None:
    put(two.data, {"b.txt": b"two\n"})
    with two.open() as store:
        store.commit()
        assert store.push().status == "success"
    with two.costs(1):
        assert two.pull().status == "nothing"
    with two.first.open() as store:
        assert store.pull().status == "success"
    with two.costs(1), two.first.open() as store:
        assert store.pull().status == "nothing"


def test_what_people_do_in_the_mirror_costs_a_pull_nothing(two: Two) -> None:
    two.emulator.person.edit(two.emulator.person.find(f"{ROOT}/a.txt"), b"a person's\n")
    with two.costs(1):
        assert two.pull().status == "nothing"


def test_one_push_of_another_device_is_two_requests(two: Two) -> None:
    two.first.commit({"a.txt": b"one\ntwo\n", "Core/new.txt": b"new\n"})
    two.first.push()
    with two.costs(2):  # the heads; the pack that the head's note names
        assert two.pull().status == "success"
    assert tree(two.data) == tree(two.first.data)
    with two.costs(1):
        assert two.pull().status == "nothing"


def test_several_pushes_are_listed_and_fetched(two: Two) -> None:
    for number in range(3):
        two.first.commit({f"{number}.txt": b"%d\n" % number})
        two.first.push()
    with two.costs(1 + 1 + 1 + 2):  # the heads, the newest pack, the list of packs, the two others
        assert two.pull().status == "success"
    assert tree(two.data) == tree(two.first.data)


def test_two_that_pushed_apart_are_fetched_without_a_list(two: Two, tmp_path: Path) -> None:
    third = tmp_path / "third"
    third.mkdir()
    shutil.copy(two.first.token, third)
    Store.clone("drive:", third, environ=two.first.environ).close()
    two.first.commit({"first.txt": b"1\n"})
    put(third / "Data", {"third.txt": b"3\n"})
    two.first.push()
    with Store.open(third, environ=two.first.environ) as store:
        store.commit()
        assert store.push().ahead
    with two.costs(1 + 2):
        assert two.pull().status == "success"
    assert tree(two.data) == {"a.txt": b"one\n", "first.txt": b"1\n", "third.txt": b"3\n"}


# -- twins -------------------------------------------------------------------------------------------------


def copied(two: Two, path: str) -> str:
    """Another file of the same name and bytes, as another device would have made it; its id."""
    drive = two.emulator.drive
    item = drive.items[two.emulator.person.find(path)]
    before = {entry.id for entry in two.emulator.entries()}
    two.emulator.advance(1)
    folder, _, name = path.rpartition("/")
    with two.first.open() as store:
        remote = store._open_remote()
        remote.prepare(create=False)
        api = remote._api  # type: ignore[attr-defined]
        body = {
            "name": name,
            "parents": [two.emulator.person.find(folder)],
            "appProperties": {
                key: value for notes in item.app_properties.values() for key, value in notes.items()
            },
        }
        from googleapiclient.http import MediaInMemoryUpload

        media = MediaInMemoryUpload(two.emulator.read(item.id), mimetype="application/octet-stream")
        api.call("twin", api.files.create(body=body, media_body=media), write=True)
        remote.close()
    (made,) = {entry.id for entry in two.emulator.entries()} - before
    return str(made)


def names(two: Two, folder: str) -> list[str]:
    return [path for path in two.emulator.tree() if path.startswith(f"{STORE}/{folder}/")]


def test_a_twin_of_a_marker_goes_with_the_next_look_and_the_oldest_stays(two: Two) -> None:
    (head,) = [path for path in names(two, "heads") if len(path.rpartition("/")[2]) == 64]
    oldest = two.emulator.person.find(head)
    copied(two, head)
    with two.costs(1 + 1 + 1):  # the heads, the twin, whether packs have twins too
        assert two.pull().status == "nothing"
    assert not [path for path in names(two, "heads") if "#" in path]
    assert two.emulator.person.find(head) == oldest
    with two.costs(1):
        assert two.pull().status == "nothing"


def test_a_pack_whose_noted_id_was_a_twin_that_is_gone_is_found_by_its_name(two: Two) -> None:
    before = set(names(two, "packs"))
    two.first.commit({"a.txt": b"one\ntwo\n"})
    two.first.push()
    (pack,) = set(names(two, "packs")) - before
    oldest = two.emulator.person.find(pack)
    copied(two, pack)
    two.emulator.person.delete(oldest)
    assert two.pull().status == "success"
    assert tree(two.data)["a.txt"] == b"one\ntwo\n"


def test_twins_of_a_pack_go_when_those_of_its_marker_do(two: Two) -> None:
    before, old = set(names(two, "packs")), set(names(two, "heads"))
    two.first.commit({"a.txt": b"one\ntwo\n"})
    two.first.push()
    (pack,) = set(names(two, "packs")) - before
    (head,) = set(names(two, "heads")) - old
    kept = {two.emulator.person.find(path) for path in (pack, head)}
    for path in (pack, head):
        copied(two, path)
    assert two.pull().status == "success"
    assert not [path for path in two.emulator.tree() if "#" in path]
    assert {two.emulator.person.find(path) for path in (pack, head)} == kept
    with two.first.open() as store:
        assert store.verify(remote=True).problems == ()
