"""The one place that touches the disk: each promise of its docstrings, with the disk saying no."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from memstore import files
from memstore.errors import DiskTrouble

posix = pytest.mark.skipif(os.name != "posix", reason="POSIX only")


class Steps:
    """What happened, in order; raises where it is told to."""

    def __init__(self, failing: str = "") -> None:
        self.seen: list[tuple[str, str]] = []
        self.failing = failing

    def __call__(self, step: str, path: str, data: bytes) -> None:
        self.seen.append((step, os.path.basename(path)))
        if step == self.failing:
            raise DiskTrouble("no room")

    @property
    def words(self) -> list[str]:
        return [step for step, _ in self.seen]


# -- replacing a file --------------------------------------------------------------------------------------


def test_a_file_is_replaced_as_a_whole_and_is_durable(tmp_path: Path) -> None:
    place = tmp_path / "state"
    place.write_bytes(b"old")
    steps = Steps()
    with files.watch(steps):
        files.write_atomic(str(place), b"new")
    assert place.read_bytes() == b"new"
    assert steps.words == ["write", "sync", "rename", "sync_dir"]
    assert os.listdir(tmp_path) == ["state"]


@pytest.mark.parametrize("failing", ["write", "sync", "rename"])
def test_where_a_step_fails_the_old_file_stands_alone(tmp_path: Path, failing: str) -> None:
    place = tmp_path / "state"
    place.write_bytes(b"old")
    with files.watch(Steps(failing)), pytest.raises(DiskTrouble):
        files.write_atomic(str(place), b"new")
    assert place.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["state"]


@posix
def test_a_private_file_is_its_owners_from_its_first_instant(tmp_path: Path) -> None:
    modes: list[int] = []

    def look(step: str, path: str, data: bytes) -> None:
        if step == "write":
            modes.append(stat.S_IMODE(os.stat(path).st_mode))

    with files.watch(look):
        files.write_atomic(str(tmp_path / "token"), b"secret", private=True)
    assert modes == [0o600]
    assert stat.S_IMODE((tmp_path / "token").stat().st_mode) == 0o600


def test_what_is_published_without_success_is_removed(tmp_path: Path) -> None:
    with files.new_file(str(tmp_path)) as (descriptor, temporary):
        os.write(descriptor, b"half")
    with files.watch(Steps("rename")), pytest.raises(DiskTrouble):
        files.publish(temporary, str(tmp_path / "name"))
    assert os.listdir(tmp_path) == []


def test_a_new_file_whose_block_raises_is_gone(tmp_path: Path) -> None:
    with pytest.raises(KeyError), files.new_file(str(tmp_path)) as (descriptor, _):
        os.write(descriptor, b"half")
        raise KeyError
    assert os.listdir(tmp_path) == []


# -- writing and cutting -----------------------------------------------------------------------------------


@given(st.binary(max_size=5000), st.integers(1, 700))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30, deadline=None)
def test_everything_is_written_however_little_the_system_takes_at_once(
    tmp_path: Path, data: bytes, at_once: int
) -> None:
    place = tmp_path / "file"
    real = os.write
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "write", lambda descriptor, view: real(descriptor, view[:at_once]))
        files.write_atomic(str(place), data)
    assert place.read_bytes() == data


def refusal(number: int) -> Callable[..., None]:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    return refuse


@pytest.mark.parametrize(
    ("call", "number", "attempt"),
    [
        ("write", errno.ENOSPC, lambda place: files.write_atomic(place, b"x")),
        ("replace", errno.EIO, lambda place: files.write_atomic(place, b"x")),
        ("open", errno.EROFS, lambda place: files.write_atomic(place, b"x")),
        ("ftruncate", errno.EIO, lambda place: files.truncate(os.open(place, os.O_RDWR), 0, place)),
        ("unlink", errno.EACCES, files.remove),
        ("mkdir", errno.ENOSPC, lambda place: files.make_dir(place + "-folder")),
    ],
)
def test_what_the_system_refuses_is_disk_trouble_with_its_mend(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, number: int, attempt: Callable[[str], object]
) -> None:
    place = tmp_path / "file"
    place.write_bytes(b"old")
    with monkeypatch.context() as patch:
        if call == "ftruncate":
            patch.setattr(os, "ftruncate", refusal(number))
        else:
            real = getattr(os, call)

            def only_ours(*arguments: object, **named: object) -> object:
                # The interpreter itself goes on using the same functions.
                if call == "open" and not str(arguments[0]).startswith(str(tmp_path)):
                    return real(*arguments, **named)
                return refusal(number)()

            patch.setattr(os, call, only_ours)
        with pytest.raises(DiskTrouble) as caught:
            attempt(str(place))
    assert caught.value.hint
    assert caught.value.retryable
    assert place.read_bytes() == b"old"


@pytest.mark.parametrize("name", ["fdatasync", "fsync"])
def test_a_sync_that_fails_is_never_taken_for_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    if not hasattr(os, name):
        pytest.skip("not on this system")
    monkeypatch.setattr(os, name, refusal(errno.EIO))
    with pytest.raises(DiskTrouble):
        files.write_atomic(str(tmp_path / "file"), b"x")


@posix
@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOTSUP])
def test_a_file_system_that_cannot_sync_folders_is_taken_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    monkeypatch.setattr(os, "fsync", refusal(number))
    files.sync_dir(str(tmp_path))


# -- reading -----------------------------------------------------------------------------------------------


@given(st.binary(max_size=300), st.integers(0, 320), st.integers(0, 320))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_a_read_at_a_place_is_short_only_at_the_end(
    tmp_path: Path, data: bytes, offset: int, length: int
) -> None:
    place = tmp_path / "file"
    place.write_bytes(data)
    descriptor = files.open_read(str(place))
    there = data[offset : offset + length]
    assert files.read_at(descriptor, offset, length) == there
    room = bytearray(length)
    assert files.read_into(descriptor, offset, memoryview(room)) == len(there)
    assert room == there + bytes(length - len(there))
    os.close(descriptor)
    assert files.read(str(place)) == data


def test_an_absent_file_is_told_as_the_system_does(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        files.read(str(tmp_path / "absent"))
    with pytest.raises(FileNotFoundError):
        files.open_read(str(tmp_path / "absent"))
    assert files.names(str(tmp_path / "absent")) == []
    files.remove(str(tmp_path / "absent"))


@posix
def test_a_file_is_never_opened_through_a_symlink_and_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x")
    (tmp_path / "link").symlink_to(tmp_path / "file")
    with pytest.raises(OSError):
        files.open_read(str(tmp_path / "link"))
    os.mkfifo(tmp_path / "pipe")
    os.close(files.open_read(str(tmp_path / "pipe")))


# -- names -------------------------------------------------------------------------------------------------


def test_a_new_name_replaces_nothing(tmp_path: Path) -> None:
    for name, content in (("a", b"a"), ("b", b"b")):
        (tmp_path / name).write_bytes(content)
    with pytest.raises(FileExistsError):
        files.rename_new(str(tmp_path / "a"), str(tmp_path / "b"))
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"a": b"a", "b": b"b"}
    files.rename_new(str(tmp_path / "a"), str(tmp_path / "c"))
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"c": b"a", "b": b"b"}


@posix
def test_a_rename_cut_between_link_and_unlink_is_finished(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"a")
    os.link(tmp_path / "a", tmp_path / "b")
    files.rename_new(str(tmp_path / "a"), str(tmp_path / "b"))
    assert os.listdir(tmp_path) == ["b"]


@posix
def test_where_there_are_no_links_a_new_name_still_replaces_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "link", refusal(errno.EPERM))
    (tmp_path / "a").write_bytes(b"a")
    (tmp_path / "b").write_bytes(b"b")
    with pytest.raises(FileExistsError):
        files.rename_new(str(tmp_path / "a"), str(tmp_path / "b"))
    files.rename_new(str(tmp_path / "a"), str(tmp_path / "c"))
    assert sorted(os.listdir(tmp_path)) == ["b", "c"]


def test_a_folder_is_made_with_those_above_it_each_durable(tmp_path: Path) -> None:
    steps = Steps()
    with files.watch(steps):
        files.make_dir(str(tmp_path / "a" / "b"))
        files.make_dir(str(tmp_path / "a" / "b"))
    assert steps.seen == [
        ("make_dir", "a"),
        ("sync_dir", tmp_path.name),
        ("make_dir", "b"),
        ("sync_dir", "a"),
    ]


def test_a_line_is_appended_in_one_write(tmp_path: Path) -> None:
    steps = Steps()
    with files.watch(steps):
        files.append_line(str(tmp_path / "log"), b"one\n")
        files.append_line(str(tmp_path / "log"), b"two\n", durable=True)
    assert (tmp_path / "log").read_bytes() == b"one\ntwo\n"
    assert steps.words == ["write", "write", "sync"]


def test_an_observer_may_stand_inside_another_and_is_gone_after(tmp_path: Path) -> None:
    outer, inner = Steps(), Steps()
    with files.watch(outer):
        with files.watch(inner):
            files.remove(str(tmp_path / "x"))
        files.remove(str(tmp_path / "y"))
    files.remove(str(tmp_path / "z"))
    assert (outer.seen, inner.seen) == ([("remove", "y")], [("remove", "x")])
