"""The workloads whose every crash point is tried.

A scene prepares a world (whose disk counts as durable then) and works in it under the recorder. Register
another with `@scene("name")`: a generator that prepares, yields once, and then works; after each command that
returned it calls `world.reported()`, for from then on a crash may not take away what the command did.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Final, NamedTuple

import pytest

from memstore import Store
from memstore.objects import catalogue
from tests.conftest import tree
from tests.crash_disk.disk import Sync
from tests.crash_disk.recorder import Recorder

TEMPORARY: Final = ".memsync-tmp-"
PICTURE: Final = random.Random(1).randbytes(7_000)
"""What does not compress: a commit of it is many sectors."""


class Mark(NamedTuple):
    """What had been reported when so many steps were done."""

    at: int
    exists: bool
    """Whether there was a workspace to open."""
    versions: dict[str, dict[str, bytes]]
    """id → path → content, of every version."""
    data: dict[str, bytes]
    """What `Data/` held."""
    clean: bool
    """Whether that was what HEAD holds."""


class World:
    """A disk with a workspace on it, its remote, and whatever else a scene makes."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.subject = root / "memory"
        """The workspace that is opened after a crash."""
        self.remote = root / "remote"
        self.recorder: Recorder | None = None
        self.marks: list[Mark] = []
        self.by_hand: set[int] = set()
        """Steps at which a person's save was half done: their editor's crash points, not ours."""
        self._stores: dict[Path, Store] = {}

    def store(self, folder: Path | None = None) -> Store:
        folder = folder or self.subject
        if folder not in self._stores:
            self._stores[folder] = Store.open(folder, environ=ENVIRON)
        return self._stores[folder]

    def close(self) -> None:
        for store in self._stores.values():
            store.close()
        self._stores.clear()

    # -- what a person does --------------------------------------------------------------------------------

    def write(self, path: str, content: bytes | str, folder: Path | None = None) -> None:
        """Save a file, as a careful editor does: it is durable."""
        place = (folder or self.subject / "Data") / path
        content = content.encode() if isinstance(content, str) else content
        if self.recorder is None:
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(content)
            return
        self._durably(place, lambda os_: _write(os_, place, content))

    def remove(self, path: str) -> None:
        place = self.subject / "Data" / path
        if self.recorder is None:
            place.unlink()
        else:
            self._durably(place, lambda os_: os_.unlink(str(place)))

    def _durably(self, place: Path, work: Callable[..., None]) -> None:
        from memstore import files

        recorder = self.recorder
        assert recorder is not None
        began = len(recorder.steps)
        work(files.os)  # type: ignore[attr-defined]
        if place.exists():
            number = recorder.number(os.lstat(place))
            assert number is not None
            recorder.note(Sync(number, True))
        for above in (place.parent, *place.parent.parents):
            number = recorder.number(os.stat(above))
            if number is None:
                break
            recorder.note(Sync(number, True))
        self.by_hand.update(range(began + 1, len(recorder.steps)))
        if self.marks:
            self.reported()

    # -- what a command reported ---------------------------------------------------------------------------

    def reported(self) -> None:
        """Everything that is there now must be there after any crash to come."""
        if self.recorder is not None:
            self.marks.append(mark(self.store(), len(self.recorder.steps)))

    def nothing_yet(self) -> None:
        """There is no workspace; a crash may leave anything that the same command can make whole."""
        assert self.recorder is not None
        self.marks.append(Mark(len(self.recorder.steps), False, {}, {}, True))


def _write(os_: object, place: Path, content: bytes) -> None:
    from typing import Any, cast

    system = cast(Any, os_)
    for above in reversed(place.parents):
        if not above.exists():
            system.mkdir(str(above))
    there = place.exists()
    descriptor = system.open(str(place), os.O_WRONLY | os.O_CREAT, 0o644)
    if there:
        system.ftruncate(descriptor, 0)
    system.write(descriptor, content)
    os.close(descriptor)


def mark(store: Store, at: int) -> Mark:
    data = data_of(store.workspace.data)
    versions = contents_of(store)
    head = store.head()
    return Mark(at, True, versions, data, data == (versions[str(head)] if head else {}))


def data_of(folder: str) -> dict[str, bytes]:
    """What a folder holds for a reader: half-written files are marked as such, and nobody takes them for any."""
    return {
        path: content
        for path, content in tree(Path(folder)).items()
        if TEMPORARY not in path and ".memsync-clone" not in path
    }


_read: dict[bytes, bytes] = {}


