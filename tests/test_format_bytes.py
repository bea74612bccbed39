"""The bytes of each structure are those of docs/format.md, put together here by hand.

What fails here would make stores that exist unreadable, or make them grow: it is a new format number, not a
number to correct.
"""

from __future__ import annotations

import json
import random
import struct
from collections.abc import Callable
from pathlib import Path

import msgpack
import pytest
from blake3 import blake3
from hypothesis import given
from hypothesis import strategies as st

from memstore.errors import DamagedData
from memstore.identity import StoreFormat
from memstore.ids import ContentId, ManifestId, VersionId
from memstore.manifest import history
from memstore.manifest.version import Change, ChangeKind, Entry, Kind, Meta, archive_name_with
from memstore.manifest.version_format import decode, encode
from memstore.objects import chunker, encoding, file_header, pack
from memstore.objects.pack import PackWriter, check_header, read_tail
from memstore.objects.record import (
    Encoding,
    Header,
    RecordKind,
    pack_header,
    parse_header,
    read_varint,
    varint,
)
from tests import naive_reader
from tests.conftest import Memory

ID = bytes(range(32))
MIB = 1 << 20
TIME = 1_745_416_920_123
"""2025-04-23T14:02:00.123Z."""


# -- ids ---------------------------------------------------------------------------------------------------


def test_a_content_id_is_what_b3sum_prints() -> None:
    # The first test vector of the BLAKE3 paper's reference implementation: no input.
    assert str(ContentId.of(b"")) == "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262"
    assert str(ContentId.of(b"abc")) == "6437b3ac38465133ffb63b75273a8db548c558465d79db03fd359c6cd5bd9d85"


def test_the_same_bytes_have_other_ids_as_content_version_and_manifest() -> None:
    ids = {bytes(kind.of(b"bytes")) for kind in (ContentId, VersionId, ManifestId)}
    assert len(ids) == 3
    assert naive_reader.version_id(b"bytes") == VersionId.of(b"bytes")
    assert naive_reader.manifest_id(b"bytes") == ManifestId.of(b"bytes")


