"""What versions changed, read from their records: the catalogue only knows which version to ask.

A record that no pack has yet is kept in the catalogue; the others lie in the packs' metadata groups, in the
order in which they were made, so that reading many of them decodes each group once.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Iterable, Iterator
from typing import Final, TypeGuard, TypeVar

from memstore.errors import DamagedData
from memstore.ids import ContentId, VersionId
from memstore.manifest.outline import Outline, outline_known, outline_of
from memstore.manifest.version import Change, Meta, Version
from memstore.manifest.version_format import LARGE, change_of, decode_known, rows_of
from memstore.objects.catalogue import Catalogue

Told = TypeVar("Told")
Row = tuple[int, int, bytes, int]
"""kind, size, content, modified (milliseconds since the epoch)."""

AT_ONCE: Final = 50_000
"""Paths of a manifest whose rows are gathered together: what bounds memory."""
LOST_NOTE: Final = "(this version's record is damaged; what it changed is not known)"
_REMOVES: Final = 3
"""A change of up to so many members removes its path (docs/format.md, "Versions")."""


def encoded(catalogue: Catalogue, seq: int) -> bytes:
    """A version's encoded bytes. Raises `DamagedData`, also where the file that holds them is gone."""
    id, *where = catalogue.where(seq)
    row = catalogue.db.execute("SELECT encoded FROM records WHERE seq = ?", (seq,)).fetchone()
    return row[0] if row is not None and is_of(row[0], id) else _read(catalogue, id, *where)


def is_of(kept: object, id: VersionId) -> TypeGuard[bytes]:
    """Whether a record that the catalogue keeps is still what its id says: if not, it may be whole in the file."""
    return isinstance(kept, bytes) and VersionId.of(kept) == id


def _read(catalogue: Catalogue, id: VersionId, place: int, offset: int, inner: int) -> bytes:
    """A record from the file it lies in."""
    try:
        record = catalogue.files.version_record(id, place, offset, inner)
    except FileNotFoundError:
        raise DamagedData(
            f"the file that holds version {str(id)[:12]} is gone",
            hint="run the command again; if it stays so, 'memsync verify'",
        ) from None
    if VersionId.of(record) != id:
        raise DamagedData(f"version {str(id)[:12]} does not match its id", hint="run 'memsync verify'")
    return record


# -- versions ----------------------------------------------------------------------------------------------


def versions_of(
    catalogue: Catalogue,
    where: str = "1",
    values: Iterable[object] = (),
    *,
    path: str | None = None,
    lost: bool = False,
) -> Iterator[Version]:
    """Versions in log order, newest first. `where` is SQL on `versions`; with `path` (a file or a folder) only
    those that changed it, with only these changes.

    Raises `DamagedData` for a record that cannot be read; for whoever only shows history (`lost`), a version
    without changes stands there instead, whose note says so.
    """
    return _decoded(catalogue, where, values, path or "", decode_known, _stand_in if lost else None)


def outlines_of(
    catalogue: Catalogue, where: str = "1", values: Iterable[object] = (), *, path: str | None = None
) -> Iterator[Outline]:
    """As `versions_of` for whoever shows history."""

    def stand_in(catalogue: Catalogue, seq: int) -> Outline:
        return outline_of(_stand_in(catalogue, seq))

    return _decoded(catalogue, where, values, path or "", outline_known, stand_in)


def _decoded(
    catalogue: Catalogue,
    where: str,
    values: Iterable[object],
    under: str,
    decode: Callable[[bytes, VersionId, str], Told],
    stand_in: Callable[[Catalogue, int], Told] | None,
) -> Iterator[Told]:
    only, names = "", tuple[str, ...]()
    if under:
        only = (
            "AND seq IN (SELECT seq FROM changes JOIN paths USING (path) WHERE name = ? "
            "OR (name >= ? AND name < ?))"
        )
        names = (under, under + "/", under + "0")
    rows = catalogue.db.execute(
        "SELECT seq, id, place, offset, inner, encoded FROM versions LEFT JOIN records USING (seq) "
        f"WHERE {where} {only} ORDER BY time DESC, generation DESC, id",
        (*values, *names),
    )
    for seq, raw, place, offset, inner, kept in rows:
        id = VersionId(raw)
        try:
            record = kept if is_of(kept, id) else _read(catalogue, id, place, offset, inner)
            yield decode(record, id, under)
        except DamagedData:
            if stand_in is None:
                raise
            yield stand_in(catalogue, seq)


def version_of(catalogue: Catalogue, seq: int, id: VersionId | None = None, *, under: str = "") -> Version:
    """One version, with its changes of a file or folder only where `under` names one. `id` saves a look where it
    is known. Raises `DamagedData`."""
    return decode_known(encoded(catalogue, seq), id or catalogue.version_id(seq), under)


def _stand_in(catalogue: Catalogue, seq: int) -> Version:
    """What the catalogue alone knows of a version."""
    id, generation, time_ms, parent = catalogue.db.execute(
        "SELECT id, generation, time, parent FROM versions WHERE seq = ?", (seq,)
    ).fetchone()
    parents = () if parent is None else (catalogue.version_id(parent),)
    return Version(VersionId(id), parents, generation, time_ms, "", "", Meta(note=LOST_NOTE), ())


def changes_of(catalogue: Catalogue, seq: int) -> Iterator[Change]:
    """The changes of one version, sorted by path."""
    time_ms, rows = rows_of(encoded(catalogue, seq))
    for row in rows:
        yield change_of(row, time_ms)


