"""What must be durable before what: each order that the crash points found wanting, held by itself."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from memstore import Store, files, reflog, trees
from memstore.actions.seal import seal
from memstore.errors import DiskTrouble
from memstore.ids import ContentId
from memstore.manifest.retention import Rules
from memstore.manifest.version import Version
from memstore.mirror import known, plan
from memstore.objects.segment import Segment
from memstore.remotes.base import BytesSource
from memstore.remotes.folder import FolderRemote
from tests.conftest import Memory

posix = pytest.mark.skipif(not files.POSIX, reason="POSIX only")


class Steps(list[tuple[str, str]]):
    """(step, path) of what happened, in order."""

    def __call__(self, step: str, path: str, data: bytes) -> None:
        self.append((step, path))

    def at(self, step: str, path: Path) -> int:
        """Where in the order a step was last."""
        return max(number for number, told in enumerate(self) if told == (step, str(path)))


@pytest.fixture
def two(tmp_path: Path) -> Iterator[tuple[Memory, Store]]:
    """A workspace, and another device that has pushed a version which it has not pulled."""
    memory = Memory(tmp_path / "memory")
    memory.store.set_remote(str(tmp_path / "remote"))
    memory.save("Core/Rules.txt", "rules\n")
    assert memory.store.push().status == "success"
    with Store.clone(str(tmp_path / "remote"), tmp_path / "other", environ={}) as other:
        (tmp_path / "other/Data/Core/Rules.txt").write_text("rules of the other\n")
        other.commit()
        assert other.push().status == "success"
        yield memory, other
    memory.close()


# -- Data/ -------------------------------------------------------------------------------------------------


def test_an_archived_file_is_gone_for_good_before_the_checkout_record_is(memory: Memory) -> None:
    """Else a power cut brings it back, and the next commit takes it for a new one."""
    memory.save("Core/Rules.txt", "rules\n")
    memory.save("Deep/er/Tone.txt", "tone\n")
    with files.watch(steps := Steps()):
        memory.store.archive(["Core/Rules.txt", "Deep/er/Tone.txt"])
    closed = steps.at("remove", memory.state / "checkout")
    assert steps.at("remove", memory.data / "Deep/er/Tone.txt") < steps.at("sync_dir", memory.data) < closed


@posix
def test_a_mode_that_is_restored_is_durable(memory: Memory) -> None:
    place = memory.write("run.sh", "true\n")
    place.chmod(0o755)
    first = memory.commit()
    place.chmod(0o644)
    memory.commit()
    with files.watch(steps := Steps()):
        memory.store.restore(["run.sh"], at=first.id)
    assert steps.at("sync", place) < steps.at("remove", memory.state / "checkout")
    assert os.access(place, os.X_OK)


def test_a_pull_that_was_cut_before_head_moved_did_not_happen(two: tuple[Memory, Store]) -> None:
    """Its record names a version that is here already, for it was fetched."""
    memory, other = two
    segments = str(memory.state / "segments")

    def cut(step: str, path: str, data: bytes) -> None:
        if (memory.state / "checkout").exists() and step == "write" and path.startswith(segments):
            raise KeyboardInterrupt

    with files.watch(cut), pytest.raises(KeyboardInterrupt):
        memory.store.pull()
    head = memory.versions()[0].id if len(memory.versions()) == 1 else memory.store.head()
    assert (memory.state / "checkout").exists()
    store = memory.reopen()
    assert store.head() == head != other.head()
    assert store.status().clean
    assert memory.tree() == {"Core/Rules.txt": b"rules\n"}
    assert store.pull().version == other.head()
    assert memory.tree() == {"Core/Rules.txt": b"rules of the other\n"}


def test_what_a_killed_pull_left_in_a_new_folder_is_durable_before_its_record_goes(
    two: tuple[Memory, Store],
) -> None:
    """It lies there with its content, and the folder's own name may not be durable yet."""
    memory, other = two
    (Path(other.workspace.data) / "desk").mkdir()
    (Path(other.workspace.data) / "desk/new.txt").write_text("new\n")
    other.commit()
    other.push()
    desk = memory.data / "desk"

    def cut(step: str, path: str, data: bytes) -> None:
        if step == "sync_dir" and path == str(desk):
            raise KeyboardInterrupt

    with files.watch(cut), pytest.raises(KeyboardInterrupt):
        memory.store.pull()
    assert (desk / "new.txt").read_text() == "new\n"
    with files.watch(steps := Steps()):
        assert memory.reopen().status().clean
    closed = steps.at("remove", memory.state / "checkout")
    assert max(steps.at("sync_dir", desk), steps.at("sync_dir", memory.data)) < closed


