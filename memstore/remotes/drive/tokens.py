"""The Drive token: its file, and how it is refreshed.

The token file is what a consent left behind (`auth.login`), mode 0600, replaced as a whole. Several processes
and threads share it: whoever finds the access token stale takes the lock beside the file, reads it again, and
asks for a new one only if nobody else has. No message, log or exception here carries a token or a secret.
"""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from google.oauth2.credentials import Credentials

from memstore import files
from memstore.errors import DiskTrouble, NotLoggedIn, RemoteTrouble
from memstore.remotes.drive.trouble import TRANSIENT, clock_hint
from memstore.remotes.retry import TryAgain

SCOPES: Final[Mapping[str, str]] = {
    "drive.file": "https://www.googleapis.com/auth/drive.file",
    "drive": "https://www.googleapis.com/auth/drive",
}
GOOGLE_TOKEN_URI: Final = "https://oauth2.googleapis.com/token"
LOCK_TIMEOUT: Final = 60.0
"""Seconds to wait for another process that refreshes; a refresh is one short request."""
_LARGEST_FILE: Final = 1 << 20
_TESTING: Final = (
    "run 'memsync login' again; if this comes back every seven days, the OAuth consent screen is still in "
    '"Testing": publish it (docs/google-drive.md, step 3)'
)


@dataclass(frozen=True, slots=True, repr=False)
class Token:
    """What a consent left behind."""

    access: str | None
    refresh: str
    token_uri: str
    client_id: str
    client_secret: str
    scopes: tuple[str, ...]
    expiry: datetime | None = None
    """UTC without a zone, as google-auth wants it."""

    def __repr__(self) -> str:
        return f"Token(of {self.client_id[:12]}…)"

    def as_json(self) -> bytes:
        """The form that google-auth calls an authorized user."""
        document = {
            "type": "authorized_user",
            "token": self.access,
            "refresh_token": self.refresh,
            "token_uri": self.token_uri,
            "client_id": self.client_id,
            "client_secret": self.client_secret,
            "scopes": list(self.scopes),
            "expiry": None if self.expiry is None else self.expiry.isoformat() + "Z",
        }
        return (json.dumps(document, indent=2) + "\n").encode()


def load_token(path: str) -> Token:
    """The token at `path`; PyDrive2's and oauth2client's form is understood too.

    Raises `NotLoggedIn`: code `token_missing` without a file, `token_broken` for one that is no token.
    """
    try:
        raw = files.read(path)
    except FileNotFoundError:
        raise NotLoggedIn(
            "Drive token missing",
            hint=f"run 'memsync login' in that workspace (after 'memsync init' if it is new); it writes {path}",
            code="token_missing",
        ) from None
    document = json_object(raw)
    if document.get("type") == "service_account":
        raise NotLoggedIn(
            f"{path} is the key of a service account, which owns no storage on Drive",
            hint="move it away and run 'memsync login' as a person",
            code="token_broken",
        )
    if "_module" in document or "_class" in document:
        document = {**document, "token": document.get("access_token"), "expiry": document.get("token_expiry")}
    try:
        return Token(
            access=_text(document, "token", None),
            refresh=_text(document, "refresh_token"),
            token_uri=_text(document, "token_uri", GOOGLE_TOKEN_URI),
            client_id=_text(document, "client_id"),
            client_secret=_text(document, "client_secret"),
            scopes=_scopes(document.get("scopes") or SCOPES["drive.file"]),
            expiry=_time(document.get("expiry")),
        )
    except ValueError as error:
        raise NotLoggedIn(
            f"{path} is no Drive token: {error}",
            hint="move it away and run 'memsync login'",
            code="token_broken",
        ) from None


def save_token(path: str, token: Token) -> None:
    """Replace the token file as a whole, readable by its owner only. Raises `DiskTrouble`."""
    files.write_atomic(path, token.as_json(), private=True)


def json_object(raw: bytes) -> dict[str, Any]:
    try:
        document = json.loads(raw) if len(raw) <= _LARGEST_FILE else None
    except (ValueError, RecursionError):
        document = None
    return document if isinstance(document, dict) else {}


def _text(document: Mapping[str, Any], name: str, default: str | None = "") -> Any:
    value = document.get(name) or default
    if value == "" or not (value is None or isinstance(value, str)):
        raise ValueError(f"it has no {name}")
    return value


def _scopes(value: object) -> tuple[str, ...]:
    if isinstance(value, str):
        return tuple(value.split())
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return tuple(value)
    raise ValueError("its scopes are no list of texts")


def _time(value: object) -> datetime | None:
    if not isinstance(value, str):
        return None
    try:
        moment = datetime.fromisoformat(value)
        return moment.astimezone(UTC).replace(tzinfo=None) if moment.tzinfo else moment
    except (ValueError, OverflowError):
        return None  # of no use, so the token counts as stale