# -- records -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("number", "encoded"),
    [
        (0, "00"),
        (1, "01"),
        (127, "7f"),
        (128, "8001"),
        (300, "ac02"),
        (1 << 24, "80808008"),
        (2**35 - 1, "ffffffff7f"),
    ],
)
def test_a_varint_is_unsigned_leb128(number: int, encoded: str) -> None:
    assert varint(number).hex() == encoded
    assert read_varint(bytes.fromhex("ee" + encoded + "ee"), 1) == (number, 1 + len(encoded) // 2)


@pytest.mark.parametrize("data", ["", "80", "808080808001", "ffffffffff"])
def test_a_varint_has_five_bytes_at_most_and_an_end(data: str) -> None:
    with pytest.raises(DamagedData):
        read_varint(bytes.fromhex(data), 0)
    with pytest.raises(naive_reader.NotReadable):
        naive_reader.varint(bytes.fromhex(data), 0)


@pytest.mark.parametrize(
    ("header", "encoded"),
    [
        (pack_header(RecordKind.CONTENT, Encoding.RAW, ID, 300, 300), b"\x10" + ID + b"\xac\x02\xac\x02"),
        (pack_header(RecordKind.RECIPE, Encoding.RAW, ID, 5, 5), b"\x20" + ID + b"\x05\x05"),
        (pack_header(RecordKind.VERSION, Encoding.ZSTD, b"", 130, 99), b"\x31\x82\x01\x63"),
        (
            pack_header(RecordKind.MANIFEST, Encoding.DELTA, ID, 16 * MIB, 5, b"base key", 200),
            b"\x42" + ID + b"\x80\x80\x80\x08\x05base key\xc8\x01",
        ),
        (pack_header(RecordKind.TOMBSTONE, Encoding.RAW, ID, 1, 1), b"\x50" + ID + b"\x01\x01"),
        (pack_header(RecordKind.GROUP, Encoding.ZSTD, b"", 9, 8), b"\x71\x09\x08"),
        (pack_header(RecordKind.INDEX, Encoding.ZSTD, b"", 9, 8), b"\x81\x09\x08"),
    ],
)
def test_a_record_header_has_these_bytes(header: bytes, encoded: bytes) -> None:
    assert header == encoded
    assert parse_header(b"??" + encoded, 2).length == len(encoded)


@given(
    st.sampled_from([RecordKind.CONTENT, RecordKind.MANIFEST]),
    st.integers(0, 16 * MIB),
    st.integers(0, 5000),
    st.binary(min_size=8, max_size=8),
)
def test_both_readers_parse_what_was_packed(kind: RecordKind, raw: int, rank: int, base: bytes) -> None:
    stored = min(raw, 20)
    packed = pack_header(kind, Encoding.DELTA, ID, raw, stored, base, rank)
    assert parse_header(packed, 0) == Header(kind, Encoding.DELTA, ID, raw, stored, base, rank, len(packed))
    record = naive_reader.parse_record(packed + bytes(stored), 0)
    assert (record.kind, record.encoding, record.id, record.raw_length) == (kind, Encoding.DELTA, ID, raw)
    assert (record.base, record.rank, record.payload) == (base, rank, bytes(stored))


@pytest.mark.parametrize(
    ("kind", "limit"),
    [
        (RecordKind.CONTENT, 16 * MIB),
        (RecordKind.RECIPE, 64 * MIB),
        (RecordKind.VERSION, 1024 * MIB),
        (RecordKind.MANIFEST, 16 * MIB),
        (RecordKind.TOMBSTONE, MIB // 16),
        (RecordKind.GROUP, 1025 * MIB),
        (RecordKind.INDEX, 1024 * MIB),
    ],
)
def test_a_header_that_declares_too_much_is_refused(kind: RecordKind, limit: int) -> None:
    id = b"" if kind in {RecordKind.VERSION, RecordKind.GROUP, RecordKind.INDEX} else ID
    assert parse_header(pack_header(kind, Encoding.ZSTD, id, limit, 9), 0).raw == limit
    with pytest.raises(DamagedData, match="impossible length"):
        parse_header(pack_header(kind, Encoding.ZSTD, id, limit + 1, 9), 0)
    assert parse_header(pack_header(kind, Encoding.ZSTD, id, 1000, 1000 + 3 + 64), 0).stored == 1067
    with pytest.raises(DamagedData, match="impossible length"):
        parse_header(pack_header(kind, Encoding.ZSTD, id, 1000, 1000 + 3 + 65), 0)


@pytest.mark.parametrize("first", ["00", "90", "f0", "14", "1f"])
def test_what_begins_no_record_is_refused(first: str) -> None:
    with pytest.raises(DamagedData):
        parse_header(bytes.fromhex(first) + ID + b"\x01\x01", 0)


@pytest.mark.parametrize("base", [None, encoding.Base(b"base key", b"the same words, " * 8, 0, 0)])
def test_a_zstd_payload_lacks_its_magic_and_is_one_frame(base: encoding.Base | None) -> None:
    plain = b"the same words, " * 9
    how, stored, key, rank, _ = encoding.encode(plain, base)
    payload = bytes(stored)
    assert how == (Encoding.DELTA if base else Encoding.ZSTD)
    assert not payload.startswith(naive_reader.ZSTD_MAGIC)
    record = naive_reader.Record(1, how, ID, len(plain), key, rank, payload, 0, 0)
    before = base.raw if base else b""
    assert naive_reader.plain_bytes(record, before) == plain
    with pytest.raises(DamagedData):
        encoding.decode(how, payload, len(plain) - 1, before)
    with pytest.raises(DamagedData):
        encoding.decode(how, payload[:-1], len(plain), before)


# -- segments ----------------------------------------------------------------------------------------------


def test_a_file_header_has_these_bytes() -> None:
    facts = {"format": 1, "features": [], "key": None, "store": bytes(16)}
    body = b"\x84\xa6format\x01\xa8features\x90\xa3key\xc0\xa5store\xc4\x10" + bytes(16)
    start = b"MSYNCPAK" + struct.pack("<I", len(body)) + body
    assert file_header.pack_file_header(pack.MAGIC, facts) == start + blake3(start).digest()[:8]


@pytest.mark.parametrize("change", [{"format": 2}, {"features": ["sparse"]}])
def test_a_file_of_a_format_that_is_not_known_is_refused(change: dict[str, object]) -> None:
    facts = {"format": 1, "features": [], "key": None, "store": bytes(16), **change}
    with pytest.raises(DamagedData) as caught:
        check_header(file_header.pack_file_header(pack.MAGIC, facts), "pack x")
    assert caught.value.exit_code == 6 and caught.value.hint == "pip install --upgrade memsync"
    with pytest.raises(naive_reader.NotReadable):
        naive_reader.read_header("x", file_header.pack_file_header(pack.MAGIC, facts), pack.MAGIC, bytes(16))


def test_a_file_with_a_key_is_refused() -> None:
    facts = {"format": 1, "features": [], "key": b"some key", "store": bytes(16)}
    with pytest.raises(DamagedData, match="encrypted") as caught:
        check_header(file_header.pack_file_header(pack.MAGIC, facts), "pack x")
    assert caught.value.hint


def test_a_segment_is_a_header_and_groups_with_these_bytes(memory: Memory) -> None:
    with memory.repository.writing() as writer:
        writer.add(RecordKind.CONTENT, ContentId.of(b"plain"), 5, encoding.encode(b"plain"))
        writer.commit(None)
    (file,) = (memory.state / "segments").iterdir()
    data = file.read_bytes()
    length = struct.unpack_from("<I", data, 8)[0]
    facts = msgpack.unpackb(data[12 : 12 + length])
    assert list(facts) == ["format", "features", "key", "store", "name", "device", "inode"]
    assert facts["name"] + ".seg" == file.name and len(facts["name"]) == 16
    at = 12 + length + 8

    def group(records: bytes) -> bytes:
        commit = b"\xf0COMMIT\r\n" + bytes(32) + struct.pack("<Q", len(records))
        place = facts["name"].encode() + struct.pack("<Q", at)
        return records + commit + blake3(place + records + commit).digest()

    first = group(b"")
    assert data[at : at + len(first)] == first
    at += len(first)
    assert data[at:] == group(b"\x10" + ContentId.of(b"plain") + b"\x05\x05plain")


# -- versions and manifests --------------------------------------------------------------------------------


def test_a_version_has_these_bytes() -> None:
    content = ContentId(ID)
    changes = [
        Change(
            "a.txt",
            ChangeKind.REPLACE,
            Entry("a.txt", Kind.FILE, 3, content, TIME - 5),
            "Archive/a_2025-04-23T14-02-00Z.txt",
        ),
        Change("b", ChangeKind.ADD, Entry("b", Kind.EXECUTABLE, 300, content, TIME + 1)),
        Change("c", ChangeKind.ARCHIVE, None, "Archive/c_2025-04-23T14-02-00Z~00010203"),
        Change("d", ChangeKind.DELETE, None),
    ]
    encoded = encode(
        parents=(VersionId(ID),),
        generation=128,
        time_ms=TIME,
        device="pc",
        device_id="01020304",
        meta=Meta(note="why", context_tags=("x", "y")),
        changes=changes,
        manifest=ManifestId(bytes(32)),
    )
    id = b"\xc4\x20" + ID
    assert encoded == (
        b"\x98\x91" + id + b"\xcc\x80\xcf" + struct.pack(">Q", TIME) + b"\xa2pc\xc4\x04\x01\x02\x03\x04"
        b"\x82\xaccontext_tags\x92\xa1x\xa1y\xa4note\xa3why"
        b"\x94"
        b"\x97\x02\xa5a.txt\x00\x03" + id + b"\xfb\xc3"
        b"\x96\x00\xa1b\x01\xcd\x01\x2c" + id + b"\x01"
        b"\x93\x04\xa1c\xd9\x27Archive/c_2025-04-23T14-02-00Z~00010203"
        b"\x92\x03\xa1d"
        b"\x81\xa8manifest\xc4\x20" + bytes(32)
    )  # fmt: skip
    version = decode(encoded)
    assert list(version.changes) == changes
    assert version.id == blake3(encoded, derive_key_context="memsync version 1").digest()
    assert naive_reader.parse_version(encoded).id == version.id


def test_unknown_extra_keys_of_a_version_are_kept() -> None:
    encoded = msgpack.packb([[], 1, TIME, "pc", bytes(4), {}, [], {"later": 7, "merge": 2}])
    version = decode(encoded)
    assert (version.extra, version.merge_rules) == ({"later": 7}, 2)


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("Core/Rules.txt", "Archive/Core/Rules_2025-04-23T14-02-00Z.txt"),
        ("a.tar.gz", "Archive/a.tar_2025-04-23T14-02-00Z.gz"),
        ("a.b/plain", "Archive/a.b/plain_2025-04-23T14-02-00Z"),
        (".hidden", "Archive/.hidden_2025-04-23T14-02-00Z"),
        ("x/.hidden.txt", "Archive/x/.hidden_2025-04-23T14-02-00Z.txt"),
        ("ends.", "Archive/ends_2025-04-23T14-02-00Z."),
        ("Archive/a.txt", "Archive/Archive/a_2025-04-23T14-02-00Z.txt"),
    ],
)
def test_a_default_archive_name_follows_from_path_and_time(path: str, name: str) -> None:
    encoded = encode(
        parents=(),
        generation=1,
        time_ms=TIME,
        device="",
        device_id="00000000",
        meta=Meta(),
        changes=[Change(path, ChangeKind.DELETE, None, name)],
    )
    assert msgpack.unpackb(encoded)[6] == [[3, path, True]]
    assert naive_reader.default_name(path, TIME) == name
    assert archive_name_with(path, TIME, ContentId(ID)) == name.replace("00Z", "00Z~00010203")


