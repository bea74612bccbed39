"""The token server: enough of Google's OAuth for a whole sign-in on loopback.

`/auth` is the consent page and answers at once (grant or deny); `/token` knows
authorization_code (with PKCE), refresh_token and the device flow; `/revoke` ends a grant. The
out-of-band redirect is refused, as Google refuses it. A revoked or expired refresh token is
`invalid_grant`: log in again.
"""

from __future__ import annotations

import base64
import hashlib
import secrets
import threading
import urllib.parse
from dataclasses import dataclass, field

from .behaviour import Behaviour
from .clock import Clock
from .errors import ApiError, OAuthError
from .items import SCOPES, Caller
from .wire import Request, Response

DEVICE_GRANT = "urn:ietf:params:oauth:grant-type:device_code"
_LOOPBACK = ("localhost", "127.0.0.1", "::1")


@dataclass
class Grant:
    """What the person allowed a client id; every access token belongs to one."""

    client_id: str
    scopes: frozenset[str]
    refresh_token: str
    since: float
    revoked: bool = False


@dataclass
class _Code:
    client_id: str
    scopes: frozenset[str]
    redirect_uri: str
    challenge: str | None
    method: str


@dataclass
class _Device:
    client_id: str
    scopes: frozenset[str]
    state: str = "authorization_pending"


@dataclass
class _Tables:
    clients: dict[str, str] = field(default_factory=dict)
    grants: dict[str, Grant] = field(default_factory=dict)
    access: dict[str, tuple[Grant, float]] = field(default_factory=dict)
    codes: dict[str, _Code] = field(default_factory=dict)
    devices: dict[str, _Device] = field(default_factory=dict)
    user_codes: dict[str, str] = field(default_factory=dict)


def _basic(authorization: str) -> dict[str, str]:
    """Client id and secret sent as HTTP Basic, which the installed-app flow does."""
    scheme, _, value = authorization.partition(" ")
    if scheme.lower() != "basic":
        return {}
    pair = base64.b64decode(value).decode().partition(":")
    return {"client_id": urllib.parse.unquote(pair[0]), "client_secret": urllib.parse.unquote(pair[2])}


