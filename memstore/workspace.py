"""A workspace: the folder that holds `paths.json`, the router for every folder and log, and `.memsync/`.

`Workspace.find` walks up from a folder, `Workspace.create` makes one. Either checks `paths.json` and the
configuration as a whole, so that nothing behind it meets a path of the wrong type, or a `Data/` that would
contain the store's own files. A `Data/` that is not there is no mistake of the workspace: commit says so.
"""

from __future__ import annotations

import codecs
import os
import stat
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from memstore import files
from memstore.config import CONFIG_NAME, Config
from memstore.errors import BadInput, NoWorkspace, typed

PATHS_NAME: Final = "paths.json"
STATE_NAME: Final = ".memsync"
DRIVE_PREFIX: Final = "Drive/"
"""What a `drive_root` begins with: it stands for the Drive itself."""

_LARGEST_PATHS: Final = 1 << 20
"""Bytes; a paths.json above this is something else."""


class Paths(NamedTuple):
    """The keys of `paths.json` that memsync knows, as written there: absolute or relative to its folder."""

    local_data_dir: str = "Data/"
    llama_input_path: str = "llama/input.txt"
    llama_output_path: str = "llama/output.json"
    memory_changelog: str = "memory_changelog.json"
    upload_log: str = "upload_log.json"
    archive_log: str = "archive_log.json"
    drive_root: str = "Drive/MemoryVDB/"
    others: Mapping[str, Any] = MappingProxyType({})
    """Keys of other programs, kept as they are."""

    def as_json(self) -> dict[str, Any]:
        """The document to write: every known key, then what other programs keep there."""
        return {name: getattr(self, name) for name in PATH_KEYS} | dict(self.others)

    @classmethod
    def parse(cls, raw: bytes, path: str) -> Paths:
        """The bytes of the `paths.json` at `path`; a key that is absent has its default.

        Raises `BadInput` with the line and column of a syntax error, or the key and what is expected.
        """
        import json

        raw = raw.removeprefix(codecs.BOM_UTF8)
        try:
            document = json.loads(raw.decode())
        except json.JSONDecodeError as error:
            raise _mistake(path, f", line {error.lineno}, column {error.colno}: {error.msg}") from error
        except UnicodeDecodeError as error:
            line = raw.count(b"\n", 0, error.start) + 1
            raise _mistake(path, f", line {line}: this is not UTF-8 text") from error
        except (ValueError, RecursionError) as error:
            raise _mistake(path, f": not JSON that can be read: {error}") from error
        if not isinstance(document, dict):
            raise _mistake(path, ': it must hold one object, such as {"local_data_dir": "Data/"}')
        defaults = cls()
        for name in PATH_KEYS:
            if name in document and not _is_path(document[name]):
                wanted = f"a path in quotes, such as {json.dumps(getattr(defaults, name))}"
                raise _mistake(path, f': "{name}" must be {wanted}; it is {_short(document[name])}')
        known = {name: document[name] for name in PATH_KEYS if name in document}
        paths = cls(**known, others={name: document[name] for name in document if name not in PATH_KEYS})
        if not drive_parts(paths.drive_root):
            raise _mistake(
                path,
                f': "drive_root" must begin with {DRIVE_PREFIX} and name a folder there, such as '
                f'"Drive/MemoryVDB/"; it is {_short(paths.drive_root)}',
            )
        return paths


PATH_KEYS: Final = tuple(name for name in Paths._fields if name != "others")


def drive_parts(drive_root: str) -> tuple[str, ...]:
    """`Drive/MemoryVDB/` as `("MemoryVDB",)`; empty if it is no such path."""
    if not drive_root.startswith(DRIVE_PREFIX):
        return ()
    parts = tuple(drive_root[len(DRIVE_PREFIX) :].removesuffix("/").split("/"))
    refused = {"", ".", "..", STATE_NAME}
    return () if any(part.strip().casefold() in refused or not _is_path(part) for part in parts) else parts


