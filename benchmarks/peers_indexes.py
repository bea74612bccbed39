"""Vector indexes in the layouts of FAISS's own files, so that nothing needs faiss to be installed.

What matters to a version store is where bytes move when 20 vectors are added:

- **Flat** (`IxF2`): the vectors stand at the end; a count in the header changes.
- **IVF** (`IwFl`, 128 inverted lists): each new vector lands at the end of a random list, in the middle of
  the file, its id behind that list's vectors.
- **HNSW** (`IHNf`, M = 32): new vectors at the end; new rows at the end of three tables before them; and for
  each new vector 32 lists of existing neighbours change in place, all over the largest of the tables.

Layouts after faiss's `index_write.cpp`: a four-letter code, then dimension (int32), count (int64), two
unused int64, is_trained (1 byte), metric (int32); a vector of anything is its length (uint64) and its items.
"""

from __future__ import annotations

import struct
from array import array
from collections.abc import Callable, Iterator
from itertools import accumulate
from random import Random
from typing import Final, Protocol

from benchmarks.peers_corpora import DIMENSIONS, SEED, VECTOR, Vectors

ADDED: Final = 20
"""Vectors that each generation adds: 31 KB."""
LISTS: Final = 128
M: Final = 32
_LEVEL_0: Final = 2 * M
_LINKS: Final = 32
"""Neighbours of a new vector, each of which gets a link back."""
_UNUSED: Final = 1 << 20


class Index(Protocol):
    def pieces(self, generation: int) -> Iterator[bytes]:
        """The whole file after so many times 20 vectors."""
        ...


def write_index(path: str, index: Index, generation: int) -> int:
    """Replace the file as faiss does: written anew from its start. Bytes written."""
    total = 0
    with open(path, "wb") as file:
        for piece in index.pieces(generation):
            total += file.write(piece)
    return total


class Flat:
    """All vectors, one after the other."""

    bytes_each = VECTOR

    def __init__(self, vectors: int) -> None:
        self._base = vectors
        self._source = Vectors()

    def pieces(self, generation: int) -> Iterator[bytes]:
        yield _header(b"IxF2", self._base + ADDED * generation)
        yield struct.pack("<Q", DIMENSIONS * (self._base + ADDED * generation))
        yield from self._source.blocks("flat", self._base)
        for number in range(generation):
            yield self._source.block(f"added {number}", ADDED)


class Ivf:
    """Inverted lists: each its vectors, then their ids."""

    bytes_each = VECTOR + 8

    def __init__(self, vectors: int) -> None:
        self._source = Vectors()
        self._total = vectors
        random = Random(SEED)
        self._ids: list[array[int]] = [array("q") for _ in range(LISTS)]
        # Lists of real data are of very different length.
        weights = list(accumulate(random.expovariate(1) + 0.2 for _ in range(LISTS)))
        for id, place in enumerate(random.choices(range(LISTS), cum_weights=weights, k=vectors)):
            self._ids[place].append(id)

    def pieces(self, generation: int) -> Iterator[bytes]:
        added: dict[int, list[tuple[int, int]]] = {}
        for number in range(ADDED * generation):
            place = Random(f"{SEED} list of {number}").randrange(LISTS)
            added.setdefault(place, []).append(divmod(number, ADDED))
        total = self._total + ADDED * generation
        yield _header(b"IwFl", total) + struct.pack("<QQ", LISTS, 8)
        yield _header(b"IxF2", LISTS) + struct.pack("<Q", DIMENSIONS * LISTS)
        yield self._source.block("centres", LISTS)
        yield struct.pack("<bQ", 0, 0) + b"ilar" + struct.pack("<QQ", LISTS, VECTOR) + b"full"
        yield struct.pack("<Q", LISTS)
        yield b"".join(
            struct.pack("<Q", len(ids) + len(added.get(place, ()))) for place, ids in enumerate(self._ids)
        )
        for place, ids in enumerate(self._ids):
            yield from self._source.blocks(f"list {place}", len(ids))
            new = added.get(place, [])
            for turn, position in new:
                yield self._source.block(f"added {turn}", ADDED)[position * VECTOR : (position + 1) * VECTOR]
            yield ids.tobytes()
            yield b"".join(struct.pack("<q", self._total + turn * ADDED + position) for turn, position in new)


