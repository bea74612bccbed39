"""repair: bring back what damage took, from wherever a good copy still is.

In this order: damaged packs are fetched from the remote again; what is sound in damaged segments is sealed;
records of damaged packs, and of what earlier repairs put into `torn/`, that decode to their ids are written
again, and so are contents that a file in `Data/` still has. Content ids decide what is good, never a name.

Each new thing is durable before an old one moves, and a damaged file is moved to `torn/`, never deleted: cut
off anywhere, the next repair goes on. What can't be brought back is what `verify` says at the end.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import TYPE_CHECKING, Final

from memstore import files, reflog
from memstore.actions import remote_state, repair_remote, repair_theirs, state_files
from memstore.actions.expunge import expunge
from memstore.actions.fetch import HEADER_SPACE
from memstore.actions.leftovers import erase_torn
from memstore.actions.repair_records import LOSSES, Salvage
from memstore.actions.repair_theirs import Theirs
from memstore.actions.seal import seal
from memstore.actions.unfinished import FORGETTING
from memstore.actions.verify import MEND, hash_pack, paths_in, read_through
from memstore.actions.verify_remote import Found
from memstore.current import pack_names
from memstore.errors import DamagedData, MemsyncError
from memstore.ids import VersionId
from memstore.manifest import removed
from memstore.objects.catalogue import PlaceKind, path_of
from memstore.objects.connection import CatalogueDamaged
from memstore.objects.pack import check_header, read_tail
from memstore.progress import SILENT, Progress
from memstore.reflog import Stand
from memstore.remotes.base import OpenRemote
from memstore.reports import Mended, Problem, RepairReport, VerifyReport, counted

if TYPE_CHECKING:
    from memstore.repository import Repository
    from memstore.writer import Writer

NOTHING_HAS_IT: Final = (
    "nothing that repair could ask has it whole; put a file that held it back into Data/ under any name, or set a "
    "remote that has it, and run 'memsync repair' again"
)
"""The hint for what a repair could not bring back."""
_OF_FILES: Final = frozenset({"damaged_segment", "missing_pack"})
_UNCOVERING: Final = frozenset({"missing_version", "damaged_version", "damaged_segment"})
"""What is mended may show what nobody had missed: versions that came back name contents, and a content may lean on
one that a damaged segment held under a wrong name."""
_CATALOGUE: Final = frozenset({"damaged_catalogue", "manifest_mismatch"})


def repair(
    repository: Repository,
    open_remote: Callable[[], OpenRemote] | None,
    *,
    dry_run: bool = False,
    progress: Progress = SILENT,
) -> RepairReport:
    """Mend the store, and the remote where one is set. `dry_run` changes nothing and says what it would do."""
    mended: list[Mended] = []
    warnings: list[str] = []
    repository.check_catalogue()
    repository.refresh()
    heads = _heads(repository)
    before = _verified(repository, mended, progress)
    damaged = damaged_packs(repository)
    kinds = {problem.kind for problem in before.problems}
    if kinds & (LOSSES | _CATALOGUE) and not (damaged or dry_run or kinds & _OF_FILES):
        # Every file is whole: then it is the catalogue that is not.
        mended.append(_catalogue_anew(repository))
        heads = _heads(repository)  # what it named and no file has was its own invention
        before = read_through(repository, progress=progress)
    remote, theirs = None, Theirs()
    try:
        remote = None if open_remote is None else open_remote()
        if remote is not None:
            losses = any(problem.kind in LOSSES for problem in before.problems)
            theirs = _fetch(
                repository, remote, damaged, mended, losses=losses, dry_run=dry_run, progress=progress
            )
    except MemsyncError as error:
        warnings.append(f"the remote was left out: {error.message}; {error.hint}")
    try:
        fetched = {row.id for row in mended}
        local = [name for name in damaged if name not in fetched]
        with repository.writing() as writer:
            if fetched and not dry_run:
                repository.reader.close()
                repository.read_anew()
                writer.switch(*repository.own_segment())
            mended += _mend_local(repository, writer, local, before.problems, dry_run, theirs)
            if {row.kind for row in mended} & _UNCOVERING and not dry_run:
                again = read_through(repository, progress=progress).problems
                mended += _mend_local(repository, writer, [], again, dry_run, theirs)
            lost = _note_lost(repository, heads, dry_run)
            mended += state_files.mend(repository, dry_run=dry_run)
            mended += () if dry_run else _without_forgotten(repository, writer)
        left = Found([], [])
        if remote is not None and not warnings:
            left = _mend_remote(
                repository, remote, fetched, theirs, mended, warnings, dry_run=dry_run, progress=progress
            )
    finally:
        if remote is not None:
            remote.close()
    if dry_run:
        problems = [*_not_expected(before.problems, mended), *left.problems]
        notes = (*before.notes, *left.notes)
        return RepairReport(tuple(mended), _as_left(problems), True, notes, tuple(warnings))
    after = read_through(repository, progress=progress)
    mended = _come_true(mended, [] if lost else before.problems, after.problems)
    problems = [*after.problems, *left.problems]
    notes = (*after.notes, *left.notes)
    return RepairReport(tuple(mended), _as_left(problems), False, notes, tuple(warnings))


def _fetch(
    repository: Repository,
    remote: OpenRemote,
    damaged: Sequence[str],
    mended: list[Mended],
    *,
    losses: bool,
    dry_run: bool,
    progress: Progress,
) -> Theirs:
    """Packs that are damaged here or gone (added to `mended`), and what others left damaged there."""
    mended += repair_remote.fetch(
        repository, remote, damaged, losses=losses, dry_run=dry_run, progress=progress
    )
    fetched = {row.id for row in mended}
    broken = [name for name in damaged if name not in fetched]
    return repair_theirs.bring(repository, remote, broken, losses=losses, dry_run=dry_run, progress=progress)


def _note_lost(repository: Repository, heads: Sequence[VersionId], dry_run: bool) -> list[VersionId]:
    """Those of the versions that nothing here knows of any more; a line of the reflog says so until they are back."""
    lost = [head for head in heads if repository.catalogue.seq(head) is None]
    if not dry_run:
        said = reflog.lost(repository.state)
        reflog.append(repository.state, [Stand(head, reflog.LOST, None) for head in lost if head not in said])
    return lost


def _come_true(mended: Sequence[Mended], before: Sequence[Problem], after: Sequence[Problem]) -> list[Mended]:
    """What was mended indeed: what is no problem afterwards, whoever did it."""
    known, still = {row.id for row in mended}, {problem.id for problem in after}
    too = [
        Mended(problem.kind, problem.id, "reads back whole now", problem.paths)
        for problem in before
        if problem.kind in LOSSES and problem.id not in known | still
    ]
    return [row for row in (*mended, *too) if row.id not in still]


def _mend_remote(
    repository: Repository,
    remote: OpenRemote,
    fetched: Collection[str],
    theirs: Theirs,
    mended: list[Mended],
    warnings: list[str],
    *,
    dry_run: bool,
    progress: Progress,
) -> Found:
    """Its format, packs and heads; what was done is added to `mended`, trouble to `warnings`. `fetched` are the packs
    that came from there: whole by now, but in a dry run."""
    aside = {row.id for row in mended if row.kind == "damaged_pack"}.difference(() if dry_run else fetched)
    try:
        done, left = repair_remote.mend(repository, remote, aside, theirs, dry_run=dry_run, progress=progress)
    except MemsyncError as error:
        warnings.append(f"the remote was left as it is: {error.message}; {error.hint}")
        return Found([], [])
    mended += done
    return left


def _as_left(problems: Sequence[Problem]) -> tuple[Problem, ...]:
    """Problems that a repair leaves, with hints for somebody who has just tried one."""
    left = []
    for problem in problems:
        hint = problem.hint.replace(MEND, NOTHING_HAS_IT)
        if problem.kind == "damaged_remote_state":
            hint = remote_state.SET_ANEW
        left.append(problem._replace(hint=hint))
    return tuple(left)


def _heads(repository: Repository) -> list[VersionId]:
    """The newest versions that the catalogue knows of, whether they can be read or not."""
    try:
        return [*repository.catalogue.heads(), *state_files.missing_heads(repository)]
    except (CatalogueDamaged, sqlite3.DatabaseError):
        return []


def _without_forgotten(repository: Repository, writer: Writer) -> Iterator[Mended]:
    """What came back with a pack, or lies in `torn/` now, and was forgotten, goes."""
    told = removed.forgotten(repository.catalogue, repository.reader, lenient=True)
    if told:
        try:
            gone = expunge(repository, writer, remote_state.load_or_none(repository))
        except DamagedData:
            return  # in a pack that could not be mended: `verify` names it at the end
        if gone.packs + erase_torn(repository, told | gone.objects):
            yield Mended("forgotten", FORGETTING, "what was forgotten had come back, and is gone again")


def _verified(repository: Repository, mended: list[Mended], progress: Progress) -> VerifyReport:
    """What `verify` says; where the catalogue can't even be read, it is built anew before."""
    try:
        return read_through(repository, progress=progress)
    except (CatalogueDamaged, sqlite3.DatabaseError):
        mended.append(_catalogue_anew(repository))
        return read_through(repository, progress=progress)


