"""A push to Drive: what it costs in requests, what it says while it runs, and how Ctrl-C ends it.

The counts are those of the emulator: requests to Drive, token refreshes aside, a cold process each time.
"""

from __future__ import annotations

import io
import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from memsync.progress import ProgressLine

from memstore.store import Store
from tests.drive_emulator import SCOPE_FULL, DriveEmulator
from tests.drive_emulator.wire import Request
from tests.drive_memory import ROOT, STORE, DriveMemory, head_of, kill, no_waiting, shape, tree, what_is_open

NOTES = 1000
FOLDERS = 10
CHUNKS = "[drive]\nchunk_size = 262144\n"


@pytest.fixture
def emulator() -> Iterator[DriveEmulator]:
    with DriveEmulator() as running, no_waiting(running):
        yield running


@pytest.fixture
def memory(tmp_path: Path, emulator: DriveEmulator) -> DriveMemory:
    return DriveMemory(tmp_path, emulator)


def many_notes() -> dict[str, bytes | None]:
    return {
        f"Folder{number % FOLDERS}/note{number}.txt": f"note {number}\n".encode() for number in range(NOTES)
    }


def costs(memory: DriveMemory, *paths: str, mirror: bool = True) -> int:
    """Requests of one push that succeeds, or finds nothing to do."""
    memory.emulator.reset_counts()
    report = memory.push(*paths, mirror=mirror)
    assert report.status in ("success", "nothing"), report
    assert report.requests == memory.emulator.requests
    assert memory.emulator.violations == []
    return memory.emulator.requests


def started(memory: DriveMemory) -> None:
    """Three notes on Drive, one of them replaced once, so that all folders are there."""
    memory.commit({"Core/Rules.txt": b"old\n", "Core/log.txt": b"one\n", "Meta/x.txt": b"x\n"})
    assert memory.push().status == "success"
    memory.commit({"Core/Rules.txt": b"newer\n"})
    assert memory.push().status == "success"


@pytest.mark.parametrize(("role", "lying"), [("organizer", 0), ("fileOrganizer", 0), ("writer", 1)], ids=str)
def test_on_a_shared_drive_where_nothing_may_be_deleted_a_push_ends_well_and_a_clone_is_whole(
    tmp_path: Path, emulator: DriveEmulator, role: Any, lying: int
) -> None:
    drive = emulator.add_shared_drive("Team", role)
    memory = DriveMemory(tmp_path, emulator, scope=SCOPE_FULL, url=f"drive://{drive}")
    memory.commit({"Core/log.txt": b"one\n"})
    assert memory.push().status == "success"
    memory.commit({"Core/log.txt": b"one\ntwo\n"})
    report = memory.push()
    assert (report.status, report.mirror.updated, report.warnings) == ("success", 1, ())
    assert memory.push().status == "nothing"
    heads = [entry for entry in emulator.entries(drive) if "/heads/" in entry.path and not entry.trashed]
    assert len(heads) == 1 + lying, "what is superseded lies only where nobody may remove it"
    assert tree(memory.clone("clone")) == tree(memory.data)
    with memory.open() as store:
        assert store.verify(remote=True, read_data=True).ok


# -- what a push costs -------------------------------------------------------------------------------------


def test_a_push_with_nothing_new_asks_drive_nothing(memory: DriveMemory) -> None:
    started(memory)
    assert costs(memory) == 0
    assert costs(memory, mirror=False) == 0


def test_a_push_of_a_named_path_with_nothing_new_looks_whether_it_is_there_in_three_requests(
    memory: DriveMemory,
) -> None:
    started(memory)
    assert costs(memory, "Core") <= 3


def test_an_appended_note_is_at_most_six_requests_with_its_mirror_file_and_four_without(
    memory: DriveMemory,
) -> None:
    started(memory)
    memory.commit({"Core/log.txt": b"one\ntwo\n"})
    assert costs(memory) <= 6
    memory.commit({"Core/log.txt": b"one\ntwo\nthree\n"})
    assert costs(memory, mirror=False) <= 4
    assert costs(memory) <= 3


def test_a_replaced_note_is_at_most_seven_requests(memory: DriveMemory) -> None:
    started(memory)
    memory.commit({"Core/Rules.txt": b"newest\n"})
    assert costs(memory) <= 7
    assert len([path for path in memory.mirror if path.startswith("Archive/Core/Rules_")]) == 2


