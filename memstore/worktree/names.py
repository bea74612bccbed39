"""What a stored path may be, and which path a person means.

A *path* is relative to `Data/`, with `/` between its components, as the system spelled it (no Unicode
normalisation). Every path from a manifest, a remote or an archive is hostile until `check_path` passed it.

What Windows can't hold (a backslash in a name, `CON`, a trailing dot) is a lawful name on POSIX: there it is
recorded like any other, and `portable_problem` reports it. On Windows itself the same names are refused,
because there they would mean another file, a device, or a folder elsewhere.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable
from typing import Final

from memstore import files
from memstore.errors import BadInput

LONGEST_NAME: Final = 255
"""Bytes of UTF-8 in one component: what ext4, XFS, Btrfs and ZFS hold."""

LONGEST_PATH: Final = 4096
"""Bytes of UTF-8 in a path: Linux's PATH_MAX. Nothing longer could be opened by its name."""

BAD_PATH: Final = "bad_path"
"""The code of an error for a path that no version may hold, or this system can't."""
_BRIEF: Final = 240
_OWN_FOLDER: Final = ".memsync"
_OWN_SHORT: Final = "memsyn~"  # with a digit: the 8.3 name that Windows gives `.memsync`

# HFS+ leaves these out when it compares names, so that `.mem<U+200C>sync` would open `.memsync` there.
_IGNORABLE: Final = dict.fromkeys(
    [0x200C, 0x200D, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x206A, 0x2070), 0xFEFF]
)
# learn.microsoft.com/windows/win32/fileio/naming-a-file
_WINDOWS_FORBIDS: Final = '<>:"|?*\\'
_DEVICES: Final = frozenset(
    ["con", "prn", "aux", "nul", "conin$", "conout$"]
    + [port + digit for port in ("com", "lpt") for digit in "0123456789¹²³"]
)
_FOLDING_SYSTEM: Final = sys.platform in {"win32", "darwin", "cygwin"}


def check_path(path: str, *, windows: bool = not files.POSIX) -> str:
    """The path, if a version may hold it and this system may write it. Raises `BadInput` with the reason."""
    reason = problem(path, windows=windows)
    if reason is not None:
        raise BadInput(
            f"not a path memsync keeps: '{brief(path)}': {reason}",
            hint="rename that file; nothing was read or written under that name",
            code=BAD_PATH,
        )
    return path


def problem(path: str, *, windows: bool = not files.POSIX) -> str | None:  # noqa: PLR0911 - one for each rule
    """Why a version may not hold the path, as half a sentence; None if it may."""
    if not path:
        return "it is empty"
    if "\0" in path:
        return "it holds a NUL byte"
    if path[0] == "/":
        return "it is absolute"
    size = len(path)
    if not path.isascii():
        try:
            size = len(path.encode())
        except UnicodeEncodeError:
            return "it is not UTF-8"
    if size > LONGEST_PATH:
        return f"it is longer than {LONGEST_PATH} bytes"
    for name in path.split("/"):
        reason = name_problem(name)
        if reason is not None:
            return reason
    return portable_problem(path) if windows else None


def name_problem(name: str) -> str | None:  # noqa: PLR0911 - one for each rule
    """The same for one component that holds neither `/` nor NUL nor anything but UTF-8."""
    if not name:
        return "one of its components is empty"
    plain = name.isascii()
    if len(name) > LONGEST_NAME or (not plain and len(name.encode()) > LONGEST_NAME):
        return f"one of its components is longer than {LONGEST_NAME} bytes"
    if plain and name[0] != "." and "~" not in name:
        return None
    if name in {".", ".."}:
        return f"'{name}' leads to another folder"
    folded = name.translate(_IGNORABLE).casefold()
    # Windows opens `.memsync. `, and a stream of it as `.memsync:name`, by the same folder.
    stem = folded.partition(":")[0].rstrip(". ")
    if stem == _OWN_FOLDER or (stem.startswith(_OWN_SHORT) and stem[len(_OWN_SHORT) :].isdecimal()):
        return "'.memsync' is memsync's own folder"
    if folded.startswith(files.TEMPORARY_PREFIX):
        return "memsync names its half-written files so"
    return None


def portable_problem(path: str) -> str | None:
    """Why Windows could not hold a path that passed `check_path`, as half a sentence; None if it could."""
    for name in path.split("/"):
        bad = next((sign for sign in name if sign < " " or sign in _WINDOWS_FORBIDS), None)
        if bad is not None:
            return f"Windows allows no {shown(bad)!r} in a name"
        if name[-1] in ". ":
            return "Windows drops a dot or a space at the end of a name"
        if name.partition(".")[0].rstrip(" ").lower() in _DEVICES:
            return f"'{name}' is a device on Windows"
    return None


def shown(path: str) -> str:
    """The path for people: what is not printable, or not UTF-8, as `\\x…`."""
    if path.isprintable():
        return path
    return "".join(
        sign
        if sign.isprintable()
        else f"\\x{ord(sign) - 0xDC00:02x}"  # a byte that is not UTF-8, as the system handed it over
        if "\udc80" <= sign <= "\udcff"
        else sign.encode("unicode_escape").decode()
        for sign in path
    )


