"""A disk that is full or fails: the command ends with a sentence, nothing that was committed is lost, and once
the trouble is over the next commit, push and clone work."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from memstore import Store, files
from memstore.ids import ContentId
from tests.crash_disk.check import holds
from tests.crash_disk.faults import every_fault
from tests.crash_disk.scenes import SCENES
from tests.crash_disk.world import ENVIRON, PICTURE, contents_of, data_of

pytestmark = pytest.mark.skipif(not files.POSIX, reason="faults are injected where POSIX calls are made")

Record = Callable[[str, object], None]
EVERY = int(os.environ.get("MEMSYNC_TEST_EVERY", "1"))
"""In the long runs: only each so-manieth call, for a machine that has less time."""
SAMPLE = [
    ("append, replace, delete", errno.ENOSPC, 1),
    ("append, replace, delete", errno.EIO, 5),
    ("restore", errno.ENOSPC, 8),
    ("archive", errno.EIO, 20),
    ("first push", errno.ENOSPC, 12),
    ("later push", errno.EIO, 60),
    ("clone", errno.EIO, 40),
]


@pytest.mark.parametrize(("name", "number", "at"), SAMPLE)
def test_a_fault_of_the_disk_loses_nothing(name: str, number: int, at: int) -> None:
    assert every_fault(SCENES[name], number, lasting=bool(at % 2), only=at) == 1


@pytest.mark.crash
@pytest.mark.parametrize("lasting", [False, True], ids=["once", "lasting"])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO], ids=["full", "input and output errors"])
@pytest.mark.parametrize("name", sorted(SCENES))
def test_a_fault_at_any_call_loses_nothing(
    name: str, number: int, lasting: bool, record_property: Record
) -> None:
    tried = every_fault(SCENES[name], number, lasting=lasting, every=EVERY)
    calls = "each call" if EVERY == 1 else f"one call in {EVERY}"
    how = f"from {calls} on" if lasting else f"at {calls}"
    record_property("tried", f"{errno.errorcode[number]} {how} of '{name}': {tried:,} cases, 0 failed")


# -- a real small disk -------------------------------------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 2 MB."""
    place = tmp_path / "small"
    place.mkdir()
    if shutil.which("mount") is None or sys.platform != "linux":
        pytest.skip("there is no mount here")
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(place)], capture_output=True, check=False
    )
    if made.returncode:
        pytest.skip(f"a small file system can't be mounted here: {made.stderr.decode().strip()}")
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


def memsync(root: Path, *arguments: str) -> tuple[int, dict[str, Any], str]:
    """(exit code, the document, stderr) of a command."""
    ended = subprocess.run(
        [sys.executable, "-m", "memsync", *arguments, "--json"],
        cwd=root,
        capture_output=True,
        check=False,
        env={**os.environ, **ENVIRON},
    )
    assert b"Traceback" not in ended.stderr
    document: dict[str, Any] = json.loads(ended.stdout)
    return ended.returncode, document, ended.stderr.decode()


class Full:
    """A workspace on a small disk, and how much room there was when each try was made."""

    def __init__(self, disk: Path, elsewhere: Path, verb: str) -> None:
        self.disk, self.root = disk, disk / "memory"
        self.verb = verb
        remote = elsewhere / "remote" if verb in ("pull", "gc") else disk / "remote"
        with Store.init(self.root, environ=ENVIRON) as store:
            store.set_remote(str(remote))
            for number in range(4):
                self.write("log.txt", b"line\n" * (number + 1))
                self.write(f"{number}.bin", PICTURE + bytes([number]))
                self.write("0.bin", PICTURE + bytes([number, number]))
                assert store.commit() is not None
                if verb in ("pull", "gc"):
                    assert store.push().status == "success"
            self.versions = contents_of(store)
            first = str(list(store.history())[-1].id)
            kept = {ContentId.of(raw) for raw in data_of(str(self.root / "Data")).values()}
            raws = {raw for rows in self.versions.values() for raw in rows.values() if raw is not None}
            self.leaving = {raw for raw in raws if ContentId.of(raw) not in kept} if verb == "gc" else set()
        if verb == "pull":
            with Store.clone(str(remote), elsewhere / "desk", environ={"MEMSYNC_DEVICE": "desk"}) as desk:
                (elsewhere / "desk/Data/desk.bin").write_bytes(PICTURE[::-1] * 3)
                (elsewhere / "desk/Data/log.txt").write_bytes(b"at the desk\n")
                desk.commit()
                desk.push()
            self.write("log.txt", b"and here\n" + b"line\n" * 4)
        self.arguments = {
            "commit": ["commit", "-m", "more"],
            "archive": ["archive", "Data/0.bin", "Data/log.txt"],
            "restore": ["restore", ".", "--at", first],
            "push": ["push"],
            "pull": ["pull"],
            "gc": ["gc", "--keep-last", "1"],
        }[verb]

    def write(self, path: str, content: bytes) -> None:
        (self.root / "Data" / path).write_bytes(content)

    def try_with(self, room: int) -> bool:
        """Whether the command succeeds with so many bytes free; and nothing is lost."""
        if self.verb != "pull":
            self.write("new.bin", PICTURE * 2 + room.to_bytes(4, "little"))
        ballast = self.disk / "ballast"
        with contextlib.suppress(OSError), ballast.open("wb", buffering=0) as file:
            while file.write(bytes(4096)):
                pass
        with ballast.open("r+b") as file:
            file.truncate(max(0, ballast.stat().st_size - room))
        code, document, _ = memsync(self.root, *self.arguments)
        ballast.unlink()
        error = document.get("error")
        assert code in (0, 1) if error is None else error["message"] and error["hint"], document
        self.nothing_is_lost()
        done = self.verb == "archive" and not (self.root / "Data/0.bin").exists()
        return error is None or done  # where only the catalogue had no room, what it did was finished since

    def nothing_is_lost(self) -> None:
        with Store.open(self.root, environ=ENVIRON) as store:
            here = contents_of(store)
            for id, rows in self.versions.items():
                assert holds(here[id], rows, self.leaving)
            assert store.verify().problems == ()
            self.versions = here | self.versions


@pytest.mark.crash
@pytest.mark.parametrize("verb", ["commit", "archive", "restore", "push", "pull", "gc"])
def test_a_disk_that_is_really_full_loses_nothing(
    small_disk: Path, tmp_path: Path, verb: str, record_property: Record
) -> None:
    """Filled to the last byte, then to some pages less, and so on, until the command has room."""
    full = Full(small_disk, tmp_path, verb)
    refused = room = 0
    while not full.try_with(room):
        refused += 1
        room += max(4096, room // 4096 // 16 * 4096)
        assert room < 600_000
    assert refused > 1
    assert memsync(full.root, "commit", "-m", "after the trouble")[0] == 0
    assert memsync(full.root, "push")[0] == 0
    assert memsync(full.root, "verify", "--remote")[0] == 0
    full.nothing_is_lost()
    with Store.open(full.root, environ=ENVIRON) as store:
        here = {raw for rows in contents_of(store).values() for raw in rows.values()}
        assert full.leaving.isdisjoint(here)
    record_property("tried", f"a disk of 2 MB full under '{verb}': refused {refused} times, 0 lost")
