"""The Drive remote: the store's half here, the mirror handed on to `DriveMirror`.

Every verb costs one request once folders and ids are known: names of the store's half are remembered with
their Drive ids from listings, from creates, and from the notes of heads, which name their packs' ids. What
this object created is added to every listing, because a listing may lag.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, Final, Self

from memstore import files
from memstore.errors import BadInput, DamagedData, NotLoggedIn, RemoteMissing, RemoteTrouble
from memstore.identity import Device, load_device
from memstore.progress import Progress
from memstore.remotes.base import FETCHED_AT_MOST, MirrorFile, RemoteFile, Source, check_name, check_small
from memstore.remotes.drive.api import FIELDS, DriveApi
from memstore.remotes.drive.journal import Journal
from memstore.remotes.drive.layout import STORE_FRESH, Layout, age, is_folder
from memstore.remotes.drive.mirror import DriveMirror
from memstore.remotes.drive.tokens import TokenCredentials
from memstore.remotes.drive.transfer import Announced, Transfer, arrived, md5_of
from memstore.remotes.drive.trouble import IdInUse, IdRefused
from memstore.remotes.limiter import Limiter, limiter_for
from memstore.remotes.retry import Retry
from memstore.remotes.url import RemoteUrl
from memstore.workspace import Workspace

OCTETS: Final = "application/octet-stream"
LARGEST_NOTE: Final = 124
"""Bytes of UTF-8 in a note's key and value together: Drive's limit for appProperties."""
_ID_OF: Final = "_id"
"""Added to a note's key: the Drive id of the pack that the note names."""


