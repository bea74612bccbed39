"""Devices that work apart on one memory: workspaces with a clock of their own and a folder between them."""

from __future__ import annotations

import types
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

import memstore.writer
from memstore import Store
from memstore.manifest.version import Version
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
        return sorted(place.name for place in (self.base / "remote" / ".memsync" / "heads").iterdir())