def brief(path: str) -> str:
    """The path for people, the middle left out where it fills more than a line or two: of what an enemy wrote."""
    said = shown(path)
    return said if len(said) <= _BRIEF else f"{said[: _BRIEF // 2]} … {said[-_BRIEF // 2 :]}"


# -- names that are one on some disks ------------------------------------------------------------------------


def folded(path: str) -> str:
    """What two paths have in common when a disk that ignores case and Unicode form takes them for one.

    Unicode's canonical caseless matching (Unicode standard, D145), at least as coarse as APFS, HFS+ and NTFS.
    """
    if path.isascii():
        return path.lower()
    from unicodedata import normalize

    return normalize("NFC", normalize("NFD", path).casefold())


def collisions(paths: Iterable[str]) -> list[tuple[str, ...]]:
    """Spellings that a case-folding disk takes for one, each group sorted, the groups in order.

    A spelling is a path, or the folder where paths begin to differ: `A/x` and `a/y` give `("A", "a")`. What
    lies below such folders is not listed again.
    """
    spellings: dict[str, set[str]] = {}
    done: set[str] = set()
    for path in paths:
        end = len(path)
        while end > 0 and path[:end] not in done:
            done.add(path[:end])
            spellings.setdefault(folded(path[:end]), set()).add(path[:end])
            end = path.rfind("/", 0, end)
    clashes = {key: group for key, group in spellings.items() if len(group) > 1}
    return sorted(
        tuple(sorted(group))
        for key, group in clashes.items()
        if not any(above in clashes for above in _above(key))
    )


def _above(path: str) -> Iterable[str]:
    end = path.rfind("/")
    while end > 0:
        yield path[:end]
        end = path.rfind("/", 0, end)


# -- which path is meant -------------------------------------------------------------------------------------


def resolve(text: str, *, cwd: str, data: str, known: Callable[[str], bool]) -> str:
    """The path a person means by `text`: seen from the current folder, else from `Data/`; '' is all of it.

    It must lie on the disk, or `known` must say yes to it: whether HEAD has the path as a file or a folder,
    or it names an archive reference. A symlink at its end is not followed; one on the way is, if it stays in
    `Data/`. On systems that ignore case the answer has the disk's spelling. `cwd` and `data` are absolute.
    Raises `BadInput` for what is outside `Data/`, and for what is nowhere.
    """
    if not text or "\0" in text or not _encodes(text):
        raise BadInput(
            f"no path: '{shown(text)}': it is empty or not text",
            hint="name a file or a folder in the data folder",
            code=BAD_PATH,
        )
    root = os.path.realpath(data)
    outside = True
    for base in dict.fromkeys((cwd, root)):
        if base != cwd and os.path.isabs(text):
            break
        place = os.path.join(base, text)
        real = _inside(_real(place), root)
        if real is not None:
            outside = False
            if real == "":
                return ""
            if os.path.lexists(os.path.join(root, real)):
                return check_path(spelled(root, real) if _FOLDING_SYSTEM else real)
            if problem(real) is None and known(real):
                return real
        # A folder of HEAD may have become a symlink on the disk: its files still go by their old paths.
        literal = _inside(os.path.normpath(os.path.join(os.path.realpath(base), text)), root)
        if literal and literal != real and problem(literal) is None and known(literal):
            return literal
    name = shown(text)
    if outside or _leads_elsewhere(text, cwd, root):
        raise BadInput(
            f"'{name}' is outside the data folder {root}",
            hint="name a path inside it, relative to the current folder or to the data folder",
            code="outside_data",
        )
    raise BadInput(
        f"'{name}' is neither in the data folder nor in any version",
        hint="'memsync ls' lists what there is, 'memsync ls Archive/' what was replaced, deleted or archived",
        code="unknown_path",
    )


def _encodes(text: str) -> bool:
    """Whether the system could have a file of that name; a lone surrogate from JSON is no name."""
    try:
        os.fsencode(text)
    except UnicodeEncodeError:
        return False
    return True


def _leads_elsewhere(text: str, cwd: str, root: str) -> bool:
    """Something is there, seen from the current folder, but not in `Data/`."""
    place = os.path.join(cwd, text)
    return os.path.lexists(place) and _inside(_real(place), root) is None


def _real(place: str) -> str:
    """The place with every symlink resolved but one at its end."""
    place = place.rstrip(os.sep + (os.altsep or "")) or os.sep
    folder, name = os.path.split(place)
    if name in {"", ".", ".."}:
        return os.path.realpath(place)
    return os.path.join(os.path.realpath(folder), name)


def _inside(place: str, root: str) -> str | None:
    """The path of `place` below `root`, with `/`; '' for root itself, None for what is elsewhere."""
    here, above = os.path.normcase(place), os.path.normcase(root)
    if here == above:
        return ""
    above = above.rstrip(os.sep) + os.sep
    return place[len(above) :].replace(os.sep, "/") if here.startswith(above) else None


def spelled(root: str, path: str) -> str:
    """The path as a disk spells it that ignores case or Unicode form; a component it can't find stays."""
    place, right = root, []
    for name in path.split("/"):
        try:
            there = os.listdir(place)
        except OSError:
            there = []
        if name not in there:
            wanted = folded(name)
            name = next((other for other in there if folded(other) == wanted), name)  # noqa: PLW2901
        right.append(name)
        place = os.path.join(place, name)
    return "/".join(right)
