"""What an enemy may write: parsers answer or refuse, nothing leads out of its folder, nothing grows beyond bounds,
and no secret is told."""

from __future__ import annotations

import ast
import contextlib
import json
import os
import struct
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

import msgpack
import pytest
from click.testing import CliRunner
from memsync.app import app

import memstore
from memstore import files
from memstore.errors import MemsyncError
from memstore.identity import StoreFormat
from memstore.ids import ContentId
from memstore.manifest.version import Change, ChangeKind, Entry, Kind, Meta
from memstore.manifest.version_format import encode
from memstore.objects import encoding
from memstore.objects.encoding import Base, Encoded
from memstore.objects.file_header import pack_file_header
from memstore.objects.record import Encoding, RecordKind, pack_header
from memstore.remotes.base import BytesSource
from memstore.remotes.drive import auth, tokens
from memstore.remotes.folder import FolderRemote
from memstore.worktree import materialise, names
from tests.conftest import Memory
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
        "behind_record": [
            msgpack.packb({"format": 1, "paths": {"a": None, "b/c": [0, 1, bytes(32), 5]}}),
            msgpack.packb({"paths": {"../a": None}}),
        ],
        "superseded_record": [b'{"device": "00000000", "packs": ["' + b"0" * 64 + b'"], "by": []}'],
        "head_marker": [b'{"format": 1, "packs": ["' + b"0" * 64 + b'"]}'],
        "collection_marker": [
            b'{"format": 1, "device": "00000000", "time": 5, "fossils": ["' + b"0" * 64 + b'"]}'
        ],
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
    "ignore_file": [b"*" * 123 + b"`\n@\x02\x00"],
    "remote_json": [NESTED, b"[]", b'{"url": 1}', b'{"url": "a", "sent": [1]}', b'{"url": "a", "last_push_ms": "x"}'],
    "checkout_record": [b"\x93nonsense", msgpack.packb({"to": None, "steps": [[1, None, None]]})],
    "behind_record": [b"\x93nonsense", msgpack.packb({"paths": {1: None}}), msgpack.packb({"paths": ["a"]})],
    "superseded_record": [
        NESTED, b"[]", b"1", b'{"device": "00000000", "packs": ["../../x"], "by": []}',
        b'{"device": "00000000", "packs": [1], "by": {}}',
    ],
    "head_marker": [NESTED, b"[]", b'{"packs": 1}', b'{"packs": [1]}'],
    "collection_marker": [
        NESTED, b"[]", b'{"device": "x", "time": 1e999, "fossils": []}', b'{"device": "x", "time": NaN, "fossils": []}',
        b'{"device": "x", "time": ' + b"9" * 4000 + b', "fossils": []}', b'{"device": 1, "time": 1, "fossils": [[[]]]}',
    ],
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


# -- names that lead elsewhere ---------------------------------------------------------------------------------

ESCAPES = [
    "/etc/passwd", "../out.txt", "a/../../out.txt", "a//b", "a/./b", "", ".", "..", "a\0b", ".memsync/format",
    ".MEMSYNC/format", "a/.Memsync/x", ".mem\u200csync/x", "memsyn~1/x", "a/", "x" * 300, "\ud800",
]  # fmt: skip
FOR_WINDOWS = [
    "C:/x",
    "C:x",
    "a\\b",
    "..\\out",
    "CON",
    "con.txt",
    "a/NUL",
    "COM1.log",
    "a.",
    "a ",
    "a:b",
    "a?b",
]


@pytest.mark.parametrize("path", ESCAPES)
def test_no_path_of_a_version_is_written_outside_data_or_into_memsync(tmp_path: Path, path: str) -> None:
    data = tmp_path / "Data"
    data.mkdir()
    for write in (
        lambda: materialise.write_file(str(data), path, Kind.FILE, [b"x"], 0),
        lambda: materialise.FreshTree(str(data)).write(path, Kind.FILE, [b"x"], 0),
        lambda: materialise.remove_file(str(data), path),
    ):
        with pytest.raises(MemsyncError) as caught:
            write()
        assert caught.value.exit_code == 8
    assert [place.name for place in tmp_path.rglob("*")] == ["Data"]


@pytest.mark.parametrize("path", FOR_WINDOWS)
def test_what_windows_would_take_for_another_place_is_refused_there(path: str) -> None:
    assert names.problem(path, windows=True) is not None


@pytest.mark.parametrize(
    "name", ["../format", "packs/../format", "heads/", "packs/A", "packs\\x", "format\n", "x"]
)
def test_a_listing_s_name_leads_nowhere(tmp_path: Path, name: str) -> None:
    remote = FolderRemote(str(tmp_path / "remote"))
    remote.prepare(create=True)
    with pytest.raises(MemsyncError):
        remote.read(name)
    with pytest.raises(MemsyncError):
        remote.create(name, BytesSource(b"x"))


