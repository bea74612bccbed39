"""The replay of a git history gives back what git has, and would notice if it did not."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from benchmarks import machine, replay
from benchmarks.git_history import Repository

pytestmark = [
    pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed"),
    pytest.mark.skipif(os.name == "nt", reason="the history has links and mode bits"),
]


class Source:
    """A small git repository that is written step by step."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.commits = 0
        folder.mkdir()
        self.git("init", "--quiet", "--initial-branch=main")

    def git(self, *arguments: str) -> str:
        who = {
            "GIT_AUTHOR_NAME": "Ada",
            "GIT_AUTHOR_EMAIL": "ada@example.org",
            "GIT_COMMITTER_NAME": "Ada",
            "GIT_COMMITTER_EMAIL": "ada@example.org",
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_CONFIG_SYSTEM": os.devnull,
        }
        return subprocess.run(
            ["git", "-C", str(self.folder), *arguments],
            check=True,
            capture_output=True,
            text=True,
            env={**os.environ, **who},
        ).stdout

    def write(self, path: str, content: bytes) -> None:
        place = self.folder / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)

    def commit(self, note: str) -> None:
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "--message", note)
        self.commits += 1


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Source:
    """20 commits: appends, replaces, renames, deletes, bytes, mode bits, links, what memsync leaves out."""
    source = Source(tmp_path_factory.mktemp("source") / "repository")
    text = b"".join(b"line %d of the rules\n" % number for number in range(200))
    source.write("Core/Rules.txt", text)
    source.write("Meta/one", b"1")
    source.commit("two files")
    source.write("Core/Rules.txt", text + b"one more\n")
    source.commit("an append")
    source.write("Core/Rules.txt", text.replace(b"line 7 ", b"line seven "))
    source.write("Meta/one", b"another short one")
    source.commit("two replaces")
    source.write("Pictures/noise.bin", bytes((number * 7919) % 251 for number in range(50_000)))
    source.commit("bytes that are no text")
    source.git("mv", "Core/Rules.txt", "Core/Order.txt")
    source.commit("a rename")
    source.write("tools/run.sh", b"#!/bin/sh\n")
    source.commit("a script")
    (source.folder / "tools/run.sh").chmod(0o755)
    source.commit("the script can be run")
    (source.folder / "latest").symlink_to("Core/Order.txt")
    source.commit("a link")
    (source.folder / "latest").unlink()
    (source.folder / "latest").symlink_to("Meta/one")
    source.commit("the link leads elsewhere")
    (source.folder / "Meta/one").unlink()
    source.write("Meta/one/two", b"where a file was, a folder is")
    source.commit("a folder takes a file's place")
    shutil.rmtree(source.folder / "Meta/one")
    source.write("Meta/one", b"")
    source.commit("and an empty file takes the folder's")
    (source.folder / "latest").unlink()
    source.write("latest", b"a file now")
    source.commit("a file takes the link's place")
    source.write("noise.tmp", b"is left out")
    source.write(".memsyncignore", b"*\n")
    source.commit("only what memsync leaves out")
    source.write('Core/Grüße mit "Zeichen" \\ und\nUmbruch.txt', b"names\n")
    source.commit("a name with everything in it")
    source.git("checkout", "--quiet", "-b", "side", "HEAD~2")
    source.write("side.txt", b"from the side\n")
    source.git("add", "--all")
    source.git("commit", "--quiet", "--message", "on the side")
    source.git("checkout", "--quiet", "main")
    source.git("merge", "--quiet", "--no-ff", "--message", "a merge", "side")
    source.commits += 1
    source.commit("nothing at all")
    # Straight into the index: not every disk takes such a name. The next commit is without it again.
    blob = source.git("rev-parse", "HEAD:side.txt").strip()
    source.git("update-index", "--add", "--cacheinfo", f"100644,{blob},latin-\udce9.txt")
    source.git("commit", "--quiet", "--message", "a name that is not UTF-8")
    source.commits += 1
    (source.folder / "tools/run.sh").chmod(0o644)
    source.commit("the script can't be run")
    (source.folder / "Pictures/noise.bin").unlink()
    source.commit("a delete")
    source.write("Core/Rules.txt", text)
    source.commit("the old rules again")
    assert source.commits == 20
    return source


