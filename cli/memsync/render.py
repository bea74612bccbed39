"""How versions, changes, sizes and times look to people, and documents to programs.

Colours appear only on a terminal (or with `FORCE_COLOR`) and never with `NO_COLOR`. Names and notes come
from files, remotes and other devices: `visible` shows what a terminal would otherwise obey.
"""

from __future__ import annotations

import contextlib
import os
import re
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

import click

if TYPE_CHECKING:
    from memstore.manifest.outline import ChangeOutline, Outline
    from memstore.manifest.version import Change, ChangeKind, Version

SHOWN_CHANGES: Final = 20
"""Changes a person sees before '… and N more'."""
SHORT_ID: Final = 12
"""Hex digits of an id in people's output; any command accepts them (8 are the fewest)."""

_CODES: Final = {
    "bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33", "magenta": "35", "cyan": "36",
}  # fmt: skip
_WORD_COLOURS: Final = {
    "add": "green", "append": "cyan", "replace": "yellow", "delete": "red", "archive": "magenta",
}  # fmt: skip
_WORDS: Final = tuple(_WORD_COLOURS)
_DONE: Final = ("added", "appended", "replaced", "deleted", "archived")
"""Both in the order of the kinds' numbers."""
# Patterns, compiled when first needed: control characters but tab and newline, the bidirectional overrides
# (they reorder what is read), surrogates (bytes that are no UTF-8).
_UNSAFE: Final = "[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
_UNSAFE_NAME: Final = "[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
_PAGE_LINES: Final = 500
_CHANGES_AT_ONCE: Final = 1000
"""Of a version that is written as a document."""


def visible(text: str) -> str:
    """The text with every character that a terminal would obey spelt out; lines stay lines."""
    if text.isprintable():
        return text
    return re.sub(_UNSAFE, _spelt, text)


def name(path: str) -> str:
    """A path on one line, nothing in it obeyed."""
    if path.isprintable():
        return path
    return re.sub(_UNSAFE_NAME, _spelt, path)


def _spelt(found: re.Match[str]) -> str:
    if "\udc80" <= found[0] <= "\udcff":  # a byte of a name that is no UTF-8, as Python keeps it
        return f"\\x{ord(found[0]) - 0xDC00:02x}"
    return found[0].encode("unicode_escape").decode("ascii")


def coloured(*, err: bool = False) -> bool:
    """Whether stdout (or stderr) wants colours: a terminal does, but see no-color.org and force-color.org."""
    if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return False
    if os.environ.get("FORCE_COLOR"):
        return True
    stream = sys.stderr if err else sys.stdout
    return stream is not None and stream.isatty()


def paint(text: str, colour: str, *, err: bool = False) -> str:
    return f"\x1b[{_CODES[colour]}m{text}\x1b[0m" if coloured(err=err) else text


class Page:
    """Text for people on stdout, in few writes: a long log costs no system call a line."""

    def __init__(self) -> None:
        self.coloured = coloured()
        self.terminal = sys.stdout is not None and sys.stdout.isatty()
        self._waiting: list[str] = []
        self._marks: list[str] = []
        self.clock = Clock()
        self._beginnings = [f"  {self.word(word)}  " for word in _WORDS]
        self._bold = (f"\x1b[{_CODES['bold']}m", "\x1b[0m") if self.coloured else ("", "")

    def paint(self, text: str, colour: str) -> str:
        return f"\x1b[{_CODES[colour]}m{text}\x1b[0m" if self.coloured else text

    @contextlib.contextmanager
    def beside(self, marks: Sequence[str]) -> Iterator[None]:
        """Inside, each line stands to the right of a mark. The last one goes on; every one is shown."""
        width = max(map(len, marks)) + 2
        self._marks = [mark.ljust(width) for mark in marks]
        yield
        while len(self._marks) > 1:
            self.line()
        self._marks = []

    def line(self, text: str = "") -> None:
        if self._marks:
            text = (self._marks[0] + text).rstrip()
            del self._marks[: len(self._marks) > 1]
        self._waiting.append(text)
        if self.terminal or len(self._waiting) > _PAGE_LINES:  # a person reads while the rest is found
            self.flush()

    def lines(self, texts: Sequence[str]) -> None:
        """Several at once."""
        if self._marks or self.terminal:
            for text in texts:
                self.line(text)
            return
        self._waiting += texts
        if len(self._waiting) > _PAGE_LINES:
            self.flush()

    def flush(self) -> None:
        if self._waiting:
            text = "\n".join(self._waiting)
            self._waiting = []
            click.echo(text, color=self.coloured)

    def __enter__(self) -> Page:
        return self

    def __exit__(self, *_: object) -> None:
        self.flush()

    # -- the parts that several commands show ----------------------------------------------------------------

    def id(self, id: object) -> str:
        short = str(id)[:SHORT_ID]
        return self.paint(short, "yellow") if self.coloured else short

    def word(self, word: str) -> str:
        """A change's word, padded to the longest."""
        return self.paint(word.ljust(7), _WORD_COLOURS.get(word, "bold"))

    def change(self, change: Change | ChangeOutline) -> str:
        """`  replace  Core/Rules.txt  → Archive/Core/Rules_….txt`"""
        row = self._beginnings[change.change] + name(change.path)
        if change.archived_as is not None:
            row += self.paint(f"  → {name(change.archived_as)}", "dim")
        return row

    def changes(
        self, changes: Sequence[Change | ChangeOutline], *, limit: int | None, rest: str = ""
    ) -> None:
        """A line for each change, at most `limit`; `rest` says where the others are seen."""
        shown = changes if limit is None else changes[:limit]
        self.lines([self.change(change) for change in shown])
        self.more(len(changes) - len(shown), rest)

    def more(self, count: int, rest: str = "") -> None:
        if count > 0:
            self.line(self.paint(f"  … and {count:,} more{f' ({rest})' if rest else ''}", "dim"))

    def version(self, version: Version | Outline, *, head: bool = False) -> None:
        """The lines of a version before its changes: id, when, where, and what was said about it."""
        mark = self.paint("  (head)", "cyan") if head else ""
        lines = [
            f"{self.id(version.id)}  {self.clock.local_time(version.time_ms)}  {name(version.device)}{mark}"
        ]
        note, tags, chat, reason, actor = version.meta
        if note:
            begin, end = self._bold
            lines += [f"    {begin}{line}{end}" for line in visible(note).splitlines()]
        said = []
        if tags:
            said.append(f"tags: {name(', '.join(tags))}")
        if chat:
            said.append(f"chat: {name(chat)}")
        if reason:
            said.append(f"reason: {name(reason)}")
        if actor:
            said.append(f"actor: {name(actor)}")
        if len(version.parents) > 1:
            said.append(f"merge of: {' '.join(str(parent)[:SHORT_ID] for parent in version.parents)}")
        if said:
            lines.append(f"    {'  '.join(said)}")
        self.lines(lines)


