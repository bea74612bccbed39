"""Finding what lies in `Data/`, and reading it while others write."""

from __future__ import annotations

import os
import shutil
import socket
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memstore import files
from memstore.errors import BadInput, DiskTrouble
from memstore.manifest.version import Kind
from memstore.worktree import found, reading
from memstore.worktree.found import Found, StatKey
from memstore.worktree.ignore import Ignore
from memstore.worktree.reading import CHANGED, StableFile, read_link, read_small
from memstore.worktree.scan import Scan, scan

# -- a random tree against a plain os.walk -------------------------------------------------------------------

component = st.sampled_from(
    ["a", "a.txt", "a0", "a-b", "B", "é", "日本", "z.tmp", ".DS_Store", "__pycache__", "x y"]
)
tree = st.dictionaries(
    st.lists(component, min_size=1, max_size=3).map(tuple),
    st.sampled_from(["file", "executable", "link", "folder"]),
    max_size=14,
)


def plant(root: str, shape: dict[tuple[str, ...], str]) -> None:
    """Make what can be made of the shape: what is in the way of another stays."""
    for parts, kind in shape.items():
        place = os.path.join(root, *parts)
        parents = [os.path.join(root, *parts[:n]) for n in range(1, len(parts))]
        if os.path.lexists(place) or any(os.path.islink(p) or os.path.isfile(p) for p in parents):
            continue
        os.makedirs(os.path.dirname(place), exist_ok=True)
        if kind == "folder":
            os.mkdir(place)
        elif kind == "link":
            os.symlink("/etc" if len(parts) == 1 else "..", place)
        else:
            Path(place).write_bytes("/".join(parts).encode())
            os.chmod(place, 0o755 if kind == "executable" else 0o644)


def model(root: str) -> dict[str, tuple[Kind, int]]:
    """What a scan must find there, the slow way."""
    rules = Ignore()
    rows: dict[str, tuple[Kind, int]] = {}
    for folder, folders, others in os.walk(root):
        for name in [*others, *(n for n in folders if os.path.islink(os.path.join(folder, n)))]:
            place = os.path.join(folder, name)
            path = os.path.relpath(place, root).replace(os.sep, "/")
            facts = os.lstat(place)
            if not rules.covers(path):
                link, runs = stat.S_ISLNK(facts.st_mode), facts.st_mode & 0o100
                rows[path] = Kind.SYMLINK if link else Kind.EXECUTABLE if runs else Kind.FILE, facts.st_size
    return rows


@pytest.fixture(scope="module")
def ground() -> Iterator[str]:
    with tempfile.TemporaryDirectory() as folder:
        yield folder


@given(tree)
@settings(deadline=None)
def test_a_scan_finds_what_a_walk_finds_in_the_order_of_bytes(
    ground: str, shape: dict[tuple[str, ...], str]
) -> None:
    root = tempfile.mkdtemp(dir=ground)
    plant(root, shape)
    result = scan(root, Ignore())
    rows = list(result.files)
    assert {row.path: (row.kind, row.size) for row in rows} == model(root)
    paths = [row.path for row in rows]
    assert paths == sorted(paths, key=str.encode)
    assert (result.warnings, result.unseen) == ([], [])
    for row in rows:
        assert row == found.look(root, row.path)
    shutil.rmtree(root)


@given(tree, st.lists(st.lists(component, min_size=1, max_size=3).map("/".join), max_size=4))
@settings(deadline=None)
def test_a_scan_under_paths_is_that_part_of_the_whole(
    ground: str, shape: dict[tuple[str, ...], str], under: list[str]
) -> None:
    root = tempfile.mkdtemp(dir=ground)
    plant(root, shape)

    def behind_a_link(path: str) -> bool:
        return any(
            os.path.islink(os.path.join(root, path[:end])) for end, sign in enumerate(path) if sign == "/"
        )

    if any(behind_a_link(path) for path in under):
        with pytest.raises(BadInput, match="symbolic link"):
            scan(root, Ignore(), under)
    else:
        whole = list(scan(root, Ignore()).files)
        part = [row for row in whole if any(row.path == p or row.path.startswith(p + "/") for p in under)]
        assert list(scan(root, Ignore(), under).files) == part
    shutil.rmtree(root)


# -- what is no part of a version ----------------------------------------------------------------------------


def paths_of(result: Scan) -> list[str]:
    return [row.path for row in result.files]


