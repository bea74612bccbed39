"""What an enemy may write: parsers answer or refuse, nothing leads out of its folder, nothing grows beyond bounds,
and no secret is told."""

from __future__ import annotations

import struct
from collections.abc import Iterator

import msgpack
import pytest

from memstore.identity import StoreFormat
from memstore.ids import ContentId
from memstore.manifest.version import Change, ChangeKind, Entry, Kind, Meta, encode
from memstore.objects import encoding
from memstore.objects.record import Encoding, RecordKind, pack_header
from memstore.objects.segment import pack_file_header
from tests.fuzz_targets import STORE, TARGETS, tried

NESTED = b"[" * 100_000
ID = ContentId.of(b"x")


def _version(**changed: object) -> bytes:
    entry = Entry("a.txt", Kind.FILE, 1, ID, 1_000)
    facts = {
        "parents": (), "generation": 1, "time_ms": 1_745_416_800_000, "device": "d", "device_id": "00000000",
        "meta": Meta(note="n", context_tags=("t",)), "changes": [Change("a.txt", ChangeKind.ADD, entry)],
    }  # fmt: skip
    return encode(**(facts | changed))  # type: ignore[arg-type]


def _row(*replaced: tuple[int, object]) -> bytes:
    """A version's array with some members replaced."""
    rows = msgpack.unpackb(_version())
    for at, value in replaced:
        rows[at] = value
    return bytes(msgpack.packb(rows))


def seeds(target: str) -> Iterator[bytes]:
    """Where fuzzing begins: lawful input, and what was found before."""
    raw = b"some plain bytes, of which there are enough\n" * 3
    packed = encoding.encode(raw)
    header = pack_header(RecordKind.CONTENT, packed.encoding, ID, len(raw), len(packed.payload))
    content = header + packed.payload
    lawful = {
        "record": [content],
        "zstd_payload": [len(raw).to_bytes(3, "little") + b"\0" + packed.payload],
        "group": [pack_header(RecordKind.VERSION, Encoding.RAW, b"", 3, 3) + b"abc"],
        "index": [msgpack.packb([60, b"12345678", b"\x11", b"\x05\x05", b"", b""])],
        "pack": [struct.pack("<H", 0) + content],
        "file_header": [msgpack.packb({"format": 1, "features": [], "key": None, "store": STORE})],
        "segment": [b"\1" + content, b"\0" + content],
        "bare_segment": [
            pack_file_header(b"MSYNCSEG", {"format": 1, "features": [], "store": STORE}) + content
        ],
        "wreck": [content * 3, b"junk" + content * 3],
        "recipe": [msgpack.packb([[bytes(ID), 7], [bytes(ID), 70000]])],
        "tombstone": [msgpack.packb({"content": bytes(32), "why": "forgotten", "time": 1})],
        "version": [_version(), _row((4, b"abcd"))],
        "packed_version": [
            b'[[], 1, 1745416800000, "d", "##d", {"note": "n"}, [[0, "a", 0, 1, "#x", 5, true], [3, "b"]], {}]'
        ],
        "store_format": [StoreFormat(STORE).encoded()],
        "device": [b'{"id": "0123abcd"}'],
        "remote_json": [b'{"url": "/a", "sent": ["x"], "heads": ["00"], "last_push_ms": 5}'],
        "checkout_record": [
            msgpack.packb({"format": 1, "to": None, "steps": [["a", None, [0, 1, bytes(32), 5]]]})
        ],
        "head_marker": [b'{"format": 1, "packs": ["' + b"0" * 64 + b'"]}'],
        "remote_name": [b"packs/" + b"0" * 64, b"format"],
        "drive_journal": [b'{"ids": ["a"]}\n{"take": "a", "for": "packs/x"}\n{"root": {"a": "b"}}\n'],
        "token_file": [
            b'{"token": "a", "refresh_token": "b", "client_id": "c", "client_secret": "d", "expiry": "2025-01-01"}'
        ],
        "client_file": [b'{"installed": {"client_id": "a", "client_secret": "b", "redirect_uris": []}}'],
        "drive_refusal": [
            b"\x043\n" + b'{"error": {"errors": [{"reason": "rateLimitExceeded"}], "message": "m"}}'
        ],
        "drive_answer": [b'{"size": "1", "md5Checksum": "0", "modifiedTime": "2025-01-01T00:00:00Z"}'],
        "paths_json": [b'{"local_data_dir": "Data/", "drive_root": "Drive/x/"}'],
        "config_toml": [b"lock_timeout = 5\n[mirror]\nmeaningful = 'text'\n"],
        "ignore_file": [b"*.tmp\n!keep\n/a/**/b\n[a-z]?\n"],
        "url": [b"drive://abc", b"file:///tmp/x", b"/tmp/x", b"drive:A/B"],
        "a_time": [b"2025-04-23T14:00:00+02:00", b"last tuesday", b"2 days ago", b"2025-04-23T14-02-00Z"],
        "path": [b"Core/Rules.txt", b".Memsync/x", b"a\\b", b"CON.txt"],
        "archive_name": [b"Archive/Core/Rules_2025-04-23T14-02-00Z.txt"],
        "merged_json": [b'{"a": [1, 2.5e3, {"b": null}]}'],
    }
    yield from lawful.get(target, [])
    yield from FOUND.get(target, [])


