"""Looking at a Drive from outside: what lies where, twins and trash included."""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

from .drive import Drive
from .items import Item


class Entry(NamedTuple):
    """One item with its path below the root asked about; folders have no md5."""

    path: str
    id: str
    md5: str | None
    trashed: bool
    size: int
    is_folder: bool


def entries(drive: Drive, root: str = "root") -> list[Entry]:
    """Everything below `root` by path, then by age; twins share a path. Lock held."""
    found: list[tuple[str, float, Entry]] = []

    def walk(folder: Item, prefix: str) -> None:
        for file_id in drive.children.get(folder.id, ()):
            item = drive.items[file_id]
            path = prefix + item.name
            md5 = item.content.md5 if item.content else None
            entry = Entry(path, item.id, md5, drive.trashed(item), item.size, item.is_folder)
            found.append((path, item.created, entry))
            walk(item, path + "/")

    walk(drive.items[drive.resolve(root)], "")
    return [entry for _, _, entry in sorted(found, key=lambda row: (row[0], row[1]))]


def contents(drive: Drive, root: str = "root") -> dict[str, bytes]:
    """Path to bytes of what is not in the trash; of twins every one has `#ID` after its path.

    So a test that compares with a plain dict of expected files fails when there is a twin.
    """
    files = [entry for entry in entries(drive, root) if not (entry.trashed or entry.is_folder)]
    times = Counter(entry.path for entry in files)
    result: dict[str, bytes] = {}
    for entry in files:
        twin = times[entry.path] > 1
        content = drive.items[entry.id].content
        key = f"{entry.path}#{entry.id}" if twin else entry.path
        result[key] = content.data if content else b""
    return result
