"""Where a large file is cut into pieces, so that a piece that did not change keeps its id.

FastCDC (Xia et al., "The Design of Fast Content-Defined Chunking for Data Deduplication Based Storage
Systems", 2020) as the `pyfastcdc` library has it, with its default gear table. The parameters are format:
they stand in the store's `format` file, and a test pins the boundaries of a fixed stream.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Final

from memstore.ids import ContentId
from memstore.objects.record import PIECE_LIMIT, Piece

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
    read_at: Callable[[int, int], bytes | memoryview], size: int, old: Sequence[Piece] = ()
) -> Iterator[list[tuple[ContentId, memoryview]]]:
    """The same, those together that are read at a time."""
    from pyfastcdc import FastCDC

    cutter = FastCDC(AVERAGE, min_size=MIN, max_size=PIECE_LIMIT)
    known = _Known(old)
    held: tuple[ContentId, memoryview] | None = None
    """A known piece that was met again: where it ends is certain once the next is met as well."""
    offset, searching = 0, False
    while offset < size:
        window = min(PIECE_LIMIT if searching else known.ahead() or PIECE_LIMIT, size - offset)
        buffer = memoryview(read_at(offset, window))
        if not buffer:
            break
        last = offset + len(buffer) >= size or len(buffer) < window
        found: list[tuple[ContentId, memoryview]] = []
        start = 0
        while start < len(buffer):
            rest = buffer[start:]
            if not searching and start and not last and known.length > len(rest):
                break
            again = None if searching else known.again(rest)
            if again is not None:
                if held is not None:
                    found.append(held)
                held = again
                start += len(again[1])
                continue
            if held is not None:
                start -= len(held[1])
                held, searching = None, True
                known.doubt()
                if start < 0:  # it lies before this buffer
                    break
                continue
            length = next(iter(cutter.cut_buf(rest))).length
            # This cut is where the buffer ended, not where the content says, unless the file ends there too or the
            # piece is as long as a piece may be.
            if length == len(rest) < PIECE_LIMIT and not last:
                searching = True
                break
            found.append((ContentId.of(rest[:length]), rest[:length]))
            known.meet(found[-1][0])
            start += length
            searching = False
        yield found
        offset += start
    if held is not None:
        yield [held]


class _Known:
    """The pieces of an earlier content. A cut depends on the bytes of its piece and one or two after it: where a piece
    is there again, and so is the next, it ends where it did."""

    def __init__(self, pieces: Sequence[Piece]) -> None:
        # The last one ended with its file. What is shorter than a piece can be, nobody cut.
        self._pieces = [piece for piece in pieces[:-1] if piece[1] >= MIN]
        self._numbers = {id: number for number, (id, _) in enumerate(self._pieces)}
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
        id = ContentId.of(found)
        if id != self._pieces[self._next][0]:
            return None
        self._next += 1
        return id, found

    def doubt(self) -> None:
        """The last one that was there again is to be cut anew."""
        self._next -= 1

    def meet(self, id: ContentId) -> None:
        """A piece was cut: most likely in the place of the one that was expected, or it is another that is known."""
        self._next = self._numbers.get(id, self._next) + 1
