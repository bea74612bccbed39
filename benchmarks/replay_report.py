"""What a replay measured, and how it is told."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from benchmarks import machine
from benchmarks.git_history import LeftOut, PeerSize


@dataclass
class Result:
    """What a replay measured. Sizes in bytes, times in seconds."""

    name: str
    commits: int
    versions: int
    """Commits that changed nothing memsync keeps make none."""
    objects: int
    files: int
    """In the final tree."""
    plain: int
    """Bytes of all distinct contents, before any encoding."""
    left_out: LeftOut
    commit_seconds: float
    """In `store.commit()`."""
    write_seconds: float
    """Writing the changed files into `Data/`, which a save manager does anyway."""
    push_seconds: float
    pushes: int
    clone_seconds: float
    read_seconds: float
    """For the pairs that were read back."""
    store: int
    """Packs and segments."""
    packs: int
    catalogue: int
    git: PeerSize | None
    remote: int
    """The remote's own `.memsync`: packs, heads, format."""
    remote_files: int
    mirror: int
    mirror_files: int
    compared: int
    differences: list[str]

    @property
    def git_size(self) -> int:
        return self.git.pack + self.git.idx if self.git else 0


def rows(result: Result) -> list[tuple[str, str]]:
    """What was measured, for people."""
    seconds = result.commit_seconds
    found = [
        ("commits (first-parent line)", f"{result.commits:,}"),
        ("versions", f"{result.versions:,}"),
        ("objects, and their plain bytes", f"{result.objects:,}, {_size(result.plain)}"),
        ("files in the last version", f"{result.files:,}"),
        ("commits a second, memsync's own time", f"{result.commits / seconds:,.0f}"),
        (
            "commits a second, with the writing of files",
            f"{result.commits / (seconds + result.write_seconds):,.0f}",
        ),
        ("packs and segment", f"{_size(result.store)} in {result.packs} packs"),
    ]
    if result.git:
        found += [
            (
                "git's pack and index after `gc --aggressive`",
                f"{_size(result.git.pack)} + {_size(result.git.idx)}",
            ),
            ("packs and segment / git", f"**{result.store / result.git_size:.3f}**"),
            (
                "catalogue (a cache)",
                f"{_size(result.catalogue)}, {result.catalogue / result.git_size:.2f} of git",
            ),
        ]
    else:
        found.append(("catalogue (a cache)", _size(result.catalogue)))
    left = result.left_out
    found += [
        ("remote: packs, heads, format", f"{_size(result.remote)} in {result.remote_files:,} files"),
        (
            "remote: the readable mirror with its archive",
            f"{_size(result.mirror)} in {result.mirror_files:,} files",
        ),
        (f"{result.pushes} pushes", f"{result.push_seconds:.1f} s"),
        ("clone", f"{result.clone_seconds:.1f} s"),
        (
            f"{result.compared} contents read back from the clone, at random",
            f"{1000 * result.read_seconds / max(1, result.compared):.1f} ms each",
        ),
        (
            "paths left out on both sides",
            f"{left.total()} ({left.not_utf8} not UTF-8, {left.not_a_path} no paths of memsync's, "
            f"{left.ignored} ignored, {left.submodules} submodules, {left.absent} not whole in this copy)",
        ),
        ("differences", str(len(result.differences))),
    ]
    return found


def section(result: Result, every: int, limit: int | None) -> str:
    """The result's section of docs/benchmarks.md."""
    whole = "the whole history" if limit is None else f"the first {result.commits:,} commits"
    table = "\n".join(f"| {what} | {value} |" for what, value in rows(result))
    return (
        f"### {result.name}\n\n{datetime.now(UTC):%Y-%m-%d}; {machine.describe()}; {machine.versions()}. "
        f"{whole[0].upper()}{whole[1:]}, a push to a folder every {every} versions, no collection of any kind.\n\n"
        f"| | |\n| --- | --- |\n{table}"
    )


def _size(number: int) -> str:
    return f"{number / 1e6:.2f} MB"
