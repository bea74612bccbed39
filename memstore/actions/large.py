"""Large files: read once, cut into pieces at boundaries that their content decides, and named by a recipe.

A piece that the store has is not stored again; one that changed is held against the stretch of the old file that
it most likely came from.
"""

from __future__ import annotations

import contextlib
import os
from collections import deque
from collections.abc import Callable, Generator, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from blake3 import blake3

from memstore.actions import chains
from memstore.actions.candidate import Candidate, Ingested, Old, Unreadable, left_out, reason, unreadable
from memstore.errors import DamagedData, DiskTrouble
from memstore.ids import ContentId
from memstore.manifest.version import Kind
from memstore.objects import chunker, encoding
from memstore.objects.encoding import Base, Encoded, own_cost
from memstore.objects.record import PIECE_LIMIT, Edges, Piece, RecordKind
from memstore.objects.tombstone import ANY_FORGOTTEN
from memstore.worktree import reading

if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor

    from memstore.repository import Repository
    from memstore.writer import Writer

IN_FLIGHT: Final = 3
"""Pieces that may wait, so that memory stays bounded."""
TRIES: Final = 3
"""A file that changes while it is read is read again so often; then the next commit has to take it."""


def take_in(
    repository: Repository, writer: Writer, candidate: Candidate, pool: ThreadPoolExecutor | None
) -> Ingested | Unreadable:
    found = candidate.found
    path = os.path.join(repository.workspace.data, found.path)
    for _ in range(TRIES):
        try:
            with reading.StableFile(path) as file:
                forgotten = _forgotten(repository, writer, candidate, file)
                if forgotten is not None:
                    return left_out(found.path, forgotten)
                item = _stream(repository, writer, candidate, file, pool)
                if not file.changed():
                    return item
        except (OSError, DiskTrouble) as error:
            return unreadable(found.path, reason(error))
    return unreadable(found.path, reading.changed(path).message)


def _forgotten(
    repository: Repository, writer: Writer, candidate: Candidate, file: reading.StableFile
) -> str | None:
    """Why a file is left out, found before the first of its pieces is stored; None for all others."""
    if repository.catalogue.fact(ANY_FORGOTTEN) is None:
        return None
    whole = blake3(max_threads=blake3.AUTO)
    for data in file.pieces():
        whole.update(data)
    content = ContentId(whole.digest())
    if candidate.old is not None and candidate.old.content == content:
        return None
    return writer.forgotten([content]).get(content)


