"""No fault of the network, of Drive or of the process loses a byte or makes a twin."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from memstore.errors import MemsyncError, NotLoggedIn, RemoteFull, RemoteTrouble
from memstore.remotes.base import BytesSource
from memstore.remotes.drive.journal import Journal
from memstore.remotes.drive.remote import DriveRemote
from tests.drive_emulator import Behaviour
from tests.drive_place import DrivePlace

PACK = "packs/" + "ab" * 32
HEAD, OLD_HEAD = "heads/" + "cd" * 32, "heads/" + "ef" * 32
LARGE = "packs/" + "12" * 32
MODIFIED = 1_745_416_922_123
CONTENT = bytes(range(256)) * 80_000
"""20.48 MB: three chunks of 8 MiB."""


@pytest.fixture
def place(tmp_path: Path) -> Iterator[DrivePlace]:
    with DrivePlace(tmp_path) as made:
        yield made


@pytest.fixture
def remote(place: DrivePlace) -> DriveRemote:
    opened = place.open(place.workspace("laptop"))
    opened.prepare(create=True)
    return opened


def push(remote: DriveRemote) -> None:
    """What a push asks of a remote, in its order; safe to repeat."""
    remote.prepare(create=True)
    heads = [row.name for row in remote.list("heads/")]
    remote.create("format", BytesSource(b"format"))
    remote.create(PACK, BytesSource(b"pack" * 1000))
    remote.create(HEAD, BytesSource(b"head"), {"pack": "ab" * 32})
    for name in heads:
        if name != HEAD:
            remote.delete(name)
    for path, content in (("Core/Rules.txt", b"new rules"), ("new.txt", b"new")):
        seen = remote.look([(path, None)])[0]
        if seen is not None and remote.fetch(seen.handle) != content:
            remote.move(seen, "Archive/Core/Rules_old.txt", {})
            seen = None
        if seen is None:
            remote.put(path, BytesSource(content), {"md5": "x"}, MODIFIED)
    log = remote.look([("log.txt", None)])[0]
    if log is not None and log.size == 4:
        remote.update(log, BytesSource(b"one\ntwo\n"), {}, MODIFIED)


def earlier(place: DrivePlace) -> None:
    """What an earlier push left."""
    remote = place.open(place.workspace("laptop"))
    remote.prepare(create=True)
    remote.create("format", BytesSource(b"format"))
    remote.create(OLD_HEAD, BytesSource(b"old head"))
    remote.put("Core/Rules.txt", BytesSource(b"old rules"), {}, MODIFIED)
    remote.put("log.txt", BytesSource(b"one\n"), {}, MODIFIED)
    remote.close()


WHOLE = {
    "MemoryVDB/.memsync/format": b"format",
    f"MemoryVDB/.memsync/{PACK}": b"pack" * 1000,
    f"MemoryVDB/.memsync/{HEAD}": b"head",
    "MemoryVDB/Core/Rules.txt": b"new rules",
    "MemoryVDB/new.txt": b"new",
}
LATER = WHOLE | {"MemoryVDB/Archive/Core/Rules_old.txt": b"old rules", "MemoryVDB/log.txt": b"one\ntwo\n"}
SCENES: dict[str, tuple[Callable[[DrivePlace], None], dict[str, bytes]]] = {
    "first push": (lambda place: None, WHOLE),
    "later push": (earlier, LATER),
}
FAULTS = [
    "drop=before", "drop=after", "cut=50%", "truncate=10", "status=503 at=after", "status=500", "status=429",
    "status=502 body=html", "error=userRateLimitExceeded", "error=rateLimitExceeded retry-after=30",
    "error=backendError at=after", "error=authError", "status=504 body=empty", "drop=after reset",
]  # fmt: skip
EVERYWHERE = ("drop=after", "drop=before", "cut=50%", "status=503 at=after")
"""These strike each request in turn, the others every seventh."""


def folders(place: DrivePlace) -> list[str]:
    return sorted(entry.path for entry in place.emulator.entries() if entry.is_folder)


@pytest.mark.parametrize("scene", SCENES)
@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_at_any_request_ends_as_if_there_had_been_none(
    scene: str, fault: str, tmp_path: Path
) -> None:
    before, after = SCENES[scene]
    with DrivePlace(tmp_path / "undisturbed") as place:
        before(place)
        place.emulator.reset_counts()
        push(place.open(place.workspace("laptop")))
        assert place.emulator.tree() == after
        requests, expected_folders = place.emulator.requests, folders(place)
    assert requests > 10
    step = 1 if fault in EVERYWHERE else 7
    for number in range(1 + FAULTS.index(fault) % step, requests + 1, step):
        with DrivePlace(tmp_path / f"fault{number}") as place:
            before(place)
            rule = place.emulator.fault(f"any nth={number} {fault}")
            push(place.open(place.workspace("laptop")))
            assert rule.fired == 1
            assert place.emulator.tree() == after
            assert folders(place) == expected_folders
            assert place.emulator.violations == []


@pytest.mark.parametrize("scene", SCENES)
@pytest.mark.parametrize("fault", ["drop=before", "drop=after", "cut=50%"])
def test_a_network_that_goes_away_at_any_request_and_comes_back_is_carried_on(
    scene: str, fault: str, tmp_path: Path
) -> None:
    before, after = SCENES[scene]
    number = 0
    while True:
        number += 1
        with DrivePlace(tmp_path / f"death{number}") as place:
            before(place)
            rule = place.emulator.fault(f"any nth={number}.. {fault}")
            try:
                push(place.open(place.workspace("laptop"), attempts=1))
            except RemoteTrouble:
                assert rule.fired
            else:
                assert not rule.fired
                break
            place.emulator.clear_faults()
            push(place.open(place.workspace("laptop")))
            assert place.emulator.tree() == after
    assert number > 10


@pytest.mark.parametrize("side", ["before", "after"])
def test_a_process_that_is_killed_at_a_request_is_carried_on_by_the_next(side: str, tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from memstore.workspace import Workspace;"
        "from memstore.remotes.open import open_remote; from tests.test_drive_faults import push;"
        "workspace = Workspace.find(sys.argv[1]); push(open_remote('drive:', workspace))"
    )
    for number in range(1 if side == "before" else 3, 23, 6):
        with DrivePlace(tmp_path / f"kill{number}") as place:
            earlier(place)
            workspace = place.workspace("laptop")
            running: list[subprocess.Popen[bytes]] = []

            def kill(request: object, running: list[subprocess.Popen[bytes]] = running) -> None:
                running[0].kill()

            rule = place.emulator.fault(f"any nth={number} latency=0 at={side}", hook=kill)
            environ = {**os.environ, "MEMSYNC_DRIVE_ROOT_URL": place.emulator.url}
            running.append(subprocess.Popen([sys.executable, "-c", script, workspace.root], env=environ))
            code = running[0].wait(60)
            assert (code != 0) == bool(rule.fired)
            push(place.open(workspace))
            assert place.emulator.tree() == LATER


@pytest.mark.parametrize("seed", range(6))
def test_a_storm_ends_or_stops_with_a_clear_error_and_a_later_push_finishes(
    seed: int, tmp_path: Path
) -> None:
    kinds = [
        "status=503",
        "drop=before",
        "drop=after",
        "error=userRateLimitExceeded",
        "status=500 at=after",
        "cut=50%",
    ]
    with DrivePlace(tmp_path) as place:
        earlier(place)
        for number, kind in enumerate(kinds):
            place.emulator.fault(f"any p=0.06 seed={seed * 10 + number} {kind}")
        for _ in range(6):
            try:
                push(place.open(place.workspace("laptop")))
            except RemoteTrouble as error:
                assert error.hint
        place.emulator.clear_faults()
        push(place.open(place.workspace("laptop")))
        assert place.emulator.tree() == LATER


# -- uploads that are cut ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fault", ["cut=50%", "drop=before", "drop=after", "status=503 body=text", "truncate=0"]
)
@pytest.mark.parametrize("chunk", [1, 2, 3])
def test_a_cut_chunk_is_taken_up_where_the_server_has_it(
    place: DrivePlace, remote: DriveRemote, fault: str, chunk: int
) -> None:
    place.emulator.fault(f"upload.chunk nth={chunk} {fault}")
    remote.create(LARGE, BytesSource(CONTENT))
    assert place.emulator.tree()[f"MemoryVDB/.memsync/{LARGE}"] == CONTENT
    assert remote.bytes_sent <= len(CONTENT) + (8 << 20)
    assert place.emulator.violations == []


def test_an_upload_cut_in_one_process_goes_on_in_the_next(place: DrivePlace) -> None:
    first = place.open(place.workspace("laptop"), attempts=1)
    first.prepare(create=True)
    place.emulator.fault("upload.chunk nth=3.. drop=before")
    with pytest.raises(RemoteTrouble):
        first.create(LARGE, BytesSource(CONTENT))
    first.close()
    place.emulator.clear_faults()
    second = place.open(place.workspace("laptop"))
    second.create(LARGE, BytesSource(CONTENT))
    assert second.bytes_sent == len(CONTENT) - (16 << 20)
    assert place.emulator.count("upload.start") == 1
    assert place.emulator.tree()[f"MemoryVDB/.memsync/{LARGE}"] == CONTENT


@pytest.mark.parametrize("status", [404, 410])
def test_a_session_that_is_gone_is_begun_anew(place: DrivePlace, remote: DriveRemote, status: int) -> None:
    place.emulator.behaviour.session_gone_status = 404 if status == 404 else 410
    place.emulator.fault(
        "upload.chunk nth=2 status=503", hook=lambda request: place.emulator.expire_sessions()
    )
    remote.create(LARGE, BytesSource(CONTENT))
    assert place.emulator.count("upload.start") == 2
    assert place.emulator.tree()[f"MemoryVDB/.memsync/{LARGE}"] == CONTENT


@pytest.mark.parametrize("check", ["start", "finish"])
def test_a_session_whose_file_landed_unheard_makes_no_twin(place: DrivePlace, check: str) -> None:
    place.emulator.behaviour.resumable_id_check = "start" if check == "start" else "finish"
    first = place.open(place.workspace("laptop"), attempts=1)
    first.prepare(create=True)
    place.emulator.fault("upload.last drop=after")
    place.emulator.fault("upload.status drop=before")
    with pytest.raises(RemoteTrouble):
        first.create(LARGE, BytesSource(CONTENT))
    place.emulator.clear_faults()
    place.emulator.expire_sessions()
    place.open(place.workspace("laptop")).create(LARGE, BytesSource(CONTENT))
    assert [path for path in place.emulator.tree() if "packs" in path] == [f"MemoryVDB/.memsync/{LARGE}"]


def test_a_server_that_keeps_less_than_was_sent_gets_the_rest(place: DrivePlace, remote: DriveRemote) -> None:
    place.emulator.behaviour.keep_at_most = 3_000_000
    remote.create(LARGE, BytesSource(CONTENT))
    assert place.emulator.tree()[f"MemoryVDB/.memsync/{LARGE}"] == CONTENT
    assert place.emulator.violations == []


def test_a_server_that_keeps_nothing_is_not_asked_for_ever(place: DrivePlace, remote: DriveRemote) -> None:
    place.emulator.behaviour.keep_at_most = 1000
    with pytest.raises(RemoteTrouble, match="keep"):
        remote.create(LARGE, BytesSource(CONTENT))


# -- downloads ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", ["truncate=1000", "drop=before", "drop=after", "corrupt=70", "status=503"])
def test_a_broken_download_is_repeated(place: DrivePlace, remote: DriveRemote, fault: str) -> None:
    content = bytes(range(256)) * 40
    remote.create(PACK, BytesSource(content))
    handle = remote.put("a.bin", BytesSource(content), {}, MODIFIED).handle
    place.emulator.fault(f"files.get.media nth=1,3 {fault}")
    assert remote.read(PACK) == content
    assert remote.fetch(handle) == content


def test_a_stream_that_came_damaged_ends_in_an_error(place: DrivePlace, remote: DriveRemote) -> None:
    remote.create(PACK, BytesSource(b"x" * 1000))
    place.emulator.fault("files.get.media corrupt=70")
    with pytest.raises(RemoteTrouble, match="did not come back"):
        list(remote.read_stream(PACK))


# -- refusals ----------------------------------------------------------------------------------------------

STOPS: dict[str, tuple[type[MemsyncError], str]] = {
    "storageQuotaExceeded": (RemoteFull, "full"),
    "quotaExceeded": (RemoteFull, "quota"),
    "dailyLimitExceeded": (RemoteFull, "daily"),
    "numChildrenInNonRootLimitExceeded": (RemoteFull, "500,000"),
    "myDriveHierarchyDepthLimitExceeded": (RemoteFull, "100 levels"),
    "teamDriveFileLimitExceeded": (RemoteFull, "shared drive"),
    "teamDriveHierarchyTooDeep": (RemoteFull, "deeper"),
    "insufficientFilePermissions": (NotLoggedIn, "not allow"),
    "insufficientPermissions": (NotLoggedIn, "permission"),
    "appNotAuthorizedToFile": (NotLoggedIn, "OAuth client"),
    "domainPolicy": (NotLoggedIn, "administrators"),
}


@pytest.mark.parametrize("reason", STOPS)
def test_a_final_refusal_stops_at_once_and_says_what_to_do(
    place: DrivePlace, remote: DriveRemote, reason: str
) -> None:
    kind, words = STOPS[reason]
    remote.create("format", BytesSource(b"f"))
    place.emulator.fault(f"files.create.multipart error={reason}")
    with place.costs(1), pytest.raises(kind, match=words) as caught:
        remote.create(PACK, BytesSource(b"pack"))
    assert caught.value.hint
    assert not caught.value.retryable
    assert place.waited == 0
    place.emulator.clear_faults()
    remote.create(PACK, BytesSource(b"pack"))
    assert remote.read(PACK) == b"pack"


def test_a_full_drive_and_a_read_only_one_are_told_apart(place: DrivePlace, remote: DriveRemote) -> None:
    place.emulator.behaviour.storage_limit = 100
    with pytest.raises(RemoteFull, match="full"):
        remote.create(PACK, BytesSource(bytes(1000)))
    place.emulator.behaviour.storage_limit = None
    place.emulator.behaviour.read_only = True
    with pytest.raises(NotLoggedIn, match="not allow"):
        remote.create(PACK, BytesSource(bytes(1000)))


def test_trouble_that_stays_ends_after_the_attempts(place: DrivePlace, remote: DriveRemote) -> None:
    place.emulator.fault("files.list status=503")
    before = place.emulator.requests
    assert not remote.list("heads/")  # made a moment ago: nothing is asked
    later = place.open(place.workspace("laptop"))
    with pytest.raises(RemoteTrouble, match="3 attempts"):
        later.list("heads/")
    assert place.emulator.requests - before == 3
    assert later.most_attempts == 3


def test_rate_limits_are_waited_out_and_the_pace_adapts(place: DrivePlace) -> None:
    place.emulator.behaviour.creates_per_second = 2.5
    place.emulator.behaviour.create_burst = 5
    remote = place.open()
    remote.prepare(create=True)
    for number in range(80):
        remote.put(f"note{number}.txt", BytesSource(b"x"), {}, MODIFIED)
    assert len(place.emulator.tree()) == 80
    assert remote.most_attempts == 1
    refused = place.emulator.requests - 80 - 6
    assert 0 < refused < 25
    assert place.emulator.violations == []


def test_a_rate_limit_without_end_ends_with_the_budget(place: DrivePlace, remote: DriveRemote) -> None:
    patient = place.open(place.workspace("laptop"), budget=120)
    place.emulator.fault("create error=userRateLimitExceeded")
    with pytest.raises(RemoteTrouble, match="750 GB") as caught:
        patient.create(PACK, BytesSource(b"pack"))
    assert caught.value.exit_code == 5
    assert 60 < place.waited <= 130
    assert patient.most_attempts == 1


def test_retry_after_is_obeyed(place: DrivePlace, remote: DriveRemote) -> None:
    place.emulator.fault("create times=1 status=429 retry-after=40")
    remote.create(PACK, BytesSource(b"pack"))
    assert place.waited >= 40
    assert place.emulator.violations == []


def test_reserved_ids_that_ran_out_are_replaced(tmp_path: Path) -> None:
    with DrivePlace(tmp_path, Behaviour(reserved_id_lifetime=86_400)) as place:
        remote = place.open(place.workspace("laptop"))
        remote.prepare(create=True)
        place.emulator.advance(86_401)
        remote.create(PACK, BytesSource(b"pack"))
        remote.create("format", BytesSource(b"format"))
        remote.put("a/b.txt", BytesSource(b"b"), {}, MODIFIED)
        assert place.emulator.count("files.generateIds") in (2, 3)
        other = place.open()
        assert other.read("format") == b"format"
        assert [row.name for row in other.list("packs/")] == [PACK]
        assert place.emulator.tree()["MemoryVDB/a/b.txt"] == b"b"


def test_an_id_is_in_the_journal_before_the_create_that_uses_it(
    place: DrivePlace, remote: DriveRemote
) -> None:
    journal = next(Path(place.workspace("laptop").state).glob("drive-journal.*.jsonl"))
    found: list[str | None] = []

    def at_the_server(request: object) -> None:
        found.append(Journal(str(journal)).pending(PACK))

    place.emulator.fault("files.create.multipart latency=0", hook=at_the_server)
    remote.create(PACK, BytesSource(b"pack"))
    assert found == [place.emulator.person.find(f"MemoryVDB/.memsync/{PACK}")]
    assert Journal(str(journal)).pending(PACK) is None
    assert journal.stat().st_mode & 0o777 == 0o600


def test_no_error_carries_a_token_a_secret_or_an_upload_address(place: DrivePlace) -> None:
    workspace = place.workspace("laptop")
    token = json.loads(Path(workspace.token_path).read_text())
    secrets = [token["token"], token["refresh_token"], token["client_secret"], "upload_id"]
    remote = place.open(workspace, attempts=1)
    remote.prepare(create=True)
    for fault in FAULTS:
        place.emulator.clear_faults()
        place.emulator.fault(f"any {fault}")
        for content in (b"small", CONTENT):
            with pytest.raises(MemsyncError) as caught:
                place.open(workspace, attempts=1, budget=0).create(LARGE, BytesSource(content))
            told: BaseException | None = caught.value
            while told is not None:
                said = f"{told!r} {told} {getattr(told, 'hint', '')}"
                assert not [secret for secret in secrets if secret in said]
                told = told.__cause__ or (None if told.__suppress_context__ else told.__context__)


def test_a_long_page_and_an_empty_page_are_read_to_the_end(place: DrivePlace, remote: DriveRemote) -> None:
    names = sorted(f"packs/{number:064x}" for number in range(7))
    for name in names:
        remote.create(name, BytesSource(name.encode()))
    place.emulator.behaviour.page_limit = 2
    place.emulator.behaviour.empty_pages = True
    assert [row.name for row in place.open().list("packs/")] == names


def test_a_listing_that_lags_has_what_this_client_made_and_not_what_it_removed(
    place: DrivePlace, remote: DriveRemote
) -> None:
    remote.create(OLD_HEAD, BytesSource(b"old"))
    remote.list("heads/")
    place.emulator.behaviour.parent_lag_lists = 100
    remote.create(HEAD, BytesSource(b"head"))
    remote.delete(OLD_HEAD)
    assert [row.name for row in remote.list("heads/")] == [HEAD]
