"""Devices that work apart on one memory: workspaces with a clock of their own and a folder between them."""

from __future__ import annotations

import types
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

import memstore.writer
from memstore import Store, identity
from memstore.actions.merge import Joined, merge
from memstore.actions.pull import forward
from memstore.ids import VersionId
from memstore.manifest.version import Kind, Version
from memstore.reports import PullReport, PushReport
from tests.folder_place import put, tree


class Clock:
    """Milliseconds since the epoch, moved by hand."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.now_ms = 1_745_416_920_000  # 2025-04-23T14:02:00Z
        patch.setattr(memstore.writer, "time", types.SimpleNamespace(time_ns=lambda: self.now_ms * 1_000_000))

    def tick(self, seconds: float = 60) -> None:
        self.now_ms += int(seconds * 1000)


class Device:
    """A workspace in `base/name`; the remote is `base/remote`."""

    def __init__(self, base: Path, name: str) -> None:
        self.base, self.name, self.root = base, name, base / name
        self.environ = {"MEMSYNC_DEVICE": name}

    @classmethod
    def first(cls, base: Path, name: str, files: Mapping[str, bytes | None]) -> Device:
        """A device that made the memory and pushed it."""
        device = cls(base, name)
        Store.init(device.root, environ=device.environ).close()
        with device.open() as store:
            store.set_remote(str(base / "remote"))
        device.save(files)
        device.push()
        return device

    def joined_by(self, name: str) -> Device:
        """Another device that has cloned the memory."""
        other = Device(self.base, name)
        Store.clone(str(self.base / "remote"), other.root, environ=other.environ).close()
        return other

    @property
    def data(self) -> Path:
        return self.root / "Data"

    @property
    def tree(self) -> dict[str, bytes]:
        return tree(self.data)

    def open(self) -> Store:
        return Store.open(self.root, environ=self.environ)

    def write(self, files: Mapping[str, bytes | None]) -> None:
        put(self.data, files)

    def save(self, files: Mapping[str, bytes | None] | None = None, **meta: Any) -> Version | None:
        self.write(files or {})
        with self.open() as store:
            return store.commit(**meta)

    def push(self) -> PushReport:
        with self.open() as store:
            return store.push()

    def pull(self, **how: str) -> PullReport:
        with self.open() as store:
            return store.pull(**how)

    @property
    def head(self) -> str:
        with self.open() as store:
            return str(store.head())

    @property
    def heads(self) -> list[str]:
        """The markers on the remote."""
        names = (place.name for place in (self.base / "remote" / ".memsync" / "heads").iterdir())
        return sorted(name for name in names if len(name) == 64)


class Apart:
    """One store in which versions are made from any other, as named devices would have made them."""

    def __init__(self, root: Path, clock: Clock) -> None:
        self.clock = clock
        self.store = Store.init(root, environ={})
        self.data = root / "Data"
        self.repository = self.store.repository

    def made(
        self, device: str, base: VersionId | None, change: Callable[[Apart], object], after: float = 60
    ) -> VersionId:
        """A version that `device` made of `base` so many seconds later, with what `change` does to `Data/`."""
        self.clock.tick(after)
        if base is not None:
            self.go_to(base)
        id = f"{sum(device.encode()) % 2**32:08x}"
        self.repository.device = identity.Device(id, device)
        change(self)
        self.store.commit(allow_deletions=True)
        head = self.store.head()
        assert head is not None
        return head

    def go_to(self, version: VersionId) -> None:
        with self.repository.writing() as writer:
            forward(self.repository, writer, version)

    def saved(self, device: str, base: VersionId | None, files: Mapping[str, bytes | None]) -> VersionId:
        return self.made(device, base, lambda here: put(here.data, files))

    def merged(self, *heads: VersionId, **how: Any) -> Joined:
        with self.repository.writing() as writer:
            return merge(self.repository, writer, heads, **how)

    def tree(self, version: VersionId) -> dict[str, tuple[Kind, bytes]]:
        return {
            entry.path: (entry.kind, self.repository.read(entry.content))
            for entry in self.repository.entries(version)
        }

    def texts(self, version: VersionId) -> dict[str, bytes]:
        return {path: content for path, (_, content) in self.tree(version).items()}
