"""Putting files into `Data/` so that no name leads anywhere else."""

from __future__ import annotations

import errno
import os
import stat
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memstore import files
from memstore.errors import BadInput, Conflict, DiskTrouble, MemsyncError
from memstore.manifest.version import Kind
from memstore.worktree import found
from memstore.worktree.ignore import Ignore
from memstore.worktree.materialise import FreshTree, remove_file, sweep_temporaries, write_file
from memstore.worktree.scan import scan

WHEN = 1_700_000_000_123

Write = Callable[[str, str, int, list[bytes], int], found.StatKey]


def fresh_write(root: str, path: str, kind: int, pieces: list[bytes], modified_ms: int) -> found.StatKey:
    return FreshTree(root, shared=True).write(path, kind, pieces, modified_ms)


both_writers = pytest.mark.parametrize("write", [write_file, fresh_write])


def snapshot(root: Path) -> dict[str, bytes]:
    """Everything below the folder: files by content, links by target, folders by nothing."""
    tree: dict[str, bytes] = {}
    for folder, folders, names in os.walk(root):
        for name in folders + names:
            place = os.path.join(folder, name)
            if os.path.islink(place):
                content = os.readlink(os.fsencode(place))
            else:
                content = b"" if os.path.isdir(place) else Path(place).read_bytes()
            tree[os.path.relpath(place, root)] = content
    return tree


@both_writers
@pytest.mark.parametrize("kind", list(Kind))
def test_what_is_written_is_found_again_with_the_key_that_was_returned(
    tmp_path: Path, write: Write, kind: Kind
) -> None:
    key = write(str(tmp_path), "Core/deep/a.txt", kind, [b"one ", b"two"], WHEN)
    (row,) = scan(str(tmp_path), Ignore()).files
    assert (row.path, row.kind, row.key) == ("Core/deep/a.txt", kind, key)
    assert row.modified_ms == WHEN
    place = tmp_path / "Core/deep/a.txt"
    assert (os.readlink(place).encode() if kind == Kind.SYMLINK else place.read_bytes()) == b"one two"
    assert not list(tmp_path.rglob(files.TEMPORARY_PREFIX + "*"))


@both_writers
def test_a_file_of_no_pieces_is_empty(tmp_path: Path, write: Write) -> None:
    assert write(str(tmp_path), "empty", Kind.FILE, [], WHEN).size == 0
    assert (tmp_path / "empty").read_bytes() == b""


@both_writers
@pytest.mark.parametrize("when", [-1, 0, 1 << 62, -(1 << 62), 1 << 80])
def test_a_time_no_disk_can_hold_costs_only_the_time(tmp_path: Path, write: Write, when: int) -> None:
    write(str(tmp_path), "a", Kind.FILE, [b"x"], when)
    assert (tmp_path / "a").read_bytes() == b"x"


# -- hostile names -------------------------------------------------------------------------------------------


@both_writers
@pytest.mark.parametrize(
    "path", ["/tmp/x", "/x", "../x", "a/../../x", "a\0b", ".memsync/x", "A/.MEMSYNC", "", "a//b", "bad\udcff"]
)
def test_a_hostile_path_writes_nothing(tmp_path: Path, write: Write, path: str) -> None:
    root = tmp_path / "Data"
    root.mkdir()
    with pytest.raises(BadInput):
        write(str(root), path, Kind.FILE, [b"x"], WHEN)
    with pytest.raises(BadInput):
        remove_file(str(root), path)
    assert snapshot(tmp_path) == {"Data": b""}


@both_writers
@pytest.mark.parametrize("depth", ["link/x", "link/sub/x", "sub/link/x"])
def test_a_link_on_the_way_is_refused_by_name(tmp_path: Path, write: Write, depth: str) -> None:
    root, outside = tmp_path / "Data", tmp_path / "outside"
    (root / "sub").mkdir(parents=True)
    outside.mkdir()
    (root / "link").symlink_to(outside)
    (root / "sub" / "link").symlink_to(outside)
    with pytest.raises(BadInput, match="link is a symbolic link"):
        write(str(root), depth, Kind.FILE, [b"x"], WHEN)
    assert list(outside.iterdir()) == []


