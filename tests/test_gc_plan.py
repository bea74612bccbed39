"""gc --dry-run says what the run with the same options then does; and what gc says of its rules."""

from __future__ import annotations

import json
import random
import time
from pathlib import Path

import pytest

from tests.command_line import run
from tests.folder_place import Place, without_waiting

NOW = "[gc]\ngrace_hours = 0\n"
FIGURES = ("versions", "versions_kept", "removed", "removed_bytes")


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    without_waiting(monkeypatch)
    made = Place(tmp_path, config=NOW)
    monkeypatch.chdir(made.root)
    return made


def note(number: int) -> bytes:
    return b"".join(b"line %d, as it always was\n" % line for line in range(40)) + b"the end, %d\n" % number


def collected(*options: str) -> dict[str, int]:
    told = json.loads(run("gc", *options, "--json").stdout)
    assert "error" not in told or told["error"] is None, told
    return {figure: told[figure] for figure in FIGURES}


@pytest.mark.parametrize("options", [(), ("--local",)], ids=["everywhere", "local"])
@pytest.mark.parametrize(
    ("pushed", "sealed", "unsent"), [(2, 0, 3), (0, 0, 3), (2, 2, 2)], ids=["some", "none", "some sealed"]
)
def test_a_dry_run_counts_what_the_run_then_takes(
    place: Place, options: tuple[str, ...], pushed: int, sealed: int, unsent: int
) -> None:
    """Notes that are deltas on one another: some were pushed, some lie in packs that were not, some in the log."""
    noise = random.Random(pushed)
    number = 0
    for number in range(pushed):
        place.commit({"note.txt": note(number)})
    if pushed:
        assert place.push().error is None
    for more in range(sealed):
        place.commit({"note.txt": note(number + more + 1), "other.bin": noise.randbytes(500)})
    if sealed:
        place.remote.rename(place.remote.with_name("away"))
        assert place.push().error is not None
        place.remote.with_name("away").rename(place.remote)
    for more in range(unsent):
        place.commit({"note.txt": note(number + sealed + more + 1)})
    rules = ("--keep-last", "1", *options)
    planned = collected(*rules, "--dry-run")
    assert collected(*rules) == planned
    if not options:
        assert planned["removed"] >= pushed + sealed + unsent - 1


def test_a_clock_that_was_ahead_costs_no_work_and_is_told_of(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.commit({"note.txt": note(0)})
    place.commit({"note.txt": note(1)})
    with monkeypatch.context() as patch:
        ahead = time.time_ns() + 5 * 365 * 86_400 * 10**9
        patch.setattr(time, "time_ns", lambda: ahead)
        place.commit({"note.txt": note(2)})
    place.commit({"note.txt": note(3)})
    rules = ("--keep-within", "90d", "--keep-daily", "7")
    told = run("gc", *rules)
    assert told.exit_code == 0
    assert "2 versions dated in the future, the newest 20" in told.stdout
    assert place.contents() == {note(number) for number in range(4)}
    assert "in the future" not in run("gc", "--keep-last", "4").stdout


def test_a_tag_that_no_version_has_is_told_of(place: Place) -> None:
    place.commit({"note.txt": note(0)}, context_tags=["plans"])
    place.commit({"note.txt": note(1)}, context_tags=["other"])
    rules = ("--keep-tag", "plan", "--keep-tag", "other")
    assert "no version has the tag 'plan': that rule keeps nothing" in run("gc", *rules, "--dry-run").stdout
    assert "no version has the tag" not in run("gc", "--keep-tag", "plans", "--dry-run").stdout


def test_a_store_without_versions_has_nothing_to_collect_also_where_its_remote_was_never_reached(
    place: Place,
) -> None:
    told = run("gc")
    assert (told.exit_code, told.stderr) == (0, "")
    assert told.stdout.startswith("0 contents")


def test_packs_that_were_deleted_at_once_are_not_told_of_as_waiting(place: Place) -> None:
    for number in range(2):
        place.commit({"note.txt": note(number)})
        place.push()
    told = run("gc", "--keep-last", "1").stdout
    assert "on the remote 2 packs deleted" in told
    assert "marked to go" not in told
