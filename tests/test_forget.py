"""forget: what was forgotten is in no byte of any copy, all else reads back, and nobody brings it again."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from blake3 import blake3
from click.testing import CliRunner
from memsync.app import app

from memstore import Store, files
from memstore.errors import DiskTrouble
from memstore.ids import ContentId
from memstore.objects.reader import Removed
from memstore.remotes.base import MirrorFile
from memstore.remotes.folder import FolderRemote
from memstore.reports import ForgetReport
from tests.command_line import run
from tests.folder_place import Death, Place, tree, without_waiting
from tests.naive_reader import read_pack
from tests.traces import decoded
from tests.traces import where as traces_of

SECRET = b"hunter2-correct-horse"


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    without_waiting(monkeypatch)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def note(number: int, more: bytes = b"") -> bytes:
    """Forty lines that are always the same, and one that is not: versions lean on one another."""
    noise = random.Random(number)
    rows = [b"line %d as it always was\n" % line for line in range(40)]
    rows[number % 40] = b"%f in %d\n" % (noise.random(), number)
    return b"".join(rows) + more


def keys(number: int) -> bytes:
    return note(number, password(number))


def password(number: int) -> bytes:
    return b"password %d: %b\n" % (number, SECRET)


def where(base: Path, needle: bytes = SECRET) -> list[str]:
    return traces_of(base, needle)


def forget(place: Place, *targets: str, **how: Any) -> ForgetReport:
    with place.open() as store:
        report = store.forget(list(targets), **how)
    assert report.error is None, report.error
    return report


def whole(place: Place) -> None:
    with place.open() as store:
        report = store.verify(remote=True, read_data=True)
        assert report.ok, report.problems


def other(place: Place, name: str = "desk") -> Place:
    return place.clone(name)


def pull(place: Place) -> Any:
    with place.open() as store:
        return store.pull()


def read(place: Place, path: str, at: Any = None) -> bytes | None:
    """A content of history; None for one that was removed on purpose."""
    with place.open() as store:
        try:
            return store.read(path, at=at)
        except Removed as error:
            assert "forgotten on purpose" in error.message
            return None


def lived(place: Place) -> list[str]:
    """A file with a secret that was appended to, copied, replaced and deleted, beside notes that stay; all pushed."""
    made = []
    for number in range(4):
        made.append(place.commit({"Core/Keys.txt": keys(number), "Core/Rules.txt": note(number)}))
        place.push()
    place.commit({"Core/Copy.txt": keys(3)})
    place.push()
    place.commit({"Core/Keys.txt": keys(3) + b"and more\n"})
    place.push()
    place.commit({"Core/Rules.txt": note(9)})
    place.push()
    return [id for id in made if id is not None]


# -- alone -----------------------------------------------------------------------------------------------------


def test_all_that_a_file_ever_held_is_nowhere_any_more(place: Place) -> None:
    versions = lived(place)
    assert len(where(place.base)) > 8
    report = forget(place, "Core/Keys.txt", reason="a password", actor="me")
    assert (len(report.contents), report.deleted) == (5, ("Core/Copy.txt", "Core/Keys.txt"))
    assert report.remote_packs and report.mirror_files
    assert where(place.base) == []
    whole(place)
    assert tree(place.data) == {"Core/Rules.txt": note(9)}
    for number, version in enumerate(versions):
        assert read(place, "Core/Rules.txt", version) == note(number)
        assert read(place, "Core/Keys.txt", version) is None
    with place.open() as store:
        newest, *_, first = store.history("Core/Keys.txt")
        assert (newest.reason, newest.actor, newest.note) == (
            "a password",
            "me",
            "forget Core/Copy.txt, Core/Keys.txt",
        )
        assert first.changes[0].entry is not None and first.changes[0].entry.content == ContentId.of(keys(0))
        assert store.status().clean
    assert place.clone("fresh").history("Core/Rules.txt")[0] == note(9)
    assert where(place.base) == []


def test_what_is_not_sent_yet_is_never_sent(place: Place) -> None:
    place.commit({"Core/Rules.txt": note(0)})
    place.push()
    place.commit({"Core/Keys.txt": keys(1), "Core/Rules.txt": note(1)})
    sent: list[bytes] = []

    class Watching(FolderRemote):
        def create(self, name: str, source: Any, notes: Any = None) -> None:
            sent.append(source.read_at(0, source.size))
            super().create(name, source, notes)

    with place.open() as store:
        store.__dict__["_open_remote"] = lambda: Watching(str(place.remote))
        assert store.forget(["Core/Keys.txt"]).error is None
        assert store.status().unpushed == 0
    packs = decoded(place.remote / ".memsync")
    for data in sent:
        if data.startswith(b"MSYNCPAK"):
            read_pack(packs, blake3(data).hexdigest(), data)
    packs.settle()
    assert sent and not any(SECRET in plain for plain in packs.objects.values())
    assert where(place.base) == []
    whole(place)


def test_one_version_of_a_file_goes_and_the_others_stay_though_they_lean_on_it(place: Place) -> None:
    versions = []
    for number in range(6):
        content = keys(number) if number == 2 else note(number)
        versions.append(place.commit({"Core/Rules.txt": content}))
    place.push()
    report = forget(place, "Core/Rules.txt", at=versions[2])
    assert (len(report.contents), report.deleted, report.version) == (1, (), None)
    assert where(place.base) == []
    assert [read(place, "Core/Rules.txt", version) for version in versions] == [
        None if number == 2 else note(number) for number in range(6)
    ]
    whole(place)


def test_a_content_is_named_by_its_id_as_well(place: Place) -> None:
    lived(place)
    id = str(ContentId.of(keys(1)))
    assert [str(row.content) for row in forget(place, id[:10]).contents] == [id]
    assert where(place.base, password(1)) == []
    whole(place)


def test_without_a_remote_it_is_only_this_store_that_forgets(tmp_path: Path) -> None:
    store = Store.init(tmp_path / "memory", environ={})
    place = Place.at(tmp_path / "memory", tmp_path / "none")
    store.close()
    place.commit({"a/Keys.txt": keys(0), "b.txt": note(0)})
    place.commit({"a/Keys.txt": keys(1), "b.txt": note(1)})
    report = forget(place, "a")
    assert (len(report.contents), report.remote, report.deleted) == (2, None, ("a/Keys.txt",))
    assert where(place.root) == []
    with place.open() as again:
        assert again.verify().ok
        assert not again.forgetting


def test_what_stands_uncommitted_in_a_named_file_is_forgotten_with_it(place: Place) -> None:
    place.commit({"Keys.txt": note(0), "Rules.txt": note(1)})
    place.write({"Keys.txt": keys(5)})
    assert len(forget(place, "Keys.txt").contents) == 2
    assert where(place.base) == []
    assert not (place.data / "Keys.txt").exists()


def test_other_work_in_a_file_that_held_it_is_committed_and_stays(place: Place) -> None:
    version = place.commit({"Rules.txt": keys(0)})
    place.push()
    place.write({"Rules.txt": note(7)})
    report = forget(place, "Rules.txt", at=version)
    assert (report.deleted, report.warnings) == ((), ())
    assert (place.data / "Rules.txt").read_bytes() == note(7)
    assert where(place.base) == []
    place.push()
    assert place.mirror == {"Rules.txt": note(7)}


def test_a_line_that_was_added_below_what_is_forgotten_is_told_to_hold_it_still(place: Place) -> None:
    version = place.commit({"Rules.txt": keys(0)})
    place.write({"Rules.txt": keys(0) + b"more\n"})
    (warning,) = forget(place, "Rules.txt", at=version).warnings
    assert "may hold it still" in warning


def test_empty_files_are_left(place: Place) -> None:
    place.commit({"a.txt": b"", "b.txt": b""})
    place.commit({"a.txt": keys(0)})
    report = forget(place, "a.txt")
    assert len(report.contents) == 1 and any("empty" in line for line in report.notes)
    assert (place.data / "b.txt").exists()


def test_large_files_lose_their_pieces_but_for_those_that_others_have(place: Place) -> None:
    data = random.Random(1).randbytes(17 << 20)
    place.commit({"index.bin": SECRET + data})
    place.commit({"index.bin": data})
    place.push()
    with place.open() as store:
        first = [*store.history("index.bin")][-1]
    assert len(forget(place, "index.bin", at=str(first.id)).contents) == 1
    assert where(place.base) == []
    with place.open() as store:
        assert store.read("index.bin") == data
        assert store.verify().ok
    place.write({"again.bin": SECRET + data})
    with place.open() as store:
        warnings = store.commit_report().warnings
    assert len(warnings) == 1 and "again.bin" in warnings[0] and "forgotten" in warnings[0]
    assert where(place.root / ".memsync") == []


# -- it stays so -----------------------------------------------------------------------------------------------


def test_the_same_bytes_are_not_taken_in_again_and_the_commit_says_which_file(place: Place) -> None:
    lived(place)
    forget(place, "Core/Keys.txt")
    place.write({"Core/Again.txt": keys(2), "Core/New.txt": note(20)})
    with place.open() as store:
        report = store.commit_report()
    assert report.version is not None
    assert [change.path for change in report.version.changes] == ["Core/New.txt"]
    assert len(report.warnings) == 1
    assert "Core/Again.txt" in report.warnings[0] and "forgotten" in report.warnings[0]
    place.push()
    (place.data / "Core/Again.txt").unlink()
    assert where(place.base) == []


def test_the_mirror_brings_nothing_home_that_was_forgotten(place: Place) -> None:
    lived(place)
    forget(place, "Core/Keys.txt")
    (place.remote / "Core").mkdir(exist_ok=True)
    (place.remote / "Core/Rules.txt").write_bytes(keys(2))  # a person's hand
    place.commit({"Core/More.txt": note(30)})
    report = place.push()
    assert report.error is None and any("forgotten" in line for line in report.notes)
    assert where(place.base) == []
    place.push()
    assert place.mirror["Core/Rules.txt"] == note(9)


def test_restore_says_what_was_forgotten_and_brings_back_the_rest(place: Place) -> None:
    versions = lived(place)
    forget(place, "Core/Keys.txt")
    with place.open() as store:
        report = store.restore([""], at=versions[1])
        assert [row.path for row in report.restored] == ["Core/Rules.txt"]
        assert len(report.warnings) == 1 and "forgotten on purpose" in report.warnings[0]
        with pytest.raises(Removed, match="forgotten on purpose"):
            store.restore(["Core/Keys.txt"], at=versions[1])
        told = store.restore(["Core"], at=versions[1], to=str(place.base / "elsewhere"))
        assert [row.path for row in told.restored] == ["Core/Rules.txt"] and len(told.warnings) == 1
        assert [row.path for row in store.diff(versions[0], versions[1])] == [
            "Core/Keys.txt",
            "Core/Rules.txt",
        ]
    assert where(place.base) == []


def test_a_file_that_holds_forgotten_bytes_again_is_not_restored_over_and_the_answer_says_so(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    versions = [place.commit({"r.txt": content}) for content in (SECRET, b"one\n", b"two\n")]
    place.commit({"other.txt": b"1\n"})
    forget(place, "r.txt", at=versions[0])
    with place.open() as store:
        head = store.head()
    place.write({"r.txt": SECRET})
    monkeypatch.chdir(place.root)
    told = run("restore", "r.txt", "--at", str(versions[1]))
    assert told.exit_code == 8
    assert "nothing was restored" in told.stderr and "was forgotten" in told.stderr
    assert "move that file out of Data/" in told.stderr
    with place.open() as store:
        assert store.head() == head
    place.write({"other.txt": b"2\n"})
    told = run("restore", ".", "--at", str(head))
    assert told.exit_code == 1
    assert "restored 1 file" in told.stdout and "  other.txt  ←" in told.stdout
    assert "r.txt is left as it was" in told.stderr
    assert (place.data / "r.txt").read_bytes() == SECRET
    (place.data / "r.txt").unlink()
    assert run("restore", "r.txt", "--at", str(versions[1])).exit_code == 0
    assert (place.data / "r.txt").read_bytes() == b"one\n"


def test_verify_counts_it_as_no_damage_and_repair_does_not_bring_it_back(place: Place) -> None:
    lived(place)
    desk = other(place)
    forget(place, "Core/Keys.txt")
    with desk.open() as store:  # it has the old packs, and has not heard of it
        store.repair()
    assert where(place.remote) == []
    pull(desk)
    with desk.open() as store:
        report = store.verify()
        assert report.ok and any("forgotten" in line for line in report.notes)
        store.repair()
    assert where(place.base) == []


def test_torn_files_that_hold_it_go_and_others_stay(place: Place) -> None:
    lived(place)
    torn = place.root / ".memsync" / "torn"
    torn.mkdir(exist_ok=True)
    (pack, *_) = [path for path in (place.root / ".memsync" / "packs").iterdir()
                  if bytes(ContentId.of(keys(0))) in path.read_bytes()]  # fmt: skip
    (torn / "damaged.pack-00").write_bytes(pack.read_bytes()[:-7])
    (torn / "other").write_bytes(b"a tail of something else")
    assert forget(place, "Core/Keys.txt").torn == 1
    assert sorted(path.name for path in torn.iterdir()) == ["other"]


# -- other devices ---------------------------------------------------------------------------------------------


def test_another_device_drops_it_at_its_next_pull(place: Place) -> None:
    lived(place)
    desk = other(place)
    desk.commit({"Desk.txt": note(40)})
    desk.push()
    pull(place)
    forget(place, "Core/Keys.txt")
    assert where(desk.root)
    assert pull(desk).status == "success"
    assert where(place.base) == []
    assert (desk.data / "Core/Rules.txt").read_bytes() == note(9)
    desk.push()
    whole(desk)
    whole(place)
    assert where(place.base) == []


def test_a_pull_that_finds_no_new_version_drops_it_as_well(place: Place) -> None:
    versions = lived(place)
    desk = other(place)
    assert forget(place, "Core/Keys.txt", at=versions[0]).version is None
    assert pull(desk).status == "nothing"
    assert where(place.base, password(0)) == []


def test_another_device_drops_it_at_a_push_that_sees_the_marker(place: Place) -> None:
    lived(place)
    desk = other(place)
    forget(place, "Core/Keys.txt")
    desk.commit({"Core/Keys.txt": keys(3) + b"and more\n", "Desk.txt": note(40)})
    desk.push()
    assert where(place.base) == []
    pull(desk)
    desk.push()
    pull(place)
    place.push()
    assert where(place.base) == []
    assert (place.data / "Desk.txt").read_bytes() == note(40)
    whole(place)
    whole(desk)


@pytest.mark.parametrize("saved", [False, True])
def test_a_device_that_had_changed_the_file_keeps_the_change_and_hears_that_it_may_hold_it_still(
    place: Place, saved: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    lived(place)
    desk = other(place)
    later = keys(4) + b"and more\n"
    desk.write({"Core/Keys.txt": later})
    if saved:
        desk.commit()
    forget(place, "Core/Keys.txt")
    monkeypatch.chdir(desk.root)
    told = run("push", "--pull")
    assert told.exit_code == 1
    assert "may hold it still" in told.stderr and "forget Core/Keys.txt --everywhere" in told.stderr
    assert (desk.data / "Core/Keys.txt").read_bytes() == later
    assert run("push", "--pull").exit_code == 0  # said once
    pull(place)
    assert (place.data / "Core/Keys.txt").read_bytes() == later
    assert run("forget", "Core/Keys.txt", "--everywhere", "--yes").exit_code == 0
    pull(place)
    assert where(place.base) == []


@pytest.mark.parametrize("saved", [False, True])
def test_it_is_said_whoever_merges_and_by_a_push_that_saved_the_change(place: Place, saved: bool) -> None:
    lived(place)
    desk = other(place)
    desk.write({"Core/Keys.txt": keys(4) + b"and more\n"})
    if saved:
        desk.commit()
    forget(place, "Core/Keys.txt")
    with desk.open() as store:
        told = [warning for warning in store.push().warnings if "may hold it still" in warning]
    assert bool(told) is not saved
    assert [warning for warning in pull(place).warnings if "may hold it still" in warning]
    place.push()
    assert pull(desk).warnings == ()  # said once


def test_what_whoever_forgot_had_put_in_its_place_is_no_later_form(place: Place) -> None:
    lived(place)
    desk = other(place)
    desk.commit({"Desk.txt": note(40)})
    with place.open() as store:
        before = str(store.head())
    place.commit({"Core/Keys.txt": note(30)})
    assert forget(place, "Core/Keys.txt", at=before).version is None
    report = pull(desk)
    assert report.status == "success" and report.warnings == ()
    assert (desk.data / "Core/Keys.txt").read_bytes() == note(30)


def test_a_device_that_has_the_same_bytes_from_elsewhere_does_not_send_them(place: Place) -> None:
    lived(place)
    desk = other(place)
    desk.commit({"Mine.txt": keys(2), "Lean.txt": keys(2) + b"x", "Fine.txt": note(50)})
    forget(place, "Core/Keys.txt")
    desk.push()
    assert where(place.remote, password(2) + b"x") != []  # other bytes: nobody named them
    assert ContentId.of(keys(2)) not in {id for _, id in decoded(place.remote / ".memsync").objects}
    pull(desk)
    desk.push()
    pull(place)
    forget(place, "Lean.txt")
    pull(desk)
    desk.push()
    assert where(place.base) == []
    whole(place)
    whole(desk)


def test_what_another_device_gave_the_file_goes_with_it(place: Place) -> None:
    lived(place)
    desk = other(place)
    desk.commit({"Core/Keys.txt": keys(11)})
    desk.push()
    assert len(forget(place, "Core/Keys.txt").contents) == 6
    assert where(place.remote) == []
    pull(desk)
    pull(place)
    assert where(place.base) == []


def test_a_copy_that_another_device_made_meanwhile_leaves_with_the_merge(place: Place) -> None:
    lived(place)
    desk = other(place)
    (desk.data / "Core/Keys.txt").rename(desk.data / "Core/Renamed.txt")
    desk.commit()
    forget(place, "Core/Keys.txt")
    pull(desk)
    desk.push()
    pull(place)
    place.push()
    assert where(place.base) == []
    whole(place)
    fresh = place.clone("fresh")
    assert sorted(tree(fresh.data)) == ["Core/Rules.txt"]


class _Between(FolderRemote):
    """Something else happens, once, before the first create below a folder."""

    def __init__(self, path: Path, prefix: str, work: Callable[[], object]) -> None:
        super().__init__(str(path))
        self._prefix = prefix
        self._work: Callable[[], object] | None = work

    def create(self, name: str, *args: Any, **named: Any) -> None:
        if name.startswith(self._prefix) and self._work is not None:
            work, self._work = self._work, None
            work()
        super().create(name, *args, **named)


@pytest.mark.parametrize("when", ["packs/", pytest.param("heads/", marks=pytest.mark.soak)])
def test_a_push_at_that_very_moment_loses_nothing_else_and_drops_it_at_the_next(
    place: Place, when: str
) -> None:
    """The desk has listed the heads and sends a version that leans on a secret; meanwhile the laptop forgets it."""
    lived(place)
    desk = other(place)
    desk.commit({"Desk.txt": note(0), "Core/Rules.txt": note(12)})
    remote = _Between(place.remote, when, lambda: forget(place, "Core/Keys.txt"))
    with desk.open() as store:
        store.__dict__["_open_remote"] = lambda: remote
        assert store.push().error is None
    desk.commit({"More.txt": note(13)})
    desk.push()
    assert where(place.remote) == []
    pull(desk)
    desk.push()
    pull(place)
    place.push()
    assert where(place.base) == []
    whole(place)
    whole(desk)
    assert tree(place.data) == {
        "Core/Rules.txt": note(12), "Desk.txt": note(0), "More.txt": note(13),
    }  # fmt: skip


def test_what_leans_on_it_in_anothers_pack_is_encoded_anew_though_it_lies_only_in_packs_not_sent(
    place: Place,
) -> None:
    """The desk sends a note that leans on a secret at the very moment when the laptop forgets it; the phone has the
    secret still, and work of its own that leans on it."""
    lived(place)
    desk, phone = other(place), other(place, "phone")
    theirs, ours = desk.commit({"Core/Keys.txt": note(20)}), phone.commit({"Core/Keys.txt": note(21)})
    remote = _Between(place.remote, "packs/", lambda: forget(place, "Core/Keys.txt"))
    with desk.open() as store:
        store.__dict__["_open_remote"] = lambda: remote
        assert store.push().error is None
    phone.push()
    for device in (phone, place.clone("fresh")):
        pull(device)
        assert read(device, "Core/Keys.txt", theirs) == note(20)
        assert read(device, "Core/Keys.txt", ours) == note(21)
        assert where(device.root) == []
        whole(device)


def test_the_same_bytes_that_another_device_sent_at_that_very_moment_go_at_its_next_push(
    place: Place,
) -> None:
    """It has lost a pack to the forget as well, and must settle that with the same push."""
    place.commit({"Core/Keys.txt": keys(0)})
    place.push()
    desk = other(place)
    place.commit({"Core/Keys.txt": keys(1)})
    place.push()
    desk.commit({"Mine.txt": keys(1)})
    remote = _Between(place.remote, "packs/", lambda: forget(place, "Core/Keys.txt"))
    with desk.open() as store:
        store.__dict__["_open_remote"] = lambda: remote
        assert store.push().error is None
    assert where(place.remote) != []
    desk.commit({"More.txt": b"leans on nothing\n"})
    desk.push()
    assert where(place.remote) == []
    whole(desk)


def test_a_file_that_could_not_be_removed_goes_with_the_next_run(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    lived(place)
    real = files.remove

    def refuse(path: str, **how: Any) -> None:
        if path == str(place.data / "Core/Copy.txt"):
            raise DiskTrouble("the disk says no", hint="try again")
        real(path, **how)

    with monkeypatch.context() as patch:
        patch.setattr(files, "remove", refuse)
        assert any("the disk says no" in line for line in forget(place, "Core/Keys.txt").warnings)
    assert (place.data / "Core/Copy.txt").exists()
    forget(place, "Core/Keys.txt")
    assert where(place.base) == []
    whole(place)


# -- cut off ---------------------------------------------------------------------------------------------------


@contextmanager
def _cut_at(number: int) -> Iterator[list[str]]:
    steps: list[str] = []

    def observe(step: str, path: str, data: bytes) -> None:
        if step in ("read", "sync_all"):
            return
        steps.append(step)
        if len(steps) == number:
            raise Death

    with files.watch(observe):
        yield steps


def _cut_and_finished(base: Path, number: int) -> bool:
    """A forget that ends at the step of that number, and the run after it; whether it got to its end."""
    base.mkdir()
    place = Place(base)
    first = place.commit({"Keys.txt": keys(0), "Rules.txt": note(0)})
    place.push()
    place.commit({"Keys.txt": keys(1), "Rules.txt": note(1)})
    place.push()
    place.commit({"Copy.txt": keys(1), "Rules.txt": note(2)})
    finished = False
    try:
        with _cut_at(number), place.open() as store:
            store.forget(["Keys.txt"])
            finished = True
    except Death:
        pass
    with place.open() as store:
        again = [] if store.forgetting else ["Keys.txt"]
    forget(place, *again)
    assert where(base) == [], number
    assert read(place, "Rules.txt", first) == note(0)
    assert tree(place.data) == {"Rules.txt": note(2)}
    whole(place)
    return finished


@pytest.mark.crash
def test_cut_at_any_step_on_the_disk_another_run_finishes(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    number = 1
    while not _cut_and_finished(tmp_path / str(number), number):
        number += 1
    record_property(
        "tried", f"a forget cut at {number - 1} steps on the disk: 0 traces left, 0 contents lost"
    )
    assert number > 40


@pytest.mark.parametrize("number", [14, 38])
def test_cut_at_some_step_on_the_disk_another_run_finishes(tmp_path: Path, number: int) -> None:
    assert not _cut_and_finished(tmp_path / "place", number)


class _Dying(FolderRemote):
    """The process ends at a call that changes something there; `left` is shared by all that one process opens."""

    def __init__(self, path: Path, left: list[int]) -> None:
        super().__init__(str(path))
        self._left = left

    def _count(self) -> None:
        self._left[0] -= 1
        if self._left[0] == 0:
            raise Death

    def create(self, *args: Any, **named: Any) -> None:
        self._count()
        super().create(*args, **named)

    def delete(self, name: str) -> None:
        self._count()
        super().delete(name)

    def erase(self, seen: MirrorFile) -> None:
        self._count()
        super().erase(seen)


def _cut_there_and_finished(base: Path, number: int) -> bool:
    """The same, ended at that change of the remote."""
    base.mkdir()
    place = Place(base)
    versions = lived(place)
    finished = False
    left = [number]
    with place.open() as store:
        store.__dict__["_open_remote"] = lambda: _Dying(place.remote, left)
        try:
            assert store.forget(["Core/Keys.txt"]).error is None
            finished = True
        except Death:
            pass
    with place.open() as store:
        again = [] if store.forgetting else ["Core/Keys.txt"]
    forget(place, *again)
    assert where(base) == [], number
    assert read(place, "Core/Rules.txt", versions[0]) == note(0)
    whole(place)
    return finished


@pytest.mark.soak
def test_cut_at_any_change_of_the_remote_another_run_finishes(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    number = 1
    while not _cut_there_and_finished(tmp_path / str(number), number):
        number += 1
    record_property(
        "tried", f"a forget cut at {number - 1} changes of the remote: 0 traces left, 0 contents lost"
    )
    assert number > 10


def test_while_the_remote_is_away_what_is_here_goes_and_the_next_run_finishes(place: Place) -> None:
    lived(place)
    hidden = place.remote.with_name("hidden")
    place.remote.rename(hidden)
    with place.open() as store:
        report = store.forget(["Core/Keys.txt"])
        assert report.error is not None and report.exit_code == 5
        assert any("forget" in line for line in store.status().warnings)
    assert where(place.root) == []
    hidden.rename(place.remote)
    assert where(place.remote)
    assert forget(place).mirror_files
    assert where(place.base) == []
    with place.open() as store:
        assert not store.forgetting
        assert store.status().warnings == ()
    whole(place)


# -- the command -----------------------------------------------------------------------------------------------


@pytest.fixture
def inside(place: Place, monkeypatch: pytest.MonkeyPatch) -> Place:
    lived(place)
    monkeypatch.chdir(place.root)
    return place


def test_the_command_does_nothing_without_everywhere_nor_unasked(inside: Place) -> None:
    before = tree(inside.base)
    refused = run("forget", "Core/Keys.txt")
    assert refused.exit_code == 2 and "--everywhere" in refused.stderr
    unasked = run("forget", "Core/Keys.txt", "--everywhere")
    assert unasked.exit_code == 2 and "--yes" in unasked.stderr
    assert run("forget", "--everywhere").exit_code == 2
    assert run("forget", "Core/Nowhere.txt", "--everywhere", "--yes").exit_code == 8
    looked = run("forget", "Core/Keys.txt", "--everywhere", "--dry-run")
    assert looked.exit_code == 0 and "5 contents" in looked.stdout and "Core/Copy.txt" in looked.stdout
    after = tree(inside.base)
    assert {path: data for path, data in after.items() if "catalogue" not in path} == {
        path: data for path, data in before.items() if "catalogue" not in path
    }


def test_the_command_says_what_went_and_what_stays(inside: Place) -> None:
    done = run("forget", "Core/Keys.txt", "--everywhere", "--yes", "--json")
    document = json.loads(done.stdout)
    assert done.exit_code == 0
    assert (document["dry_run"], len(document["contents"])) == (False, 5)
    assert document["deleted"] == ["Core/Copy.txt", "Core/Keys.txt"]
    assert document["remote"]["packs"] > 0
    assert any("stay in history" in line for line in document["notes"])
    assert where(inside.base) == []
    again = run("forget", "Core/Keys.txt", "--everywhere", "--yes")
    assert again.exit_code == 0 and "stay in history" in again.stdout
    said = run("cat", "HEAD:Core/Rules.txt")
    assert said.exit_code == 0


def test_on_a_terminal_the_command_asks_and_takes_a_no(
    inside: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("memsync.commands.forget._on_a_terminal", lambda: True)
    asked = ["forget", "Core/Keys.txt", "--everywhere"]
    no = CliRunner().invoke(app, asked, input="n\n")
    assert no.exit_code == 1 and "Core/Copy.txt" in no.stderr and "nothing was removed" in no.stderr
    assert where(inside.root)
    yes = CliRunner().invoke(app, asked, input="y\n")
    assert yes.exit_code == 0 and "5 contents" in yes.stdout
    assert where(inside.base) == []
