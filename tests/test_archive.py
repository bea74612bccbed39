"""archive: a reference to what a path held, and the file out of the way."""

from __future__ import annotations

import os

import pytest
from blake3 import blake3

from memstore.errors import BadInput
from memstore.manifest.version import ChangeKind
from tests.conftest import Memory, words


def test_an_archived_file_leaves_data_and_can_be_read_by_its_reference(memory: Memory) -> None:
    memory.save("Meta/AI_Architecture.txt", "the plan\n")
    report = memory.store.archive(["Meta/AI_Architecture.txt"], reason="superseded", note="n", actor="Ada")
    version = report.version
    assert version is not None
    (change,) = version.changes
    stamp = version.time.strftime("%Y-%m-%dT%H-%M-%SZ")
    assert (change.change, change.entry) == (ChangeKind.ARCHIVE, None)
    assert change.archived_as == f"Archive/Meta/AI_Architecture_{stamp}.txt"
    assert (version.reason, version.note, version.actor) == ("superseded", "n", "Ada")
    assert memory.tree() == {}
    assert not (memory.data / "Meta").exists()
    assert memory.store.read(change.archived_as) == b"the plan\n"
    assert memory.archive_lines() == [
        {
            "timestamp": version.time.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "file": "Meta/AI_Architecture.txt",
            "archived_as": change.archived_as,
            "input_hash": blake3(b"the plan\n").hexdigest(),
            "reason": "superseded",
        }
    ]
    assert memory.store.status().clean
    assert memory.store.commit() is None


def test_keep_leaves_the_file_where_it_is(memory: Memory) -> None:
    memory.save("a.txt", "one\n")
    version = memory.store.archive(["a.txt"], keep=True).version
    assert version is not None
    (change,) = version.changes
    document = change.as_json()
    assert (document["change"], document["content"]) == ("archive", blake3(b"one\n").hexdigest())
    assert memory.tree() == memory.manifest() == {"a.txt": b"one\n"}
    assert memory.store.commit() is None
    memory.save("a.txt", "two\n")
    assert memory.store.read(change.archived_as or "") == b"one\n"


def test_a_reference_takes_no_room_for_the_content_again(memory: Memory) -> None:
    def stored() -> int:
        return sum(place.stat().st_size for place in (memory.state / "segments").iterdir())

    memory.save("big.bin", os.urandom(1 << 20))
    before = stored()
    memory.store.archive(["big.bin"])
    assert stored() - before < 1000


def test_what_is_uncommitted_is_committed_before_it_is_archived(memory: Memory) -> None:
    memory.save("a.txt", "one\n")
    memory.write("a.txt", "one\ntwo\n")
    memory.write("b.txt", "not asked for\n")
    report = memory.store.archive(["a.txt"])
    assert [words(version.changes) for version in memory.versions()[1:]] == [
        {"a.txt": "append"},
        {"a.txt": "archive"},
    ]
    assert report.version is not None
    name = report.version.changes[0].archived_as
    assert name is not None
    assert memory.store.read(name) == b"one\ntwo\n"
    assert memory.tree() == {"b.txt": b"not asked for\n"}


def test_a_file_that_was_never_committed_can_be_archived(memory: Memory) -> None:
    memory.write("a.txt", "one\n")
    memory.store.archive(["a.txt"])
    assert [words(version.changes) for version in memory.versions()] == [
        {"a.txt": "add"},
        {"a.txt": "archive"},
    ]


def test_a_folder_is_archived_file_by_file(memory: Memory) -> None:
    for path in ("old/a.txt", "old/deep/b.txt", "kept.txt"):
        memory.write(path, path)
    memory.commit()
    report = memory.store.archive(["old/"])
    assert report.version is not None
    assert words(report.version.changes) == {"old/a.txt": "archive", "old/deep/b.txt": "archive"}
    assert memory.tree() == {"kept.txt": b"kept.txt"}
    assert len(memory.archive_lines()) == 2


@pytest.mark.parametrize("path", ["nowhere.txt", "deleted.txt"])
def test_what_is_not_in_data_cannot_be_archived(memory: Memory, path: str) -> None:
    memory.save("deleted.txt", "one\n")
    (memory.data / "deleted.txt").unlink()
    memory.commit()
    with pytest.raises(BadInput) as refused:
        memory.store.archive([path])
    assert path in refused.value.message
    with pytest.raises(BadInput):
        memory.store.archive([])
    assert len(memory.versions()) == 2


def test_a_reference_is_restored_to_where_it_came_from(memory: Memory) -> None:
    memory.save("Core/Rules.txt", "be kind\n")
    version = memory.store.archive(["Core/Rules.txt"]).version
    assert version is not None
    name = version.changes[0].archived_as
    assert name is not None
    memory.save("Core/Rules.txt", "something else\n")
    report = memory.store.restore([name])
    assert memory.tree() == {"Core/Rules.txt": b"be kind\n"}
    assert [row.path for row in report.restored] == ["Core/Rules.txt"]
    assert report.restored[0].source == str(version.parents[0])


def test_a_reference_survives_the_loss_of_catalogue_and_logs(memory: Memory) -> None:
    memory.save("a.txt", "one\n")
    memory.save("a.txt", "two\n")
    name = memory.archive_lines()[0]["archived_as"]
    memory.store.close()
    for place in [*memory.state.glob("catalogue.sqlite*"), memory.root / "archive_log.json"]:
        place.unlink()
    memory.reopen()
    assert memory.store.read(name) == b"one\n"


def test_ls_of_archive_lists_references_and_real_files(memory: Memory) -> None:
    memory.write("Archive/mine.txt", "a real file\n")
    memory.save("Core/Rules.txt", "one\n")
    memory.commit()
    version = memory.store.archive(["Core/Rules.txt"]).version
    assert version is not None
    name = version.changes[0].archived_as
    rows = {row.path: row for row in memory.store.ls("Archive/")}
    assert set(rows) == {"Archive/mine.txt", name}
    assert name is not None
    assert (rows[name].kind, rows[name].origin, rows[name].version) == (
        "archived",
        "Core/Rules.txt",
        version.id,
    )
    assert rows["Archive/mine.txt"].kind == "file"
    assert [row.path for row in memory.store.ls("Archive/Core")] == [name]
    assert [row.path for row in memory.store.ls()] == ["Archive/mine.txt"]
    assert memory.store.known(name)


def test_a_name_without_extension_and_a_hidden_name_keep_their_shape(memory: Memory) -> None:
    memory.write("README", "one\n")
    memory.write(".hidden", "one\n")
    memory.write("v1.2/state.tar.gz", "one\n")
    memory.commit()
    version = memory.store.archive(["README", ".hidden", "v1.2"]).version
    assert version is not None
    stamp = version.time.strftime("%Y-%m-%dT%H-%M-%SZ")
    assert [change.archived_as for change in version.changes] == [
        f"Archive/.hidden_{stamp}",
        f"Archive/README_{stamp}",
        f"Archive/v1.2/state.tar_{stamp}.gz",
    ]


def test_archiving_a_file_that_is_gone_is_refused_and_records_nothing(memory: Memory) -> None:
    memory.save("a.txt", "a\n")
    head = memory.store.head()
    (memory.data / "a.txt").unlink()
    with pytest.raises(BadInput, match=r"a\.txt is not in Data/"):
        memory.store.archive(["a.txt"])
    assert memory.store.head() == head
