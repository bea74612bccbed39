"""`DriveEmulator`: the server and all its levers in one object, for tests in one process."""

from __future__ import annotations

import threading
from collections import Counter
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from . import tokens as token_files
from . import tree as trees
from .api import Api
from .behaviour import Behaviour
from .clock import Clock
from .control import Control, all_files
from .drive import Drive
from .faults import Faults, Hook, Rule, parse
from .items import PERSON, SCOPE_FILE, Role
from .log import RequestLog
from .oauth import Grant, TokenServer
from .person import Person
from .server import Core, Listener, RetryWatch
from .tokens import CLIENT_ID, CLIENT_SECRET

STOP_WITHIN = 5.0


class DriveEmulator:
    """A Google Drive on loopback. A context manager; or `start()` and `stop()`.

    `port` 0 takes a free one. `seed` decides the ids handed out. All of `behaviour`, `clock`,
    `person`, `drive`, `tokens`, `faults` and `log` may be used while the server runs.
    """

    def __init__(self, *, port: int = 0, behaviour: Behaviour | None = None, seed: int = 0) -> None:
        self.behaviour = behaviour or Behaviour()
        self.clock = Clock()
        self.log = RequestLog()
        self.faults = Faults()
        self.drive = Drive(self.behaviour, self.clock, seed)
        self.person = Person(self.drive)
        self.tokens = TokenServer(self.behaviour, self.clock)
        self.tokens.register(CLIENT_ID, CLIENT_SECRET)
        self.api = Api(self.drive, self.tokens, self.log, lambda: self.url)
        self.asked_to_stop = threading.Event()
        core = Core(
            self.api,
            self.tokens,
            self.faults,
            self.log,
            self.behaviour,
            RetryWatch(self.clock.now, self.log.violation),
            Control(self, self.asked_to_stop.set),
            self.clock.now,
        )
        self._listener = Listener(port, core)
        self._thread: threading.Thread | None = None
        self.port: int = self._listener.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}/"
        """The root URL, slash included: what `rootUrl` and MEMSYNC_DRIVE_ROOT_URL become."""

    def start(self) -> Self:
        serve = self._listener.serve_forever
        self._thread = threading.Thread(target=serve, args=(0.02,), daemon=True)
        self._thread.start()
        return self

    def stop(self) -> None:
        """End the server and every connection, hanging ones too; bounded, and repeatable."""
        if self._thread is not None:
            self._listener.core.stopping.set()
            self._listener.shutdown()
            self._thread.join(STOP_WITHIN)
            self._thread = None
        self._listener.server_close()
        self._listener.close_all(STOP_WITHIN)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    # --- faults ---

    def fault(self, rule: str, *, hook: Hook | None = None) -> Rule:
        """Put a rule in force (grammar: `faults.py`). `hook` is called where the rule strikes:
        with `at=before` before the effect, with `at=after` after it and before the answer. One
        that raises drops the connection and is listed in `violations`."""
        return self.faults.add(parse(rule, hook=hook))

    def clear_faults(self) -> None:
        self.faults.clear()

    # --- what was seen ---

    @property
    def requests(self) -> int:
        """HTTP requests to Drive, signing in left out; a batch counts as one."""
        return self.log.requests

    def count(self, kind: str = "any") -> int:
        """Calls of a kind, tag or pattern (`files.*`); those inside batches included."""
        return self.log.count(kind)

    def counts(self) -> Counter[str]:
        return self.log.counts()

    @property
    def units(self) -> int:
        return self.log.units

    @property
    def bytes_in(self) -> int:
        return self.log.bytes_in

    @property
    def bytes_out(self) -> int:
        return self.log.bytes_out

    @property
    def violations(self) -> list[str]:
        """Breaches of the protocol: what Drive may let pass and a sound client never does."""
        return self.log.violations

    def reset_counts(self) -> None:
        self.log.reset()

    # --- what is there ---

    def tree(self, root: str = "root") -> dict[str, bytes]:
        """Path to bytes, trash left out; of twins each has `#ID` after its path."""
        with self.drive.lock:
            return trees.contents(self.drive, root)

    def entries(self, root: str = "root") -> list[trees.Entry]:
        """(path, id, md5, trashed, size, is_folder) of everything below, twins side by side."""
        with self.drive.lock:
            return trees.entries(self.drive, root)

    def files(self) -> list[dict[str, Any]]:
        """Every item as a whole File resource, trash included, in the order of creation."""
        return all_files(self)

    def read(self, file_id: str) -> bytes:
        """The bytes of a file."""
        with self.drive.lock:
            content = self.drive.get(PERSON, file_id, all_drives=True).content
        if content is None:
            raise ValueError(f"{file_id} holds no bytes")
        return content.data

    def add_shared_drive(self, name: str, role: Role = "organizer") -> str:
        """A shared drive, on which the account has that role; its id is also that of its root folder."""
        with self.drive.lock:
            return self.drive.add_shared_drive(name, role).id

    # --- time and sign-in ---

    def advance(self, seconds: float) -> None:
        """Let time pass: tokens, sessions, ids, buckets age; the trash empties itself."""
        self.clock.advance(seconds)
        with self.drive.lock:
            self.drive.empty_trash(PERSON, self.behaviour.trash_lifetime)

    def expire_tokens(self) -> None:
        """401 for every access token handed out so far; a refresh mends it."""
        self.tokens.expire_access()

    def revoke_tokens(self) -> None:
        """As if access was removed: 401, then `invalid_grant`."""
        self.tokens.revoke_all()

    def expire_sessions(self) -> None:
        """Every open upload session is gone."""
        self.api.sessions.expire()

    def sign_in(self, scope: str = SCOPE_FILE, client_id: str = CLIENT_ID) -> Grant:
        """A grant for that client id, as a finished consent leaves it."""
        self.tokens.register(client_id, CLIENT_SECRET)
        return self.tokens.grant(client_id, frozenset(scope.split()))

    def token_info(
        self,
        scope: str = SCOPE_FILE,
        client_id: str = CLIENT_ID,
        *,
        lifetime: float | None = None,
    ) -> dict[str, Any]:
        """An authorized-user token, signed in and good for `lifetime` seconds."""
        grant = self.sign_in(scope, client_id)
        life = self.behaviour.token_lifetime if lifetime is None else lifetime
        access = self.tokens.issue(grant, life)
        return token_files.authorized_user(self.url, grant, CLIENT_SECRET, access, life)

    def write_token(self, path: Path, scope: str = SCOPE_FILE, client_id: str = CLIENT_ID) -> Path:
        """A token file as a login leaves it; returns `path`."""
        return token_files.write(path, self.token_info(scope, client_id))

    def write_legacy_token(self, path: Path, scope: str = SCOPE_FILE, client_id: str = CLIENT_ID) -> Path:
        """The token file of PyDrive2/oauth2client."""
        grant = self.sign_in(scope, client_id)
        life = self.behaviour.token_lifetime
        access = self.tokens.issue(grant, life)
        value = token_files.legacy(self.url, grant, CLIENT_SECRET, access, life)
        return token_files.write(path, value)

    def write_credentials(self, path: Path, client_id: str = CLIENT_ID) -> Path:
        """The user's own `credentials.json`, pointing to this server."""
        self.tokens.register(client_id, CLIENT_SECRET)
        value = token_files.client_secrets(self.url, client_id, CLIENT_SECRET)
        return token_files.write(path, value)
