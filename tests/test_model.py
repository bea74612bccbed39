"""Whatever is done in whatever order, every version of every path reads back as a plain model has it.

The model is dictionaries of bytes: what lies in `Data/`, and a list of what each version held. After every
step all of history is read back and compared; pushing, cloning, opening the store again, and deleting the
catalogue or the logs must change nothing of it.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from memstore import Store
from memstore.errors import BadInput
from memstore.ids import ContentId, VersionId
from memstore.manifest.version import Kind, Version, rfc3339
from memstore.reports import CommitReport
from tests.conftest import words
from tests.plain_model import (
    EXECUTABLE,
    FILE,
    SYMLINK,
    File,
    Files,
    Plain,
    Recorded,
    Refused,
    above,
    compared,
    under,
)

# -- the machine -------------------------------------------------------------------------------------------

PATHS = [
    "Core/Rules.txt",
    "Core/Rules",
    "Core",
    "Meta/AI_Architecture.txt",
    "Archive/old.txt",
    "a",
    "a.txt",
    "a/b",
    "a/b/ü.tar.gz",
]
FOLDERS = ["", "Core", "a", "a/b", "Archive"]
TARGETS = ["nowhere", "Core", "Core/Rules.txt", "../../outside", "/etc/passwd", "../Data"]
LINES = b"".join(b"line %d of something that was said\n" % number for number in range(2000))
CONTENTS = st.one_of(
    st.sampled_from([b"", b"one\n", b"one\ntwo\n", b"two\n", LINES, LINES[:30_000], LINES[:-20] + b"!\n"]),
    st.binary(max_size=30),
)
CHANGES = ["save"] * 4 + ["append"] * 2 + ["rewrite", "touch", "delete", "mode", "link", "rename"]

_paths, _named, _numbers = st.sampled_from(PATHS), st.sampled_from(PATHS + FOLDERS), st.integers(0, 1000)
_commit = st.sampled_from(["nothing", "that path", "all"])
_at = st.sampled_from(["last", "id", "prefix", "time"])


def _call(
    verb: str, **arguments: st.SearchStrategy[object]
) -> st.SearchStrategy[tuple[str, dict[str, object]]]:
    return st.tuples(st.just(verb), st.fixed_dictionaries(arguments))


_change = _call(
    "change", how=st.sampled_from(CHANGES), path=_paths, number=_numbers, content=CONTENTS, commit=_commit
)
_restore = _call("restore", path=_named, how=_at, number=_numbers, exact=st.booleans())
STEPS = st.one_of(
    _change,
    _change,
    _change,
    _call("commit_all"),
    _call("commit_named_paths", some=st.lists(_named, min_size=1, max_size=3)),
    _call("archive", number=_numbers, keep=st.booleans()),
    _restore,
    _restore,
    _call("restore_a_reference", number=_numbers, exact=st.booleans()),
    _call("push"),
    _call("clone"),
    _call("open_again", lost=st.sampled_from(["nothing", "catalogue", "logs"])),
)
"""Not a rule for each: hypothesis would leave most rules out of most runs, and their meeting is the point."""


class Machine(RuleBasedStateMachine):
    """Every step does something to the store and to the model."""

    place: Path
    clock: ClassVar[Clock]
    count = 0

    def __init__(self) -> None:
        super().__init__()
        self.clock.reset()
        type(self).count += 1
        self.root = self.place / str(self.count)
        self.folder = self.root / "memory"
        self.data = self.folder / "Data"
        self.remote = self.root / "remote"
        self.store = Store.init(self.folder, environ={})
        self.model = Plain()
        self.pushed: int | None = None

    def teardown(self) -> None:
        try:
            self.everything_holds()
        finally:
            self.store.close()
            shutil.rmtree(self.root)

    # -- what a person or a program does in Data/ ----------------------------------------------------------

    def _put(self, path: str, file: File, keep_time: bool = False) -> None:
        for name in [name for name in self.model.disk if name in above(path) or under(name, path)]:
            if name != path or SYMLINK in (file.kind, self.model.disk[name].kind):
                self._drop(name)
        place = self.data / path
        place.parent.mkdir(parents=True, exist_ok=True)
        if file.kind == SYMLINK:
            place.symlink_to(file.content.decode())
        else:
            before = place.stat() if place.exists() else None
            place.write_bytes(file.content)
            place.chmod(0o755 if file.kind == EXECUTABLE else 0o644)
            if keep_time and before is not None:
                os.utime(place, ns=(before.st_atime_ns, before.st_mtime_ns))
        self.model.disk[path] = file

    def _drop(self, path: str) -> None:
        (self.data / path).unlink()
        for folder in reversed(above(path)):
            if not any((self.data / folder).iterdir()):
                (self.data / folder).rmdir()
        del self.model.disk[path]

    @initialize(content=CONTENTS)
    def begin(self, content: bytes) -> None:
        for path in ("Core/Rules.txt", "a/b", "a.txt"):
            self._put(path, File(FILE, content))
        self.commit_all()

    @rule(step=STEPS)
    def step(self, step: tuple[str, dict[str, Any]]) -> None:
        verb, arguments = step
        getattr(self, verb)(**arguments)

    def change(self, how: str, path: str, number: int, content: bytes, commit: str) -> None:
        """One change to a file, as a save manager or an editor makes it; mostly it is committed at once."""
        disk = self.model.disk
        if how == "link":
            self._put(path, File(SYMLINK, TARGETS[number % len(TARGETS)].encode()))
        elif how == "save":
            old = disk.get(path)
            self._put(path, File(EXECUTABLE if old is not None and old.kind == EXECUTABLE else FILE, content))
        elif not disk:
            return
        else:
            path = self._alter(how, sorted(disk)[number % len(disk)], path, content)
        if commit == "all":
            self.commit_all()
        elif commit == "that path":
            self.commit_named_paths([path])

    def _alter(self, how: str, path: str, other: str, content: bytes) -> str:
        """A change to a file that is there; returns the path to commit."""
        old = self.model.disk[path]
        if how == "touch":
            os.utime(self.data / path, (1_600_000_000, 1_600_000_000), follow_symlinks=False)
        elif how == "delete":
            self._drop(path)
        elif how == "rename" and path != other:
            self._drop(path)
            self._put(other, old)
            return other
        elif how == "append" and old.kind != SYMLINK:
            self._put(path, File(old.kind, (old.content + content)[:200_000]))
        elif how == "rewrite" and old.kind != SYMLINK and old.content:  # the same size, the same time
            self._put(path, File(old.kind, old.content[:-1] + bytes([old.content[-1] ^ 1])), keep_time=True)
        elif how == "mode" and old.kind != SYMLINK:
            self._put(path, old._replace(kind=FILE if old.kind == EXECUTABLE else EXECUTABLE))
        return path

    # -- what memsync does ---------------------------------------------------------------------------------

    def _record(self, version: Version | None, after: Files, changes: dict[str, str] | None = None) -> None:
        """A version with exactly these changes was made (or, where there are none, was not)."""
        model = self.model
        expected = compared(model.head, after) if changes is None else changes
        if not expected:
            assert version is None
            return
        assert version is not None
        assert words(version.changes) == expected
        before = model.head
        for change in version.changes:
            archives = change.change.word in ("replace", "delete", "archive")
            assert (change.archived_as is not None) == archives
            if change.archived_as is not None:
                stands_for = (change.path, before[change.path])
                model.references.setdefault(change.archived_as, set()).add(stands_for)
        assert version.time_ms >= max((old.time_ms for old in model.versions), default=0)
        model.head = dict(after)
        model.versions.append(Recorded(version.id, version.time_ms, model.head, expected))

    def _version(self, id: VersionId | None) -> Version | None:
        return None if id is None else self.store.version(id)

    def commit_all(self) -> None:
        self._record(self.store.commit(), self.model.committed(None))

    def commit_named_paths(self, some: list[str]) -> None:
        spelled = [path or "." for path in some]
        try:
            after = self.model.committed(some)
        except Refused:
            with pytest.raises(BadInput):
                self.store.commit(spelled)
            return
        self._record(self.store.commit(spelled), after)

    def archive(self, number: int, keep: bool) -> None:
        if not self.model.disk:
            return
        path = sorted(self.model.disk)[number % len(self.model.disk)]
        saved = self.model.committed([path])
        had = len(self.model.versions)
        report: CommitReport = self.store.archive([path], keep=keep)
        assert not report.warnings
        assert report.version is not None
        if compared(self.model.head, saved):
            self._record(self._version(report.version.parents[0]), saved)
        self._record(
            report.version,
            saved if keep else {name: file for name, file in saved.items() if name != path},
            {path: "archive"},
        )
        assert len(self.model.versions) > had
        if not keep:
            del self.model.disk[path]

    def _restore(self, path: str, at: str | VersionId | None, version: int | None, exact: bool) -> None:
        try:
            chosen = self.model.at(path, version)
        except Refused:
            with pytest.raises(BadInput):
                self.store.restore([path or "."], at=at, exact=exact)
            return
        self._bring_back(path, at, chosen, exact, path)

    def _bring_back(
        self, path: str, at: str | VersionId | None, chosen: Files, exact: bool, folder: str | None = None
    ) -> None:
        try:
            saved, after, disk = self.model.restored(chosen, folder, exact)
        except Refused:
            with pytest.raises(BadInput):
                self.store.restore([path or "."], at=at, exact=exact)
            return
        report = self.store.restore([path or "."], at=at, exact=exact)
        assert not report.warnings
        self._record(self._version(report.saved_first), saved)
        self._record(self._version(report.version), after)
        assert bool(report.notes) == (report.version is None and disk == self.model.disk)
        self.model.disk = disk

    def restore(self, path: str, how: str, number: int, exact: bool) -> None:
        versions = self.model.versions
        meant = number % len(versions)
        row = versions[meant]
        if how == "last":
            self._restore(path, None, None, exact)
        elif how == "time":
            covered = row.time_ms + (
                0 if row.time_ms % 1000 else 999
            )  # a whole second is written without more
            meant = max(at for at, version in enumerate(versions) if version.time_ms <= covered)
            self._restore(path, rfc3339(row.time_ms), meant, exact)
        else:
            self._restore(path, row.id if how == "id" else str(row.id)[:16], meant, exact)

    def restore_a_reference(self, number: int, exact: bool) -> None:
        if not self.model.references:
            return
        name = sorted(self.model.references)[number % len(self.model.references)]
        (path, file), *others = self.model.references[name]
        if not others:  # else they have the same bytes, and a mode alone tells them apart
            self._bring_back(name, None, {path: file}, exact)

    def push(self) -> None:
        if self.store.remote() is None:
            self.store.set_remote(str(self.remote))
        report = self.store.push()
        news = len(self.model.versions) - (self.pushed or 0)
        assert report.error is None
        assert not report.warnings
        assert report.versions == news
        self.pushed = len(self.model.versions) if self.model.versions else None
        for path, file in self.model.head.items():
            if file.kind != SYMLINK:
                assert (self.remote / path).read_bytes() == file.content

    def clone(self) -> None:
        if self.pushed is None:
            return
        folder = self.root / "clone"
        versions = self.model.versions[: self.pushed]
        with Store.clone(str(self.remote), folder, environ={}) as store:
            self._same_history(store, versions)
            assert on_disk(folder / "Data") == versions[-1].files
            assert store.status().clean
            assert store.commit() is None
            assert store.verify().ok
        shutil.rmtree(folder)

    def open_again(self, lost: str) -> None:
        """After the catalogue or the logs were deleted: neither holds anything that history needs."""
        self.store.close()
        for place in [*self.folder.glob("*_log.json"), *(self.folder / ".memsync").glob("catalogue.sqlite*")]:
            if place.name.startswith("catalogue") == (lost == "catalogue") and lost != "nothing":
                place.unlink()
        self.store = Store.open(self.folder, environ={})

    # -- what always holds ---------------------------------------------------------------------------------

    @invariant()
    def history_reads_back(self) -> None:
        model, store = self.model, self.store
        assert on_disk(self.data) == model.disk
        assert store.head() == (model.versions[-1].id if model.versions else None)
        self._same_history(store, model.versions)
        pending = {row.path: row.change.word for row in store.status().changes}
        assert pending == compared(model.head, model.disk)
        if model.versions:
            newest = model.versions[-1]
            for path, file in newest.files.items():
                assert store.read(path, at=newest.id) == file.content

    def _same_history(self, store: Store, versions: list[Recorded]) -> None:
        """Each version holds the paths that it should, and each of their contents reads back."""
        for version in versions:
            found = {row.path: (row.kind, row.content) for row in store.repository.entries(version.id)}
            assert found == {path: identity(file) for path, file in version.files.items()}
        contents = {file.content for version in versions for file in version.files.values()}
        for content in contents:
            assert store.repository.read(ContentId.of(content)) == content
        for name, stands_for in self.model.references.items() if store is self.store else ():
            assert store.read(name) in {file.content for _, file in stands_for}

    def everything_holds(self) -> None:
        """The whole of it once more, through the public API alone."""
        self.history_reads_back()
        report = self.store.verify()
        assert report.problems == ()
        assert report.versions == len(self.model.versions)
        told = list(self.store.history())[::-1]
        assert [version.id for version in told] == [version.id for version in self.model.versions]
        assert [words(version.changes) for version in told] == [row.changes for row in self.model.versions]
        for path in PATHS:
            for version in self.model.versions:
                if path in version.files:
                    assert self.store.read(path, at=version.id) == version.files[path].content
                else:
                    with pytest.raises(BadInput):
                        self.store.read(path, at=version.id)
            changed = [
                row.id for row in self.model.versions if any(under(name, path) for name in row.changes)
            ]
            if changed:
                assert [version.id for version in self.store.history(path)] == changed[::-1]


def identity(file: File) -> tuple[Kind, ContentId]:
    return Kind[file.kind.upper()], ContentId.of(file.content)


def on_disk(folder: Path) -> Files:
    found = {}
    for place, folders, names in os.walk(folder):
        links = [name for name in folders if os.path.islink(os.path.join(place, name))]
        for name in [*names, *links]:
            path = Path(place, name)
            if path.is_symlink():
                file = File(SYMLINK, os.readlink(path).encode())
            else:
                file = File(EXECUTABLE if path.stat().st_mode & 0o100 else FILE, path.read_bytes())
            found[path.relative_to(folder).as_posix()] = file
    return found


# -- profiles ----------------------------------------------------------------------------------------------


class Clock:
    """Five versions or so a second, and the same times whenever an example is run again."""

    def __init__(self) -> None:
        self.now = 0

    def reset(self) -> None:
        self.now = 1_745_416_920_000_000_000  # 2025-04-23T14:02:00Z

    def __call__(self) -> int:
        self.now += 100_000_000
        return self.now


def run(place: Path, seeds: Iterable[int], examples: int, steps: int) -> None:
    """A few examples of each seed: hypothesis makes most of a long run by altering what it made before."""
    for number in seeds:
        one_run(place, number, examples, steps)


def one_run(place: Path, number: int, examples: int, steps: int) -> None:
    class Here(Machine):
        pass

    Here.place, Here.clock = place / str(number), Clock()
    chosen = settings(
        max_examples=examples,
        stateful_step_count=steps,
        database=None,
        deadline=None,
        report_multiple_bugs=False,
        phases=[Phase.generate, Phase.shrink],  # explaining costs more than it tells here
        suppress_health_check=list(HealthCheck),
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(time, "time_ns", Here.clock)
        for name in ("fsync", "fdatasync", "sync"):  # no power cut here, and a busy disk makes them slow
            patch.setattr(os, name, lambda *descriptor: None, raising=False)
        run_state_machine_as_test(seed(number)(Here), settings=chosen)


def test_every_version_reads_back_whatever_was_done(tmp_path: Path) -> None:
    run(tmp_path, range(6), 4, 30)


@pytest.mark.soak
def test_every_version_reads_back_whatever_was_done_for_long(tmp_path: Path) -> None:
    first = int.from_bytes(os.urandom(4), "big")
    run(tmp_path, range(first, first + 300), 6, 60)
