"""Files that are asked for before they are read: all of them where they are not in the system's cache, and none where
they are."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from memstore import read_ahead

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux says what is in its cache")


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The files that the system was asked for."""
    files: list[str] = []

    def advise(descriptor: int, offset: int, length: int, advice: int) -> None:
        assert (offset, length, advice) == (0, 0, os.POSIX_FADV_WILLNEED)
        files.append(os.readlink(f"/proc/self/fd/{descriptor}"))

    monkeypatch.setattr(os, "posix_fadvise", advise)
    return files


@pytest.fixture
def places(tmp_path: Path) -> list[str]:
    notes = [tmp_path / f"{number}.md" for number in range(5)]
    for note in notes:
        note.write_text("a note\n")
    return [str(note) for note in notes]


def uncached(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    """Let the system say of these files that they are not in its cache."""

    def read(descriptor: int, buffers: list[bytearray], offset: int, flags: int) -> int:
        assert flags == os.RWF_NOWAIT
        if os.path.basename(os.readlink(f"/proc/self/fd/{descriptor}")) in names:
            raise BlockingIOError
        return 1

    monkeypatch.setattr(os, "preadv", read)


@pytest.mark.parametrize("name", ["0.md", "2.md", "4.md"])
def test_all_are_asked_for_where_one_that_is_looked_at_is_not_in_the_cache(
    places: list[str], asked: list[str], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    uncached(monkeypatch, name)
    read_ahead.read_ahead(places)
    assert asked == places


def test_none_is_asked_for_where_they_are_in_the_cache(places: list[str], asked: list[str]) -> None:
    read_ahead.read_ahead(places)  # they were written just now
    read_ahead.read_ahead([])
    assert asked == []


def test_what_is_gone_or_a_link_is_left_to_whoever_reads_it(
    places: list[str], asked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    uncached(monkeypatch, "4.md")
    os.remove(places[0])
    os.remove(places[1])
    os.symlink(places[3], places[1])
    read_ahead.read_ahead(places)
    assert asked == places[2:]


def test_a_file_system_without_an_answer_is_not_asked(
    places: list[str], asked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> int:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(os, "preadv", refuse)
    read_ahead.read_ahead(places)
    assert asked == []


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="named pipes are POSIX")
def test_a_pipe_in_a_files_place_is_not_waited_for(
    tmp_path: Path, places: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    uncached(monkeypatch, "0.md")
    os.mkfifo(tmp_path / "pipe")
    read_ahead.read_ahead([places[0], str(tmp_path / "pipe")])
