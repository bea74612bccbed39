"""How a version is stored: the msgpack array that docs/format.md describes.

What others wrote is held to its types and ranges where it is decoded, so that nothing behind this meets a surprise.
"""

from __future__ import annotations

import io
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from operator import itemgetter
from types import MappingProxyType
from typing import Any, Final, overload

import msgpack

from memstore.errors import DamagedData
from memstore.ids import ID_BYTES, ContentId, ManifestId, VersionId
from memstore.manifest.version import NO_META, Change, ChangeKind, Entry, Kind, Meta, Version, archive_name

MANIFEST_HASH_EVERY: Final = 128
"""A version whose generation is a multiple of this, and every merge, carries its manifest's hash."""

LARGE: Final = 4 << 20
"""Bytes of a version's stored form from which on its changes are never all unpacked at once: some 50,000 of them."""

FIRST_TIME_MS: Final = -62_135_596_800_000
LAST_TIME_MS: Final = 253_402_300_799_999
"""The years 1 to 9999: other times have no name in RFC 3339."""
LAST_GENERATION: Final = (1 << 53) - 1
"""Nobody comes so far; and a number that every language holds."""
LAST_SIZE: Final = (1 << 53) - 1
"""Bytes: eight million GiB, which no disk holds, and of which a thousand can be added up."""
_MOST: Final = (1 << 63) - 1
"""SQLite's largest integer."""

META_KEYS: Final = ("actor", "chat_name", "context_tags", "note", "reason")


# -- encoding ----------------------------------------------------------------------------------------------


def encode(
    *,
    parents: tuple[VersionId, ...],
    generation: int,
    time_ms: int,
    device: str,
    device_id: str,
    meta: Meta,
    changes: Sequence[Change],
    manifest: ManifestId | None = None,
    merge_rules: int = 0,
) -> bytes:
    """The version's stored form; `VersionId.of` it is the version's id."""
    extra: dict[str, Any] = {}
    if manifest is not None:
        extra["manifest"] = bytes(manifest)
    if merge_rules:
        extra["merge"] = merge_rules
    packer = msgpack.Packer(use_bin_type=True, autoreset=False)
    packer.pack_array_header(8)
    packer.pack([bytes(parent) for parent in parents])
    packer.pack(generation)
    packer.pack(time_ms)
    packer.pack(device)
    packer.pack(bytes.fromhex(device_id))
    packer.pack(_pack_meta(meta))
    packer.pack_array_header(len(changes))
    for change in changes:
        packer.pack(_pack_change(change, time_ms))
    packer.pack(extra)
    return bytes(packer.bytes())


def _pack_meta(meta: Meta) -> dict[str, Any]:
    """Only what is set, keys in order: an absent fact costs nothing."""
    facts = {key: getattr(meta, key) for key in META_KEYS}
    return {key: list(value) if isinstance(value, tuple) else value for key, value in facts.items() if value}


def _pack_change(change: Change, time_ms: int) -> list[Any]:
    path, how, entry, archived_as = change
    archived: str | bool | None = archived_as
    if archived_as is not None and archived_as == archive_name(path, time_ms):
        archived = True
    row: list[Any] = [how, path]
    if entry is not None:
        row += (entry.kind, entry.size, entry.content, entry.modified_ms - time_ms)
    return [*row, archived] if archived else row


def encode_again(version: Version) -> bytes:
    """The stored form of a version that was made or read before."""
    return encode(
        parents=version.parents,
        generation=version.generation,
        time_ms=version.time_ms,
        device=version.device,
        device_id=version.device_id,
        meta=version.meta,
        changes=version.changes,
        manifest=version.manifest,
        merge_rules=version.merge_rules,
    )


def rows_of(encoded: bytes) -> tuple[int, Iterable[tuple[Any, ...]]]:
    """The time of a version that was decoded before, and its changes as they are stored: of a large record one by
    one, for there may be a million of them. Raises `DamagedData`, also on the way."""
    if len(encoded) < LARGE:
        members = unpack(encoded)
        return members[2], members[6]
    unpacker = _unpacker(encoded)
    time_ms = _before_changes(encoded, unpacker)[2]
    return time_ms, _one_by_one(encoded, unpacker)


def _unpacker(encoded: bytes) -> msgpack.Unpacker:
    return msgpack.Unpacker(
        io.BytesIO(encoded),
        read_size=min(1 << 16, len(encoded)),
        max_buffer_size=len(encoded),
        use_list=False,
        raw=False,
        strict_map_key=True,
    )


def _before_changes(encoded: bytes, unpacker: msgpack.Unpacker) -> list[Any]:
    """The six members before the changes."""
    try:
        if unpacker.read_array_header() != 8:
            raise ValueError("it has not eight members")
        return [unpacker.unpack() for _ in range(6)]
    except (ValueError, TypeError, msgpack.UnpackException) as error:
        raise unreadable(VersionId.of(encoded), error) from error


