"""The library is given what programs have at hand: `Path` objects, datetimes, texts that a model wrote, nothing."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from memstore import Store, drive_upload
from memstore.errors import BadInput
from tests.conftest import Memory

HALF = "half of \ud83d a smile"
"""As `json.loads` gives it where a text was cut in the middle of an emoji."""


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        (None, ""),
        ("", ""),
        (5, "5"),
        (HALF, "half of \ufffd a smile"),
        ("both \ud83d\ude00 halves", "both 😀 halves"),
        ("a byte \udcff", "a byte \ufffd"),
        ("NUL \0, line\nand \x1b[31m", "NUL \0, line\nand \x1b[31m"),
        ("long " * 200_000, "long " * 200_000),
    ],
)
def test_whatever_a_program_says_of_a_save_the_save_is_kept_and_reads_back(
    memory: Memory, tmp_path: Path, given: Any, kept: str
) -> None:
    memory.write("a.txt", "one\n")
    tags = None if given is None else [given]
    made = memory.store.commit(
        note=given, context_tags=tags, chat_name=given, reason=given, actor=given  # type: ignore[arg-type]
    )  # fmt: skip
    memory.write("a.txt", "two\n")
    with memory.store.saving(note=given, context_tags=tags) as turn:  # type: ignore[arg-type]
        turn.chat_name = turn.reason = turn.actor = given
    memory.store.set_remote(tmp_path / "remote")
    assert memory.store.push().status == "success"  # which reads every version again
    with Store.clone(tmp_path / "remote", tmp_path / "clone") as clone:
        versions = list(clone.history())
        assert turn.version is not None and made is not None
        assert [version.id for version in versions] == [turn.version.id, made.id]
        assert [version.meta for version in versions] == [turn.version.meta, made.meta]
        for version in versions:
            assert version.meta[:1] + version.meta[2:] == (kept,) * 4
            assert version.context_tags == (() if given is None else (kept,))


@pytest.mark.parametrize("act", ["commit", "archive", "restore", "forget", "forget_dry_run", "push", "diff"])
def test_an_empty_path_is_a_variable_that_was_not_set_and_not_the_whole_memory(
    memory: Memory, act: str
) -> None:
    memory.write("a.txt", "one\n")
    memory.store.commit()
    memory.store.set_remote(memory.root.parent / "remote")
    for given in ("", [""], ["a.txt", ""]):
        with pytest.raises(BadInput, match="it is empty"):
            memory.store.diff(paths=given) if act == "diff" else getattr(memory.store, act)(given)
    assert memory.store.read("a.txt") == b"one\n"
    memory.store.restore(".")


def test_a_store_that_was_closed_says_so(memory: Memory) -> None:
    memory.write("a.txt", "one\n")
    memory.store.commit()
    memory.write("a.txt", "two\n")
    memory.store.commit()
    memory.store.close()
    calls = [
        memory.store.commit,
        memory.store.head,
        memory.store.status,
        memory.store.verify,
    ]
    for call in calls:
        with pytest.raises(BadInput, match="closed"):
            call()  # type: ignore[operator]


def test_one_tag_may_be_given_as_one_text(memory: Memory) -> None:
    with memory.store.saving(context_tags="llama") as turn:
        memory.write("a.txt", "one\n")
    assert turn.version is not None and turn.version.context_tags == ("llama",)


def test_an_upload_with_half_a_character_is_committed_sent_and_logged(memory: Memory, tmp_path: Path) -> None:
    memory.store.set_remote(tmp_path / "remote")
    place = memory.write("a.txt", "one\n")
    for said in ("success", "success"):  # sent, and then there already
        answer = drive_upload(place, {"tags": [HALF, None], "chat_name": HALF, "note": HALF})
        assert answer["status"] == said
    lines = [json.loads(line) for line in (memory.root / "upload_log.json").read_text().splitlines()]
    assert {line["chat_name"] for line in lines} == {"half of \ufffd a smile"}
    assert [line["status"] for line in lines] == ["success", "skipped"]


def test_a_path_may_be_a_path_object(memory: Memory, tmp_path: Path) -> None:
    first = memory.save("Core/Rules.txt", "one\n")
    memory.write("Core/Rules.txt", "two\n")
    memory.write("b.txt", "other\n")
    store, path = memory.store, Path("Core") / "Rules.txt"
    second = store.commit([path])
    assert second is not None and [change.path for change in second.changes] == ["Core/Rules.txt"]
    assert store.commit(path) is None
    assert store.read(path, at=first) == b"one\n"
    assert [version.id for version in store.history(Path("Core"))] == [second.id, first.id]
    assert [row.path for row in store.diff(first, second, [path])] == ["Core/Rules.txt"]
    assert [row.path for row in store.ls(Path("Core"))] == ["Core/Rules.txt"]
    assert store.restore(path, at=first, to=tmp_path / "out.txt").version is None
    assert (tmp_path / "out.txt").read_bytes() == b"one\n"
    assert store.restore([path], at=first).version is not None
    assert store.archive(path).version is not None


def test_a_time_may_be_a_datetime_or_a_date(memory: Memory) -> None:
    first, second = memory.save("a.txt", "one\n"), memory.save("a.txt", "two\n")
    store = memory.store
    assert store.version(second.time).id == second.id
    assert store.version(second.time.astimezone().date()).id == second.id
    since_then = [
        version.id for version in store.history(since=second.time, until=second.time.astimezone().date())
    ]
    assert since_then == [version.id for version in (second, first) if version.time >= second.time]
    with pytest.raises(BadInput, match="history begins"):
        store.version(first.time - timedelta(days=1))


def test_an_archive_reference_that_is_longer_than_a_file_name_may_be_is_read(memory: Memory) -> None:
    name = "ü" * 126 + ".md"
    memory.save(name, "one\n")
    change = memory.save(name, "two\n").changes[0]
    assert change.archived_as is not None and len(change.archived_as.encode()) > 255
    assert memory.store.read(change.archived_as) == b"one\n"


@pytest.mark.parametrize("path", ["\udcff.txt", "Core/\ud83d", "nope.txt", "", "../a.txt", "/etc/passwd"])
def test_what_no_version_can_have_is_bad_input_with_its_mend(memory: Memory, path: str) -> None:
    memory.save("a.txt", "one\n")
    for ask in (memory.store.read, lambda path: list(memory.store.history(path or "none"))):
        with pytest.raises(BadInput) as raised:
            ask(path)
        assert raised.value.hint
