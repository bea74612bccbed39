"""Archive references: names for what a path held before. They are no files and no objects, only names that
a version's change carries; the catalogue finds them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final, NamedTuple

from memstore.ids import ContentId, VersionId
from memstore.manifest.history import changes_of, entry_at
from memstore.manifest.version import Change, ChangeKind, Entry, Kind, archive_name, archive_name_with
from memstore.objects.catalogue import Catalogue

FOLDER: Final = "Archive/"
STAMP: Final = r"_(\d{4})-(\d\d)-(\d\d)T(\d\d)-(\d\d)-(\d\d)Z(~[0-9a-f]{8})?"
"""What stands behind the stem: the time of the version, and where that was taken, a mark of the content."""


class Reference(NamedTuple):
    """One archive reference, resolved."""

    name: str
    path: str
    """Where it came from."""
    entry: Entry
    """What the path held."""
    version: VersionId
    """The version that recorded the reference."""


class References:
    """Gives the changes of one version their references, each with a name that no other content has."""

    def __init__(self, catalogue: Catalogue, time_ms: int) -> None:
        self._catalogue = catalogue
        self._time_ms = time_ms
        self._taken: dict[str, ContentId] | None = None

    def given_to(self, change: Change) -> Change:
        """The change with `archived_as`, where it replaced, deleted or archived something."""
        if change.change not in (ChangeKind.REPLACE, ChangeKind.DELETE, ChangeKind.ARCHIVE):
            return change
        row = self._catalogue.tree_entry(change.path)
        if row is None:
            return change
        content = ContentId(row[2])
        name = archive_name(change.path, self._time_ms)
        taken = self._names_taken()
        if taken.get(name.casefold(), content) != content:
            name = archive_name_with(change.path, self._time_ms, content)
        taken[name.casefold()] = content
        return change._replace(archived_as=name)

    def _names_taken(self) -> dict[str, ContentId]:
        """Names of the same second, and real files in `Data/Archive/`, case-folded: name → content."""
        if self._taken is None:
            second = self._time_ms - self._time_ms % 1000
            self._taken = {
                reference.name.casefold(): reference.entry.content
                for reference in between(self._catalogue, second, second + 999)
            }
            # Any spelling of `Archive/` is the same folder on a disk that folds case.
            rows = self._catalogue.db.execute(
                "SELECT path, content FROM tree WHERE path >= 'A' AND path < 'b' AND path LIKE 'archive/%'"
            )
            for path, content in rows:
                self._taken.setdefault(path.casefold(), ContentId(content))
        return self._taken


def looks_like_one(path: str) -> bool:
    """Whether a path is named as references are."""
    import re

    return path.startswith(FOLDER) and re.search(STAMP, path.rpartition("/")[2]) is not None


def between(catalogue: Catalogue, first_ms: int, last_ms: int) -> Iterator[Reference]:
    """The references that versions of those times recorded, both ends included."""
    versions = catalogue.db.execute(
        "SELECT seq, id, parent FROM versions WHERE time BETWEEN ? AND ?", (first_ms, last_ms)
    ).fetchall()
    for seq, id, parent in versions:
        for change in changes_of(catalogue, seq):
            if change.archived_as is not None:
                yield from _resolved(catalogue, VersionId(id), parent, change.path, change.archived_as)


def under(catalogue: Catalogue, folder: str = "") -> Iterator[Reference]:
    """Every reference whose name lies under `folder` (`Archive/…`), sorted by name."""
    # In the order in which the records lie, so that each group of them is decoded once.
    versions = catalogue.db.execute(
        "SELECT seq, id, parent FROM versions WHERE seq IN (SELECT seq FROM changes WHERE archived) ORDER BY seq"
    ).fetchall()
    folder = folder.rstrip("/")
    found: list[tuple[str, int, Reference]] = []
    for seq, id, parent in versions:
        for change in changes_of(catalogue, seq):
            name = change.archived_as
            if name is not None and (not folder or name == folder or name.startswith(folder + "/")):
                resolved = _resolved(catalogue, VersionId(id), parent, change.path, name)
                found += [(name, seq, reference) for reference in resolved]
    for _, _, reference in sorted(found, key=lambda item: item[:2]):
        yield reference


def any_under(catalogue: Catalogue, folder: str) -> bool:
    """Whether the path is a folder in which the names of references lie."""
    return folder.startswith(FOLDER) and next(under(catalogue, folder), None) is not None


def find(catalogue: Catalogue, name: str) -> list[Reference]:
    """The references of that very name; more than one only where devices that worked apart gave it twice."""
    if not name.startswith(FOLDER):
        return []
    found: dict[ContentId, Reference] = {}
    for match in re.finditer(STAMP, name):
        year, month, day, hour, minute, second = (int(part) for part in match.groups()[:6])
        instant = _epoch_ms(year, month, day, hour, minute, second)
        if instant is not None:
            for reference in between(catalogue, instant, instant + 999):
                if reference.name == name:
                    found.setdefault(reference.entry.content, reference)
    return list(found.values())


def _epoch_ms(year: int, month: int, day: int, hour: int, minute: int, second: int) -> int | None:
    from datetime import UTC, datetime

    try:
        return int(datetime(year, month, day, hour, minute, second, tzinfo=UTC).timestamp()) * 1000
    except ValueError:
        return None


def _resolved(
    catalogue: Catalogue, version: VersionId, parent: int | None, path: str, name: str
) -> Iterator[Reference]:
    """The reference, if the version's first parent has what it stands for."""
    before = None if parent is None else entry_at(catalogue, parent, path)
    if before is not None:
        kind, size, content, modified = before[:4]
        entry = Entry(path, Kind(kind), size, ContentId(content), modified)
        yield Reference(name, path, entry, version)
