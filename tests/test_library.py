"""The library as other programs use it: `Store`, `Store.saving`, `drive_upload` against a folder."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

import memstore
from memstore import MemsyncError, Store, drive_upload, files
from memstore.errors import BadInput, NoWorkspace
from tests.conftest import Memory, tree, words

GIVEN = {"file": "Meta/AI_Architecture.txt", "tags": ["llama"], "chat_name": "GPT Memory Build"}


@pytest.fixture
def remote(memory: Memory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The remote folder of `memory`, and its workspace as the current folder."""
    memory.store.set_remote(str(tmp_path / "remote"))
    monkeypatch.chdir(memory.root)
    yield tmp_path / "remote"


# -- the example of the contract ---------------------------------------------------------------------------


def test_the_example_of_the_contract_works_as_it_stands(memory: Memory, remote: Path) -> None:
    memory.write("Core/Rules.txt", "be kind\n")
    memory.write("Meta/AI_Architecture.txt", "the plan\n")

    store = Store.open(".")
    version = store.commit(
        ["Meta/AI_Architecture.txt"], note="…", context_tags=["llama"], chat_name="GPT Memory Build"
    )
    with store.saving(chat_name="GPT Memory Build", context_tags=["llama"]) as turn:
        memory.write("Meta/AI_Architecture.txt", "the plan\nand more\n")
    assert store.read("Meta/AI_Architecture.txt", at=version) == b"the plan\n"
    assert [words(row.changes) for row in store.history("Core/Rules.txt")] == [{"Core/Rules.txt": "add"}]
    assert store.push().status == "success"
    assert version is not None
    assert len(str(version.id)) == 64
    assert turn.version is not None
    assert store.read("Meta/AI_Architecture.txt", at=str(version.id)[:8]) == b"the plan\n"
    assert store.read("Meta/AI_Architecture.txt", at=turn.version.time.isoformat()) == b"the plan\nand more\n"
    assert store.commit() is None
    store.close()

    memory.write("Meta/AI_Architecture.txt", "the plan\nand more\nand more\n")
    answer = drive_upload("Data/Meta/AI_Architecture.txt", GIVEN)
    assert answer["drive_path"] == "Drive/MemoryVDB/Meta/AI_Architecture.txt"
    assert (answer["status"], answer["attempts"]) == ("success", 1)
    assert set(answer) == {"status", "attempts", "drive_path", "notes"}


def test_the_package_says_what_it_offers() -> None:
    assert {"Store", "drive_upload", "MemsyncError"} <= set(memstore.__all__)
    assert memstore.__version__
    with pytest.raises(AttributeError):
        memstore.nothing  # noqa: B018


# -- opening -----------------------------------------------------------------------------------------------


def test_init_twice_is_harmless_and_a_folder_below_finds_the_workspace(tmp_path: Path) -> None:
    memory = Memory(tmp_path)
    memory.save("deep/a.txt", "one\n")
    before = tree(tmp_path)
    memory.close()
    Store.init(tmp_path, environ={}).close()
    assert tree(tmp_path) == before
    with Store.open(tmp_path / "Data" / "deep", environ={}) as store:
        assert store.read("deep/a.txt") == b"one\n"


def test_no_workspace_is_an_error_with_its_mend(tmp_path: Path) -> None:
    with pytest.raises(NoWorkspace) as refused:
        Store.open(tmp_path, environ={})
    assert "memsync init" in refused.value.hint
    assert isinstance(refused.value, MemsyncError)


def test_pushing_without_a_remote_is_an_error_with_its_mend(memory: Memory) -> None:
    memory.save("a.txt", "one\n")
    with pytest.raises(BadInput) as refused:
        memory.store.push()
    assert "memsync remote set" in refused.value.hint


# -- saving ------------------------------------------------------------------------------------------------


def test_saving_makes_one_version_of_a_whole_turn(memory: Memory) -> None:
    with memory.store.saving(
        note="turn", context_tags=["llama"], chat_name="Build", reason="r", actor="bot"
    ) as turn:
        memory.write("a.txt", "one\n")
        memory.write("b.txt", "one\n")
        turn.context_tags.append("late")
        turn.note = "a better note"
        before = turn.version
    assert before is None
    version = turn.version
    assert version is not None
    assert words(version.changes) == {"a.txt": "add", "b.txt": "add"}
    assert (version.note, version.context_tags) == ("a better note", ("llama", "late"))
    assert (version.chat_name, version.reason, version.actor) == ("Build", "r", "bot")
    assert len(memory.versions()) == 1


