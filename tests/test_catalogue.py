"""The catalogue is a cache: whatever it says can be had again from segments and packs, and its manifests are
those of a plain replay."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from memstore import Store, files
from memstore.errors import DiskTrouble, StoreLocked
from memstore.ids import ContentId, VersionId
from memstore.manifest import history, records
from memstore.manifest.version import Change, ChangeKind, Entry, Kind, Meta, Version
from memstore.manifest.version_format import encode_again
from memstore.objects.catalogue import Catalogue
from memstore.objects.connection import CatalogueDamaged
from tests.conftest import Memory

STORE = b"s" * 16
Manifest = dict[str, Entry]

# -- manifests against a plain replay ----------------------------------------------------------------------

PATHS = ["a", "a/b", "a/b/c", "a.txt", "b", "é", "z/\U0001f600", "z0", "Z"]


@st.composite
def histories(draw: st.DrawFn) -> list[Version]:
    """Versions with forks and merges, parents before children; each changes a few paths."""
    made: list[Version] = []
    for number in range(draw(st.integers(1, 14))):
        ids = [version.id for version in made]
        parents: list[VersionId] = []
        if made:
            # The newest more often than not: lines, and now and then something that springs from them.
            parents.append(ids[-1] if draw(st.booleans()) else draw(st.sampled_from(ids)))
            if draw(st.integers(0, 5)) == 0:
                parents += [id for id in [draw(st.sampled_from(ids))] if id not in parents]
        generation = 1 + max((row.generation for row in made if row.id in parents), default=0)
        changes = []
        for path in sorted(draw(st.sets(st.sampled_from(PATHS), max_size=4))):
            entry = None
            if draw(st.integers(0, 3)):
                content = draw(st.binary(max_size=2))
                entry = Entry(path, Kind.FILE, len(content), ContentId.of(content), number)
            changes.append(Change(path, ChangeKind.REPLACE if entry else ChangeKind.DELETE, entry))
        version = Version(
            VersionId.of(b""),
            tuple(parents),
            generation,
            1_000 + number // 2,
            "device",
            "00000000",
            Meta(note=f"turn {number}"),
            tuple(changes),
        )
        made.append(version._replace(id=VersionId.of(encode_again(version))))
    return made


def replayed(versions: Sequence[Version]) -> dict[VersionId, Manifest]:
    """What each version holds: its first parent's manifest with its changes applied."""
    manifests: dict[VersionId, Manifest] = {}
    for version in versions:
        manifest = dict(manifests[version.parents[0]]) if version.parents else {}
        for change in version.changes:
            if change.entry is None:
                manifest.pop(change.path, None)
            else:
                manifest[change.path] = change.entry
        manifests[version.id] = manifest
    return manifests


def rows(manifest: Manifest, under: str = "") -> list[tuple[str, int, int, bytes, int]]:
    return [
        (entry.path, int(entry.kind), entry.size, bytes(entry.content), entry.modified_ms)
        for entry in sorted(manifest.values(), key=lambda entry: entry.path.encode())
        if not under or entry.path == under or entry.path.startswith(under + "/")
    ]


@pytest.fixture
def catalogue(tmp_path: Path) -> Iterator[Catalogue]:
    """One file for all examples of a test: each rolls its own back."""
    made = Catalogue(str(tmp_path / "catalogue.sqlite"), STORE)
    yield made
    made.close()


@contextlib.contextmanager
def example(catalogue: Catalogue) -> Iterator[None]:
    catalogue.db.execute("BEGIN")
    try:
        yield
    finally:
        catalogue.db.execute("ROLLBACK")


