"""The catalogue's side of history: adding versions to it, and keeping HEAD's manifest as a table.

A manifest is canonical as the msgpack arrays `[path, kind, size, content, modified]` of its entries, one
after the other, in the order of the paths' UTF-8 bytes (docs/format.md, "Manifests").
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import islice
from types import MappingProxyType
from typing import Final, NamedTuple, Protocol

import msgpack

from memstore.ids import ManifestId, VersionId
from memstore.manifest.records import (
    changes_of,
    contents,
    each_content,
    entries_at,
    entry_at,
    outlines_of,
    path_history,
    rows_since,
    version_of,
    versions_of,
)
from memstore.manifest.version import Change, ChangeKind, Version
from memstore.manifest.version_format import encode_again
from memstore.objects.catalogue import Catalogue
from memstore.objects.connection import CatalogueDamaged
from memstore.objects.record import PIECE_LIMIT

NOWHERE: Final = 0
"""The place of a version whose record is lost, and for which an empty one stands in (`salvage`)."""
_AT_ONCE: Final = 10_000
"""Changes of a version that are entered together."""
_PATHS: Final = "paths"
"""A fact of the catalogue: how many paths it has numbered."""


class Found(NamedTuple):
    """A version's record met while reading a file."""

    version: Version
    place: int
    offset: int
    inner: int
    record: bytes | None = None
    """Its encoded form, where a segment holds it."""


def add_version(
    catalogue: Catalogue, version: Version, place: int, offset: int, inner: int, record: bytes | None = None
) -> bool:
    """Enter a version that lies at that place; `record` is its encoded form, where the caller has it. False if
    a parent is not known yet: it is kept as a stray and entered by `adopt_strays` when the parent comes."""
    db = catalogue.db
    known = catalogue.seq(version.id)
    if known is not None:
        if _is_stand_in(catalogue, known) and place != NOWHERE:
            raise CatalogueDamaged("a version that was lost is here again, and history must be read anew")
        # A version may lie in a pack and still in the segment it was sealed from: the pack stays.
        moved = db.execute(
            "UPDATE versions SET place = ?, offset = ?, inner = ? WHERE seq = ? AND "
            "NOT EXISTS (SELECT 1 FROM places WHERE places.place = versions.place AND kind = 1)",
            (place, offset, inner, known),
        )
        if moved.rowcount and inner >= 0:
            db.execute("DELETE FROM records WHERE seq = ?", (known,))
        return True
    parents = [catalogue.seq(parent) for parent in version.parents]
    if any(parent is None for parent in parents):
        db.execute("INSERT OR REPLACE INTO strays VALUES (?, ?, ?, ?)", (version.id, place, offset, inner))
        return False
    first = parents[0] if parents else None
    line = _line_after(catalogue, first)
    cursor = db.execute(
        "INSERT INTO versions (id, time, generation, line, parent, weight, place, offset, inner) "
        "VALUES (?,?,?,?,?,?,?,?,?)",
        (
            bytes(version.id),
            version.time_ms,
            version.generation if place == NOWHERE else generation_of(catalogue, version),
            line,
            first,
            0,
            place,
            offset,
            inner,
        ),
    )
    seq = cursor.lastrowid
    assert seq is not None
    if inner < 0:
        db.execute(
            "INSERT INTO records VALUES (?, ?)", (seq, encode_again(version) if record is None else record)
        )
    db.execute("UPDATE lines SET tip = ? WHERE line = ?", (seq, line))
    db.executemany("INSERT OR IGNORE INTO other_parents VALUES (?, ?)", [(seq, p) for p in parents[1:]])
    db.executemany("DELETE FROM heads WHERE seq = ?", [(parent,) for parent in parents])
    db.execute("INSERT INTO heads VALUES (?)", (seq,))
    db.execute("DELETE FROM strays WHERE id = ?", (version.id,))
    weight = _add_changes(catalogue, version, seq)
    db.execute("UPDATE versions SET weight = ? WHERE seq = ?", (weight, seq))
    return True


def generation_of(catalogue: Catalogue, version: Version) -> int:
    """The greatest of its parents' plus 1, whatever the record says: an enemy's number, or one that damage made, would
    end all that comes after it. The record is believed only beside a stand-in, or a parent that a damaged catalogue
    does not know."""
    greatest = 0
    for parent in version.parents:
        row = catalogue.db.execute(
            "SELECT generation FROM versions WHERE seq = ? AND place <> ?", (catalogue.seq(parent), NOWHERE)
        ).fetchone()
        if row is None:
            return version.generation
        greatest = max(greatest, row[0])
    return 1 + greatest


