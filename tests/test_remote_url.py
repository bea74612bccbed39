"""What a person may write for a remote."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from memstore.errors import BadInput
from memstore.remotes.open import open_remote
from memstore.remotes.url import parse_url
from memstore.workspace import Workspace


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace.create(tmp_path / "work", environ={})


def test_drive_alone_is_the_folder_of_paths_json(workspace: Workspace) -> None:
    url = parse_url("drive:", workspace)
    assert (url.normalised, url.folder, url.is_drive) == ("drive:", ("MemoryVDB",), True)
    assert parse_url("drive:").folder == ("MemoryVDB",)


@pytest.mark.parametrize(
    ("written", "normalised", "folder"),
    [
        ("drive:Memory", "drive:Memory", ("Memory",)),
        ("drive:/AI/Memory/", "drive:AI/Memory", ("AI", "Memory")),
        ("DRIVE:Notes of 2025", "drive:Notes of 2025", ("Notes of 2025",)),
    ],
)
def test_a_folder_on_drive_by_its_path(written: str, normalised: str, folder: tuple[str, ...]) -> None:
    url = parse_url(written)
    assert (url.normalised, url.folder) == (normalised, folder)
    assert parse_url(url.normalised) == url


def test_a_folder_on_drive_by_its_id() -> None:
    url = parse_url("drive://1AbC-dEf_9/")
    assert (url.normalised, url.folder_id, url.folder) == ("drive://1AbC-dEf_9", "1AbC-dEf_9", None)
    assert parse_url(url.normalised) == url


def test_paths_are_made_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("USERPROFILE", str(tmp_path / "home"))
    assert parse_url("backup/memory").path == str(tmp_path / "backup" / "memory")
    assert parse_url("../x").path == str(tmp_path.parent / "x")
    assert parse_url("~/backup").path == str(tmp_path / "home" / "backup")
    assert parse_url((tmp_path / "with space").as_uri()).path == str(tmp_path / "with space")
    assert parse_url("./s3:bucket").path == str(tmp_path / "s3:bucket")
    for url in ("backup/memory", "~/backup"):
        assert parse_url(parse_url(url).normalised) == parse_url(url)


def test_a_windows_drive_letter_is_a_path() -> None:
    for written in ("C:\\backup\\memory", "d:/backup"):
        assert not parse_url(written).is_drive


@pytest.mark.parametrize(
    "written",
    [
        "ftp://x/y", "s3:bucket/x", "https://drive.google.com/x", "sftp:host:/x", "", " ", "a\nb",
        "drive://", "drive://a/b", "drive:..", "drive:a/../b", "drive:a//b", "drive:.memsync", "drive:/",
        "file://server/share", "file:relative",
    ],
)  # fmt: skip
def test_anything_else_is_bad_input_that_names_what_is_understood(written: str) -> None:
    with pytest.raises(BadInput) as caught:
        parse_url(written)
    assert caught.value.exit_code == 8
    assert "drive:FOLDER/PATH" in caught.value.hint


@pytest.mark.parametrize("place", ["Data", "Data/x", ".", "..", ".memsync", ".memsync/x", "x/../Data"])
def test_a_remote_in_data_or_around_the_workspace_is_refused(workspace: Workspace, place: str) -> None:
    with pytest.raises(BadInput):
        parse_url(os.path.join(workspace.root, place), workspace)


@pytest.mark.skipif(os.name != "posix", reason="needs symlinks")
def test_a_link_into_data_is_seen_through(workspace: Workspace, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(workspace.data)
    with pytest.raises(BadInput, match="lies in"):
        parse_url(str(tmp_path / "link" / "x"), workspace)


def test_a_file_and_a_stores_own_folder_are_no_remotes(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    for path in (tmp_path / "file", tmp_path / "remote" / ".memsync"):
        with pytest.raises(BadInput):
            parse_url(str(path))


def test_a_sibling_of_the_workspace_is_fine_and_opens(workspace: Workspace, tmp_path: Path) -> None:
    url = parse_url(str(tmp_path / "work-backup"), workspace)
    with_both_halves = open_remote(url.normalised, workspace)
    with_both_halves.prepare(create=True)
    assert with_both_halves.url == str(tmp_path / "work-backup")
    assert with_both_halves.listing_is_free
    assert not with_both_halves.list("packs/")
    assert not list(with_both_halves.walk())
