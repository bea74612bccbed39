"""Signing in to Google Drive, and out again.

The user brings an OAuth client of their own (docs/google-drive.md): one shared by all users of a tool gets
blocked or priced out. On this machine the browser's redirect comes back to a listener on loopback; from
another machine the person pastes the address that the browser ended at.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from memstore import files
from memstore.errors import BadInput, MemsyncError, NotLoggedIn
from memstore.remotes.drive.tokens import (
    GOOGLE_TOKEN_URI,
    SCOPES,
    Token,
    json_object,
    load_token,
    post_form,
    save_token,
)

if TYPE_CHECKING:
    from memstore.workspace import Workspace

PATIENCE: Final = 600.0
"""Seconds that a person has to answer Google's questions in the browser."""
_GUIDE: Final = (
    'make one of type "Desktop app" at https://console.cloud.google.com/auth/clients and save its JSON file there '
    "(docs/google-drive.md has every step)"
)
_PASTED_PORT: Final = 1
"""In the address to paste nobody listens: the browser shows an error, and its address bar the answer."""


@dataclass(frozen=True, slots=True)
class _Received:
    """What the browser brought back."""

    url: str


def login(
    workspace: Workspace,
    *,
    open_browser: bool = True,
    scope: str = "drive.file",
    say: Callable[[str], None],
    ask: Callable[[str], str],
) -> str:
    """Sign in, and write the token file; its path.

    With `open_browser` the answer comes to a listener on this machine; without, `ask` is called for the
    address that the browser ended at, on whatever machine it runs. `say` shows a sentence.

    Raises `NotLoggedIn` (no OAuth client file, consent denied), `BadInput` (a file that is none).
    """
    if scope not in SCOPES:
        raise BadInput(
            f"no scope is called {scope!r}", hint="--scope drive.file (the default) or --scope drive"
        )
    client = load_client(workspace.credentials_path)
    with _loopback_tokens(client["installed"]["token_uri"]):
        from google_auth_oauthlib.flow import InstalledAppFlow

        flow = InstalledAppFlow.from_client_config(client, [SCOPES[scope]], autogenerate_code_verifier=True)
        received = _by_listener(flow, say) if open_browser else _by_pasting(flow, say, ask)
        token = _redeemed(flow, received, SCOPES[scope])
    files.make_dir(os.path.dirname(workspace.token_path))
    save_token(workspace.token_path, token)
    return workspace.token_path


def logout(workspace: Workspace) -> bool:
    """Have the token revoked and delete its file; whether Google took note. Not being logged in is fine."""
    path = workspace.token_path
    revoked = False
    try:
        token = load_token(path)
    except NotLoggedIn:
        token = None
    if token is not None:
        import google_auth_httplib2
        from googleapiclient.http import build_http

        from memstore.remotes.retry import TryAgain

        # A token that can't be revoked now (no network) is deleted all the same, and the caller told.
        with contextlib.suppress(TryAgain):
            request = google_auth_httplib2.Request(build_http())
            status, _ = post_form(request, _revoke_uri(token.token_uri), {"token": token.refresh})
            revoked = status == 200
    files.remove(path)
    return revoked


# -- the OAuth client --------------------------------------------------------------------------------------


def load_client(path: str) -> dict[str, dict[str, Any]]:
    """The user's OAuth client, in the form that Google's console lets one download.

    Raises `NotLoggedIn` without a file, `BadInput` for a file that is something else, and says what.
    """
    try:
        raw = files.read(path)
    except FileNotFoundError:
        raise NotLoggedIn(
            f"there is no OAuth client file at {path}", hint=_GUIDE, code="credentials_missing"
        ) from None
    document = json_object(raw)
    installed = document.get("installed")
    if isinstance(installed, dict) and all(isinstance(installed.get(key), str) for key in _NEEDED):
        installed = {"token_uri": GOOGLE_TOKEN_URI, **installed}
        installed.setdefault("auth_uri", "https://accounts.google.com/o/oauth2/auth")
        return {"installed": installed}
    what = "no OAuth client file"
    if "web" in document:
        what = 'the OAuth client of a web application; memsync needs one of type "Desktop app"'
    elif document.get("type") == "service_account":
        what = 'the key of a service account, which owns no storage; memsync needs a "Desktop app" client'
    elif "refresh_token" in document:
        what = "a token, not an OAuth client"
    raise BadInput(f"{path} is {what}", hint=_GUIDE, code="credentials_wrong")


_NEEDED: Final = ("client_id", "client_secret")


@contextlib.contextmanager
def _loopback_tokens(token_uri: str) -> Iterator[None]:
    """Let oauthlib talk to a token server on this machine without TLS, and to no other."""
    from urllib.parse import urlsplit

    parts = urlsplit(token_uri)
    if parts.scheme == "https":
        yield
        return
    if parts.hostname not in ("127.0.0.1", "localhost", "::1"):
        raise BadInput(f"the OAuth client names a token server without TLS: {parts.hostname}", hint=_GUIDE)
    name = "OAUTHLIB_INSECURE_TRANSPORT"
    before = os.environ.get(name)
    os.environ[name] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


# -- the browser -------------------------------------------------------------------------------------------


