"""Every parser of what others may have written, as functions of bytes: each answers or raises an error of the
house (`ALLOWED`), whatever it is given. `tests/fuzz.py` looks for bytes that make one do anything else, and
`tests/test_hostile.py` keeps what was found.
"""

from __future__ import annotations

import contextlib
import os
import struct
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final, cast

import msgpack
from blake3 import blake3

from memstore import superseded
from memstore.actions import behind, checkout, collection, fetch, remote_state
from memstore.config import Config
from memstore.errors import MemsyncError
from memstore.gather import _is_tombstone
from memstore.identity import StoreFormat, load_device
from memstore.ids import VersionId
from memstore.manifest import references
from memstore.manifest.version_format import decode
from memstore.merging import keyed
from memstore.objects import encoding
from memstore.objects.catalogue import Catalogue
from memstore.objects.file_header import pack_file_header
from memstore.objects.pack import MAGIC, check_header, read_group, read_tail
from memstore.objects.pack_index import Index
from memstore.objects.reader import parse_recipe
from memstore.objects.record import Encoding, Header, RecordKind, parse_header
from memstore.objects.segment import Segment, _commit_record, _group_hash
from memstore.objects.tombstone import Tombstone
from memstore.objects.wreck import Remnant, Wreck
from memstore.remotes.base import check_name
from memstore.remotes.drive import auth, fields, tokens
from memstore.remotes.drive.journal import Journal
from memstore.remotes.drive.transfer import arrived, parsed
from memstore.remotes.drive.trouble import Answer, judge
from memstore.remotes.retry import TryAgain
from memstore.remotes.url import parse_url
from memstore.times import parse_time
from memstore.workspace import Paths, drive_parts
from memstore.worktree import names
from memstore.worktree.ignore import Ignore

ALLOWED: Final = (MemsyncError, TryAgain)
STORE: Final = bytes(range(16))
_FACTS: Final = {"format": 1, "features": [], "key": None, "store": STORE}

Target = Callable[[bytes], object]


class _Folder:
    """A `.memsync` for the parsers that read files, made when first needed."""

    def __init__(self) -> None:
        self._made: tempfile.TemporaryDirectory[str] | None = None

    @property
    def path(self) -> str:
        if self._made is None:
            self._made = tempfile.TemporaryDirectory(prefix="memsync-fuzz-")
            os.mkdir(os.path.join(self._made.name, ".memsync"))
        return self._made.name

    def with_file(self, name: str, data: bytes) -> str:
        path = os.path.join(self.path, name)
        Path(path).write_bytes(data)
        return path

    @property
    def repository(self) -> Any:
        return SimpleNamespace(
            state=self.path,
            checkout_record=os.path.join(self.path, "checkout"),
            behind_record=os.path.join(self.path, "behind"),
        )


_folder = _Folder()


def text(data: bytes) -> str:
    """As a command line gives it."""
    return data.decode("utf-8", "surrogateescape")


# -- objects -----------------------------------------------------------------------------------------------


def record(data: bytes) -> None:
    header = parse_header(data, 0)
    encoding.decode(
        header.encoding, data[header.length : header.length + header.stored], header.raw, b"a base" * 9
    )


def zstd_payload(data: bytes) -> None:
    raw = int.from_bytes(data[:3], "little")
    encoding.decode(Encoding.ZSTD if data[3:4] < b"\x80" else Encoding.DELTA, data[4:], raw, b"a base" * 9)


def group(data: bytes) -> None:
    for row in read_group(data, 0):
        assert len(row.payload) <= len(data)


def index(data: bytes) -> None:
    list(Index(data, 1 << 20))


def pack(data: bytes) -> None:
    """The tail's hash is made to hold: what an enemy can do as well."""
    groups = int.from_bytes(data[:2], "little")
    start = pack_file_header(MAGIC, _FACTS)
    body = data[2:]
    at = len(start)
    trailer = struct.pack("<QQ", at, at + min(groups, len(body)))
    whole = start + body + trailer + blake3(body).digest()[:16] + b"MSYNCEND"
    read_tail(lambda offset, length: whole[offset : offset + length], len(whole), "a pack")


def bare_pack(data: bytes) -> None:
    read_tail(lambda offset, length: data[offset : offset + length], len(data), "a pack")


