"""Writing: objects and a version go into our own segment, and count when `commit` returns.

The order is the whole design (invariants 2 and 3): objects, then the version that names them, then the
commit record, one fsync; only then the catalogue, which is a cache and may lag.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

import msgpack

from memstore import merging
from memstore.errors import DamagedData
from memstore.identity import Device
from memstore.ids import ContentId, Id, ManifestId, VersionId
from memstore.manifest import history
from memstore.manifest.version import Change, Meta, Version
from memstore.manifest.version_format import LAST_GENERATION, MANIFEST_HASH_EVERY, decode, encode
from memstore.objects import encoding
from memstore.objects.catalogue import Location, key_of
from memstore.objects.encoding import Base, Encoded
from memstore.objects.record import Encoding, Piece, RecordKind, pack_header
from memstore.objects.segment import Segment
from memstore.objects.tombstone import ANY_FORGOTTEN, FORGOTTEN, Tombstone
from memstore.withheld import Withheld

if TYPE_CHECKING:
    from memstore.repository import Repository
    from memstore.worktree.still import Still


NO_STATS: Final = MappingProxyType[str, history.Stat | None]({})


_DELTA: Final = RecordKind.CONTENT << 4 | Encoding.DELTA
MANY: Final = 25_000
"""Contents that came many at a time, from which on they are entered into the catalogue before their commit: each
takes 160 bytes here."""


class Writer:
    """For the holder of the store's lock, for one commit after another. Holds a transaction of the catalogue
    while something is open."""

    def __init__(self, repository: Repository, segment: Segment, place: int) -> None:
        self.repository = repository
        self._catalogue = repository.catalogue
        self._segment = segment
        self._place = place
        self._rows: list[Location] = []
        self._many: list[tuple[int, int, int]] = []
        """Key, offset and cost of contents that came many at a time."""
        self._new: set[bytes] = set()
        self._open = False
        self._withheld: Withheld | None = None

    def close(self) -> None:
        self._segment.close()

    @property
    def withheld(self) -> Withheld:
        """What this commit must not take in."""
        if self._withheld is None:
            self._withheld = Withheld(self.repository.workspace)
        return self._withheld

    def switch(self, segment: Segment, place: int) -> None:
        """Go on in another segment: the one before was sealed."""
        self._segment.close()
        self._segment, self._place = segment, place

    # -- objects -------------------------------------------------------------------------------------------

    def has(self, id: ContentId) -> bool:
        """Whether the content is stored already, or was added since the last commit."""
        if id in self._new:
            return True
        try:
            forms = self._catalogue.locations(id)
        except FileNotFoundError:
            return False
        # A tombstone has the id of what is gone.
        return any(form.kind in (RecordKind.CONTENT, RecordKind.RECIPE) for form in forms)

    def missing(self, ids: Sequence[ContentId]) -> set[ContentId]:
        """Those that are not stored yet: as `has`, for many at once."""
        if not self._catalogue.holds_objects():
            return set(ids) - self._new
        stored = self._catalogue.maybe_stored({key_of(id) for id in ids})
        return {id for id in ids if not (id in self._new or (key_of(id) in stored and self.has(id)))}

    def forgotten(self, ids: Iterable[ContentId]) -> dict[ContentId, str]:
        """Those of them that were forgotten, each with the reason why it is not committed again."""
        if self._catalogue.fact(ANY_FORGOTTEN) is None:
            return {}
        told = {}
        for id in ids:
            stone = self.repository.reader.forgotten(id)
            if stone is not None:
                told[id] = stone.refusal()
        return told

    def add_tombstone(self, tombstone: Tombstone) -> None:
        """Say that a content was removed. It counts with the next `commit`."""
        payload = tombstone.packed()
        encoded = Encoded(Encoding.RAW, payload, b"", 0, encoding.own_cost(len(payload)))
        self.add(RecordKind.TOMBSTONE, tombstone.content, len(payload), encoded)
        self._new.discard(tombstone.content)
        if tombstone.why == FORGOTTEN:
            self._catalogue.set_fact(ANY_FORGOTTEN, 1)

    def add(self, kind: RecordKind, id: Id, raw_length: int, encoded: Encoded) -> None:
        """Append an encoded object. It counts with the next `commit`."""
        self._begin()
        how, payload, base, rank, cost = encoded
        header = pack_header(kind, how, id, raw_length, len(payload), base, rank)
        offset = self._segment.append(header, payload)
        self._new.add(id)
        self._rows.append(
            Location(
                key_of(id),
                self._place,
                offset,
                -1,
                kind,
                how,
                len(header),
                raw_length,
                len(payload),
                key_of(base) if base else None,
                rank,
                cost,
            )
        )

    def add_contents(
        self,
        contents: Sequence[tuple[ContentId, int, int]],
        records: bytes,
        wanted: set[ContentId],
        below: int = 0,
    ) -> None:
        """Append many contents, of each (id, raw length, length of its record); the records follow one another in
        `records`. They decode alone, or are deltas on what costs `below` to read. Only those in `wanted` are taken,
        and one that comes twice is taken once: `wanted` is empty afterwards."""
        if not contents:
            return
        self._begin()
        whole = len(wanted) == len(contents)
        offset = self._segment.append(b"", records) if whole else 0
        at = 0
        for id, raw, length in contents:
            cost = encoding.own_cost(raw)
            if below and records[at] == _DELTA:
                cost += below
            if whole:
                self._many.append((key_of(id), offset + at, cost))
            elif id in wanted:
                wanted.remove(id)
                self._many.append((key_of(id), self._segment.append(b"", records[at : at + length]), cost))
            at += length
        self._new.update([content[0] for content in contents])
        if len(self._many) >= MANY:
            self._flush_many()

    def add_recipe(self, id: ContentId, pieces: Sequence[Piece]) -> None:
        """Say of what pieces a large file is made; they must have been added."""
        payload: bytes = msgpack.packb([[bytes(piece), length] for piece, length in pieces])
        encoded = Encoded(Encoding.RAW, payload, b"", 0, encoding.own_cost(len(payload)))
        self.add(RecordKind.RECIPE, id, len(payload), encoded)

    # -- versions ------------------------------------------------------------------------------------------

    def add_version(
        self,
        changes: Sequence[Change],
        *,
        meta: Meta,
        parents: tuple[VersionId, ...] | None = None,
        time_ms: int | None = None,
        stats: history.Stats = NO_STATS,
        announce: Callable[[VersionId], None] | None = None,
    ) -> Version:
        """Make a version of HEAD (or of `parents`) with these changes and commit it, HEAD moving there.

        `time_ms` is now by default, and never earlier than the parents' times. `stats` is for the cache, of paths
        that changed: see `history.remember_stat`. `announce` is told the id just before the version becomes
        durable. When this returns, the version survives a power cut.
        """
        meta = meta.as_text()
        self._begin()
        catalogue, repository = self._catalogue, self.repository
        head = repository.head()
        if parents is None:
            parents = () if head is None else (head,)
        rows = [
            catalogue.db.execute(
                "SELECT time, generation FROM versions WHERE seq = ?", (repository.seq(parent),)
            ).fetchone()
            for parent in parents
        ]
        generation = _next(max((row[1] for row in rows), default=0))
        time_ms = self.time_of_next(parents) if time_ms is None else time_ms
        changes = sorted(changes, key=lambda change: change.path)
        if parents[:1] == ((head,) if head else ()):
            history.advance_tree(catalogue, changes, stats)
        else:
            history.replace_tree(catalogue, repository.seq(parents[0]))
            history.advance_tree(catalogue, changes, stats)
        manifest = None
        if generation % MANIFEST_HASH_EVERY == 0 or len(parents) > 1:
            manifest = self._manifest()
        device = repository.device
        encoded = encode(
            parents=parents,
            generation=generation,
            time_ms=time_ms,
            device=device.name,
            device_id=device.id,
            meta=meta,
            changes=changes,
            manifest=manifest,
        )
        version = Version(
            VersionId.of(encoded),
            parents,
            generation,
            time_ms,
            device.name,
            device.id,
            meta,
            tuple(changes),
            manifest,
        )
        offset = self._append_version(encoded)
        self._flush_rows()
        history.add_version(catalogue, version, self._place, offset, -1, encoded)
        if manifest is not None and catalogue.fact("checkpoint") == manifest:
            catalogue.set_fact("checkpoint_seq", catalogue.seq(version.id))
        if announce is not None:
            announce(version.id)
        self.commit(version.id)
        return version

    def add_merge(
        self,
        parents: tuple[VersionId, ...],
        changes: Sequence[Change],
        *,
        time_ms: int,
        manifest: ManifestId,
        meta: Meta,
        rules: int = 0,
    ) -> Version:
        """Make a version of several parents, with its changes against the first, HEAD staying where it is; it is
        durable when this returns. With `rules` it is a merge by the rules, and no device's; one that is here
        already is not made again."""
        self._begin()
        generation = _next(max(self._catalogue.generation(parent) for parent in parents))
        device = Device(merging.DEVICE_ID, merging.DEVICE) if rules else self.repository.device
        encoded = encode(
            parents=parents,
            generation=generation,
            time_ms=time_ms,
            device=device.name,
            device_id=device.id,
            meta=meta,
            changes=changes,
            manifest=manifest,
            merge_rules=rules,
        )
        version = decode(encoded)
        if self._catalogue.seq(version.id) is None:
            offset = self._append_version(encoded)
            self._flush_rows()
            history.add_version(self._catalogue, version, self._place, offset, -1)
            self.commit(self.repository.head())
        else:
            self.finish()
        return version

    def keep_version(self, encoded: bytes) -> None:
        """Append the record of a version that exists already: the one it had is lost. Counts with the next
        `commit`, and for the catalogue only from there on."""
        self._begin()
        self._append_version(encoded)

    def hide(self, places: Iterable[int]) -> None:
        """Let the catalogue, until `rollback` or the next time it is built, know nothing of the objects in
        these files."""
        self._begin()
        self._catalogue.db.executemany("DELETE FROM objects WHERE place = ?", [(place,) for place in places])

    def time_of_next(self, parents: Sequence[VersionId] | None = None) -> int:
        """Milliseconds since the epoch that a version made now will bear: never before its parents'."""
        if parents is None:
            head = self.repository.head()
            parents = () if head is None else (head,)
        now = time.time_ns() // 1_000_000
        for parent in parents:
            row = self._catalogue.db.execute(
                "SELECT time FROM versions WHERE seq = ?", (self.repository.seq(parent),)
            ).fetchone()
            now = max(now, row[0])
        return now

    def commit(self, head: VersionId | None) -> None:
        """The barrier: everything added, and HEAD, are durable when this returns."""
        self._begin()
        self._flush_rows()
        end = self._segment.commit(head)
        self._catalogue.set_end(self._place, end)
        self._catalogue.set_fact("head", head)
        self._catalogue.set_fact("head of " + self._segment.name, head)
        self._finish("COMMIT")

    def move_head(self, target: VersionId) -> None:
        """Make a version that exists already HEAD; durable when this returns."""
        self._begin()
        history.replace_tree(self._catalogue, self.repository.seq(target))
        self.commit(target)

    def fill_tree(self, rows: Iterable[tuple[object, ...]]) -> None:
        """Take these rows, of a version that is about to be HEAD, as its manifest; see `history.fill_tree`."""
        self._begin()
        history.fill_tree(self._catalogue, rows)

    def head_is_filled(self, target: VersionId, safe_before: tuple[int, int]) -> None:
        """As `move_head`, to the version whose manifest `fill_tree` took. Of files with times from `safe_before` on
        (see `history.doubt_stats`) the cache believes nothing."""
        history.doubt_stats(self._catalogue, *safe_before)
        self.commit(target)

    def forget_head(self) -> None:
        """Have no HEAD; durable when this returns. No version goes."""
        self._begin()
        history.replace_tree(self._catalogue, None)
        self.commit(None)

    def rollback(self) -> None:
        """Forget what was added since the last commit."""
        try:
            self._segment.rollback()
        finally:
            if self._open:
                self._finish("ROLLBACK")

    def remember(self, rows: Collection[tuple[str, history.Stat | None]]) -> None:
        """Note file stats in the cache; see `history.remember_stat`."""
        if not rows:
            return
        self._begin()
        history.remember_stat(self._catalogue, rows)

    def keep_still(self, folders: Mapping[str, Still], not_still: Collection[str], rules: str) -> None:
        """Note folders whose files all have HEAD's content, as found under the ignore rules with that fingerprint;
        forget those that no longer are as they were."""
        if folders or not_still:
            self._begin()
            self._catalogue.forget_still(not_still)
            self._catalogue.keep_still(((name, found.packed()) for name, found in folders.items()), rules)

    def finish(self) -> None:
        """Keep what was noted in the catalogue though no version was made."""
        if self._open:
            self._segment.rollback()
            self._finish("COMMIT")

    # -- inside --------------------------------------------------------------------------------------------

    def _begin(self) -> None:
        if not self._open:
            self._catalogue.db.execute("BEGIN IMMEDIATE")
            self._open = True

    def _finish(self, how: str) -> None:
        self._open = False
        self._rows.clear()
        self._many.clear()
        self._new.clear()
        db = self._catalogue.db
        if how == "COMMIT" or db.in_transaction:  # a full disk makes SQLite roll back by itself
            db.execute(how)

    def _flush_rows(self) -> None:
        self._catalogue.add_objects(self._rows)
        self._rows.clear()
        self._flush_many()

    def _flush_many(self) -> None:
        self._catalogue.add_contents(self._place, self._many)
        self._many.clear()

    def _append_version(self, encoded: bytes) -> int:
        form = encoding.encode(encoded) if len(encoded) > 128 else None
        payload = encoded if form is None else form.payload
        how = Encoding.RAW if form is None else form.encoding
        header = pack_header(RecordKind.VERSION, how, b"", len(encoded), len(payload))
        return self._segment.append(header, payload)

    def _manifest(self) -> ManifestId:
        """The hash of HEAD's manifest; stores a checkpoint of it if one is due."""
        whole = history.checkpoint(self._catalogue)
        if whole is None:
            return history.manifest_id(self._catalogue)
        id = ManifestId.of(whole)
        if not self._catalogue.has(id):
            self.add(RecordKind.MANIFEST, id, len(whole), encoding.encode(whole, self._last_checkpoint()))
        self._catalogue.set_fact("checkpoint", id)
        return id

    def _last_checkpoint(self) -> Base | None:
        last = self._catalogue.fact("checkpoint")
        if not isinstance(last, bytes):
            return None
        try:
            raw = self.repository.reader.manifest(ManifestId(last))
        except (DamagedData, FileNotFoundError):
            return None  # only a shortcut; the next one begins anew
        best = [row for row in self._catalogue.locations(last) if row.kind == RecordKind.MANIFEST]
        if raw is None or not best:
            return None
        return Base(last[:8], raw, best[0].rank, best[0].cost)


def _next(generation: int) -> int:
    """The generation after the parents' greatest. Raises `DamagedData` rather than write what nobody can read."""
    if not 0 <= generation < LAST_GENERATION:
        raise DamagedData(
            f"the catalogue counts {generation} versions one after the other, which no store has",
            hint="'memsync repair' builds it anew from packs and segments",
        )
    return generation + 1
