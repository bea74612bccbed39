"""The workspace's own sign-in files are never committed, under whatever name their bytes come."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from memstore.actions import ingest
from memstore.withheld import client_of
from tests.conftest import Memory
from tests.folder_place import Place, pushed, put, tree

TOKEN = b'{"refresh_token": "1//0a-very-secret-one", "client_id": "x"}'


def _copied(source: Path, target: Path) -> None:
    target.write_bytes(source.read_bytes())


def _linked(source: Path, target: Path) -> None:
    os.link(source, target)


def _stored(memory: Memory) -> bytes:
    return b"".join(path.read_bytes() for path in memory.state.rglob("*") if path.is_file())


@pytest.mark.parametrize("put", [_copied, _linked])
@pytest.mark.parametrize("name", ["drive_token.json", "credentials.json"])
def test_a_copy_of_a_sign_in_file_is_left_out_and_named_and_the_rest_is_committed(
    memory: Memory, name: str, put: Callable[[Path, Path], None]
) -> None:
    (memory.root / name).write_bytes(TOKEN)
    memory.write("note.txt", "a note\n")
    put(memory.root / name, memory.data / "innocent.txt")
    report = memory.store.commit_report()
    assert report.version is not None
    assert [change.path for change in report.version.changes] == ["note.txt"]
    (warning,) = report.warnings
    assert "innocent.txt" in warning
    assert "never committed" in warning
    assert b"very-secret" not in _stored(memory)


def test_a_note_that_becomes_the_token_stays_as_it_was(memory: Memory) -> None:
    (memory.root / "drive_token.json").write_bytes(TOKEN)
    memory.save("note.txt", "a note\n")
    memory.write("note.txt", TOKEN)
    assert memory.store.commit_report().version is None
    assert memory.store.read("note.txt") == b"a note\n"
    assert b"very-secret" not in _stored(memory)


def test_among_very_many_files_it_is_found_as_well(memory: Memory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ingest, "MANY", 4)
    (memory.root / "drive_token.json").write_bytes(TOKEN)
    for number in range(8):
        memory.write(f"{number}.txt", f"note {number}\n")
    memory.write("5a.txt", TOKEN)
    report = memory.store.commit_report()
    assert report.version is not None
    assert len(report.version.changes) == 8
    assert len(report.warnings) == 1
    assert b"very-secret" not in _stored(memory)
    assert memory.store.verify().ok


def test_an_empty_token_file_keeps_no_empty_note_out(memory: Memory) -> None:
    (memory.root / "drive_token.json").write_bytes(b"")
    memory.save("empty.txt", "")


# -- by its shape ------------------------------------------------------------------------------------------


OURS = "12-ours.apps.googleusercontent.com"
SIGN_IN = {
    "type": "authorized_user",
    "token": "ya29.new",
    "refresh_token": "1//0a-very-secret-one",
    "client_id": OURS,
    "client_secret": "GOCSPX-very-secret",
}


def _left_out(memory: Memory) -> list[str]:
    """Paths in the warnings of a commit; nothing secret got in."""
    report = memory.store.commit_report()
    assert b"very-secret" not in _stored(memory)
    return [warning.split("'")[1] for warning in report.warnings]


@pytest.mark.parametrize(
    "copy",
    [
        json.dumps(SIGN_IN | {"token": "ya29.older"}, indent=2),
        json.dumps(SIGN_IN | {"refresh_token": "1//0an-older-very-secret-one"}),
        json.dumps({"installed": {"client_id": OURS, "client_secret": "GOCSPX-very-secret"}}),
        json.dumps({"web": {"client_secret": "GOCSPX-very-secret", "client_id": OURS}}, indent=8),
    ],
)
@pytest.mark.parametrize("many", [4, 1000])
def test_an_older_copy_or_one_written_anew_is_known_by_its_client(
    memory: Memory, copy: str, many: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ingest, "MANY", many)
    (memory.root / "drive_token.json").write_text(json.dumps(SIGN_IN))
    for number in range(4):
        memory.write(f"note {number}.txt", f"a note {number}\n")
    memory.write("old.json", copy)
    assert _left_out(memory) == ["old.json"]
    memory.write("note 1.txt", copy)
    assert sorted(_left_out(memory)) == ["note 1.txt", "old.json"]
    assert memory.store.read("note 1.txt") == b"a note 1\n"


@pytest.mark.parametrize("many", [2, 1000])
def test_a_token_that_was_moved_into_data_is_left_out_though_nothing_is_left_to_hold_it_against(
    memory: Memory, many: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ingest, "MANY", many)
    (memory.root / "drive_token.json").write_text(json.dumps(SIGN_IN))
    (memory.root / "drive_token.json").rename(memory.data / "tok.json")
    memory.write("note.txt", "a note\n")
    memory.write("another.txt", "another note\n")
    assert _left_out(memory) == ["tok.json"]
    (row,) = memory.store.status().left_out
    assert row.path == "tok.json" and "sign-in token" in row.reason


def test_somebody_elses_client_file_is_a_note_like_any_other(memory: Memory) -> None:
    (memory.root / "credentials.json").write_text(json.dumps({"installed": SIGN_IN}))
    theirs = {"client_id": "13-theirs", "client_secret": "s"}
    memory.save("theirs.json", json.dumps(theirs))
    memory.save("installed.json", json.dumps({"installed": theirs}))
    memory.save("empty.json", json.dumps(theirs | {"refresh_token": None}))
    memory.save("half.json", json.dumps({"client_id": OURS, "client_secret": None}))
    memory.save("about.txt", f'write "client_secret" and {OURS} there\n')


@pytest.mark.parametrize(
    "raw",
    [b"", b'{"client_secret"', b'["client_secret"]', b'{"client_secret": 1}', b"[" * 9000, b"\xff" * 99],
)
def test_what_only_resembles_a_sign_in_file_is_none(raw: bytes) -> None:
    assert client_of(raw + b' "client_secret"') is None


# -- through the mirror ------------------------------------------------------------------------------------


def test_a_token_that_was_put_into_the_mirror_stays_there_is_told_of_and_the_rest_comes_home(
    tmp_path: Path,
) -> None:
    place = Place(tmp_path)
    pushed(place, {"Core/a.txt": b"a\n", "b.txt": b"b\n"})
    token = json.dumps(SIGN_IN).encode()
    put(place.remote, {"Core/a.txt": token, "b.txt": b"by hand\n"})
    report = place.push()
    assert report.status == "success"
    (warning,) = report.warnings
    assert "Core/a.txt" in warning and "sign-in token" in warning
    assert tree(place.data) == {"Core/a.txt": b"a\n", "b.txt": b"by hand\n"}
    assert token not in place.contents()
    assert place.mirror["Core/a.txt"] == token
    report = pushed(place, {"Core/a.txt": b"newer\n"})
    assert len(report.warnings) == 1
    assert place.mirror["Core/a.txt"] == token, "written over blind"
    (place.remote / "Core/a.txt").unlink()
    assert "'memsync push Core/a.txt'" in warning
    assert place.push("Core/a.txt").warnings == ()
    assert place.mirror["Core/a.txt"] == b"newer\n"
    assert tree(place.clone("other").data) == tree(place.data)
