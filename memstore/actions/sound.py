"""Reading every content back in one go through the files, in the order in which they lie.

Versions of a note lean on one another, up to a thousand deep. Asked for one by one, each would be decoded from the
bottom of its chain; in their order each is one step from what was decoded just before.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING, Final

from memstore.errors import DamagedData
from memstore.ids import ContentId, VersionId
from memstore.manifest.records import entered_sizes
from memstore.manifest.removed import forgotten
from memstore.objects.record import RecordKind
from memstore.reports import Problem

if TYPE_CHECKING:
    from memstore.objects.catalogue import Location
    from memstore.repository import Repository

KEPT: Final = 64 << 20
"""Plain bytes that are kept for what leans on them."""


WRONG_SHOWN: Final = 20
"""Paths of a version that are named."""


class Sound:
    """What came of one go through all files."""

    def __init__(self, repository: Repository) -> None:
        self._repository = repository
        self._plain: OrderedDict[int, tuple[int, bytes]] = OrderedDict()
        """Key → rank and plain bytes, what was used last at the end."""
        self._kept = 0
        self.lengths: dict[ContentId, int] = {}
        """Plain bytes of each that was taken out."""
        self.size = 0
        """Plain bytes of what was taken out."""
        self.failed: dict[ContentId, int] = {}
        """Plain length of each content of which some stored form does not decode; it may have been taken out."""

    def take_out(self, named: set[ContentId], advance: Callable[[int], None]) -> None:
        """Take out of these contents those of which a stored form decodes to its id. What stays (missing, forgotten,
        in pieces) is to be looked at by itself, and so is what `failed`. Raises `FileNotFoundError` where a file has
        moved."""
        catalogue = self._repository.catalogue
        sound: dict[ContentId, int] = {}
        hidden = forgotten(catalogue, self._repository.reader, lenient=True)
        for place, _, _ in catalogue.places().values():
            for raw_id, row in catalogue.objects_in(place):
                if row.kind != RecordKind.CONTENT:
                    continue
                id = ContentId(raw_id)
                try:
                    data = self._decoded(row)
                except DamagedData:
                    self.failed[id] = row.raw
                    continue
                if ContentId.of(data) != id:
                    self.failed[id] = row.raw
                    continue
                self._keep(row, data)
                if id in named and id not in hidden and id not in sound:
                    sound[id] = row.raw
                    advance(1)
        # A record that lies where it must may be out of reach all the same: where the catalogue's order is damaged.
        for id in catalogue.within_reach(sound):
            named.remove(id)
            self.size += sound[id]
        self.lengths = {id: length for id, length in sound.items() if id not in named}

    def _decoded(self, row: Location) -> bytes:
        reader = self._repository.reader
        if row.base is None:
            return reader.decoded(row, None)
        rank, below = self._plain.get(row.base, (row.rank, b""))
        if rank < row.rank:
            self._plain.move_to_end(row.base)
        else:
            base = self._repository.catalogue.chain(row)[1:]
            below = reader.base(base)
            self._keep(base[0], below)
        return reader.decoded(row, below)

    def _keep(self, row: Location, data: bytes) -> None:
        if row.key in self._plain or len(data) > KEPT // 4:
            return
        self._plain[row.key] = row.rank, data
        self._kept += len(data)
        while self._kept > KEPT:
            self._kept -= len(self._plain.popitem(last=False)[1][1])


def wrong_sizes(repository: Repository, lengths: Mapping[ContentId, int]) -> Iterator[Problem]:
    """Versions that give contents another size than they have: no device of ours writes that."""
    for seq, rows in groupby(entered_sizes(repository.catalogue), itemgetter(0)):
        paths = [path for _, path, size, id in rows if lengths.get(id, size) != size]
        if paths:
            row = repository.catalogue.db.execute("SELECT id FROM versions WHERE seq = ?", (seq,)).fetchone()
            hint = "what these paths hold is whole, but of another size than it says; 'memsync log' shows who made it"
            yield Problem("wrong_size", str(VersionId(row[0])), tuple(paths[:WRONG_SHOWN]), hint)
