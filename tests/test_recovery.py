"""After a crash, a copy, or damage: what was committed is whole, what was not never happened, and nothing is
thrown away."""

from __future__ import annotations

import itertools
import os
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from memstore import Store, files
from memstore.errors import DamagedData, DiskTrouble
from memstore.ids import ContentId, VersionId
from memstore.manifest.records import LOST_NOTE
from memstore.manifest.version import Version
from memstore.objects.segment import COMMIT_LENGTH, Segment
from tests.conftest import Memory


def segment_path(memory: Memory) -> Path:
    (path,) = (memory.state / "segments").glob("*.seg")
    return path


def groups(path: Path) -> list[tuple[int, int]]:
    """(start, end) of each group, its commit record included."""
    segment = Segment(str(path))
    ends = [segment.start, *(group.end for group in segment.scan().groups)]
    segment.close()
    return list(itertools.pairwise(ends))


def forget_catalogue(memory: Memory) -> None:
    memory.store.close()
    for path in memory.state.glob("catalogue.sqlite*"):
        path.unlink()


def overwrite(path: Path, content: bytes) -> None:
    """In place: a file of its own would be taken for a copy."""
    with path.open("r+b") as file:
        file.write(content)
        file.truncate()


def flip(path: Path, at: int, bits: int = 0x10) -> None:
    content = bytearray(path.read_bytes())
    content[at] ^= bits
    overwrite(path, bytes(content))


def whole(memory: Memory, expected: dict[VersionId, dict[str, bytes]]) -> None:
    """These versions, and no others, are here, and hold what they should."""
    assert {version.id for version in memory.versions()} == set(expected)
    for id, tree in expected.items():
        found = {entry.path: memory.repository.read(entry.content) for entry in memory.repository.entries(id)}
        assert found == tree


# -- torn tails --------------------------------------------------------------------------------------------


def test_a_log_cut_at_any_byte_of_its_last_commit_has_all_versions_before_it(
    memory: Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "sync", lambda descriptor, path: None)  # 300 crashes; this is not about fsync
    monkeypatch.setattr(files, "sync_dir", lambda path: None)
    expected: dict[VersionId, dict[str, bytes]] = {}
    for number in range(3):
        memory.write("a.txt", f"{number}\n" * 20)
        expected[memory.commit().id] = memory.tree()
    head = memory.store.head()
    path = segment_path(memory)
    start = path.stat().st_size
    memory.store.close()
    before = {place: place.read_bytes() for place in memory.state.glob("catalogue.sqlite*")}
    memory.reopen()
    memory.save("b.txt", "never happened")
    content = path.read_bytes()
    assert len(content) - start > 150
    torn = memory.state / "torn"
    for cut in range(start, len(content)):
        forget_catalogue(memory)
        if cut % 16:  # else it is built anew
            for place, saved in before.items():
                place.write_bytes(saved)
        overwrite(path, content[:cut])
        memory.reopen()
        assert memory.store.head() == head
        assert len(memory.versions()) == len(expected)
        kept = sorted(torn.iterdir()) if torn.exists() else []
        assert [file.read_bytes() for file in kept] == ([content[start:cut]] if cut > start else [])
        for file in kept:
            file.unlink()
        assert path.stat().st_size == start
        version = memory.commit("b.txt")
        assert version.parents == (head,)
        if cut % 16 == 0 or cut + 1 == len(content):
            whole(memory, expected | {version.id: memory.tree()})
            assert memory.store.verify().problems == ()


@given(st.integers(0, 1 << 16), st.binary(max_size=2000))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25, deadline=None)
def test_whatever_follows_the_last_commit_is_put_aside(
    tmp_path_factory: pytest.TempPathFactory, zeros: int, garbage: bytes
) -> None:
    """A disk may have given the tail its length and not its bytes."""
    memory = Memory(tmp_path_factory.mktemp("tail"))
    version = memory.save("a.txt", "kept")
    path = segment_path(memory)
    content = path.read_bytes()
    tail = bytes(zeros) + garbage
    overwrite(path, content + tail)
    memory.reopen()
    after = memory.save("a.txt", "after")
    assert [row.id for row in memory.versions()] == [version.id, after.id]
    kept = list((memory.state / "torn").iterdir()) if (memory.state / "torn").exists() else []
    assert [file.read_bytes() for file in kept] == ([tail] if tail else [])
    assert memory.store.verify().problems == ()
    memory.close()