@pytest.mark.skipif(not files.ANCHORS, reason="needs folders that can be held open")
@pytest.mark.parametrize("kind", [Kind.FILE, Kind.SYMLINK])
@pytest.mark.parametrize("step", ["write", "link", "sync", "rename", "remove"])
def test_a_link_planted_between_check_and_write_leads_nowhere(tmp_path: Path, step: str, kind: Kind) -> None:
    data, outside = tmp_path / "Data", tmp_path / "outside"
    (data / "Core").mkdir(parents=True)
    (data / "Core/a.txt").write_bytes(b"old")
    outside.mkdir()
    (outside / "a.txt").write_bytes(b"theirs")

    def plant(now: str, path: str, _: bytes) -> None:
        if now == step and not (data / "Core").is_symlink():
            (data / "Core").rename(tmp_path / "moved")
            (data / "Core").symlink_to(outside)

    with files.watch(plant), contextlib.suppress(MemsyncError, FileNotFoundError):
        if step == "remove":
            materialise.remove_file(str(data), "Core/a.txt")
        else:
            materialise.write_file(str(data), "Core/a.txt", kind, [b"new"], 0, durable=True)
    assert {path.name: path.read_bytes() for path in outside.iterdir()} == {"a.txt": b"theirs"}


# -- bombs -----------------------------------------------------------------------------------------------------

BOMBS = """
import resource, struct, sys
resource.setrlimit(resource.RLIMIT_AS, (700 << 20, 700 << 20))
import msgpack
from blake3 import blake3
from memstore.errors import DamagedData
from memstore.manifest.version_format import decode
from memstore.objects import encoding
from memstore.objects.encoding import zstd
from memstore.objects.pack import read_group, read_tail
from memstore.objects.reader import parse_recipe
from memstore.objects.record import Encoding, RecordKind, pack_header, parse_header

def refused(what, *arguments):
    try:
        what(*arguments)
    except DamagedData:
        return
    sys.exit(f"{what.__name__} took a bomb: {arguments!r:.80}")

def packed(size):
    out = zstd.ZstdCompressor(level=1)
    piece = bytes(1 << 20)
    parts = [out.compress(piece) for _ in range(size >> 20)]
    return (b"".join(parts) + out.flush())[4:]

bomb = packed(512 << 20)
for declared in (0, 1000, 16 << 20):
    refused(encoding.decode, Encoding.ZSTD, bomb, declared)
    refused(encoding.decode, Encoding.DELTA, bomb, declared, b"x" * 100)
far = bytes([0x00, 0xff]) + bomb[2:]  # a window of 2^41 bytes
refused(encoding.decode, Encoding.ZSTD, far, 1000)
refused(parse_header, pack_header(RecordKind.CONTENT, Encoding.ZSTD, bytes(32), 1 << 31, 100), 0)
refused(parse_header, pack_header(RecordKind.VERSION, Encoding.RAW, b"", 1 << 31, 1 << 31), 0)

def tail(body, index_at):
    whole = body + struct.pack("<QQ", 0, index_at) + blake3(body).digest()[:16] + b"MSYNCEND"
    read_tail(lambda offset, length: whole[offset : offset + length], len(whole), "a pack")

group = pack_header(RecordKind.GROUP, Encoding.ZSTD, b"", 512 << 20, len(bomb)) + bomb
refused(tail, group, len(group))
refused(tail, group, 0)
small = packed(8 << 20)
many = (pack_header(RecordKind.GROUP, Encoding.ZSTD, b"", 8 << 20, len(small)) + small) * 200
refused(tail, many, len(many))
refused(tail, pack_header(RecordKind.INDEX, Encoding.ZSTD, b"", 512 << 20, len(bomb)) + bomb, 0)
refused(lambda: list(read_group(pack_header(RecordKind.CONTENT, Encoding.RAW, bytes(32), 16 << 20, 9), 0)))

refused(parse_recipe, b"\\xdd" + struct.pack(">I", 10**9))
refused(parse_recipe, b"\\xdd" + struct.pack(">I", 10**9) + bytes(1 << 20))
refused(parse_recipe, b"\\xdd" + struct.pack(">I", 32 << 20) + b"\\x90" * (32 << 20))
refused(parse_recipe, b"\\x91" * (8 << 20))
many_of = b"\\xff\\xff\\xff\\xff"
for opening in (b"\\xdd" + many_of, b"\\xdf" + many_of, b"\\xc6" + many_of, b"\\x91" * 100000):
    refused(decode, opening)
    refused(decode, b"\\x98\\x90\\x01\\x01\\xa1d\\xc4\\x04abcd\\x80" + opening)
"""


