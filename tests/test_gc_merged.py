"""gc on a remote whose history has merges: nobody waits for the device that made them, for there is none."""

from __future__ import annotations

from pathlib import Path

import pytest

from memstore import Store, merging
from memstore.manifest.retention import Rules
from memstore.reports import GcReport
from tests.folder_place import Place, without_waiting

AT_ONCE = "[mirror]\nenabled = false\n[gc]\ngrace_hours = 0\n"


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    without_waiting(monkeypatch)


def two(base: Path) -> tuple[Place, Place]:
    laptop = Place(base, config=AT_ONCE)
    laptop.commit({"note.txt": b"note\n"})
    laptop.push()
    root = base / "desk"
    Store.clone(str(laptop.remote), root, environ={}).close()
    (root / ".memsync" / "config.toml").write_text(AT_ONCE)
    return laptop, Place.at(root, laptop.remote)


def pull_and_push(place: Place) -> None:
    with place.open() as store:
        store.pull()
    assert place.push().error is None


def merged(laptop: Place, desk: Place, number: int) -> None:
    """Both save something, and both have both in the end."""
    laptop.commit({"laptop.txt": b"%d\n" % number})
    desk.commit({"desk.txt": b"%d\n" % number})
    laptop.push()
    pull_and_push(desk)
    pull_and_push(laptop)


def gc(place: Place) -> GcReport:
    with place.open() as store:
        report = store.gc(Rules(last=1))
        assert report.error is None
        return report


def packs(place: Place) -> int:
    return len(list((place.remote / ".memsync" / "packs").iterdir()))


def test_after_a_merge_fossils_go_as_soon_as_the_real_devices_have_pushed(tmp_path: Path) -> None:
    laptop, desk = two(tmp_path)
    merged(laptop, desk, 0)
    with laptop.open() as store:
        assert merging.DEVICE_ID in {version.device_id for version in store.history()}
    first = gc(laptop)
    assert first.marked > 0
    assert (first.deleted, first.waiting) == (0, first.marked), "the desk has not seen it"
    pull_and_push(desk)
    second = gc(laptop)
    assert (second.deleted, second.waiting) == (first.marked, 0)
    with desk.open() as store:
        assert store.verify(remote=True, read_data=True).ok


def test_many_merges_and_collections_do_not_let_the_remote_grow(tmp_path: Path) -> None:
    laptop, desk = two(tmp_path)
    most = 0
    for number in range(8):
        merged(laptop, desk, number)
        most = max(most, packs(laptop))
        gc(laptop)
    assert most <= 8, "what one round makes, and its fossils until the next"
    with desk.open() as store:
        assert store.verify(remote=True, read_data=True).ok
