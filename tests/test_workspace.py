"""Finding and making workspaces, and every mistake in paths.json."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memstore.errors import BadInput, MemsyncError, NoWorkspace
from memstore.workspace import PATH_KEYS, Paths, Workspace

DEFAULTS = {
    "local_data_dir": "Data/",
    "llama_input_path": "llama/input.txt",
    "llama_output_path": "llama/output.json",
    "memory_changelog": "memory_changelog.json",
    "upload_log": "upload_log.json",
    "archive_log": "archive_log.json",
    "drive_root": "Drive/MemoryVDB/",
}
"""The contract's."""


def create(folder: Path) -> Workspace:
    return Workspace.create(folder, {})


def find(folder: Path, environ: Mapping[str, str] | None = None) -> Workspace:
    return Workspace.find(folder, environ or {})


def set_paths(root: Path, **changes: object) -> None:
    (root / "paths.json").write_text(json.dumps(DEFAULTS | changes))


def snapshot(root: Path) -> dict[str, bytes | None]:
    return {
        str(path.relative_to(root)): path.read_bytes() if path.is_file() else None for path in root.rglob("*")
    }


def test_init_makes_a_workspace_with_the_contract_s_defaults(tmp_path: Path) -> None:
    root = tmp_path / "new" / "memory"
    workspace = create(root)
    assert json.loads((root / "paths.json").read_text()) == DEFAULTS
    assert set(snapshot(root)) == {".memsync", ".memsync/.gitignore", "Data", "paths.json"}
    assert (root / ".memsync" / ".gitignore").read_text() == "*\n"
    assert (workspace.root, workspace.state) == (str(root), str(root / ".memsync"))
    assert workspace.data == str(root / "Data")
    assert workspace.memory_changelog == str(root / "memory_changelog.json")
    assert workspace.upload_log == str(root / "upload_log.json")
    assert workspace.archive_log == str(root / "archive_log.json")
    assert workspace.token_path == str(root / "drive_token.json")
    assert workspace.credentials_path == str(root / "credentials.json")
    assert workspace.drive_folder == ("MemoryVDB",)


def test_init_is_harmless_when_repeated(tmp_path: Path) -> None:
    create(tmp_path)
    text = '{"upload_log": "logs/up.json", "local_data_dir": "Data", "their_key": [1]}'
    (tmp_path / "paths.json").write_text(text)
    (tmp_path / ".memsync" / ".gitignore").write_text("mine\n")
    (tmp_path / "Data" / "note.txt").write_text("kept")
    before = snapshot(tmp_path)
    workspace = create(tmp_path)
    assert snapshot(tmp_path) == before
    assert workspace.upload_log == str(tmp_path / "logs" / "up.json")


def test_init_writes_a_missing_paths_json_again(tmp_path: Path) -> None:
    create(tmp_path)
    (tmp_path / "paths.json").unlink()
    with pytest.raises(BadInput) as caught:
        find(tmp_path)
    assert "memsync init" in caught.value.hint
    assert caught.value.exit_code == 8
    assert caught.value.code != "no_workspace"
    create(tmp_path)
    assert json.loads((tmp_path / "paths.json").read_text()) == DEFAULTS


def test_a_workspace_is_found_from_any_folder_in_it(tmp_path: Path) -> None:
    create(tmp_path)
    deep = tmp_path / "Data" / "Core" / "deep"
    deep.mkdir(parents=True)
    assert find(deep).root == str(tmp_path)


def test_the_nearest_workspace_is_found(tmp_path: Path) -> None:
    create(tmp_path)
    create(tmp_path / "inner")
    assert find(tmp_path / "inner" / "Data").root == str(tmp_path / "inner")


def test_a_relative_folder_is_made_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    create(tmp_path)
    monkeypatch.chdir(tmp_path / "Data")
    assert Workspace.find(".", {}).root == str(tmp_path)


def test_no_workspace_points_to_init(tmp_path: Path) -> None:
    set_paths(tmp_path)  # another program's paths.json alone is no workspace
    with pytest.raises(NoWorkspace) as caught:
        find(tmp_path)
    assert caught.value.exit_code == 8
    assert "memsync init" in caught.value.hint


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="is no folder"):
        find(tmp_path / "nowhere")


def test_a_missing_data_folder_is_no_mistake_of_the_workspace(tmp_path: Path) -> None:
    create(tmp_path)
    (tmp_path / "Data").rmdir()
    assert find(tmp_path).data == str(tmp_path / "Data")


def test_a_remote_is_not_taken_for_a_workspace(tmp_path: Path) -> None:
    (tmp_path / ".memsync" / "heads").mkdir(parents=True)
    (tmp_path / ".memsync" / "format").write_text("{}")
    with pytest.raises(NoWorkspace):
        find(tmp_path)
    with pytest.raises(BadInput) as caught:
        create(tmp_path)
    assert "memsync clone" in caught.value.hint
    assert not (tmp_path / "paths.json").exists()


