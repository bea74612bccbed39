"""Files on a remote that are larger than any that memsync writes: none is read whole, and each costs only itself."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from memstore import files
from memstore.errors import DamagedData, MemsyncError
from memstore.remotes.base import SMALL_AT_MOST, BytesSource
from memstore.store import Store
from tests.command_line import posix
from tests.drive_place import DrivePlace
from tests.folder_place import Place, tree, without_waiting

HUGE = 3 << 30
"""Bytes, none of which takes room."""
READ_AT_MOST = 32 << 20


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    without_waiting(monkeypatch)


@pytest.fixture
def two(tmp_path: Path) -> tuple[Place, Place]:
    first = Place(tmp_path)
    first.commit({"a.txt": b"a\n", "b.txt": b"b\n"})
    first.push()
    return first, first.clone("second")


@contextmanager
def never_read_whole() -> Iterator[None]:
    """Nobody asks for more bytes at once than any honest file has."""
    read_at = files.read_at

    def bounded(descriptor: int, offset: int, length: int) -> bytes:
        assert length <= READ_AT_MOST
        return read_at(descriptor, offset, length)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(files, "read_at", bounded)
        yield


def huge(path: Path) -> None:
    path.touch()
    os.truncate(path, HUGE)


@posix
@pytest.mark.parametrize(
    "body", [b"[" * 200_000, b'{"format":1,"device":"x","time":1e999,"fossils":[]}', None]
)
def test_a_collection_s_marker_that_is_none_takes_nothing_and_stops_nobody(
    two: tuple[Place, Place], body: bytes | None
) -> None:
    first, second = two
    marker = first.remote / ".memsync/heads/gc-0123456789abcdef"
    if body is None:
        huge(marker)
    else:
        marker.write_bytes(body)
    first.commit({"c.txt": b"c\n"})
    with never_read_whole():
        assert first.push().status == "success"
        with second.open() as store:
            assert store.pull().status == "success"
            store.gc()
        assert tree(first.clone("third").data) == tree(first.data)


@posix
def test_a_format_file_as_large_as_a_disk_is_damage_and_is_mended(two: tuple[Place, Place]) -> None:
    first, second = two
    format_file = first.remote / ".memsync/format"
    was = format_file.read_bytes()
    huge(format_file)
    first.commit({"c.txt": b"c\n"})
    with never_read_whole():
        with pytest.raises(DamagedData):
            Store.clone(str(first.remote), first.base / "third", environ={})
        assert first.push().status == "fail"
        with second.open() as store, pytest.raises(MemsyncError) as caught:
            store.pull()
        assert caught.value.exit_code == 6
        with first.open() as store:
            store.repair()
        assert format_file.read_bytes() == was
        assert first.push().status == "success"


@posix
@pytest.mark.parametrize("changed_here", [False, True])
def test_a_mirror_file_that_became_huge_is_left_alone_and_the_rest_goes_on(
    two: tuple[Place, Place], changed_here: bool
) -> None:
    first, _ = two
    huge(first.remote / "a.txt")
    first.commit({"c.txt": b"c\n", "b.txt": b"bb\n"} | ({"a.txt": b"new\n"} if changed_here else {}))
    with never_read_whole():
        report = first.push()
        assert (report.status, report.mirror.created, report.mirror.failed) == (
            "success",
            2,
            int(changed_here),
        )
        assert len(report.warnings) == 1
        assert (
            "a.txt has 3221225472 bytes" in report.warnings[0] and "it is left as it is" in report.warnings[0]
        )
        first.clone("third").push()
    assert (first.remote / "a.txt").stat().st_size == HUGE
    assert (first.remote / "c.txt").read_bytes() == b"c\n"


def test_drive_is_not_asked_for_more_than_was_meant_to_be_read(tmp_path: Path) -> None:
    with DrivePlace(tmp_path) as place:
        remote = place.open()
        remote.prepare(create=True)
        remote.create("heads/gc-0123456789abcdef", BytesSource(bytes(SMALL_AT_MOST + 1)))
        with pytest.raises(DamagedData):
            remote.read("heads/gc-0123456789abcdef")
        assert remote.read("heads/gc-0123456789abcdef", 0, 5) == bytes(5)
        made = remote.put("a.txt", BytesSource(b"twelve bytes"), {}, 1_000)
        assert remote.fetch(made.handle, 12) == b"twelve bytes"
        with pytest.raises(MemsyncError) as caught:
            remote.fetch(made.handle, 11)
        assert caught.value.code == "too_large"
