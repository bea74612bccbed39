"""A disk that is full, or that fails to read, write or sync, at one call or from one call on.

Each case runs in a process of its own, on a copy of one prepared disk: nothing of one trouble reaches another.
"""

from __future__ import annotations

import builtins
import contextlib
import errno
import gc
import os
import stat
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

from memstore import Store, files
from memstore.errors import MemsyncError
from memstore.worktree import reading
from tests.crash_disk import check
from tests.crash_disk import disk as model
from tests.crash_disk.check import Case
from tests.crash_disk.rounds import empty_disk, no_waiting
from tests.crash_disk.world import Mark, Scene, Versions, World, contents_of, data_of, mark

_FILLS: Final = frozenset(("open", "write", "mkdir", "link", "symlink"))
"""Calls that need room."""
_FAILS: Final = _FILLS | {
    "pread",
    "preadv",
    "read",
    "fsync",
    "fdatasync",
    "ftruncate",
    "replace",
    "rename",
    "unlink",
}


class Fault(NamedTuple):
    """What befalls a workload."""

    number: int
    """`errno.ENOSPC` or `errno.EIO`."""
    at: int
    """The call (1 is the first of those that can meet it)."""
    lasting: bool
    """Whether every call after it meets it too, until the command has ended."""

    def __str__(self) -> str:
        return f"{errno.errorcode[self.number]} {'from' if self.lasting else 'at'} call {self.at}"


class _FailingOs:
    """The module `os`, some of whose calls fail."""

    def __init__(self, fault: Fault) -> None:
        self.fault = fault
        self.calls = 0
        self.on = True
        self._names = _FILLS if fault.number == errno.ENOSPC else _FAILS

    def __getattr__(self, name: str) -> Any:
        real = getattr(os, name)
        if name not in self._names:
            return real

        def call(*args: Any, **named: Any) -> Any:
            if self._is_due(name, args):
                if name == "write" and self.fault.number == errno.ENOSPC and len(args[1]) > 1:
                    os.write(args[0], args[1][: len(args[1]) // 2])  # there was room for some
                raise OSError(self.fault.number, os.strerror(self.fault.number))
            return real(*args, **named)

        return call

    def open_file(self, path: Any, mode: str, **named: Any) -> Any:
        """The built-in `open`, which `memstore.files` reads by."""
        if "read" in self._names and self._is_due("read", ()):
            raise OSError(self.fault.number, os.strerror(self.fault.number), path)
        return builtins.open(path, mode, **named)

    def _is_due(self, name: str, args: tuple[Any, ...]) -> bool:
        if not self.on or (name == "open" and self._names is _FILLS and not args[1] & os.O_CREAT):
            return False
        if name in ("fsync", "fdatasync") and stat.S_ISCHR(os.fstat(args[0]).st_mode):
            return False
        self.calls += 1
        return self.calls >= self.fault.at if self.fault.lasting else self.calls == self.fault.at

    @contextlib.contextmanager
    def installed(self) -> Iterator[None]:
        before = files.os, reading.os  # type: ignore[attr-defined]
        files.os = reading.os = self  # type: ignore[assignment, attr-defined]
        files.open = self.open_file  # type: ignore[attr-defined]
        try:
            yield
        finally:
            files.os, reading.os = before  # type: ignore[attr-defined]
            del files.open  # type: ignore[attr-defined]


class _Befallen(World):
    """What is reported is looked at on a disk that works."""

    fault: _FailingOs | None = None

    def reported(self) -> None:
        if self.fault is not None:
            self.fault.on = False
            self.marks.append(mark(self.store(), 0))
            self.fault.on = True

    def nothing_yet(self) -> None:
        """Faults are tried on workspaces that are there as well as on those that are made."""


def every_fault(scene: Scene, number: int, *, lasting: bool, only: int | None = None, every: int = 1) -> int:
    """Let a fault befall each call of a scene (`only`: one of them; `every`: each so-manieth, from the first on);
    how many were tried."""
    with empty_disk() as root, no_waiting():
        world = _Befallen(root)
        work = scene.work(world)
        next(work)
        world.close()
        start = model.look(str(root), lambda path: path.endswith(".lock"))
        identities = {number: identity for identity, number in start[1].items()}
        state = start[0].tree()
        at, tried = only or 1, 0
        while _in_a_process(scene, world, work, Fault(number, at, lasting), state, identities):
            at, tried = at + every, tried + 1
            if only is not None:
                break
        return tried


def _in_a_process(
    scene: Scene,
    world: _Befallen,
    work: Iterator[None],
    fault: Fault,
    state: model.State,
    identities: dict[int, tuple[int, int]],
) -> bool:
    """Whether the fault befell it. Raises what the other process raised."""
    reads, writes = os.pipe()
    child = os.fork()
    if not child:
        answer = b"?"
        try:
            os.close(reads)
            gc.freeze()  # what the tests themselves hold need not be gone through each time
            answer = b"1" if _befall(scene, world, work, fault, state, identities) else b"0"
        except BaseException:
            answer = traceback.format_exc().encode()
        finally:
            with open(writes, "wb") as pipe:
                pipe.write(answer)
            os._exit(0)
    os.close(writes)
    with open(reads, "rb") as pipe:
        told = pipe.read()
    os.waitpid(child, 0)
    assert told in (b"0", b"1"), f"{scene.name}: {fault}\n{told.decode()}"
    return told == b"1"


def _befall(
    scene: Scene,
    world: _Befallen,
    work: Iterator[None],
    fault: Fault,
    state: model.State,
    identities: dict[int, tuple[int, int]],
) -> bool:
    check.empty(str(world.root))
    known = model.build(state, str(world.root), identities)
    real = files.identity
    files.identity = lambda descriptor: known.get(real(descriptor), real(descriptor))
    before = world.undamaged or _first_mark(world)
    world.identities = known
    failing = world.fault = _FailingOs(fault)
    with failing.installed():
        try:
            next(work)
        except StopIteration:
            pass
        except MemsyncError as error:
            assert error.message and error.hint, repr(error)
            assert error.exit_code, repr(error)
        failing.on = False
        world.close()
    gc.collect()
    with scene.resume(world) as store:
        scene.again(store)
        check.has_left(store, world.leaving)
        scene.done(world)
        last = world.marks[-1] if world.marks else before
        versions = contents_of(store)
        for id, rows in (last.versions | before.versions).items():
            assert id in versions, "a version is lost"
            assert check.holds(versions[id], rows, world.leaving), "a version holds something else"
        problems = store.verify().problems
        assert problems == (), problems
        _nothing_vanished(store, before, versions, world.leaving)
        check.goes_on(store, world, Case(0, {}, "", before, last))
    return failing.calls >= fault.at


def _first_mark(world: World) -> Mark:
    if not (world.subject / "paths.json").exists():
        return Mark(0, False, {}, {}, False)
    with Store.open(world.subject) as store:
        return mark(store, 0)._replace(clean=False)


def _nothing_vanished(store: Store, before: Mark, versions: Versions, leaving: set[bytes]) -> None:
    """What `Data/` held is there, or in some version."""
    somewhere: set[bytes | None] = {*data_of(store.workspace.data).values(), *leaving}
    for rows in versions.values():
        somewhere.update(rows.values())
    assert set(before.data.values()) <= somewhere, "what a person wrote is lost"


__all__ = ["Fault", "Path", "every_fault"]