def test_a_canonical_manifest_has_these_bytes() -> None:
    rows = [("B", 0, 1, ID, 5), ("a", 2, 3, ID, -5), ("ü", 1, 70_000, ID, TIME)]
    id = b"\xc4\x20" + ID
    encoded = (
        b"\x95\xa1B\x00\x01" + id + b"\x05"
        b"\x95\xa1a\x02\x03" + id + b"\xfb"
        b"\x95\xa2\xc3\xbc\x01\xce\x00\x01\x11\x70" + id + b"\xcf" + struct.pack(">Q", TIME)
    )  # fmt: skip
    assert b"".join(history.canonical(rows)) == encoded
    assert naive_reader.canonical({row[0]: row[1:] for row in reversed(rows)}) == encoded


# -- packs -------------------------------------------------------------------------------------------------


def written_pack(folder: Path, contents: list[tuple[bytes, bytes, bytes, int]]) -> bytes:
    """A pack of (id, payload, base key or nothing, rank), and of one version."""
    writer = PackWriter(str(folder), bytes(16))
    for id, payload, base, rank in contents:
        how = Encoding.DELTA if base else Encoding.RAW
        packed = pack_header(RecordKind.CONTENT, how, id, len(payload), len(payload), base, rank)
        writer.add(parse_header(packed, 0), packed + payload)
    writer.add_metadata(Header(RecordKind.VERSION, Encoding.RAW, b"", 3, 3, b"", 0, 3), b"abc")
    name, path, size = writer.finish()
    data = Path(path).read_bytes()
    assert (blake3(data).digest(), len(data)) == (name, size)
    return data


