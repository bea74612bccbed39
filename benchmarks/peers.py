"""memsync beside git, restic and borg, on the work that an assistant's memory makes.

    python -m benchmarks.peers [--rows first,one-note] [--write docs/benchmarks.md]

Builds its corpora (seeded: the same bytes everywhere), lets each tool do the same work in turn, and prints a table
with the ratio to the best peer and what is to be reached. A peer that is not installed is skipped, and said so.
The whole takes about an hour and 15 GB of disk; `--scale 0.001` tries it out in a minute. With `--results FILE` rows
can be measured one at a time: what FILE knows of the other rows stands in the table too.

Exits 0 when everything was measured, whatever the figures; 2 when a tool failed or gave back something else.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Sequence

if __package__ in {None, ""}:  # started as a file: `python benchmarks/peers.py`
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from benchmarks import machine, peers_bytes, peers_report, peers_rows
from benchmarks.peers_bench import Bench, Options
from benchmarks.peers_measure import BenchError
from benchmarks.peers_rows import Row
from benchmarks.peers_tools import PEERS, installed
from memstore.errors import MemsyncError

ROWS: tuple[Row, ...] = (*peers_rows.ROWS, *peers_bytes.ROWS)
TMPFS = "/dev/shm"
TMPFS_ROOM = 4 << 30
"""Bytes free that clones of 100,000 notes want there, store and all."""


def main(arguments: list[str] | None = None) -> int:
    parser = _parser()
    asked = parser.parse_args(arguments)
    keys = [row.key for row in ROWS]
    wanted = asked.rows.split(",") if asked.rows else keys
    if set(wanted) - set(keys):
        parser.error(f"--rows: {', '.join(sorted(set(wanted) - set(keys)))}; there are {', '.join(keys)}")
    if asked.list:
        for row in ROWS:
            print(f"{row.key:<18} {row.work} ({row.reach.text})")
        return 0
    with tempfile.TemporaryDirectory(prefix="memsync-peers-", dir=asked.work) as work:
        try:
            versions, absent = installed(["memsync", *asked.peers.split(",")] if asked.peers else ["memsync"])
            bench = Bench(_options(asked, work), [name for name in versions if name in PEERS])
            results = peers_report.Results(asked.results)
            bench.past = results.peaks
            for name in absent:
                print(f"peers: {name} is not installed here, and left out", file=sys.stderr)
            _measure(bench, results, [row for row in ROWS if row.key in wanted])
        except (BenchError, MemsyncError) as error:
            print(f"peers: {error}", file=sys.stderr)
            return 2
    time, sizes = results.lines(peers_rows.ROWS), results.lines(peers_bytes.ROWS)
    if asked.json:
        document = {
            "tools": versions,
            "absent": absent,
            "machine": machine.describe(),
            "scale": asked.scale,
            "runs": asked.runs,
            "rows": peers_report.documents([*time, *sizes]),
        }
        print(json.dumps(document, indent=2))
    else:
        print(peers_report.text([*time, *sizes]))
    if asked.write:
        text = peers_report.section(
            time, sizes, versions=versions, absent=absent, runs=asked.runs, scale=asked.scale
        )
        machine.write_section(asked.write, "peers", text)
    return 0


def _measure(bench: Bench, results: peers_report.Results, rows: Sequence[Row]) -> None:
    for row in rows:
        bench.peaks.clear()
        outcomes = row.measure(bench)
        bench.past[row.key] = dict(bench.peaks)
        for line in results.add(row, outcomes):
            cells = [cell.replace("**", "") for cell in peers_report.shown(line)]
            pairs = zip(peers_report.HEAD[1:], cells[1:], strict=True)
            print(f"{row.key}: {cells[0]}", file=sys.stderr)
            print("    " + ", ".join(f"{name} {cell}" for name, cell in pairs), file=sys.stderr, flush=True)


def _options(asked: argparse.Namespace, work: str) -> Options:
    repositories = []
    for given in asked.repo:
        path, _, name = given.partition("=")
        repositories.append(
            (os.path.abspath(path), name or os.path.basename(path.rstrip("/")).removesuffix(".git"))
        )
    return Options(
        work=work,
        tmpfs=_tmpfs(asked.tmpfs, work),
        runs=asked.runs,
        scale=asked.scale,
        drop_caches=not asked.keep_cache,
        repositories=tuple(repositories),
        document=asked.write or "docs/benchmarks.md",
    )


def _tmpfs(asked: str | None, work: str) -> str:
    """Where clones are made: what was asked for, else the system's tmpfs if it has room, else on disk."""
    if asked is not None:
        return asked or work
    try:
        with open("/proc/mounts", encoding="utf-8") as file:
            mounted = any(line.split()[1:3] == [TMPFS, "tmpfs"] for line in file)
    except OSError:
        return work
    fits = mounted and os.access(TMPFS, os.W_OK) and shutil.disk_usage(TMPFS).free > TMPFS_ROOM
    return TMPFS if fits else work


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="peers", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rows", metavar="KEYS", help="only these rows, separated by commas (see --list)")
    parser.add_argument("--list", action="store_true", help="name the rows and what each is to reach")
    parser.add_argument("--peers", default=",".join(PEERS), metavar="NAMES", help="default: git,restic,borg")
    parser.add_argument(
        "--runs", type=_positive, default=5, metavar="N", help="runs of each command (default 5)"
    )
    parser.add_argument(
        "--scale", type=float, default=1.0, metavar="X", help="all sizes times X, to try it out"
    )
    parser.add_argument("--work", metavar="DIR", help="make the temporary folder in DIR: a disk with 15 GB")
    parser.add_argument("--tmpfs", metavar="DIR", help=f"clone in DIR (default {TMPFS}; '' for the disk)")
    parser.add_argument("--keep-cache", action="store_true", help="never drop the machine's page cache")
    parser.add_argument(
        "--repo",
        action="append",
        default=[],
        metavar="PATH[=NAME]",
        help="replay this git repository's history",
    )
    parser.add_argument(
        "--results", default="", metavar="FILE", help="keep what was measured in this JSON file"
    )
    parser.add_argument("--write", metavar="FILE", help="put the table into this Markdown file")
    parser.add_argument("--json", action="store_true", help="one JSON document on stdout")
    return parser


def _positive(given: str) -> int:
    number = int(given)
    if number < 1:
        raise argparse.ArgumentTypeError("at least 1")
    return number


if __name__ == "__main__":
    sys.exit(main())
