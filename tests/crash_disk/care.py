"""The scenes of care: what takes contents away, and what brings them back."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from memstore import Store
from memstore.actions.seal import seal
from memstore.manifest.retention import Rules
from tests.crash_disk.world import ENVIRON, World, scene
from tests.traces import where

KEEP: Final = Rules(last=1, tags=("keep",))
AT_ONCE: Final = "[gc]\ngrace_hours = 0\n"
"""Fossils are deleted by the very next run."""
SECRET: Final = b"hunter2-correct-horse"
KEYS: Final = "Core/Keys.txt"
NOISE: Final = random.Random(5).randbytes(3000)
LATER: Final = random.Random(6).randbytes(2000)


def note(number: int, more: bytes = b"") -> bytes:
    """Forty lines that are always the same, and one that is not: versions lean on one another."""
    rows = [b"line %d as it always was\n" % line for line in range(40)]
    rows[number * 7 % 40] = b"%f in %d\n" % (random.Random(number).random(), number)
    return b"".join(rows) + more


def keys(number: int) -> bytes:
    return note(number, b"password %d: %b\n" % (number, SECRET))


def _begun(world: World, *, remote: bool, config: str = "") -> None:
    Store.init(world.subject, environ=ENVIRON).close()
    if config:
        (world.subject / ".memsync/config.toml").write_text(config)
    if remote:
        world.store().set_remote(str(world.remote))


def _into_a_pack(store: Store) -> None:
    if store.remote() is not None:
        assert store.push().status == "success"
        return
    with store.repository.writing() as writer:
        seal(store.repository, writer)


# -- gc ----------------------------------------------------------------------------------------------------


def _aged(world: World) -> None:
    """A note of five versions, of which three are to leave; one that stays leans on one that goes."""
    for number in range(5):
        world.write("note.txt", note(number))
        world.write("Core/Rules.txt", note(9 + number // 4))
        world.store().commit(note=f"turn {number}", context_tags=["keep"] if number == 2 else [])
        if number in (1, 3):
            _into_a_pack(world.store())
    world.leaving = {note(0), note(1), note(3)}


def _collect(store: Store) -> None:
    report = store.gc(KEEP)
    assert report.error is None, report.error


@scene("gc", again=_collect)
def _gc(world: World) -> Iterator[None]:
    _begun(world, remote=False)
    _aged(world)
    yield
    world.reported()
    world.store().gc(KEEP)
    world.reported()


@scene("gc with a remote", again=_collect)
def _gc_remote(world: World) -> Iterator[None]:
    """The first run marks what it took the place of there, the second deletes it."""
    _begun(world, remote=True, config=AT_ONCE)
    _aged(world)
    yield
    world.reported()
    world.store().gc(KEEP)
    world.reported()
    world.store().gc(KEEP)
    world.reported()


# -- repair ------------------------------------------------------------------------------------------------


def _flip(path: Path, offset: int) -> None:
    data = bytearray(path.read_bytes())
    data[offset] ^= 0x10
    path.chmod(0o644)
    path.write_bytes(data)


def _lived(world: World) -> tuple[Path, Path]:
    """Three versions in a pack, and three in a segment: both files."""
    for number in range(3):
        world.write("note.txt", note(number))
        world.write("Core/noise.bin", NOISE)
        world.store().commit(note=f"turn {number}")
    _into_a_pack(world.store())
    world.write("later.bin", LATER)
    world.store().commit(note="later")
    for number in (3, 4):
        world.write("note.txt", note(number))
        world.store().commit(note=f"turn {number}")
    world.about_to_damage()
    (pack,) = (world.subject / ".memsync/packs").iterdir()
    (segment,) = (world.subject / ".memsync/segments").iterdir()
    return pack, segment


def _mended(world: World) -> Store:
    with Store.open_damaged(world.subject, environ=ENVIRON) as store:
        report = store.repair()
        assert report.ok, report
    return Store.open(world.subject, environ=ENVIRON)


def _mend(world: World) -> None:
    world.damaged()
    with Store.open_damaged(world.subject, environ=ENVIRON) as store:
        whole = store.repair().ok
    if whole:  # else the disk failed meanwhile
        world.reported()


@scene("repair from the remote", resume=_mended)
def _repair_remote(world: World) -> Iterator[None]:
    """The pack's index is damaged, and a content in the segment that no pack has."""
    _begun(world, remote=True)
    pack, segment = _lived(world)
    _flip(pack, pack.stat().st_size - 60)
    _flip(segment, segment.read_bytes().index(LATER[10:60]))
    yield
    _mend(world)


@scene("repair from Data/", resume=_mended)
def _repair_here(world: World) -> Iterator[None]:
    """A content in the pack, and one in the segment; each is in a file of `Data/`, one under another name."""
    _begun(world, remote=False)
    pack, segment = _lived(world)
    _flip(pack, pack.read_bytes().index(NOISE[10:60]))
    _flip(segment, segment.read_bytes().index(LATER[10:60]))
    yield
    _mend(world)


# -- forget ------------------------------------------------------------------------------------------------


def _forget(store: Store) -> None:
    report = store.forget([] if store.forgetting else [KEYS])
    assert report.error is None and report.exit_code == 0, report


def _no_trace(world: World) -> None:
    found = where(world.root, SECRET, world.identities)
    assert not found, f"what was forgotten is still in {found}"


def _trusting(world: World) -> None:
    """A file with a secret that was changed and copied, beside notes that stay: packed, but for the last turn."""
    for number in range(2):
        world.write(KEYS, keys(number))
        world.write("Core/Rules.txt", note(number))
        world.store().commit(note=f"turn {number}")
        _into_a_pack(world.store())
    world.write("Copy.txt", keys(1))
    world.write("Core/Rules.txt", note(2))
    world.store().commit(note="a copy")
    world.leaving = {keys(0), keys(1)}


@scene("forget here", again=_forget, done=_no_trace)
def _forget_here(world: World) -> Iterator[None]:
    _begun(world, remote=False)
    _trusting(world)
    yield
    world.reported()
    world.store().forget([KEYS])
    world.reported()


@scene("forget everywhere", again=_forget, done=_no_trace)
def _forget_everywhere(world: World) -> Iterator[None]:
    _begun(world, remote=True)
    _trusting(world)
    yield
    world.reported()
    world.store().forget([KEYS])
    world.reported()
