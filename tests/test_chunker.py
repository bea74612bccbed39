"""Where large files are cut: the boundaries are format, and pinned here."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import pyfastcdc
import pytest

from memstore.ids import ContentId
from memstore.objects import chunker
from memstore.objects.record import EDGE, PIECE_LIMIT, Edges, Piece

SIZE = 40 << 20
GOLDEN_STREAM = "0cf61a684dd6105b32952e3dd5e65ce374838e03aa6d5cbe3b1687ab2975a5dd"
GOLDEN_LENGTHS = [
    1994081,
    5653660,
    4454596,
    3578481,
    6014435,
    4640177,
    1228321,
    3159150,
    1068249,
    2004157,
    5669400,
    2478333,
]


@pytest.fixture(scope="module")
def stream() -> bytes:
    """The same bytes for ever: ChaCha would do as well, `random.Random` is specified and at hand."""
    return random.Random(20250423).randbytes(SIZE)


def cut(data: bytes) -> list[memoryview]:
    return [piece for _, piece in found(data)]


def found(
    data: bytes, old: Sequence[Piece] = (), edges: Mapping[ContentId, Edges] | None = None
) -> list[tuple[ContentId, memoryview]]:
    def read_at(offset: int, length: int) -> bytes:
        return data[offset : offset + length]

    if edges is None:
        return list(chunker.pieces(read_at, len(data), old))
    return [piece for stretch in chunker.stretches(read_at, len(data), old, edges) for piece in stretch]


def test_the_boundaries_of_a_fixed_stream_never_move(stream: bytes) -> None:
    """Golden: written down when format 1 was; other numbers here would make old stores grow."""
    assert str(ContentId.of(stream)) == GOLDEN_STREAM
    assert [len(piece) for piece in cut(stream)] == GOLDEN_LENGTHS


def test_the_pieces_are_the_file(stream: bytes) -> None:
    pieces = cut(stream)
    assert b"".join(pieces) == stream
    assert all(chunker.MIN <= len(piece) <= PIECE_LIMIT for piece in pieces[:-1])
    assert len(pieces[-1]) <= PIECE_LIMIT


@pytest.mark.parametrize("size", [0, 1, chunker.MIN, PIECE_LIMIT, PIECE_LIMIT + 1, 2 * PIECE_LIMIT])
def test_a_file_of_any_size_is_cut_into_pieces_within_the_limits(size: int) -> None:
    pieces = cut(bytes(size))
    assert sum(map(len, pieces)) == size
    assert all(0 < len(piece) <= PIECE_LIMIT for piece in pieces)


def test_what_was_inserted_changes_only_the_pieces_around_it(stream: bytes) -> None:
    before = {id for id, _ in found(stream)}
    after = [id for id, _ in found(stream[: 9 << 20] + b"a line" + stream[9 << 20 :])]
    assert len([piece for piece in after if piece not in before]) <= 3


def pieces_of(data: bytes) -> list[Piece]:
    return [(id, len(piece)) for id, piece in found(data)]


def edges_of(data: bytes) -> dict[ContentId, Edges]:
    return {id: (bytes(piece[:EDGE]), bytes(piece[-EDGE:])) for id, piece in found(data)}


EDITS: dict[str, Callable[[bytes], bytes]] = {
    "nothing": lambda data: data,
    "appended": lambda data: data + b"a line" * 1000,
    "appended much": lambda data: data + data[: 9 << 20],
    "cut off at the end": lambda data: data[:-1000],
    "cut off where a piece ends": lambda data: data[: sum(GOLDEN_LENGTHS[:7])],
    "put in front": lambda data: b"a line" + data,
    "inserted": lambda data: data[: 9 << 20] + b"a line" + data[9 << 20 :],
    "inserted where a piece begins": lambda data: (
        data[: sum(GOLDEN_LENGTHS[:5])] + bytes(99) + data[sum(GOLDEN_LENGTHS[:5]) :]
    ),
    "two pieces taken out": lambda data: data[: sum(GOLDEN_LENGTHS[:2])] + data[sum(GOLDEN_LENGTHS[:4]) :],
    "changed in several": lambda data: b"".join(
        data[at : at + (5 << 20) - 1] + b"!" for at in range(0, len(data), 5 << 20)
    ),
    "halves exchanged": lambda data: data[SIZE // 2 :] + data[: SIZE // 2],
    "twice": lambda data: data + data,
    "another": lambda data: data[::-1],
}


@pytest.mark.parametrize("edit", EDITS)
def test_pieces_that_are_known_make_no_difference_to_boundaries(stream: bytes, edit: str) -> None:
    changed, old = EDITS[edit](stream), pieces_of(stream)
    cuts = found(changed)
    assert found(changed, old) == cuts
    edges = edges_of(stream)
    assert found(changed, old, edges) == cuts
    assert found(changed, old, {id: edges[id] for id in list(edges)[::2]}) == cuts


@pytest.mark.parametrize("edit", ["nothing", "inserted", "changed in several"])
def test_edges_that_are_wrong_lose_no_byte(stream: bytes, edit: str) -> None:
    """Such as a damaged store may give."""
    changed = EDITS[edit](stream)
    edges = [*edges_of(stream).values()]
    wrong = dict(zip(edges_of(stream), edges[1:] + edges[:1], strict=True))
    assert b"".join(piece for _, piece in found(changed, pieces_of(stream), wrong)) == changed


def test_with_the_edges_of_known_pieces_only_what_changed_is_hashed_or_searched_twice(
    stream: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    changed, old, edges = EDITS["inserted"](stream), pieces_of(stream), edges_of(stream)
    hashed: list[int] = []
    of = ContentId.of

    def counting(content: bytes | bytearray | memoryview) -> ContentId:
        hashed.append(len(content))
        return of(content)

    monkeypatch.setattr(ContentId, "of", counting)
    found(changed, old, edges)
    assert sum(hashed) == len(changed)
    without = len(hashed)
    hashed.clear()
    found(changed, old)
    assert len(hashed) > without


@pytest.mark.parametrize("edit", ["nothing", "inserted", "appended"])
def test_where_known_pieces_come_again_nothing_is_searched_for_cuts(
    stream: bytes, edit: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    changed, old = EDITS[edit](stream), pieces_of(stream)
    searched = 0

    class Counting(pyfastcdc.FastCDC):
        def cut_buf(self, buf: bytes | bytearray | memoryview) -> Iterator[Any]:
            nonlocal searched
            for chunk in super().cut_buf(buf):
                searched += chunk.length
                yield chunk

    monkeypatch.setattr(pyfastcdc, "FastCDC", Counting)
    assert len(found(changed, old)) == len(GOLDEN_LENGTHS)
    assert 0 < searched < 20 << 20


def test_pieces_that_nobody_cut_are_no_hint(stream: bytes) -> None:
    """As a recipe by somebody else may name them: of no bytes, or far too few."""
    odd = [(ContentId.of(b""), 0), (ContentId.of(stream[:1000]), 1000), *pieces_of(stream)]
    assert found(stream, odd) == found(stream)


def test_how_the_file_is_read_makes_no_difference_to_memory_or_boundaries(stream: bytes) -> None:
    asked: list[tuple[int, int]] = []

    def read_at(offset: int, length: int) -> bytes:
        asked.append((offset, length))
        return stream[offset : offset + length]

    assert [len(piece) for _, piece in chunker.pieces(read_at, SIZE)] == GOLDEN_LENGTHS
    assert max(length for _, length in asked) <= PIECE_LIMIT


def test_a_file_that_became_shorter_ends_early_and_does_not_hang(stream: bytes) -> None:
    half = stream[: SIZE // 2]

    def pieces() -> Iterator[memoryview]:
        for _, piece in chunker.pieces(lambda offset, length: half[offset : offset + length], SIZE):
            yield piece

    assert b"".join(pieces()) == half
