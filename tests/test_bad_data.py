"""A bad Data/, full disks, several processes and cuts, through the real command line: see test_bad_input."""

from __future__ import annotations

import errno
import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from memstore import files
from tests.command_line import RULES, fails, posix, run, surviving, versions
from tests.folder_place import Death, Place, tree


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    yield from surviving(tmp_path, monkeypatch)


# -- what lies in Data/ ----------------------------------------------------------------------------------------


def committed_in_spite_of(place: Place, named: str) -> None:
    """The others are committed, the exit code is 1, and the one is named."""
    place.write({"good.txt": b"good\n"})
    result = run("commit")
    assert result.exit_code == 1, result.output
    assert named in result.stderr
    assert run("cat", "good.txt").stdout_bytes == b"good\n"


@posix
def test_an_unreadable_file_keeps_none_of_the_others_back(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.write({"secret.txt": b"secret\n", "Core/Rules.txt": b"changed\n"})
    (place.data / "secret.txt").chmod(0)
    if os.access(place.data / "secret.txt", os.R_OK):  # root reads everything: let the system refuse
        real = os.open

        def refuse(path: Any, *args: Any, **named: Any) -> int:
            if os.fsdecode(path).endswith("secret.txt"):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)
            return real(path, *args, **named)

        monkeypatch.setattr(os, "open", refuse)
    committed_in_spite_of(place, "secret.txt")
    assert run("cat", "Core/Rules.txt").stdout_bytes == b"changed\n"
    monkeypatch.undo()
    os.chdir(place.root)
    (place.data / "secret.txt").chmod(0o600)
    assert run("commit").exit_code == 0
    assert run("cat", "secret.txt").stdout_bytes == b"secret\n"


@posix
def test_a_file_that_became_unreadable_is_not_taken_for_deleted(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.write({"Core/Rules.txt": b"changed, and closed\n"})

    def refuse(step: str, path: str, _: bytes) -> None:
        if step == "read" and path.endswith("Rules.txt"):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)

    with files.watch(refuse):
        committed_in_spite_of(place, "Rules.txt")
    assert run("cat", "Core/Rules.txt").stdout_bytes == RULES


def test_data_that_is_gone(place: Place) -> None:
    place.data.rename(place.root / "elsewhere")
    fails(8, "commit", says="data folder", mend="bring it back")
    assert versions(place) == 1
    (place.root / "elsewhere").rename(place.data)
    assert run("commit").exit_code == 0
    assert versions(place) == 1


def test_data_that_is_another_folder_now(place: Place) -> None:
    place.data.rename(place.root / "elsewhere")
    place.data.mkdir()
    fails(8, "commit", says="not the folder it was", mend="mount|restore")
    assert versions(place) == 1
    assert run("restore", ".").exit_code == 0
    assert tree(place.data) == {"Core/Rules.txt": RULES}


def test_data_mostly_emptied_holds_the_deletions_back(place: Place) -> None:
    place.commit({f"{number}.txt": b"%d" % number for number in range(30)})
    for number in range(25):
        (place.data / f"{number}.txt").unlink()
    place.write({"new.txt": b"new\n"})
    result = run("commit")
    assert result.exit_code == 1
    assert "commit --allow-deletions" in result.stderr
    assert run("cat", "new.txt").stdout_bytes == b"new\n"
    assert run("cat", "0.txt").stdout_bytes == b"0"
    assert run("commit", "--allow-deletions").exit_code == 0
    assert run("status").exit_code == 0
    listed = json.loads(run("ls", "--json").stdout)
    assert "0.txt" not in json.dumps(listed)
    assert run("restore", "0.txt").exit_code == 0
    assert (place.data / "0.txt").read_bytes() == b"0"


@posix
def test_a_name_that_is_not_utf_8(place: Place) -> None:
    path = os.fsencode(place.data) + b"/bad\xff.txt"
    try:
        os.close(os.open(path, os.O_CREAT | os.O_WRONLY))
    except OSError:
        pytest.skip("this disk holds no such name")
    committed_in_spite_of(place, "bad")
    assert os.path.exists(path)
    assert "bad" not in run("ls").stdout


@posix
def test_a_named_pipe(place: Place) -> None:
    os.mkfifo(place.data / "pipe")
    committed_in_spite_of(place, "pipe")
    (place.data / "pipe").unlink()
    assert run("commit").exit_code == 0


