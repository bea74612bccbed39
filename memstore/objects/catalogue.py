"""The catalogue: an SQLite cache of where everything is. Delete it and it is rebuilt (invariant 4).

It runs in WAL mode with `synchronous=NORMAL`: a commit to it costs no fsync, and after a power cut it is
consistent, if older than the segment, from which it then catches up.

It is an index and repeats little of what it points to: an object's row says where its record begins, and what
the record is, its header says; a change's row says which version changed a path, and how, that version's
record says. So it stays small beside packs whose deltas are a few dozen bytes. Records of versions that no pack
has yet are kept in it as well (`records`): they are read most, and must outlive damage to the segment.

Words: a *place* is a segment or pack file. A *key* is the first 8 bytes of an id, as a signed integer; where
two ids share one, a reader tries both. A *line* is a run of versions in which each is the first parent of the
next; a version's manifest is found by following its line back, and the line that one sprang from, taking for
each path its latest change. A version's *weight* is the number of its changes that add nothing new.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from array import array
from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import chain
from typing import Any, Final, NamedTuple

from memstore import files
from memstore.errors import DamagedData, MissingBase
from memstore.ids import ContentId, VersionId
from memstore.objects.connection import CatalogueDamaged, Connection
from memstore.objects.places import PlaceFiles, PlaceKind, path_of
from memstore.objects.record import Encoding, RecordKind

SCHEMA: Final = 4
"""Of the cache only; another number means: rebuild."""
DAMAGED_SUFFIX: Final = "-damaged"
"""A file of the catalogue's name and this ending says that it must be made anew."""

_TABLES: Final = """
CREATE TABLE facts (name TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE places (
    place INTEGER PRIMARY KEY, kind INTEGER NOT NULL, name TEXT NOT NULL UNIQUE, end INTEGER NOT NULL,
    damaged INTEGER NOT NULL DEFAULT 0);
CREATE TABLE objects (
    short INTEGER NOT NULL, place INTEGER NOT NULL, offset INTEGER NOT NULL, inner INTEGER NOT NULL,
    cost INTEGER NOT NULL, PRIMARY KEY (short, place, offset, inner)) WITHOUT ROWID;
CREATE TABLE versions (
    seq INTEGER PRIMARY KEY, id BLOB NOT NULL, time INTEGER NOT NULL, generation INTEGER NOT NULL,
    line INTEGER NOT NULL, parent INTEGER, weight INTEGER NOT NULL,
    place INTEGER NOT NULL, offset INTEGER NOT NULL, inner INTEGER NOT NULL);
CREATE INDEX versions_by_id ON versions (substr(id, 1, 4));
CREATE INDEX versions_by_time ON versions (time);
CREATE TABLE records (seq INTEGER PRIMARY KEY, encoded BLOB NOT NULL);
CREATE TABLE other_parents (seq INTEGER NOT NULL, parent INTEGER NOT NULL, PRIMARY KEY (seq, parent))
    WITHOUT ROWID;
CREATE TABLE heads (seq INTEGER PRIMARY KEY);
CREATE TABLE strays (id BLOB PRIMARY KEY, place INTEGER NOT NULL, offset INTEGER NOT NULL, inner INTEGER NOT NULL)
    WITHOUT ROWID;
CREATE TABLE lines (line INTEGER PRIMARY KEY, parent INTEGER, upto INTEGER, tip INTEGER NOT NULL);
CREATE TABLE paths (name TEXT PRIMARY KEY, path INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE changes (
    path INTEGER NOT NULL, seq INTEGER NOT NULL, change INTEGER NOT NULL, gone INTEGER NOT NULL,
    archived INTEGER NOT NULL,
    PRIMARY KEY (path, seq)) WITHOUT ROWID;
CREATE TABLE marks (mark INTEGER PRIMARY KEY, short INTEGER NOT NULL);
CREATE TABLE tree (
    path TEXT PRIMARY KEY, kind INTEGER NOT NULL, size INTEGER NOT NULL, content BLOB NOT NULL,
    modified INTEGER NOT NULL, s_size INTEGER, s_mtime INTEGER, s_ctime INTEGER, s_inode INTEGER) WITHOUT ROWID;
CREATE TABLE still (folder TEXT PRIMARY KEY, facts BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE mirror (
    path TEXT PRIMARY KEY, content BLOB NOT NULL, size INTEGER NOT NULL, handle TEXT,
    stamp TEXT NOT NULL, state TEXT NOT NULL DEFAULT '') WITHOUT ROWID;
"""


