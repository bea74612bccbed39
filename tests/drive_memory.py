"""A memory folder whose remote is the Drive emulator: whole pushes, clones and checks, without real waits.

`DriveMemory` is one workspace signed in to the emulator. Every opening of its store is a cold process as far
as the remote goes: nothing that was learnt of Drive is kept in memory. `Scene` is a workspace and a Drive
that can be brought back to one moment, so that many ways to go on from there can be tried.
"""

from __future__ import annotations

import copy
import json
import os
import shutil
import subprocess
import sys
import types
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import memstore.remotes.drive
from memstore.progress import Progress
from memstore.remotes.base import OpenRemote
from memstore.remotes.drive.journal import Journal
from memstore.remotes.drive.remote import DriveRemote
from memstore.remotes.limiter import Limiter
from memstore.remotes.retry import Retry
from memstore.remotes.url import RemoteUrl
from memstore.reports import PushReport
from memstore.store import Store
from memstore.workspace import Workspace
from tests.drive_emulator import SCOPE_FILE, DriveEmulator
from tests.folder_place import put, tree, without_waiting

ROOT = "MemoryVDB"
STORE = f"{ROOT}/.memsync/"


@contextmanager
def no_waiting(emulator: DriveEmulator) -> Iterator[None]:
    """Inside, waits between tries pass on the emulator's clock alone, and syncs of the disk do nothing."""

    def opened(place: RemoteUrl, workspace: Workspace, retry: Retry, progress: Progress) -> OpenRemote:
        config = workspace.config
        patient = Retry(
            attempts=config.push_attempts,
            budget=config.push_budget,
            sleep=emulator.advance,
            tell=progress.say,
        )
        pace = Limiter(clock=emulator.clock.now, sleep=emulator.advance)
        return DriveRemote.open(place, workspace, patient, progress, writes=pace)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(memstore.remotes.drive, "open_drive", opened)
        without_waiting(patch)
        yield


def fixed_clock(patch: pytest.MonkeyPatch, time_ms: int) -> None:
    """Versions made from now on bear this time: with the same device and store, packs are the same bytes."""
    import memstore.writer

    patch.setattr(memstore.writer, "time", types.SimpleNamespace(time_ns=lambda: time_ms * 1_000_000))


class DriveMemory:
    """A workspace in `base/name`, its remote `drive:` on the emulator, signed in."""

    def __init__(
        self,
        base: Path,
        emulator: DriveEmulator,
        *,
        name: str = "assistant",
        config: str = "",
        scope: str = SCOPE_FILE,
        url: str = "drive:",
    ) -> None:
        self.base = base
        self.emulator = emulator
        self.root = base / name
        self.data = self.root / "Data"
        self.environ = {"MEMSYNC_DRIVE_ROOT_URL": emulator.url, "MEMSYNC_DEVICE": name}
        self.url = url
        Store.init(self.root, environ=self.environ).close()
        if config:
            (self.root / ".memsync" / "config.toml").write_text(config)
        emulator.write_token(self.token, scope)
        with self.open() as store:
            store.set_remote(url)

    @property
    def token(self) -> Path:
        return self.root / "drive_token.json"

    def open(self, **environ: str) -> Store:
        return Store.open(self.root, environ={**self.environ, **environ})

    # -- Data/ ---------------------------------------------------------------------------------------------

    def write(self, files: Mapping[str, bytes | None]) -> None:
        """Files of `Data/` by path; None: gone."""
        put(self.data, files)

    def commit(self, files: Mapping[str, bytes | None] | None = None, **meta: Any) -> str | None:
        """Write the files and commit everything; the version's id."""
        self.write(files or {})
        with self.open() as store:
            version = store.commit(**meta)
        return None if version is None else str(version.id)

    # -- Drive ---------------------------------------------------------------------------------------------

    def push(self, *paths: str, environ: Mapping[str, str] | None = None, **how: Any) -> PushReport:
        """As a process of its own does it: everything about Drive is read from disk anew."""
        with self.open(**(environ or {})) as store:
            return store.push(list(paths) or None, **how)

    def clone(self, name: str) -> Path:
        """Another workspace, with nothing but a token; the folder of its `Data/`."""
        root = self.base / name
        root.mkdir(parents=True)
        shutil.copy(self.token, root)
        Store.clone(self.url, root, environ=self.environ).close()
        return root / "Data"

    def second(self, name: str) -> DriveMemory:
        """Another device with the same memory, cloned."""
        other = DriveMemory.__new__(DriveMemory)
        other.base, other.emulator, other.url = self.base, self.emulator, self.url
        other.root, other.data = self.base / name, self.base / name / "Data"
        other.environ = {**self.environ, "MEMSYNC_DEVICE": name}
        other.root.mkdir()
        shutil.copy(self.token, other.root)
        Store.clone(self.url, other.root, environ=other.environ).close()
        return other

    @property
    def mirror(self) -> dict[str, bytes]:
        """path → bytes of what people read, without what is in the trash; twins apart."""
        return {
            path.removeprefix(f"{ROOT}/"): data
            for path, data in self.emulator.tree().items()
            if path.startswith(f"{ROOT}/") and not path.startswith(STORE)
        }

    @property
    def heads(self) -> list[str]:
        """The head markers; what collections and devices leave beside them is longer or shorter."""
        paths = (path for path in self.emulator.tree() if path.startswith(f"{STORE}heads/"))
        return sorted(path for path in paths if len(path.rpartition("/")[2].partition("#")[0]) == 64)

    def upload_lines(self) -> list[dict[str, Any]]:
        log = self.root / "upload_log.json"
        return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []

    def contents(self) -> set[bytes]:
        """Every content that some version of any path holds."""
        with self.open() as store:
            return {
                store.repository.read(change.entry.content)
                for version in store.history()
                for change in version.changes
                if change.entry is not None
            }


