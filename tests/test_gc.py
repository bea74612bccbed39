"""gc: what no kept version holds leaves with a tombstone, and all the rest reads back, however it was stored."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from memstore import Store, files
from memstore.actions.compact import to_merge
from memstore.errors import DamagedData, DiskTrouble
from memstore.ids import ContentId, VersionId
from memstore.manifest.retention import Rules
from memstore.manifest.version import Version
from memstore.objects.reader import Removed
from memstore.objects.record import Encoding, RecordKind
from tests.command_line import run
from tests.conftest import Memory

LAST = Rules(last=1)
EVERYTHING = Rules()


def text(number: int, lines: int = 60) -> str:
    noise = random.Random(number)
    changed = number % lines
    rows = [f"line {line} of the note, as it always was\n" for line in range(lines)]
    rows[changed] = f"{noise.random()} is new in {number}\n"
    return "".join(rows)


def grow(memory: Memory, versions: int, path: str = "note.txt") -> list[Version]:
    """So many versions of one note, each a delta on the one before."""
    return [memory.save(path, path + text(number), note=f"turn {number}") for number in range(versions)]


def gone(memory: Memory, version: Version, path: str = "note.txt") -> bool:
    try:
        memory.store.read(path, at=version)
    except Removed:
        return True
    return False


def forms(memory: Memory, content: ContentId) -> list[Any]:
    return [row for row in memory.repository.catalogue.locations(content) if row.kind == RecordKind.CONTENT]


def content_of(version: Version, path: str = "note.txt") -> ContentId:
    (entry,) = [change.entry for change in version.changes if change.path == path]
    assert entry is not None
    return entry.content


def packs(memory: Memory) -> list[str]:
    return files.names(str(memory.state / "packs"))


def forget_catalogue(memory: Memory) -> Store:
    memory.store.close()
    for path in memory.state.glob("catalogue.sqlite*"):
        path.unlink()
    return memory.reopen()


# -- what leaves -----------------------------------------------------------------------------------------------


def test_show_and_diff_say_of_a_removed_content_that_it_was_removed_and_when(
    memory: Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    versions = grow(memory, 4)
    memory.store.gc(LAST)
    monkeypatch.chdir(memory.root)
    said = f"content {str(content_of(versions[0]))[:12]} was removed by retention"
    for command in (("show", str(versions[1].id)), ("diff", str(versions[0].id), str(versions[3].id))):
        told = run(*command)
        assert told.exit_code == 0
        assert said in told.stdout and "binary" not in told.stdout and "@@" not in told.stdout
        (row,) = json.loads(run(*command, "--json").stdout)["differences"]
        assert row["binary"] is False and row["diff"] is None
        assert any(sentence.startswith(said) for sentence in row["removed"])


def test_without_rules_nothing_leaves(memory: Memory) -> None:
    versions = grow(memory, 5)
    report = memory.store.gc()
    assert (report.removed, report.versions_kept) == (0, 5)
    assert [memory.store.read("note.txt", at=version).decode() for version in versions] == [
        "note.txt" + text(number) for number in range(5)
    ]


def test_what_no_kept_version_holds_leaves_and_the_rest_reads_back(memory: Memory) -> None:
    memory.save("other.txt", "stays as it is\n")
    versions = grow(memory, 8)
    report = memory.store.gc(Rules(last=3))
    assert (report.removed, report.versions_kept, report.versions) == (5, 3, 9)
    assert [gone(memory, version) for version in versions] == [True] * 5 + [False] * 3
    assert memory.store.read("note.txt").decode() == "note.txt" + text(7)
    assert memory.store.read("other.txt", at=versions[-3]) == b"stays as it is\n"
    assert memory.store.verify().ok
    forget_catalogue(memory)
    assert memory.store.verify().ok
    assert memory.store.read("note.txt", at=versions[5]).decode() == "note.txt" + text(5)


def test_every_version_record_stays(memory: Memory) -> None:
    versions = grow(memory, 6)
    memory.store.gc(LAST)
    forget_catalogue(memory)
    assert [version.id for version in memory.versions()] == [version.id for version in versions]
    assert [change.path for change in memory.versions()[0].changes] == ["note.txt"]


def test_what_is_gone_says_when_and_why(memory: Memory) -> None:
    versions = grow(memory, 3)
    memory.store.gc(LAST)
    with pytest.raises(Removed) as caught:
        memory.store.read("note.txt", at=versions[0])
    assert "removed by retention" in caught.value.message
    assert caught.value.exit_code == 8


def test_a_delta_whose_base_goes_is_encoded_anew_and_leans_on_the_next_that_stays(memory: Memory) -> None:
    versions = [memory.save("note.txt", text(number), context_tags=["k"] if number in (2, 6) else [])
                for number in range(9)]  # fmt: skip
    memory.store.gc(Rules(last=1, tags=("k",)))
    kept = [versions[number] for number in (2, 6, 8)]
    stored = [row for version in kept for row in forms(memory, content_of(version))]
    assert [row.encoding for row in stored] == [Encoding.ZSTD, Encoding.DELTA, Encoding.DELTA]
    assert [row.base for row in stored] == [None, stored[0].key, stored[1].key]
    assert stored[0].rank == 0 < stored[1].rank < stored[2].rank
    assert [memory.store.read("note.txt", at=version).decode() for version in kept] == [
        text(2),
        text(6),
        text(8),
    ]


def test_large_files_leave_with_the_pieces_that_no_other_has(memory: Memory) -> None:
    noise = random.Random(5).randbytes(18 << 20)
    first = memory.save("big.bin", noise)
    memory.save("big.bin", noise[: 17 << 20] + b"another end")
    assert memory.store.gc(LAST).removed == 1
    assert gone(memory, first, "big.bin")
    assert memory.store.read("big.bin") == noise[: 17 << 20] + b"another end"
    assert memory.store.verify().ok
    assert sum(path.stat().st_size for path in (memory.state / "packs").iterdir()) < 20 << 20


def test_what_was_archived_by_name_stays_unless_told_otherwise(memory: Memory) -> None:
    plan = memory.save("plan.txt", "a plan\n")
    memory.store.archive(["plan.txt"])
    replaced = memory.save("note.txt", "one\n")
    memory.save("note.txt", "two\n")
    memory.store.gc(LAST)
    assert not gone(memory, plan, "plan.txt")
    assert gone(memory, replaced)
    memory.store.gc(LAST, keep_archived=False)
    assert gone(memory, plan, "plan.txt")


def test_a_content_that_is_committed_again_is_there_again_and_stays(memory: Memory) -> None:
    first, *_ = grow(memory, 4)
    memory.store.gc(LAST)
    again = memory.save("copy.txt", "note.txt" + text(0))
    assert memory.store.read("note.txt", at=first).decode() == "note.txt" + text(0)
    memory.save("copy.txt", "something else\n")
    memory.store.gc(EVERYTHING)
    assert memory.store.read("copy.txt", at=again).decode() == "note.txt" + text(0)


def test_uncommitted_work_and_data_are_not_touched(memory: Memory) -> None:
    grow(memory, 3)
    memory.write("new.txt", "not committed\n")
    before = memory.tree()
    memory.store.gc(LAST)
    assert memory.tree() == before
    assert [row.path for row in memory.store.status().changes] == ["new.txt"]


def test_a_dry_run_says_what_would_go_and_changes_nothing(memory: Memory) -> None:
    versions = grow(memory, 5)
    before = {path: path.read_bytes() for path in memory.state.rglob("*.seg")}
    report = memory.store.gc_dry_run(Rules(last=2))
    assert (report.removed, report.versions_kept, report.dry_run) == (3, 2, True)
    assert report.removed_bytes == sum(len("note.txt" + text(number)) for number in range(3))
    assert {path: path.read_bytes() for path in memory.state.rglob("*.seg")} == before
    assert not any(gone(memory, version) for version in versions)
    assert 0 < report.bytes_after < report.bytes_before


def test_verify_tells_removed_from_missing(memory: Memory) -> None:
    grow(memory, 4)
    memory.store.gc(LAST)
    report = memory.store.verify()
    assert report.ok
    assert any("3 contents were removed" in note for note in report.notes)
    for _, tombstone in list(memory.repository.catalogue.of_kind(RecordKind.TOMBSTONE)):
        memory.repository.catalogue.remove_object(tombstone)
    assert [problem.kind for problem in memory.store.verify().problems] == ["missing_object"] * 3


def test_a_damaged_pack_is_never_copied_into_a_sound_one(memory: Memory) -> None:
    grow(memory, 3)
    memory.store.gc()
    (name,) = packs(memory)
    pack = memory.state / "packs" / name
    content = bytearray(pack.read_bytes())
    content[len(content) // 4] ^= 1
    pack.write_bytes(content)
    with pytest.raises(DamagedData):
        memory.store.gc(LAST)
    assert packs(memory) == [name]


def test_a_copied_history_of_any_shape_survives_being_collected_again_and_again(memory: Memory) -> None:
    """Random saves, copies, deletions, archives and collections by random rules, against a plain model."""
    noise = random.Random(11)
    model: dict[VersionId, dict[str, bytes]] = {}
    tags: dict[VersionId, str] = {}
    removed: set[ContentId] = set()
    for step in range(60):
        path = f"{noise.randrange(4)}.txt"
        roll = noise.random()
        if roll < 0.15 and memory.tree():
            (memory.data / noise.choice(sorted(memory.tree()))).unlink()
        elif roll < 0.3 and memory.tree():
            memory.write(path, noise.choice(sorted(memory.tree().values())))
        else:
            memory.write(path, text(step, 30))
        version = memory.store.commit(context_tags=[str(step % 3)], allow_deletions=True)
        if version is not None:
            model[version.id] = memory.tree()
            tags[version.id] = str(step % 3)
        if step % 6 == 5:
            rules = noise.choice(
                [
                    EVERYTHING,
                    Rules(last=noise.randrange(1, 9)),
                    Rules(last=1, tags=(str(noise.randrange(3)),)),
                ]
            )
            memory.store.gc(rules)
            ordered = [*model]
            keep = set(ordered[-rules.last :] if rules.last else ordered if rules == EVERYTHING else [])
            keep |= {id for id in ordered if tags[id] in rules.tags}
            held = {ContentId.of(raw) for id in keep for raw in model[id].values()}
            for id, files_then in model.items():
                for name, raw in files_then.items():
                    if ContentId.of(raw) in held and ContentId.of(raw) not in removed:
                        assert memory.store.read(name, at=id) == raw
            now = {ContentId.of(raw) for files_then in model.values() for raw in files_then.values()}
            removed = {
                id
                for id in now
                if not any(
                    row.kind == RecordKind.CONTENT for row in memory.repository.catalogue.locations(id)
                )
            }
            assert removed.isdisjoint(held - removed)
            assert memory.store.verify().ok


# -- packs -----------------------------------------------------------------------------------------------------


def test_a_year_of_hourly_pushes_and_daily_collections_never_leaves_a_hundred_packs() -> None:
    """The counts alone, by the function that decides; fossils of the last day are counted as well."""
    noise = random.Random(2)
    sizes: list[int] = []
    most = written = pushed = 0
    fossils = 0
    for hour in range(365 * 24):
        size = noise.randrange(2_000, 40_000)
        sizes.append(size)
        pushed += size
        if hour % 24 == 23:
            names = [(str(number), size) for number, size in enumerate(sizes)]
            merged = {int(name) for name in to_merge(names, 256 << 20)}
            together = sum(sizes[number] for number in merged)
            fossils = len(merged)
            sizes = [size for number, size in enumerate(sizes) if number not in merged] + [together] * bool(
                merged
            )
            written += together
        most = max(most, len(sizes) + fossils)
    assert most <= 90
    assert len(sizes) <= 20
    assert written < 12 * pushed


def test_merging_leaves_one_pack_of_many_and_every_version_in_it(memory: Memory) -> None:
    with memory.repository.writing() as writer:
        pass
    from memstore.actions.seal import seal

    versions = []
    for number in range(6):
        versions.append(memory.save("note.txt", text(number)))
        with memory.repository.writing() as writer:
            seal(memory.repository, writer)
    assert len(packs(memory)) == 6
    report = memory.store.gc()
    assert (report.packs_before, report.packs_after) == (6, 1)
    assert [memory.store.read("note.txt", at=version).decode() for version in versions] == [
        text(number) for number in range(6)
    ]


# -- crashes ---------------------------------------------------------------------------------------------------


class _Cut(BaseException):
    """The process ends."""


@contextmanager
def _cut_at(number: int) -> Iterator[list[str]]:
    steps: list[str] = []

    def observe(step: str, path: str, data: bytes) -> None:
        if step in ("read", "sync_all"):
            return
        steps.append(step)
        if len(steps) == number:
            raise _Cut

    with files.watch(observe):
        yield steps


def _cut_and_mended(root: Path, number: int) -> bool:
    """A collection that ends at the step of that number, and what is there then; whether it got to its end."""
    memory = Memory(root)
    versions = grow(memory, 4)
    memory.store.gc()
    versions += grow(memory, 3, "other.txt")
    finished = False
    try:
        with _cut_at(number) as steps:
            memory.store.gc(Rules(last=3))
            finished = True
    except _Cut:
        pass
    memory.reopen()
    for version, expected in [(versions[-1], text(2)), (versions[-3], text(0))]:
        assert memory.store.read("other.txt", at=version).decode() == "other.txt" + expected, steps[-1]
    assert memory.store.read("note.txt").decode() == "note.txt" + text(3)
    forget_catalogue(memory)
    assert memory.store.verify().ok, steps[-1]
    memory.store.gc(Rules(last=3))
    assert gone(memory, versions[0])
    assert memory.store.verify().ok
    assert len(packs(memory)) == 1
    memory.close()
    return finished


@pytest.mark.crash
def test_cut_at_any_step_on_the_disk_nothing_that_is_kept_is_lost(tmp_path: Path) -> None:
    number = 1
    while not _cut_and_mended(tmp_path / str(number), number):
        number += 1
    assert number > 12


@pytest.mark.parametrize("number", [2, 6, 10, 14, 18, 20])
def test_cut_at_some_step_on_the_disk_nothing_that_is_kept_is_lost(tmp_path: Path, number: int) -> None:
    assert not _cut_and_mended(tmp_path / "memory", number)


def test_a_full_disk_leaves_everything_as_it_was(memory: Memory) -> None:
    versions = grow(memory, 5)

    def full(step: str, path: str, data: bytes) -> None:
        if step == "write" and "packs" in path:
            raise DiskTrouble("no space left", hint="free some")

    with files.watch(full), pytest.raises(DiskTrouble):
        memory.store.gc(LAST)
    assert [memory.store.read("note.txt", at=version).decode() for version in versions] == [
        "note.txt" + text(number) for number in range(5)
    ]
    assert not [name for name in os.listdir(memory.state / "packs") if name.startswith(".")]


def test_the_command_tells_one_content_and_rules_that_keep_everything(
    memory: Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    grow(memory, 2)
    monkeypatch.chdir(memory.root)
    assert "  the rules keep every version; 'memsync gc --help'" in run("gc").stdout
    out = run("gc", "--keep-last", "1").stdout
    assert out.startswith("1 content (")
    assert "  1 of 2 versions keep theirs" in out
    assert "1 content was removed by retention, or forgotten: that is no damage" in run("verify").stdout