def file_header(data: bytes) -> None:
    body = b"MSYNCPAK" + struct.pack("<I", len(data)) + data
    check_header(body + blake3(body).digest()[:8], "a pack")


def segment(data: bytes) -> None:
    """A first group whose hash holds, if the first byte is odd."""
    name = "0123456789abcdef"
    start = pack_file_header(b"MSYNCSEG", {**_FACTS, "name": name, "device": 1, "inode": 1})
    body = data[1:]
    if data[:1] and data[0] & 1:
        running = _group_hash(name, len(start))
        running.update(body)
        body += _commit_record(None, len(body), running)
    path = _folder.with_file(name + ".seg", start + body)
    opened = Segment(path)
    try:
        scan = opened.scan()
        for begin, end in [*scan.damaged, (opened.start, scan.size)]:
            for placed in opened.salvage(begin, end):
                assert placed.offset < end
    finally:
        opened.close()


def bare_segment(data: bytes) -> None:
    opened = Segment(_folder.with_file("fedcba9876543210.seg", data))
    try:
        opened.scan()
    finally:
        opened.close()


def wreck(data: bytes) -> None:
    opened = Wreck(_folder.with_file("wreck", data))
    try:
        for remnant in opened.remnants():
            assert len(remnant.payload()) <= max(len(data), 1 << 24)
    finally:
        opened.close()


def recipe(data: bytes) -> None:
    for _, length in parse_recipe(data):
        assert 0 < length <= 16 << 20


def tombstone(data: bytes) -> None:
    header = Header(RecordKind.TOMBSTONE, Encoding.RAW, bytes(32), len(data), len(data), b"", 0, 0)
    _is_tombstone(Remnant(header, cast(Any, None), 0, data, True))
    Tombstone.unpacked(data)


def version(data: bytes) -> None:
    """What is decoded must go into the catalogue, and be shown."""
    made = decode(data)
    made.as_json()
    for change in made.changes:
        names.problem(change.path)
        names.problem(change.path, windows=True)
    with contextlib.closing(_catalogue()) as catalogue:
        from memstore.manifest import history

        history.add_version(catalogue, made._replace(parents=()), 1, 0, -1)
        list(history.versions_of(catalogue))
        list(history.entries_at(catalogue, 1))
        list(references.between(catalogue, made.time_ms, made.time_ms))


def packed_version(data: bytes) -> None:
    """The same from JSON-like text: a fuzzer that knows no msgpack gets further."""
    import json

    try:
        rows = json.loads(data)
    except (ValueError, RecursionError):
        return
    try:
        packed = msgpack.packb(_with_ids(rows))
    except (OverflowError, ValueError, TypeError):
        return  # larger numbers, or deeper nesting, than msgpack has
    version(packed)


def _with_ids(value: object) -> object:
    if isinstance(value, list):
        return [_with_ids(item) for item in value]
    if isinstance(value, dict):
        return {key: _with_ids(item) for key, item in value.items()}
    if isinstance(value, str) and value.startswith("#"):
        return blake3(value.encode("utf-8", "replace")).digest(4 if value.startswith("##") else 32)
    return value


def _catalogue() -> Catalogue:
    return Catalogue(":memory:", STORE)


# -- files of .memsync, and of a remote --------------------------------------------------------------------


def store_format(data: bytes) -> None:
    StoreFormat.parse(data, "a place")


def device(data: bytes) -> None:
    _folder.with_file("device", data)
    assert len(bytes.fromhex(load_device(_folder.path, "name").id)) == 4


def remote_json(data: bytes) -> None:
    _folder.with_file("remote.json", data)
    remote_state.said_url(_folder.repository)
    state = remote_state.load(_folder.repository)
    assert state is not None
    remote_state.head_ids(state.heads)
    state.status().as_json()


def superseded_record(data: bytes) -> None:
    _folder.with_file(superseded.SUPERSEDED_NAME, data)
    os.makedirs(os.path.join(_folder.path, "packs"), exist_ok=True)
    superseded.finish(_folder.path, "0" * 8)
    assert not superseded.waits(_folder.path)


def checkout_record(data: bytes) -> None:
    _folder.with_file("checkout", data)
    checkout.load(_folder.repository)


