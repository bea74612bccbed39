"""The mirror on Drive: the files that people read.

A file is known by its id, wherever a person put it. Drive has no compare-and-swap: `update`, `move` and
`remove` trust a look of the last `TRUSTED` seconds, and look again otherwise.
"""

from __future__ import annotations

import posixpath
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any, Final

from memstore.errors import Conflict, NotLoggedIn, RemoteMissing, RemoteTrouble
from memstore.remotes.base import MirrorFile, Source
from memstore.remotes.drive.api import FIELDS, PAGE, DriveApi
from memstore.remotes.drive.fields import milliseconds, mime_type_of, rfc3339
from memstore.remotes.drive.folders import MirrorFolders, shown_name
from memstore.remotes.drive.journal import Journal
from memstore.remotes.drive.layout import Layout, age, is_folder
from memstore.remotes.drive.transfer import Announced, Transfer, arrived, md5_of
from memstore.remotes.drive.trouble import IdInUse, IdRefused
from memstore.worktree.names import check_path

TRUSTED: Final = 30.0
"""Seconds for which a look counts as fresh: a push looks, then sends."""
FEW: Final = 3
"""Up to so many files are looked up one by one; more by listing their folders."""


class DriveMirror:
    """The `MirrorTarget` half of a Drive remote. Used by several threads at once."""

    def __init__(
        self,
        api: DriveApi,
        journal: Journal,
        layout: Layout,
        transfer: Transfer,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._api = api
        self._journal = journal
        self._layout = layout
        self._transfer = transfer
        self._clock = clock
        self._folders = MirrorFolders(journal, layout)
        self._rows: dict[str, dict[str, Any]] = {}
        """By id: each file as last seen."""
        self._looked: dict[str, float] = {}
        """By id: when `look` last saw it."""

    # -- looking -------------------------------------------------------------------------------------------

    def look(self, files: Sequence[tuple[str, str | None]]) -> Sequence[MirrorFile | None]:
        rows = self._look_up(files)
        seen: list[MirrorFile | None] = []
        for row in rows:
            if row is None:
                seen.append(None)
                continue
            self._rows[row["id"]] = row
            self._looked[row["id"]] = self._clock()
            seen.append(self._file(row))
        self._journal.ended(
            {f"update:{row['id']}": str(row.get("md5Checksum")) for row in rows if row is not None}
        )
        return seen

    def walk(self, below: str = "", *, trashed: bool = False) -> Iterator[MirrorFile]:
        """Names that no path can hold are shown with `_` for what can't be; Google's own formats are not."""
        paths = {self._layout.id("root"): ""}
        wanted = f"{below}/" if below else ""
        while paths:
            next_level: dict[str, str] = {}
            for row in self._children([*paths], trashed=trashed):
                path = paths.get((row.get("parents") or [""])[0])
                if path is None:
                    continue
                if is_folder(row):
                    folder = posixpath.join(path, shown_name(row.get("name"))) + "/"
                    if row["id"] != self._layout.id("store") and (
                        folder.startswith(wanted) or wanted.startswith(folder)
                    ):
                        next_level[row["id"]] = folder[:-1]
                elif "md5Checksum" in row and f"{path}/".startswith(wanted):
                    self._rows[row["id"]] = row
                    yield self._file(row, path)
            paths = next_level

    def fetch(self, handle: str) -> bytes:
        doing = "reading a file of the mirror"
        for _ in range(2):
            content = self._transfer.read(doing, handle, 0, None)
            row = self._rows.get(handle) or self._layout.get(doing, handle)
            if row.get("md5Checksum") == md5_of(content):
                return content
            # A person was quicker, or the bytes came damaged: what is it now?
            self._rows[handle] = self._layout.get(doing, handle)
            if self._rows[handle].get("md5Checksum") == md5_of(content):
                return content
        raise RemoteTrouble(f"{doing}: it did not come as Drive says it is", hint="run the command again")

    # -- changing ------------------------------------------------------------------------------------------

    def put(self, path: str, source: Source, notes: Mapping[str, str], modified_ms: int) -> MirrorFile:
        """Drive may hold two of one name: `Conflict` is only for what an earlier try of this put left there
        with other bytes."""
        folder, name = posixpath.split(check_path(path))
        key = f"file:{path}"
        for last in (False, False, True):
            parent = self._folder(folder)
            identity = self._layout.reserve_for(key)
            mime_type = mime_type_of(name)
            body = {
                "id": identity,
                "name": name,
                "parents": [parent],
                "mimeType": mime_type,
                "modifiedTime": rfc3339(modified_ms),
                "appProperties": dict(notes),
            }
            request = self._api.files.create(
                body=body, media_body=Announced(mime_type, source.size), fields=FIELDS, supportsAllDrives=True
            )
            try:
                row = self._transfer.upload(f"sending {path}", key, request, source, creating=True)
            except RemoteMissing:
                # A person deleted the folder; once it is made anew.
                self._expect_root_there(last)
                self._folders.look_anew()
                continue
            except IdRefused as refused:
                if last:
                    raise refused.verdict from None
                self._journal.refused(key)
                continue
            except IdInUse:
                landed = self._landed(path, parent, identity, source)
                if landed is None:
                    self._journal.forget(key)
                    continue
                row = landed
            if not arrived(row, source):
                self._layout.delete(f"removing a damaged {path}", identity)
                self._journal.forget(key)
                continue
            if row.get("trashed"):
                row = self._out_of_trash(row, folder)
            self._journal.done(key)
            return self._kept(row)
        raise RemoteTrouble(f"{path} did not arrive as it was sent", hint="run the command again")

    def update(
        self, seen: MirrorFile, source: Source, notes: Mapping[str, str], modified_ms: int
    ) -> MirrorFile:
        self._expect_untouched(seen)
        body = {"modifiedTime": rfc3339(modified_ms), "appProperties": dict(notes)}
        media = Announced(mime_type_of(seen.path), source.size)
        doing = f"updating {seen.path}"
        request = self._api.files.update(
            fileId=seen.handle, body=body, media_body=media, fields=FIELDS, supportsAllDrives=True
        )

        def settled() -> dict[str, Any] | None:
            row = self._api.once(doing, self._layout.get_request(seen.handle))
            if arrived(row, source):
                return row
            self._expect_as_seen(seen, row)
            return None

        key = f"update:{seen.handle}"
        try:
            row = self._transfer.upload(doing, key, request, source, creating=False, again=settled)
        except RemoteMissing:
            raise _changed(seen, "removed") from None
        self._journal.done(key)
        if not arrived(row, source):
            raise RemoteTrouble(f"{seen.path} did not arrive as it was sent", hint="run the command again")
        return self._kept(row)

    def move(self, seen: MirrorFile, path: str, notes: Mapping[str, str]) -> MirrorFile:
        folder, name = posixpath.split(check_path(path))
        row = self._expect_untouched(seen)
        for last in (False, True):
            parent = self._folder(folder)
            try:
                # Another name would else count as a modification: people see when the bytes were written.
                kept = {"appProperties": dict(notes), "modifiedTime": row.get("modifiedTime")}
                moved = self._change(seen, row, parent, name, kept)
                if moved.get("trashed"):
                    moved = self._out_of_trash(moved, folder)
                self._journal.forget(f"file:{seen.path}")
                return self._kept(moved)
            except RemoteMissing:
                # Either the file is gone, which a look tells, or the folder it was to go to.
                row = self._look_again(seen)
                self._expect_root_there(last)
                self._folders.look_anew()
        raise _changed(seen, "removed")

    def remove(self, seen: MirrorFile) -> None:
        """To Drive's trash. One that another device moved since is what an archive name stands for by now."""
        before = self._rows.get(seen.handle)
        row = self._expect_untouched(seen)
        if before is not None and _place(before) != _place(row):
            raise _changed(seen, "moved")
        request = self._api.files.update(
            fileId=seen.handle, body={"trashed": True}, fields="id", supportsAllDrives=True
        )
        try:
            self._api.call(f"removing {seen.path}", request, write=True)
        except RemoteMissing:
            raise _changed(seen, "removed") from None
        self._rows.pop(seen.handle, None)
        self._looked.pop(seen.handle, None)
        self._journal.forget(f"file:{seen.path}")

    def erase(self, seen: MirrorFile) -> None:
        """Not to the trash: Drive deletes a file with all its revisions."""
        row = self._get(seen.handle)
        if row is not None:
            if row.get("md5Checksum") != seen.stamp:
                raise _changed(seen, "changed")
            self._layout.delete(f"removing {seen.path} for ever", seen.handle)
        self._rows.pop(seen.handle, None)
        self._looked.pop(seen.handle, None)
        self._journal.forget(f"file:{seen.path}")

    def drop_revisions(self, seen: MirrorFile, sums: Collection[str]) -> int:
        """Drive never deletes the revision that a file has now: that one is no matter of this."""
        doing = f"looking at the revisions of {seen.path}"
        found: list[str] = []
        last = ""
        token: str | None = None
        while True:
            request = self._api.revisions.list(
                fileId=seen.handle,
                fields="nextPageToken,revisions(id,md5Checksum)",
                pageSize=PAGE,
                pageToken=token,
            )
            answer = self._api.call(doing, request)
            for row in answer.get("revisions", ()):
                last = str(row["id"])
                if row.get("md5Checksum") in sums:
                    found.append(last)
            token = answer.get("nextPageToken")
            if not token:
                break
        gone = [revision for revision in found if revision != last]
        for revision in gone:
            request = self._api.revisions.delete(fileId=seen.handle, revisionId=revision)
            try:
                self._api.call(f"removing a revision of {seen.path}", request, write=True)
            except RemoteMissing:
                continue  # it ran out of its time meanwhile
        return len(gone)

    # -- inside: looking -----------------------------------------------------------------------------------

    def _look_up(self, files: Sequence[tuple[str, str | None]]) -> list[dict[str, Any] | None]:
        by_id = self._by_handles(files)
        wanted = {
            folder
            for path, handle in files
            if handle is None
            and (folder := self._folders.find(posixpath.dirname(path))) is not None
            and not self._layout.is_fresh(folder)
        }
        by_folder: dict[str, list[dict[str, Any]]] = {}
        for row in [*self._rows.values()]:
            # In a folder that we made a moment ago lies what we put there, and nothing else.
            folder = (row.get("parents") or [""])[0]
            if self._layout.is_fresh(folder):
                by_folder.setdefault(folder, []).append(row)
        for row in self._children(sorted(wanted)):
            by_folder.setdefault((row.get("parents") or [""])[0], []).append(row)
        found: list[dict[str, Any] | None] = []
        alone = len(files) == 1
        for path, handle in files:
            if handle is not None:
                found.append(by_id.get(handle) or (alone and self._nearby(path, handle)) or self._get(handle))
            else:
                found.append(self._at(path, by_folder))
        return found

    def _by_handles(self, files: Sequence[tuple[str, str | None]]) -> dict[str, dict[str, Any]]:
        """The rows of those handles that their folders' listings show, where listing is worth it: not for a
        few, and not in a folder of very many others."""
        missing = {handle for _, handle in files if handle is not None}
        found: dict[str, dict[str, Any]] = {}
        if len(missing) <= FEW:
            return found
        paths = {posixpath.dirname(path) for path, handle in files if handle is not None}
        known = [
            self._layout.id("root") if not path else self._journal.folder(path) for path in sorted(paths)
        ]
        rows = self._children([folder for folder in known if folder is not None], trashed=True)
        for seen, row in enumerate(rows, 1):
            if row["id"] in missing:
                missing.remove(row["id"])
                found[row["id"]] = row
            if not missing or seen > PAGE * len(missing):
                break  # from here on it takes fewer requests to ask for each of the rest
        return found

    def _at(self, path: str, by_folder: Mapping[str, list[dict[str, Any]]]) -> dict[str, Any] | None:
        """The file of that name in its folder's listing: ours before others, else the oldest."""
        folder = self._folders.find(posixpath.dirname(path))
        name = posixpath.basename(path)
        rows = [
            row
            for row in by_folder.get(folder or "", ())
            if row.get("name") == name and not row.get("trashed") and "md5Checksum" in row
        ]
        key = f"file:{path}"
        pending = self._journal.pending(key)
        if rows:
            row = min(rows, key=lambda row: (not row.get("appProperties"), age(row)))
        elif pending is None:
            return None
        else:
            found = self._get(pending)  # a put that was cut off may have landed
            if found is None:
                self._journal.forget(key)
            if found is None or found.get("trashed"):
                return None
            row = found
        self._journal.landed({key: row["id"]})
        return row

    def _children(self, folders: Sequence[str], *, trashed: bool = False) -> Iterator[dict[str, Any]]:
        seen: set[str] = set()

        def unseen(some: Sequence[str]) -> Iterator[dict[str, Any]]:
            for row in self._layout.children(some, trashed=trashed):
                if row["id"] not in seen:
                    seen.add(row["id"])
                    yield row

        try:
            yield from unseen(folders)
        except RemoteMissing:
            # One of them is gone, and Drive does not say which.
            self._expect_root_there(last=False)
            for folder in folders:
                try:
                    yield from unseen([folder])
                except RemoteMissing:
                    self._folders.look_anew()

    def _nearby(self, path: str, handle: str) -> dict[str, Any] | None:
        try:
            return self._folders.look_nearby(path, handle)
        except RemoteMissing:
            return None  # one of the folders is gone; the file is asked for by itself

    def _get(self, handle: str) -> dict[str, Any] | None:
        try:
            row = self._layout.get("looking at a file of the mirror", handle)
        except RemoteMissing:
            return None
        return row if "md5Checksum" in row else None

    def _look_again(self, seen: MirrorFile) -> dict[str, Any]:
        row = self._get(seen.handle)
        if row is None:
            raise _changed(seen, "removed")
        self._expect_as_seen(seen, row)
        return row

    def _expect_untouched(self, seen: MirrorFile) -> dict[str, Any]:
        """The file's row, if it is as `seen` says; looks unless that was done a moment ago."""
        looked = self._looked.pop(seen.handle, None)
        row = self._rows.get(seen.handle)
        if row is None or looked is None or self._clock() - looked > TRUSTED:
            row = self._look_again(seen)
        else:
            self._expect_as_seen(seen, row)
        return row

    def _expect_as_seen(self, seen: MirrorFile, row: Mapping[str, Any]) -> None:
        if row.get("md5Checksum") != seen.stamp:
            raise _changed(seen, "changed")
        if row.get("trashed") and not seen.trashed:
            raise _changed(seen, "thrown into the trash")

    def _expect_root_there(self, last: bool) -> None:
        row = None
        try:
            row = self._layout.get("looking for the root folder", self._layout.id("root"))
        except RemoteMissing:
            pass
        if row is None or row.get("trashed"):
            raise self._layout.missing()
        if last:
            raise RemoteTrouble("a folder of the mirror vanished twice", hint="run the command again")

    def _folder(self, path: str) -> str:
        """The id of the folder, made if need be; those above it anew where a person deleted them."""
        try:
            return self._folders.make(path)
        except RemoteMissing:
            self._expect_root_there(last=False)
            self._folders.look_anew()
            return self._folders.make(path)

    # -- inside: changing ----------------------------------------------------------------------------------

    def _change(
        self, seen: MirrorFile, row: Mapping[str, Any], parent: str, name: str, more: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Another folder and name for a file. A try that follows an unclear one looks first, because adding
        a parent twice may be refused."""
        doing = f"moving {seen.path}"
        current: Mapping[str, Any] | None = row

        def look() -> Mapping[str, Any]:
            """Where it is now; `Conflict` if that is neither where it was nor where it is to go."""
            now = self._api.once(doing, self._layout.get_request(seen.handle))
            if _place(now) not in (_place(row), (parent, name)):
                raise _changed(seen, "moved")
            return now

        def step() -> dict[str, Any]:
            nonlocal current
            if current is None:
                now = look()
                if _place(now) == (parent, name):
                    return dict(now)
                self._expect_as_seen(seen, now)
                current = now
            old = (current.get("parents") or [None])[0]
            current = None
            moving = {} if old == parent else {"addParents": parent, "removeParents": old}
            request = self._api.files.update(
                fileId=seen.handle,
                body={"name": name, **more},
                fields=FIELDS,
                supportsAllDrives=True,
                **moving,
            )
            try:
                return self._api.once(doing, request, write=True)
            except RemoteMissing:
                raise
            except (RemoteTrouble, NotLoggedIn) as error:
                # httplib2 sends a request again by itself when the connection breaks before an answer. Or another
                # device moved it since we looked: Drive refuses to take it from a folder where it is not.
                if error.code == "not_logged_in":
                    raise
                now = look()
                if _place(now) == (parent, name):
                    return dict(now)
                raise

        return self._api.retry.run(step)

    def _landed(self, path: str, parent: str, identity: str, source: Source) -> dict[str, Any] | None:
        """What an earlier try of a put left; None if it was removed or moved since."""
        row = self._get(identity)
        if row is None or row.get("trashed"):
            return None
        if (row.get("parents") or [None])[0] != parent or row.get("name") != posixpath.basename(path):
            return None
        if not arrived(row, source):
            raise Conflict(
                f"an earlier content of {path} is on Drive already",
                hint="run 'memsync push' again: it looks at that first",
            )
        return row

    def _out_of_trash(self, row: dict[str, Any], folder: str) -> dict[str, Any]:
        """The file went into a folder that a person had thrown away: to a new folder with it."""
        self._expect_root_there(last=False)
        self._folders.look_anew()
        parent = self._folders.make(folder)
        return self._change(self._file(row), {**row, "trashed": False}, parent, str(row.get("name")), {})

    def _kept(self, row: dict[str, Any]) -> MirrorFile:
        self._rows[row["id"]] = row
        return self._file(row)

    def _file(self, row: Mapping[str, Any], folder: str | None = None) -> MirrorFile:
        """`folder` is its folder's path, where the caller knows it. A file that a person moved out of the
        mirror counts as thrown away."""
        name = shown_name(row.get("name"))
        if folder is None:
            folder = self._folders.path_of((row.get("parents") or [None])[0])
        md5 = row.get("md5Checksum")
        return MirrorFile(
            path=posixpath.join(folder or "", name),
            handle=row["id"],
            size=int(row.get("size", 0)),
            md5=md5,
            stamp=md5 or "",
            notes={key: str(value) for key, value in (row.get("appProperties") or {}).items()},
            modified_ms=milliseconds(row.get("modifiedTime")),
            made_ms=milliseconds(row.get("createdTime")),
            trashed=bool(row.get("trashed")) or folder is None,
        )


def _place(row: Mapping[str, Any]) -> tuple[str | None, str | None]:
    """The id of its folder, and its name there."""
    return (row.get("parents") or [None])[0], row.get("name")


def _changed(seen: MirrorFile, how: str) -> Conflict:
    return Conflict(
        f"{seen.path} was {how} on Drive meanwhile",
        hint="run 'memsync push' again: it brings home what a person changed first",
    )