@given(histories(), st.randoms(use_true_random=False), st.sampled_from(["", *PATHS]))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)
def test_every_manifest_is_that_of_a_plain_replay_whatever_the_order_of_reading(
    catalogue: Catalogue, versions: list[Version], shuffler: random.Random, under: str
) -> None:
    with example(catalogue):
        order = list(versions)
        shuffler.shuffle(order)
        for version in sorted(order, key=lambda version: version.generation):
            assert history.add_version(catalogue, version, 1, 0, -1)
        for version in versions:
            assert history.add_version(catalogue, version, 1, 0, -1)  # met a second time
        for id, manifest in replayed(versions).items():
            seq = catalogue.seq(id)
            assert seq is not None
            assert list(history.entries_at(catalogue, seq)) == rows(manifest)
            assert list(history.entries_at(catalogue, seq, under)) == rows(manifest, under)
            assert catalogue.files_at(seq) == len(manifest)
            with (
                pytest.MonkeyPatch.context() as patch
            ):  # as very large versions are read, a few paths at a time
                patch.setattr(records, "LARGE", 0)
                patch.setattr(records, "AT_ONCE", 2)
                assert list(history.entries_at(catalogue, seq)) == rows(manifest)
            for path in PATHS:
                found = history.entry_at(catalogue, seq, path)
                entry = manifest.get(path)
                expected = None if entry is None else rows({path: entry})[0][1:]
                assert (None if found is None else found[:4]) == expected
            history.replace_tree(catalogue, seq)
            assert [row[:5] for row in catalogue.tree()] == rows(manifest)
            assert [row[:5] for row in catalogue.tree(under)] == rows(manifest, under)
            assert catalogue.tree_totals() == (len(manifest), sum(entry.size for entry in manifest.values()))
        parents = {parent for version in versions for parent in version.parents}
        assert set(catalogue.heads()) == {version.id for version in versions} - parents
        read = list(history.versions_of(catalogue))
        log_order = sorted(versions, key=lambda version: (-version.time_ms, -version.generation, version.id))
        assert [version.id for version in read] == [version.id for version in log_order]
        for version in read:
            original = next(row for row in versions if row.id == version.id)
            assert version == original


@given(histories(), st.data())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40, deadline=None)
def test_ancestry_is_that_of_a_plain_walk(
    catalogue: Catalogue, versions: list[Version], data: st.DataObject
) -> None:
    with example(catalogue):
        above: dict[VersionId, set[VersionId]] = {}
        for version in versions:
            history.add_version(catalogue, version, 1, 0, -1)
            above[version.id] = {version.id}.union(*(above[parent] for parent in version.parents))
        older, newer = (data.draw(st.sampled_from(versions)).id for _ in range(2))
        first, second = catalogue.seq(older), catalogue.seq(newer)
        assert first is not None
        assert second is not None
        assert history.is_ancestor(catalogue, first, second) == (older in above[newer])


def test_a_version_whose_parent_is_not_here_waits_for_it(catalogue: Catalogue) -> None:
    first = Version(VersionId.of(b"1"), (), 1, 1, "d", "00000000", Meta(), ())
    second = Version(VersionId.of(b"2"), (first.id,), 2, 2, "d", "00000000", Meta(), ())
    assert not history.add_version(catalogue, second, 1, 0, -1)
    assert catalogue.seq(second.id) is None
    assert history.add_version(catalogue, first, 1, 0, -1)
    assert history.add_version(catalogue, second, 1, 0, -1)
    assert catalogue.db.execute("SELECT count(*) FROM strays").fetchone() == (0,)
    assert catalogue.heads() == [second.id]


# -- deleting it -------------------------------------------------------------------------------------------


def meaning(store: Store) -> dict[str, Any]:
    """All that the catalogue says, in words that do not depend on the order in which it was told: no row
    numbers, and no stat cache."""
    store.repository.refresh()
    catalogue = store.repository.catalogue
    db = catalogue.db

    def names(query: str) -> list[Any]:
        return sorted(db.execute(query).fetchall(), key=repr)

    manifests = {}
    for seq, id in db.execute("SELECT seq, id FROM versions").fetchall():
        manifests[id] = list(history.entries_at(catalogue, seq))
    return {
        "head": store.head(),
        "heads": catalogue.heads(),
        "versions": names(
            "SELECT v.id, v.time, v.generation, p.id, v.weight, places.name, v.offset, v.inner "
            "FROM versions v JOIN places USING (place) LEFT JOIN versions p ON p.seq = v.parent"
        ),
        "records": names("SELECT versions.id, encoded FROM records JOIN versions USING (seq)"),
        "read": list(history.versions_of(catalogue)),
        "other parents": names(
            "SELECT v.id, p.id FROM other_parents o JOIN versions v USING (seq) JOIN versions p ON p.seq = o.parent"
        ),
        "changes": names(
            "SELECT versions.id, paths.name, change, gone, archived FROM changes "
            "JOIN versions USING (seq) JOIN paths USING (path)"
        ),
        "lines": names("SELECT count(*), min(id) FROM versions GROUP BY line"),
        "strays": names("SELECT id FROM strays"),
        "tree": [row[:5] for row in catalogue.tree()],
        "objects": names("SELECT short, name, offset, inner, cost FROM objects JOIN places USING (place)"),
        "located": sorted(
            (name, id, *row._replace(place=0))
            for name, (place, *_) in catalogue.places().items()
            for id, row in catalogue.objects_in(place)
        ),
        "places": names("SELECT kind, name, end FROM places"),
        "manifests": manifests,
    }


