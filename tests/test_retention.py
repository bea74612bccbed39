"""Which versions the rules keep, against a plain reading of them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memstore.manifest.retention import Dated, Rules, kept, span_ms

START = datetime(2025, 1, 30, 22, 0, tzinfo=UTC)


def hourly(hours: int, tags: dict[int, tuple[str, ...]] | None = None) -> list[Dated]:
    return [
        Dated(n, int((START + timedelta(hours=n)).timestamp() * 1000), (tags or {}).get(n, ()))
        for n in range(hours)
    ]


def test_no_rule_keeps_everything() -> None:
    assert kept(hourly(30), {29}, Rules()) == set(range(30))


def test_heads_are_kept_whatever_the_rules() -> None:
    assert kept(hourly(30), {29, 3}, Rules(tags=("none",))) == {29, 3}


def test_the_last_so_many() -> None:
    assert kept(hourly(30), set(), Rules(last=2)) == {28, 29}


def test_within_counts_back_from_the_newest_version() -> None:
    assert kept(hourly(30), set(), Rules(within_ms=span_ms("3h"))) == {26, 27, 28, 29}


def test_the_last_version_of_each_day_week_and_month_in_utc() -> None:
    week = hourly(72)
    assert kept(week, set(), Rules(daily=2)) == {71, 49}
    assert kept(week, set(), Rules(daily=9)) == {71, 49, 25, 1}
    assert kept(week, set(), Rules(weekly=9)) == {71}
    assert kept(week, set(), Rules(monthly=9)) == {71, 25}


def test_a_day_without_versions_counts_for_nothing() -> None:
    gap = [*hourly(3), Dated(99, int((START + timedelta(days=40)).timestamp() * 1000))]
    assert kept(gap, set(), Rules(daily=2)) == {99, 2}


def test_any_tag_that_is_asked_for() -> None:
    assert kept(hourly(9, {2: ("a", "b"), 4: ("b",)}), set(), Rules(tags=("a", "c"))) == {2}


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
    both = kept(versions, set(), Rules(last=last + 1, daily=daily, weekly=weekly, monthly=monthly))
    assert kept(versions, set(), Rules(last=last + 1)) <= both
    assert len(both) <= last + 1 + daily + weekly + monthly
    if versions:
        assert max(versions, key=lambda version: (version.time_ms, version.seq)).seq in both
