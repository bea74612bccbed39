"""What a person may choose: flag, `MEMSYNC_*` variable, the workspace's config.toml, the user's, default.

The class body of `Config` is the one table of keys: dotted name, default, what is accepted, one line of
why. A key is read as a plain typed attribute, `config.mirror_max_file_size`. `Config.load` is the only
function of the library that knows environment variables; everything else is handed a `Config`.
"""

from __future__ import annotations

import math
import os
import stat
import sys
from collections.abc import Callable, Mapping
from typing import Any, Final, Generic, TypeVar, cast, overload

from memstore import files
from memstore.errors import BadInput

CONFIG_NAME: Final = "config.toml"
GOOGLE_ROOT_URL: Final = "https://www.googleapis.com/"
DRIVE_CHUNK: Final = 262_144
"""Drive takes a resumable upload in multiples of this many bytes, the last chunk excepted."""

_LARGEST_CONFIG: Final = 1 << 20
"""Bytes; a config.toml above this is no config.toml."""

T = TypeVar("T")


class Key(Generic[T]):
    """One row of the table, and the typed attribute of `Config` by which its value is read."""

    def __init__(
        self, name: str, default: T, why: str, wanted: str, allowed: Callable[[T], bool] | None = None
    ) -> None:
        self.name = name
        self.default = default
        self.why = why
        self.wanted = wanted
        """What an error says is expected."""
        self.allowed = allowed
        self.variable = "MEMSYNC_" + name.upper().replace(".", "_")

    @overload
    def __get__(self, config: None, owner: type[Config]) -> Key[T]: ...

    @overload
    def __get__(self, config: Config, owner: type[Config]) -> T: ...

    def __get__(self, config: Config | None, owner: type[Config]) -> Key[T] | T:
        return self if config is None else cast("T", config.values[self.name])

    def accept(self, value: object) -> T:
        """The value of a TOML file or a flag, as the type of the default. Raises `ValueError`."""
        kind = type(self.default)
        if kind is float and type(value) is int:
            value = float(value)
        elif kind is tuple and isinstance(value, list):
            value = tuple(value)
        if type(value) is not kind:
            raise ValueError
        if isinstance(value, tuple) and not all(isinstance(item, str) and item.strip() for item in value):
            raise ValueError
        if isinstance(value, float) and not math.isfinite(value):
            raise ValueError
        if self.allowed is not None and not self.allowed(value):
            raise ValueError
        return value

    def read(self, text: str) -> T:
        """The value that a variable's text spells; a list is comma separated. Raises `ValueError`."""
        value: Any = text
        if isinstance(self.default, bool):
            value = _SWITCH.get(text.strip().lower())
        elif isinstance(self.default, int):
            value = int(text)
        elif isinstance(self.default, float):
            value = float(text)
        elif isinstance(self.default, tuple):
            value = [item.strip() for item in text.split(",") if item.strip()]
        return self.accept(value)


_SWITCH: Final = {
    "1": True, "true": True, "yes": True, "on": True,
    "0": False, "false": False, "no": False, "off": False,
}  # fmt: skip


def _is_name(text: str) -> bool:
    return text.isprintable() and len(text.encode("utf-8", "replace")) <= 64


def _is_path(text: str) -> bool:
    return bool(text.strip()) and "\0" not in text


def _is_span(text: str) -> bool:
    from memstore.manifest.retention import span_ms

    try:
        span_ms(text)
    except ValueError:
        return False
    return True


def _is_server(url: str) -> bool:
    """The token goes along with every request, so plain http only where it stays on this machine."""
    from urllib.parse import urlsplit

    parts = urlsplit(url)
    local = parts.hostname in {"localhost", "127.0.0.1", "::1"}
    return bool(parts.hostname) and (parts.scheme == "https" or (parts.scheme == "http" and local))