def _is_stand_in(catalogue: Catalogue, seq: int) -> bool:
    row = catalogue.db.execute("SELECT place FROM versions WHERE seq = ?", (seq,)).fetchone()
    return bool(row[0] == NOWHERE)


def _line_after(catalogue: Catalogue, parent: int | None) -> int:
    """The parent's line if the parent is its tip; else a new one that springs from there."""
    line = upto = None
    if parent is not None:
        line, tip = catalogue.db.execute(
            "SELECT line, tip FROM versions JOIN lines USING (line) WHERE seq = ?", (parent,)
        ).fetchone()
        if tip == parent:
            return int(line)
        upto = parent
    cursor = catalogue.db.execute("INSERT INTO lines (parent, upto, tip) VALUES (?, ?, 0)", (line, upto))
    assert cursor.lastrowid is not None
    return cursor.lastrowid


def lines_hold(catalogue: Catalogue) -> bool:
    """Whether the lines are those that versions and their first parents make, and the heads those without a child."""
    db = catalogue.db
    lines = {line: row for line, *row in db.execute("SELECT line, parent, upto, tip FROM lines")}
    tips: dict[int, int] = {}
    for seq, line, parent, springs_from in db.execute(
        "SELECT one.seq, one.line, one.parent, first.line FROM versions AS one "
        "LEFT JOIN versions AS first ON first.seq = one.parent ORDER BY one.seq"
    ):
        if line in tips:
            if tips[line] != parent:
                return False
        elif lines.get(line, [])[:2] != [springs_from, parent]:
            return False
        tips[line] = seq
    heads = db.execute(
        "SELECT seq FROM heads EXCEPT SELECT seq FROM versions WHERE seq NOT IN "
        "(SELECT parent FROM versions WHERE parent IS NOT NULL UNION SELECT parent FROM other_parents)"
    )
    return {line: row[2] for line, row in lines.items()} == tips and heads.fetchone() is None


_ADDED: Final = (int(ChangeKind.ADD), 0, 0)


def change_rows(version: Version) -> Iterator[tuple[str, int, int, int]]:
    """What the catalogue keeps of a version's changes: (path, change, whether it leaves nothing, whether it has an
    archive reference)."""
    for path, change, entry, archived_as in version.changes:
        yield path, int(change), int(entry is None), int(archived_as is not None)


def _add_changes(catalogue: Catalogue, version: Version, seq: int) -> int:
    """Enter a version's changes; how many of them add nothing new."""
    db, rows = catalogue.db, change_rows(version)
    first = catalogue.fact(_PATHS) is None  # its paths are all new, and come in their order
    number = weight = 0
    only_added = True
    while some := list(islice(rows, _AT_ONCE)):
        weight += sum(row[1] != ChangeKind.ADD for row in some)
        if first:
            db.executemany(
                "INSERT INTO paths VALUES (?, ?)", ((row[0], at) for at, row in enumerate(some, number + 1))
            )
            number += len(some)
            only_added = only_added and all(row[1:] == _ADDED for row in some)
        else:
            _add_paths(catalogue, (row[0] for row in some))
            db.executemany(
                "INSERT INTO changes (path, seq, change, gone, archived) "
                "SELECT path, ?, ?, ?, ? FROM paths WHERE name = ?",
                ((seq, *row[1:], row[0]) for row in some),
            )
    if not first:
        return weight
    catalogue.set_fact(_PATHS, number)
    if only_added:
        # 100,000 rows are not handed over one by one.
        db.execute("INSERT INTO changes SELECT path, ?, ?, ?, ? FROM paths", (seq, *_ADDED))
    else:
        db.executemany(
            "INSERT INTO changes (path, seq, change, gone, archived) VALUES (?, ?, ?, ?, ?)",
            ((at, seq, *row[1:]) for at, row in enumerate(change_rows(version), start=1)),
        )
    return weight


def _add_paths(catalogue: Catalogue, names: Iterable[str]) -> None:
    """Number the paths that no version had yet."""
    known = catalogue.fact(_PATHS)
    number = known if isinstance(known, int) else 0
    before = number
    for name in names:
        if catalogue.db.execute("INSERT OR IGNORE INTO paths VALUES (?, ?)", (name, number + 1)).rowcount > 0:
            number += 1
    if number != before:
        catalogue.set_fact(_PATHS, number)


