"""gc with a remote: marked first, deleted later; whoever pushes meanwhile, or comes back after long, loses nothing."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

from memstore import Store
from memstore.manifest.retention import Rules
from memstore.objects.reader import Removed
from memstore.remotes.folder import FolderRemote
from memstore.reports import GcReport
from tests.conftest import Memory
from tests.folder_place import Death, Place, without_waiting

LAST = Rules(last=1)
AT_ONCE = "[mirror]\nenabled = false\n[gc]\ngrace_hours = 0\n"


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    without_waiting(monkeypatch)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path, config=AT_ONCE)


def note(number: int) -> bytes:
    noise = random.Random(number)
    rows = [f"line {line} as it always was\n" for line in range(50)]
    rows[number % 50] = f"{noise.random()} in {number}\n"
    return "".join(rows).encode()


def history(place: Place, versions: int, first: int = 0) -> None:
    """So many versions of a note, each pushed."""
    for number in range(first, first + versions):
        place.commit({"note.txt": note(number)})
        place.push()


def other(place: Place, name: str = "desk") -> Place:
    root = place.base / name
    Store.clone(str(place.remote), root, environ={}).close()
    (root / ".memsync" / "config.toml").write_text(AT_ONCE)
    return Place.at(root, place.remote)


def pull(place: Place) -> None:
    with place.open() as store:
        store.pull()


def gc(place: Place, rules: Rules = LAST) -> GcReport:
    with place.open() as store:
        report = store.gc(rules)
        assert report.error is None
        return report


def whole(place: Place) -> None:
    with place.open() as store:
        report = store.verify(remote=True, read_data=True)
        assert report.ok, report.problems


def cloned(place: Place, name: str = "fresh") -> dict[str, bytes]:
    """What a new machine finds."""
    copy = other(place, name)
    whole(copy)
    return {path.name: path.read_bytes() for path in copy.data.iterdir()}


def packs(place: Place) -> set[str]:
    return {path.name for path in (place.remote / ".memsync" / "packs").iterdir()}


def heads(place: Place, prefix: str = "") -> list[str]:
    return sorted(
        path.name for path in (place.remote / ".memsync" / "heads").iterdir() if path.name.startswith(prefix)
    )


def contents(place: Place) -> dict[int, bool]:
    """Which of the first forty notes some version has, and whether it reads back."""
    found: dict[int, bool] = {}
    numbers = {note(number): number for number in range(40)}
    by_id = {}
    from memstore.ids import ContentId

    for raw, number in numbers.items():
        by_id[ContentId.of(raw)] = number
    with place.open() as store:
        for version in store.history():
            for change in version.changes:
                if change.entry is not None and change.entry.content in by_id:
                    number = by_id[change.entry.content]
                    try:
                        found[number] = store.repository.read(change.entry.content) == note(number)
                    except Removed:
                        found[number] = False
    return dict(sorted(found.items()))


# -- alone -----------------------------------------------------------------------------------------------------


def test_the_first_run_marks_and_a_later_one_deletes(place: Place) -> None:
    history(place, 5)
    before = packs(place)
    first = gc(place)
    assert (first.removed, first.marked, first.deleted) == (4, 5, 5)  # alone, and without grace: at once
    (pack,) = packs(place)
    assert pack not in before
    whole(place)
    assert cloned(place) == {"note.txt": note(4)}


def test_within_the_grace_nothing_is_deleted(tmp_path: Path) -> None:
    place = Place(tmp_path, config="[mirror]\nenabled = false\n")
    history(place, 3)
    before = packs(place)
    report = gc(place)
    assert (report.marked, report.deleted, report.waiting) == (3, 0, 3)
    assert before < packs(place)
    assert cloned(place) == {"note.txt": note(2)}
    assert gc(place).waiting == 3


@pytest.mark.soak
def test_what_is_marked_is_fetched_by_nobody(place: Place) -> None:
    history(place, 4)
    other(place, "silent")
    with Store.open(
        place.base / "silent", environ={}
    ) as store:  # it has pushed once: it is known and waited for
        (Path(store.workspace.data) / "mine.txt").write_bytes(b"mine\n")
        store.commit()
        store.push()
    gc(place)
    assert len(heads(place, "gc-")) == 1
    marker = json.loads((place.remote / ".memsync" / "heads" / heads(place, "gc-")[0]).read_text())
    copy = other(place, "fresh")
    assert not {path.stem for path in (copy.root / ".memsync" / "packs").iterdir()} & set(marker["fossils"])


@pytest.mark.soak
def test_pushing_goes_on_as_before_after_a_collection(place: Place) -> None:
    history(place, 4)
    gc(place)
    history(place, 4, first=4)
    assert len(packs(place)) == 5
    gc(place, Rules())
    whole(place)
    assert contents(place) == {0: False, 1: False, 2: False, 3: True, 4: True, 5: True, 6: True, 7: True}


def test_nothing_looks_unpushed_after_a_collection_without_the_remote(place: Place) -> None:
    history(place, 3)
    with place.open() as store:
        report = store.gc(LAST, local=True)
        assert (report.removed, report.marked) == (2, 0)
        assert store.status().unpushed == 0
        assert store.push().status == "success"  # the pack that was made
        assert store.push().status == "nothing"
        assert store.pull().status == "nothing"
    assert len(packs(place)) == 4
    gc(place, Rules())
    assert len(packs(place)) == 1
    whole(place)


@pytest.mark.soak
def test_trouble_with_the_remote_leaves_what_was_done_here_and_the_next_run_goes_on(place: Place) -> None:
    history(place, 3)
    hidden = place.remote.with_name("hidden")
    place.remote.rename(hidden)
    with place.open() as store:
        report = store.gc(LAST)
        assert report.error is not None
        assert report.exit_code == 5
        assert report.removed == 2
    hidden.rename(place.remote)
    assert gc(place).deleted == 3
    whole(place)


# -- others ----------------------------------------------------------------------------------------------------


def joined(place: Place) -> Place:
    """A second device that has pushed once."""
    desk = other(place)
    desk.commit({"desk.txt": b"from the desk\n"})
    desk.push()
    pull(place)
    return desk


def test_fossils_stay_until_every_device_has_pushed(place: Place) -> None:
    history(place, 4)
    desk = joined(place)
    report = gc(place)
    assert (report.marked, report.deleted) == (5, 0)
    assert gc(place).deleted == 0
    desk.commit({"desk.txt": b"again\n"})
    desk.push()
    report = gc(place, Rules())
    assert report.deleted >= 5
    whole(place)
    whole(desk)
    assert cloned(place) == {"note.txt": note(3), "desk.txt": b"again\n"}


@pytest.mark.soak
def test_a_device_drops_what_was_removed_at_its_next_push(place: Place) -> None:
    history(place, 4)
    desk = joined(place)
    gc(place)
    assert contents(desk)[0]
    desk.commit({"desk.txt": b"again\n"})
    desk.push()
    assert contents(desk) == {0: False, 1: False, 2: False, 3: True}
    assert len(packs(place)) <= 8
    whole(desk)


def test_what_a_device_committed_meanwhile_is_sent_again(place: Place) -> None:
    """The desk brings back a note that the laptop's collection is about to take."""
    history(place, 4)
    desk = joined(place)
    desk.commit({"note.txt": note(1), "kept.txt": note(0)})
    gc(place)
    desk.push()
    assert contents(desk)[0]
    assert contents(desk)[1]
    pull(place)
    assert contents(place) == {0: True, 1: True, 2: False, 3: True}
    gc(place, Rules())
    gc(desk, Rules())
    gc(place, Rules())
    whole(place)
    assert contents(place) == {0: True, 1: True, 2: False, 3: True}