def test_each_folder_that_a_replaced_note_needs_is_one_request_more(memory: DriveMemory) -> None:
    memory.commit({"Core/Rules.txt": b"old\n", "Meta/x.txt": b"x\n"})
    memory.push()
    memory.commit({"Core/Rules.txt": b"new\n"})
    assert costs(memory) <= 7 + 2  # Archive and Archive/Core
    memory.commit({"Meta/x.txt": b"y\n"})
    assert costs(memory) <= 7 + 1  # Archive/Meta


def test_a_note_in_a_new_folder_is_at_most_six_requests_and_one_for_the_folder(memory: DriveMemory) -> None:
    started(memory)
    memory.commit({"New/added.txt": b"added\n"})
    assert costs(memory) <= 6 + 1


def test_a_first_push_of_a_thousand_notes_is_at_most_twelve_requests_without_the_mirror(
    memory: DriveMemory,
) -> None:
    memory.commit(many_notes())
    assert costs(memory, mirror=False) <= 12


def test_a_first_push_of_a_thousand_notes_is_one_request_more_for_each_file_and_folder(
    memory: DriveMemory,
) -> None:
    memory.commit(many_notes())
    a_second_thousand_of_ids = 1
    assert costs(memory) <= 12 + NOTES + FOLDERS + a_second_thousand_of_ids
    assert len(memory.mirror) == NOTES
    assert costs(memory) == 0


def test_a_push_cut_in_a_large_pack_sends_only_the_rest_the_next_time(
    tmp_path: Path, emulator: DriveEmulator
) -> None:
    memory = DriveMemory(tmp_path, emulator, config=CHUNKS + "[mirror]\nenabled = false\n")
    memory.commit({"index.bin": os.urandom(5 << 20)})
    rule = emulator.fault("upload.chunk nth=15.. drop=before")
    first = memory.push()
    assert (first.status, first.exit_code, bool(rule.fired)) == ("fail", 5, True)
    emulator.clear_faults()
    second = memory.push()
    assert second.status == "success"
    assert second.bytes_sent < (5 << 20) - 13 * 262_144
    assert emulator.count("upload.start") == 1


# -- between the packs and the end -----------------------------------------------------------------------------


def test_another_drive_root_in_paths_json_is_another_remote_and_the_first_one_stays_known(
    memory: DriveMemory, emulator: DriveEmulator
) -> None:
    def root(folder: str) -> None:
        paths = memory.root / "paths.json"
        paths.write_text(json.dumps({**json.loads(paths.read_text()), "drive_root": f"Drive/{folder}/"}))

    started(memory)
    root("Elsewhere")
    with memory.open() as store:
        assert store.status().unpushed == 2
    report = memory.push()
    assert (report.status, report.versions, report.mirror.created) == ("success", 2, 3)
    there = emulator.tree()
    assert there["Elsewhere/Core/Rules.txt"] == there["MemoryVDB/Core/Rules.txt"] == b"newer\n"
    memory.commit({"Core/log.txt": b"one\ntwo\n"})
    assert costs(memory) <= 6
    root("MemoryVDB")
    report = memory.push()
    assert (report.versions, report.packs, report.mirror.created, report.mirror.updated) == (1, 1, 0, 1)
    assert memory.mirror["Core/log.txt"] == b"one\ntwo\n"
    assert memory.push().status == "nothing"


def test_a_version_whose_pack_went_but_whose_head_did_not_counts_as_unpushed(
    memory: DriveMemory, emulator: DriveEmulator
) -> None:
    memory.commit({"a.txt": b"a\n"})
    emulator.fault("files.create.multipart nth=3.. status=503")  # the format, the pack, then the head
    report = memory.push()
    assert (report.exit_code, report.versions, report.packs) == (5, 0, 1)
    with memory.open() as store:
        assert store.status().unpushed == 1
        assert not store.is_on_remote("a.txt")
    emulator.clear_faults()
    assert memory.push().versions == 1
    with memory.open() as store:
        assert store.status().unpushed == 0
        assert store.is_on_remote("a.txt")