class DriveRemote:
    """Both halves of a remote on Google Drive. Used by several threads at once."""

    listing_is_free = False

    def __init__(self, api: DriveApi, journal: Journal, place: RemoteUrl, chunk_size: int) -> None:
        """Nothing is asked of Drive before the first verb. `chunk_size` is for `Transfer`."""
        self.url = place.normalised
        self._api = api
        self._journal = journal
        self._layout = Layout(api, journal, place)
        self._transfer = Transfer(api, journal, chunk_size)
        self._mirror = DriveMirror(api, journal, self._layout, self._transfer)
        self._known: dict[str, list[dict[str, Any]]] = {}
        """By name: the rows of what is there, the oldest first."""
        self._made: dict[str, dict[str, Any]] = {}
        """By name: the rows of what this object created."""
        self._removed: set[str] = set()
        """Ids of what this object deleted."""

    @classmethod
    def open(
        cls,
        place: RemoteUrl,
        workspace: Workspace,
        retry: Retry,
        progress: Progress,  # noqa: ARG003 - the retry tells it of waits
        *,
        writes: Limiter | None = None,
    ) -> Self:
        """The remote at `place` with the workspace's login. Raises `NotLoggedIn` without a usable token."""
        config = workspace.config
        credentials = TokenCredentials(workspace.token_path)
        root_url = config.drive_root_url
        limiter = writes or limiter_for(f"{root_url} writes")
        api = DriveApi(root_url, credentials, retry, limiter, timeout=config.drive_timeout)
        files.make_dir(workspace.state)
        device = load_device(workspace.state, config.device_name)
        journal = Journal(journal_path(workspace.state, root_url, place, device))
        return cls(api, journal, place, config.drive_chunk_size)

    # -- the store's half ----------------------------------------------------------------------------------

    def prepare(self, *, create: bool) -> None:
        self._layout.prepare(create=create)

    def list(self, prefix: str) -> Sequence[RemoteFile]:
        folder, _, start = prefix.rpartition("/")
        if folder:
            self._list(folder)
            if self._drop_twins(folder) and folder == "heads":
                self._list("packs")
                self._drop_twins("packs")
        else:
            self._look_for_format()
        wanted = f"{folder}/{start}" if folder else start
        there = sorted(name for name in [*self._known] if name.startswith(wanted))
        return [_file(name, self._known[name][0]) for name in there if ("/" in name) == bool(folder)]

    def read(self, name: str, offset: int = 0, length: int | None = None) -> bytes:
        row = self._row(check_name(name))

        def whole() -> bytes:
            content = self._transfer.read(f"reading {name}", row["id"], 0, None)
            self._expect_whole(name, row, len(content), md5_of(content))
            return content

        try:
            if length is None:
                check_small(name, int(row.get("size") or 0) - offset, self.url)
            if offset == 0 and length is None:
                return self._api.retry.run(whole)
            return self._transfer.read(f"reading {name}", row["id"], offset, length)
        except RemoteMissing:
            if not self._is_hearsay(name, row):
                raise
            return self.read(name, offset, length)

    def read_stream(self, name: str) -> Iterator[bytes]:
        row = self._row(check_name(name))
        digest = hashlib.md5(usedforsecurity=False)
        size = 0
        try:
            for piece in self._transfer.pieces(f"reading {name}", row["id"]):
                digest.update(piece)
                size += len(piece)
                yield piece
        except RemoteMissing:
            if size or not self._is_hearsay(name, row):
                raise
            yield from self.read_stream(name)
            return
        self._expect_whole(name, row, size, digest.hexdigest())

    def create(self, name: str, source: Source, notes: Mapping[str, str] | None = None) -> None:
        rows = self._known.get(check_name(name))
        if rows:
            self._expect_same(name, rows[0], source)
            return
        if name == "format":
            row = self._create_format(source, notes)
        else:
            row = self._create(name, source, self._with_ids(notes or {}))
        self._made[name] = row
        self._remember(name, row)
        if name.startswith("heads/"):
            # Heads that interrupted pushes did not get to make are superseded; any other is reserved for anew.
            for other in self._journal.all_pending("heads/"):
                self._journal.forget(other)

    def delete(self, name: str) -> None:
        if check_name(name) not in self._known:
            self.list(f"{name.rpartition('/')[0]}/" if "/" in name else name)
        for row in self._known.pop(name, ()):
            # A superseded head is passed over by whoever reads it.
            self._layout.delete(f"removing {name}", row["id"], harmless=name.startswith("heads/"))
            self._removed.add(row["id"])
        self._made.pop(name, None)
        self._journal.forget(name)

    @property
    def requests(self) -> int:
        return self._api.requests

    @property
    def bytes_sent(self) -> int:
        return self._api.bytes_sent

    @property
    def most_attempts(self) -> int:
        return self._api.retry.most_attempts

    def close(self) -> None:
        self._api.close()

    # -- the mirror ----------------------------------------------------------------------------------------

    def refuses(self, path: str) -> str | None:
        return self._mirror.refuses(path)

    def look(self, files: Sequence[tuple[str, str | None]]) -> Sequence[MirrorFile | None]:
        return self._mirror.look(files)

    def walk(self, below: str = "", *, trashed: bool = False) -> Iterator[MirrorFile]:
        return self._mirror.walk(below, trashed=trashed)

    def fetch(self, handle: str, at_most: int = FETCHED_AT_MOST) -> bytes:
        return self._mirror.fetch(handle, at_most)

    def put(self, path: str, source: Source, notes: Mapping[str, str], modified_ms: int) -> MirrorFile:
        return self._mirror.put(path, source, checked(notes), modified_ms)

    def update(
        self, seen: MirrorFile, source: Source, notes: Mapping[str, str], modified_ms: int
    ) -> MirrorFile:
        return self._mirror.update(seen, source, checked(notes), modified_ms)

    def move(self, seen: MirrorFile, path: str, notes: Mapping[str, str]) -> MirrorFile:
        return self._mirror.move(seen, path, checked(notes))

    def remove(self, seen: MirrorFile) -> None:
        self._mirror.remove(seen)

    def erase(self, seen: MirrorFile) -> None:
        self._mirror.erase(seen)

    def sweep(self) -> None:
        """Drive shows no file before its last byte has come, and forgets an upload that was broken off."""

    def drop_revisions(self, seen: MirrorFile, sums: Collection[str]) -> int:
        return self._mirror.drop_revisions(seen, sums)

    # -- inside --------------------------------------------------------------------------------------------

    def _list(self, folder: str) -> None:
        """Learn what is in `packs` or `heads` now."""
        if folder not in ("packs", "heads"):
            raise BadInput(f"not a folder of a memsync remote: {folder!r}")
        identity = self._layout.id(folder)
        rows: list[dict[str, Any]] = []
        # What was in a folder at the moment when we made it needs no listing.
        if not self._layout.is_fresh(identity, STORE_FRESH):
            try:
                rows = [*self._layout.children([identity])]
            except RemoteMissing:
                raise self._layout.missing() from None
            if not rows:
                self._layout.confirm(folder)
        for name in [name for name in [*self._known] if name.startswith(folder + "/")]:
            self._known.pop(name, None)
        found: dict[str, str] = {}
        for row in sorted(rows, key=age):
            name = f"{folder}/{row.get('name')}"
            if _is_ours(name, row) and row["id"] not in self._removed:
                self._remember(name, row)
                found[name] = row["id"]
        self._journal.landed(found)
        for name, row in [*self._made.items()]:
            if name.startswith(folder + "/"):
                self._remember(name, row)

    def _drop_twins(self, folder: str) -> bool:
        """Two devices that merged at once made the same version, and perhaps a pack and a marker of it each. Whoever
        sees both removes all but the oldest: all agree which that is, so one stays whoever else is at it. Whether
        there were any."""
        found = False
        for name, rows in [*self._known.items()]:
            twins = [row for row in rows if "md5Checksum" in row] if name.startswith(folder + "/") else []
            if len(twins) < 2:
                continue
            found = True
            oldest = min(twins, key=age)
            for row in twins:
                same = (row["md5Checksum"], row["size"]) == (oldest["md5Checksum"], oldest["size"])
                if row is oldest or not (same or folder == "heads"):
                    continue
                try:
                    self._layout.delete(f"removing a twin of {name}", row["id"])
                except NotLoggedIn:
                    return False  # this login may only read: whoever may write sees it as well
                self._removed.add(row["id"])
                rows.remove(row)
                if self._made.get(name, row) is row:
                    self._made.pop(name, None)
        return found

    def _look_for_format(self) -> None:
        if "format" in self._known:
            return
        store = self._layout.id("store")
        if self._layout.is_fresh(store, STORE_FRESH):
            return
        try:
            row = self._layout.get("looking for the format", self._layout.id("format"))
        except RemoteMissing:
            try:
                rows = [row for row in self._layout.children([store]) if row.get("name") == "format"]
            except RemoteMissing:
                raise self._layout.missing() from None
            if not rows:
                self._layout.confirm("store")
                return
            row = min(rows, key=age)
        if not row.get("trashed") and not is_folder(row):
            self._remember("format", row)

    def _row(self, name: str) -> dict[str, Any]:
        if name not in self._known:
            self.list(f"{name.rpartition('/')[0]}/" if "/" in name else name)
        rows = self._known.get(name)
        if not rows:
            raise RemoteMissing(f"{name} is not on Drive", hint="run 'memsync verify --remote'")
        return rows[0]

    def _is_hearsay(self, name: str, row: Mapping[str, Any]) -> bool:
        """Whether the id of what is missing comes from the notes of a head: it may have been a twin, removed since.
        Then it is forgotten, and the next look goes by the name."""
        if "name" in row:
            return False
        self._known.pop(name, None)
        return True

    def _remember(self, name: str, row: dict[str, Any]) -> None:
        rows = self._known.setdefault(name, [])
        if all(row["id"] != other["id"] for other in rows):
            rows.append(row)
        for key, value in (row.get("appProperties") or {}).items():
            pack = f"packs/{(row.get('appProperties') or {}).get(key.removesuffix(_ID_OF))}"
            if key.endswith(_ID_OF) and pack not in self._known and _is_ours(pack, {}):
                self._known[pack] = [{"id": value}]

    def _with_ids(self, notes: Mapping[str, str]) -> dict[str, str]:
        """The notes, and beside each that names a pack the Drive id of it: then no listing is needed."""
        more = {key + _ID_OF: self._id_of_pack(value) for key, value in notes.items()}
        return checked({**notes, **{key: identity for key, identity in more.items() if identity}})

    def _id_of_pack(self, name: str) -> str | None:
        """Also of one that an earlier process sent."""
        rows = self._known.get(f"packs/{name}")
        return str(rows[0]["id"]) if rows else self._journal.made(f"packs/{name}")

    def _create(self, name: str, source: Source, notes: Mapping[str, str]) -> dict[str, Any]:
        folder, _, last = name.partition("/")
        for last_try in (False, False, True):
            identity = self._layout.reserve_for(name)
            row: dict[str, Any] | None
            try:
                row = self._send(name, identity, (self._layout.id(folder), last), source, notes)
            except IdRefused as refused:
                if last_try:
                    raise refused.verdict from None
                self._journal.refused(name)
                continue
            except IdInUse:
                row = self._landed(name, identity)
            if row is not None and arrived(row, source):
                self._journal.done(name)
                return row
            # Not what was sent, or sent by an earlier try and gone since: away with it, and a new id.
            if row is not None:
                self._layout.delete(f"removing a damaged {name}", identity)
            self._journal.forget(name)
        raise RemoteTrouble(f"{name} did not arrive as it was sent", hint="run the command again")

    def _send(
        self, name: str, identity: str, place: tuple[str, str], source: Source, notes: Mapping[str, str]
    ) -> dict[str, Any]:
        """`place` is the id of the folder, and the name in it."""
        parent, last = place
        body: dict[str, Any] = {"id": identity, "name": last, "parents": [parent], "mimeType": OCTETS}
        if notes:
            body["appProperties"] = dict(notes)
        request = self._api.files.create(
            body=body, media_body=Announced(OCTETS, source.size), fields=FIELDS, supportsAllDrives=True
        )
        try:
            row = self._transfer.upload(f"sending {name}", name, request, source, creating=True)
        except RemoteMissing:
            raise self._layout.missing() from None
        if row.get("trashed"):
            self._layout.delete(f"taking {name} back", identity)
            self._journal.forget(name)
            raise self._layout.missing()
        return row

    def _landed(self, name: str, identity: str) -> dict[str, Any] | None:
        """What an earlier try with this id left; None if that is in the trash or gone, or if the id stands for
        another thing: a journal that came back from a backup gives out ids twice."""
        try:
            row = self._layout.get(f"looking whether {name} arrived", identity)
        except RemoteMissing:
            return None
        ours = row.get("name") == name.rpartition("/")[2] and not row.get("trashed")
        return row if ours else None

    def _create_format(self, source: Source, notes: Mapping[str, str] | None) -> dict[str, Any]:
        """With the id that all machines agreed on, so that two first pushes make one."""
        identity, store = self._layout.id("format"), self._layout.id("store")
        try:
            row = self._send("format", identity, (store, "format"), source, checked(notes or {}))
        except IdInUse:
            row = self._layout.get("looking at the format", identity)
        except IdRefused as refused:
            self._look_for_format()
            if "format" not in self._known:
                identity = self._layout.renew("format")
                try:
                    row = self._send("format", identity, (store, "format"), source, checked(notes or {}))
                except (IdInUse, IdRefused):
                    raise refused.verdict from None
            else:
                row = self._known["format"][0]
        self._expect_same("format", row, source)
        self._journal.done("format")
        return row

    def _expect_same(self, name: str, row: Mapping[str, Any], source: Source) -> None:
        if "size" not in row:
            row = self._layout.get(f"looking at {name}", row["id"])
        if not arrived(row, source):
            raise DamagedData(
                f"the remote has other bytes under the name {name}", hint="run 'memsync verify --remote'"
            )

    def _expect_whole(self, name: str, row: Mapping[str, Any], size: int, md5: str) -> None:
        if "size" in row and (int(row["size"]), row.get("md5Checksum")) != (size, md5):
            raise RemoteTrouble(
                f"{name} did not come back as Drive says it is stored", hint="run the command again"
            )


