"""The rows that measure time and memory: each a small function, all of them in the table at the end."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Final

from benchmarks import peers_corpora as corpora
from benchmarks import peers_measure as measure
from benchmarks.peers_bench import INDEX_BYTES, Bench, Outcome, Place, inside_script, medians
from benchmarks.peers_indexes import ADDED, Index, index_of_size, write_index
from benchmarks.peers_measure import BenchError, Job
from benchmarks.peers_reach import OWN, Reach, at_most, both, of, of_best, of_second
from benchmarks.peers_tools import DATA, Memsync

INDEX: Final = "index.faiss"
COMMITS_INSIDE: Final = 30
PAIRS_A_RUN: Final = 3
"""Commits by command on either side, for each run, when the cost of history is compared: a tenth is little."""


@dataclass(frozen=True)
class Row:
    """One kind of work. `unit`: s, ms, times, MB or bytes (figures of MB are bytes too)."""

    key: str
    work: str
    unit: str
    reach: Reach
    measure: Callable[[Bench], list[Outcome]]


# -- 100,000 notes ---------------------------------------------------------------------------------------------


def first_commit(bench: Bench) -> list[Outcome]:
    return [Outcome(_first_commits(bench, cold=False))]


def first_commit_cold(bench: Bench) -> list[Outcome]:
    if not bench.options.drop_caches:
        return [Outcome({}, "not measured: asked to leave the page cache alone")]
    if not measure.may_drop_caches():
        return [Outcome({}, "not measured: the page cache can't be dropped here")]
    return [Outcome(_first_commits(bench, cold=True))]


def _first_commits(bench: Bench, *, cold: bool) -> dict[str, float]:
    place = bench.notes()
    found: dict[str, list[float]] = {name: [] for name in place.tools}
    for _ in bench.turns():
        for name, tool in place.tools.items():
            tool.begin()
            if cold:
                measure.drop_caches()
            else:
                _read_all(place.data)
            found[name].append(bench.time(name, tool.save()))
    bench.saw_first(place)
    return medians(found)


def nothing_changed(bench: Bench) -> list[Outcome]:
    place = bench.committed_notes()
    found: dict[str, list[float]] = {name: [] for name in place.tools}
    for name, tool in place.tools.items():
        tool.do(tool.look())  # what the first look after a commit sets right is not what is measured
        found[name] += [bench.time(name, tool.look()) for _ in bench.turns()]
    return [Outcome(medians(found), "git: `git status`")]


def one_note(bench: Bench) -> list[Outcome]:
    place = bench.committed_notes()
    found: dict[str, list[float]] = {name: [] for name in place.tools}
    for _ in bench.turns():
        path = bench.next_note()
        corpora.append(place.data, path, b"one more line\n")
        for name, tool in place.tools.items():
            found[name].append(bench.time(name, tool.save_path(path)))
    return [Outcome(medians(found), "git: `git add PATH` and `git commit`; restic and borg: the folder")]


def one_note_inside(bench: Bench) -> list[Outcome]:
    place = bench.committed_notes()
    paths = [bench.next_note() for _ in range(min(COMMITS_INSIDE, bench.note_count // 2))]
    result = os.path.join(bench.options.work, "inside.json")
    bench.time(OWN, [Job([*inside_script(), place.root, result, *paths], place.root)])
    with open(result, encoding="ascii") as file:
        took = json.load(file)
    beside = [commit - sync for commit, sync in zip(took["commit"], took["sync"], strict=True)]
    middle = medians({**took, "beside": beside})
    remark = (
        f"of {len(beside)}; the whole commit {middle['commit']:.2f} ms, an equal append and its sync beside it "
        f"{middle['sync']:.2f} ms: the difference stands here"
    )
    return [Outcome({OWN: middle["beside"]}, remark)]


def clone(bench: Bench) -> list[Outcome]:
    place = bench.committed_notes()
    folder = os.path.join(bench.options.tmpfs, f"memsync-bench-{os.getpid()}")
    try:
        return [_clones(bench, place, folder)]
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _clones(bench: Bench, place: Place, folder: str) -> Outcome:
    found: dict[str, list[float]] = {name: [] for name in place.tools}
    for name, tool in place.tools.items():
        os.makedirs(folder, exist_ok=True)
        tool.do(tool.save())  # all the same: the newest version is what lies there now
        source = tool.published(os.path.join(folder, f"{name}-store"))
        for _ in bench.turns():
            target = os.path.join(folder, "clone")
            jobs = tool.checkout(source, target)
            found[name].append(bench.time(name, jobs))
            _expect_equal(place.data, tool.checked_out(target), name)
            shutil.rmtree(target)
        shutil.rmtree(source)
    on = "stores and clones on tmpfs, where a sync costs nothing"
    if bench.options.tmpfs == bench.options.work:
        on = "no tmpfs here: stores and clones on disk"
    return Outcome(medians(found), on)


# -- one large index -------------------------------------------------------------------------------------------


def first_index(bench: Bench) -> list[Outcome]:
    place = _index_place(bench, "Flat")[0]
    found: dict[str, list[float]] = {name: [] for name in place.tools}
    for _ in bench.turns():
        for name, tool in place.tools.items():
            tool.begin()
            _read_all(place.data)
            found[name].append(bench.time(name, tool.save()))
    place.remove()
    return [Outcome(medians(found))]


def grown_index(bench: Bench) -> list[Outcome]:
    return [_grown(bench, layout) for layout in ("Flat", "IVF", "HNSW")]


def _grown(bench: Bench, layout: str) -> Outcome:
    place, index = _index_place(bench, layout)
    place.save_all()
    found: dict[str, list[float]] = {name: [] for name in place.tools}
    for turn in bench.turns():
        write_index(os.path.join(place.data, INDEX), index, turn + 1)
        for name, tool in place.tools.items():
            _read_all(place.data)
            found[name].append(bench.time(name, tool.save_path(INDEX)))
    place.remove()
    return Outcome(medians(found), what=layout)


def _index_place(bench: Bench, layout: str) -> tuple[Place, Index]:
    place = Place(bench, f"index-{layout}")
    index = index_of_size(layout, bench.options.scaled(INDEX_BYTES, 200_000))
    write_index(os.path.join(place.data, INDEX), index, 0)
    return place, index


# -- long histories --------------------------------------------------------------------------------------------


def read_versions(bench: Bench) -> list[Outcome]:
    made = bench.note_history()
    outcomes = []
    for name, number in (("oldest", 0), ("middle", bench.versions // 2), ("newest", bench.versions - 1)):
        memsync = Memsync(made.root, bench.env)
        job = memsync.job("cat", f"{made.versions[number]}:{corpora.RULES}")
        if measure.output(job, bench.env) != made.contents[number]:
            raise BenchError(f"the {name} version reads back other bytes")
        found = {OWN: [bench.time(OWN, [job]) for _ in bench.turns()]}
        if made.git:
            back = bench.versions - 1 - number
            show = Job(["git", "-C", made.git, "show", f"main~{back}:{corpora.RULES}"], made.root)
            if measure.output(show, bench.env) != made.contents[number]:
                raise BenchError(f"git's {name} version is another")
            found["git"] = [bench.time("git", [show]) for _ in bench.turns()]
        outcomes.append(Outcome(_ms(found), "git: `git show main~N:PATH`", name))
    return outcomes


def log_path(bench: Bench) -> list[Outcome]:
    return [_log(bench, [corpora.RULES], ["log", "main", "--", corpora.RULES], "`git log -- PATH`")]


def log_all(bench: Bench) -> list[Outcome]:
    return [_log(bench, [], ["log", "--name-status", "main"], "`git log --name-status`")]


def _log(bench: Bench, own: list[str], git: list[str], said: str) -> Outcome:
    made = bench.wide_history()
    memsync = Memsync(made.root, bench.env).job("log", *own)
    found = {OWN: [bench.time(OWN, [memsync]) for _ in bench.turns()]}
    if made.git:
        theirs = Job(["git", "-C", made.git, *git], made.root)
        _expect_as_many(bench, Job([*memsync.argv, "--json"], made.root), theirs)
        found["git"] = [bench.time("git", [theirs]) for _ in bench.turns()]
    return Outcome(medians(found), f"git, collected: {said}")


def _expect_as_many(bench: Bench, own: Job, git: Job) -> None:
    """Commits that another row made since are memsync's alone."""
    ours = json.loads(measure.output(own, bench.env))["versions"]
    mine = sum(1 for version in ours if version["note"] != "saved")
    theirs = measure.output(git, bench.env).count(b"\ncommit ") + 1
    if mine != theirs:
        raise BenchError(f"memsync logs {mine} versions, git {theirs}")