def test_what_could_not_be_made_durable_is_tried_again(memory: Memory) -> None:
    """A refused sync after a removal: a power cut would bring the file back, and the next commit would take it."""
    memory.save("Core/Rules.txt", "rules\n")
    memory.save("Core/Tone.txt", "tone\n")

    def refuse(step: str, path: str, data: bytes) -> None:
        if step == "sync_dir" and path == str(memory.data / "Core"):
            raise DiskTrouble("the disk refuses", hint="look at it")

    with files.watch(refuse):
        assert memory.store.archive(["Core/Rules.txt"]).warnings
        assert memory.store.commit() is None
    assert (memory.state / "behind").exists()
    with files.watch(steps := Steps()):
        assert memory.store.commit() is None
    assert steps.at("sync_dir", memory.data / "Core") < steps.at("remove", memory.state / "behind")
    assert not (memory.state / "behind").exists()


# -- the store ---------------------------------------------------------------------------------------------


def test_a_commit_whose_sync_nobody_saw_succeed_is_written_anew(memory: Memory, tmp_path: Path) -> None:
    """After a sync that was refused the next one succeeds without the bytes."""
    (segment,) = (memory.state / "segments").glob("*.seg")

    def die(step: str, path: str, data: bytes) -> None:
        if step in ("sync", "truncate") and path == str(segment):
            raise KeyboardInterrupt

    memory.write("a.txt", "one\n")
    with files.watch(die), pytest.raises(KeyboardInterrupt):
        memory.store.commit()
    written: list[bytes] = []

    def see(step: str, path: str, data: bytes) -> None:
        if step == "write" and path == str(segment):
            written.append(data)

    whole = segment.read_bytes()
    with files.watch(see):
        assert memory.reopen().head() is not None
    assert written == [whole[-len(written[0]) :]]
    assert segment.read_bytes() == whole
    opened = Segment(str(segment))
    assert len(written[0]) == opened.scan().end - opened.scan().groups[-2].end
    opened.close()


def test_a_hole_that_a_refused_sync_left_in_the_reflog_hides_no_line_and_is_no_damage(packed: Memory) -> None:
    path = packed.state / "reflog"
    *before, last = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(before) + bytes(len(last)) + last)
    assert packed.reopen().verify().ok
    assert [stand.head for stand in reflog.read(str(packed.state))] == [
        version.id for version in packed.versions()
    ]


def test_a_pack_is_durable_under_its_name_before_the_catalogue_relies_on_it(
    two: tuple[Memory, Store],
) -> None:
    memory, _ = two
    packs = memory.state / "packs"
    for catalogue in memory.state.glob("catalogue.sqlite*"):
        catalogue.unlink()
    with files.watch(steps := Steps()):
        memory.reopen().status()
    assert ("sync_dir", str(packs)) in steps


@pytest.fixture
def packed(memory: Memory) -> Memory:
    """Three packs of one note's versions, each a delta on the one before."""
    lines = [b"line %d of the note\n" % number for number in range(50)]
    for number in range(3):
        memory.save("note.txt", b"".join([*lines, b"turn %d\n" % number]))
        with memory.repository.writing() as writer:
            seal(memory.repository, writer)
    return memory