def behind_record(data: bytes) -> None:
    _folder.with_file("behind", data)
    for path in behind.load(_folder.repository):
        names.problem(path, windows=False)  # it may be none: then nobody looks for it on the disk


def head_marker(data: bytes) -> None:
    remote = SimpleNamespace(read=lambda name, offset, length: data)
    fetch.packs_named(cast(Any, remote), VersionId(bytes(32)))


def collection_marker(data: bytes) -> None:
    marker = collection.read(cast(Any, SimpleNamespace(read=lambda name: data)), "0" * 16)
    if marker is not None:
        notes = collection.Notes(frozenset(), {}, frozenset())
        collection.may_delete(marker, notes, (), 1_700_000_000_000, grace_ms=1, silence_ms=1)


def remote_name(data: bytes) -> None:
    name = check_name(text(data))
    assert ".." not in name and not name.startswith("/") and "\\" not in name


def drive_journal(data: bytes) -> None:
    path = _folder.with_file("journal", data)
    journal = Journal(path)
    assert journal.root is None or journal.root
    assert journal.folders is not None
    journal.all_pending("heads/")
    journal.upload("packs/x")


# -- Google Drive ------------------------------------------------------------------------------------------


def token_file(data: bytes) -> None:
    tokens.load_token(_folder.with_file("token.json", data))


def client_file(data: bytes) -> None:
    auth.load_client(_folder.with_file("credentials.json", data))


def drive_refusal(data: bytes) -> None:
    status = 400 + int.from_bytes(data[:1], "little") % 200
    after, _, body = data[1:].partition(b"\n")
    answer = Answer(status, {"retry-after": after.decode("latin-1")}, body)
    verdict = judge(answer, "doing")
    assert isinstance(verdict, Exception)
    wait = answer.retry_after
    assert wait is None or 0 <= wait < float("inf")


def drive_answer(data: bytes) -> None:
    row = parsed(Answer(200, {}, data), "doing")
    source = SimpleNamespace(size=1, md5=lambda: "0")
    arrived(row, cast(Any, source))
    fields.milliseconds(row.get("modifiedTime"))


# -- what people write -------------------------------------------------------------------------------------


def paths_json(data: bytes) -> None:
    drive_parts(Paths.parse(data, "paths.json").drive_root)


def config_toml(data: bytes) -> None:
    Path(_folder.path, ".memsync", "config.toml").write_bytes(data)
    Config.load(_folder.path, {"XDG_CONFIG_HOME": "/nowhere", "APPDATA": "/nowhere"})


def ignore_file(data: bytes) -> None:
    rules = Ignore.parse(data[:2000])
    rules.ignores("Core/Rules.txt", False)
    rules.covers("Core", True)


def url(data: bytes) -> None:
    parse_url(text(data))


def a_time(data: bytes) -> None:
    for end in (True, False):
        parse_time(text(data), now_ms=1_745_416_800_000, end=end)


def path(data: bytes) -> None:
    written = text(data)
    names.shown(written)
    names.folded(written)
    if names.problem(written) is None:
        place = os.path.normpath(os.path.join("/data", written))
        assert place.startswith("/data/"), place
        assert all(part.casefold() != ".memsync" for part in written.split("/"))
    if names.problem(written, windows=True) is None:
        assert not set('\\:<>"|?*') & set(written)


def archive_name(data: bytes) -> None:
    with contextlib.closing(_catalogue()) as catalogue:
        references.find(catalogue, text(data))


def merged_json(data: bytes) -> None:
    with contextlib.suppress(ValueError):
        keyed.parsed(data)


TARGETS: Final[dict[str, Target]] = {
    function.__name__: function
    for function in (
        *(record, zstd_payload, group, index, pack, bare_pack, file_header, segment, bare_segment, wreck),
        *(recipe, tombstone, version, packed_version, store_format, device, remote_json, checkout_record),
        *(superseded_record, behind_record),
        *(
            head_marker,
            collection_marker,
            remote_name,
            drive_journal,
            token_file,
            client_file,
            drive_refusal,
            drive_answer,
        ),
        *(paths_json, config_toml, ignore_file, url, a_time, path, archive_name, merged_json),
    )
}


def tried(target: str, data: bytes) -> None:
    """One input for one parser; anything but an answer or an error of the house comes out."""
    with contextlib.suppress(*ALLOWED):
        TARGETS[target](data)
