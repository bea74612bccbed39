"""Times as a person writes them: `2025-04-23`, `2025-04-23T14:00Z`, `24 Nov 3pm`, `yesterday 14:00`, `2 days ago`.

A time without a zone is local. What names a stretch (a day, a month, a year, and also the minute, second or
fraction that a time of day is written down to) is its last instant or its first, as the caller asks: a time
copied from a log covers the version it stood by, whose milliseconds the log cuts off. Days, weeks, months and
years are counted on the calendar, so that `2 days ago` is the same time of day across a change to summer time;
hours and less are counted on the clock. A local time that happens twice is the later of the two for an end, the
earlier for a beginning; one that the clock skips is the instant the skipped time would have been.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Final

from memstore.errors import BadInput
from memstore.ids import ID_BYTES, SHORTEST_PREFIX

_DAY: Final = r"(?P<year>\d{4})-(?P<month>\d{1,2})-(?P<day>\d{1,2})"
_CLOCK: Final = (
    r"(?P<hour>\d{1,2})(:(?P<minute>\d{2})(:(?P<second>\d{2})([.,](?P<fraction>\d{1,9}))?)?)?"
    r"( ?(?P<half>[ap]m))?"
)
"""With a minute, or a half of the day: an hour alone is no time."""
_ZONE: Final = r"(?P<zone>z|utc|[+-]\d{2}(:?\d{2})?)"
_WEEKDAYS: Final = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_NAMED: Final = "|".join(("today", "yesterday", *_WEEKDAYS, *(day[:3] for day in _WEEKDAYS)))

_MONTHS: Final = (
    *("january", "february", "march", "april", "may", "june"),
    *("july", "august", "september", "october", "november", "december"),
)
_MONTH: Final = rf"(?P<month>{'|'.join((*_MONTHS, 'sept', *(month[:3] for month in _MONTHS)))})\.?"
_OF_MONTH: Final = r"(?P<day>\d{1,2})(st|nd|rd|th|\.)?"

_CLOCK_UNITS: Final = {"s": 1, "sec": 1, "second": 1, "min": 60, "minute": 60, "h": 3600, "hour": 3600}
_DAY_UNITS: Final = {"d": 1, "day": 1, "w": 7, "week": 7}
_MONTH_UNITS: Final = {"month": 1, "y": 12, "year": 12}
_UNITS: Final = "|".join((*_CLOCK_UNITS, *_DAY_UNITS, *_MONTH_UNITS))

_HEX: Final = frozenset("0123456789abcdefABCDEF")
_DIGITS: Final = frozenset("0123456789")


def looks_like_id(text: str) -> bool:
    """Whether this is an id or a prefix of one, and so no time: 8 or more hex digits, `20250423` included."""
    return SHORTEST_PREFIX <= len(text) <= 2 * ID_BYTES and _HEX.issuperset(text)


def steps_back(text: str) -> tuple[str, int]:
    """`HEAD~2` is ("HEAD", 2), the version two before HEAD; `HEAD~` is one before. 0 for what has no such ending."""
    name, mark, steps = text.rpartition("~")
    if not name or not mark or len(steps) > 9 or not _DIGITS.issuperset(steps):
        return text, 0
    return name, int(steps or 1)


def parse_time(given: str | date, *, now_ms: int, end: bool) -> int:
    """The instant meant, in milliseconds since the epoch, UTC.

    `now_ms` is the present, in the same measure. `end` takes the last instant of the year, month, day, minute,
    second or fraction that is named (`--at`, `--until`), otherwise the first (`--since`). The time in an archive
    name (`2025-04-23T14-02-00Z`) is a whole second. `now` and what is `ago` are instants. Raises `BadInput` for
    anything that is no time.
    """
    text = given if isinstance(given, str) else given.isoformat()
    plain = " ".join(text.split()).lower()
    try:
        found = _parse(plain, now_ms, end)
    except (ValueError, OverflowError, OSError):  # the 31st of a short month, year 0, beyond the calendar
        found = None
    if found is None:
        raise BadInput(
            f"not a time: {text!r}",
            hint="write it as 2025-04-23, 2025-04-23T14:00Z, '23 Apr 14:00', 14:00, 2pm, yesterday, "
            "'last tuesday' or '2 days ago'",
        )
    return found


def _parse(plain: str, now_ms: int, end: bool) -> int | None:
    for pattern, instant_of in _FORMS:
        if match := re.fullmatch(pattern, plain):
            return instant_of(match, now_ms, end)
    return None


# -- one function for each form ----------------------------------------------------------------------------


def _moment(match: re.Match[str], _now_ms: int, end: bool) -> int:
    moment = _with_clock(_day(match), match)
    if match["zone"] is None:
        return _at(moment, match, end)
    return _of_utc(moment - _offset(match["zone"])) + (_to_last(match) if end else 0)


def _date(match: re.Match[str], _now_ms: int, end: bool) -> int:
    return _edge(_day(match), timedelta(days=1), end)


def _archived(match: re.Match[str], _now_ms: int, end: bool) -> int:
    return _of_utc(_with_clock(_day(match), match)) + (_to_last(match) if end else 0)


def _month_or_year(match: re.Match[str], _now_ms: int, end: bool) -> int:
    first = datetime(int(match["year"]), int(match["month"] or 1), 1)
    return _edge(first, _months_later(first, 1 if match["month"] else 12) - first, end)


def _now(_match: re.Match[str], now_ms: int, _end: bool) -> int:
    return now_ms


def _ago(match: re.Match[str], now_ms: int, end: bool) -> int:
    number = int(match["number"]) if match["number"].isdigit() else 1
    unit = match["unit"]
    if unit in _CLOCK_UNITS:
        then = now_ms - number * _CLOCK_UNITS[unit] * 1000
        datetime.fromtimestamp(then // 1000, UTC)  # refuses what lies before the calendar
        return then
    now = datetime.fromtimestamp(now_ms // 1000)
    if unit in _DAY_UNITS:
        local = now - timedelta(days=number * _DAY_UNITS[unit])
    else:
        local = _months_later(now, -number * _MONTH_UNITS[unit])
    return min(_instant(local, later=end) + now_ms % 1000, now_ms)


def _today_at(match: re.Match[str], now_ms: int, end: bool) -> int:
    return _at(_with_clock(_midnight(now_ms), match), match, end)


def _spoken_date(match: re.Match[str], now_ms: int, end: bool) -> int:
    """`24 Nov`, `November 24th, 2025`. Without a year it is the latest such day."""
    month = next(number for number, name in enumerate(_MONTHS, 1) if name.startswith(match["month"][:3]))
    today = _midnight(now_ms)
    if match["year"] is not None:
        day = datetime(int(match["year"]), month, int(match["day"]))
    else:
        year = today.year - ((month, int(match["day"])) > (today.month, today.day))
        day = datetime(year, month, int(match["day"]))
    return _whole_or_at(day, match, end)


def _named_day(match: re.Match[str], now_ms: int, end: bool) -> int:
    """A weekday is the latest such day, today included unless it is the `last` one."""
    name = match["name"]
    today = _midnight(now_ms)
    if name in {"today", "yesterday"}:
        day = today - timedelta(days=name == "yesterday")
    else:
        wanted = next(number for number, weekday in enumerate(_WEEKDAYS) if weekday.startswith(name))
        back = (today.weekday() - wanted) % 7
        day = today - timedelta(days=back or (7 if match["last"] else 0))
    return _whole_or_at(day, match, end)


def _whole_or_at(day: datetime, match: re.Match[str], end: bool) -> int:
    """A day, or the time of it that is named."""
    if match["hour"] is None:
        return _edge(day, timedelta(days=1), end)
    return _at(_with_clock(day, match), match, end)


_FORMS: Final[tuple[tuple[str, Callable[[re.Match[str], int, bool], int]], ...]] = (
    (r"now", _now),
    (rf"{_DAY}[t ]{_CLOCK} ?{_ZONE}?", _moment),
    (_DAY, _date),
    (rf"{_DAY}t(?P<hour>\d\d)-(?P<minute>\d\d)-(?P<second>\d\d)z", _archived),
    (r"(?P<year>\d{4})(-(?P<month>\d{1,2}))?", _month_or_year),
    (rf"(?P<number>\d{{1,9}}|an?) ?(?P<unit>{_UNITS})s? ago", _ago),
    (_CLOCK, _today_at),
    (rf"{_OF_MONTH} {_MONTH}(,? (?P<year>\d{{4}}))?(,? (at )?{_CLOCK})?", _spoken_date),
    (rf"{_MONTH} {_OF_MONTH}(,? (?P<year>\d{{4}}))?(,? (at )?{_CLOCK})?", _spoken_date),
    (rf"(?P<last>last (?!today|yesterday))?(?P<name>{_NAMED})( (at )?{_CLOCK})?", _named_day),
)
"""Matched in this order against lower-case text whose blanks are single spaces."""


# -- the calendar ------------------------------------------------------------------------------------------


def _midnight(now_ms: int) -> datetime:
    return datetime.fromtimestamp(now_ms // 1000).replace(hour=0, minute=0, second=0, fold=0)


def _day(match: re.Match[str]) -> datetime:
    return datetime(int(match["year"]), int(match["month"]), int(match["day"]))


def _with_clock(day: datetime, match: re.Match[str]) -> datetime:
    """Raises `ValueError` for an hour that a clock has not."""
    parts = match.groupdict()
    fraction = (parts.get("fraction") or "").ljust(6, "0")[:6]
    hour, half = int(parts["hour"]), parts.get("half")
    if half is None and parts["minute"] is None:
        raise ValueError("an hour alone")
    if half is not None:
        if not 1 <= hour <= 12:
            raise ValueError(f"{hour} {half}")
        hour = hour % 12 + (12 if half == "pm" else 0)
    return day.replace(
        hour=hour,
        minute=int(parts["minute"] or 0),
        second=int(parts["second"] or 0),
        microsecond=int(fraction),
    )


def _to_last(match: re.Match[str]) -> int:
    """Milliseconds from the first instant of what a time of day is written down to (a minute, a second, a tenth
    of one, …) to its last."""
    parts = match.groupdict()
    if not parts["second"]:
        return 59_999
    return int(1000 / 10 ** min(len(parts.get("fraction") or ""), 3)) - 1


def _offset(zone: str) -> timedelta:
    if zone in {"z", "utc"}:
        return timedelta()
    digits = zone[1:].replace(":", "").ljust(4, "0")
    hours, minutes = int(digits[:2]), int(digits[2:])
    if hours > 23 or minutes > 59:
        raise ValueError(zone)
    offset = timedelta(hours=hours, minutes=minutes)
    return -offset if zone.startswith("-") else offset


def _of_utc(moment: datetime) -> int:
    """Milliseconds for a wall time that is UTC's."""
    return (moment.replace(tzinfo=UTC) - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)


def _instant(local: datetime, *, later: bool) -> int:
    """Milliseconds for a local wall time; of two such instants the later one, or the earlier."""
    whole = local.replace(microsecond=0)
    # Where the clock skips, fold=0 reckons with the offset before the change: 02:30 becomes 03:30.
    first, second = (int(whole.replace(fold=fold).timestamp()) for fold in (0, 1))
    return (second if later and second > first else first) * 1000 + local.microsecond // 1000


def _at(local: datetime, match: re.Match[str], end: bool) -> int:
    """The first instant of what a local time of day covers, or its last."""
    return _instant(local, later=end) + (_to_last(match) if end else 0)


def _edge(first: datetime, length: timedelta, end: bool) -> int:
    """The first instant of a local stretch of whole days, or its last millisecond."""
    return _instant(first + length, later=False) - 1 if end else _instant(first, later=False)


def _months_later(day: datetime, months: int) -> datetime:
    """The same day of another month, or that month's last day."""
    years, month = divmod(day.year * 12 + day.month - 1 + months, 12)
    first = day.replace(year=years, month=month + 1, day=1)
    last = (first + timedelta(days=32)).replace(day=1) - timedelta(days=1)
    return first.replace(day=min(day.day, last.day))
