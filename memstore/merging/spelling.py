"""Names that one disk keeps apart and another takes for one: case, and the form of Unicode."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from memstore.manifest.version import Entry
from memstore.merging.names import above, folders
from memstore.worktree.names import folded


def agreed(
    base: Mapping[str, Entry], first: Mapping[str, Entry], second: Mapping[str, Entry]
) -> Iterator[tuple[str, str]]:
    """(old, new) spellings of folders that each side has in its own; outer folders first, and each as it is
    called once those before were renamed. The spelling that the base has not goes before, then the lesser."""
    while True:
        pair = _next(base, first, second)
        if pair is None:
            return
        yield pair


def _next(
    base: Mapping[str, Entry], first: Mapping[str, Entry], second: Mapping[str, Entry]
) -> tuple[str, str] | None:
    one, two = folders(first), folders(second)
    lone = {folded(folder): folder for folder in sorted(one - two)}
    for folder in sorted(two - one, key=lambda folder: (folder.count("/"), folder)):
        other = lone.get(folded(folder))
        if other is not None:
            was = folders(base)
            new, old = sorted((folder, other), key=lambda name: (name in was, name))
            return old, new
    return None


def renamed(manifest: dict[str, Entry], old: str, new: str) -> list[str]:
    """Give a folder its other spelling, in place; the new paths."""
    moved = []
    for path in [path for path in manifest if path.startswith(old + "/")]:
        entry = manifest.pop(path)
        place = new + path[len(old) :]
        manifest[place] = entry._replace(path=place)
        moved.append(place)
    return moved


def collisions(
    entries: Mapping[str, Entry], sides: Sequence[Mapping[str, Entry]]
) -> list[tuple[str, str | None]]:
    """Paths that must make way: (path, None) where it is also a folder, (path, other) where it and another are
    one name on some disks. Not where one side had both: that disk can hold them."""
    found: list[tuple[str, str | None]] = []
    inside: dict[str, str] = {}
    exact = folders(entries)
    for folder in sorted(exact):
        inside[folded(folder)] = folder
    spelled: dict[str, str] = {}
    for path in sorted(entries):
        key = folded(path)
        below = path if path in exact else inside.get(key)
        if below == path or (
            below is not None and not any(path in side and _has_folder(side, below) for side in sides)
        ):
            found.append((path, None))
            continue
        other = spelled.setdefault(key, path)
        if other != path and not any(path in side and other in side for side in sides):
            found.append((path, other))
    return found


def _has_folder(side: Mapping[str, Entry], folder: str) -> bool:
    return any(path.startswith(folder + "/") for path in side)


__all__ = ["above", "agreed", "collisions", "renamed"]
