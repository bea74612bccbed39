"""Where a large file is cut into pieces, so that a piece that did not change keeps its id.

FastCDC (Xia et al., "The Design of Fast Content-Defined Chunking for Data Deduplication Based Storage
Systems", 2020) as the `pyfastcdc` library has it, with its default gear table. The parameters are format:
they stand in the store's `format` file, and a test pins the boundaries of a fixed stream.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from memstore.objects.record import PIECE_LIMIT

NAME: Final = "fastcdc-2020"
MIN: Final = 1 << 20
AVERAGE: Final = 4 << 20
"""Bytes, as the library takes them; the pieces of random data come out at 5 MiB on average."""


def pieces(read_at: Callable[[int, int], bytes], size: int) -> Iterator[memoryview]:
    """The pieces of a file of `size` bytes, in order; `read_at(offset, length)` gives its bytes.

    Holds one `PIECE_LIMIT` of memory, for as long as one of its pieces is held. Ends early if the file turns out to be
    shorter.
    """
    for stretch in stretches(read_at, size):
        yield from stretch


def stretches(read_at: Callable[[int, int], bytes], size: int) -> Iterator[list[memoryview]]:
    """The same, those together that are read at a time."""
    from pyfastcdc import FastCDC

    cutter = FastCDC(AVERAGE, min_size=MIN, max_size=PIECE_LIMIT)
    offset = 0
    while offset < size:
        buffer = memoryview(read_at(offset, min(PIECE_LIMIT, size - offset)))
        if not buffer:
            return
        last = offset + len(buffer) >= size
        chunks = [(chunk.offset, chunk.length) for chunk in cutter.cut_buf(buffer)]
        # The last cut is where the buffer ended, not where the content says, unless the file ends there
        # too or the piece is as long as a piece may be.
        if not last and len(chunks) > 1:
            chunks.pop()
        yield [buffer[start : start + length] for start, length in chunks]
        offset += sum(length for _, length in chunks)
