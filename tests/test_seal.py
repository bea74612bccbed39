"""Sealing copies, and takes away only what it has copied: cut it anywhere and nothing is lost, nothing grows."""

from __future__ import annotations

import os
import random
import shutil
import time
from pathlib import Path
from typing import Any

import pytest

from memstore import Store, files
from memstore.actions.seal import seal
from memstore.errors import DamagedData, DiskTrouble
from memstore.ids import VersionId
from memstore.objects.catalogue import PlaceKind
from memstore.objects.record import PIECE_LIMIT
from memstore.objects.segment import Segment
from tests.conftest import Memory


def live(memory: Memory, turns: int, seed: int = 1) -> dict[VersionId, dict[str, bytes]]:
    """A few commits; what each version holds."""
    noise = random.Random(seed)
    expected = {}
    for number in range(turns):
        memory.write("note.txt", "".join(f"line {line} of {seed}.{number}\n" for line in range(40 + number)))
        memory.write(f"{number % 3}.bin", noise.randbytes(400))
        expected[memory.commit(note=f"turn {number}").id] = memory.tree()
    return expected


def whole(memory: Memory, expected: dict[VersionId, dict[str, bytes]]) -> None:
    assert {version.id for version in memory.versions()} == set(expected)
    for id, tree in expected.items():
        found = {entry.path: memory.repository.read(entry.content) for entry in memory.repository.entries(id)}
        assert found == tree


def sealed(memory: Memory) -> list[str]:
    with memory.repository.writing() as writer:
        return [pack.name for pack in seal(memory.repository, writer)]


def names(memory: Memory, folder: str) -> list[str]:
    return files.names(str(memory.state / folder))


def forget_catalogue(memory: Memory) -> Store:
    memory.store.close()
    for path in memory.state.glob("catalogue.sqlite*"):
        path.unlink()
    return memory.reopen()


def flip(path: Path, at: int) -> None:
    content = bytearray(path.read_bytes())
    content[at] ^= 0x10
    with path.open("r+b") as file:
        file.write(content)


# -- what it does ------------------------------------------------------------------------------------------


def test_all_versions_and_objects_move_to_one_pack_and_the_old_log_goes(memory: Memory) -> None:
    expected = live(memory, 8)
    (before,) = names(memory, "segments")
    (pack,) = sealed(memory)
    assert names(memory, "packs") == [pack + ".pack"]
    (after,) = names(memory, "segments")
    assert after != before
    segment = Segment(str(memory.state / "segments" / after))
    assert [(group.records, group.head) for group in segment.scan().groups] == [(0, memory.store.head())]
    segment.close()
    kinds = memory.repository.catalogue.db.execute(
        "SELECT DISTINCT places.kind FROM objects JOIN places USING (place) UNION "
        "SELECT DISTINCT places.kind FROM versions JOIN places USING (place)"
    ).fetchall()
    assert kinds == [(PlaceKind.PACK,)]
    whole(memory, expected)
    forget_catalogue(memory)
    whole(memory, expected)
    assert memory.store.verify().problems == ()


def test_nothing_new_makes_no_pack(memory: Memory) -> None:
    assert sealed(memory) == []
    live(memory, 2)
    assert len(sealed(memory)) == 1
    segments = names(memory, "segments")
    assert sealed(memory) == []
    assert names(memory, "segments") == segments


def test_heads_never_enter_a_pack_but_the_reflog(memory: Memory) -> None:
    live(memory, 3)
    head = memory.store.head()
    (pack,) = sealed(memory)
    assert bytes(head or b"") not in (memory.state / "packs" / f"{pack}.pack").read_bytes()
    assert (memory.state / "reflog").read_text().splitlines()[-1].startswith(str(head))


def test_past_the_size_limit_there_are_several_packs_and_all_metadata_is_in_the_last(memory: Memory) -> None:
    memory.reconfigured("[push]\npack_size = 1_048_576\n")
    noise = random.Random(4)
    for number in range(6):
        memory.write(f"{number}.bin", noise.randbytes(500_000))
    memory.commit()
    packs = sealed(memory)
    assert len(packs) == 3
    rows = memory.repository.catalogue.db.execute(
        "SELECT DISTINCT places.name FROM versions JOIN places USING (place)"
    ).fetchall()
    assert rows == [(packs[-1],)]
    forget_catalogue(memory)
    assert memory.manifest() == memory.tree()
    assert memory.store.verify().problems == ()


def test_a_large_files_pieces_and_recipe_are_sealed(memory: Memory) -> None:
    content = random.Random(6).randbytes(PIECE_LIMIT + 100)
    memory.save("large.bin", content)
    sealed(memory)
    forget_catalogue(memory)
    assert memory.store.read("large.bin") == content


