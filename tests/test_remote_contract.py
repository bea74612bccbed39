"""What every remote promises (memstore/remotes/base.py), held against each implementation."""

from __future__ import annotations

import contextlib
import hashlib
import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from memstore.errors import BadInput, Conflict, DamagedData, RemoteMissing
from memstore.ids import PackId
from memstore.remotes.base import BytesSource, FileSource, MirrorFile, OpenRemote
from memstore.remotes.folder import FolderRemote
from tests.drive_place import DrivePlace

MODIFIED = 1_745_416_922_123
"""Milliseconds: 2025-04-23T14:02:02.123Z."""


class Place(Protocol):
    """Somewhere a remote can be, and a person's hand there."""

    def open(self) -> OpenRemote:
        """Another client of the same remote, with nothing remembered from others."""

    def edit(self, path: str, content: bytes) -> None:
        """A person replaces the bytes of a mirror file."""


class FolderPlace:
    def __init__(self, folder: Path) -> None:
        self.folder = folder / "remote"

    def open(self) -> OpenRemote:
        return FolderRemote(str(self.folder))

    def edit(self, path: str, content: bytes) -> None:
        (self.folder / path).write_bytes(content)


@contextlib.contextmanager
def drive_place(folder: Path) -> Iterator[Place]:
    with DrivePlace(folder) as place:
        yield place
        assert place.emulator.violations == []


@contextlib.contextmanager
def folder_place(folder: Path) -> Iterator[Place]:
    yield FolderPlace(folder)


PLACES: dict[str, Callable[[Path], contextlib.AbstractContextManager[Place]]] = {
    "folder": folder_place,
    "drive": drive_place,
}


@pytest.fixture(params=PLACES)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    with PLACES[request.param](tmp_path) as made:
        yield made


@pytest.fixture
def remote(place: Place) -> Iterator[OpenRemote]:
    opened = place.open()
    opened.prepare(create=True)
    yield opened
    opened.close()


def pack_of(content: bytes) -> str:
    return f"packs/{PackId(hashlib.blake2b(content, digest_size=32).digest())}"


def md5(content: bytes) -> str:
    return hashlib.md5(content).hexdigest()


def bytes_of(size: int, seed: int = 0) -> bytes:
    return random.Random(seed).randbytes(size)


def put(remote: OpenRemote, path: str, content: bytes) -> MirrorFile:
    return remote.put(path, BytesSource(content), {"md5": md5(content)}, MODIFIED)


def look(remote: OpenRemote, path: str, handle: str | None = None) -> MirrorFile | None:
    return remote.look([(path, handle)])[0]


# -- the store's half --------------------------------------------------------------------------------------


def test_a_remote_that_was_never_made_is_missing(place: Place) -> None:
    with pytest.raises(RemoteMissing):
        place.open().prepare(create=False)


def test_preparing_twice_and_from_two_clients_makes_one(place: Place) -> None:
    first, second = place.open(), place.open()
    first.prepare(create=True)
    second.prepare(create=True)
    second.prepare(create=False)
    name = pack_of(b"one")
    first.create(name, BytesSource(b"one"))
    assert second.read(name) == b"one"


