"""Records of damaged files that still prove themselves: written again, beside what `Data/` still has."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from memstore import files, reflog, salvage
from memstore.actions import remote_state, state_files
from memstore.actions.repair_contents import Search
from memstore.errors import DamagedData
from memstore.gather import Gathering
from memstore.ids import ContentId, VersionId
from memstore.manifest import removed
from memstore.manifest.version_format import decode
from memstore.objects import encoding
from memstore.objects.catalogue import PlaceKind, path_of
from memstore.objects.encoding import Encoded
from memstore.objects.record import RecordKind
from memstore.objects.wreck import Wreck
from memstore.reports import Mended, Problem

if TYPE_CHECKING:
    from memstore.repository import Repository
    from memstore.writer import Writer

LOSSES: Final = frozenset(
    {
        *("damaged_pack", "missing_pack", "damaged_object", "missing_object"),
        *("damaged_version", "missing_version", "damaged_segment"),
    }
)
"""Kinds of problems of what the store holds."""


class Salvage:
    """Write again what proves itself in damaged packs and in `torn/`, and what `Data/` still has."""

    def __init__(
        self,
        repository: Repository,
        writer: Writer,
        damaged: Sequence[str],
        heads: Sequence[VersionId] = (),
    ) -> None:
        """`damaged` are packs here, `heads` versions that a remote names."""
        self._repository = repository
        self._writer = writer
        places = repository.catalogue.places()
        self._hidden = [places[name][0] for name in damaged if name in places]
        self._packs = [path_of(repository.state, name, PlaceKind.PACK) for name in damaged]
        named = _named_versions(repository).union(heads)
        self._gathering = Gathering(repository.catalogue, repository.reader, named)

    def run(self, problems: Sequence[Problem], dry_run: bool) -> list[Mended]:
        """What was brought back, of the objects and versions that `verify` missed."""
        repository, writer, gathering = self._repository, self._writer, self._gathering
        writer.hide(self._hidden)
        repository.reader.close()
        lost = _lost_versions(repository, self._hidden)
        wrecks = [Wreck(path) for path in [*self._packs, *_torn(repository)]]
        try:
            ours = [wreck for wreck in wrecks if wreck.is_of(repository.format.store)]
            left = gathering.prove(remnant for wreck in ours for remnant in wreck.remnants())
            search = Search(repository, gathering)
            if search.in_data():
                gathering.prove(left)  # deltas whose base came from Data/
            anew = self._write(lost)
            found = search.write(writer)
            if dry_run:
                writer.rollback()
            else:
                # Always: with a good commit record behind it, a damaged last group is no torn tail.
                writer.commit(self._head())
        finally:
            for wreck in wrecks:
                wreck.close()
        hows = {str(id): "a file in Data/ still has it" for id in found}
        hows |= {str(id): "the catalogue still kept it" for id in anew}
        held = "a damaged file still held it whole"
        hows |= {str(id): held for id in gathering.versions} | {
            bytes(id).hex(): held for _, id in gathering.objects
        }
        return [
            Mended(problem.kind, problem.id, hows[problem.id], problem.paths)
            for problem in problems
            if problem.id in hows and problem.kind in LOSSES
        ]

    def _head(self) -> VersionId | None:
        """HEAD, or the version after it that a segment lost and that is back."""
        head = self._repository.head()
        for lost in reversed(state_files.lost_heads(self._repository)):
            below: VersionId | None = lost
            while below is not None and below != head:
                record = self._gathering.versions.get(below)
                below = next(iter(decode(record).parents), None) if record is not None else None
                if below is None and head is None and record is not None:
                    return lost
            if below is not None:
                return lost
        return head

    def records_of(self, pack: str) -> int:
        return sum(remnant.wreck.path == pack for remnant in self._gathering.objects.values())

    def _write(self, lost: dict[VersionId, int]) -> list[VersionId]:
        """Append what was proven and is not here in a form that reads; the versions that the catalogue
        had kept."""
        catalogue, writer = self._repository.catalogue, self._writer
        # Nobody repairs what was to go.
        gone = removed.in_force(catalogue, self._repository.reader, lenient=True)
        for (kind, id), remnant in self._gathering.objects.items():
            header = remnant.header
            if kind in (RecordKind.CONTENT, RecordKind.RECIPE) and id in gone:
                continue
            if not _is_here(self._repository, RecordKind(kind), id):
                own = encoding.own_cost(header.raw)
                encoded = Encoded(header.encoding, remnant.payload(), header.base, header.rank, own)
                writer.add(header.kind, ContentId(id), header.raw, encoded)
        for version, record in self._gathering.versions.items():
            if version in lost or catalogue.seq(version) is None:
                writer.keep_version(record)
        anew = []
        for version, seq in lost.items():
            if version not in self._gathering.versions:
                record = salvage.kept(catalogue, seq)
                if VersionId.of(record) == version:
                    writer.keep_version(record)
                    anew.append(version)
        return anew


def _torn(repository: Repository) -> list[str]:
    folder = os.path.join(repository.state, state_files.TORN)
    paths = [os.path.join(folder, name) for name in files.names(folder)]
    return [path for path in paths if os.path.isfile(path) and not os.path.islink(path)]


def _named_versions(repository: Repository) -> set[VersionId]:
    """Versions that are known to exist, from whatever still knows of them."""
    db = repository.catalogue.db
    named = {VersionId(row[0]) for row in db.execute("SELECT id FROM versions").fetchall()}
    named |= {VersionId(row[0]) for row in db.execute("SELECT id FROM strays").fetchall()}
    named |= {stand.head for stand in reflog.read(repository.state)}
    state = remote_state.load_or_none(repository)
    if state is not None:
        named |= set(remote_state.head_ids(state.heads))
    return named


def _lost_versions(repository: Repository, hidden: Sequence[int]) -> dict[VersionId, int]:
    """id → seq of versions whose record can't be read, or is in a file that is put aside."""
    lost = {}
    rows = repository.catalogue.db.execute("SELECT seq, id, place, offset, inner FROM versions").fetchall()
    for seq, id, place, offset, inner in rows:
        if place in hidden:
            lost[VersionId(id)] = seq
            continue
        try:
            raw = repository.reader.version_record(VersionId(id), place, offset, inner)
        except (DamagedData, FileNotFoundError):
            lost[VersionId(id)] = seq
            continue
        if VersionId.of(raw) != id:
            lost[VersionId(id)] = seq
    return lost


def _is_here(repository: Repository, kind: RecordKind, id: bytes) -> bool:
    content = ContentId(id)
    if all(row.kind != kind for row in repository.catalogue.locations(id)):
        return False
    if kind != RecordKind.CONTENT:
        return True
    try:
        repository.reader.object(content, kind)
    except (DamagedData, FileNotFoundError):
        return False
    return True
