"""Files of `Data/` that no commit takes in, or that none has taken in yet: what is said of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.command_line import fails, run
from tests.folder_place import Place

KEYS = b"hunter2 is what opens it\n"
TOKEN = b'{"refresh_token": "1//0a", "client_id": "me", "client_secret": "shh"}'


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    """One content was forgotten, and a copy of it lies in `Data/`."""
    made = Place(tmp_path)
    made.commit({"Core/Rules.txt": b"be kind\n", "Keys.txt": KEYS})
    with made.open() as store:
        store.forget(["Keys.txt"])
    made.write({"Keys2.txt": KEYS})
    monkeypatch.chdir(made.root)
    return made


@pytest.mark.parametrize(
    ("command", "mend"),
    [
        ("archive", "rm .*/Data/Keys2.txt$"),
        ("log", "rm .*/Data/Keys2.txt$"),
        ("restore", "rm .*/Data/Keys2.txt$"),
        ("ls", "rm .*/Data/Keys2.txt$"),
        ("cat", "rm .*/Data/Keys2.txt$"),
        ("show", "rm .*/Data/Keys2.txt$"),
        ("forget --everywhere", "nothing to forget; delete it yourself: rm .*/Data/Keys2.txt$"),
    ],
)
def test_a_file_with_forgotten_bytes_is_said_to_be_in_data_and_why_no_version_has_it(
    place: Place, command: str, mend: str
) -> None:
    verb, *options = command.split()
    says = r"Keys2.txt is in Data/, but no version has it: its content was forgotten on \d{4}-"
    fails(8, verb, "Keys2.txt", *options, says=says, mend=f"(?m){mend}")
    assert (place.data / "Keys2.txt").read_bytes() == KEYS


@pytest.mark.parametrize(
    ("path", "says", "mend"),
    [
        ("own/x.txt", "a rule of .memsyncignore leaves it out", "take that rule out"),
        ("own", "a rule of .memsyncignore leaves it out", "take that rule out"),
        ("x.tmp", "left out as noise", "'!x.tmp'"),
        ("new.txt", "it was never committed", "memsync commit new.txt"),
        ("new", "no file of it was ever committed", "memsync commit new"),
    ],
)
def test_a_file_that_was_never_committed_is_told_from_one_that_is_nowhere(
    place: Place, path: str, says: str, mend: str
) -> None:
    made = {".memsyncignore": b"own/\n", "own/x.txt": b"x\n", "x.tmp": b"x\n", "new.txt": b"x\n"}
    place.write(made | {"new/a.txt": b"a\n"})
    fails(8, "log", path, says=f"{path} is in Data/, but no version has it: .*{says}", mend=mend)
    fails(8, "forget", path, "--everywhere", says=says, mend="nothing to forget; delete it yourself")
    if "new" not in path:  # which archive would commit first
        fails(8, "archive", path, says=says, mend=mend)


def test_a_noisy_name_is_taken_in_by_what_the_hint_says(place: Place) -> None:
    place.write({"x.tmp": b"x\n", ".memsyncignore": b"!x.tmp\n"})
    assert run("commit", "x.tmp").exit_code == 0
    assert run("log", "x.tmp").exit_code == 0


def test_status_lists_what_every_commit_leaves_out_and_names_no_commit_for_it(place: Place) -> None:
    (place.root / "drive_token.json").write_bytes(TOKEN)
    place.write({"copy.txt": TOKEN, "older.txt": TOKEN.replace(b"0a", b"0b"), "Core/Rules.txt": KEYS})
    with place.open() as store:
        report = store.status()
        assert report.clean
        assert [row.path for row in report.left_out] == [
            "Core/Rules.txt",
            "Keys2.txt",
            "copy.txt",
            "older.txt",
        ]
        again = store.commit_report()
    assert again.version is None
    for row in report.left_out:
        assert [warning for warning in again.warnings if f"'{row.path}' is left out: {row.reason}" in warning]
    out = run("status").stdout
    assert "left out: 4 files that no commit takes in" in out and "memsync commit" not in out
    assert "memsync restore Core/Rules.txt" in out
    assert f"rm {place.data}/Keys2.txt" in out
    assert "changes" not in out


def test_status_counts_what_a_commit_would_record_beside_what_it_leaves_out(place: Place) -> None:
    place.write({"new.txt": b"a note\n"})
    with place.open() as store:
        report = store.status()
        assert [row.path for row in report.changes] == ["new.txt"]
        assert [row.path for row in report.left_out] == ["Keys2.txt"]
        version = store.commit()
        assert version is not None and [change.path for change in version.changes] == ["new.txt"]
    (place.data / "Keys2.txt").unlink()
    with place.open() as store:
        assert store.status().left_out == () and store.status().clean