@posix
def test_a_pipe_in_the_place_of_a_committed_file(place: Place) -> None:
    (place.data / "Core/Rules.txt").unlink()
    os.mkfifo(place.data / "Core/Rules.txt")
    committed_in_spite_of(place, "Rules.txt")
    assert RULES in place.contents()
    assert run("restore", "Core/Rules.txt").exit_code != 0
    (place.data / "Core/Rules.txt").unlink()
    assert run("restore", "Core/Rules.txt", "--at", "now").exit_code == 0
    assert tree(place.data)["Core/Rules.txt"] == RULES


@posix
def test_a_socket(place: Place, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listening:
        os.chdir(place.data)  # a socket's path is short
        listening.bind("s")
        os.chdir(place.root)
        committed_in_spite_of(place, "s")


@posix
def test_a_symlink_that_leads_out_is_kept_as_a_link_and_never_followed(place: Place, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "private.txt").write_bytes(b"private\n")
    os.symlink(outside, place.data / "out")
    os.symlink(outside / "private.txt", place.data / "file")
    assert run("commit").exit_code in (0, 1)
    assert b"private\n" not in place.contents()
    assert "private" not in run("ls").stdout
    assert run("commit", "Data/out/private.txt").exit_code in (1, 8)
    assert b"private\n" not in place.contents()
    assert run("push").exit_code == 0
    assert b"private\n" not in place.mirror.values()


def after_each_read(patch: pytest.MonkeyPatch, path: Path, act: Callable[[], object]) -> None:
    """Something happens to the file between a read of it and the look that follows."""
    identity = path.stat().st_ino

    def acting(read: Callable[..., Any]) -> Callable[..., Any]:
        def call(descriptor: int, *args: Any) -> Any:
            data = read(descriptor, *args)
            if os.fstat(descriptor).st_ino == identity:
                act()
            return data

        return call

    patch.setattr(files, "read_into", acting(files.read_into))
    patch.setattr(os, "read", acting(os.read))


@pytest.mark.parametrize("size", [100, 17 << 20], ids=["small", "large"])
def test_a_file_that_changes_while_it_is_read_is_read_again_or_left_for_later(
    place: Place, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    path = place.data / "growing.txt"
    path.write_bytes(b"x" * size)

    def grow() -> None:
        with path.open("ab") as file:
            file.write(b"y")

    after_each_read(monkeypatch, path, grow)
    committed_in_spite_of(place, "growing.txt")
    assert not [data for data in place.contents() if data.startswith(b"x")]
    monkeypatch.undo()
    os.chdir(place.root)
    assert run("commit").exit_code == 0
    assert path.read_bytes() in place.contents()


def test_a_file_that_changes_once_while_it_is_read_is_recorded_as_it_is_in_the_end(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = place.data / "growing.txt"
    path.write_bytes(b"before\n")
    left = [b"after, and longer\n"]
    after_each_read(monkeypatch, path, lambda: path.write_bytes(left.pop()) if left else None)
    assert run("commit").exit_code == 0
    assert place.history("growing.txt") == [b"after, and longer\n"]


# -- full disks ------------------------------------------------------------------------------------------------


def full(step: str, path: str, data: bytes) -> None:
    if step == "write":
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)


def full_after(writes: int) -> Callable[[str, str, bytes], None]:
    left = writes

    def observe(step: str, path: str, data: bytes) -> None:
        nonlocal left
        if step == "write":
            left -= 1
            if left < 0:
                full(step, path, data)

    return observe


@pytest.mark.parametrize("command", [["commit"], ["archive", "Core/Rules.txt"], ["push"]])
def test_a_full_disk_at_any_write_loses_nothing(place: Place, command: list[str]) -> None:
    place.write({"new.txt": b"new\n", "large.bin": os.urandom(2 << 20)})
    before = tree(place.data)
    codes = set()
    for writes in range(40):
        with files.watch(full_after(writes)):
            result = run(*command)
        codes.add(result.exit_code)
        if result.exit_code in (0, 1):  # 1: done, but the log could not be written
            break
        said = result.stderr.lower()
        assert "no space" in said or os.strerror(errno.ENOSPC).lower() in said, result.output
        assert "free some space" in said
        with place.open() as store:
            assert store.verify().ok
        if command == ["commit"]:
            assert tree(place.data) == before
    assert codes & {0, 1} and len(codes) > 1
    assert run("commit").exit_code == 0
    assert before["new.txt"] in place.contents()


@pytest.mark.skipif(sys.platform != "linux", reason="tmpfs is Linux's")
def test_a_really_full_disk_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small = tmp_path / "small"
    small.mkdir()
    mount = shutil.which("mount")
    if (
        mount is None
        or subprocess.run(
            [mount, "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(small)], capture_output=True, check=False
        ).returncode
    ):
        pytest.skip("mounting is not permitted here; the full disk is injected above")
    try:
        place = Place(small)
        place.commit({"a.txt": b"a\n"})
        monkeypatch.chdir(place.root)
        free = shutil.disk_usage(small).free
        (place.data / "large.bin").write_bytes(os.urandom(free - 200_000))
        fails(8, "commit", says="[Nn]o space|full", mend="space")
        assert run("status").exit_code == 0
        with place.open() as store:
            assert store.verify().ok
        (place.data / "large.bin").unlink()
        place.write({"b.txt": b"b\n"})
        assert run("commit").exit_code == 0
        assert {b"a\n", b"b\n"} <= place.contents()
    finally:
        monkeypatch.chdir(tmp_path)
        subprocess.run(["umount", str(small)], check=True)


def test_a_full_remote_is_said_and_the_next_push_finishes(place: Place) -> None:
    def full_remote(step: str, path: str, data: bytes) -> None:
        if path.startswith(str(place.remote)):
            full(step, path, data)

    with files.watch(full_remote):
        result = run("push")
    assert result.exit_code == 5
    assert "free some space" in result.stderr
    assert not [path for path in tree(place.remote) if "memsync-tmp" in path]
    assert run("push").exit_code == 0
    assert place.mirror == {"Core/Rules.txt": RULES}


# -- several processes, and cuts -------------------------------------------------------------------------------


def start(place: Place, *args: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "memsync", *args],
        cwd=place.root, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def test_two_processes_that_commit_at_once_both_succeed(place: Place) -> None:
    for number in range(6):
        place.write({f"{number}.txt": b"%d" % number})
    running = [start(place, "commit", f"{number}.txt", "-m", str(number)) for number in range(6)]
    for process in running:
        _, errors = process.communicate(timeout=120)
        assert (process.returncode, errors) == (0, "")
    with place.open() as store:
        notes = [version.note for version in store.history()]
        assert sorted(notes) == ["", *map(str, range(6))]
        assert len(store.repository.catalogue.heads()) == 1
        assert store.status().clean


def test_a_store_that_another_process_holds_is_waited_for_and_then_named(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MEMSYNC_LOCK_TIMEOUT", "0.05")
    place.write({"new.txt": b"new\n"})
    with place.open() as holder, holder.repository.locked():
        fails(7, "commit", says="another process", mend="wait")
    assert run("commit").exit_code == 0


@pytest.mark.parametrize("command", ["status", "commit", "log"])
def test_a_restore_cut_half_way_is_finished_by_the_next_command(place: Place, command: str) -> None:
    names = [f"{number}.txt" for number in range(6)]
    place.commit(dict.fromkeys(names, b"old\n"))
    with place.open() as store:
        old = str(store.head())
    place.commit(dict.fromkeys(names, b"new\n"))
    seen = 0

    def die(step: str, path: str, _: bytes) -> None:
        nonlocal seen
        if step == "rename" and path.startswith(str(place.data)):
            seen += 1
            if seen == 4:
                raise Death

    with files.watch(die), place.open() as store, pytest.raises(Death):
        store.restore(names, at=old)
    assert {(place.data / name).read_bytes() for name in names} == {b"old\n", b"new\n"}
    assert run(command).exit_code in (0, 1)
    assert {(place.data / name).read_bytes() for name in names} == {b"old\n"}
    assert run("status").exit_code == 0
    with place.open() as store:
        assert store.status().clean
        assert {store.read(name) for name in names} == {b"old\n"}


def test_what_was_written_after_a_cut_restore_is_committed_before_it_is_finished(place: Place) -> None:
    with place.open() as store:
        old = str(store.head())
    place.commit({"Core/Rules.txt": b"be wise\n"})

    def die(step: str, path: str, _: bytes) -> None:
        if step == "rename" and path.startswith(str(place.data)):
            raise Death

    with files.watch(die), place.open() as store, pytest.raises(Death):
        store.restore(["Core/Rules.txt"], at=old)
    place.write({"Core/Rules.txt": b"written in between\n"})
    run("status")
    assert {RULES, b"be wise\n", b"written in between\n"} <= place.contents()
    assert (place.data / "Core/Rules.txt").read_bytes() == RULES
