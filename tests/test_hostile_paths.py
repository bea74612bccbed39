"""A version that names what is no path, an enemy's or another system's: the file stays out of `Data/` and of the
mirror, nobody deletes it unasked, and everything else goes on."""

from __future__ import annotations

import errno
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from memstore import files
from memstore.actions import behind
from memstore.ids import ContentId
from memstore.manifest.version import Change, ChangeKind, Entry, Kind, Meta
from memstore.objects.encoding import encode
from memstore.objects.record import RecordKind
from memstore.worktree import names
from tests.command_line import posix, run
from tests.drive_emulator import DriveEmulator
from tests.drive_memory import DriveMemory, no_waiting
from tests.folder_place import Place, head_of, tree, without_waiting

EVIL = b"evil\n"
HOSTILE = (
    "../../../pwn", "/abs/x", ".memsync/x", "a/../b", "a\0b", "x" * 300, "q" * 60_000, "/".join(["y"] * 2100),
)  # fmt: skip


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    without_waiting(monkeypatch)


def brings(place: Place | DriveMemory, paths: Sequence[str]) -> str:
    """A version that adds these paths, made as an enemy would: past all that looks at names."""
    id = ContentId.of(EVIL)
    with place.open() as store, store.repository.writing() as writer:
        writer.add(RecordKind.CONTENT, id, len(EVIL), encode(EVIL))
        changes = [
            Change(path, ChangeKind.ADD, Entry(path, Kind.FILE, len(EVIL), id, 1_000))
            for path in sorted(paths)
        ]
        return str(writer.add_version(changes, meta=Meta(note="evil")).id)


def as_on_windows(patch: pytest.MonkeyPatch) -> None:
    """What names may be is asked as Windows asks it."""
    for look in (names.check_path, names.problem):
        patch.setattr(look, "__kwdefaults__", {"windows": True})


@pytest.fixture
def two(tmp_path: Path) -> tuple[Place, Place]:
    """A workspace, and a second one that sent the enemy's version without its mirror."""
    first = Place(tmp_path)
    first.commit({"a.txt": b"a\n"})
    first.push()
    return first, first.clone("second")


def hold(place: Place) -> set[str]:
    """What HEAD holds."""
    with place.open() as store:
        return {row.path for row in store.ls()}


