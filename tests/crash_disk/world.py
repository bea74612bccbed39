"""What a scene is, and the disk that it is played on.

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

from memstore import Store
from memstore.objects.reader import Removed
from tests.conftest import tree
from tests.crash_disk.disk import Sync
from tests.crash_disk.recorder import Recorder

TEMPORARY: Final = ".memsync-tmp-"
PICTURE: Final = random.Random(1).randbytes(7_000)
"""What does not compress: a commit of it is many sectors."""


Versions = dict[str, dict[str, bytes | None]]
"""id → path → content, of every version; None where the content was removed on purpose."""


class Mark(NamedTuple):
    """What had been reported when so many steps were done."""

    at: int
    exists: bool
    """Whether there was a workspace to open."""
    versions: Versions
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
        self.leaving: set[bytes] = set()
        """Contents that the scene's command is to remove. No other may ever be missing."""
        self.undamaged: Mark | None = None
        """What was there before the scene damaged it."""
        self.identities: dict[tuple[int, int], tuple[int, int]] = {}
        """For what (device, inode) files of a state that was laid are taken."""
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
        recorder.by_hand = True
        work(files.os)  # type: ignore[attr-defined]
        recorder.by_hand = False
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

    def about_to_damage(self) -> None:
        """All that is there now must be there once it is mended."""
        self.undamaged = mark(self.store(), 0)
        self.close()

    def damaged(self) -> None:
        """The work begins: what was there before the damage is what a crash may not take away."""
        if self.recorder is not None:
            assert self.undamaged is not None
            self.marks.append(self.undamaged._replace(at=len(self.recorder.steps)))

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


def contents_of(store: Store) -> Versions:
    """Every version, read back."""
    repository = store.repository
    read: dict[bytes, bytes | None] = {}
    found: Versions = {}
    for version in store.history():
        rows = found[str(version.id)] = {}
        for entry in repository.entries(version.id):
            if entry.content not in read:
                try:
                    read[entry.content] = repository.read(entry.content)
                except Removed:
                    read[entry.content] = None
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
    done: Callable[[World], None] = lambda world: None
    """What must hold once that has ended."""


SCENES: Final[dict[str, Scene]] = {}


def opened(world: World) -> Store:
    return Store.open(world.subject, environ=ENVIRON)


def scene(
    name: str,
    *,
    resume: Callable[[World], Store] = opened,
    again: Callable[[Store], object] = lambda store: None,
    done: Callable[[World], None] = lambda world: None,
) -> Callable[[Work], Work]:
    def register(work: Work) -> Work:
        SCENES[name] = Scene(name, work, resume, again, done)
        return work

    return register


def filled(world: World, *, remote: bool = True) -> None:
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