class TokenCredentials(Credentials):
    """google-auth's credentials, with a refresh that shares the token file with other processes."""

    def __init__(self, path: str) -> None:
        token = load_token(path)
        super().__init__(  # type: ignore[no-untyped-call]
            token=token.access,
            refresh_token=token.refresh,
            token_uri=token.token_uri,
            client_id=token.client_id,
            client_secret=token.client_secret,
            scopes=token.scopes,
            expiry=token.expiry if token.access else datetime(2000, 1, 1),
        )
        self.skew = 0.0
        """Seconds that this machine's clock is ahead of the server's, as far as answers told."""
        self._path = path
        self._threads = threading.RLock()
        self._applied = threading.local()

    def apply(self, headers: dict[str, str], token: str | None = None) -> None:
        with self._threads:
            self._applied.token = self.token
            super().apply(headers, token)  # type: ignore[no-untyped-call]

    def refresh(self, request: Any) -> None:
        """A new access token: from the file if somebody refreshed meanwhile, else from the token server.

        `request` is google-auth's transport callable. Raises `NotLoggedIn` (`invalid_grant`, a wrong
        client), or `TryAgain` for trouble that may pass.
        """
        with self._threads:
            if self.token and self.token != getattr(self._applied, "token", None) and self.valid:
                return  # another thread was quicker
            with _locked(self._path):
                current = self._reread()
                if current is not None and current.access and current.access != self.token:
                    self._adopt(current)
                    if self.valid:
                        return
                fresh = _ask_for_token(request, current or self._as_token(), self.skew)
                self._adopt(fresh)
                with contextlib.suppress(DiskTrouble):
                    # A token that can't be kept serves this process all the same.
                    save_token(self._path, fresh)

    def _reread(self) -> Token | None:
        try:
            return load_token(self._path)
        except NotLoggedIn:
            return None  # logged out meanwhile; the server will say whether this token still counts

    def _as_token(self) -> Token:
        return Token(
            self.token, self.refresh_token, self.token_uri, self.client_id, self.client_secret,
            tuple(self.scopes or ()), self.expiry,
        )  # fmt: skip

    def _adopt(self, token: Token) -> None:
        self.token = token.access
        self.expiry = token.expiry
        self._refresh_token = token.refresh
        self._token_uri = token.token_uri
        self._client_id = token.client_id
        self._client_secret = token.client_secret


@contextlib.contextmanager
def _locked(path: str) -> Iterator[None]:
    """Held by one process at a time; where no lock can be made, several may refresh, which does no harm."""
    import filelock

    lock = filelock.FileLock(path + ".lock", timeout=LOCK_TIMEOUT)
    try:
        lock.acquire()
    except filelock.Timeout:
        raise TryAgain(
            RemoteTrouble("another process is refreshing the Drive login", hint="run the command again")
        ) from None
    except OSError:
        yield
        return
    try:
        yield
    finally:
        lock.release()


def _ask_for_token(request: Any, token: Token, skew: float) -> Token:
    """One refresh at the token server (RFC 6749, section 6)."""
    status, answer = post_form(
        request,
        token.token_uri,
        {
            "grant_type": "refresh_token",
            "refresh_token": token.refresh,
            "client_id": token.client_id,
            "client_secret": token.client_secret,
        },
    )
    access, seconds = answer.get("access_token"), answer.get("expires_in")
    if status == 200 and isinstance(access, str) and access:
        life = float(seconds) if isinstance(seconds, int | float) else 3600.0
        renewed = answer.get("refresh_token")
        return replace(
            token,
            access=access,
            refresh=renewed if isinstance(renewed, str) and renewed else token.refresh,
            expiry=datetime.now(UTC).replace(tzinfo=None) + timedelta(seconds=life),
        )
    said = answer.get("error")
    word = said if isinstance(said, str) else ""
    if word == "invalid_grant":
        raise NotLoggedIn(
            "the Drive login has expired or was revoked",
            hint=_TESTING + clock_hint(skew),
            code="login_expired",
        )
    if word in ("invalid_client", "unauthorized_client"):
        raise NotLoggedIn(
            "Google does not know the OAuth client of this Drive login (deleted, or its secret was changed)",
            hint="download credentials.json again and run 'memsync login'",
            code="client_refused",
        )
    message = f"the token server answered {status}" + (f" ({word})" if word else "")
    trouble = RemoteTrouble(message, hint="run the command again")
    if status in TRANSIENT or status in (200, 429):
        raise TryAgain(trouble, limited=status == 429)
    raise NotLoggedIn(message, hint="run 'memsync login' again")


def post_form(request: Any, uri: str, form: Mapping[str, str]) -> tuple[int, dict[str, Any]]:
    """POST a form through google-auth's transport callable: the status, and the JSON object answered.

    Raises `TryAgain` where no answer came.
    """
    from urllib.parse import urlencode

    from google.auth.exceptions import TransportError

    try:
        answer = request(
            url=uri,
            method="POST",
            headers={"Content-Type": "application/x-www-form-urlencoded"},
            body=urlencode(form).encode(),
        )
    except (TransportError, OSError) as error:
        kind = type(error.__cause__ or error).__name__
        raise TryAgain(
            RemoteTrouble(
                f"no answer from the token server ({kind})",
                hint="check the network and run the command again",
            )
        ) from None
    return int(answer.status), json_object(bytes(answer.data))