def family(catalogue: Catalogue) -> Iterator[tuple[VersionId, tuple[VersionId, ...]]]:
    """Every version with its parents, in log order: children before parents, for no version is older than one of
    its parents, and of two of one time the greater generation comes first."""
    others: dict[int, list[int]] = {}
    for seq, parent in catalogue.db.execute("SELECT seq, parent FROM other_parents"):
        others.setdefault(seq, []).append(parent)
    rows = catalogue.db.execute(
        "SELECT seq, id, parent FROM versions ORDER BY time DESC, generation DESC, id"
    ).fetchall()
    ids = {seq: VersionId(id) for seq, id, _ in rows}
    for seq, _, parent in rows:
        first = () if parent is None else (ids[parent],)
        yield ids[seq], (*first, *sorted(ids[other] for other in others.get(seq, ())))


# -- HEAD's manifest ---------------------------------------------------------------------------------------


Stat = tuple[int, int, int, int]
"""size, mtime (ns), ctime (ns), inode."""


class Stats(Protocol):
    """Path → stat, None where none is safe to believe: a dict, or what takes less memory."""

    def get(self, path: str, /) -> Stat | None: ...


_UNSAFE: Final = (None, None, None, None)


def advance_tree(
    catalogue: Catalogue, changes: Sequence[Change], stats: Stats = MappingProxyType[str, Stat | None]({})
) -> None:
    """Apply the changes of a child of HEAD to HEAD's manifest. What changed and is not in `stats` (see
    `remember_stat`) has no safe stat."""
    catalogue.forget_still(_folder_of(change.path) for change in changes)
    gone = [(change.path,) for change in changes if change.entry is None]
    catalogue.db.executemany("DELETE FROM tree WHERE path = ?", gone)
    stat_of = stats.get
    catalogue.db.executemany(
        "INSERT OR REPLACE INTO tree VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            (path, int(kind), size, bytes(content), modified, *(stat_of(path) or _UNSAFE))
            for path, kind, size, content, modified in (change.entry for change in changes if change.entry)
        ),
    )


def replace_tree(catalogue: Catalogue, seq: int | None) -> None:
    """Make the table hold the manifest of that version, keeping the stat cache of what stays the same."""
    db = catalogue.db
    catalogue.forget_still()
    wanted = iter(()) if seq is None else entries_at(catalogue, seq)
    row, last, more = next(wanted, None), "", True
    while more:
        # Both in the order of their paths, a stretch at a time: neither is ever held whole.
        page = db.execute(
            "SELECT path, kind, content, modified FROM tree WHERE path > ? ORDER BY path LIMIT ?",
            (last, _AT_ONCE),
        ).fetchall()
        more = len(page) == _AT_ONCE
        last = page[-1][0] if page else ""
        here = {path: facts for path, *facts in page}
        fresh: list[tuple[str, int, int, bytes, int]] = []
        while row is not None and (not more or row[0] <= last):
            path, kind, size, content, modified = row
            if here.pop(path, None) != [kind, content, modified]:
                fresh.append((path, kind, size, content, modified))
            row = next(wanted, None)
            if len(fresh) == _AT_ONCE:
                _put_into_tree(catalogue, fresh)
        db.executemany("DELETE FROM tree WHERE path = ?", [(path,) for path in here])
        _put_into_tree(catalogue, fresh)


def _put_into_tree(catalogue: Catalogue, rows: list[tuple[str, int, int, bytes, int]]) -> None:
    catalogue.db.executemany(
        "INSERT OR REPLACE INTO tree (path, kind, size, content, modified) VALUES (?, ?, ?, ?, ?)", rows
    )
    rows.clear()


def fill_tree(catalogue: Catalogue, rows: Iterable[tuple[object, ...]]) -> None:
    """Make the table hold these rows, which are in path order, and no others: path, kind, size, content, modified,
    and what `lstat` said of the file (four numbers, or None each)."""
    catalogue.forget_still()
    catalogue.db.execute("DELETE FROM tree")
    catalogue.db.executemany("INSERT INTO tree VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", rows)


def doubt_stats(catalogue: Catalogue, fine_ns: int, coarse_ns: int) -> None:
    """Forget what `lstat` said of files with times from these on: the first limit holds where the disk keeps times
    finer than a millisecond (`found.racy`)."""
    catalogue.db.execute(
        "UPDATE tree SET s_size = NULL, s_mtime = NULL, s_ctime = NULL, s_inode = NULL "
        "WHERE max(s_mtime, s_ctime) >= CASE WHEN s_ctime % 1000000 THEN ? ELSE ? END",
        (fine_ns, coarse_ns),
    )