@pytest.mark.parametrize("size", [0, 1, 1000, 262_144, 3_000_001])
def test_what_was_created_reads_back_whole_in_ranges_and_in_pieces(remote: OpenRemote, size: int) -> None:
    content = bytes_of(size)
    name = pack_of(content)
    remote.create(name, BytesSource(content))
    assert remote.read(name) == content
    assert remote.read(name, size // 3) == content[size // 3 :]
    assert remote.read(name, size // 3, size // 2) == content[size // 3 : size // 3 + size // 2]
    assert b"".join(remote.read_stream(name)) == content


def test_a_range_past_the_end_is_what_there_is(remote: OpenRemote) -> None:
    remote.create("format", BytesSource(b"memsync"))
    assert remote.read("format", 3, 100) == b"sync"
    assert remote.read("format", 7, 5) == b""
    assert remote.read("format", 1, 0) == b""


def test_content_that_ends_in_a_carriage_return_keeps_it(remote: OpenRemote) -> None:
    for content in (b"line\r", b"line\r\n", b"\r\n\r\n", b"--boundary\r\n--x--\r"):
        remote.create(pack_of(content), BytesSource(content))
        assert remote.read(pack_of(content)) == content


def test_a_file_on_disk_is_sent_as_it_is(remote: OpenRemote, tmp_path: Path) -> None:
    content = bytes_of(6_000_000, 3)
    (tmp_path / "pack").write_bytes(content)
    remote.create(pack_of(content), FileSource(str(tmp_path / "pack")))
    assert remote.read(pack_of(content)) == content
    assert remote.bytes_sent >= len(content)


def test_creating_the_same_again_leaves_one_file(place: Place, remote: OpenRemote) -> None:
    name = pack_of(b"same")
    remote.create(name, BytesSource(b"same"))
    remote.create(name, BytesSource(b"same"))
    other = place.open()
    other.prepare(create=False)
    other.create(name, BytesSource(b"same"))
    assert [row.name for row in place.open().list("packs/")] == [name]


def test_other_bytes_under_a_taken_name_are_refused_and_nothing_is_replaced(remote: OpenRemote) -> None:
    remote.create("format", BytesSource(b"first"))
    with pytest.raises((DamagedData, Conflict)):
        remote.create("format", BytesSource(b"other"))
    assert remote.read("format") == b"first"


def test_a_listing_has_names_sizes_and_only_its_prefix_sorted(place: Place, remote: OpenRemote) -> None:
    packs = {pack_of(bytes([n])): n for n in range(5)}
    for name, size in packs.items():
        remote.create(name, BytesSource(bytes(size)))
    remote.create("heads/" + "ab" * 32, BytesSource(b"h"), {"pack": "x"})
    remote.create("format", BytesSource(b"f"))
    for client in (remote, place.open()):
        rows = client.list("packs/")
        assert [(row.name, row.size) for row in rows] == sorted(packs.items())
        assert [row.name for row in client.list("heads/")] == ["heads/" + "ab" * 32]
        assert [row.name for row in client.list("format")] == ["format"]
        assert all(row.md5 in (None, md5(bytes(row.size))) for row in rows)


def test_what_is_not_there_is_missing_to_read_and_fine_to_delete(remote: OpenRemote) -> None:
    name = pack_of(b"never")
    with pytest.raises(RemoteMissing):
        remote.read(name)
    with pytest.raises(RemoteMissing):
        list(remote.read_stream(name))
    remote.delete(name)


def test_a_deleted_file_is_gone_for_every_client(place: Place, remote: OpenRemote) -> None:
    name = "heads/" + "cd" * 32
    remote.create(name, BytesSource(b"head"))
    other = place.open()
    assert other.list("heads/")
    remote.delete(name)
    remote.delete(name)
    assert not remote.list("heads/")
    assert not other.list("heads/")
    with pytest.raises(RemoteMissing):
        place.open().read(name)


@pytest.mark.parametrize(
    "name",
    ["", "packs/", "packs/../format", "/etc/passwd", "heads/a/b", "packs/A", "format/x", "pack\0", ".."],
)
def test_a_name_that_is_none_of_ours_is_never_followed(remote: OpenRemote, name: str) -> None:
    for verb in (
        lambda: remote.create(name, BytesSource(b"x")),
        lambda: remote.read(name),
        lambda: remote.delete(name),
        lambda: next(remote.read_stream(name)),
    ):
        with pytest.raises(BadInput):
            verb()


# -- the mirror --------------------------------------------------------------------------------------------


def test_a_put_file_is_found_by_path_by_handle_and_by_walking(place: Place, remote: OpenRemote) -> None:
    content = b"be kind\n"
    made = put(remote, "Core/Rules.txt", content)
    assert made.path == "Core/Rules.txt"
    assert made.size == len(content)
    assert made.modified_ms == MODIFIED
    for client in (remote, place.open()):
        for found in (look(client, "Core/Rules.txt"), look(client, "elsewhere", made.handle)):
            assert found is not None
            assert (found.path, found.handle, found.stamp) == (made.path, made.handle, made.stamp)
            assert client.fetch(found.handle) == content
        assert [row.path for row in client.walk()] == ["Core/Rules.txt"]


def test_looking_at_many_answers_in_order_with_none_for_what_is_not_there(remote: OpenRemote) -> None:
    put(remote, "a.txt", b"a")
    made = put(remote, "deep/er/b.txt", b"b")
    asked = [("no.txt", None), ("deep/er/b.txt", made.handle), ("a.txt", None), ("deep/no.txt", None)]
    assert [row and row.path for row in remote.look(asked)] == [None, "deep/er/b.txt", "a.txt", None]


def test_a_folder_of_the_mirror_is_walked_without_the_rest(place: Place, remote: OpenRemote) -> None:
    for path in ("Archive/Core/a.txt", "Archive/b.txt", "Archived/c.txt", "Core/Archive/d.txt", "e.txt"):
        put(remote, path, path.encode())
    for client in (remote, place.open()):
        assert sorted(row.path for row in client.walk("Archive")) == ["Archive/Core/a.txt", "Archive/b.txt"]
        assert [row.path for row in client.walk("Core/Archive")] == ["Core/Archive/d.txt"]
        assert not list(client.walk("Nowhere"))


def test_the_store_half_is_no_part_of_the_mirror(place: Place, remote: OpenRemote) -> None:
    remote.create("format", BytesSource(b"f"))
    remote.create(pack_of(b"p"), BytesSource(b"p"))
    put(remote, "Archive/old.txt", b"old")
    assert [row.path for row in place.open().walk()] == ["Archive/old.txt"]


@pytest.mark.parametrize(
    "path", ["../x", "/x", "a//b", "a/./b", ".memsync/packs/x", "a/.MemSync/b", "", "a\0b"]
)
def test_a_mirror_path_that_climbs_out_or_into_the_store_is_refused(remote: OpenRemote, path: str) -> None:
    with pytest.raises(BadInput):
        put(remote, path, b"x")
    made = put(remote, "fine.txt", b"x")
    with pytest.raises(BadInput):
        remote.move(made, path, {})


def test_an_update_replaces_the_bytes_and_keeps_the_path(place: Place, remote: OpenRemote) -> None:
    made = put(remote, "Notes/log.txt", b"one\n")
    later = remote.update(made, BytesSource(b"one\ntwo\n"), {"md5": md5(b"one\ntwo\n")}, MODIFIED + 5)
    assert later.path == "Notes/log.txt"
    assert later.stamp != made.stamp
    assert later.modified_ms == MODIFIED + 5
    found = look(place.open(), "Notes/log.txt")
    assert found is not None
    assert found.stamp == later.stamp
    assert remote.fetch(found.handle) == b"one\ntwo\n"
    assert [row.path for row in remote.walk()] == ["Notes/log.txt"]


def test_a_move_gives_another_path_and_sends_no_bytes(place: Place, remote: OpenRemote) -> None:
    made = put(remote, "Core/Rules.txt", b"old rules")
    sent = remote.bytes_sent
    moved = remote.move(made, "Archive/Core/Rules_2025-04-23T14-02-00Z.txt", {})
    assert remote.bytes_sent == sent
    assert moved.path == "Archive/Core/Rules_2025-04-23T14-02-00Z.txt"
    assert look(place.open(), "Core/Rules.txt") is None
    assert remote.fetch(moved.handle) == b"old rules"
    new = put(remote, "Core/Rules.txt", b"new rules")
    assert remote.fetch(new.handle) == b"new rules"
    assert remote.fetch(moved.handle) == b"old rules"


def test_a_removed_file_is_no_longer_in_the_mirror(place: Place, remote: OpenRemote) -> None:
    made = put(remote, "a/b.txt", b"b")
    remote.remove(made)
    assert look(place.open(), "a/b.txt") is None
    assert not list(remote.walk())


def test_an_erased_file_is_nowhere_not_even_in_the_trash(place: Place, remote: OpenRemote) -> None:
    made, thrown = put(remote, "a/b.txt", b"b"), put(remote, "a/c.txt", b"c")
    remote.remove(thrown)
    for seen in list(remote.walk(trashed=True)):
        remote.erase(seen)
    remote.erase(made)  # what is gone is no error
    assert not list(place.open().walk(trashed=True))


def test_earlier_revisions_go_and_what_the_file_has_now_stays(remote: OpenRemote) -> None:
    made = put(remote, "a.txt", b"one")
    made = remote.update(made, BytesSource(b"two"), {}, MODIFIED)
    sums = {BytesSource(data).md5() for data in (b"one", b"two")}
    assert remote.drop_revisions(made, sums) == (made.md5 is not None)
    assert remote.drop_revisions(made, sums) == 0
    assert remote.fetch(made.handle) == b"two"


@pytest.mark.parametrize("verb", ["update", "move", "remove", "erase"])
def test_what_a_person_changed_is_not_touched(place: Place, remote: OpenRemote, verb: str) -> None:
    made = put(remote, "Core/Rules.txt", b"by memsync")
    place.edit("Core/Rules.txt", b"by a person, longer")
    with pytest.raises(Conflict):
        if verb == "update":
            remote.update(made, BytesSource(b"again by memsync"), {}, MODIFIED)
        elif verb == "move":
            remote.move(made, "Archive/x.txt", {})
        elif verb == "erase":
            remote.erase(made)
        else:
            remote.remove(made)
    found = look(place.open(), "Core/Rules.txt")
    assert found is not None
    assert found.stamp != made.stamp
    assert remote.fetch(found.handle) == b"by a person, longer"


def test_names_in_any_script_with_quotes_and_spaces_are_kept(place: Place, remote: OpenRemote) -> None:
    paths = ["Ядро/Правила.txt", "it's \\ fine/o'clock.md", "emoji 🙂.txt", "dots..in.name", "a b/ c .txt"]
    if os.name == "nt":
        paths = [path.replace("\\", "") for path in paths if not path.endswith(" .txt")]
    for path in paths:
        put(remote, path, path.encode())
    assert sorted(row.path for row in place.open().walk()) == sorted(paths)
    for path, found in zip(paths, place.open().look([(path, None) for path in paths]), strict=True):
        assert found is not None
        assert remote.fetch(found.handle) == path.encode()


# -- any sequence ------------------------------------------------------------------------------------------

NAMES = ["a.txt", "b.txt", "deep/a.txt", "deep/er/c.txt", "Archive/a.txt"]
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["put", "update", "move", "remove", "create", "delete", "reopen"]),
        st.sampled_from(NAMES),
        st.sampled_from(NAMES),
        st.binary(max_size=40),
    ),
    max_size=25,
)


