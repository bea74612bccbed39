"""Signing in, the token file, and how several share it."""

from __future__ import annotations

import json
import socket
import threading
import time
import urllib.error
import urllib.request
import webbrowser
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httplib2
import pytest

from memstore import files
from memstore.errors import BadInput, DiskTrouble, MemsyncError, NotLoggedIn, RemoteTrouble
from memstore.remotes.base import BytesSource
from memstore.remotes.drive.auth import load_client, login, logout
from memstore.remotes.drive.tokens import TokenCredentials, load_token, save_token
from memstore.remotes.open import open_remote
from memstore.workspace import Workspace
from tests.drive_emulator import SCOPE_FULL
from tests.drive_place import DrivePlace

HEAD = "heads/" + "cd" * 32


@pytest.fixture
def place(tmp_path: Path) -> Iterator[DrivePlace]:
    with DrivePlace(tmp_path) as made:
        yield made


@pytest.fixture
def workspace(place: DrivePlace) -> Workspace:
    """Without a token, and with the user's OAuth client."""
    workspace = place.workspace("laptop")
    Path(workspace.token_path).unlink()
    place.emulator.write_credentials(Path(workspace.credentials_path))
    return workspace


def visit(url: str) -> str:
    """What a browser does with the address of the consent page: where it ends."""

    class Stay(urllib.request.HTTPRedirectHandler):
        def redirect_request(self, *arguments: Any) -> None:
            return None

    try:
        urllib.request.build_opener(Stay).open(url)
    except urllib.error.HTTPError as answer:
        return str(answer.headers["Location"])
    raise AssertionError("the consent page did not redirect")


def address_in(sentence: str) -> str:
    return next(word for word in sentence.split() if word.startswith("http://127.0.0.1") and "/auth?" in word)


