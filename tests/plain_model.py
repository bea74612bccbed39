"""The whole of memsync on one machine as dictionaries of bytes, without any of its reasons.

What lies in `Data/`, what HEAD holds, and a list of what each version held: `test_model` holds memsync to it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from memstore.ids import VersionId

FILE, EXECUTABLE, SYMLINK = "file", "executable", "symlink"


class File(NamedTuple):
    kind: str
    content: bytes
    """Of a symlink: its target."""


Files = dict[str, File]


@dataclass
class Recorded:
    """What the model remembers of a version."""

    id: VersionId
    time_ms: int
    files: Files
    changes: dict[str, str]


class Refused(Exception):
    """The model says that memsync must refuse this."""


def above(path: str) -> list[str]:
    parts = path.split("/")
    return ["/".join(parts[:end]) for end in range(1, len(parts))]


def under(path: str, folder: str) -> bool:
    return not folder or path == folder or path.startswith(folder + "/")


def compared(old: Files, new: Files) -> dict[str, str]:
    """path → the word for how it changed."""
    changes = {}
    for path in old.keys() | new.keys():
        before, after = old.get(path), new.get(path)
        if before == after:
            continue
        if before is None:
            changes[path] = "add"
        elif after is None:
            changes[path] = "delete"
        elif before.kind == after.kind != SYMLINK and after.content.startswith(before.content):
            changes[path] = "append"
        else:
            changes[path] = "replace"
    return changes


@dataclass
class Plain:
    """What a person knows: the folder, the last version, all versions, and the archive's names."""

    disk: Files = field(default_factory=dict)
    head: Files = field(default_factory=dict)
    versions: list[Recorded] = field(default_factory=list)
    references: dict[str, set[tuple[str, File]]] = field(default_factory=dict)

    def has(self, files: Files, path: str) -> bool:
        return any(under(other, path) for other in files)

    def committed(self, paths: Iterable[str] | None) -> Files:
        """HEAD after a commit of these paths (None: all)."""
        if paths is None:
            return dict(self.disk)
        after = dict(self.head)
        for path in paths:
            if any(self.disk[name].kind == SYMLINK for name in above(path) if name in self.disk):
                raise Refused("a link on the way")
            if path and not self.has(self.disk, path) and not self.has(self.head, path):
                raise Refused("neither there nor in HEAD")
            for other in [name for name in after if under(name, path)]:
                del after[other]
            for other in [name for name in self.disk if under(name, path)]:
                after[other] = self.disk[other]
                for folder in above(other):  # what is a folder now is no file any more
                    after.pop(folder, None)
        return after

    def at(self, path: str, version: int | None) -> Files:
        """What `restore` brings back for a path: of a version, or what HEAD has, or what it had last."""
        if not self.versions:
            raise Refused("no version")
        files = self.head if version is None else self.versions[version].files
        chosen = {name: file for name, file in files.items() if under(name, path)}
        if chosen or (not path and version is not None):
            return chosen
        if version is None:
            for number in range(len(self.versions) - 1, 0, -1):
                before, after = self.versions[number - 1].files, self.versions[number].files
                if any(under(name, path) and name not in after for name in before):
                    return {name: file for name, file in before.items() if under(name, path)}
        raise Refused("that version has no such path")

    def restored(self, chosen: Files, folder: str | None, exact: bool) -> tuple[Files, Files, Files]:
        """(HEAD after what stood there was saved, HEAD after, Data/ after)."""
        going = set()
        for name in self.disk.keys() | self.head.keys():
            in_the_way = any(name in above(path) or path in above(name) for path in chosen)
            later = exact and folder is not None and under(name, folder) and name not in chosen
            if in_the_way or later:
                going.add(name)
        touched = [name for name in {*chosen, *going} if name in self.disk or self.has(self.disk, name)]
        saved = self.committed(touched)
        after = {name: file for name, file in saved.items() if name not in going} | chosen
        disk = {name: file for name, file in self.disk.items() if name not in going} | chosen
        return saved, after, disk
