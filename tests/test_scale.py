"""The benchmark of very many files and versions: that it works, at sizes that say nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import scale
from benchmarks.scale import Row
from memstore import files

pytestmark = pytest.mark.skipif(not files.POSIX, reason="memory is read from /proc")


def test_a_command_is_measured_and_one_that_fails_says_why(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bed = scale.many_files(str(tmp_path), 3)
    bed.do("ls", "ls", bed.first)
    bed.do("cat of nothing", "cat", "nothing.txt")
    first, listed, failed = bed.rows
    assert first.what == "commit, the first" and listed.what == "ls"
    assert all(row.seconds > 0 and row.peak > 5_000_000 and not row.trouble for row in (first, listed))
    assert "ended with 8" in failed.trouble
    assert "nothing.txt" in capsys.readouterr().out


def test_a_history_is_made_with_its_remote(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scale, "NOTES_OF_VERSIONS", 5)
    monkeypatch.setattr(scale, "PUSH_EVERY", 3)
    bed = scale.many_versions(str(tmp_path), 7)
    assert len(bed.first) == 64
    packs = [path for path in (Path(bed.remote) / ".memsync" / "packs").iterdir() if path.suffix != ".tmp"]
    assert len(packs) == 3


def test_the_table_has_every_command_of_both_workspaces_and_says_what_failed() -> None:
    many = [Row("commit", 1.5, 120_000_000), Row("gc", 0, 0, "'memsync gc' ended with 5")]
    long = [Row("commit", 0.25, 2_000_000_000), Row("log", 3, 90_000_000)]
    text = scale.section([("9 files", many), ("8 versions", long)])
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert rows[2:] == [
        "| commit | 1.50 | 120 | 0.25 | 2000 |",
        "| gc | failed | – | – | – |",
        "| log | – | – | 3.00 | 90 |",
    ]
    assert "Failed: gc" in text
    assert "above 1 GiB: commit (2000 MB)" in text
