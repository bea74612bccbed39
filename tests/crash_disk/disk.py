"""A disk by the rules of POSIX: what was not synced may be there, or not, or half, in any order.

A *step* is what a program did. Steps on names (create, link, rename, unlink, make and remove a folder) are
durable once their folder was synced; those on bytes and lengths once the file was. A rename within one folder
is atomic; one from folder to folder is two halves. Until then a step is *pending*: after a crash it is there or
not, independently of all others, and of a write each sector of 512 bytes by itself, with the file's length
grown already (its new sectors zeros) or not.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Mapping, Sequence
from typing import Final, NamedTuple

from blake3 import blake3

SECTOR: Final = 512
ROOT: Final = 0
"""The number of the folder that the modelled disk is mounted on."""


class Made(NamedTuple):
    """A file, folder or symlink that came to be. Nothing is seen of it before a name leads there."""

    number: int
    mode: int
    target: str = ""
    """Of a symlink."""


class Names(NamedTuple):
    """A change of a folder's names, as a whole: name → what it leads to, None for nothing."""

    folder: int
    changes: tuple[tuple[str, int | None], ...]


class Write(NamedTuple):
    number: int
    offset: int
    data: bytes


class Length(NamedTuple):
    """ftruncate."""

    number: int
    length: int


class Mode(NamedTuple):
    number: int
    mode: int


class Sync(NamedTuple):
    """A file's bytes and length (`whole`: its mode as well), or a folder's names, are durable."""

    number: int
    whole: bool


class SyncAll(NamedTuple):
    pass


class SyncFailed(NamedTuple):
    """A sync of a file that the disk refused: the system takes the bytes for written all the same. The running
    system shows them, the next sync succeeds, and they are lost unless they were written anew."""

    number: int


Step = Made | Names | Write | Length | Mode | Sync | SyncAll | SyncFailed
Pending = Names | Write | Length | Mode


class Torn(NamedTuple):
    """Of a write: which of its sectors came through, and whether the length did."""

    sectors: frozenset[int]
    """Numbers of sectors of the file (offset // 512)."""
    grown: bool


Fate = bool | Torn
"""Of a pending step: through, lost, or torn."""


class Node(NamedTuple):
    """What a path leads to in a state."""

    number: int
    mode: int
    content: bytes | str
    """Bytes of a file, target of a symlink; '' for a folder."""


State = dict[str, Node]
"""path → node, folders before what is in them."""


class Disk:
    """The durable part of a disk, and what is pending, as the steps go by."""

    def __init__(self) -> None:
        self.modes: dict[int, int] = {}
        self.targets: dict[int, str] = {}
        self.contents: dict[int, bytes] = {}
        self.folders: dict[int, dict[str, int]] = {ROOT: {}}
        self.pending: list[Pending] = []
        self._dropped: list[Pending] = []

    def copy(self) -> Disk:
        other = Disk()
        other.modes, other.targets = dict(self.modes), dict(self.targets)
        other.contents = dict(self.contents)
        other.folders = {number: dict(names) for number, names in self.folders.items()}
        other.pending, other._dropped = list(self.pending), list(self._dropped)
        return other

    # -- steps ---------------------------------------------------------------------------------------------

    def take(self, step: Step) -> None:
        if isinstance(step, Made):
            self._make(step)
        elif isinstance(step, Sync):
            self._settle(lambda item: _is_synced(item, step))
        elif isinstance(step, SyncAll):
            self._settle(lambda item: True)
        elif isinstance(step, SyncFailed):
            self._dropped += [
                item for item in self.pending if isinstance(item, Write) and item.number == step.number
            ]
        else:
            self.pending.append(step)

    def _make(self, step: Made) -> None:
        self.modes[step.number] = step.mode
        if stat.S_ISDIR(step.mode):
            self.folders[step.number] = {}
        elif stat.S_ISLNK(step.mode):
            self.targets[step.number] = step.target
        else:
            self.contents[step.number] = b""

    def _settle(self, chosen: Callable[[Pending], bool]) -> None:
        left: list[Pending] = []
        for item in self.pending:
            if not chosen(item):
                left.append(item)
            elif not any(item is lost for lost in self._dropped):
                _apply(self, item, True)
        self.pending = left

    # -- what a crash leaves -------------------------------------------------------------------------------

    def after(self, fates: Sequence[Fate]) -> State:
        """The tree that a crash leaves if this became of the pending steps, in their order."""
        left = self.copy()
        for item, fate in zip(self.pending, fates, strict=True):
            if fate is not False:
                _apply(left, item, fate)
        return left.tree()

    def tree(self) -> State:
        """What the durable part shows."""
        state: State = {}
        waiting = [("", ROOT)]
        seen: set[int] = set()
        while waiting:
            above, folder = waiting.pop()
            if folder in seen:  # halves of renames may leave a folder in two places: the first counts
                continue
            seen.add(folder)
            for name, number in sorted(self.folders[folder].items()):
                path = above + name
                mode = self.modes[number]
                if stat.S_ISDIR(mode):
                    state[path] = Node(number, mode, "")
                    waiting.append((path + "/", number))
                elif stat.S_ISLNK(mode):
                    state[path] = Node(number, mode, self.targets[number])
                else:
                    state[path] = Node(number, mode, self.contents[number])
        return state


