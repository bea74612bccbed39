"""Which versions the rules keep, against a plain reading of them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memstore.manifest.retention import Dated, Rules, ahead, kept, span_ms

START = datetime(2025, 1, 30, 22, 0, tzinfo=UTC)
NOW = 10**13
"""Milliseconds since the epoch: later than all that no test dates ahead."""
HOUR = 3_600_000


def hourly(hours: int, tags: dict[int, tuple[str, ...]] | None = None) -> list[Dated]:
    return [
        Dated(n, int((START + timedelta(hours=n)).timestamp() * 1000), (tags or {}).get(n, ()))
        for n in range(hours)
    ]


def test_no_rule_keeps_everything() -> None:
    assert kept(hourly(30), {29}, Rules(), now_ms=NOW) == set(range(30))


def test_heads_are_kept_whatever_the_rules() -> None:
    assert kept(hourly(30), {29, 3}, Rules(tags=("none",)), now_ms=NOW) == {29, 3}


def test_the_last_so_many() -> None:
    assert kept(hourly(30), set(), Rules(last=2), now_ms=NOW) == {28, 29}


def test_within_counts_back_from_the_newest_version() -> None:
    assert kept(hourly(30), set(), Rules(within_ms=span_ms("3h")), now_ms=NOW) == {26, 27, 28, 29}


def test_the_last_version_of_each_day_week_and_month_in_utc() -> None:
    week = hourly(72)
    assert kept(week, set(), Rules(daily=2), now_ms=NOW) == {71, 49}
    assert kept(week, set(), Rules(daily=9), now_ms=NOW) == {71, 49, 25, 1}
    assert kept(week, set(), Rules(weekly=9), now_ms=NOW) == {71}
    assert kept(week, set(), Rules(monthly=9), now_ms=NOW) == {71, 25}


def test_a_day_without_versions_counts_for_nothing() -> None:
    gap = [*hourly(3), Dated(99, int((START + timedelta(days=40)).timestamp() * 1000))]
    assert kept(gap, set(), Rules(daily=2), now_ms=NOW) == {99, 2}


def test_any_tag_that_is_asked_for() -> None:
    assert kept(hourly(9, {2: ("a", "b"), 4: ("b",)}), set(), Rules(tags=("a", "c")), now_ms=NOW) == {2}


def test_a_clock_that_was_years_ahead_costs_nothing_of_the_time_before_it_nor_after() -> None:
    """Thirty versions, one an hour; then one is dated five years later, and all after it are dated no earlier."""
    before = hourly(30)
    now = before[-1].time_ms + HOUR
    jump = [Dated(30 + number, now + 5 * 365 * 24 * HOUR) for number in range(4)]
    all_of_it, late = [*before, *jump], {30, 31, 32, 33}
    for rules in (Rules(within_ms=3 * HOUR), Rules(daily=2), Rules(weekly=1), Rules(monthly=2)):
        kept_before = kept(before, set(), rules, now_ms=now)
        assert kept(all_of_it, set(), rules, now_ms=now) == kept_before | late
    assert kept(all_of_it, set(), Rules(last=2), now_ms=now) == {32, 33}, "a number is a number"
    assert ahead(all_of_it, now) == jump


def test_the_collectors_own_clock_lets_nothing_go_whichever_way_it_is_wrong() -> None:
    versions, rules = hourly(30), Rules(within_ms=3 * HOUR)
    assert kept(versions, set(), rules, now_ms=NOW) == {26, 27, 28, 29}
    assert kept(versions, set(), rules, now_ms=0) == set(range(30))


def test_clocks_that_differ_by_some_hours_are_not_told_of() -> None:
    assert not ahead(hourly(30), hourly(30)[-1].time_ms - 23 * HOUR)


@given(
    st.lists(st.integers(0, 2000), max_size=30), st.integers(0, 2000), st.integers(0, 50), st.integers(0, 4)
)
def test_what_is_dated_ahead_is_kept_by_time_and_takes_nothing_elses_place(
    hours: list[int], now: int, within: int, daily: int
) -> None:
    rules = Rules(within_ms=within * HOUR, daily=daily)
    versions = [Dated(number, hour * HOUR) for number, hour in enumerate(hours)]
    there = [version for version in versions if version.time_ms <= now * HOUR]
    later = {version.seq for version in versions if version.time_ms > now * HOUR}
    assert kept(versions, set(), rules, now_ms=now * HOUR) == kept(there, set(), rules, now_ms=NOW) | later


@pytest.mark.parametrize(
    ("text", "hours"), [("36h", 36), ("90d", 2160), ("2w", 336), ("6m", 4320), ("1y", 8760)]
)
def test_spans(text: str, hours: int) -> None:
    assert span_ms(text) == hours * 3_600_000


@pytest.mark.parametrize("text", ["d", "90", "-3d", "3 fortnights", "1.5d"])
def test_what_is_no_span_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=text):
        span_ms(text)


@given(
    st.lists(st.integers(0, 10**11), max_size=40),
    st.integers(0, 5), st.integers(0, 5), st.integers(0, 5), st.integers(0, 5),
)  # fmt: skip
def test_more_rules_never_keep_less(
    times: list[int], last: int, daily: int, weekly: int, monthly: int
) -> None:
    versions = [Dated(number, time) for number, time in enumerate(times)]
    both = kept(
        versions, set(), Rules(last=last + 1, daily=daily, weekly=weekly, monthly=monthly), now_ms=NOW
    )
    assert kept(versions, set(), Rules(last=last + 1), now_ms=NOW) <= both
    assert len(both) <= last + 1 + daily + weekly + monthly
    if versions:
        assert max(versions, key=lambda version: (version.time_ms, version.seq)).seq in both
