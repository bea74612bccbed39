"""The one place that touches the disk.

Everything memsync keeps (segment, packs, records of its own state) and everything it writes into `Data/`
goes through these functions, so that durability is decided once, faults can be injected at every step, and
what only POSIX has (directory fsync, mode bits, symlinks) sits beside its counterpart.

Words: *durable* means that it survives a power cut. A write is durable after `sync` of the file; a new
name, a rename or a removal is durable after `sync_dir` of the folder. `watch` installs an observer that
sees each step before it happens and may raise in its place.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import sys
from collections.abc import Callable, Iterator
from typing import BinaryIO, Final

from memstore.errors import DiskTrouble

POSIX: Final = os.name == "posix"
TEMPORARY_PREFIX: Final = ".memsync-tmp-"
"""Files with this name are half-written; the scanner never sees them and whoever finds one may delete it."""

_NO_FOLLOW: Final = getattr(os, "O_NOFOLLOW", 0)
_BINARY: Final = getattr(os, "O_BINARY", 0)
_CLOEXEC: Final = getattr(os, "O_CLOEXEC", 0)
_NO_WAIT: Final = getattr(os, "O_NONBLOCK", 0)

Observer = Callable[[str, str, bytes], None]
"""Called as observer(step, path, data) before `write`, `sync`, `rename`, `remove`, `truncate`, `make_dir`,
`remove_dir`, `link`, `sync_dir`, `read`; for `rename`, data is the new path; for `link`, the target; for
`truncate`, the length in decimal."""

_FURTHEST: Final = 1 << 62
"""Bytes: below the highest offset that a system takes."""

_observer: Observer | None = None


@contextlib.contextmanager
def watch(observer: Observer) -> Iterator[None]:
    """Let `observer` see, and by raising prevent, each step on the disk. For tests; one at a time."""
    global _observer  # noqa: PLW0603 - the seam is the module itself
    previous, _observer = _observer, observer
    try:
        yield
    finally:
        _observer = previous


def _tell(step: str, path: str, data: bytes = b"") -> None:
    if _observer is not None:
        _observer(step, path, data)


BAD_NAME: Final = "bad_name"
"""Code of the `DiskTrouble` for a name that this disk can't hold: too long, or not in its characters."""
BAD_NAME_ERRORS: Final = (errno.EINVAL, errno.ENAMETOOLONG, errno.EILSEQ)


def disk_error(error: OSError, doing: str, path: str) -> DiskTrouble:
    """The error of the house for an `OSError`, with the mend that fits its number."""
    hints = {
        errno.ENOSPC: "free some space on that disk and run the command again; nothing was lost",
        errno.EDQUOT: "the disk quota is used up; free some space and run the command again",
        errno.EROFS: "the disk is mounted read-only",
        errno.EACCES: "check the permissions of that file and its folder",
        errno.EPERM: "check the permissions of that file and its folder",
        errno.EISDIR: "a folder stands where a file belongs; move it away and run the command again",
        errno.ENOTDIR: "a file stands where a folder belongs; move it away and run the command again",
        errno.EIO: "the disk reports an I/O error; run 'memsync verify' once it reads again",
    }
    hint = hints.get(error.errno or 0, "look at that path and run the command again")
    return DiskTrouble(f"{doing} {path}: {error.strerror or error}", hint=hint)


def naming_error(error: OSError, doing: str, path: str) -> DiskTrouble:
    """The same for what gives something a new name, which may be the trouble: then its code is `BAD_NAME`."""
    if error.errno not in BAD_NAME_ERRORS:
        return disk_error(error, doing, path)
    message = f"{doing} {path}: {error.strerror or error}"
    return DiskTrouble(message, hint="this disk can't hold that name", code=BAD_NAME)


# -- reading -----------------------------------------------------------------------------------------------


def read(path: str) -> bytes:
    """The whole file. `FileNotFoundError` as the system gives it; other trouble as `DiskTrouble`."""
    _tell("read", path)
    try:
        with open(path, "rb", buffering=0) as file:
            return file.read()
    except FileNotFoundError:
        raise
    except OSError as error:
        raise disk_error(error, "could not read", path) from error