class Hnsw:
    """A graph: levels, offsets and neighbours of all nodes, then the vectors."""

    bytes_each = VECTOR + 4 * _LEVEL_0 + 4 * M // 31 + 4 + 8

    def __init__(self, vectors: int) -> None:
        self._base = vectors
        self._source = Vectors()
        random = Random(SEED)
        self._levels = array("i")
        for _ in range(vectors):
            level = 1
            while random.random() < 1 / M:
                level += 1
            self._levels.append(level)
        slots = (_LEVEL_0 + M * (level - 1) for level in self._levels)
        self._offsets = array("Q", accumulate(slots, initial=0))
        self._neighbours = self._links(random)
        self._generation = 0

    def _links(self, random: Random) -> bytearray:
        """Four bytes a slot; the level-0 list of a node is full, or ends in -1 after 16 to 56 neighbours."""
        slots = self._offsets[-1]
        high = bytes(
            byte % max(1, self._base >> 8 & 0xFF if self._base < 1 << 16 else 256) for byte in range(256)
        )
        top = bytes(byte % max(1, self._base >> 16) for byte in range(256))
        table = bytearray(4 * slots)
        table[0::4] = random.randbytes(slots)
        table[1::4] = random.randbytes(slots).translate(high)
        table[2::4] = random.randbytes(slots).translate(top)
        for node in range(self._base):
            used = random.choice((_LEVEL_0, 16, 24, 32, 40, 48, 56))
            first = self._offsets[node]
            table[4 * (first + used) : 4 * (first + _LEVEL_0)] = b"\xff" * (4 * (_LEVEL_0 - used))
        return table

    def _add(self, turn: int) -> None:
        random = Random(f"{SEED} links {turn}")
        for position in range(ADDED):
            node = self._base + turn * ADDED + position
            chosen = random.sample(range(self._base), min(_LINKS, self._base))
            for other in chosen:
                self._link_back(random, other, node)
            row = array("i", chosen + [-1] * (_LEVEL_0 - len(chosen)))
            self._neighbours += row.tobytes()
            self._levels.append(1)
            self._offsets.append(self._offsets[-1] + _LEVEL_0)

    def _link_back(self, random: Random, node: int, new: int) -> None:
        """A free slot takes the link; a full list is thinned out first, as faiss's heuristic does."""
        first = 4 * self._offsets[node]
        links = array("i", bytes(self._neighbours[first : first + 4 * _LEVEL_0])).tolist()
        if -1 not in links:
            kept = sorted(random.sample(range(_LEVEL_0), _LEVEL_0 // 2))
            links = [links[place] for place in kept] + [-1] * (_LEVEL_0 - len(kept))
        links[links.index(-1)] = new
        self._neighbours[first : first + 4 * _LEVEL_0] = array("i", links).tobytes()

    def pieces(self, generation: int) -> Iterator[bytes]:
        if generation < self._generation:
            raise ValueError("an index only grows")
        for turn in range(self._generation, generation):
            self._add(turn)
        self._generation = generation
        total = self._base + ADDED * generation
        yield _header(b"IHNf", total)
        yield _vector("<d", [1 - 1 / M, 1 / M]) + _vector("<i", [0, _LEVEL_0, _LEVEL_0 + M])
        yield struct.pack("<Q", total) + self._levels.tobytes()
        yield struct.pack("<Q", total + 1) + self._offsets.tobytes()
        yield struct.pack("<Q", len(self._neighbours) // 4)
        yield from (
            bytes(self._neighbours[start : start + (1 << 22)])
            for start in range(0, len(self._neighbours), 1 << 22)
        )
        yield struct.pack(
            "<iiiii", 0, 3, 40, 16, 1
        )  # entry point, top level, ef for building, for search, beam
        yield _header(b"IxF2", total) + struct.pack("<Q", DIMENSIONS * total)
        yield from self._source.blocks("graph", self._base)
        for turn in range(generation):
            yield self._source.block(f"added {turn}", ADDED)


LAYOUTS: Final[dict[str, Callable[[int], Index]]] = {"Flat": Flat, "IVF": Ivf, "HNSW": Hnsw}
_EACH: Final = {"Flat": Flat.bytes_each, "IVF": Ivf.bytes_each, "HNSW": Hnsw.bytes_each}


def index_of_size(layout: str, size: int) -> Index:
    """An index whose first generation has about `size` bytes."""
    return LAYOUTS[layout](max(ADDED, size // _EACH[layout]))


def _header(code: bytes, count: int) -> bytes:
    return code + struct.pack("<iqqqbi", DIMENSIONS, count, _UNUSED, _UNUSED, 1, 1)


def _vector(form: str, items: list[float] | list[int]) -> bytes:
    return struct.pack("<Q", len(items)) + b"".join(struct.pack(form, item) for item in items)
