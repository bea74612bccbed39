"""Where a large file is cut into pieces, so that a piece that did not change keeps its id.

FastCDC (Xia et al., "The Design of Fast Content-Defined Chunking for Data Deduplication Based Storage
Systems", 2020) as the `pyfastcdc` library has it, with its default gear table. The parameters are format:
they stand in the store's `format` file, and a test pins the boundaries of a fixed stream.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Final

from memstore.ids import ContentId
from memstore.objects.record import EDGE, PIECE_LIMIT, Edges, Piece

NAME: Final = "fastcdc-2020"
MIN: Final = 1 << 20
AVERAGE: Final = 4 << 20
"""Bytes, as the library takes them; the pieces of random data come out at 5 MiB on average."""


def pieces(
    read_at: Callable[[int, int], bytes | memoryview], size: int, old: Sequence[Piece] = ()
) -> Iterator[tuple[ContentId, memoryview]]:
    """The pieces of a file of `size` bytes, in order, with their ids; `read_at(offset, length)` gives its bytes.

    `old` are the pieces of an earlier content of the file, each with its length: where their bytes come again nothing
    is searched for a cut, and the pieces are the same as without. Holds one `PIECE_LIMIT` of memory, for as long as
    one of its pieces is held. Ends early if the file turns out to be shorter.
    """
    for stretch in stretches(read_at, size, old):
        yield from stretch


def stretches(
    read_at: Callable[[int, int], bytes | memoryview],
    size: int,
    old: Sequence[Piece] = (),
    edges: Mapping[ContentId, Edges] = MappingProxyType({}),
) -> Iterator[list[tuple[ContentId, memoryview]]]:
    """The same, those together that are read at a time. `edges` of old pieces, as far as they are known, spare most
    of the work where one did change."""
    finder = _Finder(old, edges)
    offset = 0
    while offset < size:
        window = min(finder.window, size - offset)
        buffer = memoryview(read_at(offset, window))
        if not buffer:
            break
        last = offset + len(buffer) >= size or len(buffer) < window
        found, used = finder.pieces(buffer, offset, last=last)
        yield found
        offset += used
    yield finder.end()


class _Finder:
    """Finds the pieces of a file, in one stretch of its bytes after the other."""

    def __init__(self, old: Sequence[Piece], edges: Mapping[ContentId, Edges]) -> None:
        from pyfastcdc import FastCDC

        self._cutter = FastCDC(AVERAGE, min_size=MIN, max_size=PIECE_LIMIT)
        self._known = _Known(old, edges)
        self._held: list[tuple[ContentId, memoryview]] = []
        """A known piece that was met again: where it ends is certain once the next is met as well."""
        self._searching = False
        """Whether a cut is to be found, whatever is expected."""
        self._refuted = -1
        """Where the expected piece was not met: it need not be tried there once more."""

    @property
    def window(self) -> int:
        """Bytes that the next stretch is to have, unless the file ends before."""
        return PIECE_LIMIT if self._searching else self._known.ahead() or PIECE_LIMIT

    def pieces(
        self, buffer: memoryview, offset: int, *, last: bool
    ) -> tuple[list[tuple[ContentId, memoryview]], int]:
        """The pieces of a stretch that lies at `offset`, and where in it the next one has to begin: before it, if a
        piece that was held has to be cut after all. `last`: the file ends with it."""
        found: list[tuple[ContentId, memoryview]] = []
        start = 0
        while start < len(buffer):
            rest = buffer[start:]
            if not self._searching and start and not last and self._known.length > len(rest):
                break
            again = self._again(rest, offset + start)
            if again is not None or self._known.begins(rest):
                found += self.end()
            if again is not None:
                self._held.append(again)
                start += len(again[1])
                continue
            if self._held:
                start -= len(self._held.pop()[1])
                self._searching = True
                self._known.doubt()
                if start < 0:
                    break
                continue
            length = next(iter(self._cutter.cut_buf(rest))).length
            # This cut is where the buffer ended, not where the content says, unless the file ends there too or the
            # piece is as long as a piece may be.
            if length == len(rest) < PIECE_LIMIT and not last:
                self._searching = True
                break
            found.append((ContentId.of(rest[:length]), rest[:length]))
            self._known.meet(found[-1][0])
            start += length
            self._searching = False
        return found, start

    def end(self) -> list[tuple[ContentId, memoryview]]:
        """The piece that was held, whose end is certain now."""
        held, self._held = self._held, []
        return held

    def _again(self, rest: memoryview, here: int) -> tuple[ContentId, memoryview] | None:
        if self._searching or here == self._refuted:
            return None
        again = self._known.again(rest)
        if again is None:
            self._refuted = here
        return again


class _Known:
    """The pieces of an earlier content. A cut depends on the bytes of its piece and one or two after it: where a piece
    is there again, and so is the next, it ends where it did."""

    def __init__(self, pieces: Sequence[Piece], edges: Mapping[ContentId, Edges]) -> None:
        # The last one ended with its file. What is shorter than a piece can be, nobody cut.
        self._pieces = [piece for piece in pieces[:-1] if piece[1] >= MIN]
        self._numbers = {id: number for number, (id, _) in enumerate(self._pieces)}
        self._edges = [edges.get(id) for id, _ in (*self._pieces, *pieces[-1:])]
        self._next = 0

    def ahead(self) -> int:
        """Bytes of those that are expected next and fit into one read: then none is read twice."""
        length = 0
        for _, more in self._pieces[self._next :]:
            if length + more > PIECE_LIMIT:
                break
            length += more
        return length

    @property
    def length(self) -> int:
        """Bytes of the piece that is expected next; 0 where none is."""
        return self._pieces[self._next][1] if self._next < len(self._pieces) else 0

    def again(self, rest: memoryview) -> tuple[ContentId, memoryview] | None:
        """The expected piece, if `rest` begins with it; then the one after it is expected."""
        if not 0 < self.length <= len(rest):
            return None
        found = rest[: self.length]
        edges = self._edges[self._next]
        # An insertion moves what follows it: most pieces that changed need not be hashed to see that they did.
        if edges is not None and not (found[:EDGE] == edges[0] and found[-EDGE:] == edges[1]):
            return None
        id = ContentId.of(found)
        if id != self._pieces[self._next][0]:
            return None
        self._next += 1
        return id, found

    def begins(self, rest: memoryview) -> bool:
        """Whether `rest` is known to begin as the expected piece does: then the one before it ends where it did."""
        edges = self._edges[self._next] if self._next < len(self._edges) else None
        return edges is not None and rest[:EDGE] == edges[0]

    def doubt(self) -> None:
        """The last one that was there again is to be cut anew."""
        self._next -= 1

    def meet(self, id: ContentId) -> None:
        """A piece was cut: most likely in the place of the one that was expected, or it is another that is known."""
        self._next = self._numbers.get(id, self._next) + 1
