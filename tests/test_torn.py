"""`torn/`: what killed commits leave there goes after 30 days, and never while the store might need it."""

from __future__ import annotations

import json
import os
import time
import types
from pathlib import Path

import pytest

from memstore.actions import torn
from tests.command_line import run
from tests.conftest import Memory

DAY = 86_400


def later(patch: pytest.MonkeyPatch, days: float) -> None:
    """From here on it is so many days later, as far as `torn/` is concerned."""
    now = time.time_ns() + int(days * DAY * 1e9)
    patch.setattr(torn, "time", types.SimpleNamespace(time_ns=lambda: now))


@pytest.fixture
def memory(memory: Memory) -> Memory:
    """A commit was killed when it had written 5,000 bytes."""
    memory.save("note.txt", "a note\n")
    memory.store.close()
    (segment,) = (memory.state / "segments").glob("*.seg")
    with segment.open("ab") as file:
        file.write(b"x" * 5000)
    memory.reopen()
    memory.save("note.txt", "another note\n")
    assert [path.stat().st_size for path in lying(memory)] == [5000]
    return memory


def lying(memory: Memory) -> list[Path]:
    return sorted(memory.state.glob("torn/*"))


@pytest.mark.parametrize(("days", "goes"), [(29, False), (31, True)])
def test_what_a_killed_commit_left_goes_with_a_collection_after_thirty_days(
    memory: Memory, monkeypatch: pytest.MonkeyPatch, days: int, goes: bool
) -> None:
    later(monkeypatch, days)
    planned = memory.store.gc_dry_run()
    assert (planned.torn, planned.torn_bytes, len(lying(memory))) == (goes, 5000 * goes, 1)
    report = memory.store.gc()
    assert (report.torn, report.torn_bytes, len(lying(memory))) == (goes, 5000 * goes, 1 - goes)
    assert memory.store.gc().torn == 0
    assert memory.store.verify().ok


def test_a_file_with_old_bytes_that_came_there_just_now_stays(memory: Memory) -> None:
    (path,) = lying(memory)
    os.utime(path, (0, 0))
    assert memory.store.gc().torn == 0
    assert lying(memory) == [path]


def test_nothing_goes_while_something_is_damaged_and_the_note_says_why(
    memory: Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory.store.gc()
    (pack,) = (memory.state / "packs").glob("*.pack")
    pack.chmod(0o644)
    whole = pack.read_bytes()
    pack.write_bytes(whole[:200] + bytes([whole[200] ^ 1]) + whole[201:])
    memory.reopen()
    later(monkeypatch, 31)
    notes: list[str] = []
    assert torn.clear(memory.repository, notes, dry_run=False) == []
    assert len(lying(memory)) == 1 and "memsync repair" in notes[0]
    pack.write_bytes(whole)
    memory.reopen()
    assert len(torn.clear(memory.repository, notes, dry_run=False)) == 1
    assert not lying(memory)


def test_the_store_is_read_for_it_only_where_something_is_old(
    memory: Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    from memstore.actions import verify

    def fails(*_: object, **__: object) -> None:
        raise AssertionError("all was read")

    monkeypatch.setattr(verify, "verify", fails)
    later(monkeypatch, 29)
    memory.store.gc()
    later(monkeypatch, 31)
    with pytest.raises(AssertionError, match="all was read"):
        memory.store.gc()


def test_a_link_in_it_is_left_alone(memory: Memory, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_bytes(b"precious\n")
    try:
        (memory.state / "torn" / "link").symlink_to(precious)
    except OSError:
        pytest.skip("no links here")
    later(monkeypatch, 31)
    assert memory.store.gc().torn == 1
    assert precious.read_bytes() == b"precious\n" and (memory.state / "torn" / "link").is_symlink()


def test_status_tells_of_it_once_it_is_large(memory: Memory, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not memory.store.status().warnings
    monkeypatch.setattr(torn, "LARGE", 5000)
    (warning,) = memory.store.status().warnings
    assert "memsync gc" in warning and str(memory.state / "torn") in warning


def test_the_command_says_what_goes(memory: Memory, monkeypatch: pytest.MonkeyPatch) -> None:
    later(monkeypatch, 31)
    memory.store.close()
    monkeypatch.chdir(memory.root)
    said = "in torn/ 1 old file of commits that were cut off (5.0 KB) would go"
    assert said in run("gc", "--dry-run").stdout
    assert json.loads(run("gc", "--json").stdout)["torn"] == {"removed": 1, "bytes": 5000}
    memory.reopen()
