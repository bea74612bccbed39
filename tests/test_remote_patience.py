"""Retry and pace, on a clock that the tests turn."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memstore.errors import NotLoggedIn, RemoteFull, RemoteMissing, RemoteTrouble
from memstore.remotes.base import BytesSource
from memstore.remotes.folder import FolderRemote
from memstore.remotes.limiter import EPISODE, Limiter, limiter_for
from memstore.remotes.retry import LONGEST_DELAY, Retry, Retrying, TryAgain


class Clock:
    """Seconds that pass only when somebody sleeps."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        assert seconds >= 0
        self.slept.append(seconds)
        self.now += seconds


def patient(
    clock: Clock, *, attempts: int = 3, budget: float = 600.0, tell: Callable[[str], None] | None = None
) -> Retry:
    return Retry(
        attempts=attempts, budget=budget, clock=clock, sleep=clock.sleep, chance=lambda: 1.0, tell=tell
    )


def failing(*errors: Exception) -> Callable[[], str]:
    """Raises each of the errors in turn, then answers."""
    left = list(errors)

    def work() -> str:
        if left:
            raise left.pop(0)
        return "done"

    return work


def test_what_works_at_once_is_one_attempt_without_a_wait() -> None:
    clock = Clock()
    retry = patient(clock)
    assert retry.most_attempts == 0
    assert retry.run(failing()) == "done"
    assert retry.most_attempts == 1
    assert not clock.slept


def test_waits_double_and_end_at_the_longest() -> None:
    clock = Clock()
    retry = patient(clock, attempts=12)
    assert retry.run(failing(*[RemoteTrouble("down")] * 9)) == "done"
    assert clock.slept == [1, 2, 4, 8, 16, 32, 64, 64, 64]
    assert max(clock.slept) == LONGEST_DELAY
    assert retry.most_attempts == 10


def test_chance_takes_at_most_half_of_a_wait() -> None:
    clock = Clock()
    retry = Retry(attempts=3, clock=clock, sleep=clock.sleep, chance=lambda: 0.0)
    retry.run(failing(RemoteTrouble("down"), RemoteTrouble("down")))
    assert clock.slept == [0.5, 1.0]


def test_after_the_last_attempt_the_trouble_itself_is_raised_with_their_number() -> None:
    clock = Clock()
    retry = patient(clock)
    with pytest.raises(RemoteTrouble, match=r"down \(3 attempts\)"):
        retry.run(failing(*[RemoteTrouble("down")] * 3))
    assert retry.most_attempts == 3
    assert clock.slept == [1, 2]


@pytest.mark.parametrize(
    "error", [NotLoggedIn("no"), RemoteFull("full"), RemoteMissing("gone"), ValueError("bug")]
)
def test_permanent_trouble_is_raised_at_once(error: Exception) -> None:
    clock = Clock()
    with pytest.raises(type(error)):
        patient(clock).run(failing(error))
    assert not clock.slept


def test_rate_limits_are_waited_out_and_not_counted() -> None:
    clock = Clock()
    retry = patient(clock)
    limited = TryAgain(RemoteTrouble("too fast"), limited=True)
    assert retry.run(failing(*[limited] * 6, RemoteTrouble("down"))) == "done"
    assert retry.most_attempts == 2
    assert clock.slept == [1, 2, 4, 8, 16, 32, 64]


def test_retry_after_is_obeyed_when_it_is_longer() -> None:
    clock = Clock()
    signal = TryAgain(RemoteTrouble("too fast"), limited=True, after=30.0)
    patient(clock).run(failing(signal))
    assert 30.0 <= clock.slept[0] < 31.0
    patient(clock).run(failing(TryAgain(RemoteTrouble("too fast"), after=0.1)))
    assert clock.slept[1] == 1.0


def test_a_rate_limit_without_end_ends_with_the_budget() -> None:
    clock = Clock()
    retry = patient(clock, budget=100.0)

    def refused() -> None:
        raise TryAgain(RemoteTrouble("daily upload limit"), limited=True)

    with pytest.raises(RemoteTrouble, match="100 s of patience"):
        retry.run(refused)
    assert sum(clock.slept) <= 100.0
    assert retry.most_attempts == 1


def test_a_retry_after_beyond_the_budget_is_not_begun() -> None:
    clock = Clock()
    with pytest.raises(RemoteTrouble):
        patient(clock, budget=60.0).run(failing(TryAgain(RemoteTrouble("later"), limited=True, after=3600.0)))
    assert not clock.slept


