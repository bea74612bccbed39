"""What is left out of versions: noise that every system makes, and what `.memsyncignore` names.

The built-in patterns are matched by name alone, without a regular expression; `pathspec` is imported only
where `Data/.memsyncignore` has rules. Its rules come after the built-in ones, so a `!` rule there brings back
what a built-in pattern leaves out, and as with git nothing below an ignored folder is looked at.
"""

from __future__ import annotations

import os
import re
import stat
from typing import TYPE_CHECKING, Final

from memstore import files
from memstore.errors import BadInput

if TYPE_CHECKING:
    from pathspec import GitIgnoreSpec

FILE_NAME: Final = ".memsyncignore"
_LONGEST: Final = 1 << 20  # bytes; a longer rule file is a mistake

SUFFIXES: Final = (
    ".tmp", ".swp", ".swo", "~",  # editors
    "-wal", "-shm", "-journal",  # SQLite's, whole only together with a database at rest
    ".part", ".partial", ".crdownload",  # downloads under way
    ".pyc",
)  # fmt: skip
PREFIXES: Final = (
    "~$", ".~lock.", ".#",  # locks of Office, LibreOffice, Emacs
    "._",  # AppleDouble
    ".nfs", ".fuse_hidden", ".goutputstream-",  # open files that were removed, files half-written
)  # fmt: skip
NAMES: Final = frozenset(
    [".DS_Store", "Thumbs.db", "thumbs.db", "ehthumbs.db", "desktop.ini", "Desktop.ini", ".directory"]
)
FOLDERS: Final = frozenset(
    [
        "__pycache__", ".ipynb_checkpoints",
        ".git", ".hg", ".svn",  # another version store's own files
        ".Spotlight-V100", ".Trashes", ".fseventsd", ".TemporaryItems", ".DocumentRevisions-V100",
        "$RECYCLE.BIN", "System Volume Information",
    ]
)  # fmt: skip
"""Lock files (`*.lock`) are not here: most are empty and cost nothing, and some are somebody's content."""

_STAR_BEFORE_STAR: Final = re.compile(
    r"\[\^/\]\*"  # a star, as pathspec writes it; then what must follow, sign by sign, and never a slash
    r"((?:\\[^A-Za-z0-9]|\[\^/\](?!\*)|\[[^]\[\\^/]+\]|[^]\[\\()/.*+?{}|^$])*)"
    r"(?=\[\^/\]\*)"
)


def built_in_patterns() -> list[str]:
    """The built-in rules as lines of a gitignore file."""
    return [
        *(f"*{suffix}" for suffix in SUFFIXES),
        *(f"{prefix}*" for prefix in PREFIXES),
        *sorted(NAMES),
        *(f"{folder}/" for folder in sorted(FOLDERS)),
    ]


def built_in(name: str, is_dir: bool) -> bool:
    """Whether a built-in pattern leaves out a file or folder of that name (the last component)."""
    return (
        name.endswith(SUFFIXES) or name.startswith(PREFIXES) or name in NAMES or (is_dir and name in FOLDERS)
    )


