"""What looks like a credential in new content: told, refused or left alone, once for each, and never shown."""

from __future__ import annotations

import json
import os
import random
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from memstore import crew, drive_upload, suspects
from memstore.actions import bulk, ingest
from memstore.errors import BadInput
from memstore.suspects import Suspect
from tests.conftest import Memory

CHECKOUT = Path(__file__).resolve().parent.parent
really_installed = suspects.installed  # for all tests together it is not: see conftest
SECRET = "cred-" + "0123456789abcdef"
OTHER = "cred-" + "fedcba9876543210"


class FakeFinding:
    visible = True

    def __init__(self, line: int, secret: str) -> None:
        self.line, self.secret = line, secret

    def to_dict(self, *, redact: bool) -> dict[str, Any]:
        assert not redact
        return {"location": {"line": self.line}, "rule_id": "rules.test-key", "secret": self.secret}


class FakeScanner:
    """As Kingfisher's, for made-up credentials."""

    def __init__(self) -> None:
        self.seen: list[bytes] = []
        self.trouble: BaseException | None = None

    def scan(self, text: bytes, *, timeout: float) -> list[FakeFinding]:
        self.seen.append(text)
        if self.trouble is not None:
            raise self.trouble
        return [
            FakeFinding(text.count(b"\n", 0, match.start()) + 1, match.group().decode())
            for match in re.finditer(rb"cred-[0-9a-f]{16}", text)
        ]


@pytest.fixture
def scanner(monkeypatch: pytest.MonkeyPatch) -> FakeScanner:
    """The extra is installed, and this is what it brings."""
    made = FakeScanner()
    monkeypatch.delenv("MEMSYNC_COMMIT_SECRETS")
    monkeypatch.setattr(suspects, "installed", lambda: True)
    monkeypatch.setattr(suspects, "_scanner", lambda: made)
    return made


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    """The extra is not installed."""
    monkeypatch.setattr(suspects, "installed", lambda: False)


def told(memory: Memory) -> tuple[str, ...]:
    report = memory.store.commit_report()
    assert report.version is not None
    return report.warnings


def stored(memory: Memory) -> bytes:
    return b"".join(path.read_bytes() for path in memory.state.rglob("*") if path.is_file())


# -- warn --------------------------------------------------------------------------------------------------


def test_a_commit_names_path_line_and_kind_and_never_the_secret(memory: Memory, scanner: FakeScanner) -> None:
    memory.write("Core/Keys.txt", f"keys\n\nthe key: {SECRET}\n")
    memory.write("note.txt", "a note\n")
    (warning,) = told(memory)
    assert "Core/Keys.txt, line 3" in warning
    assert "test-key" in warning
    assert "'memsync forget Core/Keys.txt --everywhere'" in warning
    assert SECRET not in warning
    assert memory.store.read("Core/Keys.txt").decode().endswith(f"{SECRET}\n")
    memory.write("more.txt", "more\n")
    assert told(memory) == ()


def test_only_what_an_append_appended_is_looked_at(memory: Memory, scanner: FakeScanner) -> None:
    memory.write("log.txt", f"one {SECRET}\ntwo\n")
    assert len(told(memory)) == 1
    three = "three: https://example.org/three\n"
    memory.write("log.txt", f"one {SECRET}\ntwo\n{three}")
    assert told(memory) == ()
    assert scanner.seen[-1] == three.encode()
    memory.write("log.txt", f"one {SECRET}\ntwo\n{three}and {OTHER}\n")
    (warning,) = told(memory)
    assert "line 4" in warning


def test_a_credential_that_was_begun_before_and_ended_now_is_new(
    memory: Memory, scanner: FakeScanner
) -> None:
    memory.write("log.txt", f"first\nkey {SECRET[:9]}")
    assert told(memory) == ()
    memory.write("log.txt", f"first\nkey {SECRET}\n")
    (warning,) = told(memory)
    assert "line 2" in warning


def test_a_secret_that_the_file_had_before_is_not_told_of_with_every_save(
    memory: Memory, scanner: FakeScanner
) -> None:
    memory.write("state.json", json.dumps({"key": SECRET, "turn": 0}))
    assert len(told(memory)) == 1
    for turn in range(1, 4):
        memory.write("state.json", json.dumps({"turn": turn, "key": SECRET}))
        assert told(memory) == ()
    memory.write("state.json", json.dumps({"turn": 4, "key": SECRET, "new": OTHER}, indent=1))
    (warning,) = told(memory)
    assert "line 4" in warning


