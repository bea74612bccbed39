"""log, status, diff, show, cat, ls: what is told of history, and of what is not committed yet."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from memstore import Store, files
from memstore.errors import BadInput
from memstore.ids import VersionId
from memstore.manifest.outline import outline_of
from memstore.manifest.version import Version, rfc3339
from tests.conftest import Memory, words

DAY_MS = 86_400_000
START_MS = 1_745_416_920_000  # 2025-04-23T14:02:00Z


@pytest.fixture
def days(memory: Memory, monkeypatch: pytest.MonkeyPatch) -> list[Version]:
    """Five versions, one a day from 2025-04-23 on, with different tags and chats."""
    made = []
    for number in range(5):
        now = (START_MS + number * DAY_MS) * 1_000_000
        monkeypatch.setattr(time, "time_ns", lambda now=now: now)
        memory.write("Core/Rules.txt", f"rules {number}\n")
        if number % 2:
            memory.write("Meta/state.json", f'{{"n": {number}}}\n')
        made.append(
            memory.commit(
                note=f"day {number}",
                context_tags=["odd"] if number % 2 else ["even", "all"],
                chat_name="Build" if number < 3 else "Review",
            )
        )
    return made


def ids(versions: list[Version]) -> list[VersionId]:
    return [version.id for version in versions]


# -- log ---------------------------------------------------------------------------------------------------


def test_history_is_told_newest_first_with_parents_and_changes(memory: Memory, days: list[Version]) -> None:
    told = list(memory.store.history())
    assert ids(told) == ids(days[::-1])
    for version, made in zip(told, days[::-1], strict=True):
        assert version == made
    document = told[0].as_json()
    assert set(document) >= {
        "version", "parents", "time", "device", "note", "context_tags", "chat_name", "reason", "actor", "changes",
    }  # fmt: skip
    assert document["time"] == "2025-04-27T14:02:00Z"
    assert document["parents"] == [str(days[3].id)]


def test_the_time_that_the_log_prints_names_its_version(
    memory: Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = []
    for number, now_ms in enumerate((START_MS + 250, START_MS + 1_999, START_MS + 60_400)):
        monkeypatch.setattr(time, "time_ns", lambda now_ms=now_ms: now_ms * 1_000_000)
        made.append(memory.save("n.txt", f"{number}\n"))
    for number, version in enumerate(made):
        seconds = time.localtime(version.time_ms // 1000)
        for form in ("%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M:%S %z"):
            printed = time.strftime(form, seconds)
            assert memory.store.read("n.txt", at=printed) == f"{number}\n".encode()
            assert ids(list(memory.store.history(since=printed, until=printed))) == [version.id]
    minute = time.strftime("%Y-%m-%d %H:%M", time.localtime(START_MS // 1000))
    assert memory.store.read("n.txt", at=minute) == b"1\n"
    with pytest.raises(BadInput, match=r"begins at [-0-9 :]+\.250, after [-0-9 :]+\.199"):
        memory.store.read("n.txt", at="2025-04-23T14:02:00.1Z")


def test_history_of_a_path_or_folder_has_its_changes_alone(memory: Memory, days: list[Version]) -> None:
    for path in ("Meta/state.json", "Meta", "Meta/"):
        told = list(memory.store.history(path))
        assert ids(told) == ids([days[3], days[1]])
        assert [words(version.changes) for version in told] == [
            {"Meta/state.json": "replace"},
            {"Meta/state.json": "add"},
        ]
    assert ids(list(memory.store.history("."))) == ids(days[::-1])


def test_history_of_a_path_outlives_the_path_and_is_found_by_its_reference(
    memory: Memory, days: list[Version]
) -> None:
    (memory.data / "Meta/state.json").unlink()
    gone = memory.commit()
    assert ids(list(memory.store.history("Meta/state.json"))) == ids([gone, days[3], days[1]])
    name = gone.changes[0].archived_as
    assert name is not None
    assert ids(list(memory.store.history(name))) == ids([gone, days[3], days[1]])


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({"limit": 2}, [4, 3]),
        ({"limit": 0}, []),
        ({"tag": "odd"}, [3, 1]),
        ({"tag": "all"}, [4, 2, 0]),
        ({"tag": "od"}, []),
        ({"chat": "Review"}, [4, 3]),
        ({"chat": "Review", "tag": "even"}, [4]),
        ({"since": "2025-04-25T14:02:00Z"}, [4, 3, 2]),
        ({"since": "2025-04-25T14:02:00.001Z"}, [4, 3]),
        ({"until": "2025-04-25T14:02:00Z"}, [2, 1, 0]),
        ({"until": "2025-04-25T14:01:59Z"}, [1, 0]),
        ({"since": "2025-04-24T00:00Z", "until": "2025-04-26T00:00Z"}, [2, 1]),
        ({"tag": "even", "limit": 1}, [4]),
    ],
)
def test_history_is_filtered(
    memory: Memory, days: list[Version], filters: dict[str, str | int], expected: list[int]
) -> None:
    told = list(memory.store.history(**filters))  # type: ignore[arg-type]
    assert ids(told) == ids([days[number] for number in expected])


def test_outlines_follow_history(memory: Memory, days: list[Version]) -> None:
    store = memory.store
    for path, asked in (
        (None, dict[str, str]()),
        ("Core/Rules.txt", {"chat": "Build"}),
        ("Meta", {"tag": "odd", "since": "2025-04-25"}),
    ):
        whole = [outline_of(version) for version in store.history(path, **asked)]  # type: ignore[arg-type]
        assert [*store.outlines(path, **asked)] == whole and whole  # type: ignore[arg-type]


def test_history_of_what_never_was_is_refused(memory: Memory, days: list[Version]) -> None:
    with pytest.raises(BadInput):
        list(memory.store.history("nowhere.txt"))
    with pytest.raises(BadInput):
        list(memory.store.history(since="some day"))


# -- which version is meant --------------------------------------------------------------------------------


def test_a_version_is_named_by_itself_its_id_a_prefix_or_a_time(memory: Memory, days: list[Version]) -> None:
    wanted = days[2]
    for at in (
        wanted,
        wanted.id,
        str(wanted.id),
        str(wanted.id)[:8],
        rfc3339(wanted.time_ms),
        "2025-04-25T23:00Z",
    ):
        assert memory.store.version(at).id == wanted.id
        assert memory.store.read("Core/Rules.txt", at=at) == b"rules 2\n"
    assert memory.store.version("HEAD").id == days[4].id
    assert memory.store.version("2025-04-24T14:01:59Z").id == days[0].id


@pytest.mark.parametrize(
    "at", ["0" * 64, "00000000", "2025-04-22", "1234567", "no time", VersionId(bytes(32)), ""]
)
def test_an_unknown_id_or_a_time_before_the_first_version_is_refused(
    memory: Memory, days: list[Version], at: str | VersionId
) -> None:
    with pytest.raises(BadInput) as refused:
        memory.store.version(at)
    assert refused.value.hint


def test_an_ambiguous_prefix_is_refused_with_the_ids_it_may_mean(memory: Memory, days: list[Version]) -> None:
    twin = bytes(days[0].id[:4]) + bytes(28)  # another version whose id begins alike
    memory.repository.catalogue.db.execute(
        "UPDATE versions SET id = ? WHERE id = ?", (twin, bytes(days[1].id))
    )
    with pytest.raises(BadInput) as refused:
        memory.store.version(str(days[0].id)[:8])
    assert "ambiguous" in refused.value.message
    assert str(days[0].id)[:16] in refused.value.message


def test_before_the_first_commit_there_is_nothing_to_name(memory: Memory) -> None:
    assert memory.store.head() is None
    assert list(memory.store.history()) == []
    assert list(memory.store.ls()) == []
    for at in ("HEAD", "2025-04-23"):
        with pytest.raises(BadInput) as refused:
            memory.store.version(at)
        assert "memsync commit" in refused.value.hint
    with pytest.raises(BadInput):
        memory.store.read("a.txt")


# -- cat and ls --------------------------------------------------------------------------------------------


def test_reading_a_folder_or_an_absent_path_is_refused(memory: Memory, days: list[Version]) -> None:
    with pytest.raises(BadInput) as refused:
        memory.store.read("Core")
    assert "folder" in refused.value.message
    with pytest.raises(BadInput):
        memory.store.read("Meta/state.json", at=days[0])


def test_a_real_file_under_archive_is_read_though_a_reference_bears_its_name(
    memory: Memory, days: list[Version]
) -> None:
    name = next(change.archived_as for change in days[1].changes if change.archived_as)
    memory.save(name, "a person's own\n")
    assert memory.store.read(name) == b"a person's own\n"
    assert memory.store.read(name, at=days[4]) == b"rules 0\n"


def test_ls_lists_a_version_in_path_order(memory: Memory, days: list[Version]) -> None:
    assert [row.path for row in memory.store.ls()] == ["Core/Rules.txt", "Meta/state.json"]
    assert [row.path for row in memory.store.ls(at=days[0])] == ["Core/Rules.txt"]
    (row,) = memory.store.ls("Meta", at=days[1])
    assert (row.path, row.kind, row.size) == ("Meta/state.json", "file", 9)
    with pytest.raises(BadInput):
        list(memory.store.ls("nowhere"))


def test_a_large_file_is_read_in_pieces(memory: Memory) -> None:
    content = bytes(range(256)) * 4096 * 20
    memory.save("big.bin", content)
    pieces = list(memory.store.read_stream("big.bin"))
    assert max(len(piece) for piece in pieces) <= 16 << 20
    assert b"".join(pieces) == content


# -- status and diff ---------------------------------------------------------------------------------------


def change_everything(memory: Memory) -> None:
    for path, content in {"a": "one\n", "b": "one\n", "gone": "one\n", "run": "one\n"}.items():
        memory.write(path, content)
    memory.commit()
    memory.write("a", "one\ntwo\n")
    memory.write("b", "two\n")
    memory.write("new", "new\n")
    (memory.data / "gone").unlink()
    (memory.data / "run").chmod(0o755)


EXPECTED = {"a": "append", "b": "replace", "gone": "delete", "new": "add", "run": "replace"}


def test_status_says_what_a_commit_would_record(memory: Memory) -> None:
    change_everything(memory)
    status = memory.store.status()
    assert {row.path: row.change.word for row in status.changes} == EXPECTED
    assert not status.clean
    document = status.as_json()
    assert document["changes"] == [{"path": path, "change": word} for path, word in sorted(EXPECTED.items())]
    assert (document["remote"], document["unpushed"], document["conflicts"]) == (None, 0, [])
    assert words(memory.commit().changes) == EXPECTED
    status = memory.store.status()
    assert (status.clean, status.head) == (True, memory.versions()[-1].id)


def test_status_and_diff_write_nothing_to_the_store(memory: Memory) -> None:
    change_everything(memory)
    steps: list[str] = []
    with files.watch(lambda step, path, data: steps.append(step)):
        memory.store.status()
        list(memory.store.diff())
    assert set(steps) <= {"read"}


def test_diff_shows_both_sides_of_what_is_pending(memory: Memory) -> None:
    change_everything(memory)
    rows = {row.path: row for row in memory.store.diff()}
    assert {path: row.change.word for path, row in rows.items()} == EXPECTED
    assert (rows["a"].old, rows["a"].new) == (b"one\n", b"one\ntwo\n")
    assert (rows["gone"].old, rows["gone"].new, rows["gone"].new_size) == (b"one\n", None, None)
    assert (rows["new"].old, rows["new"].old_size, rows["new"].new) == (None, None, b"new\n")
    assert [row.path for row in memory.store.diff(paths=["b"])] == ["b"]


def test_diff_between_two_versions(memory: Memory, days: list[Version]) -> None:
    rows = {row.path: row for row in memory.store.diff(days[0], days[1])}
    assert {path: row.change.word for path, row in rows.items()} == {
        "Core/Rules.txt": "replace",
        "Meta/state.json": "add",
    }
    assert (rows["Core/Rules.txt"].old, rows["Core/Rules.txt"].new) == (b"rules 0\n", b"rules 1\n")
    backwards = {row.path: row.change.word for row in memory.store.diff(days[1], days[0])}
    assert backwards == {"Core/Rules.txt": "replace", "Meta/state.json": "delete"}
    assert list(memory.store.diff(days[1], days[1])) == []


def test_diff_from_a_version_to_what_lies_in_data(memory: Memory, days: list[Version]) -> None:
    memory.write("Core/Rules.txt", "rules 0\n")  # as it was on the first day
    memory.write("new.txt", "new\n")
    rows = {row.path: row.change.word for row in memory.store.diff(days[0])}
    assert rows == {"Meta/state.json": "add", "new.txt": "add"}


def test_diff_shows_sizes_alone_for_what_is_no_text(memory: Memory) -> None:
    memory.save("a.bin", b"\0\1")
    memory.write("a.bin", b"\0\1\2")
    (row,) = memory.store.diff()
    assert (row.binary, row.old, row.new, row.old_size, row.new_size) == (True, None, None, 2, 3)


def test_status_counts_what_waits_for_a_push_and_warns_after_a_day(
    memory: Memory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory.store.set_remote(str(tmp_path / "remote"))
    memory.save("a.txt", "one\n")
    memory.save("a.txt", "two\n")
    status = memory.store.status()
    assert (status.unpushed, status.warnings) == (2, ())
    later = time.time_ns() + 25 * 3600 * 1_000_000_000
    with monkeypatch.context() as patch:
        patch.setattr(time, "time_ns", lambda: later)
        (warning,) = memory.store.status().warnings
    assert "memsync push" in warning
    assert memory.store.push().status == "success"
    status = memory.store.status()
    assert status.unpushed == 0
    assert status.remote is not None
    assert status.remote.last_push_ms is not None
    assert status.remote.last_error is None


def test_status_says_why_the_last_push_failed(memory: Memory, tmp_path: Path) -> None:
    remote = tmp_path / "remote"
    memory.save("a.txt", "one\n")
    memory.store.set_remote(str(remote))
    memory.store.push()
    memory.save("a.txt", "two\n")
    remote.rename(tmp_path / "unmounted")
    report = memory.store.push()
    assert (report.status, report.exit_code) == ("fail", 5)
    status = memory.store.status()
    assert status.remote is not None
    assert status.remote.last_error is not None
    assert str(remote) in status.remote.last_error
    (tmp_path / "unmounted").rename(remote)
    assert memory.store.push().status == "success"
    after = memory.store.status().remote
    assert after is not None
    assert after.last_error is None


def test_a_reader_sees_what_another_store_committed_meanwhile(memory: Memory) -> None:
    memory.save("a.txt", "one\n")
    with Store.open(memory.root, environ={}) as reader:
        assert reader.read("a.txt") == b"one\n"
        memory.save("a.txt", "two\n")
        assert reader.read("a.txt") == b"two\n"
        assert len(list(reader.history())) == 2
