"""`ls Archive/…`: the archive references, by folder, once each, and whether what they stand for is still here."""

from __future__ import annotations

import json
from typing import Any

import pytest

from memstore.ids import ContentId
from memstore.manifest.retention import Rules
from tests.command_line import run
from tests.conftest import Memory
from tests.drive_memory import fixed_clock


def listed(memory: Memory, path: str) -> list[dict[str, Any]]:
    result = run("-C", str(memory.root), "ls", path, "--json")
    assert result.exit_code == 0, result.output
    rows: list[dict[str, Any]] = json.loads(result.stdout)["files"]
    return rows


def changed(memory: Memory, path: str, *contents: str) -> None:
    for content in contents:
        memory.save(path, content)


def test_ls_of_a_folder_of_references_lists_those_alone(memory: Memory) -> None:
    for path in ("Core/a.txt", "Core/Deep/b.txt", "Meta/c.txt"):
        changed(memory, path, "old\n", "new\n")
    for typed in ("Archive/Core", "Archive/Core/"):
        assert [row["from"] for row in listed(memory, typed)] == ["Core/Deep/b.txt", "Core/a.txt"]
    assert [row["from"] for row in listed(memory, "Archive/Core/Deep")] == ["Core/Deep/b.txt"]
    assert len(listed(memory, "Archive/")) == 3
    assert run("-C", str(memory.root), "ls", "Archive/Nope").exit_code == 8


@pytest.mark.parametrize("verb", ["restore", "log", "archive"])
def test_a_folder_of_references_is_named_as_one_where_a_file_is_wanted(memory: Memory, verb: str) -> None:
    changed(memory, "Core/a.txt", "old\n", "new\n")
    result = run("-C", str(memory.root), verb, "Archive/Core")
    assert result.exit_code == 8
    assert (
        "is a folder of archive references" in result.stderr and "'memsync ls Archive/Core'" in result.stderr
    )


def test_a_name_that_was_given_twice_to_one_content_is_listed_once(
    memory: Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    fixed_clock(monkeypatch, 1_745_416_920_000)
    changed(memory, "a.txt", "one\n", "two\n", "one\n", "two\n")
    names = [row["path"] for row in listed(memory, "Archive/")]
    assert len(names) == len(set(names)) == 2


def gone(memory: Memory) -> dict[str, str | None]:
    return {row["content"]: row.get("removed") for row in listed(memory, "Archive/")}


def test_a_reference_says_that_its_content_is_gone_and_how(memory: Memory) -> None:
    changed(memory, "a.txt", "one\n", "two\n", "three\n", "four\n")
    one, two, three = (str(ContentId.of(text)) for text in (b"one\n", b"two\n", b"three\n"))
    assert gone(memory) == {one: None, two: None, three: None}
    memory.store.gc(Rules(last=1))
    memory.store.forget([two])
    assert gone(memory) == {one: "retention", two: "forgotten", three: "retention"}
    shown = run("-C", str(memory.root), "ls", "Archive/").stdout
    assert shown.count("(removed by 'memsync gc')") == 2 and shown.count("(forgotten)") == 1
    memory.save("again.txt", "one\n")
    assert gone(memory)[one] is None