def test_a_link_planted_by_the_same_clone_leads_nowhere(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    tree = FreshTree(str(tmp_path / "Data"))
    tree.write("evil", Kind.SYMLINK, [os.fsencode(outside)], WHEN)
    with pytest.raises(BadInput, match="symbolic link"):
        tree.write("evil/x", Kind.FILE, [b"x"], WHEN)
    tree.write("folder/a", Kind.FILE, [b"a"], WHEN)
    with pytest.raises(Conflict):
        tree.write("folder", Kind.SYMLINK, [os.fsencode(outside)], WHEN)
    with pytest.raises(Conflict):
        tree.write("evil", Kind.FILE, [b"x"], WHEN)
    assert list(outside.iterdir()) == []


def test_a_link_at_the_end_is_replaced_and_not_written_through(tmp_path: Path) -> None:
    (tmp_path / "victim").write_bytes(b"precious")
    root = tmp_path / "Data"
    root.mkdir()
    (root / "a").symlink_to("../victim")
    write_file(str(root), "a", Kind.FILE, [b"new"], WHEN)
    assert not (root / "a").is_symlink()
    assert (root / "a").read_bytes() == b"new"
    assert (tmp_path / "victim").read_bytes() == b"precious"


@both_writers
def test_a_file_on_the_way_is_refused_by_name(tmp_path: Path, write: Write) -> None:
    (tmp_path / "a").write_bytes(b"file")
    with pytest.raises(BadInput, match="a is a file, not a folder"):
        write(str(tmp_path), "a/b", Kind.FILE, [b"x"], WHEN)
    assert snapshot(tmp_path) == {"a": b"file"}


def test_a_folder_or_a_pipe_in_its_place_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "x").write_bytes(b"x")
    os.mkfifo(tmp_path / "pipe")
    for path in ("folder", "pipe"):
        with pytest.raises(BadInput, match="not replaced"):
            write_file(str(tmp_path), path, Kind.FILE, [b"new"], WHEN)
        assert not remove_file(str(tmp_path), path)
    assert (tmp_path / "folder" / "x").read_bytes() == b"x"
    assert stat.S_ISFIFO(os.lstat(tmp_path / "pipe").st_mode)


@both_writers
@pytest.mark.parametrize("target", [b"", b"a\0b"])
def test_a_link_target_no_disk_can_hold_is_refused(tmp_path: Path, write: Write, target: bytes) -> None:
    with pytest.raises(BadInput, match="target"):
        write(str(tmp_path), "sub/link", Kind.SYMLINK, [target], WHEN)
    assert not [path for path in snapshot(tmp_path) if path != "sub"]


@both_writers
def test_a_link_s_target_keeps_its_bytes(tmp_path: Path, write: Write) -> None:
    write(str(tmp_path), "link", Kind.SYMLINK, [b"no/\xff", b"where"], WHEN)
    assert os.readlink(os.fsencode(tmp_path / "link")) == b"no/\xffwhere"


# -- replacing -----------------------------------------------------------------------------------------------


def test_the_permissions_of_a_replaced_file_stay_but_for_the_executable_bit(tmp_path: Path) -> None:
    place = tmp_path / "private"
    place.write_bytes(b"old")
    place.chmod(0o600)
    for kind, mode in ((Kind.FILE, 0o600), (Kind.EXECUTABLE, 0o700), (Kind.FILE, 0o600)):
        write_file(str(tmp_path), "private", kind, [b"new"], WHEN)
        assert stat.S_IMODE(place.stat().st_mode) == mode


def test_a_kind_changes_in_place_and_back(tmp_path: Path) -> None:
    for kind in (Kind.FILE, Kind.SYMLINK, Kind.EXECUTABLE, Kind.SYMLINK, Kind.FILE):
        write_file(str(tmp_path), "a", kind, [b"x"], WHEN)
        row = found.look(str(tmp_path), "a")
        assert row is not None
        assert row.kind == kind


def test_a_replacement_is_durable_before_it_returns(tmp_path: Path) -> None:
    steps: list[tuple[str, str]] = []
    with files.watch(lambda step, path, data: steps.append((step, os.path.relpath(path, tmp_path)))):
        write_file(str(tmp_path), "a/b/c", Kind.FILE, [b"x"], WHEN, durable=True)
    names = [step for step, _ in steps]
    assert names.index("write") < names.index("sync") < names.index("rename") < names.index("sync_dir")
    assert [path for step, path in steps if step == "sync_dir"] == ["a/b", "a", "."]


