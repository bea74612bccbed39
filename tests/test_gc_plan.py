"""gc --dry-run says what the run with the same options then does; and what gc says of its rules."""

from __future__ import annotations

import json
import random
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
