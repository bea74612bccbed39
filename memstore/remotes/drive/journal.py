"""What must be known before Drive is asked, and can't be derived: `.memsync/drive-journal.*`.

An id is written here, durably, before the create that uses it is sent. If the answer is lost, or the process
dies, whoever comes next creates the same thing with the same id: Drive then says that the id is in use, and
nothing is made twice. Also here: which folder on Drive is ours, the folders below it, and open uploads.

One JSON object a line, appended under a lock that several processes share:

    {"ids": [ID…]}                          reserved by files.generateIds, not yet used
    {"take": ID, "for": KEY}                this id is for that thing, from now on
    {"done": KEY}                           it is there
    {"forget": KEY}                         it is there no more, or elsewhere: the key may be taken anew
    {"root": {"root": ID, "store": ID, "packs": ID, "heads": ID, "format": ID}}
    {"folder": PATH, "id": ID or null}      a folder of the mirror; null: forget it
    {"upload": KEY, "uri": URI, "size": N, "md5": HEX, "began": SECONDS}
    {"spent": true}                         the ids that are left are not to be used (they ran out)

A line that a crash tore is skipped. The file is readable by its owner only: an upload's URI lets anyone who
has it send that upload.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from memstore import files
from memstore.errors import StoreLocked

COMPACT_AT: Final = 1 << 20
"""Bytes; a journal that has grown past this is written anew with what still counts."""
LOCK_TIMEOUT: Final = 60.0
"""Seconds; the lock is held for one append, never while the network is used."""


@dataclass(frozen=True, slots=True, repr=False)
class Upload:
    """An upload session that was opened and not finished."""

    uri: str
    size: int
    md5: str
    began: float
    """Seconds since the epoch, by this machine's clock."""