def test_a_turn_that_fails_is_saved_all_the_same(memory: Memory) -> None:
    with pytest.raises(RuntimeError, match="the model fell over"), memory.store.saving(note="turn"):
        memory.write("a.txt", "half a thought\n")
        raise RuntimeError("the model fell over")
    assert memory.manifest() == {"a.txt": b"half a thought\n"}


def test_a_turn_that_changed_nothing_makes_no_version(memory: Memory) -> None:
    with memory.store.saving() as turn:
        pass
    assert turn.version is None
    assert turn.report is not None
    assert memory.store.head() is None


def test_a_turn_may_be_limited_to_paths(memory: Memory) -> None:
    with memory.store.saving(paths=["a.txt"]) as turn:
        memory.write("a.txt", "one\n")
        memory.write("b.txt", "one\n")
    assert turn.version is not None
    assert words(turn.version.changes) == {"a.txt": "add"}


# -- drive_upload ------------------------------------------------------------------------------------------


def test_an_upload_commits_pushes_mirrors_and_logs(memory: Memory, remote: Path) -> None:
    place = memory.write("Meta/AI_Architecture.txt", "the plan\n")
    answer = drive_upload(place, GIVEN | {"note": "n", "reason": "r", "actor": "bot"})
    assert answer == {
        "status": "success",
        "attempts": 1,
        "drive_path": "Drive/MemoryVDB/Meta/AI_Architecture.txt",
        "notes": answer["notes"],
    }
    assert answer["notes"]
    (version,) = memory.versions()
    assert (version.context_tags, version.chat_name) == (("llama",), "GPT Memory Build")
    assert (version.note, version.reason, version.actor) == ("n", "r", "bot")
    assert (remote / "Meta/AI_Architecture.txt").read_text() == "the plan\n"
    (line,) = memory.upload_lines()
    assert line == {
        "timestamp": line["timestamp"],
        "file": "Meta/AI_Architecture.txt",
        "status": "success",
        "attempts": 1,
        "context_tags": ["llama"],
        "chat_name": "GPT Memory Build",
        "notes": line["notes"],
    }
    assert line["timestamp"].endswith("Z")
    assert line["notes"]


def test_what_is_on_the_remote_already_is_skipped(memory: Memory, remote: Path) -> None:
    place = memory.write("a.txt", "one\n")
    drive_upload(place, {"tags": ["x"], "chat_name": "c"})
    answer = drive_upload(place, {"tags": ["x"], "chat_name": "c"})
    assert (answer["status"], answer["attempts"]) == ("success", 0)
    assert answer["drive_path"] == "Drive/MemoryVDB/a.txt"
    assert "skipped" in answer["notes"].lower()
    line = memory.upload_lines()[-1]
    assert (line["status"], line["attempts"], line["context_tags"]) == ("skipped", 0, ["x"])
    assert len(memory.versions()) == 1


def test_unchanged_since_the_last_commit_is_not_enough_to_skip(memory: Memory, remote: Path) -> None:
    memory.save("a.txt", "one\n")
    answer = drive_upload(memory.data / "a.txt", {})
    assert (answer["status"], answer["attempts"]) == ("success", 1)
    assert (remote / "a.txt").read_text() == "one\n"


def test_a_file_that_only_the_mirror_lacks_is_put_there_and_logged(memory: Memory, remote: Path) -> None:
    memory.save("a.txt", "one\n")
    memory.store.push(mirror=False)
    count = len(memory.upload_lines())
    answer = drive_upload(memory.data / "a.txt", {"tags": ["t"]})
    assert (answer["status"], answer["attempts"]) == ("success", 1)
    assert (remote / "a.txt").read_text() == "one\n"
    (line,) = memory.upload_lines()[count:]
    assert (line["file"], line["status"], line["context_tags"]) == ("a.txt", "success", ["t"])


def test_an_upload_sends_every_version_and_mirrors_one_file(
    memory: Memory, remote: Path, tmp_path: Path
) -> None:
    memory.save("b.txt", "one\n", context_tags=["theirs"])
    memory.write("c.txt", "not committed by an upload of another file\n")
    drive_upload(memory.write("a.txt", "one\n"), {"tags": ["mine"]})
    assert set(tree(remote)) == {"a.txt"}
    lines = {line["file"]: line for line in memory.upload_lines()}
    assert {path: line["context_tags"] for path, line in lines.items()} == {
        "a.txt": ["mine"],
        "b.txt": ["theirs"],
    }
    with Store.clone(str(remote), tmp_path / "clone", environ={}) as clone:
        assert {row.path for row in clone.ls()} == {"a.txt", "b.txt"}


