"""What people see is short, and nothing in a name or a note is obeyed by their terminal."""

from __future__ import annotations

import io
import json
import time
from collections import deque

import pytest
from hypothesis import given
from hypothesis import strategies as st
from memsync import render
from memsync.progress import ProgressLine

from memstore.ids import ContentId, VersionId
from memstore.manifest.version import Change, ChangeKind, Entry, Kind, Meta, Version


@given(st.text())
def test_nothing_visible_is_obeyed_by_a_terminal(text: str) -> None:
    shown = render.visible(text)
    assert not any(ord(sign) < 32 and sign not in "\n\t" for sign in shown)
    assert not any(0x7F <= ord(sign) < 0xA0 for sign in shown)
    assert "\n" not in render.name(text)
    shown.encode("utf-8")


def test_an_escape_sequence_in_a_note_is_spelt_out() -> None:
    assert render.visible("\x1b[2J gone?") == "\\x1b[2J gone?"
    assert render.visible("Привет 👩‍💻") == "Привет 👩‍💻"


@given(st.integers(0, 10**15))
def test_a_size_is_short_and_off_by_no_more_than_half_a_last_digit(count: int) -> None:
    number, unit = render.size(count).split()
    factor = {"B": 1, "KB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12}[unit]
    assert len(number) <= 4
    assert abs(float(number) * factor - count) <= factor * (0.06 if "." in number else 0.51)


def test_a_summary_counts_in_a_fixed_order() -> None:
    kinds = ChangeKind
    assert render.summary([kinds.APPEND, kinds.ADD, kinds.ADD]) == "2 added, 1 appended"
    assert render.summary([kinds.DELETE, kinds.ARCHIVE, kinds.REPLACE]) == "1 replaced, 1 deleted, 1 archived"


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (5, "just now"),
        (60, "1 minute ago"),
        (7200, "2 hours ago"),
        (86400 * 3, "3 days ago"),
        (-9, "in the future"),
    ],
)
def test_how_long_ago_is_one_number_and_a_unit(seconds: int, said: str) -> None:
    assert render.ago(1_000_000_000, now=1_000_000 + seconds) == said


def test_a_time_no_clock_can_show_is_still_shown() -> None:
    assert render.local_time(10**22).startswith("@")


@given(st.recursive(st.none() | st.integers() | st.text(), lambda inner: st.dictionaries(st.text(), inner)))
def test_a_document_reads_back_as_it_was(answer: object) -> None:
    assert json.loads(render.document({"answer": answer})) == {"answer": answer}


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("environ", "terminal", "wanted"),
    [
        ({}, True, True),
        ({}, False, False),
        ({"NO_COLOR": "1"}, True, False),
        ({"FORCE_COLOR": "1"}, False, True),
        ({"NO_COLOR": "1", "FORCE_COLOR": "1"}, True, False),
        ({"TERM": "dumb"}, True, False),
    ],
)
def test_colours_are_for_terminals_and_no_color_wins(
    monkeypatch: pytest.MonkeyPatch, environ: dict[str, str], terminal: bool, wanted: bool
) -> None:
    for variable in ("NO_COLOR", "FORCE_COLOR", "TERM"):
        monkeypatch.delenv(variable, raising=False)
    for variable, value in environ.items():
        monkeypatch.setenv(variable, value)
    monkeypatch.setattr("sys.stdout", Terminal() if terminal else io.StringIO())
    assert render.coloured() is wanted
    assert (render.paint("x", "red") != "x") is wanted


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_progress_shows_nothing_for_what_is_over_within_a_second() -> None:
    stream, clock = io.StringIO(), Clock()
    line = ProgressLine(stream, clock=clock)
    line.begin("sending", 100, "B")
    clock.now += 0.9
    line.advance(100)
    line.end()
    assert stream.getvalue() == ""


def test_progress_shows_share_amount_and_time_left_then_leaves_a_clean_line() -> None:
    stream, clock = io.StringIO(), Clock()
    line = ProgressLine(stream, clock=clock)
    line.begin("sending", 4_000_000, "B")
    clock.now += 2
    line.advance(1_000_000)
    assert stream.getvalue() == "\r\x1b[Ksending   25%  1.0 MB of 4.0 MB  6 s left"
    clock.now += 0.01
    line.advance(1)
    assert stream.getvalue().count("sending") == 1
    line.end()
    assert stream.getvalue().endswith("\r\x1b[K")


def test_progress_without_a_total_counts_only() -> None:
    stream, clock = io.StringIO(), Clock()
    line = ProgressLine(stream, clock=clock)
    line.begin("reading", 0, "files")
    clock.now += 5
    line.advance(1234)
    assert stream.getvalue() == "\r\x1b[Kreading  1,234 files"


def test_a_sentence_stands_on_its_own_line_and_the_bar_comes_back_after_it() -> None:
    stream, clock = io.StringIO(), Clock()
    line = ProgressLine(stream, clock=clock)
    line.begin("mirror", 10, "files")
    clock.now += 2
    line.advance(5)
    line.say("all versions are safe on the remote")
    line.advance(1)
    pieces = stream.getvalue().split("\r\x1b[K")
    assert pieces[2] == "all versions are safe on the remote\n"
    assert pieces[3].startswith("mirror   60%  6 of 10 files")


def test_progress_from_many_threads_counts_everything() -> None:
    from concurrent.futures import ThreadPoolExecutor

    stream, clock = io.StringIO(), Clock()
    line = ProgressLine(stream, clock=clock)
    line.begin("reading", 8000, "files")
    with ThreadPoolExecutor(8) as pool:
        for _ in range(8):
            pool.submit(lambda: deque(map(line.advance, [1] * 999)))
    clock.now += 2
    line.advance(8)
    assert "8,000 of 8,000 files" in stream.getvalue()


@pytest.mark.skipif(not hasattr(time, "tzset"), reason="a process has one time zone there")
@pytest.mark.parametrize(
    "zone", ["UTC", "Europe/Berlin", "America/St_Johns", "Africa/Monrovia", "Asia/Kathmandu"]
)
@given(times=st.lists(st.integers(-(10**11), 10**13) | st.integers(1_743_000_000_000, 1_744_000_000_000)))
def test_a_clock_that_remembers_the_day_shows_what_the_system_shows(zone: str, times: list[int]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TZ", zone)
        time.tzset()
        clock = render.Clock()
        assert [clock.local_time(moment) for moment in times] == [
            render.local_time(moment) for moment in times
        ]
    time.tzset()


@pytest.mark.parametrize("count", [0, 1, 999, 1000, 1001, 3500])
def test_a_version_in_pieces_is_the_document_that_it_is_as_a_whole(count: int) -> None:
    entry = Entry("a", Kind.FILE, 1, ContentId.of(b"a"), 0)
    changes = tuple(
        Change(f"{number:04}", ChangeKind.ADD, entry._replace(path=f"{number:04}")) for number in range(count)
    )
    version = Version(VersionId.of(b"v"), (), 1, 0, "here", "0" * 8, Meta("note"), changes)
    pieces = list(render.version_document(version))
    assert json.loads("".join(pieces)) == version.as_json()
    assert max(map(len, pieces)) < 200_000
