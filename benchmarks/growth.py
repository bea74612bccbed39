"""How cost grows with the number of files and of versions, as a picture.

    python -m benchmarks.growth --write docs/growth.svg

Every command is a cold process, its output thrown away, the median of 5. On the left one workspace grows from 1,000
to 100,000 notes; on the right another, of 1,000 notes, from 100 to 10,000 versions. Both axes are logarithmic: what
costs the same everywhere is a level line, what costs in proportion climbs one decade for each decade.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

if __package__ in {None, ""}:  # started as a file: `python benchmarks/growth.py`
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from benchmarks import machine, peers_corpora
from benchmarks.growth_picture import Panel, draw
from benchmarks.peers_bench import Bench, Options, Place
from benchmarks.peers_measure import BenchError, Job
from benchmarks.peers_tools import DATA, OWN_ENVIRONMENT, Memsync
from memstore import files
from memstore.errors import MemsyncError

FILES = (1_000, 3_162, 10_000, 31_623, 100_000)
VERSIONS = (100, 316, 1_000, 3_162, 10_000)
NOTES_OF_VERSIONS = 1_000
FILE_LINES = ("commit of one note by its path", "commit, nothing changed", "status")
VERSION_LINES = (
    "commit of one note by its path",
    "log PATH",
    "log",
    "read the oldest version",
    "read the newest version",
)
Points = dict[str, list[tuple[int, float]]]
"""Line → (how many, milliseconds), in the order of growing."""


def over_files(bench: Bench, counts: Sequence[int]) -> Points:
    """One workspace, filled up to each count in turn."""
    place = Place(bench, "files")
    prose = peers_corpora.prose()
    found: Points = {line: [] for line in FILE_LINES}
    have = 0
    for count in counts:
        for number in range(have, count):
            path = peers_corpora.note_path(number)
            peers_corpora.write(place.data, path, peers_corpora.note(prose, number))
        have = count
        place.memsync.do([*place.memsync.save(), place.memsync.job("status")])
        own = place.memsync
        changing = (own.save_path(path)[0] for path in _changed(place.data, count))
        found[FILE_LINES[0]].append((count, _milliseconds(bench, changing)))
        found[FILE_LINES[1]].append((count, _milliseconds(bench, _again(own.job("commit")))))
        found[FILE_LINES[2]].append((count, _milliseconds(bench, _again(own.job("status")))))
    return found


def over_versions(bench: Bench, counts: Sequence[int]) -> Points:
    """One history, made in this process through the library, stopped at each count."""
    from memstore import Store

    root = os.path.join(bench.options.work, "versions")
    remote = os.path.join(bench.options.work, "versions-remote")
    os.makedirs(remote)
    found: Points = {line: [] for line in VERSION_LINES}
    steps = peers_corpora.wide_history(NOTES_OF_VERSIONS, max(counts))
    own = Memsync(root, bench.env)
    path = peers_corpora.note_path(1)
    oldest, made = "", 0
    for count in counts:
        with Store.init(root, environ=OWN_ENVIRONMENT) as store:
            store.set_remote(remote)
            while made < count:
                step = next(steps)
                for name, content in step.written.items():
                    peers_corpora.write(store.workspace.data, name, content)
                version = store.commit(list(step.written) if made else None, note=step.note)
                if version is not None:  # a commit by command may have changed that note already
                    oldest = oldest or str(version.id)
                made += 1
                if made % 100 == 0 and store.push(mirror=False).status == "fail":
                    raise BenchError("a push to a folder failed")
        changing = (own.save_path(name)[0] for name in _changed(os.path.join(root, DATA), 1000))
        jobs: list[Iterator[Job]] = [
            changing,
            _again(own.job("log", path)),
            _again(own.job("log")),
            _again(own.job("cat", f"{oldest}:{path}")),
            _again(own.job("cat", path)),
        ]
        for line, run in zip(VERSION_LINES, jobs, strict=True):
            found[line].append((count, _milliseconds(bench, run)))
    return found


def _changed(data: str, count: int) -> Iterator[str]:
    """Another note each time, with a line more."""
    number = 1
    while True:
        number = (number + 7919) % count
        path = peers_corpora.note_path(number)
        if os.path.exists(os.path.join(data, path)):
            peers_corpora.append(data, path, b"one more line\n")
            yield path


def _again(job: Job) -> Iterator[Job]:
    while True:
        yield job


def _milliseconds(bench: Bench, jobs: Iterator[Job]) -> float:
    """Median. The first run, which may find cold caches, weighs no more than another."""
    return statistics.median(1000 * bench.time("memsync", [next(jobs)]) for _ in bench.turns())


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="growth", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--files", type=_counts, default=FILES, metavar="N,N…", help="numbers of notes")
    parser.add_argument(
        "--versions", type=_counts, default=VERSIONS, metavar="N,N…", help="numbers of versions"
    )
    parser.add_argument("--runs", type=int, default=5, metavar="N", help="runs of each command (default 5)")
    parser.add_argument("--work", metavar="DIR", help="make the temporary folder in DIR")
    parser.add_argument("--write", metavar="FILE", help="the picture (default: print the figures only)")
    asked = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="memsync-growth-", dir=asked.work) as work:
        bench = Bench(
            Options(work=work, tmpfs=work, runs=asked.runs, scale=max(asked.files) / max(FILES)), []
        )
        try:
            panels = [
                Panel("files in the folder", over_files(bench, asked.files)),
                Panel(f"versions of {NOTES_OF_VERSIONS:,} files", over_versions(bench, asked.versions)),
            ]
        except (BenchError, MemsyncError) as error:
            print(f"growth: {error}", file=sys.stderr)
            return 2
    for panel in panels:
        print(panel.what)
        for line, points in panel.lines.items():
            print(f"  {line:<32}" + "  ".join(f"{count:,}: {took:.0f} ms" for count, took in points))
    if asked.write:
        caption = (
            f"{datetime.now(UTC):%Y-%m-%d}; {machine.describe()}. memsync by command, cold process, "
            f"median of {asked.runs}."
        )
        files.write_atomic(asked.write, draw(panels, caption).encode())
    return 0


def _counts(given: str) -> tuple[int, ...]:
    counts = tuple(int(part) for part in given.split(","))
    if min(counts) < 2 or list(counts) != sorted(set(counts)):
        raise argparse.ArgumentTypeError("growing numbers, from 2 on")
    return counts


if __name__ == "__main__":
    sys.exit(main())