def _file(name: str, row: Mapping[str, Any]) -> RemoteFile:
    notes = {key: str(value) for key, value in (row.get("appProperties") or {}).items()}
    return RemoteFile(
        name,
        int(row.get("size", 0)),
        row.get("md5Checksum"),
        {key: value for key, value in notes.items() if not key.endswith(_ID_OF)},
    )


def _is_ours(name: str, row: Mapping[str, Any]) -> bool:
    try:
        check_name(name)
    except BadInput:
        return False
    return not is_folder(row)


def checked(notes: Mapping[str, str]) -> dict[str, str]:
    """The notes, if Drive can keep them."""
    for key, value in notes.items():
        if len(key.encode()) + len(value.encode()) > LARGEST_NOTE:
            raise BadInput(f"the note {key!r} is longer than the {LARGEST_NOTE} bytes that Drive keeps")
    return dict(notes)


def journal_path(state: str, root_url: str, place: RemoteUrl, device: Device) -> str:
    """One journal for each server and folder, so that another `remote set` begins one of its own; and for each
    device, so that a copied workspace never creates anything with the ids that were reserved for another."""
    where = f"{root_url}\n{place.folder_id or ''}\n{'/'.join(place.folder or ())}"
    digest = hashlib.blake2b(where.encode(), digest_size=6).hexdigest()
    return os.path.join(state, f"drive-journal.{digest}.{device.id}.jsonl")
