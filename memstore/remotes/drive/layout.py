"""Where on Drive everything is: the root folder, and the store's own folders in it.

    MemoryVDB/                 the root: the mirror, and
      .memsync/                the store
        format  packs/  heads/

Names on Drive are not unique, so a name is only for first contact. The root's `appProperties` name the ids
of what is to lie below it, reserved before anything is made: whoever sees the root, on whatever machine,
creates the rest with the same ids, and no twin can come of it. Of twin roots the oldest counts.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from memstore.errors import NotLoggedIn, RemoteMissing, RemoteTrouble
from memstore.remotes.drive.api import FIELDS, FOLDER_TYPE, PAGE, DriveApi
from memstore.remotes.drive.journal import Journal
from memstore.remotes.drive.trouble import IdInUse, IdRefused
from memstore.remotes.url import RemoteUrl

STORE: Final = ".memsync"
PARTS: Final = ("packs", "heads")
BATCH: Final = 1000
"""Ids fetched at a time: the most that files.generateIds gives."""
ARCHIVE: Final = "archive"
"""The mirror's `Archive/`: agreed too, because every machine comes to need it, and none should have to look."""
_OWN: Final = ("store", *PARTS, "format")
FRESH: Final = 900.0
"""Seconds for which nobody else is expected to write into a folder that we made; a listing lags, too."""
STORE_FRESH: Final = 30.0
"""Seconds for which the same is said of the store's folders: a first push lists them more than once."""
_ASKED: Final = 25
"""Folders that one listing asks for: their ids fit into a URL that the library need not turn into a POST."""


