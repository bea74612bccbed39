"""What the catalogue knows of versions, of what each holds, and of HEAD's manifest with what was seen of its files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final

from memstore.ids import VersionId
from memstore.objects.facts import Facts

_ADDED: Final = 0
"""How a change is told that found nothing at its path (docs/format.md)."""
_STILL_RULES: Final = "still rules"
"""A fact: the fingerprint of the ignore rules under which folders were found still."""


class KnownHistory(Facts):
    """A part of the catalogue."""

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

    def last_replacing(self, seq: int, path: str) -> int | None:
        """The last version of those that this one's manifest comes from which took away or replaced something at a
        path or below it ('' for anywhere); None if none did."""
        row = self.db.execute(
            self._LINEAGE
            + """SELECT changes.seq
                FROM paths CROSS JOIN changes USING (path) CROSS JOIN versions USING (seq)
                CROSS JOIN lineage USING (line)
                WHERE (:path = '' OR name = :path OR (name >= :path || '/' AND name < :path || '0'))
                AND changes.seq <= lineage.upto AND change <> :added
                ORDER BY changes.seq DESC LIMIT 1""",
            {"seq": seq, "path": path, "added": _ADDED},
        ).fetchone()
        return None if row is None else int(row[0])

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
        # `sum` would refuse to go beyond 63 bits, which sizes that an enemy wrote may.
        count, size = self.db.execute("SELECT count(*), total(size) FROM tree").fetchone()
        return count, int(size)

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
