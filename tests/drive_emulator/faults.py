"""Faults by rule: which requests, when, and what happens to them.

A rule is one line of words::

    KIND [WHEN...] ACTION... [OPTION...]

KIND     a request kind (`files.create`, `upload.chunk`, `token`, see `kinds.py`), a tag
         (`create`, `write`, `read`, `upload.last`), a pattern of them (`files.*`), or `any`:
         every Drive request, token requests excepted.
WHEN     `nth=3`, `nth=2,5`, `nth=3..6`, `nth=4..` count the matching calls from 1;
         `p=0.2 seed=7` fires by chance, the same way each time; `times=2` stops after two
         firings; `match=TEXT` wants TEXT in the request's path and query. None: every call.
ACTION   `error=REASON` (any of `errors.REASONS`), `status=503`; `drop=before`, `drop=after`
         (the effect happened, no status line comes); `cut=BYTES` (reads that much of the
         body, keeps what Drive would keep, and closes; `cut=50%` is half); `truncate=BYTES`
         (the answer's body ends early) and `corrupt=OFFSET` (one byte of it is flipped);
         `hang=SECONDS` (then closes; with `at=after` the effect happened); `latency=SECONDS`;
         `kill=PID` (SIGKILL to that process).
OPTION   `at=before` (default) or `at=after`: where `error`, `status`, `hang`, `kill` and hooks
         strike, so that `status=503 at=after` is an error whose effect happened;
         `retry-after=SECONDS`; `body=text|html|empty|json`; `reset` (an RST, not a FIN).

Every rule counts its own matches; several rules may strike one request.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from .errors import BY_STATUS, REASONS, ApiError
from .kinds import Kind
from .wire import Request, Response

Side = Literal["before", "after"]
BodyForm = Literal["json", "text", "html", "empty"]
Hook = Callable[[Request], None]

_HTML = (
    "<!DOCTYPE html><html><title>Error {0}</title>"
    "<p><b>{0}.</b> That's an error.<p>The server had a problem.</html>"
)


@dataclass
class Rule:
    """One rule; made by `parse`. `seen` and `fired` count what happened."""

    text: str
    kind: str
    first: tuple[tuple[int, int | None], ...] = ()
    probability: float | None = None
    seed: int = 0
    times: int | None = None
    match: str = ""
    error: str | None = None
    status: int | None = None
    drop: Side | None = None
    cut: int | float | None = None
    truncate: int | None = None
    corrupt: int | None = None
    hang: float | None = None
    latency: float = 0.0
    kill: int | None = None
    at: Side = "before"
    retry_after: float | None = None
    body: BodyForm = "json"
    reset: bool = False
    hook: Hook | None = None
    seen: int = 0
    fired: int = 0
    _dice: random.Random = field(default_factory=random.Random, repr=False)

    def __post_init__(self) -> None:
        self._dice = random.Random(self.seed)

    def applies(self, kind: Kind, request: Request) -> bool:
        """Count a call and say whether the rule strikes it. Called under `Faults`' lock."""
        if not kind.matches(self.kind) or self.match not in request.target:
            return False
        self.seen += 1
        if self.times is not None and self.fired >= self.times:
            return False
        if self.first and not any(
            low <= self.seen and (high is None or self.seen <= high) for low, high in self.first
        ):
            return False
        if self.probability is not None and self._dice.random() >= self.probability:
            return False
        self.fired += 1
        return True

    def answer(self) -> Response | None:
        """The error answer of this rule, or None when it is of another sort."""
        if self.error is None and self.status is None:
            return None
        reason = self.error or BY_STATUS.get(self.status or 500, "backendError")
        refusal = ApiError(reason, status=self.status, retry_after=self.retry_after)
        response = refusal.response()
        if self.body != "json":
            text = {
                "text": refusal.message,
                "html": _HTML.format(refusal.status),
                "empty": "",
            }[self.body]
            kind = "text/html" if self.body == "html" else "text/plain"
            response.headers["Content-Type"] = f"{kind}; charset=utf-8"
            response.body = text.encode()
        return response


