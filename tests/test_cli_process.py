"""memsync as a process: what it imports, what it leaves on the screen, how it ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from memstore.store import Store

HEAVY = ("google", "googleapiclient", "rich", "http", "urllib.request", "requests", "tomllib")
"""What `memsync commit` has no use for, where there is no config.toml: up to 250 ms of start-up each."""

SELDOM = (
    "dataclasses",
    "hashlib",
    "random",
    "subprocess",
    "tempfile",
    "filelock",
    "tomllib",
    "memstore.recovery",
    "memstore.entering",
)
"""What a look into history has no use for."""


def memsync(*args: str, cwd: Path, code: int | None = 0, **environ: str) -> subprocess.CompletedProcess[str]:
    unwanted = {"NO_COLOR", "FORCE_COLOR", "MEMSYNC_DEBUG"}
    cleared = {name: value for name, value in os.environ.items() if name not in unwanted}
    done = subprocess.run(
        [sys.executable, "-m", "memsync", *args],
        cwd=cwd,
        env=cleared | {"PYTHONIOENCODING": "utf-8"} | environ,
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert "Traceback" not in done.stderr
    assert code is None or done.returncode == code, done.stdout + done.stderr
    return done


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A workspace with one committed note."""
    with Store.init(tmp_path / "assistant") as store:
        (tmp_path / "assistant" / "Data" / "Core").mkdir(parents=True)
        (tmp_path / "assistant" / "Data" / "Core" / "Rules.txt").write_bytes(b"be kind\n")
        store.commit(note="first")
    return tmp_path / "assistant"


