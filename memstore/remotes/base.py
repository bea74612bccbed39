"""What memsync asks of a remote, and what a remote promises.

A remote is two things. `Remote` is the store's half: immutable files in a hidden folder, named by the
library (`format`, `packs/<pack id>`, `heads/<version id>`, see docs/format.md). `MirrorTarget` is the half
that people read: the files of `Data/` under their own names. Remotes know nothing of versions or manifests.

Promises every implementation keeps, and the contract suite holds them to:

- `create` is idempotent: after an unclear answer it may be called again with the same name and bytes, and
  leaves one file. When it returns, the bytes are durable, were checked on the far side against the
  caller's size and md5, and `read` finds them. It never replaces a file of the same name and other bytes.
- `read` returns exactly the bytes stored, or raises.
- `list` may lag behind creates (not behind this object's own), and may name a file twice.
- Nothing here needs a lock: names are fresh or agreed, deletes are of what is superseded.
- Trouble is raised as `RemoteTrouble` (try again), `NotLoggedIn` (a person must act), `RemoteMissing`.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from memstore import files
from memstore.errors import BadInput, DamagedData

SMALL_AT_MOST: Final = 4 << 20
"""Bytes of a file of the store's half that is no pack: the marker of a collection of 60,000 packs."""
FETCHED_AT_MOST: Final = 256 << 20
"""Bytes of a file of the mirror that are read back: it is held whole, and a person may put anything there."""
TOO_LARGE: Final = "too_large"
"""The code of an error for a file of the mirror that is not read back."""

_STORE_NAME = re.compile(r"format|(packs|heads)/[0-9a-z-]{1,128}")


class Source(Protocol):
    """Bytes to send: a known length and positioned reads, so that a send can resume anywhere."""

    @property
    def size(self) -> int: ...

    def read_at(self, offset: int, length: int) -> bytes:
        """Exactly `length` bytes from `offset` (both inside `size`)."""

    def md5(self) -> str:
        """Hex digits of the MD5 of all bytes: what Drive can compare."""


@dataclass(frozen=True, slots=True)
class BytesSource:
    """A source held in memory, for small things."""

    data: bytes

    @property
    def size(self) -> int:
        return len(self.data)

    def read_at(self, offset: int, length: int) -> bytes:
        return self.data[offset : offset + length]

    def md5(self) -> str:
        return hashlib.md5(self.data, usedforsecurity=False).hexdigest()


class FileSource:
    """A source that is a file on disk which does not change while it is sent (a pack)."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.size = os.stat(path).st_size
        self._md5: str | None = None

    def read_at(self, offset: int, length: int) -> bytes:
        descriptor = files.open_read(self.path)
        try:
            return files.read_at(descriptor, offset, length)
        finally:
            os.close(descriptor)

    def md5(self) -> str:
        if self._md5 is None:
            digest = hashlib.md5(usedforsecurity=False)
            for offset in range(0, self.size, 1 << 20):
                digest.update(self.read_at(offset, min(1 << 20, self.size - offset)))
            self._md5 = digest.hexdigest()
        return self._md5


class ToldSource:
    """A source that tells how far it was read: each byte once, however often it had to be sent."""

    def __init__(self, inner: Source, advance: Callable[[int], None]) -> None:
        self._inner = inner
        self._advance = advance
        self._told = 0
        self.size = inner.size

    def read_at(self, offset: int, length: int) -> bytes:
        self._tell(offset)  # what comes before is there: sent already, by an earlier process perhaps
        return self._inner.read_at(offset, length)

    def md5(self) -> str:
        return self._inner.md5()

    def finish(self) -> None:
        """All of it is there."""
        self._tell(self.size)

    def _tell(self, done: int) -> None:
        if done > self._told:
            self._advance(done - self._told)
            self._told = done


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """One file of the store's half, as a listing shows it."""

    name: str
    size: int
    md5: str | None = None
    """Hex digits, where the remote knows it without reading."""
    notes: Mapping[str, str] = field(default_factory=dict)
    """What `create` was given; empty where the remote keeps none."""


@dataclass(frozen=True, slots=True)
class MirrorFile:
    """One file of the mirror, as the remote has it now."""

    path: str
    """Relative to the mirror's root, `/` between parts."""
    handle: str
    """By what the remote finds it again whatever its name: a Drive id; for a folder, the path."""
    size: int
    md5: str | None
    """Hex digits; None where only reading would tell."""
    stamp: str
    """Changes whenever the bytes may have changed (a folder: size and mtime; Drive: md5)."""
    notes: Mapping[str, str] = field(default_factory=dict)
    modified_ms: int = 0
    made_ms: int = 0
    """When the remote first had it, by the remote's own clock: sorts twins; 0 where there can be none."""
    trashed: bool = False


def check_name(name: str) -> str:
    """The name, if the store's half may hold it. Applied to what is asked for and to what a listing says:
    a name that climbs out of the folder, or is no name of ours, is never followed.
    """
    if not _STORE_NAME.fullmatch(name):
        raise BadInput(f"not a name in a memsync remote: {name!r}")
    return name