def test_a_pack_ends_in_groups_index_and_a_trailer_of_40_bytes(tmp_path: Path) -> None:
    a, b, c, elsewhere = b"a" * 32, b"b" * 32, b"c" * 32, b"elsewher"
    contents = [(a, b"1", b"", 0), (b, b"22", a[:8], 1), (c, b"333", elsewhere, 200)]
    data = written_pack(tmp_path, contents)
    groups, index = struct.unpack_from("<QQ", data, len(data) - 40)
    assert data[-8:] == b"MSYNCEND"
    assert data[-24:-8] == blake3(data[groups:-40]).digest()[:16]
    start = data.index(b"\x10" + a)
    assert data[start:groups] == (
        b"\x10" + a + b"\x01\x01" b"1"
        b"\x12" + b + b"\x02\x02" + a[:8] + b"\x01" b"22"
        b"\x12" + c + b"\x03\x03" + elsewhere + b"\xc8\x01" b"333"
    )  # fmt: skip
    group = naive_reader.parse_record(data, groups)
    assert (group.kind, naive_reader.plain_bytes(group, b""), group.end) == (7, b"\x30\x03\x03abc", index)
    columns = naive_reader.parse_record(data, index)
    assert (columns.kind, columns.end) == (8, len(data) - 40)
    assert msgpack.unpackb(naive_reader.plain_bytes(columns, b"")) == [
        start,
        a[:8] + b[:8] + c[:8],
        b"\x10\x12\x12",
        b"\x01\x01\x02\x02\x03\x03",
        b"\x01\x01" b"\x00\xc8\x01",
        elsewhere,
    ]  # fmt: skip


