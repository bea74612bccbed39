"""Writing very many files at once: what a `Crew` does of a clone.

One of the crew is told where the records of some hundred contents begin. It reads and checks each, and writes the
file. What is no full copy in one record (a delta, a large file), and whatever goes wrong, it leaves to whoever has
the store, who does it again and says what is the matter.
"""

from __future__ import annotations

import contextlib
import marshal
import os
from collections import deque
from collections.abc import Iterable, Iterator, Set
from itertools import islice
from typing import TYPE_CHECKING, Final, Self

from memstore import files
from memstore.crew import Answer, Crew
from memstore.errors import BadInput, Conflict, DiskTrouble, MemsyncError
from memstore.ids import ContentId
from memstore.objects import encoding
from memstore.objects.catalogue import path_of
from memstore.objects.record import HEADER_LIMIT, Encoding, RecordKind, parse_header
from memstore.worktree.materialise import FreshTree

if TYPE_CHECKING:
    from memstore.repository import Repository

MANY: Final = 1000
"""Files from which on a crew is worth its start."""
JOB_FILES: Final = 256
_FIRST_READ: Final = 8 << 10
"""Bytes: most notes' records, in one read."""
_AHEAD: Final = 256 << 10
"""Bytes read at once where a record begins within what was read before: then they are read in their order."""


Row = tuple[str, int, int, bytes, int]
"""path, kind, size, content, modified: an entry of a manifest, as plain as SQLite takes and gives it."""
Key = tuple[int, int, int, int] | tuple[None, None, None, None]
"""A `StatKey`; four times None for a file that was not written."""
_UNWRITTEN: Final = (None, None, None, None)


def fill(
    repository: Repository,
    tree: FreshTree,
    count: int,
    rows: Iterable[Row],
    unwanted: Set[bytes],
    left: dict[str, MemsyncError],
) -> Iterator[tuple[Row, Key]]:
    """Write these files, `count` of them, below the tree's root, but for those with an unwanted content; each row in
    its turn, with what lies there then. Paths that this disk can't hold come to `left`, each with its reason. Raises
    what else writing and reading raise."""
    coming = iter(rows)
    if count < MANY:
        for row in coming:
            yield row, _UNWRITTEN if row[3] in unwanted else _alone(repository, tree, row, left)
        return
    waiting: deque[list[Row]] = deque()
    with Crew(write_out) as crew:
        while group := list(islice(coming, JOB_FILES)):
            if crew.full:
                yield from _taken(repository, tree, waiting.popleft(), crew.answer(), unwanted, left)
            crew.ask(_job(repository, tree.root, group, unwanted))
            waiting.append(group)
        while crew.waiting:
            yield from _taken(repository, tree, waiting.popleft(), crew.answer(), unwanted, left)


def _alone(repository: Repository, tree: FreshTree, row: Row, left: dict[str, MemsyncError]) -> Key:
    path, kind, _, content, modified = row
    try:
        return tree.write(path, kind, repository.stream(ContentId(content)), modified)
    except (BadInput, Conflict) as error:
        left[path] = error
    except DiskTrouble as error:
        if error.code != files.BAD_NAME:
            raise
        left[path] = error
    return _UNWRITTEN


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
    repository: Repository,
    tree: FreshTree,
    group: list[Row],
    answer: Answer,
    unwanted: Set[bytes],
    left: dict[str, MemsyncError],
) -> Iterator[tuple[Row, Key]]:
    keys = iter(marshal.loads(answer.facts))
    for row in group:
        yield row, _UNWRITTEN if row[3] in unwanted else next(keys) or _alone(repository, tree, row, left)


# -- the crew's side -----------------------------------------------------------------------------------------


def write_out(job: bytes) -> Answer:
    """The work of one of the crew."""
    root, places, rows, starts = marshal.loads(job)
    tree = FreshTree(root, shared=True)
    done: list[tuple[int, ...] | None] = []
    with contextlib.ExitStack() as held:
        sources = {place: held.enter_context(_Source(path)) for place, path in places.items()}
        for (path, kind, content, modified), (place, offset) in zip(rows, starts, strict=True):
            try:
                raw = sources[place].content(offset, content)
                done.append(None if raw is None else tree.write(path, kind, (raw,), modified))
            except (MemsyncError, OSError):
                done.append(None)
    return Answer(marshal.dumps([None if key is None else tuple(key) for key in done]), b"")


class _Source:
    """A file of the store. What is asked for mostly lies together, and is then read ahead."""

    def __init__(self, path: str) -> None:
        self._descriptor: int | None = None
        with contextlib.suppress(OSError):  # it has moved, or there is none
            self._descriptor = files.open_read(path)
        self._start = 0
        self._data = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)

    def content(self, offset: int, content: bytes) -> bytes | None:
        """The plain bytes of the record there, if it is a full copy of that content. Raises `DamagedData`."""
        at = self._reach(offset, HEADER_LIMIT)
        header = parse_header(self._data, at)
        if header.id != content or header.kind != RecordKind.CONTENT or header.encoding == Encoding.DELTA:
            return None
        at = self._reach(offset + header.length, header.stored)
        raw = encoding.decode(header.encoding, self._data[at : at + header.stored], header.raw)
        return raw if ContentId.of(raw) == content else None

    def _reach(self, offset: int, length: int) -> int:
        """Where in `_data` the bytes from `offset` on lie: so many at least, if the file has them."""
        at = offset - self._start
        if at < 0 or at + length > len(self._data):
            near = 0 <= at <= len(self._data)
            self._data = b""
            if self._descriptor is not None:
                self._data = files.read_at(
                    self._descriptor, offset, max(length, _AHEAD if near else _FIRST_READ)
                )
            self._start, at = offset, 0
        return at
