"""A Drive for tests: the emulator, and clients of it that share nothing but what is on Drive.

Waits between tries do not happen here: they are added to the emulator's clock instead.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from memstore.progress import SILENT
from memstore.remotes.drive.remote import DriveRemote
from memstore.remotes.limiter import Limiter
from memstore.remotes.retry import Retry
from memstore.remotes.url import parse_url
from memstore.workspace import Workspace
from tests.drive_emulator import SCOPE_FILE, Behaviour, DriveEmulator

ROOT = "MemoryVDB"


class DrivePlace:
    """A context manager; `open` gives a client with a workspace of its own, as another machine has it."""

    def __init__(self, folder: Path, behaviour: Behaviour | None = None, url: str = "drive:") -> None:
        self.folder = folder
        self.emulator = DriveEmulator(behaviour=behaviour)
        self.url = url
        self.opened: list[DriveRemote] = []
        self.waited = 0.0
        self._numbers = itertools.count(1)

    def __enter__(self) -> Self:
        self.emulator.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for remote in self.opened:
            remote.close()
        self.emulator.stop()

    def workspace(self, name: str | None = None, scope: str = SCOPE_FILE) -> Workspace:
        """The workspace of that name (a new one without), signed in."""
        root = self.folder / (name or f"machine{next(self._numbers)}")
        workspace = Workspace.create(root, environ={"MEMSYNC_DRIVE_ROOT_URL": self.emulator.url})
        token = Path(workspace.token_path)
        if not token.exists():
            self.emulator.write_token(token, scope)
        return workspace

    def sleep(self, seconds: float) -> None:
        self.waited += seconds
        self.emulator.advance(seconds)

    def open(
        self, workspace: Workspace | None = None, *, attempts: int = 3, budget: float = 600.0
    ) -> DriveRemote:
        workspace = workspace or self.workspace()
        retry = Retry(attempts=attempts, budget=budget, sleep=self.sleep)
        pace = Limiter(clock=self.emulator.clock.now, sleep=self.sleep)
        remote = DriveRemote.open(parse_url(self.url, workspace), workspace, retry, SILENT, writes=pace)
        self.opened.append(remote)
        return remote

    def edit(self, path: str, content: bytes) -> None:
        self.emulator.person.edit(self.emulator.person.find(f"{ROOT}/{path}"), content)

    @contextmanager
    def costs(self, requests: int) -> Iterator[None]:
        """What happens inside makes so many requests to Drive."""
        before = self.emulator.requests
        yield
        assert self.emulator.requests - before == requests, self.emulator.counts()
