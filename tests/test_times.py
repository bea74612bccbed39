"""Times as people write them, in a zone with summer time, whatever zone the tests run in."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from memstore.errors import BadInput
from memstore.times import looks_like_id, parse_time

pytestmark = pytest.mark.skipif(not hasattr(time, "tzset"), reason="the zone can't be set on this system")

NEW_YORK = "EST5EDT,M3.2.0,M11.1.0"
"""A POSIX zone, so that no zone database is needed: forward at 02:00 on 2025-03-09, back on 2025-11-02."""


@pytest.fixture(autouse=True)
def zone(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    def choose(name: str) -> None:
        monkeypatch.setenv("TZ", name)
        time.tzset()

    choose(NEW_YORK)
    yield choose
    monkeypatch.undo()
    time.tzset()


def utc(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


NOW = utc("2025-04-23T18:30:15") + 250
"""A Wednesday, 14:30:15.250 in New York (UTC-4)."""


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("now", "2025-04-23T18:30:15.250"),
        ("90 seconds ago", "2025-04-23T18:28:45.250"),
        ("1 minute ago", "2025-04-23T18:29:15.250"),
        ("2 hours ago", "2025-04-23T16:30:15.250"),
        ("an hour ago", "2025-04-23T17:30:15.250"),
        ("2 days ago", "2025-04-21T18:30:15.250"),
        ("3 Weeks ago", "2025-04-02T18:30:15.250"),
        ("a month ago", "2025-03-23T18:30:15.250"),
        ("2 years ago", "2023-04-23T18:30:15.250"),
    ],
)
@pytest.mark.parametrize("end", [True, False])
def test_an_instant_is_itself_for_an_end_and_for_a_beginning(text: str, meant: str, end: bool) -> None:
    assert parse_time(text, now_ms=NOW, end=end) == utc(meant)


@pytest.mark.parametrize(
    ("text", "first", "covered"),
    [
        ("2025-04-23T14:00Z", "2025-04-23T14:00:00", 60_000),
        ("2025-04-23t14:00z", "2025-04-23T14:00:00", 60_000),
        ("2025-04-23 14:00 UTC", "2025-04-23T14:00:00", 60_000),
        ("2025-04-23T14:00:05.125Z", "2025-04-23T14:00:05.125", 1),
        ("2025-04-23T14:00:05,1Z", "2025-04-23T14:00:05.100", 100),
        ("2025-04-23 14:00:05+02:00", "2025-04-23T12:00:05", 1_000),
        ("2025-04-23T14:00-0530", "2025-04-23T19:30:00", 60_000),
        ("2025-04-23T14:00+02", "2025-04-23T12:00:00", 60_000),
        ("2025-04-23T14:00", "2025-04-23T18:00:00", 60_000),
        ("2025-01-05 09:07:01", "2025-01-05T14:07:01", 1_000),
        ("  2025-4-3   9:05  ", "2025-04-03T13:05:00", 60_000),
        ("14:00", "2025-04-23T18:00:00", 60_000),
        ("9:05:30", "2025-04-23T13:05:30", 1_000),
        ("3pm", "2025-04-23T19:00:00", 60_000),
        ("12 AM", "2025-04-23T04:00:00", 60_000),
        ("12:30pm", "2025-04-23T16:30:00", 60_000),
        ("yesterday 3 pm", "2025-04-22T19:00:00", 60_000),
        ("2025-04-23 3:05:10 pm", "2025-04-23T19:05:10", 1_000),
        ("21 Apr 14:00", "2025-04-21T18:00:00", 60_000),
        ("April 21st, at 2pm", "2025-04-21T18:00:00", 60_000),
        ("24 Apr 2024 14:00", "2024-04-24T18:00:00", 60_000),
        ("yesterday 14:00", "2025-04-22T18:00:00", 60_000),
        ("today at 9:00", "2025-04-23T13:00:00", 60_000),
        ("Tuesday 14:00", "2025-04-22T18:00:00", 60_000),
        ("last Wed 14:00", "2025-04-16T18:00:00", 60_000),
        ("2025-04-23T14:00:05.1234Z", "2025-04-23T14:00:05.123", 1),
    ],
)
def test_a_time_of_day_covers_the_unit_it_is_written_down_to(text: str, first: str, covered: int) -> None:
    assert parse_time(text, now_ms=NOW, end=False) == utc(first)
    assert parse_time(text, now_ms=NOW, end=True) == utc(first) + covered - 1


@pytest.mark.parametrize(
    ("text", "first", "next_first"),
    [
        ("2025-04-23", "2025-04-23T04:00:00", "2025-04-24T04:00:00"),
        ("2025-12-31", "2025-12-31T05:00:00", "2026-01-01T05:00:00"),
        ("2024-02-29", "2024-02-29T05:00:00", "2024-03-01T05:00:00"),
        ("2025-04", "2025-04-01T04:00:00", "2025-05-01T04:00:00"),
        ("2024", "2024-01-01T05:00:00", "2025-01-01T05:00:00"),
        ("today", "2025-04-23T04:00:00", "2025-04-24T04:00:00"),
        ("yesterday", "2025-04-22T04:00:00", "2025-04-23T04:00:00"),
        ("last tuesday", "2025-04-22T04:00:00", "2025-04-23T04:00:00"),
        ("23 Apr", "2025-04-23T04:00:00", "2025-04-24T04:00:00"),
        ("24 apr", "2024-04-24T04:00:00", "2024-04-25T04:00:00"),
        ("24. April 2025", "2025-04-24T04:00:00", "2025-04-25T04:00:00"),
        ("Sept 3rd", "2024-09-03T04:00:00", "2024-09-04T04:00:00"),
        ("may 2, 2024", "2024-05-02T04:00:00", "2024-05-03T04:00:00"),
        ("thu", "2025-04-17T04:00:00", "2025-04-18T04:00:00"),
        ("wednesday", "2025-04-23T04:00:00", "2025-04-24T04:00:00"),
        ("last wednesday", "2025-04-16T04:00:00", "2025-04-17T04:00:00"),
        ("2025-04-23T14-02-00Z", "2025-04-23T14:02:00", "2025-04-23T14:02:01"),
    ],
)
def test_a_stretch_is_its_first_instant_or_its_last(text: str, first: str, next_first: str) -> None:
    assert parse_time(text, now_ms=NOW, end=False) == utc(first)
    assert parse_time(text, now_ms=NOW, end=True) == utc(next_first) - 1


def test_days_on_which_the_clock_changes_have_23_and_25_hours() -> None:
    for day, hours in (("2025-03-09", 23), ("2025-11-02", 25)):
        first, last = (parse_time(day, now_ms=NOW, end=end) for end in (False, True))
        assert last + 1 - first == hours * 3_600_000


def test_days_ago_keep_the_time_of_day_across_a_change_and_hours_count_on_the_clock() -> None:
    noon_after = utc("2025-03-10T16:00:00")
    assert parse_time("2 days ago", now_ms=noon_after, end=True) == utc("2025-03-08T17:00:00")
    assert parse_time("48 hours ago", now_ms=noon_after, end=True) == utc("2025-03-08T16:00:00")


def test_a_time_that_happens_twice_is_the_later_for_an_end_and_the_earlier_for_a_beginning() -> None:
    assert parse_time("2025-11-02 01:30", now_ms=NOW, end=False) == utc("2025-11-02T05:30:00")
    assert parse_time("2025-11-02 01:30:00", now_ms=NOW, end=True) == utc("2025-11-02T06:30:00") + 999


def test_a_time_that_the_clock_skips_is_the_instant_it_would_have_been() -> None:
    for end, rest in ((True, 999), (False, 0)):
        assert parse_time("2025-03-09 02:30:00", now_ms=NOW, end=end) == utc("2025-03-09T07:30:00") + rest


def test_a_day_begins_where_its_midnight_is_skipped(zone: Callable[[str], None]) -> None:
    zone("XXX3YYY,M10.3.0/0,M2.3.0/0")  # forward at midnight, as São Paulo had it: 2025-10-19 starts at 01:00
    assert parse_time("2025-10-19", now_ms=NOW, end=False) == utc("2025-10-19T03:00:00")
    assert parse_time("2025-10-18", now_ms=NOW, end=True) == utc("2025-10-19T03:00:00") - 1


def test_a_month_ago_on_the_31st_is_the_last_day_of_a_shorter_month() -> None:
    now = utc("2025-03-31T12:00:00")
    assert parse_time("1 month ago", now_ms=now, end=True) == utc("2025-02-28T13:00:00")
    assert parse_time("1 year ago", now_ms=utc("2024-02-29T12:00:00"), end=True) == utc("2023-02-28T12:00:00")


@pytest.mark.parametrize(
    "text",
    [
        "", "yesterdayish", "2025-02-30", "2025-13", "2025-04-23T25:00", "25:00", "14:60", "14",
        "13pm", "0am", "yesterday 14", "31 Apr", "29 Feb", "0 Jan", "24 Novembre", "Nov", "Nov 2025",
        "next tuesday", "2 days", "in 2 days", "last yesterday", "two days ago",
        "999999999 years ago", "999999999 weeks ago",
        "2025-04-23T14:00+25:00", "2025-04-23T14:00 CEST", "0000-01-01", "9999-12-31", "\ud800", "deadbeef",
    ],
)  # fmt: skip
def test_what_is_no_time_is_refused_with_examples(text: str) -> None:
    with pytest.raises(BadInput) as caught:
        parse_time(text, now_ms=NOW, end=True)
    assert "2 days ago" in caught.value.hint
    assert repr(text) in caught.value.message


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200)
@given(st.text(alphabet="0123456789-:tTzZ+. agodyshurlenwkpmjfbv", max_size=24), st.booleans())
def test_any_text_is_a_time_or_bad_input(text: str, end: bool) -> None:
    try:
        assert isinstance(parse_time(text, now_ms=NOW, end=end), int)
    except BadInput as error:
        assert error.hint


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200)
@given(st.integers(utc("1971-01-01T00:00:00"), utc("2100-01-01T00:00:00")))
def test_every_local_time_lies_between_the_first_and_the_last_instant_of_its_day(now_ms: int) -> None:
    local = time.localtime(now_ms // 1000)
    day = time.strftime("%Y-%m-%d", local)
    first, last = (parse_time(day, now_ms=0, end=end) for end in (False, True))
    assert first <= now_ms <= last
    assert parse_time("today", now_ms=now_ms, end=True) == last
    clock = time.strftime("%Y-%m-%d %H:%M:%S", local)
    begin, last = (parse_time(clock, now_ms=0, end=end) for end in (False, True))
    assert begin <= now_ms <= last
    assert now_ms // 1000 * 1000 in {begin, last - 999}


def test_eight_hex_digits_are_an_id_and_a_date_is_not() -> None:
    assert looks_like_id("20250423")
    assert looks_like_id("DEADbeef")
    assert looks_like_id("a" * 64)
    for text in ("2025-04-23", "deadbee", "a" * 65, "deadbeeg", "", "yesterday", "2025"):
        assert not looks_like_id(text)
