"""The logs that other programs read: whole lines, exact keys, and never a reason to fail."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path
from typing import Any

import pytest

from memstore import files, logs
from memstore.errors import DiskTrouble
from memstore.ids import ContentId
from memstore.logs import ArchiveLine, UploadLine, log_archived, log_uploads
from memstore.workspace import Workspace

TWO_O_CLOCK = 1_745_416_800_000
"""2025-04-23T14:00:00Z."""


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace.create(tmp_path, {})


def upload(file: str, **more: Any) -> UploadLine:
    return UploadLine(time_ms=TWO_O_CLOCK, file=file, status="success", attempts=1, **more)


def lines_of(path: str) -> list[dict[str, Any]]:
    text = Path(path).read_text(encoding="utf-8")
    assert text.endswith("\n")
    return [json.loads(line) for line in text.splitlines()]


def test_an_upload_line_is_the_contract_s(workspace: Workspace) -> None:
    line = upload(
        "Meta/AI_Architecture.txt",
        context_tags=["llama"],
        chat_name="GPT Memory Build",
        notes="Uploaded cleanly after append",
    )
    assert log_uploads(workspace, [line]) is None
    assert Path(workspace.upload_log).read_text(encoding="utf-8") == (
        '{"timestamp": "2025-04-23T14:00:00Z", "file": "Meta/AI_Architecture.txt", "status": "success", '
        '"attempts": 1, "context_tags": ["llama"], "chat_name": "GPT Memory Build", '
        '"notes": "Uploaded cleanly after append"}\n'
    )


def test_an_archive_line_is_the_contract_s(workspace: Workspace) -> None:
    content = ContentId.of(b"one\n")
    line = ArchiveLine(
        time_ms=TWO_O_CLOCK + 120_999,
        file="Meta/AI_Architecture.txt",
        archived_as="Archive/Meta/AI_Architecture_2025-04-23T14-02-00Z.txt",
        content=content,
        reason="new summary",
    )
    assert log_archived(workspace, [line], locked=True) is None
    assert Path(workspace.archive_log).read_text(encoding="utf-8") == (
        '{"timestamp": "2025-04-23T14:02:00Z", "file": "Meta/AI_Architecture.txt", '
        '"archived_as": "Archive/Meta/AI_Architecture_2025-04-23T14-02-00Z.txt", '
        f'"input_hash": "{content}", "reason": "new summary"}}\n'
    )


def test_lines_are_added_in_order_and_none_make_no_file(workspace: Workspace) -> None:
    assert log_uploads(workspace, []) is None
    assert not os.path.exists(workspace.upload_log)
    log_uploads(workspace, [upload("a"), upload("b")])
    log_uploads(workspace, [upload("c")], locked=True)
    assert [line["file"] for line in lines_of(workspace.upload_log)] == ["a", "b", "c"]


def test_people_s_words_stay_readable_and_stray_bytes_come_back(workspace: Workspace) -> None:
    stray = os.fsdecode(b"bad\xff.txt") if os.name == "posix" else "bad\udcff.txt"
    log_uploads(workspace, [upload(stray, notes="Grüße\nan 🧠\u2028")])
    raw = Path(workspace.upload_log).read_bytes()
    assert "Grüße".encode() in raw
    assert raw.count(b"\n") == 1
    (line,) = [json.loads(row) for row in raw.decode().split("\n") if row]
    assert (line["file"], line["notes"]) == (stray, "Grüße\nan 🧠\u2028")


def test_half_a_line_that_a_crash_left_does_not_spoil_the_next(workspace: Workspace) -> None:
    Path(workspace.upload_log).write_text('{"timestamp": "2025-')
    log_uploads(workspace, [upload("a")])
    torn, whole = Path(workspace.upload_log).read_text().splitlines()
    assert torn == '{"timestamp": "2025-'
    assert json.loads(whole)["file"] == "a"


def test_a_log_in_a_folder_of_its_own_makes_the_folder(tmp_path: Path) -> None:
    (tmp_path / "paths.json").write_text('{"upload_log": "logs/deep/up.json"}')
    workspace = Workspace.create(tmp_path, {})
    assert log_uploads(workspace, [upload("a")]) is None
    assert len(lines_of(workspace.upload_log)) == 1


def test_a_log_that_is_a_folder_is_a_warning(workspace: Workspace) -> None:
    os.mkdir(workspace.archive_log)
    line = ArchiveLine(TWO_O_CLOCK, "a", "Archive/a", ContentId.of(b""))
    for locked in (True, False):
        warning = log_archived(workspace, [line], locked=locked)
        assert warning is not None
        assert workspace.archive_log in warning


def test_a_full_disk_is_a_warning(workspace: Workspace) -> None:
    def full(step: str, path: str, data: bytes) -> None:
        if step == "write":
            raise DiskTrouble(f"could not write {path}: no space left", hint="free some space")

    with files.watch(full):
        warning = log_uploads(workspace, [upload("a")])
    assert warning == f"the log was not written: could not write {workspace.upload_log}: no space left"


def test_a_lock_that_another_keeps_is_a_warning(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    import filelock

    monkeypatch.setattr(logs, "LOCK_SECONDS", 0)
    with filelock.FileLock(os.path.join(workspace.state, logs.LOCK_NAME)):
        assert log_uploads(workspace, [upload("a")]) is not None
    assert log_uploads(workspace, [upload("b")]) is None
    assert [line["file"] for line in lines_of(workspace.upload_log)] == ["b"]


def test_many_writers_leave_whole_lines(workspace: Workspace) -> None:
    def write(name: str) -> None:
        for number in range(10):
            assert log_uploads(workspace, [upload(f"{name}{number}", notes="x" * 3000)]) is None

    threads = [threading.Thread(target=write, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = [line["file"] for line in lines_of(workspace.upload_log)]
    assert sorted(found) == sorted(f"{name}{number}" for name in "abcd" for number in range(10))
    assert [name for name in found if name.startswith("a")] == [f"a{number}" for number in range(10)]
