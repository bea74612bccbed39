"""What a stored path may be, and which path a person means."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memstore import files
from memstore.errors import BadInput
from memstore.worktree import names

HOSTILE = [
    "",
    "/etc/passwd",
    "//server/share",
    "..",
    "../x",
    "a/../b",
    "a/..",
    ".",
    "./a",
    "a/./b",
    "a//b",
    "a/",
    "a\0b",
    "\0",
    "bad\udcff.txt",
    "x" * 256,
    "a/" + "é" * 128,
    "/".join(["d" * 100] * 50),
    ".memsync",
    ".memsync/packs/x",
    "a/.memsync",
    "a/.MemSync/b",
    ".MEMSYNC",
    ".mem\u017fync",  # long s, which folds to s
    ".mem\u200csync",
    "\ufeff.memsync",
    ".memsync.",
    ".memsync ",
    ".memsync::$INDEX_ALLOCATION",
    "MEMSYN~1",
    "memsyn~12/x",
    files.TEMPORARY_PREFIX + "0123",
    "a/" + files.TEMPORARY_PREFIX.upper() + "0123",
]

LAWFUL = [
    "a",
    "Core/Rules.txt",
    "..a",
    "...",
    "a..b/c",
    ".hidden",
    ".memsyncignore",
    ".memsynced",
    "memsync",
    "~",
    "a~1",
    "x" * 255,
    "é" * 127,
    "Ünï/日本語.txt",
    "with space/and\ttab",
    "line\nbreak",
    "-m",
]

WINDOWS_ONLY = [
    "a\\b",
    "..\\..\\x",
    "C:",
    "C:/x",
    "c:x",
    "a/con",
    "NUL.txt",
    "com1",
    "COM¹.log",
    "lpt9.a.b",
    "aux .txt",
    "a.",
    "a ",
    "a./b",
    "what?",
    "a*",
    "a<b",
    'a"b',
    "a|b",
    "stream:x",
    "line\nbreak",
]


@pytest.mark.parametrize("path", HOSTILE)
@pytest.mark.parametrize("windows", [False, True])
def test_a_hostile_path_is_refused_with_its_reason_and_a_mend(path: str, windows: bool) -> None:
    with pytest.raises(BadInput) as caught:
        names.check_path(path, windows=windows)
    assert caught.value.exit_code == 8
    assert caught.value.hint
    caught.value.message.encode()  # it can be printed


@pytest.mark.parametrize("path", LAWFUL)
def test_a_lawful_path_passes_as_it_is(path: str) -> None:
    assert names.check_path(path, windows=False) == path


@pytest.mark.parametrize("path", WINDOWS_ONLY)
def test_what_windows_cannot_hold_is_lawful_elsewhere_and_reported(path: str) -> None:
    assert names.check_path(path, windows=False) == path
    assert names.portable_problem(path)
    with pytest.raises(BadInput):
        names.check_path(path, windows=True)


@pytest.mark.parametrize("path", ["Core/Rules.txt", "a.b.c", "console", "com10", "null/x", "Ünï"])
def test_an_ordinary_path_is_portable(path: str) -> None:
    assert names.portable_problem(path) is None
    assert names.check_path(path, windows=True) == path


@given(st.text(max_size=40))
def test_a_path_that_passes_stays_in_its_folder(path: str) -> None:
    if names.problem(path, windows=False) is None:
        joined = os.path.normpath(os.path.join("/data", path))
        assert joined == "/data/" + path
        assert ".memsync" not in path.casefold().split("/")


@given(st.text(max_size=40))
def test_every_path_can_be_shown_on_one_line(path: str) -> None:
    shown = names.shown(path)
    assert shown.isprintable()
    shown.encode()


# -- collisions ----------------------------------------------------------------------------------------------

spelling = st.lists(st.sampled_from(["a", "A", "b", "é", "e\u0301", "É"]), min_size=1, max_size=3).map(
    "/".join
)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Rules.txt", "rules.TXT"),
        ("é", "e\u0301"),
        ("É", "e\u0301"),
        ("straße", "STRASSE"),
        ("\u212a", "k"),  # the Kelvin sign
        ("\u1fb3\u0345", "\u0391\u0345\u0345"),  # folds alike only after decomposition
    ],
)
def test_spellings_of_one_name_fold_alike(one: str, other: str) -> None:
    assert names.folded(one) == names.folded(other)


def test_a_collision_names_the_place_where_paths_begin_to_differ() -> None:
    paths = ["A/x", "a/x", "a/y", "b/Note", "b/note", "c"]
    assert names.collisions(paths) == [("A", "a"), ("b/Note", "b/note")]


@given(st.lists(spelling, unique=True))
def test_paths_collide_exactly_where_a_folding_disk_would_merge_them(paths: list[str]) -> None:
    prefixes = {"/".join(path.split("/")[: n + 1]) for path in paths for n in range(path.count("/") + 1)}
    merged = {names.folded(prefix) for prefix in prefixes}
    groups = names.collisions(paths)
    assert (len(merged) < len(prefixes)) == bool(groups)
    for group in groups:
        assert len({names.folded(name) for name in group}) == 1
        assert len(set(group)) == len(group) > 1
        assert set(group) <= prefixes


# -- which path is meant -------------------------------------------------------------------------------------


def known_of(*paths: str) -> Callable[[str], bool]:
    folders = {path[:end] for path in paths for end, sign in enumerate(path) if sign == "/"}
    return lambda path: path in paths or path in folders


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    data = tmp_path / "Data"
    (data / "Core").mkdir(parents=True)
    (data / "Core" / "Rules.txt").write_text("rules")
    (data / "top.txt").write_text("top")
    (tmp_path / "README.md").write_text("outside")
    return tmp_path


def test_a_path_is_seen_from_the_current_folder_or_from_data(workspace: Path) -> None:
    data = str(workspace / "Data")
    cases = [
        ("Data/Core/Rules.txt", ".", "Core/Rules.txt"),
        ("Core/Rules.txt", ".", "Core/Rules.txt"),
        ("Rules.txt", "Data/Core", "Core/Rules.txt"),
        ("./Data/./Core//Rules.txt", ".", "Core/Rules.txt"),
        ("../top.txt", "Data/Core", "top.txt"),
        ("top.txt", "Data/Core", "top.txt"),
        ("Data/Core/", ".", "Core"),
        ("Core", ".", "Core"),
        ("Data", ".", ""),
        (".", ".", ""),
        (".", "Data", ""),
        ("..", "Data/Core", ""),
        (".", "Data/Core", "Core"),
        (str(workspace / "Data/top.txt"), "/", "top.txt"),
    ]
    for text, cwd, path in cases:
        place = str(workspace / cwd)
        assert names.resolve(text, cwd=place, data=data, known=known_of()) == path, text


def test_what_lies_in_data_as_seen_from_the_current_folder_wins(workspace: Path) -> None:
    data = workspace / "Data"
    (data / "Core" / "Core").mkdir()
    (data / "Core" / "Core" / "Rules.txt").write_text("deep")
    here = str(data / "Core")
    assert (
        names.resolve("Core/Rules.txt", cwd=here, data=str(data), known=known_of()) == "Core/Core/Rules.txt"
    )


def test_a_deleted_path_is_known_by_head_and_so_is_an_archive_reference(workspace: Path) -> None:
    data = str(workspace / "Data")
    reference = "Archive/Core/Rules_2025-04-23T14-02-00Z.txt"
    known = known_of("Core/Gone.txt", "Lost/a.txt", reference)
    root = str(workspace)
    assert names.resolve("Data/Core/Gone.txt", cwd=root, data=data, known=known) == "Core/Gone.txt"
    assert names.resolve("Core/Gone.txt", cwd=root, data=data, known=known) == "Core/Gone.txt"
    assert names.resolve("Gone.txt", cwd=data + "/Core", data=data, known=known) == "Core/Gone.txt"
    assert names.resolve("Lost", cwd=root, data=data, known=known) == "Lost"
    assert names.resolve(reference, cwd=root, data=data, known=known) == reference


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("nope.txt", "unknown_path"),
        ("Data/nope.txt", "unknown_path"),
        ("top.txt/x", "unknown_path"),
        ("README.md", "outside_data"),
        ("..", "outside_data"),
        ("Data/../README.md", "outside_data"),
        ("Core/../../README.md", "outside_data"),
        ("/etc/passwd", "outside_data"),
        ("", "bad_path"),
        ("a\0b", "bad_path"),
        ("\ud800", "bad_path"),
    ],
)
def test_a_path_outside_or_nowhere_ends_in_exit_8(workspace: Path, text: str, code: str) -> None:
    with pytest.raises(BadInput) as caught:
        names.resolve(text, cwd=str(workspace), data=str(workspace / "Data"), known=known_of())
    assert (caught.value.code, caught.value.exit_code) == (code, 8)


def test_only_a_link_on_the_way_is_followed_and_never_out_of_data(workspace: Path) -> None:
    data = workspace / "Data"
    (data / "out").symlink_to(workspace)
    (data / "inside").symlink_to("Core")
    (data / "end").symlink_to("/etc/passwd")
    root = str(workspace)
    assert names.resolve("end", cwd=root, data=str(data), known=known_of()) == "end"
    assert names.resolve("out", cwd=root, data=str(data), known=known_of()) == "out"
    assert names.resolve("out/", cwd=root, data=str(data), known=known_of()) == "out"
    assert names.resolve("inside/Rules.txt", cwd=root, data=str(data), known=known_of()) == "Core/Rules.txt"
    with pytest.raises(BadInput, match="outside"):
        names.resolve("out/README.md", cwd=root, data=str(data), known=known_of())


def test_a_folder_of_head_that_became_a_link_keeps_its_paths(workspace: Path) -> None:
    data = workspace / "Data"
    (data / "Was").symlink_to(workspace)
    known = known_of("Was/a.txt")
    assert names.resolve("Data/Was/a.txt", cwd=str(workspace), data=str(data), known=known) == "Was/a.txt"


def test_a_data_folder_behind_a_link_is_found_by_either_name(workspace: Path, tmp_path: Path) -> None:
    link = tmp_path / "Link"
    link.symlink_to(workspace / "Data")
    for cwd in (str(link), str(workspace / "Data")):
        for data in (str(link), str(workspace / "Data")):
            assert names.resolve("top.txt", cwd=cwd, data=data, known=known_of()) == "top.txt"


def test_the_disk_s_spelling_is_found_on_a_disk_that_ignores_case(workspace: Path) -> None:
    decomposed = unicodedata.normalize("NFD", "É.txt")
    (workspace / "Data" / "Core" / decomposed).write_text("x")
    data = str(workspace / "Data")
    assert names.spelled(data, "core/RULES.txt") == "Core/Rules.txt"
    assert names.spelled(data, "Core/é.TXT") == "Core/" + decomposed
    assert names.spelled(data, "nowhere/X") == "nowhere/X"
