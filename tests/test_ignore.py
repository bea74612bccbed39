"""What is left out of versions."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pathspec import GitIgnoreSpec

from memstore import files
from memstore.errors import BadInput, DiskTrouble
from memstore.worktree import ignore
from memstore.worktree.ignore import Ignore

pieces = [
    *ignore.SUFFIXES,
    *ignore.PREFIXES,
    *sorted(ignore.NAMES),
    *sorted(ignore.FOLDERS),
    "a",
    "note.txt",
    ".",
    "~",
    "-",
]
name = st.lists(st.sampled_from(pieces), min_size=1, max_size=3).map("".join)


@given(name, st.booleans())
def test_the_built_in_rules_are_what_git_makes_of_their_patterns(name: str, is_dir: bool) -> None:
    spec = GitIgnoreSpec.from_lines(ignore.built_in_patterns())
    asked = name + "/" if is_dir else name
    assert ignore.built_in(name, is_dir) == bool(spec.check_file(asked).include)


@pytest.mark.parametrize(
    "path",
    [
        "a.tmp",
        "Core/.note.txt.swp",
        "note.txt~",
        ".DS_Store",
        "x/Thumbs.db",
        "desktop.ini",
        "m.db-wal",
        "m.db-shm",
    ],
)
def test_noise_is_left_out_without_any_rule_file(path: str) -> None:
    assert Ignore().ignores(path, False)


@pytest.mark.parametrize(
    "path",
    ["Rules.txt", "state.json", "index.faiss", "memory.db", "uv.lock", ".memsyncignore", "tmp", ".env"],
)
def test_content_is_kept(path: str) -> None:
    assert not Ignore().ignores(path, False)


def test_every_built_in_prefix_begins_with_a_sign_that_the_scanner_looks_for() -> None:
    assert {prefix[0] for prefix in ignore.PREFIXES} <= set(".~")


def test_rules_of_the_file_come_after_the_built_in_ones() -> None:
    rules = Ignore.parse(b"# noise\r\n*.log\r\n!keep.tmp\n/build/\nsecret/**\n\n")
    assert rules.ignores("Core/a.log", False)
    assert rules.ignores("a.tmp", False)
    assert not rules.ignores("Core/keep.tmp", False)
    assert rules.ignores("build", True)
    assert not rules.ignores("build", False)
    assert not rules.ignores("Core/build", True)
    assert not rules.only_built_in


def test_whose_rule_it_is_that_leaves_a_path_out() -> None:
    rules = Ignore.parse(b"*.log\ncache/\n!kept.tmp\n*.swp\n")
    for path in ("a.log", "Core/a.log", "cache/a.txt", "x.swp", "__pycache__/a.log"):
        assert rules.covers(path)
        assert rules.own_rule(path) == (path != "__pycache__/a.log"), path
    assert rules.covers("a.tmp") and not rules.own_rule("a.tmp")
    assert not rules.own_rule("kept.tmp") and not rules.own_rule("a.txt")
    assert not Ignore().own_rule("a.tmp")


def test_the_rule_file_itself_is_versioned_whatever_it_says() -> None:
    rules = Ignore.parse(b"*\n")
    assert not rules.ignores(".memsyncignore", False)
    assert rules.ignores("Core/.memsyncignore", False)


def test_a_path_is_covered_by_a_folder_above_it() -> None:
    rules = Ignore.parse(b"cache/\n!cache/keep.txt\n")
    assert rules.covers("a/cache/b/c.txt")
    assert rules.covers("cache/keep.txt")  # as with git: nothing below an ignored folder comes back
    assert rules.covers("cache", True)
    assert not rules.covers("cache", False)
    assert rules.covers("a/__pycache__/b.txt")


lines = st.sampled_from(
    ["*.log", "!a.log", "/b", "b/", "a/**", "!*.tmp", "**/c", "a/b", "?", "[ab].txt", "#x", ""]
)
paths = st.lists(st.sampled_from(["a", "b", "c", "a.log", "a.txt", "x.tmp"]), min_size=1, max_size=3).map(
    "/".join
)


@given(st.lists(lines, max_size=5), paths, st.booleans())
def test_rules_decide_as_git_does_for_both_lists_together(rules: list[str], path: str, is_dir: bool) -> None:
    spec = GitIgnoreSpec.from_lines([*ignore.built_in_patterns(), *rules])
    asked = path + "/" if is_dir else path
    mine = Ignore.parse("\n".join(rules).encode())
    parents = [path[:end] for end, sign in enumerate(path) if sign == "/"]
    if not any(mine.ignores(parent, True) for parent in parents):
        assert mine.ignores(path, is_dir) == bool(spec.check_file(asked).include)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"ok\n!\n", "line 2"),
        (b"a\nb\n\\\n", "line 3"),
        (b"a\n\xff\n", "line 2 is not UTF-8"),
        (b"a" * (1 << 21), "longer"),
    ],
)
def test_a_broken_rule_file_is_refused_with_its_line(text: bytes, reason: str) -> None:
    with pytest.raises(BadInput, match=reason):
        Ignore.parse(text)


def test_load_reads_the_file_of_the_data_folder(tmp_path: Path) -> None:
    assert Ignore.load(str(tmp_path)).only_built_in
    rule_file = tmp_path / ".memsyncignore"
    rule_file.write_bytes(b"\xef\xbb\xbf*.log\n")
    assert Ignore.load(str(tmp_path)).ignores("a.log", False)
    rule_file.write_bytes(b"# only a comment\n")
    assert Ignore.load(str(tmp_path)).only_built_in


def test_a_rule_file_that_is_no_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "real").write_text("*")
    (tmp_path / ".memsyncignore").symlink_to("real")
    with pytest.raises(BadInput, match="symbolic link"):
        Ignore.load(str(tmp_path))
    (tmp_path / ".memsyncignore").unlink()
    (tmp_path / ".memsyncignore").mkdir()
    with pytest.raises(BadInput, match="folder"):
        Ignore.load(str(tmp_path))


def test_a_rule_file_that_cannot_be_read_is_disk_trouble(tmp_path: Path) -> None:
    (tmp_path / ".memsyncignore").write_text("*.log")

    def refuse(step: str, path: str, data: bytes) -> None:
        if step == "read":
            raise PermissionError(13, "Permission denied")

    with files.watch(refuse), pytest.raises(DiskTrouble, match=r"\.memsyncignore"):
        Ignore.load(str(tmp_path))


def test_pathspec_is_imported_only_for_a_rule_file(tmp_path: Path) -> None:
    code = (
        "import sys; from memstore.worktree.ignore import Ignore; rules = Ignore.load(sys.argv[1]);"
        "rules.ignores('a/b', False); print('pathspec' in sys.modules)"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    assert subprocess.check_output(command, text=True, env=environ) == "False\n"
    (tmp_path / ".memsyncignore").write_text("*.log\n")
    assert subprocess.check_output(command, text=True, env=environ) == "True\n"


PIECES_OF_RULES = ["*", "*", "*", "a", "b", ".", "?", "[ab]", "[!a]", "/", "**/", "\\*"]


@given(
    rule=st.lists(st.sampled_from(PIECES_OF_RULES), min_size=1, max_size=8).map("".join),
    paths=st.lists(
        st.lists(st.text("aab*", min_size=1, max_size=5), min_size=1, max_size=3).map("/".join),
        min_size=1,
        max_size=6,
    ),
)
def test_rules_of_many_stars_mean_what_they_mean_to_pathspec(rule: str, paths: list[str]) -> None:
    try:
        theirs = GitIgnoreSpec.from_lines([*ignore.built_in_patterns(), rule])
    except ValueError:
        return
    ours = Ignore.parse(rule.encode())
    for path in paths:
        assert ours.ignores(path, False) == bool(theirs.check_file(path).include)


@pytest.mark.parametrize("rule", [b"*" * 120 + b"b", b"*a" * 60 + b"*b", b"a*" * 60 + b"b"])
def test_a_rule_of_very_many_stars_is_answered(rule: bytes) -> None:
    rules = Ignore.parse(rule)
    assert not rules.ignores("a" * 250, False), "tried one way after another, this would not end"
    assert rules.ignores("a" * 200 + "b", False)
