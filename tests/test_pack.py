"""Packs: what goes in comes out of the end alone, and no flipped byte goes unseen."""

from __future__ import annotations

import os
import random
import struct
from pathlib import Path
from typing import Any, NamedTuple

import msgpack
import pytest
from blake3 import blake3
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from memstore import files
from memstore.errors import DamagedData, DiskTrouble
from memstore.ids import ContentId, PackId
from memstore.objects import encoding
from memstore.objects.file_header import pack_file_header
from memstore.objects.pack import END_MAGIC, FIRST_READ, MAGIC, PackWriter, Tail, check_header, read_tail
from memstore.objects.record import PIECE_LIMIT, Encoding, Header, RecordKind, pack_header
from tests.conftest import Memory

STORE = b"s" * 16


class Made(NamedTuple):
    path: Path
    data: list[tuple[Header, bytes]]
    """Header (with its length) and payload of each data record."""
    metadata: list[tuple[Header, bytes]]


def header(
    kind: RecordKind, id: bytes, payload: bytes, base: bytes = b"", rank: int = 0, raw: int | None = None
) -> Header:
    how = Encoding.DELTA if base else Encoding.RAW
    length = len(payload) if raw is None else raw
    packed = pack_header(kind, how, id, length, len(payload), base, rank)
    return Header(kind, how, id, length, len(payload), base, rank, len(packed))


@st.composite
def records(draw: st.DrawFn) -> list[tuple[Header, bytes]]:
    """Contents as they are and as deltas; bases before, after and outside of the pack."""
    ids = draw(st.lists(st.binary(min_size=32, max_size=32), unique_by=lambda id: id[:8], max_size=12))
    made = []
    for number, id in enumerate(ids):
        payload = draw(st.binary(max_size=300))
        where = draw(st.sampled_from(["alone", "inside", "outside"]))
        if where == "alone" or (where == "inside" and len(ids) < 2):
            made.append((header(RecordKind.CONTENT, id, payload), payload))
            continue
        other = (
            draw(st.sampled_from([key for at, key in enumerate(ids) if at != number]))
            if (where == "inside")
            else draw(st.binary(min_size=8, max_size=8))
        )
        rank, raw = draw(st.integers(1, 2000)), draw(st.integers(len(payload), PIECE_LIMIT))
        made.append((header(RecordKind.CONTENT, id, payload, other[:8], rank, raw), payload))
    return made


@st.composite
def metadata(draw: st.DrawFn) -> list[tuple[Header, bytes]]:
    made = []
    for _ in range(draw(st.integers(0, 8))):
        payload = draw(st.binary(max_size=500))
        kind = draw(
            st.sampled_from(
                [RecordKind.VERSION, RecordKind.RECIPE, RecordKind.MANIFEST, RecordKind.TOMBSTONE]
            )
        )
        id = b"" if kind == RecordKind.VERSION else draw(st.binary(min_size=32, max_size=32))
        made.append((header(kind, id, payload), payload))
    return made


def write(folder: Path, data: list[tuple[Header, bytes]], extra: list[tuple[Header, bytes]]) -> Made:
    pack = PackWriter(str(folder), STORE)
    for head, payload in data:
        packed = pack_header(*head[:7])
        pack.add(head, packed + payload)
    for head, payload in extra:
        pack.add_metadata(head, payload)
    id, path, size = pack.finish()
    assert os.path.basename(path) == f"{id}.pack"
    assert PackId(blake3(Path(path).read_bytes()).digest()) == id
    assert os.path.getsize(path) == size
    return Made(Path(path), data, extra)


def tail_of(content: bytes) -> Tail:
    return read_tail(lambda offset, length: content[offset : offset + length], len(content), "it")


@given(records(), metadata())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)
def test_the_end_of_a_pack_tells_all_that_was_put_in(
    tmp_path: Path, data: list[tuple[Header, bytes]], extra: list[tuple[Header, bytes]]
) -> None:
    made = write(tmp_path, data, extra)
    content = made.path.read_bytes()
    assert check_header(content[:4096], "it")["store"] == STORE
    tail = tail_of(content)
    assert tail.size == len(content)
    assert len(tail.entries) == len(data)
    for entry, (head, payload) in zip(tail.entries, data, strict=True):
        assert entry[:7] == (head.kind, head.encoding, head.id[:8], *head[3:7])
        start = entry.offset + entry.length
        assert content[start : start + entry.stored] == payload
        assert content[entry.offset : start] == pack_header(*head[:7])
    assert [(row.header, row.payload) for row in tail.metadata] == extra


