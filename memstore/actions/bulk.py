"""Very many files at once: what a `Crew` does of an ingest, and what is handed to it and back.

One of the crew is given the paths of some hundred small files with what the scan saw of them. It reads, hashes
and encodes each, and gives back a column of facts and, in one string, the records to append. It needs neither
catalogue nor store: a file whose old content is a base for a delta it only hashes, and where that tells a change
it leaves the file to whoever has the store.
"""

from __future__ import annotations

import marshal
import os
from collections.abc import Container, Iterable, Iterator, Sequence
from typing import Final, NamedTuple

from blake3 import blake3

from memstore import files
from memstore.actions.candidate import reason
from memstore.crew import Answer
from memstore.errors import DiskTrouble
from memstore.ids import ContentId
from memstore.manifest.version import Kind
from memstore.objects.dictionary import LONGEST_TEXT, Dictionary, Text, may_lean
from memstore.objects.encoding import decode, encode_quickly
from memstore.objects.record import HEADER_LIMIT, RecordKind, pack_header, parse_header
from memstore.read_ahead import read_ahead
from memstore.suspects import look
from memstore.withheld import client_of
from memstore.worktree import reading
from memstore.worktree.found import Found

READ: Final = 0
"""The content is new to the path, and its record is in the body."""
AS_BEFORE: Final = 1
"""The content is the old one."""
CHANGED: Final = 2
"""There was another content before: not encoded."""
UNREADABLE: Final = 3

_SYMLINK: Final = int(Kind.SYMLINK)


class Taken(NamedTuple):
    """What one of the crew found of one file."""

    what: int
    """One of the constants above."""
    content: ContentId
    raw: int
    """Bytes of the content."""
    record: int
    """Bytes of its record in the body; 0 where there is none."""
    stat: tuple[int, int, int, int] | None
    """A `StatKey`, where it is another than the scan saw."""
    reason: str = ""
    """Why it could not be read."""
    client: str | None = None
    """Whose sign-in the content is; see `withheld.client_of`."""
    suspects: tuple[tuple[int, str], ...] = ()
    """Line and kind of what looks like a credential."""


def pack_job(
    data: str,
    wanted: Iterable[tuple[Found, bytes | None]],
    looking: bool = False,
    leaning: tuple[bytes, bytes] | None = None,
) -> bytes:
    """`data` is the data folder; each file comes with the content id that it had before, if it had one. `looking`
    is for credentials. `leaning` is the dictionary (id, plain bytes) on which small texts are to lean; who had the
    bytes before needs only the id."""
    return marshal.dumps((data, [(*found, old) for found, old in wanted], looking, leaning))


def unpack_answer(facts: bytes) -> list[Taken]:
    """In the order of the job."""
    return [Taken(row[0], ContentId(row[1]), *row[2:]) for row in marshal.loads(facts)]


def take_in(job: bytes) -> Answer:
    """The work of one of the crew."""
    data, wanted, looking, leaning = marshal.loads(job)
    below = None if leaning is None else _dictionary(*leaning)
    folder = os.path.join(data, "")
    facts: list[tuple[object, ...]] = []
    records: list[bytes] = []
    read_ahead([folder + row[0] for row in wanted if row[1] != _SYMLINK])
    for path, kind, size, mtime, ctime, inode, old in wanted:
        seen = (size, mtime, ctime, inode)
        place = folder + path
        try:
            raw = None if kind == _SYMLINK else _read_as_seen(place, seen)
            stat: Sequence[int] = seen
            if raw is None:
                read = reading.read_link if kind == _SYMLINK else reading.read_small
                raw, stat = read(place)
        except (OSError, DiskTrouble) as error:
            facts.append((UNREADABLE, b"", 0, 0, None, reason(error)))
            continue
        content = blake3(raw).digest()
        other = None if stat == seen else tuple(stat)
        if old is not None:
            facts.append((AS_BEFORE if content == old else CHANGED, content, len(raw), 0, other))
            continue
        how, payload, base = encode_quickly(raw, below)
        header = pack_header(RecordKind.CONTENT, how, content, len(raw), len(payload), base, len(base) // 8)
        records += (header, payload)
        row = (READ, content, len(raw), len(header) + len(payload), other)
        client = client_of(raw)
        suspects = look(raw) if looking and kind != _SYMLINK else ()
        if client is not None or suspects:
            facts.append((*row, "", client, tuple((suspect.line, suspect.kind) for suspect in suspects)))
        else:
            facts.append(row)
    return Answer(marshal.dumps(facts), b"".join(records))


_known: list[Dictionary] = []
"""The last dictionary that this process was given."""


def _dictionary(id: bytes, content: bytes) -> Dictionary | None:
    """By its id and its bytes, or by its id alone where these came before."""
    if content:
        _known[:] = [Dictionary(id, content)]
    return next((known for known in _known if known.id == id), None)


def texts(answer: Answer, taken: Iterable[Taken], wanted: Container[ContentId]) -> Iterator[Text]:
    """The small texts in an answer, of contents that are wanted."""
    at = 0
    for row in taken:
        if row.content in wanted and 0 < row.raw <= LONGEST_TEXT and row.record:
            header = parse_header(answer.body[at : at + HEADER_LIMIT], 0)
            start = at + header.length
            raw = decode(header.encoding, answer.body[start : start + header.stored], header.raw)
            if may_lean(raw):
                yield Text(row.content.key, raw)
        at += row.record


def _read_as_seen(place: str, seen: tuple[int, int, int, int]) -> bytes | None:
    """The bytes of a file that is still as the scan saw it, by half the calls of `read_small`; None if it is not,
    or not for sure."""
    try:
        descriptor = files.open_read(place)
    except (OSError, DiskTrouble):
        return None  # read_small finds out what is the matter
    try:
        content = os.read(descriptor, seen[0] + 1)
        after = os.fstat(descriptor)
    except OSError:
        return None
    finally:
        os.close(descriptor)
    now = (after.st_size, after.st_mtime_ns, after.st_ctime_ns, after.st_ino)
    return content if now == seen and len(content) == seen[0] else None
