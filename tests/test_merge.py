"""Two devices that worked apart: what a pull makes of it, and that any device makes the same."""

from __future__ import annotations

import json
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest

from memstore import Store, drive_upload
from memstore.errors import Conflict, DamagedData, UsageError
from memstore.remotes.base import OpenRemote
from tests.command_line import run
from tests.folder_place import Cut, Watched, trouble, without_waiting
from tests.merge_places import Clock, Device
from tests.naive_reader import read_store


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    without_waiting(monkeypatch)
    return Clock(monkeypatch)


@pytest.fixture
def two(tmp_path: Path, clock: Clock) -> tuple[Device, Device]:
    """The second is later: its clock goes on by a minute before its change."""
    laptop = Device.first(
        tmp_path,
        "laptop",
        {"Rules.txt": b"one\ntwo\nthree\n", "log.txt": b"begin\n", "state.json": b'{"a": 1, "b": 2}\n'},
    )
    return laptop, laptop.joined_by("server")


def test_two_devices_that_merge_at_once_make_the_same_version(
    two: tuple[Device, Device], clock: Clock
) -> None:
    laptop, server = two
    laptop.save(
        {
            "Rules.txt": b"ONE\ntwo\nthree\n",
            "log.txt": b"begin\nlaptop\n",
            "state.json": b'{"a": 7, "b": 2}\n',
        }
    )
    clock.tick()
    server.save(
        {
            "Rules.txt": b"one\ntwo\nTHREE\n",
            "log.txt": b"begin\nserver\n",
            "state.json": b'{"a": 1, "b": 9}\n',
        }
    )
    laptop.push()
    server.push()
    assert len(laptop.heads) == 2
    clock.tick()
    mine = laptop.pull()
    clock.tick()
    theirs = server.pull()
    assert mine.status == theirs.status == "success"
    assert mine.version == theirs.version
    assert laptop.tree == server.tree
    assert laptop.tree["Rules.txt"] == b"ONE\ntwo\nTHREE\n"
    assert laptop.tree["log.txt"] == b"begin\nlaptop\nserver\n"
    assert laptop.tree["state.json"] == b'{"a": 7, "b": 9}\n'
    assert mine.merged == ("Rules.txt", "log.txt", "state.json")
    with laptop.open() as store:
        assert store.status().clean
        assert store.verify().ok
        assert store.version(str(mine.version)).merge_rules == 1
    laptop.push()
    server.push()
    assert laptop.heads == [str(mine.version)]
    for folder in (laptop.root, laptop.base / "remote"):
        naive = read_store(folder / ".memsync")
        assert naive.leaves() == [mine.version]
        found = {path: naive.content(entry[2]) for path, entry in naive.manifest(naive.leaves()[0]).items()}
        assert found == laptop.tree, "a reader that knows docs/format.md alone"


def test_where_both_changed_the_same_line_both_are_kept(two: tuple[Device, Device], clock: Clock) -> None:
    laptop, server = two
    laptop.save({"Rules.txt": b"laptop\n"})
    clock.tick()
    server.save({"Rules.txt": b"server\n"})
    laptop.push()
    server.push()
    report = laptop.pull()
    beside = "Rules (from laptop 2025-04-23T14-02-00Z).txt"
    assert report.as_json()["conflicts"] == [{"path": "Rules.txt", "kept_as": beside}]
    assert (laptop.tree["Rules.txt"], laptop.tree[beside]) == (b"server\n", b"laptop\n")
    assert server.pull().version == report.version


def apart(two: tuple[Device, Device], clock: Clock) -> tuple[Device, Device]:
    """Both have changed the same line and pushed."""
    laptop, server = two
    laptop.save({"Rules.txt": b"laptop\n"})
    clock.tick()
    server.save({"Rules.txt": b"server\n"})
    laptop.push()
    server.push()
    return two


BESIDE = "Rules (from laptop 2025-04-23T14-02-00Z).txt"


def test_status_lists_a_side_file_until_it_is_gone(two: tuple[Device, Device], clock: Clock) -> None:
    laptop, server = apart(two, clock)
    laptop.pull()
    with laptop.open() as store:
        assert store.status().conflicts == (BESIDE,)
    (laptop.data / BESIDE).unlink()
    with laptop.open() as store:
        assert store.status().conflicts == ()
        store.commit(note="settled")
        assert store.status().conflicts == ()
    laptop.push()
    server.pull()
    assert server.tree == laptop.tree
    assert BESIDE not in server.tree
    with server.open() as store:
        assert store.status().conflicts == ()