def contents_of(store: Store) -> dict[str, dict[str, bytes]]:
    """id → path → content of every version, read back."""
    repository = store.repository
    read: dict[bytes, bytes] = {}
    found: dict[str, dict[str, bytes]] = {}
    for version in store.history():
        rows = found[str(version.id)] = {}
        for entry in repository.entries(version.id):
            if entry.content not in read:
                read[entry.content] = repository.read(entry.content)
            rows[entry.path] = read[entry.content]
    return found


ENVIRON: Final[Mapping[str, str]] = {"MEMSYNC_DEVICE": "laptop"}

Work = Callable[[World], Iterator[None]]


class Scene(NamedTuple):
    name: str
    work: Work
    resume: Callable[[World], Store]
    """How a person goes on after the crash: by the next command, or by the same one."""
    again: Callable[[Store], object] = lambda store: None
    """What they do next, before anything else: the command that was cut, where it is needed."""
    weight: int = 1
    """How dear its states are: their number is divided by this."""


SCENES: Final[dict[str, Scene]] = {}


def _open(world: World) -> Store:
    return Store.open(world.subject, environ=ENVIRON)


def scene(
    name: str,
    *,
    resume: Callable[[World], Store] = _open,
    again: Callable[[Store], object] = lambda store: None,
    weight: int = 1,
) -> Callable[[Work], Work]:
    def register(work: Work) -> Work:
        SCENES[name] = Scene(name, work, resume, again, weight)
        return work

    return register


def _filled(world: World, *, remote: bool = True) -> None:
    """A workspace with three versions, not pushed."""
    Store.init(world.subject, environ=ENVIRON).close()
    if remote:
        world.store().set_remote(str(world.remote))
    world.write("Core/Rules.txt", "be kind\n" * 40)
    world.write("Core/Tone.txt", "calm\n")
    world.write("log.txt", "first line\n")
    world.store().commit(note="first")
    world.write("log.txt", "first line\nsecond line\n")
    world.write("Core/Tone.txt", "warm\n")
    world.store().commit(note="second")
    world.write("Meta/Picture.bin", PICTURE)
    world.store().commit(note="third")


# -- init and commit ---------------------------------------------------------------------------------------


@scene("init", resume=lambda world: Store.init(world.subject, environ=ENVIRON))
def _init(world: World) -> Iterator[None]:
    yield
    world.nothing_yet()
    Store.init(world.subject, environ=ENVIRON).close()
    world.reported()


@scene("first commit")
def _first_commit(world: World) -> Iterator[None]:
    Store.init(world.subject, environ=ENVIRON).close()
    world.write("Core/Rules.txt", "be kind\n")
    world.write("log.txt", b"line\n" * 400)
    world.write("picture.bin", PICTURE)
    yield
    world.reported()
    world.store().commit(note="first")
    world.reported()


@scene("append, replace, delete")
def _commits(world: World) -> Iterator[None]:
    _filled(world)
    yield
    world.reported()
    world.write("log.txt", "first line\nsecond line\nthird line\n")
    world.store().commit(note="append")
    world.reported()
    world.write("Core/Rules.txt", "be kinder\n" * 50)
    world.store().commit(["Core/Rules.txt"], note="replace")
    world.reported()
    world.remove("Core/Tone.txt")
    world.write("Core/Tone", b"\x00\x01" * 700)
    world.store().commit(note="delete and add")
    world.reported()


@scene("many files", weight=4)
def _many(world: World) -> Iterator[None]:
    _filled(world)
    for number in range(150):
        world.write(f"notes/{number % 7}/{number}.txt", f"note {number}\n" * (number % 40 + 1))
    yield
    world.reported()
    world.store().commit(note="many")
    world.reported()


@scene("a large file of pieces", weight=12)
def _large(world: World) -> Iterator[None]:
    _filled(world)
    piece = bytes(range(251)) * 4001
    world.write("vectors.bin", b"".join(bytes([turn]) + piece for turn in range(17)))
    yield
    world.reported()
    world.store().commit(note="large")
    world.reported()


# -- archive and restore -----------------------------------------------------------------------------------


@scene("archive")
def _archive(world: World) -> Iterator[None]:
    _filled(world)
    world.write("Core/Tone.txt", "not committed yet\n")
    yield
    world.reported()
    world.store().archive(["Core/Tone.txt", "log.txt"], reason="old")
    world.reported()


@scene("restore")
def _restore(world: World) -> Iterator[None]:
    _filled(world)
    first = list(world.store().history())[-1]
    yield
    world.reported()
    world.store().restore(["."], at=first.id, exact=True)
    world.reported()


