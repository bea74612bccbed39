"""Places: the segment and pack files that the catalogue points into, kept open while they are read.

The catalogue says where a record begins and little else; what the record is, its own header says. So looking
an object up is one query and one small read.
"""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from memstore import files
from memstore.errors import DamagedData
from memstore.ids import VersionId
from memstore.objects import encoding
from memstore.objects.record import HEADER_LIMIT, Encoding, Header, RecordKind, parse_header, read_varint

_PLAIN_VERSION: Final = bytes((RecordKind.VERSION << 4 | Encoding.RAW,))
KEPT_GROUPS: Final = 16 << 20
"""Plain bytes of metadata groups that are kept decoded: whoever reads versions here and there meets the same
few groups again."""


class PlaceKind:
    SEGMENT: Final = 0
    PACK: Final = 1


def path_of(folder: str, name: str, kind: int) -> str:
    """Where a place's file lies in `.memsync`."""
    if kind == PlaceKind.PACK:
        return os.path.join(folder, "packs", name + ".pack")
    return os.path.join(folder, "segments", name + ".seg")


class PlaceFiles:
    """The files of one store by the catalogue's numbers. May be used from several threads."""

    def __init__(self, folder: str, name_of: Callable[[int], tuple[str, int] | None]) -> None:
        """`name_of` gives (name, kind) of a place, None if it is not known."""
        self._folder = folder
        self._name_of = name_of
        self._open: dict[int, int] = {}
        self._groups: OrderedDict[tuple[int, int], bytes] = OrderedDict()
        self._kept = 0
        self._last: tuple[tuple[int, int], bytes] = ((-1, -1), b"")
        """The group that was read last, and where it lies."""
        self._lock = threading.Lock()

    def close(self) -> None:
        """Let go of the files; they are opened again when needed."""
        with self._lock:
            for descriptor in self._open.values():
                os.close(descriptor)
            self._open.clear()
            self._groups.clear()
            self._kept, self._last = 0, ((-1, -1), b"")

    def read(self, place: int, offset: int, length: int) -> bytes:
        """A stretch of a file as it is; short at its end. Raises `FileNotFoundError` if it is gone."""
        descriptor = self._open.get(place)
        return files.read_at(self._descriptor(place) if descriptor is None else descriptor, offset, length)

    def header(self, place: int, offset: int, inner: int) -> Header:
        """The header of a record. Raises `DamagedData` if none is there."""
        if inner >= 0:
            return parse_header(self._group(place, offset), inner)
        return parse_header(self.read(place, offset, HEADER_LIMIT), 0)

    def in_group(self, place: int, offset: int, inner: int) -> tuple[Header, bytes]:
        """A metadata record of a pack: its header, and its payload as stored."""
        raw = self._group(place, offset)
        header = parse_header(raw, inner)
        start = inner + header.length
        return header, raw[start : start + header.stored]

    def version_record(self, id: VersionId, place: int, offset: int, inner: int) -> bytes:
        """A version's encoded bytes, not compared with its id yet. Raises `DamagedData` if none are there."""
        if inner >= 0:
            plain = self._plain_version(place, offset, inner)
            if plain is not None:
                return plain
            header, payload = self.in_group(place, offset, inner)
        else:
            header = self.header(place, offset, inner)
            payload = self.read(place, offset + header.length, header.stored)
        if header.kind != RecordKind.VERSION:
            raise DamagedData(
                f"version {str(id)[:12]} is not where it should be", hint="run 'memsync verify'"
            )
        return encoding.decode(header.encoding, payload, header.raw)

    def _plain_version(self, place: int, offset: int, inner: int) -> bytes | None:
        """The record, if it is what nearly all in a group are: a version, stored as it is. Whoever reads a long
        history reads very many."""
        raw = self._group(place, offset)
        if raw[inner : inner + 1] != _PLAIN_VERSION:
            return None
        length, at = read_varint(raw, inner + 1)
        stored, at = read_varint(raw, at)
        record = raw[at : at + stored]
        return record if len(record) == stored == length else None

    def _group(self, place: int, offset: int) -> bytes:
        """The plain bytes of the group at that offset."""
        where = (place, offset)
        last, raw = self._last
        if last == where:  # whoever reads history reads one group after the other
            return raw
        with self._lock:
            known = self._groups.get(where)
            if known is not None:
                self._groups.move_to_end(where)
                self._last = where, known
                return known
        header = parse_header(self.read(place, offset, HEADER_LIMIT), 0)
        if header.kind != RecordKind.GROUP:
            raise DamagedData("no metadata group begins where one should", hint="run 'memsync verify'")
        payload = self.read(place, offset + header.length, header.stored)
        raw = encoding.decode(header.encoding, payload, header.raw)
        with self._lock:
            if where not in self._groups:
                self._groups[where] = raw
                self._kept += len(raw)
            while self._kept > KEPT_GROUPS and len(self._groups) > 1:
                self._kept -= len(self._groups.popitem(last=False)[1])
            self._last = where, raw
        return raw

    def _descriptor(self, place: int) -> int:
        with self._lock:
            descriptor = self._open.get(place)
            if descriptor is None:
                known = self._name_of(place)
                if known is None:
                    raise FileNotFoundError(f"place {place}")
                descriptor = self._open[place] = files.open_read(path_of(self._folder, *known))
            return descriptor


__all__ = ["PlaceFiles", "PlaceKind", "path_of"]
