"""commit: what is gone, unreadable or half-written; clocks that lie; commits that are cut or meet."""

from __future__ import annotations

import errno
import os
import shutil
import socket
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from memstore import Store, files
from memstore.actions.ingest import ingest
from memstore.errors import BadInput, DiskTrouble
from memstore.manifest.version import Kind
from tests.conftest import Memory, reads_of, words

# -- when much is gone -------------------------------------------------------------------------------------


def filled(memory: Memory, count: int = 20) -> list[str]:
    names = [f"notes/{number:02}.txt" for number in range(count)]
    for name in names:
        memory.write(name, f"note {name}\n")
    memory.commit()
    return names


def test_when_more_than_half_is_gone_the_rest_is_committed_and_deletions_wait(memory: Memory) -> None:
    names = filled(memory)
    for name in names[:11]:
        (memory.data / name).unlink()
    memory.write(names[19], "changed\n")
    memory.write("new.txt", "new\n")
    report = memory.store.commit_report()
    assert report.version is not None
    assert words(report.version.changes) == {names[19]: "replace", "new.txt": "add"}
    (warning,) = report.warnings
    assert "11 of" in warning
    assert "commit --allow-deletions" in warning
    assert len(memory.manifest()) == 21
    again = memory.store.commit_report()
    assert (again.version, len(again.warnings)) == (None, 1)
    assert set(words(memory.commit(allow_deletions=True).changes)) == set(names[:11])


def test_half_of_the_files_may_go(memory: Memory) -> None:
    names = filled(memory)
    for name in names[:10]:
        (memory.data / name).unlink()
    assert len(memory.commit().changes) == 10


def test_a_small_folder_may_be_emptied(memory: Memory) -> None:
    for name in filled(memory, 19):
        (memory.data / name).unlink()
    assert len(memory.commit().changes) == 19


def test_files_that_moved_are_not_gone(memory: Memory) -> None:
    filled(memory, 30)
    (memory.data / "notes").rename(memory.data / "moved")
    report = memory.store.commit_report()
    assert report.warnings == ()
    assert report.version is not None
    assert len(report.version.changes) == 60


def test_deletions_that_were_named_are_meant(memory: Memory) -> None:
    filled(memory)
    shutil.rmtree(memory.data / "notes")
    assert len(memory.commit("notes").changes) == 20


def test_a_deletion_that_makes_room_for_a_folder_is_not_held_back(memory: Memory) -> None:
    names = filled(memory)
    for name in names:
        (memory.data / name).unlink()
    memory.write(names[0] + "/below.txt", "a folder now\n")
    report = memory.store.commit_report()
    assert report.version is not None
    assert words(report.version.changes) == {names[0]: "delete", names[0] + "/below.txt": "add"}
    assert report.warnings


def test_without_a_data_folder_nothing_is_recorded(memory: Memory) -> None:
    head = memory.save("a.txt", "one\n").id
    memory.data.rename(memory.root / "elsewhere")
    for call in (memory.store.commit, memory.store.status, lambda: memory.store.commit(["a.txt"])):
        with pytest.raises(BadInput) as refused:
            call()
        assert str(memory.data) in refused.value.message
    memory.data.write_text("a file")
    with pytest.raises(BadInput):
        memory.store.commit()
    assert memory.reopen().head() == head


def test_another_folder_in_place_of_data_is_not_taken_for_it(memory: Memory) -> None:
    """Such as the mount point of a disk that is not mounted."""
    head = memory.save("a.txt", "one\n").id
    memory.data.rename(memory.root / "elsewhere")
    memory.write("stranger.txt", "not ours\n")
    with pytest.raises(BadInput) as refused:
        memory.store.commit()
    assert "restore" in refused.value.hint
    assert memory.store.head() == head