def test_what_a_killed_commit_left_is_made_durable_before_it_is_believed(memory: Memory) -> None:
    """It was written and not synced: a commit that then finds nothing new must not promise what may vanish."""

    def killed(step: str, path: str, data: bytes) -> None:
        if step == "sync" and path.endswith(".seg"):
            raise KeyboardInterrupt

    memory.save("a.txt", "one")
    memory.write("a.txt", "two")
    repository = memory.repository
    with files.watch(killed), pytest.raises(KeyboardInterrupt), repository.writing() as writer:
        writer.rollback = lambda: writer.repository.catalogue.db.execute("ROLLBACK")  # type: ignore[method-assign,assignment]
        from memstore.actions.record import record
        from memstore.manifest.version import NO_META

        record(repository, writer, None, meta=NO_META)
    steps: list[str] = []
    memory.store.close()
    with files.watch(lambda step, path, data: steps.append(step + " " + path[-4:])):
        memory.reopen()
        assert memory.store.commit() is None
    assert "sync .seg" in steps
    assert memory.store.read("a.txt") == b"two"


# -- no room, at every step --------------------------------------------------------------------------------


class Failing:
    """Raises at the nth step on the disk, once; counts all steps."""

    def __init__(self, at: int, error: Callable[[], BaseException]) -> None:
        self.at = at
        self.error = error
        self.seen = 0

    def __call__(self, step: str, path: str, data: bytes) -> None:
        if step == "read":
            return
        self.seen += 1
        if self.seen == self.at:
            raise self.error()


def no_room() -> BaseException:
    return DiskTrouble("could not write: No space left on device", hint="free some space")


def tries(error: Callable[[], BaseException]) -> Iterator[Failing]:
    """One fault after the other, until a run meets none."""
    at = 1
    while True:
        fault = Failing(at, error)
        yield fault
        if fault.seen < at:
            return
        at += 1


@pytest.mark.parametrize("error", [no_room, KeyboardInterrupt, MemoryError])
@pytest.mark.parametrize("size", [100, 3_000_000])
def test_a_commit_that_fails_at_any_step_leaves_the_store_as_it_was(
    memory: Memory, error: Callable[[], BaseException], size: int
) -> None:
    memory.save("a.txt", "one")
    expected = {memory.versions()[0].id: memory.tree()}
    head = memory.store.head()
    noise = random.Random(size)
    steps = 0
    for number, fault in enumerate(tries(error)):
        memory.write("a.txt", f"try {number}")
        memory.write("b.bin", noise.randbytes(size))
        torn = False
        try:
            with files.watch(fault):
                version = memory.store.commit()
        except BaseException as trouble:
            torn = True
            assert type(trouble) is type(error())
        if torn:
            memory.repository.reader.close()
            if memory.store.head() == head:
                whole(memory, expected)
            else:
                # After the barrier: the version is there, whole, though its maker never heard of it.
                (added,) = {row.id for row in memory.versions()} - set(expected)
                expected[added] = memory.tree()
                head = added
                whole(memory, expected)
            steps += 1
            continue
        assert version is not None
        head = version.id
        expected[head] = memory.tree()
    assert steps >= 2
    memory.reopen()
    whole(memory, expected)
    assert memory.store.verify().problems == ()


# -- copies ------------------------------------------------------------------------------------------------


