"""A second reader of memsync's stores, written from docs/format.md alone: nothing of memstore is in it.

It keeps everything in memory and looks nothing up twice: it is for checking the format, not for speed.
`read_store` takes a `.memsync` folder, local or remote; what it can't vouch for raises `NotReadable`.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgpack
from blake3 import blake3

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

FORMAT = 1
KNOWN_FEATURES: frozenset[str] = frozenset()
ZSTD_MAGIC = bytes.fromhex("28b52ffd")
COMMIT = b"\xf0COMMIT\r\n"
COMMIT_SIZE = len(COMMIT) + 32 + 8 + 32
CONTENT, RECIPE, VERSION, MANIFEST, TOMBSTONE, GROUP, INDEX = 1, 2, 3, 4, 5, 7, 8
RAW, ZSTD, DELTA = 0, 1, 2
LIMITS = {CONTENT: 16 << 20, RECIPE: 64 << 20, VERSION: 1 << 30, MANIFEST: 16 << 20}


class NotReadable(Exception):
    """The store is of a format this reader does not know, or what it holds is not what it says."""


@dataclass(frozen=True)
class Record:
    """One stored record: `start` and `end` are its offsets in the bytes it was parsed from."""

    kind: int
    encoding: int
    id: bytes
    raw_length: int
    base: bytes
    rank: int
    payload: bytes
    start: int
    end: int


@dataclass(frozen=True)
class Version:
    """A version as its msgpack array says; `changes` are the arrays of the format."""

    id: bytes
    parents: list[bytes]
    generation: int
    time: int
    device: str
    device_id: bytes
    meta: dict[str, Any]
    changes: list[list[Any]]
    extra: dict[str, Any]


Entry = tuple[int, int, bytes, int]  # kind, size, content id, modification time in ms
Manifest = dict[str, Entry]


@dataclass
class NaiveStore:
    """All that was found."""

    store_id: bytes
    versions: dict[bytes, Version] = field(default_factory=dict)
    forms: list[Record] = field(default_factory=list)
    """Every stored form of every content, recipe and manifest."""
    objects: dict[tuple[int, bytes], bytes] = field(default_factory=dict)
    """(kind, id) -> plain bytes, checked; filled by `settle`."""
    tombstones: dict[bytes, dict[str, Any]] = field(default_factory=dict)
    head: bytes | None = None
    """HEAD of a workspace; the only head of a remote."""
    heads: list[bytes] = field(default_factory=list)
    """Of a remote: what is listed, without ancestors. Of a workspace: the versions without a child."""
    packs: dict[str, int] = field(default_factory=dict)
    """Pack id -> how many data records it has."""
    segments: dict[str, tuple[bool, bytes | None]] = field(default_factory=dict)
    """File name -> whether it is no copy, and its HEAD."""
    torn: dict[str, int] = field(default_factory=dict)
    """File name -> length of the torn tail."""
    damaged: dict[str, int] = field(default_factory=dict)
    """File name -> bytes before its last good group that are in none."""

    def take(self, record: Record) -> None:
        """Keep one record of the kinds 1 to 5."""
        if record.kind == VERSION:
            version = parse_version(plain_bytes(record, b""))
            self.versions[version.id] = version
        elif record.kind == TOMBSTONE:
            self.tombstones[record.id] = unpack(plain_bytes(record, b""))
        elif record.kind in {CONTENT, RECIPE, MANIFEST}:
            self.forms.append(record)
        else:
            raise NotReadable(f"a record of the kind {record.kind} does not belong here")

    def settle(self) -> None:
        """Decode every stored form, those of low rank first: so each delta finds its base decoded."""
        by_key: dict[tuple[int, bytes], set[bytes]] = {}
        for form in sorted(self.forms, key=lambda form: form.rank):
            bases = [b""]
            if form.encoding == DELTA:
                bases = [self.objects[form.kind, id_] for id_ in by_key.get((form.kind, form.base), ())]
            self.objects[form.kind, form.id] = decoded(form, bases)
            by_key.setdefault((form.kind, form.id[:8]), set()).add(form.id)

    def object(self, kind: int, id_: bytes) -> bytes:
        """An object's plain bytes."""
        if (kind, id_) not in self.objects:
            removed = " (removed)" if id_ in self.tombstones else ""
            raise NotReadable(f"{id_.hex()} is in no record{removed}")
        return self.objects[kind, id_]

    def content(self, id_: bytes) -> bytes:
        """The bytes of a file."""
        if (RECIPE, id_) not in self.objects:
            return self.object(CONTENT, id_)
        pieces = []
        for piece, length in unpack(self.object(RECIPE, id_)):
            pieces.append(self.object(CONTENT, piece))
            if len(pieces[-1]) != length:
                raise NotReadable(f"a piece of {id_.hex()} has another length")
        whole = b"".join(pieces)
        if blake3(whole).digest() != id_:
            raise NotReadable(f"the pieces of {id_.hex()} make something else")
        return whole

    def manifest(self, id_: bytes) -> Manifest:
        """What a version holds: path -> (kind, size, content id, mtime in ms)."""
        line = []
        at: bytes | None = id_
        while at is not None:
            line.append(self.version(at))
            at = line[-1].parents[0] if line[-1].parents else None
        entries: Manifest = {}
        for version in reversed(line):
            apply(version, entries)
            if "manifest" in version.extra and manifest_id(canonical(entries)) != version.extra["manifest"]:
                raise NotReadable(f"version {version.id.hex()} carries the id of another manifest")
        return entries

    def version(self, id_: bytes) -> Version:
        """A version; `NotReadable` where no record holds it."""
        if id_ not in self.versions:
            raise NotReadable(f"version {id_.hex()} is in no record")
        return self.versions[id_]

    def references(self, id_: bytes) -> dict[str, bytes]:
        """The archive references that one version makes: name -> content id."""
        version = self.version(id_)
        named: dict[str, bytes] = {}
        for change in version.changes:
            archived = change[6] if len(change) == 7 else change[2] if len(change) == 3 else None
            if archived is None:
                continue
            held = self.manifest(version.parents[0])[change[1]][2]
            named[default_name(change[1], version.time) if archived is True else archived] = held
        return named

    def leaves(self) -> list[bytes]:
        """The versions that are no other's parent."""
        parents = {parent for version in self.versions.values() for parent in version.parents}
        return sorted(set(self.versions) - parents)


