"""The bench: folders of work, the tools at work on them, and the clock."""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from benchmarks import peers_corpora as corpora
from benchmarks import peers_measure as measure
from benchmarks.peers_measure import BenchError, Job
from benchmarks.peers_tools import DATA, OWN_ENVIRONMENT, PEERS, STORES, Memsync, Tool, environment

NOTES: Final = 100_000
INDEX_BYTES: Final = 512_000_000
VECTORS: Final = 20_000
VERSIONS: Final = 10_000
FILES: Final = 10_000
YOUNG: Final = 100
"""The version at which a commit is compared with one at `VERSIONS`."""
SETTLED_FROM: Final = 0.01
"""The scale from which figures mean something."""
LEAST_VERSIONS: Final = 30
LEAST_YOUNG: Final = 10
"""However small the scale is."""
PUSH_EVERY: Final = 100
"""Versions between two pushes while a long history is made, as in real life: packs, not one endless segment."""


@dataclass(frozen=True)
class Options:
    """What was asked for."""

    work: str
    tmpfs: str
    """Where clones are made; the folder of work itself if that is what it is."""
    runs: int = 5
    scale: float = 1.0
    drop_caches: bool = True
    repositories: tuple[tuple[str, str], ...] = ()
    """(path, public name) of git repositories to replay."""
    document: str = ""
    """Where earlier replays stand; used when no repository is given."""

    def scaled(self, whole: int, least: int) -> int:
        return max(least, round(whole * self.scale))


class Outcome(NamedTuple):
    """What a row, or one line of it, measured: the tool's name → its figure, in the row's unit."""

    figures: dict[str, float]
    remark: str = ""
    what: str = ""
    """Which line, where a row has several."""


class Place:
    """A folder of work with its tools."""

    def __init__(self, bench: Bench, name: str) -> None:
        self.root = os.path.join(bench.options.work, name)
        self.data = os.path.join(self.root, DATA)
        shutil.rmtree(self.root, ignore_errors=True)
        os.makedirs(self.root)
        self.memsync = Memsync(self.root, bench.env)
        self.tools: dict[str, Tool] = {"memsync": self.memsync}
        for peer in bench.peers:
            self.tools[peer] = PEERS[peer](self.root, bench.env)
        self.memsync.make()

    def save_all(self, names: Iterable[str] = ()) -> None:
        """Fresh stores, each with one version of all that is in `Data/`; not measured."""
        for name in names or self.tools:
            self.tools[name].begin()
            self.tools[name].do(self.tools[name].save())

    def remove(self) -> None:
        shutil.rmtree(self.root, ignore_errors=True)


@dataclass
class History:
    """A long history as a memsync store and as a packed git repository."""

    root: str
    versions: list[str]
    """Their ids, oldest first."""
    contents: dict[int, bytes]
    """Of `RULES` at a few places of `versions`."""
    git: str = ""


@dataclass
class Bench:
    """Everything that rows share. `peers` are those that are installed."""

    options: Options
    peers: Sequence[str]
    peaks: dict[str, int] = field(default_factory=dict)
    """Tool → most bytes it had resident in the row that is being measured, all its processes together."""
    past: dict[str, dict[str, int]] = field(default_factory=dict)
    """The same of the rows that were measured, by their key."""

    def __post_init__(self) -> None:
        os.makedirs(self.options.work, exist_ok=True)
        home = os.path.join(self.options.work, "home")
        os.makedirs(home, exist_ok=True)
        self.env = environment(home)
        self._notes: Place | None = None
        self._first: dict[str, int] = {}
        self._histories: dict[str, History] = {}
        self.replays: dict[str, tuple[str, float, float, str]] = {}
        """Repository → what its replay gave; for `peers_bytes`."""
        self._changed = 0

    # -- the clock -----------------------------------------------------------------------------------------

    def time(self, tool: str, jobs: Sequence[Job]) -> float:
        """Seconds of these commands, one after the other, each a cold process.

        What was written before is on disk first: the first sync of a tool would wait for it otherwise, whoever
        wrote it. (Not in a trial of small sizes, which would wait for everything else on the machine.)
        """
        if self.options.scale >= SETTLED_FROM:
            os.sync()
        total = 0.0
        for job in jobs:
            sample = measure.run(job, self.env)
            self.peaks[tool] = max(self.peaks.get(tool, 0), sample.peak)
            total += sample.seconds
        return total

    def turns(self, runs: int = 0) -> Iterator[int]:
        yield from range(runs or self.options.runs)

    # -- the notes -----------------------------------------------------------------------------------------

    def notes(self) -> Place:
        """100,000 notes, not necessarily committed by anyone."""
        if self._notes is None:
            self._notes = Place(self, "notes")
            corpora.write_notes(self._notes.data, self.note_count)
        return self._notes

    def committed_notes(self) -> Place:
        """The same; every tool has at least one version of all of them."""
        place = self.notes()
        missing = [name for name in place.tools if name not in self._first]
        if missing:
            place.save_all(missing)
            self.saw_first(place)
        return place

    def saw_first(self, place: Place) -> None:
        """Each tool's store holds one version of all notes just now."""
        for name, tool in place.tools.items():
            self._first[name] = tool.stored()

    @property
    def first_sizes(self) -> dict[str, int]:
        """Tool → bytes of its store when it held one version of all notes."""
        return dict(self._first)

    @property
    def note_count(self) -> int:
        return self.options.scaled(NOTES, 40)

    def next_note(self) -> str:
        """Each time another one."""
        self._changed += 1
        return corpora.note_path(self._changed * 7919 % self.note_count)

    # -- histories -----------------------------------------------------------------------------------------

    @property
    def versions(self) -> int:
        return self.options.scaled(VERSIONS, LEAST_VERSIONS)

    def note_history(self) -> History:
        """One note, 10,000 versions of it."""
        return self._history("one-note", corpora.note_history(self.versions))

    def wide_history(self) -> History:
        """10,000 notes, 10,000 versions, each but the first a line for one of them."""
        files = self.options.scaled(FILES, 20)
        return self._history("wide", corpora.wide_history(files, self.versions))

    def young_history(self) -> History:
        """The first 100 versions of the same."""
        files = self.options.scaled(FILES, 20)
        return self._history(
            "young", corpora.wide_history(files, self.options.scaled(YOUNG, LEAST_YOUNG)), git=False
        )

    def _history(self, name: str, steps: Iterable[corpora.Step], *, git: bool = True) -> History:
        if name not in self._histories:
            root = os.path.join(self.options.work, name)
            shutil.rmtree(root, ignore_errors=True)
            self._histories[name] = make_history(
                root, steps, self.versions, self.env if git and "git" in self.peers else {}
            )
        return self._histories[name]