class Workspace:
    """Where everything lies, and what was chosen. Immutable."""

    __slots__ = ("config", "data", "paths", "root", "state")

    def __init__(self, root: str, paths: Paths, config: Config) -> None:
        """Of an absolute folder. Raises `BadInput` where `Data/` and the store would lie in one another."""
        self.root = root
        """The folder that holds `paths.json` and `.memsync/`, absolute."""
        self.state = os.path.join(root, STATE_NAME)
        """`.memsync/`: the store, and all that memsync keeps for itself."""
        self.paths = paths
        self.config = config
        self.data = self._at(paths.local_data_dir)
        """The folder whose files are versioned (`local_data_dir`), absolute; it may not be there."""
        self._keep_apart()

    def _at(self, path: str) -> str:
        return os.path.normpath(os.path.join(self.root, path))

    @property
    def paths_file(self) -> str:
        return os.path.join(self.root, PATHS_NAME)

    @property
    def memory_changelog(self) -> str:
        return self._at(self.paths.memory_changelog)

    @property
    def upload_log(self) -> str:
        return self._at(self.paths.upload_log)

    @property
    def archive_log(self) -> str:
        return self._at(self.paths.archive_log)

    @property
    def drive_folder(self) -> tuple[str, ...]:
        """The mirror's root on Drive, part by part from the top of My Drive."""
        return drive_parts(self.paths.drive_root)

    @property
    def token_path(self) -> str:
        """The Drive token, whether it is there or not."""
        return self._at(os.path.expanduser(self.config.drive_token))

    @property
    def credentials_path(self) -> str:
        """The user's OAuth client file: in the workspace, else in the user's configuration folder if it is
        there; where neither is, the place in the workspace."""
        here = self._at(os.path.expanduser(self.config.drive_credentials))
        if self.config.user_folder is not None and not os.path.exists(here):
            there = os.path.normpath(os.path.join(self.config.user_folder, self.config.drive_credentials))
            if os.path.exists(there):
                return there
        return here

    def _keep_apart(self) -> None:
        data, state = _real(self.data), _real(self.state)
        upload_log, archive_log = _real(self.upload_log), _real(self.archive_log)
        named = f'{self.paths_file}: "local_data_dir", {_short(self.paths.local_data_dir)},'
        hint = f'name a folder of its own for it in {self.paths_file}, such as "Data/"'
        for what, path, real in (
            ("the workspace itself", self.root, _real(self.root)),
            ("the store", self.state, state),
            ('the Drive token ("drive.token")', self.token_path, _real(self.token_path)),
            ('"memory_changelog"', self.memory_changelog, _real(self.memory_changelog)),
            ('"upload_log"', self.upload_log, upload_log),
            ('"archive_log"', self.archive_log, archive_log),
        ):
            if _lies_in(real, data):
                raise BadInput(
                    f"{named} may not contain {what}, {path}: every save would record memsync's own files",
                    hint=hint,
                )
        if _lies_in(data, state):
            raise BadInput(f"{named} may not lie in {STATE_NAME}/, which is memsync's own", hint=hint)
        # A log is appended to, whatever it is: its first line would break a file that memsync reads.
        own = [
            ("paths.json itself", self.paths_file),
            ('the Drive token ("drive.token")', self.token_path),
            ('the OAuth client file ("drive.credentials")', self.credentials_path),
        ]
        if self.config.user_folder is not None:
            own.append(("the user's configuration", os.path.join(self.config.user_folder, CONFIG_NAME)))
        for key, log, real in (
            ("upload_log", self.upload_log, upload_log),
            ("archive_log", self.archive_log, archive_log),
        ):
            if _lies_in(log.casefold(), self.state.casefold()) or _lies_in(real.casefold(), state.casefold()):
                what = f"in {STATE_NAME}/, which is memsync's own"
            else:
                what = next((what for what, path in own if _is_same(log, path)), "")
            if not what:
                continue
            raise BadInput(
                f'{self.paths_file}: "{key}", {_short(getattr(self.paths, key))}, may not be {what}: '
                "each line of the log would be written into it",
                hint=f'name a file of its own for it in {self.paths_file}, such as "{Paths._field_defaults[key]}"',
            )

    # -- finding and making --------------------------------------------------------------------------------

    @classmethod
    def find(
        cls,
        folder: str | os.PathLike[str] = ".",
        environ: Mapping[str, str] | None = None,
        flags: Mapping[str, object] | None = None,
    ) -> Workspace:
        """The workspace that `folder` is or lies in; `environ` and `flags` are for `Config.load`.

        Raises `NoWorkspace`, and `BadInput` for a mistake in `paths.json` or the configuration.
        """
        start = _absolute(folder)
        if not os.path.isdir(start):
            raise BadInput(f"{start} is no folder", hint="name a folder that is there")
        root = start
        while not _holds_a_store(root):
            above = os.path.dirname(root)
            if above == root:
                raise NoWorkspace(
                    f"{start} is in no memsync workspace (a folder with {PATHS_NAME} and {STATE_NAME}/)",
                    hint="run 'memsync init' in the folder that is to hold Data/",
                )
            root = above
        paths = _load_paths(root)
        if paths is None:
            raise BadInput(
                f"{os.path.join(root, PATHS_NAME)} is missing, although {STATE_NAME}/ is there",
                hint="'memsync init' writes it again"
                + ("" if root == start else f": memsync init {typed(root)}"),
            )
        return cls(root, paths, Config.load(root, environ, flags))

    @classmethod
    def create(
        cls,
        folder: str | os.PathLike[str] = ".",
        environ: Mapping[str, str] | None = None,
        flags: Mapping[str, object] | None = None,
    ) -> Workspace:
        """Make a workspace in `folder` (made too, if need be), or complete one; harmless when repeated.

        A `paths.json` that is there is kept. Raises `BadInput` before anything is made.
        """
        workspace = cls.planned(folder, environ, flags)
        files.make_dir(workspace.state)
        ignore = os.path.join(workspace.state, ".gitignore")
        if not files.exists(ignore):
            files.write_atomic(ignore, b"*\n")  # so that a git repository around it never takes the store in
        if not files.exists(workspace.paths_file):
            files.write_atomic(workspace.paths_file, _document(workspace.paths))
        files.make_dir(workspace.data)
        return workspace

    @classmethod
    def planned(
        cls,
        folder: str | os.PathLike[str] = ".",
        environ: Mapping[str, str] | None = None,
        flags: Mapping[str, object] | None = None,
    ) -> Workspace:
        """The workspace that `create` would make there. Nothing is made; raises `BadInput` as `create`."""
        root = _absolute(folder)
        if STATE_NAME in (part.casefold() for part in root.split(os.sep)):
            raise BadInput(f"{root} lies in a {STATE_NAME}/ folder", hint="choose another folder")
        for outer, data in around(os.path.dirname(root)):
            if _lies_in(_real(root), _real(data)):
                raise BadInput(
                    f"{root} lies in the data folder of the workspace {outer}",
                    hint="memsync works from any folder in a workspace: there is nothing to set up here",
                )
        if _is_remote(os.path.join(root, STATE_NAME)):
            raise BadInput(
                f"{root} is the remote of a memsync store, not a workspace",
                hint=f"run 'memsync clone {typed(root)} DIR' to make a workspace from it",
            )
        workspace = cls(root, _load_paths(root) or Paths(), Config.load(root, environ, flags))
        for path in (root, workspace.state, workspace.data):
            if os.path.lexists(path) and not os.path.isdir(path):
                raise BadInput(f"{path} is no folder", hint="move that file away, or choose another folder")
        return workspace