def journal_of(root: Path) -> Journal:
    return Journal(str(next((root / ".memsync").glob("drive-journal.*.jsonl"))))


AGREED = frozenset(("root", "store", "packs", "heads", "format", "archive"))
"""Keys of the journal whose ids stand for good: all machines agreed on them."""


def what_is_open(root: Path) -> tuple[list[str], list[str], int]:
    """(keys of creates not seen to end, of uploads not ended, lines that can't be read) in the journal."""
    journal = journal_of(root)
    journal.folders()  # reads the file
    broken = 0
    for line in Path(journal.path).read_bytes().split(b"\n"):
        try:
            json.loads(line or b"{}")
        except ValueError:
            broken += 1
    return sorted(journal._taken.keys() - AGREED), sorted(journal._uploads), broken


class Shape(NamedTuple):
    """A Drive as far as two ways to it can be compared: ids and times of creation differ."""

    files: dict[str, bytes]
    """Twins apart."""
    folders: list[str]
    trashed: list[str]
    notes: list[tuple[str, list[tuple[str, str]]]]
    """Of each file: what memsync noted on it, an id replaced by the path it leads to."""
    modified: list[tuple[str, float]]
    """Of the mirror's files: the time that people see."""


def shape(emulator: DriveEmulator) -> Shape:
    entries = emulator.entries()
    paths = {entry.id: entry.path for entry in entries}
    items = emulator.drive.items
    there = [entry for entry in entries if not (entry.trashed or entry.is_folder)]
    return Shape(
        emulator.tree(),
        sorted(entry.path for entry in entries if entry.is_folder and not entry.trashed),
        sorted(entry.path for entry in entries if entry.trashed),
        [
            (
                entry.path,
                sorted(
                    (key, paths.get(value, value))
                    for notes in items[entry.id].app_properties.values()
                    for key, value in notes.items()
                ),
            )
            for entry in there
        ],
        [(entry.path, items[entry.id].modified) for entry in there if not entry.path.startswith(STORE)],
    )


class Scene:
    """A workspace and a Drive at one moment; `again` brings both back to it."""

    def __init__(self, memory: DriveMemory) -> None:
        """Remember how things stand now."""
        self.memory = memory
        self._saved = memory.base / "saved"
        shutil.copytree(memory.root, self._saved, symlinks=True)
        drive = memory.emulator.drive
        with drive.lock:
            self._drive = copy.deepcopy(
                (drive.items, drive.children, drive.reserved, drive.deleted, drive.usage, drive._random)
            )
            self._root = drive.root.id

    def again(self) -> DriveMemory:
        emulator = self.memory.emulator
        emulator.clear_faults()
        emulator.reset_counts()
        emulator.expire_sessions()
        drive = emulator.drive
        with drive.lock:
            items, children, reserved, deleted, usage, dice = copy.deepcopy(self._drive)
            drive.items, drive.children, drive.reserved = items, children, reserved
            drive.deleted, drive.usage, drive._random = deleted, usage, dice
            drive.root = items[self._root]
        shutil.rmtree(self.memory.root)
        shutil.copytree(self._saved, self.memory.root, symlinks=True)
        return self.memory


KILLED = """
import sys, types
import memstore.writer
from memstore.store import Store
memstore.writer.time = types.SimpleNamespace(time_ns=lambda: int(sys.argv[2]) * 1_000_000)
Store.open(sys.argv[1]).push()
"""


def kill(memory: DriveMemory, request: int, side: str, time_ms: int = 0) -> None:
    """A push in a process of its own that is killed (SIGKILL) at that request, `before` or `after` its effect.
    Versions that it makes bear the time given, in milliseconds since the epoch."""
    running: list[subprocess.Popen[bytes]] = []

    def strike(_: object) -> None:
        running[0].kill()
        running[0].wait(60)

    rule = memory.emulator.fault(f"any nth={request} latency=0 at={side}", hook=strike)
    command = [sys.executable, "-c", KILLED, str(memory.root), str(time_ms)]
    running.append(subprocess.Popen(command, env={**os.environ, **memory.environ}, stderr=subprocess.DEVNULL))
    assert running[0].wait(120) != 0
    assert rule.fired == 1


def head_of(memory: DriveMemory) -> str:
    with memory.open() as store:
        return str(store.head())


__all__ = [
    "AGREED", "ROOT", "STORE", "DriveMemory", "Scene", "Shape", "fixed_clock", "head_of", "journal_of", "kill",
    "no_waiting", "shape", "tree", "what_is_open",
]  # fmt: skip
