"""What must hold of every state that a crash may leave, and of what is done next."""

from __future__ import annotations

import contextlib
import gc
import os
import random
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

import pytest

from memstore import Store, files
from memstore.errors import MemsyncError
from memstore.manifest.version import Kind
from tests.conftest import tree, words
from tests.crash_disk import disk as model
from tests.crash_disk.disk import State
from tests.crash_disk.recorder import Killed, Recorder, left_out
from tests.crash_disk.states import Bounds, fates
from tests.crash_disk.world import TEMPORARY, Mark, Scene, Versions, World, contents_of, data_of

NEW: Final = "after the crash.txt"


class Case(NamedTuple):
    """One state, and what had been reported by then."""

    at: int
    state: State
    catalogue: str
    """Which of the catalogues is there; see `_catalogue`."""
    before: Mark
    after: Mark
    """What the command that was going on was about to report; `before` again if none was."""

    def __str__(self) -> str:
        files = {path: len(node.content) for path, node in self.state.items() if node.content}
        return f"crash after step {self.at}, catalogue {self.catalogue}, {files}"


class Count(NamedTuple):
    """What was tried for a scene."""

    steps: int
    states: int


class Played(NamedTuple):
    """A scene that was recorded."""

    scene: Scene
    world: World
    recorder: Recorder
    known: Versions
    """Every version it ever had, with all that was in it before anything was removed."""
    struck: bool = False
    """Whether the trouble befell it before it ended."""


class Trouble(NamedTuple):
    """What befalls the workload while it is recorded."""

    kill_at: int | None = None
    """The call of the system (1 is the first) that is never made."""
    failing_sync: int | None = None
    """The sync (1 is the first) that the disk refuses."""
    dies_with_it: bool = False


def play(scene: Scene, root: Path, trouble: Trouble | None = None) -> Played:
    """Prepare a scene and record it. With `trouble`, what a person does after that is recorded as well."""
    world = World(root)
    work = scene.work(world)
    next(work)
    world.close()
    recorder = Recorder(
        str(root), [str(path / ".memsync") for path in sorted({world.subject, root / "copy"})]
    )
    world.recorder = recorder
    struck = False
    with recorder.recording():
        if trouble is None:
            with contextlib.suppress(StopIteration):
                next(work)
        else:
            struck = _meet(trouble, recorder, work)
            world.close()
            gc.collect()  # what a killed process had open is closed
            _go_on(scene, world)
        world.close()
        recorder.finish()
    assert not recorder.behind, recorder.behind
    known: Versions = {}
    for mark in reversed(world.marks):
        known |= mark.versions
    return Played(scene, world, recorder, known, struck)


def _meet(trouble: Trouble, recorder: Recorder, work: Iterator[None]) -> bool:
    recorder.kill_at, recorder.failing_sync, recorder.dies_with_it = trouble
    with contextlib.suppress(StopIteration, Killed, MemsyncError):
        next(work)
    struck = recorder.calls >= (recorder.kill_at or 0) and recorder.syncs >= (recorder.failing_sync or 0)
    recorder.kill_at = recorder.failing_sync = None
    return struck


def _go_on(scene: Scene, world: World) -> None:
    """The next command finds what was left, and what it reports must survive."""
    with scene.resume(world) as store:
        scene.again(store)
    world.marks.clear()
    world.write("Core/Next.txt", "saved after the trouble\n")
    world.store().commit(note="after the trouble")
    world.reported()


def assert_recorded_whole(played: Played) -> None:
    """With every step through, the model shows what really lies there: the recorder missed nothing."""
    recorder = played.recorder
    disk = recorder.disk_at(len(recorder.steps))
    shown = disk.after([True] * len(disk.pending))
    real = model.look(recorder.root, left_out)[0].tree()
    assert {path: (node.mode, node.content) for path, node in shown.items()} == {
        path: (node.mode, node.content) for path, node in real.items()
    }


# -- the states of a recording -----------------------------------------------------------------------------


def cases(played: Played, choice: random.Random, bounds: Bounds) -> Iterator[Case]:
    """Every state to try, no two alike."""
    recorder, marks = played.recorder, played.world.marks
    seen: set[tuple[bytes, str, int]] = set()
    for at in range(marks[0].at, len(recorder.steps) + 1):
        if at in played.world.by_hand:
            continue
        number = max(number for number, mark in enumerate(marks) if mark.at <= at)
        before, after = marks[number], marks[min(number + 1, len(marks) - 1)]
        disk = recorder.disk_at(at)
        for turn, fate in enumerate(fates(disk, choice, bounds)):
            state = disk.after(fate)
            digest = model.digest(state)
            names = _catalogues(recorder, at, turn, choice)
            for name in names:
                key = (digest, name, number)
                if key not in seen:
                    seen.add(key)
                    yield Case(at, state, name, before, after)


def _catalogues(recorder: Recorder, at: int, turn: int, choice: random.Random) -> list[str]:
    """Which catalogues to lay beside a state: the newest, and one of the others by turns.

    The catalogue has no fsync of its own: after a crash it is as it was at some earlier moment, or its log is
    cut, or it is not there, or it is none any more.
    """
    newest = recorder.catalogue_at(at)
    others = [
        f"of moment {choice.randrange(newest + 1)}",
        "absent",
        "of moment 0",
        "garbage",
        "log cut",
        "log torn",
    ]
    if turn == 0:
        return [f"of moment {newest}", *others]
    return [(f"of moment {newest}", others[choice.randrange(len(others))])[turn % 2]]


