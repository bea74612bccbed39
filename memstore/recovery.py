"""Bringing the catalogue up to what segments and packs hold, and finding HEAD.

Everything here belongs to the holder of the store's lock. It runs at the start of each command and costs a
few `stat` calls when nothing happened; after a crash, a deleted catalogue, or packs that came from
elsewhere, it reads what is new.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence

from memstore import files, reflog
from memstore.current import pack_names, segment_names
from memstore.entering import (
    COSTS_UNSURE,
    adopt_strays,
    enter_group,
    enter_tail,
    enter_versions,
    settle_costs,
    tail_of,
    versions_in_tail,
)
from memstore.errors import DamagedData
from memstore.ids import VersionId
from memstore.manifest import history
from memstore.manifest.history import Found
from memstore.objects.catalogue import Catalogue, PlaceKind, path_of
from memstore.objects.connection import CatalogueDamaged
from memstore.objects.pack import check_header
from memstore.objects.reader import ObjectReader
from memstore.objects.segment import Segment


class SegmentCut(CatalogueDamaged):
    """A segment lost commits that the catalogue has seen, and no pack has them."""

    def __init__(self, name: str, what: str = "is shorter than it was") -> None:
        super().__init__(f"segment {name} {what}; what it lost 'memsync repair' brings back where it can")
        self.segment = name


def catch_up(state: str, catalogue: Catalogue, reader: ObjectReader) -> list[str]:
    """Enter what the catalogue lacks, forget what is gone, set HEAD; warnings for a person.

    Runs inside a transaction of the caller's. A torn tail of our own segment is moved to `torn/`.
    """
    warnings: list[str] = []
    found: list[Found] = []
    places = catalogue.places()
    packs = pack_names(state)
    existing = set(packs) | set(segment_names(state))
    gone = {name: row for name, row in places.items() if name not in existing}
    # What comes is looked up among what is there. The places themselves go last: a new one may take their numbers.
    catalogue.db.executemany(
        "DELETE FROM objects WHERE place = ?", [(place,) for place, _, _ in gone.values()]
    )
    fresh = [name for name in packs if name not in places]
    if fresh:
        # Whoever gave them their names may have been killed before he made these durable.
        files.sync_dir(os.path.join(state, "packs"))
    for name in fresh:
        try:
            found += _enter_pack(state, catalogue, name)
        except DamagedData as error:
            warnings.append(f"{error.message}; {error.hint}")
    heads, own = _enter_segments(state, catalogue, reader, found, warnings)
    if not heads and not catalogue.places():
        _require_ours(state)
    # A version whose pack went has its place in the one that took it over.
    for name, (place, kind, _) in gone.items():
        catalogue.drop_place(place)
        catalogue.db.execute("DELETE FROM facts WHERE name = ?", ("head of " + name,))
        if kind == PlaceKind.PACK:
            catalogue.set_fact(COSTS_UNSURE, 1)
    enter_versions(catalogue, found)
    _find_again(state, catalogue)
    for name, (place, kind, _) in gone.items():
        if kind == PlaceKind.SEGMENT and catalogue.holds_versions(place):
            raise SegmentCut(name, "is gone")
    if catalogue.fact(COSTS_UNSURE):
        settle_costs(catalogue)
    adopt_strays(catalogue, reader)
    if catalogue.db.execute("SELECT 1 FROM strays LIMIT 1").fetchone():
        warnings += _stand_in(state, catalogue, reader, heads.values())
    _set_head(catalogue, _find_head(state, catalogue, heads, own))
    catalogue.set_fact("complete", 1)
    return warnings


def _find_again(state: str, catalogue: Catalogue) -> None:
    """Versions whose pack is gone may lie in one that was here already: a collection left them to it."""
    gone = "SELECT 1 FROM versions WHERE place <> ? AND place NOT IN (SELECT place FROM places) LIMIT 1"
    if catalogue.db.execute(gone, (history.NOWHERE,)).fetchone() is None:
        return
    found: list[Found] = []
    for name, (place, kind, _) in catalogue.places().items():
        if kind == PlaceKind.PACK:
            found += versions_in_tail(place, tail_of(state, name))
    enter_versions(catalogue, found)


def _stand_in(
    state: str, catalogue: Catalogue, reader: ObjectReader, heads: Iterable[VersionId | None]
) -> list[str]:
    from memstore import salvage  # damage is seldom, and every command comes by here

    lost = []
    for head in {*(list(heads) or [stand.head for stand in reflog.read(state)[-1:]])}:
        lost += salvage.stand_in(catalogue, reader, head)
        adopt_strays(catalogue, reader)
    return [f"the record of version {str(id)[:12]} is damaged or gone: run 'memsync verify'" for id in lost]


# -- packs -------------------------------------------------------------------------------------------------


def _enter_pack(state: str, catalogue: Catalogue, name: str) -> list[Found]:
    descriptor = files.open_read(path_of(state, name, PlaceKind.PACK))
    try:
        what = f"pack {name[:12]}"
        facts = check_header(files.read_at(descriptor, 0, 4096), what)
    finally:
        os.close(descriptor)
    if facts.get("store") != catalogue.store:
        raise _foreign(what)
    return enter_tail(catalogue, name, tail_of(state, name))


def _foreign(what: str) -> DamagedData:
    return DamagedData(
        f"{what} belongs to another store", hint="move it out of .memsync; it is not read here"
    )


def _require_ours(state: str) -> None:
    """Raises `DamagedData` where there are packs and segments, and none is of the store that `format` names:
    going on would begin another store beside this one."""
    if pack_names(state) or segment_names(state):
        raise DamagedData(
            f"no pack and no segment in {state} belongs to the store that its format file names",
            hint="run 'memsync repair': the files say which store they are of",
        )


# -- segments ----------------------------------------------------------------------------------------------


def _segment_path(state: str, name: str) -> str:
    return os.path.join(state, "segments", name + ".seg")


def _enter_segments(
    state: str, catalogue: Catalogue, reader: ObjectReader, found: list[Found], warnings: list[str]
) -> tuple[dict[str, VersionId | None], set[str]]:
    """(what each segment says of HEAD, which are our own); versions that are new here go to `found`."""
    heads: dict[str, VersionId | None] = {}
    own: set[str] = set()
    doubtful: list[Found] = []
    places = catalogue.places()
    for name in segment_names(state):
        try:
            segment = Segment(_segment_path(state, name))
        except DamagedData as error:
            warnings.append(f"{error.message}; {error.hint}")
            continue
        try:
            if not segment.is_of(catalogue.store):
                trouble = _foreign(f"segment {name}")
                warnings.append(f"{trouble.message}; {trouble.hint}")
                continue
            if segment.own:
                own.add(name)
            good, damaged = _enter_segment(state, catalogue, segment, places.get(name), heads, warnings)
            found += good
            if damaged:
                from memstore import salvage

                place = catalogue.places()[name][0]
                for start, end in damaged:
                    records = list(segment.salvage(start, end))
                    salvage.enter_objects(catalogue, reader, records, place)
                    doubtful += salvage.versions_in(segment, records, place)
        finally:
            segment.close()
    reader.close()
    if doubtful:
        from memstore import salvage

        found += salvage.proven(catalogue, found, doubtful, heads.values())
    return heads, own


def _enter_segment(
    state: str,
    catalogue: Catalogue,
    segment: Segment,
    known: tuple[int, int, int] | None,
    heads: dict[str, VersionId | None],
    warnings: list[str],
) -> tuple[list[Found], list[tuple[int, int]]]:
    """The versions of its good groups that are new here, and its damaged stretches."""
    fact = "head of " + segment.name
    size = segment.size()
    if known is not None and known[2] == size:
        head = catalogue.fact(fact)
        heads[segment.name] = VersionId(head) if isinstance(head, bytes) else None
        return [], []
    if known is not None and known[2] > size:
        raise SegmentCut(segment.name)
    scan = segment.scan(known[2] if known else None)
    if known is not None and segment.own and scan.end < size and not segment.ends_at(known[2]):
        # Else what is whole would be cut off as torn.
        raise CatalogueDamaged(f"the catalogue is wrong about where segment {segment.name} ends")
    if scan.groups:
        segment.make_durable(scan.groups[-1])
    place = known[0] if known else catalogue.add_place(PlaceKind.SEGMENT, segment.name, segment.start)
    found: list[Found] = []
    for group in scan.groups:
        found += enter_group(catalogue, segment, group, place)
    if scan.groups:
        heads[segment.name] = scan.groups[-1].head
        catalogue.set_fact(fact, scan.groups[-1].head)
    elif known is not None:  # else it has nothing to say: each begins with a commit that repeats HEAD
        head = catalogue.fact(fact)
        heads[segment.name] = VersionId(head) if isinstance(head, bytes) else None
    for start, end in scan.damaged:
        warnings.append(
            f"segment {segment.name} is damaged between bytes {start} and {end}: run 'memsync verify'"
        )
    end = scan.end
    if segment.own:
        segment.cut_torn_tail(scan, os.path.join(state, "torn"))
    else:
        end = scan.size
    catalogue.set_end(place, end, len(scan.damaged))
    return found, scan.damaged


# -- HEAD --------------------------------------------------------------------------------------------------


def _find_head(
    state: str, catalogue: Catalogue, heads: dict[str, VersionId | None], own: set[str]
) -> VersionId | None:
    """What our own segment says; where none is ours (a copied folder), what any of them says; where there is
    none, what the reflog said last, else the newest head there is."""
    said = [head for name, head in heads.items() if name in own] or list(heads.values())
    known = [head for head in said if head is not None and catalogue.seq(head) is not None]
    if known:
        return _newest(catalogue, known)
    if said and all(head is None for head in said):
        return None
    for stand in reversed(reflog.read(state)):
        if catalogue.seq(stand.head) is not None:
            return stand.head
    return next(iter(catalogue.heads()), None)


def _newest(catalogue: Catalogue, ids: Sequence[VersionId]) -> VersionId:
    marks = ",".join("?" * len(ids))
    row = catalogue.db.execute(
        f"SELECT id FROM versions WHERE seq IN ({marks}) ORDER BY time DESC, generation DESC, id LIMIT 1",
        [catalogue.seq(id) for id in ids],
    ).fetchone()
    return VersionId(row[0])


def _set_head(catalogue: Catalogue, head: VersionId | None) -> None:
    """Note HEAD, and make `tree` its manifest."""
    before = catalogue.fact("head")
    if (head is None and before is None) or before == head:
        return
    catalogue.set_fact("head", head)
    history.replace_tree(catalogue, None if head is None else catalogue.seq(head))