def test_a_first_push_that_never_heard_of_its_format_file_leaves_what_an_undisturbed_one_leaves(
    memory: DriveMemory, emulator: DriveEmulator
) -> None:
    memory.commit({"a.txt": b"a\n"})
    rule = emulator.fault("files.create.multipart nth=1 drop=after reset")
    assert memory.push(environ={"MEMSYNC_PUSH_ATTEMPTS": "1"}).status == "fail"
    assert rule.fired == 1
    assert memory.push().status == "success"
    assert sorted(emulator.tree()) == sorted(
        [
            "MemoryVDB/a.txt",
            f"{STORE}format",
            *(path for path in emulator.tree() if "/packs/" in path),
            *memory.heads,
        ]
    )
    assert len(memory.heads) == 1
    assert what_is_open(memory.root) == ([], [], 0)


def test_a_head_names_the_packs_that_an_interrupted_push_had_sent(
    memory: DriveMemory, emulator: DriveEmulator
) -> None:
    memory.commit({"a.txt": b"a\n"})
    emulator.fault("files.create.multipart nth=3.. status=503")
    memory.push()
    emulator.clear_faults()
    memory.push()
    (pack,) = [entry for entry in emulator.entries() if "/packs/" in entry.path]
    (head,) = [entry for entry in emulator.entries() if "/heads/" in entry.path]
    name = pack.path.rpartition("/")[2]
    assert json.loads(emulator.read(head.id))["packs"] == [name]
    (notes,) = emulator.drive.items[head.id].app_properties.values()
    assert notes == {"pack": name, "pack_id": pack.id}


def test_what_a_push_killed_in_the_mirror_had_sent_is_logged_by_the_next_and_once(
    memory: DriveMemory, emulator: DriveEmulator
) -> None:
    memory.commit({"a.txt": b"a\n", "b.txt": b"b\n"}, chat_name="one")
    kill(memory, 12, "after")
    assert len(memory.heads) == 1
    assert memory.upload_lines() == []
    emulator.clear_faults()
    memory.push()
    lines = memory.upload_lines()
    assert [(line["file"], line["status"], line["chat_name"]) for line in lines] == [
        ("a.txt", "success", "one"), ("b.txt", "success", "one"),
    ]  # fmt: skip
    memory.push()
    assert memory.upload_lines() == lines


@pytest.mark.parametrize("fault", ["drop=after reset", "drop=before reset"])
def test_a_note_that_is_deleted_here_after_a_put_of_unknown_end_leaves_no_orphan(
    memory: DriveMemory, emulator: DriveEmulator, fault: str
) -> None:
    memory.commit({"a.txt": b"a\n", "b.txt": b"b\n"})
    rule = emulator.fault(f"files.create.multipart nth=5 {fault}")  # format, pack, head, a.txt, b.txt
    assert memory.push(environ={"MEMSYNC_PUSH_ATTEMPTS": "1"}).status == "fail"
    assert rule.fired == 1
    memory.commit({"b.txt": None})
    assert memory.push().status == "success"
    assert {path for path in memory.mirror if not path.startswith("Archive/b_")} == {"a.txt"}
    assert what_is_open(memory.root) == ([], [], 0)
    assert memory.push().status == "nothing"


@pytest.mark.parametrize("fault", ["drop=after reset", "error=dailyLimitExceeded at=after"])
@pytest.mark.parametrize("then", [b"one\ntwo\n", b"all new\n"], ids=["append", "replace"])
def test_a_note_that_changed_after_a_put_of_unknown_end_is_refreshed_by_the_very_next_push(
    memory: DriveMemory, emulator: DriveEmulator, fault: str, then: bytes
) -> None:
    memory.commit({"a.txt": b"a\n", "log.txt": b"one\n"})
    rule = emulator.fault(f"files.create.multipart nth=5 {fault}")  # format, pack, head, a.txt, log.txt
    assert memory.push(environ={"MEMSYNC_PUSH_ATTEMPTS": "1"}).status == "fail"
    assert rule.fired == 1 and memory.mirror["log.txt"] == b"one\n"
    emulator.clear_faults()
    memory.commit({"log.txt": then})
    assert memory.push().status == "success"
    mirror = memory.mirror
    assert {path: data for path, data in mirror.items() if not path.startswith("Archive/")} == {
        "a.txt": b"a\n",
        "log.txt": then,
    }
    assert (b"one\n" in mirror.values()) == (then == b"all new\n"), "what was replaced lies under Archive/"
    assert what_is_open(memory.root) == ([], [], 0)
    assert (memory.push().status, memory.push().requests) == ("nothing", 0)