@pytest.mark.soak
def test_what_leans_on_something_removed_is_sent_whole(place: Place) -> None:
    """The desk was behind: its new version is a delta on a note that is gone on the remote."""
    history(place, 4)
    desk = joined(place)
    with desk.open() as store:
        store.restore(["note.txt"], at=list(store.history("note.txt"))[-1])  # note 0
        (desk.data / "note.txt").write_bytes(note(0) + b"more\n")
        store.commit()
    gc(place)
    desk.push()
    pull(place)
    whole(place)
    assert (place.data / "note.txt").read_bytes() == note(0) + b"more\n"
    cloned(place)


def test_a_device_that_was_behind_goes_on_from_what_it_has(place: Place) -> None:
    """What its HEAD holds is gone elsewhere; its next version inherits that, and must not lack it."""
    history(place, 4)
    desk = joined(place)
    place.commit({"note.txt": note(4)})
    gc(place)
    desk.push()
    version = desk.commit({"more.txt": b"more\n"})
    desk.push()
    pull(place)
    whole(place)
    with place.open() as store:
        assert store.read("note.txt", at=version) == note(3)


def test_a_merge_whose_common_version_was_removed_keeps_both_sides(place: Place) -> None:
    """The laptop's rules took the common version; the desk, which went on from it, comes later."""
    place.commit({"note.txt": b"one\ntwo\nthree\n"})
    place.push()
    desk = joined(place)
    desk.commit({"note.txt": b"one!\ntwo\nthree\n"})
    place.commit({"note.txt": b"one\ntwo\nthree!\n"})
    gc(place)
    desk.push()
    pull(place)
    notes = {path.read_bytes() for path in place.data.iterdir() if path.name.startswith("note")}
    assert notes == {b"one!\ntwo\nthree\n", b"one\ntwo\nthree!\n"}
    whole(place)


