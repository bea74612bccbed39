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
from memstore.remotes.base import FETCHED_AT_MOST, MirrorFile, Source, check_fetched
from memstore.remotes.drive.api import FIELDS, PAGE, DriveApi
from memstore.remotes.drive.fields import mime_type_of, rfc3339
from memstore.remotes.drive.folders import MirrorFolders
from memstore.remotes.drive.journal import Journal
from memstore.remotes.drive.layout import Layout
from memstore.remotes.drive.rows import MirrorRows
from memstore.remotes.drive.transfer import Announced, Transfer, arrived, md5_of
from memstore.remotes.drive.trouble import IdInUse, IdRefused
from memstore.worktree.names import check_path, problem

TRUSTED: Final = 30.0
"""Seconds for which a look counts as fresh: a push looks, then sends."""


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
        self._rows = MirrorRows(journal, layout, self._folders)
        self._looked: dict[str, float] = {}
        """By id: when `look` last saw it."""

    # -- looking -------------------------------------------------------------------------------------------

    def refuses(self, path: str) -> str | None:
        """Drive holds what Windows can't, and a mirror is the same whichever system refreshed it."""
        return problem(path, windows=False)

    def look(self, files: Sequence[tuple[str, str | None]]) -> Sequence[MirrorFile | None]:
        rows = self._rows.find(files)
        seen: list[MirrorFile | None] = []
        for row in rows:
            if row is None:
                seen.append(None)
                continue
            self._looked[row["id"]] = self._clock()
            seen.append(self._rows.keep(row))
        self._journal.ended(
            {f"update:{row['id']}": str(row.get("md5Checksum")) for row in rows if row is not None}
        )
        return seen

    def walk(self, below: str = "", *, trashed: bool = False) -> Iterator[MirrorFile]:
        return self._rows.walk(below, trashed=trashed)

    def fetch(self, handle: str, at_most: int = FETCHED_AT_MOST) -> bytes:
        doing = "reading a file of the mirror"
        row = self._rows.known.get(handle) or self._layout.get(doing, handle)
        check_fetched(str(row.get("name")), int(row.get("size") or 0), at_most)
        for _ in range(2):
            content = self._transfer.read(doing, handle, 0, None)
            if row.get("md5Checksum") == md5_of(content):
                return content
            # A person was quicker, or the bytes came damaged: what is it now?
            row = self._rows.known[handle] = self._layout.get(doing, handle)
            if row.get("md5Checksum") == md5_of(content):
                return content
        raise RemoteTrouble(f"{doing}: it did not come as Drive says it is", hint="run the command again")

    # -- changing ------------------------------------------------------------------------------------------

    def put(self, path: str, source: Source, notes: Mapping[str, str], modified_ms: int) -> MirrorFile:
        """Drive may hold two of one name: `Conflict` is only for what an earlier try of this put left there
        with other bytes."""
        folder, name = posixpath.split(check_path(path, windows=False))
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
                self._folders.expect_root_there(last)
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
            return self._rows.keep(row)
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
        return self._rows.keep(row)

    def move(self, seen: MirrorFile, path: str, notes: Mapping[str, str]) -> MirrorFile:
        folder, name = posixpath.split(check_path(path, windows=False))
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
                return self._rows.keep(moved)
            except RemoteMissing:
                # Either the file is gone, which a look tells, or the folder it was to go to.
                row = self._look_again(seen)
                self._folders.expect_root_there(last)
                self._folders.look_anew()
        raise _changed(seen, "removed")

    def remove(self, seen: MirrorFile) -> None:
        """To Drive's trash. One that another device moved since is what an archive name stands for by now."""
        before = self._rows.known.get(seen.handle)
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
        self._rows.known.pop(seen.handle, None)
        self._looked.pop(seen.handle, None)
        self._journal.forget(f"file:{seen.path}")

    def erase(self, seen: MirrorFile) -> None:
        """Not to the trash: Drive deletes a file with all its revisions."""
        row = self._rows.get(seen.handle)
        if row is not None:
            if row.get("md5Checksum") != seen.stamp:
                raise _changed(seen, "changed")
            self._layout.delete(f"removing {seen.path} for ever", seen.handle)
        self._rows.known.pop(seen.handle, None)
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

    # -- inside --------------------------------------------------------------------------------------------

    def _look_again(self, seen: MirrorFile) -> dict[str, Any]:
        row = self._rows.get(seen.handle)
        if row is None:
            raise _changed(seen, "removed")
        self._expect_as_seen(seen, row)
        return row

    def _expect_untouched(self, seen: MirrorFile) -> dict[str, Any]:
        """The file's row, if it is as `seen` says; looks unless that was done a moment ago."""
        looked = self._looked.pop(seen.handle, None)
        row = self._rows.known.get(seen.handle)
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

    def _folder(self, path: str) -> str:
        """The id of the folder, made if need be; those above it anew where a person deleted them."""
        try:
            return self._folders.make(path)
        except RemoteMissing:
            self._folders.expect_root_there(last=False)
            self._folders.look_anew()
            return self._folders.make(path)

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
        row = self._rows.get(identity)
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
        self._folders.expect_root_there(last=False)
        self._folders.look_anew()
        parent = self._folders.make(folder)
        return self._change(self._rows.file(row), {**row, "trashed": False}, parent, str(row.get("name")), {})


def _place(row: Mapping[str, Any]) -> tuple[str | None, str | None]:
    """The id of its folder, and its name there."""
    return (row.get("parents") or [None])[0], row.get("name")


def _changed(seen: MirrorFile, how: str) -> Conflict:
    return Conflict(
        f"{seen.path} was {how} on Drive meanwhile",
        hint="run 'memsync push' again: it brings home what a person changed first",
    )
