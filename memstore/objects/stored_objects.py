"""What the catalogue knows of objects: where each stored form lies, and what reading it costs."""

from __future__ import annotations

import contextlib
from array import array
from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import chain, islice
from typing import Final, NamedTuple

from memstore.errors import DamagedData, MissingBase
from memstore.ids import ContentId
from memstore.objects.connection import Connection
from memstore.objects.places import PlaceFiles, PlaceKind
from memstore.objects.record import Encoding, RecordKind

_SHORTENED: Final = 32
"""Bits of a key that the catalogue leaves out: 4 bytes find a record, and its header says whose it is."""
_AT_ONCE: Final = 1000
"""Ids that SQLite is given in one statement."""


class Location(NamedTuple):
    """Where one stored form of an object is."""

    key: int
    place: int
    offset: int
    inner: int
    """Offset in the plain bytes of the metadata group at `offset`; -1 for a record of the file itself."""
    kind: int
    encoding: int
    header: int
    raw: int
    stored: int
    base: int | None
    rank: int
    cost: int


def key_of(id: bytes) -> int:
    """The catalogue's key: the first 8 bytes of an id (or a record's base), big-endian, signed."""
    return int.from_bytes(id[:8], "big", signed=True)


def kept_cost(cost: int) -> int:
    """A cost as the catalogue gives it back: it keeps whole KiB."""
    return cost >> 10 << 10


def shortened(id: bytes) -> int:
    """The first 4 bytes of an id, by which the catalogue finds a record; its header then says whose it is."""
    return int.from_bytes(id[:4], "big", signed=True)