def test_init_refuses_a_folder_inside_a_store(tmp_path: Path) -> None:
    create(tmp_path)
    with pytest.raises(BadInput, match=r"\.memsync"):
        create(tmp_path / ".memsync" / "inner")


@pytest.mark.parametrize("name", ["", "Data", ".memsync"])
def test_init_refuses_a_file_where_a_folder_belongs_and_makes_nothing(tmp_path: Path, name: str) -> None:
    root = tmp_path / "root"
    if name:
        root.mkdir()
    (root / name).write_text("a file")
    before = snapshot(tmp_path)
    with pytest.raises(BadInput, match="is no folder"):
        create(root)
    assert snapshot(tmp_path) == before


def test_init_with_a_broken_paths_json_makes_nothing(tmp_path: Path) -> None:
    (tmp_path / "paths.json").write_text("{broken")
    with pytest.raises(BadInput):
        create(tmp_path)
    assert set(snapshot(tmp_path)) == {"paths.json"}


def test_paths_may_be_absolute_and_folders_elsewhere(tmp_path: Path) -> None:
    root = tmp_path / "root"
    create(root)
    set_paths(root, local_data_dir=str(tmp_path / "Mémoire 🧠"), archive_log="../logs/a.json")
    workspace = find(root)
    assert workspace.data == str(tmp_path / "Mémoire 🧠")
    assert workspace.archive_log == str(tmp_path / "logs" / "a.json")


def test_a_drive_folder_may_be_nested(tmp_path: Path) -> None:
    create(tmp_path)
    set_paths(tmp_path, drive_root="Drive/Assistants/Memory VDB")
    assert find(tmp_path).drive_folder == ("Assistants", "Memory VDB")


def test_keys_of_other_programs_are_kept_and_missing_ones_have_their_default() -> None:
    paths = Paths.parse(b'\xef\xbb\xbf{"upload_log": "u", "their": {"deep": [1, null]}}', "paths.json")
    assert paths.as_json() == DEFAULTS | {"upload_log": "u", "their": {"deep": [1, None]}}
    assert set(PATH_KEYS) == set(DEFAULTS)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"{broken", "line 1, column 2"),
        (b'{\n  "local_data_dir": "Data/",\n}', "line 3"),
        (b"", "line 1, column 1"),
        (b'{"a": "\xff"}', "line 1: this is not UTF-8"),
        (b"[1]", "one object"),
        (b"[" * 100_000, "not JSON that can be read"),
        (b'{"a": ' + b"1" * 5000 + b"}", "not JSON that can be read"),
        (b" " * 1_100_000, "larger than 1 MiB"),
        (b'{"local_data_dir": 7}', '"local_data_dir" must be a path in quotes, such as "Data/"; it is 7'),
        (b'{"upload_log": null}', '"upload_log" must be a path in quotes'),
        (b'{"archive_log": ["x"]}', '"archive_log" must be a path in quotes'),
        (b'{"memory_changelog": " "}', '"memory_changelog" must be'),
        (b'{"llama_input_path": "a\\u0000b"}', '"llama_input_path" must be'),
        (b'{"llama_output_path": "\\ud800"}', '"llama_output_path" must be'),
        (b'{"drive_root": "MemoryVDB/"}', '"drive_root" must begin with Drive/'),
        (b'{"drive_root": "Drive/"}', '"drive_root" must begin with Drive/'),
        (b'{"drive_root": "Drive/../x"}', '"drive_root" must begin with Drive/'),
        (b'{"drive_root": "Drive/a//b"}', '"drive_root" must begin with Drive/'),
        (b'{"drive_root": "Drive/.MemSync"}', '"drive_root" must begin with Drive/'),
        (b'{"local_data_dir": "."}', "may not contain the workspace itself"),
        (b'{"local_data_dir": ".."}', "may not contain the workspace itself"),
        (b'{"local_data_dir": "/"}', "may not contain the workspace itself"),
        (b'{"local_data_dir": ".memsync"}', "may not contain the store"),
        (b'{"local_data_dir": ".memsync/Data"}', "may not lie in .memsync/"),
        (b'{"upload_log": "Data/logs/up.json"}', 'may not contain "upload_log"'),
        (b'{"archive_log": "./x/../Data/a.json"}', 'may not contain "archive_log"'),
        (b'{"memory_changelog": "Data/m.json"}', 'may not contain "memory_changelog"'),
        (
            b'{"archive_log": "drive_token.json"}',
            '"archive_log", "drive_token.json", may not be the Drive token',
        ),
        (b'{"upload_log": "credentials.json"}', "may not be the OAuth client file"),
        (b'{"upload_log": "paths.json"}', "may not be paths.json itself"),
        (b'{"archive_log": "x/../PATHS.json"}', "may not be paths.json itself"),
        (b'{"archive_log": ".memsync/format"}', "may not be in .memsync/"),
        (b'{"upload_log": ".MemSync/remote.json"}', "may not be in .memsync/"),
    ],
)
def test_a_mistake_in_paths_json_is_named_with_its_place_and_what_is_expected(
    tmp_path: Path, text: bytes, expected: str
) -> None:
    create(tmp_path)
    (tmp_path / "paths.json").write_bytes(text)
    with pytest.raises(BadInput) as caught:
        find(tmp_path)
    assert str(tmp_path / "paths.json") in caught.value.message
    assert expected in caught.value.message
    assert caught.value.hint
    assert caught.value.exit_code == 8