@scene("restore over what was not committed")
def _restore_uncommitted(world: World) -> Iterator[None]:
    _filled(world)
    first = list(world.store().history())[-1]
    (world.subject / "Data/log.txt").chmod(0o755)
    (world.subject / "Data/alias").symlink_to("Core/Rules.txt")
    world.store().commit(note="a link and a mode")
    before = world.store().head()
    world.write("Core/Rules.txt", "by hand\n")
    (world.subject / "Data/log.txt").chmod(0o644)
    (world.subject / "Data/alias").unlink()
    yield
    world.reported()
    world.store().restore(["Core", "log.txt"], at=first.id)
    world.reported()
    world.store().restore(["."], at=before)
    world.reported()


# -- push, pull, clone -------------------------------------------------------------------------------------


@scene("first push")
def _first_push(world: World) -> Iterator[None]:
    _filled(world)
    yield
    world.reported()
    world.store().push()
    world.reported()


@scene("later push")
def _later_push(world: World) -> Iterator[None]:
    _filled(world)
    world.store().push()
    world.write("log.txt", "first line\nsecond line\nthird line\n")
    world.write("Core/Rules.txt", "be kinder\n" * 50)
    world.write("new/deep/note.txt", "new\n")
    world.remove("Core/Tone.txt")
    world.store().commit(note="changes of every kind")
    yield
    world.reported()
    world.store().push()
    world.reported()


@scene("push what a person changed in the mirror")
def _push_person(world: World) -> Iterator[None]:
    _filled(world)
    world.store().push()
    world.write("log.txt", "first line\nby hand on the other side\n", world.remote)
    world.write("Core/Tone.txt", "changed here\n")
    world.write("Core/Tone.txt", "changed there\n", world.remote)
    world.store().commit(note="both sides")
    yield
    world.reported()
    world.store().push()
    world.reported()


@scene("push from a copied folder")
def _push_copied(world: World) -> Iterator[None]:
    import shutil

    _filled(world)
    world.close()
    shutil.copytree(world.subject, world.root / "copy")
    world.subject = world.root / "copy"
    world.write("log.txt", "in the copy\n")
    yield
    world.reported()
    world.store().commit(note="in the copy")
    world.reported()
    world.store().push()
    world.reported()


@scene("pull", again=lambda store: store.pull())
def _pull(world: World) -> Iterator[None]:
    _filled(world)
    world.store().push()
    other = world.root / "other"
    Store.clone(str(world.remote), other, environ={"MEMSYNC_DEVICE": "desk"}).close()
    world.write("log.txt", "first line\nfrom the desk\n", other / "Data")
    world.write("desk/new.txt", "from the desk\n", other / "Data")
    (other / "Data/Core/Tone.txt").unlink()
    world.store(other).commit(note="at the desk")
    world.store(other).push()
    yield
    world.reported()
    world.store().pull()
    world.reported()


@scene("pull with merge", again=lambda store: store.pull())
def _pull_merge(world: World) -> Iterator[None]:
    """Both sides changed: one file each, one file both in different lines, one both in the same."""
    _filled(world)
    lines = [f"line {number}\n" for number in range(30)]
    world.write("Core/Both.txt", "".join(lines))
    world.store().commit(note="fourth")
    world.store().push()
    other = world.root / "other"
    Store.clone(str(world.remote), other, environ={"MEMSYNC_DEVICE": "desk"}).close()
    world.write("Core/Both.txt", "".join(["at the desk\n", *lines[1:]]), other / "Data")
    world.write("Core/Tone.txt", "as the desk has it\n", other / "Data")
    world.write("desk.txt", "new at the desk\n", other / "Data")
    world.store(other).commit(note="at the desk")
    world.store(other).push()
    world.write("Core/Both.txt", "".join([*lines[:-1], "here\n"]))
    world.write("Core/Tone.txt", "as it is here\n")
    world.store().commit(note="here")
    world.write("log.txt", "first line\nsecond line\nnot committed\n")
    yield
    world.reported()
    world.store().pull()
    world.reported()


def _clone_again(world: World) -> Store:
    from memstore.errors import BadInput

    try:
        return Store.clone(str(world.remote), world.subject, environ=ENVIRON)
    except BadInput as error:
        assert "is a workspace already" in error.message, error
        return _open(world)


@scene("clone", resume=_clone_again)
def _clone(world: World) -> Iterator[None]:
    _filled(world)
    world.store().push()
    world.close()
    world.subject = world.root / "copy"
    yield
    world.nothing_yet()
    Store.clone(str(world.remote), world.subject, environ=ENVIRON).close()
    world.reported()


@scene("catalogue upgrade")
def _upgrade(world: World) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(catalogue, "SCHEMA", catalogue.SCHEMA + 1_000)
        _filled(world)
        world.close()
    yield
    world.reported()
    world.write("log.txt", "after the upgrade\n")
    world.store().commit(note="with the new catalogue")
    world.reported()