class Config:
    """What was chosen. Immutable; made by `load`."""

    device = Key(
        "device", "", "readable name of this machine, in every version; empty: the host name",
        "a name of at most 64 bytes, such as \"laptop\"", _is_name,
    )  # fmt: skip
    lock_timeout = Key(
        "lock_timeout", 60.0, "seconds a command waits for another that holds the store",
        "a number of seconds, 0 or more", lambda seconds: seconds >= 0,
    )  # fmt: skip
    archive_automatic = Key(
        "archive.automatic", True, "a replace or a delete records an archive reference by itself",
        "true or false",
    )  # fmt: skip
    commit_held_back_minimum = Key(
        "commit.held_back_minimum", 20,
        "with at least so many files, deletions of more than half wait for --allow-deletions",
        "a whole number of files, 1 or more", lambda number: number >= 1,
    )  # fmt: skip
    commit_secrets = Key(
        "commit.secrets", "warn",
        "new content that looks like a credential: \"warn\", \"refuse\", \"off\"; needs the extra memsync[secrets]",
        "\"warn\", \"refuse\" or \"off\"", lambda word: word in {"warn", "refuse", "off"},
    )  # fmt: skip
    status_warn_unpushed_hours = Key(
        "status.warn_unpushed_hours", 24, "status warns when a version has waited so long for a push",
        "a whole number of hours, 0 or more", lambda hours: hours >= 0,
    )  # fmt: skip
    mirror_enabled = Key(
        "mirror.enabled", True, "keep a copy of Data/ on the remote that people can read", "true or false",
    )  # fmt: skip
    mirror_include = Key[tuple[str, ...]](
        "mirror.include", ("**",), "gitignore patterns of what is mirrored",
        "a list of patterns, such as [\"Core/**\", \"*.txt\"]",
    )  # fmt: skip
    mirror_exclude = Key[tuple[str, ...]](
        "mirror.exclude", (), "gitignore patterns of what is not, although it is included",
        "a list of patterns, such as [\"*.faiss\"]",
    )  # fmt: skip
    mirror_max_file_size = Key(
        "mirror.max_file_size", 8_388_608, "bytes; larger files are kept as versions, not mirrored",
        "a whole number of bytes, 0 or more", lambda size: size >= 0,
    )  # fmt: skip
    mirror_archive_max_size = Key(
        "mirror.archive_max_size", 262_144,
        "bytes; a replaced mirror file moves to Archive/ up to this size, larger ones are updated in place",
        "a whole number of bytes, 0 or more", lambda size: size >= 0,
    )  # fmt: skip
    mirror_meaningful = Key(
        "mirror.meaningful", "content",
        "what is mirrored: \"content\", any other bytes; \"text\", more than line ends and trailing blanks",
        "\"content\" or \"text\"", lambda word: word in {"content", "text"},
    )  # fmt: skip
    push_pull = Key(
        "push.pull", False, "a push pulls first, and merges what was made apart", "true or false",
    )  # fmt: skip
    push_attempts = Key(
        "push.attempts", 3, "how often one request is tried; waits that the remote asks for do not count",
        "a whole number, 1 to 100", lambda number: 1 <= number <= 100,
    )  # fmt: skip
    push_budget = Key(
        "push.budget", 600.0, "seconds a push may spend waiting and trying again, in all",
        "a number of seconds, 0 or more", lambda seconds: seconds >= 0,
    )  # fmt: skip
    push_pack_size = Key(
        "push.pack_size", 268_435_456, "bytes above which a push begins another pack",
        "a whole number of bytes, 1 or more", lambda size: size >= 1,
    )  # fmt: skip
    gc_keep_last = Key(
        "gc.keep_last", 0, "gc: keep the contents of so many newest versions; with no gc.keep_* at all, of every one",
        "a whole number, 0 or more", lambda number: number >= 0,
    )  # fmt: skip
    gc_keep_within = Key(
        "gc.keep_within", "", "gc: keep those made within so long before the newest: 36h, 90d, 12w, 6m, 2y",
        "a time such as \"90d\", or nothing", _is_span,
    )  # fmt: skip
    gc_keep_daily = Key(
        "gc.keep_daily", 0, "gc: keep the last version of each of so many days that have one",
        "a whole number, 0 or more", lambda number: number >= 0,
    )  # fmt: skip
    gc_keep_weekly = Key(
        "gc.keep_weekly", 0, "gc: the same for weeks", "a whole number, 0 or more", lambda number: number >= 0,
    )  # fmt: skip
    gc_keep_monthly = Key(
        "gc.keep_monthly", 0, "gc: the same for months", "a whole number, 0 or more", lambda number: number >= 0,
    )  # fmt: skip
    gc_keep_tags = Key[tuple[str, ...]](
        "gc.keep_tags", (), "gc: keep versions with one of these tags", "a list of tags, such as [\"release\"]",
    )  # fmt: skip
    gc_keep_archived = Key(
        "gc.keep_archived", True, "gc: keep what 'memsync archive' put away, whatever the other rules say",
        "true or false",
    )  # fmt: skip
    gc_grace_hours = Key(
        "gc.grace_hours", 24.0, "hours that a pack stays on the remote at least, once gc marked it as not needed",
        "a number of hours, 0 or more", lambda hours: hours >= 0,
    )  # fmt: skip
    gc_silent_days = Key(
        "gc.silent_days", 30, "days after which gc no longer waits for a device that has not pushed",
        "a whole number of days, 1 or more", lambda days: days >= 1,
    )  # fmt: skip
    drive_token = Key(
        "drive.token", "drive_token.json", "the file that memsync login writes; relative to the workspace",
        "a path", _is_path,
    )  # fmt: skip
    drive_credentials = Key(
        "drive.credentials", "credentials.json",
        "your own OAuth client; relative to the workspace, then looked for beside the user's config.toml",
        "a path", _is_path,
    )  # fmt: skip
    drive_root_url = Key(
        "drive.root_url", GOOGLE_ROOT_URL, "the server that speaks the Drive API",
        "an https:// address (http:// for this machine only)", _is_server,
    )  # fmt: skip
    drive_chunk_size = Key(
        "drive.chunk_size", 8_388_608, "bytes sent at a time, and so sent again after a cut",
        f"a multiple of {DRIVE_CHUNK}", lambda size: size > 0 and size % DRIVE_CHUNK == 0,
    )  # fmt: skip
    drive_timeout = Key(
        "drive.timeout", 60.0, "seconds without an answer after which a request counts as lost",
        "a number of seconds above 0", lambda seconds: seconds > 0,
    )  # fmt: skip

    __slots__ = ("device_name", "user_folder", "values")

    values: Mapping[str, object]
    """Every key's value by its dotted name."""
    user_folder: str | None
    """Where the user's own config.toml and credentials.json lie; None if the user has no home."""
    device_name: str
    """`device`, or the machine's host name without its domain."""

    @classmethod
    def load(
        cls,
        root: str,
        environ: Mapping[str, str] | None = None,
        flags: Mapping[str, object] | None = None,
    ) -> Config:
        """The configuration of the workspace at `root`.

        `environ` is the process's own by default; `flags` has dotted names, and None stands for a flag that
        was not given. An empty variable counts as unset, one that names no key is none of ours.
        Raises `BadInput` naming the file, the line where there is one, the key and what is expected.
        """
        environ = os.environ if environ is None else environ
        config = cls()
        config.user_folder = user_folder(environ, sys.platform)
        values: dict[str, object] = {name: key.default for name, key in KEYS.items()}
        if config.user_folder is not None:
            values.update(_from_file(os.path.join(config.user_folder, CONFIG_NAME)))
        values.update(_from_file(os.path.join(root, ".memsync", CONFIG_NAME)))
        for key in KEYS.values():
            if text := environ.get(key.variable):
                values[key.name] = _checked(key, key.read, text, f"the variable {key.variable}")
        for name, value in (flags or {}).items():
            if value is not None:
                key = KEYS.get(name) or _unknown(name, "the flags")
                values[name] = _checked(key, key.accept, value, f"the flag for {name}")
        url = values["drive.root_url"]
        if isinstance(url, str) and not url.endswith("/"):
            values["drive.root_url"] = url + "/"
        config.values = values
        config.device_name = config.device or _host_name(environ)
        return config

    @staticmethod
    def reference() -> str:
        """A config.toml of every key, its default and why it is there; `.memsync/config.toml` in the
        project's checkout is this text."""
        lines = [
            "# Every key of memsync, its default, and what it is for. A key may also be set by a variable:",
        ]
        lines.append("# mirror.max_file_size by MEMSYNC_MIRROR_MAX_FILE_SIZE, a list comma separated.")
        section = ""
        for key in KEYS.values():
            head, dot, last = key.name.rpartition(".")
            if head != section:
                section = head
                lines += ["", f"[{section}]"]
            elif not dot and len(lines) == 2:
                lines.append("")
            lines += [f"# {key.why}", f"{last} = {_toml(key.default)}"]
        return "\n".join(lines) + "\n"