@pytest.mark.parametrize("kind", PLACES)
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS)
def test_any_sequence_of_verbs_leaves_what_a_plain_dict_says(
    kind: str, steps: list[tuple[str, str, str, bytes]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    with PLACES[kind](tmp_path_factory.mktemp("model")) as place:
        remote = place.open()
        remote.prepare(create=True)
        mirror: dict[str, bytes] = {}
        packs: dict[str, bytes] = {}
        for verb, path, other, content in steps:
            seen = look(remote, path)
            assert (seen is not None) == (path in mirror)
            if verb == "put" and seen is None:
                put(remote, path, content)
                mirror[path] = content
            elif verb == "update" and seen is not None:
                remote.update(seen, BytesSource(content), {"md5": md5(content)}, MODIFIED)
                mirror[path] = content
            elif verb == "move" and seen is not None and other not in mirror:
                remote.move(seen, other, {})
                mirror[other] = mirror.pop(path)
            elif verb == "remove" and seen is not None:
                remote.remove(seen)
                del mirror[path]
            elif verb == "create":
                remote.create(pack_of(content), BytesSource(content))
                packs[pack_of(content)] = content
            elif verb == "delete" and packs:
                name = min(packs)
                remote.delete(name)
                del packs[name]
            elif verb == "reopen":
                remote.close()
                remote = place.open()
        assert {row.path: remote.fetch(row.handle) for row in place.open().walk()} == mirror
        assert {row.name: remote.read(row.name) for row in place.open().list("packs/")} == packs
