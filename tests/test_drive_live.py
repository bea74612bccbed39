"""The contract suite on a real account, and (on the emulator) the questions that are asked of one.

`make drive-live` runs it with MEMSYNC_LIVE_TOKEN naming a token file; each test works in a folder of its own
in My Drive and removes it. Without that variable only the questions are tried out. MEMSYNC_DRIVE_ROOT_URL names
another server: with the emulator's, and a token of it, the run itself can be tried.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from memstore.progress import SILENT
from memstore.remotes.base import BytesSource, OpenRemote
from memstore.remotes.drive.remote import DriveRemote
from memstore.remotes.retry import Retry
from memstore.remotes.url import parse_url
from memstore.workspace import Workspace
from tests import test_remote_contract as contract
from tests.drive_emulator import Behaviour
from tests.drive_live import QUESTIONS, Bench, answers
from tests.drive_place import DrivePlace

TOKEN = os.environ.get("MEMSYNC_LIVE_TOKEN")
SERVER = {name: os.environ[name] for name in ("MEMSYNC_DRIVE_ROOT_URL",) if name in os.environ}


class LivePlace:
    """A folder on a real Drive, and clients of it."""

    def __init__(self, folder: Path, token: str) -> None:
        self._folder = folder
        self._token = token
        self._name = f"memsync-live-{secrets.token_hex(4)}"
        self._opened: list[DriveRemote] = []

    def open(self) -> OpenRemote:
        root = self._folder / f"machine{len(self._opened)}"
        workspace = Workspace.create(root, environ=SERVER)
        shutil.copyfile(self._token, workspace.token_path)
        place = parse_url(f"drive:{self._name}", workspace)
        self._opened.append(DriveRemote.open(place, workspace, Retry(), SILENT))
        return self._opened[-1]

    def edit(self, path: str, content: bytes) -> None:
        remote = self.open()
        seen = remote.look([(path, None)])[0]
        assert seen is not None
        remote.update(seen, BytesSource(content), {}, 0)

    def remove(self) -> None:
        for remote in self._opened:
            root = remote._journal.root
            if root is not None:
                remote._layout.delete("cleaning up", root["root"])
                break
        for remote in self._opened:
            remote.close()


if TOKEN:
    # The suite's tests, with this module's `place`; the one that makes hundreds of files stays at home.
    for _name, _test in vars(contract).items():
        if _name.startswith("test_") and "sequence" not in _name:
            globals()[_name] = pytest.mark.live(_test)
    remote = contract.remote

    @pytest.fixture
    def place(tmp_path: Path) -> Iterator[LivePlace]:
        made = LivePlace(tmp_path, str(TOKEN))
        yield made
        made.remove()


@pytest.mark.parametrize("other", [False, True])
def test_the_questions_to_a_real_account_tell_either_answer_apart(tmp_path: Path, other: bool) -> None:
    behaviour = Behaviour(
        drive_file_sees_root=other,
        repeated_add_parent="refused" if other else "accepted",
        resumable_id_check="finish" if other else "start",
        lf_multipart_eats_cr=other,
        changes_name_descendants=other,
    )
    with DrivePlace(tmp_path, behaviour) as place:
        bench = Bench.open(place.workspace().token_path, place.emulator.url)
        found = answers(bench)
        bench.remove()
        assert place.emulator.tree() == {}
        assert not place.emulator.entries()
    assert found["`files.get('root')` with this scope"].startswith("200" if other else "404")
    assert found["`addParents` of the parent a file already has"].startswith("400" if other else "200")
    assert found["an id in use in a resumable create"].startswith(
        "at the end: 409" if other else "at the start: 409"
    )
    assert (found["final CR of a payload, multipart with LF"] == "kept") is not other
    assert found["final CR of a payload, multipart with CRLF"] == "kept"
    assert found["descendants of a trashed folder in `changes`"] == ("named" if other else "not named")
    assert found["create with an id that was never reserved"].startswith("400")
    assert found["create with an id in use"].startswith("409")
    assert found["listing by parent after a create"].startswith("seen after 0")


def test_the_live_run_can_be_tried_on_the_emulator_and_leaves_nothing_there(tmp_path: Path) -> None:
    with DrivePlace(tmp_path) as place:
        token = place.workspace().token_path
        environ = {**os.environ, "MEMSYNC_LIVE_TOKEN": token, "MEMSYNC_DRIVE_ROOT_URL": place.emulator.url}
        some = [sys.executable, "-m", "pytest", "-m", "live", "-k", "keeps_the_path", __file__]
        ran = subprocess.run(some, env=environ, capture_output=True, text=True, check=False)
        assert ran.returncode == 0 and "1 passed" in ran.stdout, ran.stdout
        assert place.emulator.count("create") > 0
        assert not place.emulator.entries()


def test_the_guide_has_a_place_for_each_answer() -> None:
    guide = (Path(__file__).parent.parent / "docs" / "google-drive.md").read_text(encoding="utf-8")
    for question in QUESTIONS:
        assert f"\n| {question} |" in guide


def test_the_guide_quotes_messages_that_the_code_has() -> None:
    """Most runs of three words of each quoted message stand in the code; names are put in at run time."""
    folder = Path(__file__).parent.parent
    guide = (folder / "docs" / "google-drive.md").read_text(encoding="utf-8")
    code = "".join(
        path.read_text(encoding="utf-8") for path in (folder / "memstore" / "remotes" / "drive").glob("*.py")
    )
    code = " ".join(re.sub(r'"\s*f?"', "", code).split())
    table = guide.partition("## When something is wrong")[2].partition("\n## ")[0]
    quoted = [row.split("`")[1] for row in table.splitlines() if row.startswith("| `")]
    assert len(quoted) > 12
    for message in quoted:
        words = message.replace("…", "").split()
        runs = [" ".join(words[start : start + 3]) for start in range(max(1, len(words) - 2))]
        found = [run for run in runs if run in code]
        assert 2 * len(found) >= len(runs) or "Google says:" in message, message