def path_history(catalogue: Catalogue, path: str) -> Iterator[tuple[int, Change]]:
    """(time in ms, change) of each version that changed that very path, the one entered last first."""
    rows = catalogue.db.execute(
        "SELECT seq FROM paths JOIN changes USING (path) WHERE name = ? ORDER BY seq DESC", (path,)
    ).fetchall()
    for (seq,) in rows:
        time_ms, changes = rows_of(encoded(catalogue, seq))
        for row in changes:
            if row[1] == path:
                yield time_ms, change_of(row, time_ms)


def change_at(catalogue: Catalogue, seq: int, path: str) -> tuple[int, Change]:
    """(time in ms, change) of one path in a version that changed it. Raises `DamagedData`."""
    time_ms, rows = rows_of(encoded(catalogue, seq))
    for row in rows:
        if row[1] == path:
            return time_ms, change_of(row, time_ms)
    raise DamagedData(
        f"version {str(catalogue.version_id(seq))[:12]} does not tell what became of {path}",
        hint="run 'memsync verify'",
    )


def contents(catalogue: Catalogue, *, since: int = 0, lost: bool = False) -> set[ContentId]:
    """Every content that some version names, of those entered after `since` (a seq). Raises `DamagedData` for a
    record that cannot be read, unless it is to be passed over (`lost`)."""
    return set(each_content(catalogue, since=since, lost=lost))


def each_content(catalogue: Catalogue, *, since: int = 0, lost: bool = False) -> Iterator[ContentId]:
    """The same one after the other, as often as it is named: there may be a million."""
    rows = catalogue.db.execute(
        "SELECT seq FROM versions WHERE seq > ? ORDER BY place, offset, inner", (since,)
    ).fetchall()
    for (seq,) in rows:
        try:
            yield from (
                ContentId(row[4]) for row in rows_of(encoded(catalogue, seq))[1] if len(row) > _REMOVES
            )
        except DamagedData:
            if not lost:
                raise


def entered_sizes(catalogue: Catalogue) -> Iterator[tuple[int, str, int, ContentId]]:
    """(version, path, size in bytes, content) of whatever changes leave there; versions that can't be read are passed
    over."""
    for (seq,) in catalogue.db.execute("SELECT seq FROM versions ORDER BY place, offset, inner").fetchall():
        with contextlib.suppress(DamagedData):
            for row in rows_of(encoded(catalogue, seq))[1]:
                if len(row) > _REMOVES:
                    yield seq, row[1], row[3], ContentId(row[4])


def sizes_of(catalogue: Catalogue, wanted: Collection[ContentId]) -> set[int]:
    """The sizes, in bytes, that versions give for these contents. Raises `DamagedData`."""
    found: set[int] = set()
    for (seq,) in catalogue.db.execute("SELECT seq FROM versions ORDER BY place, offset, inner").fetchall():
        found.update(
            row[3] for row in rows_of(encoded(catalogue, seq))[1] if len(row) > _REMOVES and row[4] in wanted
        )
    return found


# -- manifests ---------------------------------------------------------------------------------------------


def entry_at(catalogue: Catalogue, seq: int, path: str) -> tuple[int, int, bytes, int, int] | None:
    """(kind, size, content, modified, seq of the change) of one path in a version; None if not there."""
    changed = catalogue.last_change(seq, path)
    if changed is None:
        return None
    row = _rows(encoded(catalogue, changed), {path}).get(path)
    return None if row is None else (*row, changed)


def entries_at(catalogue: Catalogue, seq: int, under: str = "") -> Iterator[tuple[str, int, int, bytes, int]]:
    """(path, kind, size, content, modified) of a version, in the order of the paths' UTF-8 bytes; under a
    folder (or of one file) only, where given."""
    for path, _, row in rows_since(catalogue, catalogue.last_changes(seq, under)):
        yield path, *row


def rows_since(catalogue: Catalogue, changed: Iterable[tuple[str, int]]) -> Iterator[tuple[str, int, Row]]:
    """(path, version, what the path holds since that version) of each (path, version that changed it and left
    something), in their order, which is that of the paths."""
    walks: dict[int, _Walk] = {}
    for some in _stretches(changed):
        wanted: dict[int, set[str]] = {}
        for path, at in some:
            if at not in walks:
                wanted.setdefault(at, set()).add(path)
        rows: dict[int, dict[str, Row]] = {}
        for at in sorted(wanted):
            record = encoded(catalogue, at)
            if len(record) < LARGE:
                rows[at] = _rows(record, wanted[at])
            else:  # more of its paths are to come: it is read once for all of them
                walks[at] = _Walk(record)
        for path, at in some:
            walk = walks.get(at)
            yield path, at, rows[at][path] if walk is None else walk.upto(path)


def _stretches(changed: Iterable[tuple[str, int]]) -> Iterator[list[tuple[str, int]]]:
    """So many at a time, those of one path together."""
    some: list[tuple[str, int]] = []
    for row in changed:
        if len(some) >= AT_ONCE and row[0] != some[-1][0]:
            yield some
            some = []
        some.append(row)
    if some:
        yield some


class _Walk:
    """One pass over a large version's changes, which are sorted by path."""

    def __init__(self, record: bytes) -> None:
        self._time_ms, rows = rows_of(record)
        self._rows = iter(rows)

    def upto(self, path: str) -> Row:
        """What a path holds, which comes after all that were asked for before."""
        for row in self._rows:
            if row[1] == path:
                return row[2], row[3], row[4], self._time_ms + row[5]
        raise KeyError(path)


def _rows(record: bytes, paths: set[str]) -> dict[str, Row]:
    """What these paths hold since a version, given its encoded bytes, that changed all of them."""
    time_ms, changes = rows_of(record)
    return {
        row[1]: (row[2], row[3], row[4], time_ms + row[5])
        for row in changes
        if len(row) > _REMOVES and row[1] in paths
    }
