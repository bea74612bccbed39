"""A file-sync program over the whole workspace, `.memsync` included: nobody should, and nothing is lost.

Two folders with one past go on apart: commits, restores, pushes, unfinished work. Then every file is
synchronised by itself, as such programs do it: what only one side changed is taken, and of what both changed
one of the two files wins, whichever. That is done to either folder, and work goes on, and again.
"""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from memstore.ids import ContentId, VersionId
from memstore.store import Store
from tests.folder_place import Place, without_waiting

ROUNDS = 3


class Copies:
    """Folders of one past, and every content and version that was ever committed in one of them."""

    def __init__(self, base: Path, seed: int, *, original: bool) -> None:
        self.base = base
        self.random = random.Random(seed)
        self.contents: dict[ContentId, bytes] = {}
        self.versions: set[VersionId] = set()
        self.number = 0
        first = base / "first"
        Store.init(first, environ={}).close()
        with self.open(first) as store:
            store.set_remote(str(base / "remote"))
        for _ in range(self.random.randrange(5)):
            self.work(first)
        # What the sync program remembers of its last run: all sides were alike.
        self.past = base / "past"
        shutil.copytree(first, self.past, symlinks=True)
        shutil.copytree(first, base / "second", symlinks=True)
        if not original:
            shutil.copytree(first, base / "third", symlinks=True)
        self.sides = (base / ("first" if original else "third"), base / "second")

    def open(self, root: Path) -> Store:
        return Store.open(root, environ={})

    # -- work ----------------------------------------------------------------------------------------------

    def work(self, root: Path) -> None:
        """One command, or an edit that nobody commits."""
        dice = self.random
        self.number += 1
        path = root / "Data" / dice.choice(("a.txt", "b.txt", "Core/c.txt", "Core/d.bin"))
        path.parent.mkdir(parents=True, exist_ok=True)
        before = path.read_bytes() if path.exists() else b""
        line = b"%s, turn %d\n" % (root.name.encode(), self.number)
        verb = dice.choice(("edit", "append", "append", "replace", "delete", "restore", "push", "archive"))
        if verb in ("edit", "append"):
            path.write_bytes(before + line)
        elif verb == "replace":
            path.write_bytes(line * dice.randrange(1, 200))
        elif verb == "delete":
            path.unlink(missing_ok=True)
        with self.open(root) as store:
            known = [row.path for row in store.ls()] if store.head() else []
            if verb in ("append", "replace", "delete"):
                store.commit(allow_deletions=True)
            elif verb == "push" and store.head():
                assert store.push().error is None
            elif verb == "restore" and known:
                versions = [*store.history()]
                store.restore(["."], at=dice.choice(versions), exact=dice.random() < 0.3)
            elif verb == "archive" and known:
                name = dice.choice(known)
                if (root / "Data" / name).exists():
                    store.archive([name])
            self.remember(store)

    def remember(self, store: Store) -> None:
        for version in store.history():
            if version.id not in self.versions:
                self.versions.add(version.id)
                for change in version.changes:
                    if change.entry is not None:
                        content = change.entry.content
                        self.contents[content] = store.repository.read(content)

    # -- the sync program ----------------------------------------------------------------------------------

    def synchronise(self) -> None:
        """Both folders, file by file; each clash falls as it may, and not the same way in both."""
        now = [files(side) for side in self.sides]
        past = files(self.past)
        for side, (mine, theirs) in zip(self.sides, (now, now[::-1]), strict=True):
            for name in sorted(mine.keys() | theirs.keys()):
                self._lay(side / name, past.get(name), mine.get(name), theirs.get(name))
        shutil.rmtree(self.past)
        shutil.copytree(self.sides[0], self.past, symlinks=True)

    def _lay(self, place: Path, past: bytes | None, mine: bytes | None, theirs: bytes | None) -> None:
        if theirs in (mine, past):
            return
        if mine != past and (theirs is None or (mine is not None and self.random.random() < 0.5)):
            return  # a clash, and ours wins; a file that was changed wins over one that was deleted
        if theirs is None:
            place.unlink()
            return
        place.parent.mkdir(parents=True, exist_ok=True)
        if self.random.random() < 0.5:
            place.write_bytes(theirs)  # into the file that is there
        else:
            beside = place.with_name(place.name + ".sync")
            beside.write_bytes(theirs)
            os.replace(beside, place)

    def check(self, root: Path) -> None:
        with self.open(root) as store:
            report = store.verify()
            assert report.problems == (), [problem.as_json() for problem in report.problems]
            here = {version.id for version in store.history()}
            assert self.versions <= here, f"{len(self.versions - here)} versions are lost in {root.name}"
            for content, data in self.contents.items():
                assert store.repository.read(content) == data
            store.status()
            self.remember(store)


