"""Where large files are cut: the boundaries are format, and pinned here."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from memstore.ids import ContentId
from memstore.objects import chunker
from memstore.objects.record import PIECE_LIMIT

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
    return list(chunker.pieces(lambda offset, length: data[offset : offset + length], len(data)))


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
    before = {ContentId.of(piece) for piece in cut(stream)}
    after = [ContentId.of(piece) for piece in cut(stream[: 9 << 20] + b"a line" + stream[9 << 20 :])]
    assert len([piece for piece in after if piece not in before]) <= 3


def test_how_the_file_is_read_makes_no_difference_to_memory_or_boundaries(stream: bytes) -> None:
    asked: list[tuple[int, int]] = []

    def read_at(offset: int, length: int) -> bytes:
        asked.append((offset, length))
        return stream[offset : offset + length]

    assert [len(piece) for piece in chunker.pieces(read_at, SIZE)] == GOLDEN_LENGTHS
    assert max(length for _, length in asked) <= PIECE_LIMIT


def test_a_file_that_became_shorter_ends_early_and_does_not_hang(stream: bytes) -> None:
    half = stream[: SIZE // 2]

    def pieces() -> Iterator[memoryview]:
        yield from chunker.pieces(lambda offset, length: half[offset : offset + length], SIZE)

    assert b"".join(pieces()) == half
