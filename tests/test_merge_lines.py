"""Three lists of lines become one: what one side changed is there, what overlaps is refused."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memstore.merging import lines

LISTS = st.lists(st.sampled_from("abcdef"), max_size=12)


def merged(base: str, earlier: str, later: str, *, apart: bool = False) -> str | None:
    found = lines.merge(list(base), list(earlier), list(later), apart=apart)
    return None if found is None else "".join(found)


@pytest.mark.parametrize(
    ("base", "earlier", "later", "both"),
    [
        ("abcde", "aBcde", "abcDe", "aBcDe"),
        ("abc", "abcx", "abcy", "abcxy"),
        ("abc", "abcxy", "abcxz", "abcxyz"),
        ("", "x", "y", "xy"),
        ("abc", "aBc", "aBc", "aBc"),
        ("abc", "abC", "abcy", "abCy"),
        ("abc", "ab", "abcy", "aby"),
        ("abc", "xyz", "abcw", "xyzw"),
        ("abcd", "bcd", "abc", "bc"),
        ("abc", "aBc", "aXc", None),
        ("abcd", "aBcd", "abCd", None),
        ("abc", "axbc", "aybc", None),
        ("abc", "ac", "aBc", None),
        ("abc", "xabc", "yabc", None),
    ],
)
def test_what_both_did_is_there_or_refused(base: str, earlier: str, later: str, both: str | None) -> None:
    assert merged(base, earlier, later) == both


@pytest.mark.parametrize(
    ("base", "earlier", "later", "both"),
    [
        ("abcd", "aBcd", "abCd", "aBCd"),
        ("abc", "axbc", "aybc", "axybc"),
        ("abc", "xabc", "ybc", "xybc"),
        ("abc", "aBc", "aXc", None),
    ],
)
def test_lines_that_stand_for_themselves_overlap_with_no_neighbour(
    base: str, earlier: str, later: str, both: str | None
) -> None:
    assert merged(base, earlier, later, apart=True) == both


@settings(max_examples=40, deadline=None)
@given(base=LISTS, other=LISTS)
def test_the_difference_rebuilds_the_other_side(base: list[str], other: list[str]) -> None:
    built: list[str] = []
    at = 0
    for hunk in lines.hunks(base, other):
        assert hunk.start > at or at == 0
        assert hunk.end > hunk.start or hunk.last > hunk.first
        built += base[at : hunk.start] + other[hunk.first : hunk.last]
        at = hunk.end
    assert built + base[at:] == other


@settings(max_examples=40, deadline=None)
@given(base=LISTS, other=LISTS, apart=st.booleans())
def test_a_side_that_changed_nothing_has_no_say(base: list[str], other: list[str], apart: bool) -> None:
    assert lines.merge(base, other, base, apart=apart) == other
    assert lines.merge(base, base, other, apart=apart) == other
    assert lines.merge(base, other, other, apart=apart) == other


@settings(max_examples=40, deadline=None)
@given(base=LISTS, one=LISTS, two=LISTS)
def test_a_line_that_a_side_added_is_in_the_merge(base: list[str], one: list[str], two: list[str]) -> None:
    earlier, later = [*base, "one", *one], ["two", *two, *base]
    found = lines.merge(base, earlier, later)
    if found is not None:
        assert "one" in found and "two" in found
    swapped = lines.merge(base, later, earlier)
    assert (found is None) == (swapped is None), "whether it overlaps does not hang on who was first"


class Counted:
    """Compares like a number, and counts how often that was asked."""

    asked = 0

    def __init__(self, number: int) -> None:
        self.number = number

    def __eq__(self, other: object) -> bool:
        Counted.asked += 1
        return isinstance(other, Counted) and self.number == other.number

    def __hash__(self) -> int:
        return self.number


def test_the_cost_is_bounded() -> None:
    base = [Counted(number % 7) for number in range(5000)]
    other = [Counted(number % 5) for number in range(5000)]
    lines.hunks(base, other)
    assert Counted.asked < 500_000, "all pairs are 25 million"
