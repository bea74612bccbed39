"""verify: read everything back and compare it with the hash that names it.

Damage is reported, never mended here: which object, which paths need it, and what to do.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Collection, Iterator, Sequence
from functools import reduce
from itertools import zip_longest
from typing import TYPE_CHECKING, Final, NamedTuple

from blake3 import blake3

from memstore import files, salvage
from memstore.actions import state_files
from memstore.actions.sound import Sound, wrong_sizes
from memstore.actions.unfinished import FINISH_FORGETTING, FORGETTING
from memstore.current import pack_names, segment_names
from memstore.errors import DamagedData, DiskTrouble, MissingBase
from memstore.ids import ContentId, PackId, VersionId
from memstore.manifest import history
from memstore.manifest.removed import in_force
from memstore.manifest.version import Version
from memstore.manifest.version_format import decode
from memstore.objects.catalogue import PlaceKind, path_of
from memstore.objects.pack import check_header, read_tail
from memstore.objects.reader import Removed
from memstore.objects.record import RecordKind
from memstore.objects.segment import Segment
from memstore.progress import SILENT, Progress
from memstore.reports import Problem, VerifyReport, counted

if TYPE_CHECKING:
    from memstore.repository import Repository

PATHS_SHOWN: Final = 20
UNNAMED: Final = "of unknown name"
"""The id of a missing pack that the catalogue knows only by what it held."""
TRIES: Final = 3
_PIECE: Final = 1 << 20
MEND: Final = (
    "'memsync repair' brings back what the remote, another copy here or a file in Data/ still has of it"
)


def verify(repository: Repository, *, quick: bool = False, progress: Progress = SILENT) -> VerifyReport:
    """Check the local store. `quick` checks packs, segments and versions, but reads no contents."""
    repository.check_catalogue(quick=quick)
    return read_through(repository, quick=quick, progress=progress)


def read_through(repository: Repository, *, quick: bool = False, progress: Progress = SILENT) -> VerifyReport:
    """The same for whoever has had the catalogue checked."""
    for _ in range(TRIES):
        before = _files(repository)
        with contextlib.suppress(
            FileNotFoundError
        ):  # what the catalogue names may be moved away at any moment
            report = _verify(repository, quick=quick, progress=progress)
            if report.ok or _files(repository) == before:
                return report
        # Another process sealed or collected meanwhile: what it moved away is no damage.
        repository.reader.close()
    with repository.locked():  # somebody did in every one of them: once more, while they wait
        return _verify(repository, quick=quick, progress=progress, alone=True)


def _files(repository: Repository) -> list[str]:
    return [*pack_names(repository.state), *segment_names(repository.state)]


def _verify(repository: Repository, *, quick: bool, progress: Progress, alone: bool = False) -> VerifyReport:
    """Raises `FileNotFoundError` for a file that the catalogue names and that is not there, unless nobody else can have
    moved it (`alone`)."""
    found_already = list(repository.warnings)
    repository.refresh()
    problems: list[Problem] = []
    problems += _check_packs(repository, progress)
    problems += _check_segments(repository)
    problems += state_files.check(repository)
    problems += _check_versions(repository)
    strays = _strays(repository)
    if strays and repository.head_seq() is not None:
        # All that HEAD comes from is here: these are of others, and a pull was cut off between two packs.
        what = counted(len(strays), "version")
        found_already.append(
            f"{what} of other devices came without what is before: 'memsync pull' fetches the rest, where the remote "
            "still has it"
        )
    else:
        problems += strays
    count = size = 0
    if not quick:
        try:
            count, size, damaged, removed = _check_contents(repository, progress)
        except FileNotFoundError:
            if not alone:
                raise
            damaged, removed = [_catalogue_damaged()], 0
        problems += damaged
        if removed:
            were = f"{counted(removed, 'content')} {'was' if removed == 1 else 'were'}"
            found_already.append(f"{were} removed by retention, or forgotten: that is no damage")
    if files.exists(os.path.join(repository.state, FORGETTING)):
        found_already.append(f"a 'memsync forget' was cut off before its end; {FINISH_FORGETTING}")
    versions = repository.catalogue.version_count()
    notes = tuple(dict.fromkeys([*found_already, *repository.warnings]))
    return VerifyReport(count, size, tuple(problems), versions, notes, quick)


# -- packs and segments ------------------------------------------------------------------------------------


def _check_packs(repository: Repository, progress: Progress) -> Iterator[Problem]:
    names = pack_names(repository.state)
    known = repository.catalogue.places()
    sizes = dict.fromkeys(names, 0)
    for name in names:
        with contextlib.suppress(FileNotFoundError):
            sizes[name] = files.size(path_of(repository.state, name, PlaceKind.PACK))
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
            except (DamagedData, DiskTrouble, OSError) as error:
                trouble = str(error)
            if trouble is not None:
                yield Problem("damaged_pack", name, paths_in(repository, name), f"{trouble}; {MEND}")
            elif name not in known:
                yield Problem("unread_pack", name, (), "run 'memsync status', which reads it in")
    finally:
        progress.end()
    on_disk = set(names) | set(segment_names(repository.state))
    lost: dict[int, list[str]] = {}
    for place, id in repository.catalogue.db.execute(
        "SELECT versions.place, id FROM versions LEFT JOIN places USING (place) "
        "WHERE places.place IS NULL AND versions.place <> ? ORDER BY seq DESC",
        (history.NOWHERE,),
    ):
        lost.setdefault(place, []).append(str(VersionId(id)))
    for ids in lost.values():
        hint = f"a pack that held versions is gone; {MEND}"
        yield Problem("missing_pack", UNNAMED, (), hint, tuple(ids[:PATHS_SHOWN]))
    for name in sorted(set(known) - on_disk):
        yield Problem("missing_pack", name, paths_in(repository, name), MEND)


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
    places = repository.catalogue.places()  # before any is read: meanwhile others go on appending
    for name in segment_names(repository.state):
        try:
            segment = Segment(path_of(repository.state, name, PlaceKind.SEGMENT), writable=False)
        except DamagedData as error:
            yield Problem("damaged_segment", name, (), f"{error.message}; {MEND}")
            continue
        except FileNotFoundError:
            continue  # sealed by a push just now
        try:
            scan = segment.scan()
        finally:
            segment.close()
        if segment.header_is_damaged and not scan.damaged:
            yield Problem("damaged_segment", name, (), f"it does not begin as it must; {MEND}")
        for start, end in scan.damaged:
            yield Problem(
                "damaged_segment",
                name,
                _paths_between(repository, name, start, end),
                f"bytes {start} to {end} do not match their commit record; nothing was cut off; {MEND}",
            )
        known = places.get(name)
        if known is not None and known[2] > scan.end and not scan.damaged:
            yield Problem(
                "damaged_segment",
                name,
                _paths_between(repository, name, scan.end, known[2]),
                f"bytes {scan.end} to {known[2]} do not match their commit record; {MEND}",
            )


# -- versions and contents ---------------------------------------------------------------------------------


def _check_versions(repository: Repository) -> Iterator[Problem]:
    db = repository.catalogue.db
    rows = db.execute(
        "SELECT seq, id, place, offset, inner FROM versions ORDER BY place, offset, inner"
    ).fetchall()
    wrong: list[str] = []
    changes = _changes_by_version(repository)
    for seq, id, place, offset, inner in rows:
        version_id = VersionId(id)
        if place == history.NOWHERE:
            hint = f"its record is lost, what came before and after it is not; {MEND}"
            yield Problem("missing_version", str(version_id), (), hint)
            continue
        try:
            encoded = repository.reader.version_record(version_id, place, offset, inner)
            version = decode(encoded, id=version_id)
        except (DamagedData, FileNotFoundError) as error:
            said = f"{error}" if isinstance(error, DamagedData) else "the file that held it is gone"
            yield Problem("damaged_version", str(version_id), (), f"{said}; {MEND}")
            continue
        kept = salvage.kept(repository.catalogue, seq)
        if kept not in (b"", encoded) or not _is_as_recorded(repository, seq, version, changes.pop(seq, 0)):
            wrong.append(str(version_id))
        if version.manifest is None:
            continue
        if history.manifest_id_at(repository.catalogue, seq) != version.manifest:
            yield Problem(
                "manifest_mismatch",
                str(version_id),
                (),
                f"what its changes add up to is not what it says; {MEND}",
            )
    head = repository.head_seq()
    tree = (row[:5] for row in repository.catalogue.tree())
    if wrong or not (history.lines_hold(repository.catalogue) and _is_manifest(repository, head, tree)):
        yield _catalogue_damaged(wrong)


def _catalogue_damaged(versions: Sequence[str] = ()) -> Problem:
    hint = "it says other things than packs and segments do; 'memsync repair' builds it anew"
    return Problem("damaged_catalogue", "catalogue.sqlite", (), hint, tuple(versions[:PATHS_SHOWN]))


def _strays(repository: Repository) -> list[Problem]:
    """Versions of which an earlier one is not here."""
    rows = repository.catalogue.db.execute("SELECT id FROM strays").fetchall()
    hint = f"an earlier version of it is missing; {MEND}"
    return [Problem("missing_version", str(VersionId(id)), (), hint) for (id,) in rows]


def _is_as_recorded(repository: Repository, seq: int, version: Version, changes: int) -> bool:
    """Whether the catalogue says of a version, and of its changes (their sum), what its own record does."""
    catalogue = repository.catalogue
    facts = catalogue.db.execute(
        "SELECT time, generation, parent FROM versions WHERE seq = ?", (seq,)
    ).fetchone()
    others = catalogue.db.execute("SELECT parent FROM other_parents WHERE seq = ?", (seq,)).fetchall()
    parents = [catalogue.seq(parent) for parent in version.parents]
    return (
        facts == (version.time_ms, history.generation_of(catalogue, version), parents[0] if parents else None)
        and {row[0] for row in others} == set(parents[1:])
        and changes == reduce(_with_change, history.change_rows(version), 0)
    )


def _changes_by_version(repository: Repository) -> dict[int, int]:
    """Of what the catalogue says that each version changed, sorted by path, a sum of 64 bits."""
    found: dict[int, int] = {}
    for seq, *row in repository.catalogue.db.execute(
        "SELECT seq, name, change, gone, archived FROM paths CROSS JOIN changes USING (path) ORDER BY name"
    ):
        found[seq] = _with_change(found.get(seq, 0), row)
    return found


def _with_change(sum: int, row: Sequence[object]) -> int:
    """The sum of changes with one more. It holds within this process, which is enough for two sides of it."""
    return hash((sum, *row))


def _is_manifest(
    repository: Repository, head: int | None, tree: Iterator[tuple[str, int, int, bytes, int]]
) -> bool:
    """Whether these rows are what HEAD holds. Nothing is said of a record that cannot be read."""
    try:
        recorded = history.entries_at(repository.catalogue, head) if head is not None else iter(())
        return all(one == other for one, other in zip_longest(recorded, tree))
    except DamagedData:
        return True
    except KeyError:
        return False  # a change that its version's record does not have


def _check_contents(repository: Repository, progress: Progress) -> tuple[int, int, list[Problem], int]:
    """Every content that a version names, and every stored form of it; last, how many were removed on purpose."""
    named = _named(repository)
    progress.begin("reading contents", len(named), "objects")
    count = len(named)
    gone = 0
    damaged: dict[ContentId, tuple[str, str]] = {}
    removed: Collection[ContentId] | None = None
    try:
        found = Sound(repository)
        found.take_out(named, progress.advance)
        size = found.size
        if found.failed:
            again = (_named(repository) - named) & found.failed.keys()
            size -= sum(found.failed[id] for id in again)
            named |= again
        for id in sorted(named):
            try:
                length = found.lengths[id] = _check_content(repository, id)
                size += length
            except Removed as error:
                if removed is None:
                    removed = in_force(repository.catalogue, repository.reader, lenient=True).keys()
                if id in removed:
                    count, gone = count - 1, gone + 1
                else:
                    damaged[id] = "missing_object", f"{error.message}, and was needed again; {MEND}"
            except DamagedData as error:
                kind = "missing_object" if error.code == "missing_object" else "damaged_object"
                damaged[id] = kind, f"{error.message}; {MEND}"
            progress.advance(1)
    finally:
        progress.end()
    needed = _needed_by(repository, damaged.keys()) if damaged else {}
    problems = [
        Problem(kind, str(id), needed[id].paths(), hint, tuple(needed[id].versions))
        for id, (kind, hint) in damaged.items()
    ]
    problems += wrong_sizes(repository, found.lengths)
    return count, size, problems, gone


def _named(repository: Repository) -> set[ContentId]:
    """What versions name, and HEAD even where the record that says so is gone."""
    head = {ContentId(row[3]) for row in repository.catalogue.tree()}
    return head | history.contents(repository.catalogue, lost=True)


def _check_content(repository: Repository, id: ContentId) -> int:
    """The content's plain bytes. Each stored form must decode, for one day it may be the only one; but for those
    whose base is not here, which nobody reads any more: that base is what is missing, and repair has written this
    content anew."""
    length = 0
    for piece in repository.stream(id):
        length += len(piece)
    forms = [row for row in repository.catalogue.locations(id) if row.kind == RecordKind.CONTENT]
    if len(forms) > 1:
        for form in forms:
            with contextlib.suppress(MissingBase):
                repository.reader.load(id, [repository.catalogue.chain(form)])
    return length


class _Need(NamedTuple):
    """Who needs a content."""

    held_at: set[str]
    versions: list[str]
    """Those that brought a path that content, the newest first."""

    def paths(self) -> tuple[str, ...]:
        return tuple(sorted(self.held_at)[:PATHS_SHOWN])


def _needed_by(repository: Repository, contents: Collection[ContentId]) -> dict[ContentId, _Need]:
    """In one go through history: one lost spot may cost all the notes of a large commit."""
    catalogue = repository.catalogue
    needed = {id: _Need(set(), []) for id in contents}
    for path, _, _, content, *_ in catalogue.tree():
        if content in needed:
            needed[ContentId(content)].held_at.add(path)
    for seq, version in catalogue.db.execute("SELECT seq, id FROM versions ORDER BY seq DESC").fetchall():
        id = str(VersionId(version))
        with contextlib.suppress(DamagedData):
            for change in history.changes_of(catalogue, seq):
                need = None if change.entry is None else needed.get(change.entry.content)
                if need is not None:
                    need.held_at.add(change.path)
                    if id not in need.versions[-1:] and len(need.versions) < PATHS_SHOWN:
                        need.versions.append(id)
    return needed


def paths_in(repository: Repository, name: str) -> tuple[str, ...]:
    """Paths that versions in that segment or pack changed."""
    return _changed_where(repository, "places.name = ?", name)


def _paths_between(repository: Repository, name: str, start: int, end: int) -> tuple[str, ...]:
    return _changed_where(repository, "places.name = ? AND versions.offset BETWEEN ? AND ?", name, start, end)


def _changed_where(repository: Repository, where: str, *values: object) -> tuple[str, ...]:
    # Not from the records: these may be what is damaged.
    rows = repository.catalogue.db.execute(
        "SELECT DISTINCT paths.name FROM paths CROSS JOIN changes USING (path) CROSS JOIN versions USING (seq) "
        f"CROSS JOIN places USING (place) WHERE {where} ORDER BY paths.name LIMIT {PATHS_SHOWN}",
        values,
    )
    return tuple(row[0] for row in rows)