class Person:
    """Reads what is said, opens the address, and pastes where the browser ended."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def say(self, sentence: str) -> None:
        self.said.append(sentence)

    def ask(self, question: str) -> str:
        return visit(address_in(" ".join(self.said)))


def sign_in(workspace: Workspace, person: Any = None, **more: Any) -> str:
    person = person or Person()
    return login(workspace, open_browser=False, say=person.say, ask=person.ask, **more)


# -- login and logout --------------------------------------------------------------------------------------


def test_login_by_pasting_writes_a_token_that_works(place: DrivePlace, workspace: Workspace) -> None:
    path = Path(sign_in(workspace))
    assert str(path) == workspace.token_path
    assert path.stat().st_mode & 0o777 == 0o600
    assert load_token(str(path)).scopes == ("https://www.googleapis.com/auth/drive.file",)
    place.open(workspace).prepare(create=True)


def test_login_by_the_browser_of_this_machine(
    place: DrivePlace, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    def browser(url: str) -> bool:
        threading.Thread(target=lambda: urllib.request.urlopen(visit(url)).read()).start()
        return True

    monkeypatch.setattr(webbrowser, "open", browser)
    login(workspace, say=lambda sentence: None, ask=lambda question: "")
    place.open(workspace).prepare(create=True)


def test_a_browser_that_waits_for_its_page_and_idle_connections_hold_up_no_login(
    place: DrivePlace, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[bytes] = []
    closed = threading.Event()

    def browser(url: str) -> bool:
        """One of the terminal: it comes back when its page is there. Before that it opens a connection ahead."""
        there = visit(url)
        with socket.create_connection(("127.0.0.1", urlsplit(there).port or 0)):
            shown.append(urllib.request.urlopen(there, timeout=30).read())
        closed.set()
        return True

    monkeypatch.setattr(webbrowser, "open", browser)
    login(workspace, say=lambda sentence: None, ask=lambda question: "")
    assert closed.wait(30)
    assert b"memsync has its answer" in shown[0]
    place.open(workspace).prepare(create=True)


def test_login_for_the_whole_drive_asks_for_that_scope(place: DrivePlace, workspace: Workspace) -> None:
    sign_in(workspace, scope="drive")
    assert load_token(workspace.token_path).scopes == (SCOPE_FULL,)
    with pytest.raises(BadInput, match="no scope"):
        sign_in(workspace, scope="drive.everything")


def test_only_the_query_may_be_pasted(place: DrivePlace, workspace: Workspace) -> None:
    class Brief(Person):
        def ask(self, question: str) -> str:
            return super().ask(question).partition("?")[2]

    sign_in(workspace, Brief())
    place.open(workspace).prepare(create=True)


@pytest.mark.parametrize("pasted", ["", "http://127.0.0.1:1/", "nonsense", "http://127.0.0.1:1/?state=x"])
def test_an_address_without_a_code_is_refused_with_its_mend(
    place: DrivePlace, workspace: Workspace, pasted: str
) -> None:
    class Careless(Person):
        def ask(self, question: str) -> str:
            return pasted

    with pytest.raises(BadInput, match="no code"):
        sign_in(workspace, Careless())
    assert not Path(workspace.token_path).exists()


def test_an_address_of_another_try_and_a_used_code_are_refused(
    place: DrivePlace, workspace: Workspace
) -> None:
    class Old(Person):
        def ask(self, question: str) -> str:
            return "http://127.0.0.1:1/?code=4/secret-code&state=of-another-try"

    with pytest.raises(NotLoggedIn, match="mismatching_state") as caught:
        sign_in(workspace, Old())
    assert "secret-code" not in f"{caught.value!r}{caught.value.hint}"


def test_a_consent_that_is_denied_is_named(place: DrivePlace, workspace: Workspace) -> None:
    place.emulator.behaviour.consent = "deny"
    with pytest.raises(NotLoggedIn, match="access_denied") as caught:
        sign_in(workspace)
    assert caught.value.exit_code == 4
    assert not Path(workspace.token_path).exists()


def test_a_client_with_a_wrong_secret_is_named_without_the_secret(
    place: DrivePlace, workspace: Workspace
) -> None:
    path = Path(workspace.credentials_path)
    path.write_text(path.read_text().replace("not-a-secret", "a-stale-secret"))
    with pytest.raises(NotLoggedIn, match="invalid_client") as caught:
        sign_in(workspace)
    assert "a-stale-secret" not in f"{caught.value!r}{caught.value.hint}{caught.value.__cause__!r}"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{}", "no OAuth client"),
        ("not json", "no OAuth client"),
        ('{"web": {"client_id": "x", "client_secret": "y"}}', "web application"),
        ('{"type": "service_account"}', "service account"),
        ('{"refresh_token": "x"}', "a token"),
        ('{"installed": {"client_id": 7}}', "no OAuth client"),
        ("[" * 100_000, "no OAuth client"),
    ],
)
def test_a_wrong_credentials_file_is_told_for_what_it_is(tmp_path: Path, content: str, words: str) -> None:
    (tmp_path / "credentials.json").write_text(content)
    with pytest.raises(BadInput, match=words) as caught:
        load_client(str(tmp_path / "credentials.json"))
    assert caught.value.exit_code == 8
    assert "google-drive.md" in caught.value.hint


def test_a_missing_credentials_file_leads_to_the_guide(tmp_path: Path) -> None:
    with pytest.raises(NotLoggedIn, match="no OAuth client file") as caught:
        load_client(str(tmp_path / "credentials.json"))
    assert caught.value.code == "credentials_missing"


def test_a_token_server_without_tls_elsewhere_is_refused(workspace: Workspace) -> None:
    path = Path(workspace.credentials_path)
    document = json.loads(path.read_text())
    document["installed"]["token_uri"] = "http://tokens.example/token"
    path.write_text(json.dumps(document))
    with pytest.raises(BadInput, match="TLS"):
        sign_in(workspace)


def test_logout_revokes_and_deletes_and_may_be_repeated(place: DrivePlace, workspace: Workspace) -> None:
    sign_in(workspace)
    token = load_token(workspace.token_path)
    assert logout(workspace) is True
    assert not Path(workspace.token_path).exists()
    assert logout(workspace) is False
    save_token(workspace.token_path, token)
    with pytest.raises(NotLoggedIn, match="revoked"):
        place.open(workspace).prepare(create=True)


def test_logout_without_a_network_still_deletes(place: DrivePlace, workspace: Workspace) -> None:
    sign_in(workspace)
    place.emulator.fault("revoke drop=before")
    assert logout(workspace) is False
    assert not Path(workspace.token_path).exists()


# -- the token file ----------------------------------------------------------------------------------------


def test_without_a_token_the_error_is_the_contracts(workspace: Workspace) -> None:
    with pytest.raises(NotLoggedIn) as caught:
        open_remote("drive:", workspace)
    assert caught.value.message == "Drive token missing"
    assert caught.value.code == "token_missing"
    assert caught.value.exit_code == 4
    assert "memsync login" in caught.value.hint


@pytest.mark.parametrize(
    "content",
    ["", "{", "[]", "{}", '{"refresh_token": 7}', '{"type": "service_account"}', "[" * 100_000, "\x00\xff"],
)
def test_a_broken_token_file_is_named(tmp_path: Path, content: str) -> None:
    (tmp_path / "token").write_text(content)
    with pytest.raises(NotLoggedIn) as caught:
        load_token(str(tmp_path / "token"))
    assert caught.value.code == "token_broken"
    assert "memsync login" in caught.value.hint


def test_a_token_of_pydrive2_works_and_becomes_one_of_ours_at_its_first_refresh(
    place: DrivePlace, workspace: Workspace
) -> None:
    path = place.emulator.write_legacy_token(Path(workspace.token_path))
    place.emulator.expire_tokens()
    place.open(workspace).prepare(create=True)
    document = json.loads(path.read_text())
    assert document["type"] == "authorized_user"
    assert "_module" not in document
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_token_reads_back_as_it_was_written(place: DrivePlace, workspace: Workspace) -> None:
    sign_in(workspace)
    token = load_token(workspace.token_path)
    save_token(workspace.token_path, token)
    assert load_token(workspace.token_path) == token
    assert token.refresh not in repr(token)


# -- refreshing --------------------------------------------------------------------------------------------


def test_a_stale_token_is_refreshed_once_and_kept_for_the_next_process(place: DrivePlace) -> None:
    workspace = place.workspace("laptop")
    place.emulator.expire_tokens()
    place.open(workspace).prepare(create=True)
    place.open(workspace).list("heads/")
    assert place.emulator.count("token") == 1


def test_a_token_whose_time_is_over_is_refreshed_before_it_is_sent(place: DrivePlace) -> None:
    workspace = place.workspace("laptop")
    path = Path(workspace.token_path)
    document = json.loads(path.read_text())
    document["expiry"] = (datetime.now(UTC) - timedelta(minutes=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    path.write_text(json.dumps(document))
    place.emulator.reset_counts()
    place.open(workspace).prepare(create=True)
    assert place.emulator.count("token") == 1
    assert place.emulator.requests == 7  # none of them refused


def test_a_token_refused_at_any_request_is_refreshed_there(place: DrivePlace) -> None:
    remote = place.open(place.workspace("laptop"))
    remote.prepare(create=True)
    for number in range(1, 6):
        place.emulator.expire_tokens()
        remote.create(f"heads/{number:064x}", BytesSource(b"head"))
    place.emulator.expire_tokens()
    content = bytes(9_000_000)
    place.emulator.fault("upload.chunk nth=2 latency=0", hook=lambda request: place.emulator.expire_tokens())
    remote.create("packs/" + "ab" * 32, BytesSource(content))
    assert len(remote.list("heads/")) == 5


def test_many_threads_with_a_stale_token_refresh_once(place: DrivePlace) -> None:
    remote = place.open(place.workspace("laptop"))
    remote.prepare(create=True)
    place.emulator.expire_tokens()
    place.emulator.reset_counts()
    together = threading.Barrier(6)
    troubles: list[BaseException] = []

    def work(number: int) -> None:
        try:
            together.wait()
            remote.create(f"heads/{number:064x}", BytesSource(b"head"))
        except BaseException as error:
            troubles.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not troubles
    assert len(remote.list("heads/")) == 6
    assert place.emulator.count("token") == 1


def test_many_processes_with_a_stale_token_refresh_once_and_the_file_stays_whole(place: DrivePlace) -> None:
    workspace = place.workspace("laptop")
    place.open(workspace).prepare(create=True)
    place.emulator.expire_tokens()
    place.emulator.reset_counts()
    shared = [TokenCredentials(workspace.token_path) for _ in range(5)]
    together = threading.Barrier(len(shared))

    def work(credentials: TokenCredentials) -> None:
        import google_auth_httplib2

        credentials.apply({})
        together.wait()
        credentials.refresh(google_auth_httplib2.Request(httplib2.Http()))

    threads = [threading.Thread(target=work, args=(credentials,)) for credentials in shared]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert place.emulator.count("token") == 1
    assert {credentials.token for credentials in shared} == {load_token(workspace.token_path).access}


def test_a_token_that_cannot_be_kept_still_serves(place: DrivePlace) -> None:
    workspace = place.workspace("laptop")
    place.emulator.expire_tokens()

    def refuse(step: str, path: str, data: bytes) -> None:
        if step == "rename" and data.endswith(b"drive_token.json"):
            raise DiskTrouble("no room for it")

    with files.watch(refuse):
        place.open(workspace).prepare(create=True)


def test_a_revoked_login_says_log_in_again_and_names_the_seven_days(place: DrivePlace) -> None:
    workspace = place.workspace("laptop")
    place.emulator.revoke_tokens()
    with pytest.raises(NotLoggedIn) as caught:
        place.open(workspace).prepare(create=True)
    assert caught.value.code == "login_expired"
    assert "memsync login" in caught.value.hint
    assert "Testing" in caught.value.hint
    assert place.waited == 0


def test_a_login_that_drive_never_accepts_ends_after_one_refresh(place: DrivePlace) -> None:
    remote = place.open(place.workspace("laptop"))
    place.emulator.fault("any error=authError")
    with pytest.raises(NotLoggedIn, match="does not accept"):
        remote.prepare(create=True)
    assert place.emulator.count("token") == 1


@pytest.mark.parametrize("fault", ["status=503", "status=429", "drop=before", "status=200 body=html"])
def test_trouble_of_the_token_server_is_waited_out(place: DrivePlace, fault: str) -> None:
    workspace = place.workspace("laptop")
    place.emulator.expire_tokens()
    place.emulator.fault(f"token nth=1,2 {fault}")
    place.open(workspace).prepare(create=True)


def test_a_token_server_that_stays_away_is_remote_trouble(place: DrivePlace) -> None:
    workspace = place.workspace("laptop")
    place.emulator.expire_tokens()
    place.emulator.fault("token status=503")
    with pytest.raises(RemoteTrouble, match="token server"):
        place.open(workspace).prepare(create=True)


def test_no_error_of_signing_in_carries_a_secret(place: DrivePlace) -> None:
    workspace = place.workspace("laptop")
    token = json.loads(Path(workspace.token_path).read_text())
    secrets = [token["token"], token["refresh_token"], token["client_secret"]]
    for fault in ("status=503", "drop=before", "status=400 body=text", "error=invalid", "status=401"):
        place.emulator.expire_tokens()
        place.emulator.clear_faults()
        place.emulator.fault(f"token {fault}")
        with pytest.raises(MemsyncError) as caught:
            place.open(workspace, attempts=1).prepare(create=True)
        told: BaseException | None = caught.value
        while told is not None:
            said = f"{told!r} {told} {getattr(told, 'hint', '')}"
            assert not [secret for secret in secrets if secret in said]
            told = told.__cause__ or (None if told.__suppress_context__ else told.__context__)


@pytest.mark.parametrize("minutes", [90, -90])
def test_a_clock_that_is_off_is_named(
    place: DrivePlace, monkeypatch: pytest.MonkeyPatch, minutes: int
) -> None:
    """The answers' Date says that it is another time than this machine thinks."""
    carried = httplib2.Http.request

    def dated(self: httplib2.Http, *arguments: Any, **more: Any) -> Any:
        response, content = carried(self, *arguments, **more)
        moment = datetime.fromtimestamp(time.time() - minutes * 60, UTC)
        response["date"] = format_datetime(moment, usegmt=True)
        return response, content

    monkeypatch.setattr(httplib2.Http, "request", dated)
    workspace = place.workspace("laptop")
    place.emulator.fault("any error=authError")
    with pytest.raises(NotLoggedIn) as caught:
        place.open(workspace).prepare(create=True)
    assert f"clock is 90 minutes {'ahead' if minutes > 0 else 'behind'}" in caught.value.hint
