"""Writing very many files at once: what a `Crew` does of a clone.

One of the crew is told where the records of some hundred contents begin. It reads and checks each, and writes the
file: full copies, and deltas on the few bases that it is told of, a dictionary say. All else (other deltas, large
files), and whatever goes wrong, it leaves to whoever has the store, who does it again and says what is the matter.
"""

from __future__ import annotations

import contextlib
import marshal
import os
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from functools import lru_cache
from itertools import islice
from typing import TYPE_CHECKING, Final, Self

from memstore import files
from memstore.crew import Answer, Crew
from memstore.errors import BadInput, Conflict, DamagedData, DiskTrouble, MemsyncError
from memstore.ids import ContentId
from memstore.objects import encoding
from memstore.objects.catalogue import Catalogue, path_of
from memstore.objects.reader import KEPT_BASES, LARGEST_KEPT
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
_NOWHERE: Final = (0, 0)
"""What `Catalogue.starts` says where there is none."""
_Bases = dict[bytes, tuple[int, int]]
"""Key of a content that decodes alone → (place, offset) of its record."""


class Left(dict[str, MemsyncError]):
    """Paths that were not written, each with its reason."""

    def __init__(self, *, bears_losses: bool) -> None:
        super().__init__()
        self.bears_losses = bears_losses


def fill(
    repository: Repository,
    tree: FreshTree,
    count: int,
    rows: Iterable[Row],
    unwanted: Set[bytes],
    left: Left,
) -> Iterator[tuple[Row, Key]]:
    """Write these files, `count` of them, below the tree's root, but for those with an unwanted content; each row in
    its turn, with what lies there then. Paths that this disk can't hold come to `left`, each with its reason, and so
    do those whose contents are lost, where it bears that. Raises what else writing and reading raise."""
    coming = iter(rows)
    if count < MANY:
        for row in coming:
            yield row, _UNWRITTEN if row[3] in unwanted else _alone(repository, tree, row, left)
        return
    waiting: deque[list[Row]] = deque()
    bases: _Bases = {}
    with Crew(write_out) as crew:
        while group := list(islice(coming, JOB_FILES)):
            if crew.full:
                yield from _taken(repository, tree, waiting.popleft(), crew.answer(), unwanted, left)
            crew.ask(_job(repository, tree.root, group, unwanted, bases))
            waiting.append(group)
        while crew.waiting:
            yield from _taken(repository, tree, waiting.popleft(), crew.answer(), unwanted, left)


def _alone(repository: Repository, tree: FreshTree, row: Row, left: Left) -> Key:
    path, kind, _, content, modified = row
    try:
        return tree.write(path, kind, repository.stream(ContentId(content)), modified)
    except (BadInput, Conflict) as error:
        left[path] = error
    except DamagedData as error:
        if not left.bears_losses:
            raise
        left[path] = error
    except DiskTrouble as error:
        if error.code != files.BAD_NAME:
            raise
        left[path] = error
    return _UNWRITTEN


def _job(repository: Repository, root: str, group: list[Row], unwanted: Set[bytes], bases: _Bases) -> bytes:
    catalogue = repository.catalogue
    if unwanted:
        group = [row for row in group if row[3] not in unwanted]
    starts = catalogue.starts([row[3] for row in group])
    _learn(catalogue, starts, bases)
    places = {}
    for place in {place for place, _ in (*starts, *bases.values())}:
        known = catalogue.place_name(place)
        places[place] = path_of(repository.state, *known) if known else ""
    rows = [(path, kind, content, modified) for path, kind, _, content, modified in group]
    return marshal.dumps((root, places, rows, starts, bases))


def _learn(catalogue: Catalogue, starts: Sequence[tuple[int, int]], bases: _Bases) -> None:
    """One of a job's records is looked at: what it leans on, the others may lean on as well."""
    if not starts or starts[-1] == _NOWHERE:
        return
    with contextlib.suppress(DamagedData, FileNotFoundError):
        base = catalogue.files.header(*starts[-1], -1).base
        if not base or base in bases:
            return
        for form in catalogue.with_key(base):
            if form.rank == 0 and form.kind == RecordKind.CONTENT and form.raw <= LARGEST_KEPT:
                bases[base] = form.place, form.offset
                while len(bases) > KEPT_BASES:
                    del bases[next(iter(bases))]
                return


def _taken(
    repository: Repository,
    tree: FreshTree,
    group: list[Row],
    answer: Answer,
    unwanted: Set[bytes],
    left: Left,
) -> Iterator[tuple[Row, Key]]:
    keys = iter(marshal.loads(answer.facts))
    for row in group:
        yield row, _UNWRITTEN if row[3] in unwanted else next(keys) or _alone(repository, tree, row, left)


# -- the crew's side -----------------------------------------------------------------------------------------


def write_out(job: bytes) -> Answer:
    """The work of one of the crew."""
    root, places, rows, starts, bases = marshal.loads(job)
    tree = FreshTree(root, shared=True)
    done: list[tuple[int, ...] | None] = []
    with contextlib.ExitStack() as held:
        sources = {place: held.enter_context(_Source(path)) for place, path in places.items()}
        bodies = {key: (places[place], offset) for key, (place, offset) in bases.items()}
        for (path, kind, content, modified), (place, offset) in zip(rows, starts, strict=True):
            try:
                raw = sources[place].content(offset, content, bodies)
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

    def content(self, offset: int, content: bytes, bases: Mapping[bytes, tuple[str, int]]) -> bytes | None:
        """The plain bytes of the record there, if it holds that content whole, or as a delta on one of the `bases`:
        key → (file, offset). Raises `DamagedData`."""
        at = self._reach(offset, HEADER_LIMIT)
        header = parse_header(self._data, at)
        if header.id != content or header.kind != RecordKind.CONTENT:
            return None
        below = None
        if header.encoding == Encoding.DELTA:
            if header.base not in bases:
                return None
            below = _base(*bases[header.base])
        at = self._reach(offset + header.length, header.stored)
        raw = encoding.decode(header.encoding, self._data[at : at + header.stored], header.raw, below)
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


@lru_cache(KEPT_BASES)
def _base(path: str, offset: int) -> bytes:
    """The plain bytes of a content that decodes alone, not compared with its id: what is made of them is. Raises
    `DamagedData`."""
    with _Source(path) as source:
        at = source._reach(offset, HEADER_LIMIT)
        header = parse_header(source._data, at)
        at = source._reach(offset + header.length, header.stored)
        return encoding.decode(header.encoding, source._data[at : at + header.stored], header.raw)
