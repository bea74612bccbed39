"""Writing the files a sign-in leaves on disk: credentials and tokens, all on loopback."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from .oauth import Grant

CLIENT_ID = "memsync-test.apps.example"
CLIENT_SECRET = "not-a-secret"


def client_secrets(url: str, client_id: str, client_secret: str) -> dict[str, Any]:
    """`credentials.json` in its "installed" form, as the user downloads it."""
    return {
        "installed": {
            "client_id": client_id,
            "project_id": "memsync-test",
            "auth_uri": f"{url}auth",
            "token_uri": f"{url}token",
            "client_secret": client_secret,
            "redirect_uris": ["http://localhost"],
        }
    }


def authorized_user(
    url: str, grant: Grant, client_secret: str, access: str, lifetime: float
) -> dict[str, Any]:
    """An authorized-user token as google-auth writes it; `expiry` is naive UTC with a Z."""
    expiry = datetime.now(UTC) + timedelta(seconds=lifetime)
    return {
        "type": "authorized_user",
        "token": access,
        "refresh_token": grant.refresh_token,
        "token_uri": f"{url}token",
        "client_id": grant.client_id,
        "client_secret": client_secret,
        "scopes": sorted(grant.scopes),
        "universe_domain": "googleapis.com",
        "account": "",
        "expiry": expiry.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
    }


def legacy(url: str, grant: Grant, client_secret: str, access: str, lifetime: float) -> dict[str, Any]:
    """A PyDrive2/oauth2client token: it loads elsewhere with an empty access token."""
    expiry = datetime.now(UTC) + timedelta(seconds=lifetime)
    return {
        "access_token": access,
        "client_id": grant.client_id,
        "client_secret": client_secret,
        "refresh_token": grant.refresh_token,
        "token_expiry": expiry.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "token_uri": f"{url}token",
        "user_agent": None,
        "revoke_uri": f"{url}revoke",
        "id_token": None,
        "token_response": {
            "access_token": access,
            "expires_in": int(lifetime),
            "scope": " ".join(sorted(grant.scopes)),
            "token_type": "Bearer",
        },
        "scopes": sorted(grant.scopes),
        "token_info_uri": f"{url}tokeninfo",
        "invalid": False,
        "_class": "OAuth2Credentials",
        "_module": "oauth2client.client",
    }


def write(path: Path, value: dict[str, Any]) -> Path:
    """JSON, readable by its owner only, as a token file should be."""
    path.write_text(json.dumps(value, indent=1), encoding="utf-8")
    path.chmod(0o600)
    return path