def _one_by_one(encoded: bytes, unpacker: msgpack.Unpacker) -> Iterator[tuple[Any, ...]]:
    try:
        count = unpacker.read_array_header()
        for row in islice(unpacker, count):
            count -= 1
            yield row
        if count:
            raise ValueError("it ends within its changes")
    except (ValueError, TypeError, msgpack.UnpackException) as error:
        raise unreadable(VersionId.of(encoded), error) from error


class _StoredChanges(Sequence[Change]):
    """The changes of a large version, made from its record whenever somebody goes through them: as objects a million
    of them would take half a gigabyte."""

    def __init__(self, encoded: bytes, count: int) -> None:
        self._encoded = encoded
        self._count = count

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Change]:
        time_ms, rows = rows_of(self._encoded)
        return (change_of(row, time_ms) for row in rows)

    @overload
    def __getitem__(self, at: int) -> Change: ...
    @overload
    def __getitem__(self, at: slice) -> Sequence[Change]: ...
    def __getitem__(self, at: int | slice) -> Change | Sequence[Change]:
        if isinstance(at, slice):
            start, stop, step = at.indices(self._count)
            return tuple(islice(self, start, stop, step)) if step > 0 else tuple(self)[at]
        number = range(self._count)[at]
        return next(islice(self, number, None))


def _unpack_large(
    encoded: bytes, take: Callable[[Iterator[tuple[Any, ...]], int], Sequence[Change]]
) -> tuple[Any, ...]:
    """As `unpack`, but `take` makes the changes of the rows, which come one by one."""
    unpacker = _unpacker(encoded)
    members = _before_changes(encoded, unpacker)
    changes = take(_one_by_one(encoded, unpacker), members[2])
    try:
        extra = unpacker.unpack()
    except (ValueError, TypeError, msgpack.UnpackException) as error:
        raise unreadable(VersionId.of(encoded), error) from error
    if unpacker.tell() != len(encoded):
        raise unreadable(VersionId.of(encoded), ValueError("something follows its members"))
    return (*members, changes, extra)


def unpack(encoded: bytes) -> tuple[Any, ...]:
    """The eight members of a version's stored form, nothing looked at yet. Raises `DamagedData`."""
    try:
        members: tuple[Any, ...] = msgpack.unpackb(encoded, use_list=False, raw=False, strict_map_key=True)
        _, _, _, _, _, _, _, _ = members
    except (ValueError, TypeError, msgpack.UnpackException) as error:
        raise unreadable(VersionId.of(encoded), error) from error
    return members


def decode_known(encoded: bytes, id: VersionId, under: str = "") -> Version:
    """A version that was decoded, and compared with its id, before: nothing is held to its type again. Of its
    changes those of a file or folder only, where `under` names one. Raises `DamagedData`."""
    below = under + "/"
    try:
        if len(encoded) < LARGE:
            parents, generation, time_ms, device, device_id, meta, rows, extra = unpack(encoded)
            if under:
                rows = rows_under(rows, under)
            changes = [change_of(row, time_ms) for row in rows]
        else:
            parents, generation, time_ms, device, device_id, meta, changes, extra = _unpack_large(
                encoded,
                lambda rows, time_ms: (
                    [change_of(row, time_ms) for row in rows if row[1] == under or row[1].startswith(below)]
                    if under
                    else _StoredChanges(encoded, sum(1 for _ in rows))
                ),
            )
        manifest, merge_rules = None, 0
        if extra:
            manifest = ManifestId(extra["manifest"]) if "manifest" in extra else None
            merge_rules = extra.get("merge", 0)
            extra = {key: value for key, value in extra.items() if key not in {"manifest", "merge"}}
        return Version(
            id,
            tuple([VersionId(parent) for parent in parents]),
            generation,
            time_ms,
            device,
            device_id.hex(),
            meta_of(meta),
            tuple(changes) if isinstance(changes, list) else changes,
            manifest,
            merge_rules,
            extra or _NOTHING,
        )
    except (ValueError, TypeError, KeyError, AttributeError, IndexError) as error:
        raise unreadable(id, error) from error


def meta_of(facts: dict[str, Any]) -> Meta:
    """The meta of a version that was decoded before."""
    if not facts:
        return NO_META
    said = facts.get
    tags = tuple(said("context_tags", ()))
    return Meta(said("note", ""), tags, said("chat_name", ""), said("reason", ""), said("actor", ""))


def rows_under(rows: tuple[tuple[Any, ...], ...], under: str) -> list[tuple[Any, ...]]:
    """Those of the stored changes, which are in the order of their paths, that are of a file or lie in a folder."""
    first = bisect_left(rows, under, key=_path)
    found = [row for row in rows[first : first + 1] if row[1] == under]
    start = bisect_left(rows, under + "/", lo=first, key=_path)
    return [*found, *rows[start : bisect_left(rows, under + "0", lo=start, key=_path)]]


_path = itemgetter(1)
_NOTHING: Final = MappingProxyType[str, Any]({})
_KINDS: Final = tuple(Kind)
_CHANGES: Final = tuple(ChangeKind)
_KIND_OF: Final = {int(kind): kind for kind in Kind}
_CHANGE_OF: Final = {int(change): change for change in ChangeKind}
"""For what others wrote: a number that is none has no place here."""