def test_packs_are_written_down_as_superseded_before_any_of_them_goes(packed: Memory) -> None:
    """A power cut may take any of them, and leave a delta without its base."""
    packs, record = packed.state / "packs", packed.state / "superseded"
    old = list(packs.iterdir())
    with files.watch(steps := Steps()):
        packed.store.gc(Rules(last=1))
    removals = [steps.at("remove", path) for path in old]
    written = steps.index(("sync_dir", str(packed.state)))
    gone = max(number for number, told in enumerate(steps) if told == ("sync_dir", str(packs)))
    # A segment whose removal was not durable could come back, and lean on what goes.
    assert steps.at("sync_dir", packed.state / "segments") < min(removals)
    assert written < min(removals) <= max(removals) < gone < steps.at("remove", record)
    assert not record.exists()


def test_superseded_packs_that_a_power_cut_left_go_when_the_store_is_opened(packed: Memory) -> None:
    old = list((packed.state / "packs").iterdir())
    first, second, _ = packed.versions()
    before = packed.store.read("note.txt", at=second)

    def die(step: str, path: str, data: bytes) -> None:
        if step == "remove" and path.endswith(".pack"):
            raise KeyboardInterrupt

    with files.watch(die), pytest.raises(KeyboardInterrupt):
        packed.store.gc(Rules(last=1))
    whole = next(path for path in old if bytes(content_of(first)) in path.read_bytes())
    whole.unlink()  # the two others lean on it
    with files.watch(steps := Steps()):
        store = packed.reopen()
        assert store.verify().ok
    # Whoever gave the record its name may have been killed before that was durable.
    assert steps.index(("sync_dir", str(packed.state))) < min(
        number for number, told in enumerate(steps) if told[0] == "remove" and told[1].endswith(".pack")
    )
    assert not any(path.exists() for path in old)
    again = packed.save("again.txt", before)
    assert packed.reopen().read("again.txt", at=again) == before


@pytest.mark.parametrize("device", ["another", "ours"])
def test_a_record_of_superseded_packs_takes_nothing_that_is_not_there_in_other_packs(
    packed: Memory, device: str
) -> None:
    """In a copied folder it is another device's; a sync program may bring it without the packs it speaks of."""
    old = sorted(path.stem for path in (packed.state / "packs").iterdir())
    facts = {
        "device": packed.repository.device.id if device == "ours" else "0" * 8,
        "packs": old,
        "by": ["1" * 64] if device == "ours" else [],
    }
    (packed.state / "superseded").write_text(json.dumps(facts))
    assert packed.reopen().verify().ok
    packed.save("more.txt", "more\n")
    assert sorted(path.stem for path in (packed.state / "packs").iterdir()) == old
    assert not (packed.state / "superseded").exists()


def content_of(version: Version) -> ContentId:
    (entry,) = [change.entry for change in version.changes]
    assert entry is not None
    return entry.content


# -- the mirror --------------------------------------------------------------------------------------------


def test_what_the_mirror_is_meant_to_get_is_noted_in_one_step(memory: Memory) -> None:
    """A row without its state, after a power cut, would say that the file is there, under no name."""
    version = memory.save("a.txt", "one\n")
    entry = memory.repository.entry("a.txt", version.id)
    assert entry is not None
    statements: list[str] = []
    db = memory.repository.catalogue.db
    db.set_trace_callback(statements.append)
    known.intend(memory.repository, entry)
    db.set_trace_callback(None)
    assert len(statements) == 1
    assert db.execute("SELECT state FROM mirror").fetchall() == [(plan.INTENDED,)]


@pytest.fixture
def folder(tmp_path: Path) -> FolderRemote:
    remote = FolderRemote(str(tmp_path / "remote"))
    remote.prepare(create=True)
    return remote


@pytest.mark.parametrize("verb", ["put", "put again", "update", "move", "fetch", "remove"])
def test_what_is_done_in_the_mirror_is_durable_before_it_is_noted(folder: FolderRemote, verb: str) -> None:
    """Else what a power cut took would look as if a person had removed it."""

    def put(path: str = "Core/a.txt", content: bytes = b"one\n") -> object:
        return folder.put(path, BytesSource(content), {}, 0)

    doing: dict[str, Callable[[], object]] = {
        "put": put,
        "put again": put,
        "update": lambda: folder.update(seen, BytesSource(b"two\n"), {}, 0),
        "move": lambda: folder.move(seen, "Core/b.txt", {}),
        "fetch": lambda: folder.fetch("Core/a.txt"),
        "remove": lambda: folder.remove(seen),
    }
    if verb != "put":
        put()
        put("Core/other.txt", b"keeps the folder\n")
        (seen,) = (item for item in folder.look([("Core/a.txt", None)]) if item is not None)
    with files.watch(steps := Steps()):
        doing[verb]()
    changes = [number for number, (step, _) in enumerate(steps) if step in ("rename", "remove")]
    assert steps.at("sync_dir", Path(folder.root, "Core")) > max(changes, default=-1)


