"""What is particular to a folder remote: links, strangers' files, full disks, and a cut at any step."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from memstore import files
from memstore.errors import (
    BadInput,
    Conflict,
    DamagedData,
    MemsyncError,
    RemoteFull,
    RemoteMissing,
    RemoteTrouble,
)
from memstore.remotes.base import BytesSource, MirrorFile
from memstore.remotes.folder import FolderRemote

PACK = "packs/" + "ab" * 32
HEAD = "heads/" + "cd" * 32
MODIFIED = 1_745_416_922_123
posix_only = pytest.mark.skipif(os.name != "posix", reason="needs symlinks")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "remote"


@pytest.fixture
def remote(root: Path) -> FolderRemote:
    made = FolderRemote(str(root))
    made.prepare(create=True)
    return made


def tree(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def seen(remote: FolderRemote, path: str) -> MirrorFile:
    found = remote.look([(path, None)])[0]
    assert found is not None
    return found


def test_the_layout_is_the_one_that_the_format_describes(remote: FolderRemote, root: Path) -> None:
    remote.create("format", BytesSource(b"f"))
    remote.create(PACK, BytesSource(b"p"))
    remote.create(HEAD, BytesSource(b"h"))
    remote.put("Core/Rules.txt", BytesSource(b"r"), {}, MODIFIED)
    assert tree(root) == {
        ".memsync/format": b"f",
        f".memsync/{PACK}": b"p",
        f".memsync/{HEAD}": b"h",
        "Core/Rules.txt": b"r",
    }
    assert remote.requests == 0
    assert remote.bytes_sent == 4


def test_a_listing_leaves_out_temporaries_strangers_folders_and_links(
    remote: FolderRemote, root: Path
) -> None:
    remote.create(PACK, BytesSource(b"p"))
    packs = root / ".memsync" / "packs"
    (packs / (files.TEMPORARY_PREFIX + "00")).write_bytes(b"half")
    (packs / "desktop.ini").write_bytes(b"x")
    (packs / ("ab" * 32 + " (conflicted copy)")).write_bytes(b"x")
    (packs / ("ee" * 32)).mkdir()
    if os.name == "posix":
        (packs / ("ff" * 32)).symlink_to("/etc/hostname")
    assert [row.name for row in remote.list("packs/")] == [PACK]


def test_a_disk_that_is_not_mounted_is_missing_and_never_made_anew(root: Path) -> None:
    remote = FolderRemote(str(root))
    for verb in (
        lambda: remote.prepare(create=False),
        lambda: remote.list("heads/"),
        lambda: remote.create(PACK, BytesSource(b"x")),
        lambda: remote.put("a.txt", BytesSource(b"x"), {}, MODIFIED),
        lambda: remote.look([("a.txt", None)]),
        lambda: list(remote.walk()),
    ):
        with pytest.raises(RemoteMissing) as caught:
            verb()
        assert "mount" in caught.value.hint
        assert caught.value.exit_code == 5
    assert not root.exists()


def test_an_empty_mount_point_is_missing_not_empty(root: Path) -> None:
    root.mkdir()
    with pytest.raises(RemoteMissing):
        FolderRemote(str(root)).list("heads/")


def test_a_damaged_file_under_the_same_name_is_reported_not_replaced(
    remote: FolderRemote, root: Path
) -> None:
    (root / ".memsync" / PACK).write_bytes(b"tor")
    with pytest.raises(DamagedData, match="other bytes"):
        remote.create(PACK, BytesSource(b"torn"))
    assert (root / ".memsync" / PACK).read_bytes() == b"tor"


def test_put_never_replaces_what_is_there(remote: FolderRemote, root: Path) -> None:
    (root / "mine.txt").write_bytes(b"a person's")
    with pytest.raises(Conflict):
        remote.put("mine.txt", BytesSource(b"memsync's"), {}, MODIFIED)
    assert remote.put("mine.txt", BytesSource(b"a person's"), {}, MODIFIED).size == 10
    assert tree(root) == {"mine.txt": b"a person's"}


def test_move_never_replaces_what_is_there(remote: FolderRemote, root: Path) -> None:
    made = remote.put("a.txt", BytesSource(b"a"), {}, MODIFIED)
    remote.put("b.txt", BytesSource(b"b"), {}, MODIFIED)
    with pytest.raises(Conflict):
        remote.move(made, "b.txt", {})
    assert tree(root) == {"a.txt": b"a", "b.txt": b"b"}


def test_a_folder_where_a_file_should_be_and_the_other_way_round_is_a_conflict(
    remote: FolderRemote, root: Path
) -> None:
    (root / "thing").mkdir()
    (root / "file").write_bytes(b"x")
    for path in ("thing", "file/below.txt"):
        with pytest.raises(Conflict):
            remote.put(path, BytesSource(b"y"), {}, MODIFIED)


def test_an_edit_that_keeps_the_size_and_puts_the_time_back_is_seen(remote: FolderRemote, root: Path) -> None:
    made = remote.put("a.txt", BytesSource(b"ours"), {}, MODIFIED)
    other = root / "other"
    other.write_bytes(b"mine")
    os.utime(other, ns=(MODIFIED * 1_000_000, MODIFIED * 1_000_000))
    other.replace(root / "a.txt")
    with pytest.raises(Conflict):
        remote.update(made, BytesSource(b"more"), {}, MODIFIED)
    assert (root / "a.txt").read_bytes() == b"mine"


def test_a_change_between_the_look_and_the_rename_is_not_overwritten(
    remote: FolderRemote, root: Path
) -> None:
    made = remote.put("a.txt", BytesSource(b"ours"), {}, MODIFIED)

    def meanwhile(step: str, path: str, data: bytes) -> None:
        if step == "sync" and files.TEMPORARY_PREFIX in path:
            (root / "a.txt").write_bytes(b"a person was quicker")

    with files.watch(meanwhile), pytest.raises(Conflict):
        remote.update(made, BytesSource(b"more"), {}, MODIFIED)
    assert tree(root) == {"a.txt": b"a person was quicker"}


def test_moves_and_removals_leave_no_empty_folders_and_take_no_full_ones(
    remote: FolderRemote, root: Path
) -> None:
    remote.move(remote.put("a/b/c.txt", BytesSource(b"c"), {}, MODIFIED), "Archive/a/b/c_x.txt", {})
    assert not (root / "a").exists()
    remote.put("d/keep.txt", BytesSource(b"k"), {}, MODIFIED)
    remote.remove(remote.put("d/e/f.txt", BytesSource(b"f"), {}, MODIFIED))
    assert not (root / "d" / "e").exists()
    assert (root / "d" / "keep.txt").exists()


def test_a_move_to_where_it_is_changes_nothing(remote: FolderRemote, root: Path) -> None:
    made = remote.put("a/b.txt", BytesSource(b"b"), {}, MODIFIED)
    remote.move(made, "a/b.txt", {})
    assert tree(root) == {"a/b.txt": b"b"}


def test_a_move_cut_between_its_two_halves_is_finished(remote: FolderRemote, root: Path) -> None:
    made = remote.put("a.txt", BytesSource(b"a"), {}, MODIFIED)
    (root / "Archive").mkdir()
    os.link(root / "a.txt", root / "Archive" / "a.txt")
    remote.move(made, "Archive/a.txt", {})
    assert tree(root) == {"Archive/a.txt": b"a"}


@posix_only
def test_no_link_is_followed_out_of_the_mirror(remote: FolderRemote, root: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret.txt").write_bytes(b"secret")
    (root / "Core").symlink_to(outside)
    (root / "link.txt").symlink_to(outside / "secret.txt")
    assert remote.look([("Core/secret.txt", None), ("link.txt", None)]) == [None, None]
    assert not list(remote.walk())
    for path in ("Core/new.txt", "Core/deep/new.txt", "link.txt"):
        with pytest.raises(Conflict):
            remote.put(path, BytesSource(b"x"), {}, MODIFIED)
    for handle in ("Core/secret.txt", "link.txt"):
        with pytest.raises(RemoteMissing):
            remote.fetch(handle)
    made = remote.put("real.txt", BytesSource(b"r"), {}, MODIFIED)
    with pytest.raises(Conflict):
        remote.move(made, "Core/real.txt", {})
    assert tree(outside) == {"secret.txt": b"secret"}


@posix_only
def test_no_link_is_followed_in_the_store_half(remote: FolderRemote, root: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / ("ab" * 32)).write_bytes(b"elsewhere")
    (root / ".memsync" / "packs").rmdir()
    (root / ".memsync" / "packs").symlink_to(outside)
    assert not remote.list("packs/")
    with pytest.raises(RemoteMissing):
        remote.read(PACK)
    with pytest.raises(Conflict):
        remote.create("packs/" + "cd" * 32, BytesSource(b"x"))
    assert len(tree(outside)) == 1


# -- trouble -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("number", "kind", "retryable"),
    [
        (errno.ENOSPC, RemoteFull, False),
        (errno.EDQUOT, RemoteFull, False),
        (errno.EIO, RemoteTrouble, True),
        (errno.ESTALE, RemoteTrouble, True),
        (errno.EROFS, RemoteTrouble, False),
        (errno.EACCES, RemoteTrouble, False),
        (errno.ENAMETOOLONG, BadInput, False),
    ],
)
@pytest.mark.parametrize("step", ["write", "sync", "rename", "sync_dir"])
def test_what_the_disk_says_becomes_trouble_with_a_mend(
    remote: FolderRemote, root: Path, number: int, kind: type[MemsyncError], retryable: bool, step: str
) -> None:
    def refuse(now: str, path: str, data: bytes) -> None:
        if now == step:
            raise OSError(number, os.strerror(number), path)

    with files.watch(refuse), pytest.raises(kind) as caught:
        remote.create(PACK, BytesSource(b"x"))
    assert caught.value.retryable is retryable
    assert caught.value.hint
    assert str(root) in caught.value.message
    assert not [name for name in tree(root) if files.TEMPORARY_PREFIX in name]
    remote.create(PACK, BytesSource(b"x"))
    assert remote.read(PACK) == b"x"


@posix_only
@pytest.mark.skipif(hasattr(os, "geteuid") and os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_permission_is_trouble_with_a_mend(remote: FolderRemote, root: Path) -> None:
    (root / ".memsync" / "packs").chmod(0o500)
    with pytest.raises(RemoteTrouble, match="could not"):
        remote.create(PACK, BytesSource(b"x"))
    (root / ".memsync" / "packs").chmod(0o700)


class Cut(BaseException):
    """The process dies here."""


Verb = Callable[[FolderRemote], object]
VERBS: dict[str, Verb] = {
    "create": lambda remote: remote.create(PACK, BytesSource(b"pack" * 1000)),
    "delete": lambda remote: remote.delete(HEAD),
    "put": lambda remote: remote.put("new/file.txt", BytesSource(b"new"), {}, MODIFIED),
    "update": lambda remote: remote.update(
        seen(remote, "Core/Rules.txt"), BytesSource(b"longer rules"), {}, MODIFIED
    ),
    "move": lambda remote: remote.move(seen(remote, "Core/Rules.txt"), "Archive/Core/Rules.txt", {}),
    "remove": lambda remote: remote.remove(seen(remote, "Core/Rules.txt")),
}


def prepared(root: Path) -> FolderRemote:
    remote = FolderRemote(str(root))
    remote.prepare(create=True)
    remote.create(HEAD, BytesSource(b"head"))
    remote.put("Core/Rules.txt", BytesSource(b"rules"), {}, MODIFIED)
    return remote


@pytest.mark.parametrize("verb", VERBS)
def test_a_verb_cut_at_any_step_shows_the_old_or_the_new_and_can_be_repeated(
    verb: str, tmp_path: Path
) -> None:
    undisturbed = prepared(tmp_path / "whole")
    before = tree(tmp_path / "whole")
    steps: list[str] = []
    with files.watch(lambda step, path, data: steps.append(step)):
        VERBS[verb](undisturbed)
    after = tree(tmp_path / "whole")
    assert steps
    for number in range(len(steps)):
        root = tmp_path / f"cut{number}"
        remote = prepared(root)
        count = 0

        def cut(step: str, path: str, data: bytes, last: int = number) -> None:
            nonlocal count
            count += 1
            if count > last:
                raise Cut

        with files.watch(cut), pytest.raises(Cut):
            VERBS[verb](remote)
        left = {name: body for name, body in tree(root).items() if files.TEMPORARY_PREFIX not in name}
        assert left in (before, after)
        if left == before or verb in ("create", "put", "delete"):
            VERBS[verb](FolderRemote(str(root)))
        whole = {name: body for name, body in tree(root).items() if files.TEMPORARY_PREFIX not in name}
        assert whole == after


def test_half_written_files_go_when_nobody_can_be_at_them_any_more(remote: FolderRemote, root: Path) -> None:
    old, young = files.TEMPORARY_PREFIX + "00", files.TEMPORARY_PREFIX + "11"
    for folder in (root, root / ".memsync" / "packs", root / "Core"):
        folder.mkdir(exist_ok=True)
        for name in (old, young, "kept.txt"):
            (folder / name).write_bytes(b"half")
        os.utime(folder / old, (1_745_416_922, 1_745_416_922))
        os.utime(folder / "kept.txt", (1_745_416_922, 1_745_416_922))
    before = set(tree(root))
    remote.sweep()
    gone = before - set(tree(root))
    assert len(gone) == 3 and all(old in name for name in gone)
