"""A unified diff, applied to the old text, gives the new one."""

from __future__ import annotations

import difflib
import re

from hypothesis import given
from hypothesis import strategies as st
from memsync.textdiff import unified

LINES = st.lists(
    st.sampled_from(["a", "b", "c", "", "x y", "@@ -1 +1 @@", "-", "+", "\r", "\\ No"]), max_size=40
)
TEXTS = st.builds(lambda lines, end: "\n".join(lines) + end, LINES, st.sampled_from(["", "\n"]))


def split(text: str) -> list[str]:
    parts = text.split("\n")
    lines = [part + "\n" for part in parts[:-1]]
    return [*lines, parts[-1]] if parts[-1] else lines


def apply(old: str, diff: list[str]) -> str:
    """What `patch` does, written from the format's definition; every line is checked against the old text."""
    before = split(old)
    result: list[str] = []
    at = 0
    for index, line in enumerate(diff[2:], start=2):
        missing_newline = diff[index + 1 : index + 2] == ["\\ No newline at end of file"]
        content = line[1:] + ("" if missing_newline else "\n")
        if line.startswith("@@ -"):
            match = re.fullmatch(r"@@ -(\d+)(?:,(\d+))? \+(\d+)(?:,(\d+))? @@", line)
            if match is not None:
                start = int(match[1]) - (0 if match[2] == "0" else 1)
                assert start >= at, "hunks overlap or go backwards"
                result += before[at:start]
                at = start
                assert int(match[3]) - (0 if match[4] == "0" else 1) == len(result), "the new range is wrong"
                continue
        if line == "\\ No newline at end of file":
            continue
        if line[0] in " -":
            assert before[at] == content
            at += 1
        if line[0] in " +":
            result.append(content)
    return "".join(result + before[at:])


@given(TEXTS, TEXTS)
def test_applying_a_diff_to_the_old_text_gives_the_new(old: str, new: str) -> None:
    diff = list(unified(old.encode(), new.encode(), "a", "b"))
    assert (diff == []) == (old == new)
    assert (apply(old, diff) if diff else old) == new


@given(TEXTS, st.integers(0, 40), st.text("xyz\n", max_size=5))
def test_one_insertion_shows_no_more_than_its_lines_and_their_context(old: str, at: int, extra: str) -> None:
    lines = split(old)
    new = "".join([*lines[:at], extra, *lines[at:]])
    diff = list(unified(old.encode(), new.encode(), "a", "b"))
    assert len([line for line in diff[2:] if line.startswith(" ")]) <= 6


def test_it_reads_like_the_standard_librarys() -> None:
    old = "".join(f"line {n}\n" for n in range(100))
    new = old.replace("line 7\n", "line seven\n").replace("line 80\n", "")
    theirs = [line.rstrip("\n") for line in difflib.unified_diff(split(old), split(new), "a", "b")]
    assert list(unified(old.encode(), new.encode(), "a", "b")) == theirs


def test_a_missing_last_newline_is_said() -> None:
    assert list(unified(b"a\n", b"a", "old", "new")) == [
        "--- old", "+++ new", "@@ -1 +1 @@", "-a", "+a", "\\ No newline at end of file",
    ]  # fmt: skip


def test_bytes_that_are_no_utf8_still_show_where_they_are() -> None:
    assert list(unified(b"\xff\n", b"b\n", "a", "b"))[3:] == ["-\ufffd", "+b"]
