"""The root on Drive is found by everyone, made once, and never made a second time."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from memstore.errors import MemsyncError, NotLoggedIn, RemoteMissing, RemoteTrouble
from memstore.remotes.base import BytesSource
from memstore.remotes.drive.layout import Layout
from tests.drive_emulator import SCOPE_FULL
from tests.drive_emulator.wire import Request
from tests.drive_place import DrivePlace

PACK = "packs/" + "ab" * 32
HEAD = "heads/" + "cd" * 32


@pytest.fixture
def place(tmp_path: Path) -> Iterator[DrivePlace]:
    with DrivePlace(tmp_path) as made:
        yield made


def started(place: DrivePlace, name: str = "laptop") -> str:
    """A remote with one head; the root's id."""
    remote = place.open(place.workspace(name))
    remote.prepare(create=True)
    remote.create("format", BytesSource(b"format"))
    remote.create(HEAD, BytesSource(b"head"))
    remote.close()
    return place.emulator.person.find("MemoryVDB")


def folders(place: DrivePlace) -> list[str]:
    return sorted(entry.path for entry in place.emulator.entries() if entry.is_folder)


OURS = ["MemoryVDB", "MemoryVDB/.memsync", "MemoryVDB/.memsync/heads", "MemoryVDB/.memsync/packs"]


def test_a_root_by_path_is_made_level_by_level(tmp_path: Path) -> None:
    with DrivePlace(tmp_path, url="drive:AI/Memory") as place:
        for _ in range(2):
            place.open().prepare(create=True)
        assert [path for path in folders(place) if ".memsync" not in path] == ["AI", "AI/Memory"]


def test_a_root_by_its_id_that_memsync_made_is_used(place: DrivePlace) -> None:
    place.url = f"drive://{started(place)}"
    other = place.open()
    other.prepare(create=False)
    assert [row.name for row in other.list("heads/")] == [HEAD]


def test_a_folder_of_a_person_needs_the_wider_scope(place: DrivePlace) -> None:
    theirs = place.emulator.person.add_folder("Shared with the assistant")
    place.url = f"drive://{theirs}"
    with pytest.raises(NotLoggedIn) as caught:
        place.open().prepare(create=True)
    assert "--scope drive" in caught.value.hint
    first = place.open(place.workspace("full", SCOPE_FULL))
    first.prepare(create=True)
    first.create("format", BytesSource(b"format"))
    second = place.open(place.workspace("full too", SCOPE_FULL))
    second.prepare(create=True)
    assert second.read("format") == b"format"
    assert [path.partition("/")[2] for path in folders(place)] == [
        "",
        ".memsync",
        ".memsync/heads",
        ".memsync/packs",
    ]


def test_a_shared_drive_works_and_a_read_only_one_is_refused(place: DrivePlace) -> None:
    place.url = f"drive://{place.emulator.add_shared_drive('Team')}"
    remote = place.open(place.workspace("full", SCOPE_FULL))
    remote.prepare(create=True)
    remote.create(PACK, BytesSource(b"pack"))
    made = remote.put("Core/Rules.txt", BytesSource(b"rules"), {}, 0)
    remote.move(made, "Archive/Rules.txt", {})
    assert [row.path for row in remote.walk()] == ["Archive/Rules.txt"]
    assert remote.read(PACK) == b"pack"
    place.url = f"drive://{place.emulator.add_shared_drive('Look only', role='reader')}"
    with pytest.raises(NotLoggedIn, match="not allow"):
        place.open(place.workspace("reader", SCOPE_FULL)).prepare(create=True)


def test_a_known_root_that_cannot_be_seen_is_never_made_again(place: DrivePlace) -> None:
    started(place)
    workspace = place.workspace("laptop")
    place.emulator.write_token(Path(workspace.token_path), client_id="another-client.example")
    remote = place.open(workspace)
    remote.prepare(create=True)
    for verb in (
        lambda: remote.list("heads/"),
        lambda: remote.create(PACK, BytesSource(b"pack")),
        lambda: remote.put("a.txt", BytesSource(b"a"), {}, 0),
        lambda: list(remote.walk()),
    ):
        with pytest.raises(NotLoggedIn) as caught:
            verb()
        assert caught.value.exit_code == 4
        assert "OAuth client of the first machine" in caught.value.hint
    assert folders(place) == OURS


def test_a_deleted_root_is_never_made_again(place: DrivePlace) -> None:
    place.emulator.person.delete(started(place))
    with pytest.raises(NotLoggedIn):
        place.open(place.workspace("laptop")).list("heads/")
    assert not folders(place)


@pytest.mark.parametrize("what", ["MemoryVDB", "MemoryVDB/.memsync", "MemoryVDB/.memsync/heads"])
def test_a_root_in_the_trash_is_named_and_nothing_is_put_there(place: DrivePlace, what: str) -> None:
    started(place)
    identity = place.emulator.person.find(what)
    place.emulator.person.trash(identity)
    remote = place.open(place.workspace("laptop"))
    remote.prepare(create=False)
    for verb in (
        lambda: remote.list("heads/"),
        lambda: remote.create("heads/" + "12" * 32, BytesSource(b"head")),
    ):
        with pytest.raises(RemoteTrouble, match="trash") as caught:
            verb()
        assert "drive.google.com" in caught.value.hint
    place.emulator.person.untrash(identity)
    assert [row.name for row in place.open(place.workspace("laptop")).list("heads/")] == [HEAD]
    assert sorted(place.emulator.tree()) == [f"MemoryVDB/.memsync/{name}" for name in ("format", HEAD)]


