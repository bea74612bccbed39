r"""The `q` parameter of files.list: a real parser for Drive's search grammar.

    query   = factor *(("and" | "or") factor)        left to right, as Drive reads it
    factor  = "not" factor | "(" query ")" | term
    term    = field operator value
            | value "in" field                        'ID' in parents
            | field "has" "{" "key" "=" value "and" "value" "=" value "}"

Strings stand in single quotes with `\'` and `\\` as the only escapes. Names compare without
regard to case (facts: `name =` ignores case); `contains` on a name matches the beginnings of
its words, not any place. Whatever is not in the grammar is 400.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from .clock import from_text
from .errors import ApiError


class Subject(Protocol):
    """What a query looks at: one file as the caller sees it."""

    @property
    def name(self) -> str: ...
    @property
    def mime_type(self) -> str: ...
    @property
    def modified(self) -> float: ...
    @property
    def created(self) -> float: ...
    @property
    def trashed(self) -> bool: ...
    @property
    def starred(self) -> bool: ...
    @property
    def parents(self) -> Sequence[str]: ...
    @property
    def app_properties(self) -> Mapping[str, str]: ...
    @property
    def properties(self) -> Mapping[str, str]: ...


Predicate = Callable[[Subject], bool]

_TOKEN = re.compile(
    r"\s*(?:(?P<string>'(?:[^'\\]|\\['\\])*')|(?P<word>[A-Za-z][A-Za-z0-9]*)"
    r"|(?P<sign><=|>=|!=|[=<>(){}]))"
)
_WORD = re.compile(r"\w+")
_ORDER: Mapping[str, Callable[[float, float], bool]] = {
    "=": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


@dataclass
class Query:
    """A parsed query, with what the emulator must know about it."""

    matches: Predicate
    parents: list[str] = field(default_factory=list)
    """Every id asked for with `in parents`; an unknown one answers 404."""
    only_parent: str | None = None
    """The folder every match must lie in, where that is plain from the query."""
    fields: set[str] = field(default_factory=set)
    mixed: bool = False
    """`and` beside `or` without parentheses: legal, read left to right, seldom meant."""


def parse_query(text: str, resolve: Callable[[str], str]) -> Query:
    """Parse `q`; `resolve` turns an id or alias in `parents` into an id. Raises a 400."""
    parser = _Parser(text, resolve)
    query = parser.query
    query.matches = parser.alternatives()
    if parser.peek():
        raise _bad()
    # With nothing but `and`, every match lies in the one folder named: no need to look wider.
    if len(query.parents) == 1 and not {"or", "not"} & set(parser.tokens):
        query.only_parent = query.parents[0]
    return query


def _bad() -> ApiError:
    return ApiError("invalid", "Invalid Value", parameter="q")


def _tokens(text: str) -> list[str]:
    found: list[str] = []
    spot = 0
    end = len(text.rstrip())
    while spot < end:
        match = _TOKEN.match(text, spot)
        if match is None:
            raise _bad()
        found.append(match[match.lastgroup or 0])
        spot = match.end()
    return found


def _always(_: Subject) -> bool:
    return True


class _Parser:
    def __init__(self, text: str, resolve: Callable[[str], str]) -> None:
        self.tokens = _tokens(text)
        self.spot = 0
        self.resolve = resolve
        self.query = Query(_always)

    def peek(self) -> str:
        return self.tokens[self.spot] if self.spot < len(self.tokens) else ""

    def take(self, *allowed: str) -> str:
        token = self.peek()
        if not token or (allowed and token not in allowed):
            raise _bad()
        self.spot += 1
        return token

    def string(self) -> str:
        token = self.take()
        if not token.startswith("'"):
            raise _bad()
        return re.sub(r"\\(.)", r"\1", token[1:-1])

    def alternatives(self) -> Predicate:
        result = self.factor()
        joined: set[str] = set()
        while self.peek() in ("and", "or"):
            word = self.take()
            joined.add(word)
            result = _joined(word, result, self.factor())
        if len(joined) == 2:
            self.query.mixed = True
        return result

    def factor(self) -> Predicate:
        if self.peek() == "not":
            self.take()
            inner = self.factor()
            return lambda subject: not inner(subject)
        if self.peek() == "(":
            self.take()
            result = self.alternatives()
            self.take(")")
            return result
        return self.term()

    def term(self) -> Predicate:
        if self.peek().startswith("'"):
            return self.membership()
        name = self.take()
        self.query.fields.add(name)
        match name:
            case "name" | "mimeType":
                return self.textual(name)
            case "modifiedTime" | "createdTime" | "viewedByMeTime":
                return self.timed(name)
            case "trashed" | "starred":
                return self.boolean(name)
            case "appProperties" | "properties":
                return self.has(name)
            case "sharedWithMe":
                self.boolean_value()
                return lambda _: False
        raise _bad()

    def membership(self) -> Predicate:
        value = self.string()
        self.take("in")
        name = self.take("parents", "owners", "writers", "readers")
        self.query.fields.add(name)
        if name != "parents":
            # One person owns everything here, and may be called by any address.
            return _always
        parent = self.resolve(value)
        self.query.parents.append(parent)
        return lambda subject: parent in subject.parents

    def textual(self, name: str) -> Predicate:
        sign = self.take("=", "!=", "contains")
        wanted = self.string().casefold()
        if name == "mimeType":
            if sign == "contains":
                return lambda subject: subject.mime_type.casefold().startswith(wanted)
            equal = sign == "="
            return lambda subject: (subject.mime_type.casefold() == wanted) is equal
        if sign == "contains":
            return lambda subject: _begins_a_word(subject.name.casefold(), wanted)
        same = sign == "="
        return lambda subject: (subject.name.casefold() == wanted) is same

    def timed(self, name: str) -> Predicate:
        compare = _ORDER[self.take(*_ORDER)]
        try:
            moment = from_text(self.string())
        except ValueError:
            raise _bad() from None
        if name == "createdTime":
            return lambda subject: compare(subject.created, moment)
        return lambda subject: compare(subject.modified, moment)

    def boolean_value(self) -> bool:
        sign = self.take("=", "!=")
        value = self.take("true", "false")
        return (value == "true") == (sign == "=")

    def boolean(self, name: str) -> Predicate:
        wanted = self.boolean_value()
        if name == "trashed":
            return lambda subject: subject.trashed is wanted
        return lambda subject: subject.starred is wanted

    def has(self, name: str) -> Predicate:
        self.take("has")
        self.take("{")
        self.take("key")
        self.take("=")
        key = self.string()
        self.take("and")
        self.take("value")
        self.take("=")
        value = self.string()
        self.take("}")
        if name == "appProperties":
            return lambda subject: subject.app_properties.get(key) == value
        return lambda subject: subject.properties.get(key) == value


def _joined(word: str, left: Predicate, right: Predicate) -> Predicate:
    if word == "and":
        return lambda subject: left(subject) and right(subject)
    return lambda subject: left(subject) or right(subject)


def _begins_a_word(name: str, wanted: str) -> bool:
    if name.startswith(wanted):
        return True
    return any(name.startswith(wanted, match.start()) for match in _WORD.finditer(name))