def open_read(path: str) -> int:
    """A descriptor for reading, never through a symlink at the last component.

    What turned out to be a named pipe opens as well, without waiting for its writer: fstat tells. What is not
    there, or is a symlink or a folder, is an `OSError` as the system gives it; other trouble is `DiskTrouble`.
    """
    _tell("read", path)
    try:
        return os.open(path, os.O_RDONLY | _BINARY | _CLOEXEC | _NO_FOLLOW | _NO_WAIT)
    except FileNotFoundError:
        raise
    except OSError as error:
        if os.path.islink(path) or os.path.isdir(path):
            raise
        raise disk_error(error, "could not read", path) from error


def read_into(descriptor: int, offset: int, room: memoryview) -> int:
    """Fill `room` from `offset`, as `read_at` reads; how many bytes there were."""
    filled = 0
    while filled < len(room):
        try:
            if POSIX:
                part = os.preadv(descriptor, [room[filled:]], offset + filled)
            else:
                data = read_at(descriptor, offset + filled, len(room) - filled)
                room[filled : filled + len(data)] = data
                part = len(data)
        except OSError as error:
            raise disk_error(error, "could not read", _path_of(descriptor)) from error
        if not part:
            break
        filled += part
    return filled


def read_at(descriptor: int, offset: int, length: int) -> bytes:
    """Up to `length` bytes from `offset`; short only at the end of the file, and nothing where no file has a byte (a
    damaged catalogue may name such a place). Safe from several threads. Raises `DiskTrouble`."""
    if not 0 <= offset <= _FURTHEST:
        return b""
    if POSIX:
        parts = []
        while length > 0:
            try:
                part = os.pread(descriptor, min(length, 1 << 30), offset)
            except OSError as error:
                raise disk_error(error, "could not read", _path_of(descriptor)) from error
            if not part:
                break
            parts.append(part)
            offset += len(part)
            length -= len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)
    with _SEEK_LOCK:
        os.lseek(descriptor, offset, os.SEEK_SET)
        parts = []
        while length > 0:
            part = os.read(descriptor, length)
            if not part:
                break
            parts.append(part)
            length -= len(part)
        return b"".join(parts)


def _path_of(descriptor: int) -> str:
    """The path of an open file, where the system tells."""
    try:
        return os.readlink(f"/proc/self/fd/{descriptor}")
    except OSError:
        return "a file of the store"


if not POSIX:  # pragma: no cover - positioned reads need a lock where there is no pread
    import threading

    _SEEK_LOCK = threading.Lock()


def exists(path: str) -> bool:
    return os.path.lexists(path)


def may_write(folder: str) -> bool:
    """Whether this process may make and replace files there, as far as the system says beforehand."""
    return os.access(folder, os.W_OK | os.X_OK)


def names(path: str) -> list[str]:
    """The names in a folder, sorted; an absent folder has none. `DiskTrouble` for one that can't be listed."""
    try:
        return sorted(os.listdir(path))
    except FileNotFoundError:
        return []
    except OSError as error:
        raise disk_error(error, "could not list", path) from error


def size(path: str) -> int:
    return os.stat(path).st_size


def identity(descriptor: int) -> tuple[int, int]:
    """(device, inode) of an open file: what a copied folder does not carry along."""
    facts = os.fstat(descriptor)
    return facts.st_dev, facts.st_ino


# -- durability --------------------------------------------------------------------------------------------


def sync(descriptor: int, path: str) -> None:
    """Everything written to the descriptor so far is on stable storage when this returns."""
    _tell("sync", path)
    try:
        if sys.platform == "darwin":  # pragma: no cover - fsync stops at the drive's cache there
            import fcntl

            fcntl.fcntl(descriptor, fcntl.F_FULLFSYNC)
        elif hasattr(os, "fdatasync"):
            os.fdatasync(descriptor)  # data and length; times and modes are not worth a journal commit
        else:  # pragma: no cover
            os.fsync(descriptor)
    except OSError as error:
        raise disk_error(error, "could not make durable", path) from error


def sync_dir(path: str) -> None:
    """The names in a folder are durable when this returns. Windows journals them itself."""
    _tell("sync_dir", path)
    if not POSIX:  # pragma: no cover
        return
    try:
        descriptor = os.open(path, os.O_RDONLY | _CLOEXEC)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise disk_error(error, "could not make durable", path) from error
    try:
        os.fsync(descriptor)
    except OSError as error:
        # Some network file systems refuse to sync a folder; their names are durable with the files.
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise disk_error(error, "could not make durable", path) from error
    finally:
        os.close(descriptor)


