"""Replay a real git repository's history through memsync, and compare byte for byte what comes back.

    python -m benchmarks.replay GIT_REPO --name owner/repository [--write docs/benchmarks.md]

Every commit of the first-parent line, oldest first, each as the tree it has: its changed files are written
into `Data/`, then `store.commit()` records the whole folder (message as note, author as actor). Every 50
versions are pushed to a folder remote. The remote is cloned at the end; random (path, version) pairs, the
whole listing of each of these versions and the final tree on disk are compared with what git says. Exits 1 if
anything differs.

Only commits with a change that memsync keeps make a version: see `git_history` for what is left out.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict

if __package__ in {None, ""}:  # started as a file: `python benchmarks/replay.py`
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from benchmarks import machine
from benchmarks.git_history import (
    EXECUTABLE,
    SYMLINK,
    Commit,
    GitError,
    Repository,
    build_peer,
)
from benchmarks.replay_report import Result, rows, section
from memstore import Store
from memstore.errors import MemsyncError
from memstore.ids import VersionId

PAIRS = 500
"""Random (path, version) pairs that are read back from the clone."""
SEED = 20250423
ENVIRONMENT = {"MEMSYNC_DEVICE": "replay", "MEMSYNC_COMMIT_SECRETS": "off"}
"""Nothing of the person's own configuration, and no extra: the defaults are measured."""


class Replay:
    """One run in one working folder."""

    def __init__(
        self, source: Repository, line: list[Commit], work: str, *, every: int, mirror: bool
    ) -> None:
        self._source = source
        self._line = line
        self._every = every
        self._mirror = mirror
        self.root = os.path.join(work, "memory")
        self.remote = os.path.join(work, "remote")
        self.copy = os.path.join(work, "clone")
        self.version_of: dict[str, VersionId | None] = {}
        """git commit → the version that has its tree; None before the first."""
        self.seconds = {"commit": 0.0, "write": 0.0, "push": 0.0, "clone": 0.0, "read": 0.0}
        self.versions = self.pushes = 0
        self.differences: list[str] = []
        self.compared = 0

    def run(self, store: Store) -> None:
        """Commit the whole line, pushing on the way and at the end."""
        os.makedirs(self.remote)
        store.set_remote(self.remote)
        latest: VersionId | None = None
        unpushed = 0
        meter = _Meter("commits", len(self._line))
        for commit in self._line:
            self._write(store.workspace.data, commit)
            began = time.perf_counter()
            report = store.commit_report(
                note=commit.message.decode(errors="replace"), actor=commit.author, allow_deletions=True
            )
            self.seconds["commit"] += time.perf_counter() - began
            self.differences += [f"warning at {commit.id[:12]}: {text}" for text in report.warnings]
            if report.version is not None:
                latest = report.version.id
                self.versions += 1
                unpushed += 1
            self.version_of[commit.id] = latest
            if unpushed >= self._every:
                self._push(store)
                unpushed = 0
            meter.step()
        self._push(store)
        meter.end()

    def _push(self, store: Store) -> None:
        began = time.perf_counter()
        report = store.push(mirror=self._mirror)
        self.seconds["push"] += time.perf_counter() - began
        self.pushes += 1
        if report.status == "fail":
            raise GitError(f"a push failed: {'; '.join(report.notes)}")

    def _write(self, data: str, commit: Commit) -> None:
        """Apply a commit's changes to `Data/`. Deletes first: a folder may take the place of a file."""
        contents = [self._source.blob(change.blob) if change.blob else b"" for change in commit.changes]
        began = time.perf_counter()
        for change in commit.changes:
            path = os.path.join(data, change.path)
            if not change.blob and os.path.lexists(path):
                os.remove(path)
                _remove_empty(os.path.dirname(path), data)
        for change, content in zip(commit.changes, contents, strict=True):
            if change.blob:
                _write_file(os.path.join(data, change.path), change.mode, content)
        self.seconds["write"] += time.perf_counter() - began

    # -- comparing -----------------------------------------------------------------------------------------

    def compare(self, store: Store, pairs: int) -> None:
        """Read random contents, their versions' listings and the final tree back from the clone."""
        chance = random.Random(SEED)
        meter = _Meter("comparisons", pairs)
        listed: set[str] = set()
        trees: dict[str, dict[str, tuple[str, str]]] = {}
        for _ in range(pairs):
            commit = chance.choice(self._line).id
            version = self.version_of[commit]
            if commit not in trees:
                trees[commit] = self._source.tree(commit)
            tree = trees[commit]
            meter.step()
            if not tree or version is None:
                continue
            path = chance.choice(sorted(tree))
            began = time.perf_counter()
            content = store.read(path, at=version)
            self.seconds["read"] += time.perf_counter() - began
            self.compared += 1
            if content != self._source.blob(tree[path][1]):
                self.differences.append(f"{path} at {commit[:12]} has other bytes")
            if commit not in listed:
                listed.add(commit)
                self._compare_listing(store, commit, tree, version)
        meter.end()
        self._compare_folder(store.workspace.data, self._source.tree(self._line[-1].id))

    def _compare_listing(
        self, store: Store, commit: str, tree: dict[str, tuple[str, str]], version: VersionId
    ) -> None:
        have = {row.path: row.kind for row in store.ls(at=version) if row.origin is None}
        want = {path: _kind(mode) for path, (mode, _) in tree.items()}
        for path in sorted(have.keys() | want.keys()):
            if have.get(path) != want.get(path):
                self.differences.append(
                    f"{path} at {commit[:12]} is {have.get(path)}, in git {want.get(path)}"
                )

    def _compare_folder(self, data: str, tree: dict[str, tuple[str, str]]) -> None:
        have = set(_walk(data))
        for path in sorted(have | tree.keys()):
            if path not in have or path not in tree:
                self.differences.append(f"{path} is {'only' if path in have else 'not'} in the clone's Data/")
                continue
            mode, blob = tree[path]
            kind, content = _file(os.path.join(data, path))
            if kind != _kind(mode) or content != self._source.blob(blob):
                self.differences.append(f"{path} in the clone's Data/ differs from git's last tree")


