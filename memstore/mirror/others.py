"""What other devices did to the mirror since this one looked."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from memstore.errors import Conflict, RemoteMissing
from memstore.ids import ContentId
from memstore.mirror.known import forget, is_in_history, remember
from memstore.remotes.base import MirrorFile, MirrorTarget

if TYPE_CHECKING:
    from memstore.repository import Repository


def learn_of_others(repository: Repository, target: MirrorTarget) -> None:
    """Note what other devices did to a mirror that keeps notes: files that they made, refreshed, or moved to
    `Archive/`. Two files of one path (a list that lagged when the second was made) become one again; of both,
    the bytes are in history. What a person did is left to the steps."""
    there: dict[str, tuple[ContentId, MirrorFile]] = {}
    paths: dict[str, str] = {}
    for seen in target.walk():
        paths[seen.handle] = seen.path
        noted = seen.notes.get("content")
        if seen.trashed or noted is None or seen.md5 is None or seen.md5 != seen.notes.get("md5"):
            continue
        id = ContentId.from_hex(noted)
        if not is_in_history(repository, seen.path, id):
            continue
        twin = there.get(seen.path)
        if twin is not None:
            stays, goes = sorted((twin, (id, seen)), key=lambda item: item[1].handle)
            with contextlib.suppress(Conflict, RemoteMissing):
                target.remove(goes[1])
            there[seen.path] = stays
        else:
            there[seen.path] = (id, seen)
    for path, (id, seen) in there.items():
        remember(repository, path, id, seen)
    rows = repository.catalogue.db.execute("SELECT path, handle FROM mirror").fetchall()
    for path, handle in rows:
        if path not in there and paths.get(handle, path) != path and paths[handle].startswith("Archive/"):
            forget(repository, path)
