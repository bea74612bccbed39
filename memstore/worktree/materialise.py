"""Putting files into `Data/`, and taking them out, so that no name leads anywhere else.

Paths come from manifests, and so from strangers: each is checked, each folder above it must be a real folder
and no link, and nothing is ever written through a symlink. A file appears whole or not at all: it is written
beside its place under a temporary name and renamed over. Whether what stands there may go is the caller's
question; here only files and symlinks are replaced, never a folder, and never a name that differs only in
case on a disk that takes both for one.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterable, Iterator

from memstore import files
from memstore.errors import BadInput, Conflict
from memstore.manifest.version import Kind
from memstore.worktree.found import StatKey, described, is_folder, kind_of, stat_key
from memstore.worktree.names import check_path, folded, problem, shown


def write_file(
    root: str, path: str, kind: int, pieces: Iterable[bytes], modified_ms: int, *, durable: bool = False
) -> StatKey:
    """Write one file below `root`, replacing the file that is there; its stat key afterwards.

    `kind` is a `Kind` or its number; a symlink's pieces are its target. The permissions of a file that is
    replaced stay, but for the executable bit. Folders are made as needed. `durable`: it survives a power cut.
    Raises `BadInput` for a bad path, a link or a file on the way, a folder in its place; `Conflict` for a
    name that differs only in case; `DiskTrouble`; and what `pieces` raises. After any of these the old file
    stands.
    """
    check_path(path)
    target = os.path.join(root, path)
    folder = os.path.dirname(target)
    made = _make_parents(root, path)
    try:
        with _anchored(root, path) as at:
            before = _replaceable(target, path)
            if kind == Kind.SYMLINK:
                temporary = _new_link(folder, b"".join(pieces), path, at)
                written = _look(temporary, at)
            else:
                with files.new_file(folder, mode=_mode(kind, before), at=at) as (descriptor, temporary):
                    for piece in pieces:
                        files.write_all(descriptor, piece, temporary)
                    if durable:
                        files.sync(descriptor, temporary)
                    written = os.fstat(descriptor)
            try:
                _stamp(temporary, modified_ms, at)
                files.rename(temporary, target, at=at)
            except BaseException:
                files.discard(temporary, at=at)
                raise
            now = _look(target, at)
    except BaseException:
        for place in reversed(made):
            files.remove_folder(place)
        raise
    if durable:
        files.sync_dir(folder)
        for place in reversed(made):
            files.sync_dir(os.path.dirname(place))
    # Somebody may have replaced it already: then the key is of what was written, and fits nothing there.
    same = now.st_ino == written.st_ino and now.st_size == written.st_size
    return stat_key(now if same else written)


def remove_file(root: str, path: str) -> bool:
    """Remove the file or symlink at a path, and the folders above it that this leaves empty, never `root`.

    False, and nothing done, if no such file is there: a folder, a pipe, a name that differs in case, or what
    lies behind a link is another thing. Raises `BadInput` for a bad path; `DiskTrouble`.
    """
    check_path(path)
    target = os.path.join(root, path)
    if not is_real_path(root, path.rpartition("/")[0]):
        return False
    try:
        facts = os.lstat(target)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise files.disk_error(error, "could not look at", target) from error
    if kind_of(facts.st_mode) is None or other_spelling(target) is not None:
        return False
    with _anchored(root, path) as at:
        files.remove(target, at=at)
    end = path.rfind("/")
    while end > 0 and files.remove_folder(os.path.join(root, path[:end])):
        end = path.rfind("/", 0, end)
    return True


def set_executable(root: str, path: str, executable: bool) -> None:
    """Give or take the x bits of the file at a path, durable when this returns. Raises `BadInput` for a path that a
    link leads away from; `DiskTrouble`."""
    with _anchored(root, path) as at:
        files.set_executable(os.path.join(root, path), executable, durable=True, at=at)


def sweep_temporaries(root: str, folders: Iterable[str]) -> int:
    """Remove the half-written files that a killed process left in these folders (paths; '' is `root`).

    Returns how many there were. Folders that are gone, or no folders any more, hold none.
    """
    swept = 0
    for folder in folders:
        place = os.path.join(root, check_path(folder)) if folder else root
        if not is_real_path(root, folder):
            continue
        for name in files.names(place):
            if name.startswith(files.TEMPORARY_PREFIX):
                files.discard(os.path.join(place, name))
                swept += 1
    return swept


class FreshTree:
    """Writes files into a folder that nobody else uses yet, each once and straight to its place.

    Nothing is durable, and a file cut half-way stays so: whoever fills a folder this way keeps a record of it
    until it is whole. Several processes may each have one on the same folder if `shared` says so.
    """

    def __init__(self, root: str, *, shared: bool = False) -> None:
        """Raises `BadInput` if `root` (made if it is not there) holds anything, unless it is `shared`."""
        files.make_dir(root)
        if not shared and files.names(root):
            raise BadInput(f"{root} is not empty", hint="name a new or an empty folder", code="not_empty")
        self.root = root
        self._folders: set[str] = set()

    def write(self, path: str, kind: int, pieces: Iterable[bytes], modified_ms: int) -> StatKey:
        """As `write_file`, but what is there already is a `Conflict`."""
        folder, _, name = path.rpartition("/")
        # Below a folder that passed, only the name is new. ('/x' has the folder '' as 'x' does.)
        if not folder or folder not in self._folders or problem(name) is not None:
            check_path(path)
            _make_parents(self.root, path, self._folders)
        place = f"{self.root}/{path}"
        try:
            if kind == Kind.SYMLINK:
                _link(b"".join(pieces), place, path)
                _stamp(place, modified_ms)
                return stat_key(os.lstat(place))
            descriptor = files.create(place, _mode(kind, None))
        except FileExistsError as error:
            raise _taken(path, other_spelling(place) or os.path.basename(path)) from error
        try:
            for piece in pieces:
                files.write_all(descriptor, piece, place)
            if files.POSIX:
                _stamp(descriptor, modified_ms)
                facts = os.fstat(descriptor)
        except BaseException:
            os.close(descriptor)
            files.discard(place)
            raise
        os.close(descriptor)
        if not files.POSIX:  # pragma: no cover - closing sets the time there
            _stamp(place, modified_ms)
            facts = os.lstat(place)
        return stat_key(facts)


# -- one name, two spellings ---------------------------------------------------------------------------------


def other_spelling(place: str) -> str | None:
    """The name that the disk has for what is at `place`, where that is not the name it was asked by.

    Costs one failing lstat on a disk that keeps case apart; only another answer makes it list the folder.
    """
    folder, name = os.path.split(place)
    twins = {name.swapcase()}
    if not name.isascii():
        from unicodedata import normalize

        twins |= {normalize(form, name) for form in ("NFC", "NFD")}
    twins.discard(name)
    for twin in twins:
        try:
            there = os.lstat(f"{folder}/{twin}")
            here = os.lstat(place)
        except OSError:
            continue
        if os.path.samestat(here, there):
            spellings = files.names(folder)
            if name in spellings:
                return None
            return next((other for other in spellings if folded(other) == folded(name)), None)
    return None


def _taken(path: str, name: str) -> Conflict:
    there = path[: path.rfind("/") + 1] + name
    if there == path:
        return Conflict(
            f"'{shown(path)}' is there already", hint="move it away and run the command again", code="taken"
        )
    return Conflict(
        f"'{shown(path)}' and '{shown(there)}' are one name on this disk, and the second is there",
        hint=f"rename '{shown(there)}' and run the command again",
        code="name_collision",
    )


@contextlib.contextmanager
def _anchored(root: str, path: str) -> Iterator[int | None]:
    """The folder of a path, held: a link that is planted there from now on is not followed."""
    folder = path.rpartition("/")[0]
    with contextlib.ExitStack() as held:
        try:
            at = held.enter_context(files.anchored(root, folder))
        except OSError as error:
            if is_real_path(root, folder):
                raise files.disk_error(error, "could not open", os.path.join(root, folder)) from error
            raise BadInput(
                f"'{shown(path)}' cannot be there: its folder was put away just now",
                hint="run the command again",
                code="not_a_folder",
            ) from error
        yield at


def _look(place: str, at: int | None) -> os.stat_result:
    return (
        os.lstat(place) if at is None else os.stat(os.path.basename(place), dir_fd=at, follow_symlinks=False)
    )


# -- steps ---------------------------------------------------------------------------------------------------


def _make_parents(root: str, path: str, known: set[str] | None = None) -> list[str]:
    """Make the folders above a path; the places of those that were not there. `known` folders are not looked
    at, and those found or made are added. Raises as `write_file`."""
    made: list[str] = []
    end = path.find("/")
    while end > 0:
        above = path[:end]
        if known is None or above not in known:
            place = os.path.join(root, above)
            if not _is_real_folder(place, path):
                if files.make_folder(place):
                    made.append(place)
                else:  # somebody else made something of that name just now
                    _is_real_folder(place, path)
            else:
                spelling = other_spelling(place)
                if spelling is not None:
                    raise _taken(above, spelling)
            if known is not None:
                known.add(above)
        end = path.find("/", end + 1)
    return made


def _is_real_folder(place: str, path: str) -> bool:
    """Whether a folder is at `place`, which is above `path`; False if nothing is, `BadInput` for the rest."""
    try:
        facts = os.lstat(place)
    except FileNotFoundError:
        return False
    except OSError as error:
        raise files.disk_error(error, "could not look at", place) from error
    if not is_folder(facts):
        raise BadInput(
            f"'{shown(path)}' cannot be there: {shown(place)} is {described(facts)}, not a folder",
            hint=f"move {shown(place)} away and run the command again",
            code="not_a_folder",
        )
    return True


def is_real_path(root: str, folder: str) -> bool:
    """Whether a folder ('' is `root`), and all above it, are there and no links."""
    end = 0
    while end < len(folder):
        end = folder.find("/", end + 1) % (len(folder) + 1)
        try:
            if not is_folder(os.lstat(os.path.join(root, folder[:end]))):
                return False
        except OSError:
            return False
    return True


def _replaceable(target: str, path: str) -> os.stat_result | None:
    """The lstat of what stands at the target, if it may be replaced; None if nothing does."""
    try:
        facts = os.lstat(target)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise files.disk_error(error, "could not look at", target) from error
    if kind_of(facts.st_mode) is None:
        raise BadInput(
            f"{shown(target)} is {described(facts)} and not replaced by a file",
            hint=f"move {shown(target)} away and run the command again",
            code="not_a_file",
        )
    spelling = other_spelling(target)
    if spelling is not None:
        raise _taken(path, spelling)
    return facts


def _mode(kind: int, before: os.stat_result | None) -> int:
    """Mode bits to create a file with; the umask takes its share."""
    mode = 0o666 if before is None or not stat.S_ISREG(before.st_mode) else before.st_mode & 0o777
    return mode | (mode & 0o444) >> 2 if kind == Kind.EXECUTABLE else mode & ~0o111


def _new_link(folder: str, target: bytes, path: str, at: int | None) -> str:
    while True:
        temporary = os.path.join(folder, files.TEMPORARY_PREFIX + os.urandom(8).hex())
        try:
            _link(target, temporary, path, at)
        except FileExistsError:
            continue
        return temporary


def _link(target: bytes, place: str, path: str, at: int | None = None) -> None:
    if not target or b"\0" in target:
        raise BadInput(
            f"'{shown(path)}' is a symbolic link whose target is empty or holds a NUL byte",
            hint="it cannot be written to any disk; leave it out",
            code="bad_link",
        )
    files.make_link(target, place, at=at)


def _stamp(place: str | int, modified_ms: int, at: int | None = None) -> None:
    """Set the modification time. A disk that can't hold that time holds the file all the same."""
    try:
        files.set_times(place, modified_ms, at=at)
    except (OSError, OverflowError):
        return