def quoted(text: str) -> str:
    """The text as a string of Drive's query language."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def is_folder(row: Mapping[str, Any]) -> bool:
    return row.get("mimeType") == FOLDER_TYPE


def age(row: Mapping[str, Any]) -> tuple[str, str]:
    """Sorts the oldest first; the id decides between two of one moment."""
    return str(row.get("createdTime", "")), str(row.get("id", ""))


class Layout:
    """The ids of the remote's own folders, and whatever lists or makes folders."""

    def __init__(
        self,
        api: DriveApi,
        journal: Journal,
        place: RemoteUrl,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._api = api
        self._journal = journal
        self._place = place
        self._ids: dict[str, str] | None = None
        self._fresh: dict[str, float] = {}
        """When this object made a folder, by id."""
        self._clock = clock
        self._confirmed: set[str] = set()

    def is_fresh(self, identity: str, seconds: float = FRESH) -> bool:
        """Whether this object made the folder a moment ago, so that it knows what is in it without asking."""
        made = self._fresh.get(identity)
        return made is not None and self._clock() - made < seconds

    def note_fresh(self, identity: str) -> None:
        self._fresh[identity] = self._clock()

    # -- finding -------------------------------------------------------------------------------------------

    def prepare(self, *, create: bool) -> None:
        """Find the root and the store; `create` makes what is not there. No request when both are known."""
        if self._ids is not None:
            return
        self._ids = self._journal.root
        if self._ids is not None:
            return
        # What a process that died had begun to make is made to the end.
        create = create or self._journal.pending("root") is not None
        ids = self._by_id(create) if self._place.folder_id else self._by_path(create)
        self._journal.set_root(ids)
        self._ids = ids

    def id(self, what: str) -> str:
        """The id of `root`, `store`, `packs`, `heads` or `format`. Finds them first, if need be."""
        if self._ids is None:
            self.prepare(create=False)
        assert self._ids is not None
        return self._ids[what]

    @property
    def archive(self) -> str | None:
        """The agreed id of the mirror's `Archive/`; None in a root that memsync did not make."""
        self.id("root")
        return None if self._ids is None else self._ids.get(ARCHIVE)

    def _by_id(self, create: bool) -> dict[str, str]:
        identity = str(self._place.folder_id)
        try:
            root = self.get(f"looking for {self._place.normalised}", identity)
        except RemoteMissing as error:
            raise self._unseen() from error
        self._expect_folder(root)
        return self._store_in(root, create)

    def _by_path(self, create: bool) -> dict[str, str]:
        parts = self._place.folder or ()
        parent = "root"
        for depth, name in enumerate(parts):
            last = depth == len(parts) - 1
            rows = [] if self.is_fresh(parent) else self._named(parent, name)
            if rows:
                found = min(rows, key=age)
                self._drop_twin(rows, found)
            elif not create:
                raise RemoteMissing(
                    f"there is no memsync folder {'/'.join(parts)} on Drive, as far as this login can see",
                    hint="use the OAuth client of the first machine, or 'memsync push' there first",
                )
            elif last:
                found = self._make_root(parent, name)
            else:
                above = "/".join(parts[: depth + 1])
                found, _ = self.make_folder(f"above:{above}", parent, name)
            parent = found["id"]
        return self._store_in(found, create)

    def _store_in(self, root: Mapping[str, Any], create: bool) -> dict[str, str]:
        notes = root.get("appProperties") or {}
        if all(name in notes for name in _OWN):
            ids = {"root": root["id"], **{name: notes[name] for name in (*_OWN, ARCHIVE) if name in notes}}
            return self._complete(ids) if create else ids
        stores = [] if self.is_fresh(root["id"]) else self._named(root["id"], STORE)
        if stores:
            return self._known_store(root["id"], min(stores, key=age), create)
        if not create:
            raise RemoteMissing(
                f"the folder {root.get('name', root['id'])} on Drive holds no memsync store "
                "that this login can see",
                hint="use the OAuth client of the first machine, or 'memsync push' there first",
            )
        return self._make_store(root["id"])

    def _known_store(self, root: str, store: Mapping[str, Any], create: bool) -> dict[str, str]:
        notes = store.get("appProperties") or {}
        ids = {"root": root, "store": str(store["id"])}
        if all(name in notes for name in _OWN[1:]):
            ids |= {name: notes[name] for name in _OWN[1:]}
            return self._complete(ids) if create else ids
        # A store whose properties were lost, as a copy made by hand has it: by name, the oldest of each.
        for row in sorted(self.children([ids["store"]]), key=age, reverse=True):
            if row["name"] in _OWN[1:] and is_folder(row) == (row["name"] in PARTS):
                ids[row["name"]] = row["id"]
        for name in PARTS:
            if name not in ids:
                raise RemoteMissing(
                    f"the store on Drive has no folder {name}", hint="run 'memsync verify --remote'"
                )
        ids.setdefault("format", self.reserve_for("format"))
        return ids

    # -- making --------------------------------------------------------------------------------------------

    def _make_root(self, parent: str, name: str) -> dict[str, Any]:
        notes = {what: self.reserve_for(what) for what in (*_OWN, ARCHIVE)}
        root, made = self.make_folder("root", parent, name, notes)
        if made:
            # Another machine may have been as quick.
            rows = [*self._named(parent, name), root]
            root = min(rows, key=age)
            self._drop_twin(rows, root)
        return root

    def _drop_twin(self, rows: Iterable[Mapping[str, Any]], chosen: Mapping[str, Any]) -> None:
        """Remove the root that this workspace was about to use, if an older one is used instead."""
        ours = self._journal.pending("root")
        if ours == chosen["id"] or not any(row["id"] == ours for row in rows):
            return
        if ours is not None and not [*self.children([ours])]:
            self.delete("removing a twin of the root folder", ours)

    def _make_store(self, root: str) -> dict[str, str]:
        """A store in a root that memsync did not make: its folder's properties name what is below."""
        notes = {what: self.reserve_for(what) for what in _OWN[1:]}
        store, made = self.make_folder("store", root, STORE, notes)
        if made:
            oldest = min([*self._named(root, STORE), store], key=age)
            if oldest["id"] != store["id"]:
                self.delete("removing a twin of the store's folder", store["id"])
                return self._known_store(root, oldest, create=True)
        notes = store.get("appProperties") or notes
        return self._complete(
            {"root": root, "store": store["id"], **{what: notes[what] for what in _OWN[1:]}}
        )

    def _complete(self, ids: dict[str, str]) -> dict[str, str]:
        """Make those of the store's folders that are not there, with the ids that are agreed."""
        self._agreed(ids, "store", ids["root"], STORE, {name: ids[name] for name in _OWN[1:]})
        for name in PARTS:
            self._agreed(ids, name, ids["store"], name)
        return ids

    def _agreed(
        self, ids: dict[str, str], what: str, parent: str, name: str, notes: Mapping[str, str] | None = None
    ) -> None:
        try:
            self.create_folder(ids[what], parent, name, notes)
            self.note_fresh(ids[what])
        except IdInUse:
            return
        except IdRefused:
            # The agreed id ran out before anybody used it. By name, then, and the oldest of twins.
            rows = self._named(parent, name)
            if rows:
                ids[what] = min(rows, key=age)["id"]
                return
            self._ids = ids
            identity = self.renew(what)
            self.make_folder(what, parent, name, notes)
            ids[what] = identity

    def make_folder(
        self, key: str, parent: str, name: str, notes: Mapping[str, str] | None = None
    ) -> tuple[dict[str, Any], bool]:
        """A folder that is made once, however often this is called before `key` is done: (row, made now)."""
        for last in (False, True):
            identity = self.reserve_for(key)
            try:
                row = self.create_folder(identity, parent, name, notes)
            except IdInUse:
                return self.get(f"looking at the folder {name}", identity), False
            except IdRefused as refused:
                if last:
                    raise refused.verdict from None
                self._journal.refused(key)
            else:
                self.note_fresh(identity)
                return row, True
        raise AssertionError("unreachable")

    def create_folder(
        self, identity: str, parent: str, name: str, notes: Mapping[str, str] | None
    ) -> dict[str, Any]:
        body: dict[str, Any] = {"id": identity, "name": name, "mimeType": FOLDER_TYPE, "parents": [parent]}
        if notes:
            body["appProperties"] = dict(notes)
        request = self._api.files.create(body=body, fields=FIELDS, supportsAllDrives=True)
        return self._api.call(f"making the folder {name}", request, write=True, creating=True)

    def reserve_for(self, key: str) -> str:
        """The id to create `key` with; see `Journal.take`."""
        return self._journal.take(key, self._reserve)

    def _reserve(self) -> list[str]:
        request = self._api.files.generateIds(count=BATCH, space="drive", type="files")
        ids = self._api.call("reserving ids", request).get("ids")
        if not isinstance(ids, list) or not ids:
            raise RemoteTrouble("Drive reserved no ids", hint="run the command again")
        return [str(identity) for identity in ids]

    # -- looking -------------------------------------------------------------------------------------------

    def get(self, doing: str, identity: str) -> dict[str, Any]:
        """One file or folder by its id; that never lags. Raises `RemoteMissing` (absent, or not visible)."""
        return self._api.call(doing, self.get_request(identity))

    def get_request(self, identity: str) -> Any:
        return self._api.files.get(fileId=identity, fields=FIELDS, supportsAllDrives=True)

    def delete(self, doing: str, identity: str, *, harmless: bool = False) -> None:
        """For ever, where this account may do that; else to the trash. What is gone already is no error, and what
        does no harm where it lies is left to those who may remove it."""
        request = self._api.files.delete(fileId=identity, supportsAllDrives=True)
        try:
            self._api.call(doing, request, write=True)
        except RemoteMissing:
            return
        except NotLoggedIn as refusal:
            if refusal.code != "refused":
                raise
            # On a shared drive only its managers may delete; others may throw away, or not even that.
            asked = "capabilities(canDelete,canTrash)"
            look = self._api.files.get(fileId=identity, fields=asked, supportsAllDrives=True)
            may = self._api.call(doing, look).get("capabilities") or {}
            if may.get("canDelete", True) or not (may.get("canTrash") or harmless):
                raise
            if may.get("canTrash"):
                away = self._api.files.update(
                    fileId=identity, body={"trashed": True}, fields="id", supportsAllDrives=True
                )
                self._api.call(doing, away, write=True)

    def children(
        self, parents: Sequence[str], *, folders: bool = False, trashed: bool = False
    ) -> Iterator[dict[str, Any]]:
        """What lies directly in these folders (only folders; what is in the trash too), page by page."""
        for start in range(0, len(parents), _ASKED):
            some = " or ".join(f"{quoted(parent)} in parents" for parent in parents[start : start + _ASKED])
            terms = [f"({some})"]
            if folders:
                terms.append(f"mimeType = {quoted(FOLDER_TYPE)}")
            if not trashed:
                terms.append("trashed = false")
            yield from self.search(" and ".join(terms))

    def search(self, query: str) -> Iterator[dict[str, Any]]:
        """What Drive finds, page by page; a page may be short, or empty, before the last."""
        token = None
        while True:
            request = self._api.files.list(
                q=query,
                fields=f"nextPageToken,files({FIELDS})",
                pageSize=PAGE,
                pageToken=token,
                supportsAllDrives=True,
                includeItemsFromAllDrives=True,
            )
            answer = self._api.call("listing a folder on Drive", request)
            yield from answer.get("files", ())
            token = answer.get("nextPageToken")
            if not token:
                return

    def _named(self, parent: str, name: str) -> list[dict[str, Any]]:
        """Folders of that very name. By parent and not by name, because listings by name lag."""
        return [row for row in self.children([parent], folders=True) if row.get("name") == name]

    def renew(self, what: str) -> str:
        """Another id for `format`, whose agreed one ran out before anybody used it; everyone is told."""
        assert self._ids is not None
        self._journal.refused(what)
        self._ids[what] = self.reserve_for(what)
        for holder in (self._ids["root"], self._ids["store"]):
            request = self._api.files.update(
                fileId=holder,
                body={"appProperties": {what: self._ids[what]}},
                fields="id",
                supportsAllDrives=True,
            )
            try:
                self._api.call("noting a new id", request, write=True)
            except NotLoggedIn:
                continue  # a root that memsync did not make holds no notes
        self._journal.set_root(self._ids)
        return self._ids[what]

    # -- when something is not where it was ----------------------------------------------------------------

    def confirm(self, what: str) -> None:
        """Raise if that folder of the store is gone or in the trash; an empty listing would not tell. Once."""
        if what not in self._confirmed and self.id(what) not in self._fresh:
            try:
                row = self.get(f"looking for the store's folder {what}", self.id(what))
            except RemoteMissing:
                raise self.missing() from None
            if row.get("trashed"):
                raise self._in_trash()
            self._confirmed.add(what)

    def missing(self) -> Exception:
        """The error for a folder of ours that Drive says is not there, or is in the trash."""
        for what in ("root", "store", *PARTS):
            try:
                row = self.get(f"looking for the folder {what}", self.id(what))
            except RemoteMissing:
                if what == "root":
                    return self._unseen()
                break
            if row.get("trashed"):
                return self._in_trash()
        return RemoteMissing(
            f"a folder of the store on Drive ({self._place.normalised}) is not there",
            hint="bring it back from Drive's trash if it is there; else 'memsync remote set' another",
        )

    def _unseen(self) -> Exception:
        return NotLoggedIn(
            f"the Drive folder of {self._place.normalised} can't be seen with this login",
            hint="use the OAuth client of the first machine: put its credentials.json here and run 'memsync "
            "login' (or 'memsync login --scope drive'); if it was deleted, 'memsync remote set' another",
            code="root_unseen",
        )

    def _in_trash(self) -> Exception:
        trouble = RemoteTrouble(
            f"the Drive folder of {self._place.normalised}, or a folder of the store in it, is in the trash",
            hint="bring it back at drive.google.com/drive/trash, which keeps it for 30 days, and try again",
            code="root_in_trash",
        )
        trouble.retryable = False
        return trouble

    def _expect_folder(self, row: Mapping[str, Any]) -> None:
        if row.get("trashed"):
            raise self._in_trash()
        if not is_folder(row):
            raise RemoteMissing(
                f"{self._place.normalised} is no folder", hint="name a folder with 'memsync remote set'"
            )