def sync_all() -> None:
    """Everything written so far, by anyone, is on stable storage: one call for a great many new files."""
    _tell("sync_all", "")
    if hasattr(os, "sync"):
        os.sync()


def begin_writing_back(descriptor: int, start: int, end: int) -> None:
    """Ask the system to begin bringing this stretch of a file to the disk, so that the `sync` to come has less to
    wait for. Returns at once; a system that has no such thing does nothing, and nothing depends on it."""
    if hasattr(os, "posix_fadvise"):
        with contextlib.suppress(OSError):
            os.posix_fadvise(descriptor, start, end - start, os.POSIX_FADV_DONTNEED)


# -- changing ----------------------------------------------------------------------------------------------


def write_all(descriptor: int, data: bytes | memoryview, path: str) -> None:
    """All of `data` at the descriptor's position. Raises `DiskTrouble`; part of it may then be written."""
    if _observer is not None:
        _tell("write", path, bytes(data))
    try:
        written = os.write(descriptor, data)
        while written < len(data):
            written += os.write(descriptor, memoryview(data)[written:])
    except OSError as error:
        raise disk_error(error, "could not write", path) from error


def truncate(descriptor: int, length: int, path: str) -> None:
    _tell("truncate", path, str(length).encode())
    try:
        os.ftruncate(descriptor, length)
    except OSError as error:
        raise disk_error(error, "could not cut off the end of", path) from error


def rename(source: str, target: str, *, at: int | None = None) -> None:
    """Atomically give `source` the name `target`, replacing what has it. Not durable before `sync_dir`."""
    _tell("rename", source, os.fsencode(target))
    try:
        os.replace(_named(source, at), _named(target, at), src_dir_fd=at, dst_dir_fd=at)
    except OSError as error:
        raise naming_error(error, "could not rename to", target) from error


def rename_new(source: str, target: str) -> None:
    """Give `source` the name `target` unless something has it: `FileExistsError` then, nothing changed.

    A link and an unlink where the file system has links: no other process can slip in between. Elsewhere
    (FAT, some shares) the look and the rename are two steps. Not durable before `sync_dir`.
    """
    _tell("rename", source, os.fsencode(target))
    try:
        if not POSIX:  # pragma: no cover - rename never replaces there
            os.rename(source, target)
            return
        try:
            os.link(source, target, follow_symlinks=False)
        except FileExistsError:
            if not os.path.samestat(os.lstat(source), os.lstat(target)):
                raise
            if not _two_entries(source, target):
                # Names that differ in case or Unicode form only, on a disk that does not see it.
                os.rename(source, target)
                return
            # A crash between link and unlink left both names: finish it.
        except OSError as error:
            if error.errno not in (errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK, errno.EXDEV):
                raise
            if os.path.lexists(target):
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), target) from error
            os.rename(source, target)
            return
        os.unlink(source)
    except (FileExistsError, FileNotFoundError):
        raise
    except OSError as error:
        raise naming_error(error, "could not rename to", target) from error


def _two_entries(source: str, target: str) -> bool:
    """Whether two names of one file are two directory entries, so that removing one leaves the other."""
    folder = os.path.dirname(target) or "."
    if not os.path.samestat(os.stat(os.path.dirname(source) or "."), os.stat(folder)):
        return True
    wanted = {os.path.basename(source), os.path.basename(target)}
    return len(wanted) == 2 and wanted <= set(names(folder))


def keep_aside(path: str, kept: str) -> None:
    """Give the file at `path` the further name `kept`, durable when this returns: then another can take its
    place and there is no moment in which nothing has it. A copy where the disk knows no links."""
    _tell("link", kept, os.fsencode(path))
    try:
        os.link(path, kept, follow_symlinks=False)
    except FileExistsError:
        return  # an earlier try got as far as this
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK, errno.EXDEV):
            raise disk_error(error, "could not keep a copy of", path) from error
        write_atomic(kept, read(path))
    sync_dir(os.path.dirname(kept))