def test_paths_json_may_not_be_a_folder(tmp_path: Path) -> None:
    create(tmp_path)
    (tmp_path / "paths.json").unlink()
    (tmp_path / "paths.json").mkdir()
    with pytest.raises(BadInput, match="is no file"):
        find(tmp_path)


def test_data_may_not_contain_the_token(tmp_path: Path) -> None:
    create(tmp_path)
    with pytest.raises(BadInput, match="may not contain the Drive token"):
        find(tmp_path, {"MEMSYNC_DRIVE_TOKEN": str(tmp_path / "Data" / "token.json")})


def test_a_symlink_does_not_hide_that_data_contains_the_store(tmp_path: Path) -> None:
    root = tmp_path / "root"
    create(root)
    try:
        os.symlink(tmp_path, tmp_path / "link", target_is_directory=True)
    except OSError:
        pytest.skip("symlinks can't be made here")
    set_paths(root, local_data_dir=str(tmp_path / "link"))
    with pytest.raises(BadInput, match="may not contain the workspace itself"):
        find(root)


def test_no_link_hides_that_a_log_is_a_file_of_memsync_s_own(tmp_path: Path) -> None:
    create(tmp_path)
    try:
        os.symlink(tmp_path / ".memsync", tmp_path / "logs", target_is_directory=True)
    except OSError:
        pytest.skip("symlinks can't be made here")
    set_paths(tmp_path, upload_log="logs/config.toml")
    with pytest.raises(BadInput, match=r"may not be in \.memsync/") as caught:
        find(tmp_path)
    assert 'such as "upload_log.json"' in caught.value.hint
    (tmp_path / "drive_token.json").write_text("{}")
    os.link(tmp_path / "drive_token.json", tmp_path / "up.json")
    set_paths(tmp_path, upload_log="up.json")
    with pytest.raises(BadInput, match="may not be the Drive token"):
        find(tmp_path)


def test_the_user_s_configuration_is_no_log(tmp_path: Path) -> None:
    create(tmp_path)
    environ = {"XDG_CONFIG_HOME": str(tmp_path), "HOME": str(tmp_path), "APPDATA": str(tmp_path)}
    set_paths(tmp_path, upload_log=str(Path(str(find(tmp_path, environ).config.user_folder)) / "config.toml"))
    with pytest.raises(BadInput, match="may not be the user's configuration"):
        find(tmp_path, environ)


def test_credentials_are_looked_for_in_the_workspace_then_beside_the_user_s_configuration(
    tmp_path: Path,
) -> None:
    root = tmp_path / "root"
    create(root)
    environ = {"XDG_CONFIG_HOME": str(tmp_path), "HOME": str(tmp_path), "APPDATA": str(tmp_path)}
    user = find(root, environ).config.user_folder
    assert user is not None
    Path(user).mkdir(parents=True)
    (Path(user) / "credentials.json").write_text("{}")
    assert find(root, environ).credentials_path == str(Path(user) / "credentials.json")
    (root / "credentials.json").write_text("{}")
    assert find(root, environ).credentials_path == str(root / "credentials.json")
    elsewhere = environ | {"MEMSYNC_DRIVE_CREDENTIALS": "secret/client.json"}
    assert find(root, elsewhere).credentials_path == str(root / "secret" / "client.json")


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@given(st.dictionaries(st.sampled_from(PATH_KEYS) | st.text(max_size=5), JSON_VALUES))
def test_any_object_is_kept_whole_or_refused(document: dict[str, object]) -> None:
    try:
        paths = Paths.parse(json.dumps(document).encode(), "paths.json")
    except MemsyncError as error:
        assert isinstance(error, BadInput)
        assert any(f'"{name}"' in error.message for name in PATH_KEYS)
    else:
        assert paths.as_json() == DEFAULTS | document
