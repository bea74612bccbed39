"""commit: what it records, what it leaves alone, and what it says of what it could not take."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

import pytest
from blake3 import blake3

from memstore import files
from memstore.errors import BadInput
from memstore.manifest.version import ChangeKind, Kind
from tests.conftest import Memory, reads_of, words

# -- what is recorded --------------------------------------------------------------------------------------


def test_a_first_commit_adds_every_file_under_the_id_that_b3sum_prints(memory: Memory) -> None:
    memory.write("Core/Rules.txt", "be kind\n")
    memory.write("empty.txt")
    memory.write("run.sh", "#!/bin/sh\n").chmod(0o755)
    version = memory.commit()
    assert words(version.changes) == {"Core/Rules.txt": "add", "empty.txt": "add", "run.sh": "add"}
    by_path = {change.path: change.entry for change in version.changes}
    rules = by_path["Core/Rules.txt"]
    assert rules is not None
    assert str(rules.content) == blake3(b"be kind\n").hexdigest()
    assert (rules.size, rules.kind) == (8, Kind.FILE)
    assert by_path["run.sh"] is not None
    assert by_path["run.sh"].kind == Kind.EXECUTABLE
    assert version.parents == ()
    assert version.generation == 1


def test_a_commit_of_nothing_new_makes_no_version(memory: Memory) -> None:
    assert memory.store.commit() is None
    memory.save("a.txt", "one\n")
    os.utime(memory.data / "a.txt", (1_500_000_000, 1_500_000_000))  # another time is no change
    report = memory.store.commit_report()
    assert report.version is None
    assert report.warnings == ()
    assert report.as_json() == {"version": None, "parents": [], "time": None, "changes": [], "warnings": []}
    assert len(memory.versions()) == 1


def test_who_and_why_are_kept(memory: Memory) -> None:
    memory.write("a.txt", "one\n")
    memory.commit(
        note="the note", context_tags=["llama", "ai"], chat_name="GPT Memory Build", reason="r", actor="bot"
    )
    (version,) = memory.reopen().history()
    assert (version.note, version.context_tags, version.chat_name) == (
        "the note",
        ("llama", "ai"),
        "GPT Memory Build",
    )
    assert (version.reason, version.actor) == ("r", "bot")


@pytest.mark.parametrize(
    ("old", "new", "word"),
    [
        ("one\n", "one\ntwo\n", "append"),
        ("", "one\n", "append"),
        ("one\n", "two\n", "replace"),
        ("one\ntwo\n", "one\n", "replace"),
        ("one\n", "", "replace"),
    ],
)
def test_an_append_is_told_from_a_replace_by_the_bytes(memory: Memory, old: str, new: str, word: str) -> None:
    memory.save("a.txt", old)
    (change,) = memory.save("a.txt", new).changes
    assert change.change.word == word
    assert (change.archived_as is not None) == (word == "replace")
    assert memory.store.read("a.txt") == new.encode()


def test_an_append_to_a_file_of_many_pieces_is_an_append(memory: Memory) -> None:
    block = os.urandom(1 << 20)
    memory.write("big.bin", block * 17)
    memory.commit()
    with (memory.data / "big.bin").open("ab") as file:
        file.write(b"more")
    (change,) = memory.commit().changes
    assert change.change == ChangeKind.APPEND
    assert memory.store.read("big.bin") == block * 17 + b"more"


def test_a_change_of_mode_or_type_or_target_is_a_replace(memory: Memory) -> None:
    place = memory.write("a.txt", "one\n")
    memory.commit()
    place.chmod(0o755)
    assert words(memory.commit().changes) == {"a.txt": "replace"}
    place.unlink()
    place.symlink_to("one\n")  # the very bytes the file had
    assert words(memory.commit().changes) == {"a.txt": "replace"}
    place.unlink()
    place.symlink_to("one\nmore")  # a longer target is no append
    assert words(memory.commit().changes) == {"a.txt": "replace"}
    place.unlink()
    place.write_text("one\nmore and more")
    assert words(memory.commit().changes) == {"a.txt": "replace"}


def test_a_file_that_becomes_a_folder_and_back_is_a_delete_and_an_add(memory: Memory) -> None:
    memory.save("a", "file\n")
    (memory.data / "a").unlink()
    memory.write("a/b", "below\n")
    assert words(memory.commit().changes) == {"a": "delete", "a/b": "add"}
    shutil.rmtree(memory.data / "a")
    memory.write("a", "file again\n")
    assert words(memory.commit().changes) == {"a": "add", "a/b": "delete"}


def test_a_folder_where_a_file_was_ends_the_file_though_only_what_is_in_it_was_named(memory: Memory) -> None:
    memory.save("a", "file\n")
    (memory.data / "a").unlink()
    memory.write("a/b/c", "below\n")
    assert words(memory.commit("a/b/c").changes) == {"a": "delete", "a/b/c": "add"}
    assert memory.manifest() == {"a/b/c": b"below\n"}


def test_a_file_where_a_folder_was_ends_what_was_in_it_though_only_the_file_was_named(memory: Memory) -> None:
    memory.save("a/b/c", "below\n")
    shutil.rmtree(memory.data / "a")
    memory.write("a", "file\n")
    assert words(memory.commit("a").changes) == {"a": "add", "a/b/c": "delete"}


def test_a_link_where_a_folder_was_ends_what_was_in_it(memory: Memory, tmp_path: Path) -> None:
    memory.save("a/b", "below\n")
    elsewhere = tmp_path / "elsewhere"
    shutil.move(memory.data / "a", elsewhere)
    (memory.data / "a").symlink_to(elsewhere)
    with pytest.raises(BadInput) as refused:
        memory.store.commit(["a/b"])
    assert "a" in refused.value.hint
    assert words(memory.commit().changes) == {"a": "add", "a/b": "delete"}


def test_deep_folders_and_odd_names_are_paths_like_any_other(memory: Memory) -> None:
    deep = "/".join(f"folder {number}" for number in range(60)) + "/ü ö — 記憶.txt"
    odd = "-n\n'quoted' $HOME;.txt"
    memory.write(deep, "deep\n")
    memory.write(odd, "odd\n")
    memory.commit()
    memory.reopen()
    assert memory.store.read(deep) == b"deep\n"
    assert memory.store.read(odd) == b"odd\n"


# -- named paths -------------------------------------------------------------------------------------------


def test_a_commit_of_named_paths_looks_at_nothing_else(memory: Memory) -> None:
    for path in ("a.txt", "b.txt", "folder/c.txt"):
        memory.write(path, "one\n")
    memory.commit()
    memory.write("a.txt", "other\n")
    memory.write("b.txt", "other\n")
    (memory.data / "folder/c.txt").unlink()
    os.mkfifo(memory.data / "folder/pipe")  # a look at it would be a warning
    steps: list[tuple[str, str]] = []
    with files.watch(lambda step, path, data: steps.append((step, path))):
        report = memory.store.commit_report(["b.txt"])
    assert report.version is not None
    assert words(report.version.changes) == {"b.txt": "replace"}
    assert report.warnings == ()
    assert reads_of(memory, steps) <= {"b.txt", ".memsyncignore"}
    assert "b.txt" in reads_of(memory, steps)
    assert memory.manifest()["a.txt"] == b"one\n"


def test_a_named_folder_takes_all_that_changed_below_it(memory: Memory) -> None:
    for path in ("in/a", "in/deep/b", "in/gone", "into", "out"):
        memory.write(path, "one\n")
    memory.commit()
    (memory.data / "in/gone").unlink()
    for path in ("in/a", "in/deep/b", "into", "out"):
        memory.write(path, "two\n")
    assert words(memory.commit("in/").changes) == {
        "in/a": "replace",
        "in/deep/b": "replace",
        "in/gone": "delete",
    }


def test_a_named_path_that_is_only_in_head_was_deleted(memory: Memory) -> None:
    memory.save("a.txt", "one\n")
    (memory.data / "a.txt").unlink()
    (change,) = memory.commit("a.txt").changes
    assert (change.change, change.entry) == (ChangeKind.DELETE, None)


def test_a_named_path_that_is_nowhere_is_refused_and_nothing_is_recorded(memory: Memory) -> None:
    memory.write("a.txt", "one\n")
    with pytest.raises(BadInput) as refused:
        memory.store.commit(["a.txt", "b.txt"])
    assert "b.txt" in refused.value.message
    assert memory.store.head() is None


@pytest.mark.parametrize(
    "path", ["../outside.txt", "/etc/passwd", "a/../../b", "a//b", ".memsync/format", "a\0b"]
)
def test_a_path_that_no_version_may_hold_is_refused(memory: Memory, path: str) -> None:
    (memory.root / "outside.txt").write_text("not ours\n")
    with pytest.raises(BadInput):
        memory.store.commit([path])
    assert memory.store.head() is None


def test_what_is_ignored_is_left_out_and_said_when_it_was_named(memory: Memory) -> None:
    memory.write(".memsyncignore", "*.cache\nprivate/\n")
    for path in ("a.txt", "b.cache", "private/c.txt", "d.tmp", ".DS_Store", "db-wal"):
        memory.write(path, "one\n")
    assert set(words(memory.commit().changes)) == {".memsyncignore", "a.txt"}
    report = memory.store.commit_report(["b.cache"])
    assert report.version is None
    assert any("b.cache" in warning for warning in report.warnings)


def test_a_named_file_that_your_own_rule_leaves_out_is_said_to_be(memory: Memory) -> None:
    memory.save(".memsyncignore", "*.log\n")
    memory.write("a.log", "one\n")
    (warning,) = memory.store.commit_report(["a.log"]).warnings
    assert "a rule in your .memsyncignore" in warning
    memory.write("a.tmp", "one\n")
    (warning,) = memory.store.commit_report(["a.tmp"]).warnings
    assert "memsync ignores such names" in warning


def test_what_was_committed_and_is_ignored_since_stays_until_it_is_deleted(memory: Memory) -> None:
    memory.save("a.cache", "one\n")
    memory.save(".memsyncignore", "*.cache\n")
    memory.write("a.cache", "two\n")
    assert memory.store.commit() is None
    assert memory.manifest()["a.cache"] == b"one\n"
    (memory.data / "a.cache").unlink()
    assert words(memory.commit().changes) == {"a.cache": "delete"}


# -- archive references ------------------------------------------------------------------------------------


def test_a_replace_and_a_delete_are_archived_and_logged_with_their_reason(memory: Memory) -> None:
    memory.write("Meta/AI_Architecture.txt", "old summary\n")
    memory.write("b.txt", "to go\n")
    memory.commit()
    memory.write("Meta/AI_Architecture.txt", "new summary\n")
    (memory.data / "b.txt").unlink()
    version = memory.commit(reason="File replaced due to new summary with semantic value")
    stamp = version.time.strftime("%Y-%m-%dT%H-%M-%SZ")
    names = {change.path: change.archived_as for change in version.changes}
    assert names == {
        "Meta/AI_Architecture.txt": f"Archive/Meta/AI_Architecture_{stamp}.txt",
        "b.txt": f"Archive/b_{stamp}.txt",
    }
    assert memory.archive_lines() == [
        {
            "timestamp": version.time.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "file": path,
            "archived_as": names[path],
            "input_hash": blake3(old).hexdigest(),
            "reason": "File replaced due to new summary with semantic value",
        }
        for path, old in (("Meta/AI_Architecture.txt", b"old summary\n"), ("b.txt", b"to go\n"))
    ]
    assert not (memory.data / "Archive").exists()
    assert memory.store.read(f"Archive/b_{stamp}.txt") == b"to go\n"


def test_an_append_and_an_add_are_not_archived(memory: Memory) -> None:
    memory.save("a.txt", "one\n")
    memory.save("a.txt", "one\ntwo\n")
    assert memory.archive_lines() == []


def test_two_replaces_within_a_second_have_two_references(
    memory: Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time, "time_ns", lambda: 1_745_416_920_000_000_000)  # 2025-04-23T14:02:00Z
    memory.save("quick.txt", "one\n")
    names = [memory.save("quick.txt", text).changes[0].archived_as for text in ("two\n", "three\n", "four\n")]
    second, third = (blake3(text).hexdigest()[:8] for text in (b"two\n", b"three\n"))
    assert names == [
        "Archive/quick_2025-04-23T14-02-00Z.txt",
        f"Archive/quick_2025-04-23T14-02-00Z~{second}.txt",
        f"Archive/quick_2025-04-23T14-02-00Z~{third}.txt",
    ]
    for name, text in zip(names, (b"one\n", b"two\n", b"three\n"), strict=True):
        assert name is not None
        assert memory.store.read(name) == text
        memory.store.restore([name])
        assert memory.tree()["quick.txt"] == text


def test_a_reference_never_takes_the_name_of_a_real_file(
    memory: Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time, "time_ns", lambda: 1_745_416_920_000_000_000)
    memory.write("archive/A_2025-04-23T14-02-00Z.txt", "a person's own\n")  # on some disks the same name
    memory.save("a.txt", "one\n")
    memory.commit()
    (change,) = memory.save("a.txt", "two\n").changes
    mark = blake3(b"one\n").hexdigest()[:8]
    assert change.archived_as == f"Archive/a_2025-04-23T14-02-00Z~{mark}.txt"
    assert memory.store.read(change.archived_as) == b"one\n"


def test_references_that_differ_in_case_alone_are_kept_apart(memory: Memory) -> None:
    memory.write("a.txt", "one\n")
    memory.write("A.txt", "two\n")
    if len(memory.tree()) == 1:
        pytest.skip("this disk takes both for one name")
    memory.commit()
    memory.write("a.txt", "three\n")
    memory.write("A.txt", "four\n")
    names = [change.archived_as or "" for change in memory.commit().changes]
    assert len({name.casefold() for name in names}) == 2
    assert [memory.store.read(name) for name in names] == [b"two\n", b"one\n"]


def test_archiving_by_itself_can_be_turned_off(memory: Memory) -> None:
    memory.reconfigured("[archive]\nautomatic = false\n")
    memory.save("a.txt", "one\n")
    (change,) = memory.save("a.txt", "two\n").changes
    assert change.archived_as is None
    assert memory.archive_lines() == []
    assert memory.store.archive(["a.txt"]).version is not None
    assert len(memory.archive_lines()) == 1


def test_a_log_that_cannot_be_written_costs_a_warning_and_not_the_version(memory: Memory) -> None:
    memory.save("a.txt", "one\n")
    (memory.root / "archive_log.json").mkdir()
    memory.write("a.txt", "two\n")
    report = memory.store.commit_report()
    assert report.version is not None
    assert any("log" in warning for warning in report.warnings)
    assert memory.reopen().read("a.txt") == b"two\n"