@pytest.mark.parametrize("path", ["old", "new/deep/a"])
@pytest.mark.parametrize(
    ("kind", "step"),
    [
        (Kind.FILE, "write"),
        (Kind.FILE, "sync"),
        (Kind.FILE, "rename"),
        (Kind.SYMLINK, "link"),
        (Kind.SYMLINK, "rename"),
    ],
)
def test_whatever_step_fails_the_old_file_stands_and_nothing_half_made_is_left(
    tmp_path: Path, path: str, kind: Kind, step: str
) -> None:
    (tmp_path / "old").write_bytes(b"old")

    def refuse(done: str, path: str, data: bytes) -> None:
        if done == step:
            raise files.disk_error(OSError(errno.ENOSPC, "No space left on device"), "could not write", path)

    with files.watch(refuse), pytest.raises(DiskTrouble, match="No space left"):
        write_file(str(tmp_path), path, kind, [b"x"], WHEN, durable=True)
    assert snapshot(tmp_path) == {"old": b"old"}


@both_writers
def test_a_parent_that_cannot_be_written_is_disk_trouble(
    tmp_path: Path, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(os, "mkdir", refuse)
    with pytest.raises(DiskTrouble, match="Permission denied"):
        write(str(tmp_path), "sub/a", Kind.FILE, [b"x"], WHEN)
    assert snapshot(tmp_path) == {}


def test_a_full_disk_leaves_no_half_of_a_fresh_file(tmp_path: Path) -> None:
    def refuse(done: str, path: str, data: bytes) -> None:
        if data == b"two":
            raise files.disk_error(OSError(errno.ENOSPC, "No space left on device"), "could not write", path)

    with files.watch(refuse), pytest.raises(DiskTrouble, match="No space left"):
        FreshTree(str(tmp_path)).write("a", Kind.FILE, [b"one", b"two"], WHEN)
    assert snapshot(tmp_path) == {}


def test_pieces_that_fail_half_way_leave_the_old_file(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"old")

    def pieces() -> Iterator[bytes]:
        yield b"half"
        raise MemsyncError("damaged")

    for path in ("a", "b/c"):
        with pytest.raises(MemsyncError, match="damaged"):
            write_file(str(tmp_path), path, Kind.FILE, pieces(), WHEN)
    assert snapshot(tmp_path) == {"a": b"old"}
    with pytest.raises(MemsyncError, match="damaged"):
        FreshTree(str(tmp_path), shared=True).write("c", Kind.FILE, pieces(), WHEN)
    assert snapshot(tmp_path) == {"a": b"old"}


def test_the_key_of_a_file_that_was_replaced_at_once_fits_nothing_on_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = files.rename

    def rename_then_replace(source: str, target: str, *, at: int | None = None) -> None:
        real(source, target)
        os.rename(target, target + ".aside")
        Path(target).write_bytes(b"other")

    monkeypatch.setattr(files, "rename", rename_then_replace)
    key = write_file(str(tmp_path), "a", Kind.FILE, [b"mine!"], WHEN)
    assert found.stat_key(os.lstat(tmp_path / "a")) != key


# -- removing ------------------------------------------------------------------------------------------------


def test_a_removal_takes_the_folders_it_empties_and_no_more(tmp_path: Path) -> None:
    root = tmp_path / "Data"
    root.mkdir()
    for path in ("a/b/c/x", "a/y", "z"):
        write_file(str(root), path, Kind.FILE, [b"1"], WHEN)
    assert remove_file(str(root), "a/b/c/x")
    assert snapshot(root) == {"a": b"", "a/y": b"1", "z": b"1"}
    assert not remove_file(str(root), "a/b/c/x")
    assert remove_file(str(root), "a/y")
    assert remove_file(str(root), "z")
    assert root.is_dir()


def test_a_removal_takes_a_link_and_not_what_it_leads_to(tmp_path: Path) -> None:
    root, outside = tmp_path / "Data", tmp_path / "outside"
    root.mkdir()
    outside.mkdir()
    (outside / "x").write_bytes(b"precious")
    (root / "link").symlink_to(outside)
    assert not remove_file(str(root), "link/x")
    assert remove_file(str(root), "link")
    assert snapshot(outside) == {"x": b"precious"}


def test_half_written_files_are_swept_and_nothing_else(tmp_path: Path) -> None:
    root, outside = tmp_path / "Data", tmp_path / "outside"
    half = files.TEMPORARY_PREFIX + "12"
    for folder in (root, root / "sub", outside):
        folder.mkdir(parents=True)
        (folder / half).write_bytes(b"half")
        (folder / "whole").write_bytes(b"whole")
    (root / "link").symlink_to(outside)
    assert sweep_temporaries(str(root), ["", "sub", "link", "gone", "whole"]) == 2
    assert not (root / half).exists()
    assert (outside / half).exists()
    assert (root / "sub" / "whole").exists()


# -- a fresh folder ------------------------------------------------------------------------------------------

names = st.lists(st.sampled_from(["a", "b", "c", "d.txt"]), min_size=1, max_size=3).map("/".join)
entry = st.tuples(
    st.sampled_from(list(Kind)), st.binary(min_size=1, max_size=20).filter(lambda b: 0 not in b)
)


@given(st.dictionaries(names, entry, max_size=10))
@settings(deadline=None)
def test_a_fresh_tree_holds_what_was_written_as_write_file_would(
    entries: dict[str, tuple[Kind, bytes]],
) -> None:
    fits = {p: e for p, e in entries.items() if not any(o.startswith(p + "/") for o in entries)}
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as other:
        tree = FreshTree(one)
        keys = {path: tree.write(path, kind, [content], WHEN) for path, (kind, content) in fits.items()}
        for path, (kind, content) in fits.items():
            write_file(other, path, kind, [content], WHEN)
        assert snapshot(Path(one)) == snapshot(Path(other))
        rows = {row.path: row for row in scan(one, Ignore()).files}
        assert {path: row.key for path, row in rows.items()} == keys
        assert {path: row.kind for path, row in rows.items()} == {
            path: kind for path, (kind, _) in fits.items()
        }
        for path in fits:
            assert remove_file(other, path)
        assert snapshot(Path(other)) == {}


def test_a_fresh_tree_begins_in_an_empty_folder_unless_it_is_shared(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"x")
    with pytest.raises(BadInput, match="not empty"):
        FreshTree(str(tmp_path))
    FreshTree(str(tmp_path), shared=True).write("a/b", Kind.FILE, [b"1"], WHEN)
    FreshTree(str(tmp_path), shared=True).write("a/c", Kind.FILE, [b"2"], WHEN)
    with pytest.raises(Conflict, match="there already"):
        FreshTree(str(tmp_path), shared=True).write("x", Kind.FILE, [b"new"], WHEN)
    assert snapshot(tmp_path) == {"x": b"x", "a": b"", "a/b": b"1", "a/c": b"2"}


# -- a disk that takes `a` and `A` for one name --------------------------------------------------------------


@pytest.fixture
def folding_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let lstat, create and mkdir find an entry whatever the case of its last component."""
    lstat, create, mkdir = os.lstat, files.create, os.mkdir

    def spelled(place: Any) -> Any:
        if isinstance(place, bytes):
            return place
        folder, name = os.path.split(place)
        there = os.listdir(folder) if os.path.isdir(folder) else []
        if name in there:
            return place
        return os.path.join(folder, next((o for o in there if o.casefold() == name.casefold()), name))

    monkeypatch.setattr(os, "lstat", lambda place, **more: lstat(place if more else spelled(place), **more))
    monkeypatch.setattr(os, "mkdir", lambda place, *more: mkdir(spelled(place), *more))
    monkeypatch.setattr(files, "create", lambda place, mode: create(spelled(place), mode))


@both_writers
@pytest.mark.parametrize(
    ("there", "path", "named"),
    [
        ("Rules.txt", "rules.txt", "Rules.txt"),
        ("Core/a", "core/b", "'Core'"),
        ("x/Core/a", "x/CORE/a", "'x/Core'"),
    ],
)
@pytest.mark.usefixtures("folding_disk")
def test_a_name_that_differs_only_in_case_is_not_overwritten(
    tmp_path: Path, write: Write, there: str, path: str, named: str
) -> None:
    write_file(str(tmp_path), there, Kind.FILE, [b"first"], WHEN)
    before = snapshot(tmp_path)
    with pytest.raises(Conflict, match=named) as caught:
        write(str(tmp_path), path, Kind.FILE, [b"second"], WHEN)
    assert caught.value.code == "name_collision"
    assert snapshot(tmp_path) == before
    assert not remove_file(str(tmp_path), path)
    assert snapshot(tmp_path) == before


@pytest.mark.usefixtures("folding_disk")
def test_a_folding_disk_still_replaces_a_name_spelled_as_it_is(tmp_path: Path) -> None:
    for content in (b"first", b"second"):
        write_file(str(tmp_path), "Core/Rules.txt", Kind.FILE, [content], WHEN)
    assert (tmp_path / "Core" / "Rules.txt").read_bytes() == b"second"
    assert remove_file(str(tmp_path), "Core/Rules.txt")


def test_two_names_of_one_file_are_no_collision(tmp_path: Path) -> None:
    (tmp_path / "rules").write_bytes(b"x")
    os.link(tmp_path / "rules", tmp_path / "RULES")
    write_file(str(tmp_path), "rules", Kind.FILE, [b"new"], WHEN)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"rules": b"new", "RULES": b"x"}
