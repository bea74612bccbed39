"""Every crash point: whatever a power cut leaves of what was not synced, nothing that was reported is lost.

The disk is modelled (tests/crash_disk): a workload is recorded as it really happens, every state that a crash
may leave is built, and in each of them the store is opened, read back, verified, and worked with.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from memstore import files
from memstore.actions import checkout
from memstore.objects.segment import Segment
from tests.crash_disk.disk import Disk, Length, Made, Names, Sync, SyncFailed, Torn, Write
from tests.crash_disk.rounds import Count, every_state, every_trouble
from tests.crash_disk.scenes import SCENES
from tests.crash_disk.states import Bounds

pytestmark = pytest.mark.skipif(not files.POSIX, reason="the model is of a POSIX disk")

TROUBLES = ("kill", "sync", "sync, kill")
FULL = Bounds(exhaustive=7, samples=12, tears=8)
SMALL = Bounds(exhaustive=3, samples=2, tears=2)
EVERY = int(os.environ.get("MEMSYNC_TEST_EVERY", "1"))
"""In the long runs: trouble comes only at each so-manieth call or sync, for a machine that has less time."""
DEAR = {"a large file of pieces", "many files"}

Record = Callable[[str, object], None]


def note(record_property: Record, what: str, count: Count) -> None:
    record_property("tried", f"{what}: {count.points:,} points, {count.states:,} states, 0 failed")


# -- the promise -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(SCENES.keys() - DEAR))
def test_a_crash_loses_nothing_that_was_reported(name: str) -> None:
    assert every_state(SCENES[name], SMALL, sample=2).states == 2


@pytest.mark.crash
@pytest.mark.parametrize("name", sorted(SCENES))
def test_a_crash_anywhere_loses_nothing_that_was_reported(name: str, record_property: Record) -> None:
    note(record_property, f"power cut in '{name}'", every_state(SCENES[name], FULL))


@pytest.mark.crash
@pytest.mark.parametrize("kind", TROUBLES)
@pytest.mark.parametrize("name", sorted(SCENES))
def test_what_is_reported_after_trouble_survives_a_power_cut(
    name: str, kind: str, record_property: Record
) -> None:
    """A process that was killed, or met a sync that the disk refused, leaves things that are visible and not
    durable. Who goes on from there must make them so before he reports anything that stands on them."""
    count = every_trouble(SCENES[name], kind, every=EVERY)
    where = "" if EVERY == 1 else f" at one in {EVERY}"
    note(record_property, f"{kind}{where}, go on, power cut in '{name}'", count)


# -- the net holds -----------------------------------------------------------------------------------------


def nothing(*_: Any, **__: Any) -> None:
    pass


def caught(scene: str) -> None:
    with pytest.raises(Exception) as found:
        every_state(SCENES[scene], SMALL, sample=10_000)
    assert any(scene in note for note in found.value.__notes__)


def test_a_commit_without_its_fsync_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "sync", nothing)
    caught("first commit")


def test_a_pack_that_gets_its_name_before_its_bytes_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    def sync(descriptor: int, path: str) -> None:
        if "packs" not in path:
            real(descriptor, path)

    real = files.sync
    monkeypatch.setattr(files, "sync", sync)
    caught("first push")


def test_a_name_without_the_sync_of_its_folder_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "sync_dir", nothing)
    caught("first push")


def test_a_restore_without_its_record_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkout, "begin", nothing)
    caught("restore")


def test_a_torn_commit_that_is_believed_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Segment, "_hash_holds", lambda *_: True)
    caught("first commit")


def test_a_segment_that_is_believed_after_a_refused_sync_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Segment, "make_durable", nothing)
    with pytest.raises(Exception):  # noqa: B017 - whatever a broken store says
        every_trouble(SCENES["first commit"], "sync, kill")


def test_a_change_behind_the_recorders_back_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "remove", lambda path, **_: os.unlink(path))
    with pytest.raises(AssertionError, match=r"os\.remove"):
        every_state(SCENES["archive"], SMALL, sample=1)


# -- the model ---------------------------------------------------------------------------------------------

FILE, FOLDER = 0o100644, 0o040755


def disk_of(steps: Sequence[Any]) -> Disk:
    disk = Disk()
    for step in steps:
        disk.take(step)
    return disk


def paths(disk: Disk, *fates: Any) -> dict[str, bytes | str]:
    return {path: node.content for path, node in disk.after(fates).items()}


def test_a_name_is_durable_with_its_folder_and_bytes_with_their_file() -> None:
    made = [Made(1, FILE), Names(0, (("a", 1),)), Write(1, 0, b"bytes")]
    assert paths(disk_of(made), False, True) == {}
    assert paths(disk_of(made), True, False) == {"a": b""}
    assert paths(disk_of([*made, Sync(1, False)]), False) == {}
    assert paths(disk_of([*made, Sync(0, True)]), False) == {"a": b""}
    assert paths(disk_of([*made, Sync(0, True), Sync(1, False)])) == {"a": b"bytes"}


def test_a_rename_in_one_folder_is_atomic_and_from_folder_to_folder_is_not() -> None:
    made = [Made(1, FILE), Names(0, (("a", 1),)), Made(2, FOLDER), Names(0, (("f", 2),)), Sync(0, True)]
    assert paths(disk_of([*made, Names(0, (("a", None), ("b", 1)))]), False) == {"a": b"", "f": ""}
    assert paths(disk_of([*made, Names(0, (("a", None), ("b", 1)))]), True) == {"b": b"", "f": ""}
    moved = disk_of([*made, Names(2, (("a", 1),)), Names(0, (("a", None),))])
    assert paths(moved, True, False) == {"a": b"", "f": "", "f/a": b""}
    assert paths(moved, False, True) == {"f": ""}


def test_a_write_is_torn_at_sectors_with_its_length_or_without() -> None:
    disk = disk_of([Made(1, FILE), Names(0, (("a", 1),)), Sync(0, True), Write(1, 0, b"x" * 1200)])
    assert paths(disk, Torn(frozenset({0}), False)) == {"a": b"x" * 512}
    assert paths(disk, Torn(frozenset({1}), False)) == {"a": bytes(512) + b"x" * 512}
    assert paths(disk, Torn(frozenset(), True)) == {"a": bytes(1200)}


def test_bytes_whose_sync_was_refused_are_not_saved_by_the_next_one() -> None:
    disk = disk_of([Made(1, FILE), Names(0, (("a", 1),)), Sync(0, True), Write(1, 0, b"one"), SyncFailed(1)])
    assert paths(disk, True) == {"a": b"one"}
    disk.take(Write(1, 3, b"two"))
    disk.take(Sync(1, True))
    assert paths(disk) == {"a": b"\0\0\0two"}
    again = disk_of([Made(1, FILE), Names(0, (("a", 1),)), Sync(0, True), Write(1, 0, b"one"), SyncFailed(1)])
    for step in (Write(1, 0, b"one"), Sync(1, True), Length(1, 2)):
        again.take(step)
    assert paths(again, False) == {"a": b"one"}