def test_a_commit_imports_nothing_of_drive_or_of_the_web_and_nothing_for_what_is_rare(root: Path) -> None:
    (root / "Data" / "new.txt").write_bytes(b"new\n")
    code = (
        "import sys; from memsync.app import app\n"
        "try: app(['commit', '-m', 'x'], prog_name='memsync')\n"
        "except SystemExit as done: assert not done.code, done.code\n"
        f"print([name for name in {HEAVY + SELDOM!r} if name in sys.modules], file=sys.stderr)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert done.stderr == "[]\n"
    assert "(1 added)" in done.stdout


@pytest.mark.parametrize("args", [["log"], ["log", "Core/Rules.txt"], ["cat", "Core/Rules.txt"], ["ls"]])
def test_a_look_into_history_imports_nothing_that_only_commits_or_repairs_need(
    root: Path, args: list[str]
) -> None:
    code = (
        "import sys; from memsync.app import app\n"
        f"try: app({args!r}, prog_name='memsync')\n"
        "except SystemExit as done: assert not done.code, done.code\n"
        f"unwanted = {(*HEAVY, *SELDOM, 'memstore.actions.commit', 'memstore.writer', 'memstore.crew')!r}\n"
        "print([name for name in unwanted if name in sys.modules], file=sys.stderr)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert done.stderr == "[]\n"


def test_output_that_is_no_terminal_has_no_colours_and_no_progress(root: Path) -> None:
    (root / "Data" / "new.txt").write_bytes(b"new\n")
    for args in (["status"], ["diff"], ["commit"], ["log"], ["show"], ["verify"]):
        done = memsync(*args, cwd=root)
        assert "\x1b" not in done.stdout
        assert done.stderr == ""


def test_force_color_colours_and_no_color_wins(root: Path) -> None:
    assert "\x1b[33m" in memsync("log", cwd=root, FORCE_COLOR="1").stdout
    assert "\x1b" not in memsync("log", cwd=root, FORCE_COLOR="1", NO_COLOR="1").stdout


def test_c_runs_as_if_started_there(root: Path, tmp_path: Path) -> None:
    out = memsync("-C", "assistant", "ls", "Data/Core", cwd=tmp_path).stdout
    assert out.rstrip().endswith("Core/Rules.txt")
    assert memsync("-C", "nowhere", "ls", cwd=tmp_path, code=2).stderr.startswith("memsync: ")


def test_no_workspace_is_bad_input_with_its_mend(tmp_path: Path) -> None:
    done = memsync("commit", cwd=tmp_path, code=8)
    assert "memsync init" in done.stderr
    error = json.loads(memsync("commit", "--json", cwd=tmp_path, code=8).stdout)["error"]
    assert error["code"] == "no_workspace"


def test_cat_gives_back_the_very_bytes(root: Path) -> None:
    content = bytes(range(256)) * 5000 + b"\r\n"
    (root / "Data" / "index.bin").write_bytes(content)
    memsync("commit", cwd=root)
    done = subprocess.run(
        [sys.executable, "-m", "memsync", "cat", "index.bin"], cwd=root, capture_output=True, check=True
    )
    assert done.stdout == content


@pytest.mark.skipif(os.name != "posix", reason="pipes end so on POSIX")
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_reader_that_had_enough_hears_no_complaint(root: Path, unbuffered: str) -> None:
    (root / "Data" / "big.txt").write_bytes(b"line\n" * 500_000)
    memsync("commit", cwd=root)
    reading = subprocess.Popen(
        [sys.executable, "-m", "memsync", "cat", "big.txt"],
        cwd=root,
        env=os.environ | {"PYTHONUNBUFFERED": unbuffered},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert reading.stdout is not None
    assert reading.stderr is not None
    assert reading.stdout.read(5) == b"line\n"
    reading.stdout.close()
    assert reading.stderr.read() == b""
    assert reading.wait() == 141


@pytest.mark.skipif(os.name != "posix", reason="signals are sent so on POSIX")
def test_ctrl_c_is_told_in_a_sentence(root: Path) -> None:
    code = (
        "import os, signal; from memstore.store import Store; from memsync.app import app\n"
        f"Store.status = lambda self: os.kill(os.getpid(), {int(signal.SIGINT)})\n"
        "app(['status'], prog_name='memsync')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (130, "")
    assert done.stderr.startswith("memsync: stopped; what was committed is safe\n")


@pytest.mark.skipif(os.name != "posix", reason="signals are sent so on POSIX")
@pytest.mark.parametrize("module", ["click", "memsync.app", "memsync.invocation", "memsync.commands.status"])
@pytest.mark.parametrize("options", [[], ["--json"]])
def test_ctrl_c_while_memsync_is_being_loaded_is_told_in_the_same_sentence(
    root: Path, module: str, options: list[str]
) -> None:
    code = (
        "import os, sys\n"
        "from memsync.__main__ import main\n"
        "class Stops:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        f"        if name == {module!r}:\n"
        "            sys.meta_path.remove(self)\n"
        f"            os.kill(os.getpid(), {int(signal.SIGINT)})\n"
        "sys.meta_path.insert(0, Stops())\n"
        f"sys.argv = ['memsync', 'status', *{options!r}]\n"
        "main()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 130, done.stderr
    said = "stopped; what was committed is safe"
    if options:
        assert json.loads(done.stdout)["error"]["message"] == said and not done.stderr
    else:
        assert done.stderr.startswith(f"memsync: {said}\n") and not done.stdout


def test_every_command_answers_with_one_document(root: Path, tmp_path: Path) -> None:
    (root / "Data" / "more.txt").write_bytes(b"more\n")
    (root / "Data" / "old.txt").write_bytes(b"old\n")

    def ask(*args: str) -> Any:
        return json.loads(memsync(*args, "--json", cwd=root).stdout)

    assert ask("status")["changes"] == [
        {"path": "more.txt", "change": "add"},
        {"path": "old.txt", "change": "add"},
    ]
    assert [row["path"] for row in ask("diff")["differences"]] == ["more.txt", "old.txt"]
    version = ask("commit", "-m", "more")["version"]
    assert [row["path"] for row in ask("ls")["files"]] == ["Core/Rules.txt", "more.txt", "old.txt"]
    assert ask("show")["version"] == version
    assert ask("cat", "more.txt")["data"] == "more\n"
    assert len(ask("log")["versions"]) == 2
    reference = ask("archive", "old.txt")["changes"][0]["archived_as"]
    assert [row["path"] for row in ask("ls", "Archive/")["files"]] == [reference]
    assert ask("restore", reference)["restored"][0]["path"] == "old.txt"
    assert ask("remote", "set", str(tmp_path / "drive"))["remote"]["last_push"] is None
    assert ask("push")["status"] == "success"
    assert ask("pull")["status"] == "nothing"
    assert ask("remote", "show")["remote"]["last_push"]
    cloned = ask("clone", str(tmp_path / "drive"), str(tmp_path / "clone"))
    assert (cloned["files"], cloned["versions"]) == (3, 4)
    assert ask("verify")["ok"] is True
    assert ask("init")["created"] is False


def test_the_demo_does_the_main_job_and_leaves_nothing_behind(tmp_path: Path) -> None:
    done = memsync("demo", "--json", cwd=tmp_path)
    answer = json.loads(done.stdout)
    assert [step for step in answer["steps"] if step["exit_code"] != 0] == []
    verbs = {step["command"].split()[1] for step in answer["steps"]}
    assert verbs >= {
        "init",
        "commit",
        "log",
        "diff",
        "restore",
        "archive",
        "ls",
        "remote",
        "push",
        "clone",
        "verify",
    }
    assert not Path(answer["folder"]).exists()
    assert answer["folder"] not in json.dumps(answer["steps"])


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs the device that is always full")
@pytest.mark.parametrize("options", [[], ["--json"]])
def test_an_output_that_is_full_is_not_the_stores_disk(root: Path, options: list[str]) -> None:
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", "memsync", "log", *options], cwd=root, stdout=full,
            stderr=subprocess.PIPE, encoding="utf-8", check=False,
        )  # fmt: skip
    assert done.returncode == 8
    assert done.stderr.startswith("memsync: could not write to the output: ")


@pytest.mark.skipif(os.name != "posix", reason="closes the streams by a shell's means")
@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_a_commit_whose_streams_were_closed_by_whoever_starts_it_is_one_like_any_other(
    root: Path, closed: str
) -> None:
    (root / "Data" / "new.txt").write_bytes(b"new\n")
    line = f'exec "$0" -m memsync commit -m unheard {closed}'
    done = subprocess.run(
        ["sh", "-c", line, sys.executable], cwd=root, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    with Store.open(root) as store:
        assert (store.version("HEAD").note, store.read("new.txt")) == ("unheard", b"new\n")
        assert store.verify().ok


def test_the_demo_kept_is_a_workspace_to_play_with(tmp_path: Path) -> None:
    out = memsync(
        "demo", "--keep", cwd=tmp_path, TMPDIR=str(tmp_path), TEMP=str(tmp_path), TMP=str(tmp_path)
    ).stdout
    assert out.count(" $ memsync ") >= 14
    assert "\x1b" not in out
    (kept,) = tmp_path.glob("memsync-demo-*")
    assert "clean" in memsync("status", "--json", cwd=kept / "assistant").stdout
