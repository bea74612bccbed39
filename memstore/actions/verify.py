"""verify: read everything back and compare it with the hash that names it.

Damage is reported, never mended here: which object, which paths need it, and what to do.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from blake3 import blake3

from memstore import files, recovery
from memstore.errors import DamagedData
from memstore.ids import ContentId, Id, PackId, VersionId
from memstore.manifest import history
from memstore.manifest.version import decode
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
_FROM_REMOTE: Final = "'memsync clone' from the remote into another folder has a good copy, if one was pushed"


def verify(repository: Repository, *, quick: bool = False, progress: Progress = SILENT) -> VerifyReport:
    """Check the local store. `quick` checks packs, segments and versions, but reads no contents."""
    found_already = list(repository.warnings)
    repository.refresh()
    problems: list[Problem] = []
    problems += _check_packs(repository, progress)
    problems += _check_segments(repository)
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
                if _hash_file(path, progress) != name:
                    trouble = "its bytes do not match its name"
                else:
                    _read_pack(path, name)
            except (DamagedData, OSError) as error:
                trouble = str(error)
            if trouble is not None:
                yield Problem("damaged_pack", name, paths_in(repository, name), f"{trouble}; {_FROM_REMOTE}")
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
        yield Problem("missing_pack", str(row[0]), (), f"a pack that held versions is gone; {_FROM_REMOTE}")
    for name in sorted(set(known) - on_disk):
        yield Problem("missing_pack", name, paths_in(repository, name), _FROM_REMOTE)


def _hash_file(path: str, progress: Progress) -> str:
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
            yield Problem("damaged_segment", name, (), f"{error.message}; {_FROM_REMOTE}")
            continue
        except FileNotFoundError:
            continue  # sealed by a push just now
        try:
            scan = segment.scan()
        finally:
            segment.close()
        if segment.header_is_damaged and not scan.damaged:
            yield Problem("damaged_segment", name, (), f"it does not begin as it must; {_FROM_REMOTE}")
        for start, end in scan.damaged:
            yield Problem(
                "damaged_segment",
                name,
                _paths_between(repository, name, start, end),
                f"bytes {start} to {end} do not match their commit record; nothing was cut off; {_FROM_REMOTE}",
            )
        known = repository.catalogue.places().get(name)
        if known is not None and known[2] > scan.end and not scan.damaged:
            yield Problem(
                "damaged_segment",
                name,
                _paths_between(repository, name, scan.end, known[2]),
                f"bytes {scan.end} to {known[2]} do not match their commit record; {_FROM_REMOTE}",
            )


# -- versions and contents ---------------------------------------------------------------------------------


def _check_versions(repository: Repository) -> Iterator[Problem]:
    db = repository.catalogue.db
    rows = db.execute(
        "SELECT seq, id, place, offset, inner FROM versions ORDER BY place, offset, inner"
    ).fetchall()
    for seq, id, place, offset, inner in rows:
        version_id = VersionId(id)
        if place == history.NOWHERE:
            hint = f"its record is lost, what came before and after it is not; {_FROM_REMOTE}"
            yield Problem("missing_version", str(version_id), (), hint)
            continue
        try:
            encoded = repository.reader.version_record(version_id, place, offset, inner)
            version = decode(encoded, id=version_id)
        except (DamagedData, FileNotFoundError) as error:
            yield Problem("damaged_version", str(version_id), (), f"{error}; {_FROM_REMOTE}")
            continue
        if version.manifest is None:
            continue
        if history.manifest_id_at(repository.catalogue, seq) != version.manifest:
            yield Problem(
                "manifest_mismatch",
                str(version_id),
                (),
                "what its changes add up to is not what it says; delete .memsync/catalogue.sqlite and verify again",
            )
    for (id,) in db.execute("SELECT id FROM strays").fetchall():
        yield Problem(
            "missing_version", str(VersionId(id)), (), f"an earlier version of it is missing; {_FROM_REMOTE}"
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
                    Problem(kind, str(id), paths_of(repository, id), f"{error.message}; {_FROM_REMOTE}")
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
