"""Writing very many files at once: what a `Crew` does of a clone.

One of the crew is told where the records of some hundred contents begin. It reads and checks each, and writes the
file. What is no full copy in one record (a delta, a large file), and whatever goes wrong, it leaves to whoever has
the store, who does it again and says what is the matter.
"""

from __future__ import annotations

import marshal
import os
from collections import deque
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TYPE_CHECKING, Final

from memstore import files
from memstore.crew import Answer, Crew
from memstore.errors import MemsyncError
from memstore.ids import ContentId
from memstore.objects import encoding
from memstore.objects.catalogue import path_of, shortened
from memstore.objects.record import Encoding, RecordKind, parse_header
from memstore.worktree.found import Found, StatKey
from memstore.worktree.materialise import FreshTree

if TYPE_CHECKING:
    from memstore.manifest.version import Entry
    from memstore.repository import Repository

MANY: Final = 1000
"""Files from which on a crew is worth its start."""
JOB_FILES: Final = 256
_FIRST_READ: Final = 8 << 10
"""Bytes: most notes' records, in one read."""


def fill(repository: Repository, tree: FreshTree, entries: Iterable[Entry]) -> Iterator[Found]:
    """Write the entries' files below the tree's root; what lies there then, in their order. Raises what writing
    and reading raise."""
    coming = iter(entries)
    first = list(islice(coming, MANY))
    for entry in first if len(first) < MANY else ():
        yield _alone(repository, tree, entry)
    if len(first) < MANY:
        return
    waiting: deque[list[Entry]] = deque()
    with Crew(write_out) as crew:
        while first or (first := list(islice(coming, JOB_FILES))):
            group, first = first[:JOB_FILES], first[JOB_FILES:]
            if crew.full:
                yield from _taken(repository, tree, waiting.popleft(), crew.answer())
            crew.ask(_job(repository, tree.root, group))
            waiting.append(group)
        while crew.waiting:
            yield from _taken(repository, tree, waiting.popleft(), crew.answer())


def _alone(repository: Repository, tree: FreshTree, entry: Entry) -> Found:
    key = tree.write(entry.path, entry.kind, repository.stream(entry.content), entry.modified_ms)
    return Found(entry.path, int(entry.kind), *key)


def _job(repository: Repository, root: str, group: list[Entry]) -> bytes:
    catalogue = repository.catalogue
    starts = catalogue.starts([entry.content for entry in group])
    places = {}
    for place in {place for place, _ in starts.values()}:
        known = catalogue.place_name(place)
        places[place] = path_of(repository.state, *known) if known else ""
    nowhere = (0, 0)
    rows = [
        (path, int(kind), bytes(content), modified, *starts.get(shortened(content), nowhere))
        for path, kind, _, content, modified in group
    ]
    return marshal.dumps((root, places, rows))


def _taken(repository: Repository, tree: FreshTree, group: list[Entry], answer: Answer) -> Iterator[Found]:
    for entry, key in zip(group, marshal.loads(answer.facts), strict=True):
        if key is None:
            yield _alone(repository, tree, entry)
        else:
            yield Found(entry.path, int(entry.kind), *StatKey(*key))


# -- the crew's side -----------------------------------------------------------------------------------------


def write_out(job: bytes) -> Answer:
    """The work of one of the crew."""
    root, places, rows = marshal.loads(job)
    tree = FreshTree(root, shared=True)
    descriptors = {}
    done: list[tuple[int, ...] | None] = []
    try:
        for place, path in places.items():
            descriptors[place] = files.open_read(path)
        for path, kind, content, modified, place, offset in rows:
            key = None
            try:
                if place in descriptors:
                    raw = _content(descriptors[place], offset, content)
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
