"""A disk that is full or fails: the command ends with a sentence, nothing that was committed is lost, and once
the trouble is over the next commit, push and clone work."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from memstore import Store, files
from tests.crash_disk.faults import every_fault
from tests.crash_disk.scenes import ENVIRON, PICTURE, SCENES, contents_of

pytestmark = pytest.mark.skipif(not files.POSIX, reason="faults are injected where POSIX calls are made")

Record = Callable[[str, object], None]
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
    tried = every_fault(SCENES[name], number, lasting=lasting)
    how = "from each call on" if lasting else "at each call"
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


def memsync(root: Path, *arguments: str) -> tuple[int, dict[str, object], str]:
    """(exit code, the document, stderr) of a command."""
    ended = subprocess.run(
        [sys.executable, "-m", "memsync", *arguments, "--json"],
        cwd=root,
        capture_output=True,
        check=False,
        env={**os.environ, **ENVIRON},
    )
    assert b"Traceback" not in ended.stderr
    document: dict[str, object] = json.loads(ended.stdout)
    return ended.returncode, document, ended.stderr.decode()


@pytest.mark.crash
@pytest.mark.parametrize("verb", ["commit", "archive", "restore", "push"])
def test_a_disk_that_is_really_full_loses_nothing(small_disk: Path, verb: str) -> None:
    """Filled to the last byte, then to some bytes less, and so on, until the command has room."""
    root = small_disk / "memory"
    with Store.init(root, environ=ENVIRON) as store:
        store.set_remote(str(small_disk / "remote"))
        for number in range(4):
            (root / "Data/log.txt").write_text("line\n" * (number + 1))
            (root / f"Data/{number}.bin").write_bytes(PICTURE + bytes([number]))
            assert store.commit() is not None
        versions = contents_of(store)
        first = str(list(store.history())[-1].id)
    arguments = {
        "commit": ["commit", "-m", "more"],
        "archive": ["archive", "Data/0.bin", "Data/log.txt"],
        "restore": ["restore", ".", "--at", first],
        "push": ["push"],
    }[verb]
    ballast, refused = small_disk / "ballast", 0
    for room in range(0, 400_000, 3_500):
        (root / "Data/new.bin").write_bytes(PICTURE * 2 + bytes([room % 251]))
        with ballast.open("wb", buffering=0) as file:
            try:
                while True:
                    file.write(bytes(4096))
            except OSError:
                pass
        with ballast.open("r+b") as file:
            file.truncate(max(0, ballast.stat().st_size - room))
        code, document, _ = memsync(root, *arguments)
        ballast.unlink()
        with Store.open(root, environ=ENVIRON) as store:
            here = contents_of(store)
            assert versions.items() <= here.items()
            assert store.verify().problems == ()
            versions = here
        if code == 0:
            break
        refused += 1
        error = document.get("error")
        assert code == 1 or (isinstance(error, dict) and error["message"] and error["hint"]), document
    assert code == 0
    assert refused > 1
    assert memsync(root, "commit", "-m", "after the trouble")[0] == 0
    assert memsync(root, "push")[0] == 0
    assert memsync(root, "verify", "--remote")[0] == 0
