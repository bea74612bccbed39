"""Three contents of one file: JSON by key, JSON lines and text by line; what can't be merged is refused."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memstore.merging import content, keyed

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@pytest.mark.parametrize(
    ("base", "earlier", "later", "both"),
    [
        ('{"a": 1, "b": 2}', '{"a": 3, "b": 2}', '{"a": 1, "b": 4}', '{"a": 3, "b": 4}'),
        ('{"a": 1}', '{"a": 1, "z": 1}', '{"a": 1, "b": 2}', '{"a": 1, "b": 2, "z": 1}'),
        ('{"z": 1}', '{"z": 1, "y": 1}', '{"z": 1, "a": 2}', '{"z": 1, "y": 1, "a": 2}'),
        ('{"a": {"b": 1, "c": 1}}', '{"a": {"b": 2, "c": 1}}', '{"a": {"b": 1, "c": 3}}', '{"a": {"b": 2, "c": 3}}'),
        ('{"a": [1]}', '{"a": [1, 2]}', '{"a": [1, 3]}', '{"a": [1, 2, 3]}'),
        ('{"a": 1, "b": 1}', '{"b": 1}', '{"a": 1, "b": 2}', '{"b": 2}'),
        ('{"a": 1}', "{}", '{"a": 2}', '{"a": 2}'),
        ('{"a": 1}', '{"a": 2}', '{"a": 3}', None),
        ('{"a": [1, 2]}', '{"a": [2]}', '{"a": [1, 2, 3]}', None),
        ('{"a": 1}', '{"a": {"b": 1}}', '{"a": [1]}', None),
        ('{"n": 1.0}', '{"n": 1.0, "x": 12345678901234567890123}', '{"n": 1.50}',
         '{"n": 1.50, "x": 12345678901234567890123}'),
        ("[1]", "[1, 2]", "[1, 3]", "[1, 2, 3]"),
    ],
)  # fmt: skip
def test_json_is_merged_by_key(base: str, earlier: str, later: str, both: str | None) -> None:
    merged = content.merge(base.encode(), earlier.encode(), later.encode())
    assert merged == (None if both is None else both.encode())


@pytest.mark.parametrize("indent", [None, 1, 4, "\t"])
@pytest.mark.parametrize("end", ["", "\n"])
@pytest.mark.parametrize("ascii", [True, False])
def test_json_keeps_its_layout(indent: int | str | None, end: str, ascii: bool) -> None:
    def spelled(value: object) -> bytes:
        return (json.dumps(value, indent=indent, ensure_ascii=ascii) + end).encode()

    base = {"name": "é", "list": [1, [], {}], "a": True}
    merged = content.merge(spelled(base), spelled(base | {"a": None}), spelled(base | {"b": {"c": 1}}))
    assert merged == spelled(base | {"a": None, "b": {"c": 1}})


def test_a_compact_layout_stays_compact() -> None:
    assert content.merge(b'{"a":1,"b":1}', b'{"a":2,"b":1}', b'{"a":1,"b":2}') == b'{"a":2,"b":2}'


@settings(max_examples=40, deadline=None)
@given(VALUES, st.sampled_from([None, 2]), st.booleans())
def test_a_document_is_written_as_it_was_read(value: object, indent: int | None, ascii: bool) -> None:
    text = json.dumps({"é": value, "x": [1, 2]}, indent=indent, ensure_ascii=ascii)
    try:
        data = text.encode()
    except UnicodeEncodeError:
        return
    assert json.loads(keyed.written(keyed.parsed(data), keyed.style_of(data))) == json.loads(text)


@pytest.mark.parametrize(
    "text", ['{"a": 1, "a": 2}', '{"a": NaN}', "[" * 101 + "]" * 101, "﻿{}", '{"a": 1', ""]
)
def test_what_is_no_plain_document_is_not_merged_by_key(text: str) -> None:
    with pytest.raises(ValueError):
        keyed.parsed(text.encode())


def test_json_lines_are_each_for_itself() -> None:
    base = b'{"a": 1}\n{"b": 1}\n{"c": 1}\n'
    earlier = base.replace(b'{"a": 1}', b'{"a": 2}') + b'{"x": 1}\n'
    later = base.replace(b'{"b": 1}', b'{"b": 2}') + b'{"y": 1}\n'
    assert content.merge(base, earlier, later) == (b'{"a": 2}\n{"b": 2}\n{"c": 1}\n{"x": 1}\n{"y": 1}\n')


@pytest.mark.parametrize(
    ("base", "earlier", "later", "both"),
    [
        (b"a\n", b"a\nb\n", b"a\nc\n", b"a\nb\nc\n"),
        (b"a", b"a\nb", b"a\nc", b"a\nb\nc"),
        (b"a\n", b"a\nb", b"a\nc\n", b"a\nb\nc"),
        (b"a", b"ab", b"ac", None),
        (b"", b"b\n", b"c", b"b\nc\n"),
        (b"a\n", b"a\n\n", b"a\nb\n", b"a\n\nb\n"),
        (b"a\r\nb\r\n", b"a\r\nb\r\nc\r\n", b"A\r\nb\r\n", b"A\r\nb\r\nc\r\n"),
        (b"a\n", b"a\nb\n", b"a\nb\n", b"a\nb\n"),
        (None, b"a\n", b"b\n", None),
        (b"\0a\n", b"\0a\nb\n", b"\0a\nc\n", None),
        (b"\xff\n", b"\xff\nb\n", b"\xff\nc\n", None),
        (b"[\n1,\n2,\n3\n]", b"[\n9,\n2,\n3\n]", b"[\n1,\n2,\n8\n]", b"[\n9,\n2,\n8\n]"),
    ],
)
def test_text_is_merged_by_line(base: bytes | None, earlier: bytes, later: bytes, both: bytes | None) -> None:
    assert content.merge(base, earlier, later) == both
