"""Workspaces with a folder remote, and that remote under watch: every verb told, any of them cut off."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import pytest

from memstore.errors import RemoteTrouble
from memstore.remotes.base import OpenRemote
from memstore.remotes.folder import FolderRemote
from memstore.reports import PushReport
from memstore.store import Store

VERBS = frozenset(
    (
        "prepare", "list", "read", "read_stream", "create", "delete",
        "look", "walk", "fetch", "put", "update", "move", "remove",
    )
)  # fmt: skip


SMALL_ARCHIVE = "[mirror]\narchive_max_size = 2000\nmax_file_size = 20000\n"
LARGE = bytes(range(256)) * 12
HUGE = b"too large for the mirror\n" * 1000


class Death(BaseException):
    """The process ends here: nobody catches it."""


class Cut:
    """Raises at the k-th call of a remote's verbs (1 is the first), before or after it took effect."""

    def __init__(self, at: int, how: Callable[[], BaseException], *, after: bool) -> None:
        self.at = at
        self.how = how
        self.after = after
        self.calls = 0


class Watched:
    """A folder remote that tells each call as (verb, first argument)."""

    listing_is_free = True
    requests = 0
    most_attempts = 1

    def __init__(self, path: Path, told: list[tuple[str, str]], cut: Cut | None = None) -> None:
        self._inner = FolderRemote(str(path))
        self._told = told
        self._cut = cut
        self.url = self._inner.url

    @property
    def bytes_sent(self) -> int:
        return self._inner.bytes_sent

    def close(self) -> None:
        self._inner.close()

    def __getattr__(self, verb: str) -> Any:
        work = getattr(self._inner, verb)
        if verb not in VERBS:
            return work

        def call(*args: Any, **named: Any) -> Any:
            self._told.append((verb, _named(args)))
            cut = self._cut
            if cut is None:
                return work(*args, **named)
            cut.calls += 1
            due = cut.calls == cut.at
            if due and not cut.after:
                raise cut.how()
            try:
                answer = work(*args, **named)
                return iter([*answer]) if isinstance(answer, Iterator) else answer
            finally:
                if due:
                    raise cut.how()

        return call


def _named(args: tuple[Any, ...]) -> str:
    first = args[0] if args else ""
    return first if isinstance(first, str) else getattr(first, "path", "")


class Place:
    """A workspace in `base/assistant` with the folder remote `base/remote`."""

    def __init__(self, base: Path, *, config: str = "", name: str = "assistant") -> None:
        self.base = base
        self.root = base / name
        self.data = self.root / "Data"
        self.remote = base / "remote"
        Store.init(self.root).close()
        if config:
            (self.root / ".memsync" / "config.toml").write_text(config)
        with self.open() as store:
            store.set_remote(str(self.remote))

    @classmethod
    def at(cls, root: Path, remote: Path) -> Place:
        """Of a workspace that is there."""
        place = cls.__new__(cls)
        place.base, place.root, place.data, place.remote = root.parent, root, root / "Data", remote
        return place

    @contextmanager
    def open(self) -> Iterator[Store]:
        with Store.open(self.root, environ={}) as store:
            yield store

    def write(self, files: Mapping[str, bytes | None]) -> None:
        """Files of `Data/` by path; None: gone."""
        put(self.data, files)

    def commit(self, files: Mapping[str, bytes | None] | None = None, **meta: Any) -> str | None:
        if files:
            self.write(files)
        with self.open() as store:
            version = store.commit(**meta)
        return None if version is None else str(version.id)

    def push(self, *paths: str, cut: Cut | None = None, **how: Any) -> PushReport:
        with self.open() as store:
            return self.push_of(store, *paths, cut=cut, **how)

    def push_of(
        self,
        store: Store,
        *paths: str,
        cut: Cut | None = None,
        told: list[tuple[str, str]] | None = None,
        **how: Any,
    ) -> PushReport:
        calls: list[tuple[str, str]] = [] if told is None else told
        watched = Watched(self.remote, calls, cut)
        store._open_remote = lambda: cast(OpenRemote, watched)  # type: ignore[method-assign]
        return store.push(list(paths) or None, **how)

    def clone(self, name: str) -> Place:
        Store.clone(str(self.remote), self.base / name, environ={}).close()
        return Place.at(self.base / name, self.remote)

    def history(self, path: str) -> list[bytes | None]:
        """What the path held in each version that changed it, newest first."""
        with self.open() as store:
            return [
                None if version.changes[0].entry is None else store.read(path, at=version)
                for version in store.history(path)
            ]

    def contents(self) -> set[bytes]:
        """Every content that some version of any path has."""
        with self.open() as store:
            return {
                store.repository.read(change.entry.content)
                for version in store.history()
                for change in version.changes
                if change.entry is not None
            }

    @property
    def mirror(self) -> dict[str, bytes]:
        return {path: data for path, data in tree(self.remote).items() if not path.startswith(".memsync/")}

    @property
    def heads(self) -> list[str]:
        """The head markers; what collections and devices leave beside them is longer or shorter."""
        return sorted(name for name in os.listdir(self.remote / ".memsync" / "heads") if len(name) == 64)

    @property
    def packs(self) -> list[str]:
        return sorted(os.listdir(self.remote / ".memsync" / "packs"))


