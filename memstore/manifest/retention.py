"""Which versions keep their contents: rules as people give them, applied to a list of versions. Pure.

A version is kept when any rule wants it, and a head always. With no rule at all everything is kept. Days,
weeks and months are those of UTC, so that every device answers alike; `within` counts back from the newest
version, not from now, so that a long silence removes nothing.

A version that is dated later than now was made by a clock that was ahead, or came after such a one: a version's time
is never earlier than its parents'. When it was made nobody knows. So a rule that goes by time keeps it, and takes no
other version's measure from it: years ahead, it would make the work of the last minutes look years old.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Sequence
from datetime import UTC, datetime
from typing import Final, NamedTuple

_SPAN: Final = re.compile(r"(\d{1,6})\s*([hdwmy])")
_HOURS: Final = {"h": 1, "d": 24, "w": 7 * 24, "m": 30 * 24, "y": 365 * 24}
_HOUR_MS: Final = 3_600_000


class Rules(NamedTuple):
    """Numbers are of versions; 0 and empty ask for nothing."""

    last: int = 0
    within_ms: int = 0
    daily: int = 0
    weekly: int = 0
    monthly: int = 0
    tags: tuple[str, ...] = ()

    @property
    def keep_everything(self) -> bool:
        return not any(self)

    @property
    def by_time(self) -> bool:
        return bool(self.within_ms or self.daily or self.weekly or self.monthly)


class Dated(NamedTuple):
    """What the rules look at."""

    seq: int
    time_ms: int
    tags: tuple[str, ...] = ()


def span_ms(text: str) -> int:
    """Milliseconds in `36h`, `90d`, `12w`, `6m` (of 30 days), `2y` (of 365); 0 for an empty text. Raises
    `ValueError`."""
    if not text.strip():
        return 0
    found = _SPAN.fullmatch(text.strip().lower())
    if found is None:
        raise ValueError(text)
    return int(found[1]) * _HOURS[found[2]] * _HOUR_MS


def kept(versions: Sequence[Dated], heads: Collection[int], rules: Rules, *, now_ms: int) -> set[int]:
    """The numbers of the versions whose contents stay. `now_ms`: milliseconds since the epoch."""
    newest_first = sorted(versions, key=lambda version: (-version.time_ms, -version.seq))
    if rules.keep_everything or not newest_first:
        return {version.seq for version in versions}
    stay = {version.seq for version in newest_first if version.seq in heads}
    stay |= {version.seq for version in newest_first[: rules.last]}
    wanted = frozenset(rules.tags)
    stay |= {version.seq for version in newest_first if not wanted.isdisjoint(version.tags)}
    return stay | _kept_by_time(newest_first, rules, now_ms) if rules.by_time else stay


def ahead(versions: Sequence[Dated], now_ms: int) -> list[Dated]:
    """Those dated more than a day later than now, which is more than clocks differ that are right."""
    return [version for version in versions if version.time_ms > now_ms + 24 * _HOUR_MS]


def _kept_by_time(newest_first: Sequence[Dated], rules: Rules, now_ms: int) -> set[int]:
    stay = {version.seq for version in newest_first if version.time_ms > now_ms}
    dated = newest_first[len(stay) :]
    if rules.within_ms and dated:
        since = dated[0].time_ms - rules.within_ms
        stay |= {version.seq for version in dated if version.time_ms >= since}
    for number, period in ((rules.daily, _day), (rules.weekly, _week), (rules.monthly, _month)):
        stay |= _last_of_each(dated, number, period)
    return stay


def _last_of_each(newest_first: Sequence[Dated], number: int, period: Callable[[datetime], str]) -> set[int]:
    """The newest version of each of the last `number` periods that have one."""
    stay: dict[str, int] = {}
    for version in newest_first:
        if len(stay) >= number:
            break
        name = period(datetime.fromtimestamp(version.time_ms / 1000, UTC))
        stay.setdefault(name, version.seq)
    return set(stay.values())


def _day(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%d")


def _week(moment: datetime) -> str:
    year, week, _ = moment.isocalendar()
    return f"{year}-{week}"


def _month(moment: datetime) -> str:
    return moment.strftime("%Y-%m")
