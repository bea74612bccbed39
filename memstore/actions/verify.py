"""verify: read everything back and compare it with the hash that names it.

Damage is reported, never mended here: which object, which paths need it, and what to do.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import zip_longest
from typing import TYPE_CHECKING, Final

import msgpack
from blake3 import blake3

from memstore import files, recovery
from memstore.actions import state_files
from memstore.errors import DamagedData
from memstore.ids import ContentId, Id, PackId, VersionId
from memstore.manifest import history
from memstore.manifest.version import Version, decode
from memstore.objects.catalogue import Location, PlaceKind, path_of
from memstore.objects.pack import check_header, read_tail
from memstore.objects.record import RecordKind
from memstore.objects.segment import Segment
from memstore.progress import SILENT, Progress
from memstore.reports import Problem, VerifyReport

if TYPE_CHECKING:
    from memstore.repository import Repository

PATHS_SHOWN: Final = 20
_PIECE: Final = 1 << 20
_MEND: Final = (
    "'memsync repair' brings back what the remote, another copy here or a file in Data/ still has of it"
)


def verify(repository: Repository, *, quick: bool = False, progress: Progress = SILENT) -> VerifyReport:
    """Check the local store. `quick` checks packs, segments and versions, but reads no contents."""
    found_already = list(repository.warnings)
    repository.refresh()
    problems: list[Problem] = []
    problems += _check_packs(repository, progress)
    problems += _check_segments(repository)
    problems += state_files.check(repository)
    problems += _check_versions(repository)
    count = size = 0
    if not quick:
        count, size, damaged = _check_contents(repository, progress)
        problems += damaged
    versions = repository.catalogue.version_count()
    notes = tuple(dict.fromkeys([*found_already, *repository.warnings]))
    return VerifyReport(count, size, tuple(problems), versions, notes)


# -- packs and segments ------------------------------------------------------------------------------------


def _check_packs(repository: Repository, progress: Progress) -> Iterator[Problem]:
    names = recovery.pack_names(repository.state)
    known = repository.catalogue.places()
    sizes = {name: files.size(path_of(repository.state, name, PlaceKind.PACK)) for name in names}
    progress.begin("checking packs", sum(sizes.values()), "B")
    try:
        for name in names:
            path = path_of(repository.state, name, PlaceKind.PACK)
            trouble = None
            try:
                if hash_pack(path, progress) != name:
                    trouble = "its bytes do not match its name"
                else:
                    _read_pack(path, name)
            except (DamagedData, OSError) as error:
                trouble = str(error)
            if trouble is not None:
                yield Problem("damaged_pack", name, paths_in(repository, name), f"{trouble}; {_MEND}")
            elif name not in known:
                yield Problem("unread_pack", name, (), "run 'memsync status', which reads it in")
    finally:
        progress.end()
    on_disk = set(names) | set(recovery.segment_names(repository.state))
    for row in repository.catalogue.db.execute(
        "SELECT DISTINCT versions.place FROM versions LEFT JOIN places USING (place) "
        "WHERE places.place IS NULL AND versions.place <> ?",
        (history.NOWHERE,),
    ):
        yield Problem("missing_pack", str(row[0]), (), f"a pack that held versions is gone; {_MEND}")
    for name in sorted(set(known) - on_disk):
        yield Problem("missing_pack", name, paths_in(repository, name), _MEND)


def hash_pack(path: str, progress: Progress) -> str:
    """The name that a pack with these bytes has."""
    hasher = blake3(max_threads=blake3.AUTO)
    descriptor = files.open_read(path)
    try:
        offset = 0
        while piece := files.read_at(descriptor, offset, _PIECE):
            hasher.update(piece)
            offset += len(piece)
            progress.advance(len(piece))
    finally:
        os.close(descriptor)
    return str(PackId(hasher.digest()))


def _read_pack(path: str, name: str) -> None:
    descriptor = files.open_read(path)
    try:
        check_header(files.read_at(descriptor, 0, 4096), f"pack {name[:12]}")
        read_tail(
            lambda offset, length: files.read_at(descriptor, offset, length),
            os.fstat(descriptor).st_size,
            f"pack {name[:12]}",
        )
    finally:
        os.close(descriptor)


def _check_segments(repository: Repository) -> Iterator[Problem]:
    for name in recovery.segment_names(repository.state):
        try:
            segment = Segment(path_of(repository.state, name, PlaceKind.SEGMENT))
        except DamagedData as error:
            yield Problem("damaged_segment", name, (), f"{error.message}; {_MEND}")
            continue
        except FileNotFoundError:
            continue  # sealed by a push just now
        try:
            scan = segment.scan()
        finally:
            segment.close()
        if segment.header_is_damaged and not scan.damaged:
            yield Problem("damaged_segment", name, (), f"it does not begin as it must; {_MEND}")
        for start, end in scan.damaged:
            yield Problem(
                "damaged_segment",
                name,
                _paths_between(repository, name, start, end),
                f"bytes {start} to {end} do not match their commit record; nothing was cut off; {_MEND}",
            )
        known = repository.catalogue.places().get(name)
        if known is not None and known[2] > scan.end and not scan.damaged:
            yield Problem(
                "damaged_segment",
                name,
                _paths_between(repository, name, scan.end, known[2]),
                f"bytes {scan.end} to {known[2]} do not match their commit record; {_MEND}",
            )


# -- versions and contents ---------------------------------------------------------------------------------


def _check_versions(repository: Repository) -> Iterator[Problem]:
    db = repository.catalogue.db
    rows = db.execute(
        "SELECT seq, id, place, offset, inner FROM versions ORDER BY place, offset, inner"
    ).fetchall()
    wrong: list[str] = []
    for seq, id, place, offset, inner in rows:
        version_id = VersionId(id)
        if place == history.NOWHERE:
            hint = f"its record is lost, what came before and after it is not; {_MEND}"
            yield Problem("missing_version", str(version_id), (), hint)
            continue
        try:
            encoded = repository.reader.version_record(version_id, place, offset, inner)
            version = decode(encoded, id=version_id)
        except (DamagedData, FileNotFoundError) as error:
            yield Problem("damaged_version", str(version_id), (), f"{error}; {_MEND}")
            continue
        if not _is_as_recorded(repository, seq, version):
            wrong.append(str(version_id))
        if version.manifest is None:
            continue
        if history.manifest_id_at(repository.catalogue, seq) != version.manifest:
            yield Problem(
                "manifest_mismatch",
                str(version_id),
                (),
                f"what its changes add up to is not what it says; {_MEND}",
            )
    head = repository.head_seq()
    recorded = repository.catalogue.entries_at(head) if head is not None else iter(())
    tree = (row[:5] for row in repository.catalogue.tree())
    if wrong or any(one != other for one, other in zip_longest(recorded, tree)):
        hint = "it says other things than the versions do; 'memsync repair' builds it anew"
        yield Problem("damaged_catalogue", "catalogue.sqlite", (), hint, tuple(wrong[:PATHS_SHOWN]))
    for (id,) in db.execute("SELECT id FROM strays").fetchall():
        yield Problem(
            "missing_version", str(VersionId(id)), (), f"an earlier version of it is missing; {_MEND}"
        )


def _is_as_recorded(repository: Repository, seq: int, version: Version) -> bool:
    """Whether the catalogue says of a version what its own record does."""
    catalogue = repository.catalogue
    try:
        known = next(history.versions_of(catalogue, "seq = ?", (seq,)))
    except (ValueError, TypeError, msgpack.UnpackException):
        return False
    return (
        set(known.parents) == set(version.parents)
        and known.parents[:1] == version.parents[:1]
        and known[2:7] == version[2:7]
        and known.changes == version.changes
    )


def _check_contents(repository: Repository, progress: Progress) -> tuple[int, int, list[Problem]]:
    """Every content that a version names, and every stored form of it."""
    db = repository.catalogue.db
    total = db.execute("SELECT count(DISTINCT content) FROM changes WHERE content IS NOT NULL").fetchone()[0]
    rows = db.execute("SELECT DISTINCT content FROM changes WHERE content IS NOT NULL ORDER BY content")
    progress.begin("reading contents", total, "objects")
    count = size = 0
    problems: list[Problem] = []
    try:
        for (content,) in rows.fetchall():
            id = ContentId(content)
            count += 1
            try:
                size += _check_content(repository, id)
            except DamagedData as error:
                kind = "missing_object" if error.code == "missing_object" else "damaged_object"
                problems.append(
                    Problem(
                        kind,
                        str(id),
                        paths_of(repository, id),
                        f"{error.message}; {_MEND}",
                        versions_of(repository, id),
                    )
                )
            progress.advance(1)
    finally:
        progress.end()
    return count, size, problems


def _check_content(repository: Repository, id: ContentId) -> int:
    """The content's plain bytes. Each stored form must decode, for one day it may be the only one."""
    length = 0
    for piece in repository.stream(id):
        length += len(piece)
    forms = [row for row in repository.catalogue.locations(id) if row.kind == RecordKind.CONTENT]
    if len(forms) > 1:
        for form in forms:
            _check_form(repository, id, form)
    return length


