"""Copies of a workspace, and logs that came from elsewhere: none is appended to, none is thrown away."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from tests.conftest import Memory
from tests.open_segment import forget_catalogue, overwrite, segment_path


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
