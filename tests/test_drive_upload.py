"""`drive_upload` end to end on Drive: what it answers, what it logs, and what lies there afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from memstore import drive_upload
from tests.drive_emulator import DriveEmulator
from tests.drive_memory import ROOT, DriveMemory, no_waiting, tree

NOTE = "Meta/AI_Architecture.txt"
LINE_KEYS = ["timestamp", "file", "status", "attempts", "context_tags", "chat_name", "notes"]
FACTS: dict[str, Any] = {"file": NOTE, "tags": ["llama"], "chat_name": "GPT Memory Build"}


@pytest.fixture
def emulator() -> Iterator[DriveEmulator]:
    with DriveEmulator() as running, no_waiting(running):
        yield running


@pytest.fixture
def memory(tmp_path: Path, emulator: DriveEmulator, monkeypatch: pytest.MonkeyPatch) -> DriveMemory:
    made = DriveMemory(tmp_path, emulator)
    for name, value in made.environ.items():
        monkeypatch.setenv(name, value)
    return made


def upload(memory: DriveMemory, content: bytes, path: str = NOTE) -> dict[str, Any]:
    memory.write({path: content})
    return {**drive_upload(memory.data / path, {**FACTS, "file": path})}


# -- drive_upload --------------------------------------------------------------------------------------------


def test_an_upload_commits_the_file_sends_it_and_mirrors_it(memory: DriveMemory) -> None:
    memory.write({"Core/other.txt": b"not this one\n"})
    answer = upload(memory, b"a transformer\n")
    assert answer == {
        "status": "success", "attempts": 1, "drive_path": f"Drive/{ROOT}/{NOTE}", "notes": "Uploaded",
    }  # fmt: skip
    assert memory.mirror == {NOTE: b"a transformer\n"}
    assert tree(memory.clone("other")) == {NOTE: b"a transformer\n"}
    (line,) = memory.upload_lines()
    assert list(line) == LINE_KEYS
    assert (line["file"], line["status"], line["attempts"]) == (NOTE, "success", 1)
    assert (line["context_tags"], line["chat_name"]) == (["llama"], "GPT Memory Build")


def test_an_upload_without_a_remote_set_means_drive(memory: DriveMemory) -> None:
    (memory.root / ".memsync" / "remote.json").unlink()
    assert upload(memory, b"a\n")["status"] == "success"
    assert memory.mirror == {NOTE: b"a\n"}


@pytest.mark.parametrize("trouble", ["no token", "Drive away"])
def test_an_upload_that_fails_leaves_no_remote_set_where_none_was(
    memory: DriveMemory, emulator: DriveEmulator, trouble: str
) -> None:
    state = memory.root / ".memsync" / "remote.json"
    state.unlink()
    if trouble == "no token":
        memory.token.unlink()
    else:
        emulator.fault("any status=503")
    assert upload(memory, b"a\n")["status"] == "fail"
    assert not state.exists()
    with memory.open() as store:
        assert store.remote() is None and store.read(NOTE) == b"a\n"


def test_a_first_upload_that_was_cut_half_way_keeps_the_remote_on_which_something_lies(
    memory: DriveMemory, emulator: DriveEmulator
) -> None:
    (memory.root / ".memsync" / "remote.json").unlink()
    emulator.fault("files.create.multipart nth=3.. status=503")  # the format, the pack, then the head
    assert upload(memory, b"a\n")["status"] == "fail"
    emulator.clear_faults()
    with memory.open() as store:
        remote = store.remote()
        assert remote is not None and remote.url == "drive:" and remote.last_error


def test_an_append_is_uploaded_in_place_and_a_replace_keeps_the_old_file_under_archive(
    memory: DriveMemory, emulator: DriveEmulator
) -> None:
    upload(memory, b"one\n")
    first = emulator.person.find(f"{ROOT}/{NOTE}")
    assert upload(memory, b"one\ntwo\n")["status"] == "success"
    assert emulator.person.find(f"{ROOT}/{NOTE}") == first
    assert upload(memory, b"all new\n")["status"] == "success"
    archived = [path for path in memory.mirror if path.startswith("Archive/Meta/AI_Architecture_")]
    assert [memory.mirror[path] for path in archived] == [b"one\ntwo\n"]
    assert memory.mirror[NOTE] == b"all new\n"
    assert [line["status"] for line in memory.upload_lines()] == ["success"] * 3


def test_content_that_is_on_drive_already_is_skipped_and_costs_nothing(
    memory: DriveMemory, emulator: DriveEmulator
) -> None:
    upload(memory, b"a\n")
    emulator.reset_counts()
    answer = upload(memory, b"a\n")
    assert (answer["status"], answer["attempts"]) == ("success", 0)
    assert "kipped" in answer["notes"]
    assert emulator.requests == 0
    assert memory.upload_lines()[-1]["status"] == "skipped"


def test_content_that_is_committed_but_was_never_sent_is_not_skipped(memory: DriveMemory) -> None:
    memory.commit({NOTE: b"a\n"})
    assert upload(memory, b"a\n")["attempts"] == 1
    assert memory.mirror == {NOTE: b"a\n"}


def test_content_whose_pack_went_but_whose_head_did_not_is_not_skipped(
    memory: DriveMemory, emulator: DriveEmulator
) -> None:
    emulator.fault("files.create.multipart nth=3.. status=503")  # the format, the pack, then the head
    assert upload(memory, b"a\n")["status"] == "fail"
    assert memory.heads == []
    emulator.clear_faults()
    answer = upload(memory, b"a\n")
    assert (answer["status"], answer["attempts"]) == ("success", 1)
    assert len(memory.heads) == 1
    assert [line["status"] for line in memory.upload_lines()] == ["fail", "success"]


def test_a_missing_token_keeps_the_commit_and_says_so_as_the_contract_has_it(memory: DriveMemory) -> None:
    memory.token.unlink()
    answer = upload(memory, b"a\n")
    assert answer == {"status": "fail", "attempts": 0, "drive_path": None, "notes": "Drive token missing"}
    (line,) = memory.upload_lines()
    assert (line["file"], line["status"], line["attempts"]) == (NOTE, "token_missing", 0)
    assert (line["context_tags"], line["chat_name"]) == (["llama"], "GPT Memory Build")
    assert memory.contents() == {b"a\n"}


def test_a_push_without_a_token_exits_four_and_logs_token_missing(memory: DriveMemory) -> None:
    memory.commit({NOTE: b"a\n"})
    memory.token.unlink()
    report = memory.push()
    assert (report.status, report.exit_code) == ("fail", 4)
    assert report.error is not None
    assert report.error["code"] == "token_missing" and "memsync login" in str(report.error["hint"])
    assert [(line["file"], line["status"]) for line in memory.upload_lines()] == [(NOTE, "token_missing")]


@pytest.mark.parametrize("fault", ["status=503", "drop=before", "drop=after", "cut=50%"])
def test_attempts_are_the_most_tries_that_one_request_took(
    memory: DriveMemory, emulator: DriveEmulator, fault: str
) -> None:
    emulator.fault(f"create nth=6,7 {fault}")
    answer = upload(memory, b"a\n" * 100)
    assert answer["status"] == "success"
    assert 2 <= answer["attempts"] <= 3
    assert memory.upload_lines()[-1]["attempts"] == answer["attempts"]


def test_three_tries_that_fail_are_told_and_the_next_upload_sends_both(
    memory: DriveMemory, emulator: DriveEmulator
) -> None:
    upload(memory, b"one\n")
    emulator.fault("files.create.multipart status=500")
    answer = upload(memory, b"two\n")
    assert (answer["status"], answer["attempts"], answer["drive_path"]) == ("fail", 3, None)
    assert "run the command again" in answer["notes"]
    line = memory.upload_lines()[-1]
    assert (line["status"], line["attempts"]) == ("fail", 3)
    emulator.clear_faults()
    assert upload(memory, b"three\n")["status"] == "success"
    assert memory.contents() == {b"one\n", b"two\n", b"three\n"}


def test_rate_limits_are_waited_out_and_count_as_no_attempt(
    memory: DriveMemory, emulator: DriveEmulator
) -> None:
    emulator.fault("create nth=2..9 error=userRateLimitExceeded retry-after=2")
    answer = upload(memory, b"a\n")
    assert (answer["status"], answer["attempts"]) == ("success", 1)
    assert emulator.violations == []


@pytest.mark.parametrize("where", ["missing.txt", "../outside.txt", "."])
def test_a_file_that_is_not_there_or_not_in_data_is_a_failure_without_an_attempt(
    memory: DriveMemory, emulator: DriveEmulator, where: str
) -> None:
    (memory.root / "outside.txt").write_bytes(b"not memory\n")
    emulator.reset_counts()
    answer = drive_upload(memory.data / where, FACTS)
    assert (answer["status"], answer["attempts"], answer["drive_path"]) == ("fail", 0, None)
    assert answer["notes"]
    assert emulator.requests == 0


def test_what_a_person_did_to_the_file_comes_home_with_the_upload(
    memory: DriveMemory, emulator: DriveEmulator
) -> None:
    upload(memory, b"one\n")
    emulator.person.edit(emulator.person.find(f"{ROOT}/{NOTE}"), b"a person's\n")
    assert upload(memory, b"two\n")["status"] == "success"
    assert {b"one\n", b"two\n", b"a person's\n"} <= memory.contents()
    assert b"a person's\n" in memory.mirror.values()