def test_a_delta_may_lean_on_an_earlier_pack(memory: Memory) -> None:
    expected: dict[VersionId, dict[str, bytes]] = {}
    for seed in range(4):
        expected |= live(memory, 3, seed)
        sealed(memory)
    assert len(names(memory, "packs")) == 4
    forget_catalogue(memory)
    whole(memory, expected)


# -- the order of its steps --------------------------------------------------------------------------------


def test_packs_are_durable_before_the_reflog_the_new_log_before_the_old_goes(memory: Memory) -> None:
    live(memory, 3)
    (old,) = names(memory, "segments")
    steps: list[str] = []

    def note(step: str, path: str, data: bytes) -> None:
        name = os.fsdecode(data) if step == "rename" else path
        what = next(
            (word for word in ("packs", "segments", "reflog") if word in name.split(os.sep)[-2:]), "state"
        )
        steps.append("old log goes" if step == "remove" and name.endswith(old) else f"{step} {what}")

    with files.watch(note):
        sealed(memory)
    order = [
        "sync packs",
        "rename packs",
        "sync_dir packs",
        "sync reflog",
        "sync segments",
        "rename segments",
        "sync_dir segments",
        "old log goes",
    ]
    at = -1
    for step in order:
        at = steps.index(step, at + 1)
    # What another process's cut seal left is made durable too, before the log that has it goes.
    assert "sync_dir packs" in steps[steps.index("rename segments") : steps.index("old log goes")]


class Cut(Exception):
    """The process ends here."""


@pytest.mark.parametrize("error", [Cut(), DiskTrouble("no room")], ids=["killed", "no room"])
@pytest.mark.parametrize("forgetful", [False, True], ids=["catalogue kept", "catalogue lost"])
def test_cut_at_any_step_nothing_is_lost_and_the_next_push_goes_through(
    memory: Memory, tmp_path: Path, error: Exception, forgetful: bool
) -> None:
    remote = tmp_path / "remote"
    memory.store.set_remote(str(remote))
    expected = live(memory, 3)
    step = 0
    cut = True
    while cut:
        step += 1
        seen = 0

        def stop(what: str, path: str, data: bytes, step: int = step) -> None:
            nonlocal seen
            if what != "read":
                seen += 1
                if seen == step:
                    raise error

        cut = False
        try:
            with files.watch(stop):
                sealed(memory)
        except (Cut, DiskTrouble):
            cut = True
        if forgetful:
            forget_catalogue(memory)
        else:
            memory.reopen()
        whole(memory, expected)
        assert memory.store.status().clean
        # Work goes on between one cut and the next.
        memory.write("note.txt", f"after the cut at {step}\n" * 30)
        expected[memory.commit().id] = memory.tree()
    assert step > 10
    assert memory.store.verify().problems == ()
    assert memory.store.push().status == "success"
    whole(memory, expected)
    assert len(names(memory, "segments")) == 1
    assert not any(name.startswith(files.TEMPORARY_PREFIX) for name in names(memory, "packs"))
    forms = memory.repository.catalogue.db.execute(
        "SELECT max(n) FROM (SELECT count(*) AS n FROM objects GROUP BY short)"
    )
    assert forms.fetchone()[0] == 1, "nothing was stored twice"
    clone = Memory.__new__(Memory)
    Store.clone(str(remote), tmp_path / "clone").close()
    clone = Memory(tmp_path / "clone")
    whole(clone, expected)
    clone.close()


def test_cut_between_pack_and_log_again_and_again_stores_nothing_twice(memory: Memory) -> None:
    expected = live(memory, 4)

    def stop(what: str, path: str, data: bytes) -> None:
        if what in ("rename", "write") and "segments" in path:
            raise Cut

    for _ in range(6):
        with files.watch(stop), pytest.raises(Cut):
            sealed(memory)
        memory.reopen()
    assert len(names(memory, "packs")) == 1
    size = sum(path.stat().st_size for path in (memory.state / "packs").iterdir())
    sealed(memory)
    assert sum(path.stat().st_size for path in (memory.state / "packs").iterdir()) == size
    assert len(names(memory, "segments")) == 1
    whole(memory, expected)


def test_what_a_killed_seal_left_half_written_goes_after_a_day(memory: Memory) -> None:
    live(memory, 1)
    old = memory.state / "packs" / (files.TEMPORARY_PREFIX + "0011223344556677")
    young = memory.state / "packs" / (files.TEMPORARY_PREFIX + "8899aabbccddeeff")
    for path in (old, young):
        path.write_bytes(b"half a pack")
    two_days_ago = time.time() - 2 * 24 * 3600
    os.utime(old, (two_days_ago, two_days_ago))
    sealed(memory)
    assert not old.exists()
    assert young.exists()


# -- damage and copies -------------------------------------------------------------------------------------


def damaged_group(path: Path, number: int) -> tuple[int, int]:
    segment = Segment(str(path))
    ends = [group.end for group in segment.scan().groups]
    segment.close()
    return ends[number], ends[number + 1]


