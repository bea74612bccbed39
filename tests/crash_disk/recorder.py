"""What a workload asks of the system through `memstore.files`, written down while it really happens.

The recorder stands where the module `os` stands in `memstore.files`. An audit hook watches for changes by
anybody else: nothing but SQLite and the lock files may change the disk behind its back.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import sys
from collections.abc import Iterator, Sequence
from typing import Any, Final

from memstore import files
from memstore.identity import CATALOGUE_NAME
from tests.crash_disk.disk import (
    Disk,
    Length,
    Made,
    Mode,
    Names,
    Step,
    Sync,
    SyncAll,
    SyncFailed,
    Write,
    look,
)

Catalogue = dict[str, bytes]
"""name → bytes of the catalogue's file and of its write-ahead log, as far as they are there."""

_CHANGES: Final = frozenset(
    ("os.remove", "os.rename", "os.mkdir", "os.rmdir", "os.link", "os.symlink", "os.truncate", "os.chmod",
     "os.utime", "shutil.rmtree", "shutil.move", "shutil.copyfile")
)  # fmt: skip


def left_out(path: str) -> bool:
    """Whether a file is of no meaning to a reader (the clock, locks), or SQLite's, which writes it itself."""
    name = os.path.basename(path)
    return name in ("clock", "lock") or name.endswith(".lock") or name.startswith(CATALOGUE_NAME)


class Killed(BaseException):
    """The process ends here: whatever it still tries is not done."""


class Recorder:
    """One recording of what happens below `root`, from what lies there now, which counts as durable."""

    def __init__(self, root: str, states: Sequence[str] = ()) -> None:
        """`states` are the folders (`.memsync`, there or not yet) whose catalogues are noted as they change."""
        self.root = root
        self.start, self._numbers = look(root, left_out)
        self.identities: dict[int, tuple[int, int]] = {}
        for identity, number in self._numbers.items():
            self.identities[number] = identity
        self._next = max(self._numbers.values()) + 1
        self.steps: list[Step] = []
        self.behind: list[str] = []
        """What somebody changed without asking `memstore.files`."""
        self.kill_at: int | None = None
        """The number of the call (1 is the first) that is never made, nor any after it."""
        self.calls = 0
        self.by_hand = False
        """Whether it is a person who saves just now, which no trouble befalls."""
        self.failing_sync: int | None = None
        """The number of the sync (1 is the first) that the disk refuses."""
        self.dies_with_it = False
        """Whether the process is killed by that, before it can take anything back."""
        self.syncs = 0
        self._states = states
        self.catalogues: list[dict[str, Catalogue]] = [self._catalogues()]
        self._seen = self._stamps()
        self._moments: list[int] = []
        self.inside = False
        self._held: list[int] = []

    # -- recording -----------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def recording(self) -> Iterator[None]:
        global _active  # noqa: PLW0603 - an audit hook can't be taken out again
        _install()
        before, files.os = files.os, _RecordingOs(self)  # type: ignore[attr-defined, assignment]
        _active = self
        try:
            yield
        finally:
            _active = None
            files.os = before  # type: ignore[attr-defined]
            for descriptor in self._held:
                os.close(descriptor)
            self._held.clear()

    def note(self, *steps: Step) -> None:
        self._look_at_catalogues()
        for step in steps:
            self.steps.append(step)
            self._moments.append(len(self.catalogues) - 1)

    def catalogue_at(self, at: int) -> int:
        """The number of the newest of `catalogues` that was there before the step `at` was made."""
        if at < len(self._moments):
            return self._moments[at]
        return len(self.catalogues) - 1

    def finish(self) -> None:
        """The last look at the catalogues, once the workload has closed them."""
        self._look_at_catalogues()

    def disk_at(self, at: int) -> Disk:
        """The disk after so many steps."""
        disk = self.start.copy()
        for step in self.steps[:at]:
            disk.take(step)
        return disk

    # -- numbers -------------------------------------------------------------------------------------------

    def mine(self, path: Any) -> str | None:
        """The absolute path, if it is below the root and part of the recording."""
        place = os.path.abspath(os.fsdecode(path))
        return place if place.startswith(self.root + os.sep) and not left_out(place) else None

    def number(self, facts: os.stat_result) -> int | None:
        return self._numbers.get((facts.st_dev, facts.st_ino))

    def place(self, path: str) -> tuple[int, str]:
        """(number of the folder, name)."""
        above, name = os.path.split(path)
        number = self.number(os.stat(above))
        assert number is not None, path
        return number, name

    def made(self, path: str) -> None:
        """Something new is at the path."""
        facts = os.lstat(path)
        number, self._next = self._next, self._next + 1
        self._numbers[facts.st_dev, facts.st_ino] = number
        self.identities[number] = (facts.st_dev, facts.st_ino)
        target = os.readlink(path) if stat.S_ISLNK(facts.st_mode) else ""
        folder, name = self.place(path)
        self.note(Made(number, facts.st_mode, target), Names(folder, ((name, number),)))

    def hold(self, path: Any) -> None:
        """Keep a file's number from being given to another, though the file goes."""
        with contextlib.suppress(OSError):
            self._held.append(os.open(path, os.O_RDONLY | os.O_NOFOLLOW))

    # -- catalogues ----------------------------------------------------------------------------------------

    def _stamps(self) -> list[tuple[str, int, int, int]]:
        found = []
        for path in self._catalogue_files():
            with contextlib.suppress(FileNotFoundError):
                facts = os.stat(path)
                found.append((path, facts.st_ino, facts.st_size, facts.st_mtime_ns))
        return found

    def _catalogue_files(self) -> Iterator[str]:
        for state in self._states:
            for name in files.names(state):
                if name.startswith(CATALOGUE_NAME) and not name.endswith("-shm"):
                    yield os.path.join(state, name)

    def _look_at_catalogues(self) -> None:
        now = self._stamps()
        if now != self._seen:
            self._seen = now
            self.catalogues.append(self._catalogues())

    def _catalogues(self) -> dict[str, Catalogue]:
        found: dict[str, Catalogue] = {state: {} for state in self._states}
        for path in self._catalogue_files():
            state, name = os.path.split(path)
            with contextlib.suppress(FileNotFoundError), open(path, "rb") as file:
                found[state][name] = file.read()
        return found