@pytest.mark.parametrize(("side", "stays"), [("ours", b"laptop\n"), ("theirs", b"server\n")])
def test_a_pull_can_take_a_side(two: tuple[Device, Device], clock: Clock, side: str, stays: bytes) -> None:
    laptop, server = apart(two, clock)
    report = laptop.pull(on_conflict=side)
    assert report.as_json()["conflicts"] == [{"path": "Rules.txt", "kept_as": None}]
    assert laptop.tree["Rules.txt"] == stays
    assert BESIDE not in laptop.tree
    assert laptop.push().exit_code == 0
    assert server.pull().version == report.version
    for device in (laptop, server):
        with device.open() as store:
            held = {store.read("Rules.txt", at=version) for version in store.history("Rules.txt")}
        assert {b"laptop\n", b"server\n"} <= held


def test_a_pull_that_may_not_settle_anything_changes_nothing(
    two: tuple[Device, Device], clock: Clock
) -> None:
    laptop, _ = apart(two, clock)
    before, head = laptop.tree, laptop.head
    with pytest.raises(Conflict, match=r"Rules\.txt") as caught:
        laptop.pull(on_conflict="fail")
    assert (caught.value.exit_code, laptop.tree, laptop.head) == (3, before, head)
    assert caught.value.paths == ("Rules.txt",)
    laptop.write({"log.txt": b"begin\nmore\n"})
    with pytest.raises(UsageError):
        laptop.pull(on_conflict="whatever")
    assert laptop.pull().status == "conflict"
    assert laptop.tree["log.txt"] == b"begin\nmore\n", "what was not committed is there as well"


def test_what_is_not_committed_is_merged_too(two: tuple[Device, Device], clock: Clock) -> None:
    laptop, server = two
    server.save({"log.txt": b"begin\nserver\n"})
    server.push()
    clock.tick()
    laptop.write({"log.txt": b"begin\nlaptop\n", "new.txt": b"new\n"})
    assert laptop.pull().status == "success"
    assert laptop.tree["log.txt"] == b"begin\nserver\nlaptop\n"
    assert laptop.tree["new.txt"] == b"new\n"
    with laptop.open() as store:
        assert "saved before a pull" in [version.reason for version in store.history("new.txt")]


