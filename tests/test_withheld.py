"""The workspace's own sign-in files are never committed, under whatever name their bytes come."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from memstore.actions import ingest
from tests.conftest import Memory

TOKEN = b'{"refresh_token": "1//0a-very-secret-one", "client_id": "x"}'


def _copied(source: Path, target: Path) -> None:
    target.write_bytes(source.read_bytes())


def _linked(source: Path, target: Path) -> None:
    os.link(source, target)


def _stored(memory: Memory) -> bytes:
    return b"".join(path.read_bytes() for path in memory.state.rglob("*") if path.is_file())


@pytest.mark.parametrize("put", [_copied, _linked])
@pytest.mark.parametrize("name", ["drive_token.json", "credentials.json"])
def test_a_copy_of_a_sign_in_file_is_left_out_and_named_and_the_rest_is_committed(
    memory: Memory, name: str, put: Callable[[Path, Path], None]
) -> None:
    (memory.root / name).write_bytes(TOKEN)
    memory.write("note.txt", "a note\n")
    put(memory.root / name, memory.data / "innocent.txt")
    report = memory.store.commit_report()
    assert report.version is not None
    assert [change.path for change in report.version.changes] == ["note.txt"]
    (warning,) = report.warnings
    assert "innocent.txt" in warning
    assert "never committed" in warning
    assert b"very-secret" not in _stored(memory)


def test_a_note_that_becomes_the_token_stays_as_it_was(memory: Memory) -> None:
    (memory.root / "drive_token.json").write_bytes(TOKEN)
    memory.save("note.txt", "a note\n")
    memory.write("note.txt", TOKEN)
    assert memory.store.commit_report().version is None
    assert memory.store.read("note.txt") == b"a note\n"
    assert b"very-secret" not in _stored(memory)


def test_among_very_many_files_it_is_found_as_well(memory: Memory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ingest, "MANY", 4)
    (memory.root / "drive_token.json").write_bytes(TOKEN)
    for number in range(8):
        memory.write(f"{number}.txt", f"note {number}\n")
    memory.write("5a.txt", TOKEN)
    report = memory.store.commit_report()
    assert report.version is not None
    assert len(report.version.changes) == 8
    assert len(report.warnings) == 1
    assert b"very-secret" not in _stored(memory)
    assert memory.store.verify().ok


def test_an_empty_token_file_keeps_no_empty_note_out(memory: Memory) -> None:
    (memory.root / "drive_token.json").write_bytes(b"")
    memory.save("empty.txt", "")
