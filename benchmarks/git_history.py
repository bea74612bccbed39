"""A git repository's first-parent line, as a list of changes, and the same line as a git repository of its own.

The source is only read, through git's plumbing (`rev-list`, `diff-tree --stdin`, `cat-file --batch`), so that a
bare repository will do. A commit stands for the tree it has: what merges brought in is one step.

What memsync does not keep is left out on both sides, and counted: submodules, names that are not UTF-8 or
are otherwise no path of memsync's, and what the built-in ignore rules cover. `.memsyncignore` at the top is
left out too, because it would change the rules in the middle of a comparison; and so is, with its whole
history, a path of which the repository lacks some content (a partial copy).
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from typing import IO, Final, NamedTuple

from memstore.worktree import ignore, names

EXECUTABLE: Final = "100755"
SYMLINK: Final = "120000"
SUBMODULE: Final = "160000"
_GONE: Final = "000000"


class Change(NamedTuple):
    """One path of one commit. `mode` and `blob` are empty where the path is gone."""

    path: str
    mode: str
    blob: str


class Commit(NamedTuple):
    """One step of the line."""

    id: str
    author: str
    """`Name <address>`."""
    author_line: bytes
    """As in the commit object: name, address, seconds, zone."""
    committer_line: bytes
    message: bytes
    changes: list[Change]


class LeftOut(NamedTuple):
    """Distinct paths that are compared on neither side, by reason."""

    not_utf8: int
    not_a_path: int
    ignored: int
    submodules: int
    absent: int

    def total(self) -> int:
        return sum(self)


class GitError(Exception):
    """git failed, or the folder is no repository with commits."""


class Repository:
    """The source. Close it when done: it holds a `cat-file` process."""

    def __init__(self, path: str) -> None:
        self._git = ["git", "-C", path, "-c", "core.quotePath=false"]
        self._batch: subprocess.Popen[bytes] | None = None
        self._refused: dict[bytes, str] = {}

    def close(self) -> None:
        if self._batch is not None:
            assert self._batch.stdin is not None and self._batch.stdout is not None
            self._batch.stdin.close()
            self._batch.wait()
            self._batch.stdout.close()
            self._batch = None

    def __enter__(self) -> Repository:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- reading -------------------------------------------------------------------------------------------

    def line(self, limit: int | None = None) -> list[Commit]:
        """The first-parent line of HEAD, oldest first; the first `limit` commits of it only, where given."""
        ids = self._run("rev-list", "--first-parent", "--reverse", "HEAD").decode().split()[:limit]
        if not ids:
            raise GitError("the repository has no commit")
        asked = "".join(
            f"{id} {before}\n" if before else f"{id}\n" for before, id in zip(["", *ids], ids, strict=False)
        )
        tokens = self._run(
            "diff-tree",
            "--stdin",
            "--root",
            "-r",
            "-z",
            "--raw",
            "--no-renames",
            "--no-abbrev",
            given=asked.encode(),
        )
        changes: dict[str, list[Change]] = {id: [] for id in ids}
        for id, change in self._changes(tokens):
            changes[id].append(change)
        self._without_absent(changes)
        return [self._commit(id, changes[id]) for id in ids]

    def tree(self, commit: str) -> dict[str, tuple[str, str]]:
        """path → (mode, blob) of a commit, without what is left out."""
        found = {}
        for row in self._run("ls-tree", "-r", "-z", "--full-tree", commit).split(b"\0"):
            if not row:
                continue
            facts, _, raw = row.partition(b"\t")
            mode, _, blob = facts.decode().split()
            if mode != SUBMODULE and not self._refuses(raw):
                found[raw.decode()] = (mode, blob)
        return found

    def blob(self, id: str) -> bytes:
        """A blob's (or a commit's) bytes."""
        if self._batch is None:
            self._batch = subprocess.Popen(
                [*self._git, "cat-file", "--batch"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
            )
        assert self._batch.stdin is not None and self._batch.stdout is not None
        self._batch.stdin.write(f"{id}\n".encode())
        self._batch.stdin.flush()
        answer = self._batch.stdout.readline().split()
        if len(answer) != 3:
            raise GitError(f"git has no object {id}")
        data = self._batch.stdout.read(int(answer[2]) + 1)
        return data[:-1]

    def left_out(self) -> LeftOut:
        """What has been left out of what was read so far."""
        reasons = list(self._refused.values())
        return LeftOut(*(reasons.count(name) for name in LeftOut._fields))

    def _run(self, *arguments: str, given: bytes | None = None) -> bytes:
        done = subprocess.run([*self._git, *arguments], input=given, capture_output=True, check=False)
        if done.returncode:
            raise GitError(done.stderr.decode(errors="replace").strip())
        return done.stdout

    def _changes(self, tokens: bytes) -> Iterator[tuple[str, Change]]:
        """Of the NUL-terminated output of `diff-tree`: a commit's id, then for each change its facts and path."""
        commit = ""
        parts = iter(tokens.split(b"\0"))
        for part in parts:
            if not part.startswith(b":"):
                commit = part.decode()
                continue
            raw = next(parts)
            old_mode, mode, _, blob, _ = part[1:].decode().split()
            if self._refuses(raw):
                continue
            path = raw.decode()
            if mode == SUBMODULE:
                self._refused.setdefault(raw + b" (submodule)", "submodules")
            if mode in {_GONE, SUBMODULE}:
                if old_mode != SUBMODULE and old_mode != _GONE:
                    yield commit, Change(path, "", "")
            else:
                yield commit, Change(path, mode, blob)

    def _without_absent(self, changes: dict[str, list[Change]]) -> None:
        blobs = {change.blob for row in changes.values() for change in row if change.blob}
        answer = self._run("cat-file", "--batch-check", given="".join(f"{id}\n" for id in blobs).encode())
        absent = {line.split()[0].decode() for line in answer.splitlines() if line.endswith(b" missing")}
        paths = {change.path for row in changes.values() for change in row if change.blob in absent}
        self._refused.update((path.encode(), "absent") for path in paths)
        if paths:
            for id, row in changes.items():
                changes[id] = [change for change in row if change.path not in paths]

    def _refuses(self, raw: bytes) -> bool:
        reason = self._refused.get(raw)
        if reason is None:
            try:
                path = raw.decode()
            except UnicodeDecodeError:
                reason = "not_utf8"
            else:
                if names.problem(path) is not None:
                    reason = "not_a_path"
                elif ignore.BUILT_IN.covers(path) or path == ignore.FILE_NAME:
                    reason = "ignored"
                else:
                    return False
            self._refused[raw] = reason
        return True

    def _commit(self, id: str, changes: list[Change]) -> Commit:
        head, _, message = self.blob(id).partition(b"\n\n")
        lines: dict[bytes, bytes] = {}
        for line in head.split(b"\n"):
            key, _, value = line.partition(b" ")
            lines.setdefault(key, value)
        author = lines[b"author"].rpartition(b">")[0] + b">"
        return Commit(
            id, author.decode(errors="replace"), lines[b"author"], lines[b"committer"], message, changes
        )


