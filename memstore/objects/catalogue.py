"""The catalogue: an SQLite cache of where everything is. Delete it and it is rebuilt (invariant 4).

It runs in WAL mode with `synchronous=NORMAL`: a commit to it costs no fsync, and after a power cut it is
consistent, if older than the segment, from which it then catches up.

Words: a *place* is a segment or pack file. A *key* is the first 8 bytes of an id, as a signed integer; where
two ids share a key there are several rows, and the reader tries them all. A *line* is a run of versions in
which each is the first parent of the next; a version's manifest is found by following its line back, and the
line that one sprang from, taking for each path its latest change.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Final, NamedTuple

from memstore import files
from memstore.errors import DamagedData
from memstore.ids import ContentId, VersionId
from memstore.objects.connection import CatalogueDamaged, Connection
from memstore.objects.record import Encoding, RecordKind

SCHEMA: Final = 1
"""Of the cache only; another number means: rebuild."""
DAMAGED_SUFFIX: Final = "-damaged"
"""A file of the catalogue's name and this ending says that it must be made anew."""

_TABLES: Final = """
CREATE TABLE facts (name TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE places (
    place INTEGER PRIMARY KEY, kind INTEGER NOT NULL, name TEXT NOT NULL UNIQUE, end INTEGER NOT NULL,
    damaged INTEGER NOT NULL DEFAULT 0);
CREATE TABLE objects (
    key INTEGER NOT NULL, place INTEGER NOT NULL, offset INTEGER NOT NULL, inner INTEGER NOT NULL,
    kind INTEGER NOT NULL, encoding INTEGER NOT NULL, header INTEGER NOT NULL, raw INTEGER NOT NULL,
    stored INTEGER NOT NULL, base INTEGER, rank INTEGER NOT NULL, cost INTEGER NOT NULL,
    PRIMARY KEY (key, place, offset, inner)) WITHOUT ROWID;
CREATE INDEX objects_by_place ON objects (place);
CREATE TABLE versions (
    seq INTEGER PRIMARY KEY, id BLOB NOT NULL UNIQUE, time INTEGER NOT NULL, generation INTEGER NOT NULL,
    line INTEGER NOT NULL, parent INTEGER, meta BLOB, device TEXT NOT NULL, device_id TEXT NOT NULL,
    place INTEGER NOT NULL, offset INTEGER NOT NULL, inner INTEGER NOT NULL);
CREATE INDEX versions_by_time ON versions (time, generation);
CREATE TABLE other_parents (seq INTEGER NOT NULL, parent INTEGER NOT NULL, PRIMARY KEY (seq, parent))
    WITHOUT ROWID;
CREATE TABLE heads (seq INTEGER PRIMARY KEY);
CREATE TABLE strays (id BLOB PRIMARY KEY, place INTEGER NOT NULL, offset INTEGER NOT NULL, inner INTEGER NOT NULL)
    WITHOUT ROWID;
CREATE TABLE lines (line INTEGER PRIMARY KEY, parent INTEGER, upto INTEGER, tip INTEGER NOT NULL);
CREATE TABLE paths (path INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
CREATE TABLE changes (
    path INTEGER NOT NULL, seq INTEGER NOT NULL, change INTEGER NOT NULL, kind INTEGER, size INTEGER,
    content BLOB, modified INTEGER, archived TEXT, PRIMARY KEY (path, seq)) WITHOUT ROWID;
CREATE INDEX changes_by_version ON changes (seq);
CREATE TABLE tree (
    path TEXT PRIMARY KEY, kind INTEGER NOT NULL, size INTEGER NOT NULL, content BLOB NOT NULL,
    modified INTEGER NOT NULL, s_size INTEGER, s_mtime INTEGER, s_ctime INTEGER, s_inode INTEGER) WITHOUT ROWID;
CREATE TABLE sent (pack TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE mirror (
    path TEXT PRIMARY KEY, content BLOB NOT NULL, size INTEGER NOT NULL, handle TEXT NOT NULL,
    stamp TEXT NOT NULL, state TEXT NOT NULL DEFAULT '') WITHOUT ROWID;
"""


