"""What may be chosen, from where, and which mistakes are named."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memstore.config import KEYS, Config, user_folder
from memstore.errors import BadInput

CHECKOUT = Path(__file__).resolve().parent.parent


def load(
    root: Path, environ: Mapping[str, str] | None = None, flags: Mapping[str, object] | None = None
) -> Config:
    return Config.load(str(root), environ or {}, flags)


def write(root: Path, text: str | bytes) -> Path:
    path = root / ".memsync" / "config.toml"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def mistake(root: Path, environ: Mapping[str, str] | None = None) -> str:
    with pytest.raises(BadInput) as caught:
        load(root, environ)
    assert caught.value.exit_code == 8
    assert caught.value.hint
    return caught.value.message


def test_the_committed_reference_is_the_table_of_the_code() -> None:
    committed = (CHECKOUT / ".memsync" / "config.toml").read_text(encoding="utf-8")
    assert committed == Config.reference()


def test_the_reference_names_every_key_and_sets_nothing_but_defaults(tmp_path: Path) -> None:
    document = tomllib.loads(Config.reference())
    named = {
        f"{name}.{key}" if isinstance(value, dict) else name
        for name, value in document.items()
        for key in (value if isinstance(value, dict) else [name])
    }
    assert named == set(KEYS)
    write(tmp_path, Config.reference())
    assert load(tmp_path).values == load(tmp_path / "without").values


def test_attributes_are_called_as_their_keys(tmp_path: Path) -> None:
    config = load(tmp_path)
    for name, key in KEYS.items():
        assert getattr(config, name.replace(".", "_")) == key.default


def test_flag_beats_variable_beats_workspace_beats_user_beats_default(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    environ = {"HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path / "xdg"), "APPDATA": str(tmp_path)}
    flags: dict[str, object] = {"push.attempts": None}
    assert load(root, environ, flags).push_attempts == 3
    user = load(root, environ).user_folder
    assert user is not None
    Path(user).mkdir(parents=True)
    (Path(user) / "config.toml").write_text("[push]\nattempts = 4\nbudget = 1\n")
    assert load(root, environ, flags).push_attempts == 4
    write(root, "[push]\nattempts = 5\n")
    assert load(root, environ, flags).push_attempts == 5
    environ["MEMSYNC_PUSH_ATTEMPTS"] = "6"
    assert load(root, environ, flags).push_attempts == 6
    flags["push.attempts"] = 7
    config = load(root, environ, flags)
    assert config.push_attempts == 7
    assert config.push_budget == 1.0


def test_every_key_can_be_set_by_a_variable(tmp_path: Path) -> None:
    texts = {
        "device": "lab", "lock_timeout": "1.5", "archive.automatic": "no", "commit.held_back_minimum": "5",
        "commit.secrets": "refuse",
        "status.warn_unpushed_hours": "48", "mirror.enabled": "0", "mirror.include": "Core/**, *.txt",
        "mirror.exclude": "*.faiss", "mirror.max_file_size": "1", "mirror.archive_max_size": "2",
        "mirror.meaningful": "text", "push.pull": "True", "push.attempts": "9", "push.budget": "0",
        "push.pack_size": "1024", "gc.keep_last": "7", "gc.keep_within": "90d", "gc.keep_daily": "1",
        "gc.keep_weekly": "2", "gc.keep_monthly": "3", "gc.keep_tags": "a, b", "gc.keep_archived": "off",
        "gc.grace_hours": "0", "gc.silent_days": "9", "drive.token": "/t", "drive.credentials": "c",
        "drive.root_url": "http://127.0.0.1:8080", "drive.chunk_size": "262144", "drive.timeout": "3",
    }  # fmt: skip
    wanted = {
        "device": "lab", "lock_timeout": 1.5, "archive.automatic": False, "commit.held_back_minimum": 5,
        "commit.secrets": "refuse",
        "status.warn_unpushed_hours": 48, "mirror.enabled": False, "mirror.include": ("Core/**", "*.txt"),
        "mirror.exclude": ("*.faiss",), "mirror.max_file_size": 1, "mirror.archive_max_size": 2,
        "mirror.meaningful": "text", "push.pull": True, "push.attempts": 9, "push.budget": 0.0,
        "push.pack_size": 1024, "gc.keep_last": 7, "gc.keep_within": "90d", "gc.keep_daily": 1,
        "gc.keep_weekly": 2, "gc.keep_monthly": 3, "gc.keep_tags": ("a", "b"), "gc.keep_archived": False,
        "gc.grace_hours": 0.0, "gc.silent_days": 9, "drive.token": "/t", "drive.credentials": "c",
        "drive.root_url": "http://127.0.0.1:8080/", "drive.chunk_size": 262144, "drive.timeout": 3.0,
    }  # fmt: skip
    assert set(texts) == set(KEYS)
    config = load(tmp_path, {KEYS[name].variable: text for name, text in texts.items()})
    assert config.values == wanted


def test_an_empty_variable_and_a_stranger_s_are_no_variables(tmp_path: Path) -> None:
    environ = {"MEMSYNC_PUSH_ATTEMPTS": "", "MEMSYNC_OF_ANOTHER_PROGRAM": "x"}
    assert load(tmp_path, environ).push_attempts == 3


def test_a_device_without_a_name_has_the_host_s(tmp_path: Path) -> None:
    assert load(tmp_path).device_name
    assert load(tmp_path, {"MEMSYNC_DEVICE": "lab 2"}).device_name == "lab 2"
    assert load(tmp_path, {"MEMSYNC_DEVICE": "lab 2"}).device == "lab 2"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("x = = 1", "line 1, column 5"),
        ("\n[mirror]\nmax_file_sise = 3", "line 3: there is no key 'mirror.max_file_sise'; did you mean"),
        ("attempts = 3", "line 1: there is no key 'attempts'; did you mean push.attempts?"),
        ("[colour]\nui = true", "there is no key 'colour.ui'"),
        ("mirror = 3", "there is no key 'mirror'"),
        ("[mirror]\n# size\nmax_file_size = '3'", "line 3: mirror.max_file_size must be a whole number"),
        ("mirror.max_file_size = true", "line 1: mirror.max_file_size must be a whole number"),
        ("[mirror]\nmax_file_size = 1.5", "line 2: mirror.max_file_size must be a whole number"),
        ("[mirror]\ninclude = '**'", "line 2: mirror.include must be a list"),
        ("[mirror]\ninclude = ['']", "line 2: mirror.include must be a list"),
        ("[mirror.include]\nx = 1", "mirror.include must be a list"),
        ("[mirror]\nmeaningful = 'all'", "line 2: mirror.meaningful must be \"content\" or \"text\""),
        ("lock_timeout = -1", "line 1: lock_timeout must be"),
        ("lock_timeout = nan", "line 1: lock_timeout must be"),
        ("[push]\npull = 1", "line 2: push.pull must be true or false"),
        ("[push]\nattempts = 0", "line 2: push.attempts must be"),
        ("[drive]\nchunk_size = 300000", "line 2: drive.chunk_size must be a multiple of 262144"),
        ("[drive]\nroot_url = 'http://drive.example/'", "line 2: drive.root_url must be an https:// address"),
        ("[drive]\nroot_url = 'https://[/'", "line 2: drive.root_url must be an https:// address"),
        ("[drive]\ntimeout = 0", "line 2: drive.timeout must be"),
        ("device = \"a\\nb\"", "line 1: device must be"),
        (b"device = '\xff'", "line 1: this is not UTF-8"),
        ("a=" + "[" * 20_000, "not TOML"),
        ("#" * 1_100_000, "larger than 1 MiB"),
    ],
)  # fmt: skip
def test_a_mistake_is_named_with_file_line_and_key(tmp_path: Path, text: str | bytes, expected: str) -> None:
    path = write(tmp_path, text)
    message = mistake(tmp_path)
    assert str(path) in message
    assert expected in message


def test_a_wrong_variable_or_flag_is_named(tmp_path: Path) -> None:
    said = mistake(tmp_path, {"MEMSYNC_PUSH_ATTEMPTS": "many"})
    assert "the variable MEMSYNC_PUSH_ATTEMPTS must be a whole number" in said
    for flags in ({"push.attempts": "4"}, {"push.attemps": 4}):
        with pytest.raises(BadInput, match=r"push\.attempts"):
            load(tmp_path, flags=flags)


def test_a_folder_in_the_place_of_the_file_is_named(tmp_path: Path) -> None:
    (tmp_path / ".memsync" / "config.toml").mkdir(parents=True)
    assert "is a folder" in mistake(tmp_path)


def test_the_user_s_folder_follows_the_platform() -> None:
    environ = {"HOME": "/home/ada", "APPDATA": "/appdata"}
    assert user_folder(environ, "linux") == "/home/ada/.config/memsync"
    assert user_folder(environ | {"XDG_CONFIG_HOME": "/xdg"}, "linux") == "/xdg/memsync"
    assert user_folder(environ | {"XDG_CONFIG_HOME": "relative"}, "linux") == "/home/ada/.config/memsync"
    assert user_folder(environ, "darwin") == "/home/ada/Library/Application Support/memsync"
    assert user_folder(environ, "win32") == "/appdata/memsync"
    for platform in ("linux", "darwin", "win32"):
        assert user_folder({}, platform) is None


@given(st.dictionaries(st.sampled_from([key.variable for key in KEYS.values()]), st.text(max_size=12)))
def test_any_variables_give_a_configuration_or_bad_input(environ: dict[str, str]) -> None:
    try:
        config = Config.load("/nowhere", environ)
    except BadInput as error:
        assert "MEMSYNC_" in error.message
    else:
        for name, key in KEYS.items():
            assert type(config.values[name]) is type(key.default)
