"""What a damaged pack or segment still holds: records whose headers parse, and which of them prove themselves.

An id is a hash, so a record of a damaged file is worth what it decodes to, and nothing else is asked of it.
Where the walk from record to record breaks off (a flipped length, bytes that are gone), the next record is
searched for: three headers in a row, each where the one before it ends, are no accident.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from typing import Final, NamedTuple

from memstore import files
from memstore.errors import DamagedData
from memstore.objects import encoding
from memstore.objects.file_header import parse_file_header
from memstore.objects.pack import MAGIC as PACK_MAGIC
from memstore.objects.pack import TRAILER_LENGTH, read_group, read_tail
from memstore.objects.record import HEADER_LIMIT, Header, RecordKind, parse_header
from memstore.objects.segment import COMMIT_LENGTH, COMMIT_MAGIC, MAGIC

_WINDOW: Final = 1 << 20
_FIRST_BYTES: Final = re.compile(rb"[\x10-\x12\x20\x30\x31\x40-\x42\x50\x70\x71\x80\x81]")
"""What a record that memsync writes can begin with."""
_IN_A_ROW: Final = 3


class Remnant(NamedTuple):
    """A record that a damaged file may hold. Nothing of it is proven."""

    header: Header
    wreck: Wreck
    at: int
    """Where the payload begins in the file; where its group does, for a record inside one."""
    inside: bytes | None
    """The payload, for a record inside a group."""
    trusted: bool
    """It lies under a hash that holds: a version needs no other witness."""

    def payload(self) -> bytes:
        return self.wreck.read_at(self.at, self.header.stored) if self.inside is None else self.inside


class Wreck:
    """A damaged file, open for reading."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._descriptor = files.open_read(path)
        self.size = os.fstat(self._descriptor).st_size

    def close(self) -> None:
        os.close(self._descriptor)

    def read_at(self, offset: int, length: int) -> bytes:
        return files.read_at(self._descriptor, offset, length)

    def is_of(self, store: bytes) -> bool:
        """Whether its header says that it is that store's; one that says nothing is taken to be."""
        start = self.read_at(0, 4096)
        for magic in (PACK_MAGIC, MAGIC):
            try:
                return parse_file_header(start, magic, "")[0].get("store") == store
            except DamagedData:
                continue
        return True

    def remnants(self) -> Iterator[Remnant]:
        """All that can be made out, in the order in which it lies."""
        tail_holds = self._tail_holds()
        at = self._start()
        while at < self.size:
            window = self.read_at(at, HEADER_LIMIT)
            if window.startswith(COMMIT_MAGIC):
                at += COMMIT_LENGTH
                continue
            header = self._header(at, window)
            if header is None:
                at = self._next(at + 1)
                continue
            yield from self._records(header, at, tail_holds)
            end = at + header.length + header.stored
            at = end if self._row(end, 1) else self._next(at + 1)

    # -- inside --------------------------------------------------------------------------------------------

    def _records(self, header: Header, at: int, trusted: bool) -> Iterator[Remnant]:
        start = at + header.length
        if header.kind == RecordKind.INDEX:
            return
        if header.kind != RecordKind.GROUP:
            yield Remnant(header, self, start, None, False)
            return
        try:
            raw = encoding.decode(header.encoding, self.read_at(start, header.stored), header.raw)
            for record in read_group(raw, at):
                yield Remnant(record.header, self, at, record.payload, trusted)
        except DamagedData:
            return

    def _start(self) -> int:
        start = self.read_at(0, 4096)
        for magic in (PACK_MAGIC, MAGIC):
            try:
                return parse_file_header(start, magic, "")[1]
            except DamagedData:
                continue
        return 0 if self._row(0, 1) else self._next(0)

    def _tail_holds(self) -> bool:
        try:
            read_tail(self.read_at, self.size, "")
        except DamagedData:
            return False
        return True

    def _header(self, at: int, window: bytes | None = None) -> Header | None:
        try:
            header = parse_header(self.read_at(at, HEADER_LIMIT) if window is None else window, 0)
        except DamagedData:
            return None
        return header if at + header.length + header.stored <= self.size else None

    def _row(self, at: int, number: int) -> bool:
        """Whether that many records follow one another from there, or fewer and then a proper end."""
        for _ in range(number):
            if at in (self.size, self.size - TRAILER_LENGTH):
                return True
            window = self.read_at(at, HEADER_LIMIT)
            if window.startswith(COMMIT_MAGIC):
                return True
            header = self._header(at, window)
            if header is None:
                return False
            at += header.length + header.stored
        return True

    def _next(self, at: int) -> int:
        """Where the next record or commit record begins; the file's size if there is none."""
        while at < self.size:
            window = self.read_at(at, _WINDOW)
            commit = window.find(COMMIT_MAGIC)
            for found in _FIRST_BYTES.finditer(window):
                if 0 <= commit < found.start():
                    break
                if self._row(at + found.start(), _IN_A_ROW):
                    return at + found.start()
            if commit >= 0:
                return at + commit
            at += max(1, len(window) - len(COMMIT_MAGIC) + 1)
        return self.size
