"""Unified diffs of two texts, quick for the usual change: a few lines of a long file.

`difflib` looks at every line of both sides. Here the lines that both sides begin and end with are set
aside first, all but the context that the diff shows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

CONTEXT: Final = 3
"""Unchanged lines shown around a change, as `diff -u` does."""
_NO_NEWLINE: Final = "\\ No newline at end of file"


def unified(old: bytes, new: bytes, old_name: str, new_name: str) -> Iterator[str]:
    """The lines of the unified diff, without line ends; none if both are the same.

    Lines are split at `\\n` only, as `diff` does; bytes that are no UTF-8 show as U+FFFD.
    """
    if old == new:
        return
    before, after = _lines(old), _lines(new)
    begin = _common(before, after)
    end = _common(before[begin:][::-1], after[begin:][::-1])
    begin = max(0, begin - CONTEXT)
    end = max(0, end - CONTEXT)

    from difflib import SequenceMatcher

    matcher = SequenceMatcher(None, before[begin : len(before) - end], after[begin : len(after) - end])
    yield f"--- {old_name}"
    yield f"+++ {new_name}"
    for group in matcher.get_grouped_opcodes(CONTEXT):
        old_range = _range(begin + group[0][1], begin + group[-1][2])
        new_range = _range(begin + group[0][3], begin + group[-1][4])
        yield f"@@ -{old_range} +{new_range} @@"
        for tag, i1, i2, j1, j2 in group:
            if tag == "equal":
                yield from _marked(" ", before[begin + i1 : begin + i2])
                continue
            yield from _marked("-", before[begin + i1 : begin + i2])
            yield from _marked("+", after[begin + j1 : begin + j2])


def _lines(content: bytes) -> list[str]:
    """Lines with their `\\n`; the last may lack it."""
    parts = content.decode("utf-8", errors="replace").split("\n")
    lines = [part + "\n" for part in parts[:-1]]
    return [*lines, parts[-1]] if parts[-1] else lines


def _common(a: Sequence[str], b: Sequence[str]) -> int:
    """How many lines both begin with."""
    count = 0
    for left, right in zip(a, b, strict=False):
        if left != right:
            break
        count += 1
    return count


def _range(start: int, stop: int) -> str:
    """A hunk's range as `diff -u` writes it: from 1, the length left out where it is 1."""
    length = stop - start
    if length == 1:
        return str(start + 1)
    return f"{start + 1 if length else start},{length}"


def _marked(mark: str, lines: Sequence[str]) -> Iterator[str]:
    for line in lines:
        if line.endswith("\n"):
            yield mark + line[:-1]
        else:
            yield mark + line
            yield _NO_NEWLINE