def replay(
    repository: str,
    work: str,
    *,
    name: str = "",
    limit: int | None = None,
    every: int = 50,
    pairs: int = PAIRS,
    mirror: bool = True,
    peer: bool = True,
) -> Result:
    """The whole measurement in the empty folder `work`. Raises `GitError`, and memsync's own errors."""
    with Repository(repository) as source:
        line = source.line(limit)
        run = Replay(source, line, work, every=every, mirror=mirror)
        with Store.init(run.root, environ=ENVIRONMENT) as store:
            run.run(store)
        began = time.perf_counter()
        with Store.clone(run.remote, run.copy, environ=ENVIRONMENT) as copy:
            run.seconds["clone"] = time.perf_counter() - began
            run.compare(copy, pairs)
            report = copy.verify()
            run.differences += [f"verify: {problem.kind} {problem.id[:16]}" for problem in report.problems]
            files = copy.repository.catalogue.tree_size()
        git = build_peer(source, line, os.path.join(work, "peer.git")) if peer else None
        left_out = source.left_out()
    state = os.path.join(run.root, ".memsync")
    own, outside = _sizes(run.remote)
    return Result(
        name=name,
        commits=len(line),
        versions=run.versions,
        objects=report.objects,
        files=files,
        plain=report.bytes,
        left_out=left_out,
        commit_seconds=run.seconds["commit"],
        write_seconds=run.seconds["write"],
        push_seconds=run.seconds["push"],
        pushes=run.pushes,
        clone_seconds=run.seconds["clone"],
        read_seconds=run.seconds["read"],
        store=_bytes_in(os.path.join(state, "packs")) + _bytes_in(os.path.join(state, "segments")),
        packs=len(os.listdir(os.path.join(state, "packs"))),
        catalogue=sum(
            os.path.getsize(os.path.join(state, entry))
            for entry in os.listdir(state)
            if entry.startswith("catalogue.sqlite")
        ),
        git=git,
        remote=own[0],
        remote_files=own[1],
        mirror=outside[0],
        mirror_files=outside[1],
        compared=run.compared,
        differences=run.differences,
    )


# -- files -----------------------------------------------------------------------------------------------------


def _write_file(path: str, mode: str, content: bytes) -> None:
    os.makedirs(os.path.dirname(path), exist_ok=True)
    if os.path.islink(path) or (mode == SYMLINK and os.path.lexists(path)):
        os.remove(path)
    if mode == SYMLINK:
        os.symlink(os.fsdecode(content), path)
        return
    with open(path, "wb") as file:
        file.write(content)
    executable = os.stat(path).st_mode & 0o100
    if bool(executable) != (mode == EXECUTABLE):
        os.chmod(path, 0o755 if mode == EXECUTABLE else 0o644)