def _check_form(repository: Repository, id: Id, form: Location) -> None:
    chain = repository.catalogue.chain(form)
    repository.reader.load(ContentId(id), [chain])


def paths_of(repository: Repository, content: ContentId) -> tuple[str, ...]:
    """Paths of which some version has that content, or a recipe with it as a piece."""
    rows = repository.catalogue.db.execute(
        "SELECT DISTINCT name FROM changes JOIN paths USING (path) WHERE content = ? ORDER BY name LIMIT ?",
        (bytes(content), PATHS_SHOWN),
    )
    return tuple(row[0] for row in rows)


def versions_of(repository: Repository, content: ContentId) -> tuple[str, ...]:
    """Versions that brought a path that content, the newest first."""
    rows = repository.catalogue.db.execute(
        "SELECT DISTINCT versions.id, versions.seq FROM changes JOIN versions USING (seq) WHERE content = ? "
        "ORDER BY versions.seq DESC LIMIT ?",
        (bytes(content), PATHS_SHOWN),
    )
    return tuple(str(VersionId(row[0])) for row in rows)


def paths_in(repository: Repository, name: str) -> tuple[str, ...]:
    rows = repository.catalogue.db.execute(
        "SELECT DISTINCT paths.name FROM places JOIN versions USING (place) JOIN changes USING (seq) "
        "JOIN paths USING (path) WHERE places.name = ? ORDER BY paths.name LIMIT ?",
        (name, PATHS_SHOWN),
    )
    return tuple(row[0] for row in rows)


def _paths_between(repository: Repository, name: str, start: int, end: int) -> tuple[str, ...]:
    rows = repository.catalogue.db.execute(
        "SELECT DISTINCT paths.name FROM places JOIN versions USING (place) JOIN changes USING (seq) "
        "JOIN paths USING (path) WHERE places.name = ? AND versions.offset BETWEEN ? AND ? "
        "ORDER BY paths.name LIMIT ?",
        (name, start, end, PATHS_SHOWN),
    )
    return tuple(row[0] for row in rows)