class Journal:
    """Used by several threads and processes at once; each call sees what others appended before it."""

    def __init__(self, path: str, *, lock_timeout: float = LOCK_TIMEOUT) -> None:
        """Nothing is read or made before the first call; the folder of `path` must exist by then."""
        self.path = path
        self._lock_timeout = lock_timeout
        self._threads = threading.RLock()
        self._lock: Any = None
        self._identity = (0, 0)
        self._clear()

    def _clear(self) -> None:
        self._offset = 0
        self._ids: dict[str, None] = {}
        self._taken: dict[str, str] = {}
        self._settled: dict[str, str] = {}
        """What was made of late. Not needed, but a second process that makes the same thing finds it so."""
        self._root: dict[str, str] | None = None
        self._folders: dict[str, str] = {}
        self._uploads: dict[str, Upload] = {}

    # -- asking --------------------------------------------------------------------------------------------

    @property
    def root(self) -> dict[str, str] | None:
        """The ids of the remote's own folders, once it is known to be ours."""
        with self._fresh():
            return None if self._root is None else dict(self._root)

    def folder(self, path: str) -> str | None:
        """The id of a folder of the mirror, as far as it is known."""
        with self._fresh():
            return self._folders.get(path)

    def folders(self) -> dict[str, str]:
        with self._fresh():
            return dict(self._folders)

    def pending(self, key: str) -> str | None:
        """The id taken for `key` by a create that was not seen to end."""
        with self._fresh():
            return self._taken.get(key)

    def all_pending(self, prefix: str) -> list[str]:
        """The keys that begin so of creates that were not seen to end."""
        with self._fresh():
            return [key for key in self._taken if key.startswith(prefix)]

    def made(self, key: str) -> str | None:
        """The id of what was made for `key`, if that is still known here."""
        with self._fresh():
            return self._settled.get(key)

    def upload(self, key: str) -> Upload | None:
        with self._fresh():
            return self._uploads.get(key)

    # -- telling -------------------------------------------------------------------------------------------

    def take(self, key: str, reserve: Callable[[], list[str]]) -> str:
        """The id to create `key` with, durable before this returns: the one taken before, else one in hand,
        else one of those that `reserve` fetches."""
        while True:
            with self._appending() as append:
                known = self._taken.get(key) or self._settled.get(key)
                if known is not None:
                    return known
                if self._ids:
                    identity = next(iter(self._ids))
                    append({"take": identity, "for": key}, durable=True)
                    return identity
            ids = reserve()
            with self._appending() as append:
                append({"ids": ids})

    def done(self, key: str) -> None:
        """The create of `key` ended. Not made durable: if this line is lost, the id is found in use."""
        with self._appending() as append:
            if key in self._taken or key in self._uploads:
                append({"done": key})

    def landed(self, found: Mapping[str, str]) -> None:
        """These ids were seen on Drive under these keys: creates of theirs that were not seen to end did."""
        with self._fresh():
            keys = [key for key, identity in found.items() if self._taken.get(key) == identity]
        for key in keys:
            self.done(key)

    def ended(self, found: Mapping[str, str]) -> None:
        """Contents of these md5s lie there now: open uploads of them under these keys have ended unheard."""
        with self._fresh():
            keys = [key for key, row in self._uploads.items() if found.get(key) == row.md5]
        for key in keys:
            self.end_upload(key)

    def forget(self, key: str) -> None:
        """What `key` stood for is gone or elsewhere: the next create of it is another thing."""
        with self._appending() as append:
            if key in self._taken or key in self._settled or key in self._uploads:
                append({"forget": key})

    def refused(self, key: str) -> None:
        """The id taken for `key` is not to be used; nor, if it was fresh, those reserved with it."""
        with self._appending() as append:
            fresh = key not in self._settled
            append({"forget": key})
            if fresh:
                append({"spent": True}, durable=True)

    def set_root(self, ids: dict[str, str]) -> None:
        with self._appending() as append:
            append({"root": ids}, durable=True)

    def set_folder(self, path: str, identity: str | None) -> None:
        with self._appending() as append:
            if self._folders.get(path) != identity:
                append({"folder": path, "id": identity})

    def set_upload(self, key: str, upload: Upload) -> None:
        with self._appending() as append:
            append(
                {
                    "upload": key,
                    "uri": upload.uri,
                    "size": upload.size,
                    "md5": upload.md5,
                    "began": upload.began,
                },
                durable=True,
            )

    def end_upload(self, key: str) -> None:
        with self._appending() as append:
            if key in self._uploads:
                append({"ended": key})

    # -- the file ------------------------------------------------------------------------------------------

    @contextmanager
    def _fresh(self) -> Iterator[None]:
        with self._threads:
            self._read()
            yield

    @contextmanager
    def _appending(self) -> Iterator[Callable[..., None]]:
        """Under the lock of all processes, with everything read: a function that appends one row."""
        with self._threads, self._locked():
            self._read()
            if not files.exists(self.path):
                files.write_atomic(self.path, b"", private=True)
            yield self._append
            if self._offset > COMPACT_AT:
                self._compact()

    @contextmanager
    def _locked(self) -> Iterator[None]:
        import filelock

        if self._lock is None:
            self._lock = filelock.FileLock(self.path + ".lock", timeout=self._lock_timeout)
        try:
            self._lock.acquire()
        except filelock.Timeout:
            raise StoreLocked(
                f"another process holds {self.path}", hint="wait for the other push to end, and run it again"
            ) from None
        except OSError as error:
            raise files.disk_error(error, "could not lock", self.path) from error
        try:
            yield
        finally:
            self._lock.release()

    def _append(self, row: dict[str, Any], *, durable: bool = False) -> None:
        line = json.dumps(row, separators=(",", ":")).encode() + b"\n"
        with files.open_append(self.path) as file:
            end = file.seek(0, os.SEEK_END)
            if end > self._offset:
                line = b"\n" + line  # what a crash tore stays a line of its own
            files.write_all(file.fileno(), line, self.path)
            if durable:
                files.sync(file.fileno(), self.path)
        self._read()

    def _read(self) -> None:
        """Take in what was appended since the last look, by whomever; all of it if the file was replaced."""
        try:
            descriptor = files.open_read(self.path)
        except FileNotFoundError:
            self._clear()
            return
        except OSError as error:
            raise files.disk_error(error, "could not read", self.path) from error
        try:
            identity = files.identity(descriptor)
            size = os.fstat(descriptor).st_size
            if identity != self._identity or size < self._offset:
                self._clear()
                self._identity = identity
            if size == self._offset:
                return
            raw = files.read_at(descriptor, self._offset, size - self._offset)
        finally:
            os.close(descriptor)
        whole = raw[: raw.rfind(b"\n") + 1]
        for line in whole.splitlines():
            try:
                self._take_in(json.loads(line))
            except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
                continue  # torn, or of a newer memsync
        self._offset += len(whole)

    def _take_in(self, row: dict[str, Any]) -> None:  # noqa: PLR0912 - one branch for each kind of row
        if "ids" in row:
            self._ids.update(dict.fromkeys(row["ids"]))
        elif "take" in row:
            self._ids.pop(row["take"], None)
            self._taken[row["for"]] = row["take"]
        elif "done" in row:
            if row["done"] in self._taken:
                self._settled[row["done"]] = self._taken.pop(row["done"])
            self._uploads.pop(row["done"], None)
        elif "forget" in row:
            for table in (self._taken, self._settled, self._uploads):
                table.pop(row["forget"], None)
        elif "root" in row:
            self._root = dict(row["root"])
        elif "folder" in row:
            if row["id"] is None:
                self._folders.pop(row["folder"], None)
            else:
                self._folders[row["folder"]] = row["id"]
        elif "upload" in row:
            self._uploads[row["upload"]] = Upload(row["uri"], row["size"], row["md5"], row["began"])
        elif "ended" in row:
            self._uploads.pop(row["ended"], None)
        elif "spent" in row:
            self._ids.clear()

    def _compact(self) -> None:
        rows: list[dict[str, Any]] = []
        if self._root is not None:
            rows.append({"root": self._root})
        rows += [{"folder": path, "id": identity} for path, identity in self._folders.items()]
        rows += [{"take": identity, "for": key} for key, identity in self._taken.items()]
        rows += [
            {"upload": key, "uri": row.uri, "size": row.size, "md5": row.md5, "began": row.began}
            for key, row in self._uploads.items()
        ]
        if self._ids:
            rows.append({"ids": list(self._ids)})
        lines = b"".join(json.dumps(row, separators=(",", ":")).encode() + b"\n" for row in rows)
        if len(lines) < COMPACT_AT // 2:
            files.write_atomic(self.path, lines, private=True)
            self._read()
