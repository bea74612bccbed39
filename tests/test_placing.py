"""A version in the place of a PATH, or behind an option that is not there: the hint is the line that was meant."""

from __future__ import annotations

import re
import shlex

import pytest

from tests.command_line import run
from tests.conftest import Memory


@pytest.fixture(autouse=True)
def _two_versions(memory: Memory, monkeypatch: pytest.MonkeyPatch) -> None:
    for text in ("one\n", "two\n"):
        memory.save("Core/My Rules.txt", text)
    memory.close()
    monkeypatch.chdir(memory.root)


NAME = "Core/My Rules.txt"


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        (["restore", NAME, "now"], ["restore", NAME, "--at", "now"]),
        (["restore", NAME, "HEAD~1"], ["restore", NAME, "--at", "HEAD~1"]),
        (["restore", "Core", "2 days ago"], ["restore", "Core", "--at", "2 days ago"]),
        (["diff", NAME, "HEAD~1"], ["diff", "HEAD~1", NAME]),
        (["diff", "--at", "HEAD~1"], ["diff", "HEAD~1"]),
        (["diff", "--at=now", NAME], ["diff", "now", NAME]),
        (["ls", "--at", "HEAD~1"], ["ls", "HEAD~1"]),
        (["ls", "Core", "HEAD~1"], ["ls", "HEAD~1", "Core"]),
        (["show", "--at", "now"], ["show", "now"]),
        (["show", "--at", "HEAD~1", NAME], ["show", f"HEAD~1:{NAME}"]),
        (["show", NAME, "HEAD~1"], ["show", f"HEAD~1:{NAME}"]),
        (["cat", "--at", "now", NAME], ["cat", f"now:{NAME}"]),
        (["log", "--at", "today"], ["log", "--since", "today", "--until", "today"]),
        (["log", "today"], ["log", "--since", "today", "--until", "today"]),
        (["log", NAME, "today"], ["log", NAME, "--since", "today", "--until", "today"]),
        (["log", "HEAD~1"], ["show", "HEAD~1"]),
    ],
)
def test_the_hint_says_where_a_version_goes_in_a_line_that_works(typed: list[str], meant: list[str]) -> None:
    wrong = run(*typed)
    assert wrong.exit_code in (2, 8), wrong.output
    hint = wrong.stderr.partition("hint: ")[2].strip()
    line = shlex.split(re.sub(r"^'(.*)' shows.*$", r"\1", hint.partition(": ")[2] or hint))
    assert line == ["memsync", *meant]
    if "2 days ago" not in meant:  # there is no version that old
        assert run(*line[1:]).exit_code == 0


@pytest.mark.parametrize(
    "typed",
    [
        ["show", "a", "b"],
        ["log", "--at"],
        ["log", "--at", "nonsense"],
        ["log", "-n", "x"],
        ["commit", "--at", "now"],
    ],
)
def test_what_names_no_version_is_pointed_to_the_help(typed: list[str]) -> None:
    wrong = run(*typed)
    assert wrong.exit_code == 2
    assert "--help' has examples" in wrong.stderr


def test_the_id_of_no_version_is_still_told_as_what_it_may_be() -> None:
    assert "if this is a version's id: a version goes behind --at" in run("restore", "abcdef12").stderr
    assert "if this is a version's id: 'memsync show abcdef12'" in run("commit", "abcdef12").stderr
