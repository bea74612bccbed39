"""Wrong use, through the real command line: a sentence with its mend, the contract's exit code, never a
traceback, and nothing lost (the line of issue 2 on bad input, case by case)."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from memstore.store import Store
from tests.command_line import fails, posix, run, surviving, versions
from tests.folder_place import Place, tree


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    yield from surviving(tmp_path, monkeypatch)


# -- the workspace ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["commit", "status", "log", "push", "pull", "verify", "ls"])
def test_no_workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str) -> None:
    monkeypatch.chdir(tmp_path)
    fails(8, command, says="workspace", mend="memsync init")
    assert not list(tmp_path.iterdir())


def test_no_such_command(place: Place) -> None:
    result = run("comit")
    assert result.exit_code == 2
    assert "commit" in result.stderr


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{broken", r"paths\.json.*line 1"),
        ('{\n "local_data_dir": "Data/",\n oops\n}', r"paths\.json.*line 3"),
        ('{"local_data_dir": 7}', "local_data_dir"),
        ('{"local_data_dir": ""}', "local_data_dir"),
        ('{"local_data_dir": "."}', "local_data_dir"),
        ('{"local_data_dir": ".memsync/"}', "local_data_dir"),
        ('{"upload_log": null}', "upload_log"),
        ('{"drive_root": "MemoryVDB/"}', "drive_root"),
        ("[]", r"paths\.json"),
        ("", r"paths\.json"),
    ],
)
def test_a_broken_paths_json_is_named_with_its_line_or_key(place: Place, text: str, says: str) -> None:
    path = place.root / "paths.json"
    whole = path.read_bytes()
    path.write_text(text)
    before = tree(place.root)
    for command in ("commit", "status"):
        fails(8, command, says=says)
    assert tree(place.root) == before
    path.write_bytes(whole)


def test_a_missing_paths_json_is_mended_by_init(place: Place) -> None:
    (place.root / "paths.json").unlink()
    fails(8, "commit", says=r"paths\.json", mend="memsync init")
    assert run("init").exit_code == 0
    assert run("status").exit_code == 0
    assert versions(place) == 1


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("x = = 1", r"config\.toml.*line 1"),
        ("[mirror]\nenabled = true\nmax_file_size = -1\n", r"mirror\.max_file_size"),
        ("[mirror]\nmax_file_size = 'much'\n", r"mirror\.max_file_size"),
        ("[mirror]\nmeaningful = 'sometimes'\n", r"mirror\.meaningful"),
        ("lock_timeout = -5\n", "lock_timeout"),
        ("[mirorr]\nenabled = true\n", "mirorr"),
        ("\n\nnot_a_key = 1\n", "not_a_key"),
    ],
)
def test_a_broken_config_toml_is_named_with_its_line_or_key(place: Place, text: str, says: str) -> None:
    path = place.root / ".memsync/config.toml"
    path.write_text(text)
    fails(8, "commit", says=says)
    path.unlink()


# -- paths, ids, times -----------------------------------------------------------------------------------------


def test_a_path_outside_data(place: Place) -> None:
    for path in (os.devnull, "../elsewhere", str(place.base / "remote"), "Data/../paths.json"):
        fails(8, "commit", path, says="outside|not a path")
    assert versions(place) == 1


@pytest.mark.parametrize(
    "command", [["commit", "nope.txt"], ["restore", "nope.txt"], ["archive", "nope.txt"], ["log", "nope.txt"]]
)
def test_a_missing_file(place: Place, command: list[str]) -> None:
    fails(8, *command, says=r"nope\.txt")
    assert versions(place) == 1


def test_one_missing_file_among_others_records_nothing(place: Place) -> None:
    place.write({"new.txt": b"new\n"})
    fails(8, "commit", "new.txt", "nope.txt", says=r"nope\.txt")
    assert versions(place) == 1
    assert run("commit", "new.txt").exit_code == 0


@pytest.mark.parametrize("id", ["deadbeefdead", "dead", "0" * 64, "f" * 65])
def test_an_unknown_id(place: Place, id: str) -> None:
    assert run("cat", f"{id}:Core/Rules.txt").exit_code == 8
    assert run("show", id).exit_code == 8
    assert run("restore", "Core/Rules.txt", "--at", id).exit_code in (2, 8)


def test_an_ambiguous_id_names_those_it_could_be(place: Place) -> None:
    with place.open() as store:
        id = str(store.head())
        twin = bytes.fromhex(id[:16] + "00" * 24)
        store.repository.catalogue.db.execute(
            "INSERT INTO versions SELECT * FROM (SELECT * FROM versions) LIMIT 0"
        )
        columns = [row[1] for row in store.repository.catalogue.db.execute("PRAGMA table_info(versions)")]
        chosen = ", ".join(
            "?" if column == "id" else "seq + 1" if column == "seq" else column for column in columns
        )
        store.repository.catalogue.db.execute(f"INSERT INTO versions SELECT {chosen} FROM versions", (twin,))
    fails(8, "show", id[:12], says=f"ambiguous.*{id[:16]}", mend="more digits")
    assert run("show", id).exit_code == 0
    for path in (place.root / ".memsync").glob("catalogue.sqlite*"):
        path.unlink()


def test_a_time_before_the_first_version(place: Place) -> None:
    fails(8, "restore", "Core/Rules.txt", "--at", "1999-01-01", says="history begins", mend="memsync log")


def test_a_time_that_is_none(place: Place) -> None:
    assert run("restore", "Core/Rules.txt", "--at", "yesterdayish").exit_code in (2, 8)


def test_nothing_is_touched_by_a_restore_that_is_refused(place: Place) -> None:
    place.write({"Core/Rules.txt": b"not committed\n"})
    before = tree(place.data)
    fails(8, "restore", "Core/Rules.txt", "--at", "1999-01-01", says="history begins")
    fails(8, "restore", "nope.txt", says="nope")
    assert tree(place.data) == before
    assert versions(place) == 1


NOT_UTF8 = "\udcff"
"""The byte 0xff of an argument, as Python hands it over."""


@pytest.mark.parametrize(
    "line",
    [
        "log X", "log --tag X", "log --chat X", "log --since X", "ls X", "ls Archive/X", "diff X",
        "diff HEAD X", "show X", "show HEAD:X", "cat X", "cat HEAD:X", "restore X", "restore Core/Rules.txt --at X",
        "archive X", "archive Core/Rules.txt --reason X", "commit X", "commit -m X", "commit --tag X",
        "commit --chat X", "commit --actor X", "push X", "forget X --everywhere", "gc --keep-tag X",
        "remote set X", "remote set drive:X", "clone X elsewhere",
    ],
)  # fmt: skip
def test_an_argument_that_is_not_utf8_is_bad_input_whatever_it_stands_for(place: Place, line: str) -> None:
    place.write({"new.txt": b"new\n"})
    arguments = [word.replace("X", f"a{NOT_UTF8}") for word in line.split()]
    fails(8, *arguments, says=r"not UTF-8: '.*\\xff'", mend="memsync ls")
    assert versions(place) == 1


@posix
def test_a_note_that_is_not_utf8_is_bad_input_though_a_file_has_that_name(place: Place) -> None:
    place.write({"new.txt": b"new\n"})
    (place.root / NOT_UTF8).write_bytes(b"")
    fails(8, "commit", "-m", NOT_UTF8, says="not UTF-8")
    assert versions(place) == 1


@posix
def test_folders_of_the_disk_may_have_any_name(place: Place, tmp_path: Path) -> None:
    folder = str(tmp_path / NOT_UTF8)
    assert run("init", folder).exit_code == 0
    assert run("restore", "Core/Rules.txt", "--to", f"{folder}/old.txt").exit_code == 0
    with open(f"{folder}/Data/note.txt", "xb") as file:
        file.write(b"a note\n")
    assert run("-C", folder, "commit", f"{folder}/Data/note.txt").exit_code == 0
    os.chdir(place.root)
    fails(8, "log", f"{folder}/Data/note.txt", says="outside the data folder")


# -- remotes ---------------------------------------------------------------------------------------------------


def test_a_push_without_a_remote(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Store.init(tmp_path / "alone").close()
    monkeypatch.chdir(tmp_path / "alone")
    fails(8, "push", says="no remote", mend="memsync remote set")
    fails(8, "pull", says="no remote", mend="memsync remote set")


@pytest.mark.parametrize("url", ["ftp://x/y", "", "drive:..", "http://example.org", "Data/backup", "."])
def test_an_address_that_is_no_remote(place: Place, url: str) -> None:
    result = run("remote", "set", url)
    assert result.exit_code in (2, 8)
    assert "hint: " in result.stderr
    assert str(place.remote) in run("remote", "show").stdout


@posix
def test_a_remote_folder_whose_name_is_not_utf8_is_refused_before_anything_is_sent(
    place: Place, tmp_path: Path
) -> None:
    folder = str(tmp_path / NOT_UTF8)
    os.mkdir(folder)
    fails(8, "remote", "set", folder, says="is not UTF-8", mend="rename that folder")
    fails(8, "clone", folder, str(tmp_path / "clone"), says="is not UTF-8", mend="rename that folder")
    assert str(place.remote) in run("remote", "show").stdout


def test_a_remote_of_another_store(place: Place, tmp_path: Path) -> None:
    other = Place(tmp_path / "other")
    other.commit({"theirs.txt": b"theirs\n"})
    other.push()
    before = tree(other.remote)
    assert run("remote", "set", str(other.remote)).exit_code == 0
    result = run("push")
    assert result.exit_code == 8
    assert "belongs to another store" in result.stderr and "memsync remote set" in result.stderr
    document = json.loads(run("push", "--json").stdout)
    assert (document["status"], document["error"]["code"]) == ("fail", "other_store")
    fails(8, "pull", says="another store", mend="memsync clone")
    assert tree(other.remote) == before


def test_a_remote_whose_disk_is_not_mounted(place: Place) -> None:
    assert run("push").exit_code == 0
    place.remote.rename(place.base / "unplugged")
    place.commit({"new.txt": b"new\n"})
    result = run("push")
    assert result.exit_code == 5
    assert "hint: " in result.stderr
    assert not place.remote.exists()
    assert run("status").exit_code == 0
    (place.base / "unplugged").rename(place.remote)
    assert run("push").exit_code == 0
    assert place.mirror["new.txt"] == b"new\n"


def test_a_clone_of_nothing_and_into_what_is_taken(place: Place, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    fails(8, "clone", str(tmp_path / "empty"), str(tmp_path / "c"), says="no memsync store", mend="push")
    assert not (tmp_path / "c").exists()
    run("push")
    before = tree(place.data)
    fails(8, "clone", str(place.remote), str(place.root), says="workspace already", mend="memsync pull")
    assert tree(place.data) == before
