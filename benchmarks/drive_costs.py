"""What memsync and rclone cost on Google Drive: requests, bytes and time, on the emulator with a delay per call.

    python -m benchmarks.drive_costs --write docs/benchmarks.md

Each command is a process of its own against one emulator on loopback. rclone has no option for another
server, so it is sent there by a proxy of this file that ends its TLS; it runs with its defaults otherwise.
Waits are real, because rclone's are: a run takes a quarter of an hour with the default delay, nearly all of
it asleep.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from benchmarks.machine import describe, versions, write_section
from tests.drive_emulator import DriveEmulator

NOTES = 1000
FOLDERS = 10
LATENCY = 0.3
"""Seconds added to each call; what Drive answers in, roughly."""
WORDS = (
    "agent memory turn rule note tone user prefers short answers because context window tags archive model "
    "build session yesterday tomorrow project name colour tea train ticket paper draft review merge index"
)
ROOT = "MemoryVDB"
EDITED = "Folder3/note3.txt"


class Cost(NamedTuple):
    """One command against the emulator."""

    requests: int
    sent: int
    """Bytes of all request bodies."""
    received: int
    """Bytes of all answers' bodies."""
    seconds: float


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.drive_costs")
    parser.add_argument("--notes", type=int, default=NOTES)
    parser.add_argument("--latency", type=float, default=LATENCY, help="seconds added to each call")
    parser.add_argument("--write", metavar="FILE", help="put the table into this document")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        ours = memsync_costs(Path(folder, "ours"), chosen.notes, chosen.latency)
        theirs = rclone_costs(Path(folder, "theirs"), chosen.notes, chosen.latency)
    text = report(ours, theirs, chosen.notes, chosen.latency)
    print(text)
    if chosen.write:
        write_section(chosen.write, "drive costs", text)


# -- the folder ----------------------------------------------------------------------------------------------


def write_notes(data: Path, count: int) -> None:
    """`count` notes of 0.3 to 3 KB in ten folders, always the same."""
    dice, words = random.Random(11), WORDS.split()
    for number in range(count):
        place = data / f"Folder{number % FOLDERS}" / f"note{number}.txt"
        place.parent.mkdir(parents=True, exist_ok=True)
        lines = [" ".join(dice.choices(words, k=12)) for _ in range(dice.randrange(4, 40))]
        place.write_text("\n".join(lines) + "\n")


def append_line(data: Path) -> None:
    with open(data / EDITED, "a", encoding="utf-8") as note:
        note.write("one more line that was remembered today\n")


def replace_note(data: Path) -> None:
    (data / EDITED).write_text("an entirely different note\n" * 20)


# -- measuring -----------------------------------------------------------------------------------------------


@contextmanager
def measuring(emulator: DriveEmulator) -> Iterator[Callable[[], Cost]]:
    """Inside, calls are counted; the function tells what they came to, once it is over."""
    emulator.reset_counts()
    began = time.monotonic()
    ended = began

    def cost() -> Cost:
        return Cost(emulator.requests, emulator.bytes_in, emulator.bytes_out, ended - began)

    yield cost
    ended = time.monotonic()


def run(command: list[str], emulator: DriveEmulator, environ: dict[str, str], cwd: Path) -> Cost:
    """One command. Raises `CalledProcessError` with what it said."""
    with measuring(emulator) as cost:
        done = subprocess.run(
            command, cwd=cwd, env={**os.environ, **environ}, capture_output=True, text=True, check=False
        )
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {done.returncode}: {done.stderr[-2000:]}")
    return cost()


def memsync_costs(folder: Path, notes: int, latency: float) -> dict[str, Cost]:
    costs: dict[str, Cost] = {}
    for mirror in (False, True):
        with DriveEmulator() as emulator:
            environ = {"MEMSYNC_DRIVE_ROOT_URL": emulator.url, "MEMSYNC_COMMIT_SECRETS": "off"}
            root = folder / f"mirror-{mirror}"

            def memsync(
                *words: str,
                at: Path = root,
                emulator: DriveEmulator = emulator,
                environ: dict[str, str] = environ,
            ) -> Cost:
                return run([sys.executable, "-m", "memsync", *words], emulator, environ, at)

            root.mkdir(parents=True)
            memsync("init")
            emulator.write_token(root / "drive_token.json")
            write_notes(root / "Data", notes)
            memsync("commit", "-m", "the notes of a year")
            memsync("remote", "set", "drive:")
            emulator.fault(f"any latency={latency}")
            if not mirror:
                costs["first push, until all is safe"] = memsync("push", "--no-mirror")
                continue
            costs["first push, mirror included"] = memsync("push")
            append_line(root / "Data")
            memsync("commit")
            costs["append of a line"] = memsync("push")
            replace_note(root / "Data")
            memsync("commit")
            memsync("push")  # makes the folders of Archive/, once
            (root / "Data" / EDITED).write_text("and another one\n" * 30)
            memsync("commit")
            costs["replace of a note"] = memsync("push")
            costs["nothing new"] = memsync("push")
            other = folder / "clone"
            other.mkdir()
            shutil.copy(root / "drive_token.json", other)
            costs["clone"] = memsync("clone", "drive:", str(other), at=folder)
            assert contents(other / "Data") == contents(root / "Data"), "the clone differs from its source"
    return costs