def _document(paths: Paths) -> bytes:
    import json

    return (json.dumps(paths.as_json(), ensure_ascii=False, indent=2) + "\n").encode()


def _load_paths(root: str) -> Paths | None:
    path = os.path.join(root, PATHS_NAME)
    try:
        facts = os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise files.disk_error(error, "could not read", path) from error
    if not stat.S_ISREG(facts.st_mode):
        raise BadInput(f"{path} is no file", hint="move it away; 'memsync init' writes a new one")
    if facts.st_size > _LARGEST_PATHS:
        raise BadInput(f"{path} is larger than 1 MiB", hint="move it away; 'memsync init' writes a new one")
    return Paths.parse(files.read(path), path)


def _holds_a_store(folder: str) -> bool:
    state = os.path.join(folder, STATE_NAME)
    return os.path.isdir(state) and not _is_remote(state)


def _is_remote(state: str) -> bool:
    """A folder remote keeps a `.memsync/` too, with the heads of the store in it, and no segments."""
    return (
        os.path.isdir(os.path.join(state, "heads"))
        and os.path.isfile(os.path.join(state, "format"))
        and not os.path.isdir(os.path.join(state, "segments"))
    )


def data_of(folder: str) -> str | None:
    """The data folder of the workspace that `folder` is; None if it is none. Raises `BadInput` for a workspace
    whose `paths.json` is broken."""
    if not os.path.isdir(os.path.join(folder, STATE_NAME, "segments")):
        return None
    return os.path.normpath(os.path.join(folder, (_load_paths(folder) or Paths()).local_data_dir))


def around(path: str) -> Iterator[tuple[str, str]]:
    """(root, data folder) of each workspace that `path` is or lies in, the nearest first."""
    folder = os.path.abspath(path)
    while True:
        data = data_of(folder)
        if data is not None:
            yield folder, data
        above = os.path.dirname(folder)
        if above == folder:
            return
        folder = above


def _absolute(folder: str | os.PathLike[str]) -> str:
    try:
        return os.path.abspath(folder)
    except FileNotFoundError as error:
        raise BadInput("the current folder is gone", hint="change to a folder that is there") from error


def _real(path: str) -> str:
    """The path that symlinks on the way lead to, in one case where the system knows no case."""
    return os.path.normcase(os.path.realpath(path))


def _is_same(path: str, other: str) -> bool:
    """Whether two paths are of one file: as written, upper and lower case alike, since another system may read the
    same paths.json; or by whatever links."""
    if path.casefold() == other.casefold():
        return True
    try:
        return os.path.samefile(path, other)
    except OSError:
        return False  # one of them is not there


def _lies_in(path: str, folder: str) -> bool:
    """Whether `path` is `folder` or something in it; both as `_real` gives them."""
    return path == folder or path.startswith(folder.rstrip(os.sep) + os.sep)


def _is_path(value: object) -> bool:
    """A text that can be a path: not blank, no control characters, nothing that UTF-8 can't hold."""
    return (
        isinstance(value, str)
        and bool(value.strip())
        and all(character >= " " and not "\ud800" <= character <= "\udfff" for character in value)
    )


def _short(value: object) -> str:
    import json

    shown = json.dumps(value, ensure_ascii=True)
    return shown if len(shown) <= 60 else shown[:60] + "…"


def _mistake(path: str, what: str) -> BadInput:
    again = f"'memsync init {typed(os.path.dirname(path))}' write a new one"
    return BadInput(path + what, hint=f"correct it, or move it away and let {again}")