def test_the_budget_is_one_for_all_requests_and_success_gives_some_back() -> None:
    clock = Clock()
    retry = patient(clock, budget=3.0)
    retry.run(failing(RemoteTrouble("down")))
    assert retry.left == 3.0  # 1 s spent, 1 s given back
    retry.run(failing(RemoteTrouble("down"), RemoteTrouble("down")))
    assert retry.left == 1.0
    with pytest.raises(RemoteTrouble):
        retry.run(failing(RemoteTrouble("down"), RemoteTrouble("down")))


def test_a_long_wait_is_told() -> None:
    clock = Clock()
    said: list[str] = []
    patient(clock, tell=said.append).run(
        failing(RemoteTrouble("blip"), TryAgain(RemoteTrouble("too many requests"), after=42.0))
    )
    assert said == ["waiting 42 s: too many requests"]


@given(
    st.lists(st.sampled_from(["down", "limited", "ok"]), max_size=60), st.integers(1, 5), st.floats(0, 200)
)
def test_no_sequence_of_answers_is_waited_on_past_the_budget(
    answers: list[str], attempts: int, budget: float
) -> None:
    clock = Clock()
    retry = patient(clock, attempts=attempts, budget=budget)
    given_back = 0.0
    left = iter(answers)

    def work() -> None:
        answer = next(left, "ok")
        if answer == "down":
            raise RemoteTrouble("down")
        if answer == "limited":
            raise TryAgain(RemoteTrouble("limited"), limited=True)

    for _ in range(5):
        try:
            retry.run(work)
            given_back += 1.0
        except RemoteTrouble:
            pass
        assert retry.most_attempts <= attempts
    assert sum(clock.slept) <= budget + given_back


# -- the wrapper -------------------------------------------------------------------------------------------


class Flaky(FolderRemote):
    """Every second create and read fails."""

    broken = 0

    def create(self, *arguments: object, **more: object) -> None:
        self.broken += 1
        if self.broken % 2:
            raise RemoteTrouble("dropped")
        super().create(*arguments, **more)  # type: ignore[arg-type]

    def read(self, name: str, offset: int = 0, length: int | None = None) -> bytes:
        self.broken += 1
        if self.broken % 2:
            raise RemoteTrouble("cut")
        return super().read(name, offset, length)


def test_the_wrapper_repeats_verbs_and_takes_streams_up_where_they_broke(tmp_path: Path) -> None:
    clock = Clock()
    flaky = Flaky(str(tmp_path / "remote"))
    remote = Retrying(flaky, patient(clock))
    remote.prepare(create=True)
    content = bytes(range(256)) * 40_000
    name = "packs/" + "ab" * 32
    remote.create(name, BytesSource(content))
    assert b"".join(remote.read_stream(name)) == content
    assert remote.most_attempts == 2
    assert clock.slept


# -- pace --------------------------------------------------------------------------------------------------


def test_there_is_no_limit_until_the_remote_complains() -> None:
    clock = Clock()
    limiter = Limiter(clock=clock, sleep=clock.sleep)
    for _ in range(1000):
        limiter.wait()
        limiter.worked()
    assert limiter.rate is None
    assert not clock.slept


def test_refusals_of_one_moment_count_once() -> None:
    clock = Clock()
    limiter = Limiter(clock=clock, sleep=clock.sleep)
    limiter.wait()
    limiter.refused()
    rate = limiter.rate
    limiter.refused()
    assert limiter.rate == rate
    clock.now += EPISODE
    limiter.refused()
    assert rate is not None
    assert limiter.rate is not None
    assert limiter.rate < rate


def test_the_pace_settles_near_what_the_remote_sustains() -> None:
    clock = Clock()
    limiter = Limiter(clock=clock, sleep=clock.sleep)
    tokens, last, refusals, sent = 10.0, clock.now, 0, 0
    began = clock.now
    while sent < 1000:
        limiter.wait()
        clock.now += 0.02
        tokens = min(10.0, tokens + (clock.now - last) * 2.5)
        last = clock.now
        if tokens < 1:
            limiter.refused()
            refusals += 1
            clock.sleep(1.0)
            continue
        tokens -= 1
        limiter.worked()
        sent += 1
    assert 1.8 < sent / (clock.now - began) <= 2.6
    assert refusals < 100


def test_a_pace_that_was_never_refused_again_is_lifted() -> None:
    clock = Clock()
    limiter = Limiter(clock=clock, sleep=clock.sleep)
    limiter.wait()
    limiter.refused()
    for _ in range(2000):
        limiter.wait()
        limiter.worked()
    assert limiter.rate is None


def test_the_process_has_one_limiter_for_each_server_and_kind() -> None:
    assert limiter_for("a server, writes") is limiter_for("a server, writes")
    assert limiter_for("a server, writes") is not limiter_for("a server, reads")