def test_a_data_folder_that_was_copied_back_is_taken_for_it(memory: Memory) -> None:
    memory.write("a.txt", "one\n")
    memory.save("b.txt", "one\n")
    memory.commit()
    shutil.move(memory.data, memory.root / "elsewhere")
    shutil.copytree(memory.root / "elsewhere", memory.data)
    (memory.data / "b.txt").unlink()
    assert words(memory.commit().changes) == {"b.txt": "delete"}


# -- what cannot be read -----------------------------------------------------------------------------------


def refusing(*paths: Path) -> files.Observer:
    """As the disk answers who may not read these files (tests may run as root, who may)."""
    refused = {str(path) for path in paths}

    def observe(step: str, path: str, data: bytes) -> None:
        if step == "read" and path in refused:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)

    return observe


def test_an_unreadable_file_is_left_as_it_was_and_the_others_are_committed(memory: Memory) -> None:
    for path in ("a.txt", "b.txt"):
        memory.write(path, "one\n")
    memory.commit()
    for path in ("a.txt", "b.txt", "c.txt"):
        memory.write(path, "two\n")
    with files.watch(refusing(memory.data / "b.txt", memory.data / "c.txt")):
        report = memory.store.commit_report()
    assert report.version is not None
    assert words(report.version.changes) == {"a.txt": "replace"}
    assert len(report.warnings) == 2
    assert "b.txt" in report.warnings[0]
    assert "ermission" in report.warnings[0]
    assert memory.manifest() == {"a.txt": b"two\n", "b.txt": b"one\n"}
    assert words(memory.commit().changes) == {"b.txt": "replace", "c.txt": "add"}