def _catalogue_anew(repository: Repository) -> Mended:
    with repository.locked():
        repository.read_anew()
    return Mended("catalogue", "catalogue.sqlite", "built anew from packs and segments")


def damaged_packs(repository: Repository) -> list[str]:
    """Names of packs whose bytes are not what the name says, or that are no packs."""
    return [name for name in pack_names(repository.state) if not _is_whole(repository, name)]


def _is_whole(repository: Repository, name: str) -> bool:
    path = path_of(repository.state, name, PlaceKind.PACK)
    try:
        if hash_pack(path, SILENT) != name:
            return False
        descriptor = files.open_read(path)
        try:
            check_header(files.read_at(descriptor, 0, HEADER_SPACE), name)
            read_tail(
                lambda offset, length: files.read_at(descriptor, offset, length), files.size(path), name
            )
        finally:
            os.close(descriptor)
    except DamagedData as error:
        return error.code == "newer_format"  # whole, as far as this memsync can tell, and not its to touch
    except OSError:
        return False
    return True


# -- what is here --------------------------------------------------------------------------------------------


def _mend_local(
    repository: Repository,
    writer: Writer,
    damaged: Sequence[str],
    problems: Sequence[Problem],
    dry_run: bool,
    theirs: Theirs,
) -> Iterator[Mended]:
    """Packs, contents, catalogue, then segments. For the holder of the lock."""
    kinds = {problem.kind for problem in problems}
    wrecks = bool(theirs.damaged) and not dry_run
    if not (damaged or wrecks or kinds & (LOSSES | _CATALOGUE)):
        return
    # Names and paths are learnt before the catalogue is made anew.
    paths = {name: paths_in(repository, name) for name in damaged}
    if damaged or wrecks or kinds & LOSSES:
        salvage = Salvage(repository, writer, damaged, theirs.heads)
        yield from salvage.run(problems, dry_run)
        for name in damaged:
            if not dry_run:
                path = path_of(repository.state, name, PlaceKind.PACK)
                state_files.put_aside(repository, path)
                files.remove(path)
                files.sync_dir(os.path.dirname(path))
            count = salvage.records_of(path_of(repository.state, name, PlaceKind.PACK))
            how = f"{counted(count, 'record')} of it good, and written again where nothing else has them"
            yield Mended("damaged_pack", name, f"{how}; the file goes to torn/", paths[name])
    torn_segments = [problem for problem in problems if problem.kind == "damaged_segment"]
    if not dry_run:
        if torn_segments and not kinds & _CATALOGUE:
            seal(repository, writer)  # while the catalogue still knows where the records in them begin
        repository.read_anew()
        writer.switch(*repository.own_segment())
        if torn_segments:
            seal(repository, writer)
    if kinds & _CATALOGUE:
        yield Mended("catalogue", "catalogue.sqlite", "built anew from packs and segments")
    for problem in torn_segments:
        how = "what is sound in it sealed into a pack; the file goes to torn/"
        yield Mended("damaged_segment", problem.id, how, problem.paths)


def _not_expected(problems: Sequence[Problem], mended: Sequence[Mended]) -> list[Problem]:
    """Of a dry run: the problems that no step of it is for."""
    done = {row.id for row in mended}
    kinds = {row.kind for row in mended}
    fetched = any(row.how.startswith(repair_remote.FETCHED) for row in mended)
    return [
        problem
        for problem in problems
        if problem.id not in done
        and not (problem.kind == "missing_pack" and kinds & {"damaged_pack", "missing_pack"})
        and not ("catalogue" in kinds and problem.kind in _CATALOGUE)
        and not (fetched and problem.kind in LOSSES)
    ]
