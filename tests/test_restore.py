"""restore: whatever version is asked for comes back, and nothing that stood there is lost for it."""

from __future__ import annotations

import os
import re
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from memstore.errors import BadInput
from memstore.ids import ContentId
from memstore.manifest.version import Kind, Version, rfc3339
from memstore.store import At
from tests.command_line import run
from tests.conftest import Memory, tree, words
from tests.merge_places import Clock

# -- what comes back ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["version", "id", "prefix", "time"])
def test_a_path_comes_back_as_a_new_version(memory: Memory, three: list[Version], how: str) -> None:
    first = three[0]
    ways: dict[str, At] = {
        "version": first,
        "id": str(first.id),
        "prefix": str(first.id)[:8].upper(),
        "time": rfc3339(first.time_ms),
    }
    report = memory.store.restore(["Core/Rules.txt"], at=ways[how], actor="Ada")
    assert memory.tree()["Core/Rules.txt"] == b"rules 1\n"
    assert memory.tree()["Core/Tone.txt"] == b"tone 3\n"
    assert report.version is not None
    assert report.saved_first is None
    version = memory.store.version(report.version)
    assert words(version.changes) == {"Core/Rules.txt": "replace"}
    assert version.parents == (three[2].id,)
    assert version.actor == "Ada"
    assert report.as_json()["restored"] == [
        {
            "path": "Core/Rules.txt",
            "content": str(ContentId.of(b"rules 1\n")),
            "from": str(first.id),
        }
    ]
    assert memory.store.status().clean
    assert memory.store.commit() is None


def test_the_modification_time_and_the_mode_come_back_too(memory: Memory) -> None:
    place = memory.write("run.sh", "one\n")
    place.chmod(0o755)
    os.utime(place, (1_600_000_000, 1_600_000_000))
    first = memory.commit()
    place.write_text("two\n")
    place.chmod(0o644)
    memory.commit()
    memory.store.restore(["run.sh"], at=first)
    assert place.stat().st_mtime == 1_600_000_000
    assert place.stat().st_mode & 0o111
    assert memory.store.commit() is None


def test_a_mode_alone_comes_back(memory: Memory) -> None:
    place = memory.write("run.sh", "one\n")
    first = memory.commit()
    place.chmod(0o755)
    memory.commit()
    report = memory.store.restore(["run.sh"], at=first)
    assert report.version is not None
    assert not place.stat().st_mode & 0o111


def test_what_data_has_already_is_said_and_makes_no_version(memory: Memory, three: list[Version]) -> None:
    report = memory.store.restore(["Core/Rules.txt"])
    assert (report.version, report.restored, report.saved_first) == (None, (), None)
    assert "log Core/Rules.txt" in report.notes[0]
    assert memory.store.restore(["Core/Rules.txt"], at=three[2]).notes
    assert len(memory.versions()) == 3


def typed(notes: Sequence[str]) -> list[str]:
    """The restore that notes name, as it is typed."""
    found = re.search(r"'memsync (restore [^']+)'", " ".join(notes))
    assert found, notes
    return found[1].split()