def change_of(row: tuple[Any, ...], time_ms: int) -> Change:
    """A change of a version that was decoded before."""
    path, archived = row[1], None
    if len(row) <= 3:
        entry = None
        if len(row) == 3:
            archived = row[2]
    else:
        entry = Entry(path, _KINDS[row[2]], row[3], ContentId(row[4]), time_ms + row[5])
        if len(row) > 6:
            archived = row[6]
    return Change(path, _CHANGES[row[0]], entry, archived_name(path, archived, time_ms))


def archived_name(path: str, stored: str | bool | None, time_ms: int) -> str | None:
    """The archive reference of a change, by what its row says of it: True stands for the default name."""
    return archive_name(path, time_ms) if stored is True else stored or None


def decode(encoded: bytes, *, id: VersionId | None = None) -> Version:
    """The version whose stored form this is. Raises `DamagedData` if it is none, or not the one asked for."""
    computed = VersionId.of(encoded)
    if id is not None and computed != id:
        raise DamagedData(
            f"version {str(id)[:12]} does not match its id",
            hint="run 'memsync verify' to see what else is damaged",
        )
    try:
        if len(encoded) < LARGE:
            parents, generation, time_ms, device, device_id, meta, rows, extra = unpack(encoded)
            changes: Sequence[Change] = tuple(_in_order(rows, time_ms))
        else:
            parents, generation, time_ms, device, device_id, meta, changes, extra = _unpack_large(
                encoded,
                lambda rows, time_ms: _StoredChanges(encoded, sum(1 for _ in _in_order(rows, time_ms))),
            )
        return Version(
            id=computed,
            parents=tuple(VersionId(_bytes(parent, ID_BYTES)) for parent in parents),
            generation=_integer(generation, 1, LAST_GENERATION),
            time_ms=_integer(time_ms, FIRST_TIME_MS, LAST_TIME_MS),
            device=_text(device),
            device_id=_bytes(device_id, 4).hex(),
            meta=_unpack_meta(meta),
            changes=changes,
            manifest=ManifestId(_bytes(extra["manifest"], ID_BYTES)) if "manifest" in extra else None,
            merge_rules=_integer(extra.get("merge", 0), 0, _MOST),
            extra={key: value for key, value in extra.items() if key not in {"manifest", "merge"}},
        )
    except (ValueError, TypeError, KeyError, AttributeError, IndexError) as error:
        raise unreadable(computed, error) from error


def _unpack_meta(facts: dict[str, Any]) -> Meta:
    """Raises `TypeError` for what is no such map."""
    if not isinstance(facts, dict):
        raise TypeError("the meta is no map")
    known: dict[str, Any] = {
        key: _text(facts[key]) for key in META_KEYS if key in facts and key != "context_tags"
    }
    if "context_tags" in facts:
        known["context_tags"] = tuple(_text(tag) for tag in _listed(facts["context_tags"]))
    return Meta(**known)


def unreadable(id: VersionId, error: Exception) -> DamagedData:
    return DamagedData(
        f"version {str(id)[:12]} cannot be read: {error}",
        hint="it may be written by a newer memsync; otherwise run 'memsync verify'",
    )


def _in_order(rows: Iterable[tuple[Any, ...]], time_ms: int) -> Iterator[Change]:
    """The changes of rows that nobody has looked at yet. Raises `ValueError`, `TypeError`, `IndexError`."""
    last: str | None = None
    for row in rows:
        change = _unpack_change(row, time_ms)
        if last is not None and change.path <= last:
            raise ValueError("its changes are not in the order of their paths, one for each")
        last = change.path
        yield change


def _unpack_change(row: tuple[Any, ...], time_ms: int) -> Change:
    change, path, archived = _CHANGE_OF[row[0]], row[1], None
    if not isinstance(path, str):
        raise TypeError("a path is no text")
    if len(row) <= 3:
        entry = None
        if len(row) == 3:
            archived = row[2]
    else:
        kind, size, content, offset = row[2:6]
        modified = time_ms + offset
        if type(size) is not int or not 0 <= size <= LAST_SIZE or not -_MOST <= modified <= _MOST:
            raise ValueError("a number is none, or out of its range")
        if type(modified) is not int or not isinstance(content, bytes) or len(content) != ID_BYTES:
            raise ValueError("a time or a content id is none")
        entry = Entry(path, _KIND_OF[kind], size, ContentId(content), modified)
        if len(row) > 6:
            archived = row[6]
    if archived is True:
        archived = archive_name(path, time_ms)
    return Change(path, change, entry, _text(archived) if archived else None)


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError("a text is none")
    return value


def _listed(value: object) -> list[object] | tuple[object, ...]:
    if not isinstance(value, list | tuple):
        raise TypeError("a list is none")
    return value


def _integer(value: object, least: int, most: int) -> int:
    if type(value) is not int or not least <= value <= most:
        raise ValueError("a number is none, or out of its range")
    return value


def _bytes(value: object, length: int) -> bytes:
    if not isinstance(value, bytes) or len(value) != length:
        raise ValueError(f"an id is not {length} bytes")
    return value
