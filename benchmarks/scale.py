"""Every command on very many files, and on a very long history: seconds, and the memory that it takes at most.

    python -m benchmarks.scale --files 1000000 --versions 100000 --write docs/reliability.md

Two workspaces: one of so many small notes, one of 1,000 notes with so many versions. Then the same commands in both,
each a process of its own, run once, its output thrown away. Memory is what all its processes together had resident
at one time, pages that they share counted for each of them.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from random import Random
from typing import Final, NamedTuple

if __package__ in {None, ""}:  # started as a file: `python benchmarks/scale.py`
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from benchmarks import machine
from benchmarks import peers_corpora as corpora
from benchmarks.peers_measure import BenchError, run
from benchmarks.peers_tools import DATA, OWN_ENVIRONMENT, Memsync, environment
from memstore import Store
from memstore.errors import MemsyncError

FILES: Final = 1_000_000
VERSIONS: Final = 100_000
NOTES_OF_VERSIONS: Final = 1_000
NOTE_BYTES: Final = 400
"""About so long is each of very many notes."""
PUSH_EVERY: Final = 100
"""Versions between two pushes while a long history is made."""
CHANGED: Final = 100
"""Notes that are changed at once."""
LIMIT: Final = 1 << 30
"""Bytes that no command may pass."""


class Row(NamedTuple):
    """One command."""

    what: str
    seconds: float
    peak: int
    """Bytes."""
    trouble: str = ""
    """Why it has no figures."""


class Bed:
    """A workspace, a folder remote beside it, and what its commands took."""

    def __init__(self, work: str, name: str) -> None:
        self.root = os.path.join(work, name)
        self.data = os.path.join(self.root, DATA)
        self.remote = os.path.join(work, name + " remote")
        self.clone = os.path.join(work, name + " clone")
        self.rows: list[Row] = []
        self.first = ""
        """Id of the first version."""
        home = os.path.join(work, "home")
        os.makedirs(home, exist_ok=True)
        os.makedirs(self.remote)
        self._env = environment(home)
        self.memsync = Memsync(self.root, self._env)

    def do(self, what: str, *words: str, folder: str = "") -> None:
        """Run one command and note what it took."""
        os.sync()
        try:
            row = Row(what, *run(self.memsync.job(*words, folder=folder), self._env))
        except BenchError as error:
            row = Row(what, 0, 0, str(error))
        self.rows.append(row)
        said = row.trouble or f"{row.seconds:.2f} s, {row.peak / 1e6:.0f} MB"
        print(f"  {what}: {said}", flush=True)

    def append(self, path: str, line: str = "one more line\n", *, data: str = "") -> None:
        corpora.append(data or self.data, path, line.encode())


# -- making ----------------------------------------------------------------------------------------------------


def many_files(work: str, count: int) -> Bed:
    """So many small notes, 250 in a folder, not committed yet."""
    bed = Bed(work, "files")
    Store.init(bed.root, environ=OWN_ENVIRONMENT).close()
    words, random = corpora.prose(), Random(corpora.SEED)
    for number in range(count):
        text = words.text(random, NOTE_BYTES + number % 200)
        corpora.write(bed.data, corpora.note_path(number), text.encode())
    bed.do("commit, the first", "commit", "-m", "all of them")
    with Store.open(bed.root, environ=OWN_ENVIRONMENT) as store:
        bed.first = str(store.head())
    return bed


def many_versions(work: str, count: int) -> Bed:
    """A history of so many versions, made through the library, a push every hundred."""
    bed = Bed(work, "versions")
    with Store.init(bed.root, environ=OWN_ENVIRONMENT) as store:
        store.set_remote(bed.remote)
        for number, step in enumerate(corpora.wide_history(NOTES_OF_VERSIONS, count)):
            for path, content in step.written.items():
                corpora.write(bed.data, path, content)
            version = store.commit(list(step.written) if number else None, note=step.note)
            if version is None:
                raise BenchError("a step of the history changed nothing")
            bed.first = bed.first or str(version.id)
            if number % PUSH_EVERY == 0 and store.push(mirror=False).status == "fail":
                raise BenchError("a push to a folder failed")
    return bed


# -- every command ---------------------------------------------------------------------------------------------


def every_command(bed: Bed, notes: int) -> None:
    """In an order in which each finds something to do."""
    path, other = corpora.note_path(1), corpora.note_path(2)
    folder = os.path.dirname(path)
    bed.do("status", "status")
    bed.do("commit, nothing changed", "commit")
    bed.append(path)
    bed.do("commit PATH", "commit", f"{DATA}/{path}")
    for number in range(0, min(notes, CHANGED)):
        bed.append(corpora.note_path(number * max(1, (notes - 1) // CHANGED)))
    bed.do(f"commit, {CHANGED} notes changed", "commit")
    bed.do("log", "log")
    bed.do("log --json", "log", "--json")
    bed.do("log --graph", "log", "--graph")
    bed.do("log PATH", "log", path)
    bed.do("ls", "ls")
    bed.do("ls of the first version", "ls", bed.first)
    bed.do("show the first version", "show", bed.first)
    bed.do("diff from the first version", "diff", bed.first)
    bed.do("cat, from the first version", "cat", f"{bed.first}:{path}")
    bed.do("archive", "archive", path)
    bed.do("ls Archive/", "ls", "Archive/")
    bed.do("restore PATH", "restore", path)
    bed.do("undo", "undo")
    bed.do("restore a folder as it was first", "restore", folder, "--at", bed.first)
    bed.do("remote set", "remote", "set", bed.remote)
    bed.do("push --dry-run", "push", "--dry-run")
    bed.do("push --no-mirror", "push", "--no-mirror")
    bed.do("push, mirror included", "push")
    bed.do("push, nothing new", "push")
    bed.do("verify --quick", "verify", "--quick")
    bed.do("verify", "verify")
    bed.do("verify --remote", "verify", "--quick", "--remote")
    bed.do("gc --dry-run", "gc", "--keep-last", "1", "--dry-run")
    bed.do("gc, everything kept", "gc")
    bed.do("clone", "clone", bed.remote, bed.clone, folder=os.path.dirname(bed.root))
    bed.append(other, "from the other machine\n", data=os.path.join(bed.clone, DATA))
    bed.do("commit PATH in the clone", "commit", f"{DATA}/{other}", folder=bed.clone)
    bed.do("push from the clone", "push", "--no-mirror", folder=bed.clone)
    bed.append(corpora.note_path(3))
    bed.do("pull, with a merge", "pull")
    bed.do("push of the merge", "push", "--no-mirror")
    bed.do("pull, fast-forward", "pull", folder=bed.clone)
    bed.do("pull, nothing new", "pull")
    bed.do("repair --dry-run", "repair", "--dry-run")
    bed.do("repair", "repair")
    bed.do("gc --keep-last 1", "gc", "--keep-last", "1")
    for name in os.listdir(os.path.join(bed.root, ".memsync")):
        if name.startswith("catalogue"):
            os.unlink(os.path.join(bed.root, ".memsync", name))
    bed.do("status, the catalogue being lost", "status")


# -- telling ---------------------------------------------------------------------------------------------------


def section(columns: Sequence[tuple[str, Sequence[Row]]]) -> str:
    """The section of the document: a table with seconds and memory of each workspace."""
    by_name = [{row.what: row for row in rows} for _, rows in columns]
    names = list(dict.fromkeys(row.what for _, rows in columns for row in rows))
    heads = " | ".join(f"{title}: seconds | MB" for title, _ in columns)
    lines = [f"| command | {heads} |", "| --- |" + " ---: | ---: |" * len(columns)]
    for name in names:
        cells = [_cells(rows.get(name)) for rows in by_name]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    whole = [row for _, rows in columns for row in rows]
    failed = [row.what for row in whole if row.trouble]
    over = [f"{row.what} ({row.peak / 1e6:.0f} MB)" for row in whole if row.peak > LIMIT]
    said = "Every command ended as it must" if not failed else "Failed: " + ", ".join(failed)
    told = "none took more than 1 GiB" if not over else "above 1 GiB: " + ", ".join(over)
    return (
        "## Scale\n\n"
        f"{datetime.now(UTC):%Y-%m-%d}; {machine.describe()}; {machine.versions()}. Each command once, in a process "
        "of its own; memory is what all its processes together had resident at most, pages that they share counted "
        "for each. The remote is a folder. Repeat: `python -m benchmarks.scale`.\n\n"
        + "\n".join(lines)
        + f"\n\n{said}; {told}."
    )


def _cells(row: Row | None) -> str:
    if row is None:
        return "– | –"
    return "failed | –" if row.trouble else f"{row.seconds:.2f} | {row.peak / 1e6:.0f}"


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="scale", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument(
        "--files", type=int, default=FILES, metavar="N", help="small notes (0: leave that out)"
    )
    parser.add_argument(
        "--versions", type=int, default=VERSIONS, metavar="N", help="versions (0: leave that out)"
    )
    parser.add_argument("--work", metavar="DIR", help="make the temporary folder in DIR")
    parser.add_argument("--write", metavar="FILE", help="put the section into this document")
    asked = parser.parse_args(arguments)
    made: list[tuple[str, Callable[[str, int], Bed], int, int]] = [
        ("files", many_files, asked.files, asked.files),
        ("versions", many_versions, asked.versions, NOTES_OF_VERSIONS),
    ]
    columns: list[tuple[str, Sequence[Row]]] = []
    for what, make, count, notes in made:
        if not count:
            continue
        print(f"{count:,} {what}", flush=True)
        with tempfile.TemporaryDirectory(prefix="memsync-scale-", dir=asked.work) as work:
            try:
                bed = make(work, count)
            except (BenchError, MemsyncError) as error:
                print(f"scale: {error}", file=sys.stderr)
                return 2
            every_command(bed, notes)
        columns.append((f"{count:,} {what}", bed.rows))
    text = section(columns)
    if asked.write:
        machine.write_section(asked.write, "scale", text)
    else:
        print(text)
    return int(any(row.trouble for _, rows in columns for row in rows))


if __name__ == "__main__":
    sys.exit(main())