def growing_history(bench: Bench) -> list[Outcome]:
    """Old and young in turn, so that what else the machine does falls on both."""
    young, old = bench.young_history(), bench.wide_history()
    random = Random(corpora.SEED)
    found: dict[str, list[float]] = {"young": [], "old": []}
    for turn in bench.turns(1 + PAIRS_A_RUN * bench.options.runs):
        path = corpora.note_path(random.randrange(bench.options.scaled(1000, 19)))
        for name, made in (("young", young), ("old", old)):
            corpora.append(os.path.join(made.root, DATA), path, b"one more line\n")
            took = bench.time(OWN, Memsync(made.root, bench.env).save_path(path))
            if turn:  # the first one after thousands of others finds caches that no later one does
                found[name].append(took)
    middle = medians(found)
    remark = (
        f"{1000 * middle['young']:.1f} ms at version {len(young.versions)}, {1000 * middle['old']:.1f} ms at "
        f"version {len(old.versions):,}"
    )
    return [Outcome({OWN: middle["old"] / middle["young"]}, remark)]


def peak_memory(bench: Bench) -> list[Outcome]:
    """Of the rows above it that were measured."""
    peaks: dict[str, float] = {}
    where = ""
    for row in ROWS:
        for name, peak in bench.past.get(row.key, {}).items():
            if name == OWN and peak > peaks.get(OWN, 0):
                where = row.key
            peaks[name] = max(peaks.get(name, 0), peak)
    if not peaks.get(OWN):
        return [Outcome({}, "not measured: no row above was, or there is no /proc here")]
    words = (
        "most bytes resident at one time, all processes of a command together, shared pages counted for each"
    )
    return [Outcome(peaks, f"{words}; memsync's highest in `{where}`")]


