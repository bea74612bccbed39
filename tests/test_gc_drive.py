"""gc on Google Drive: the same two steps, by the emulator."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from memstore.manifest.retention import Rules
from memstore.reports import GcReport
from tests.drive_emulator import DriveEmulator
from tests.drive_memory import DriveMemory, no_waiting

AT_ONCE = "[mirror]\nenabled = false\n[gc]\ngrace_hours = 0\n"


@pytest.fixture
def emulator() -> Iterator[DriveEmulator]:
    with DriveEmulator() as running, no_waiting(running):
        yield running


@pytest.fixture
def memory(tmp_path: Path, emulator: DriveEmulator) -> DriveMemory:
    made = DriveMemory(tmp_path, emulator)
    (made.root / ".memsync" / "config.toml").write_text(AT_ONCE)
    return made


def gc(memory: DriveMemory, rules: Rules) -> GcReport:
    with memory.open() as store:
        report = store.gc(rules)
    assert report.error is None, report.error
    return report


def there(memory: DriveMemory, part: str) -> list[str]:
    """The names in `packs/` or `heads/` on Drive."""
    folder = f"/.memsync/{part}/"
    return sorted(path.rpartition("/")[2] for path in memory.emulator.tree() if folder in path)


def test_a_collection_marks_and_deletes_and_what_is_kept_reads_back_from_drive(memory: DriveMemory) -> None:
    for number in range(4):
        memory.commit({"note.txt": f"{number}\n".encode() * 40, f"{number}.txt": b"stays\n"})
        assert memory.push().error is None
    before = set(there(memory, "packs"))
    report = gc(memory, Rules(last=1))
    assert (report.removed, report.marked, report.deleted) == (3, 4, 4)
    (pack,) = there(memory, "packs")
    assert pack not in before
    assert not memory.emulator.violations
    with memory.open() as store:
        assert store.verify(remote=True, read_data=True).ok
    memory.commit({"more.txt": b"more\n"})
    assert memory.push().status == "success"
    assert memory.push().status == "nothing"
    assert gc(memory, Rules()).error is None
    with memory.open() as store:
        assert store.verify(remote=True, read_data=True).ok