def files(root: Path) -> dict[str, bytes]:
    """Every file of a workspace, the store's included."""
    return {
        os.path.relpath(os.path.join(folder, name), root): Path(folder, name).read_bytes()
        for folder, _, names in os.walk(root)
        for name in names
    }


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    without_waiting(monkeypatch)
    yield


def played(base: Path, seed: int, *, original: bool) -> None:
    copies = Copies(base, seed, original=original)
    for _ in range(ROUNDS):
        for side in copies.sides:
            for _ in range(copies.random.randrange(1, 5)):
                copies.work(side)
        copies.synchronise()
        for side in copies.sides:
            copies.check(side)
    devices = set()
    for side in copies.sides:
        with copies.open(side) as store:
            devices.add(store.repository.device.id)
    assert len(devices) == len(copies.sides)


@pytest.mark.parametrize("seed", range(3))
def test_two_copies_laid_over_one_another_lose_nothing(tmp_path: Path, seed: int) -> None:
    played(tmp_path, seed, original=False)


@pytest.mark.parametrize("seed", range(3))
def test_a_copy_and_its_original_laid_over_one_another_lose_nothing(tmp_path: Path, seed: int) -> None:
    played(tmp_path, seed, original=True)


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(100, 400))
@pytest.mark.parametrize("original", [False, True])
def test_careless_syncs_lose_nothing(tmp_path: Path, seed: int, original: bool) -> None:
    played(tmp_path, seed, original=original)


# -- empty folders that were left out --------------------------------------------------------------------------


def test_a_store_whose_empty_packs_folder_was_left_out_pushes_and_one_that_lost_it_is_mended(
    tmp_path: Path,
) -> None:
    place = Place(tmp_path)
    packs = place.root / ".memsync" / "packs"
    place.commit({"a.txt": b"a\n"})
    packs.rmdir()
    assert place.push().status == "success"
    place.commit({"b.txt": b"b\n"})
    shutil.rmtree(packs)
    with place.open() as store:
        report = store.repair()
        assert report.mended and not report.problems
        assert store.verify().ok
    assert place.push().status == "success"
    with place.open() as store:
        assert (store.read("a.txt"), store.read("b.txt")) == (b"a\n", b"b\n")


@pytest.mark.parametrize("copied", [False, True])
@pytest.mark.parametrize("all_packs", [False, True])
def test_packs_that_were_left_out_are_missed_though_the_catalogue_was_left_out_as_well(
    tmp_path: Path, copied: bool, all_packs: bool
) -> None:
    place = Place(tmp_path)
    place.commit({"a.txt": b"a\n"})
    place.push()
    first = set((place.root / ".memsync" / "packs").iterdir())
    newest = place.commit({"b.txt": b"b\n"})
    place.push()
    if copied:
        shutil.copytree(place.root, tmp_path / "copy")
        place = Place.at(tmp_path / "copy", place.remote)
    state = place.root / ".memsync"
    for pack in (state / "packs").iterdir():
        if all_packs or pack.name not in {path.name for path in first}:
            pack.unlink()
    for file in state.glob("catalogue.*"):
        file.unlink()
    shutil.move(place.remote, tmp_path / "away")
    for _ in range(2):
        with place.open() as store:
            report = store.repair()
            assert newest in {problem.id for problem in report.problems if problem.kind == "missing_version"}
            assert newest in (state / "reflog").read_text()
    shutil.move(tmp_path / "away", place.remote)
    with place.open() as store:
        report = store.repair()
        if not copied:  # a copy does not know what its remote has before it has been there
            assert not report.problems
            assert not any("damaged or gone" in note for note in report.notes)
        assert store.pull().version is not None
        assert (store.read("a.txt", at=newest), store.read("b.txt", at=newest)) == (b"a\n", b"b\n")
        assert store.verify().ok
