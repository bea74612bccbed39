"""Signing in speaks to a person on the right stream."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
from click.testing import CliRunner
from memsync.app import app

from tests.cli_fake_store import FakeStore, open_fake


class FakeAuth(ModuleType):
    """Stands for `memstore.remotes.drive.auth`, which would open a browser."""

    def __init__(self) -> None:
        super().__init__("memstore.remotes.drive.auth")
        self.asked: dict[str, object] = {}
        self.out = 0

    def login(
        self,
        workspace: object,
        *,
        open_browser: bool,
        scope: str,
        say: Callable[[str], None],
        ask: Callable[[str], str],
    ) -> None:
        say("open https://accounts.example/ in a browser")
        self.asked = {"open_browser": open_browser, "scope": scope, "answer": ask("the code")}

    def logout(self, workspace: object) -> None:
        self.out += 1


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeStore:
    store = open_fake(tmp_path, monkeypatch)
    store.answers["remote"] = None
    return store


@pytest.fixture
def auth(store: FakeStore, monkeypatch: pytest.MonkeyPatch) -> FakeAuth:
    fake = FakeAuth()
    monkeypatch.setitem(sys.modules, "memstore.remotes.drive.auth", fake)
    return fake


def test_login_asks_in_the_terminal_and_names_the_next_step(auth: FakeAuth) -> None:
    result = CliRunner().invoke(app, ["login", "--no-browser"], input="4/abc\n", prog_name="memsync")
    assert result.exit_code == 0, result.output
    assert auth.asked == {"open_browser": False, "scope": "drive.file", "answer": "4/abc"}
    assert "open https://accounts.example/" in result.stdout
    assert result.stdout.endswith("next: memsync remote set drive:\n")


def test_login_with_json_keeps_stdout_for_the_document(auth: FakeAuth) -> None:
    result = CliRunner().invoke(
        app, ["login", "--scope", "drive", "--json"], input="x\n", prog_name="memsync"
    )
    assert json.loads(result.stdout) == {"logged_in": True, "scope": "drive"}
    assert "open https://accounts.example/" in result.stderr
    assert auth.asked["open_browser"] is True


def test_logout_deletes_the_token(auth: FakeAuth) -> None:
    result = CliRunner().invoke(app, ["logout"], prog_name="memsync")
    assert (result.exit_code, auth.out) == (0, 1)
    assert CliRunner().invoke(app, ["logout", "--json"]).stdout == '{"logged_in": false}\n'


def test_a_scope_that_google_does_not_have_is_wrong_usage(auth: FakeAuth) -> None:
    assert CliRunner().invoke(app, ["login", "--scope", "everything"]).exit_code == 2