def check_small(name: str, size: int, url: str) -> None:
    """Before a whole file of the store's half is read. Raises `DamagedData` for one that is no pack and too large to
    be what its name says."""
    if size > SMALL_AT_MOST and not name.startswith("packs/"):
        raise DamagedData(
            f"{name} on {url} has {size} bytes, and memsync writes none above {SMALL_AT_MOST}",
            hint="run 'memsync verify --remote'; 'memsync repair' writes what can be written anew",
        )


def check_fetched(path: str, size: int, at_most: int) -> None:
    """Before a file of the mirror is read. Raises `BadInput` for one that is too large to be held."""
    if size > at_most:
        raise BadInput(
            f"{path} has {size} bytes, more than the {at_most} that are read back from a mirror; it is left as it is",
            hint="if you put it there: copy it into the data folder yourself, then remove it from the mirror",
            code=TOO_LARGE,
        )


class Remote(Protocol):
    """The store's half."""

    url: str
    """As the user wrote it, made absolute; what `remote show` prints."""

    listing_is_free: bool
    """True where looking costs nothing worth saving (a folder), so that even an idle push looks."""

    def prepare(self, *, create: bool) -> None:
        """Find the remote's own folder. `create` makes it if it is not there; otherwise `RemoteMissing`."""

    def list(self, prefix: str) -> Sequence[RemoteFile]:
        """All files whose name starts with `prefix` (`packs/`, `heads/` or `format`), sorted by name."""

    def read(self, name: str, offset: int = 0, length: int | None = None) -> bytes:
        """A range of the file (to its end if no length is given). Raises `RemoteMissing`, and, where no length is
        given, `DamagedData` for what is no pack and larger than `SMALL_AT_MOST`."""

    def read_stream(self, name: str) -> Iterator[bytes]:
        """The whole file in pieces of at most a few MiB."""

    def create(self, name: str, source: Source, notes: Mapping[str, str] | None = None) -> None:
        """Store the bytes under a name of the store's half; see the promises above."""

    def delete(self, name: str) -> None:
        """Remove the file, and every twin of it. One that is not there is no error."""

    @property
    def requests(self) -> int:
        """Requests made since this object was made (0 for a folder), token refreshes aside."""

    @property
    def bytes_sent(self) -> int:
        """Bytes of file bodies sent since this object was made."""

    @property
    def most_attempts(self) -> int:
        """The most tries that any one request took so far; 0 before the first."""

    def close(self) -> None: ...


class MirrorTarget(Protocol):
    """The half that people read. A path is relative to the mirror's root; folders come and go as needed."""

    def refuses(self, path: str) -> str | None:
        """Why no file of the mirror can have that path, as half a sentence; None if one can. Asks nobody: `put` and
        `move` raise `BadInput` for it, and `look` finds nothing there."""

    def look(self, files: Sequence[tuple[str, str | None]]) -> Sequence[MirrorFile | None]:
        """For each (path, handle or None if unknown): what is there now, None if nothing is.

        With a handle the file is found wherever a person put it (its `path` says where); without one, by
        its path. Twins: the one memsync made, else the oldest.
        """

    def walk(self, below: str = "", *, trashed: bool = False) -> Iterator[MirrorFile]:
        """Every file of the mirror that this remote can see (of that folder of it, if it is there), `Archive/`
        included, the store's half not; with `trashed` also those in the trash, where there is one."""

    def fetch(self, handle: str, at_most: int = FETCHED_AT_MOST) -> bytes:
        """The bytes that are there now. Raises `BadInput` if they are more than that."""

    def put(self, path: str, source: Source, notes: Mapping[str, str], modified_ms: int) -> MirrorFile:
        """Make a new file. Never replaces: raises `Conflict` where the remote forbids two of one name and
        one with other bytes is there."""

    def update(
        self, seen: MirrorFile, source: Source, notes: Mapping[str, str], modified_ms: int
    ) -> MirrorFile:
        """Replace the bytes of a file that still is as `seen` says; `Conflict` if it is not (as far as the
        remote can tell)."""

    def move(self, seen: MirrorFile, path: str, notes: Mapping[str, str]) -> MirrorFile:
        """Give a file that still is as `seen` says another path; no bytes are sent. `Conflict` if it is not, or
        if the path is taken and the remote forbids two of one name."""

    def remove(self, seen: MirrorFile) -> None:
        """Remove a file that still is as `seen` says (a folder: for ever; Drive: to the trash)."""

    def erase(self, seen: MirrorFile) -> None:
        """Remove a file that still has the bytes that `seen` says, for ever and with all that the remote keeps of it,
        from the trash as well. One that is gone is no error; `Conflict` if it was changed."""

    def sweep(self) -> None:
        """Remove what killed processes left half-written, in both halves, unless it is so young that somebody may
        still be at it."""

    def drop_revisions(self, seen: MirrorFile, sums: Collection[str]) -> int:
        """Remove the earlier revisions of a file whose MD5 is among `sums`, for ever; how many. None where the
        remote keeps none."""


class OpenRemote(Remote, MirrorTarget, Protocol):
    """Both halves of one remote: what `open_remote` gives."""