def gone_when_read(memory: Memory, monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    """These files go when the scan has seen them, and none was read yet."""

    def late(repository: Any, writer: Any, candidates: Any, progress: Any) -> Any:
        seen = list(candidates)
        for name in names:
            (memory.data / name).unlink()
        return ingest(repository, writer, seen, progress)

    monkeypatch.setattr("memstore.actions.record.ingest", late)


@pytest.mark.parametrize("size", [10, 17 << 20])
def test_a_file_that_goes_before_it_is_read_is_no_warning_and_its_deletion_the_next_commits(
    memory: Memory, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    memory.save("kept.txt", "one\n")
    memory.save("going.bin", b"1" * size)
    for name, content in (("going.bin", b"2" * size), ("brief.txt", b"3"), ("kept.txt", b"two\n")):
        memory.write(name, content)
    gone_when_read(memory, monkeypatch, "going.bin", "brief.txt")
    report = memory.store.commit_report()
    assert report.version is not None
    assert (words(report.version.changes), report.warnings) == ({"kept.txt": "replace"}, ())
    monkeypatch.undo()
    assert words(memory.commit().changes) == {"going.bin": "delete"}


def test_a_named_file_that_goes_before_it_is_read_is_told_of(
    memory: Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory.write("a.txt", "one\n")
    gone_when_read(memory, monkeypatch, "a.txt")
    (warning,) = memory.store.commit_report(["a.txt"]).warnings
    assert "'a.txt' could not be read" in warning


def test_a_folder_that_cannot_be_opened_is_not_taken_for_deleted(
    memory: Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory.write("closed/a.txt", "one\n")
    memory.save("b.txt", "one\n")
    memory.commit()
    memory.write("b.txt", "two\n")
    true_open, closed = os.open, str(memory.data / "closed")

    def refuse(path: str, *rest: int, **more: int) -> int:
        if path == closed:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)
        return true_open(path, *rest, **more)

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", refuse)
        report = memory.store.commit_report()
    assert report.version is not None
    assert words(report.version.changes) == {"b.txt": "replace"}
    assert any("closed" in warning for warning in report.warnings)


def test_a_file_that_changes_while_it_is_read_is_read_again(
    memory: Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = memory.write("a.txt", "one\n")
    true_read = os.read
    written: list[int] = []

    def read(descriptor: int, length: int) -> bytes:
        if not written and os.path.samestat(os.fstat(descriptor), place.stat()):
            written.append(place.write_text("one\ntwo\n"))
        return true_read(descriptor, length)

    monkeypatch.setattr(os, "read", read)
    report = memory.store.commit_report()
    assert report.warnings == ()
    assert written
    assert memory.store.read("a.txt") == b"one\ntwo\n"


def test_a_file_that_never_rests_is_left_to_the_next_commit(
    memory: Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = memory.write("busy.log", "one\n")
    memory.write("calm.txt", "one\n")
    true_read = os.read

    def read(descriptor: int, length: int) -> bytes:
        if os.path.samestat(os.fstat(descriptor), place.stat()):
            with place.open("a") as file:
                file.write("more\n")
        return true_read(descriptor, length)

    with monkeypatch.context() as patch:
        patch.setattr(os, "read", read)
        report = memory.store.commit_report()
    assert report.version is not None
    assert words(report.version.changes) == {"calm.txt": "add"}
    assert any("busy.log" in warning for warning in report.warnings)
    assert words(memory.commit().changes) == {"busy.log": "add"}


def test_pipes_and_sockets_are_left_out_and_waited_for_by_nobody(memory: Memory) -> None:
    os.mkfifo(memory.data / "pipe")
    memory.write("a.txt", "one\n")
    with socket.socket(socket.AF_UNIX) as server:
        here = Path.cwd()
        os.chdir(memory.data)  # a socket's address is short
        try:
            server.bind("socket")
        finally:
            os.chdir(here)
        report = memory.store.commit_report()
    assert report.version is not None
    assert words(report.version.changes) == {"a.txt": "add"}
    assert sorted(warning.split("'")[1] for warning in report.warnings) == ["pipe", "socket"]
    named = memory.store.commit_report(["pipe"])
    assert named.version is None
    assert len(named.warnings) == 1


def test_a_link_is_kept_as_a_link_wherever_it_leads(memory: Memory, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "key").write_text("not ours")
    (memory.data / "out").symlink_to(secret / "key")
    (memory.data / "folder").symlink_to(secret)
    (memory.data / "nowhere").symlink_to("gone")
    memory.commit()
    assert memory.manifest() == {
        "folder": str(secret).encode(),
        "nowhere": b"gone",
        "out": str(secret / "key").encode(),
    }
    assert {row.kind for row in memory.listing()} == {Kind.SYMLINK}
    with pytest.raises(BadInput):
        memory.store.commit(["folder/key"])


def test_a_name_that_is_not_utf8_is_reported_and_left_out(memory: Memory) -> None:
    try:
        Path(os.fsdecode(os.fsencode(memory.data) + b"/bad\xff.txt")).write_text("one\n")
    except OSError:
        pytest.skip("this disk holds no such name")
    memory.write("good.txt", "one\n")
    report = memory.store.commit_report()
    assert report.version is not None
    assert words(report.version.changes) == {"good.txt": "add"}
    (warning,) = report.warnings
    assert "UTF-8" in warning
    warning.encode()


def test_memsyncs_own_names_are_never_committed(memory: Memory) -> None:
    memory.write("sub/.memsync/format", "no\n")
    memory.write("sub/.MemSync/format", "no\n")
    memory.write(files.TEMPORARY_PREFIX + "1", "half-written\n")
    memory.write("sub/a.txt", "one\n")
    report = memory.store.commit_report()
    assert report.version is not None
    assert words(report.version.changes) == {"sub/a.txt": "add"}


# -- clocks ------------------------------------------------------------------------------------------------


def test_a_version_is_never_earlier_than_its_parent(memory: Memory, monkeypatch: pytest.MonkeyPatch) -> None:
    first = memory.save("a.txt", "one\n")
    monkeypatch.setattr(time, "time_ns", lambda: 1_000_000_000_000_000_000)  # 2001: a dead clock battery
    second = memory.save("a.txt", "two\n")
    assert second.time_ms == first.time_ms
    assert [version.id for version in memory.store.history()] == [second.id, first.id]


def test_a_rewrite_of_the_same_size_that_puts_the_time_back_is_seen(memory: Memory) -> None:
    place = memory.write("a.txt", "one\n")
    memory.commit()
    before = place.stat()
    place.write_text("two\n")
    os.utime(place, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert memory.store.status().changes[0].path == "a.txt"
    assert words(memory.commit().changes) == {"a.txt": "replace"}


def test_a_file_that_has_rested_is_not_read_again_and_yet_no_rewrite_is_missed(
    memory: Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = memory.write("a.txt", "one\n")
    true_clock = files.clock_of
    # As if the next commits came ten seconds later: then the stat cache may be believed.
    monkeypatch.setattr(files, "clock_of", lambda folder: true_clock(folder) + 10_000_000_000)
    memory.commit()
    steps: list[tuple[str, str]] = []
    with files.watch(lambda step, path, data: steps.append((step, path))):
        assert memory.store.commit() is None
    assert "a.txt" not in reads_of(memory, steps)
    before = place.stat()
    place.write_text("two\n")
    os.utime(place, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert words(memory.commit().changes) == {"a.txt": "replace"}


# -- the barrier -------------------------------------------------------------------------------------------


def test_a_small_commit_pays_one_barrier(memory: Memory) -> None:
    memory.save("a.txt", "one\n")
    memory.write("a.txt", "one\ntwo\n")
    steps: list[str] = []
    with files.watch(lambda step, path, data: steps.append(step)):
        memory.store.commit(["a.txt"])
    assert [step for step in steps if step.startswith("sync")] == ["sync"]


def test_a_commit_cut_at_any_step_is_whole_or_never_was(tmp_path: Path) -> None:
    for number in range(1, 100):
        memory = Memory(tmp_path / str(number))
        memory.write("b.txt", "one\n")
        memory.save("a.txt", "one\n")
        memory.write("a.txt", "two\n")
        (memory.data / "b.txt").unlink()
        left = number

        def cut(step: str, path: str, data: bytes) -> None:
            nonlocal left
            left -= step not in ("read",)
            if left <= 0:
                raise KeyboardInterrupt

        whole = False
        with files.watch(cut):
            try:
                whole = memory.store.commit() is not None
            except KeyboardInterrupt:
                pass
        memory.reopen()
        assert len(memory.versions()) in (1, 2)
        assert not whole or len(memory.versions()) == 2
        memory.store.commit()
        assert memory.manifest() == {"a.txt": b"two\n"}
        assert len(memory.versions()) == 2
        assert memory.store.verify().ok
        memory.close()
        if whole:
            return
    pytest.fail("it never ran through")


def test_a_full_disk_leaves_nothing_half_made(memory: Memory) -> None:
    first = memory.save("a.txt", "one\n")
    memory.write("a.txt", "two\n")

    def full(step: str, path: str, data: bytes) -> None:
        if step == "write" and path.endswith(".seg"):
            raise DiskTrouble("no space left", hint="free some space")

    with files.watch(full), pytest.raises(DiskTrouble):
        memory.store.commit()
    assert memory.store.head() == first.id
    assert words(memory.commit().changes) == {"a.txt": "replace"}
    assert memory.store.verify().ok


def test_commits_of_two_at_once_follow_one_another(memory: Memory) -> None:
    failures: list[BaseException] = []

    def work(name: str) -> None:
        try:
            with Store.open(memory.root, environ={}) as store:
                for number in range(5):
                    memory.write(f"{name}.txt", f"{name} {number}\n")
                    assert store.commit([f"{name}.txt"]) is not None
        except BaseException as failure:
            failures.append(failure)

    threads = [threading.Thread(target=work, args=(name,)) for name in ("one", "two")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    versions = memory.versions()
    assert len(versions) == 10
    assert [version.parents for version in versions[1:]] == [(version.id,) for version in versions[:-1]]
    assert memory.manifest() == {"one.txt": b"one 4\n", "two.txt": b"two 4\n"}
