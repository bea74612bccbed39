"""The state of one person's Drive, and the rules by which it changes.

Every public method is called with `lock` held, does its whole work or raises `ApiError` with
nothing changed, and never waits. Callers are trusted to have been authenticated.
"""

from __future__ import annotations

import random
import string
import threading
from collections.abc import Iterator

from .behaviour import Behaviour
from .changes import ChangeLog
from .clock import Clock
from .errors import ApiError, not_found
from .items import (
    FOLDER,
    GOOGLE_TYPES,
    MAY_DELETE,
    MAY_TRASH,
    OCTETS,
    SHORTCUT,
    Birth,
    Caller,
    Content,
    Item,
    Revision,
    Role,
    SharedDrive,
    View,
)
from .metadata import Metadata, merged

_ALPHABET = string.ascii_letters + string.digits + "-_"
MAX_KEPT_FOREVER = 200


class Drive:
    """Items by id; names mean nothing here, a folder may hold twins."""

    def __init__(self, behaviour: Behaviour, clock: Clock, seed: int = 0) -> None:
        self.lock = threading.RLock()
        self.behaviour = behaviour
        self.clock = clock
        self.changes = ChangeLog()
        self.items: dict[str, Item] = {}
        self.children: dict[str, dict[str, None]] = {}
        self.shared: dict[str, SharedDrive] = {}
        self.reserved: dict[str, float] = {}
        self.deleted: set[str] = set()
        self.lists_by_name = 0
        self.lists_by_parent = 0
        self.usage = 0
        self._random = random.Random(seed)
        self.root = self._plant(self._new_id("0A", 17), "My Drive", None)

    def _plant(self, item_id: str, name: str, drive_id: str | None) -> Item:
        now = self.clock.now()
        item = Item(item_id, name, FOLDER, None, drive_id, now, now, Birth(now, 0, 0))
        self.items[item_id] = item
        self.children[item_id] = {}
        return item

    def add_shared_drive(self, name: str, role: Role = "organizer") -> SharedDrive:
        drive_id = self._new_id("0A", 17)
        self._plant(drive_id, name, drive_id)
        self.shared[drive_id] = SharedDrive(drive_id, name, self.clock.now(), role)
        return self.shared[drive_id]

    def _new_id(self, prefix: str = "1", length: int = 32) -> str:
        return prefix + "".join(self._random.choices(_ALPHABET, k=length))

    # --- ids ---

    def reserve(self, count: int) -> list[str]:
        now = self.clock.now()
        ids = [self._new_id() for _ in range(count)]
        self.reserved.update(dict.fromkeys(ids, now))
        return ids

    def check_id(self, file_id: str) -> None:
        """409 when in use, 400 when it was never reserved or its reservation ran out."""
        if file_id in self.items:
            raise ApiError("fileIdInUse")
        since = self.reserved.get(file_id)
        lifetime = self.behaviour.reserved_id_lifetime
        unusable = since is None or file_id in self.deleted
        if since is not None and lifetime is not None:
            unusable = unusable or self.clock.now() - since > lifetime
        if unusable:
            raise ApiError("invalid", "The provided file ID is not usable.", parameter="id")

    # --- looking ---

    def resolve(self, file_id: str) -> str:
        return self.root.id if file_id == "root" else file_id

    def get(self, caller: Caller, file_id: str, *, all_drives: bool) -> Item:
        """The item, or the same 404 for absent, invisible, and on a shared drive unasked."""
        item = self.items.get(self.resolve(file_id))
        if item is None or not self.visible(caller, item):
            raise not_found(file_id)
        if item.drive_id is not None and not all_drives and not caller.person:
            raise not_found(file_id)
        return item

    def visible(self, caller: Caller, item: Item) -> bool:
        """`drive.file` sees only what its own client id made."""
        if caller.sees_all or caller.client_id in item.apps:
            return True
        return item is self.root and self.behaviour.drive_file_sees_root

    def view(self, caller: Caller, item: Item) -> View:
        above = self.items.get(item.parent or "")
        shown = above is not None and (self.behaviour.drive_file_shows_parents or self.visible(caller, above))
        parents = (above.id,) if above is not None and shown else ()
        return View(
            item, caller, self.trashed(item), self.writable(caller, item), self.role(caller, item), parents
        )

    def role(self, caller: Caller, item: Item) -> Role:
        """What the caller is where the item lies; at home everybody may do everything."""
        shared = self.shared.get(item.drive_id or "")
        return "organizer" if caller.person or shared is None else shared.role

    def writable(self, caller: Caller, item: Item) -> bool:
        if caller.person:
            return True
        shared = self.shared.get(item.drive_id or "")
        locked = self.behaviour.read_only or (shared is not None and shared.read_only)
        return caller.may_write and not locked

    def trashed(self, item: Item) -> bool:
        """Trash cascades: an item is in it when any folder above it is."""
        return any(above.explicitly_trashed for above in self.ancestry(item))

    def ancestry(self, item: Item) -> Iterator[Item]:
        """The item itself, its folder, and so on up to the root."""
        here: Item | None = item
        while here is not None:
            yield here
            here = self.items.get(here.parent) if here.parent else None

    def below(self, item: Item) -> Iterator[Item]:
        """The item and everything under it, folders before what they hold."""
        waiting = [item]
        while waiting:
            here = waiting.pop()
            yield here
            waiting += [self.items[child] for child in self.children.get(here.id, ())]

    # --- making ---

    def create(
        self,
        caller: Caller,
        meta: Metadata,
        content: Content | None,
        *,
        all_drives: bool = False,
        keep_forever: bool = False,
    ) -> Item:
        """A new item under `meta.parents` (one, default the root). Names are not unique."""
        mime_type = meta.mime_type or OCTETS
        if content is None and not mime_type.startswith(GOOGLE_TYPES):
            content = Content.of(b"")
        if meta.id is not None:
            self.check_id(meta.id)
        size = content.size if content else 0
        parent = self.check_create(caller, meta, size, all_drives=all_drives)
        app = merged({}, meta.app_properties, self.behaviour)
        public = merged({}, meta.properties, self.behaviour)
        now = self.clock.now()
        item = Item(
            id=meta.id or self._new_id(),
            name="Untitled" if meta.name is None else meta.name,
            mime_type=mime_type,
            parent=parent.id,
            drive_id=parent.drive_id,
            created=now if meta.created is None else meta.created,
            modified=now if meta.modified is None else meta.modified,
            birth=Birth(now, self.lists_by_name, self.lists_by_parent),
            apps=set() if caller.person else {caller.client_id},
            app_properties={caller.client_id: app} if app else {},
            properties=public,
            extra=dict(meta.extra),
            starred=bool(meta.starred),
        )
        self.items[item.id] = item
        self.children[parent.id][item.id] = None
        if item.is_folder:
            self.children[item.id] = {}
        if content is not None:
            self._revise(item, content, keep_forever=keep_forever)
        self.changes.note(item, now)
        return item

    def check_create(self, caller: Caller, meta: Metadata, size: int, *, all_drives: bool) -> Item:
        """The folder a create would go to, after all that can be said before the bytes come."""
        mime_type = meta.mime_type or OCTETS
        own_format = mime_type.startswith(GOOGLE_TYPES) and mime_type not in (FOLDER, SHORTCUT)
        if own_format and meta.id is not None:
            raise ApiError("invalid", "Google's own formats take no id.", parameter="id")
        if len(meta.parents or ()) > 1:
            raise ApiError("invalid", "A file has one parent.", parameter="parents")
        parent = self._parent(caller, meta.parents[0] if meta.parents else "root", all_drives)
        self._check_room(parent, folder=mime_type == FOLDER)
        if parent.drive_id is None:
            self._check_storage(size, caller)
        return parent

    def copy(self, caller: Caller, source: Item, meta: Metadata, *, all_drives: bool) -> Item:
        if source.content is None:
            raise ApiError("badRequest", "This file cannot be copied.")
        filled = Metadata(
            id=meta.id,
            name=meta.name or f"Copy of {source.name}",
            mime_type=meta.mime_type or source.mime_type,
            parents=meta.parents or (source.parent or "root",),
            modified=meta.modified,
            app_properties={
                **source.app_properties.get(caller.client_id, {}),
                **meta.app_properties,
            },
            properties={**source.properties, **meta.properties},
        )
        return self.create(caller, filled, source.content, all_drives=all_drives)

    def _parent(self, caller: Caller, file_id: str, all_drives: bool) -> Item:
        # Creating in the root works under `drive.file` even where `get` does not see it.
        is_root = self.resolve(file_id) == self.root.id
        parent = self.root if is_root else self.get(caller, file_id, all_drives=all_drives)
        if not parent.is_folder:
            raise ApiError("parentNotAFolder")
        self.check_writable(caller, parent)
        return parent

    def check_writable(self, caller: Caller, item: Item) -> None:
        if not caller.may_write:
            raise ApiError("insufficientPermissions")
        if not self.writable(caller, item):
            raise ApiError("insufficientFilePermissions")

    def _check_storage(self, more: int, caller: Caller) -> None:
        limit = self.behaviour.storage_limit
        if limit is not None and more and self.usage + more > limit and not caller.person:
            raise ApiError("storageQuotaExceeded")

    def _check_room(self, parent: Item, *, folder: bool, height: int = 1) -> None:
        """The limits on children, depth and items; My Drive's root has none on children."""
        limits = self.behaviour
        root = parent is self.root
        if not root and len(self.children[parent.id]) >= limits.max_children:
            raise ApiError("numChildrenInNonRootLimitExceeded")
        depth = sum(1 for _ in self.ancestry(parent)) - 1
        if folder and depth + height > limits.max_depth:
            shared = parent.drive_id is not None
            raise ApiError("teamDriveHierarchyTooDeep" if shared else "myDriveHierarchyDepthLimitExceeded")
        if parent.drive_id is not None:
            held = sum(1 for item in self.items.values() if item.drive_id == parent.drive_id)
            if held > limits.max_drive_items:
                raise ApiError("teamDriveFileLimitExceeded")

    # --- changing ---

    def update(
        self,
        caller: Caller,
        item: Item,
        meta: Metadata,
        content: Content | None,
        *,
        add: list[str],
        remove: list[str],
        all_drives: bool = False,
        keep_forever: bool = False,
    ) -> Item:
        """Metadata, content and move in one step: everything is checked before anything is."""
        self.check_writable(caller, item)
        if item.parent is None and (add or remove or meta.trashed or meta.name):
            raise ApiError("insufficientFilePermissions")
        if (meta.trashed is not None or add or remove) and self.role(caller, item) not in MAY_TRASH:
            raise ApiError("insufficientFilePermissions")
        if content is not None and item.mime_type.startswith(GOOGLE_TYPES):
            raise ApiError("badRequest", "This item holds no bytes.")
        if content is not None and item.drive_id is None:
            self._check_storage(max(0, content.size - item.size), caller)
        mine = item.app_properties.get(caller.client_id, {})
        app = merged(mine, meta.app_properties, self.behaviour)
        public = merged(item.properties, meta.properties, self.behaviour)
        target = self._move_target(caller, item, add, remove, all_drives)
        now = self.clock.now()
        item.app_properties[caller.client_id] = app
        item.properties = public
        item.extra.update(meta.extra)
        if meta.name is not None:
            item.name = meta.name
        if meta.mime_type is not None and not item.mime_type.startswith(GOOGLE_TYPES):
            item.mime_type = meta.mime_type
        if meta.starred is not None:
            item.starred = meta.starred
        if content is not None:
            self._revise(item, content, keep_forever=keep_forever)
            item.modified = now
        elif (meta.name or meta.mime_type) and self.behaviour.rename_is_modification:
            item.modified = now
        if meta.modified is not None:
            item.modified = meta.modified
        if target is not None and item.parent is not None:
            self._relocate(item, target)
        if meta.trashed is not None:
            self._set_trashed(item, meta.trashed)
        self._touch(item)
        return item

    def _move_target(
        self, caller: Caller, item: Item, add: list[str], remove: list[str], all_drives: bool
    ) -> Item | None:
        """Where a move leads, or None when the item stays. One parent, so add needs remove."""
        added = [self.resolve(file_id) for file_id in add]
        removed = [self.resolve(file_id) for file_id in remove]
        if not added and not removed:
            return None
        if len(added) > 1:
            raise ApiError("cannotAddParent")
        if not added:
            if item.parent in removed:
                raise ApiError("badRequest", "A file must have a parent.")
            return None
        target = self._parent(caller, add[0], all_drives)
        if target.id == item.parent:
            if self.behaviour.repeated_add_parent == "refused":
                raise ApiError("badRequest", "The file already has this parent.")
            return None
        if item.parent not in removed:
            raise ApiError("cannotAddParent")
        if any(above is item for above in self.ancestry(target)):
            raise ApiError("badRequest", "A folder can't lie in itself.")
        height = 1
        if item.is_folder:
            base = sum(1 for _ in self.ancestry(item))
            folders = (f for f in self.below(item) if f.is_folder)
            height = max(sum(1 for _ in self.ancestry(f)) for f in folders) - base + 1
        self._check_room(target, folder=item.is_folder, height=height)
        return target

    def _relocate(self, item: Item, target: Item) -> None:
        del self.children[item.parent or ""][item.id]
        self.children[target.id][item.id] = None
        item.parent = target.id
        for inner in self.below(item):
            if inner.drive_id != target.drive_id:
                self.usage += inner.size if target.drive_id is None else -inner.size
                inner.drive_id = target.drive_id

    def _set_trashed(self, item: Item, trashed: bool) -> None:
        if item.explicitly_trashed == trashed:
            return
        item.explicitly_trashed = trashed
        item.trashed_at = self.clock.now() if trashed else None
        if self.behaviour.changes_name_descendants:
            for inner in self.below(item):
                if inner is not item:
                    self._touch(inner)

    def _touch(self, item: Item) -> None:
        item.version += 1
        self.changes.note(item, self.clock.now())

    def delete(self, caller: Caller, item: Item) -> None:
        """For ever, and whatever lies below goes with it. On a shared drive only its managers may."""
        self.check_writable(caller, item)
        if item.parent is None or self.role(caller, item) not in MAY_DELETE:
            raise ApiError("insufficientFilePermissions")
        now = self.clock.now()
        for inner in list(self.below(item)):
            del self.items[inner.id]
            self.children.pop(inner.id, None)
            self.deleted.add(inner.id)
            if inner.drive_id is None:
                self.usage -= inner.size
            if inner is item or self.behaviour.changes_name_descendants:
                self.changes.note(inner, now, gone=True)
        self.children[item.parent].pop(item.id, None)

    def empty_trash(self, caller: Caller, older_than: float = 0.0) -> None:
        """Delete what was trashed explicitly at least `older_than` seconds ago."""
        now = self.clock.now()
        for item in list(self.items.values()):
            due = item.trashed_at is not None and now - item.trashed_at >= older_than
            if due and item.id in self.items and self.visible(caller, item):
                self.delete(caller, item)

    # --- revisions ---

    def _revise(self, item: Item, content: Content, *, keep_forever: bool) -> None:
        kept = sum(1 for revision in item.revisions if revision.keep_forever)
        if keep_forever and kept >= MAX_KEPT_FOREVER:
            raise ApiError("badRequest", "Too many revisions are kept for ever.")
        now = self.clock.now()
        if item.drive_id is None:
            self.usage += content.size - item.size
        fresh = Revision(self._new_id("0B", 50), content, item.mime_type, now, keep_forever)
        item.revisions.append(fresh)
        self.prune(item)

    def prune(self, item: Item) -> None:
        """Old revisions go after 30 days or past 100, unless kept; the head never."""
        now, limits = self.clock.now(), self.behaviour
        *old, head = item.revisions
        young = [r for r in old if r.keep_forever or now - r.modified < limits.revision_lifetime]
        spare = len(young) + 1 - limits.max_revisions
        for revision in list(young):
            if spare > 0 and not revision.keep_forever:
                young.remove(revision)
                spare -= 1
        item.revisions = [*young, head]
