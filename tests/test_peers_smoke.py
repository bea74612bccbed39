"""The comparison with git, restic and borg runs, at sizes that say nothing: only that it works is claimed."""

from __future__ import annotations

import json
import os
import struct
from pathlib import Path
from xml.etree import ElementTree

import pytest

from benchmarks import growth, growth_picture, peers, peers_bench, peers_rows
from benchmarks.peers_corpora import DIMENSIONS, Prose, note, prose
from benchmarks.peers_indexes import ADDED, LAYOUTS
from benchmarks.peers_measure import BenchError, Job, run
from benchmarks.peers_reach import at_most, both, of, of_best, of_second, ratio
from benchmarks.peers_tools import Git, installed
from memstore import files

pytestmark = pytest.mark.skipif(not files.POSIX, reason="the peers are at home on POSIX")

HERE, ABSENT = installed(["memsync", "git", "restic", "borg"])
SLOW = ("grown-index", "history-cost")
"""Rows whose smallest size still takes seconds; `make peers` runs them."""

TINY = ("--scale", "0.0003", "--runs", "1", "--tmpfs", "", "--keep-cache")
ROWS_OF_ALL = "first,one-note"
"""Restic takes its time to open a store, so that not every row is tried with every peer."""


@pytest.fixture(autouse=True)
def _sizes_of_a_trial(monkeypatch: pytest.MonkeyPatch) -> None:
    """Histories as short as can be: their building is what lasts."""
    monkeypatch.setattr(peers_bench, "VERSIONS", 0)
    monkeypatch.setattr(peers_bench, "LEAST_VERSIONS", 8)
    monkeypatch.setattr(peers_bench, "YOUNG", 0)
    monkeypatch.setattr(peers_bench, "LEAST_YOUNG", 4)
    monkeypatch.setattr(peers_rows, "PAIRS_A_RUN", 1)


def test_every_row_gives_figures_of_memsync_and_git(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    document = tmp_path / "benchmarks.md"
    chosen = [row.key for row in peers.ROWS if row.key not in SLOW]
    given = ["--work", str(tmp_path), "--peers", "git", "--write", str(document), "--json", *TINY]
    assert peers.main([*given, "--rows", ",".join(chosen)]) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert {row["row"] for row in rows} == {*chosen}
    left_out = {"first-cold", "replay", "replay-catalogue"}
    assert {row["row"] for row in rows if "memsync" not in row["figures"]} == left_out
    assert all(value > 0 for row in rows for value in row["figures"].values())
    if "git" in HERE:
        beside_git = {row["row"] for row in rows if "git" in row["figures"]}
        assert {"first", "clone", "log", "log-path", "push-line", "push-hnsw"} <= beside_git
    text = document.read_text(encoding="utf-8")
    assert "a trial of the bench, not a measurement" in text
    assert text.count("| work |") == 2
    assert str(tmp_path) not in text and os.sep + "home" not in text


@pytest.mark.skipif(len(HERE) == 1, reason="no peer is installed here")
def test_all_peers_that_are_installed_do_the_same_work(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = tmp_path / "results.json"
    given = ["--work", str(tmp_path), "--results", str(kept), "--json", *TINY]
    assert peers.main([*given, "--rows", ROWS_OF_ALL]) == 0
    printed = capsys.readouterr()
    document = json.loads(printed.out)
    assert document["absent"] == ABSENT
    assert all(f"{name} is not installed here" in printed.err for name in ABSENT)
    figures = {row["row"]: set(row["figures"]) for row in document["rows"]}
    assert figures["first"] == figures["one-note"] == set(HERE)
    # What was measured stays known to a run of other rows, and its memory counts.
    assert peers.main([*given, "--rows", "memory"]) == 0
    rows = {row["row"]: row for row in json.loads(capsys.readouterr().out)["rows"]}
    assert set(rows) == {*ROWS_OF_ALL.split(","), "memory"}
    if os.path.isdir("/proc/self/task"):
        assert rows["memory"]["figures"]["memsync"] > 1e6


def test_the_growth_of_a_small_store_is_measured_and_drawn(tmp_path: Path) -> None:
    picture = tmp_path / "growth.svg"
    given = ["--work", str(tmp_path), "--runs", "1", "--files", "8", "--versions", "4"]
    assert growth.main([*given, "--write", str(picture)]) == 0
    text = picture.read_text(encoding="utf-8")
    assert text.count("<polyline") == len(growth.FILE_LINES) + len(growth.VERSION_LINES)
    assert str(tmp_path) not in text


def test_the_picture_is_whole_and_stays_in_its_frame() -> None:
    lines = {"commit <of one>": [(1000, 3.0), (100_000, 30.0)], "log": [(1000, 500.0), (100_000, 1200.0)]}
    svg = ElementTree.fromstring(growth_picture.draw([growth_picture.Panel("files", lines)], "a & b"))
    width, height = float(svg.attrib["width"]), float(svg.attrib["height"])
    drawn = [line.attrib["points"] for line in svg.iter("{http://www.w3.org/2000/svg}polyline")]
    assert len(drawn) == 2
    for x, y in (map(float, point.split(",")) for points in drawn for point in points.split()):
        assert 0 < x < width and 0 < y < height


def test_a_tool_that_fails_stops_the_bench_with_its_words(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="no-such-verb"):
        run(Job([os.path.realpath("/bin/sh"), "-c", "echo no-such-verb >&2; exit 3"], str(tmp_path)), {})


def test_an_absent_peer_has_no_version(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert Git.version() == ""
    assert installed(["memsync", "git"])[1] == ["git"]


def test_what_is_reached_is_told_from_the_figures() -> None:
    figures = {"memsync": 3.0, "git": 2.0, "restic": 10.0, "borg": 40.0}
    assert of_best(1.5).met(figures) is True
    assert of_best(1.4).met(figures) is False
    assert both(of("git", 2.0), of_second(0.3)).met(figures) is True
    assert both(of("git", 2.0), of_second(0.2)).met(figures) is False
    assert of_best(1.0).met({"memsync": 3.0}) is None
    assert of("borg", 1.0).met({"memsync": 3.0, "git": 2.0}) is None
    assert at_most(2.5, "2.5").met(figures) is False
    assert ratio(figures) == 1.5


@pytest.mark.parametrize("layout", LAYOUTS)
def test_an_index_that_grew_has_its_old_vectors_and_20_more(layout: str) -> None:
    index = LAYOUTS[layout](200)
    before, after = (b"".join(index.pieces(generation)) for generation in (0, 1))
    assert b"".join(LAYOUTS[layout](200).pieces(0)) == before, "the same bytes in every run"
    assert struct.unpack_from("<iq", before, 4) == (DIMENSIONS, 200)
    assert struct.unpack_from("<iq", after, 4) == (DIMENSIONS, 200 + ADDED)
    assert len(after) - len(before) >= 4 * DIMENSIONS * ADDED


def test_a_note_is_the_same_in_every_run() -> None:
    assert note(Prose(), 17) == note(prose(), 17)
    assert note(prose(), 17) != note(prose(), 18)
