"""A remote that is a plain folder: a disk, a share, a folder that some program syncs.

    <root>/.memsync/{format,packs/,heads/}   the store's half
    <root>/…                                 the mirror

A folder keeps no notes: a head marker's body says it all, and a mirror file's bytes are their own note.
Everything is made whole under a temporary name, synced, and then given its name without replacing what has
it. A folder on another machine may be written by several devices at once, so nothing here trusts what it
saw a moment ago further than the file system can hold it to.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Final

from memstore import files
from memstore.errors import (
    BadInput,
    Conflict,
    DamagedData,
    DiskTrouble,
    RemoteMissing,
    RemoteTrouble,
    typed,
)
from memstore.remotes.base import (
    FETCHED_AT_MOST,
    MirrorFile,
    RemoteFile,
    Source,
    check_fetched,
    check_name,
    check_small,
)
from memstore.remotes.folder_paths import PIECE, entry, holds, names_in, real_folder, seen_as
from memstore.remotes.folder_trouble import expect_root, is_absence, trouble
from memstore.worktree.names import check_path, problem

STORE: Final = ".memsync"
STALE_SECONDS: Final = 3600
"""Age from which on a half-written file is nobody's any more."""


class FolderRemote:
    """Both halves of a remote, in the folder `path` (absolute)."""

    listing_is_free = True
    requests = 0

    def __init__(self, path: str) -> None:
        self.root = os.path.abspath(path)
        self.url = self.root
        self._store = os.path.join(self.root, STORE)
        self.bytes_sent = 0
        self.most_attempts = 0
        self._durable: set[str] = {self.root}
        """Folders whose names are durable, as this process has seen to."""
        self._settled: set[str] = set()
        """Folders whose listings are."""

    def close(self) -> None:
        """Nothing is held open."""

    # -- the store's half ----------------------------------------------------------------------------------

    def prepare(self, *, create: bool) -> None:
        with trouble(self.root, "could not prepare"):
            if create:
                above = os.path.dirname(self.root)
                if not os.path.isdir(above):
                    raise RemoteMissing(
                        f"{above}, where the remote folder is to be made, is not there",
                        hint="mount the disk or share it is on, or make that folder",
                    )
                for part in ("packs", "heads"):
                    self._make_folder(os.path.join(self._store, part))
            self._expect_store()

    def list(self, prefix: str) -> Sequence[RemoteFile]:
        folder, _, start = prefix.rpartition("/")
        with trouble(self.root, "could not list"):
            self._expect_store()
            found = []
            self._settle(os.path.join(self._store, folder))
            for name in names_in(os.path.join(self._store, folder)):
                full = f"{folder}/{name}" if folder else name
                if not name.startswith(start) or not _is_name(full):
                    continue
                facts = entry(os.path.join(self._store, full))
                if facts is not None and stat.S_ISREG(facts.st_mode):
                    found.append(RemoteFile(full, facts.st_size))
            return found

    def read(self, name: str, offset: int = 0, length: int | None = None) -> bytes:
        with trouble(self.root, "could not read"):
            descriptor = self._open(name)
            try:
                there = os.fstat(descriptor).st_size
                if length is None:
                    check_small(name, there - offset, self.url)
                return files.read_at(descriptor, offset, there - offset if length is None else length)
            finally:
                os.close(descriptor)

    def read_stream(self, name: str) -> Iterator[bytes]:
        with trouble(self.root, "could not read"):
            descriptor = self._open(name)
        try:
            offset = 0
            while True:
                with trouble(self.root, "could not read"):
                    piece = files.read_at(descriptor, offset, PIECE)
                if not piece:
                    return
                yield piece
                offset += len(piece)
        finally:
            os.close(descriptor)

    def create(self, name: str, source: Source, notes: Mapping[str, str] | None = None) -> None:  # noqa: ARG002
        """`notes` are not kept: whoever needs one reads the file's body, which says it all."""
        path = self._path(name)
        with trouble(self.root, "could not store"):
            self._expect_store()
            self._make_folder(os.path.dirname(path))
            if not real_folder(self._store, os.path.dirname(name)):
                raise self._in_the_way(os.path.dirname(path))
            if not self._has_same(path, source, name):
                try:
                    self._write(path, source, files.rename_new)
                except FileExistsError:
                    # Another device was as quick; then it brought the same bytes, or one of us is wrong.
                    self._has_same(path, source, name)
            # Also where the bytes were there already: whoever brought them may have died before this.
            files.sync_dir(os.path.dirname(path))

    def delete(self, name: str) -> None:
        path = self._path(name)
        with trouble(self.root, "could not remove"):
            self._expect_store()
            if entry(path) is not None:
                files.remove(path)
                files.sync_dir(os.path.dirname(path))

    # -- the mirror ----------------------------------------------------------------------------------------

    def refuses(self, path: str) -> str | None:
        """What this system can't hold: the folder is reached through it."""
        return problem(path)

    def look(self, files: Sequence[tuple[str, str | None]]) -> Sequence[MirrorFile | None]:
        """A folder's handle is the path where memsync last saw the file."""
        with trouble(self.root, "could not look at"):
            expect_root(self.root)
            return [self._look(path if handle is None else handle) for path, handle in files]

    def walk(self, below: str = "", *, trashed: bool = False) -> Iterator[MirrorFile]:  # noqa: ARG002 - no trash
        """Paths come as the file system has them, unchecked. Symlinks are neither shown nor followed."""
        with trouble(self.root, "could not list"):
            expect_root(self.root)
            folders = [below] if real_folder(self.root, below) else []
        while folders:
            folder = folders.pop()
            with trouble(self.root, "could not list"):
                names = names_in(os.path.join(self.root, folder))
            deeper = []
            for name in names:
                if name.startswith(files.TEMPORARY_PREFIX) or name.casefold() == STORE:
                    continue
                path = f"{folder}/{name}" if folder else name
                with trouble(self.root, "could not look at"):
                    facts = entry(os.path.join(self.root, path))
                if facts is not None and stat.S_ISREG(facts.st_mode):
                    yield seen_as(path, facts)
                elif facts is not None and stat.S_ISDIR(facts.st_mode):
                    deeper.append(path)
            folders += reversed(deeper)

    def fetch(self, handle: str, at_most: int = FETCHED_AT_MOST) -> bytes:
        path = self._mirror_path(handle)
        with trouble(self.root, "could not read"):
            expect_root(self.root)
            if self._look(handle) is None:
                raise RemoteMissing(f"{path} is gone", hint="run the command again")
            # What is recognised will be noted as being there; whoever put it may have died before this.
            files.sync_dir(os.path.dirname(path))
            self._make_durable(os.path.dirname(path))
            descriptor = files.open_read(path)
            try:
                size = os.fstat(descriptor).st_size
                check_fetched(handle, size, at_most)
                return files.read_at(descriptor, 0, size)
            finally:
                os.close(descriptor)

    def put(
        self,
        path: str,
        source: Source,
        notes: Mapping[str, str],  # noqa: ARG002
        modified_ms: int,
    ) -> MirrorFile:
        """Finding the same bytes there is success (a put that was cut off), and leaves the file as it is."""
        target = self._mirror_path(path)
        with trouble(self.root, "could not write"):
            expect_root(self.root)
            there = self._look(path)
            if there is None:
                try:
                    self._into_folder(
                        path, lambda: self._write(target, source, files.rename_new, modified_ms)
                    )
                    return self._sure(path)
                except FileExistsError:
                    there = self._look(path)
            if there is None or not holds(target, source):
                raise Conflict(
                    f"another file is at {target} already",
                    hint="move it out of the way, or run 'memsync push' again to bring it home first",
                )
            files.sync_dir(os.path.dirname(target))
            return there

    def update(
        self,
        seen: MirrorFile,
        source: Source,
        notes: Mapping[str, str],  # noqa: ARG002
        modified_ms: int,
    ) -> MirrorFile:
        target = self._mirror_path(seen.handle)

        def replace(temporary: str, path: str) -> None:
            self._expect_untouched(seen)
            files.rename(temporary, path)

        with trouble(self.root, "could not write"):
            self._expect_untouched(seen)
            self._write(target, source, replace, modified_ms)
            return self._sure(seen.handle)

    def move(self, seen: MirrorFile, path: str, notes: Mapping[str, str]) -> MirrorFile:  # noqa: ARG002
        """A move that was cut off between link and unlink is finished."""
        source, target = self._mirror_path(seen.handle), self._mirror_path(path)
        with trouble(self.root, "could not move"):
            self._expect_untouched(seen)
            try:
                self._into_folder(path, lambda: files.rename_new(source, target))
            except FileExistsError:
                raise Conflict(
                    f"another file is at {target} already", hint="run 'memsync push' again"
                ) from None
            files.sync_dir(os.path.dirname(target))
            files.sync_dir(os.path.dirname(source))
            moved = self._sure(path)
            self._drop_empty(os.path.dirname(seen.handle))
            return moved

    def remove(self, seen: MirrorFile) -> None:
        with trouble(self.root, "could not remove"):
            self._expect_untouched(seen)
            path = self._mirror_path(seen.handle)
            files.remove(path)
            files.sync_dir(os.path.dirname(path))
            self._drop_empty(os.path.dirname(seen.handle))

    def erase(self, seen: MirrorFile) -> None:
        with trouble(self.root, "could not remove"):
            expect_root(self.root)
            if self._look(seen.handle) is not None:
                self.remove(seen)

    def sweep(self) -> None:
        limit = time.time() - STALE_SECONDS
        with trouble(self.root, "could not tidy"):
            expect_root(self.root)
            folders = [self.root]
            while folders:
                folder = folders.pop()
                for name in names_in(folder):
                    path = os.path.join(folder, name)
                    facts = entry(path)
                    if facts is not None and stat.S_ISDIR(facts.st_mode):
                        folders.append(path)
                    elif facts is not None and _is_stale(name, facts, limit):
                        files.discard(path)

    def drop_revisions(self, seen: MirrorFile, sums: Collection[str]) -> int:  # noqa: ARG002
        """A folder keeps none; what a program that syncs it, or a file system, keeps is out of reach."""
        return 0

    # -- inside --------------------------------------------------------------------------------------------

    def _path(self, name: str) -> str:
        return os.path.join(self._store, *check_name(name).split("/"))

    def _mirror_path(self, path: str) -> str:
        return os.path.join(self.root, *check_path(path).split("/"))

    def _expect_store(self) -> None:
        expect_root(self.root)
        if not real_folder(self.root, STORE):
            raise RemoteMissing(
                f"there is no memsync store in {self.root}",
                hint="check that the right disk or share is mounted there; if it is a new, empty one: "
                f"'memsync remote set {typed(self.root)}', then 'memsync push' fills it",
            )

    def _open(self, name: str) -> int:
        path = self._path(name)
        facts = entry(path) if real_folder(self._store, os.path.dirname(name)) else None
        if facts is None or not stat.S_ISREG(facts.st_mode):
            self._expect_store()
            raise RemoteMissing(f"{name} is not in {self._store}", hint="run 'memsync verify --remote'")
        return files.open_read(path)

    def _has_same(self, path: str, source: Source, name: str) -> bool:
        """Whether the name is taken by the same bytes. Raises `DamagedData` if it is by others."""
        facts = entry(path)
        if facts is None:
            return False
        if not stat.S_ISREG(facts.st_mode) or not holds(path, source):
            raise DamagedData(
                f"{self._store} has other bytes under the name {name}", hint="run 'memsync verify --remote'"
            )
        return True

    def _write(
        self,
        path: str,
        source: Source,
        name_it: Callable[[str, str], None],
        modified_ms: int | None = None,
    ) -> None:
        """All bytes in a durable temporary file beside `path`, checked, then `name_it(temporary, path)`."""
        self.most_attempts = max(self.most_attempts, 1)
        temporary = ""
        try:
            with files.new_file(os.path.dirname(path)) as (descriptor, temporary):
                for offset in range(0, source.size, PIECE):
                    piece = source.read_at(offset, min(PIECE, source.size - offset))
                    files.write_all(descriptor, piece, temporary)
                    self.bytes_sent += len(piece)
                files.sync(descriptor, temporary)
                self._expect_arrived(temporary, path, source)
                if modified_ms is not None:
                    files.set_times(temporary, modified_ms)
            name_it(temporary, path)
            # Before the catalogue says that it is there: else what a power cut took looks removed by hand.
            files.sync_dir(os.path.dirname(path))
        except BaseException:
            if temporary:
                files.discard(temporary)
            raise

    def _expect_arrived(self, temporary: str, path: str, source: Source) -> None:
        if not holds(temporary, source):
            raise RemoteTrouble(f"{path} did not arrive as it was sent", hint="run the command again")

    def _make_folder(self, place: str) -> None:
        files.make_dir(place)
        self._make_durable(place)

    def _make_durable(self, place: str) -> None:
        """A folder in the root, and those above it, keep their names: who made them may have died, or been refused,
        before that was sure."""
        while place not in self._durable:
            files.sync_dir(os.path.dirname(place))
            self._durable.add(place)
            place = os.path.dirname(place)

    def _settle(self, place: str) -> None:
        """What a folder shows from here on is durable: who named or removed it may have died before that was sure, and
        a power cut would undo what others have relied on since. A share that is only read takes no sync."""
        if place not in self._settled:
            self._settled.add(place)
            with suppress(DiskTrouble, FileNotFoundError, NotADirectoryError):
                files.sync_dir(place)

    def _into_folder(self, path: str, work: Callable[[], None]) -> None:
        """Run `work` with the folders above the mirror's `path` made, none of them through a symlink."""
        above = os.path.dirname(path)
        for last in (False, True):
            self._make_folder(os.path.join(self.root, above).rstrip(os.sep))
            if not real_folder(self.root, above):
                raise self._in_the_way(os.path.join(self.root, above))
            try:
                work()
            except (FileNotFoundError, DiskTrouble) as error:
                # Another device may have taken the folder away, empty as it was; once is chance.
                if last or not is_absence(error):
                    raise
            else:
                return

    def _drop_empty(self, folder: str) -> None:
        while folder:
            if not files.remove_folder(os.path.join(self.root, folder)):
                return  # not empty, or not ours to take: either way it stays, and harms nobody
            folder = os.path.dirname(folder)

    def _look(self, path: str) -> MirrorFile | None:
        if problem(path) is not None:
            return None
        full = self._mirror_path(path)
        facts = entry(full) if real_folder(self.root, os.path.dirname(path)) else None
        return seen_as(path, facts) if facts is not None and stat.S_ISREG(facts.st_mode) else None

    def _sure(self, path: str) -> MirrorFile:
        """What was just put there."""
        there = self._look(path)
        if there is None:
            raise RemoteTrouble(
                f"{os.path.join(self.root, path)} vanished as it was written", hint="run the command again"
            )
        return there

    def _expect_untouched(self, seen: MirrorFile) -> None:
        expect_root(self.root)
        there = self._look(seen.handle)
        if there is None or there.stamp != seen.stamp:
            raise Conflict(
                f"{self._mirror_path(seen.handle)} was {'removed' if there is None else 'changed'} meanwhile",
                hint="run 'memsync push' again: it brings home what a person changed first",
            )

    def _in_the_way(self, folder: str) -> Conflict:
        return Conflict(
            f"{folder} is no folder of its own (a link or a file has that name)",
            hint="move it out of the way; memsync follows no links in a remote",
        )


def _is_stale(name: str, facts: os.stat_result, limit: float) -> bool:
    return name.startswith(files.TEMPORARY_PREFIX) and stat.S_ISREG(facts.st_mode) and facts.st_mtime < limit


def _is_name(name: str) -> bool:
    try:
        check_name(name)
    except BadInput:
        return False
    return True