KEYS: Final[Mapping[str, Key[Any]]] = {key.name: key for key in vars(Config).values() if isinstance(key, Key)}
"""The table by dotted name, in the order of the class body."""


def user_folder(environ: Mapping[str, str], platform: str) -> str | None:
    """The folder of the user's own configuration, by the platform's convention; None without a home."""
    home = environ.get("APPDATA" if platform == "win32" else "HOME")
    if platform == "darwin" and home:
        return os.path.join(home, "Library", "Application Support", "memsync")
    if platform not in {"win32", "darwin"}:
        chosen = environ.get("XDG_CONFIG_HOME", "")  # a relative one is ignored, its specification says
        home = chosen if os.path.isabs(chosen) else home and os.path.join(home, ".config")
    return os.path.join(home, "memsync") if home else None


def _host_name(environ: Mapping[str, str]) -> str:
    name = os.uname().nodename if hasattr(os, "uname") else environ.get("COMPUTERNAME", "")
    name = "".join(character for character in name.partition(".")[0] if character.isprintable())
    return name[:64] or "unknown"


def _toml(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple):
        return "[" + ", ".join(_toml(item) for item in value) + "]"
    return f'"{value}"' if isinstance(value, str) else str(value)


# -- files -------------------------------------------------------------------------------------------------