def test_a_root_that_other_clients_cannot_see_is_missing_for_a_clone(place: DrivePlace) -> None:
    started(place)
    workspace = place.workspace("clone")
    place.emulator.write_token(Path(workspace.token_path), client_id="another-client.example")
    with pytest.raises(RemoteMissing) as caught:
        place.open(workspace).prepare(create=False)
    assert "OAuth client of the first machine" in caught.value.hint


def test_of_twin_roots_the_oldest_counts(place: DrivePlace) -> None:
    first = started(place)
    workspace = place.workspace("other")
    place.url = "drive:Elsewhere"
    place.open(workspace).prepare(create=True)
    place.emulator.person.rename(place.emulator.person.find("Elsewhere"), "MemoryVDB")
    place.url = "drive:"
    remote = place.open()
    remote.prepare(create=False)
    assert [row.name for row in remote.list("heads/")] == [HEAD]
    assert place.emulator.person.find("MemoryVDB") == first


def test_two_machines_that_begin_at_once_end_with_one_root(place: DrivePlace) -> None:
    late = place.open(place.workspace("late"))
    early = place.open(place.workspace("early"))
    begun: list[str] = []

    def meanwhile(request: Request) -> None:
        if not begun:
            begun.append("early")
            early.prepare(create=True)

    place.emulator.fault("files.create latency=0", hook=meanwhile)
    late.prepare(create=True)
    late.create(PACK, BytesSource(b"pack"))
    assert [row.name for row in early.list("packs/")] in ([], [PACK])
    assert [row.name for row in place.open().list("packs/")] == [PACK]
    assert folders(place) == OURS


@pytest.mark.parametrize("machines", [1, 6])
def test_many_that_begin_at_once_make_each_folder_once(place: DrivePlace, machines: int) -> None:
    """Six processes of one workspace, or one of each of six workspaces."""
    started(place, "machine 0")
    clients = [place.open(place.workspace(f"machine {number % machines}")) for number in range(6)]
    together = threading.Barrier(len(clients))
    troubles: list[BaseException] = []

    def work(number: int) -> None:
        try:
            together.wait()
            clients[number].prepare(create=True)
            clients[number].create(PACK, BytesSource(b"pack"))
            if machines == 1:
                clients[number].put("New/Deep/note.txt", BytesSource(b"note"), {}, 0)
        except BaseException as error:
            troubles.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(len(clients))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not troubles
    assert folders(place) == OURS + (["MemoryVDB/New", "MemoryVDB/New/Deep"] if machines == 1 else [])
    if machines == 1:
        assert place.emulator.tree()["MemoryVDB/New/Deep/note.txt"] == b"note"
    assert [row.name for row in place.open().list("packs/")] == [PACK]


def test_a_folder_that_another_process_made_since_the_look_has_no_twin(
    place: DrivePlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    started(place, "laptop")
    late, early = (place.open(place.workspace("laptop")) for _ in range(2))
    make_folder = Layout.make_folder
    begun: list[str] = []

    def meanwhile(layout: Layout, key: str, *rest: Any) -> Any:
        if not begun:
            begun.append(key)
            early.put("New/early.txt", BytesSource(b"early"), {}, 0)
        return make_folder(layout, key, *rest)

    monkeypatch.setattr(Layout, "make_folder", meanwhile)
    late.put("New/late.txt", BytesSource(b"late"), {}, 0)
    assert begun == ["folder:New"]
    assert folders(place) == [*OURS, "MemoryVDB/New"]


def test_processes_of_one_workspace_that_make_the_root_at_once_make_one(place: DrivePlace) -> None:
    workspace = place.workspace("laptop")
    clients = [place.open(workspace) for _ in range(4)]
    together = threading.Barrier(len(clients))
    troubles: list[BaseException] = []

    def work(number: int) -> None:
        try:
            together.wait()
            clients[number].prepare(create=True)
            clients[number].create(f"heads/{number:064x}", BytesSource(b"head"))
        except MemsyncError as error:
            troubles.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(len(clients))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not troubles
    assert folders(place) == OURS
    assert len(place.open().list("heads/")) == 4


def test_two_first_pushes_with_another_format_are_told_apart(place: DrivePlace) -> None:
    started(place)
    other = place.open()
    other.prepare(create=True)
    other.create("format", BytesSource(b"format"))
    with pytest.raises(MemsyncError, match="other bytes"):
        place.open().create("format", BytesSource(b"another store"))


def test_strangers_in_the_store_folder_are_left_out_of_listings(place: DrivePlace) -> None:
    started(place)
    heads = place.emulator.person.find("MemoryVDB/.memsync/heads")
    place.emulator.person.add_file("readme.txt", b"x", parent=heads)
    place.emulator.person.add_file("../../evil", b"x", parent=heads)
    place.emulator.person.add_folder("ab" * 32, parent=heads)
    full = place.open(place.workspace("full", SCOPE_FULL))
    assert [row.name for row in full.list("heads/")] == [HEAD]
