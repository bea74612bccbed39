"""`drive_upload` end to end on Drive, and every kind of bad input a Drive can answer with.

Each trouble ends in a sentence with its mend, the right exit code, a line in the upload_log where an upload
was tried, and no loss: once it is mended, the next push finishes and a clone has everything.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from memstore import drive_upload
from memstore.errors import BadInput, MemsyncError, NotLoggedIn, RemoteTrouble
from memstore.remotes.drive import auth
from memstore.reports import PushReport
from memstore.workspace import Workspace
from tests.drive_emulator import SCOPE_FULL, DriveEmulator
from tests.drive_memory import ROOT, STORE, DriveMemory, no_waiting, tree

NOTE = "Meta/AI_Architecture.txt"
LINE_KEYS = ["timestamp", "file", "status", "attempts", "context_tags", "chat_name", "notes"]
FACTS: dict[str, Any] = {"file": NOTE, "tags": ["llama"], "chat_name": "GPT Memory Build"}


@pytest.fixture
def emulator() -> Iterator[DriveEmulator]:
    with DriveEmulator() as running, no_waiting(running):
        yield running


@pytest.fixture
def memory(tmp_path: Path, emulator: DriveEmulator, monkeypatch: pytest.MonkeyPatch) -> DriveMemory:
    made = DriveMemory(tmp_path, emulator)
    for name, value in made.environ.items():
        monkeypatch.setenv(name, value)
    return made


def upload(memory: DriveMemory, content: bytes, path: str = NOTE) -> dict[str, Any]:
    memory.write({path: content})
    return {**drive_upload(memory.data / path, {**FACTS, "file": path})}


# -- drive_upload --------------------------------------------------------------------------------------------


def test_an_upload_commits_the_file_sends_it_and_mirrors_it(memory: DriveMemory) -> None:
    memory.write({"Core/other.txt": b"not this one\n"})
    answer = upload(memory, b"a transformer\n")
    assert answer == {
        "status": "success", "attempts": 1, "drive_path": f"Drive/{ROOT}/{NOTE}", "notes": "Uploaded",
    }  # fmt: skip
    assert memory.mirror == {NOTE: b"a transformer\n"}
    assert tree(memory.clone("other")) == {NOTE: b"a transformer\n"}
    (line,) = memory.upload_lines()
    assert list(line) == LINE_KEYS
    assert (line["file"], line["status"], line["attempts"]) == (NOTE, "success", 1)
    assert (line["context_tags"], line["chat_name"]) == (["llama"], "GPT Memory Build")


def test_an_upload_without_a_remote_set_means_drive(memory: DriveMemory) -> None:
    (memory.root / ".memsync" / "remote.json").unlink()
    assert upload(memory, b"a\n")["status"] == "success"
    assert memory.mirror == {NOTE: b"a\n"}


def test_an_append_is_uploaded_in_place_and_a_replace_keeps_the_old_file_under_archive(
    memory: DriveMemory, emulator: DriveEmulator
) -> None:
    upload(memory, b"one\n")
    first = emulator.person.find(f"{ROOT}/{NOTE}")
    assert upload(memory, b"one\ntwo\n")["status"] == "success"
    assert emulator.person.find(f"{ROOT}/{NOTE}") == first
    assert upload(memory, b"all new\n")["status"] == "success"
    archived = [path for path in memory.mirror if path.startswith("Archive/Meta/AI_Architecture_")]
    assert [memory.mirror[path] for path in archived] == [b"one\ntwo\n"]
    assert memory.mirror[NOTE] == b"all new\n"
    assert [line["status"] for line in memory.upload_lines()] == ["success"] * 3


def test_content_that_is_on_drive_already_is_skipped_and_costs_nothing(
    memory: DriveMemory, emulator: DriveEmulator
) -> None:
    upload(memory, b"a\n")
    emulator.reset_counts()
    answer = upload(memory, b"a\n")
    assert (answer["status"], answer["attempts"]) == ("success", 0)
    assert "kipped" in answer["notes"]
    assert emulator.requests == 0
    assert memory.upload_lines()[-1]["status"] == "skipped"


def test_content_that_is_committed_but_was_never_sent_is_not_skipped(memory: DriveMemory) -> None:
    memory.commit({NOTE: b"a\n"})
    assert upload(memory, b"a\n")["attempts"] == 1
    assert memory.mirror == {NOTE: b"a\n"}


def test_content_whose_pack_went_but_whose_head_did_not_is_not_skipped(
    memory: DriveMemory, emulator: DriveEmulator
) -> None:
    emulator.fault("files.create.multipart nth=3.. status=503")  # the format, the pack, then the head
    assert upload(memory, b"a\n")["status"] == "fail"
    assert memory.heads == []
    emulator.clear_faults()
    answer = upload(memory, b"a\n")
    assert (answer["status"], answer["attempts"]) == ("success", 1)
    assert len(memory.heads) == 1
    assert [line["status"] for line in memory.upload_lines()] == ["fail", "success"]


def test_a_missing_token_keeps_the_commit_and_says_so_as_the_contract_has_it(memory: DriveMemory) -> None:
    memory.token.unlink()
    answer = upload(memory, b"a\n")
    assert answer == {"status": "fail", "attempts": 0, "drive_path": None, "notes": "Drive token missing"}
    (line,) = memory.upload_lines()
    assert (line["file"], line["status"], line["attempts"]) == (NOTE, "token_missing", 0)
    assert (line["context_tags"], line["chat_name"]) == (["llama"], "GPT Memory Build")
    assert memory.contents() == {b"a\n"}


def test_a_push_without_a_token_exits_four_and_logs_token_missing(memory: DriveMemory) -> None:
    memory.commit({NOTE: b"a\n"})
    memory.token.unlink()
    report = memory.push()
    assert (report.status, report.exit_code) == ("fail", 4)
    assert report.error is not None
    assert report.error["code"] == "token_missing" and "memsync login" in str(report.error["hint"])
    assert [(line["file"], line["status"]) for line in memory.upload_lines()] == [(NOTE, "token_missing")]


@pytest.mark.parametrize("fault", ["status=503", "drop=before", "drop=after", "cut=50%"])
def test_attempts_are_the_most_tries_that_one_request_took(
    memory: DriveMemory, emulator: DriveEmulator, fault: str
) -> None:
    emulator.fault(f"create nth=6,7 {fault}")
    answer = upload(memory, b"a\n" * 100)
    assert answer["status"] == "success"
    assert 2 <= answer["attempts"] <= 3
    assert memory.upload_lines()[-1]["attempts"] == answer["attempts"]


def test_three_tries_that_fail_are_told_and_the_next_upload_sends_both(
    memory: DriveMemory, emulator: DriveEmulator
) -> None:
    upload(memory, b"one\n")
    emulator.fault("files.create.multipart status=500")
    answer = upload(memory, b"two\n")
    assert (answer["status"], answer["attempts"], answer["drive_path"]) == ("fail", 3, None)
    assert "run the command again" in answer["notes"]
    line = memory.upload_lines()[-1]
    assert (line["status"], line["attempts"]) == ("fail", 3)
    emulator.clear_faults()
    assert upload(memory, b"three\n")["status"] == "success"
    assert memory.contents() == {b"one\n", b"two\n", b"three\n"}


def test_rate_limits_are_waited_out_and_count_as_no_attempt(
    memory: DriveMemory, emulator: DriveEmulator
) -> None:
    emulator.fault("create nth=2..9 error=userRateLimitExceeded retry-after=2")
    answer = upload(memory, b"a\n")
    assert (answer["status"], answer["attempts"]) == ("success", 1)
    assert emulator.violations == []


@pytest.mark.parametrize("where", ["missing.txt", "../outside.txt", "."])
def test_a_file_that_is_not_there_or_not_in_data_is_a_failure_without_an_attempt(
    memory: DriveMemory, emulator: DriveEmulator, where: str
) -> None:
    (memory.root / "outside.txt").write_bytes(b"not memory\n")
    emulator.reset_counts()
    answer = drive_upload(memory.data / where, FACTS)
    assert (answer["status"], answer["attempts"], answer["drive_path"]) == ("fail", 0, None)
    assert answer["notes"]
    assert emulator.requests == 0


def test_what_a_person_did_to_the_file_comes_home_with_the_upload(
    memory: DriveMemory, emulator: DriveEmulator
) -> None:
    upload(memory, b"one\n")
    emulator.person.edit(emulator.person.find(f"{ROOT}/{NOTE}"), b"a person's\n")
    assert upload(memory, b"two\n")["status"] == "success"
    assert {b"one\n", b"two\n", b"a person's\n"} <= memory.contents()
    assert b"a person's\n" in memory.mirror.values()


# -- bad input -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Trouble:
    """What is wrong, how it is mended, and how a push tells of it."""

    begin: Callable[[DriveMemory], object]
    end: Callable[[DriveMemory], object]
    exit_code: int
    says: str
    mend: str


def _set(name: str, value: object) -> Callable[[DriveMemory], object]:
    return lambda memory: setattr(memory.emulator.behaviour, name, value)


def _root(action: str) -> Callable[[DriveMemory], object]:
    def do(memory: DriveMemory) -> None:
        (root,) = [entry.id for entry in memory.emulator.entries() if entry.path == ROOT]
        getattr(memory.emulator.person, action)(root)

    return do


def _sign_in(client: str | None = None) -> Callable[[DriveMemory], object]:
    def do(memory: DriveMemory) -> None:
        if client is None:
            memory.emulator.write_token(memory.token)
        else:
            memory.emulator.write_token(memory.token, client_id=client)

    return do


def _token(**changes: object) -> Callable[[DriveMemory], object]:
    def do(memory: DriveMemory) -> None:
        document = json.loads(memory.token.read_text())
        memory.token.write_text(json.dumps({**document, **changes}))

    return do


def _expired(memory: DriveMemory) -> None:
    """As after seven days of a consent screen in "Testing"."""
    memory.emulator.behaviour.refresh_lifetime = 604_800
    memory.emulator.advance(604_801)


def _format(**changes: object) -> Callable[[DriveMemory], object]:
    def do(memory: DriveMemory) -> None:
        # The store forgets that it knows this remote, as after `remote set` to it.
        with memory.open() as store:
            store.set_remote("drive:Elsewhere")
            store.set_remote("drive:")
        identity = memory.emulator.person.find(f"{STORE}format")
        document = json.loads(memory.emulator.read(identity))
        memory.emulator.person.edit(identity, json.dumps({**document, **changes}).encode())

    return do


NOTHING = _set("read_only", False)
TROUBLES = {
    "no token": Trouble(lambda memory: memory.token.unlink(), _sign_in(), 4, "token missing", "memsync login"),
    "a token that is none": Trouble(
        lambda memory: memory.token.write_text("{}"), _sign_in(), 4, "no Drive token", "memsync login"
    ),
    "a service account": Trouble(
        lambda memory: memory.token.write_text('{"type": "service_account"}'),
        _sign_in(), 4, "service account", "memsync login",
    ),
    "a revoked token": Trouble(
        lambda memory: memory.emulator.revoke_tokens(), _sign_in(), 4, "expired or was revoked", "memsync login"
    ),
    "a login that was for seven days": Trouble(_expired, _sign_in(), 4, "expired", "Testing"),
    "a client whose secret was changed": Trouble(
        _token(client_secret="wrong", token=None), _sign_in(), 4, "OAuth client", "credentials.json"
    ),
    "another OAuth client": Trouble(
        _sign_in("another.apps.example"), _sign_in(), 4, "can't be seen", "OAuth client of the first machine"
    ),
    "a full Drive": Trouble(
        _set("storage_limit", 1), _set("storage_limit", None), 5, "full", "free some space"
    ),
    "no permission": Trouble(
        _set("read_only", True), _set("read_only", False), 4, "does not allow", "ask its owner"
    ),
    "the day's uploads used up": Trouble(
        _set("daily_upload_limit", 0), _set("daily_upload_limit", None), 5, "750 GB", "wait a while"
    ),
    "the root in the trash": Trouble(_root("trash"), _root("untrash"), 5, "in the trash", "bring it back"),
    "a remote of a newer format": Trouble(
        _format(format=99), _format(format=1), 8, "newer memsync", "pip install --upgrade"
    ),
    "a remote with features unknown here": Trouble(
        _format(features=["telepathy"]), _format(features=[]), 8, "newer memsync", "pip install --upgrade"
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", TROUBLES)
@pytest.mark.parametrize("verb", ["push", "drive_upload"])
def test_trouble_ends_in_a_sentence_with_its_mend_and_a_log_line_and_nothing_is_lost(
    memory: DriveMemory, name: str, verb: str
) -> None:
    trouble = TROUBLES[name]
    memory.commit({NOTE: b"one\n", "Core/Rules.txt": b"be kind\n"})
    assert memory.push().status == "success"
    memory.commit({"Core/Rules.txt": b"be kind and brief\n"})
    trouble.begin(memory)
    entries = memory.emulator.entries()
    before = len(memory.upload_lines())
    if verb == "push":
        report = memory.push()
        assert (report.status, report.exit_code) == ("fail", trouble.exit_code)
        assert report.error is not None
        assert trouble.says in str(report.error["message"]), report.error
        assert trouble.mend in str(report.error["hint"]), report.error
    else:
        answer = upload(memory, b"one\ntwo\n")
        assert (answer["status"], answer["drive_path"]) == ("fail", None)
        assert trouble.says in answer["notes"] or "memsync login" in answer["notes"] or name == "no token"
    lines = memory.upload_lines()[before:]
    status = "token_missing" if name == "no token" else "fail"
    assert lines and {line["status"] for line in lines} == {status}
    assert memory.emulator.entries() == entries, "nothing is begun, nothing made anew behind a person's back"
    trouble.end(memory)
    assert memory.push().status == "success"
    assert tree(memory.clone("other")) == tree(memory.data)
    assert len(memory.heads) == 1
    with memory.open() as store:
        assert store.verify(remote=True).ok


def test_a_read_only_shared_drive_is_refused_with_its_mend(
    tmp_path: Path, emulator: DriveEmulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = emulator.add_shared_drive("Look only", read_only=True)
    memory = DriveMemory(tmp_path, emulator, scope=SCOPE_FULL, url=f"drive://{folder}")
    memory.commit({NOTE: b"a\n"})
    report = memory.push()
    assert (report.status, report.exit_code) == ("fail", 4)
    assert report.error is not None
    assert "does not allow" in str(report.error["message"])
    assert "memsync remote set" in str(report.error["hint"])
    assert [line["status"] for line in memory.upload_lines()] == ["fail"]
    assert memory.contents() == {b"a\n"}


@pytest.mark.parametrize("hours", [-30, 30])
def test_a_clock_that_is_wrong_is_named_where_the_login_fails(
    memory: DriveMemory, emulator: DriveEmulator, hours: int
) -> None:
    memory.commit({NOTE: b"a\n"})
    emulator.clock._offset = -3600.0 * hours
    emulator.revoke_tokens()
    report = memory.push()
    assert (report.status, report.exit_code) == ("fail", 4)
    assert report.error is not None
    hint = str(report.error["hint"])
    assert "clock" in hint and ("ahead" if hours > 0 else "behind") in hint, hint


def test_a_clock_that_is_wrong_does_no_harm_where_the_login_works(
    memory: DriveMemory, emulator: DriveEmulator
) -> None:
    for hours in (30, -30):
        emulator.clock._offset = -3600.0 * hours
        memory.commit({NOTE: b"hour %d\n" % hours})
        assert memory.push().status == "success"
    assert emulator.violations == []
    assert tree(memory.clone("other")) == tree(memory.data)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"no JSON", "credentials.json"),
        (b'{"web": {"client_id": "x"}}', "credentials.json"),
        (b'{"type": "service_account"}', "service account"),
        (b'{"installed": {}}', "credentials.json"),
    ],
    ids=["no JSON", "a web client", "a service account", "empty"],
)
def test_a_wrong_credentials_file_is_named_with_what_it_should_be(
    memory: DriveMemory, content: bytes, says: str
) -> None:
    workspace = Workspace.find(memory.root, memory.environ)
    Path(workspace.credentials_path).write_bytes(content)
    with pytest.raises(BadInput) as caught:
        auth.login(workspace, open_browser=False, say=lambda _: None, ask=lambda _: "")
    assert says in caught.value.message + caught.value.hint
    assert caught.value.hint and caught.value.exit_code == 8


def test_no_credentials_file_exits_four_and_names_the_guide(memory: DriveMemory) -> None:
    with pytest.raises(NotLoggedIn) as caught:
        auth.login(Workspace.find(memory.root, memory.environ), say=lambda _: None, ask=lambda _: "")
    assert caught.value.exit_code == 4
    assert "docs/google-drive.md" in caught.value.hint


# -- what lies on Drive is damaged ---------------------------------------------------------------------------

DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "one bit": lambda pack: pack[:-50] + bytes([pack[-50] ^ 1]) + pack[-49:],
    "cut short": lambda pack: pack[:-20],
    "empty": lambda pack: b"",
    "something else": lambda pack: b"not a pack at all",
}


def _damage(memory: DriveMemory, how: Callable[[bytes], bytes]) -> str:
    """A pack on Drive is not what it was; its name."""
    (path,) = [path for path in memory.emulator.tree() if path.startswith(f"{STORE}packs/")]
    identity = memory.emulator.person.find(path)
    memory.emulator.person.edit(identity, how(memory.emulator.read(identity)))
    return path.rpartition("/")[2]


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_pack_on_drive_stops_a_clone_and_is_named_by_verify(
    memory: DriveMemory, damage: str
) -> None:
    memory.commit({NOTE: b"precious\n"})
    memory.push()
    name = _damage(memory, DAMAGES[damage])
    with pytest.raises(MemsyncError) as caught:
        memory.clone("other")
    assert caught.value.exit_code == 6
    assert name[:12] in caught.value.message
    assert "memsync remote set" in caught.value.hint
    for read_data in (False, True):
        with memory.open() as store:
            report = store.verify(remote=True, read_data=read_data)
        assert {(row.kind, row.id) for row in report.problems} == {("remote_damaged_pack", name)}
        assert all(row.hint for row in report.problems)
    assert memory.contents() == {b"precious\n"}, "what is here stays whole"


def test_damage_that_only_reading_shows_is_found_by_read_data(
    memory: DriveMemory, emulator: DriveEmulator
) -> None:
    memory.commit({NOTE: b"precious\n"})
    memory.push()
    emulator.fault("files.get.media corrupt=40")
    with memory.open() as store:
        assert store.verify(remote=True).ok
    with memory.open() as store:
        report = store.verify(remote=True, read_data=True)
    assert len(report.problems) == 1
    assert report.problems[0].kind.startswith("remote_")


def test_a_pack_that_a_person_deleted_is_named_by_verify(memory: DriveMemory) -> None:
    memory.commit({NOTE: b"precious\n"})
    memory.push()
    (path,) = [path for path in memory.emulator.tree() if path.startswith(f"{STORE}packs/")]
    memory.emulator.person.delete(memory.emulator.person.find(path))
    with memory.open() as store:
        problems = store.verify(remote=True).problems
    assert [row.kind for row in problems] == ["remote_missing_pack"]
    assert problems[0].paths == (NOTE,)


def test_a_clone_of_a_newer_format_is_refused_and_leaves_nothing(memory: DriveMemory) -> None:
    memory.commit({NOTE: b"a\n"})
    memory.push()
    _format(format=99)(memory)
    with pytest.raises(BadInput, match="newer memsync") as caught:
        memory.clone("other")
    assert (caught.value.exit_code, caught.value.code) == (8, "newer_format")
    assert [path.name for path in (memory.base / "other").iterdir()] == ["drive_token.json"]


def test_a_clone_of_a_folder_in_the_trash_says_where_it_is(memory: DriveMemory) -> None:
    memory.commit({NOTE: b"a\n"})
    memory.push()
    root = memory.emulator.person.find(ROOT)
    memory.emulator.person.trash(root)
    memory.url = f"drive://{root}"
    with pytest.raises(RemoteTrouble, match="in the trash"):
        memory.clone("other")


def test_a_push_report_of_trouble_is_the_contracts_document(memory: DriveMemory) -> None:
    memory.commit({NOTE: b"a\n"})
    memory.emulator.revoke_tokens()
    report: PushReport = memory.push()
    document = report.as_json()
    assert document["status"] == "fail"
    error = document["error"]
    assert isinstance(error, dict) and set(error) == {"code", "message", "hint", "retryable"}
    assert not error["retryable"]
