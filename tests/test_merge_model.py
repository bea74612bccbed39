"""Three devices in any interleaving end with one tree and one head, and nothing that was committed is lost."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.merge_model import NAMES, play

RUNS = 2000
ON_DRIVE = 4
"""Every so manieth run of the soak is on Drive; the others are in a folder."""


@pytest.mark.parametrize("seed", range(2))
def test_three_devices_and_a_folder_come_to_rest(tmp_path: Path, seed: int) -> None:
    outcome = play(tmp_path / "run", seed, drive=False)
    assert outcome.merges > 0


def test_three_devices_and_drive_come_to_rest(tmp_path: Path) -> None:
    outcome = play(tmp_path / "run", 6, drive=True)
    assert outcome.merges > 0


@pytest.mark.soak
@pytest.mark.parametrize("part", range(8))
def test_two_thousand_runs_of_three_devices_come_to_rest(tmp_path: Path, part: int) -> None:
    """`MEMSYNC_SOAK_FROM` is the first seed, so that other runs can be made than the last ones."""
    first = int(os.environ.get("MEMSYNC_SOAK_FROM", "10000"))
    wrong: list[str] = []
    merges = conflicts = cuts = rounds = 0
    for seed in range(first + part, first + RUNS, 8):
        try:
            outcome = play(tmp_path / "run", seed, drive=(seed // 8) % ON_DRIVE == 0)
        except Exception as error:  # every seed is tried, whatever came of those before
            wrong.append(f"seed {seed}: {type(error).__name__}: {' '.join(str(error).split())[:300]}")
            continue
        merges, conflicts, cuts = merges + outcome.merges, conflicts + outcome.conflicts, cuts + outcome.cuts
        rounds = max(rounds, outcome.rounds)
    print(
        f"\n{RUNS // 8} runs of {len(NAMES)} devices: {merges} merges, {conflicts} conflicts, {cuts} deaths, "
        f"{rounds} rounds at most, {len(wrong)} failures"
    )
    assert not wrong, "\n".join(wrong)