def test_paths_that_are_none_lock_nothing_and_nobody_deletes_them(
    two: tuple[Place, Place], monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = two
    evil = brings(second, [*HOSTILE, "ok.txt"])
    second.push(mirror=False)
    monkeypatch.chdir(first.root)
    assert run("pull").exit_code == 1
    with first.open() as store:
        assert store.status().unwritten == tuple(sorted(HOSTILE))
        assert set(behind.load(store.repository)) == set(HOSTILE)
    for args in (
        ("status",),
        ("commit",),
        ("diff",),
        ("log",),
        ("ls",),
        ("show", evil),
        ("verify",),
        ("gc",),
    ):
        assert run(*args).exit_code == 0, args
    (first.root / ".memsync/behind").unlink()  # as `repair` puts a damaged one aside
    first.commit({"new.txt": b"new\n"})
    assert hold(first) == {*HOSTILE, "ok.txt", "a.txt", "new.txt"}
    assert run("restore", ".", "--at", evil, "--to", str(first.base / "out")).exit_code == 1
    assert tree(first.base / "out") == {"a.txt": b"a\n", "ok.txt": EVIL}
    assert run("restore", "ok.txt", "--at", evil).exit_code == 0
    assert tree(first.data) == {"a.txt": b"a\n", "ok.txt": EVIL, "new.txt": b"new\n"}
    third = first.clone("third")
    assert tree(third.data) == {"a.txt": b"a\n", "ok.txt": EVIL}
    assert not list(first.base.parent.rglob("*pwn*"))


def test_the_mirror_gets_all_but_what_is_no_path_and_says_so(two: tuple[Place, Place]) -> None:
    first, _ = two
    before = head_of(first)
    brings(first, [*HOSTILE, "ok.txt"])
    report = first.push()
    assert (report.status, report.exit_code, report.mirror.failed) == ("success", 0, 0)
    (told,) = report.warnings
    assert "8 files can't lie in the mirror" in told and "../../../pwn ('..' leads to another folder)" in told
    assert first.mirror == {"a.txt": b"a\n", "ok.txt": EVIL}
    first.commit({"new.txt": b"new\n"})
    assert first.push().mirror.created == 1
    assert first.push().status == "nothing"
    with first.open() as store:
        store.restore(["."], at=before, exact=True)
    assert hold(first) == {"a.txt"}
    assert first.push().warnings == ()
    assert set(first.mirror) - {"a.txt"} == {path for path in first.mirror if path.startswith("Archive/")}


def test_an_undo_takes_back_a_version_that_names_no_paths(two: tuple[Place, Place]) -> None:
    first, second = two
    brings(second, HOSTILE)
    second.push(mirror=False)
    with first.open() as store:
        store.pull()
        assert store.undo().undone is not None
        assert store.status().unwritten == store.status().unremoved == ()
        assert store.status().clean
    assert hold(first) == {"a.txt"}
    assert first.push().warnings == ()


@pytest.mark.parametrize(
    "name", ["../../out.txt", "/abs.txt", "..", "Archive/../../../out.txt", ".memsync/x", "z" * 300]
)
def test_an_archive_reference_that_is_no_path_holds_nothing_up(two: tuple[Place, Place], name: str) -> None:
    first, _ = two
    id = ContentId.of(EVIL)
    with first.open() as store, store.repository.writing() as writer:
        writer.add(RecordKind.CONTENT, id, len(EVIL), encode(EVIL))
        entry = Entry("a.txt", Kind.FILE, len(EVIL), id, 1_000)
        writer.add_version([Change("a.txt", ChangeKind.REPLACE, entry, name)], meta=Meta())
    before = tree(first.base.parent)
    first.write({"a.txt": EVIL})
    report = first.push()
    assert (report.status, report.mirror.failed, report.warnings) == ("success", 0, ())
    assert sorted(first.mirror.values()) == [b"a\n", EVIL]
    outside = {
        path for path in tree(first.base.parent).keys() - before.keys() if "/remote/" not in f"/{path}"
    }
    assert not [path for path in outside if path.endswith(("out.txt", "abs.txt"))]


@posix
def test_a_name_that_this_system_can_t_hold_stays_out_of_a_folder_and_lies_on_drive(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = Place(tmp_path)
    first.commit({"a:b.txt": b"from Linux\n"})
    first.push(mirror=False)
    with monkeypatch.context() as windows:
        as_on_windows(windows)
        second = first.clone("second")
        second.commit({"new.txt": b"new\n"})
        report = second.push()
        assert report.status == "success"
        assert len(report.warnings) == 1 and "a:b.txt (Windows allows no ':' in a name)" in report.warnings[0]
        assert second.mirror == {"new.txt": b"new\n"}
    assert hold(second) == {"a:b.txt", "new.txt"}


@posix
def test_drive_gets_every_name_from_every_system_and_none_that_is_no_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with DriveEmulator() as emulator, no_waiting(emulator):
        place = DriveMemory(tmp_path, emulator)
        brings(place, ["a:b.txt", *HOSTILE])
        as_on_windows(monkeypatch)
        report = place.push()
        assert (report.status, report.mirror.created) == ("success", 1)
        assert len(report.warnings) == 1 and "8 files can't lie in the mirror" in report.warnings[0]
        assert place.push().status == "nothing"


@posix
def test_a_file_far_down_is_committed_mirrored_and_cloned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = Place(tmp_path)
    first.data.mkdir(exist_ok=True)
    monkeypatch.chdir(first.data)
    for _ in range(1_050):
        os.mkdir("d")
        os.chdir("d")
    Path("far.txt").write_bytes(b"far\n")
    monkeypatch.chdir(tmp_path)
    path = "d/" * 1_050 + "far.txt"
    try:
        assert first.commit() is not None
        assert first.push().mirror.created == 1
        assert (first.remote / path).read_bytes() == b"far\n"
        assert (first.clone("second").data / path).read_bytes() == b"far\n"
    finally:  # what tidies up after the tests goes down by recursion
        for folder in (first.data, first.remote, tmp_path / "second/Data"):
            subprocess.run(["rm", "-rf", folder / "d"], check=True)


@posix
@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENAMETOOLONG])
def test_a_name_that_the_mirror_s_disk_can_t_hold_keeps_only_that_file_out(
    two: tuple[Place, Place], monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    first, _ = two
    name_it = files.rename_new

    def refuses(source: str, target: str, **how: Any) -> None:
        if target.endswith("a:b.txt") and str(first.remote) in target:
            error = OSError(number, os.strerror(number))
            raise files.naming_error(error, "could not name", target) from error
        name_it(source, target, **how)

    monkeypatch.setattr(files, "rename_new", refuses)
    first.commit({"a:b.txt": b"b\n", "c.txt": b"c\n", "0.txt": b"0\n"})
    report = first.push()
    assert (report.status, report.mirror.created, report.mirror.failed) == ("success", 2, 1)
    (told,) = report.warnings
    assert "the mirror's disk can't hold that name: a:b.txt" in told
    assert first.mirror == {"a.txt": b"a\n", "c.txt": b"c\n", "0.txt": b"0\n"}
    first.commit({"d.txt": b"d\n"})
    assert first.push().mirror.created == 1
