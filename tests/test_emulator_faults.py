"""The Drive emulator: each kind of fault, made by rule at an exact place. Nothing sleeps: time is moved by
`advance`."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from typing import Any

import pytest

from tests.drive_emulator import DriveEmulator
from tests.drive_emulator.faults import parse
from tests.emulator_wire import KIB256, Wire, folder, look, media, names, put, refusal


def upload(drive: Any, name: str, data: bytes, chunk: int = KIB256) -> Any:
    """A resumable create that reads by position and has no stream, as memsync's own will."""
    from googleapiclient.http import MediaUpload

    class Positioned(MediaUpload):  # type: ignore[misc]
        def chunksize(self) -> int:
            return chunk

        def mimetype(self) -> str:
            return "text/plain"

        def size(self) -> int:
            return len(data)

        def resumable(self) -> bool:
            return True

        def has_stream(self) -> bool:
            return False

        def getbytes(self, begin: int, length: int) -> bytes:
            return data[begin : begin + length]

    return drive.files().create(body={"name": name}, media_body=Positioned())


def finish(request: Any) -> tuple[Any, int]:
    """Go on after every broken connection; the answer, and how often it broke."""
    broken = 0
    while True:
        try:
            _, answer = request.next_chunk()
        except (OSError, http.client.HTTPException):
            broken += 1
            assert broken < 10
            continue
        if answer is not None:
            return answer, broken


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ("error=userRateLimitExceeded", (403, "userRateLimitExceeded")),
        ("error=rateLimitExceeded", (403, "rateLimitExceeded")),
        ("status=429", (429, "tooManyRequests")),
        ("status=500", (500, "internalError")),
        ("status=502", (502, "badGateway")),
        ("status=503", (503, "backendError")),
        ("status=504", (504, "gatewayTimeout")),
        ("status=404", (404, "notFound")),
        ("status=410", (410, "deleted")),
        ("error=storageQuotaExceeded", (403, "storageQuotaExceeded")),
        ("error=quotaExceeded", (403, "quotaExceeded")),
        ("error=dailyLimitExceeded", (403, "dailyLimitExceeded")),
        ("error=teamDriveFileLimitExceeded", (403, "teamDriveFileLimitExceeded")),
        ("error=appNotAuthorizedToFile", (403, "appNotAuthorizedToFile")),
        ("error=rateLimitExceeded status=429", (429, "rateLimitExceeded")),
    ],
)
def test_errors_by_rule(emulator: DriveEmulator, drive: Any, rule: str, expected: tuple[int, str]) -> None:
    made = emulator.fault(f"create nth=2 {rule}")
    put(drive, "a")
    assert refusal(lambda: put(drive, "b")) == expected
    put(drive, "c")
    assert sorted(emulator.tree()) == ["a", "c"]
    assert (made.seen, made.fired) == (3, 1)


def test_an_error_after_the_effect(emulator: DriveEmulator, drive: Any) -> None:
    emulator.fault("files.create* nth=1 status=503 at=after")
    assert refusal(lambda: put(drive, "n"))[0] == 503
    assert emulator.tree() == {"n": b"x"}


@pytest.mark.parametrize("form", ["text", "html", "empty"])
def test_error_bodies_need_not_be_json(emulator: DriveEmulator, wire: Wire, form: str) -> None:
    emulator.fault(f"files.list status=503 retry-after=7 body={form}")
    raw = wire("GET", "/drive/v3/files")
    assert (raw.status, raw.headers["retry-after"]) == (503, "7")
    with pytest.raises(ValueError, match="Expecting value"):
        json.loads(raw.body)


def test_coming_back_before_retry_after_is_noted(emulator: DriveEmulator, wire: Wire) -> None:
    emulator.fault("files.list nth=1..2 status=429 retry-after=7")
    wire("GET", "/drive/v3/files")
    emulator.advance(8)
    wire("GET", "/drive/v3/files")
    assert emulator.violations == []
    wire("GET", "/drive/v3/files")
    assert "Retry-After" in emulator.violations[0]


def tries(emulator: DriveEmulator, drive: Any) -> list[bool]:
    """Which of 40 requests went through."""
    files = drive.files()
    found = []
    for _ in range(40):
        try:
            files.list().execute()
            found.append(True)
        except Exception:
            found.append(False)
    emulator.clear_faults()
    return found


def test_probability_is_the_same_each_time_for_a_seed(emulator: DriveEmulator, drive: Any) -> None:
    emulator.fault("any p=0.3 seed=7 status=500")
    first = tries(emulator, drive)
    emulator.fault("any p=0.3 seed=7 status=500")
    assert first == tries(emulator, drive)
    emulator.fault("any p=0.3 seed=8 status=500")
    assert first != tries(emulator, drive)
    assert 0 < first.count(False) < 40
    emulator.fault("any times=3 status=500")
    assert tries(emulator, drive).count(False) == 3
    emulator.fault("any nth=2,4..5,39.. status=500")
    failed = [number for number, ok in enumerate(tries(emulator, drive), 1) if not ok]
    assert failed == [2, 4, 5, 39, 40]


