"""What lies at a path of `Data/` now: asked before anything is replaced there (invariant 5)."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

from blake3 import blake3

from memstore import files
from memstore.ids import ContentId
from memstore.manifest.version import Entry, Kind
from memstore.worktree import found, materialise, reading
from memstore.worktree.found import Found, StatKey
from memstore.worktree.names import problem

if TYPE_CHECKING:
    from memstore.repository import Repository


class Here(NamedTuple):
    """What lies at a path of `Data/` now."""

    kind: Kind
    content: ContentId
    key: StatKey


def content_at(repository: Repository, path: str) -> Here | None:
    """Hash what lies at a path; None if no file of that very name is there (or can be), or only behind a link. Raises
    `DiskTrouble` if it can't be read."""
    if problem(path) is not None:
        return None
    data = repository.workspace.data
    try:
        item: Found | None = found.look(data, path)
    except OSError as error:
        raise files.disk_error(error, "could not look at", os.path.join(data, path)) from error
    if item is None or not materialise.is_real_path(data, path.rpartition("/")[0]):
        return None
    place = os.path.join(data, path)
    if materialise.other_spelling(place) is not None:
        return None
    try:
        return _hashed(place, Kind(item.kind))
    except FileNotFoundError:
        return None  # gone since


def _hashed(place: str, kind: Kind) -> Here:
    if kind == Kind.SYMLINK:
        raw, key = reading.read_link(place)
        return Here(kind, ContentId.of(raw), key)
    with reading.StableFile(place) as file:
        hasher = blake3(max_threads=blake3.AUTO)
        for piece in file.pieces():
            hasher.update(piece)
        if file.changed():
            raise reading.changed(place)
        return Here(kind, ContentId(hasher.digest()), file.key)


def same(here: Here | None, entry: Entry | None) -> bool:
    """Whether that is what lies there: its content, and whether it is a link."""
    if here is None or entry is None:
        return here is None and entry is None
    return here.content == entry.content and (here.kind == Kind.SYMLINK) == (entry.kind == Kind.SYMLINK)