def put(root: Path, files: Mapping[str, bytes | None]) -> None:
    for path, data in files.items():
        place = root / path
        if data is None:
            place.unlink()
            continue
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(data)


def tree(root: Path) -> dict[str, bytes]:
    """Every file below a folder, by `/` path."""
    return {
        place.relative_to(root).as_posix(): place.read_bytes()
        for place in sorted(root.rglob("*"))
        if place.is_file() and not place.is_symlink()
    }


def again(saved: Path, place: Path) -> None:
    """Bring a folder back to what it was when it was saved."""
    if place.exists():
        shutil.rmtree(place)
    shutil.copytree(saved, place, symlinks=True)


def without_waiting(patch: pytest.MonkeyPatch) -> None:
    """Syncs that do nothing: for tests of hundreds of pushes in which no power is cut."""
    for name in ("fsync", "fdatasync"):
        if hasattr(os, name):
            patch.setattr(os, name, lambda _: None)


def trouble() -> RemoteTrouble:
    return RemoteTrouble("the line went dead", hint="try again")


def everything_happens(place: Place) -> None:
    """A finished push of a first state, and then commits with every kind of change."""
    place.commit(
        {
            "Core/appended.txt": b"one\n",
            "Core/replaced.txt": b"old\n",
            "Core/gone.txt": b"to be deleted\n",
            "Core/both.txt": b"begun\n",
            "Core/archived.txt": b"to be archived\n",
            "Meta/large.bin": LARGE,
            "Meta/turns": b"a file that becomes a folder\n",
            "Meta/folder/a.txt": b"in a folder that becomes a file\n",
            "Meta/same.txt": b"stays\n",
        }
    )
    assert place.push().status == "success"
    place.commit({"Core/appended.txt": b"one\ntwo\n", "Core/both.txt": b"begun\nappended\n"})
    place.commit(
        {
            "Core/replaced.txt": b"new\n",
            "Core/gone.txt": None,
            "Core/both.txt": b"all new\n",
            "Meta/large.bin": LARGE[::-1],
            "Meta/turns": None,
            "Meta/folder/a.txt": None,
            "Meta/huge.txt": HUGE,
            "New/added.txt": b"added\n",
        }
    )
    (place.data / "Meta/folder").rmdir()
    put(place.data, {"Meta/turns/b.txt": b"below\n", "Meta/folder": b"a file now\n"})
    with place.open() as store:
        store.commit()
        store.archive(["Core/archived.txt"])


def pushed(place: Place, files: dict[str, bytes | None], **meta: Any) -> PushReport:
    place.commit(files, **meta)
    report = place.push()
    assert report.exit_code == 0, report
    return report


def archived(place: Place) -> dict[str, bytes]:
    return {path: data for path, data in place.mirror.items() if path.startswith("Archive/")}


def references(place: Place) -> dict[str, bytes]:
    """Archive references by name, with what they stand for."""
    with place.open() as store:
        return {row.path: store.read(row.path) for row in store.ls("Archive")}


def forget_catalogue(place: Place) -> None:
    for path in (place.root / ".memsync").glob("catalogue.sqlite*"):
        path.unlink()


def expected_mirror(place: Place) -> dict[str, bytes]:
    return {path: data for path, data in tree(place.data).items() if len(data) <= 20_000}


def head_of(place: Place) -> str:
    with place.open() as store:
        return str(store.head())