# -- the peer --------------------------------------------------------------------------------------------------


class PeerSize(NamedTuple):
    """Bytes of a git repository after `git gc --aggressive`."""

    pack: int
    idx: int
    objects: int


def build_peer(source: Repository, line: list[Commit], folder: str) -> PeerSize:
    """The same line in a fresh bare repository, through `git fast-import`: the same trees (less what is left
    out), authors, times and messages, and nothing else. Then `git gc --aggressive --prune=now`."""
    subprocess.run(["git", "init", "--quiet", "--bare", folder], check=True)
    git = ["git", "-C", folder]
    subprocess.run([*git, "symbolic-ref", "HEAD", "refs/heads/main"], check=True)
    importer = subprocess.Popen([*git, "fast-import", "--quiet", "--done"], stdin=subprocess.PIPE)
    assert importer.stdin is not None
    _feed(source, line, importer.stdin)
    importer.stdin.close()
    if importer.wait():
        raise GitError("git fast-import failed")
    subprocess.run([*git, "gc", "--quiet", "--aggressive", "--prune=now"], check=True)
    packs = os.path.join(folder, "objects", "pack")
    sizes = {".pack": 0, ".idx": 0}
    for name in os.listdir(packs):
        ending = os.path.splitext(name)[1]
        if ending in sizes:
            sizes[ending] += os.path.getsize(os.path.join(packs, name))
    counted = subprocess.run([*git, "count-objects", "-v"], check=True, capture_output=True, text=True).stdout
    facts = dict(row.split(": ") for row in counted.splitlines())
    return PeerSize(sizes[".pack"], sizes[".idx"], int(facts["in-pack"]))


def _feed(source: Repository, line: list[Commit], out: IO[bytes]) -> None:
    marks: dict[str, int] = {}
    for commit in line:
        for change in commit.changes:
            if change.blob and change.blob not in marks:
                marks[change.blob] = len(marks) + 1
                data = source.blob(change.blob)
                out.write(b"blob\nmark :%d\ndata %d\n%b\n" % (marks[change.blob], len(data), data))
        out.write(b"commit refs/heads/main\nauthor %b\n" % commit.author_line)
        out.write(b"committer %b\n" % commit.committer_line)
        out.write(b"data %d\n%b\n" % (len(commit.message), commit.message))
        # Deletes first: a folder may take the place of a file.
        for change in sorted(commit.changes, key=lambda change: bool(change.blob)):
            name = _quoted(change.path)
            if change.blob:
                out.write(b"M %b :%d %b\n" % (change.mode.encode(), marks[change.blob], name))
            else:
                out.write(b"D %b\n" % name)
        out.write(b"\n")
    out.write(b"done\n")


def _quoted(path: str) -> bytes:
    escaped = path.encode().replace(b"\\", b"\\\\").replace(b'"', b'\\"').replace(b"\n", b"\\n")
    return b'"' + escaped + b'"'