_SHORTENED: Final = 32
"""Bits of a key that the catalogue leaves out: 4 bytes find a record, and its header says whose it is."""
_AT_ONCE: Final = 1000
"""Ids that SQLite is given in one statement."""
_STILL_RULES: Final = "still rules"
"""A fact: the fingerprint of the ignore rules under which folders were found still."""


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


class Catalogue:
    """The open cache. Not shared between threads."""

    def __init__(self, path: str, store: bytes) -> None:
        """Open the catalogue, or make an empty one if it is absent, of another schema or store, or damaged.
        Raises `StoreLocked` or `DiskTrouble` where SQLite can do neither."""
        self.path = path
        self.fresh = False
        """True when it was made just now and knows nothing yet."""
        self.store = store
        self.files = PlaceFiles(os.path.dirname(path), self.place_name)
        if files.exists(path + DAMAGED_SUFFIX):
            self._discard()
        try:
            self.db = self._open()
        except CatalogueDamaged:
            self._discard()
            self.db = self._open()

    def reopen(self) -> None:
        """Begin a new, empty catalogue in place of one that turned out to be damaged."""
        self.files.close()
        self.db.close()
        self._discard()
        self.db = self._open()

    def _discard(self) -> None:
        # The mark goes last: who is cut off in between leaves it to the next one.
        for suffix in ("", "-wal", "-shm", DAMAGED_SUFFIX):
            files.remove(self.path + suffix)

    def _connect(self) -> Connection:
        db = Connection(self.path, damaged=self.path + DAMAGED_SUFFIX)
        try:
            db.execute("PRAGMA temp_store=MEMORY")
            if hasattr(db, "setconfig"):  # Python 3.12: closing then costs no fsync
                db.setconfig(1006, True)  # SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE
        except BaseException:
            db.close()
            raise
        return db

    def _open(self) -> Connection:
        db = self._connect()
        try:
            db.execute("PRAGMA journal_mode=WAL")
            db.execute("PRAGMA synchronous=NORMAL")
            if db.execute("PRAGMA user_version").fetchone()[0] != SCHEMA:
                self._make(db)
            elif db.execute("SELECT value FROM facts WHERE name = 'store'").fetchone() != (self.store,):
                raise CatalogueDamaged("the catalogue is another store's")
        except sqlite3.DatabaseError as error:
            db.close()
            raise CatalogueDamaged(f"the catalogue {self.path} lacks what it must have: {error}") from error
        except BaseException:
            db.close()
            raise
        return db

    @contextlib.contextmanager
    def snapshot(self) -> Iterator[Catalogue]:
        """The catalogue as it stands now, for a reader that takes its time: on a connection of its own, so
        that neither commits of other processes nor our own catching up are in one another's way."""
        if self.db.in_transaction or not files.exists(self.path):
            yield self  # the lock is ours, or the file was deleted and nobody else has this one
            return
        other = Catalogue.__new__(Catalogue)
        other.path, other.fresh, other.store = self.path, False, self.store
        other.db = self._connect()
        other.files = PlaceFiles(os.path.dirname(self.path), other.place_name)
        try:
            other.db.execute("BEGIN")
            yield other
        finally:
            other.close()

    def _make(self, db: Connection) -> None:
        db.execute("BEGIN IMMEDIATE")
        if db.execute("PRAGMA user_version").fetchone()[0] == SCHEMA:  # another process was quicker
            db.execute("COMMIT")
            return
        if db.execute("SELECT 1 FROM sqlite_master WHERE type = 'table' LIMIT 1").fetchone():
            db.execute("ROLLBACK")
            raise CatalogueDamaged("the catalogue has another schema")
        for statement in _TABLES.split(";"):
            if statement.strip():
                db.execute(statement)
        db.execute("INSERT INTO facts VALUES ('store', ?)", (self.store,))
        db.execute(f"PRAGMA user_version={SCHEMA}")
        db.execute("COMMIT")
        self.fresh = True

    def close(self) -> None:
        self.files.close()
        self.db.close()

    # -- facts ---------------------------------------------------------------------------------------------

    def fact(self, name: str) -> str | int | bytes | None:
        row = self.db.execute("SELECT value FROM facts WHERE name = ?", (name,)).fetchone()
        return row[0] if row else None

    def set_fact(self, name: str, value: str | int | bytes | None) -> None:
        self.db.execute("INSERT OR REPLACE INTO facts VALUES (?, ?)", (name, value))

    # -- places --------------------------------------------------------------------------------------------

    def places(self) -> dict[str, tuple[int, int, int]]:
        """name → (place, kind, end)."""
        rows = self.db.execute("SELECT name, place, kind, end FROM places")
        return {name: (place, kind, end) for name, place, kind, end in rows}

    def place_name(self, place: int) -> tuple[str, int] | None:
        """(name, kind) of a place; None if it is gone."""
        row = self.db.execute("SELECT name, kind FROM places WHERE place = ?", (place,)).fetchone()
        return None if row is None else (row[0], row[1])

    def add_place(self, kind: int, name: str, end: int) -> int:
        cursor = self.db.execute("INSERT INTO places (kind, name, end) VALUES (?, ?, ?)", (kind, name, end))
        assert cursor.lastrowid is not None
        return cursor.lastrowid

    def set_end(self, place: int, end: int, damaged: int = 0) -> None:
        self.db.execute(
            "UPDATE places SET end = ?, damaged = damaged + ? WHERE place = ?", (end, damaged, place)
        )

    def holds_versions(self, place: int) -> bool:
        row = self.db.execute("SELECT 1 FROM versions WHERE place = ? LIMIT 1", (place,)).fetchone()
        return row is not None

    def drop_place(self, place: int) -> None:
        """Forget a file and the objects in it. The versions in it must have been moved before."""
        self.db.execute("DELETE FROM objects WHERE place = ?", (place,))
        self.db.execute("DELETE FROM places WHERE place = ?", (place,))

    # -- objects -------------------------------------------------------------------------------------------

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

    # -- versions ------------------------------------------------------------------------------------------

    def seq(self, id: bytes) -> int | None:
        row = self.db.execute(
            "SELECT seq FROM versions WHERE substr(id, 1, 4) = ? AND id = ?", (id[:4], bytes(id))
        ).fetchone()
        return row[0] if row else None

    def version_id(self, seq: int) -> VersionId:
        row = self.db.execute("SELECT id FROM versions WHERE seq = ?", (seq,)).fetchone()
        return VersionId(row[0])

    def generation(self, id: bytes) -> int:
        row = self.db.execute("SELECT generation FROM versions WHERE seq = ?", (self.seq(id),)).fetchone()
        return int(row[0])

    def heads(self) -> list[VersionId]:
        """Versions that no other has as a parent, newest first."""
        rows = self.db.execute(
            "SELECT id FROM heads JOIN versions USING (seq) ORDER BY time DESC, generation DESC, id"
        )
        return [VersionId(row[0]) for row in rows]

    def ids_starting(self, prefix: str) -> list[VersionId]:
        """Versions whose id begins with these hex digits, 8 or more (at most 10 of them)."""
        low = bytes.fromhex(prefix + "0" * (64 - len(prefix)))
        high = bytes.fromhex(prefix + "f" * (64 - len(prefix)))
        rows = self.db.execute(
            "SELECT id FROM versions WHERE substr(id, 1, 4) = ? AND id BETWEEN ? AND ? LIMIT 10",
            (low[:4], low, high),
        )
        return [VersionId(row[0]) for row in rows]

    def where(self, seq: int) -> tuple[VersionId, int, int, int]:
        """(id, place, offset, inner) of a version's record."""
        id, *rest = self.db.execute(
            "SELECT id, place, offset, inner FROM versions WHERE seq = ?", (seq,)
        ).fetchone()
        return VersionId(id), *rest

    def version_count(self) -> int:
        return int(self.db.execute("SELECT count(*) FROM versions").fetchone()[0])

    # -- the manifest of a version -------------------------------------------------------------------------

    _LINEAGE: Final = """
        WITH RECURSIVE lineage (line, upto) AS (
            SELECT line, seq FROM versions WHERE seq = :seq
            UNION ALL
            SELECT lines.parent, lines.upto FROM lineage JOIN lines USING (line)
            WHERE lines.parent IS NOT NULL)
        """

    def lineage(self, seq: int) -> list[tuple[int, int]]:
        """The lines a version's manifest is made of: (line, last seq of it that counts), nearest first."""
        return self.db.execute(self._LINEAGE + "SELECT line, upto FROM lineage", {"seq": seq}).fetchall()

    def last_change(self, seq: int, path: str) -> int | None:
        """The version (its seq) whose change of a path counts in this one; None if it has no such path."""
        row = self._last_touch(seq, path)
        return None if row is None or row[1] else row[0]

    def last_touch(self, seq: int, path: str) -> int | None:
        """The same, also where that change left nothing; None if the path was never there."""
        row = self._last_touch(seq, path)
        return None if row is None else row[0]

    def _last_touch(self, seq: int, path: str) -> tuple[int, int] | None:
        """(version, whether it left nothing)"""
        row: tuple[int, int] | None = self.db.execute(
            self._LINEAGE
            + """SELECT changes.seq, gone
                FROM paths CROSS JOIN changes USING (path) CROSS JOIN versions USING (seq)
                CROSS JOIN lineage USING (line)
                WHERE paths.name = :path AND changes.seq <= lineage.upto
                ORDER BY changes.seq DESC LIMIT 1""",
            {"seq": seq, "path": path},
        ).fetchone()
        return row

    def last_changes(self, seq: int, under: str = "") -> Iterator[tuple[str, int]]:
        """(path, version whose change of it counts) for all that a version holds, in the order of the paths'
        UTF-8 bytes; under a folder (or of one file) only, where given."""
        query, values = self._changes_query(seq, under)
        for row in self.db.execute(query + " ORDER BY name", values):
            yield row[:2]

    def _changes_query(self, seq: int, under: str) -> tuple[str, dict[str, object]]:
        """SQL for the changes that count in a version, as (name, seq, 0)."""
        lines = self.lineage(seq)
        bounds, values = _under("paths.name", under)
        if len(lines) == 1:
            # The usual history has one line, whose rows need no look at the versions. `max` makes SQLite
            # take the other columns from the row that holds the greatest seq.
            only = (
                ""
                if self._single_line()
                else ("AND changes.seq IN (SELECT seq FROM versions WHERE line = :line)")
            )
            query = f"""SELECT name, max(changes.seq), gone
                FROM paths CROSS JOIN changes USING (path)
                WHERE changes.seq <= :upto {only} {bounds}
                GROUP BY name HAVING NOT gone"""
            values |= {"line": lines[0][0], "upto": lines[0][1]}
        else:
            query = f"""{self._LINEAGE} SELECT name, max(changes.seq), gone
                FROM paths CROSS JOIN changes USING (path) CROSS JOIN versions USING (seq)
                CROSS JOIN lineage USING (line)
                WHERE changes.seq <= lineage.upto {bounds}
                GROUP BY name HAVING NOT gone"""
            values |= {"seq": seq}
        return query, values

    def files_at(self, seq: int) -> int:
        """How many files a version holds."""
        query, values = self._changes_query(seq, "")
        return int(self.db.execute(f"SELECT count(*) FROM ({query})", values).fetchone()[0])

    def _single_line(self) -> bool:
        return bool(self.db.execute("SELECT count(*) FROM lines").fetchone()[0] == 1)

    # -- HEAD's manifest and the stat cache ----------------------------------------------------------------

    def tree(self, under: str = "") -> Iterator[tuple[str, int, int, bytes, int, int, int, int, int]]:
        """Rows of HEAD's manifest with the stat cache: path, kind, size, content, modified, then what `lstat`
        said of the file when it last had this content (size, mtime, ctime in ns, inode; None if unsafe)."""
        bounds, values = _under("path", under)
        return self.db.execute(
            f"SELECT path, kind, size, content, modified, s_size, s_mtime, s_ctime, s_inode FROM tree "
            f"WHERE 1 {bounds} ORDER BY path",
            values,
        )

    def tree_entry(self, path: str) -> tuple[int, int, bytes, int] | None:
        """(kind, size, content, modified) of a path in HEAD."""
        row = self.db.execute(
            "SELECT kind, size, content, modified FROM tree WHERE path = ?", (path,)
        ).fetchone()
        return tuple(row) if row else None

    def tree_rows(self, lower: str, upper: str | None) -> list[tuple[Any, ...]]:
        """The same rows for the paths from `lower` on and before `upper`; None: to the end."""
        columns = "path, kind, size, content, modified, s_size, s_mtime, s_ctime, s_inode"
        below, values = ("", [lower]) if upper is None else ("AND path < ?", [lower, upper])
        return self.db.execute(
            f"SELECT {columns} FROM tree WHERE path >= ? {below} ORDER BY path", values
        ).fetchall()

    # -- folders that are still ----------------------------------------------------------------------------

    def still(self, rules: str) -> dict[str, bytes]:
        """Folder ('' or ending in `/`) → what `worktree.still` knows of it, found under these ignore rules."""
        if self.fact(_STILL_RULES) != rules:
            return {}
        return dict(self.db.execute("SELECT folder, facts FROM still"))

    def keep_still(self, rows: Iterable[tuple[str, bytes]], rules: str) -> None:
        if self.fact(_STILL_RULES) != rules:
            self.forget_still()
            self.set_fact(_STILL_RULES, rules)
        self.db.executemany("INSERT OR REPLACE INTO still VALUES (?, ?)", rows)

    def forget_still(self, folders: Iterable[str] | None = None) -> None:
        """Of these folders, or of all."""
        if self.db.execute("SELECT 1 FROM still LIMIT 1").fetchone() is None:
            return
        if folders is None:
            self.db.execute("DELETE FROM still")
        else:
            self.db.executemany("DELETE FROM still WHERE folder = ?", [(folder,) for folder in {*folders}])

    def tree_holds(self, files: int) -> bool:
        """Whether HEAD's manifest has at least so many, without counting all."""
        row = self.db.execute("SELECT 1 FROM tree LIMIT 1 OFFSET ?", (files - 1,)).fetchone()
        return row is not None

    def tree_totals(self) -> tuple[int, int]:
        """Of HEAD's manifest: (files, their bytes)."""
        return tuple(self.db.execute("SELECT count(*), coalesce(sum(size), 0) FROM tree").fetchone())

    def tree_size(self) -> int:
        return int(self.db.execute("SELECT count(*) FROM tree").fetchone()[0])


def _all_of(rows: Iterable[tuple[int, int, int, int]]) -> Iterator[tuple[int, int, int, int]]:
    """Rows of four numbers that were all read before the first is given, in 32 bytes each: who goes through them may
    change the table, and there may be a million."""
    flat = array("q", chain.from_iterable(rows))
    return ((flat[at], flat[at + 1], flat[at + 2], flat[at + 3]) for at in range(0, len(flat), 4))


def _under(column: str, folder: str) -> tuple[str, dict[str, object]]:
    """SQL that keeps a path itself and what lies below it; '' keeps all. '0' follows '/' in UTF-8."""
    if not folder:
        return "", {}
    return (
        f"AND ({column} = :folder OR ({column} >= :below AND {column} < :beyond))",
        {"folder": folder, "below": folder + "/", "beyond": folder + "0"},
    )


def as_content(row: Sequence[object]) -> ContentId:
    """The content id in a row's blob."""
    blob = row[0]
    assert isinstance(blob, bytes)
    return ContentId(blob)


__all__ = [
    "DAMAGED_SUFFIX",
    "SCHEMA",
    "Catalogue",
    "Location",
    "PlaceKind",
    "as_content",
    "key_of",
    "path_of",
]