@pytest.mark.parametrize("at", ["yesterday", None, "HEAD"])
@pytest.mark.parametrize("asked", ["Core/Rules.txt", "Core", "."])
def test_who_asks_for_yesterday_when_it_was_spoiled_yesterday_is_told_what_was_there_before(
    memory: Memory, monkeypatch: pytest.MonkeyPatch, at: str | None, asked: str
) -> None:
    """It is not what the path held the day before, but what it held last; other notes' versions count for nothing."""
    clock = Clock(monkeypatch)
    clock.now_ms = (time.time_ns() // 1_000_000) - 3 * 86_400_000
    memory.save("Core/Rules.txt", "first\n")
    clock.tick()
    good = memory.save("Core/Rules.txt", "good\n")
    clock.tick()
    memory.save("Core/Other.txt", "other\n")
    noon = time.localtime(time.time() - 86_400)
    clock.now_ms = int(time.mktime((*noon[:3], 12, 0, 0, 0, 0, -1)) * 1000)
    spoiled = memory.save("Core/Rules.txt", "spoiled\n")
    clock.tick()
    memory.save("Later.txt", "later\n")
    report = memory.store.restore([asked], at=at)
    assert (report.version, report.restored) == (None, ())
    assert "already" in report.notes[0]
    assert f"version {str(spoiled.id)[:12]} of" in report.notes[1]
    monkeypatch.chdir(memory.root)
    line = typed(report.notes[1:])
    assert asked != "Core/Rules.txt" or line[-1] == str(good.id)[:12]
    assert run(*line).exit_code == 0
    assert memory.tree()["Core/Rules.txt"] == b"good\n"


def test_where_a_note_never_held_anything_else_no_earlier_version_is_named(memory: Memory) -> None:
    memory.save("a.txt", "a\n")
    memory.save("b.txt", "b\n")
    (memory.data / "a.txt").unlink()
    memory.commit()
    memory.save("a.txt", "a\n")
    for asked in ("a.txt", "b.txt", "."):
        assert len(memory.store.restore([asked], at="HEAD").notes) == 1
        assert len(memory.store.restore([asked]).notes) == 1


def test_a_file_that_was_only_deleted_on_disk_comes_back_from_head_without_a_version(
    memory: Memory, three: list[Version]
) -> None:
    (memory.data / "Core/Rules.txt").unlink()
    report = memory.store.restore(["Core/Rules.txt"])
    assert report.version is None
    assert [row.path for row in report.restored] == ["Core/Rules.txt"]
    assert memory.tree()["Core/Rules.txt"] == b"rules 3\n"
    assert memory.store.status().clean


def test_a_path_that_is_gone_comes_back_with_the_last_content_it_had(
    memory: Memory, three: list[Version]
) -> None:
    (memory.data / "Core/Rules.txt").unlink()
    memory.commit()
    memory.save("other.txt", "later\n")
    report = memory.store.restore(["Core/Rules.txt"])
    assert memory.tree()["Core/Rules.txt"] == b"rules 3\n"
    assert [row.source for row in report.restored] == [str(three[2].id)]
    assert words(memory.versions()[-1].changes) == {"Core/Rules.txt": "add"}


def test_a_folder_that_is_gone_comes_back_whole(memory: Memory, three: list[Version]) -> None:
    shutil.rmtree(memory.data / "Core")
    memory.commit(allow_deletions=True)
    memory.store.restore(["Core/"])
    assert set(memory.tree()) == {"Core/Rules.txt", "Core/Tone.txt", "Core/Late.txt"}


def test_everything_comes_back_after_everything_was_deleted(memory: Memory, three: list[Version]) -> None:
    shutil.rmtree(memory.data / "Core")
    memory.commit(allow_deletions=True)
    memory.store.restore(["."])
    assert set(memory.tree()) == {"Core/Rules.txt", "Core/Tone.txt", "Core/Late.txt"}


def test_a_data_folder_that_is_gone_is_filled_again(memory: Memory, three: list[Version]) -> None:
    shutil.rmtree(memory.data)
    memory.store.restore(["."])
    assert memory.tree() == memory.manifest(three[2])
    assert memory.store.commit() is None


@pytest.mark.parametrize("folder", ["Core", "."])
def test_a_folder_brings_back_what_it_held_then_and_later_files_stay(
    memory: Memory, three: list[Version], folder: str
) -> None:
    memory.store.restore([folder], at=three[0])
    assert memory.tree() == {
        "Core/Rules.txt": b"rules 1\n",
        "Core/Tone.txt": b"tone 1\n",
        "Core/Late.txt": b"late\n",
    }


def test_exact_removes_later_files_and_keeps_them_in_history(memory: Memory, three: list[Version]) -> None:
    memory.write("Core/unsaved.txt", "never committed\n")
    memory.write("outside.txt", "not in that folder\n")
    report = memory.store.restore(["Core"], at=three[0], exact=True)
    assert set(memory.tree()) == {"Core/Rules.txt", "Core/Tone.txt", "outside.txt"}
    assert report.saved_first is not None
    assert memory.store.read("Core/unsaved.txt", at=report.saved_first) == b"never committed\n"
    gone = {row.path for row in report.restored if row.content is None}
    assert gone == {"Core/Late.txt", "Core/unsaved.txt"}
    assert memory.store.status().changes[0].path == "outside.txt"


def test_the_note_names_what_was_asked_for_and_changed_and_no_file_that_stayed(memory: Memory) -> None:
    memory.write("Core/Rules.txt", "rules\n")
    memory.write("Plans/a.txt", "a\n")
    first = memory.commit()
    memory.save("Plans/b.txt", "b\n")
    source = f" from version {str(first.id)[:12]}"

    def note(*paths: str, **how: Any) -> str:
        report = memory.store.restore(paths, **how)
        assert report.version is not None
        return memory.store.version(report.version).note

    assert note(".", at=first, exact=True) == f"restore .{source}"
    (memory.data / "Plans/a.txt").unlink()
    memory.commit()
    assert note("Core", "Plans/", at=first) == f"restore Plans{source}"
    before = str(memory.store.head())
    memory.save("Plans/b.txt", "b\n")
    memory.write("Plans/c.txt", "not committed\n")
    asked = note("Core/Rules.txt", "Plans", at="HEAD~1", exact=True)
    assert asked == f"restore Plans from version {before[:12]}"
    assert set(memory.tree()) == {"Core/Rules.txt", "Plans/a.txt"}
    (memory.data / "Plans/a.txt").unlink()
    memory.commit()
    assert note("Plans/a.txt").startswith("restore Plans/a.txt from version ")
    archived = memory.store.archive(["Plans/a.txt"]).version
    assert archived is not None and archived.changes[0].archived_as is not None
    assert note(archived.changes[0].archived_as).startswith("restore Plans/a.txt from version ")
    for name in "abcd":
        memory.write(f"Many/{name}.txt", "one\n")
    many = memory.commit()
    for name in "abcd":
        memory.write(f"Many/{name}.txt", "two\n")
    memory.commit()
    names = [f"Many/{name}.txt" for name in "abcd"]
    assert note(*names, at=many) == f"restore {', '.join(names[:3])} … from version {str(many.id)[:12]}"


def test_exact_leaves_ignored_files_alone(memory: Memory, three: list[Version]) -> None:
    memory.write("Core/cache.tmp", "noise\n")
    memory.store.restore(["."], at=three[0], exact=True)
    assert memory.tree()["Core/cache.tmp"] == b"noise\n"


@pytest.mark.parametrize(
    ("path", "at"),
    [
        ("nowhere.txt", None),
        ("nowhere.txt", "HEAD"),
        ("Core/Late.txt", 0),
        ("Core", "2001-01-01"),
        ("Core", "12345678"),
    ],
)
def test_what_history_has_not_is_refused_and_nothing_changes(
    memory: Memory, three: list[Version], path: str, at: str | int | None
) -> None:
    memory.write("Core/Rules.txt", "unsaved\n")
    before = memory.tree()
    with pytest.raises(BadInput) as refused:
        memory.store.restore([path], at=three[at] if isinstance(at, int) else at)
    assert refused.value.hint
    assert memory.tree() == before
    assert len(memory.versions()) == 3


# -- nothing is overwritten blind --------------------------------------------------------------------------


def test_uncommitted_content_is_committed_first(memory: Memory, three: list[Version]) -> None:
    memory.write("Core/Rules.txt", "unsaved work\n")
    memory.write("Core/Tone.txt", "elsewhere, not touched\n")
    report = memory.store.restore(["Core/Rules.txt"], at=three[0])
    assert report.saved_first is not None
    saved = memory.store.version(report.saved_first)
    assert words(saved.changes) == {"Core/Rules.txt": "replace"}
    assert memory.store.read("Core/Rules.txt", at=saved) == b"unsaved work\n"
    assert report.version is not None
    assert memory.store.version(report.version).parents == (saved.id,)
    assert memory.tree()["Core/Tone.txt"] == b"elsewhere, not touched\n"
    assert len(memory.archive_lines()) == 4 + 2  # what each replace put aside


def test_a_file_in_the_way_of_a_folder_is_archived(memory: Memory) -> None:
    first = memory.save("a/b", "below\n")
    shutil.rmtree(memory.data / "a")
    memory.write("a", "file\n")
    memory.commit()
    memory.write("a", "file, unsaved\n")
    report = memory.store.restore(["a/b"], at=first)
    assert memory.tree() == memory.manifest() == {"a/b": b"below\n"}
    assert report.saved_first is not None
    assert memory.store.read("a", at=report.saved_first) == b"file, unsaved\n"
    assert words(memory.versions()[-1].changes) == {"a": "delete", "a/b": "add"}


def test_a_folder_in_the_way_of_a_file_is_archived(memory: Memory) -> None:
    first = memory.save("a", "file\n")
    (memory.data / "a").unlink()
    memory.save("a/b", "below\n")
    memory.write("a/c/d", "unsaved\n")
    report = memory.store.restore(["a"], at=first)
    assert memory.tree() == memory.manifest() == {"a": b"file\n"}
    assert report.saved_first is not None
    assert memory.store.read("a/c/d", at=report.saved_first) == b"unsaved\n"


def test_a_link_in_the_way_is_put_aside_and_what_it_leads_to_stays(memory: Memory, tmp_path: Path) -> None:
    first = memory.save("a/b", "below\n")
    elsewhere = tmp_path / "elsewhere"
    shutil.move(memory.data / "a", elsewhere)
    (memory.data / "a").symlink_to(elsewhere)
    (elsewhere / "b").write_text("not ours\n")
    memory.store.restore(["a/b"], at=first)
    assert memory.tree() == {"a/b": b"below\n"}
    assert not (memory.data / "a").is_symlink()
    assert tree(elsewhere) == {"b": b"not ours\n"}


def test_a_link_to_itself_in_the_way_is_put_aside(memory: Memory) -> None:
    first = memory.save("a/b", "below\n")
    shutil.rmtree(memory.data / "a")
    (memory.data / "a").symlink_to("a")
    memory.store.restore(["a/b"], at=first)
    assert memory.tree() == {"a/b": b"below\n"}
    assert "a" in memory.manifest(memory.versions()[1])


def test_a_link_in_place_of_the_file_is_not_written_through(memory: Memory, tmp_path: Path) -> None:
    first = memory.save("a.txt", "one\n")
    target = tmp_path / "target.txt"
    target.write_text("not ours\n")
    (memory.data / "a.txt").unlink()
    (memory.data / "a.txt").symlink_to(target)
    memory.store.restore(["a.txt"], at=first)
    assert target.read_text() == "not ours\n"
    assert not (memory.data / "a.txt").is_symlink()
    assert memory.tree() == {"a.txt": b"one\n"}


def test_a_link_comes_back_as_a_link(memory: Memory) -> None:
    (memory.data / "link").symlink_to("../../outside")
    first = memory.commit()
    (memory.data / "link").unlink()
    memory.save("link", "a file\n")
    memory.store.restore(["link"], at=first)
    assert os.readlink(memory.data / "link") == "../../outside"
    assert memory.listing()[0].kind == Kind.SYMLINK


def test_a_file_and_a_folder_of_one_name_cannot_both_come_back(memory: Memory) -> None:
    memory.save("a", "file\n")
    (memory.data / "a").unlink()
    version = memory.save("a/b", "below\n")
    reference = version.changes[0].archived_as
    assert reference is not None
    with pytest.raises(BadInput):
        memory.store.restore([reference, "a/b"])


def test_a_pipe_in_the_way_costs_a_warning_and_nothing_else(memory: Memory, three: list[Version]) -> None:
    (memory.data / "Core/Rules.txt").unlink()
    os.mkfifo(memory.data / "Core/Rules.txt")
    report = memory.store.restore(["Core"], at=three[0])
    assert any("Rules.txt" in warning for warning in report.warnings)
    assert (memory.data / "Core/Tone.txt").read_text() == "tone 1\n"
    assert memory.reopen().verify().ok


# -- elsewhere ---------------------------------------------------------------------------------------------


def test_to_writes_a_file_outside_and_makes_no_version(
    memory: Memory, three: list[Version], tmp_path: Path
) -> None:
    report = memory.store.restore(["Core/Rules.txt"], at=three[0], to=str(tmp_path / "out" / "old.txt"))
    assert (tmp_path / "out" / "old.txt").read_text() == "rules 1\n"
    assert report.version is None
    assert [row.path for row in report.restored] == ["Core/Rules.txt"]
    (tmp_path / "folder").mkdir()
    memory.store.restore(["Core/Rules.txt"], at=three[1], to=str(tmp_path / "folder"))
    assert (tmp_path / "folder/Rules.txt").read_text() == "rules 2\n"
    assert memory.tree()["Core/Rules.txt"] == b"rules 3\n"
    assert len(memory.versions()) == 3


def test_to_writes_a_folder_with_its_paths(memory: Memory, three: list[Version], tmp_path: Path) -> None:
    memory.store.restore(["."], at=three[0], to=str(tmp_path / "out"))
    assert tree(tmp_path / "out") == {"Core/Rules.txt": b"rules 1\n", "Core/Tone.txt": b"tone 1\n"}


@pytest.mark.parametrize(
    ("asked", "to", "place", "files"),
    [
        (["Core"], "new", "new/Core", {"Core/Rules.txt", "Core/Tone.txt"}),
        (["Core"], "there", "there/Core", {"Core/Rules.txt", "Core/Tone.txt"}),
        (["Core/Rules.txt"], "new.txt", "new.txt", set()),
        (["Core/Rules.txt"], "there", "there/Rules.txt", {"Rules.txt"}),
        (["."], "new", "new", {"Core/Rules.txt", "Core/Tone.txt"}),
        (["Core/Rules.txt", "Core/Tone.txt"], "new", "new", {"Core/Rules.txt", "Core/Tone.txt"}),
    ],
)
def test_the_command_says_where_what_it_wrote_lies(
    memory: Memory,
    three: list[Version],
    monkeypatch: pytest.MonkeyPatch,
    asked: list[str],
    to: str,
    place: str,
    files: set[str],
) -> None:
    monkeypatch.chdir(memory.root)
    (memory.root / "there").mkdir()
    for _ in range(2):  # the second time all of it is there already
        done = run("restore", *asked, "--at", str(three[0].id), "--to", to)
        assert re.search(rf"^wrote \d files? to {place}$", done.stdout, re.MULTILINE), done.output
    assert (memory.root / place).exists()
    assert set(tree(memory.root / to) if files else ()) == files


def test_to_replaces_nothing(memory: Memory, three: list[Version], tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine\n")
    with pytest.raises(BadInput):
        memory.store.restore(["Core/Rules.txt"], at=three[0], to=str(tmp_path / "mine.txt"))
    with pytest.raises(BadInput):
        memory.store.restore(["Core/Rules.txt"], at=three[0], to=str(memory.data / "copy.txt"))
    assert (tmp_path / "mine.txt").read_text() == "mine\n"