def test_a_copied_workspace_never_appends_to_the_originals_log(tmp_path: Path) -> None:
    memory = Memory(tmp_path / "first")
    memory.save("a.txt", "both")
    shared = segment_path(memory)
    memory.close()
    shutil.copytree(memory.root, tmp_path / "second")
    original = shared.read_bytes()
    copy = Memory(tmp_path / "second")
    copied = copy.state / "segments" / shared.name
    theirs = copy.save("a.txt", "the copy's")
    assert copied.read_bytes() == original
    assert len(list((copy.state / "segments").iterdir())) == 2
    memory.reopen()
    ours = memory.save("a.txt", "the original's")
    assert shared.read_bytes()[: len(original)] == original
    for place, mine in ((memory, ours), (copy, theirs)):
        forget_catalogue(place)
        place.reopen()
        assert place.store.head() == mine.id
        assert [version.id for version in place.versions()][1:] == [mine.id]
        assert place.store.verify().problems == ()
        assert place.store.status().clean
        place.close()


def test_a_copy_of_a_torn_log_keeps_the_tail_and_goes_on(tmp_path: Path) -> None:
    memory = Memory(tmp_path / "first")
    memory.save("a.txt", "one")
    memory.save("a.txt", "two")
    path = segment_path(memory)
    memory.close()
    overwrite(path, path.read_bytes()[:-5])
    shutil.copytree(memory.root, tmp_path / "second")
    copy = Memory(tmp_path / "second")
    before = (copy.state / "segments" / path.name).read_bytes()
    assert copy.store.read("a.txt") == b"one"
    copy.commit()
    assert copy.store.read("a.txt") == b"two"
    assert (copy.state / "segments" / path.name).read_bytes() == before
    copy.close()


def test_a_moved_workspace_goes_on_in_its_log(tmp_path: Path) -> None:
    memory = Memory(tmp_path / "first")
    memory.save("a.txt", "one")
    memory.close()
    os.rename(memory.root, tmp_path / "moved")
    moved = Memory(tmp_path / "moved")
    moved.save("a.txt", "two")
    assert len(list((moved.state / "segments").iterdir())) == 1
    moved.close()


def test_the_log_of_another_store_is_not_read(tmp_path: Path) -> None:
    memory, other = Memory(tmp_path / "one"), Memory(tmp_path / "other")
    mine = memory.save("a.txt", "mine")
    other.save("a.txt", "theirs")
    other.save("a.txt", "theirs again")
    shutil.copy(segment_path(other), memory.state / "segments" / "0123456789abcdef.seg")
    memory.reopen()
    assert [version.id for version in memory.versions()] == [mine.id]
    memory.save("a.txt", "mine again")
    assert (memory.state / "segments" / "0123456789abcdef.seg").exists()
    assert any("another store" in warning for warning in memory.store.verify().notes)
    memory.close()
    other.close()


# -- damage ------------------------------------------------------------------------------------------------

TURNS = 5
HIT = 2


@pytest.fixture
def turns(memory: Memory) -> list[tuple[Version, dict[str, bytes]]]:
    """Five commits; each leaves an old file alone, changes one and adds one."""
    noise = random.Random(3)
    made = []
    for number in range(TURNS):
        memory.write("note.txt", "".join(f"line {line} at {number}\n" for line in range(30)))
        memory.write(f"turn{number}.bin", noise.randbytes(90))
        version = memory.commit(note=f"turn {number}")
        made.append((version, memory.tree()))
    return made


def readable(memory: Memory, id: VersionId, tree: dict[str, bytes]) -> set[str]:
    """The paths of a version that read back; none of them as anything else."""
    good = set()
    for entry in memory.repository.entries(id):
        assert ContentId.of(tree[entry.path]) == entry.content
        try:
            content = memory.repository.read(entry.content)
        except DamagedData:
            continue
        assert content == tree[entry.path]
        good.add(entry.path)
    return good


def hit_group(path: Path) -> tuple[int, int]:
    return groups(path)[1 + HIT]