def _placed(path: Any, folder: int | None) -> Any:
    """The path itself, where it is given relative to an open folder."""
    if folder is None:
        return path
    return os.path.join(os.readlink(f"/proc/self/fd/{folder}"), os.fsdecode(path))


class _RecordingOs:
    """The module `os`, with those calls told that change something."""

    def __init__(self, recorder: Recorder) -> None:
        self._to = recorder

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)

    @contextlib.contextmanager
    def _call(self) -> Iterator[None]:
        recorder = self._to
        recorder.calls += not recorder.by_hand
        if recorder.kill_at is not None and recorder.calls >= recorder.kill_at and not recorder.by_hand:
            raise Killed
        recorder.inside = True
        try:
            yield
        finally:
            recorder.inside = False

    def open(self, path: Any, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        path = _placed(path, dir_fd)
        if not flags & os.O_CREAT:
            return os.open(path, flags, mode)
        place = self._to.mine(path)
        with self._call():
            there = os.path.lexists(path)
            descriptor = os.open(path, flags, mode)
            if place is not None and not there:
                self._to.made(place)
            return descriptor

    def write(self, descriptor: int, data: Any) -> int:
        with self._call():
            written = os.write(descriptor, data)
            number = self._to.number(os.fstat(descriptor))
            if number is not None:
                offset = os.lseek(descriptor, 0, os.SEEK_CUR) - written
                self._to.note(Write(number, offset, bytes(data[:written])))
            return written

    def ftruncate(self, descriptor: int, length: int) -> None:
        with self._call():
            os.ftruncate(descriptor, length)
            number = self._to.number(os.fstat(descriptor))
            if number is not None:
                self._to.note(Length(number, length))

    def _sync(self, descriptor: int, *, whole: bool) -> None:
        with self._call():
            os.fsync(descriptor)
            number = self._to.number(os.fstat(descriptor))
            if number is None:
                return
            self._to.syncs += 1
            if self._to.syncs == self._to.failing_sync:
                self._to.note(SyncFailed(number))
                if self._to.dies_with_it:
                    self._to.kill_at = self._to.calls
                    raise Killed
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            self._to.note(Sync(number, whole))

    def fsync(self, descriptor: int) -> None:
        self._sync(descriptor, whole=True)

    def fdatasync(self, descriptor: int) -> None:
        self._sync(descriptor, whole=False)

    def sync(self) -> None:
        with self._call():
            self._to.note(SyncAll())

    def replace(
        self, source: Any, target: Any, *, src_dir_fd: int | None = None, dst_dir_fd: int | None = None
    ) -> None:
        source, target = _placed(source, src_dir_fd), _placed(target, dst_dir_fd)
        with self._call():
            from_, to = self._to.mine(source), self._to.mine(target)
            self._to.hold(target)
            os.replace(source, target)
            if from_ is not None and to is not None:
                number = self._to.number(os.lstat(to))
                (folder, name), (other, new) = self._to.place(from_), self._to.place(to)
                if folder == other:
                    self._to.note(Names(folder, ((name, None), (new, number))))
                else:
                    self._to.note(Names(other, ((new, number),)), Names(folder, ((name, None),)))

    rename = replace

    def link(self, source: Any, target: Any, **named: Any) -> None:
        with self._call():
            os.link(source, target, **named)
            to = self._to.mine(target)
            if to is not None:
                folder, name = self._to.place(to)
                self._to.note(Names(folder, ((name, self._to.number(os.lstat(to))),)))

    def unlink(self, path: Any, *, dir_fd: int | None = None) -> None:
        path = _placed(path, dir_fd)
        with self._call():
            self._to.hold(path)
            os.unlink(path)
            self._gone(path)

    def rmdir(self, path: Any) -> None:
        with self._call():
            self._to.hold(path)
            os.rmdir(path)
            self._gone(path)

    def _gone(self, path: Any) -> None:
        place = self._to.mine(path)
        if place is not None:
            folder, name = self._to.place(place)
            self._to.note(Names(folder, ((name, None),)))

    def mkdir(self, path: Any, *args: Any) -> None:
        with self._call():
            os.mkdir(path, *args)
            place = self._to.mine(path)
            if place is not None:
                self._to.made(place)

    def symlink(self, target: Any, path: Any, *, dir_fd: int | None = None) -> None:
        path = _placed(path, dir_fd)
        with self._call():
            os.symlink(target, path)
            place = self._to.mine(path)
            if place is not None:
                self._to.made(place)

    def fchmod(self, descriptor: int, mode: int) -> None:
        with self._call():
            os.fchmod(descriptor, mode)
            facts = os.fstat(descriptor)
            number = self._to.number(facts)
            if number is not None:
                self._to.note(Mode(number, facts.st_mode))


# -- behind its back ---------------------------------------------------------------------------------------

_active: Recorder | None = None
_installed = False


def _install() -> None:
    global _installed  # noqa: PLW0603
    if not _installed:
        _installed = True
        sys.addaudithook(_audit)


def _audit(event: str, args: tuple[Any, ...]) -> None:
    recorder = _active
    if recorder is None or recorder.inside:
        return
    if event == "open":
        path, _, flags = args
        if not isinstance(path, str | bytes) or not isinstance(flags, int):
            return
        if not flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC):
            return
    elif event in _CHANGES:
        path = args[1] if event in ("os.rename", "os.link", "os.symlink") else args[0]
        if not isinstance(path, str | bytes):
            return
    else:
        return
    if event == "os.mkdir" and os.path.isdir(path):
        return  # filelock makes sure that its folder is there
    by = str(sys._getframe(1).f_globals.get("__name__"))
    if recorder.mine(path) is None or by == files.__name__ or by.startswith("filelock."):
        return
    recorder.behind.append(f"{event} {os.fsdecode(path)} by {sys._getframe(1).f_code.co_filename}")