def parse(text: str, *, hook: Hook | None = None) -> Rule:
    """Read one rule. Raises ValueError that names the word it does not understand."""
    kind, *words = text.split()
    rule = Rule(text=text, kind=kind, hook=hook)
    for word in words:
        name, _, value = word.partition("=")
        try:
            _apply(rule, name, value)
        except ValueError as error:
            raise ValueError(f"in the fault rule {text!r}: {word!r}: {error}") from None
    if hook is None and not _acts(rule):
        raise ValueError(f"the fault rule {text!r} does nothing")
    rule.__post_init__()
    return rule


def _acts(rule: Rule) -> bool:
    chosen = (rule.error, rule.status, rule.drop, rule.cut, rule.truncate)
    more = (rule.corrupt, rule.hang, rule.kill)
    return bool(rule.latency) or any(value is not None for value in chosen + more)


def _apply(rule: Rule, name: str, value: str) -> None:
    match name:
        case "nth":
            rule.first = tuple(_span(part) for part in value.split(","))
        case "p":
            rule.probability = float(value)
        case "seed" | "times" | "status" | "truncate" | "corrupt" | "kill":
            setattr(rule, name, int(value))
        case "hang" | "latency":
            setattr(rule, name, float(value))
        case "match":
            rule.match = value
        case "error":
            if value not in REASONS:
                raise ValueError("no such reason")
            rule.error = value
        case "drop" | "at":
            if value not in ("before", "after"):
                raise ValueError("before or after")
            setattr(rule, name, value)
        case "cut":
            rule.cut = float(value[:-1]) / 100 if value.endswith("%") else int(value)
        case "retry-after":
            rule.retry_after = float(value)
        case "body":
            if value not in ("json", "text", "html", "empty"):
                raise ValueError("json, text, html or empty")
            rule.body = value  # type: ignore[assignment]
        case "reset":
            rule.reset = True
        case _:
            raise ValueError("not a word of the grammar")


def _span(text: str) -> tuple[int, int | None]:
    low, dots, high = text.partition("..")
    if not dots:
        return int(low), int(low)
    return int(low), int(high) if high else None


@dataclass(frozen=True)
class Plan:
    """What the rules decided for one request."""

    rules: Sequence[Rule] = ()

    @property
    def latency(self) -> float:
        return sum(rule.latency for rule in self.rules)

    @property
    def reset(self) -> bool:
        return any(rule.reset for rule in self.rules)

    def hooks(self, side: Side) -> list[Rule]:
        return [rule for rule in self.rules if rule.at == side and (rule.hook or rule.kill)]

    def hang(self, side: Side) -> float | None:
        return next((r.hang for r in self.rules if r.at == side and r.hang is not None), None)

    def drops(self, side: Side) -> bool:
        return any(rule.drop == side for rule in self.rules)

    def answer(self, side: Side) -> Response | None:
        answers = (rule.answer() for rule in self.rules if rule.at == side)
        return next((answer for answer in answers if answer is not None), None)

    def cut(self, length: int) -> int | None:
        """How many of `length` body bytes to read before the connection is cut."""
        for rule in self.rules:
            if isinstance(rule.cut, float):
                return int(length * rule.cut)
            if rule.cut is not None:
                return rule.cut
        return None

    def deform(self, body: bytes) -> tuple[bytes, bool]:
        """The answer's body as sent, and whether the connection ends inside it."""
        cut = False
        for rule in self.rules:
            if rule.corrupt is not None and body:
                spot = rule.corrupt % len(body)
                body = body[:spot] + bytes([body[spot] ^ 0x01]) + body[spot + 1 :]
            if rule.truncate is not None and rule.truncate < len(body):
                body, cut = body[: rule.truncate], True
        return body, cut


class Faults:
    """The rules in force; thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._rules: list[Rule] = []

    def add(self, rule: Rule) -> Rule:
        with self._lock:
            self._rules.append(rule)
        return rule

    def remove(self, rule: Rule) -> None:
        with self._lock:
            self._rules = [other for other in self._rules if other is not rule]

    def clear(self) -> None:
        with self._lock:
            self._rules.clear()

    def plan(self, kind: Kind, request: Request) -> Plan:
        with self._lock:
            return Plan([rule for rule in self._rules if rule.applies(kind, request)])

    def rules(self) -> list[Rule]:
        with self._lock:
            return list(self._rules)