class PlaceKind:
    SEGMENT: Final = 0
    PACK: Final = 1


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


_LOCATION: Final = "key, place, offset, inner, kind, encoding, header, raw, stored, base, rank, cost"


def key_of(id: bytes) -> int:
    """The catalogue's key: the first 8 bytes of an id (or a record's base), big-endian, signed."""
    return int.from_bytes(id[:8], "big", signed=True)


class Catalogue:
    """The open cache. Not shared between threads."""

    def __init__(self, path: str, store: bytes) -> None:
        """Open the catalogue, or make an empty one if it is absent, of another schema or store, or damaged.
        Raises `StoreLocked` or `DiskTrouble` where SQLite can do neither."""
        self.path = path
        self.fresh = False
        """True when it was made just now and knows nothing yet."""
        self.store = store
        if files.exists(path + DAMAGED_SUFFIX):
            self._discard()
        try:
            self.db = self._open()
        except CatalogueDamaged:
            self._discard()
            self.db = self._open()

    def reopen(self) -> None:
        """Begin a new, empty catalogue in place of one that turned out to be damaged."""
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

    def drop_place(self, place: int) -> None:
        """Forget a file and the objects in it. The versions in it must have been moved before."""
        self.db.execute("DELETE FROM objects WHERE place = ?", (place,))
        self.db.execute("DELETE FROM places WHERE place = ?", (place,))

    # -- objects -------------------------------------------------------------------------------------------

    def add_objects(self, rows: Iterable[Location]) -> None:
        self.db.executemany("INSERT OR REPLACE INTO objects VALUES (?,?,?,?,?,?,?,?,?,?,?,?)", rows)

    def locations(self, id: bytes) -> list[Location]:
        """Every stored form whose key is this id's, the one of lowest rank first."""
        rows = self.db.execute(
            f"SELECT {_LOCATION} FROM objects WHERE key = ? ORDER BY rank, cost", (key_of(id),)
        )
        return [Location(*row) for row in rows]

    def best_by_key(self, key: int) -> Location | None:
        """The stored form of lowest rank under a key."""
        row = self.db.execute(
            f"SELECT {_LOCATION} FROM objects WHERE key = ? ORDER BY rank, cost LIMIT 1", (key,)
        ).fetchone()
        return Location(*row) if row else None

    def cost_of(self, key: int) -> int | None:
        row = self.db.execute("SELECT min(cost) FROM objects WHERE key = ?", (key,)).fetchone()
        return row[0] if row else None

    def has(self, id: bytes) -> bool:
        return (
            self.db.execute("SELECT 1 FROM objects WHERE key = ? LIMIT 1", (key_of(id),)).fetchone()
            is not None
        )

    def holds_objects(self) -> bool:
        return self.db.execute("SELECT 1 FROM objects LIMIT 1").fetchone() is not None

    def chain(self, location: Location, without: Collection[tuple[int, int]] = frozenset()) -> list[Location]:
        """The object, its base, that one's base, … to what decodes alone, by no form that lies at one of the
        given (place, offset). Raises `DamagedData`."""
        if location.encoding != Encoding.DELTA:
            return [location]
        columns = ", ".join("o." + name for name in _LOCATION.split(", "))
        rows = self.db.execute(
            f"""WITH RECURSIVE below AS (
                SELECT {_LOCATION} FROM objects WHERE key = ?
                UNION SELECT {columns} FROM below JOIN objects o ON o.key = below.base)
            SELECT {_LOCATION} FROM below ORDER BY rank, cost""",
            (location.base,),
        )
        forms: dict[int, list[Location]] = {}
        for row in rows:
            form = Location(*row)
            if form.kind == location.kind and (form.place, form.offset) not in without:
                forms.setdefault(form.key, []).append(form)
        links = [location]
        while links[-1].encoding == Encoding.DELTA:
            base, rank = links[-1].base, links[-1].rank
            assert base is not None
            below = next((form for form in forms.get(base, ()) if form.rank < rank), None)
            if below is None:
                raise DamagedData(
                    f"the base {base & (1 << 64) - 1:016x} of a delta is missing",
                    hint="run 'memsync verify' to see what is affected",
                )
            links.append(below)
        return links

    # -- versions ------------------------------------------------------------------------------------------

    def seq(self, id: bytes) -> int | None:
        row = self.db.execute("SELECT seq FROM versions WHERE id = ?", (bytes(id),)).fetchone()
        return row[0] if row else None

    def version_id(self, seq: int) -> VersionId:
        row = self.db.execute("SELECT id FROM versions WHERE seq = ?", (seq,)).fetchone()
        return VersionId(row[0])

    def generation(self, id: bytes) -> int:
        row = self.db.execute("SELECT generation FROM versions WHERE id = ?", (bytes(id),)).fetchone()
        return int(row[0])

    def heads(self) -> list[VersionId]:
        """Versions that no other has as a parent, newest first."""
        rows = self.db.execute(
            "SELECT id FROM heads JOIN versions USING (seq) ORDER BY time DESC, generation DESC, id"
        )
        return [VersionId(row[0]) for row in rows]

    def ids_starting(self, prefix: str) -> list[VersionId]:
        """Versions whose id begins with these hex digits (at most 10 of them)."""
        low = bytes.fromhex(prefix + "0" * (64 - len(prefix)))
        high = bytes.fromhex(prefix + "f" * (64 - len(prefix)))
        rows = self.db.execute("SELECT id FROM versions WHERE id BETWEEN ? AND ? LIMIT 10", (low, high))
        return [VersionId(row[0]) for row in rows]

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

    def entry_at(self, seq: int, path: str) -> tuple[int, int, bytes, int, int] | None:
        """(kind, size, content, modified, seq of the change) of one path in a version; None if not there."""
        row = self.db.execute(
            self._LINEAGE
            + """SELECT changes.kind, changes.size, changes.content, changes.modified, changes.seq
                FROM paths CROSS JOIN changes USING (path) CROSS JOIN versions USING (seq)
                CROSS JOIN lineage USING (line)
                WHERE paths.name = :path AND changes.seq <= lineage.upto
                ORDER BY changes.seq DESC LIMIT 1""",
            {"seq": seq, "path": path},
        ).fetchone()
        return row if row and row[2] is not None else None

    def entries_at(self, seq: int, under: str = "") -> Iterator[tuple[str, int, int, bytes, int]]:
        """(path, kind, size, content, modified) of a version, in the order of the paths' UTF-8 bytes; under a
        folder (or of one file) only, where given."""
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
            query = f"""SELECT name, kind, size, content, modified, max(changes.seq)
                FROM paths CROSS JOIN changes USING (path)
                WHERE changes.seq <= :upto {only} {bounds}
                GROUP BY changes.path HAVING content IS NOT NULL ORDER BY name"""
            values |= {"line": lines[0][0], "upto": lines[0][1]}
        else:
            query = f"""{self._LINEAGE} SELECT name, kind, size, content, modified, max(changes.seq)
                FROM paths CROSS JOIN changes USING (path) CROSS JOIN versions USING (seq)
                CROSS JOIN lineage USING (line)
                WHERE changes.seq <= lineage.upto {bounds}
                GROUP BY changes.path HAVING content IS NOT NULL ORDER BY name"""
            values |= {"seq": seq}
        for row in self.db.execute(query, values):
            yield row[:5]

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

    def tree_size(self) -> int:
        return int(self.db.execute("SELECT count(*) FROM tree").fetchone()[0])


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


def path_of(folder: str, name: str, kind: int) -> str:
    """Where a place's file lies in `.memsync`."""
    if kind == PlaceKind.PACK:
        return os.path.join(folder, "packs", name + ".pack")
    return os.path.join(folder, "segments", name + ".seg")


METADATA_KINDS: Final = frozenset(
    {RecordKind.VERSION, RecordKind.MANIFEST, RecordKind.RECIPE, RecordKind.TOMBSTONE}
)
"""Record kinds that lie in a pack's metadata groups."""
