"""One way to the Drive API: every request is built, paced, sent, counted and judged here.

google-api-python-client builds the requests (from its bundled description of Drive v3, with the server's
root URL put in) and httplib2 carries them. Each thread has a connection of its own, because httplib2 is not
thread-safe; a connection on which anything went wrong is thrown away.
"""

from __future__ import annotations

import http.client
import json
import logging
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, TypeVar
from urllib.parse import parse_qs, urlsplit

import google_auth_httplib2
import googleapiclient.discovery_cache
import httplib2
from google.auth.exceptions import GoogleAuthError, TransportError
from googleapiclient.discovery import build_from_document
from googleapiclient.errors import HttpError
from googleapiclient.http import build_http

from memstore.errors import RemoteTrouble
from memstore.remotes.drive.tokens import TokenCredentials
from memstore.remotes.drive.trouble import Answer, IdInUse, IdRefused, judge, lost
from memstore.remotes.limiter import Limiter
from memstore.remotes.retry import Retry, TryAgain

logging.getLogger("googleapiclient").addHandler(
    logging.NullHandler()
)  # else it warns on stderr of each refusal

T = TypeVar("T")

FIELDS: Final = "id,name,mimeType,size,md5Checksum,appProperties,parents,trashed,createdTime,modifiedTime"
"""What memsync asks of a file, in every answer."""
FOLDER_TYPE: Final = "application/vnd.google-apps.folder"
PAGE: Final = 1000
_BROKEN: Final = (httplib2.HttpLib2Error, http.client.HTTPException, TransportError, OSError)


class DriveApi:
    """Used by several threads at once. `service` builds requests; `call` and `send` carry them."""

    def __init__(
        self,
        root_url: str,
        credentials: TokenCredentials,
        retry: Retry,
        writes: Limiter,
        *,
        timeout: float = 60.0,
    ) -> None:
        """`writes` paces whatever changes something on Drive; `timeout` is seconds without an answer."""
        self.retry = retry
        self.credentials = credentials
        self._root_url = root_url
        self._writes = writes
        self._timeout = timeout
        self._lock = threading.Lock()
        self._local = threading.local()
        self._open: list[_Counting] = []
        self._service: Any = None
        self._resources: dict[str, Any] = {}
        self.requests = 0
        """Requests sent to Drive; those to the token server aside."""
        self.bytes_sent = 0
        """Bytes of file contents sent, those that were sent again included."""

    # -- building ------------------------------------------------------------------------------------------

    @property
    def files(self) -> Any:
        """The library's `files()` resource: its methods build requests."""
        return self._resource("files")

    @property
    def revisions(self) -> Any:
        return self._resource("revisions")

    @property
    def about(self) -> Any:
        return self._resource("about")

    def _resource(self, name: str) -> Any:
        # Kept, because the library makes all methods of a resource anew each time: 14 ms.
        if name not in self._resources:
            self._resources[name] = getattr(self._drive(), name)()
        return self._resources[name]

    def _drive(self) -> Any:
        with self._lock:
            if self._service is None:
                folder = Path(googleapiclient.discovery_cache.__file__).parent
                document = json.loads((folder / "documents" / "drive.v3.json").read_bytes())
                # Plain calls, uploads and batches all follow rootUrl; api_endpoint would leave two behind.
                document["rootUrl"] = self._root_url
                document.pop("mtlsRootUrl", None)
                self._service = build_from_document(document, http=build_http())
            return self._service

    # -- sending -------------------------------------------------------------------------------------------

    def call(
        self, doing: str, request: Any, *, write: bool = False, creating: bool = False
    ) -> dict[str, Any]:
        """The answer to a request that may simply be sent again. `doing` begins every error message.

        Raises what `judge` makes of a refusal: `RemoteTrouble`, `RemoteMissing`, `RemoteFull`, `NotLoggedIn`;
        and for a create with a pre-generated id (`creating`) `IdInUse` or `IdRefused`.
        """
        return self.retry.run(lambda: self.once(doing, request, write=write, creating=creating))

    def once(
        self, doing: str, request: Any, *, write: bool = False, creating: bool = False
    ) -> dict[str, Any]:
        """The same, tried once: trouble that may pass is raised as `TryAgain`."""

        def carry(connection: Any) -> Any:
            try:
                return request.execute(http=connection, num_retries=0)
            except HttpError as refusal:
                headers = {name.lower(): value for name, value in refusal.resp.items()}
                return Answer(int(refusal.resp.status), headers, bytes(refusal.content))

        answer = self._carried(doing, carry, write=write)
        if isinstance(answer, Answer):
            raise self._judged(answer, doing, write=write, creating=creating)
        if write:
            self._writes.worked()
        answer = answer if isinstance(answer, dict) else {}
        if not _has_ids(answer, request.uri):
            raise TryAgain(unreadable(doing))
        return answer

    def send(
        self,
        doing: str,
        method: str,
        uri: str,
        body: bytes | None,
        headers: Mapping[str, str],
        *,
        write: bool = False,
        creating: bool = False,
        also: tuple[int, ...] = (),
    ) -> Answer:
        """One try of a request spelt out. An answer that is neither 2xx nor in `also` is raised as judged."""

        def carry(connection: Any) -> Answer:
            response, content = connection.request(uri, method=method, body=body, headers=dict(headers))
            return Answer(int(response.status), dict(response), bytes(content))

        answer = self._carried(doing, carry, write=write)
        if not 200 <= answer.status < 300 and answer.status not in also:
            raise self._judged(answer, doing, write=write, creating=creating)
        if write:
            self._writes.worked()
        return answer

    def _carried(self, doing: str, carry: Callable[[Any], T], *, write: bool) -> T:
        if write:
            self._writes.wait()
        try:
            return carry(self._connection())
        except _BROKEN as error:
            self._drop_connection()
            raise lost(error, doing, skew=self.credentials.skew) from error
        except ValueError as error:
            # An answer of 200 whose body is no JSON: cut off, or from something between us and Drive.
            raise TryAgain(unreadable(doing)) from error
        except GoogleAuthError as error:
            kind = type(error).__name__
            raise RemoteTrouble(
                f"{doing}: signing in failed ({kind})", hint="run 'memsync login' again"
            ) from None

    def _judged(self, answer: Answer, doing: str, *, write: bool, creating: bool) -> Exception:
        if creating and answer.status == 409:
            return IdInUse()
        if creating and answer.status == 400:
            return IdRefused(judge(answer, doing))
        verdict = judge(answer, doing, skew=self.credentials.skew)
        if write and isinstance(verdict, TryAgain) and verdict.limited:
            self._writes.refused()
        return verdict

    def count(self, *, bytes_sent: int = 0, requests: int = 0) -> None:
        with self._lock:
            self.bytes_sent += bytes_sent
            self.requests += requests

    # -- connections ---------------------------------------------------------------------------------------

    def _connection(self) -> Any:
        connection = getattr(self._local, "connection", None)
        if connection is None:
            plain = build_http()  # not httplib2.Http(): that follows 308 as a redirect, and has no timeout
            plain.timeout = self._timeout
            counting = _Counting(plain, self)
            with self._lock:
                self._open.append(counting)
            # Refresh once: a token that is refused twice is refused.
            connection = google_auth_httplib2.AuthorizedHttp(
                self.credentials, http=counting, max_refresh_attempts=1
            )
            self._local.connection = connection
        return connection

    def _drop_connection(self) -> None:
        connection = getattr(self._local, "connection", None)
        if connection is not None:
            self._local.connection = None
            with self._lock:
                self._open.remove(connection.http)
            connection.http.close()

    def transport(self) -> Any:
        """google-auth's transport callable on this thread's connection, for the token server."""
        self._connection()
        return google_auth_httplib2.Request(self._local.connection.http)

    def close(self) -> None:
        """Close the connections of all threads."""
        with self._lock:
            connections, self._open = self._open, []
        for connection in connections:
            connection.close()
        self._local = threading.local()