class _Between(FolderRemote):
    """A folder remote in whose life something else happens, once, before the first call of a verb."""

    def __init__(self, path: Path, verb: str, prefix: str, work: Any) -> None:
        super().__init__(str(path))
        self._verb, self._prefix, self._work = verb, prefix, work

    def _meanwhile(self, verb: str, name: str) -> None:
        if verb == self._verb and name.startswith(self._prefix) and self._work is not None:
            work, self._work = self._work, None
            work()

    def create(self, name: str, *args: Any, **named: Any) -> None:
        self._meanwhile("create", name)
        super().create(name, *args, **named)

    def delete(self, name: str) -> None:
        self._meanwhile("delete", name)
        super().delete(name)

    def list(self, prefix: str) -> Any:
        self._meanwhile("list", prefix)
        return super().list(prefix)


@pytest.mark.parametrize("when", [pytest.param("packs/", marks=pytest.mark.soak), "heads/"])
def test_a_collection_in_the_middle_of_a_push_takes_nothing_that_it_counts_on(
    place: Place, when: str
) -> None:
    """The desk has listed the heads; then the laptop collects, marks and tries to delete; then the desk goes on and
    publishes a version that needs what was marked."""
    history(place, 4)
    desk = joined(place)
    desk.commit({"note.txt": note(1)})
    remote = _Between(place.remote, "create", when, lambda: [gc(place), gc(place)])
    with desk.open() as store:
        store.__dict__["_open_remote"] = lambda: remote
        assert store.push().error is None
    assert cloned(place, "in between") == {"note.txt": note(1), "desk.txt": b"from the desk\n"}
    report = gc(place)
    assert report.deleted == 0  # the desk has not said that it saw the collection
    pull(place)
    assert (place.data / "note.txt").read_bytes() == note(1)
    desk.commit({"more.txt": b"more\n"})
    desk.push()
    pull(place)
    for _ in range(3):
        gc(place, Rules())
        gc(desk, Rules())
    whole(place)
    whole(desk)
    assert cloned(place) == {"note.txt": note(1), "desk.txt": b"from the desk\n", "more.txt": b"more\n"}


def test_a_collector_rescues_what_a_silent_device_needs(place: Place) -> None:
    """As above, and the desk is never heard of again: the collector itself sends what its last version needs."""
    (place.root / ".memsync" / "config.toml").write_text(AT_ONCE + "silent_days = 1\n")
    history(place, 4)
    desk = joined(place)
    desk.commit({"note.txt": note(1)})
    remote = _Between(place.remote, "create", "heads/", lambda: gc(place))
    with desk.open() as store:
        store.__dict__["_open_remote"] = lambda far=remote: far
        assert store.push().error is None
    for marker in heads(place, "gc-"):
        path = place.remote / ".memsync" / "heads" / marker
        body = json.loads(path.read_text())
        path.write_text(json.dumps({**body, "time": body["time"] - 2 * 86_400_000}))
    first = gc(place)
    assert first.deleted == 0
    second = gc(place)
    assert second.deleted > 0
    assert cloned(place) == {"note.txt": note(1), "desk.txt": b"from the desk\n"}