def _folder_of(path: str) -> str:
    return path[: path.rfind("/") + 1]


def remember_stat(catalogue: Catalogue, rows: Collection[tuple[str, Stat | None]]) -> None:
    """Note what `lstat` said of files that have HEAD's content; None where that is not safe to believe."""
    catalogue.forget_still(_folder_of(path) for path, _ in rows)
    catalogue.db.executemany(
        "UPDATE tree SET s_size = ?, s_mtime = ?, s_ctime = ?, s_inode = ? WHERE path = ?",
        ((*(stat or _UNSAFE), path) for path, stat in rows),
    )


# -- canonical manifests -----------------------------------------------------------------------------------


def canonical(rows: Iterable[tuple[str, int, int, bytes, int]]) -> Iterator[bytes]:
    """The canonical form of (path, kind, size, content, modified) rows in path order, entry by entry."""
    pack = msgpack.Packer(use_bin_type=True).pack
    for row in rows:
        yield pack(row[:5])


def manifest_id(catalogue: Catalogue) -> ManifestId:
    """The hash of HEAD's manifest as the table has it now."""
    hasher = ManifestId.hasher()
    for entry in canonical(row[:5] for row in catalogue.tree()):
        hasher.update(entry)
    return ManifestId(hasher.digest())


def manifest_id_at(catalogue: Catalogue, seq: int) -> ManifestId:
    """The hash of a version's manifest, found by following its line."""
    hasher = ManifestId.hasher()
    for entry in canonical(entries_at(catalogue, seq)):
        hasher.update(entry)
    return ManifestId(hasher.digest())


def checkpoint(catalogue: Catalogue) -> bytes | None:
    """HEAD's canonical manifest if a checkpoint is due and it fits one record, else None.

    Due means that at least as many changes other than `add` came since the last one as the manifest has
    entries: then checkpoints cost no more than the changes themselves, and a version's manifest is never
    further than its own size away. Adds do not count, because nothing is saved by writing them again.
    """
    since = catalogue.fact("checkpoint_seq") or 0
    changed = catalogue.db.execute("SELECT total(weight) FROM versions WHERE seq > ?", (since,)).fetchone()[0]
    if changed < max(catalogue.tree_size(), 64):
        return None
    whole = b"".join(canonical(row[:5] for row in catalogue.tree()))
    return whole if len(whole) <= PIECE_LIMIT else None


def tree_against(
    catalogue: Catalogue, seq: int
) -> Iterator[tuple[str, tuple[int, int, bytes, int] | None, tuple[int, int, bytes, int] | None]]:
    """How HEAD's manifest differs from a version's, in path order: (path, HEAD's (kind, size, content,
    modified), the version's); None where a side has no such path. Other times alone are no difference. Who goes
    through it leaves HEAD's manifest as it is meanwhile."""
    heads, others = catalogue.tree(), entries_at(catalogue, seq)
    head, other = next(heads, None), next(others, None)
    while head is not None or other is not None:
        path = min(row[0] for row in (head, other) if row is not None)
        old = new = None
        if head is not None and head[0] == path:
            old, head = head[1:5], next(heads, None)
        if other is not None and other[0] == path:
            new, other = other[1:], next(others, None)
        if old is None or new is None or (old[0], old[2]) != (new[0], new[2]):
            yield path, old, new


def is_ancestor(catalogue: Catalogue, older: int, newer: int) -> bool:
    """Whether one version is another, or among its ancestors through any parent."""
    if older == newer:
        return True
    row = catalogue.db.execute(
        """WITH RECURSIVE above (seq) AS (
            SELECT :newer
            UNION
            SELECT parent FROM above JOIN versions USING (seq) WHERE parent >= :older
            UNION
            SELECT other_parents.parent FROM above JOIN other_parents USING (seq)
            WHERE other_parents.parent >= :older)
        SELECT 1 FROM above WHERE seq = :older LIMIT 1""",
        {"newer": newer, "older": older},
    ).fetchone()
    return row is not None


__all__ = [
    "add_version",
    "advance_tree",
    "canonical",
    "change_rows",
    "changes_of",
    "checkpoint",
    "contents",
    "doubt_stats",
    "each_content",
    "entries_at",
    "entry_at",
    "fill_tree",
    "generation_of",
    "is_ancestor",
    "manifest_id",
    "manifest_id_at",
    "outlines_of",
    "path_history",
    "remember_stat",
    "replace_tree",
    "rows_since",
    "tree_against",
    "version_of",
    "versions_of",
]