@pytest.mark.parametrize("verb", ["put", "fetch"])
def test_folders_that_were_there_keep_their_names_before_a_file_in_them_counts(
    folder: FolderRemote, verb: str
) -> None:
    """Who made them may have died, or been refused a sync, before that was sure."""
    deep = Path(folder.root, "new/deep")
    deep.mkdir(parents=True)
    (deep / "b.txt").write_bytes(b"two\n")
    with files.watch(steps := Steps()):
        if verb == "put":
            folder.put("new/deep/a.txt", BytesSource(b"one\n"), {}, 0)
        else:
            folder.fetch("new/deep/b.txt")
    synced = {path for step, path in steps if step == "sync_dir"}
    assert synced >= {folder.root, str(deep.parent)}


def test_what_a_listing_of_a_folder_remote_shows_is_durable_first(folder: FolderRemote) -> None:
    """A pack that is gone from there is noted as gone: a power cut must not bring it back."""
    folder.create("packs/" + "0" * 64, BytesSource(b"a pack"))
    other = FolderRemote(folder.root)
    with files.watch(steps := Steps()):
        assert len(other.list("packs/")) == 1
        other.list("packs/")
    assert [path for step, path in steps if step == "sync_dir"] == [str(Path(folder.root, ".memsync/packs"))]


def test_a_share_that_takes_no_sync_is_listed_all_the_same(folder: FolderRemote) -> None:
    def refuse(step: str, path: str, data: bytes) -> None:
        if step == "sync_dir":
            raise DiskTrouble("only to be read", hint="look at it")

    with files.watch(refuse):
        assert FolderRemote(folder.root).list("packs/") == []


# -- a disk that says no -----------------------------------------------------------------------------------


@posix
@pytest.mark.parametrize(
    ("call", "attempt"),
    [
        ("pread", lambda place: files.read_at(os.open(place, os.O_RDONLY), 0, 9)),
        ("preadv", lambda place: files.read_into(os.open(place, os.O_RDONLY), 0, memoryview(bytearray(9)))),
        ("open", files.open_read),
        ("open", lambda place: files.clock_of(os.path.dirname(place))),
        ("open", lambda place: files.append_line(place, b"line\n")),
        ("open", files.touch),
        ("open", lambda place: files.sync_dir(os.path.dirname(place))),
        ("listdir", lambda place: files.names(os.path.dirname(place))),
        ("utime", lambda place: files.clock_of(os.path.dirname(place))),
    ],
)
def test_the_disks_refusal_is_a_sentence_that_names_the_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, attempt: Callable[[str], object]
) -> None:
    place = tmp_path / "file"
    place.write_bytes(b"content")
    real = os.open

    def refuse(path: object, *rest: object, **__: object) -> int:
        if call == "open" and rest == (os.O_RDONLY,):
            return real(str(path), os.O_RDONLY)  # the test's own
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, call, refuse)
    with pytest.raises(DiskTrouble) as refused:
        attempt(str(place))
    assert str(tmp_path) in refused.value.message
    assert "verify" in refused.value.hint


def test_a_tree_is_removed_and_no_link_in_it_is_followed(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    (tmp_path / "tree/in/deep").mkdir(parents=True)
    kept.mkdir()
    (kept / "file").write_text("stays")
    (tmp_path / "tree/in/file").write_text("goes")
    if files.POSIX:
        (tmp_path / "tree/in/link").symlink_to(kept)
    trees.remove(str(tmp_path / "tree"))
    assert not (tmp_path / "tree").exists()
    assert (kept / "file").read_text() == "stays"
    trees.remove(str(tmp_path / "not there"))