@pytest.mark.parametrize("rebuilt", [False, True], ids=["catalogue kept", "catalogue lost"])
def test_from_a_damaged_log_all_that_is_sound_is_sealed_and_the_log_is_kept(
    memory: Memory, tmp_path: Path, rebuilt: bool
) -> None:
    """A byte of one content is wrong: that content is lost, no version is, and a clone gets all the rest."""
    remote = str(tmp_path / "remote")
    memory.store.set_remote(remote)
    memory.save("first.txt", "first")
    (path,) = (memory.state / "segments").iterdir()
    hit = memory.save("hit.bin", os.urandom(300))
    memory.save("last.txt", "last")
    flip(path, damaged_group(path, 1)[0] + 100)
    content = path.read_bytes()
    if rebuilt:
        forget_catalogue(memory)
    else:
        memory.reopen()
    assert memory.store.push(mirror=False).status == "success"
    assert (memory.state / "torn" / path.name).read_bytes() == content
    for number in range(2):
        if number:
            forget_catalogue(memory)
        assert len(memory.versions()) == 3
        problems = {(problem.kind, problem.paths) for problem in memory.store.verify().problems}
        assert problems == {("missing_object", ("hit.bin",))}
    # Committed again from Data/, where it still lies, the content is whole.
    (memory.data / "hit.bin").rename(memory.data / "saved.bin")
    memory.commit()
    assert memory.store.read("hit.bin", at=hit) == (memory.data / "saved.bin").read_bytes()
    assert memory.store.verify().problems == ()
    assert memory.store.push().status == "success"
    clone = Store.clone(remote, tmp_path / "clone")
    assert len(list(clone.history())) == 4
    assert clone.verify().problems == ()
    clone.close()


def test_a_version_record_that_no_longer_decodes_is_made_again_from_the_catalogue(
    memory: Memory, tmp_path: Path
) -> None:
    """The same bytes have the same hash: while the catalogue remembers, nothing of history is lost."""
    remote = str(tmp_path / "remote")
    memory.store.set_remote(remote)
    expected = {}
    for number in range(4):
        memory.write("note.txt", f"turn {number}\n" * 9)
        version = memory.commit(note=f"turn {number}", context_tags=["a", "b"], chat_name="chat", actor="x")
        expected[version.id] = memory.tree()
    (path,) = (memory.state / "segments").iterdir()
    end = damaged_group(path, 2)[1]
    flip(path, end - 81 - 20)
    memory.reopen()
    assert memory.store.push().status == "success"
    forget_catalogue(memory)
    whole(memory, expected)
    assert memory.store.verify().problems == ()
    Store.clone(remote, tmp_path / "clone").close()
    clone = Memory(tmp_path / "clone")
    whole(clone, expected)
    clone.close()


def test_the_log_of_a_copied_workspace_is_sealed_with_our_own(tmp_path: Path) -> None:
    memory = Memory(tmp_path / "first")
    expected = live(memory, 3)
    memory.close()
    shutil.copytree(memory.root, tmp_path / "second")
    copy = Memory(tmp_path / "second")
    copy.write("note.txt", "the copy's")
    expected[copy.commit().id] = copy.tree()
    assert len(names(copy, "segments")) == 2
    sealed(copy)
    assert len(names(copy, "segments")) == 1
    whole(copy, expected)
    copy.close()


def test_a_reader_that_had_the_old_log_open_finds_everything_in_the_pack(memory: Memory) -> None:
    expected = live(memory, 4)
    other = Store.open(memory.root)
    assert other.read("note.txt") == memory.tree()["note.txt"]
    sealed(memory)
    for id, tree in expected.items():
        for path, content in tree.items():
            assert other.read(path, at=id) == content
    other.close()


def test_a_stream_that_is_half_read_goes_on_when_the_log_is_sealed(memory: Memory) -> None:
    content = random.Random(7).randbytes(3 * PIECE_LIMIT)
    memory.save("large.bin", content)
    other = Store.open(memory.root)
    stream = other.read_stream("large.bin")
    got = [next(stream)]
    other.repository.reader.close()  # as if it had been opened by name each time
    sealed(memory)
    got += stream
    assert b"".join(got) == content
    other.close()


def test_a_missing_pack_is_named_with_the_paths_it_held(memory: Memory) -> None:
    live(memory, 2)
    (pack,) = sealed(memory)
    memory.save("later.txt", "later")
    (memory.state / "packs" / f"{pack}.pack").unlink()
    memory.reopen()
    assert memory.store.read("later.txt") == b"later"
    with pytest.raises(DamagedData):
        memory.store.read("note.txt")
    problems: dict[str, Any] = {problem.kind: problem for problem in memory.store.verify().problems}
    assert "missing_object" in problems
    assert "note.txt" in problems["missing_object"].paths or "0.bin" in problems["missing_object"].paths