@pytest.mark.parametrize("reset", ["", " reset"])
def test_a_connection_dropped_before_the_create_leaves_nothing(
    emulator: DriveEmulator, wire: Wire, reset: str
) -> None:
    emulator.fault(f"files.create drop=before{reset}")
    body, kind = b'{"name": "n"}', {"Content-Type": "application/json"}
    error = ConnectionResetError if reset else http.client.RemoteDisconnected
    with pytest.raises(error):
        wire("POST", "/drive/v3/files", body, kind)
    assert emulator.files() == []
    assert emulator.log.entries[-1].outcome == "dropped before"


def test_a_connection_dropped_after_the_create_makes_the_library_send_it_twice(
    emulator: DriveEmulator, drive: Any
) -> None:
    emulator.fault("files.create nth=1 drop=after")
    drive.files().create(body={"name": "n"}).execute()
    assert len(emulator.tree()) == 2, "a twin: httplib2 re-sends what got no status line"
    file_id = drive.files().generateIds(count=1).execute()["ids"][0]
    emulator.fault("files.create nth=1 drop=after")
    assert refusal(drive.files().create(body={"name": "m", "id": file_id}))[0] == 409
    assert len(emulator.tree()) == 3, "with a reserved id there is none"


def test_an_upload_cut_in_the_middle_keeps_the_aligned_part_and_resumes(
    emulator: DriveEmulator, drive: Any
) -> None:
    data = os.urandom(4 * KIB256 + 5)
    kept: list[int] = []
    emulator.fault(f"upload.chunk nth=1..4 cut={2 * KIB256 + 1000}")
    emulator.fault("upload.status", hook=lambda _: kept.append(len(emulator.api.sessions.open()[0].data)))
    _, broken = finish(upload(drive, "n", data, chunk=8 * KIB256))
    assert broken >= 1
    assert kept[0] == 2 * KIB256
    assert emulator.tree() == {"n": data}


def test_a_client_that_dies_in_the_middle_of_an_upload_leaves_the_aligned_part(
    emulator: DriveEmulator, wire: Wire
) -> None:
    session = wire.start()
    head = f"PUT {session} HTTP/1.1\r\nContent-Length: {3 * KIB256}\r\n"
    head += f"Content-Range: bytes 0-{3 * KIB256 - 1}/{4 * KIB256}\r\n\r\n"
    with socket.create_connection(("127.0.0.1", emulator.port)) as connection:
        connection.sendall(head.encode() + b"a" * (KIB256 + 99))
        connection.shutdown(socket.SHUT_WR)
        assert connection.recv(10) == b""
    assert wire.ask(session).headers["range"] == f"bytes=0-{KIB256 - 1}"


def test_the_last_chunk_dropped_after_it_landed(emulator: DriveEmulator, drive: Any) -> None:
    emulator.fault("upload.last nth=1..2 drop=after")
    answer, broken = finish(upload(drive, "n", b"x"))
    assert (answer["name"], broken) == ("n", 1)
    assert emulator.tree() == {"n": b"x"}


def test_the_librarys_own_stream_sends_an_empty_body_again_and_waits(
    emulator: DriveEmulator, drive: Any
) -> None:
    """The trap the emulator must be able to show: a stream is at its end on the second try."""
    emulator.behaviour.body_timeout = 0.2
    emulator.fault("upload.chunk nth=1 drop=before")
    request = drive.files().create(body={"name": "n"}, media_body=media(b"x" * 99, resumable=True))
    with pytest.raises(http.client.RemoteDisconnected):
        request.next_chunk()
    outcomes = [(entry.bytes_in, entry.outcome) for entry in emulator.log.entries[1:3]]
    assert outcomes == [(99, "dropped before"), (0, "cut")]


def test_a_truncated_and_a_corrupted_download(emulator: DriveEmulator, wire: Wire, drive: Any) -> None:
    target = f"/drive/v3/files/{put(drive, 'n', b'0123456789')}?alt=media"
    emulator.fault("files.get.media nth=1 truncate=4")
    emulator.fault("files.get.media nth=2 corrupt=3")
    with pytest.raises(http.client.IncompleteRead) as caught:
        wire("GET", target)
    assert caught.value.partial == b"0123"
    assert wire("GET", target).body == b"012" + bytes([ord("3") ^ 1]) + b"456789"
    assert wire("GET", target).body == b"0123456789"


@pytest.mark.parametrize("sort", ["name", "parent"])
def test_listings_may_lag_by_count(emulator: DriveEmulator, drive: Any, sort: str) -> None:
    setattr(emulator.behaviour, f"{sort}_lag_lists", 2)
    q = "name = 'n'" if sort == "name" else "'root' in parents"
    other = "'root' in parents" if sort == "name" else "name = 'n'"
    file_id = put(drive, "n")
    assert look(drive, file_id)["name"] == "n", "by id it is there at once"
    assert names(drive, other) == ["n"]
    assert [names(drive, q) for _ in range(3)] == [[], [], ["n"]]