class TokenServer:
    """Thread-safe; counts and faults are the server's business, not this one's."""

    def __init__(self, behaviour: Behaviour, clock: Clock) -> None:
        self._behaviour = behaviour
        self._clock = clock
        self._lock = threading.Lock()
        self._tables = _Tables()

    # --- for tests ---

    def register(self, client_id: str, client_secret: str) -> None:
        with self._lock:
            self._tables.clients[client_id] = client_secret

    def grant(self, client_id: str, scopes: frozenset[str]) -> Grant:
        """What a finished sign-in leaves behind, without the sign-in."""
        with self._lock:
            return self._grant(client_id, scopes)

    def issue(self, grant: Grant, lifetime: float | None = None) -> str:
        """An access token of that grant."""
        with self._lock:
            return self._issue(grant, lifetime)

    def expire_access(self) -> None:
        """Every access token is refused from now on; refresh tokens still work."""
        with self._lock:
            self._tables.access.clear()

    def revoke_all(self) -> None:
        """What the person's "remove access" does: 401, and `invalid_grant` on refresh."""
        with self._lock:
            for grant in self._tables.grants.values():
                grant.revoked = True
            self._tables.access.clear()

    def approve(self, user_code: str, *, deny: bool = False) -> None:
        """The person types a device's code on another screen."""
        with self._lock:
            device = self._tables.devices[self._tables.user_codes[user_code]]
            device.state = "access_denied" if deny else "approved"

    # --- for the API ---

    def caller(self, request: Request) -> Caller:
        """Who sent this. Raises 401: nothing sent, unknown, expired or revoked."""
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if not token or scheme.lower() != "bearer":
            raise ApiError("required")
        with self._lock:
            found = self._tables.access.get(token.strip())
            if found is None or found[0].revoked or self._clock.now() >= found[1]:
                raise ApiError("authError")
            return Caller(found[0].client_id, found[0].scopes)

    def handle(self, kind: str, request: Request) -> Response:
        """Answer `/auth`, `/token`, `/revoke` or `/device/code`."""
        form = dict(request.query)
        if request.body:
            form |= dict(urllib.parse.parse_qsl(request.body.decode("latin-1")))
        form |= _basic(request.headers.get("authorization", ""))
        try:
            with self._lock:
                match kind:
                    case "auth":
                        return self._auth(form)
                    case "revoke":
                        return self._revoke(form)
                    case "device":
                        return self._device(form)
                return self._token(form)
        except OAuthError as error:
            return error.response()

    def _auth(self, form: dict[str, str]) -> Response:
        redirect = form.get("redirect_uri", "")
        host = urllib.parse.urlsplit(redirect).hostname
        if form.get("client_id") not in self._tables.clients:
            raise OAuthError("invalid_client", "The OAuth client was not found.", 401)
        if host not in _LOOPBACK or form.get("response_type") != "code":
            raise OAuthError("invalid_request", "Only a loopback redirect is allowed.")
        scopes = frozenset(form.get("scope", "").split())
        answer = {"state": form["state"]} if "state" in form else {}
        if self._behaviour.consent == "deny":
            answer["error"] = "access_denied"
        elif not scopes or not scopes <= SCOPES:
            answer["error"] = "invalid_scope"
        else:
            code = "4/" + secrets.token_urlsafe(24)
            self._tables.codes[code] = _Code(
                form["client_id"],
                scopes,
                redirect,
                form.get("code_challenge"),
                form.get("code_challenge_method", "plain"),
            )
            answer |= {"code": code, "scope": " ".join(sorted(scopes))}
        join = "&" if "?" in redirect else "?"
        return Response(302, {"Location": redirect + join + urllib.parse.urlencode(answer)})

    def _token(self, form: dict[str, str]) -> Response:
        self._check_client(form)
        match form.get("grant_type"):
            case "refresh_token":
                return self._refresh(form)
            case "authorization_code":
                return self._redeem(form)
            case other if other == DEVICE_GRANT:
                return self._poll(form)
        raise OAuthError("unsupported_grant_type", f"Invalid grant_type: {form.get('grant_type')}")

    def _check_client(self, form: dict[str, str]) -> None:
        secret = self._tables.clients.get(form.get("client_id", ""))
        if secret is None or secret != form.get("client_secret"):
            raise OAuthError("invalid_client", "Unauthorized", 401)

    def _refresh(self, form: dict[str, str]) -> Response:
        grant = self._tables.grants.get(form.get("refresh_token", ""))
        if grant is None or grant.client_id != form["client_id"] or grant.revoked:
            raise OAuthError("invalid_grant", "Token has been expired or revoked.")
        lifetime = self._behaviour.refresh_lifetime
        if lifetime is not None and self._clock.now() - grant.since > lifetime:
            raise OAuthError("invalid_grant", "Token has been expired or revoked.")
        return self._tokens(grant, with_refresh=False)

    def _redeem(self, form: dict[str, str]) -> Response:
        # A code is good for one try.
        code = self._tables.codes.pop(form.get("code", ""), None)
        if code is None or code.client_id != form["client_id"]:
            raise OAuthError("invalid_grant", "Malformed auth code.")
        if code.redirect_uri != form.get("redirect_uri"):
            raise OAuthError("redirect_uri_mismatch", "Bad Request")
        if code.challenge is not None:
            verifier = form.get("code_verifier", "")
            if code.method == "S256":
                digest = hashlib.sha256(verifier.encode()).digest()
                verifier = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
            if verifier != code.challenge:
                raise OAuthError("invalid_grant", "Invalid code verifier.")
        return self._tokens(self._grant(code.client_id, code.scopes), with_refresh=True)

    def _device(self, form: dict[str, str]) -> Response:
        scopes = frozenset(form.get("scope", "").split())
        if form.get("client_id") not in self._tables.clients:
            raise OAuthError("invalid_client", "The OAuth client was not found.", 401)
        # The device flow allows drive.file and not the full scope (facts: Signing in).
        if not scopes or any(not scope.endswith("/drive.file") for scope in scopes):
            raise OAuthError("invalid_scope", "Invalid device flow scope.")
        device_code, user_code = secrets.token_urlsafe(24), secrets.token_hex(4).upper()
        self._tables.devices[device_code] = _Device(form["client_id"], scopes)
        self._tables.user_codes[user_code] = device_code
        return Response.json(
            {
                "device_code": device_code,
                "user_code": user_code,
                "verification_url": "https://www.google.com/device",
                "expires_in": 1800,
                "interval": 5,
            }
        )

    def _poll(self, form: dict[str, str]) -> Response:
        device = self._tables.devices.get(form.get("device_code", ""))
        if device is None or device.client_id != form["client_id"]:
            raise OAuthError("invalid_grant", "Malformed device code.")
        if device.state != "approved":
            pending = device.state == "authorization_pending"
            raise OAuthError(device.state, "Not approved.", 428 if pending else 403)
        return self._tokens(self._grant(device.client_id, device.scopes), with_refresh=True)

    def _revoke(self, form: dict[str, str]) -> Response:
        token = form.get("token", "")
        grant = self._tables.grants.get(token)
        if grant is None and token in self._tables.access:
            grant = self._tables.access[token][0]
        if grant is None or grant.revoked:
            raise OAuthError("invalid_token", "Token expired or revoked")
        grant.revoked = True
        return Response.json({})

    def _grant(self, client_id: str, scopes: frozenset[str]) -> Grant:
        refresh_token = "1//" + secrets.token_urlsafe(32)
        grant = Grant(client_id, scopes, refresh_token, self._clock.now())
        self._tables.grants[refresh_token] = grant
        return grant

    def _issue(self, grant: Grant, lifetime: float | None) -> str:
        token = "ya29." + secrets.token_urlsafe(32)
        life = self._behaviour.token_lifetime if lifetime is None else lifetime
        self._tables.access[token] = (grant, self._clock.now() + life)
        return token

    def _tokens(self, grant: Grant, *, with_refresh: bool) -> Response:
        body: dict[str, object] = {
            "access_token": self._issue(grant, None),
            "expires_in": int(self._behaviour.token_lifetime),
            "scope": " ".join(sorted(grant.scopes)),
            "token_type": "Bearer",
        }
        if with_refresh:
            body["refresh_token"] = grant.refresh_token
        return Response.json(body)