def contents(folder: Path) -> dict[str, bytes]:
    return {
        place.relative_to(folder).as_posix(): place.read_bytes()
        for place in folder.rglob("*")
        if place.is_file()
    }


# -- rclone --------------------------------------------------------------------------------------------------


def rclone_costs(folder: Path, notes: int, latency: float) -> dict[str, Cost] | None:
    """None where rclone, or the openssl that makes the proxy's certificate, is not installed."""
    if shutil.which("rclone") is None or shutil.which("openssl") is None:
        return None
    data, back = folder / "Data", folder / "back"
    folder.mkdir(parents=True)
    write_notes(data, notes)
    costs: dict[str, Cost] = {}
    with DriveEmulator() as emulator, tls_proxy(folder, emulator.port) as proxy:
        configuration = folder / "rclone.conf"
        configuration.write_text(rclone_configuration(emulator))
        environ = {"HTTPS_PROXY": f"http://127.0.0.1:{proxy}", "NO_PROXY": ""}

        def rclone(*words: str) -> Cost:
            command = ["rclone", "--config", str(configuration), "--no-check-certificate", *words]
            return run(command, emulator, environ, folder)

        emulator.fault(f"any latency={latency}")
        copy = ("copy", str(data), f"drive:{ROOT}")
        costs["first push, mirror included"] = rclone(*copy)
        append_line(data)
        costs["append of a line"] = rclone(*copy)
        replace_note(data)
        rclone(*copy)
        (data / EDITED).write_text("and another one\n" * 30)
        costs["replace of a note"] = rclone(*copy)
        costs["nothing new"] = rclone(*copy)
        costs["clone"] = rclone("copy", f"drive:{ROOT}", str(back))
        assert contents(back) == contents(data), "what rclone brought back differs"
    return costs


def rclone_configuration(emulator: DriveEmulator) -> str:
    info = emulator.token_info()
    token = {
        "access_token": info["token"],
        "token_type": "Bearer",
        "refresh_token": info["refresh_token"],
        "expiry": "2100-01-01T00:00:00Z",
    }
    return (
        "[drive]\ntype = drive\nscope = drive.file\n"
        f"client_id = {info['client_id']}\nclient_secret = {info['client_secret']}\n"
        f"token_url = {emulator.url}token\ntoken = {json.dumps(token)}\n"
    )


@contextmanager
def tls_proxy(folder: Path, port: int) -> Iterator[int]:
    """An HTTPS proxy on loopback that answers every CONNECT itself and passes the plain bytes on to `port`."""
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost",
         "-keyout", str(key), "-out", str(certificate)],
        check=True, capture_output=True,
    )  # fmt: skip
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=_accept, args=(listener, context, port), daemon=True).start()
        yield int(listener.getsockname()[1])


def _accept(listener: socket.socket, context: ssl.SSLContext, port: int) -> None:
    while True:
        try:
            client, _ = listener.accept()
        except OSError:  # the benchmark is over
            return
        threading.Thread(target=_relay, args=(client, context, port), daemon=True).start()


def _relay(client: socket.socket, context: ssl.SSLContext, port: int) -> None:
    head = b""
    while b"\r\n\r\n" not in head:
        piece = client.recv(4096)
        if not piece:
            return
        head += piece
    client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
    with context.wrap_socket(client, server_side=True) as inner:
        inner_side = socket.create_connection(("127.0.0.1", port))
        threading.Thread(target=_pump, args=(inner_side, inner), daemon=True).start()
        _pump(inner, inner_side)


def _pump(source: socket.socket, target: socket.socket) -> None:
    try:
        while piece := source.recv(65_536):
            target.sendall(piece)
        target.shutdown(socket.SHUT_WR)
    except OSError:  # either side hung up
        return


# -- the table -----------------------------------------------------------------------------------------------


def report(ours: dict[str, Cost], theirs: dict[str, Cost] | None, notes: int, latency: float) -> str:
    rclone = "not installed"
    if theirs is not None:
        said = subprocess.run(["rclone", "version"], check=True, capture_output=True, text=True).stdout
        rclone = said.split()[1]
    lines = [
        "### Google Drive: requests, bytes, time",
        "",
        f"{time.strftime('%Y-%m-%d')}; {describe()}; {versions()}; rclone {rclone}. {notes:,} notes of 0.3 to 3 KB "
        f"in {FOLDERS} folders, on the project's emulator of the Drive API over loopback, {latency * 1000:.0f} ms "
        "added to each call; each row is one command in a process of its own, start-up included, token refreshes "
        "not counted. `rclone copy` with its defaults (4 transfers at a time, its own pacing); it overwrites what "
        "it replaces and keeps no versions. memsync sends one request after another; Drive itself takes only 2 to "
        "3 creates a second. Seconds are those of one run.",
        "",
        "| | memsync: requests | sent | received | seconds | rclone: requests | sent | received | seconds |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for what, cost in ours.items():
        other = None if theirs is None else theirs.get(what)
        lines.append(f"| {what} | {_cells(cost)} | {_cells(other)} |")
    return "\n".join(lines)


def _cells(cost: Cost | None) -> str:
    if cost is None:
        return "– | – | – | –"
    return f"{cost.requests:,} | {_size(cost.sent)} | {_size(cost.received)} | {cost.seconds:.1f}"


def _size(count: int) -> str:
    return f"{count / 1e6:.2f} MB" if count >= 100_000 else f"{count / 1e3:.1f} KB"


if __name__ == "__main__":
    main()