def _from_file(path: str) -> dict[str, object]:
    """The keys that one config.toml sets; a file that is not there sets none."""
    try:
        facts = os.stat(path)
        if stat.S_ISDIR(facts.st_mode):
            raise BadInput(f"{path} is a folder", hint="move it away, or put a file there")
        if facts.st_size > _LARGEST_CONFIG:
            raise BadInput(f"{path} is larger than 1 MiB", hint="that is no config.toml; move it away")
        raw = files.read(path)
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except OSError as error:
        raise files.disk_error(error, "could not read", path) from error
    import tomllib  # 25 ms, so only where there is a file

    try:
        text = raw.decode("utf-8-sig")
        document = tomllib.loads(text)
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise BadInput(f"{path}, line {line}: this is not UTF-8 text", hint=_mend(path)) from error
    except (ValueError, RecursionError) as error:
        # tomllib's own words: "Invalid value (at line 1, column 5)".
        said = "nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise BadInput(f"{path}: not TOML: {said}", hint=_mend(path)) from error
    found: dict[str, object] = {}
    for name, value in _flat(document):
        where = f"{path}{_line_of(text, name)}"
        key = KEYS.get(name) or _unknown(name, where)
        found[name] = _checked(key, key.accept, value, f"{where}: {name}")
    return found


def _flat(document: Mapping[str, object]) -> list[tuple[str, object]]:
    """Dotted names and values; sections are one level deep, so what lies deeper is a value of some key."""
    rows: list[tuple[str, object]] = []
    for name, value in document.items():
        if isinstance(value, dict):
            rows += [(f"{name}.{inner}", deep) for inner, deep in value.items()]
        else:
            rows.append((name, value))
    return rows


def _line_of(text: str, name: str) -> str:
    """`, line N` for the line that sets a dotted name, as far as plain TOML shows it; else nothing."""
    section = ""
    for number, line in enumerate(text.splitlines(), 1):
        bare = line.strip()
        if bare.startswith("["):
            section = bare.strip("[] \t").partition("]")[0] + "."
        elif "=" in bare:
            key = bare.partition("=")[0].replace(" ", "").replace('"', "")
            if section + key == name or (section == "" and name.startswith(key + ".")):
                return f", line {number}"
    return ""


def _checked(key: Key[Any], parse: Callable[[Any], Any], value: object, where: str) -> object:
    try:
        return parse(value)
    except ValueError:
        shown = repr(value) if len(repr(value)) <= 60 else repr(value)[:60] + "…"
        raise BadInput(
            f"{where} must be {key.wanted}; it is {shown}",
            hint=f"correct it, or remove it for the default, {_toml(key.default)}",
        ) from None


def _unknown(name: str, where: str) -> Key[Any]:
    from difflib import get_close_matches

    near = get_close_matches(name, KEYS, n=1) or [key for key in KEYS if key.rpartition(".")[2] == name][:1]
    raise BadInput(
        f"{where}: there is no key {name!r}" + (f"; did you mean {near[0]}?" if near else ""),
        hint="the keys are: " + ", ".join(KEYS),
    )


def _mend(path: str) -> str:
    return f"correct it, or move it away to go back to the defaults: {path}"