def test_a_flipped_byte_in_an_earlier_commit_costs_one_record_and_cuts_nothing(
    memory: Memory, turns: list[tuple[Version, dict[str, bytes]]]
) -> None:
    """Whether the catalogue knew the commit before the damage or must be built from the damaged log."""
    path = segment_path(memory)
    start, end = hit_group(path)
    content = path.read_bytes()
    lost_versions = 0
    for at in range(start, end, 11):
        forget_catalogue(memory)
        overwrite(path, content)
        memory.reopen()
        memory.store.head()
        flip(path, at)
        for rebuilt in (False, True):
            if rebuilt:
                forget_catalogue(memory)
            memory.reopen()
            report = memory.store.verify()
            assert "damaged_segment" in {problem.kind for problem in report.problems}, at
            assert memory.store.head() == turns[-1][0].id
            assert len(memory.versions()) == TURNS
            for number, (version, tree) in enumerate(turns):
                if rebuilt and number == HIT and memory.versions()[HIT].note == LOST_NOTE:
                    lost_versions += 1
                    kinds = {(problem.kind, problem.id) for problem in report.problems}
                    assert ("missing_version", str(version.id)) in kinds
                    continue
                good = readable(memory, version.id, tree)
                assert len(tree) - len(good) <= (1 if number < HIT else 2)
                if number < HIT:
                    assert good == set(tree)
                assert f"turn{number}.bin" in good or number == HIT
        assert path.stat().st_size == len(content)
        assert not (memory.state / "torn").exists()
    assert lost_versions > 5


def test_after_damage_the_next_commit_records_again_what_was_lost_with_it(
    memory: Memory, turns: list[tuple[Version, dict[str, bytes]]]
) -> None:
    path = segment_path(memory)
    start, end = hit_group(path)
    content = path.read_bytes()
    record = end - COMMIT_LENGTH - 8
    assert start < record
    forget_catalogue(memory)
    overwrite(path, content[:record] + b"\0\0" + content[record + 2 :])
    memory.reopen()
    assert memory.versions()[HIT].note == LOST_NOTE
    assert {row.path for row in memory.store.status().changes} == {f"turn{HIT}.bin"}
    memory.commit()
    assert memory.store.status().clean
    assert memory.manifest() == memory.tree()


def test_when_the_lost_record_is_back_its_stand_in_goes(
    memory: Memory, turns: list[tuple[Version, dict[str, bytes]]], tmp_path: Path
) -> None:
    remote = str(tmp_path / "remote")
    memory.store.set_remote(remote)
    path = segment_path(memory)
    spare = tmp_path / "spare.seg"
    shutil.copy(path, spare)
    record = hit_group(path)[1] - COMMIT_LENGTH - 8
    flip(path, record)
    forget_catalogue(memory)
    memory.reopen()
    assert memory.versions()[HIT].note == LOST_NOTE
    shutil.copy(spare, path.with_name("fedcba9876543210.seg"))
    memory.reopen()
    assert [version.note for version in memory.versions()] == [f"turn {number}" for number in range(TURNS)]
    whole(memory, {version.id: tree for version, tree in turns})


def test_a_damaged_header_costs_nothing(
    memory: Memory, turns: list[tuple[Version, dict[str, bytes]]], tmp_path: Path
) -> None:
    path = segment_path(memory)
    expected = {version.id: tree for version, tree in turns}
    flip(path, 20)
    for rebuilt in (False, True):
        if rebuilt:
            forget_catalogue(memory)
        memory.reopen()
        whole(memory, expected)
        assert memory.store.head() == turns[-1][0].id
        assert "damaged_segment" in {problem.kind for problem in memory.store.verify().problems}
    memory.write("note.txt", "goes on in a log of its own")
    expected[memory.commit().id] = memory.tree()
    whole(memory, expected)
    memory.store.set_remote(str(tmp_path / "remote"))
    assert memory.store.push().status == "success"
    assert memory.store.verify().problems == ()
    whole(memory, expected)
    again = Memory.__new__(Memory)
    Store.clone(str(tmp_path / "remote"), tmp_path / "clone").close()
    again = Memory(tmp_path / "clone")
    whole(again, expected)
    again.close()


def test_a_log_of_a_newer_memsync_is_left_alone(memory: Memory) -> None:
    from memstore.objects.file_header import pack_file_header
    from memstore.objects.segment import MAGIC

    memory.save("a.txt", "one")
    newer = memory.state / "segments" / "0123456789abcdef.seg"
    facts = {"format": 9, "features": [], "key": None, "store": memory.repository.format.store}
    newer.write_bytes(pack_file_header(MAGIC, facts) + b"who knows")
    memory.reopen()
    memory.save("a.txt", "two")
    assert newer.read_bytes().endswith(b"who knows")
    assert "damaged_segment" in {problem.kind for problem in memory.store.verify().problems}


