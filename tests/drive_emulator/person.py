"""A human in front of the Drive web interface.

The person owns everything, is bound by no scope, rate or read-only mode, and carries no client
id: files added here are invisible to `drive.file`, edits of files an app made are visible to it.
Everything shows up in changes.
"""

from __future__ import annotations

from .drive import Drive
from .items import FOLDER, OCTETS, PERSON, Content, Item
from .metadata import Metadata


class Person:
    """Each method is one action; files are named by id, or found by `find`."""

    def __init__(self, drive: Drive) -> None:
        self._drive = drive

    def find(self, path: str, *, under: str = "root") -> str:
        """The id at `A/B/c.txt` below a folder, trash left out. Raises LookupError.

        Of twins the oldest, which is what the person would most likely click on.
        """
        with self._drive.lock:
            here = self._drive.items[self._drive.resolve(under)]
            for name in path.split("/"):
                twins = [self._drive.items[i] for i in self._drive.children.get(here.id, ())]
                twins = [t for t in twins if t.name == name and not t.explicitly_trashed]
                if not twins:
                    raise LookupError(f"no {name!r} in {here.name!r} ({path})")
                here = min(twins, key=lambda item: item.created)
            return here.id

    def add_file(self, name: str, data: bytes, *, parent: str = "root", mime_type: str = OCTETS) -> str:
        """Upload a file by hand; its id. A name that exists makes a twin."""
        meta = Metadata(name=name, mime_type=mime_type, parents=(parent,))
        content = Content.of(data)
        with self._drive.lock:
            return self._drive.create(PERSON, meta, content, all_drives=True).id

    def add_folder(self, name: str, *, parent: str = "root") -> str:
        meta = Metadata(name=name, mime_type=FOLDER, parents=(parent,))
        with self._drive.lock:
            return self._drive.create(PERSON, meta, None, all_drives=True).id

    def add_document(self, name: str, *, parent: str = "root") -> str:
        """One of Google's own formats: it has no bytes, no md5 and no size."""
        kind = "application/vnd.google-apps.document"
        meta = Metadata(name=name, mime_type=kind, parents=(parent,))
        with self._drive.lock:
            return self._drive.create(PERSON, meta, None, all_drives=True).id

    def edit(self, file_id: str, data: bytes) -> None:
        """New content (`Manage versions`, or an editor that saves in place)."""
        self._update(file_id, Metadata(), Content.of(data))

    def rename(self, file_id: str, name: str) -> None:
        self._update(file_id, Metadata(name=name))

    def move(self, file_id: str, parent: str) -> None:
        with self._drive.lock:
            old = self._item(file_id).parent or ""
        self._update(file_id, Metadata(), add=[parent], remove=[old])

    def trash(self, file_id: str) -> None:
        self._update(file_id, Metadata(trashed=True))

    def untrash(self, file_id: str) -> None:
        self._update(file_id, Metadata(trashed=False))

    def delete(self, file_id: str) -> None:
        """Delete for ever, with everything below."""
        with self._drive.lock:
            self._drive.delete(PERSON, self._item(file_id))

    def empty_trash(self) -> None:
        with self._drive.lock:
            self._drive.empty_trash(PERSON)

    def copy(self, file_id: str, name: str) -> str:
        with self._drive.lock:
            item = self._item(file_id)
            return self._drive.copy(PERSON, item, Metadata(name=name), all_drives=True).id

    def _item(self, file_id: str) -> Item:
        return self._drive.get(PERSON, file_id, all_drives=True)

    def _update(
        self,
        file_id: str,
        meta: Metadata,
        content: Content | None = None,
        add: list[str] | None = None,
        remove: list[str] | None = None,
    ) -> None:
        with self._drive.lock:
            item = self._item(file_id)
            self._drive.update(
                PERSON, item, meta, content, add=add or [], remove=remove or [], all_drives=True
            )
