"""What each command that does something says, and the code it ends with, for every answer of the library."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from click.testing import CliRunner
from memsync.app import app

from memstore import errors
from memstore.manifest.version import ChangeKind
from memstore.reports import (
    CommitReport,
    MirrorCounts,
    PendingChange,
    Problem,
    PullConflict,
    PullReport,
    PushReport,
    RemoteStatus,
    Restored,
    RestoreReport,
    StatusReport,
    VerifyReport,
)
from tests.cli_fake_store import CONTENT, ONE, TWO, FakeStore, change, document, open_fake, run, version


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeStore:
    fake = open_fake(tmp_path, monkeypatch)
    fake.workspace.token_path = str(tmp_path / "drive_token.json")
    return fake


# -- commit, archive -----------------------------------------------------------------------------------------


def test_commit_passes_everything_that_was_said_on(store: FakeStore) -> None:
    store.answers["commit_report"] = CommitReport(None)
    result = run(
        "commit", "Core/Rules.txt", "-m", "note", "--tag", "a", "--tag", "b", "--chat", "c", "--reason", "r",
        "--actor", "x", "--allow-deletions",
    )  # fmt: skip
    assert (result.exit_code, result.stdout) == (0, "nothing changed\n")
    arguments, options = store.asked["commit_report"]
    assert arguments == (["Core/Rules.txt"],)
    assert options == {
        "note": "note",
        "context_tags": ("a", "b"),
        "chat_name": "c",
        "reason": "r",
        "actor": "x",
        "allow_deletions": True,
    }
    assert store.closed
    run("commit")
    assert store.asked["commit_report"][0] == (None,)


def test_commit_shows_a_head_line_and_a_line_for_each_change(store: FakeStore) -> None:
    store.answers["commit_report"] = CommitReport(
        version(
            ONE,
            change("a.txt"),
            change("b.txt", ChangeKind.APPEND),
            change("c.txt", ChangeKind.REPLACE, "Archive/c_2025-04-23T14-02-00Z.txt"),
        )
    )
    assert run("commit").stdout.splitlines() == [
        f"{str(ONE)[:12]} first  (1 added, 1 appended, 1 replaced)",
        "  add      a.txt",
        "  append   b.txt",
        "  replace  c.txt  → Archive/c_2025-04-23T14-02-00Z.txt",
    ]


def test_a_long_list_of_changes_is_cut_for_people_and_whole_for_programs(store: FakeStore) -> None:
    changes = [change(f"{number:03}.txt") for number in range(25)]
    store.answers["commit_report"] = CommitReport(version(ONE, *changes))
    lines = run("commit").stdout.splitlines()
    assert len(lines) == 22
    assert lines[-1] == f"  … and 5 more (memsync show {str(ONE)[:12]})"
    assert len(document(run("commit", "--json"))["changes"]) == 25


def test_a_warning_goes_to_stderr_and_makes_the_exit_code_1(store: FakeStore) -> None:
    store.answers["commit_report"] = CommitReport(version(), ("x.txt could not be read: permission denied",))
    result = run("commit")
    assert result.exit_code == 1
    assert result.stderr == "warning: x.txt could not be read: permission denied\n"
    result = run("commit", "--json")
    assert (result.exit_code, result.stderr) == (1, "")
    assert document(result)["warnings"] == ["x.txt could not be read: permission denied"]


def test_an_escape_sequence_in_a_name_never_reaches_the_terminal(store: FakeStore) -> None:
    store.answers["commit_report"] = CommitReport(
        version(ONE, change("evil\x1b[2J\n.txt"), note="x\x1b]0;y\x07"), ("bad\x1b[1m",)
    )
    result = run("commit")
    assert "\x1b" not in result.stdout + result.stderr
    assert "evil\\x1b[2J\\n.txt" in result.stdout


def test_archive_keeps_the_file_only_when_asked_to(store: FakeStore) -> None:
    store.answers["archive"] = CommitReport(
        version(ONE, change("Core/Rules.txt", ChangeKind.ARCHIVE, "Archive/x.txt"))
    )
    assert "  archive  Core/Rules.txt  → Archive/x.txt" in run("archive", "Core/Rules.txt", "--keep").stdout
    assert store.asked["archive"][1] == {"reason": "", "note": "", "actor": "", "keep": True}


# -- errors --------------------------------------------------------------------------------------------------

FAILURES = [
    (errors.UsageError("u", hint="h"), 2),
    (errors.Conflict("c", hint="h"), 3),
    (errors.NotLoggedIn("n", hint="memsync login"), 4),
    (errors.RemoteTrouble("r", hint="h"), 5),
    (errors.RemoteMissing("r", hint="h"), 5),
    (errors.DamagedData("d", hint="h"), 6),
    (errors.StoreLocked("l", hint="h"), 7),
    (errors.BadInput("b", hint="h"), 8),
    (errors.DiskTrouble("d", hint="h"), 8),
]


@pytest.mark.parametrize(("error", "code"), FAILURES, ids=[error.code for error, _ in FAILURES])
def test_each_error_has_its_exit_code_its_hint_and_its_document(
    store: FakeStore, error: errors.MemsyncError, code: int
) -> None:
    store.answers["commit_report"] = error
    result = run("commit")
    assert (result.exit_code, result.stdout) == (code, "")
    assert result.stderr == f"memsync: {error.message}\n  hint: {error.hint}\n"
    result = run("commit", "--json")
    assert (result.exit_code, result.stderr) == (code, "")
    assert document(result) == {
        "error": {
            "code": error.code,
            "message": error.message,
            "hint": error.hint,
            "retryable": error.retryable,
        }
    }


def test_a_fault_of_ours_is_a_sentence_and_a_traceback_only_for_debugging(
    store: FakeStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.answers["commit_report"] = ZeroDivisionError("oh")
    result = run("commit")
    assert result.exit_code == 70
    assert result.stderr.startswith(
        "memsync: internal error, which is a fault in memsync: ZeroDivisionError: oh"
    )
    assert document(run("commit", "--json"))["error"]["code"] == "internal"
    monkeypatch.setenv("MEMSYNC_DEBUG", "1")
    debugged = CliRunner().invoke(app, ["commit"], prog_name="memsync")
    assert debugged.exit_code == 70
    assert "Traceback" in debugged.stderr


def test_a_refusal_of_the_disk_names_the_file(store: FakeStore) -> None:
    store.answers["commit_report"] = PermissionError(13, "Permission denied", "Data/secret.txt")
    result = run("commit")
    assert result.exit_code == 8
    assert "Data/secret.txt: Permission denied" in result.stderr


def test_ctrl_c_ends_with_130_and_a_sentence(store: FakeStore) -> None:
    store.answers["push"] = KeyboardInterrupt()
    result = run("push")
    assert result.exit_code == 130
    assert "what was committed is safe" in result.stderr
    assert document(run("push", "--json"))["error"]["retryable"] is True


def test_a_closed_pipe_is_no_error_to_tell(store: FakeStore) -> None:
    store.answers["commit_report"] = BrokenPipeError(32, "Broken pipe")
    result = run("commit")
    assert (result.exit_code, result.stdout, result.stderr) == (141, "", "")


# -- status --------------------------------------------------------------------------------------------------


def test_status_says_where_things_stand_and_what_to_type_next(store: FakeStore) -> None:
    store.answers["status"] = StatusReport(
        ONE,
        (PendingChange("new.txt", ChangeKind.ADD), PendingChange("old.txt", ChangeKind.DELETE)),
        2,
        1_745_416_920_000,
        ("Rules (from laptop 2025-04-23T14-02-00Z).txt",),
        RemoteStatus("/mnt/drive", 1_745_416_920_000, "the disk is full", 1_745_416_921_000),
    )
    out = run("status").stdout
    for said in (
        str(ONE)[:12], "first", "/mnt/drive", "2 versions to push", "the disk is full", "1 added, 1 deleted",
        "  add      new.txt", "  delete   old.txt", "Rules (from laptop 2025-04-23T14-02-00Z).txt",
        "next    memsync commit",
    ):  # fmt: skip
        assert said in out
    assert document(run("status", "--json"))["unpushed"] == 2


@pytest.mark.parametrize(
    ("report", "following"),
    [
        (StatusReport(None, (), 0, None, (), None), "put files into the memory folder"),
        (StatusReport(ONE, (), 0, None, (), None), "memsync remote set"),
        (StatusReport(ONE, (), 3, 1, (), RemoteStatus("/x")), "memsync push"),
    ],
)
def test_status_names_the_next_step(store: FakeStore, report: StatusReport, following: str) -> None:
    store.answers["status"] = report
    assert following in run("status").stdout.splitlines()[-1]


def test_status_has_no_next_step_when_all_is_done(store: FakeStore) -> None:
    store.answers["status"] = StatusReport(ONE, (), 0, None, (), RemoteStatus("/x", 1_745_416_920_000))
    assert "next" not in run("status").stdout


def test_a_day_of_unpushed_versions_is_a_warning(store: FakeStore) -> None:
    store.answers["status"] = StatusReport(
        ONE, (), 3, 1, (), RemoteStatus("/x"), ("3 versions have waited for a push for more than 24 hours",)
    )
    result = run("status")
    assert result.exit_code == 0, "a look at the state of things does not fail"
    assert result.stderr.startswith("warning: 3 versions have waited")


def test_status_says_what_a_remote_that_was_never_pushed_to_has(store: FakeStore) -> None:
    store.answers["status"] = StatusReport(None, (), 0, None, (), RemoteStatus("/x"))
    assert "remote  /x  nothing to push yet\n" in run("status").stdout
    store.answers["status"] = StatusReport(ONE, (), 0, None, (), RemoteStatus("/x"))
    assert "remote  /x  all versions are there\n" in run("status").stdout
    assert "apart" not in run("status").stdout
    store.heads.append(TWO)
    out = run("status").stdout
    assert "\napart   there are versions here that were made apart from HEAD" in out
    assert out.splitlines()[-1] == "next    memsync push --pull"


def test_status_names_the_login_that_a_push_lacked(store: FakeStore, tmp_path: Path) -> None:
    store.answers["status"] = StatusReport(
        ONE, (), 1, 1, (), RemoteStatus("drive:", None, "Drive token missing", 1_745_416_921_000)
    )
    assert run("status").stdout.endswith("next    memsync login\n")
    (tmp_path / "drive_token.json").write_text("{}")
    assert run("status").stdout.endswith("next    memsync push\n")


@pytest.mark.parametrize(("gone", "held"), [(10, False), (11, True)])
def test_status_warns_of_deletions_that_commit_holds_back(store: FakeStore, gone: int, held: bool) -> None:
    changes = tuple(PendingChange(f"{number}.txt", ChangeKind.DELETE) for number in range(gone))
    store.answers["status"] = StatusReport(ONE, changes, 0, None, (), None)
    assert ("--allow-deletions" in run("status").stdout) is held


# -- restore -------------------------------------------------------------------------------------------------


def test_restore_says_what_came_from_where_and_what_was_saved_first(store: FakeStore) -> None:
    store.answers["restore"] = RestoreReport(
        TWO, (Restored("Core/Rules.txt", CONTENT, str(ONE)), Restored("late.txt", None, str(ONE))), ONE
    )
    lines = run("restore", "Core/Rules.txt", "--at", "2025-04-23", "--exact").stdout.splitlines()
    assert lines[0] == f"{str(ONE)[:12]} saved first: what was not committed there"
    assert lines[1] == f"{str(TWO)[:12]} restored 1 file, removed 1"
    assert lines[2].startswith(f"  Core/Rules.txt  ← {str(ONE)[:12]}  2025-04-2")
    assert lines[3] == "  delete   late.txt"
    assert store.asked["restore"][1] == {"at": "2025-04-23", "to": None, "exact": True}
    store.answers["restore"] = RestoreReport(TWO, (Restored("late.txt", None, str(ONE)),), None)
    assert run("restore", ".", "--exact").stdout.startswith(f"{str(TWO)[:12]} removed 1 file\n")


def test_a_version_that_is_none_and_an_id_for_a_path_are_told_apart(store: FakeStore) -> None:
    for nonsense in ("ID", "HEAD~x"):
        result = run("restore", "Core", "--at", nonsense)
        assert result.exit_code == 8
        assert f"neither a version nor a time: '{nonsense}'" in result.stderr
        assert "8 or more digits" in result.stderr
    assert "memsync restore PATH --at 02694bb8" in run("restore", "02694bb8").stderr
    assert "an id needs 8 or more digits" in run("show", "abc").stderr
    assert "a note goes behind -m" in run("commit", "my note").stderr


def test_restore_to_another_place_passes_it_absolute(store: FakeStore) -> None:
    store.answers["restore"] = RestoreReport(None, (Restored("Core/Rules.txt", CONTENT, str(ONE)),), None)
    assert "wrote 1 file to then" in run("restore", "Core", "--to", "then").stdout
    assert store.asked["restore"][1]["to"] == os.path.abspath("then")


def test_restore_of_what_is_there_already_shows_the_librarys_note(store: FakeStore) -> None:
    note = "Core/Rules.txt has that content already; see memsync log Core/Rules.txt"
    store.answers["restore"] = RestoreReport(None, (), None, (note,))
    result = run("restore", "Core/Rules.txt")
    assert (result.exit_code, result.stdout) == (0, note + "\n")


# -- the remote ----------------------------------------------------------------------------------------------


def test_push_says_what_was_sent_in_two_lines(store: FakeStore) -> None:
    store.answers["push"] = PushReport(
        "success", 3, 5, 1, 1200, 4, 1, MirrorCounts(2, 1, 1, 7, 0), ("a note",)
    )
    result = run("push", "Core")
    assert result.exit_code == 0
    assert result.stdout.splitlines() == [
        "sent 3 versions (5 objects, 1 pack, 1.2 KB, 4 requests)",
        "mirror: 2 created, 1 updated, 1 moved to Archive/",
        "a note",
    ]
    assert store.asked.pop("push") == ((["Core"],), {"mirror": True, "dry_run": False, "pull": None})
    run("push", "--no-mirror")
    assert store.asked.pop("push") == ((None,), {"mirror": False, "dry_run": False, "pull": None})
    assert run("push", "Core", "--no-mirror").exit_code == 2
    assert run("push", "--dry-run").stdout.startswith(
        "would send 3 versions (5 objects, 1 pack, about 1.2 KB, 4 requests)"
    )


def test_a_push_of_the_mirrors_rest_does_not_count_versions_it_did_not_send(store: FakeStore) -> None:
    store.answers["push"] = PushReport("success", bytes_sent=1200, mirror=MirrorCounts(2))
    assert run("push").stdout.splitlines() == [
        "no new versions to send: the remote has every one (1.2 KB)",
        "mirror: 2 created",
    ]
    store.answers["push"] = PushReport("success")
    assert run("push").stdout == "no new versions to send: the remote has every one\n"


def test_a_push_with_nothing_to_send_says_so(store: FakeStore) -> None:
    store.answers["push"] = PushReport("nothing")
    assert run("push").stdout == "nothing to push: the remote has every version\n"
    store.versions.clear()
    assert run("push").stdout == "nothing to push: nothing is committed yet\n"


def test_a_failed_push_prints_its_own_document_and_ends_with_the_errors_code(store: FakeStore) -> None:
    error = errors.RemoteTrouble("the disk is gone", hint="plug it in and run 'memsync push' again")
    store.answers["push"] = PushReport("fail", error=error.as_json(), exit_code=5)
    result = run("push")
    assert (result.exit_code, result.stdout) == (5, "")
    assert result.stderr == "memsync: the disk is gone\n  hint: plug it in and run 'memsync push' again\n"
    result = run("push", "--json")
    assert (result.exit_code, result.stderr) == (5, "")
    assert document(result)["status"] == "fail"
    assert document(result)["error"]["code"] == "remote_trouble"


@pytest.mark.parametrize("verb", ["push", "pull"])
@pytest.mark.parametrize("error", [errors.BadInput("no remote is set"), errors.RemoteTrouble("gone")])
def test_a_failed_exchange_is_its_own_document_with_the_error_in_it(
    store: FakeStore, verb: str, error: errors.MemsyncError
) -> None:
    store.answers[verb] = error
    result = run(verb, "--json")
    assert result.exit_code == error.exit_code
    assert document(result)["status"] == "fail"
    assert document(result)["error"] == error.as_json()
    assert run(verb).exit_code == error.exit_code


def test_a_push_that_pulls_first_tells_of_both(store: FakeStore) -> None:
    store.answers["push"] = PushReport("success", 1, pulled=PullReport("success", TWO, ("a.txt",)))
    result = run("push", "--pull")
    assert result.exit_code == 0
    assert store.asked["push"][1]["pull"] is True
    assert "is the newest version now" in result.stdout
    assert document(run("push", "--pull", "--json"))["pull"]["merged"] == ["a.txt"]
    kept = PullReport("conflict", TWO, (), (PullConflict("a.txt", "a (from x 2025-04-23T14-02-00Z).txt"),))
    store.answers["push"] = PushReport("success", 1, pulled=kept)
    assert run("push", "--pull").exit_code == 1
    store.answers["push"] = PushReport("success", 1)
    assert run("push").exit_code == 0
    assert store.asked["push"][1]["pull"] is None, "as it is configured"


def test_a_push_sends_what_is_here_even_where_the_pull_failed(store: FakeStore) -> None:
    error = errors.DamagedData("a content cannot be read", hint="run 'memsync verify'")
    store.answers["push"] = PushReport("success", 1, 2, 1, 100, pull_error=error.as_json(), exit_code=6)
    result = run("push", "--pull")
    assert result.exit_code == 6
    assert result.stdout.startswith("sent 1 version (")
    assert result.stderr == "memsync: a content cannot be read\n  hint: run 'memsync verify'\n"
    result = run("push", "--pull", "--json")
    assert (result.exit_code, document(result)["status"]) == (6, "success")
    assert document(result)["pull"]["error"]["code"] == "damaged"


def test_a_pull_says_what_it_brought(store: FakeStore) -> None:
    kept = PullConflict("Rules.txt", "Rules (from laptop 2025-04-23T14-02-00Z).txt")
    store.answers["pull"] = PullReport("conflict", TWO, ("a.txt",), (kept,), warnings=("both were kept",))
    result = run("pull")
    assert result.exit_code == 1
    assert f"{str(TWO)[:12]} is the newest version now  merged 1 file" in result.stdout
    assert "the other side is Rules (from laptop" in result.stdout
    assert store.asked["pull"][1] == {"on_conflict": "keep-both"}
    store.answers["pull"] = PullReport("conflict", TWO, (), (PullConflict("Rules.txt", None),))
    result = run("pull", "--on-conflict", "ours")
    assert (result.exit_code, store.asked["pull"][1]) == (1, {"on_conflict": "ours"})
    assert "the other side is in history" in result.stdout
    assert run("pull", "--on-conflict", "newest").exit_code == 2
    store.answers["pull"] = PullReport("nothing", ONE)
    assert run("pull").stdout == "nothing to pull: every version of the remote is here\n"
    store.answers["pull"] = errors.Conflict("versions were made apart", hint="look at both")
    assert run("pull").exit_code == 3
    result = run("pull", "--json")
    assert (result.exit_code, document(result)["status"]) == (3, "conflict")
    assert document(result)["conflicts"] == []
    store.answers["pull"].paths = ("Rules.txt",)
    assert document(run("pull", "--json"))["conflicts"] == [{"path": "Rules.txt", "kept_as": None}]


def test_remote_show_is_null_for_programs_when_none_is_set(store: FakeStore) -> None:
    store.answers["remote"] = None
    assert document(run("remote", "show", "--json")) == {"remote": None}
    assert "memsync remote set" in run("remote", "show").stdout
    store.answers["remote"] = RemoteStatus("/mnt/x", None, "full", 1_745_416_920_000)
    assert run("remote", "show").stdout.splitlines()[:2] == ["remote: /mnt/x", "last push: never"]
    assert run("remote").stdout == run("remote", "show").stdout
    assert run("remote", "--json").stdout == run("remote", "show", "--json").stdout
    assert run("remote", "--json", "show").exit_code == 2


def test_remote_set_passes_the_address_on(store: FakeStore) -> None:
    store.answers["set_remote"] = RemoteStatus("drive:MemoryVDB")
    assert run("remote", "set", "drive:").stdout.startswith("remote: drive:MemoryVDB\n")
    assert store.asked["set_remote"][0] == ("drive:",)
    assert run("remote", "forget").exit_code == 2


def test_remote_set_names_the_next_step_and_what_is_not_there_yet(store: FakeStore, tmp_path: Path) -> None:
    store.answers["set_remote"] = RemoteStatus("drive:")
    assert run("remote", "set", "drive:").stdout == "remote: drive:\nnext: memsync login\n"
    (tmp_path / "drive_token.json").write_text("{}")
    assert run("remote", "set", "drive:").stdout == "remote: drive:\nnext: memsync push\n"
    store.answers["set_remote"] = RemoteStatus(str(tmp_path / "Drive"))
    lines = run("remote", "set", "Drive").stdout.splitlines()[1:]
    assert lines == [
        "this folder is not there yet; the first push makes it",
        "(for Google Drive write 'drive:')",
        "next: memsync push",
    ]
    (tmp_path / "empty").mkdir()
    store.answers["set_remote"] = RemoteStatus(str(tmp_path / "empty"))
    assert len(run("remote", "set", "empty").stdout.splitlines()) == 2
    store.answers["set_remote"] = RemoteStatus(str(tmp_path))
    assert "this folder holds other files" in run("remote", "set", str(tmp_path)).stdout
    (tmp_path / ".memsync").mkdir(exist_ok=True)
    assert len(run("remote", "set", str(tmp_path)).stdout.splitlines()) == 2
    store.answers["set_remote"] = RemoteStatus(str(tmp_path / "not" / "there"))
    assert "not is not there: mount" in run("remote", "set", "not/there").stdout


# -- care ----------------------------------------------------------------------------------------------------


def test_verify_ends_with_6_and_names_each_problem_and_its_mend(store: FakeStore) -> None:
    store.answers["verify"] = VerifyReport(
        12, 34567, (Problem("damaged_object", str(CONTENT), ("Core/Rules.txt",), "memsync verify"),), 3
    )
    result = run("verify")
    assert result.exit_code == 6
    assert result.stdout.splitlines() == [
        "1 problem found in 3 versions, 12 objects (34.6 KB)",
        f"  damaged object  {str(CONTENT)[:12]}",
        "      Core/Rules.txt",
        "      hint: memsync verify",
    ]
    assert document(run("verify", "--json"))["ok"] is False


def test_verify_of_a_whole_store_says_so(store: FakeStore) -> None:
    store.answers["verify"] = VerifyReport(12, 34567, (), 3)
    store.answers["remote"] = RemoteStatus("/mnt/x")
    result = run("verify", "--remote", "--read-data")
    whole = "all whole: 3 versions, 12 objects (34.6 KB)\n"
    assert (result.exit_code, result.stdout) == (0, whole + "on the remote (/mnt/x) nothing is missing\n")
    assert run("verify").stdout == whole
    store.answers["verify"] = VerifyReport(0, 0, (), 3, quick=True)
    said = "structure whole: 3 versions; contents were not read ('memsync verify' reads them)\n"
    assert run("verify", "--quick").stdout == said
    assert document(run("verify", "--quick", "--json"))["quick"] is True
    store.answers["verify"] = VerifyReport(12, 34567, (Problem("remote_missing_pack", "ab", (), ""),), 3)
    assert run("verify", "--remote").stdout.endswith("on the remote (/mnt/x) 1 problem found\n")
    run("verify", "--remote", "--read-data")
    assert store.asked["verify"][1] == {"remote": True, "quick": False, "read_data": True}
    assert run("verify", "--read-data").exit_code == 2
