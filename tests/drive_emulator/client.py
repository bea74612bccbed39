"""The real client library, pointed at the emulator.

Not part of the server (which is standard library only) and imported only where it is used.
`rootUrl` of the bundled document is replaced, because plain calls, uploads and batches all
follow it; `client_options.api_endpoint` would leave two of the three behind.
"""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any


def document(url: str) -> dict[str, Any]:
    """The bundled discovery document of Drive v3 with `rootUrl` replaced."""
    cache = importlib.import_module("googleapiclient.discovery_cache")
    path = Path(str(cache.__file__)).parent / "documents" / "drive.v3.json"
    value: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    value["rootUrl"] = url
    return value


def credentials(info: dict[str, Any]) -> Any:
    """google-auth credentials of a token file; keeps `token_uri`, which the library drops."""
    module = importlib.import_module("google.oauth2.credentials")
    return module.Credentials(
        token=info["token"],
        refresh_token=info["refresh_token"],
        token_uri=info["token_uri"],
        client_id=info["client_id"],
        client_secret=info["client_secret"],
        scopes=info["scopes"],
    )


def authorized_http(info: dict[str, Any]) -> Any:
    """One `AuthorizedHttp`; httplib2 is not thread-safe, so take one for each thread."""
    http = importlib.import_module("googleapiclient.http").build_http()
    return importlib.import_module("google_auth_httplib2").AuthorizedHttp(credentials(info), http=http)


def service(url: str, info: dict[str, Any]) -> Any:
    """A `drive` resource of the client library that talks to the emulator."""
    discovery = importlib.import_module("googleapiclient.discovery")
    return discovery.build_from_document(document(url), http=authorized_http(info))