def _authorization_url(flow: Any) -> str:
    # "consent" each time: without it Google gives a refresh token only once.
    url, _ = flow.authorization_url(access_type="offline", prompt="consent")
    return str(url)


def _by_listener(flow: Any, say: Callable[[str], None]) -> _Received:
    import threading
    import webbrowser
    from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
    from time import monotonic

    got: list[str] = []

    class Receiver(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            wanted = "code=" in self.path or "error=" in self.path
            self.send_response(200 if wanted else 404)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.end_headers()
            self.wfile.write(b"<p>memsync has its answer. You may close this window.</p>" if wanted else b"")
            if wanted:
                got.append(self.path)

        def log_message(self, *_: object) -> None:
            """The address holds a code: it is not for a log."""

    # Threads: a browser opens connections that it then does not use, and none of them may hold up the answer.
    with ThreadingHTTPServer(("127.0.0.1", 0), Receiver) as server:
        server.timeout = 0.5
        flow.redirect_uri = f"http://127.0.0.1:{server.server_port}/"
        url = _authorization_url(flow)
        say(f"Opening your browser. If none appears, open this address on this machine:\n\n  {url}\n")
        # Beside this: a browser of the terminal does not come back before the person leaves it.
        threading.Thread(target=webbrowser.open, args=(url,), daemon=True).start()
        deadline = monotonic() + PATIENCE
        while not got:
            server.handle_request()
            if monotonic() > deadline:
                raise NotLoggedIn("nobody answered in the browser", hint="run 'memsync login' again")
    return _Received(flow.redirect_uri.rstrip("/") + got[0])


def _by_pasting(flow: Any, say: Callable[[str], None], ask: Callable[[str], str]) -> _Received:
    flow.redirect_uri = f"http://127.0.0.1:{_PASTED_PORT}/"
    say(
        "Open this address in a browser on any machine, and allow what it asks:\n\n"
        f"  {_authorization_url(flow)}\n\n"
        "The browser then fails to open a page at 127.0.0.1: that is as it should be. "
        "Copy the address of that page from its address bar."
    )
    answer = ask("The address the browser ended at").strip()
    if "://" not in answer:
        answer = flow.redirect_uri + "?" + answer.removeprefix("?")
    return _Received(answer)


def _redeemed(flow: Any, received: _Received, scope: str) -> Token:
    """The token for what the browser brought back."""
    from urllib.parse import parse_qs, urlsplit

    answer = {name: values[0] for name, values in parse_qs(urlsplit(received.url).query).items()}
    if "error" in answer:
        raise NotLoggedIn(
            f"Google says: {answer['error'][:60]}",
            hint="run 'memsync login' again and allow access (the account must be a test user of your Cloud "
            "project, or the project published: docs/google-drive.md)",
            code="consent_denied",
        )
    if "code" not in answer:
        raise BadInput(
            "that address holds no code from Google",
            hint="run 'memsync login' again and copy the whole address, from http://127.0.0.1 to its end",
        )
    # oauthlib wants to see TLS; a redirect to one's own machine has none and needs none.
    secure = received.url.replace("http://", "https://", 1)
    try:
        flow.fetch_token(authorization_response=secure)
    except Warning as warning:  # oauthlib's form of "the scope has changed"
        raise NotLoggedIn(
            "the permission for Google Drive was not given",
            hint="run 'memsync login' again and leave its box ticked",
            code="consent_denied",
        ) from warning
    except Exception as error:
        raise _login_failed(error) from None
    credentials = flow.credentials
    granted = getattr(credentials, "granted_scopes", None) or [scope]
    if scope not in granted or not credentials.refresh_token:
        raise NotLoggedIn(
            "Google gave no lasting permission for Drive",
            hint="run 'memsync login' again and allow what it asks",
            code="consent_denied",
        )
    expiry = credentials.expiry
    return Token(
        access=credentials.token,
        refresh=credentials.refresh_token,
        token_uri=credentials.token_uri,
        client_id=credentials.client_id,
        client_secret=credentials.client_secret,
        scopes=tuple(granted),
        expiry=expiry if isinstance(expiry, datetime) else None,
    )


def _login_failed(error: Exception) -> MemsyncError:
    """What the library raised, without what it may carry: codes and secrets stay out of messages."""
    word = getattr(error, "error", "")
    word = word if isinstance(word, str) and word.replace("_", "").isalnum() else type(error).__name__
    mends: Mapping[str, str] = {
        "invalid_client": "download credentials.json again: its secret is not the one that Google knows",
        "invalid_grant": "the code was used already or too old: run 'memsync login' again",
        "mismatching_state": "that address is from another try: run 'memsync login' again, use the new one",
        "redirect_uri_mismatch": 'the OAuth client must be of type "Desktop app"',
    }
    return NotLoggedIn(
        f"signing in failed ({word})",
        hint=mends.get(word, "check the network and this machine's clock, and run 'memsync login' again"),
        code="login_failed",
    )


def _revoke_uri(token_uri: str) -> str:
    from urllib.parse import urljoin, urlsplit

    host = urlsplit(token_uri).hostname or ""
    if host.endswith((".google.com", ".googleapis.com")):
        return "https://oauth2.googleapis.com/revoke"
    return urljoin(token_uri, "revoke")