def _remove_empty(folder: str, top: str) -> None:
    while folder != top and not os.listdir(folder):
        os.rmdir(folder)
        folder = os.path.dirname(folder)


def _walk(top: str) -> Iterator[str]:
    for folder, folders, names in os.walk(top):
        links = [name for name in folders if os.path.islink(os.path.join(folder, name))]
        for name in names + links:
            yield os.path.relpath(os.path.join(folder, name), top).replace(os.sep, "/")


def _file(path: str) -> tuple[str, bytes]:
    if os.path.islink(path):
        return "symlink", os.fsencode(os.readlink(path))
    with open(path, "rb") as file:
        executable = os.fstat(file.fileno()).st_mode & 0o100
        return "executable" if executable else "file", file.read()


def _kind(mode: str) -> str:
    return {EXECUTABLE: "executable", SYMLINK: "symlink"}.get(mode, "file")


def _bytes_in(folder: str) -> int:
    return sum(os.path.getsize(os.path.join(folder, name)) for name in os.listdir(folder))


def _sizes(remote: str) -> tuple[tuple[int, int], tuple[int, int]]:
    """((bytes, files) of the remote's own folder, the same of the mirror)."""
    own, outside = [0, 0], [0, 0]
    for path in _walk(remote):
        count = own if ".memsync" in path.split("/") else outside
        count[0] += os.lstat(os.path.join(remote, path)).st_size
        count[1] += 1
    return (own[0], own[1]), (outside[0], outside[1])


class _Meter:
    """A line on stderr, on a terminal only."""

    def __init__(self, what: str, total: int) -> None:
        self._what, self._total, self._done = what, total, 0
        self._shown = time.monotonic() if sys.stderr.isatty() else float("inf")

    def step(self) -> None:
        self._done += 1
        if time.monotonic() - self._shown > 1:
            self._shown = time.monotonic()
            print(f"\r{self._done} of {self._total} {self._what} ", end="", file=sys.stderr)

    def end(self) -> None:
        if self._shown != float("inf"):
            print("\r", end="", file=sys.stderr)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="replay", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument(
        "repository", metavar="GIT_REPO", help="a git repository, bare or not; it is only read"
    )
    parser.add_argument("--name", default="", help="its public name, for the report")
    parser.add_argument("--limit", type=int, metavar="N", help="the first N commits only")
    parser.add_argument(
        "--every", type=int, default=50, metavar="N", help="push every N versions (default 50)"
    )
    parser.add_argument(
        "--pairs", type=int, default=PAIRS, metavar="N", help=f"contents to compare ({PAIRS})"
    )
    parser.add_argument("--no-mirror", action="store_true", help="push packs and heads only")
    parser.add_argument(
        "--no-git", action="store_true", help="do not build the git repository to compare with"
    )
    parser.add_argument(
        "--work", metavar="DIR", help="an empty or new folder that is kept (default: temporary)"
    )
    parser.add_argument("--json", action="store_true", help="one JSON document on stdout")
    parser.add_argument(
        "--write", metavar="FILE", help="put the result into this Markdown file; needs --name"
    )
    options = parser.parse_args(arguments)
    if options.write and not options.name:
        parser.error("--write needs --name")
    if options.work and os.path.isdir(options.work) and os.listdir(options.work):
        parser.error("--work: the folder is not empty")
    with tempfile.TemporaryDirectory(prefix="memsync-replay-") as temporary:
        work = options.work or temporary
        os.makedirs(work, exist_ok=True)
        try:
            result = replay(
                options.repository,
                os.path.abspath(work),
                name=options.name,
                limit=options.limit,
                every=options.every,
                pairs=options.pairs,
                mirror=not options.no_mirror,
                peer=not options.no_git,
            )
        except (GitError, MemsyncError) as error:
            print(f"replay: {error}", file=sys.stderr)
            return 2
    if options.json:
        document = {**asdict(result), "left_out": result.left_out._asdict()}
        document["git"] = result.git._asdict() if result.git else None
        print(json.dumps(document, indent=2))
    else:
        width = max(len(what) for what, _ in rows(result))
        for what, value in rows(result):
            print(f"{what:<{width}}  {value.replace('**', '')}")
    for difference in result.differences[:50]:
        print(difference, file=sys.stderr)
    if options.write:
        machine.write_section(
            options.write, f"replay {options.name}", section(result, options.every, options.limit)
        )
    return 1 if result.differences else 0


if __name__ == "__main__":
    sys.exit(main())