def summary(kinds: Iterable[ChangeKind]) -> str:
    """`2 added, 1 appended`, in a fixed order."""
    counts = [0] * len(_DONE)
    for kind in kinds:
        counts[kind] += 1
    return ", ".join(f"{count:,} {done}" for count, done in zip(counts, _DONE, strict=True) if count)


def plural(count: int, noun: str, many: str = "") -> str:
    """`1 file`, `2 files`."""
    return f"{count:,} {noun if count == 1 else many or noun + 's'}"


def size(count: int) -> str:
    """Bytes as people read them, in powers of 1,000."""
    if count < 1000:
        return f"{count} B"
    amount = float(count)
    for unit in ("KB", "MB", "GB", "TB"):
        amount /= 1000
        if amount < 999.5 or unit == "TB":
            break
    return f"{amount:.1f} {unit}" if amount < 99.95 else f"{amount:.0f} {unit}"


def local_time(time_ms: int, *, seconds: bool = True) -> str:
    """`2025-04-23 16:02:00 +0200`: this machine's time, with its zone."""
    form = "%Y-%m-%d %H:%M:%S %z" if seconds else "%Y-%m-%d %H:%M"
    try:
        return time.strftime(form, time.localtime(time_ms // 1000))
    except (OverflowError, OSError, ValueError):  # a clock that was years beyond what the system can say
        return f"@{time_ms // 1000}"


class Clock:
    """`local_time` for times that follow one another: the system is asked once for each day."""

    def __init__(self) -> None:
        self._first = self._beyond = 0
        """The seconds, since the epoch, of the day that is known."""
        self._date = self._zone = ""

    def local_time(self, time_ms: int) -> str:
        second = time_ms // 1000
        if not self._first <= second < self._beyond and not self._know_day_of(second):
            return local_time(time_ms)
        minute, second = divmod(second - self._first, 60)
        return f"{self._date} {minute // 60:02}:{minute % 60:02}:{second:02} {self._zone}"

    def _know_day_of(self, second: int) -> bool:
        """False where that day's clock does not simply go from 00:00:00 to 23:59:59."""
        try:
            here = time.localtime(second)
            first = second - 3600 * here.tm_hour - 60 * here.tm_min - here.tm_sec
            date, zone = time.strftime("%Y-%m-%d %z", here).split(" ")
        except (OverflowError, OSError, ValueError):
            return False
        ends = [local_time(1000 * first), local_time(1000 * (first + 86399))]
        if ends != [f"{date} 00:00:00 {zone}", f"{date} 23:59:59 {zone}"]:
            return False
        self._date, self._zone = date, zone
        self._first, self._beyond = first, first + 86400
        return True


def ago(time_ms: int, now: float | None = None) -> str:
    """`3 minutes ago`; `now` is in seconds since the epoch."""
    seconds = (time.time() if now is None else now) - time_ms / 1000
    if seconds < 0:
        return "in the future"
    for length, noun in ((86400, "day"), (3600, "hour"), (60, "minute")):
        if seconds >= length:
            return f"{plural(int(seconds // length), noun)} ago"
    return "just now"


def document(answer: Mapping[str, Any] | Sequence[Any]) -> str:
    """The answer as one JSON document: on a terminal indented, else on one line."""
    import json

    encoding = (getattr(sys.stdout, "encoding", None) or "ascii").lower().replace("-", "")
    terminal = sys.stdout.isatty()
    return json.dumps(answer, ensure_ascii=encoding != "utf8", indent=2 if terminal else None)


def version_document(version: Version) -> Iterator[str]:
    """The document of a version in pieces, for it may have a million changes."""
    if len(version.changes) <= _CHANGES_AT_ONCE or sys.stdout.isatty():
        yield document(version.as_json())
        return
    yield document(version._replace(changes=()).as_json()).removesuffix("]}")
    rows, comma = iter(version.changes), ""
    while some := [change.as_json() for change in islice(rows, _CHANGES_AT_ONCE)]:
        yield comma + document(some)[1:-1]
        comma = ", "
    yield "]}"
