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
from collections.abc import Iterator, Sequence
from typing import Final

from memstore import files
from memstore.ids import ContentId
from memstore.objects.connection import CatalogueDamaged, Connection
from memstore.objects.known_history import KnownHistory
from memstore.objects.places import PlaceFiles, PlaceKind, path_of
from memstore.objects.stored_objects import Location, StoredObjects, kept_cost, key_of, shortened

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


class Catalogue(StoredObjects, KnownHistory):
    """The open cache: its file, its tables, its places. Not shared between threads."""

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

    def check(self, *, quick: bool = False) -> None:
        """Raises `CatalogueDamaged` where the tables are not ours, or SQLite finds a page or, unless `quick`, an index
        wrong. Takes as long as reading all of it."""
        tables = self.db.execute("SELECT sql, tbl_name FROM sqlite_master WHERE sql IS NOT NULL").fetchall()
        said = "its tables are other ones"
        if {sql for sql, _ in tables} == {sql.strip() for sql in _TABLES.split(";") if sql.strip()}:
            said = self.db.execute(f"PRAGMA {'quick' if quick else 'integrity'}_check(1)").fetchone()[0]
        if said == "ok" and any(map(self._has_odd_values, {name for _, name in tables})):
            said = "values of another type than their column's"
        if said != "ok":
            raise CatalogueDamaged(f"the catalogue {self.path} is damaged: {said}")

    def _has_odd_values(self, table: str) -> bool:
        kinds = self.db.execute(
            "SELECT name, lower(type) FROM pragma_table_info(?) WHERE type <> ''", (table,)
        )
        odd = [f"typeof(\"{name}\") NOT IN ('{kind}', 'null')" for name, kind in kinds]
        return bool(self.db.execute(f"SELECT 1 FROM {table} WHERE {' OR '.join(odd)} LIMIT 1").fetchone())

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
    "kept_cost",
    "key_of",
    "path_of",
    "shortened",
]
