"""forget, and the other devices: each drops it at its next pull or push, and loses nothing else."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from memstore import files
from memstore.errors import DiskTrouble
from memstore.ids import ContentId
from memstore.remotes.folder import FolderRemote
from tests.command_line import run
from tests.folder_place import Place, tree, without_waiting
from tests.forgetful_place import forget, keys, lived, note, other, password, pull, read, where, whole
from tests.traces import decoded


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    without_waiting(monkeypatch)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


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
        for number in (1, 2):
            report = forget(place, "Core/Keys.txt")
            assert [line for line in report.warnings if "the disk says no" in line] == [*report.warnings]
            assert len(report.warnings) == 1, "said once by each run"
            assert report.deleted == (("Core/Keys.txt",) if number == 1 else ())
    assert (place.data / "Core/Copy.txt").exists()
    forget(place, "Core/Keys.txt")
    assert where(place.base) == []
    whole(place)


@pytest.mark.parametrize("how", ["pull", "push"])
def test_another_device_drops_what_killed_processes_and_repairs_left_lying_as_well(
    place: Place, how: str
) -> None:
    lived(place)
    desk = other(place)
    state, torn = desk.root / ".memsync", desk.root / ".memsync" / "torn"
    torn.mkdir(exist_ok=True)
    for pack in sorted((state / "packs").glob("*.pack")):
        (torn / pack.name).write_bytes(pack.read_bytes()[:-7])
    (torn / "other").write_bytes(b"a tail of something else")
    held = [state / "packs/.memsync-tmp-killed", desk.data / "Core/.memsync-tmp-killed"]
    for path in held:
        path.write_bytes(keys(1))
    forget(place, "Core/Keys.txt")
    assert {path.name for path in held} <= {Path(name).name for name in where(desk.root)}
    if how == "pull":
        pull(desk)
    else:
        desk.commit({"Desk.txt": note(40)})
        desk.push()
    assert where(place.base) == []
    assert [path for path in held if path.exists()] == []
    assert (torn / "other").exists()


def test_a_damaged_pack_that_a_repair_put_aside_goes_at_the_next_pull(place: Place) -> None:
    lived(place)
    desk = other(place)
    for pack in (desk.root / ".memsync" / "packs").glob("*.pack"):
        data = bytearray(pack.read_bytes())
        data[-9] ^= 1
        pack.write_bytes(data)
    with desk.open() as store:
        store.repair()
    torn = desk.root / ".memsync" / "torn"
    needle = bytes(ContentId.of(keys(0)))
    assert [path for path in torn.iterdir() if needle in path.read_bytes()]
    forget(place, "Core/Keys.txt")
    pull(desk)
    assert [path for path in torn.iterdir() if needle in path.read_bytes()] == []


def test_a_device_that_never_looked_at_the_mirror_warns_of_a_persons_change_there_as_well(
    place: Place,
) -> None:
    lived(place)
    desk = other(place)
    edited = place.mirror["Core/Keys.txt"] + b"a line by a person\n"
    (place.remote / "Core/Keys.txt").write_bytes(edited)
    (warning,) = forget(desk, "Core/Keys.txt").warnings
    assert "Core/Keys.txt on" in warning and "may hold it still" in warning
    assert place.mirror["Core/Keys.txt"] == edited
    (place.remote / "Core/Keys.txt").unlink()
    assert forget(desk, "Core/Keys.txt").warnings == ()
    assert where(desk.root) == where(place.remote) == []
