"""Which folders are still: asked one by one, in path order, and where there are very many files answered by two
processes, for looking at a file costs the interpreter more than it costs the disk."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING, Final, Self

from memstore.worktree import still

if TYPE_CHECKING:
    from collections.abc import Sequence

    from memstore.crew import Crew


WHILE_IT_STARTS: Final = 600_000
"""Bytes of what is known that we get through before another process has begun, so that both end together: some 10,000
files."""


class Stillness:
    """What is known of the folders of `data`, and whether it holds yet."""

    def __init__(self, data: str, known: dict[str, bytes], *, helped: bool) -> None:
        """`known`: folder ('' or ending in `/`) → what `Still.packed` gave, in path order. `helped`: the later ones
        are looked at by another process meanwhile."""
        self.changed: list[str] = []
        """Known folders that are no longer as they were."""
        self._data = data
        self._known = known
        self._crew: Crew | None = None
        self._theirs: list[str] = []
        self._answers: dict[str, bool] = {}
        if helped and len(known) > 1:
            self._begin_helping()

    def folders_in(self, prefix: str) -> Sequence[str] | None:
        """The folders in a folder that is still; None for one that is not, or of which nothing is known."""
        packed = self._known.pop(prefix, None)
        if packed is None:
            return None
        before = still.unpack(packed)
        if self._holds(prefix, before):
            return before.folders
        self.changed.append(prefix)
        return None

    def _holds(self, prefix: str, before: still.Still) -> bool:
        if self._crew is not None and self._theirs and prefix in self._answers:
            answer = self._crew.answer().facts
            self._answers = {name: bool(byte) for name, byte in zip(self._theirs, answer, strict=True)}
            self._theirs = []
        known = self._answers.get(prefix)
        return still.is_still(self._data, prefix, before) if known is None else known

    def _begin_helping(self) -> None:
        from memstore.crew import Crew

        ours, passed = (sum(map(len, self._known.values())) + WHILE_IT_STARTS) // 2, 0
        rows = []
        for prefix, packed in self._known.items():
            passed += len(packed)
            if passed > ours:
                rows.append((prefix, packed))
        if not rows:
            return
        self._theirs = [prefix for prefix, _ in rows]
        self._answers = dict.fromkeys(self._theirs, False)
        self._crew = Crew(still.check, size=1)
        self._crew.ask(still.pack_job(self._data, rows))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.changed += self._known  # nobody came by them: a folder above has changed or is gone
        if self._crew is not None:
            self._crew.close()
