"""A base for what has no earlier version: a moved page, a translation, a copy that goes its own way.

Two texts that share long lines most likely share the same few of them when all are put in the order of a hash.
So each new text leaves the lowest `SKETCH` hashes of its lines in the catalogue, and the next one asks for the
text that has most of its own; where none has any, for the last of the same name, of the same folder and ending,
or of the same ending. Measured on real notes (docs/benchmarks.md, "Where the bytes of a store are"): a fifth of
what new texts take, for a third of a millisecond each.

The marks are hints, part of no format: where they are lost with the catalogue, texts to come find fewer
relatives. Chains of relatives are kept short, so that damage to one file's bytes costs few others.
"""

from __future__ import annotations

import zlib
from collections import Counter, OrderedDict
from typing import TYPE_CHECKING, Final, NamedTuple

from memstore.errors import DamagedData
from memstore.ids import ContentId
from memstore.objects.catalogue import shortened
from memstore.objects.encoding import SMALL, Base, Encoded
from memstore.objects.record import RecordKind

if TYPE_CHECKING:
    from memstore.repository import Repository

SKETCH: Final = 8
"""Hashes of lines that a text leaves behind."""
SHORTEST_LINE: Final = 13
"""Bytes: shorter lines are in every text."""
SHORTEST_TEXT: Final = 64
LONGEST_CHAIN: Final = 16
"""The rank that a text with a relative as base may have at most."""
KEPT: Final = 8 << 20
"""Bytes of this commit's own new texts that are kept at hand: they can't be read from the store yet."""
_BITS: Final = (1 << 28) - 1
"""What SQLite stores in four bytes."""


class Marks(NamedTuple):
    """By what a text is found, and finds others."""

    lines: list[int]
    names: list[int]
    """The nearest first."""


def marks(path: str, raw: bytes) -> Marks | None:
    """None for what is no text, or one for which a relative is not worth looking for."""
    if not SHORTEST_TEXT <= len(raw) <= SMALL or b"\0" in raw:
        return None
    lines = {zlib.crc32(line) & _BITS for line in raw.split(b"\n") if len(line) >= SHORTEST_LINE}
    folder, _, name = path.rpartition("/")
    ending = name[name.rfind(".") :] if "." in name else ""
    # No path holds a NUL, and no line that counts begins with one.
    named = (f"\0name {name}", f"\0folder {folder} {ending}", f"\0ending {ending}")
    return Marks(sorted(lines)[:SKETCH], [zlib.crc32(mark.encode()) & _BITS for mark in named])


class Relatives:
    """For one commit, inside the writer's transaction."""

    def __init__(self, repository: Repository) -> None:
        self._repository = repository
        self._catalogue = repository.catalogue
        self._here: OrderedDict[int, Base] = OrderedDict()
        self._size = 0

    def base(self, marks: Marks) -> Base | None:
        """The nearest relative whose chain leaves room for one more."""
        marked = self._catalogue.marked([*marks.lines, *marks.names])
        votes = Counter(marked[line] for line in marks.lines if line in marked)
        near = [short for short, _ in votes.most_common(2)]
        near += [marked[name] for name in marks.names if name in marked]
        for short in dict.fromkeys(near):
            found = self._here.get(short) or self._stored(short)
            if found is not None and found.rank < LONGEST_CHAIN:
                return found
        return None

    def add(self, content: ContentId, raw: bytes, marks: Marks, form: Encoded) -> None:
        """Let the texts to come find this one, which is being stored in that form."""
        self._catalogue.mark([*marks.lines, *marks.names], content)
        self._here[shortened(content)] = Base(content[:8], raw, form.rank, form.cost)
        self._size += len(raw)
        while self._size > KEPT:
            self._size -= len(self._here.popitem(last=False)[1].raw)

    def _stored(self, short: int) -> Base | None:
        try:
            for location in self._catalogue.under_short(short):
                if location.kind == RecordKind.CONTENT and location.raw <= SMALL:
                    plain = self._repository.reader.base(self._catalogue.chain(location))
                    key = location.key.to_bytes(8, "big", signed=True)
                    return Base(key, plain, location.rank, location.cost)
        except (DamagedData, FileNotFoundError):
            return None
        return None
