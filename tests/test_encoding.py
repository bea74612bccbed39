"""How bytes are stored: whatever is encoded decodes to the same bytes, and nothing decodes to more than was
declared."""

from __future__ import annotations

import os
import random
import subprocess
import sys

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from memstore.errors import DamagedData
from memstore.objects.encoding import (
    CHAIN_LIMIT,
    LINK_COST,
    Base,
    compress_metadata,
    decode,
    encode,
    own_cost,
)
from memstore.objects.record import PIECE_LIMIT, Encoding

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

KEY = b"basebase"


def base_of(raw: bytes, rank: int = 0, cost: int | None = None) -> Base:
    return Base(KEY, raw, rank, own_cost(len(raw)) if cost is None else cost)


def noise(length: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(length)


def text(length: int) -> bytes:
    words = [f"word{number} " for number in range(500)]
    picked = random.Random(2).choices(words, k=length // 5 + 1)
    return "".join(picked).encode()[:length]


@st.composite
def related(draw: st.DrawFn) -> tuple[bytes, bytes]:
    """(base, raw): raw is mostly made of stretches of the base."""
    base = draw(st.binary(max_size=400)) * draw(st.integers(1, 40))
    raw = b""
    for _ in range(draw(st.integers(0, 5))):
        if draw(st.booleans()):
            start = draw(st.integers(0, len(base)))
            raw += base[start : draw(st.integers(start, len(base)))]
        else:
            raw += draw(st.binary(max_size=200))
    return base, raw


@given(related(), st.booleans())
@example((b"", b""), True)
@example((b"x", b""), True)
@example((b"", b"x"), True)
@example((b"1234567", b"1234567" * 10), True)
@example((b"same" * 100, b"same" * 100), True)
@settings(deadline=None)
def test_what_is_encoded_decodes_to_the_same_bytes(pair: tuple[bytes, bytes], with_base: bool) -> None:
    base, raw = pair
    form = encode(raw, base_of(base, rank=3) if with_base else None)
    assert decode(form.encoding, form.payload, len(raw), base) == raw
    assert len(form.payload) <= len(raw)
    if form.encoding == Encoding.DELTA:
        assert (form.base, form.rank) == (KEY, 4)
        assert form.cost == own_cost(len(base)) + own_cost(len(raw))
    else:
        assert (form.base, form.rank, form.cost) == (b"", 0, own_cost(len(raw)))


@pytest.mark.parametrize(
    ("base", "raw"),
    [
        (b"", noise(PIECE_LIMIT)),
        (text(1 << 20), text(PIECE_LIMIT)),
        (noise(PIECE_LIMIT), noise(PIECE_LIMIT)[5:] + b"12345"),
        (bytes(PIECE_LIMIT), bytes(PIECE_LIMIT)),
        (noise(1 << 20, 3), noise(1 << 20, 4)),
    ],
    ids=["noise", "text", "shifted", "zeros", "unrelated"],
)
def test_the_largest_objects_come_back_with_and_without_a_base(base: bytes, raw: bytes) -> None:
    for form in (encode(raw), encode(raw, base_of(base))):
        assert decode(form.encoding, form.payload, len(raw), base) == raw
        assert len(form.payload) <= len(raw)


def test_a_small_change_of_a_large_object_costs_next_to_nothing() -> None:
    old = noise(PIECE_LIMIT // 2)
    new = old[: 1 << 20] + b"a new line" + old[1 << 20 :]
    form = encode(new, base_of(old))
    assert form.encoding == Encoding.DELTA
    assert len(form.payload) < 4096


def test_lines_of_a_large_text_that_changed_places_are_found() -> None:
    chance = random.Random(4)
    lines = [f"{number:x} {chance.randbytes(30).hex()}\n".encode() for number in range(20_000)]
    moved = chance.sample(lines, len(lines))
    delta = encode(b"".join(moved), base_of(b"".join(lines)))
    assert delta.encoding == Encoding.DELTA
    assert len(delta.payload) < 8 * len(lines), "a few bytes a line, not the thirty random ones of it"


def test_what_moved_in_a_large_array_is_found() -> None:
    raw = noise(3 << 20)
    changed = b"".join([raw[1 << 20 :], noise(1536, seed=2), raw[: 1 << 20]])
    delta = encode(changed, base_of(raw))
    assert delta.encoding == Encoding.DELTA
    assert len(delta.payload) < 1536 + 1000


def test_what_does_not_compress_is_stored_as_it_is() -> None:
    raw = noise(3 << 20)
    assert encode(raw)[:2] == (Encoding.RAW, raw)


def test_a_base_that_shares_nothing_is_not_leaned_on() -> None:
    form = encode(text(200_000), base_of(noise(200_000)))
    assert form.encoding == Encoding.ZSTD


def test_a_chain_that_would_be_too_dear_is_not_made_longer() -> None:
    raw = text(1000)
    room = CHAIN_LIMIT - own_cost(len(raw))
    assert encode(raw, base_of(raw, 9, room)).encoding == Encoding.DELTA
    assert encode(raw, base_of(raw, 9, room + 1)).encoding != Encoding.DELTA
    assert own_cost(0) == LINK_COST


# -- hostile payloads --------------------------------------------------------------------------------------


@given(
    st.sampled_from(list(Encoding)), st.binary(max_size=300), st.integers(0, 1 << 20), st.binary(max_size=99)
)
@settings(max_examples=200, deadline=None)
def test_any_payload_decodes_to_what_was_declared_or_is_damage(
    how: Encoding, payload: bytes, declared: int, base: bytes
) -> None:
    try:
        raw = decode(how, payload, declared, base)
    except DamagedData:
        return
    assert len(raw) == declared


@given(related(), st.data())
@settings(deadline=None)
def test_a_changed_byte_never_gives_more_bytes_than_declared(
    pair: tuple[bytes, bytes], data: st.DataObject
) -> None:
    base, raw = pair
    form = encode(raw, base_of(base))
    if not form.payload:
        return
    changed = bytearray(form.payload)
    changed[data.draw(st.integers(0, len(changed) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        assert len(decode(form.encoding, bytes(changed), len(raw), base)) == len(raw)
    except DamagedData:
        pass


@pytest.mark.parametrize("declared", [0, 999, 1001, 1 << 20])
def test_another_length_than_declared_is_damage(declared: int) -> None:
    form = encode(text(1000))
    assert form.encoding == Encoding.ZSTD
    with pytest.raises(DamagedData):
        decode(form.encoding, form.payload, declared)


@pytest.mark.parametrize("cut", [1, 4, 50])
def test_a_frame_cut_short_is_damage(cut: int) -> None:
    form = encode(text(1000))
    with pytest.raises(DamagedData):
        decode(form.encoding, form.payload[:-cut], 1000)


def test_a_frame_may_ask_for_a_window_of_2_to_the_27_bytes_and_no_more() -> None:
    block = (1 | len(b"text") << 3).to_bytes(3, "little") + b"text"  # the last one, raw
    for log in (10, 27):
        assert decode(Encoding.ZSTD, bytes([0, log - 10 << 3]) + block, 4) == b"text"
    with pytest.raises(DamagedData):
        decode(Encoding.ZSTD, bytes([0, (27 - 10 << 3) + 1]) + block, 4)  # an eighth more
    with pytest.raises(DamagedData):
        decode(Encoding.DELTA, bytes([0, 28 - 10 << 3]) + block, 4, b"a base of some bytes")


def test_a_delta_without_its_base_is_damage() -> None:
    with pytest.raises(DamagedData, match="base"):
        decode(Encoding.DELTA, b"whatever", 100)


def test_the_reserved_encoding_is_refused() -> None:
    with pytest.raises(DamagedData):
        decode(Encoding.DICTIONARY, b"whatever", 100)


BOMB = """
import resource, sys
from memstore.errors import DamagedData
from memstore.objects.encoding import decode
from memstore.objects.record import Encoding

def peak():
    if sys.platform == "linux":  # getrusage would count what the parent held when it started this process
        status = open("/proc/self/status").read()
        return int(status.split("VmHWM:")[1].split()[0]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

payload = sys.stdin.buffer.read()
declared = int(sys.argv[1])
before = peak()
try:
    decode(Encoding.ZSTD, payload, declared)
    print("decoded")
except DamagedData:
    print(peak() - before)
"""


@pytest.mark.skipif(os.name != "posix", reason="peak memory is told by getrusage")
def test_a_decompression_bomb_is_refused_within_the_memory_that_was_declared() -> None:
    gigabyte = zstd.ZstdCompressor(level=1)
    block = bytes(1 << 24)
    bomb = b"".join([gigabyte.compress(block) for _ in range(64)] + [gigabyte.flush()])
    assert len(bomb) < 1 << 20
    grown = {}
    for declared in (1000, 100 << 20):
        told = subprocess.run(
            [sys.executable, "-c", BOMB, str(declared)], input=bomb[4:], capture_output=True, check=True
        )
        assert told.stdout.strip() != b"decoded"
        grown[declared] = int(told.stdout)
    assert grown[1000] < 32 << 20
    assert grown[100 << 20] > 64 << 20, "the measure sees what is allocated"


@given(st.binary(max_size=2000))
@settings(deadline=None)
def test_metadata_reads_back_as_an_ordinary_frame(raw: bytes) -> None:
    assert decode(Encoding.ZSTD, compress_metadata(raw), len(raw)) == raw
