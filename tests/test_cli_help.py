"""Every command says what it is for, and shows how."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator

import click
import pytest
from click.testing import CliRunner
from memsync.app import PURPOSES, app
from memsync.foreign import FOREIGN

from memstore import __version__

VERBS = [*PURPOSES, "remote set", "remote show"]


def run(*args: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, args, prog_name="memsync")
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.stdout, result.stderr


def commands() -> Iterator[tuple[str, click.Command]]:
    context = click.Context(app, info_name="memsync")
    for verb in PURPOSES:
        command = app.get_command(context, verb)
        assert command is not None
        yield verb, command


@pytest.mark.parametrize("verb", VERBS)
def test_every_help_has_a_purpose_and_two_examples(verb: str) -> None:
    code, out, _ = run(*verb.split(), "--help")
    assert code == 0
    purpose = out.split("\n\n")[1].strip()
    assert purpose.endswith(".")
    assert "\n" not in purpose
    examples = out.partition("Examples:\n")[2]
    assert examples.count(f"memsync {verb.split(maxsplit=1)[0]}") >= 2


def test_the_list_of_commands_says_what_each_commands_help_says() -> None:
    for verb, command in commands():
        assert command.help is not None
        assert command.help.splitlines()[0] == PURPOSES[verb]


@pytest.mark.parametrize("verb", [verb for verb in VERBS if verb != "remote"])
def test_every_command_can_answer_with_json(verb: str) -> None:
    assert "--json" in run(*verb.split(), "--help")[1]


def test_every_example_parses() -> None:
    import shlex

    for _, command in commands():
        for line, _what in getattr(command, "examples", ()):
            command_line = line.partition(" && ")[0].partition(" > ")[0].partition(" >> ")[0]
            words = shlex.split(command_line, comments=True)[1:]
            group: click.Command = app
            context = click.Context(app, info_name="memsync")
            while isinstance(group, click.Group):
                found = group.get_command(context, words.pop(0))
                assert found is not None, line
                group = found
            group.make_context("memsync", words, resilient_parsing=False)


def test_help_lists_every_command_on_a_line_of_its_own() -> None:
    code, out, _ = run("--help")
    assert code == 0
    for verb, purpose in PURPOSES.items():
        assert any(line.split() == [verb, *purpose.split()] for line in out.splitlines()), verb


def test_no_command_at_all_shows_the_help_and_is_wrong_usage() -> None:
    code, out, _ = run()
    assert code == 2
    assert out == run("--help")[1]


def test_a_mistyped_command_suggests_the_near_one() -> None:
    code, out, err = run("comit")
    assert (code, out) == (2, "")
    assert err == "memsync: no such command: comit\n  hint: did you mean 'memsync commit'?\n"
    assert "'memsync --help' lists" in run("xyzzy")[2]


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        (("fetch",), "'memsync pull'"),
        (("Check",), "'memsync verify'"),
        (("prune",), "'memsync gc'"),
        (("rm", "a.txt"), "'memsync archive'"),
        (("reset", "--hard"), "'memsync undo' or 'memsync restore'"),
        (("help",), "'memsync --help'"),
        (("help", "gc"), "'memsync gc --help'"),
    ],
)
def test_the_words_of_other_tools_lead_to_what_does_their_job(words: tuple[str, ...], meant: str) -> None:
    assert run(*words)[2].endswith(f"hint: did you mean {meant}?\n")


def test_what_other_tools_words_lead_to_is_there() -> None:
    for word, meant in FOREIGN.items():
        assert word not in PURPOSES
        for line in meant:
            verb, *options = line.split()
            code, out, _ = run(verb, *(["--help"] if verb in PURPOSES else []))
            assert code == 0
            assert all(option in out for option in options)


@pytest.mark.parametrize(
    ("word", "meant"), [("lgo", "log"), ("lsit", "ls"), ("statsu", "status"), ("gcc", "gc")]
)
def test_a_slip_of_the_fingers_leads_to_the_nearest_command(word: str, meant: str) -> None:
    assert run(word)[2].endswith(f"hint: did you mean 'memsync {meant}'?\n")


@pytest.mark.parametrize("word", ["bogus", "info", "upload", "status-all-of-it"])
def test_a_word_that_is_like_no_command_gets_no_guess(word: str) -> None:
    assert run(word)[2].endswith("hint: 'memsync --help' lists the commands\n")


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (("--json", "status"), "'memsync status --json'"),
        (("-m", "a note", "commit"), "'memsync commit -m'"),
        (("--tag", "x", "status"), "'memsync status --help' has them"),
        (("--josn",), "'memsync COMMAND --help' has them"),
    ],
)
def test_an_option_before_the_command_is_told_where_it_goes(words: tuple[str, ...], hint: str) -> None:
    code, out, err = run(*words)
    if "--json" in words:
        error = json.loads(out)["error"]
        err = f"memsync: {error['message']}\n  hint: {error['hint']}\n"
    assert (code, err) == (
        2,
        f"memsync: no such option before the command: {words[0]}\n  hint: options go behind the command: {hint}\n",
    )


@pytest.mark.parametrize("word", ["forgt", "forge", "forgit", "target", "forgets", "get"])
def test_nobody_is_sent_to_forget_by_spelling(word: str) -> None:
    assert run(word)[2].endswith("hint: 'memsync --help' lists the commands\n")


def test_an_option_without_its_value_points_to_the_help_of_its_command() -> None:
    code, _, err = run("restore", "a.txt", "--at")
    assert code == 2
    assert "'memsync restore --help'" in err


def test_wrong_usage_is_a_document_with_json() -> None:
    for args in (
        ["comit", "--json"],
        ["commit", "--nope", "--json"],
        ["restore", "--json"],
        ["--nope", "--json"],
    ):
        code, out, err = run(*args)
        assert (code, err) == (2, "")
        error = json.loads(out)["error"]
        assert set(error) == {"code", "message", "hint", "retryable"}
        assert error["code"] == "usage"
        assert error["retryable"] is False


def test_a_file_called_json_after_the_dashes_asks_for_no_document() -> None:
    code, out, err = run("pull", "--", "--json")
    assert (code, out) == (2, "")
    assert err.startswith("memsync: ")


def test_a_missing_folder_after_capital_c_is_wrong_usage() -> None:
    code, _, err = run("-C", os.path.join("no", "such", "folder"), "status")
    assert code == 2
    assert "no" in err
    assert "Traceback" not in err


def test_completion_prints_the_line_for_the_shell(monkeypatch: pytest.MonkeyPatch) -> None:
    code, out, _ = run("completion", "bash")
    assert code == 0
    assert out.splitlines()[-1] == 'eval "$(_MEMSYNC_COMPLETE=bash_source memsync)"'
    monkeypatch.setenv("SHELL", "/usr/bin/fish")
    assert "fish_source" in run("completion")[1]
    monkeypatch.setenv("SHELL", "/bin/tcsh")
    assert run("completion")[0] == 8


def complete(line: str) -> list[str]:
    environ = os.environ | {
        "_MEMSYNC_COMPLETE": "bash_complete",
        "COMP_WORDS": line,
        "COMP_CWORD": str(len(line.split(" ")) - 1),
    }
    done = subprocess.run(
        [sys.executable, "-m", "memsync"], env=environ, capture_output=True, text=True, check=False
    )
    return [row.partition(",")[2] for row in done.stdout.splitlines()]


def test_the_shell_completes_commands_and_options() -> None:
    assert complete("memsync com") == ["commit", "completion"]
    assert "--note" in complete("memsync commit --n")
    assert complete("memsync remote s") == ["set", "show"]


def test_version_prints_the_librarys_version() -> None:
    assert run("--version") == (0, f"memsync {__version__}\n", "")
