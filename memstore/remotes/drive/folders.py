"""The folders of the mirror on Drive: from a path to an id and back."""

from __future__ import annotations

import posixpath
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any, Final

from memstore.errors import RemoteMissing, RemoteTrouble
from memstore.remotes.drive.api import FOLDER_TYPE
from memstore.remotes.drive.journal import Journal
from memstore.remotes.drive.layout import FRESH, STORE, Layout, age, is_folder, quoted
from memstore.remotes.drive.trouble import IdInUse, IdRefused

ARCHIVE: Final = "Archive"
_FOR_SLASH: Final = "_"


def shown_name(name: object) -> str:
    """A name as a component of a path: what a person may write on Drive and no path can hold is replaced."""
    text = str(name).replace("/", _FOR_SLASH).replace("\0", _FOR_SLASH)
    return f"{_FOR_SLASH}{text}" if text in ("", ".", "..") or text.casefold() == STORE else text


class MirrorFolders:
    """Paths are relative to the mirror's root, which is "". Ids are kept in the journal: finding a folder
    that is known costs nothing, and one that is not there any more is found out by whoever uses it.
    """

    def __init__(self, journal: Journal, layout: Layout) -> None:
        self._journal = journal
        self._layout = layout
        self._lock = threading.RLock()
        self._listed: dict[str, float] = {}
        """When this object listed the subfolders of a folder, by id: what is not known there is not there."""
        self._paths: dict[str, str | None] = {}
        """By id; None for a folder outside of the mirror."""

    def find(self, path: str) -> str | None:
        """The id of the folder, None if there is none."""
        if not path:
            return self._layout.id("root")
        known = self._journal.folder(path)
        if known is not None:
            return known
        with self._lock:
            parent = self.find(posixpath.dirname(path))
            if parent is None or self._layout.is_fresh(parent):
                return self._journal.folder(path)
            if time.monotonic() - self._listed.get(parent, -FRESH) < FRESH:
                return self._journal.folder(path)
            try:
                rows = [*self._layout.children([parent], folders=True)]
            except RemoteMissing:
                if parent == self._layout.id("root"):
                    raise
                self.look_anew()  # a person deleted the folder above
                return self.find(path)
            self.learn(posixpath.dirname(path), rows)
            self._listed[parent] = time.monotonic()
            return self._journal.folder(path)

    def make(self, path: str) -> str:
        """The id of the folder, made with those above it if need be."""
        if path.partition("/")[0] == ARCHIVE:
            self._archive()
        found = self.find(path)
        if found is not None:
            return found
        with self._lock:
            key = f"folder:{path}"
            for _ in range(3):
                parent = self.make(posixpath.dirname(path))
                row, made = self._layout.make_folder(key, parent, posixpath.basename(path))
                if not row.get("trashed"):
                    self._journal.set_folder(path, row["id"])
                    # Done, and not forgotten: another process that did not find the folder either, and asks
                    # for its id only now, is given this one and makes no twin.
                    self._journal.done(key)
                    return str(row["id"])
                # A person threw it away since an earlier try, or the folder above it: look at all anew.
                if made:
                    self._layout.delete(f"taking the folder {path} back", row["id"])
                self._journal.forget(key)
                self.look_anew()
            if self._layout.get("looking for the root folder", self._layout.id("root")).get("trashed"):
                raise self._layout.missing()
            raise RemoteTrouble(f"the folder {path} can't be made on Drive", hint="run the command again")

    def _archive(self) -> None:
        """Make or find `Archive/` by its agreed id, without a look; no matter if that does not lead there."""
        agreed = self._layout.archive
        if agreed is None or self._journal.folder(ARCHIVE) is not None:
            return
        root = self._layout.id("root")
        try:
            row = self._layout.create_folder(agreed, root, ARCHIVE, None)
            self._layout.note_fresh(agreed)
        except IdInUse:
            row = self._layout.get(f"looking at {ARCHIVE}", agreed)
        except IdRefused:
            return
        if not row.get("trashed") and row.get("name") == ARCHIVE and root in row.get("parents", ()):
            self._journal.set_folder(ARCHIVE, agreed)

    def look_nearby(self, path: str, handle: str) -> dict[str, Any] | None:
        """A file of the mirror where it is expected, and in the same request what folders `Archive/` has, if
        that may be wanted next; None if it is not known to be wanted, or the file is not found there."""
        folder, name = posixpath.split(path)
        parent, archive = self._journal.folder(folder), self._journal.folder(ARCHIVE)
        if parent is None or archive is None or folder.partition("/")[0] == ARCHIVE:
            return None
        if self._layout.is_fresh(archive) or self._journal.folder(f"{ARCHIVE}/{folder}") is not None:
            return None
        file = f"{quoted(parent)} in parents and name = {quoted(name)}"
        folders = f"{quoted(archive)} in parents and mimeType = {quoted(FOLDER_TYPE)}"
        rows = [*self._layout.search(f"(({file}) or ({folders})) and trashed = false")]
        self.learn(ARCHIVE, [row for row in rows if is_folder(row)])
        self._listed[archive] = time.monotonic()
        return next((row for row in rows if row["id"] == handle), None)

    def learn(self, path: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """Take in the subfolders of `path` that a listing showed. Of twins, the oldest is it."""
        prefix = f"{path}/" if path else ""
        found: dict[str, str] = {}
        for row in sorted(rows, key=age):
            if row["id"] != self._layout.id("store"):
                below = prefix + shown_name(row.get("name"))
                self._paths[row["id"]] = below
                found.setdefault(below, row["id"])
        for below, identity in found.items():
            self._journal.set_folder(below, identity)
        self._journal.landed({f"folder:{below}": identity for below, identity in found.items()})

    def look_anew(self) -> None:
        """A folder is gone, or in the trash, and with it perhaps those above and below: forget these. One that
        a person renamed or moved within the mirror goes on to serve its path."""
        with self._lock:
            self._listed.clear()
            self._paths.clear()
            there = self._reachable()
            for path, identity in self._journal.folders().items():
                if identity not in there:
                    self._journal.set_folder(path, None)
                    self._journal.forget(f"folder:{path}")

    def expect_root_there(self, last: bool) -> None:
        """A folder is gone. Raises what `Layout.missing` says if it is the root, `RemoteTrouble` if this was the
        `last` try."""
        row = None
        try:
            row = self._layout.get("looking for the root folder", self._layout.id("root"))
        except RemoteMissing:
            pass
        if row is None or row.get("trashed"):
            raise self._layout.missing()
        if last:
            raise RemoteTrouble("a folder of the mirror vanished twice", hint="run the command again")

    def _reachable(self) -> set[str]:
        """Ids of all folders of the mirror, level by level; of none if one vanishes meanwhile."""
        found: set[str] = set()
        level = [self._layout.id("root")]
        try:
            while level:
                below = {row["id"] for row in self._layout.children(level, folders=True)}
                level = sorted(below - found)
                found |= below
        except RemoteMissing:
            return set()
        return found

    def path_of(self, identity: str | None) -> str | None:
        """The path of the folder with this id; None if it is not in the mirror."""
        if identity is None:
            return None
        if identity == self._layout.id("root"):
            return ""
        if identity not in self._paths:
            self._paths |= {known: path for path, known in self._journal.folders().items()}
        if identity not in self._paths:
            self._paths[identity] = self._climb(identity)
        return self._paths[identity]

    def _climb(self, identity: str) -> str | None:
        if identity == self._layout.id("store"):
            return None
        try:
            row = self._layout.get("looking for a folder of the mirror", identity)
        except RemoteMissing:
            return None
        parents = row.get("parents") or [None]
        above = self.path_of(parents[0])
        if above is None:
            return None
        name = shown_name(row.get("name"))
        return f"{above}/{name}" if above else name