@pytest.mark.parametrize("path", ["Data/missing.txt", "outside.txt", "paths.json", "Data", "Data/folder"])
def test_what_is_no_file_in_data_fails_without_an_attempt(memory: Memory, remote: Path, path: str) -> None:
    memory.write("folder/a.txt", "one\n")
    (memory.root / "outside.txt").write_text("not ours\n")
    answer = drive_upload(path, {"file": path})
    assert (answer["status"], answer["attempts"], answer["drive_path"]) == ("fail", 0, None)
    assert answer["notes"]
    assert memory.store.head() is None
    assert not remote.exists()


def test_a_file_in_no_workspace_fails_without_an_attempt(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("one\n")
    answer = drive_upload(tmp_path / "a.txt", {})
    assert (answer["status"], answer["attempts"], answer["drive_path"]) == ("fail", 0, None)
    assert "memsync init" in answer["notes"]


def test_a_file_that_could_not_be_committed_is_no_success(memory: Memory, remote: Path) -> None:
    place = memory.write("a.txt", "one\n")
    drive_upload(place, {})
    place.write_text("two\n")

    def refuse(step: str, path: str, data: bytes) -> None:
        if step == "read" and path == str(place):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)

    with files.watch(refuse):
        answer = drive_upload(place, {})
    assert (answer["status"], answer["attempts"], answer["drive_path"]) == ("fail", 0, None)
    assert "a.txt" in answer["notes"]
    ignored = drive_upload(memory.write("noise.tmp", "x"), {})
    assert (ignored["status"], ignored["drive_path"]) == ("fail", None)


def test_without_a_remote_drive_is_meant_and_a_missing_token_costs_nothing_but_the_upload(
    memory: Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(memory.root)
    memory.write("Meta/AI_Architecture.txt", "the plan\n")
    answer = drive_upload("Data/Meta/AI_Architecture.txt", GIVEN)
    assert answer == {"status": "fail", "attempts": 0, "drive_path": None, "notes": "Drive token missing"}
    assert memory.manifest() == {"Meta/AI_Architecture.txt": b"the plan\n"}
    (line,) = memory.upload_lines()
    assert line == {
        "timestamp": line["timestamp"],
        "file": "Meta/AI_Architecture.txt",
        "status": "token_missing",
        "attempts": 0,
        "context_tags": ["llama"],
        "chat_name": "GPT Memory Build",
        "notes": line["notes"],
    }
    assert memory.store.remote() is None, "nobody set one, and nothing was reached"


def test_a_remote_that_is_away_costs_the_upload_and_not_the_commit(memory: Memory, remote: Path) -> None:
    drive_upload(memory.write("a.txt", "one\n"), {})
    shutil.move(remote, remote.with_name("unmounted"))
    answer = drive_upload(memory.write("a.txt", "two\n"), {"tags": ["t"]})
    assert (answer["status"], answer["drive_path"]) == ("fail", None)
    assert str(remote) in answer["notes"]
    assert memory.manifest() == {"a.txt": b"two\n"}
    line = memory.upload_lines()[-1]
    assert (line["file"], line["status"], line["context_tags"]) == ("a.txt", "fail", ["t"])
    assert line["attempts"] == answer["attempts"]
    shutil.move(remote.with_name("unmounted"), remote)
    again = drive_upload(memory.data / "a.txt", {"tags": ["t"]})
    assert (again["status"], again["attempts"]) == ("success", 1)
    assert (remote / "a.txt").read_text() == "two\n"
    assert memory.upload_lines()[-1]["status"] == "success"


def test_a_replace_and_an_archive_move_the_old_file_of_the_mirror_aside(memory: Memory, remote: Path) -> None:
    place = memory.write("Core/Rules.txt", "one\n")
    drive_upload(place, {})
    place.write_text("two\n")
    drive_upload(place, {})
    (line,) = memory.archive_lines()
    assert tree(remote) == {"Core/Rules.txt": b"two\n", line["archived_as"]: b"one\n"}
    name = memory.store.archive(["Core/Rules.txt"]).version
    assert name is not None
    memory.store.push()
    assert tree(remote) == {
        row["archived_as"]: memory.store.read(row["archived_as"]) for row in memory.archive_lines()
    }


def test_links_to_data_and_relative_paths_name_the_same_file(
    memory: Memory, remote: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory.write("Core/Rules.txt", "one\n")
    monkeypatch.chdir(memory.data / "Core")
    assert drive_upload("Rules.txt", {})["drive_path"] == "Drive/MemoryVDB/Core/Rules.txt"
    (tmp_path / "short").symlink_to(memory.root)
    answer = drive_upload(tmp_path / "short/Data/Core/Rules.txt", {})
    assert (answer["status"], answer["attempts"]) == ("success", 0)