def test_a_file_that_moved_is_nothing_new(memory: Memory, scanner: FakeScanner) -> None:
    path = memory.write("a.txt", f"{SECRET} and enough text that it is a note\n")
    assert len(told(memory)) == 1
    path.rename(memory.data / "b.txt")
    assert told(memory) == ()


def test_many_of_them_are_counted_not_listed(memory: Memory, scanner: FakeScanner) -> None:
    memory.write("keys.txt", "".join(f"cred-{number:016x}\n" for number in range(30)))
    warnings = told(memory)
    assert len(warnings) == 21
    assert warnings[-1].startswith("10 more")


def test_what_is_no_text_and_what_is_very_large_is_left_alone(
    memory: Memory, scanner: FakeScanner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(suspects, "LARGEST", 1000)
    memory.write("index.faiss", b"\0\1\2" + SECRET.encode())
    memory.write("large.txt", SECRET + "\n" + "x" * 1000)
    assert told(memory) == ()
    assert scanner.seen == []


def test_very_many_files_are_looked_through_by_the_crew(
    memory: Memory, scanner: FakeScanner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(crew, "_processors", lambda: 0)  # the crew's work is done here, where the fake is
    monkeypatch.setattr(ingest, "MANY", 4)
    for number in range(8):
        memory.write(f"{number}.txt", f"note {number}\n")
    memory.write("5.txt", f"note 5\n{SECRET}\n")
    (warning,) = told(memory)
    assert "5.txt, line 2" in warning
    for number in range(8):
        memory.write(f"{number}.txt", f"another note {number}\n{SECRET if number < 6 else OTHER}\n")
    assert sorted(line.split(",")[0] for line in told(memory)) == [
        f"{number}.txt" for number in (0, 1, 2, 3, 4, 6, 7)
    ]


def test_a_job_for_the_crew_answers_with_line_and_kind_alone(memory: Memory, scanner: FakeScanner) -> None:
    from memstore.worktree.found import look

    memory.write("a.txt", f"one\n{SECRET}\n")
    found = look(str(memory.data), "a.txt")
    assert found is not None
    for looking, expected in ((True, ((2, "test-key"),)), (False, ())):
        (taken,) = bulk.unpack_answer(
            bulk.take_in(bulk.pack_job(str(memory.data), [(found, None)], looking)).facts
        )
        assert taken.suspects == expected


def test_prose_without_a_long_word_does_not_start_the_scanner(memory: Memory, scanner: FakeScanner) -> None:
    memory.write("a.txt", "The user prefers short answers,\nand tea before noon.\n" * 20)
    assert told(memory) == ()
    assert scanner.seen == []


def test_off_looks_at_nothing(memory: Memory, scanner: FakeScanner) -> None:
    memory.reconfigured('[commit]\nsecrets = "off"\n')
    memory.write("a.txt", SECRET)
    assert told(memory) == ()
    assert scanner.seen == []


def test_a_save_manager_hears_of_it_and_the_upload_succeeds(
    memory: Memory, scanner: FakeScanner, tmp_path: Path
) -> None:
    memory.store.set_remote(str(tmp_path / "remote"))
    path = memory.write("a.txt", f"{SECRET}\n")
    result = drive_upload(path, {})
    assert result["status"] == "success"
    assert "a.txt, line 1" in result["notes"]
    assert SECRET not in json.dumps(result)


# -- refuse ------------------------------------------------------------------------------------------------


@pytest.fixture
def refusing(memory: Memory, scanner: FakeScanner) -> Memory:
    memory.save("note.txt", "a note\n")
    memory.reconfigured('[commit]\nsecrets = "refuse"\n')
    return memory


def test_refuse_records_nothing_at_all_and_says_where(refusing: Memory) -> None:
    refusing.write("note.txt", "a note\nand more\n")
    refusing.write("keys.txt", f"one\n{SECRET}\n{OTHER}\n")
    before = refusing.store.head()
    with pytest.raises(BadInput) as caught:
        refusing.store.commit()
    assert caught.value.exit_code == 8
    assert "keys.txt, line 2" in caught.value.message
    assert "1 more" in caught.value.message
    assert "MEMSYNC_COMMIT_SECRETS=warn" in caught.value.hint
    assert SECRET not in str(caught.value.as_json())
    refusing.reopen()
    (row,) = refusing.store.status().left_out
    assert row.path == "keys.txt" and row.reason.startswith("line 2 looks like a credential (test-key)")
    assert "MEMSYNC_COMMIT_SECRETS=warn" in row.hint and SECRET not in str(row)
    assert [change.path for change in refusing.store.status().changes] == ["note.txt"]
    assert refusing.store.head() == before
    assert SECRET.encode() not in stored(refusing)
    (refusing.data / "keys.txt").unlink()
    assert [change.path for change in refusing.commit().changes] == ["note.txt"]
    assert refusing.store.verify().ok


def test_what_was_let_through_once_is_refused_no_more(refusing: Memory) -> None:
    refusing.write("keys.txt", f"{SECRET}\n")
    refusing.environ["MEMSYNC_COMMIT_SECRETS"] = "warn"
    refusing.reopen()
    assert len(told(refusing)) == 1
    del refusing.environ["MEMSYNC_COMMIT_SECRETS"]
    refusing.reopen()
    refusing.write("keys.txt", f"{SECRET}\nmore\n")
    assert told(refusing) == ()


def test_a_restore_that_would_commit_one_first_writes_nothing(refusing: Memory) -> None:
    first = refusing.versions()[0]
    refusing.save("note.txt", "newer\n")
    refusing.write("note.txt", f"{SECRET}\n")
    with pytest.raises(BadInput) as caught:
        refusing.store.restore(["note.txt"], at=first)
    assert refusing.tree()["note.txt"] == f"{SECRET}\n".encode()
    assert "move that file out of Data/" in caught.value.hint
    (refusing.data / "note.txt").rename(refusing.root / "note.txt")
    assert refusing.store.restore(["note.txt"], at=first).restored
    assert SECRET.encode() not in stored(refusing)


# -- through the mirror ------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["warn", "refuse"])
@pytest.mark.parametrize("deleted_here", [False, True])
def test_a_credential_that_a_person_wrote_into_the_mirror_is_told_of_or_stays_there(
    memory: Memory, scanner: FakeScanner, tmp_path: Path, mode: str, deleted_here: bool
) -> None:
    memory.reconfigured(f'[commit]\nsecrets = "{mode}"\n')
    memory.store.set_remote(str(tmp_path / "remote"))
    memory.save("a.txt", f"a note\n{OTHER}\n" if mode == "warn" else "a note\n")
    memory.save("b.txt", "a note\n")
    memory.store.push()
    there = tmp_path / "remote" / "a.txt"
    there.write_bytes(there.read_bytes() + f"key {SECRET}\n".encode())
    (tmp_path / "remote" / "b.txt").write_bytes(b"by hand\n")
    if deleted_here:
        (memory.data / "a.txt").unlink()
        memory.commit()
    report = memory.store.push()
    assert report.status == "success"
    (warning,) = report.warnings
    assert f"line {3 if mode == 'warn' else 2}" in warning and "(test-key)" in warning
    assert SECRET not in warning
    assert memory.tree()["b.txt"] == b"by hand\n"
    assert (SECRET.encode() in stored(memory)) == (mode == "warn")
    assert any(SECRET.encode() in content for content in memory.tree().values()) == (mode == "warn")
    if mode == "refuse":
        assert SECRET in there.read_text()
    again = memory.store.push()
    assert again.warnings == (() if mode == "warn" else report.warnings)


def test_nothing_comes_home_that_nobody_could_look_through_where_credentials_are_refused(
    memory: Memory, bare: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory.store.set_remote(str(tmp_path / "remote"))
    memory.save("a.txt", "a note\n")
    memory.store.push()
    monkeypatch.delenv("MEMSYNC_COMMIT_SECRETS", raising=False)
    memory.reconfigured('[commit]\nsecrets = "refuse"\n')
    (tmp_path / "remote" / "a.txt").write_text(SECRET)
    report = memory.store.push()
    assert (report.status, report.exit_code) == ("fail", 8)
    assert memory.tree() == {"a.txt": b"a note\n"}


# -- without the extra -------------------------------------------------------------------------------------


def test_without_the_extra_a_commit_says_nothing(memory: Memory, bare: None) -> None:
    memory.write("a.txt", SECRET)
    assert told(memory) == ()


def test_refuse_without_the_extra_fails_with_the_line_that_installs_it(memory: Memory, bare: None) -> None:
    memory.reconfigured('[commit]\nsecrets = "refuse"\n')
    memory.write("a.txt", "a note\n")
    with pytest.raises(BadInput) as caught:
        memory.store.commit()
    assert caught.value.exit_code == 8
    assert suspects.INSTALL in caught.value.hint
    assert memory.store.head() is None
    extras = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert suspects.INSTALL == "pip install 'memsync[secrets]'"
    (package,) = extras["secrets"]
    assert package in extras["dev"]


# -- a scanner that fails ----------------------------------------------------------------------------------


class Panic(BaseException):
    """What native code raises when it can't go on."""


@pytest.mark.parametrize("trouble", [RuntimeError(SECRET), Panic(SECRET), TimeoutError()])
@pytest.mark.parametrize("mode", ["warn", "refuse"])
def test_a_scanner_that_fails_breaks_no_commit_and_tells_no_secret(
    memory: Memory, scanner: FakeScanner, trouble: BaseException, mode: str
) -> None:
    memory.reconfigured(f'[commit]\nsecrets = "{mode}"\n')
    scanner.trouble = trouble
    memory.write("a.txt", f"{SECRET}\n")
    memory.write("b.txt", f"{OTHER}\n")
    (warning,) = told(memory)
    assert type(trouble).__name__ in warning
    assert "a.txt and 1 more" in warning
    assert SECRET not in warning


def test_a_person_who_stops_a_commit_stops_it(memory: Memory, scanner: FakeScanner) -> None:
    scanner.trouble = KeyboardInterrupt()
    memory.write("a.txt", f"{SECRET}\n")
    with pytest.raises(KeyboardInterrupt):
        memory.store.commit()
    assert memory.store.head() is None


def test_a_suspect_in_a_traceback_shows_no_secret() -> None:
    assert SECRET not in repr(Suspect(1, "test-key", SECRET.encode()))


# -- the real scanner --------------------------------------------------------------------------------------

_UNITS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"


@pytest.fixture
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    if not really_installed():
        pytest.skip("needs the extra 'secrets'")
    monkeypatch.setattr(suspects, "installed", really_installed)
    suspects._scanner.cache_clear()
    yield
    suspects._scanner.cache_clear()


def test_the_real_scanner_finds_a_token_in_a_note_and_nothing_in_prose(memory: Memory, cache: None) -> None:
    chance = random.Random(7)
    token = "ghp_" + "".join(chance.choice(_UNITS) for _ in range(36))
    memory.write("prose.txt", "The user prefers short answers.\nSee https://example.org/a/b?c=d for more.\n")
    memory.write("keys.txt", f"how to sign in\n\nexport GITHUB_TOKEN={token}\n")
    (warning,) = told(memory)
    assert "keys.txt, line 3" in warning
    assert token not in warning


def test_a_commit_imports_the_scanner_only_when_there_is_something_to_look_at(
    memory: Memory, cache: None
) -> None:
    memory.save("a.txt", "a note\n")
    script = (
        "import sys; from memstore import Store\n"
        "with Store.open(sys.argv[1]) as store: store.commit()\n"
        "print('kingfisher_sdk' in sys.modules)"
    )

    def imports() -> str:
        environ = {name: value for name, value in os.environ.items() if not name.startswith("MEMSYNC_")}
        command = [sys.executable, "-c", script, str(memory.root)]
        done = subprocess.run(command, env=environ, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    assert imports() == "False"
    memory.write("a.txt", "another note\n")
    assert imports() == "False"
    memory.write("a.txt", "see https://example.org/another-note\n")
    assert imports() == "True"
    memory.reconfigured('[commit]\nsecrets = "off"\n')
    memory.write("a.txt", "see https://example.org/yet-another-note\n")
    assert imports() == "False"