def test_a_pack_without_contents_has_an_index_all_the_same(tmp_path: Path) -> None:
    data = written_pack(tmp_path, [])
    columns = naive_reader.parse_record(data, struct.unpack_from("<Q", data, len(data) - 32)[0])
    assert msgpack.unpackb(naive_reader.plain_bytes(columns, b"")) == [0, b"", b"", b"", b"", b""]


@given(
    st.lists(
        st.tuples(st.binary(min_size=1, max_size=300), st.one_of(st.none(), st.integers(0, 9))), max_size=10
    )
)
def test_both_readers_find_the_records_that_an_index_lists(
    tmp_path_factory: pytest.TempPathFactory, drawn: list[tuple[bytes, int | None]]
) -> None:
    ids = [blake3(b"%d" % number).digest() for number in range(10)]
    contents = [
        (id, payload, b"" if base is None else ids[base][:8], 0 if base is None else 7 * base)
        for id, (payload, base) in zip(ids, drawn, strict=False)
    ]
    data = written_pack(tmp_path_factory.mktemp("pack"), contents)
    tail = read_tail(reading(data), len(data), "pack")
    index = naive_reader.parse_record(data, struct.unpack_from("<Q", data, len(data) - 32)[0])
    shown = naive_reader.parse_index(naive_reader.plain_bytes(index, b""))
    assert [(entry.key, entry.offset, entry.base, entry.rank) for entry in tail.entries] == [
        (key, offset, base, rank) for _, key, _, _, offset, base, rank in shown
    ]
    for (_, _, _, _, offset, _, _), (id, payload, base, rank) in zip(shown, contents, strict=True):
        record = naive_reader.parse_record(data, offset)
        assert (record.id, record.payload, record.base, record.rank) == (id, payload, base, rank)


def reading(data: bytes) -> Callable[[int, int], bytes]:
    return lambda offset, length: data[offset : offset + length]


# -- how large files are cut -------------------------------------------------------------------------------


def test_the_format_file_says_how_large_files_are_cut() -> None:
    assert json.loads(StoreFormat(bytes(16)).encoded()) == {
        "format": 1,
        "store": "0" * 32,
        "features": [],
        "pieces": {"name": "fastcdc-2020", "whole": 16 * MIB, "min": MIB, "avg": 4 * MIB, "max": 16 * MIB},
    }


@pytest.mark.parametrize(
    ("make", "lengths"),
    [
        (
            lambda: random.Random(7).randbytes(48 * MIB),
            [4387514, 11999286, 5860503, 5766456, 4197297, 4650452, 5315045, 8155095],
        ),
        (lambda: random.Random(7).randbytes(MIB) * 40, [5042522, *[4 * MIB] * 8, 3346086]),
        (lambda: bytes(35 * MIB), [16 * MIB, 16 * MIB, 3 * MIB]),
    ],
    ids=["noise", "a period", "zeros"],
)
def test_the_cuts_of_a_fixed_stream_never_change(make: Callable[[], bytes], lengths: list[int]) -> None:
    data = make()
    assert [len(piece) for _, piece in chunker.pieces(reading(data), len(data))] == lengths


def test_what_is_put_in_front_moves_only_the_first_cuts() -> None:
    data = random.Random(7).randbytes(48 * MIB)
    longer = b"a few bytes" + data
    before = [blake3(piece).digest() for _, piece in chunker.pieces(reading(data), len(data))]
    after = [blake3(piece).digest() for _, piece in chunker.pieces(reading(longer), len(longer))]
    assert len(set(before) - set(after)) <= 2
