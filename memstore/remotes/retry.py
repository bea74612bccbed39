"""Patience: which trouble is worth another try, how long to wait before it, and when to stop.

Three kinds of trouble. *Permanent*: another try gives the same answer (`retryable` is False, or something
named is missing); it is raised at once. *Retryable*: back off and try again, at most `attempts` times.
*Rate-limited*: the remote asks for patience; waited out within the budget and not counted as an attempt.

The budget is one for everything a `Retry` runs: seconds spent on waiting and on tries that failed. Drive
refuses an upload past its 750 GB a day as an ordinary rate limit, so waiting must end somewhere. Each
request that works gives a second back: a push of many hours meets many short waits, and that is healthy.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Final, TypeVar

from memstore.errors import MemsyncError, RemoteMissing, RemoteTrouble
from memstore.remotes.base import FETCHED_AT_MOST, MirrorFile, OpenRemote, RemoteFile, Source

T = TypeVar("T")

ATTEMPTS: Final = 3
BUDGET: Final = 600.0
"""Seconds, as the default of `push.budget`: Google's quotas are by the minute, and ten of those outlast a
short outage."""
FIRST_DELAY: Final = 1.0
LONGEST_DELAY: Final = 64.0
"""Seconds; first and longest wait of the truncated exponential back-off that Google's guide to usage limits
recommends (32 or 64 at most)."""
PIECE: Final = 4 << 20
"""Bytes of a stream that are read at a time."""
LONG_WAIT: Final = 5.0
"""Seconds from which a wait is worth a word."""
GIVEN_BACK: Final = 1.0
"""Seconds of budget that a request which worked gives back."""


class TryAgain(Exception):
    """A signal inside `Retry.run`, never seen outside: trouble that another try may end. `error` is what the
    caller sees if it does not.
    """

    def __init__(self, error: MemsyncError, *, limited: bool = False, after: float | None = None) -> None:
        super().__init__(error.message)
        self.error = error
        self.limited = limited
        """The remote asks for patience: not an attempt."""
        self.after = after
        """Seconds the remote wants us to wait (Retry-After)."""


class Retry:
    """A policy and what it has spent so far. Used by several threads at once."""

    def __init__(
        self,
        *,
        attempts: int = ATTEMPTS,
        budget: float = BUDGET,
        first_delay: float | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        chance: Callable[[], float] = random.random,
        tell: Callable[[str], None] | None = None,
    ) -> None:
        """`budget` and `first_delay` (else `FIRST_DELAY`) are seconds; `tell` hears a sentence before a long wait."""
        self.attempts = max(1, attempts)
        self.budget = budget
        self.first_delay = FIRST_DELAY if first_delay is None else first_delay
        self._clock = clock
        self._sleep = sleep
        self._chance = chance
        self._tell = tell
        self._lock = threading.Lock()
        self._spent = 0.0
        self._most_attempts = 0

    @property
    def most_attempts(self) -> int:
        """The most tries that any one request took so far, those refused for their rate not counted."""
        return self._most_attempts

    @property
    def left(self) -> float:
        """Seconds of the budget that are left."""
        return max(0.0, self.budget - self._spent)

    def run(self, work: Callable[[], T]) -> T:
        """What `work` returns. It is called again after retryable trouble, so it must be safe to repeat.

        Raises the trouble itself when it is permanent, when the attempts are used up, or when the wait that
        is due does not fit into the budget.
        """
        tried = waits = 0
        while True:
            began = self._clock()
            self._note(tried + 1)
            try:
                answer = work()
            except TryAgain as signal:
                error, limited, after = signal.error, signal.limited, signal.after
            except RemoteTrouble as trouble:
                if not trouble.retryable or isinstance(trouble, RemoteMissing):
                    raise
                error, limited, after = trouble, False, None
            else:
                with self._lock:
                    self._spent = max(0.0, self._spent - GIVEN_BACK)
                return answer
            if not limited:
                tried += 1
                if tried >= self.attempts:
                    raise self._final(error, f"{tried} attempts") from error.__cause__
            delay = self._delay(waits, after)
            waits += 1
            with self._lock:
                self._spent += self._clock() - began
                enough = self._spent + delay <= self.budget
                if enough:
                    self._spent += delay
            if not enough:
                raise self._final(error, f"it was given {self.budget:.0f} s of patience") from error.__cause__
            if self._tell is not None and delay >= LONG_WAIT:
                self._tell(f"waiting {delay:.0f} s: {error.message}")
            self._sleep(delay)

    def _delay(self, waits: int, after: float | None) -> float:
        # Full growth, half of it by chance: clients that were refused together do not come back together.
        backoff = min(LONGEST_DELAY, self.first_delay * 2.0 ** min(waits, 10)) * (0.5 + self._chance() / 2)
        return backoff if after is None else max(backoff, after + 0.1 * self.first_delay * self._chance())

    def _note(self, attempts: int) -> None:
        with self._lock:
            self._most_attempts = max(self._most_attempts, attempts)

    @staticmethod
    def _final(error: MemsyncError, why: str) -> MemsyncError:
        if "attempts)" not in error.message and "patience)" not in error.message:
            error.message = f"{error.message} ({why})"
            error.args = (error.message,)
        return error


class Retrying:
    """A remote (both halves) whose every verb is run by a `Retry`. Only for remotes whose verbs may simply be
    called again, such as a folder; Drive knows better what an unclear answer means and retries inside.
    """

    def __init__(self, inner: OpenRemote, retry: Retry) -> None:
        self._inner = inner
        self._retry = retry
        self.url = inner.url
        self.listing_is_free = inner.listing_is_free

    @property
    def requests(self) -> int:
        return self._inner.requests

    @property
    def bytes_sent(self) -> int:
        return self._inner.bytes_sent

    @property
    def most_attempts(self) -> int:
        return self._retry.most_attempts

    def close(self) -> None:
        self._inner.close()

    # -- the store's half ----------------------------------------------------------------------------------

    def prepare(self, *, create: bool) -> None:
        self._retry.run(lambda: self._inner.prepare(create=create))

    def list(self, prefix: str) -> Sequence[RemoteFile]:
        return self._retry.run(lambda: self._inner.list(prefix))

    def read(self, name: str, offset: int = 0, length: int | None = None) -> bytes:
        return self._retry.run(lambda: self._inner.read(name, offset, length))

    def read_stream(self, name: str) -> Iterator[bytes]:
        """In ranges, each tried for itself: what broke off goes on where it was."""
        offset = 0
        while piece := self._piece(name, offset):
            yield piece
            offset += len(piece)

    def _piece(self, name: str, offset: int) -> bytes:
        return self._retry.run(lambda: self._inner.read(name, offset, PIECE))

    def create(self, name: str, source: Source, notes: Mapping[str, str] | None = None) -> None:
        self._retry.run(lambda: self._inner.create(name, source, notes))

    def delete(self, name: str) -> None:
        self._retry.run(lambda: self._inner.delete(name))

    # -- the mirror ----------------------------------------------------------------------------------------

    def refuses(self, path: str) -> str | None:
        return self._inner.refuses(path)

    def look(self, files: Sequence[tuple[str, str | None]]) -> Sequence[MirrorFile | None]:
        return self._retry.run(lambda: self._inner.look(files))

    def walk(self, below: str = "", *, trashed: bool = False) -> Iterator[MirrorFile]:
        """The listing is made whole before the first file of it is given."""
        return iter(self._retry.run(lambda: [*self._inner.walk(below, trashed=trashed)]))

    def fetch(self, handle: str, at_most: int = FETCHED_AT_MOST) -> bytes:
        return self._retry.run(lambda: self._inner.fetch(handle, at_most))

    def put(self, path: str, source: Source, notes: Mapping[str, str], modified_ms: int) -> MirrorFile:
        return self._retry.run(lambda: self._inner.put(path, source, notes, modified_ms))

    def update(
        self, seen: MirrorFile, source: Source, notes: Mapping[str, str], modified_ms: int
    ) -> MirrorFile:
        return self._retry.run(lambda: self._inner.update(seen, source, notes, modified_ms))

    def move(self, seen: MirrorFile, path: str, notes: Mapping[str, str]) -> MirrorFile:
        return self._retry.run(lambda: self._inner.move(seen, path, notes))

    def remove(self, seen: MirrorFile) -> None:
        self._retry.run(lambda: self._inner.remove(seen))

    def erase(self, seen: MirrorFile) -> None:
        self._retry.run(lambda: self._inner.erase(seen))

    def sweep(self) -> None:
        self._retry.run(self._inner.sweep)

    def drop_revisions(self, seen: MirrorFile, sums: Collection[str]) -> int:
        return self._retry.run(lambda: self._inner.drop_revisions(seen, sums))
