"""What log, diff, show, cat and ls write."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from memstore import errors
from memstore.manifest.version import ChangeKind, Version
from memstore.reports import FileDifference, ListedFile
from memstore.store import Store
from tests.cli_fake_store import CONTENT, ONE, TWO, FakeStore, change, document, open_fake, run, version
from tests.command_line import posix
from tests.folder_place import Place


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeStore:
    return open_fake(tmp_path, monkeypatch)


# -- log, diff, show, cat, ls --------------------------------------------------------------------------------


def test_log_shows_a_block_for_each_version(store: FakeStore) -> None:
    store.answers["outlines"] = [version(TWO, change("b.txt", ChangeKind.APPEND), note="second"), version()]
    blocks = run("log").stdout.split("\n\n")
    assert len(blocks) == 2
    lines = blocks[0].splitlines()
    assert lines[0].startswith(f"{str(TWO)[:12]}  2025-04-2")
    assert lines[0].endswith("  laptop")
    assert lines[1:] == ["    second", "    tags: llama, ai  chat: GPT Memory Build", "  append   b.txt"]


def test_log_passes_its_filters_on(store: FakeStore) -> None:
    store.answers["outlines"] = []
    args = ("log", "Core/Rules.txt", "-n", "3", "--tag", "t", "--chat", "c", "--since", "s", "--until", "u")
    assert run(*args).stdout == "no versions\n"
    assert store.asked["outlines"] == (
        ("Core/Rules.txt",),
        {"limit": 3, "tag": "t", "chat": "c", "since": "s", "until": "u"},
    )
    assert run("log", "-n", "0").exit_code == 2


@pytest.mark.parametrize("count", [0, 1, 99, 100, 101, 350])
def test_log_is_one_document_however_many_versions(store: FakeStore, count: int) -> None:
    store.answers["history"] = [version()] * count
    assert len(document(run("log", "--json"))["versions"]) == count


def history_that_fails(error: errors.MemsyncError, *versions: Version) -> Iterator[Version]:
    yield from versions
    raise error


def test_a_log_that_fails_half_way_is_still_one_document(store: FakeStore) -> None:
    damage = errors.DamagedData("version 2 is damaged", hint="memsync verify")
    store.answers["history"] = history_that_fails(damage, version())
    result = run("log", "--json")
    assert result.exit_code == 6
    assert len(document(result)["versions"]) == 1
    assert document(result)["error"]["code"] == "damaged"


def test_a_log_that_fails_at_once_is_an_error_alone(store: FakeStore) -> None:
    wrong = errors.BadInput("not a time", hint="write it as 2025-04-23")
    store.answers["history"] = history_that_fails(wrong)
    assert set(document(run("log", "--json"))) == {"error"}


def test_diff_shows_text_by_line_and_the_rest_by_size(store: FakeStore) -> None:
    store.answers["diff"] = [
        FileDifference("a.txt", ChangeKind.REPLACE, 4, 6, b"old\n", b"newer\n"),
        FileDifference("i.bin", ChangeKind.ADD, None, 2048, binary=True),
    ]
    assert run("diff").stdout.splitlines() == [
        "replace a.txt  (4 B → 6 B)", f"--- {str(ONE)[:12]}/a.txt", "+++ Data/a.txt",
        "@@ -1 +1 @@", "-old", "+newer", "", "add i.bin  (binary, 2.0 KB)",
    ]  # fmt: skip
    rows = document(run("diff", "--json"))["differences"]
    assert rows[0]["diff"].endswith("-old\n+newer")
    assert rows[1]["diff"] is None


def arguments_of_diff(store: FakeStore, *args: str) -> tuple[object, object, Sequence[str]]:
    store.answers["diff"] = []
    result = run("diff", *args)
    assert result.exit_code == 0, result.stderr
    old, new, paths = store.asked["diff"][0]
    return old, new, paths


def test_diff_tells_versions_from_paths(store: FakeStore) -> None:
    store.versions[TWO] = version(TWO)
    one, two = str(ONE)[:8], str(TWO)[:12]
    assert arguments_of_diff(store) == (ONE, None, [])
    assert arguments_of_diff(store, "Core/Rules.txt") == (ONE, None, ["Core/Rules.txt"])
    assert arguments_of_diff(store, two) == (TWO, None, [])
    assert arguments_of_diff(store, two, one, "Core") == (TWO, ONE, ["Core"])
    assert arguments_of_diff(store, two, "Core", "Core/Gone.txt") == (TWO, None, ["Core", "Core/Gone.txt"])


def test_an_id_wins_over_a_file_of_its_name_and_dashes_decide(store: FakeStore) -> None:
    store.versions[TWO] = version(TWO)
    two = str(TWO)[:12]
    Path("Data", two).write_text("x")
    assert arguments_of_diff(store, two) == (TWO, None, [])
    Path("Data", "deadbeef").write_text("x")
    assert arguments_of_diff(store, "deadbeef") == (ONE, None, ["deadbeef"])
    assert arguments_of_diff(store, two, "--") == (TWO, None, [])
    assert arguments_of_diff(store, "--", two) == (ONE, None, [two])
    assert run("diff", two, two, two, "--").exit_code == 2


def test_a_name_that_only_the_past_has_shadows_no_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = tmp_path / "Data"
    with Store.init(tmp_path) as real:
        (data / "HEAD").write_bytes(b"x")
        (data / "today").write_bytes(b"the day\n")
        real.commit()
        monkeypatch.chdir(tmp_path)
        assert run("ls", "HEAD").stdout.endswith("  today\n"), "HEAD is the version, file or none"
        assert run("show", "today").stdout == "the day\n"
        (data / "today").unlink()
        assert run("show", "today").stdout == "the day\n", "HEAD still has the file"
        real.commit()
    assert "\ndelete today" in run("show", "today").stdout


def test_an_argument_that_is_neither_is_bad_input(store: FakeStore) -> None:
    result = run("diff", "nope.txt")
    assert result.exit_code == 8
    assert "nope.txt" in result.stderr
    assert run("diff", "deadbeefdead").exit_code == 8


def test_show_tells_each_change_by_kind_and_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Store.init(tmp_path) as real:
        (tmp_path / "Data" / "a.txt").write_bytes(b"one\n")
        first = real.commit(note="first")
        (tmp_path / "Data" / "a.txt").write_bytes(b"one\ntwo\n")
        (tmp_path / "Data" / "b.bin").write_bytes(b"\0")
        real.commit(note="second")
    assert first is not None
    monkeypatch.chdir(tmp_path)
    out = run("show").stdout
    assert "(head)" in out.splitlines()[0]
    assert "append a.txt  (4 B → 8 B)" in out
    assert out.endswith(" one\n+two\n\nadd b.bin  (binary, 1 B)\n")
    out = run("show", str(first.id)[:8]).stdout
    assert "(head)" not in out
    assert out.endswith("--- /dev/null\n+++ " + str(first.id)[:12] + "/a.txt\n@@ -0,0 +1 @@\n+one\n")
    assert [row["diff"] is None for row in document(run("show", "--json"))["differences"]] == [False, True]


@posix
def test_a_newline_in_a_files_name_breaks_no_line_of_a_diff(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = Place(tmp_path)
    place.commit({"a\n+++ b": b"one\n"})
    place.commit({"a\n+++ b": b"two\n"})
    monkeypatch.chdir(place.root)
    for command in (("show",), ("diff", "HEAD~1", "HEAD")):
        lines = run(*command).stdout.splitlines()
        assert [line.split("/", 1)[1] for line in lines if line.startswith(("--- ", "+++ "))] == [
            r"a\n+++ b"
        ] * 2
        (row,) = document(run(*command, "--json"))["differences"]
        assert row["diff"].splitlines()[1].endswith(r"a\n+++ b")


def test_show_a_file_shows_text_and_only_names_what_is_not(store: FakeStore) -> None:
    store.answers["read"] = b"be \x1b[31mkind\n"
    assert run("show", f"{str(ONE)[:10]}:Core/Rules.txt").stdout == "be \\x1b[31mkind\n"
    store.answers["read"] = b"\0\xff" * 1000
    out = run("show", "Core/Rules.txt").stdout
    assert "2.0 KB, not text" in out
    assert "memsync cat" in out


def test_cat_writes_the_bytes_and_nothing_else(store: FakeStore) -> None:
    store.answers["read_stream"] = [b"\xff\0", b"\r\n"]
    result = run("cat", f"{str(ONE)[:8]}:Core/Rules.txt")
    assert result.stdout_bytes == b"\xff\0\r\n"
    assert store.asked["read_stream"] == (("Core/Rules.txt",), {"at": ONE})
    assert run("cat", "Core/Rules.txt").stdout_bytes == b"\xff\0\r\n"


def test_cat_with_json_encodes_what_is_no_text(store: FakeStore) -> None:
    store.answers["read"] = b"\xff\0"
    answer = document(run("cat", "Core/Rules.txt", "--json"))
    assert (answer["encoding"], answer["data"], answer["size"]) == ("base64", "/wA=", 2)
    store.answers["read"] = "é".encode()
    answer = document(run("cat", "Core/Rules.txt", "--json"))
    assert (answer["encoding"], answer["data"]) == ("utf-8", "é")


def test_cat_needs_a_path_and_a_version_that_is_there(store: FakeStore) -> None:
    assert run("cat", str(ONE)[:8]).exit_code == 2
    assert run("cat", f"{str(ONE)[:8]}:").exit_code == 2
    assert run("cat", "deadbeefdead:Core/Rules.txt").exit_code == 8
    store.versions.clear()
    assert run("cat", "Core/Rules.txt").exit_code == 8


def test_a_time_may_stand_before_the_colon(store: FakeStore, monkeypatch: pytest.MonkeyPatch) -> None:
    store.answers["read_stream"] = [b"x"]
    asked: list[object] = []

    def found(at: object) -> Version:
        asked.append(at)
        return version()

    monkeypatch.setattr(store, "version", found)
    for time in ("2025-04-23", "2025-04-23T14:00Z", "2025-04-23T14:00:59+02:00", "2 days ago"):
        assert run("cat", f"{time}:Core/Rules.txt").exit_code == 0
    assert asked == ["2025-04-23", "2025-04-23T14:00Z", "2025-04-23T14:00:59+02:00", "2 days ago"]


def test_ls_shows_size_time_path_and_where_a_reference_came_from(store: FakeStore) -> None:
    store.answers["ls"] = [
        ListedFile("Core/Rules.txt", "file", 8, CONTENT, 1_745_416_920_000),
        ListedFile("Archive/x.txt", "archived", 2048, CONTENT, 1_745_416_920_000, "x.txt", ONE),
    ]
    lines = run("ls").stdout.splitlines()
    assert lines[0].split()[0:2] == ["8", "B"]
    assert lines[0].endswith("  Core/Rules.txt")
    assert lines[1].endswith("  Archive/x.txt  ← x.txt")
    assert store.asked["ls"][0] == ("", ONE)
    assert document(run("ls", "Archive/", "--json"))["files"][1]["from"] == "x.txt"
    assert store.asked["ls"][0] == ("Archive", ONE)


def test_ls_of_nothing_is_nothing_on_stdout(store: FakeStore) -> None:
    store.versions.clear()
    result = run("ls")
    assert (result.exit_code, result.stdout) == (0, "")
    result = run("ls", "Archive/")
    assert (result.exit_code, result.stdout) == (0, "")
    assert run("ls", "Core", "Core").exit_code == 2