def _lay_catalogues(recorder: Recorder, name: str, at: int, seed: int) -> None:
    choice = random.Random(seed)
    which = int(name.rpartition(" ")[2]) if name.startswith("of moment") else recorder.catalogue_at(at)
    for state, catalogue in recorder.catalogues[which].items():
        if os.path.isdir(state) and name != "absent":
            for file, content in catalogue.items():
                Path(state, file).write_bytes(_spoilt(name, file, content, choice))


def _spoilt(name: str, file: str, content: bytes, choice: random.Random) -> bytes:
    is_log = file.endswith("-wal")
    if name == "garbage" and not is_log:
        return choice.randbytes(len(content) // 2)
    at = choice.randrange(len(content) // model.SECTOR + 1) * model.SECTOR
    if name == "log cut" and is_log:
        return content[:at]
    if name == "log torn" and is_log:
        return content[:at] + bytes(len(content[at : at + model.SECTOR])) + content[at + model.SECTOR :]
    return content


# -- opening one -------------------------------------------------------------------------------------------


@contextlib.contextmanager
def laid(played: Played, case: Case) -> Iterator[World]:
    """The state on the real disk, in place of what the recording left."""
    recorder = played.recorder
    empty(recorder.root)
    known = model.build(case.state, recorder.root, recorder.identities)
    _lay_catalogues(recorder, case.catalogue, case.at, case.at)
    real = files.identity

    def identity(descriptor: int) -> tuple[int, int]:
        facts = real(descriptor)
        return known.get(facts, facts)

    world = World(Path(recorder.root))
    world.subject, world.leaving = played.world.subject, played.world.leaving
    world.identities = known
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(files, "identity", identity)
        yield world


def empty(root: str) -> None:
    """Make room for another state."""
    for name in os.listdir(root):
        shutil.rmtree(os.path.join(root, name))


def check(played: Played, case: Case) -> None:
    """Open the state, go on working, and demand all that was promised."""
    with laid(played, case) as world:
        store = played.scene.resume(world)
        try:
            opened(store, case, played.known, world.leaving)
            played.scene.again(store)
            has_left(store, world.leaving)
            played.scene.done(world)
            goes_on(store, world, case)
        finally:
            store.close()


def opened(store: Store, case: Case, known: Versions, leaving: set[bytes]) -> None:
    """Every version that was reported is there, and nothing half-made."""
    versions = contents_of(store)
    lost = case.before.versions.keys() - versions.keys()
    assert not lost, f"{len(lost)} reported version(s) lost"
    unknown = versions.keys() - known.keys()
    assert not unknown, f"{len(unknown)} version(s) nobody made"
    for id, rows in versions.items():
        assert holds(rows, known[id], leaving), "a version holds something else"
        back = [
            path for path, raw in case.before.versions.get(id, rows).items() if raw is None and rows[path]
        ]
        assert not back, f"what was removed is back: {back}"
    report = store.verify()
    assert report.problems == (), report.problems
    data = data_of(store.workspace.data)
    assert data in (case.before.data, case.after.data), "Data/ is neither as it was nor as it was to be"
    assert not os.path.exists(os.path.join(store.workspace.state, "checkout"))
    if case.before.clean and case.after.clean:
        head = store.head()
        assert data == (versions[str(head)] if head else {}), "Data/ is not what HEAD holds"


def holds(rows: dict[str, bytes | None], known: dict[str, bytes | None], leaving: set[bytes]) -> bool:
    """Whether a version holds what it should; what was to leave may be gone."""
    return rows.keys() == known.keys() and all(
        raw == known[path] or (raw is None and known[path] in leaving) for path, raw in rows.items()
    )


def has_left(store: Store, leaving: set[bytes]) -> None:
    """What was to be removed is, once the command that removes it was given again and has ended."""
    here = {raw for rows in contents_of(store).values() for raw in rows.values()} if leaving else set()
    assert leaving.isdisjoint(here), "what was to leave is still there"


def goes_on(store: Store, world: World, case: Case) -> None:
    """The next commit and push work, and a clone of the remote equals."""
    world.write(NEW, "work goes on\n")
    version = store.commit(note="after the crash")
    assert version is not None
    if case.before.clean and case.after.clean:
        assert words(version.changes) == {NEW: "add"}, "the commit found changes that nobody made"
    if store.remote() is None:
        store.set_remote(str(world.remote))
    report = store.push()
    assert report.status == "success", report
    again = store.push()
    assert again.status == "nothing", again
    versions = contents_of(store)
    data = data_of(store.workspace.data)
    assert data == versions[str(store.head())]
    assert store.verify(remote=True).problems == ()
    _mirrored(store, data, tree(world.remote))
    with Store.clone(str(world.remote), world.root / "cloned", environ={}) as clone:
        assert contents_of(clone) == versions, "a clone is not equal"
        assert data_of(clone.workspace.data) == data
        assert clone.verify().problems == ()


def _mirrored(store: Store, data: dict[str, bytes], mirror: dict[str, bytes]) -> None:
    """The mirror has all that it should, as it should be, and nothing else but its archive."""
    head = store.head()
    assert head is not None
    links = {entry.path for entry in store.repository.entries(head) if entry.kind == Kind.SYMLINK}
    most = store.workspace.config.mirror_max_file_size
    wanted = {path: content for path, content in data.items() if path not in links and len(content) <= most}
    shown = {
        path: content
        for path, content in mirror.items()
        if TEMPORARY not in path and not path.startswith("Archive/")
    }
    assert shown.keys() == wanted.keys(), f"the mirror's files: {sorted(shown)}"
    assert shown == wanted, "a file of the mirror holds something else"
