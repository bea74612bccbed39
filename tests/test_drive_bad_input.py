"""Every kind of bad input that a login, a Drive or a folder there can be.

Each ends in a sentence with its mend, the right exit code, a line in the upload_log where an upload was
tried, and no loss: once it is mended, the next push finishes and a clone has everything.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from googleapiclient.http import HttpRequest

from memstore import drive_upload
from memstore.errors import BadInput, MemsyncError, NotLoggedIn, RemoteTrouble
from memstore.remotes.drive import auth
from memstore.workspace import Workspace
from tests.command_line import run
from tests.drive_emulator import SCOPE_FULL, DriveEmulator
from tests.drive_memory import ROOT, STORE, DriveMemory, no_waiting, tree

NOTE = "Meta/AI_Architecture.txt"


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
    memory: DriveMemory, name: str, verb: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    trouble = TROUBLES[name]
    memory.commit({NOTE: b"one\n", "Core/Rules.txt": b"be kind\n"})
    assert memory.push().status == "success"
    memory.commit({"Core/Rules.txt": b"be kind and brief\n"})
    trouble.begin(memory)
    entries = memory.emulator.entries()
    before = len(memory.upload_lines())
    if verb == "push":
        monkeypatch.chdir(memory.root)
        done = run("push", "--json")
        document = json.loads(done.stdout)
        assert (document["status"], done.exit_code) == ("fail", trouble.exit_code)
        assert trouble.says in document["error"]["message"], document
        assert trouble.mend in document["error"]["hint"], document
        assert set(document["error"]) == {"code", "message", "hint", "retryable"}
    else:
        memory.write({NOTE: b"one\ntwo\n"})
        answer = drive_upload(memory.data / NOTE, {})
        assert (answer["status"], answer["drive_path"]) == ("fail", None)
        assert trouble.says in answer["notes"], answer
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


@pytest.mark.parametrize(
    ("method", "code"), [("drive.files.list", "remote_trouble"), ("drive.files.create", None)]
)
def test_an_answer_without_the_id_of_a_file_is_trouble_of_the_remote(
    memory: DriveMemory, monkeypatch: pytest.MonkeyPatch, method: str, code: str | None
) -> None:
    memory.commit({NOTE: b"one\n"})
    assert memory.push().status == "success"
    memory.commit({"New/Folder/Note.txt": b"two\n"})
    real, stripped = HttpRequest.execute, []

    def execute(request: Any, **more: Any) -> Any:
        answer = real(request, **more)
        if request.methodId == method:
            stripped.extend([row.pop("id", None) for row in answer.get("files", [answer])])
        return answer

    with monkeypatch.context() as patch:
        patch.setattr(HttpRequest, "execute", execute)
        report = memory.push()
    assert any(stripped)
    if code is not None:
        assert report.error is not None and report.error["retryable"]
    # A folder whose making went unheard is found by the next try.
    assert (report.error or {}).get("code") == code
    assert memory.push().status in {"success", "nothing"}
    assert tree(memory.clone("other")) == tree(memory.data)


def test_a_read_only_shared_drive_is_refused_with_its_mend(
    tmp_path: Path, emulator: DriveEmulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = emulator.add_shared_drive("Look only", role="reader")
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
    assert "memsync repair" in caught.value.hint
    for read_data in (False, True):
        with memory.open() as store:
            report = store.verify(remote=True, read_data=read_data)
        assert {(row.kind, row.id) for row in report.problems} == {("remote_damaged_pack", name)}
        assert all(row.hint for row in report.problems)
    assert memory.contents() == {b"precious\n"}, "what is here stays whole"
    with memory.open() as store:
        mended = store.repair()
        assert ([row.id for row in mended.mended], mended.problems) == ([name], ()), mended
        assert store.verify(remote=True, read_data=True).ok
    memory.clone("another")


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
    assert report.problems
    assert all(problem.kind.startswith("remote_") for problem in report.problems)


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


def test_verify_sees_the_format_that_a_clone_would_find(memory: DriveMemory) -> None:
    memory.commit({NOTE: b"a\n"})
    memory.push()
    identity = memory.emulator.person.find(f"{STORE}format")
    whole = json.loads(memory.emulator.read(identity))
    memory.emulator.person.edit(identity, json.dumps({**whole, "format": 99}).encode())
    with memory.open() as store, pytest.raises(BadInput, match="newer memsync"):
        store.verify(remote=True)
    memory.emulator.person.edit(identity, b"{")
    with memory.open() as store:
        assert [row.kind for row in store.verify(remote=True).problems] == ["remote_damaged_format"]
    memory.emulator.person.delete(identity)
    with memory.open() as store:
        assert [row.kind for row in store.verify(remote=True).problems] == ["remote_missing_format"]
        store.repair()
        assert store.verify(remote=True, read_data=True).ok


def test_a_clone_of_a_folder_in_the_trash_says_where_it_is(memory: DriveMemory) -> None:
    memory.commit({NOTE: b"a\n"})
    memory.push()
    root = memory.emulator.person.find(ROOT)
    memory.emulator.person.trash(root)
    memory.url = f"drive://{root}"
    with pytest.raises(RemoteTrouble, match="in the trash"):
        memory.clone("other")