def test_a_pull_says_that_it_committed_first_what_was_not_committed(
    two: tuple[Device, Device], clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also one that then merges nothing, and the next one has nothing more to commit."""
    laptop, _ = apart(two, clock)
    laptop.write({"new.txt": b"new\n"})
    monkeypatch.chdir(laptop.root)
    refused = run("pull", "--on-conflict", "fail")
    assert refused.exit_code == 3
    assert f"was committed first, as version {laptop.head[:12]}" in refused.stderr
    laptop.write({"new.txt": b"newer\n"})
    document = json.loads(run("pull", "--on-conflict", "fail", "--json").stdout)
    assert (document["status"], document["saved_first"]) == ("conflict", laptop.head)
    assert json.loads(run("pull", "--on-conflict", "fail", "--json").stdout)["saved_first"] is None
    laptop.write({"new.txt": b"newest\n"})
    shown = run("pull").stdout
    with laptop.open() as store:
        # The merge comes before it where its first parent, the one with the smaller id, is the other side.
        saved = next(version for version in store.history("new.txt") if not version.merge_rules)
    assert saved.reason == "saved before a pull"
    assert f"{str(saved.id)[:12]} saved first: what was not committed here\n" in shown


def test_links_modes_and_folders_come_out_of_a_merge(two: tuple[Device, Device], clock: Clock) -> None:
    laptop, server = two
    (server.data / "Rules.txt").chmod(0o755)
    (server.data / "link").symlink_to("Rules.txt")
    server.save({"turns/1.txt": b"below\n"})
    server.push()
    laptop.save({"Rules.txt": b"one\ntwo\nthree\nfour\n", "state.json": None})
    laptop.pull()
    assert os.access(laptop.data / "Rules.txt", os.X_OK)
    assert (laptop.data / "link").readlink() == Path("Rules.txt")
    assert laptop.tree.keys() == {"Rules.txt", "log.txt", "turns/1.txt"}
    with laptop.open() as store:
        assert store.status().clean


# -- pushing -----------------------------------------------------------------------------------------------


def test_a_push_beside_others_sends_all_and_leaves_the_mirror(
    two: tuple[Device, Device], clock: Clock
) -> None:
    laptop, server = two
    laptop.save({"Rules.txt": b"laptop\n"})
    laptop.push()
    mirrored = (laptop.base / "remote" / "Rules.txt").read_bytes()
    server.save({"log.txt": b"begin\nserver\n"})
    report = server.push()
    assert (report.status, report.versions, report.ahead, report.exit_code) == ("success", 1, True, 0)
    assert "memsync pull" in report.warnings[0], "which makes the exit code 1"
    assert (laptop.base / "remote" / "Rules.txt").read_bytes() == mirrored == b"laptop\n"
    assert (laptop.base / "remote" / "log.txt").read_bytes() == b"begin\n"
    assert sorted(laptop.heads) == sorted([laptop.head, server.head])
    laptop.pull()
    assert laptop.push().warnings == ()
    assert (laptop.base / "remote" / "log.txt").read_bytes() == b"begin\nserver\n"


def test_an_upload_beside_others_is_safe_and_says_that_the_readable_copy_waits(
    two: tuple[Device, Device], clock: Clock
) -> None:
    laptop, server = two
    laptop.save({"Rules.txt": b"laptop\n"})
    laptop.push()
    server.write({"log.txt": b"begin\nserver\n"})
    place = str(server.data / "log.txt")
    answer = drive_upload(place, {"file": "log.txt"})
    assert (answer["status"], answer["drive_path"]) == ("success", None)
    assert "memsync pull" in answer["notes"]
    (server.root / ".memsync" / "config.toml").write_text("[push]\npull = true\n")
    answer = drive_upload(place, {"file": "log.txt"})
    assert (answer["status"], answer["drive_path"]) == ("success", "Drive/MemoryVDB/log.txt")
    assert (server.base / "remote" / "log.txt").read_bytes() == b"begin\nserver\n"
    assert server.tree["Rules.txt"] == b"laptop\n"


@pytest.mark.parametrize("configured", [True, False])
def test_push_with_pull_ends_with_one_head_and_a_mirror_of_both(
    two: tuple[Device, Device], clock: Clock, configured: bool
) -> None:
    laptop, server = two
    laptop.save({"Rules.txt": b"laptop\n"})
    laptop.push()
    server.save({"log.txt": b"begin\nserver\n"})
    if configured:
        server.environ["MEMSYNC_PUSH_PULL"] = "true"
    with server.open() as store:
        report = store.push(pull=None if configured else True)
    assert report.pulled is not None
    assert (report.status, report.pulled.status, report.warnings) == ("success", "success", ())
    assert server.heads == [server.head]
    assert (server.base / "remote" / "Rules.txt").read_bytes() == b"laptop\n"
    assert (server.base / "remote" / "log.txt").read_bytes() == b"begin\nserver\n"
    with server.open() as store:
        assert store.push(pull=True).status == "nothing"


def test_push_with_pull_to_a_remote_that_has_nothing_yet(tmp_path: Path, clock: Clock) -> None:
    device = Device(tmp_path, "laptop")
    with Store.init(device.root, environ=device.environ) as store:
        store.set_remote(str(tmp_path / "remote"))
        device.write({"a.txt": b"a\n"})
        store.commit()
        report = store.push(pull=True)
    assert (report.status, report.pulled, report.exit_code) == ("success", None, 0)


def test_a_pull_that_fails_holds_up_no_push(
    two: tuple[Device, Device], clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, server = apart(two, clock)
    server.save({"log.txt": b"begin\nmore\n"})

    def damaged(*_: object, **__: object) -> None:
        raise DamagedData("a content is damaged", hint="run 'memsync verify'")

    monkeypatch.setattr("memstore.actions.pull.merge", damaged)
    with server.open() as store:
        report = store.push(pull=True)
    assert (report.status, report.exit_code) == ("success", 6)
    assert report.pull_error is not None
    assert server.head in server.heads, "everything of this device is there"


def test_trouble_that_pull_and_push_meet_alike_is_told_once(two: tuple[Device, Device], clock: Clock) -> None:
    laptop, _ = two
    laptop.save({"log.txt": b"begin\nmore\n"})
    with laptop.open() as store:
        store._open_remote = lambda: cast(  # type: ignore[method-assign]
            OpenRemote, Watched(laptop.base / "remote", [], Cut(1, trouble, after=False))
        )
        report = store.push(pull=True)
    assert (report.status, report.exit_code, report.pull_error) == ("fail", 5, None)
    assert report.error is not None


def test_two_pushes_at_the_same_instant_leave_two_whole_heads(
    two: tuple[Device, Device], clock: Clock
) -> None:
    """The second push happens as a whole before every other call of the first."""
    laptop, server = two
    told: list[tuple[str, str]] = []
    saved = laptop.base / "saved"
    laptop.save({"Rules.txt": b"laptop\n"})
    server.save({"log.txt": b"begin\nserver\n"})
    for name in ("laptop", "server", "remote"):
        shutil.copytree(laptop.base / name, saved / name, symlinks=True)
    with laptop.open() as store:
        store._open_remote = lambda: cast(OpenRemote, Watched(laptop.base / "remote", told))  # type: ignore[method-assign]
        store.push()
    for at in range(0, len(told), 2):
        for name in ("laptop", "server", "remote"):
            shutil.rmtree(laptop.base / name)
            shutil.copytree(saved / name, laptop.base / name, symlinks=True)
        calls = [at]

        def meanwhile(calls: list[int] = calls) -> None:
            calls[0] -= 1
            if calls[0] == -1:
                assert server.push().error is None

        with laptop.open() as store:
            watched = Watched(laptop.base / "remote", [])
            watched._told = cast(list[tuple[str, str]], Told(meanwhile))
            store._open_remote = lambda watched=watched: cast(OpenRemote, watched)  # type: ignore[method-assign,misc]
            assert store.push().error is None
        assert set(laptop.heads) == {laptop.head, server.head}
        fresh = laptop.joined_by(f"fresh{at}")
        with fresh.open() as store:
            assert store.verify().ok
            assert {str(head) for head in store.repository.catalogue.heads()} == set(laptop.heads)


class Told:
    """A list that does something whenever a call is told."""

    def __init__(self, does: Callable[[], None]) -> None:
        self._does = does

    def append(self, _: object) -> None:
        self._does()


def test_a_head_that_another_device_superseded_does_not_come_back(
    two: tuple[Device, Device], clock: Clock
) -> None:
    laptop, server = two
    laptop.save({"Rules.txt": b"laptop\n"})
    laptop.push()
    server.pull()
    server.save({"log.txt": b"begin\nserver\n"})
    server.push()
    laptop.push()
    assert laptop.heads == [server.head]


def test_what_was_fetched_of_a_push_under_way_is_neither_merged_nor_published(
    two: tuple[Device, Device], clock: Clock
) -> None:
    laptop, server = two
    third = laptop.joined_by("third")
    markers = laptop.base / "remote" / ".memsync" / "heads"
    (before,) = laptop.heads
    base = (markers / before).read_bytes()
    laptop.save({"Rules.txt": b"laptop\n"})
    laptop.push()
    under_way = markers / laptop.head
    body = under_way.read_bytes()
    under_way.unlink()  # its packs are there, its head is not yet
    (markers / before).write_bytes(base)
    server.save({"log.txt": b"begin\nserver\n"})
    server.push()
    third.save({"new.txt": b"new\n"})
    assert third.pull().status == "success"
    assert third.tree["Rules.txt"] == b"one\ntwo\nthree\n"
    third.push()
    assert third.heads == [third.head]
    under_way.write_bytes(body)
    assert third.pull().status == "success"
    assert third.tree["Rules.txt"] == b"laptop\n"


def test_a_list_that_shows_the_last_of_several_packs_only_is_made_up_for(
    two: tuple[Device, Device], clock: Clock
) -> None:
    laptop, server = two
    laptop.environ["MEMSYNC_PUSH_PACK_SIZE"] = "1000"
    noise = random.Random(1)
    laptop.save({f"{number}.bin": noise.randbytes(900) for number in range(4)})
    before = set(os.listdir(laptop.base / "remote" / ".memsync" / "packs"))
    laptop.push()
    new = sorted(set(os.listdir(laptop.base / "remote" / ".memsync" / "packs")) - before)
    assert len(new) > 2
    for hidden in new:
        device = server.base / "again"
        shutil.copytree(server.root, device, symlinks=True)
        again = Device(server.base, "again")
        with again.open() as store:
            store._open_remote = lambda hidden=hidden: cast(  # type: ignore[method-assign,misc]
                OpenRemote, Lagging(server.base / "remote", hidden)
            )
            assert store.pull().status == "success"
            assert store.verify().ok
        assert again.tree == laptop.tree
        shutil.rmtree(device)


class Lagging(Watched):
    """A folder whose list of packs lacks one; by its name it is there."""

    def __init__(self, path: Path, hidden: str) -> None:
        super().__init__(path, [])
        self._hidden = hidden

    def list(self, prefix: str) -> Any:
        return [
            file for file in self._inner.list(prefix) if prefix != "packs/" or self._hidden not in file.name
        ]


def test_what_another_device_sent_of_a_path_does_not_count_as_ours(
    two: tuple[Device, Device], clock: Clock
) -> None:
    _, server = apart(two, clock)
    with server.open() as store:
        assert store.is_on_remote("Rules.txt") is False, "its mirror waits for the merge"
    server.save({"Rules.txt": b"server again\n"})
    with pytest.raises(Conflict):
        server.pull(on_conflict="fail")
    server.environ["MEMSYNC_MIRROR_ENABLED"] = "false"
    with server.open() as store:
        assert store.is_on_remote("Rules.txt") is False
        store.push()
        assert store.is_on_remote("Rules.txt") is True