def unreadable(doing: str) -> RemoteTrouble:
    """The error for an answer that is not what Drive sends."""
    return RemoteTrouble(f"{doing}: the answer can't be read", hint="run the command again")


def _has_ids(answer: Mapping[str, Any], uri: str) -> bool:
    """Whether each file that an answer describes has the id that was asked for: everything goes by it."""
    asked = parse_qs(urlsplit(uri).query).get("fields", [""])[0]
    if asked.partition(",")[0] == "id":
        return has_id(answer)
    rows = answer.get("files", []) if "files(id," in asked else []
    return isinstance(rows, list) and all(has_id(row) for row in rows)


def has_id(row: object) -> bool:
    return isinstance(row, dict) and isinstance(row.get("id"), str) and bool(row["id"])


class _Counting:
    """A connection that counts what goes to Drive, and reads the server's clock off its answers."""

    def __init__(self, plain: Any, api: DriveApi) -> None:
        self._plain = plain
        self._api = api

    def request(self, uri: str, *arguments: Any, **more: Any) -> Any:
        if uri != self._api.credentials.token_uri:
            self._api.count(requests=1)
        response, content = self._plain.request(uri, *arguments, **more)
        if "date" in response:
            self._api.credentials.skew = _skew(response["date"])
        return response, content

    def close(self) -> None:
        self._plain.close()


def _skew(date: str) -> float:
    """Seconds that this machine's clock is ahead of an HTTP date; 0 for one that can't be read."""
    from email.utils import parsedate_to_datetime

    try:
        return time.time() - parsedate_to_datetime(date).timestamp()
    except (ValueError, TypeError):
        return 0.0