def test_listings_may_lag_by_time(emulator: DriveEmulator, drive: Any) -> None:
    emulator.behaviour.name_lag_seconds = 30
    put(drive, "n")
    assert names(drive, "name = 'n'") == []
    emulator.advance(31)
    assert names(drive, "name = 'n'") == ["n"]


def test_creates_have_a_bucket(emulator: DriveEmulator, drive: Any) -> None:
    emulator.behaviour.creates_per_second = 0.01
    emulator.behaviour.create_burst = 3
    for number in range(3):
        put(drive, str(number))
    assert refusal(lambda: put(drive, "3")) == (403, "userRateLimitExceeded")
    emulator.advance(101)
    put(drive, "3")
    emulator.behaviour.write_limit_status = 429
    assert refusal(lambda: folder(drive, "4")) == (429, "rateLimitExceeded")


def test_quotas_of_units_and_of_bytes_a_day(emulator: DriveEmulator, drive: Any) -> None:
    emulator.behaviour.daily_upload_limit = 5
    put(drive, "n", b"12345")
    over = (403, "userRateLimitExceeded")
    assert refusal(lambda: put(drive, "m", b"1")) == over
    big = drive.files().create(body={}, media_body=media(b"1", resumable=True))
    assert refusal(big) == over
    emulator.advance(86_400)
    emulator.behaviour.units_per_minute = 120
    assert names(drive) == ["n"]
    emulator.advance(60)
    names(drive)
    assert refusal(drive.files().list()) == over


def test_latency_does_not_hold_others_up_and_a_hang_ends_with_the_emulator(
    emulator: DriveEmulator, wire: Wire
) -> None:
    emulator.fault("files.list hang=20")
    emulator.fault("about.get latency=20")
    held = threading.Event()
    emulator.fault("any at=before match=pageSize", hook=lambda _: held.set())
    ended: list[str] = []

    def ask(target: str) -> None:
        try:
            wire("GET", target)
        except (OSError, http.client.HTTPException) as error:
            ended.append(type(error).__name__)

    targets = ("/drive/v3/files?pageSize=5", "/drive/v3/about?fields=user")
    threads = [threading.Thread(target=ask, args=(target,)) for target in targets]
    for thread in threads:
        thread.start()
    assert held.wait(5)
    assert wire("GET", "/drive/v3/files/generateIds").status == 200
    began = time.monotonic()
    emulator.stop()
    for thread in threads:
        thread.join(5)
    assert time.monotonic() - began < 5
    assert len(ended) == 2, "neither got an answer, both were let go"


def test_a_hang_after_the_effect(emulator: DriveEmulator, wire: Wire) -> None:
    emulator.fault("files.create hang=0.01 at=after")
    with pytest.raises(http.client.RemoteDisconnected):
        wire("POST", "/drive/v3/files", b"{}", {"Content-Type": "application/json"})
    assert len(emulator.files()) == 1


@pytest.mark.parametrize(("side", "landed"), [("before", 0), ("after", 1)])
def test_a_hook_strikes_before_or_after_the_effect(
    emulator: DriveEmulator, drive: Any, side: str, landed: int
) -> None:
    seen: list[int] = []
    emulator.fault(f"create nth=2 at={side}", hook=lambda _: seen.append(len(emulator.files())))
    put(drive, "a")
    put(drive, "b")
    assert seen == [1 + landed]


@pytest.mark.skipif(os.name == "nt", reason="needs SIGKILL")
def test_a_rule_can_kill_a_process_at_an_exact_request(emulator: DriveEmulator) -> None:
    program = "import sys, http.client\nsys.stdin.readline()\n" + (
        f"c = http.client.HTTPConnection('127.0.0.1', {emulator.port})\n"
        "for _ in range(9):\n c.request('GET', '/drive/v3/files'); c.getresponse().read()\n"
    )
    child = subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE)
    emulator.fault(f"files.list nth=3 kill={child.pid}")
    child.communicate(b"go\n", timeout=20)
    assert child.returncode == -signal.SIGKILL
    assert emulator.count("files.list") == 3


def test_token_requests_can_fail_too(emulator: DriveEmulator, drive: Any) -> None:
    from google.auth.exceptions import RefreshError

    emulator.expire_tokens()
    emulator.fault("any status=500 p=0.0")
    emulator.fault("token times=99 status=403 body=html")
    with pytest.raises(RefreshError):
        names(drive)
    emulator.clear_faults()
    assert names(drive) == []


def test_faults_strike_calls_inside_a_batch(emulator: DriveEmulator, drive: Any) -> None:
    emulator.fault("files.create nth=2 error=userRateLimitExceeded")
    failed: list[bool] = []
    batch = drive.new_batch_http_request(lambda _k, _r, error: failed.append(error is not None))
    for number in range(3):
        batch.add(drive.files().create(body={"name": str(number)}))
    batch.execute()
    assert failed == [False, True, False]
    assert sorted(emulator.tree()) == ["0", "2"]


@pytest.mark.parametrize(
    "text",
    ["any", "any nth=x status=500", "any error=nonsense", "any drop=never", "any what=1"],
)
def test_a_rule_that_makes_no_sense_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="fault rule"):
        parse(text)