def _stream(
    repository: Repository,
    writer: Writer,
    candidate: Candidate,
    file: reading.StableFile,
    pool: ThreadPoolExecutor | None,
) -> Ingested:
    """One pass over a large file: its pieces into the store, then the recipe."""
    found, old = candidate
    # By one thread: the processors have the pieces to do meanwhile, and threads of its own that wait for the next
    # piece would take them away (docs/performance.md).
    whole = blake3()
    prefix = Prefix(old)
    before = _old_pieces(repository, old)
    stretch = _Stretch(before)
    pieces: list[Piece] = []
    waiting: deque[tuple[ContentId, int, Any]] = deque()
    offset = 0

    def store(keep: int) -> None:
        while len(waiting) > keep:
            id, length, form = waiting.popleft()
            if not writer.has(id):
                writer.add(RecordKind.CONTENT, id, length, form.result() if pool else form())

    with contextlib.closing(identified(file, before, pool, repository.reader.edges(before))) as coming:
        for piece, data in coming:
            whole.update(data)
            # Where bytes were only appended all old pieces but the last come again: content decides where they end.
            if len(pieces) < len(before) - 1 and before[len(pieces)][0] != piece:
                prefix.rule_out()
            prefix.update(data)
            pieces.append((piece, len(data)))
            if not stretch.meet(piece, offset) and not writer.has(piece):
                form = _encoder(repository, stretch.base(offset, len(data)), data)
                waiting.append((piece, len(data), pool.submit(form) if pool else form))
                store(IN_FLIGHT)
            offset += len(data)
    store(0)
    content = ContentId(whole.digest())
    if not writer.has(content):
        writer.add_recipe(content, pieces)
    stat = file.key
    return Ingested(found, old, content, offset, stat, stat.mtime_ns // 1_000_000, prefix.holds())


def identified(
    file: reading.StableFile,
    before: Sequence[Piece],
    pool: ThreadPoolExecutor | None,
    edges: Mapping[ContentId, Edges] = MappingProxyType({}),
) -> Generator[tuple[ContentId, memoryview]]:
    """The pieces with their ids, `before` being those of its earlier content (see `chunker.stretches`). With a pool,
    the next are read, cut and hashed there while these are in use: so it is to be closed before the file is."""
    recycled = reading.Recycled(file, min(file.size, PIECE_LIMIT))
    stretches = chunker.stretches(recycled.read_at, file.size, before, edges)
    if pool is None:
        for stretch in stretches:
            yield from stretch
        return
    coming = pool.submit(next, stretches, None)
    try:
        while (found := coming.result()) is not None:
            coming = pool.submit(next, stretches, None)
            yield from found
    finally:
        coming.exception()


def _encoder(repository: Repository, base: ContentId | None, data: memoryview) -> Callable[[], Encoded]:
    """Encoding one piece, as a call that needs no catalogue."""
    plan = [] if base is None else chains.chain_of(repository.catalogue, base)
    reader = repository.reader

    def encode() -> Encoded:
        number = chains.member(plan, own_cost(len(data)))
        if number is None:
            return encoding.encode(data)
        try:
            plain = reader.base(plan[number:])
        except (DamagedData, FileNotFoundError):
            return encoding.encode(data)
        link = plan[number]
        key = link.key.to_bytes(8, "big", signed=True)
        return encoding.encode(data, Base(key, plain, link.rank, link.cost))

    return encode


def _old_pieces(repository: Repository, old: Old | None) -> list[Piece]:
    if old is None or old.size == 0:
        return []
    try:
        return repository.reader.recipe(old.content) or [(old.content, old.size)]
    except (DamagedData, FileNotFoundError):
        return []


class Prefix:
    """Watches whether the first bytes of a stream are the old content."""

    def __init__(self, old: Old | None) -> None:
        self._left = old.size if old is not None and old.kind != Kind.SYMLINK else -1
        self._content = old.content if old is not None else None
        self._hash = blake3()

    def update(self, data: bytes | memoryview) -> None:
        if self._left > 0:
            self._hash.update(memoryview(data)[: self._left])
            self._left = max(0, self._left - len(data))

    def rule_out(self) -> None:
        """It is known that they are not: nothing more need be hashed for it."""
        self._left = -1

    def holds(self) -> bool:
        return self._left == 0 and self._hash.digest() == self._content


class _Stretch:
    """Finds, for a piece of the new file, the piece of the old one that its bytes most likely came from.

    Pieces that did not change keep their ids and show by how much the content around them has moved; a piece
    that did change is held against the old piece that covers most of the same stretch.
    """

    def __init__(self, old: Sequence[Piece]) -> None:
        self._starts: list[tuple[int, int, ContentId]] = []
        self._by_id: dict[ContentId, int] = {}
        offset = 0
        for piece, length in old:
            self._by_id.setdefault(piece, offset)
            self._starts.append((offset, length, piece))
            offset += length
        self._shift = 0

    def meet(self, piece: ContentId, offset: int) -> bool:
        """Whether the old file has this very piece; if so, what follows is expected to have moved alike."""
        start = self._by_id.get(piece)
        if start is None:
            return False
        self._shift = offset - start
        return True

    def base(self, offset: int, length: int) -> ContentId | None:
        start = offset - self._shift
        best: ContentId | None = None
        most = 0
        for begin, size, piece in self._starts:
            overlap = min(start + length, begin + size) - max(start, begin)
            if overlap > most:
                best, most = piece, overlap
        if best is None and self._starts:
            best = self._starts[-1][2]
        return best
