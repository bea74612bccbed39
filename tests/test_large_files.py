"""Large files on their way into the store: the next pieces are read while others are written."""

from __future__ import annotations

import random
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from threading import Event

import pytest

from memstore import files
from memstore.actions.large import identified
from memstore.errors import DiskTrouble
from memstore.ids import ContentId
from memstore.objects import chunker
from memstore.objects.record import EDGE
from memstore.worktree.reading import Recycled, StableFile
from tests.conftest import Memory

SIZE = 40 << 20


@pytest.fixture(scope="module")
def content() -> bytes:
    return random.Random(20250423).randbytes(SIZE)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> Path:
    path = tmp_path_factory.mktemp("large") / "index.faiss"
    path.write_bytes(content)
    return path


def test_pieces_that_are_read_ahead_are_the_same_and_none_is_read_once_they_are_closed(
    place: Path, content: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    reading, calls, real = Event(), [0], files.read_into

    def slowly(descriptor: int, offset: int, room: memoryview) -> int:
        calls[0] += 1
        reading.set()
        time.sleep(0.01)
        reading.clear()
        return real(descriptor, offset, room)

    monkeypatch.setattr(files, "read_into", slowly)
    cut = list(chunker.pieces(lambda offset, length: content[offset : offset + length], SIZE))
    with StableFile(str(place)) as file, ThreadPoolExecutor(2) as pool:
        assert list(identified(file, [], pool)) == cut
        calls[0] = 0
        with closing(identified(file, [], pool)) as coming:
            next(coming)
        assert not reading.is_set()
        time.sleep(0.02)
        assert calls[0] == 2


def test_trouble_in_reading_ahead_comes_to_whoever_takes_the_pieces(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = files.read_into

    def broken(descriptor: int, offset: int, room: memoryview) -> int:
        if offset:
            raise OSError("the disk is gone")
        return real(descriptor, offset, room)

    monkeypatch.setattr(files, "read_into", broken)
    with (
        StableFile(str(place)) as file,
        ThreadPoolExecutor(1) as pool,
        pytest.raises(DiskTrouble, match="gone"),
    ):
        list(identified(file, [], pool))


def test_memory_is_used_again_once_nobody_looks_at_it_and_not_before(place: Path, content: bytes) -> None:
    rng = random.Random(3)
    with StableFile(str(place)) as file:
        recycled = Recycled(file, 1 << 20)
        held: list[tuple[int, memoryview]] = []
        buffers, most = set(), 0
        for _ in range(400):
            offset, skipped = rng.randrange(SIZE + 1000), rng.choice((0, 1000))
            held.append((offset + skipped, recycled.read_at(offset, rng.randrange(1, 1 << 20))[skipped:]))
            buffers.add(id(held[-1][1].obj))
            most = max(most, len(held))
            while len(held) > rng.randrange(4):
                del held[rng.randrange(len(held))]
            assert all(content[start : start + len(view)] == view for start, view in held)
        assert len(buffers) <= most == 4


def test_a_large_file_that_can_not_be_read_to_its_end_is_left_out(
    memory: Memory, content: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    (memory.data / "index.faiss").write_bytes(content)
    (memory.data / "note.txt").write_text("a note\n")
    real = files.read_into

    def broken(descriptor: int, offset: int, room: memoryview) -> int:
        if offset > 1 << 24:
            raise OSError("the disk is gone")
        return real(descriptor, offset, room)

    with monkeypatch.context() as patch:
        patch.setattr(files, "read_into", broken)
        report = memory.store.commit_report()
    assert report.version is not None
    assert [change.path for change in report.version.changes] == ["note.txt"]
    assert any("index.faiss" in warning for warning in report.warnings)
    memory.commit()
    assert memory.store.read("index.faiss") == content


def test_what_was_done_to_a_large_file_is_told_by_its_bytes(memory: Memory, content: bytes) -> None:
    place = memory.data / "index.faiss"
    kinds = []
    for data in (
        content,
        content + b"a vector",
        b"another header" + content[14:],
        content[: SIZE // 2],
        content,
        content[:-1] + b"!",
        content[:-1],
    ):
        place.write_bytes(data)
        version = memory.commit()
        kinds.append(version.changes[0].change.word)
        assert memory.store.read("index.faiss") == data
    assert kinds == ["add", "append", "replace", "replace", "append", "replace", "replace"]


def test_a_store_gives_the_edges_of_pieces_that_it_keeps_as_they_are(memory: Memory, content: bytes) -> None:
    reader = memory.repository.reader
    (memory.data / "index.faiss").write_bytes(content)
    (memory.data / "text.txt").write_text("a line that comes again\n" * (1 << 20))
    memory.commit()
    random, text = (
        reader.recipe(ContentId.of((memory.data / name).read_bytes())) for name in ("index.faiss", "text.txt")
    )
    assert random is not None
    assert text is not None
    offset, edges = 0, {}
    for id, length in random:
        edges[id] = content[offset : offset + EDGE], content[: offset + length][-EDGE:]
        offset += length
    assert reader.edges([*random, *text]) == edges
