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
        self.revoked = True

    def login(
        self,
        workspace: object,
        *,
        open_browser: bool,
        scope: str,
        say: Callable[[str], None],
        ask: Callable[[str], str],
    ) -> str:
        say("open https://accounts.example/ in a browser")
        self.asked = {"open_browser": open_browser, "scope": scope, "answer": ask("the code")}
        return "/ws/drive_token.json"

    def logout(self, workspace: object) -> bool:
        return self.revoked


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeStore:
    store = open_fake(tmp_path, monkeypatch)
    store.answers["remote"] = None
    store.workspace.token_path = str(tmp_path / "drive_token.json")
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
    assert "the token is in /ws/drive_token.json" in result.stdout
    assert result.stdout.endswith("next: memsync remote set drive:\n")


def test_a_login_that_is_left_changes_nothing_and_says_so(auth: FakeAuth) -> None:
    result = CliRunner().invoke(app, ["login"], input="", prog_name="memsync")
    assert result.exit_code == 130
    assert "memsync: stopped; nothing was changed\n  hint: memsync login\n" in result.stderr


def test_login_with_json_keeps_stdout_for_the_document(auth: FakeAuth) -> None:
    result = CliRunner().invoke(
        app, ["login", "--scope", "drive", "--json"], input="x\n", prog_name="memsync"
    )
    assert json.loads(result.stdout) == {
        "logged_in": True,
        "scope": "drive",
        "token": "/ws/drive_token.json",
    }
    assert "open https://accounts.example/" in result.stderr
    assert auth.asked["open_browser"] is True


def test_logout_says_whether_there_was_a_token_and_whether_google_knows(
    auth: FakeAuth, tmp_path: Path
) -> None:
    assert CliRunner().invoke(app, ["logout"]).stdout == "not signed in: there is no token\n"
    (tmp_path / "drive_token.json").write_text("{}")
    assert CliRunner().invoke(app, ["logout"]).stdout == "signed out; the token is deleted\n"
    assert CliRunner().invoke(app, ["logout", "--json"]).stdout == '{"logged_in": false, "revoked": true}\n'
    auth.revoked = False
    result = CliRunner().invoke(app, ["logout"])
    assert result.exit_code == 1
    assert "https://myaccount.google.com/connections" in result.stderr


def test_a_scope_that_google_does_not_have_is_wrong_usage(auth: FakeAuth) -> None:
    assert CliRunner().invoke(app, ["login", "--scope", "everything"]).exit_code == 2
