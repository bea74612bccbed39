"""A log that is damaged, or lost what it had: the harm costs what it hit, and nothing is thrown away."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import pytest

from memstore import Store, files
from memstore.errors import DamagedData
from memstore.ids import ContentId, VersionId
from memstore.manifest.records import LOST_NOTE
from memstore.manifest.version import Version
from memstore.objects.segment import COMMIT_LENGTH
from tests.conftest import Memory
from tests.open_segment import flip, forget_catalogue, groups, overwrite, segment_path, whole

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
