"""The catalogue's SQLite connection: its errors come out as the errors of the house.

A damaged catalogue costs nothing but time. Who finds it so leaves a mark beside it, and whoever opens the
catalogue next makes a new one.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterable
from typing import Any, Final

from memstore import files
from memstore.errors import BadInput, DamagedData, DiskTrouble, MemsyncError, StoreLocked

BUSY_SECONDS: Final = 60.0

_DAMAGED: Final = frozenset(
    {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_FORMAT, sqlite3.SQLITE_CONSTRAINT}
)
"""A constraint refuses a row of ours only where an index says otherwise than its table."""
_DAMAGED_READS: Final = frozenset(
    {sqlite3.SQLITE_IOERR_SHORT_READ, sqlite3.SQLITE_IOERR_CORRUPTFS, sqlite3.SQLITE_IOERR_DATA}
)
"""Extended codes: the disk answered, but not with what was written."""
_BUSY: Final = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL})
_DISK: Final = frozenset(
    {
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_PERM,
        sqlite3.SQLITE_NOLFS,
    }
)


class CatalogueDamaged(DamagedData):
    """The cache cannot be used; segments and packs are not touched by that."""

    code = "catalogue_damaged"
    retryable = True

    def __init__(self, message: str) -> None:
        super().__init__(message, hint="run the command again: it is only a cache, and is built anew")


class Connection(sqlite3.Connection):
    """An open catalogue in autocommit mode. Not shared between threads at the same time."""

    def __init__(self, path: str, *, damaged: str) -> None:
        """`damaged` is the file that marks the catalogue as such. Where nobody may write, and nobody left a log
        beside it, it is read as it stands: SQLite would make files beside it first."""
        self._path = path
        self._damaged = damaged
        try:
            where = _as_it_stands(path)
            super().__init__(
                where or path,
                uri=where is not None,
                timeout=BUSY_SECONDS,
                isolation_level=None,
                check_same_thread=False,
            )
        except (sqlite3.DatabaseError, UnicodeDecodeError) as error:
            raise self._trouble(error) from error

    def execute(self, sql: str, parameters: Any = (), /) -> sqlite3.Cursor:
        try:
            cursor: _Cursor = self.cursor()  # sqlite3's own method would make one of another kind
            cursor.execute(sql, parameters)
            return cursor
        except (sqlite3.DatabaseError, UnicodeDecodeError) as error:
            raise self._trouble(error) from error

    def executemany(self, sql: str, parameters: Iterable[Any], /) -> sqlite3.Cursor:
        try:
            return super().executemany(sql, parameters)
        except (sqlite3.DatabaseError, UnicodeDecodeError) as error:
            raise self._trouble(error) from error

    def cursor(self, factory: Any = None) -> Any:
        try:
            return super().cursor(factory or _Cursor)
        except sqlite3.ProgrammingError as error:  # closed
            raise self._trouble(error) from error

    def _trouble(
        self, error: sqlite3.DatabaseError | UnicodeDecodeError
    ) -> MemsyncError | sqlite3.DatabaseError | UnicodeDecodeError:
        """What to raise in the error's place; itself, where it is a mistake of ours."""
        extended = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR)
        number = extended & 0xFF
        if "closed database" in str(error):
            return BadInput("this Store was closed", hint="Store.open(folder) opens it again")
        # All texts here are UTF-8, and so is what SQLite says of its own tables.
        undecoded = isinstance(error, UnicodeDecodeError) or "decode to UTF-8" in str(error)
        # Of our own tables none lacks a column, unless what SQLite noted of them has changed.
        unknown = str(error).startswith(("no such ", "malformed "))
        if number in _DAMAGED or extended in _DAMAGED_READS or undecoded or unknown:
            with contextlib.suppress(OSError):
                files.touch(self._damaged)
            return CatalogueDamaged(f"the catalogue {self._path} is damaged: {error}")
        if number in _BUSY:
            return StoreLocked(
                f"another process keeps the catalogue {self._path} busy: {error}",
                hint="wait for it to end, then run the command again",
            )
        if number in _DISK:
            return DiskTrouble(
                f"could not use {self._path}: {error}",
                hint=f"check the free space and the permissions of {os.path.dirname(self._path)}; "
                "versions are safe, for it is only a cache",
            )
        return error


def _as_it_stands(path: str) -> str | None:
    """The address by which SQLite reads a catalogue in a folder that it may not write; None for any other."""
    if os.access(os.path.dirname(path), os.W_OK) or os.path.exists(path + "-wal") or not os.path.exists(path):
        return None
    from urllib.parse import quote

    return f"file:{quote(os.path.abspath(path))}?immutable=1"


class _Cursor(sqlite3.Cursor):
    """Fetching reads on, and so may find the damage that executing did not."""

    def __iter__(self) -> Any:
        few = 1  # at a time: a generator costs more than a row does, and most who stop early want one
        try:
            while rows := super().fetchmany(few):
                yield from rows
                few = min(2 * few, 32)
        except (sqlite3.DatabaseError, UnicodeDecodeError) as error:
            raise self._trouble(error) from error

    def fetchone(self) -> Any:
        try:
            return super().fetchone()
        except (sqlite3.DatabaseError, UnicodeDecodeError) as error:
            raise self._trouble(error) from error

    def fetchall(self) -> list[Any]:
        try:
            return super().fetchall()
        except (sqlite3.DatabaseError, UnicodeDecodeError) as error:
            raise self._trouble(error) from error

    def _trouble(
        self, error: sqlite3.DatabaseError | UnicodeDecodeError
    ) -> MemsyncError | sqlite3.DatabaseError | UnicodeDecodeError:
        assert isinstance(self.connection, Connection)
        return self.connection._trouble(error)


__all__ = ["CatalogueDamaged", "Connection"]