def test_trouble_in_the_mirror_ends_the_push_though_something_came_home_before_it(
    memory: DriveMemory, emulator: DriveEmulator
) -> None:
    memory.commit({"a.txt": b"a\n", "b.txt": b"b\n"})
    memory.push()
    emulator.person.edit(emulator.person.find(f"{ROOT}/a.txt"), b"a person's\n")
    memory.commit({"a.txt": b"a\nmore\n", "b.txt": b"b\nmore\n"})
    emulator.fault("files.update.multipart error=storageQuotaExceeded")
    emulator.reset_counts()
    report = memory.push()
    assert (report.status, report.exit_code) == ("fail", 5)
    assert emulator.log.entries[-1].kind.name == "files.update.multipart", "nothing is asked after a refusal"
    assert b"a person's\n" in memory.contents()
    emulator.clear_faults()
    assert memory.push().status == "success"
    assert tree(memory.clone("other")) == tree(memory.data)
    assert memory.push().status == "nothing"


# -- what it says ------------------------------------------------------------------------------------------


class Heard:
    """A `Progress` that keeps what it is told, and how Drive looked at each sentence."""

    def __init__(self, emulator: DriveEmulator) -> None:
        self.emulator = emulator
        self.stretches: list[tuple[str, int, str]] = []
        self.amounts: list[list[int]] = []
        self.said: list[tuple[str, list[str]]] = []

    def begin(self, label: str, total: int, unit: str) -> None:
        self.stretches.append((label, total, unit))
        self.amounts.append([])

    def advance(self, amount: int) -> None:
        self.amounts[-1].append(amount)

    def end(self) -> None:
        pass

    def say(self, sentence: str) -> None:
        self.said.append((sentence, sorted(self.emulator.tree())))


def test_a_push_says_that_all_is_safe_once_the_head_is_there_and_before_the_mirror(
    memory: DriveMemory, emulator: DriveEmulator
) -> None:
    memory.commit({"Core/Rules.txt": b"be kind\n"})
    heard = Heard(emulator)
    with Store.open(memory.root, environ=memory.environ, progress=heard) as store:
        assert store.push().status == "success"
    ((sentence, there),) = heard.said
    assert "safe" in sentence and "drive:" in sentence
    assert f"{ROOT}/.memsync/heads/{head_of(memory)}" in there
    assert f"{ROOT}/Core/Rules.txt" not in there
    assert f"{ROOT}/Core/Rules.txt" in emulator.tree()


def test_progress_goes_by_bytes_while_packs_are_sent_and_by_files_in_the_mirror(
    tmp_path: Path, emulator: DriveEmulator
) -> None:
    memory = DriveMemory(tmp_path, emulator, config=CHUNKS)
    memory.commit({"index.bin": os.urandom(5 << 20), "a.txt": b"a\n"})
    emulator.fault("upload.chunk nth=3,7 status=503")
    heard = Heard(emulator)
    with Store.open(memory.root, environ=memory.environ, progress=heard) as store:
        assert store.push().status == "success"
    (sending, size, unit), mirror = heard.stretches[0], heard.stretches[1]
    assert (sending, unit) == ("sending", "B")
    assert mirror == ("mirror", 2, "files")
    assert sum(heard.amounts[0]) == size > 5 << 20
    assert len(heard.amounts[0]) > 15, "a large pack is told chunk by chunk"
    assert heard.amounts[1] == [1, 1]


def test_the_progress_line_shows_bytes_files_and_the_time_left(
    tmp_path: Path, emulator: DriveEmulator
) -> None:
    memory = DriveMemory(tmp_path, emulator, config=CHUNKS)
    memory.commit({"index.bin": os.urandom(5 << 20), **{f"{n}.txt": b"%d\n" % n for n in range(9)}})
    now = [0.0]

    def clock() -> float:
        now[0] += 2.0
        return now[0]

    shown = io.StringIO()
    line = ProgressLine(shown, clock=clock)
    with Store.open(memory.root, environ=memory.environ, progress=line) as store:
        assert store.push().status == "success"
    drawn = [row.strip() for row in shown.getvalue().replace("\x1b[K", "\r").split("\r") if row.strip()]
    sending = [row for row in drawn if row.startswith("sending")]
    mirror = [row for row in drawn if row.startswith("mirror")]
    assert any("MB of 5" in row and "%" in row and row.endswith("s left") for row in sending), drawn
    assert any("of 10 files" in row and row.endswith("s left") for row in mirror), drawn