@given(records(), metadata(), st.data())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40, deadline=None)
def test_a_pack_cut_short_anywhere_is_damage(
    tmp_path: Path, data: list[tuple[Header, bytes]], extra: list[tuple[Header, bytes]], choice: st.DataObject
) -> None:
    content = write(tmp_path, data, extra).path.read_bytes()
    with pytest.raises(DamagedData):
        tail_of(content[: choice.draw(st.integers(0, len(content) - 1))])


def test_the_end_is_read_once_and_again_only_if_it_is_long(tmp_path: Path) -> None:
    asked: list[int] = []
    for count, reads in ((10, 1), (4000, 2)):
        noise = random.Random(count)
        data = []
        for _ in range(count):
            payload = noise.randbytes(40)
            data.append((header(RecordKind.CONTENT, noise.randbytes(32), payload), payload))
        extra = [
            (header(RecordKind.RECIPE, noise.randbytes(32), payload), payload)
            for payload in (noise.randbytes(600) for _ in range(count // 10))
        ]
        content = write(tmp_path, data, extra).path.read_bytes()
        asked.clear()

        def read_at(offset: int, length: int, content: bytes = content) -> bytes:
            asked.append(length)
            return content[offset : offset + length]

        assert len(read_tail(read_at, len(content), "it").metadata) == len(extra)
        assert len(asked) == reads
        assert asked[0] <= FIRST_READ


def test_many_metadata_records_lie_in_groups_of_a_megabyte(tmp_path: Path) -> None:
    extra = []
    for number in range(15):
        payload = random.Random(number).randbytes(200_000)
        extra.append((header(RecordKind.RECIPE, ContentId.of(payload), payload), payload))
    tail = tail_of(write(tmp_path, [], extra).path.read_bytes())
    assert [row.payload for row in tail.metadata] == [payload for _, payload in extra]
    assert len({row.group for row in tail.metadata}) == 3


def test_nothing_of_a_pack_is_under_its_name_before_it_is_durable(tmp_path: Path) -> None:
    steps: list[tuple[str, str]] = []
    with files.watch(lambda step, path, data: steps.append((step, os.path.basename(path)))):
        write(tmp_path, [(header(RecordKind.CONTENT, b"i" * 32, b"x"), b"x")], [])
    assert [step for step, _ in steps] == ["write", "sync", "rename", "sync_dir"]


@pytest.mark.parametrize("failing", ["write", "sync"])
def test_a_pack_that_could_not_be_written_leaves_nothing_behind(tmp_path: Path, failing: str) -> None:
    def full(step: str, path: str, data: bytes) -> None:
        if step == failing:
            raise DiskTrouble("full")

    pack = PackWriter(str(tmp_path), STORE)
    pack.add(header(RecordKind.CONTENT, b"i" * 32, b"x"), b"x" * 50)
    with files.watch(full), pytest.raises(DiskTrouble):
        pack.finish()
    pack.abandon()
    assert os.listdir(tmp_path) == []


# -- damage and hostility ----------------------------------------------------------------------------------


def test_a_flipped_byte_anywhere_in_a_pack_is_found_by_verify(memory: Memory, tmp_path: Path) -> None:
    noise = random.Random(5)
    for number in range(6):
        memory.write("notes.txt", f"line {number}\n" * (number * 30 + 1))
        memory.write(f"noise{number}", noise.randbytes(700))
        memory.commit(note=f"turn {number}")
    memory.store.set_remote(str(tmp_path / "remote"))
    assert memory.store.push().status == "success"
    (pack,) = (memory.state / "packs").iterdir()
    whole = pack.read_bytes()
    assert memory.store.verify().problems == ()
    places = {0, 8, 12, len(whole) - 1, len(whole) - 8, len(whole) - 40}
    places |= {noise.randrange(len(whole)) for _ in range(50)}
    for at in sorted(places):
        changed = bytearray(whole)
        changed[at] ^= 1 << noise.randrange(8)
        pack.write_bytes(changed)
        memory.repository.reader.close()
        assert "damaged_pack" in {problem.kind for problem in memory.store.verify().problems}, at
    pack.write_bytes(whole)
    memory.repository.reader.close()
    assert memory.store.verify().problems == ()


def sealed(columns: Any, groups: bytes = b"", data: bytes = b"") -> bytes:
    """A pack as a hostile writer makes it: every hash holds."""
    start = pack_file_header(MAGIC, {"format": 1, "features": [], "key": None, "store": STORE}) + data
    raw = columns if isinstance(columns, bytes) else msgpack.packb(columns, use_bin_type=True)
    payload = encoding.compress_metadata(raw)
    index = pack_header(RecordKind.INDEX, Encoding.ZSTD, b"", len(raw), len(payload)) + payload
    checked = groups + index
    where = struct.pack("<QQ", len(start), len(start) + len(groups))
    return start + checked + where + blake3(checked).digest()[:16] + END_MAGIC


CONTENT = bytes((RecordKind.CONTENT << 4,))
DELTA = bytes((RecordKind.CONTENT << 4 | Encoding.DELTA,))
KEY = b"k" * 8


def test_an_empty_pack_made_by_hand_is_read() -> None:
    assert len(tail_of(sealed([0, b"", b"", b"", b"", b""])).entries) == 0


@pytest.mark.parametrize(
    "columns",
    [
        b"no msgpack \xc1",
        b"",
        [],
        [0, b"", b"", b"", b""],
        {"a": 1},
        [0, KEY, b"", b"", b"", b""],
        [0, KEY, CONTENT, b"", b"", b""],
        [0, KEY, b"\x00", b"\x01\x01", b"", b""],
        [0, KEY, b"\xf0", b"\x01\x01", b"", b""],
        [0, KEY, b"\x1f", b"\x01\x01", b"", b""],
        [0, KEY, CONTENT, b"\x81\x80\x80\x08\x01", b"", b""],
        [0, KEY, CONTENT, b"\xff\xff\xff\xff\x7f\x01", b"", b""],
        [0, KEY, CONTENT, b"\x01\xff\x7f", b"", b""],
        [0, KEY, CONTENT, b"\xff\x7f\xff\x7f", b"", b""],
        [-5, KEY, CONTENT, b"\x01\x01", b"", b""],
        [1 << 62, KEY, CONTENT, b"\x01\x01", b"", b""],
        [0, KEY, DELTA, b"\x01\x01", b"\x05\x01", b""],
        [0, KEY, DELTA, b"\x01\x01", b"", b""],
        [None, KEY, CONTENT, b"\x01\x01", b"", b""],
        [0, 5, CONTENT, b"\x01\x01", b"", b""],
        [0, KEY, CONTENT, "text", b"", b""],
        [0, KEY, CONTENT, None, b"", b""],
    ],
)
def test_an_index_that_makes_no_sense_is_damage_though_its_hash_holds(columns: Any) -> None:
    with pytest.raises(DamagedData):
        tail_of(sealed(columns))


@given(st.binary(max_size=200), st.binary(max_size=200), st.booleans())
@settings(max_examples=150, deadline=None)
def test_any_groups_and_index_under_a_good_hash_are_read_or_damage(
    groups: bytes, columns: bytes, as_group: bool
) -> None:
    if as_group:
        groups = pack_header(RecordKind.GROUP, Encoding.RAW, b"", len(groups), len(groups)) + groups
    try:
        tail = tail_of(sealed(columns or [0, b"", b"", b"", b"", b""], groups))
    except DamagedData:
        return
    for row in tail.metadata:
        assert row.header.raw <= 1 << 30


def test_a_trailer_that_points_anywhere_is_damage() -> None:
    good = sealed([0, b"", b"", b"", b"", b""])
    for first, second in ((0, 0), (1 << 63, 1 << 63), (5, 4), (len(good), len(good))):
        with pytest.raises(DamagedData):
            tail_of(good[:-40] + struct.pack("<QQ", first, second) + good[-24:])