def test_a_replayed_history_gives_back_what_git_has(source: Source, tmp_path: Path) -> None:
    result = replay.replay(str(source.folder), str(tmp_path), every=3, pairs=200)
    assert result.differences == []
    assert result.commits == 20
    # Left out, nothing at all, and the name that is not UTF-8 make no version.
    assert result.versions == 17
    assert result.compared > 150
    assert result.left_out.not_utf8 == 1
    assert result.left_out.ignored == 2
    assert result.files == len(source.git("ls-files", "-z").split("\0")) - 1 - 2
    assert result.pushes == 6
    assert result.remote_files >= 3
    assert result.mirror_files >= result.files


def test_the_git_repository_to_compare_with_has_the_same_trees(source: Source, tmp_path: Path) -> None:
    result = replay.replay(str(source.folder), str(tmp_path), pairs=1)
    assert result.git is not None
    with Repository(str(source.folder)) as mine, Repository(str(tmp_path / "peer.git")) as peer:
        ours, theirs = mine.line(), peer.line()
        assert [commit.message for commit in ours] == [commit.message for commit in theirs]
        assert [mine.tree(commit.id) for commit in ours] == [peer.tree(commit.id) for commit in theirs]


def test_a_bare_repository_will_do(source: Source, tmp_path: Path) -> None:
    bare = tmp_path / "bare.git"
    source.git("clone", "--quiet", "--bare", ".", str(bare))
    result = replay.replay(str(bare), str(tmp_path / "work"), limit=5, pairs=20, peer=False)
    assert (result.commits, result.differences, result.git) == (5, [], None)


def test_a_path_whose_content_the_repository_lacks_is_left_out_and_counted(
    source: Source, tmp_path: Path
) -> None:
    bare = tmp_path / "bare.git"
    source.git("clone", "--quiet", "--bare", "--no-hardlinks", ".", str(bare))
    lost = source.git("rev-parse", "HEAD~5:Pictures/noise.bin").strip()
    for pack in (bare / "objects" / "pack").glob("*.pack"):
        kept = tmp_path / pack.name
        pack.rename(kept)
        subprocess.run(["git", "-C", str(bare), "unpack-objects", "-q"], stdin=kept.open("rb"), check=True)
    (bare / "objects" / lost[:2] / lost[2:]).unlink()
    result = replay.replay(str(bare), str(tmp_path / "work"), pairs=50, peer=False)
    assert (result.differences, result.left_out.absent) == ([], 1)


def test_a_byte_that_differs_makes_the_replay_fail(
    source: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    written = replay._write_file

    def other(path: str, mode: str, content: bytes) -> None:
        written(path, mode, content.replace(b"line seven", b"line Seven"))

    monkeypatch.setattr(replay, "_write_file", other)
    assert replay.main([str(source.folder), "--no-git", "--work", str(tmp_path / "work")]) == 1
    assert "Core/Order.txt" in capsys.readouterr().err


def test_a_result_replaces_its_own_section_and_no_other(tmp_path: Path) -> None:
    document = tmp_path / "benchmarks.md"
    document.write_text("# Measurements\n\nbefore\n", encoding="utf-8")
    machine.write_section(str(document), "replay a", "first of a")
    machine.write_section(str(document), "replay b", "first of b")
    machine.write_section(str(document), "replay a", "second of a")
    text = document.read_text(encoding="utf-8")
    assert text.startswith("# Measurements\n\nbefore\n")
    assert "first of a" not in text
    assert text.index("second of a") < text.index("first of b")


def test_a_report_names_no_place_of_this_machine(
    source: Source, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    document = tmp_path / "benchmarks.md"
    arguments = [str(source.folder), "--name", "somebody/notes", "--limit", "4", "--write", str(document)]
    assert replay.main([*arguments, "--json", "--work", str(tmp_path / "work")]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["left_out"]["ignored"] == 0 and printed["git"]["pack"] > 0
    text = document.read_text(encoding="utf-8")
    assert "### somebody/notes" in text
    assert str(tmp_path) not in text and os.sep + "work" not in text
