"""Writing very many files at once: what a `Crew` does of a clone.

One of the crew is told where the records of some hundred contents begin. It reads and checks each, and writes the
file. What is no full copy in one record (a delta, a large file), and whatever goes wrong, it leaves to whoever has
the store, who does it again and says what is the matter.
"""

from __future__ import annotations

import marshal
import os
from collections import deque
from collections.abc import Iterable, Iterator, Set
from itertools import islice
from typing import TYPE_CHECKING, Final

from memstore import files
from memstore.crew import Answer, Crew
from memstore.errors import MemsyncError
from memstore.ids import ContentId
from memstore.objects import encoding
from memstore.objects.catalogue import path_of
from memstore.objects.record import Encoding, RecordKind, parse_header
from memstore.worktree.found import StatKey
from memstore.worktree.materialise import FreshTree

if TYPE_CHECKING:
    from memstore.repository import Repository

MANY: Final = 1000
"""Files from which on a crew is worth its start."""
JOB_FILES: Final = 256
_FIRST_READ: Final = 8 << 10
"""Bytes: most notes' records, in one read."""


Row = tuple[str, int, int, bytes, int]
"""path, kind, size, content, modified: an entry of a manifest, as plain as SQLite takes and gives it."""
Key = tuple[int, int, int, int] | tuple[None, None, None, None]
"""A `StatKey`; four times None for a file that was not written."""
_UNWRITTEN: Final = (None, None, None, None)


def fill(
    repository: Repository, tree: FreshTree, rows: Iterable[Row], unwanted: Set[bytes]
) -> Iterator[tuple[Row, Key]]:
    """Write these files below the tree's root, but for those with an unwanted content; each row in its turn, with
    what lies there then. Raises what writing and reading raise."""
    coming = iter(rows)
    first = list(islice(coming, MANY))
    if len(first) < MANY:
        for row in first:
            yield row, _UNWRITTEN if row[3] in unwanted else _alone(repository, tree, row)
        return
    waiting: deque[list[Row]] = deque()
    with Crew(write_out) as crew:
        while first or (first := list(islice(coming, JOB_FILES))):
            group, first = first[:JOB_FILES], first[JOB_FILES:]
            if crew.full:
                yield from _taken(repository, tree, waiting.popleft(), crew.answer(), unwanted)
            crew.ask(_job(repository, tree.root, group, unwanted))
            waiting.append(group)
        while crew.waiting:
            yield from _taken(repository, tree, waiting.popleft(), crew.answer(), unwanted)


def _alone(repository: Repository, tree: FreshTree, row: Row) -> StatKey:
    path, kind, _, content, modified = row
    return tree.write(path, kind, repository.stream(ContentId(content)), modified)


def _job(repository: Repository, root: str, group: list[Row], unwanted: Set[bytes]) -> bytes:
    catalogue = repository.catalogue
    if unwanted:
        group = [row for row in group if row[3] not in unwanted]
    starts = catalogue.starts([row[3] for row in group])
    places = {}
    for place in {place for place, _ in starts}:
        known = catalogue.place_name(place)
        places[place] = path_of(repository.state, *known) if known else ""
    rows = [(path, kind, content, modified) for path, kind, _, content, modified in group]
    return marshal.dumps((root, places, rows, starts))


def _taken(
    repository: Repository, tree: FreshTree, group: list[Row], answer: Answer, unwanted: Set[bytes]
) -> Iterator[tuple[Row, Key]]:
    keys = iter(marshal.loads(answer.facts))
    for row in group:
        yield row, _UNWRITTEN if row[3] in unwanted else next(keys) or _alone(repository, tree, row)


# -- the crew's side -----------------------------------------------------------------------------------------


def write_out(job: bytes) -> Answer:
    """The work of one of the crew."""
    root, places, rows, starts = marshal.loads(job)
    tree = FreshTree(root, shared=True)
    descriptors = {}
    done: list[tuple[int, ...] | None] = []
    try:
        for place, path in places.items():
            descriptors[place] = files.open_read(path)
        for (path, kind, content, modified), (place, offset) in zip(rows, starts, strict=True):
            key = None
            try:
                raw = _content(descriptors[place], offset, content) if place in descriptors else None
                if raw is not None:
                    key = tuple(tree.write(path, kind, (raw,), modified))
            except (MemsyncError, OSError):
                key = None
            done.append(key)
    except OSError:  # a file has moved
        done += [None] * (len(rows) - len(done))
    finally:
        for descriptor in descriptors.values():
            os.close(descriptor)
    return Answer(marshal.dumps(done), b"")


def _content(descriptor: int, offset: int, content: bytes) -> bytes | None:
    """The plain bytes of the record there, if it is a full copy of that content. Raises `DamagedData`."""
    data = files.read_at(descriptor, offset, _FIRST_READ)
    header = parse_header(data, 0)
    if header.id != content or header.kind != RecordKind.CONTENT or header.encoding == Encoding.DELTA:
        return None
    end = header.length + header.stored
    if end > len(data):
        data += files.read_at(descriptor, offset + len(data), end - len(data))
    raw = encoding.decode(header.encoding, data[header.length : end], header.raw)
    return raw if ContentId.of(raw) == content else None