def make_history(root: str, steps: Iterable[corpora.Step], versions: int, git: dict[str, str]) -> History:
    """Through the public API, in this process, pushing to a folder on the way. With `git` (its environment)
    the same history goes through `git fast-import` as well, and is collected."""
    from memstore import Store

    remote = os.path.join(root, STORES, "remote")
    made = History(root, [], {})
    importer = _Importer(os.path.join(root, STORES, "git"), git) if git else None
    kept = {0, versions // 2, versions - 1}
    with Store.init(root, environ=OWN_ENVIRONMENT) as store:
        os.makedirs(remote)
        store.set_remote(remote)
        for number, step in enumerate(steps):
            for path, content in step.written.items():
                corpora.write(store.workspace.data, path, content)
            paths = list(step.written) if len(step.written) < 100 else None
            version = store.commit(paths, note=step.note)
            if version is None:
                raise BenchError(f"nothing was recorded at {step.note}")
            made.versions.append(str(version.id))
            if number in kept:
                made.contents[number] = step.written.get(corpora.RULES, b"")
            if importer is not None:
                importer.add(step)
            if number % PUSH_EVERY == PUSH_EVERY - 1 and store.push(mirror=False).status == "fail":
                raise BenchError("a push to a folder failed")
    if importer is not None:
        made.git = importer.end()
    return made


class _Importer:
    """The same history as a git repository."""

    def __init__(self, folder: str, env: dict[str, str]) -> None:
        self._folder, self._env = folder, env
        os.makedirs(folder)
        subprocess.run(["git", "init", "--quiet", "--bare", folder], check=True, env=env)
        # Not durable: how the history got there is not measured.
        self._process = subprocess.Popen(
            ["git", "-C", folder, "-c", "core.fsync=none", "fast-import", "--quiet"],
            stdin=subprocess.PIPE,
            env=env,
        )
        self._time = 1_745_000_000

    def add(self, step: corpora.Step) -> None:
        self._time += 60
        out = self._process.stdin
        assert out is not None
        words = step.note.encode()
        out.write(b"commit refs/heads/main\ncommitter bench <bench@example.org> %d +0000\n" % self._time)
        out.write(b"data %d\n%b\n" % (len(words), words))
        for path, content in step.written.items():
            out.write(b"M 100644 inline %b\ndata %d\n%b\n" % (path.encode(), len(content), content))

    def end(self) -> str:
        assert self._process.stdin is not None
        self._process.stdin.close()
        if self._process.wait():
            raise BenchError("git fast-import failed")
        subprocess.run(["git", "-C", self._folder, "gc", "--quiet"], check=True, env=self._env)
        return self._folder


def medians(found: dict[str, list[float]]) -> dict[str, float]:
    return {name: statistics.median(values) for name, values in found.items() if values}


def inside_script() -> list[str]:
    """The command line of `peers_inside`."""
    return [sys.executable, os.path.join(os.path.dirname(os.path.abspath(__file__)), "peers_inside.py")]