def remove(path: str, *, at: int | None = None) -> None:
    """Remove a file; one that is gone already is no error."""
    _tell("remove", path)
    try:
        os.unlink(_named(path, at), dir_fd=at)
    except FileNotFoundError:
        pass
    except OSError as error:
        raise disk_error(error, "could not remove", path) from error


def make_dir(path: str) -> None:
    """Make the folder and those above it, each durable."""
    missing: list[str] = []
    while path and not os.path.isdir(path) and path not in missing[-1:]:
        missing.append(path)
        path = os.path.dirname(path)
    for folder in reversed(missing):
        _tell("make_dir", folder)
        try:
            os.mkdir(folder)
        except FileExistsError:
            continue
        except OSError as error:
            raise naming_error(error, "could not make the folder", folder) from error
        sync_dir(os.path.dirname(folder) or ".")


def write_atomic(path: str, data: bytes, *, private: bool = False) -> None:
    """Replace the file as a whole: readers see the old bytes or the new, and the new are durable.

    `private` makes it readable by its owner only (mode 0600) from its first instant.
    """
    folder = os.path.dirname(path) or "."
    with new_file(folder, mode=0o600 if private else 0o666) as (descriptor, temporary):
        write_all(descriptor, data, temporary)
        sync(descriptor, temporary)
    publish(temporary, path)


def publish(temporary: str, path: str) -> None:
    """Give a file that was written beside its place, and synced, its name; durable when this returns. Where
    that fails, the temporary file goes."""
    try:
        rename(temporary, path)
    except BaseException:
        discard(temporary)
        raise
    sync_dir(os.path.dirname(path) or ".")


@contextlib.contextmanager
def new_file(
    folder: str, *, mode: int = 0o666, at: int | None = None, make: bool = False
) -> Iterator[tuple[int, str]]:
    """A fresh temporary file in `folder`: (descriptor, path). Removed again if the block raises. `make` the folder
    if it is not there: what copies a workspace may leave out an empty one."""
    path = os.path.join(folder, TEMPORARY_PREFIX + os.urandom(8).hex())
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | _BINARY | _CLOEXEC
    try:
        try:
            descriptor = os.open(_named(path, at), flags, mode, dir_fd=at)
        except FileNotFoundError:
            if not make:
                raise
            make_dir(folder)
            descriptor = os.open(_named(path, at), flags, mode, dir_fd=at)
    except OSError as error:
        raise disk_error(error, "could not create a file in", folder) from error
    try:
        yield descriptor, path
    except BaseException:
        os.close(descriptor)
        discard(path, at=at)
        raise
    os.close(descriptor)


def discard(path: str, *, at: int | None = None) -> None:
    """Remove what is of no further use; failing to is harmless, because the name marks it as half-made."""
    with contextlib.suppress(OSError, DiskTrouble):
        remove(path, at=at)


def append_line(path: str, line: bytes, *, durable: bool = False) -> None:
    """One write of one whole line at the end; several processes do not tear one another's lines."""
    descriptor = _open_to_write(path, os.O_APPEND)
    try:
        write_all(descriptor, line, path)
        if durable:
            sync(descriptor, path)
    finally:
        os.close(descriptor)


def set_executable(path: str, executable: bool, *, durable: bool = False, at: int | None = None) -> None:
    """Give or take the x bits where there is r, of the file itself and never of what a link there leads to; a system
    without mode bits has nothing to set."""
    if not POSIX:  # pragma: no cover
        return
    try:
        descriptor = os.open(_named(path, at), os.O_RDONLY | _CLOEXEC | _NO_FOLLOW | _NO_WAIT, dir_fd=at)
        try:
            mode = stat.S_IMODE(os.fstat(descriptor).st_mode)
            wanted = mode | ((mode & 0o444) >> 2) if executable else mode & ~0o111
            if wanted == mode:
                return
            os.fchmod(descriptor, wanted)
            if durable:
                _tell("sync", path)
                os.fsync(descriptor)  # `sync` leaves modes out
        finally:
            os.close(descriptor)
    except OSError as error:
        raise disk_error(error, "could not change the mode of", path) from error