@pytest.mark.skipif(os.name != "posix", reason="memory is bounded by the system here")
def test_no_bomb_takes_more_memory_than_was_allowed() -> None:
    run = subprocess.run([sys.executable, "-c", BOMBS], capture_output=True, text=True, check=False)
    assert (run.returncode, run.stderr) == (0, "")


def test_a_recipe_that_names_itself_and_deltas_in_a_circle_end(memory: Memory) -> None:
    one, other, self_named = (ContentId.of(name) for name in (b"one", b"other", b"self"))
    payload = encoding.encode(b"x" * 50 + b"one", Base(bytes(other)[:8], b"x" * 50, 0, 0)).payload
    with memory.repository.writing() as writer:
        writer.add_recipe(self_named, [(self_named, 5)])
        for rank in (1, 7):
            writer.add(RecordKind.CONTENT, one, 53, Encoded(Encoding.DELTA, payload, other.key, rank, 0))
            writer.add(RecordKind.CONTENT, other, 53, Encoded(Encoding.DELTA, payload, one.key, rank + 1, 0))
        writer.commit(None)
    for id in (one, other, self_named):
        with pytest.raises(MemsyncError) as caught:
            memory.repository.read(id)
        assert caught.value.exit_code == 6


def test_nothing_is_pickled_or_evaluated() -> None:
    for place in (Path(memstore.__file__).parent, Path(memstore.__file__).parent.parent / "cli"):
        for source in place.rglob("*.py"):
            tree = ast.parse(source.read_text(encoding="utf-8"))
            for node in ast.walk(tree):
                if isinstance(node, ast.Import | ast.ImportFrom):
                    imported = {getattr(node, "module", None), *(alias.name for alias in node.names)}
                    # A process talks in marshal to the crew that it started, and to nobody else.
                    crew = {"marshal"} if source.name in ("bulk.py", "fill.py") else set()
                    assert not (imported - crew) & {"pickle", "marshal", "shelve", "dill"}, source
                if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                    assert node.func.id not in {"eval", "exec"}, source


# -- secrets ---------------------------------------------------------------------------------------------------

SECRETS = ("ya29.ACCESS-SECRET", "1//REFRESH-SECRET", "GOCSPX-CLIENT-SECRET")


def _broken_tokens() -> Iterator[bytes]:
    good = {
        "token": SECRETS[0], "refresh_token": SECRETS[1], "client_secret": SECRETS[2], "client_id": "id",
        "scopes": ["a"], "expiry": "2025-01-01T00:00:00Z",
    }  # fmt: skip
    whole = json.dumps(good).encode()
    yield whole[:-1]
    yield whole[: whole.index(b"client_id")]
    for name in good:
        yield json.dumps({key: value for key, value in good.items() if key != name}).encode()
        yield json.dumps(good | {name: {"x": list(SECRETS)}}).encode()
    yield json.dumps({"installed": good}).encode()
    yield json.dumps(good | {"type": "service_account"}).encode()


@pytest.mark.parametrize("as_json", [False, True])
def test_no_broken_token_or_client_file_is_quoted_anywhere(
    memory: Memory, monkeypatch: pytest.MonkeyPatch, as_json: bool
) -> None:
    monkeypatch.setenv("MEMSYNC_DEBUG", "1")  # tracebacks too
    monkeypatch.chdir(memory.root)
    memory.save("a.txt", "a")
    memory.store.set_remote("drive:")
    memory.close()
    more = ["--json"] if as_json else []
    monkeypatch.setenv("MEMSYNC_DRIVE_ROOT_URL", "http://127.0.0.1:9/")
    monkeypatch.setenv("MEMSYNC_DRIVE_ATTEMPTS", "1")
    for data in _broken_tokens():
        (memory.root / "credentials.json").write_bytes(data)
        monkeypatch.setenv("MEMSYNC_DRIVE_CREDENTIALS", str(memory.root / "credentials.json"))
        told = [
            repr(_refusal(tokens.load_token, data, memory.root)),
            repr(_refusal(auth.load_client, data, memory.root)),
        ]
        if b"refresh_token" not in data or data[-1:] != b"}":
            (memory.root / "drive_token.json").write_bytes(data)
            result = CliRunner().invoke(app, ["push", *more])
            told += [result.output, repr(result.exception)]
        assert not [secret for secret in SECRETS for text in told if secret in text], told
    for log in memory.root.glob("*.json"):
        if log.name not in ("credentials.json", "drive_token.json"):
            assert not any(secret in log.read_text() for secret in SECRETS)


def _refusal(load: Callable[[str], object], data: bytes, folder: Path) -> object:
    place = folder / "tried.json"
    place.write_bytes(data)
    try:
        return repr(load(str(place))) if load is tokens.load_token else None
    except MemsyncError as error:
        return (error.message, error.hint, traceback.format_exception(error))
    finally:
        place.unlink()
