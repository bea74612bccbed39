"""The Drive emulator: batches, counting, many threads, the form of it that is a process."""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path
from typing import Any

from tests.drive_emulator import DriveEmulator
from tests.drive_emulator import client as library
from tests.emulator_wire import Raw, Wire, media, names, put, refusal

ROOT = Path(__file__).resolve().parent.parent


def test_a_batch_answers_each_call_and_charges_each(emulator: DriveEmulator, drive: Any) -> None:
    file_id = put(drive, "n")
    emulator.reset_counts()
    got: dict[str, tuple[Any, Any]] = {}
    batch = drive.new_batch_http_request(lambda key, *rest: got.update({key: rest}))
    batch.add(drive.files().get(fileId=file_id), request_id="a")
    batch.add(drive.files().get(fileId="nowhere"), request_id="b")
    batch.add(drive.files().create(body={"name": "ünï"}), request_id="c")
    batch.add(drive.files().delete(fileId=file_id), request_id="d")
    batch.execute()
    assert got["a"][0]["id"] == file_id
    assert got["b"][1].resp.status == 404
    assert (got["c"][0]["name"], got["d"][1]) == ("ünï", None)
    assert (emulator.requests, emulator.units) == (1, 5 + 5 + 50 + 50)
    assert emulator.count("files.get") == 2
    assert emulator.tree() == {"ünï": b""}


def test_a_batch_holds_100_calls_and_no_media(drive: Any, wire: Wire) -> None:
    def post(calls: list[str]) -> Raw:
        parts = [f"--b\r\nContent-Type: application/http\r\n\r\n{call} HTTP/1.1\r\n\r\n" for call in calls]
        body = "\r\n".join([*parts, "--b--\r\n"]).encode()
        return wire("POST", "/batch/drive/v3", body, {"Content-Type": "multipart/mixed; boundary=b"})

    file_id = put(drive, "n")
    assert post([f"GET /drive/v3/files/{file_id}"] * 100).body.count(b"200 OK") == 100
    assert post([f"GET /drive/v3/files/{file_id}"] * 101).status == 400
    assert b"400 Bad Request" in post([f"GET /drive/v3/files/{file_id}?alt=media"]).body


def test_requests_bytes_and_units_are_counted(emulator: DriveEmulator, drive: Any) -> None:
    file_id = put(drive, "n", b"x" * 1000)
    names(drive)
    drive.files().get_media(fileId=file_id).execute()
    assert emulator.counts() == {
        "files.create.multipart": 1,
        "files.list": 1,
        "files.get.media": 1,
    }
    assert (emulator.requests, emulator.units) == (3, 50 + 100 + 200)
    assert (emulator.count("write"), emulator.count("read"), emulator.count("create")) == (1, 2, 1)
    assert emulator.bytes_in > 1000 < emulator.bytes_out
    emulator.reset_counts()
    assert (emulator.requests, emulator.bytes_in) == (0, 0)


def test_many_threads_at_once(emulator: DriveEmulator) -> None:
    info = emulator.token_info()

    def work(number: int) -> None:
        files = library.service(emulator.url, info).files()
        for turn in range(10):
            name = f"{number}-{turn}"
            content = media(name.encode(), resumable=turn % 2 == 0)
            files.create(body={"name": name}, media_body=content).execute()

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    expected = {f"{i}-{t}": f"{i}-{t}".encode() for i in range(6) for t in range(10)}
    assert emulator.tree() == expected


def test_the_process_form_is_driven_over_http(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.drive_emulator", "--port", "0", "--state", str(tmp_path)]
    command += ["--fault", "files.list nth=1 status=503", "--set", "page_limit=1"]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        announced = json.loads(process.stdout.readline())
        info = json.loads(Path(announced["token"]).read_text(encoding="utf-8"))
        drive = library.service(announced["url"], info)

        def control(name: str, body: Any = None) -> Any:
            data = None if body is None else json.dumps(body).encode()
            request = urllib.request.Request(announced["control"] + name, data)
            with urllib.request.urlopen(request, timeout=10) as answer:
                return json.load(answer)

        assert refusal(drive.files().list())[0] == 503
        file_id = put(drive, "n")
        control("person", {"do": "edit", "file_id": file_id, "data": "by hand"})
        assert drive.files().get_media(fileId=file_id).execute() == b"by hand"
        control("fault", {"rule": "files.list nth=1 status=429"})
        assert refusal(drive.files().list())[0] == 429
        state = control("state")
        assert (state["requests"], state["counts"]["files.list"]) == (4, 2)
        assert [entry["path"] for entry in control("entries?root=root")] == ["n"]
        control("behaviour", {"read_only": "true"})
        assert refusal(drive.files().delete(fileId=file_id))[0] == 403
        control("stop", {})
        assert process.wait(10) == 0
    finally:
        process.kill()
        process.communicate()


def test_a_hundred_small_requests_are_quick(emulator: DriveEmulator, wire: Wire) -> None:
    """The project's own tests make thousands: the server may take a millisecond or so for each."""
    connection = http.client.HTTPConnection("127.0.0.1", emulator.port)
    headers = {"Authorization": f"Bearer {wire.token}", "Content-Type": "application/json"}
    began = time.process_time()
    for number in range(100):
        connection.request("POST", "/drive/v3/files", json.dumps({"name": str(number)}), headers)
        connection.getresponse().read()
    connection.close()
    assert time.process_time() - began < 1.0