@pytest.mark.soak
def test_two_collectors_at_once_lose_nothing(place: Place) -> None:
    history(place, 4)
    desk = joined(place)
    remote = _Between(place.remote, "create", "heads/gc-", lambda: gc(desk))
    with place.open() as store:
        store.__dict__["_open_remote"] = lambda far=remote: far
        assert store.gc(Rules(last=2)).error is None
    place.commit({"a.txt": b"a\n"})
    place.push()
    pull(desk)
    for _ in range(3):
        gc(desk, Rules())
        gc(place, Rules())
    whole(place)
    whole(desk)
    assert cloned(place) == {"note.txt": note(3), "desk.txt": b"from the desk\n", "a.txt": b"a\n"}


@pytest.mark.soak
def test_a_device_that_comes_back_after_everything_sends_again_what_is_gone(place: Place) -> None:
    (place.root / ".memsync" / "config.toml").write_text(AT_ONCE + "silent_days = 1\n")
    history(place, 4)
    desk = joined(place)
    desk.commit({"kept.txt": note(0)})
    gc(place)
    for marker in heads(place, "gc-"):
        path = place.remote / ".memsync" / "heads" / marker
        body = json.loads(path.read_text())
        path.write_text(json.dumps({**body, "time": body["time"] - 2 * 86_400_000}))
    assert gc(place).deleted == 5
    desk.push()
    pull(place)
    whole(place)
    assert (place.data / "kept.txt").read_bytes() == note(0)
    cloned(place)


@pytest.mark.soak
def test_cut_at_any_call_of_the_remote_and_run_again_nothing_is_lost(place: Place) -> None:
    history(place, 3)
    desk = joined(place)
    number = 0
    finished = False
    while not finished:
        number += 1
        place.commit({"note.txt": note(10 + number)})
        remote = _Dying(place.remote, number)
        with place.open() as store:
            store.__dict__["_open_remote"] = lambda far=remote: far
            try:
                store.gc(LAST)
                finished = remote.left > 0
            except Death:
                pass
        if number % 5 == 0:
            pull(desk)
            desk.commit({"desk.txt": f"{number}\n".encode()})
            desk.push()
            pull(place)
    assert number > 5
    gc(place)
    whole(place)
    assert cloned(place)["note.txt"] == note(10 + number)


class _Dying(FolderRemote):
    """The process ends at a call that changes something."""

    def __init__(self, path: Path, at: int) -> None:
        super().__init__(str(path))
        self.left = at

    def _count(self) -> None:
        self.left -= 1
        if self.left == 0:
            raise Death

    def create(self, *args: Any, **named: Any) -> None:
        self._count()
        super().create(*args, **named)

    def delete(self, name: str) -> None:
        self._count()
        super().delete(name)


@pytest.mark.soak
def test_markers_do_not_heap_up(place: Place) -> None:
    for round in range(4):
        history(place, 3, first=3 * round)
        gc(place)
    assert len(heads(place, "gc-")) <= 1
    assert len(heads(place, "seen-")) <= 1
    assert len(packs(place)) <= 2


@pytest.mark.parametrize("meaningful", ["content", "text"])
def test_what_a_collection_took_since_the_last_mirror_stops_no_push(
    memory: Memory, tmp_path: Path, meaningful: str
) -> None:
    memory.reconfigured(f'[gc]\nkeep_tags = ["kept"]\nkeep_last = 1\n[mirror]\nmeaningful = "{meaningful}"\n')
    memory.store.set_remote(str(tmp_path / "remote"))
    memory.save("note.txt", "one\n")
    assert memory.store.push().mirror.created == 1
    memory.save("note.txt", "one\ntwo\n")
    memory.save("note.txt", "three\n")
    assert memory.store.push(mirror=False).error is None
    assert memory.store.gc().removed == 2
    report = memory.store.push()
    assert report.error is None
    assert (tmp_path / "remote" / "note.txt").read_bytes() == b"three\n"
    archived = list((tmp_path / "remote" / "Archive").iterdir())
    assert [path.read_bytes() for path in archived] == [b"one\n"]
    assert memory.store.push().status == "nothing"
