"""`HEAD~1`, as people try it: every command that takes a version takes the one before it."""

from __future__ import annotations

import json

import pytest

from memstore.errors import BadInput
from memstore.times import steps_back
from tests.command_line import run
from tests.conftest import Memory


@pytest.fixture
def versions(memory: Memory, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The ids of four versions of one file, the oldest first."""
    ids = []
    for number in range(4):
        memory.write("a.txt", f"{number}\n")
        memory.write(f"{number}.txt", "new\n")
        version = memory.store.commit(note=str(number))
        assert version is not None
        ids.append(str(version.id))
    memory.close()
    monkeypatch.chdir(memory.root)
    return ids


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("HEAD~1", ("HEAD", 1)),
        ("head~", ("head", 1)),
        ("HEAD~0", ("HEAD", 0)),
        ("3f2a91c0~12", ("3f2a91c0", 12)),
        ("HEAD", ("HEAD", 0)),
        ("~1", ("~1", 0)),
        ("HEAD~x", ("HEAD~x", 0)),
        ("HEAD~12345678901", ("HEAD~12345678901", 0)),
    ],
)
def test_what_ends_in_steps_back(text: str, meant: tuple[str, int]) -> None:
    assert steps_back(text) == meant


def test_every_command_that_takes_a_version_takes_so_many_before(versions: list[str]) -> None:
    for back, id in enumerate(reversed(versions)):
        for text in (f"HEAD~{back}", f"{versions[-1][:12]}~{back}"):
            number = str(len(versions) - 1 - back)
            assert json.loads(run("show", text, "--json").stdout)["version"] == id
            assert run("cat", f"{text}:a.txt").stdout == f"{number}\n"
            listed = json.loads(run("ls", text, "--json").stdout)
            assert max(row["path"] for row in listed["files"]) == "a.txt"
            assert len(listed["files"]) == len(versions) + 1 - back
    shown = json.loads(run("diff", "HEAD~2", "HEAD~1", "--json").stdout)
    assert {row["path"] for row in shown["differences"]} == {"a.txt", "2.txt"}
    assert run("diff", "HEAD~2").exit_code == 0
    answer = json.loads(run("restore", "a.txt", "--at", "HEAD~2", "--json").stdout)
    assert [row["from"] for row in answer["restored"]] == [versions[1]]
    assert run("cat", "HEAD:a.txt").stdout == "1\n"
    assert run("cat", "HEAD~1:a.txt").stdout == "3\n"
    assert run("forget", "a.txt", "--at", "HEAD~1", "--everywhere", "--dry-run").exit_code == 0


def test_before_the_first_version_there_is_none(memory: Memory, versions: list[str]) -> None:
    done = run("show", "HEAD~4")
    assert done.exit_code == 8
    assert "history goes back 3 versions" in done.stderr
    with memory.reopen() as store, pytest.raises(BadInput, match="goes back 0 versions"):
        store.version(f"{versions[0]}~1")


def test_head_before_any_version_is_told_as_such(memory: Memory) -> None:
    with pytest.raises(BadInput, match="no version yet"):
        memory.store.version("HEAD~1")