class Ignore:
    """The rules of one data folder."""

    def __init__(self, spec: GitIgnoreSpec | None = None) -> None:
        """`spec`: the built-in patterns, and after them the rules of the file; None where it has none."""
        self._spec = spec
        # Most paths match no rule of the file, and saying so by the bare expressions is ten times faster.
        own = spec.patterns[len(built_in_patterns()) :] if spec is not None else ()
        self._matches = [pattern.regex.search for pattern in own if pattern.regex is not None]

    @classmethod
    def load(cls, data: str) -> Ignore:
        """The rules that hold in `data`. Raises `BadInput` for a `.memsyncignore` that makes no sense,
        `DiskTrouble` for one that can't be read."""
        path = os.path.join(data, FILE_NAME)
        try:
            descriptor = files.open_read(path)
        except FileNotFoundError:
            return cls()
        except OSError as error:
            if os.path.islink(path):
                raise _broken("it is a symbolic link, which is not followed") from error
            raise files.disk_error(error, "could not read", FILE_NAME) from error
        try:
            if stat.S_ISDIR(os.fstat(descriptor).st_mode):
                raise _broken("it is a folder")
            text = files.read_at(descriptor, 0, _LONGEST + 1)
        finally:
            os.close(descriptor)
        return cls.parse(text)

    @classmethod
    def parse(cls, text: bytes) -> Ignore:
        """The rules of a file with these bytes. Raises `BadInput` with the line that makes no sense."""
        if len(text) > _LONGEST:
            raise _broken(f"it is longer than {_LONGEST} bytes")
        rules: list[tuple[int, str]] = []
        for number, raw in enumerate(text.removeprefix(b"\xef\xbb\xbf").split(b"\n"), start=1):
            try:
                line = raw.removesuffix(b"\r").decode()
            except UnicodeDecodeError as error:
                raise _broken(f"line {number} is not UTF-8") from error
            if line.strip() and not line.startswith("#"):
                rules.append((number, line))
        if not rules:
            return cls()
        from pathspec import GitIgnoreSpec

        for number, line in rules:
            try:
                GitIgnoreSpec.from_lines([line])
            except ValueError as error:
                raise _broken(f"line {number} is no rule: '{line}'") from error
        spec = GitIgnoreSpec.from_lines([*built_in_patterns(), *(line for _, line in rules)])
        for pattern in spec.patterns:
            if pattern.regex is not None:
                pattern.regex = re.compile(_without_trying_again(pattern.regex.pattern))
        return cls(spec)

    @property
    def fingerprint(self) -> str:
        """The same for the same rules, whoever knows them."""
        from blake3 import blake3

        rules = (
            [str(pattern.pattern) for pattern in self._spec.patterns] if self._spec else built_in_patterns()
        )
        return blake3("\n".join(rules).encode(errors="surrogateescape")).hexdigest()[:16]

    @property
    def only_built_in(self) -> bool:
        """Whether `built_in` alone decides."""
        return self._spec is None

    def ignores(self, path: str, is_dir: bool) -> bool:
        """Whether the path is left out, all folders above it being kept. `.memsyncignore` itself never is."""
        if self._spec is not None:
            if path == FILE_NAME:
                return False
            text = path + "/" if is_dir else path
            for match in self._matches:
                if match(text) is not None:
                    return bool(self._spec.check_file(text).include)
        return built_in(path[path.rfind("/") + 1 :], is_dir)

    def own_rule(self, path: str, is_dir: bool = False) -> bool:
        """Whether what leaves the path out (see `covers`) is a rule of the file, and not a built-in one."""
        if self._spec is None:
            return False
        above = [path[:end] for end, sign in enumerate(path) if sign == "/"]
        for part, folder in [*((folder, True) for folder in above), (path, is_dir)]:
            if self.ignores(part, folder):
                index = self._spec.check_file(part + "/" if folder else part).index
                return index is not None and index >= len(built_in_patterns())
        return False

    def covers(self, path: str, is_dir: bool = False) -> bool:
        """Whether the path is left out, by its own name or by a folder above it.

        This tells a path of HEAD that the scan did not find because it is ignored now from one that is gone.
        """
        end = path.find("/")
        while end > 0:
            if self.ignores(path[:end], True):
                return True
            end = path.find("/", end + 1)
        return self.ignores(path, is_dir)


def _without_trying_again(expression: str) -> str:
    """The same expression, in which a star that another one follows in the same component takes the first place that
    fits and keeps it: the next star makes up for the rest. A rule of many stars, which may come from another device,
    would else be tried in as many ways as there are to share a name out among them."""
    return _STAR_BEFORE_STAR.sub(r"(?>[^/]*?\1)", expression)


def _broken(reason: str) -> BadInput:
    return BadInput(
        f"{FILE_NAME} in the data folder cannot be used: {reason}",
        hint=f"mend or remove {FILE_NAME}; its lines are rules as in a .gitignore file",
        code="bad_ignore_file",
    )


BUILT_IN: Final = Ignore()