def set_times(path: str | int, modified_ms: int, *, at: int | None = None) -> None:
    """Set the modification time (milliseconds since the epoch, UTC); a symlink's own, where there is such a
    thing. On POSIX a descriptor will do. `OSError` or `OverflowError` for a time that the disk can't hold.
    """
    times = (modified_ms * 1_000_000, modified_ms * 1_000_000)
    if isinstance(path, int) or os.utime not in os.supports_follow_symlinks:
        os.utime(path, ns=times)
    else:
        os.utime(_named(path, at), ns=times, follow_symlinks=False, dir_fd=at)


# -- anchors -----------------------------------------------------------------------------------------------

ANCHORS: Final = {os.open, os.rename, os.unlink, os.symlink, os.utime, os.stat} <= os.supports_dir_fd


@contextlib.contextmanager
def anchored(root: str, folder: str) -> Iterator[int | None]:
    """The folder (relative, `/` between parts; '' is `root`) opened step by step, no symlink followed: its
    descriptor, to be given as `at` to what is done to names in it. Whoever puts a link in its place, or above it,
    afterwards leads nobody elsewhere. None where the system knows no such thing (Windows). Raises `OSError`.
    """
    if not ANCHORS:  # pragma: no cover
        yield None
        return
    flags = os.O_RDONLY | os.O_DIRECTORY | _CLOEXEC
    descriptor = os.open(root, flags)
    try:
        for name in folder.split("/") if folder else ():
            below = os.open(name, flags | _NO_FOLLOW, dir_fd=descriptor)
            os.close(descriptor)
            descriptor = below
        yield descriptor
    finally:
        os.close(descriptor)


def _named(path: str, at: int | None) -> str:
    """What the system is told: the whole path, or, under an anchor, the name in it."""
    return path if at is None else os.path.basename(path)


# -- trees of files ----------------------------------------------------------------------------------------


def create(path: str, mode: int) -> int:
    """A descriptor for writing on a file that was not there. `FileExistsError` as the system gives it."""
    try:
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _BINARY | _CLOEXEC, mode)
    except FileExistsError:
        raise
    except OSError as error:
        raise naming_error(error, "could not create", path) from error


def make_folder(path: str) -> bool:
    """Make one folder, not durable yet; False if something has that name already."""
    _tell("make_dir", path)
    try:
        os.mkdir(path)
    except FileExistsError:
        return False
    except OSError as error:
        raise naming_error(error, "could not make the folder", path) from error
    return True


def remove_folder(path: str) -> bool:
    """Remove a folder if it is empty; False if it is not, or can't be removed."""
    _tell("remove_dir", path)
    try:
        os.rmdir(path)
    except OSError:
        return False
    return True


def touch(path: str) -> None:
    """Make an empty file unless something has that name; it is a mark, and not durable."""
    os.close(_open_to_write(path))


def make_link(target: bytes, path: str, *, at: int | None = None) -> None:
    """Make a symlink. `FileExistsError` as the system gives it."""
    _tell("link", path, target)
    try:
        if POSIX:
            os.symlink(target, os.fsencode(_named(path, at)), dir_fd=at)
        else:  # pragma: no cover
            os.symlink(os.fsdecode(target), path)
    except FileExistsError:
        raise
    except OSError as error:
        raise naming_error(error, "could not make the symbolic link", path) from error


def clock_of(folder: str) -> int:
    """Nanoseconds since the epoch by the clock of the file system that holds `folder`.

    That clock stamps the files, and it may differ from the machine's (network file systems).
    """
    path = os.path.join(folder, "clock")
    descriptor = _open_to_write(path)
    try:
        os.utime(path)
        return os.fstat(descriptor).st_mtime_ns
    except OSError as error:
        raise disk_error(error, "could not write", path) from error
    finally:
        os.close(descriptor)


def open_append(path: str, *, writable: bool = True) -> BinaryIO:
    """An unbuffered file, opened for reading and writing at its end; it must exist: `FileNotFoundError`.
    Not `writable`: for reading alone, where the disk allows no more."""
    try:
        return open(path, "r+b" if writable else "rb", buffering=0)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise disk_error(error, "could not open", path) from error


def _open_to_write(path: str, more: int = 0) -> int:
    """A descriptor on a file that is there from now on."""
    try:
        return os.open(path, os.O_WRONLY | os.O_CREAT | more | _BINARY | _CLOEXEC, 0o666)
    except OSError as error:
        raise disk_error(error, "could not write", path) from error
