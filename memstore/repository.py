"""The repository: one workspace's objects, versions and catalogue behind one door.

Reading needs no lock. Writing goes through `writing()`, which takes the store's lock, brings the catalogue up
to date, and gives a `Writer`; nothing a writer did counts before its `commit`.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

from memstore import files, locks, superseded
from memstore.current import is_current, segment_names
from memstore.errors import BadInput, DamagedData, StoreLocked
from memstore.identity import StoreFormat, catalogue_name, holds_files, load_device, load_format
from memstore.ids import SHORTEST_PREFIX, ContentId, VersionId
from memstore.manifest import history
from memstore.manifest.version import Entry, Kind, Version
from memstore.manifest.version_format import decode
from memstore.objects.catalogue import Catalogue
from memstore.objects.connection import CatalogueDamaged
from memstore.objects.reader import ObjectReader

if TYPE_CHECKING:
    from memstore.actions.taken_up import Finished
    from memstore.objects.segment import Segment
    from memstore.workspace import Workspace
    from memstore.writer import Writer

LOCK_NAME: Final = "lock"
CHECKOUT_NAME: Final = "checkout"
TORN_NAME: Final = "torn"
BEHIND_NAME: Final = "behind"
"""Of the checkout record in `.memsync/`: what is being written into `Data/`."""


class Repository:
    """Not shared between threads, but for what says otherwise."""

    def __init__(self, workspace: Workspace, format: StoreFormat | None = None) -> None:
        """Open the store of a workspace. Raises `BadInput` if it is incomplete or of a newer format. `format`
        is taken instead of what the format file says: for repair, where that is damaged."""
        self.workspace = workspace
        self.state = workspace.state
        self.format = format or load_format(self.state)
        self.device = load_device(self.state, workspace.config.device_name)
        self.catalogue = Catalogue(os.path.join(self.state, catalogue_name(self.device)), self.format.store)
        self.reader = ObjectReader(self.catalogue)
        self.warnings: list[str] = []
        """What was noticed while catching up, for a person."""
        self._of_files: list[str] = []
        """Those of them that packs and segments gave rise to."""
        self.finished: Finished | None = None
        """The checkout that was found open and finished, until the command that it may belong to asks for it."""
        self._held = 0

    @classmethod
    def create(cls, workspace: Workspace, format: StoreFormat | None = None) -> Repository:
        """Complete the store of a workspace: folders, format file, first segment. Harmless when repeated.
        `format` is another store's, for a clone of it. Raises `DamagedData` for a store that lost its format file."""
        state = workspace.state
        if format is None and holds_files(state):
            load_format(state)
        for name in ("segments", "packs"):
            files.make_dir(os.path.join(state, name))
        path = os.path.join(state, "format")
        if not files.exists(path):
            files.write_atomic(path, (format or StoreFormat(os.urandom(16))).encoded())
        repository = cls(workspace)
        with repository.writing():
            return repository

    def close(self) -> None:
        self.reader.close()
        self.catalogue.close()

    @property
    def checkout_record(self) -> str:
        """Where the checkout record lies while there is one."""
        return os.path.join(self.state, CHECKOUT_NAME)

    @property
    def behind_record(self) -> str:
        """Where it is noted what of HEAD could not be written into `Data/`; see `actions.behind`."""
        return os.path.join(self.state, BEHIND_NAME)

    def checkout_is_open(self) -> bool:
        """Whether somebody is writing into `Data/`, or was when a crash came: `actions.checkout` finishes it."""
        return files.exists(self.checkout_record)

    def is_behind(self) -> bool:
        """Whether something of HEAD could not be written into `Data/`: `actions.checkout` tries it again."""
        return files.exists(self.behind_record)

    # -- the lock ------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def locked(self, timeout: float | None = None) -> Iterator[None]:
        """Hold the store. Waits up to `lock_timeout` (config) seconds; then `StoreLocked`. Re-entrant."""
        if self._held:
            yield
            return
        seconds = self.workspace.config.lock_timeout if timeout is None else timeout
        try:
            lock = locks.take(os.path.join(self.state, LOCK_NAME), seconds)
        except TimeoutError:
            raise StoreLocked(
                f"another process has held the store for {seconds:g} s"
                if seconds
                else "another process holds the store, and lock_timeout = 0 says not to wait for it",
                hint="wait for it to end, or give a longer lock_timeout (MEMSYNC_LOCK_TIMEOUT, in seconds)",
            ) from None
        except OSError as error:
            raise files.disk_error(error, "could not lock", os.path.join(self.state, LOCK_NAME)) from error
        self._held += 1
        try:
            yield
        finally:
            self._held -= 1
            locks.release(lock)

    @contextlib.contextmanager
    def writing(self) -> Iterator[Writer]:
        """The store's lock, a current catalogue, and a writer at the end of our own segment."""
        from memstore.writer import Writer

        with self.locked():
            try:
                self._catch_up()
                segment, place = self.own_segment()
            except CatalogueDamaged as error:
                self._rebuild(error)
                segment, place = self.own_segment()
            writer = Writer(self, segment, place)
            try:
                yield writer
            except BaseException:
                writer.rollback()
                raise
            finally:
                writer.close()

    def check_catalogue(self, *, quick: bool = False) -> None:
        """Build the catalogue anew if it is damaged, with a warning (see `Catalogue.check`)."""
        try:
            self.catalogue.check(quick=quick)
        except CatalogueDamaged as error:
            with self.locked():
                self._rebuild(error)

    def refresh(self) -> None:
        """Let the catalogue know what other processes did; readers call it once.

        If another process is writing just now, its last commit but the open one is what a reader sees.
        """
        try:
            if is_current(self.state, self.catalogue) and not superseded.waits(self.state):
                return
            patience = 0.2 if self.catalogue.fact("complete") == 1 else None
            try:
                with self.locked(patience):
                    self._catch_up()
            except StoreLocked:
                if patience is None:
                    raise
        except CatalogueDamaged as error:
            with self.locked():
                self._rebuild(error)

    def _rebuild(self, error: CatalogueDamaged) -> None:
        """The catalogue turned out to be damaged, or not to fit the files: make it anew. For the holder of the
        lock."""
        self.warnings.append(
            f"{error.message}: the catalogue was built anew; 'memsync verify' checks the rest"
        )
        from memstore import recovery

        if isinstance(error, recovery.SegmentCut):
            from memstore import salvage

            salvage.keep_known(self.state, self.catalogue, error.segment)
        self.read_anew()

    def read_anew(self) -> None:
        """Make the catalogue anew from segments and packs. For the holder of the lock."""
        # What is still so is noticed again.
        self.warnings = [told for told in self.warnings if told not in self._of_files]
        self._of_files = []
        self.reader.close()
        self.catalogue.reopen()
        self._catch_up()

    def _catch_up(self) -> None:
        if superseded.waits(self.state):
            superseded.finish(self.state, self.device.id)
        if is_current(self.state, self.catalogue):
            return
        from memstore import recovery

        db = self.catalogue.db
        db.execute("BEGIN IMMEDIATE")
        try:
            self._of_files += (told := recovery.catch_up(self.state, self.catalogue, self.reader))
            self.warnings += told
        except BaseException:
            if db.in_transaction:  # SQLite may have rolled back by itself: a full disk, a damaged file
                db.execute("ROLLBACK")
            raise
        db.execute("COMMIT")

    def own_segment(self) -> tuple[Segment, int]:
        """The segment that is ours to append to, at its end, and its place. For the holder of the lock."""
        places = self.catalogue.places()
        from memstore.objects.segment import Segment

        for name in segment_names(self.state):
            with contextlib.suppress(DamagedData):
                segment = Segment(os.path.join(self.state, "segments", name + ".seg"))
                if segment.own and segment.is_of(self.format.store):
                    place, _, end = places[name]
                    segment.begin(end)
                    return segment, place
                segment.close()
        return self.new_segment()

    def new_segment(self) -> tuple[Segment, int]:
        """Begin a segment that repeats HEAD. For the holder of the lock."""
        from memstore.objects.catalogue import PlaceKind
        from memstore.objects.segment import Segment

        folder = os.path.join(self.state, "segments")
        files.make_dir(folder)
        segment = Segment.create(folder, self.format.store, self.head())
        place = self.catalogue.add_place(PlaceKind.SEGMENT, segment.name, segment.end)
        self.catalogue.set_fact("head of " + segment.name, self.head())
        segment.begin(segment.end)
        return segment, place

    # -- versions ------------------------------------------------------------------------------------------

    def head(self) -> VersionId | None:
        head = self.catalogue.fact("head")
        return VersionId(head) if isinstance(head, bytes) else None

    def head_seq(self) -> int | None:
        head = self.head()
        return None if head is None else self.catalogue.seq(head)

    def version(self, id: VersionId) -> Version:
        """The whole record. Raises `BadInput` for an id that is not here, `DamagedData` for a damaged one."""
        for attempt in (1, 2):
            _, place, offset, inner = self.catalogue.where(self.seq(id))
            try:
                return decode(self.reader.version_record(id, place, offset, inner), id=id)
            except FileNotFoundError as error:
                if attempt == 2:
                    raise DamagedData(
                        f"the file that holds version {str(id)[:12]} is gone", hint="run 'memsync verify'"
                    ) from error
                self._files_moved()
        raise AssertionError

    def version_by_prefix(self, prefix: str) -> VersionId:
        """The one version whose id begins with these hex digits. Raises `BadInput`."""
        text = prefix.lower()
        if not SHORTEST_PREFIX <= len(text) <= 64 or any(digit not in "0123456789abcdef" for digit in text):
            raise BadInput(
                f"not a version id: {prefix!r}",
                hint=f"give {SHORTEST_PREFIX} or more hex digits of an id that 'memsync log' shows",
            )
        found = self.catalogue.ids_starting(text)
        if not found:
            raise BadInput(f"no version begins with {prefix}", hint="'memsync log' lists the versions")
        if len(found) > 1:
            some = ", ".join(str(id)[:16] for id in found[:4])
            raise BadInput(f"{prefix} is ambiguous: {some} …", hint="give more digits of the id")
        return found[0]

    def version_at(self, time_ms: int) -> VersionId:
        """The newest version, in log order, that is not later. Raises `BadInput` before the first."""
        row = self.catalogue.db.execute(
            "SELECT id FROM versions WHERE time <= ? ORDER BY time DESC, generation DESC, id LIMIT 1",
            (time_ms,),
        ).fetchone()
        if row is not None:
            return VersionId(row[0])
        first = self.catalogue.db.execute("SELECT min(time) FROM versions").fetchone()[0]
        if first is None:
            raise BadInput("there is no version yet", hint="'memsync commit' makes the first one")
        began, moment = (
            time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(ms // 1000)) for ms in (first, time_ms)
        )
        if began == moment:
            began, moment = f"{began}.{first % 1000:03d}", f"{moment}.{time_ms % 1000:03d}"
        raise BadInput(f"history begins at {began}, after {moment}", hint="'memsync log' shows what there is")

    def entry(self, path: str, version: VersionId) -> Entry | None:
        """What a version holds for a path; None if nothing."""
        if version == self.head():
            found = self.catalogue.tree_entry(path)
            if found is None:
                return None
            kind, size, content, modified = found
        else:
            seq = self.seq(version)
            row = history.entry_at(self.catalogue, seq, path)
            if row is None:
                return None
            kind, size, content, modified = row[:4]
        return Entry(path, Kind(kind), size, ContentId(content), modified)

    def entries(self, version: VersionId, under: str = "") -> Iterator[Entry]:
        """A version's files under a folder (or that one file), in path order; undisturbed by commits that
        other processes make meanwhile."""
        with self.catalogue.snapshot() as catalogue:
            if catalogue.fact("head") == version:
                rows: Iterator[Any] = (row[:5] for row in catalogue.tree(under))
            else:
                rows = history.entries_at(catalogue, self.seq(version), under)
            for path, kind, size, content, modified in rows:
                yield Entry(path, Kind(kind), size, ContentId(content), modified)

    def lost_before(self, version: VersionId, path: str) -> VersionId | None:
        """The version, lost for good, that may have changed the path after the change that the catalogue knows
        as its last one in `version`; None if there is none, as nearly always."""
        db = self.catalogue.db
        stand_ins = db.execute(
            "SELECT seq, line, id FROM versions WHERE place = ? AND seq NOT IN (SELECT seq FROM changes)",
            (history.NOWHERE,),
        ).fetchall()
        if not stand_ins:
            return None
        seq = self.seq(version)
        row = history.entry_at(self.catalogue, seq, path)
        since = 0 if row is None else row[4]
        upto = dict(self.catalogue.lineage(seq))
        for stand_in, line, id in stand_ins:
            if since < stand_in <= upto.get(line, 0):
                return VersionId(id)
        return None

    def seq(self, version: VersionId) -> int:
        found = self.catalogue.seq(version)
        if found is None:
            raise BadInput(f"no version {str(version)[:12]} in this store", hint="'memsync log' lists them")
        return found

    # -- contents ------------------------------------------------------------------------------------------

    def read(self, content: ContentId) -> bytes:
        """A whole content. Raises `DamagedData`."""
        return b"".join(self.stream(content))

    def stream(self, content: ContentId) -> Iterator[bytes]:
        """A content in checked pieces of at most 16 MiB. A push of another process may seal the segment
        meanwhile; then the objects are looked up anew."""
        given = 0
        for attempt in (1, 2, 3):
            try:
                skip = given
                for piece in self.reader.stream(content):
                    if skip:
                        skip -= 1
                        continue
                    yield piece
                    given += 1
                return
            except FileNotFoundError as error:
                if attempt == 3:
                    raise DamagedData(
                        f"a file that holds content {str(content)[:12]} is gone", hint="run 'memsync verify'"
                    ) from error
                self._files_moved()

    def _files_moved(self) -> None:
        self.reader.close()
        self.refresh()