def forget(memory: Memory) -> Store:
    memory.store.close()
    for path in memory.state.glob("catalogue.sqlite*"):
        path.unlink()
    return memory.reopen()


def live_a_little(memory: Memory, seed: int, remote: Path) -> Iterator[None]:
    """A life of a memory folder in steps; between any two the catalogue may go."""
    choice = random.Random(seed)
    memory.store.set_remote(str(remote))
    for turn in range(14):
        for _ in range(choice.randrange(1, 4)):
            path = f"{choice.choice('abc')}/{choice.choice('xyz')}.txt"
            place = memory.data / path
            if place.exists() and choice.random() < 0.2:
                place.unlink()
            elif place.exists() and choice.random() < 0.5:
                place.write_bytes(place.read_bytes() + b"more %d\n" % turn)
            else:
                memory.write(path, f"{path} at {turn}\n" * choice.randrange(1, 200))
        memory.store.commit(note=f"turn {turn}", context_tags=["llama"] * (turn % 2))
        yield
        if turn % 5 == 3:
            assert memory.store.push().status == "success"
            yield
        if turn % 6 == 4:
            memory.store.restore(["."], at=memory.versions()[turn // 2])
            yield


@pytest.mark.parametrize("seed", range(3))
def test_deleted_at_any_time_it_is_rebuilt_equal(memory: Memory, tmp_path: Path, seed: int) -> None:
    for _ in live_a_little(memory, seed, tmp_path / "remote"):
        before = meaning(memory.store)
        forget(memory)
        assert meaning(memory.store) == before
        assert memory.store.status().clean
    assert memory.store.verify().problems == ()


def test_deleted_under_an_open_store_nothing_is_lost(memory: Memory) -> None:
    memory.save("a.txt", "one")
    if os.name != "posix":
        pytest.skip("an open file cannot be deleted there")
    for path in memory.state.glob("catalogue.sqlite*"):
        path.unlink()
    memory.save("a.txt", "two")
    other = Store.open(memory.root)
    memory.save("a.txt", "three")
    assert other.read("a.txt") == memory.store.read("a.txt") == b"three"
    assert len(list(other.history())) == len(memory.versions()) == 3
    other.close()


@pytest.mark.parametrize("how", ["garbage", "empty", "cut", "another schema", "another store", "half made"])
def test_one_that_cannot_be_used_is_made_anew(memory: Memory, how: str) -> None:
    for number in range(5):
        memory.save("a.txt", f"turn {number}\n" * 300)
    before = meaning(memory.store)
    memory.store.close()
    place = Path(memory.repository.catalogue.path)
    for path in memory.state.glob("catalogue.sqlite.*-*"):
        path.unlink()
    if how == "garbage":
        place.write_bytes(b"this is no database" * 1000)
    elif how == "empty":
        place.write_bytes(b"")
    elif how == "cut":
        place.write_bytes(place.read_bytes()[: 5 * 4096])
    else:
        place.unlink()
        db = sqlite3.connect(place, isolation_level=None)
        db.execute("CREATE TABLE facts (name TEXT PRIMARY KEY, value) WITHOUT ROWID")
        if how == "another store":
            db.execute("INSERT INTO facts VALUES ('store', x'00')")
        if how != "half made":
            db.execute(f"PRAGMA user_version = {99 if how == 'another schema' else 1}")
        db.close()
    memory.reopen()
    assert meaning(memory.store) == before
    memory.save("a.txt", "after")


@pytest.mark.parametrize("seed", range(12))
def test_damaged_in_the_middle_it_costs_one_command_at_most(memory: Memory, seed: int) -> None:
    for number in range(6):
        memory.save("a.txt", f"turn {number}\n" * 300)
    before = meaning(memory.store)
    memory.repository.catalogue.db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    memory.store.close()
    place = Path(memory.repository.catalogue.path)
    for path in memory.state.glob("catalogue.sqlite.*-*"):
        path.unlink()
    content = bytearray(place.read_bytes())
    choice = random.Random(seed)
    for page in range(4096, len(content), 4096):
        if choice.random() < 0.7:
            content[page : page + 16] = choice.randbytes(16)
    place.write_bytes(content)
    for attempt in (1, 2):
        try:
            memory.reopen()
            memory.save("a.txt", f"after {seed}")
            break
        except CatalogueDamaged as error:
            assert attempt == 1
            assert error.retryable
            assert "again" in error.hint
    forget(memory)
    after = meaning(memory.store)
    assert {row[0] for row in after["versions"]} > {row[0] for row in before["versions"]}
    assert memory.store.verify().problems == ()


# -- SQLite's troubles are the house's ---------------------------------------------------------------------


def test_a_catalogue_that_another_process_holds_is_a_lock_and_not_deleted(
    memory: Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory.save("a.txt", "one")
    memory.store.close()
    place = Path(memory.repository.catalogue.path)
    before = place.stat().st_ino
    holder = sqlite3.connect(place, isolation_level=None)
    holder.execute("PRAGMA locking_mode = EXCLUSIVE")
    holder.execute("BEGIN EXCLUSIVE")
    monkeypatch.setattr("memstore.objects.connection.BUSY_SECONDS", 0.05)
    with pytest.raises(StoreLocked):
        memory.reopen()
    assert place.stat().st_ino == before
    holder.execute("ROLLBACK")
    holder.close()
    memory.reopen()
    assert memory.store.read("a.txt") == b"one"


def test_a_catalogue_that_finds_no_room_is_disk_trouble_and_loses_nothing(memory: Memory) -> None:
    memory.save("a.txt", "one")
    db = memory.repository.catalogue.db
    pages = db.execute("PRAGMA page_count").fetchone()[0]
    db.execute(f"PRAGMA max_page_count = {pages}")
    for number in range(400):
        memory.write(f"folder/{number}.txt", f"{number}")
    with pytest.raises(DiskTrouble, match="full"):
        memory.store.commit()
    memory.reopen()
    version = memory.store.commit() or memory.versions()[-1]
    assert len(version.changes) == 400
    assert memory.store.verify().problems == ()


# -- two copies put together -------------------------------------------------------------------------------


def test_two_copies_that_went_on_apart_give_right_manifests_when_put_together(tmp_path: Path) -> None:
    first = Memory(tmp_path / "first")
    for number in range(4):
        first.save(f"{number}.txt", f"both {number}")
    shutil.copytree(first.root, tmp_path / "second")
    first.store.close()
    second = Memory(tmp_path / "second")
    first.reopen()
    expected: dict[VersionId, dict[str, bytes]] = {}
    for memory in (first, second):
        for number in range(5):
            memory.write(f"{number}.txt", f"{memory.root.name} {number}\n" * 20)
            if number == 3:
                (memory.data / "1.txt").unlink()
            expected[memory.commit().id] = memory.tree()
    second.close()
    mine = {path.name for path in (first.state / "segments").iterdir()}
    theirs = [path for path in (second.state / "segments").iterdir() if path.name not in mine]
    assert len(theirs) == 1
    before = first.store.head()
    for path in theirs:
        shutil.copy(path, first.state / "segments" / path.name)
    for _ in range(2):
        assert first.store.head() == before
        assert len(first.repository.catalogue.heads()) == 2
        for id, tree in expected.items():
            assert {
                entry.path: first.repository.read(entry.content) for entry in first.repository.entries(id)
            } == tree
        assert first.store.verify().problems == ()
        forget(first)
    first.close()


# -- the fast path -----------------------------------------------------------------------------------------


def test_a_commit_of_one_file_pays_one_sync(memory: Memory) -> None:
    memory.save("a.txt", "one\n")
    memory.save("a.txt", "one\ntwo\n")
    for text in ("one\ntwo\nthree\n", "replaced"):
        memory.write("a.txt", text)
        steps: list[str] = []

        def note(step: str, path: str, data: bytes, steps: list[str] = steps) -> None:
            steps.append(step)

        with files.watch(note):
            memory.commit("a.txt")
        assert steps.count("sync") == 1
        assert not {"sync_dir", "sync_all", "rename", "make_dir", "truncate"} & set(steps)


def test_a_snapshot_stays_as_it_was_while_others_commit(memory: Memory) -> None:
    memory.save("a.txt", "one")
    other = Store.open(memory.root)
    with memory.repository.catalogue.snapshot() as then:
        head = then.fact("head")
        (memory.data / "b.txt").write_text("two")
        assert other.commit() is not None
        assert then.fact("head") == head
        assert [row[0] for row in then.tree()] == ["a.txt"]
        assert memory.store.head() != head
    other.close()