def test_damage_in_the_last_commit_is_named_while_the_catalogue_knows_it(
    memory: Memory, turns: list[tuple[Version, dict[str, bytes]]]
) -> None:
    path = segment_path(memory)
    start, end = groups(path)[-1]
    flip(path, (start + end) // 2)
    memory.reopen()
    assert "damaged_segment" in {problem.kind for problem in memory.store.verify().problems}


def test_a_damaged_checkpoint_keeps_nobody_from_committing(
    memory: Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is a shortcut that the next one leans on, and no more."""
    monkeypatch.setattr("memstore.writer.MANIFEST_HASH_EVERY", 4)
    monkeypatch.setattr(files, "sync", lambda descriptor, path: None)
    for number in range(8 * 12):
        memory.save(f"{number % 7}.txt", f"turn {number}")
    checkpoint = memory.repository.catalogue.fact("checkpoint")
    assert isinstance(checkpoint, bytes)
    (row,) = [row for row in memory.repository.catalogue.locations(checkpoint) if row.kind == 4]
    flip(segment_path(memory), row.offset + row.header + 2)
    memory.reopen()
    for number in range(8 * 12):
        memory.save(f"{number % 7}.txt", f"after {number}")
    assert memory.repository.catalogue.fact("checkpoint") != checkpoint


def test_a_log_that_lost_commits_which_the_catalogue_knew_is_told_of_and_gone_on_with(memory: Memory) -> None:
    """As when it came back from an older backup: what the catalogue says then is of no use."""
    first = memory.save("a.txt", "one")
    path = segment_path(memory)
    shorter = path.read_bytes()
    lost = memory.save("a.txt", "two")
    overwrite(path, shorter)
    memory.reopen()
    assert memory.store.head() == first.id
    assert [version.id for version in memory.versions()] == [first.id]
    assert any("shorter" in warning for warning in memory.repository.warnings)
    report = memory.store.commit_report()
    assert report.version is not None
    assert report.version.parents == (first.id,)
    assert any("shorter" in warning for warning in report.warnings)
    assert memory.store.read("a.txt") == b"two"
    assert [problem.id for problem in memory.store.verify().problems] == [str(lost.id)]
    assert memory.store.repair().ok
    assert memory.store.read("a.txt", at=lost) == b"two"
    assert memory.store.head() == report.version.id


# -- HEAD --------------------------------------------------------------------------------------------------


def test_without_any_log_head_is_what_the_reflog_said_last(memory: Memory, tmp_path: Path) -> None:
    memory.save("a.txt", "one")
    memory.store.set_remote(str(tmp_path / "remote"))
    memory.store.push()
    second = memory.save("a.txt", "two")
    memory.store.push()
    forget_catalogue(memory)
    for path in (memory.state / "segments").iterdir():
        path.unlink()
    memory.reopen()
    assert memory.store.head() == second.id
    assert memory.store.status().clean
    memory.save("a.txt", "three")


def test_a_line_of_the_reflog_that_is_cut_short_is_passed_over(memory: Memory, tmp_path: Path) -> None:
    first = memory.save("a.txt", "one")
    memory.store.set_remote(str(tmp_path / "remote"))
    memory.store.push()
    with (memory.state / "reflog").open("ab") as file:
        file.write(str(first.id).encode()[:40])
    second = memory.save("a.txt", "two")
    memory.store.push()
    forget_catalogue(memory)
    for path in (memory.state / "segments").iterdir():
        path.unlink()
    memory.reopen()
    assert memory.store.head() == second.id


def test_a_store_whose_format_file_is_gone_says_so(memory: Memory) -> None:
    memory.close()
    (memory.state / "format").unlink()
    with pytest.raises(DamagedData, match="format"):
        Store.open(memory.root)
