"""Which contents a set of versions holds: found by intervals, never by building a manifest for each.

A path holds what its latest change along the version's line says, and where the line has none yet, what the
version holds that the line sprang from (see `objects/catalogue.py`).
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Collection, Iterable, Iterator
from itertools import groupby, tee

from memstore.ids import ContentId
from memstore.manifest import history
from memstore.manifest.version import ChangeKind
from memstore.objects.catalogue import Catalogue

_Rows = dict[int, tuple[list[int], list[ContentId | None]]]
"""line → the versions that changed a path there, oldest first, and what it held from each of them on."""


def held(catalogue: Catalogue, versions: Collection[int]) -> set[ContentId]:
    """Every content in the manifest of any of these versions (by number)."""
    kept = _by_line(catalogue, versions)
    springs = _springs(catalogue)
    found: set[ContentId] = set()
    for changes in _paths(catalogue):
        for line, seqs in kept.items():
            when, what = changes.get(line, ((), ()))
            ends = [*when[1:], seqs[-1] + 1]
            for number, (start, end) in enumerate(zip(when, ends, strict=False)):
                content = what[number]
                if content is not None and bisect_left(seqs, start) < bisect_left(seqs, end):
                    found.add(content)
            if not when or seqs[0] < when[0]:
                content = _inherited(changes, springs, line)
                if content is not None:
                    found.add(content)
    return found


def named_beside(catalogue: Catalogue, others: Collection[ContentId]) -> set[ContentId]:
    """Every content that any version names, without these."""
    return {content for content in history.each_content(catalogue) if content not in others}


def archived_by_name(catalogue: Catalogue, versions: Collection[int] | None = None) -> set[ContentId]:
    """What `memsync archive` put away, in any version or in one of these: the content that the path held just
    before."""
    rows = catalogue.db.execute(
        "SELECT seq, parent, name FROM changes JOIN versions USING (seq) JOIN paths USING (path) "
        "WHERE change = ? AND archived AND parent IS NOT NULL",
        (int(ChangeKind.ARCHIVE),),
    ).fetchall()
    meant = ((parent, path) for seq, parent, path in rows if versions is None or seq in versions)
    before = (history.entry_at(catalogue, parent, path) for parent, path in meant)
    return {ContentId(entry[2]) for entry in before if entry is not None}


def with_ancestors(catalogue: Catalogue, versions: Iterable[int]) -> set[int]:
    """These versions and all that they descend from, through any parent."""
    parents: dict[int, list[int]] = {}
    for seq, parent in catalogue.db.execute(
        "SELECT seq, parent FROM versions WHERE parent IS NOT NULL UNION ALL SELECT seq, parent FROM other_parents"
    ):
        parents.setdefault(seq, []).append(parent)
    seen: set[int] = set()
    todo = [*versions]
    while todo:
        seq = todo.pop()
        if seq not in seen:
            seen.add(seq)
            todo += parents.get(seq, ())
    return seen


def _by_line(catalogue: Catalogue, versions: Collection[int]) -> dict[int, list[int]]:
    wanted = versions if isinstance(versions, set | frozenset) else set(versions)
    lines: dict[int, list[int]] = {}
    for seq, line in catalogue.db.execute("SELECT seq, line FROM versions ORDER BY seq"):
        if seq in wanted:
            lines.setdefault(line, []).append(seq)
    return lines


def _springs(catalogue: Catalogue) -> dict[int, tuple[int | None, int | None]]:
    """line → (the line it sprang from, the last version of that one which counts for it)."""
    return {
        line: (parent, upto)
        for line, parent, upto in catalogue.db.execute("SELECT line, parent, upto FROM lines")
    }


def _paths(catalogue: Catalogue) -> Iterator[_Rows]:
    """For each path of history what it held, and when."""
    rows: Iterator[tuple[str, int, int, int]] = catalogue.db.execute(
        "SELECT name, line, changes.seq, gone FROM paths CROSS JOIN changes USING (path) "
        "CROSS JOIN versions USING (seq) ORDER BY name, changes.seq"
    )
    rows, again = tee(rows)
    found = history.rows_since(catalogue, ((name, seq) for name, _, seq, gone in again if not gone))
    for _, group in groupby(rows, key=lambda row: row[0]):
        changes: _Rows = {}
        for _, line, seq, gone in group:
            when, what = changes.setdefault(line, ([], []))
            when.append(seq)
            what.append(None if gone else ContentId(next(found)[2][2]))
        yield changes


def _inherited(
    changes: _Rows, springs: dict[int, tuple[int | None, int | None]], line: int
) -> ContentId | None:
    parent, upto = springs[line]
    while parent is not None and upto is not None:
        when, what = changes.get(parent, ((), ()))
        at = bisect_right(when, upto)
        if at:
            return what[at - 1]
        parent, upto = springs[parent]
    return None
