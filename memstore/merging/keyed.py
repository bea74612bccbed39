"""Merging JSON objects by key, and writing the result in the manner of the file it came from.

Numbers stay as they were spelled, so that `1.0` or an id of twenty digits comes out as it went in. A document
with a key given twice, or nested more deeply than `DEEPEST`, is left to the other rules.
"""

from __future__ import annotations

import json
import re
from typing import Any, Final, NamedTuple

from memstore.merging import lines

DEEPEST: Final = 100
"""Levels of nesting: what any Python's parser takes, so that all of them merge alike."""
_STRINGS: Final = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL)


class Number(NamedTuple):
    """As it was spelled."""

    text: str


class _Missing:
    pass


MISSING: Final = _Missing()


class Overlap(Exception):
    """Both sides changed the same value."""


def parsed(data: bytes) -> Any:
    """The document in a file. Raises `ValueError` for what is none, or none that is merged by key."""
    text = data.decode()
    depth = 0
    for sign in re.findall(r"[\[\]{}]", _STRINGS.sub("", text)):
        depth += 1 if sign in "[{" else -1
        if depth > DEEPEST:
            raise ValueError("too deep")
    return json.loads(
        text, object_pairs_hook=_pairs, parse_int=Number, parse_float=Number, parse_constant=_refused
    )


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key is there twice")
    return found


def _refused(word: str) -> Any:
    raise ValueError(f"{word} is no JSON")


def merge(base: Any, earlier: Any, later: Any) -> Any:
    """Both sides' changes to a value: of objects key by key, of lists what both put at the end. A key that one
    side removed and the other changed keeps the change. Raises `Overlap`."""
    if later in (earlier, base):
        return earlier
    if earlier == base:
        return later
    if isinstance(earlier, dict) and isinstance(later, dict):
        return _merge_keys(base if isinstance(base, dict) else {}, earlier, later)
    if isinstance(base, list) and isinstance(earlier, list) and isinstance(later, list):
        length = len(base)
        if earlier[:length] == base == later[:length]:
            return _appended(base, earlier, later)
    if isinstance(earlier, _Missing):
        return later
    if isinstance(later, _Missing):
        return earlier
    raise Overlap


def _appended(base: list[Any], earlier: list[Any], later: list[Any]) -> list[Any]:
    spelled = [[written(item) for item in side] for side in (base, earlier, later)]
    items = {
        text: item for side in (earlier, later) for text, item in zip(map(written, side), side, strict=True)
    }
    merged = lines.merge(*spelled)
    if merged is None:
        raise Overlap
    return [items[text] for text in merged]


def _merge_keys(base: dict[str, Any], earlier: dict[str, Any], later: dict[str, Any]) -> dict[str, Any]:
    """Keys in the base's order, then the earlier side's new ones, then the later's; sorted, where both sides'
    are."""
    merged: dict[str, Any] = {}
    for key in {**base, **earlier, **later}:
        value = merge(*(side.get(key, MISSING) for side in (base, earlier, later)))
        if not isinstance(value, _Missing):
            merged[key] = value
    if all(list(side) == sorted(side) for side in (earlier, later)):
        return dict(sorted(merged.items()))
    return merged


# -- writing -----------------------------------------------------------------------------------------------


class Style(NamedTuple):
    """How a document is laid out."""

    indent: str | None = None
    """None: all on one line."""
    after_comma: str = ""
    after_colon: str = ""
    ascii: bool = False
    newline: str = "\n"
    end: str = ""


def style_of(data: bytes) -> Style:
    """The layout of a file that holds a JSON document."""
    text = data.decode()
    first = re.match(r"\s*[\[{](\r?\n)([ \t]+)", text)
    bare = _STRINGS.sub('""', text)
    spaced = '": ' in bare
    return Style(
        indent=first[2] if first else None,
        after_comma=" " if ", " in bare or ("," not in bare and spaced) else "",
        after_colon=" " if spaced else "",
        ascii=text.isascii() and re.search(r"\\u[0-9a-fA-F]{4}", text) is not None,
        newline=first[1] if first else "\n",
        end=text[len(text.rstrip()) :],
    )


def written(value: Any, style: Style = Style()) -> str:  # noqa: B008 - it is immutable
    """The document in that layout, without its end."""
    return "".join(_pieces(value, style, style.newline))


def _pieces(value: Any, style: Style, margin: str) -> list[str]:
    if isinstance(value, Number):
        return [value.text]
    if not isinstance(value, dict | list):
        return [json.dumps(value, ensure_ascii=style.ascii)]
    opened, closed = "{}" if isinstance(value, dict) else "[]"
    if not value:
        return [opened + closed]
    inner = "" if style.indent is None else margin + style.indent
    pieces = [opened]
    for number, item in enumerate(value):
        pieces.append(("," + (style.after_comma if style.indent is None else "") if number else "") + inner)
        if isinstance(value, dict):
            pieces.append(json.dumps(item, ensure_ascii=style.ascii) + ":" + style.after_colon)
            pieces += _pieces(value[item], style, inner)
        else:
            pieces += _pieces(item, style, inner)
    pieces.append(("" if style.indent is None else margin) + closed)
    return pieces
