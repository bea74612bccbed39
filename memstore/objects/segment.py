"""The open log: commits append to it, and one fsync makes each of them count.

A segment is a header and then groups: records, closed by a *commit record* that names HEAD and hashes all
bytes since the previous one. A group without a good commit record never happened. What follows the last
good one is a torn tail; a good one *after* a bad one is damage, and then nothing is ever cut. The hash begins
with the segment's name and the group's offset: a file in `Data/` may be a copy of a segment, and its groups,
met while searching through the stored bytes of a commit that a crash cut off, must not count here.

The header holds the file's own device and inode number. Who finds others there has a copied folder before
him: he reads the segment, but begins one of his own instead of appending.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from blake3 import blake3

from memstore import files
from memstore.errors import DamagedData
from memstore.ids import ID_BYTES, VersionId
from memstore.objects.file_header import FORMAT, NEWER, pack_file_header, parse_file_header
from memstore.objects.record import HEADER_LIMIT, Header, RecordKind, parse_header

MAGIC: Final = b"MSYNCSEG"
COMMIT_MAGIC: Final = bytes((RecordKind.COMMIT << 4,)) + b"COMMIT\r\n"
COMMIT_LENGTH: Final = len(COMMIT_MAGIC) + ID_BYTES + 8 + ID_BYTES
NO_HEAD: Final = VersionId(bytes(ID_BYTES))
"""What a commit record says of HEAD before the first version."""

_FLUSH_AT: Final = 1 << 20
_WRITE_BACK_AT: Final = 8 << 20
_READ_AHEAD: Final = 1 << 20


class Placed(NamedTuple):
    """A record and where it begins in its file."""

    header: Header
    offset: int


class Group(NamedTuple):
    """What one commit record closed; `Segment.records` reads it, for it may hold a million records."""

    start: int
    records: int
    """How many."""
    head: VersionId | None
    end: int
    """Offset just past the commit record."""


class Scan(NamedTuple):
    """What a segment holds from some offset on."""

    groups: list[Group]
    damaged: list[tuple[int, int]]
    """(start, end) of stretches before the last good commit record that do not verify."""
    end: int
    """Just past the last good commit record, or where the scan began."""
    size: int
    """Of the file; what lies between `end` and `size` is a torn tail."""


class Segment:
    """One segment file, open for reading and, if it is our own, for appending."""

    def __init__(self, path: str, *, writable: bool = True) -> None:
        """Open an existing segment, to append to it or (not `writable`) only to read it. Raises `DamagedData` for
        one of a newer format, `FileNotFoundError`."""
        self.path = path
        self.name = os.path.splitext(os.path.basename(path))[0]
        self._file = files.open_append(path, writable=writable)
        self.facts: dict[str, Any] = {}
        self.start = 0
        self.header_is_damaged = False
        """Then it is nobody's own, and its groups are searched for from the first byte on."""
        try:
            self.facts, self.start = parse_file_header(self.read_at(0, 4096), MAGIC, f"segment {self.name}")
        except DamagedData as error:
            if error.code == NEWER:
                self._file.close()
                raise
            self.header_is_damaged = True
        except BaseException:
            self._file.close()
            raise
        self._signed = str(self.facts.get("name", self.name))  # what group hashes begin with
        born = (self.facts.get("device"), self.facts.get("inode"))
        self.own = not self.header_is_damaged and born == files.identity(self._file.fileno())
        self.end = self.start
        self._pending: list[bytes | memoryview] = []
        self._pending_size = 0
        self._written = self._written_back = self.start
        self._hash = _group_hash(self._signed, self.start)

    @classmethod
    def create(cls, folder: str, store: bytes, head: VersionId | None) -> Segment:
        """A new, durable segment whose first group is empty and repeats HEAD."""
        name = os.urandom(8).hex()
        path = os.path.join(folder, name + ".seg")
        with files.new_file(folder, make=True) as (descriptor, temporary):
            device, inode = files.identity(descriptor)
            header = pack_file_header(
                MAGIC,
                {
                    "format": FORMAT,
                    "features": [],
                    "key": None,
                    "store": store,
                    "name": name,
                    "device": device,
                    "inode": inode,
                },
            )
            files.write_all(
                descriptor, header + _commit_record(head, 0, _group_hash(name, len(header))), temporary
            )
            files.sync(descriptor, temporary)
        files.publish(temporary, path)
        segment = cls(path)
        segment.end = segment._written = len(header) + COMMIT_LENGTH
        return segment

    def is_of(self, store: bytes) -> bool:
        """Whether it belongs to that store; one whose header is damaged is taken to."""
        return self.header_is_damaged or self.facts.get("store") == store

    def close(self) -> None:
        self._file.close()

    def read_at(self, offset: int, length: int) -> bytes:
        return files.read_at(self._file.fileno(), offset, length)

    def size(self) -> int:
        return os.fstat(self._file.fileno()).st_size

    # -- appending -----------------------------------------------------------------------------------------

    def begin(self, end: int) -> None:
        """Append from `end`, the offset just past the last good commit record, which is the file's size."""
        self.end = self._written = self._written_back = end
        self._pending, self._pending_size = [], 0
        self._hash = _group_hash(self._signed, end)
        self._file.seek(end)

    def append(self, header: bytes, payload: bytes | memoryview) -> int:
        """Add a record to the open group; its offset. Nothing counts before `commit`."""
        offset = self._written + self._pending_size
        if (
            len(payload) >= _FLUSH_AT
        ):  # as it is: copying it together with others would cost more than a write
            self._flush(header)
            self._write(payload)
            return offset
        self._pending += (header, payload)
        self._pending_size += len(header) + len(payload)
        if self._pending_size >= _FLUSH_AT:
            self._flush()
        return offset

    def commit(self, head: VersionId | None) -> int:
        """Close the group: the one barrier. When this returns, its records and HEAD survive a power cut."""
        covered = b"".join(self._pending)
        self._hash.update(covered)
        length = self._written + len(covered) - self.end
        data = covered + _commit_record(head, length, self._hash)
        files.write_all(self._file.fileno(), data, self.path)
        files.sync(self._file.fileno(), self.path)
        self._written += len(data)
        self.end = self._written
        self._pending, self._pending_size = [], 0
        self._hash = _group_hash(self._signed, self.end)
        return self.end

    def rollback(self) -> None:
        """Forget the open group; the bytes were ours and never counted."""
        self._pending, self._pending_size = [], 0
        self._hash = _group_hash(self._signed, self.end)
        if self._written != self.end or self.size() != self.end:
            files.truncate(self._file.fileno(), self.end, self.path)
            self._written = self._written_back = self.end
        self._file.seek(self.end)

    def _flush(self, more: bytes = b"") -> None:
        """Write what is pending, and `more` after it."""
        data = b"".join((*self._pending, more))
        self._pending, self._pending_size = [], 0
        self._write(data)

    def _write(self, data: bytes | memoryview) -> None:
        self._hash.update(data)
        files.write_all(self._file.fileno(), data, self.path)
        self._written += len(data)
        if self._written - self._written_back >= _WRITE_BACK_AT:
            # A disk that idles now is one to wait for later.
            files.begin_writing_back(self._file.fileno(), self._written_back, self._written)
            self._written_back = self._written

    # -- reading back --------------------------------------------------------------------------------------

    def scan(self, start: int | None = None) -> Scan:
        """Every good group from `start` (the beginning, or a known end of a group) on."""
        at = self.start if start is None else start
        size = self.size()
        groups: list[Group] = []
        damaged: list[tuple[int, int]] = []
        end = at
        while at < size:
            group = self._group(at, size)
            if group is None:
                group = self._next_good(at, size)
                if group is None:
                    break
                damaged.append((at, group.start))
            groups.append(group)
            at = end = group.end
        return Scan(groups, damaged, end, size)

    def ends_at(self, offset: int) -> bool:
        """Whether a group ends there, or the first one would begin."""
        last = offset - COMMIT_LENGTH
        if last < self.start:
            return offset == self.start
        return self.read_at(last, len(COMMIT_MAGIC)) == COMMIT_MAGIC

    def salvage(self, start: int, end: int) -> Iterator[Placed]:
        """Records in a stretch that does not verify whose headers still parse. Nothing of them is proven."""
        at = start
        while at < end:
            window = self.read_at(at, HEADER_LIMIT)
            if window.startswith(COMMIT_MAGIC):
                at += COMMIT_LENGTH
                continue
            try:
                header = parse_header(window, 0)
                fits = at + header.length + header.stored <= end
            except DamagedData:
                fits = False
            if not fits or header.kind in (RecordKind.GROUP, RecordKind.INDEX):
                at = next(self._find_commits(at + 1, end), end)  # the next group can be read again
                continue
            yield Placed(header, at)
            at += header.length + header.stored

    def make_durable(self, last: Group) -> None:
        """What another process left here may be written and not synced yet: it was killed in between.

        Or after its sync was refused; then the system shows the bytes, takes them for written, and another
        sync would succeed without them. So the last group is written anew, in its place. Any before it was
        followed by a commit of somebody who had come by here.
        """
        if self.own:
            self._file.seek(last.start)
            for offset in range(last.start, last.end, _READ_AHEAD):
                data = self.read_at(offset, min(_READ_AHEAD, last.end - offset))
                files.write_all(self._file.fileno(), data, self.path)
        files.sync(self._file.fileno(), self.path)
        files.sync_dir(os.path.dirname(self.path))

    def cut_torn_tail(self, scan: Scan, folder: str) -> str | None:
        """Move what follows the last good commit record to a file in `folder`, and cut it off here."""
        if scan.end >= scan.size:
            return None
        files.make_dir(folder)
        kept = os.path.join(folder, f"{self.name}-{scan.end}-{os.urandom(4).hex()}")
        with files.new_file(folder) as (descriptor, temporary):
            for offset in range(scan.end, scan.size, _READ_AHEAD):
                data = self.read_at(offset, min(_READ_AHEAD, scan.size - offset))
                files.write_all(descriptor, data, temporary)
            files.sync(descriptor, temporary)
        files.publish(temporary, kept)
        files.truncate(self._file.fileno(), scan.end, self.path)
        files.sync(self._file.fileno(), self.path)
        return kept

    def records(self, group: Group) -> Iterator[Placed]:
        """The records of a good group, in their order."""
        return self._parsed(group.start, group.end - COMMIT_LENGTH)

    def _group(self, start: int, size: int) -> Group | None:
        """The group that begins at `start`, if it parses and its commit record's hash holds."""
        count, at = 0, start
        try:
            for header, offset in self._parsed(start, size):
                if header.kind in (RecordKind.GROUP, RecordKind.INDEX):
                    return None
                count, at = count + 1, offset + header.length + header.stored
        except DamagedData:
            return None
        return self._closed(start, at, count) if at < size else None

    def _parsed(self, start: int, end: int) -> Iterator[Placed]:
        """The records from `start` on, up to the next commit record, or to `end`. Raises `DamagedData`."""
        at = start
        window, window_at = b"", start
        while at < end:
            if at + max(HEADER_LIMIT, COMMIT_LENGTH) > window_at + len(window):
                window, window_at = self.read_at(at, 1 << 16), at
            if window.startswith(COMMIT_MAGIC, at - window_at):
                return
            header = parse_header(window, at - window_at)
            yield Placed(header, at)
            at += header.length + header.stored

    def _closed(self, start: int, at: int, count: int) -> Group | None:
        record = self.read_at(at, COMMIT_LENGTH)
        if len(record) < COMMIT_LENGTH:
            return None
        head, length = _parse_commit(record)
        if length != at - start or not self._hash_holds(start, at, record):
            return None
        return Group(start, count, head, at + COMMIT_LENGTH)

    def _hash_holds(self, start: int, at: int, record: bytes) -> bool:
        running = _group_hash(self._signed, start)
        for offset in range(start, at, _READ_AHEAD):
            running.update(self.read_at(offset, min(_READ_AHEAD, at - offset)))
        running.update(record[:-ID_BYTES])
        return running.digest() == record[-ID_BYTES:]

    def _next_good(self, start: int, size: int) -> Group | None:
        """The first good group behind a stretch that does not verify, found by its commit record's magic."""
        for at in self._find_commits(start, size):
            record = self.read_at(at, COMMIT_LENGTH)
            if len(record) < COMMIT_LENGTH:
                return None
            begin = at - _parse_commit(record)[1]
            if begin < start:
                continue
            group = self._group(begin, size)
            if group is not None and group.end == at + COMMIT_LENGTH:
                return group
        return None

    def _find_commits(self, start: int, size: int) -> Iterator[int]:
        overlap = len(COMMIT_MAGIC) - 1
        for offset in range(start, size, _READ_AHEAD):
            window = self.read_at(offset, _READ_AHEAD + overlap)
            at = window.find(COMMIT_MAGIC)
            while at >= 0:
                yield offset + at
                at = window.find(COMMIT_MAGIC, at + 1)


def _group_hash(name: str, start: int) -> blake3:
    """The hash that a group's bytes are fed to: it begins with where the group stands."""
    return blake3(name.encode() + struct.pack("<Q", start))


def _commit_record(head: VersionId | None, length: int, running: blake3) -> bytes:
    """Magic, HEAD, length of the group's records (u64, little-endian), the hash of them and of all this."""
    record = COMMIT_MAGIC + (head or NO_HEAD) + struct.pack("<Q", length)
    running.update(record)
    return record + running.digest()


def _parse_commit(record: bytes) -> tuple[VersionId | None, int]:
    start = len(COMMIT_MAGIC)
    head = VersionId(record[start : start + ID_BYTES])
    return (None if head == NO_HEAD else head), struct.unpack_from("<Q", record, start + ID_BYTES)[0]
