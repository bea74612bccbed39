"""A hint that is a command can be typed as it stands, whatever the path is called."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from memstore.errors import typed
from tests.command_line import posix, run, surviving
from tests.folder_place import Place

NAMES = [
    "Rules.txt",
    "My Rules.txt",
    "Anna's Rules.txt",
    "Überblick.txt",
    "~Rules.txt",
    "-n.txt",
    pytest.param('He said "no" $HOME.txt', marks=posix),
]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    yield from surviving(tmp_path, monkeypatch)


@pytest.mark.parametrize("text", ["a b", "a'b", 'a"b', "$a `b` \\ !c", "ä;b", "a\nb", "a~1", "~/a", "a'b\"c"])
def test_a_shell_reads_what_is_typed_as_that_one_word(text: str) -> None:
    assert shlex.split(typed(text)) == [text]


def test_what_needs_no_quotes_has_none_and_no_word_is_an_option() -> None:
    assert [typed(text) for text in ("Core/Rules.txt", "HEAD~1", "Übersicht.md")] == [
        "Core/Rules.txt",
        "HEAD~1",
        "Übersicht.md",
    ]
    assert (typed("-n"), typed("")) == ("./-n", ".")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "asked",
    [
        ["restore", "--", "{path}"],  # it is there already: log, and restore the one before
        ["archive", "--", "{gone}"],  # it is not there any more: log
        ["cat", "--", "{first}:{late}"],  # that version did not have it yet: log
        ["restore", "--at", "{first}", "--", "{late}"],
    ],
)
def test_the_command_in_a_hint_works_as_it_is_written(place: Place, name: str, asked: list[str]) -> None:
    first = str(place.commit({"Other.txt": b"1"}))[:12]
    place.commit({name: b"one", f"gone/{name}": b"x", f"late/{name}": b"y"})
    place.commit({name: b"two"})
    (place.data / "gone" / name).unlink()
    run("commit")
    paths = {"path": name, "gone": f"gone/{name}", "late": f"late/{name}", "first": first}
    result = run(*[word.format(**paths) for word in asked])
    lines = re.findall(r"'(memsync (?:log|restore) .*?)'(?= (?:shows|brings))", result.output)
    assert lines, result.output
    for line in lines:
        done = run(*shlex.split(line)[1:])
        assert done.exit_code == 0, (line, done.output)
