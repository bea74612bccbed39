"""A stand-in for `Store` that gives the answers a test sets, so that each can be seen on the screen."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner, Result
from memsync.app import app

from memstore import errors
from memstore.ids import ContentId, VersionId
from memstore.manifest.version import Change, ChangeKind, Entry, Kind, Meta, Version
from memstore.store import Store

CONTENT = ContentId.of(b"be kind\n")
ONE = VersionId.of(b"one")
TWO = VersionId.of(b"two")


def entry(path: str, content: bytes = b"be kind\n") -> Entry:
    return Entry(path, Kind.FILE, len(content), ContentId.of(content), 1_745_416_920_000)


def change(path: str, kind: ChangeKind = ChangeKind.ADD, archived_as: str | None = None) -> Change:
    gone = kind in {ChangeKind.DELETE, ChangeKind.ARCHIVE}
    return Change(path, kind, None if gone else entry(path), archived_as)


def version(
    id: VersionId = ONE, *changes: Change, note: str = "first", parents: tuple[VersionId, ...] = ()
) -> Version:
    meta = Meta(note=note, context_tags=("llama", "ai"), chat_name="GPT Memory Build")
    return Version(id, (), 1, 1_745_416_920_000, "laptop", "0123abcd", meta, changes)


class FakeStore:
    """The signatures of `Store` with answers that a test sets; `asked` keeps what it was asked for."""

    def __init__(self, root: Path) -> None:
        config = SimpleNamespace(commit_held_back_minimum=20)
        self.workspace = SimpleNamespace(data=str(root / "Data"), root=str(root), config=config)
        self.heads: list[VersionId] = [ONE]
        catalogue = SimpleNamespace(heads=lambda: self.heads, tree_size=lambda: 20)
        self.repository = SimpleNamespace(catalogue=catalogue)
        self.answers: dict[str, Any] = {}
        self.asked: dict[str, tuple[tuple[Any, ...], dict[str, Any]]] = {}
        self.versions = {ONE: version(ONE, change("Core/Rules.txt"))}

    def __enter__(self) -> FakeStore:
        return self

    def __exit__(self, *_: object) -> None:
        self.closed = True

    def holds_references(self, folder: str) -> bool:
        return False

    def known(self, path: str) -> bool:
        return path in {"Core", "Core/Rules.txt", "Core/Gone.txt"}

    def similar(self, path: str) -> list[str]:
        return []

    def head(self) -> VersionId | None:
        return next(iter(self.versions), None)

    def version(self, at: object) -> Version:
        for id, found in self.versions.items():
            if str(id).startswith(str(at)):
                return found
        raise errors.BadInput(f"no version {at}", hint="memsync log lists them")

    def __getattr__(self, name: str) -> Any:
        def answer(*args: Any, **kwargs: Any) -> Any:
            self.asked[name] = (args, kwargs)
            found = self.answers[name]
            if isinstance(found, BaseException):
                raise found
            return iter(found) if isinstance(found, list) else found

        return answer


def open_fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeStore:
    """A store that every command of this test opens, in `tmp_path`, which becomes the current folder."""
    (tmp_path / "Data" / "Core").mkdir(parents=True)
    (tmp_path / "Data" / "Core" / "Rules.txt").write_bytes(b"be kind\n")
    monkeypatch.chdir(tmp_path)
    for variable in ("NO_COLOR", "FORCE_COLOR", "MEMSYNC_DEBUG"):
        monkeypatch.delenv(variable, raising=False)
    fake = FakeStore(tmp_path)
    monkeypatch.setattr(Store, "open", lambda *_, **__: fake)
    return fake


def run(*args: str) -> Result:
    result = CliRunner().invoke(app, args, prog_name="memsync")
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    assert "Traceback" not in result.output
    return result


def document(result: Result) -> dict[str, Any]:
    answer = json.loads(result.stdout)
    assert isinstance(answer, dict)
    return answer