def apply(version: Version, entries: Manifest) -> None:
    """Apply a version's changes to its first parent's manifest, in place."""
    for change in version.changes:
        if len(change) <= 3:
            del entries[change[1]]
        else:
            _, path, kind, size, content, offset = change[:6]
            entries[path] = (kind, size, content, version.time + offset)


def canonical(entries: Manifest) -> bytes:
    """The canonical manifest."""
    ordered = sorted(entries.items(), key=lambda item: item[0].encode())
    return b"".join(pack([path, *entry]) for path, entry in ordered)


def manifest_id(plain: bytes) -> bytes:
    return blake3(plain, derive_key_context="memsync manifest 1").digest()


def content_id(plain: bytes) -> bytes:
    return blake3(plain).digest()


HASHES = {CONTENT: content_id, MANIFEST: manifest_id}


def version_id(plain: bytes) -> bytes:
    return blake3(plain, derive_key_context="memsync version 1").digest()


def default_name(path: str, time: int) -> str:
    """The default archive name of what `path` held before a version of that time."""
    folder, _, name = path.rpartition("/")
    dot = name.rfind(".")
    stem, extension = (name[:dot], name[dot:]) if dot > 0 else (name, "")
    stamp = datetime.fromtimestamp(time // 1000, UTC).strftime("%Y-%m-%dT%H-%M-%SZ")
    return "/".join(part for part in ("Archive", folder, f"{stem}_{stamp}{extension}") if part)


def parse_version(plain: bytes) -> Version:
    version = Version(version_id(plain), *unpack(plain))
    paths = [change[1].encode() for change in version.changes]
    if paths != sorted(set(paths)):
        raise NotReadable(f"the changes of version {version.id.hex()} are not sorted by path")
    return version


def plain_bytes(record: Record, base: bytes) -> bytes:
    """Decode one payload; `base` are the plain bytes of a delta's base."""
    if record.kind in LIMITS and record.raw_length > LIMITS[record.kind]:
        raise NotReadable(f"a record declares {record.raw_length} bytes")
    if record.encoding == RAW:
        plain = record.payload
    elif record.encoding in {ZSTD, DELTA}:
        prefix = zstd.ZstdDict(base, is_raw=True).as_prefix if record.encoding == DELTA and base else None
        decoder = zstd.ZstdDecompressor(prefix, {zstd.DecompressionParameter.window_log_max: 27})
        try:
            plain = decoder.decompress(ZSTD_MAGIC + record.payload, record.raw_length + 1)
        except zstd.ZstdError as error:
            raise NotReadable(f"{record.id.hex()} does not decode: {error}") from error
        if not decoder.eof or decoder.unused_data:
            raise NotReadable(f"{record.id.hex()} is not one zstd frame")
    else:
        raise NotReadable(f"encoding {record.encoding} is not known")
    if len(plain) != record.raw_length:
        raise NotReadable(f"{record.id.hex()} has another length than declared")
    return plain


def decoded(form: Record, bases: list[bytes]) -> bytes:
    """The plain bytes of a form, decoded with the base that gives what its id names."""
    if form.encoding != DELTA:
        bases = [b""]
    for base in bases:
        try:
            plain = plain_bytes(form, base)
        except NotReadable:
            if len(bases) == 1:
                raise
            continue
        # What a recipe's id names are its pieces together: see content().
        if form.kind == RECIPE or form.id == HASHES[form.kind](plain):
            return plain
    raise NotReadable(f"no base of {form.id.hex()}, or it decodes to something else")


def parse_record(data: bytes, at: int) -> Record:
    """Parse the record that begins at an offset."""
    start = at
    kind, encoding = divmod(data[at], 16)
    if kind not in {CONTENT, RECIPE, VERSION, MANIFEST, TOMBSTONE, GROUP, INDEX}:
        raise NotReadable(f"no record begins at {start}")
    at += 1
    id_ = b""
    if kind not in {VERSION, GROUP, INDEX}:
        id_, at = data[at : at + 32], at + 32
    raw_length, at = varint(data, at)
    stored_length, at = varint(data, at)
    base, rank = b"", 0
    if encoding == DELTA:
        base, at = data[at : at + 8], at + 8
        rank, at = varint(data, at)
    if at + stored_length > len(data):
        raise NotReadable(f"the record at {start} is cut off")
    payload = data[at : at + stored_length]
    return Record(kind, encoding, id_, raw_length, base, rank, payload, start, at + stored_length)


def records(data: bytes, start: int, end: int) -> Iterator[Record]:
    """The records that fill data[start:end] exactly."""
    while start < end:
        record = parse_record(data, start)
        if record.end > end:
            raise NotReadable(f"the record at {start} is cut off")
        yield record
        start = record.end


def varint(data: bytes, at: int) -> tuple[int, int]:
    """Unsigned LEB128, five bytes at most: (value, offset after it)."""
    value = 0
    for index in range(5):
        if at + index >= len(data):
            break
        byte = data[at + index]
        value |= (byte & 0x7F) << 7 * index
        if byte < 0x80:
            return value, at + index + 1
    raise NotReadable(f"no varint at {at}")


def unpack(data: bytes) -> Any:
    return msgpack.unpackb(data, raw=False, strict_map_key=False)


def pack(value: Any) -> bytes:
    packed: bytes = msgpack.packb(value, use_bin_type=True)
    return packed


def refuse_unknown(where: str, document: dict[str, Any]) -> None:
    """Refuse another format number, and features that are not known."""
    if document["format"] != FORMAT:
        raise NotReadable(f"{where} has format {document['format']}, this reader knows {FORMAT}")
    unknown = sorted(set(document["features"]) - KNOWN_FEATURES)
    if unknown:
        raise NotReadable(f"{where} needs {', '.join(unknown)}")


def read_header(where: str, data: bytes, magic: bytes, store_id: bytes) -> tuple[dict[str, Any], int]:
    """The map of a file header, checked, and the offset after the header."""
    end = 12 + int.from_bytes(data[8:12], "little")
    if data[:8] != magic or blake3(data[:end]).digest()[:8] != data[end : end + 8]:
        raise NotReadable(f"{where} has a damaged header")
    header = unpack(data[12:end])
    refuse_unknown(where, header)
    if header["store"] != store_id:
        raise NotReadable(f"{where} belongs to another store")
    if header["key"] is not None:
        raise NotReadable(f"{where} is encrypted")
    return header, end + 8


def read_segment(store: NaiveStore, name: str, data: bytes, identity: tuple[int, int]) -> None:
    """Take the good groups of a segment, note its HEAD and how much of it is in none."""
    header, at = read_header(name, data, b"MSYNCSEG", store.store_id)
    own = (header["device"], header["inode"]) == identity
    store.segments[name] = (own, None)
    store.damaged[name] = 0
    search = at
    while (commit := data.find(COMMIT, search)) >= 0:
        record, end = data[commit : commit + COMMIT_SIZE], commit + COMMIT_SIZE
        length = int.from_bytes(record[41:49], "little")
        start = commit - length
        place = header["name"].encode() + start.to_bytes(8, "little", signed=True)
        if start < at or blake3(place + data[start : commit + 49]).digest() != record[49:]:
            search = commit + 1  # the bytes of some content, or damage
            continue
        for each in records(data, start, commit):
            store.take(each)
        store.segments[name] = (own, None if record[9:41] == bytes(32) else record[9:41])
        store.damaged[name] += start - at
        at = search = end
    store.torn[name] = len(data) - at


def read_pack(store: NaiveStore, name: str, data: bytes) -> None:
    """Take all of a pack after checking its id, its trailer and that its index tells the truth."""
    if blake3(data).hexdigest() != name.removesuffix(".pack"):
        raise NotReadable(f"{name} is not the pack of that name")
    _, at = read_header(name, data, b"MSYNCPAK", store.store_id)
    trailer, end = data[-40:], len(data) - 40
    groups, index = int.from_bytes(trailer[:8], "little"), int.from_bytes(trailer[8:16], "little")
    if trailer[32:] != b"MSYNCEND" or blake3(data[groups:end]).digest()[:16] != trailer[16:32]:
        raise NotReadable(f"{name} has a damaged trailer")
    contents = list(records(data, at, groups))
    for record in contents:
        if record.kind != CONTENT:
            raise NotReadable(f"{name} has a record of the kind {record.kind} among its contents")
        store.take(record)
    for group in records(data, groups, index):
        if group.kind != GROUP:
            raise NotReadable(f"{name} has a record of the kind {group.kind} among its groups")
        plain = plain_bytes(group, b"")
        for record in records(plain, 0, len(plain)):
            store.take(record)
    (columns,) = records(data, index, end)
    if columns.kind != INDEX or parse_index(plain_bytes(columns, b"")) != [shown(each) for each in contents]:
        raise NotReadable(f"{name} has an index of something else")
    store.packs[name.removesuffix(".pack")] = len(contents)


Shown = tuple[int, bytes, int, int, int, bytes, int]
"""A record as the index shows it: first byte, key, raw and stored length, offset, base's key, rank."""


def shown(record: Record) -> Shown:
    first = record.kind << 4 | record.encoding
    lengths = (record.raw_length, len(record.payload))
    return (first, record.id[:8], *lengths, record.start, record.base, record.rank)


def parse_index(plain: bytes) -> list[Shown]:
    """The data records of a pack, from the columns of its index."""
    offset, keys, kinds, lengths, bases, outside = unpack(plain)
    found: list[Shown] = []
    for first in kinds:
        key, keys = keys[:8], keys[8:]
        raw_length, at = varint(lengths, 0)
        stored_length, at = varint(lengths, at)
        header, lengths = 1 + 32 + at, lengths[at:]
        base, rank = b"", 0
        if first & 15 == DELTA:
            back, at = varint(bases, 0)
            rank, end = varint(bases, at)
            header, bases = header + 8 + end - at, bases[end:]
            if back:
                base = found[len(found) - back][1]
            else:
                base, outside = outside[:8], outside[8:]
        found.append((first, key, raw_length, stored_length, offset, base, rank))
        offset += header + stored_length
    if keys or lengths or bases or outside:
        raise NotReadable("the columns of an index have more than its entries")
    return found


def read_store(folder: Path) -> NaiveStore:
    """Read the `.memsync` folder of a workspace, or the same folder of a remote."""
    document = json.loads((folder / "format").read_bytes())
    refuse_unknown("the format file", document)
    store = NaiveStore(bytes.fromhex(document["store"]))
    heads = [file for file in files(folder / "heads") if re.fullmatch("[0-9a-f]{64}", file.name)]
    for file in files(folder / "packs"):
        if re.fullmatch(r"[0-9a-f]{64}(\.pack)?", file.name):
            read_pack(store, file.name, file.read_bytes())
    for file in files(folder / "segments"):
        if re.fullmatch(r"[0-9a-f]{16}\.seg", file.name):
            facts = file.stat()
            read_segment(store, file.name, file.read_bytes(), (facts.st_dev, facts.st_ino))
    store.settle()
    if (folder / "heads").is_dir():
        read_remote_heads(store, heads)
    else:
        store.head = local_head(store, folder)
        store.heads = store.leaves()
    return store


def read_remote_heads(store: NaiveStore, markers: list[Path]) -> None:
    """The markers' versions without those that have a listed descendant."""
    for marker in markers:
        document = json.loads(marker.read_bytes())
        if document["format"] != FORMAT or not set(document["packs"]) <= set(store.packs):
            raise NotReadable(f"the head marker {marker.name} names what is not there")
    if store.packs and not markers:
        raise NotReadable("packs without any head: a listing that lags, or damage")
    listed = {bytes.fromhex(marker.name) for marker in markers}
    older: set[bytes] = set()
    for head in listed:
        queue = list(store.version(head).parents)
        while queue:
            ancestor = queue.pop()
            if ancestor not in older:
                older.add(ancestor)
                queue.extend(store.version(ancestor).parents)
    store.heads = sorted(listed - older)
    store.head = store.heads[0] if len(store.heads) == 1 else None


def local_head(store: NaiveStore, folder: Path) -> bytes | None:
    """HEAD: what the own segment says; of copies, what any of them says; without segments, the reflog."""
    said = [head for own, head in store.segments.values() if own]
    said = said or [head for _, head in store.segments.values()]
    known = [store.versions[head] for head in said if head in store.versions]
    if known:
        return min(known, key=lambda version: (-version.time, -version.generation, version.id)).id
    if said and not any(said):
        return None
    reflog = folder / "reflog"
    lines = reflog.read_text(encoding="ascii").splitlines() if reflog.exists() else []
    logged = [bytes.fromhex(line.split(" ")[0]) for line in lines]
    return next((head for head in reversed(logged) if head in store.versions), None)


def files(folder: Path) -> list[Path]:
    return sorted(file for file in folder.iterdir() if file.is_file()) if folder.is_dir() else []
