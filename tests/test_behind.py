"""What of HEAD can't be written into `Data/` is nobody's deletion: commits leave it alone, later commands try it
again, and no other device loses it."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from memstore import files
from memstore.actions import behind, checkout, fill
from memstore.actions.checkout import Step
from memstore.errors import DiskTrouble
from memstore.repository import Repository
from memstore.worktree import materialise
from tests.command_line import posix, run
from tests.folder_place import Death, Place, head_of, put, tree, without_waiting


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    without_waiting(monkeypatch)


@pytest.fixture
def two(tmp_path: Path) -> tuple[Place, Place]:
    """Two workspaces at the same version."""
    first = Place(tmp_path)
    first.commit({"a.txt": b"a\n", "old.txt": b"old\n", "Core/b.txt": b"b\n"})
    first.push()
    return first, first.clone("second")


@contextmanager
def refused(*names: str) -> Iterator[None]:
    """A disk that takes no file of these names, nor lets one go."""

    def refuse(path: str, name: str) -> bool:
        return path.replace("\\", "/").endswith("/" + name)

    write, remove = materialise.write_file, materialise.remove_file
    with pytest.MonkeyPatch.context() as patch:

        def write_file(root: str, path: str, *rest: object, **more: object) -> object:
            if any(refuse("/" + path, name) for name in names):
                raise DiskTrouble(f"could not write {path}", hint="look at that disk")
            return write(root, path, *rest, **more)  # type: ignore[arg-type]

        def remove_file(root: str, path: str) -> bool:
            if any(refuse("/" + path, name) for name in names):
                raise DiskTrouble(f"could not remove {path}", hint="look at that disk")
            return remove(root, path)

        patch.setattr(materialise, "write_file", write_file)
        patch.setattr(materialise, "remove_file", remove_file)
        yield


def goes_on(place: Place) -> dict[str, bytes]:
    """A new file, a changed one and a deleted one, pushed; what the place holds then."""
    place.commit({"new.txt": b"new\n", "a.txt": b"a\nmore\n", "old.txt": None})
    place.push()
    return tree(place.data)


def failing(code: int, *args: str) -> str:
    """What a command that ends with that code says."""
    result = run(*args)
    assert result.exit_code == code, result.output
    return result.stderr


CHANGED = ("new.txt", "a.txt", "old.txt")


def test_what_a_pull_could_not_write_is_no_change_and_comes_when_the_disk_takes_it(
    two: tuple[Place, Place],
) -> None:
    first, second = two
    whole = goes_on(first)
    with refused(*CHANGED):
        with second.open() as store:
            report = store.pull()
            assert len(report.warnings) == 3
            assert report.changes == ()
            status = store.status()
            assert status.clean
            assert (status.unwritten, status.unremoved) == (("a.txt", "new.txt"), ("old.txt",))
        assert second.commit({"mine.txt": b"mine\n"}) is not None
        second.push()
        assert tree(second.data) == {
            "a.txt": b"a\n", "old.txt": b"old\n", "Core/b.txt": b"b\n", "mine.txt": b"mine\n",
        }  # fmt: skip
        with first.open() as store:
            assert store.pull().status == "success"
        assert tree(first.data) == {**whole, "mine.txt": b"mine\n"}
    assert second.commit() is None
    assert tree(second.data) == {**whole, "mine.txt": b"mine\n"}
    assert not Path(second.root, ".memsync/behind").exists()
    with second.open() as store:
        assert store.status().unwritten == ()


def test_what_somebody_writes_there_meanwhile_is_theirs(two: tuple[Place, Place]) -> None:
    first, second = two
    goes_on(first)
    with refused(*CHANGED), second.open() as store:
        store.pull()
    put(second.data, {"a.txt": b"mine\n", "new.txt": b"mine too\n", "old.txt": b"old, but changed\n"})
    with second.open() as store:
        assert store.status().unwritten == ()
        assert len(store.status().changes) == 3
        version = store.commit()
        assert version is not None
        assert [change.path for change in version.changes] == ["a.txt", "new.txt", "old.txt"]
    assert tree(second.data)["a.txt"] == b"mine\n"


def test_naming_a_path_that_holds_what_it_held_records_nothing(two: tuple[Place, Place]) -> None:
    first, second = two
    whole = goes_on(first)
    with refused(*CHANGED), second.open() as store:
        store.pull()
        assert store.commit(["a.txt", "new.txt"]) is None
    assert second.commit() is None
    assert tree(second.data) == whole


@pytest.mark.parametrize("paths", [None, ["Plans"], ["Plans/x"]])
def test_files_in_a_folder_where_a_file_was_to_be_take_its_place(
    two: tuple[Place, Place], paths: list[str] | None
) -> None:
    first, second = two
    (second.data / "Plans").mkdir()
    first.commit({"Plans": b"a file\n"})
    first.push()
    with second.open() as store:
        assert "Plans is left as it was" in store.pull().warnings[0]
        assert store.commit() is None
    put(second.data, {"Plans/x": b"in a folder\n"})
    with second.open() as store:
        report = store.commit_report(paths)
        assert report.version is not None
        assert [(c.path, c.change.word) for c in report.version.changes] == [
            ("Plans", "delete"),
            ("Plans/x", "add"),
        ]
        assert "memsync cat" in report.warnings[0]
        assert store.push().status == "success"
    with first.open() as store:
        store.pull()
    assert tree(first.data) == tree(second.data)


@posix
def test_a_file_where_the_folder_of_others_was_to_be_takes_their_place(two: tuple[Place, Place]) -> None:
    first, second = two
    os.mkfifo(second.data / "Dir")
    first.commit({"Dir/x": b"in a folder\n", "Dir/y": b"in a folder\n"})
    first.push()
    with second.open() as store:
        assert len(store.pull().warnings) == 3
    (second.data / "Dir").unlink()
    put(second.data, {"Dir": b"a file\n"})
    with second.open() as store:
        version = store.commit()
        assert version is not None
        assert [(c.path, c.change.word) for c in version.changes] == [
            ("Dir", "add"), ("Dir/x", "delete"), ("Dir/y", "delete"),
        ]  # fmt: skip
        store.push()
    with first.open() as store:
        store.pull()
    assert tree(first.data) == tree(second.data)


def test_a_change_to_what_lay_there_before_says_what_it_replaces(two: tuple[Place, Place]) -> None:
    first, second = two
    goes_on(first)
    with refused(*CHANGED), second.open() as store:
        store.pull()
        head = str(store.head())[:12]
    put(second.data, {"a.txt": b"a\nmine\n"})
    told = failing(1, "-C", str(second.root), "commit")
    assert (
        "a.txt was changed here while what a pull or restore had brought could not be written: your" in told
    )
    assert run("-C", str(second.root), "cat", f"{head}:a.txt").stdout == "a\nmore\n"
    assert not run("-C", str(second.root), "commit").stderr


def test_what_is_written_to_just_before_a_pull_writes_it_stays_and_is_the_next_commits(
    two: tuple[Place, Place], monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = two
    goes_on(first)
    take = checkout._take

    def late(repository: Repository, data: str, step: Step) -> object:
        if step.path == "a.txt":
            put(second.data, {"a.txt": b"a\nmine\n"})
        return take(repository, data, step)

    monkeypatch.setattr(checkout, "_take", late)
    told = failing(1, "-C", str(second.root), "pull")
    assert "a.txt was written to while memsync was about to write it; 'memsync commit' records that" in told
    assert "leaves that path alone" not in told
    monkeypatch.undo()
    told = failing(1, "-C", str(second.root), "commit")
    shows = re.search(r"'memsync (cat .*?)' shows what it replaces", told)
    assert shows is not None and run("-C", str(second.root), *shows[1].split()).stdout == "a\nmore\n"
    assert run("-C", str(second.root), "cat", "a.txt").stdout == "a\nmine\n"


def test_a_pull_says_what_still_can_not_be_written(two: tuple[Place, Place]) -> None:
    first, second = two
    goes_on(first)
    with refused(*CHANGED):
        failing(1, "-C", str(second.root), "pull")
        assert failing(1, "-C", str(second.root), "pull").count("later commands try it again") == 3
        assert run("-C", str(second.root), "commit").exit_code == 0
    run("-C", str(second.root), "pull")
    assert run("-C", str(second.root), "pull").exit_code == 0


def test_what_is_as_head_has_it_by_somebodys_hand_is_behind_no_more(two: tuple[Place, Place]) -> None:
    first, second = two
    goes_on(first)
    with refused(*CHANGED), second.open() as store:
        store.pull()
    put(second.data, {"a.txt": b"a\nmore\n", "new.txt": b"new\n"})
    (second.data / "old.txt").unlink()
    with second.open() as store:
        status = store.status()
        assert (status.clean, status.unwritten, status.unremoved) == (True, (), ())
        assert store.commit() is None


def test_the_next_pull_goes_on_from_what_is_there(two: tuple[Place, Place]) -> None:
    """The other device changes the same paths again, and one comes back: what lies here is no content of its own."""
    first, second = two
    goes_on(first)
    with refused(*CHANGED), second.open() as store:
        store.pull()
    first.commit({"a.txt": b"a\nmore\nand more\n", "new.txt": None, "old.txt": b"old again\n"})
    first.push()
    with refused("a.txt"), second.open() as store:
        report = store.pull()
        assert (report.status, store.status().unwritten) == ("success", ("a.txt",))
    with second.open() as store:
        assert store.pull().status == "nothing"
    assert tree(second.data) == tree(first.data)
    with second.open() as store:
        assert store.commit() is None


def test_a_restore_of_it_writes_it_or_says_why_not(two: tuple[Place, Place]) -> None:
    first, second = two
    whole = goes_on(first)
    with refused(*CHANGED):
        with second.open() as store:
            store.pull()
        assert "could not write" in failing(1, "-C", str(second.root), "restore", "a.txt")
    with second.open() as store:
        before = store.head()
        assert store.restore(["a.txt"]).version is None
        assert store.head() == before
    assert tree(second.data) == whole


def test_a_restore_that_could_not_be_written_names_its_version(two: tuple[Place, Place]) -> None:
    first, _ = two
    first.commit({"a.txt": b"a\nmore\n"})
    with refused("a.txt"):
        result = run("-C", str(first.root), "restore", "a.txt", "--at", "HEAD~1")
    assert result.exit_code == 1
    assert f"{head_of(first)[:12]} recorded, but nothing of it could be written" in result.stdout
    assert first.commit() is None
    assert tree(first.data)["a.txt"] == b"a\n"


def test_status_names_what_could_not_be_written(two: tuple[Place, Place]) -> None:
    first, second = two
    goes_on(first)
    with refused(*CHANGED):
        told = failing(1, "-C", str(second.root), "pull")
        assert "new.txt is left as it was: could not write new.txt; look at that disk; later commands" in told
        shown = run("-C", str(second.root), "status").stdout
    assert "missing 2 files of HEAD could not be written here; commits leave them alone:\n  a.txt\n" in shown
    assert (
        "left    1 file that HEAD no longer has could not be removed here; commits leave them alone:" in shown
    )
    assert "changes none" not in shown
    document = json.loads(run("-C", str(second.root), "status", "--json").stdout)
    assert (document["unwritten"], document["unremoved"]) == (["a.txt", "new.txt"], ["old.txt"])


def test_what_is_forgotten_meanwhile_leaves_data_as_well(two: tuple[Place, Place]) -> None:
    first, second = two
    goes_on(first)
    with refused(*CHANGED), second.open() as store:
        store.pull()
    with first.open() as store:
        old = list(store.history("a.txt"))[-1].changes[0].entry
        assert old is not None
        store.forget([str(old.content)])
    with second.open() as store:
        store.pull()
    assert tree(second.data) == tree(first.data)


@pytest.mark.parametrize("many", [1000, 2])
@pytest.mark.parametrize("number", [errno.ENAMETOOLONG, errno.EINVAL, errno.EILSEQ])
def test_a_clone_leaves_out_a_name_that_its_disk_can_not_hold(
    two: tuple[Place, Place], monkeypatch: pytest.MonkeyPatch, many: int, number: int
) -> None:
    first, _ = two
    create = files.create

    def refuse(path: str, mode: int) -> int:
        if path.endswith("b.txt"):
            raise files.naming_error(OSError(number, "no such name"), "could not create", path)
        return create(path, mode)

    monkeypatch.setattr(fill, "MANY", many)
    monkeypatch.setattr(files, "create", refuse)
    monkeypatch.setattr("memstore.crew._processors", lambda: 0)
    third = first.clone("third")
    with third.open() as store:
        assert store.status().unwritten == ("Core/b.txt",)
        assert store.commit() is None
    third.commit({"mine.txt": b"mine\n"})
    third.push()
    with first.open() as store:
        store.pull()
    assert tree(first.data)["Core/b.txt"] == b"b\n"


def test_a_clone_onto_a_disk_that_is_full_ends_with_an_error(
    two: tuple[Place, Place], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: str, mode: int) -> int:
        raise files.disk_error(OSError(errno.ENOSPC, "no space left"), "could not create", path)

    monkeypatch.setattr(files, "create", full)
    with pytest.raises(DiskTrouble, match="no space"):
        two[0].clone("third")


def test_a_damaged_record_is_found_and_put_aside(two: tuple[Place, Place]) -> None:
    first, second = two
    goes_on(first)
    with refused(*CHANGED), second.open() as store:
        store.pull()
    path = Path(second.root, ".memsync/behind")
    good = path.read_bytes()
    for at in range(len(good)):
        path.write_bytes(good[:at] + bytes((good[at] ^ 1,)) + good[at + 1 :])
        assert "memsync repair" in failing(6, "-C", str(second.root), "commit")
    with second.open() as store:
        assert [problem.kind for problem in store.verify().problems] == ["damaged_behind"]
    run("-C", str(second.root), "repair")
    assert not path.exists()
    with second.open() as store:
        assert store.verify().ok
        assert len(store.status().changes) == 3


def test_the_record_is_durable_before_the_checkout_is_closed(two: tuple[Place, Place]) -> None:
    first, second = two
    goes_on(first)
    steps: list[str] = []

    def see(step: str, path: str, data: bytes) -> None:
        steps.append(f"{step} {Path(path).name}")

    with refused(*CHANGED), second.open() as store, files.watch(see):
        store.pull()
    assert steps.index("remove checkout") > max(
        number for number, step in enumerate(steps) if "behind" in step
    )
    with second.open() as store:
        assert behind.load(store.repository).keys() == set(CHANGED)


def test_a_pull_that_dies_at_any_step_on_the_disk_deletes_nothing(two: tuple[Place, Place]) -> None:
    first, second = two
    goes_on(first)
    saved = first.base / "saved"
    shutil.copytree(second.root, saved, symlinks=True)
    steps = left = 0

    def count(step: str, path: str, data: bytes) -> None:
        nonlocal steps
        steps += 1

    def die(step: str, path: str, data: bytes) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            raise Death

    with refused(*CHANGED):
        with second.open() as store, files.watch(count):
            store.pull()
        for at in range(steps):
            shutil.rmtree(second.root)
            shutil.copytree(saved, second.root, symlinks=True)
            left = at
            with contextlib.suppress(Death), second.open() as store, files.watch(die):
                store.pull()
            with second.open() as store:
                store.commit()
                store.pull()
                assert store.commit() is None
                assert (store.status().unwritten, store.status().unremoved) == (
                    ("a.txt", "new.txt"),
                    ("old.txt",),
                )
                assert head_of(second) == head_of(first)
