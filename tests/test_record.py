"""Records' headers: whatever bytes come, a header is read as it was written or refused, and never believed
about lengths that no record has."""

from __future__ import annotations

import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memstore.errors import DamagedData
from memstore.objects.record import (
    HEADER_LIMIT,
    PIECE_LIMIT,
    Encoding,
    Header,
    RecordKind,
    check_lengths,
    pack_header,
    parse_header,
    read_varint,
    varint,
)

KINDS = [kind for kind in RecordKind if kind != RecordKind.COMMIT]
WITHOUT_ID = {RecordKind.VERSION, RecordKind.GROUP, RecordKind.INDEX}
SMALLEST_LIMIT = 1 << 16


@st.composite
def headers(draw: st.DrawFn) -> Header:
    """Any header that a writer may write; `length` is left 0."""
    kind = draw(st.sampled_from(KINDS))
    how = draw(st.sampled_from(list(Encoding)))
    id = b"" if kind in WITHOUT_ID else draw(st.binary(min_size=32, max_size=32))
    raw = draw(st.integers(0, SMALLEST_LIMIT))
    stored = draw(st.integers(0, raw))
    if how != Encoding.DELTA:
        return Header(kind, how, id, raw, stored, b"", 0, 0)
    base = draw(st.binary(min_size=8, max_size=8))
    return Header(kind, how, id, raw, stored, base, draw(st.integers(1, 5000)), 0)


def packed(header: Header) -> bytes:
    return pack_header(*header[:7])


@given(headers(), st.binary(max_size=40), st.binary(max_size=40))
@settings(deadline=None)
def test_a_header_reads_back_as_it_was_written_wherever_it_stands(
    header: Header, before: bytes, after: bytes
) -> None:
    written = packed(header)
    assert len(written) <= HEADER_LIMIT
    read = parse_header(before + written + after, len(before))
    assert read == header._replace(length=len(written))
    assert parse_header(memoryview(before + written), len(before)) == read


@given(headers(), st.data())
@settings(deadline=None)
def test_a_header_that_is_cut_short_is_refused(header: Header, data: st.DataObject) -> None:
    written = packed(header)
    with pytest.raises(DamagedData):
        parse_header(written[: data.draw(st.integers(0, len(written) - 1))], 0)


@given(st.binary(max_size=80), st.integers(0, 80))
@settings(deadline=None)
def test_any_bytes_are_a_header_within_its_limits_or_damaged_data(data: bytes, at: int) -> None:
    try:
        header = parse_header(data, at)
    except DamagedData:
        return
    assert at + header.length <= len(data)
    assert header.raw <= (1 << 30) + (1 << 20)
    assert header.stored <= header.raw + (header.raw >> 8) + 64
    assert len(header.id) == (0 if header.kind in WITHOUT_ID else 32)


@given(st.integers(0, (1 << 35) - 1))
@settings(deadline=None)
def test_a_varint_reads_back(number: int) -> None:
    encoded = varint(number)
    assert len(encoded) <= 5
    assert read_varint(b"x" + encoded + b"\x80", 1) == (number, 1 + len(encoded))


def test_a_varint_ends_after_five_bytes_or_is_damage() -> None:
    for endless in (b"", b"\x80", b"\xff" * 5, b"\xff" * 100):
        with pytest.raises(DamagedData):
            read_varint(endless, 0)


LIMITS = {
    RecordKind.CONTENT: PIECE_LIMIT,
    RecordKind.MANIFEST: PIECE_LIMIT,
    RecordKind.RECIPE: 64 << 20,
    RecordKind.VERSION: 1 << 30,
    RecordKind.TOMBSTONE: 1 << 16,
    RecordKind.GROUP: (1 << 30) + (1 << 20),
    RecordKind.INDEX: 1 << 30,
}


@pytest.mark.parametrize("kind", LIMITS)
def test_a_declared_length_past_the_formats_limit_is_refused(kind: RecordKind) -> None:
    limit = LIMITS[kind]
    id = b"" if kind in WITHOUT_ID else os.urandom(32)
    assert parse_header(pack_header(kind, Encoding.ZSTD, id, limit, 10), 0).raw == limit
    with pytest.raises(DamagedData):
        parse_header(pack_header(kind, Encoding.ZSTD, id, limit + 1, 10), 0)


def test_more_stored_than_compression_ever_makes_is_refused() -> None:
    check_lengths(RecordKind.CONTENT, 1000, 1000 + 3 + 64)
    with pytest.raises(DamagedData):
        check_lengths(RecordKind.CONTENT, 1000, 1000 + 3 + 65)


def test_a_commit_record_is_no_record_with_a_header() -> None:
    with pytest.raises(DamagedData):
        parse_header(bytes((RecordKind.COMMIT << 4,)) + bytes(60), 0)