FOUND: dict[str, list[bytes]] = {
    "version": [
        _row((1, 1 << 63)), _row((1, "1")), _row((2, 1 << 60)), _row((2, None)), _row((3, b"d")), _row((5, [])),
        _row((5, {"note": 1})), _row((6, [[3, "b"], [3, "a"]])), _row((6, [[3, "b"], [3, "b"]])),
        _row((6, [[0, "a", 0, -1, bytes(32), 0]])), _row((6, [[0, "a", 0, 1, bytes(32), 1 << 62]])),
        _row((7, {"manifest": b""})), _row((7, {"merge": "x"})),
    ],
    "store_format": [NESTED, b'{"format": 1, "features": 1, "store": ""}', b'{"format": "1", "features": [[]]}'],
    "device": [NESTED, b"[]", b'{"id": []}'],
    "remote_json": [NESTED, b"[]", b'{"url": 1}', b'{"url": "a", "sent": [1]}', b'{"url": "a", "last_push_ms": "x"}'],
    "checkout_record": [b"\x93nonsense", msgpack.packb({"to": None, "steps": [[1, None, None]]})],
    "head_marker": [NESTED, b"[]", b'{"packs": 1}', b'{"packs": [1]}'],
    "drive_journal": [NESTED + b"\n", b'{"ids": 1}\n'],
    "drive_answer": [NESTED, b'{"size": "x"}', b'{"size": []}', b'{"modifiedTime": "0001-01-01"}'],
    "drive_refusal": [b"\x04inf\n", b"\x04nan\n", b"\x04" + b"9" * 400 + b"\n"],
    "token_file": [
        b'{"refresh_token":"b","client_id":"c","client_secret":"d","expiry":"0001-01-01T00:00:00+23:00"}', NESTED,
    ],
    "tombstone": [b"\xc1", msgpack.packb([1])],
    "recipe": [b"\xdd\xff\xff\xff\xff", b"\xdd\x3b\x9a\xca\x00" + b"\x90" * 1000, b"\x91" * 2000, b""],
}  # fmt: skip


@pytest.mark.parametrize("target", TARGETS)
def test_a_parser_answers_or_refuses_with_an_error_of_the_house(target: str) -> None:
    for data in seeds(target):
        tried(target, data)
        for length in {0, 1, len(data) // 2, len(data) - 1} if len(data) > 1 else ():
            tried(target, data[:length])
            tried(target, data[:length] + b"\xff\x00\xc1[" + data[length:])
