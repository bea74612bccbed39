"""What Drive says of the mirror's files: a row for each, found by its id or by its path."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from memstore.errors import RemoteMissing
from memstore.remotes.base import MirrorFile
from memstore.remotes.drive.api import PAGE
from memstore.remotes.drive.fields import milliseconds
from memstore.remotes.drive.folders import MirrorFolders, shown_name
from memstore.remotes.drive.journal import Journal
from memstore.remotes.drive.layout import Layout, age, is_folder

FEW: Final = 3
"""Up to so many files are looked up one by one; more by listing their folders."""


class MirrorRows:
    """A row is what Drive answers for `api.FIELDS`. A file is one with bytes: Google's own formats have no MD5."""

    def __init__(self, journal: Journal, layout: Layout, folders: MirrorFolders) -> None:
        self._journal = journal
        self._layout = layout
        self._folders = folders
        self.known: dict[str, dict[str, Any]] = {}
        """By id: each file as last seen."""

    def find(self, files: Sequence[tuple[str, str | None]]) -> list[dict[str, Any] | None]:
        """The row of each (path, id or None): by the id where there is one, else of the file that has the path."""
        by_id = self._by_handles(files)
        wanted = {
            folder
            for path, handle in files
            if handle is None
            and (folder := self._folders.find(posixpath.dirname(path))) is not None
            and not self._layout.is_fresh(folder)
        }
        by_folder: dict[str, list[dict[str, Any]]] = {}
        for row in [*self.known.values()]:
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
                found.append(by_id.get(handle) or (alone and self._nearby(path, handle)) or self.get(handle))
            else:
                found.append(self._at(path, by_folder))
        return found

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
                    self.known[row["id"]] = row
                    yield self.file(row, path)
            paths = next_level

    def get(self, handle: str) -> dict[str, Any] | None:
        """As Drive has it now, in the trash too; None if it is gone for good."""
        try:
            row = self._layout.get("looking at a file of the mirror", handle)
        except RemoteMissing:
            return None
        return row if "md5Checksum" in row else None

    def keep(self, row: dict[str, Any]) -> MirrorFile:
        """Note the row as the last that was seen of its file."""
        self.known[row["id"]] = row
        return self.file(row)

    def file(self, row: Mapping[str, Any], folder: str | None = None) -> MirrorFile:
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

    # -- inside --------------------------------------------------------------------------------------------

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
            found = self.get(pending)  # a put that was cut off may have landed
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
            self._folders.expect_root_there(last=False)
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
