"""A restore or an archive that is cut half-way: the next command finishes it, and loses nothing for it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from memstore import Store, files
from memstore.errors import BadInput, DamagedData, DiskTrouble
from memstore.ids import ContentId
from memstore.manifest.version import Version
from memstore.objects.reader import ObjectReader
from tests.conftest import Memory


def cut_at_every_step(
    place: Path, work: Callable[[Memory, Version], object], then: Callable[[Memory, Version, bool], None]
) -> int:
    """Begin `work` on a fresh store of three notes, cut it before its first, second, … step on the disk, and
    let `then` look at what the next command finds. Returns in how many places it was cut."""
    for number in range(1, 400):
        memory = Memory(place / str(number))
        for name in ("a", "b", "c"):
            memory.write(f"in/{name}.txt", f"{name} old\n")
        first = memory.commit()
        for name in ("a", "b"):
            memory.write(f"in/{name}.txt", f"{name} new\n")
        (memory.data / "in/c.txt").unlink()
        memory.write("in/d.txt", "d new\n")
        memory.commit()
        left = number

        def cut(step: str, path: str, data: bytes) -> None:
            nonlocal left
            left -= step != "read"
            if left <= 0:
                raise KeyboardInterrupt  # and so does every later step: nothing is tidied up after a power cut

        through = False
        with files.watch(cut):
            try:
                work(memory, first)
                through = True
            except KeyboardInterrupt:
                pass
        then(memory, first, through)
        memory.close()
        if through:
            return number - 1
    raise AssertionError("it never ran through")


def in_history(memory: Memory, content: bytes) -> bool:
    return any(content in memory.manifest(version).values() for version in memory.versions())


def test_a_restore_cut_at_any_step_is_finished_by_the_next_command(tmp_path: Path) -> None:
    def work(memory: Memory, first: Version) -> None:
        memory.store.restore(["."], at=first, exact=True)

    def then(memory: Memory, first: Version, through: bool) -> None:
        count = len(memory.versions())
        assert memory.reopen().commit() is None, "the next command sees a folder that is half-way"
        assert memory.tree() == memory.manifest()
        assert memory.tree() in (memory.manifest(first), memory.manifest(memory.versions()[1]))
        assert len(memory.versions()) == count
        assert not through or memory.tree() == memory.manifest(first)
        assert not (memory.state / "checkout").exists()
        assert memory.store.verify().ok

    assert cut_at_every_step(tmp_path, work, then) > 15


def test_an_undo_cut_at_any_step_and_given_again_is_done_once(tmp_path: Path) -> None:
    """Also where work that is not committed must be saved first. One that was through but for its answer is the
    exception: it is done, and given again it is taken back."""
    taken_up = []

    def work(memory: Memory, first: Version) -> None:
        memory.write("in/mine.txt", "not committed\n")
        memory.store.undo()

    def then(memory: Memory, first: Version, through: bool) -> None:
        was_open = (memory.state / "checkout").exists()
        store = memory.reopen()
        if store.repository.finished is None and store.version("HEAD").reason == "undo":
            assert through or was_open is False
        else:
            store.undo()
            taken_up.append(was_open)
        assert (
            memory.tree() == memory.manifest() == memory.manifest(first) | {"in/mine.txt": b"not committed\n"}
        )
        assert [version.reason for version in memory.versions()] == ["", "", "saved before an undo", "undo"]
        assert store.verify().ok

    assert cut_at_every_step(tmp_path, work, then) > 15
    assert taken_up.count(True) > 5 and taken_up.count(False) > 2


def test_what_a_person_writes_into_a_restore_that_was_cut_is_committed_first(tmp_path: Path) -> None:
    """In a file that it restores, in one that it removes, and in one that is none of its business."""

    finished = []

    def work(memory: Memory, first: Version) -> None:
        memory.store.restore(["."], at=first, exact=True)

    def then(memory: Memory, first: Version, through: bool) -> None:
        if through:
            return
        was_open = (memory.state / "checkout").exists()
        memory.write("in/a.txt", "a by hand\n")
        memory.write("in/d.txt", "d by hand\n")
        memory.write("in/e.txt", "e by hand\n")
        store = memory.reopen()
        warnings = store.commit_report().warnings
        assert in_history(memory, b"a by hand\n")
        assert in_history(memory, b"d by hand\n")
        assert in_history(memory, b"e by hand\n")
        assert memory.tree() == memory.manifest()
        assert store.verify().ok
        if was_open and len(memory.versions()) > 4:
            assert memory.tree() == memory.manifest(first) | {"in/e.txt": b"e by hand\n"}
            assert any("in/a.txt" in warning for warning in warnings)
            finished.append(memory)

    cut_at_every_step(tmp_path, work, then)
    assert len(finished) > 5


def test_an_archive_cut_at_any_step_is_finished_by_the_next_command(tmp_path: Path) -> None:
    def work(memory: Memory, first: Version) -> None:
        memory.store.archive(["in/a.txt", "in/b.txt"])

    def then(memory: Memory, first: Version, through: bool) -> None:
        assert memory.reopen().commit() is None
        assert memory.tree() == memory.manifest()
        assert ("in/a.txt" in memory.tree()) == ("in/b.txt" in memory.tree())
        assert not through or "in/a.txt" not in memory.tree()
        assert memory.store.verify().ok

    assert cut_at_every_step(tmp_path, work, then) > 8


def cut_short(memory: Memory, version: Version) -> None:
    """Another process dies as it puts the first file of a restore into place."""

    def cut(step: str, path: str, data: bytes) -> None:
        if step == "rename" and path.startswith(str(memory.data)):
            raise KeyboardInterrupt

    with Store.open(memory.root, environ={}) as other, files.watch(cut), pytest.raises(KeyboardInterrupt):
        other.restore(["Core"], at=version)


def test_a_cut_restore_waits_for_a_data_folder_that_is_away(memory: Memory, three: list[Version]) -> None:
    cut_short(memory, three[0])
    memory.data.rename(memory.root / "unmounted")
    with pytest.raises(BadInput):
        memory.reopen().commit()
    (memory.root / "unmounted").rename(memory.data)
    assert memory.reopen().status().clean
    assert memory.tree()["Core/Rules.txt"] == b"rules 1\n"


def test_a_store_that_stays_open_finishes_what_another_process_left(
    memory: Memory, three: list[Version]
) -> None:
    cut_short(memory, three[0])
    memory.write("new.txt", "new\n")
    report = memory.store.commit_report(["new.txt"])
    assert any("interrupted restore" in warning for warning in report.warnings)
    assert memory.tree()["Core/Rules.txt"] == b"rules 1\n"
    assert memory.store.status().clean


def test_a_restore_that_the_disk_refuses_is_a_warning_and_the_store_stays_usable(
    memory: Memory, three: list[Version]
) -> None:
    def full(step: str, path: str, data: bytes) -> None:
        if step == "write" and path.startswith(str(memory.data)):
            raise DiskTrouble("no space left on device", hint="free some space")

    with files.watch(full):
        report = memory.store.restore(["Core/Rules.txt"], at=three[0])
    assert any("no space" in warning for warning in report.warnings)
    assert report.restored == ()  # it says what Data/ holds, not what it was to hold
    assert "later commands try it again" in report.warnings[0]
    memory.reopen()
    assert memory.tree()["Core/Rules.txt"] == b"rules 3\n"
    assert memory.store.commit() is None  # there is room again: it is written, and nobody changed it
    assert memory.tree()["Core/Rules.txt"] == b"rules 1\n"
    assert memory.manifest() == memory.tree()


def no_writing_to(folder: str, patch: pytest.MonkeyPatch) -> None:
    """As for a person whose folder is read-only: root, as tests may run, is refused nothing."""
    patch.setattr(files, "may_write", lambda place: not place.replace(os.sep, "/").endswith(folder))


def test_a_restore_into_a_read_only_folder_records_nothing(
    memory: Memory, three: list[Version], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        no_writing_to("Data/Core", patch)
        with pytest.raises(DiskTrouble, match=r"nothing was restored: .*Core may not be written to"):
            memory.store.restore(["Core/Rules.txt"], at=three[0])
    assert memory.store.head() == three[2].id
    assert memory.store.status().clean
    assert memory.store.restore(["Core/Rules.txt"], at=three[0]).restored


def test_what_lies_in_a_writable_folder_is_restored_beside_one_that_is_not(
    memory: Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory.write("Free/a.txt", "a\n")
    memory.write("Core/b.txt", "b\n")
    first = memory.commit()
    memory.write("Core/b.txt", "B\n")
    memory.write("Free/a.txt", "A\n")
    memory.write("Core/late.txt", "late\n")
    memory.commit()
    no_writing_to("Data/Core", monkeypatch)
    report = memory.store.restore(["."], at=first, exact=True)
    assert [row.path for row in report.restored] == ["Free/a.txt"]
    assert {warning.split()[0] for warning in report.warnings} == {"Core/b.txt", "Core/late.txt"}
    kept = {"Free/a.txt": b"a\n", "Core/b.txt": b"B\n", "Core/late.txt": b"late\n"}
    assert memory.manifest() == memory.tree() == kept


def test_a_file_whose_place_is_a_folder_that_must_stay_is_left_out_with_it(
    memory: Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = memory.save("a", "a file\n")
    (memory.data / "a").unlink()
    memory.write("a/b.txt", "b\n")
    memory.write("c.txt", "c\n")
    memory.commit()
    no_writing_to("Data/a", monkeypatch)
    with pytest.raises(DiskTrouble, match="may not be written to"):
        memory.store.restore(["a"], at=first)
    assert memory.manifest() == memory.tree() == {"a/b.txt": b"b\n", "c.txt": b"c\n"}


def test_a_damaged_content_does_not_lock_the_store_up(
    memory: Memory, three: list[Version], monkeypatch: pytest.MonkeyPatch
) -> None:
    def damaged(self: ObjectReader, content: ContentId) -> object:
        raise DamagedData("content is damaged", hint="run 'memsync verify'")

    with monkeypatch.context() as patch:
        patch.setattr(ObjectReader, "stream", damaged)
        try:
            warnings = memory.store.restore(["Core/Rules.txt"], at=three[0]).warnings
        except DamagedData as error:
            warnings = (error.message,)
        assert any("damaged" in warning for warning in warnings)
        with Store.open(memory.root, environ={}) as again:
            again.status()
    assert memory.tree()["Core/Rules.txt"] == b"rules 3\n"


def test_exact_leaves_a_file_alone_whose_old_content_is_damaged(
    memory: Memory, three: list[Version], monkeypatch: pytest.MonkeyPatch
) -> None:
    true_stream, lost = ObjectReader.stream, ContentId.of(b"tone 1\n")

    def stream(self: ObjectReader, content: ContentId) -> Iterator[bytes]:
        if content == lost:
            raise DamagedData("content is damaged", hint="run 'memsync verify'")
        return true_stream(self, content)

    monkeypatch.setattr(ObjectReader, "stream", stream)
    report = memory.store.restore(["Core"], at=three[0], exact=True)
    assert memory.tree() == {"Core/Rules.txt": b"rules 1\n", "Core/Tone.txt": b"tone 3\n"}
    assert any("Core/Tone.txt" in warning for warning in report.warnings)
    assert memory.store.status().clean