class StoredObjects:
    """A part of the catalogue."""

    db: Connection
    files: PlaceFiles

    def add_objects(self, rows: Iterable[Location]) -> None:
        self.db.executemany(
            "INSERT OR REPLACE INTO objects VALUES (?,?,?,?,?)",
            # A table that is filled in its own order takes half the time, and its pages are full.
            sorted((row[0] >> _SHORTENED, row[1], row[2], row[3], row[11] >> 10) for row in rows),
        )

    def add_contents(self, place: int, contents: Iterable[tuple[int, int, int]]) -> None:
        """Very many contents that lie in one file, of each (key, offset, cost): in the order of the keys, which
        fills the table in half the time."""
        self.db.executemany(
            "INSERT OR REPLACE INTO objects VALUES (?,?,?,-1,?)",
            ((key >> _SHORTENED, place, offset, cost >> 10) for key, offset, cost in sorted(contents)),
        )

    def remove_object(self, row: Location) -> None:
        self.db.execute(
            "DELETE FROM objects WHERE short = ? AND place = ? AND offset = ? AND inner = ?",
            (row.key >> _SHORTENED, row.place, row.offset, row.inner),
        )

    def locations(self, id: bytes) -> list[Location]:
        """Every stored form of the object with that very id, the one of lowest rank first. Raises
        `FileNotFoundError` where a file that held one has moved."""
        return sorted(
            (row for full, row in self._forms(key_of(id)) if full == id), key=lambda row: (row.rank, row.cost)
        )

    def with_key(self, key: bytes) -> list[Location]:
        """Every stored form of what has an id that begins with these 8 bytes, the one of lowest rank first."""
        return sorted((row for _, row in self._forms(key_of(key))), key=lambda row: (row.rank, row.cost))

    def cost_of(self, key: int) -> int | None:
        """What reading an object with this key costs at least; None if there is none."""
        return min((row.cost for _, row in self._forms(key)), default=None)

    def has(self, id: bytes) -> bool:
        return any(full == id for full, _ in self._forms(key_of(id)))

    def maybe_stored(self, keys: Iterable[int]) -> set[int]:
        """Those of the keys under which something may be stored; under the others nothing is."""
        wanted = [(key, key >> _SHORTENED) for key in keys]
        marks = ",".join("?" * len(wanted))
        rows = self.db.execute(
            f"SELECT DISTINCT short FROM objects WHERE short IN ({marks})", [short for _, short in wanted]
        )
        found = {row[0] for row in rows}
        return {key for key, short in wanted if short in found}

    def may_hold(self, ids: Iterable[bytes]) -> bool:
        """Whether something may be stored under each of these ids; False if one is stored nowhere for sure."""
        shorts = sorted(set(map(shortened, ids)))  # in the order of the table
        for start in range(0, len(shorts), _AT_ONCE):
            some = shorts[start : start + _AT_ONCE]
            marks = ",".join("?" * len(some))
            query = f"SELECT count(DISTINCT short) FROM objects WHERE short IN ({marks})"
            if self.db.execute(query, some).fetchone()[0] < len(some):
                return False
        return True

    def within_reach(self, ids: Iterable[ContentId]) -> Iterator[ContentId]:
        """Those of the ids under which a look-up finds something."""
        coming = iter(ids)
        while some := list(islice(coming, _AT_ONCE)):
            found = self.maybe_stored(map(key_of, some))
            yield from (id for id in some if key_of(id) in found)

    def may_lie_in(self, id: bytes) -> set[int]:
        """The places outside of which nothing of that id is stored."""
        rows = self.db.execute("SELECT place FROM objects WHERE short = ?", (key_of(id) >> _SHORTENED,))
        return {row[0] for row in rows}

    def starts(self, ids: Sequence[bytes]) -> list[tuple[int, int]]:
        """Of each id the (place, offset) of a record that may be its, outside of any group; (0, 0) where there is
        none."""
        shorts = list(map(shortened, ids))
        marks = ",".join("?" * len(shorts))
        rows = self.db.execute(
            f"SELECT short, place, offset FROM objects WHERE short IN ({marks}) AND inner < 0", shorts
        )
        found = {short: (place, offset) for short, place, offset in rows}
        return [found.get(short, (0, 0)) for short in shorts]

    def objects_in(self, place: int) -> Iterator[tuple[bytes, Location]]:
        """(id, location) of all that lies in one file, in its order. Reads each record's header."""
        rows = self.db.execute(
            "SELECT place, offset, inner, cost FROM objects WHERE place = ? ORDER BY offset, inner", (place,)
        )
        for row in _all_of(rows):
            with contextlib.suppress(DamagedData):
                yield self.located(*row)

    def of_kind(self, kind: RecordKind) -> Iterator[tuple[bytes, Location]]:
        """(id, location) of all records of a kind that packs keep in metadata groups."""
        rows = self.db.execute(
            "SELECT objects.place, offset, inner, cost FROM objects JOIN places USING (place) "
            "WHERE inner >= 0 OR places.kind = ? ORDER BY objects.place, offset, inner",
            (PlaceKind.SEGMENT,),
        )
        for row in _all_of(rows):
            with contextlib.suppress(DamagedData):
                located = self.located(*row)
                if located[1].kind == kind:
                    yield located

    def holds_objects(self) -> bool:
        return self.db.execute("SELECT 1 FROM objects LIMIT 1").fetchone() is not None

    def mark(self, marks: Iterable[int], id: bytes) -> None:
        """Note these marks (28 bits each) of a content; what had one of them before is forgotten."""
        short = shortened(id)
        self.db.executemany("INSERT OR REPLACE INTO marks VALUES (?, ?)", [(mark, short) for mark in marks])

    def marked(self, marks: Sequence[int]) -> dict[int, int]:
        """mark → the last content that has it, `shortened`."""
        places = ",".join("?" * len(marks))
        return dict(self.db.execute(f"SELECT * FROM marks WHERE mark IN ({places})", marks).fetchall())

    def under_short(self, short: int) -> list[Location]:
        """Every stored form of what has an id that is so `shortened`, the one of lowest rank first."""
        return sorted((row for _, row in self._rows_under(short)), key=lambda row: (row.rank, row.cost))

    def chain(self, location: Location, without: Collection[tuple[int, int]] = frozenset()) -> list[Location]:
        """The object, its base, that one's base, … to what decodes alone, by no form that lies at one of the
        given (place, offset). Raises `DamagedData`."""
        links = [location]
        while links[-1].encoding == Encoding.DELTA:
            last = links[-1]
            assert last.base is not None
            below: Location | None = None
            for _, form in self._forms(last.base):
                if (
                    form.kind == location.kind
                    and form.rank < last.rank
                    and (below is None or (form.rank, form.cost) < (below.rank, below.cost))
                    and (form.place, form.offset) not in without
                ):
                    below = form
            if below is None:
                raise MissingBase(
                    f"the base {last.base & (1 << 64) - 1:016x} of a delta is missing",
                    hint="run 'memsync verify' to see what is affected",
                )
            links.append(below)
        return links

    def _forms(self, key: int) -> list[tuple[bytes, Location]]:
        """(id, location) of everything stored whose id begins with the 8 bytes of a key."""
        return [form for form in self._rows_under(key >> _SHORTENED) if form[1].key == key]

    def _rows_under(self, short: int) -> list[tuple[bytes, Location]]:
        """The same for the catalogue's own 4 bytes. A header that cannot be read is none."""
        found = []
        for row in self.db.execute(
            "SELECT place, offset, inner, cost FROM objects WHERE short = ?", (short,)
        ).fetchall():
            with contextlib.suppress(DamagedData):
                found.append(self.located(*row))
        return found

    def located(self, place: int, offset: int, inner: int, cost: int) -> tuple[bytes, Location]:
        """(id, location) of a record, its `cost` in KiB. Raises `DamagedData`."""
        kind, how, id, raw, stored, base, rank, length = self.files.header(place, offset, inner)
        below = key_of(base) if base else None
        return id, Location(
            key_of(id), place, offset, inner, kind, how, length, raw, stored, below, rank, cost << 10
        )


def _all_of(rows: Iterable[tuple[int, int, int, int]]) -> Iterator[tuple[int, int, int, int]]:
    """Rows of four numbers that were all read before the first is given, in 32 bytes each: who goes through them may
    change the table, and there may be a million."""
    flat = array("q", chain.from_iterable(rows))
    return ((flat[at], flat[at + 1], flat[at + 2], flat[at + 3]) for at in range(0, len(flat), 4))