def test_pipes_and_sockets_are_named_and_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "good.txt").write_text("g")
    os.mkfifo(tmp_path / "pipe")
    monkeypatch.chdir(tmp_path)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("sock")
        result = scan(str(tmp_path), Ignore())
        assert paths_of(result) == ["good.txt"]
    assert len(result.warnings) == 2
    assert any("'pipe'" in line and "named pipe" in line for line in result.warnings)
    assert any("'sock'" in line and "socket" in line for line in result.warnings)
    assert result.unseen == []
    alone = scan(str(tmp_path), Ignore(), ["pipe"])
    assert (paths_of(alone), len(alone.warnings)) == ([], 1)


def test_a_name_that_is_not_utf8_is_named_and_the_others_are_found(tmp_path: Path) -> None:
    try:
        os.close(os.open(os.fsencode(tmp_path) + b"/bad\xff.txt", os.O_CREAT | os.O_WRONLY))
        os.mkdir(os.fsencode(tmp_path) + b"/dir\xfe")
    except OSError:
        pytest.skip("this disk takes no such name")
    (tmp_path / "good.txt").write_text("g")
    result = scan(str(tmp_path), Ignore())
    assert paths_of(result) == ["good.txt"]
    assert len(result.warnings) == 2
    for line in result.warnings:
        assert "not UTF-8" in line
        assert line.isprintable()


def test_memsyncs_own_names_are_never_found(tmp_path: Path) -> None:
    (tmp_path / ".MemSync").mkdir()
    (tmp_path / ".MemSync" / "head").write_text("x")
    (tmp_path / (files.TEMPORARY_PREFIX + "77")).write_text("half")
    (tmp_path / "good.txt").write_text("g")
    result = scan(str(tmp_path), Ignore())
    assert paths_of(result) == ["good.txt"]
    assert [line for line in result.warnings if ".MemSync" in line] == result.warnings
    assert len(result.warnings) == 1


def test_links_are_found_as_links_and_never_entered(tmp_path: Path) -> None:
    (tmp_path / "out").symlink_to("/etc")
    (tmp_path / "gone").symlink_to("nowhere")
    (tmp_path / "loop").symlink_to(".")
    rows = list(scan(str(tmp_path), Ignore()).files)
    assert [(row.path, row.kind, row.size) for row in rows] == [
        ("gone", Kind.SYMLINK, 7),
        ("loop", Kind.SYMLINK, 1),
        ("out", Kind.SYMLINK, 4),
    ]
    assert paths_of(scan(str(tmp_path), Ignore(), ["out"])) == ["out"]
    for path in ("out/passwd", "loop/gone"):
        with pytest.raises(BadInput, match="symbolic link") as caught:
            scan(str(tmp_path), Ignore(), [path])
        assert caught.value.exit_code == 8


def test_a_folder_swapped_for_a_link_after_it_was_seen_is_not_entered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, outside = tmp_path / "Data", tmp_path / "outside"
    (data / "sub").mkdir(parents=True)
    (data / "sub" / "mine.txt").write_text("m")
    outside.mkdir()
    (outside / "secret.txt").write_text("s")
    real = os.open

    def swap_then_open(path: Any, flags: int, *args: Any, **more: Any) -> int:
        if str(path).endswith("sub"):
            (data / "sub").rename(tmp_path / "aside")
            (data / "sub").symlink_to(outside)
        return real(path, flags, *args, **more)

    monkeypatch.setattr(os, "open", swap_then_open)
    assert paths_of(scan(str(data), Ignore())) == []
    assert (data / "sub").is_symlink()  # the swap did happen