def test_a_dry_run_asks_drive_nothing_and_says_what_would_be_sent(
    memory: DriveMemory, emulator: DriveEmulator
) -> None:
    started(memory)
    large = random.Random(7).randbytes(200_000)
    memory.commit({"Core/Rules.txt": b"newest\n", "Core/log.txt": b"one\ntwo\n", "b.bin": large})
    before = shape(emulator)
    emulator.reset_counts()
    would = memory.push(dry_run=True)
    assert emulator.requests == 0
    assert shape(emulator) == before
    did = memory.push()
    assert (would.status, would.versions, would.objects, would.packs) == (
        did.status, did.versions, did.objects, did.packs,
    )  # fmt: skip
    assert would.mirror == did.mirror
    assert 0.98 * did.bytes_sent < would.bytes_sent < did.bytes_sent
    assert memory.push(dry_run=True).status == "nothing"


def test_a_dry_run_needs_no_token(memory: DriveMemory) -> None:
    memory.commit({"a.txt": b"a\n"})
    memory.token.unlink()
    assert memory.push(dry_run=True).versions == 1


# -- Ctrl-C ------------------------------------------------------------------------------------------------


def interrupted(memory: DriveMemory, rule: str) -> subprocess.CompletedProcess[str]:
    """`memsync push --json` in a process of its own that gets SIGINT where the rule strikes."""
    running: list[subprocess.Popen[str]] = []

    def strike(_: Request) -> None:
        running[0].send_signal(signal.SIGINT)
        running[0].wait(60)

    fault = memory.emulator.fault(f"{rule} times=1 latency=0", hook=strike)
    running.append(
        subprocess.Popen(
            [sys.executable, "-m", "memsync", "push", "--json"],
            cwd=memory.root,
            env={**os.environ, **memory.environ},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
    )
    out, err = running[0].communicate(timeout=120)
    assert fault.fired == 1
    memory.emulator.clear_faults()
    return subprocess.CompletedProcess(running[0].args, running[0].returncode, out, err)


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGINT for another process there")
@pytest.mark.parametrize(
    "where",
    [
        "files.create.multipart nth=4",
        "files.create.multipart nth=6 at=after",
        "files.create nth=6 at=after",
    ],
    ids=["before a file", "after a file", "after a folder"],
)
def test_ctrl_c_in_the_mirror_ends_well_and_the_next_push_does_the_rest(
    memory: DriveMemory, where: str
) -> None:
    memory.commit({f"Folder{number % 3}/note{number}.txt": b"%d\n" % number for number in range(9)})
    done = interrupted(memory, where)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    report = json.loads(done.stdout)
    assert (report["status"], report["versions"]) == ("success", 1)
    left = 9 - report["mirror"]["created"]
    assert 0 < left <= 9
    assert [note for note in report["notes"] if f"goes on with {left} file" in note], report
    assert {line["status"] for line in memory.upload_lines()} == {"success"}
    assert tree(memory.clone("other")) == tree(memory.data), "all is safe without the rest of the mirror"
    later = memory.push()
    assert (later.status, later.packs) == ("success", 0)
    assert memory.mirror == tree(memory.data)
    assert [path for path, _, _ in os.walk(memory.root) if "tmp" in os.path.basename(path)] == []
    assert memory.push().status == "nothing"


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGINT for another process there")
def test_ctrl_c_before_the_head_is_told_and_loses_nothing(memory: DriveMemory) -> None:
    memory.commit({"a.txt": b"a\n"})
    done = interrupted(memory, "files.create.multipart nth=2 at=after")
    assert done.returncode == 130
    assert "Traceback" not in done.stderr
    assert memory.heads == []
    assert memory.push().status == "success"
    assert tree(memory.clone("other")) == {"a.txt": b"a\n"}
    assert len(memory.heads) == 1
