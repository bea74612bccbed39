"""The Drive emulator: signing in."""

from __future__ import annotations

import json
import os
import threading
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from tests.drive_emulator import CLIENT_ID, CLIENT_SECRET, SCOPE_FILE, SCOPE_FULL, DriveEmulator
from tests.drive_emulator import client as library
from tests.emulator_wire import Raw, Wire, names


def test_an_expired_token_is_401_and_one_refresh_mends_it(
    emulator: DriveEmulator, drive: Any, wire: Wire
) -> None:
    emulator.advance(emulator.behaviour.token_lifetime + 1)
    assert wire("GET", "/drive/v3/files").status == 401
    assert names(drive) == []
    assert emulator.count("token") == 1
    assert emulator.requests == 3, "the refused, its repetition, and the raw one; not the refresh"
    assert wire("GET", "/drive/v3/files", headers={"Authorization": ""}).status == 401


def test_a_revoked_grant_is_invalid_grant(emulator: DriveEmulator, drive: Any) -> None:
    from google.auth.exceptions import RefreshError

    emulator.revoke_tokens()
    with pytest.raises(RefreshError, match="invalid_grant"):
        names(drive)


def test_a_testing_consent_kills_the_refresh_token_after_a_week(emulator: DriveEmulator, drive: Any) -> None:
    from google.auth.exceptions import RefreshError

    emulator.behaviour.refresh_lifetime = 7 * 86_400
    emulator.advance(8 * 86_400)
    with pytest.raises(RefreshError, match="invalid_grant"):
        names(drive)


def test_revoke_ends_a_grant(emulator: DriveEmulator, wire: Wire) -> None:
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    body = f"token={wire.token}".encode()
    assert wire("POST", "/revoke", body, form).status == 200
    assert wire("GET", "/drive/v3/files").status == 401
    assert wire("POST", "/revoke", body, form).json["error"] == "invalid_token"


def browse(url: str) -> None:
    """A browser that follows the consent page to wherever it leads."""
    with urllib.request.urlopen(url, timeout=10) as page:
        page.read()


@pytest.mark.parametrize("consent", ["grant", "deny"])
def test_the_installed_app_flow_runs_from_end_to_end(
    emulator: DriveEmulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, consent: Any
) -> None:
    import webbrowser

    from google_auth_oauthlib.flow import InstalledAppFlow

    class Browser:
        def open(self, url: str, **_: Any) -> bool:
            threading.Thread(target=browse, args=(url,), daemon=True).start()
            return True

    monkeypatch.setenv("OAUTHLIB_INSECURE_TRANSPORT", "1")
    monkeypatch.setattr(webbrowser, "get", lambda *_: Browser())
    emulator.behaviour.consent = consent
    secrets = emulator.write_credentials(tmp_path / "credentials.json")
    flow = InstalledAppFlow.from_client_secrets_file(str(secrets), [SCOPE_FILE])
    if consent == "deny":
        with pytest.raises(Exception, match="access_denied"):
            flow.run_local_server(port=0, timeout_seconds=10)
        return
    made = flow.run_local_server(port=0, timeout_seconds=10)
    assert made.refresh_token
    info = json.loads(made.to_json())
    assert info["token_uri"] == f"{emulator.url}token"
    assert names(library.service(emulator.url, info)) == []


def test_the_token_server_is_strict(emulator: DriveEmulator, wire: Wire) -> None:
    emulator.sign_in()

    def token(**form: str) -> tuple[int, str]:
        known = {"client_id": CLIENT_ID, "client_secret": CLIENT_SECRET}
        body = urllib.parse.urlencode(known | form).encode()
        raw = wire("POST", "/token", body, {"Content-Type": "application/x-www-form-urlencoded"})
        return raw.status, raw.json.get("error", "")

    assert token(grant_type="password") == (400, "unsupported_grant_type")
    assert token(grant_type="refresh_token", refresh_token="no") == (400, "invalid_grant")
    assert token(grant_type="refresh_token", client_secret="no") == (401, "invalid_client")
    assert token(grant_type="authorization_code", code="no") == (400, "invalid_grant")
    out_of_band = urllib.parse.urlencode(
        {
            "client_id": CLIENT_ID,
            "response_type": "code",
            "redirect_uri": "urn:ietf:wg:oauth:2.0:oob",
            "scope": SCOPE_FILE,
        }
    )
    assert wire("GET", f"/auth?{out_of_band}").status == 400


def test_the_device_flow(emulator: DriveEmulator, wire: Wire) -> None:
    form = {"Content-Type": "application/x-www-form-urlencoded"}

    def post(target: str, **values: str) -> Raw:
        known = {"client_id": CLIENT_ID, "client_secret": CLIENT_SECRET}
        return wire("POST", target, urllib.parse.urlencode(known | values).encode(), form)

    assert post("/device/code", scope=SCOPE_FULL).json["error"] == "invalid_scope"
    device = post("/device/code", scope=SCOPE_FILE).json
    grant = "urn:ietf:params:oauth:grant-type:device_code"
    poll = {"grant_type": grant, "device_code": device["device_code"]}
    assert post("/token", **poll).json["error"] == "authorization_pending"
    emulator.tokens.approve(device["user_code"])
    wire.token = post("/token", **poll).json["access_token"]
    assert wire("GET", "/drive/v3/files").status == 200


def test_token_files_are_what_sign_ins_leave(emulator: DriveEmulator, tmp_path: Path) -> None:
    from google.oauth2.credentials import Credentials

    path = emulator.write_token(tmp_path / "token.json")
    assert os.name == "nt" or path.stat().st_mode & 0o777 == 0o600
    info = json.loads(path.read_text(encoding="utf-8"))
    assert names(library.service(emulator.url, info)) == []
    assert Credentials.from_authorized_user_info(info).valid  # type: ignore[no-untyped-call]
    legacy = json.loads(emulator.write_legacy_token(tmp_path / "old.json").read_text())
    assert {"_module", "_class"} <= legacy.keys()
    loaded = Credentials.from_authorized_user_info(legacy)  # type: ignore[no-untyped-call]
    assert not loaded.token, "it loads, with an empty access token"