# -- checks and small things -----------------------------------------------------------------------------------


def _ms(found: dict[str, list[float]]) -> dict[str, float]:
    return {name: 1000 * value for name, value in medians(found).items()}


def _read_all(folder: str) -> None:
    """All of it is in the page cache then. Before each tool: borg gives up the cache of what it has read, and
    whoever came next would read it from the disk."""
    for path in measure.sizes(folder):
        with open(path, "rb", buffering=0) as file:
            while file.read(1 << 20):
                pass


def _expect_equal(data: str, copy: str, name: str) -> None:
    """Same names and sizes everywhere, same bytes in every hundredth file."""
    mine = {os.path.relpath(path, data): size for path, size in measure.sizes(data).items()}
    theirs = {
        relative: size
        for path, size in measure.sizes(copy).items()
        if not (relative := os.path.relpath(path, copy)).startswith(".git" + os.sep)
    }
    if mine != theirs:
        raise BenchError(f"{name} brought back {len(theirs)} files where {len(mine)} are, or other sizes")
    for path in sorted(mine)[::100]:
        with open(os.path.join(data, path), "rb") as one, open(os.path.join(copy, path), "rb") as other:
            if one.read() != other.read():
                raise BenchError(f"{name} brought back other bytes of {path}")


ROWS: Final = (
    Row(
        "first",
        "first commit of 100,000 notes, 430 MB of text, page cache warm",
        "s",
        of_best(0.25),
        first_commit,
    ),
    Row("first-cold", "the same with a cold page cache", "s", of_best(0.7), first_commit_cold),
    Row(
        "unchanged",
        "commit with nothing changed, 100,000 notes",
        "s",
        both(of("git", 2.0, "git status"), of_second(0.15)),
        nothing_changed,
    ),
    Row(
        "one-note",
        "commit of one changed note named by its path, 100,000 notes",
        "s",
        of_best(0.6),
        one_note,
    ),
    Row(
        "one-note-inside",
        "the same from Python, in a process that is already running",
        "ms",
        at_most(3, "3 ms beside the fsync"),
        one_note_inside,
    ),
    Row("clone", "clone all 100,000 notes into a new folder, stores packed", "s", of_best(0.6), clone),
    Row("first-index", "first commit of one 512 MB index", "s", of_best(0.5), first_index),
    Row("grown-index", f"commit after {ADDED} vectors were added to it", "s", of_best(0.6), grown_index),
    Row(
        "read-versions",
        "read one of 10,000 versions of a note, by command",
        "ms",
        at_most(150, "150 ms"),
        read_versions,
    ),
    Row(
        "log-path",
        "`log PATH` in a store of 10,000 versions and 10,000 files",
        "s",
        of_best(1.0),
        log_path,
    ),
    Row("log", "`log` there", "s", of_best(0.6), log_all),
    Row(
        "history-cost",
        "one-file commit by command: version 10,000 to version 100",
        "times",
        at_most(1.1, "1.1 times"),
        growing_history,
    ),
    Row(
        "memory",
        "peak memory, all of the above, all processes together",
        "MB",
        at_most(256e6, "256 MB"),
        peak_memory,
    ),
)