def _number(item: Pending) -> int:
    return item.folder if isinstance(item, Names) else item.number


def _is_synced(item: Pending, step: Sync) -> bool:
    return _number(item) == step.number and (step.whole or not isinstance(item, Mode))


def _apply(disk: Disk, item: Pending, fate: Fate) -> None:
    if isinstance(item, Names):
        for name, number in item.changes:
            if number is None:
                disk.folders[item.folder].pop(name, None)
            else:
                disk.folders[item.folder][name] = number
    elif isinstance(item, Write):
        before = disk.contents[item.number]
        disk.contents[item.number] = (
            _torn(before, item, fate)
            if isinstance(fate, Torn)
            else before[: item.offset].ljust(item.offset, b"\0")
            + item.data
            + before[item.offset + len(item.data) :]
        )
    elif isinstance(item, Length):
        before = disk.contents[item.number]
        disk.contents[item.number] = before[: item.length].ljust(item.length, b"\0")
    else:
        disk.modes[item.number] = item.mode


def _torn(before: bytes, item: Write, fate: Torn) -> bytes:
    content = bytearray(before)
    end = item.offset + len(item.data)
    for sector in sorted(fate.sectors):
        start = max(item.offset, sector * SECTOR)
        stop = min(end, (sector + 1) * SECTOR)
        if start < stop:
            content.extend(bytes(max(0, stop - len(content))))
            content[start:stop] = item.data[start - item.offset : stop - item.offset]
    if fate.grown and len(content) < end:
        content.extend(bytes(end - len(content)))
    return bytes(content)


def sectors_of(item: Write) -> range:
    """The sectors of its file that a write touches."""
    return range(item.offset // SECTOR, (item.offset + len(item.data) + SECTOR - 1) // SECTOR)


# -- a state and a real folder -----------------------------------------------------------------------------


def digest(state: State) -> bytes:
    """The same for states that look the same."""
    hasher = blake3()
    for path, node in sorted(state.items()):
        content = node.content.encode() if isinstance(node.content, str) else node.content
        hasher.update(f"{path}\0{node.mode}\0{len(content)}\0".encode("utf-8", "surrogateescape"))
        hasher.update(content)
    return hasher.digest()


def build(
    state: State, root: str, identities: Mapping[int, tuple[int, int]]
) -> dict[tuple[int, int], tuple[int, int]]:
    """Make a state in an empty folder. Returns what its files' (device, inode) are taken for: those that the
    recorded files had, for a crash gives no file another number."""
    known: dict[tuple[int, int], tuple[int, int]] = {}
    for path, node in state.items():
        place = os.path.join(root, path)
        if stat.S_ISDIR(node.mode):
            os.mkdir(place)
            continue
        if stat.S_ISLNK(node.mode):
            os.symlink(node.content, place)
            continue
        assert isinstance(node.content, bytes)
        descriptor = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            os.write(descriptor, node.content)
            os.fchmod(descriptor, stat.S_IMODE(node.mode))
            facts = os.fstat(descriptor)
        finally:
            os.close(descriptor)
        assert facts.st_size == len(node.content)
        if node.number in identities:
            known[facts.st_dev, facts.st_ino] = identities[node.number]
    return known


def look(root: str, left_out: Callable[[str], bool]) -> tuple[Disk, dict[tuple[int, int], int]]:
    """A real folder as a disk on which everything is durable, and the numbers of its files by (device, inode).
    `left_out(path)` says what is not part of it."""
    disk = Disk()
    numbers: dict[tuple[int, int], int] = {}
    facts = os.stat(root)
    disk.modes[ROOT] = facts.st_mode
    numbers[facts.st_dev, facts.st_ino] = ROOT
    for place, folders, names in os.walk(root):
        above = os.stat(place)
        folder = numbers[above.st_dev, above.st_ino]
        for name in sorted([*folders, *names]):
            path = os.path.join(place, name)
            if left_out(path):
                continue
            facts = os.lstat(path)
            number = numbers.setdefault((facts.st_dev, facts.st_ino), len(numbers))
            disk.folders[folder][name] = number
            disk.modes[number] = facts.st_mode
            if stat.S_ISDIR(facts.st_mode):
                disk.folders[number] = {}
            elif stat.S_ISLNK(facts.st_mode):
                disk.targets[number] = os.readlink(path)
            else:
                with open(path, "rb") as file:
                    disk.contents[number] = file.read()
    return disk, numbers