def test_what_cannot_be_looked_at_is_unseen_rather_than_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("locked", "open"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.txt").write_text("a")
    real = os.open

    def refuse(path: Any, flags: int, *args: Any, **more: Any) -> int:
        if str(path).endswith("locked"):
            raise PermissionError(13, "Permission denied", path)
        return real(path, flags, *args, **more)

    monkeypatch.setattr(os, "open", refuse)
    result = scan(str(tmp_path), Ignore())
    assert paths_of(result) == ["open/a.txt"]
    assert result.unseen == ["locked"]
    assert len(result.warnings) == 1
    assert "'locked'" in result.warnings[0]
    assert "Permission denied" in result.warnings[0]


def test_data_that_is_gone_or_no_folder_is_bad_input(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for place in (tmp_path / "nowhere", tmp_path / "file"):
        for under in (None, [], ["a.txt"]):
            with pytest.raises(BadInput) as caught:
                scan(str(place), Ignore(), under)
            assert caught.value.code == "no_data_folder"


def test_a_data_folder_that_is_a_link_is_scanned(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "a.txt").write_text("a")
    (tmp_path / "Data").symlink_to("real")
    assert paths_of(scan(str(tmp_path / "Data"), Ignore())) == ["a.txt"]


def test_rules_prune_folders_and_explain_what_was_asked_for_by_name(tmp_path: Path) -> None:
    for path in ("keep/a.txt", "cache/deep/b.txt", "c.log", "d.tmp"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text("x")
    (tmp_path / ".memsyncignore").write_text("cache/\n*.log\n!d.tmp\n")
    rules = Ignore.load(str(tmp_path))
    assert paths_of(scan(str(tmp_path), rules)) == [".memsyncignore", "d.tmp", "keep/a.txt"]
    for path in ("cache/deep/b.txt", "cache/deep", "cache", "c.log"):
        result = scan(str(tmp_path), rules, [path])
        assert (paths_of(result), len(result.warnings)) == ([], 1)
        assert path in result.warnings[0]


def test_a_scan_under_a_file_opens_no_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "Core").mkdir()
    (tmp_path / "Core" / "a.txt").write_text("a")

    def never(*_: Any, **__: Any) -> Any:
        raise AssertionError("a folder was opened")

    monkeypatch.setattr(os, "scandir", never)
    monkeypatch.setattr(os, "listdir", never)
    monkeypatch.setattr(os, "open", never)
    assert paths_of(scan(str(tmp_path), Ignore(), ["Core/a.txt", "Core/gone.txt", "gone/b.txt"])) == [
        "Core/a.txt"
    ]


def test_a_hostile_path_to_scan_under_is_refused(tmp_path: Path) -> None:
    for path in ("../x", "/etc", ".memsync", "a\0b"):
        with pytest.raises(BadInput):
            scan(str(tmp_path), Ignore(), [path])


def test_a_time_or_an_inode_past_sqlite_s_integers_is_cut_to_them(tmp_path: Path) -> None:
    far = SimpleNamespace(st_size=5, st_mtime_ns=1 << 64, st_ctime_ns=1 << 64, st_ino=1 << 64)
    assert max(found.stat_key(cast(os.stat_result, far))) < 1 << 63
    (tmp_path / "future").write_text("x")
    os.utime(tmp_path / "future", ns=(0, 9_999_999_999 * 10**9))
    (row,) = scan(str(tmp_path), Ignore()).files
    assert row.mtime_ns < 1 << 63
    assert row == found.look(str(tmp_path), "future")


# -- trusting a key ------------------------------------------------------------------------------------------

times = st.integers(min_value=0, max_value=10**19)


@given(times, times, times)
def test_a_key_is_racy_unless_both_times_are_safely_older_than_the_clock(m: int, c: int, clock: int) -> None:
    key = StatKey(1, m, c, 1)
    # A change time with digits below a millisecond tells of a disk that keeps fine times.
    age = 10**8 if c % 10**6 else 2 * 10**9
    assert found.racy(key, clock) == (not (clock - m > age and clock - c > age))
    assert found.racy(Found("a", 0, *key), clock) == found.racy(key, clock)


def test_a_file_written_just_now_is_racy_and_an_old_one_is_not(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("x")
    row = found.look(str(tmp_path), "a")
    assert row is not None
    assert found.racy(row, files.clock_of(str(tmp_path)))
    assert not found.racy(row, files.clock_of(str(tmp_path)) + 10 * 10**9)


# -- reading -------------------------------------------------------------------------------------------------


def test_a_small_file_is_read_with_the_key_that_a_scan_finds(tmp_path: Path) -> None:
    for content in (b"", b"x", b"\0\r\n" * 1000):
        (tmp_path / "a").write_bytes(content)
        row = found.look(str(tmp_path), "a")
        assert row is not None
        assert read_small(str(tmp_path / "a")) == (content, row.key)


def meddle(monkeypatch: pytest.MonkeyPatch, change: Any, times: int) -> list[int]:
    """Call `change` after each of the first `times` reads of file content."""
    calls: list[int] = []
    real = os.read

    def read_then_change(descriptor: int, length: int) -> bytes:
        content = real(descriptor, length)
        if len(calls) < times:
            calls.append(length)
            change()
        return content

    monkeypatch.setattr(os, "read", read_then_change)
    return calls


def test_a_file_that_changes_while_it_is_read_is_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "a"
    place.write_bytes(b"old")

    def append() -> None:
        with place.open("ab") as file:
            file.write(b"+")

    calls = meddle(monkeypatch, append, times=2)
    content, key = read_small(str(place))
    assert (content, len(calls)) == (b"old++", 2)
    assert key == found.stat_key(os.lstat(place))


def test_a_file_that_never_rests_is_reported_in_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "a"
    place.write_bytes(b"old")
    meddle(monkeypatch, lambda: os.truncate(place, os.path.getsize(place) + 1), times=100)
    with pytest.raises(DiskTrouble, match="keeps changing") as caught:
        read_small(str(place))
    assert caught.value.code == CHANGED
    assert caught.value.retryable


@pytest.mark.parametrize("becomes", ["link", "pipe", "folder"])
@pytest.mark.parametrize("read", [read_small, StableFile])
def test_a_file_replaced_between_scan_and_read_is_never_followed_nor_waited_for(
    tmp_path: Path, becomes: str, read: Any
) -> None:
    place = tmp_path / "a"
    place.write_text("x")
    (row,) = scan(str(tmp_path), Ignore()).files
    place.unlink()
    if becomes == "link":
        place.symlink_to("/etc/passwd")
    elif becomes == "pipe":
        os.mkfifo(place)
    else:
        place.mkdir()
    with pytest.raises(DiskTrouble) as caught:
        read(str(tmp_path / row.path))
    assert caught.value.code == CHANGED


def test_a_file_that_is_gone_is_told_from_one_that_cannot_be_read(tmp_path: Path) -> None:
    for read in (read_small, read_link, StableFile):
        with pytest.raises(FileNotFoundError):
            read(str(tmp_path / "gone"))
    (tmp_path / "a").write_text("x")

    def refuse(step: str, path: str, data: bytes) -> None:
        raise PermissionError(13, "Permission denied", path)

    with files.watch(refuse), pytest.raises(DiskTrouble, match="Permission denied") as caught:
        read_small(str(tmp_path / "a"))
    assert caught.value.code == "disk"


def test_a_file_too_large_to_read_at_once_is_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "SMALL", 10)
    (tmp_path / "a").write_bytes(b"x" * 10)
    assert read_small(str(tmp_path / "a"))[0] == b"x" * 10
    (tmp_path / "a").write_bytes(b"x" * 11)
    with pytest.raises(DiskTrouble) as caught:
        read_small(str(tmp_path / "a"))
    assert caught.value.code == CHANGED


def test_a_link_is_read_as_its_target_s_bytes(tmp_path: Path) -> None:
    os.symlink(b"else/\xffwhere", os.fsencode(tmp_path / "link"))
    row = found.look(str(tmp_path), "link")
    assert row is not None
    assert read_link(str(tmp_path / "link")) == (b"else/\xffwhere", row.key)
    (tmp_path / "plain").write_text("x")
    with pytest.raises(DiskTrouble) as caught:
        read_link(str(tmp_path / "plain"))
    assert caught.value.code == CHANGED


@given(st.binary(max_size=300), st.integers(min_value=1, max_value=64))
def test_a_stable_file_gives_its_bytes_at_any_position(ground: str, content: bytes, length: int) -> None:
    place = os.path.join(ground, "stable")
    Path(place).write_bytes(content)
    with StableFile(place) as file:
        assert b"".join(file.pieces(length)) == content
        assert file.read_at(len(content) // 2, length) == content[len(content) // 2 :][:length]
        assert file.size == len(content)
        assert not file.changed()


@pytest.mark.parametrize("how", ["append", "replace", "remove", "link"])
def test_a_stable_file_notices_every_change(tmp_path: Path, how: str) -> None:
    place = tmp_path / "a"
    place.write_bytes(b"x" * 100)
    with StableFile(str(place)) as file:
        assert not file.changed()
        if how == "append":
            with place.open("ab") as other:
                other.write(b"y")
        else:
            place.unlink()
        if how == "replace":
            place.write_bytes(b"y" * 100)
        elif how == "link":
            place.symlink_to("/etc/passwd")
        assert file.changed()
        assert file.read_at(0, 10) == b"x" * 10
