"""Versions of very many changes are read change by change, and give what reading them whole gives."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memstore import writer
from memstore.actions import ingest
from memstore.errors import DamagedData
from memstore.ids import ContentId, VersionId
from memstore.manifest import history, outline, records
from memstore.manifest import version_format as versions
from memstore.manifest.version import Change, ChangeKind, Entry, Kind, Meta, Version, archive_name
from memstore.objects.record import RecordKind
from tests.conftest import Memory

TIME_MS = 1_750_000_000_000


@st.composite
def changes(draw: st.DrawFn) -> list[Change]:
    names = draw(st.sets(st.text("ab/é-", min_size=1, max_size=6), max_size=12))
    made = []
    for name in sorted(names):
        kind = draw(st.sampled_from(ChangeKind))
        entry = None
        if kind not in (ChangeKind.DELETE, ChangeKind.ARCHIVE):
            content = ContentId.of(draw(st.binary(max_size=3)))
            entry = Entry(
                name, draw(st.sampled_from(Kind)), draw(st.integers(0, 1 << 40)), content, TIME_MS - 5
            )
        archived = draw(st.sampled_from([None, archive_name(name, TIME_MS), f"Archive/{name}~1"]))
        made.append(Change(name, kind, entry, archived))
    return made


def encoded(made: list[Change]) -> bytes:
    return versions.encode(
        parents=(VersionId.of(b"before"),),
        generation=2,
        time_ms=TIME_MS,
        device="laptop",
        device_id="01020304",
        meta=Meta(note="many", context_tags=("a", "b")),
        changes=made,
    )


@pytest.fixture(scope="module", autouse=True)
def _usual_limit() -> None:
    assert versions.LARGE > 1 << 20


def both_ways(raw: bytes) -> tuple[Version | None, Version | None]:
    """What a stored form is decoded to: whole, and change by change; None where it is refused."""
    answers: list[Version | None] = []
    for limit in (1 << 30, 0):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(versions, "LARGE", limit)
            try:
                answers.append(unpacked(versions.decode(raw)))
            except DamagedData:
                answers.append(None)
    return answers[0], answers[1]


def unpacked(version: Version) -> Version:
    """With its changes as objects, which those of a large version are not."""
    changes = tuple(version.changes)
    assert len(version.changes) == len(changes)
    assert [version.changes[at] for at in range(len(changes))] == list(changes)
    assert tuple(version.changes[1:4]) == changes[1:4]
    return version._replace(changes=changes)


@given(changes())
def test_change_by_change_gives_the_same_version(made: list[Change]) -> None:
    raw = encoded(made)
    whole, one_by_one = both_ways(raw)
    assert whole is not None and whole == one_by_one
    assert whole.changes == tuple(made)
    with pytest.MonkeyPatch.context() as patch:
        known = [versions.decode_known(raw, whole.id, under) for under in ("", "a", "é/b")]
        rows = versions.rows_of(raw)
        patch.setattr(versions, "LARGE", 0)
        assert [unpacked(versions.decode_known(raw, whole.id, under)) for under in ("", "a", "é/b")] == known
        time_ms, again = versions.rows_of(raw)
        assert (time_ms, list(again)) == (rows[0], list(rows[1]))


@given(changes(), st.sampled_from(["", "a", "é/b"]))
def test_an_outline_says_what_the_whole_version_says(made: list[Change], under: str) -> None:
    raw = encoded(made)
    whole = versions.decode_known(raw, VersionId.of(raw), under)
    assert outline.outline_known(raw, whole.id, under) == outline.outline_of(whole)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(outline, "LARGE", 0)
        assert outline.outline_known(raw, whole.id, under) == outline.outline_of(whole)


@given(changes(), st.data())
def test_a_broken_record_is_refused_either_way(made: list[Change], data: st.DataObject) -> None:
    raw = bytearray(encoded(made))
    if data.draw(st.booleans()):
        raw[data.draw(st.integers(0, len(raw) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    else:
        del raw[data.draw(st.integers(0, len(raw) - 1)) :]
    whole, one_by_one = both_ways(bytes(raw))
    assert whole == one_by_one


@pytest.mark.parametrize("count", [1 << 20, (1 << 32) - 1])
def test_a_record_that_promises_more_changes_than_it_has_is_refused(count: int) -> None:
    raw = encoded([])
    head, tail = raw[: raw.rindex(b"\x90")], raw[raw.rindex(b"\x90") + 1 :]
    promising = head + b"\xdd" + count.to_bytes(4, "big") + tail
    assert both_ways(promising) == (None, None)


# -- whole histories ---------------------------------------------------------------------------------------


@pytest.fixture
def large(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything is large."""
    for module in (versions, records):
        monkeypatch.setattr(module, "LARGE", 0)
    monkeypatch.setattr(records, "AT_ONCE", 3)
    monkeypatch.setattr(history, "_AT_ONCE", 3)


def test_every_manifest_and_every_difference_is_that_of_a_plain_model(memory: Memory, large: None) -> None:
    dice = random.Random(3)
    now: dict[str, bytes] = {}
    model: list[tuple[Version, dict[str, bytes]]] = []
    for turn in range(12):
        for _ in range(dice.randrange(1, 12)):
            path = f"{dice.choice(('a', 'a-b', 'b/c', 'é'))}/{dice.randrange(6)}.txt"
            if dice.random() < 0.2 and path in now:
                del now[path]
                (memory.data / path).unlink()
            else:
                now[path] = f"{path} {dice.randrange(4)}\n".encode()
                memory.write(path, now[path])
        version = memory.store.commit(note=str(turn), allow_deletions=True)
        if version is not None:
            model.append((version, dict(now)))
    pending = f"pending {dice.random()}\n".encode()
    memory.write("a/0.txt", pending)
    memory.write("b/new.txt", pending)
    on_disk = now | {"a/0.txt": pending, "b/new.txt": pending}
    for version, tree in model:
        assert {
            row.path: memory.store.read(row.path, at=version) for row in memory.store.ls(at=version)
        } == tree
        assert [row.path for row in memory.store.ls(at=version)] == sorted(tree)
    sides = [model[0], *model[-2:], (None, on_disk)]
    for old, before in model[::3]:
        for new, after in sides:
            for paths in ([], ["a"], ["b/c", "a-b", "b"]):
                told = {row.path: (row.old, row.new) for row in memory.store.diff(old, new, paths)}
                wanted = {
                    path: (before.get(path), after.get(path))
                    for path in before.keys() | after.keys()
                    if before.get(path) != after.get(path)
                    and (not paths or any(path.startswith(name + "/") for name in paths))
                }
                assert told == wanted
    assert memory.store.verify().ok


@pytest.mark.parametrize("at_once", [1, 2, 3, 7, 1000])
def test_a_manifest_takes_another_s_place_a_stretch_at_a_time(
    memory: Memory, monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    monkeypatch.setattr(history, "_AT_ONCE", at_once)
    dice = random.Random(at_once)
    seqs: list[int | None] = [None]
    for turn in range(6):
        for number in range(9):
            place = memory.data / f"{number}.txt"
            if dice.random() < 0.5:
                memory.write(place.name, f"{turn} {dice.randrange(2)}\n")
            elif place.exists():
                place.unlink()
        if memory.store.commit(allow_deletions=True) is not None:
            seqs.append(memory.repository.head_seq())
    catalogue = memory.repository.catalogue
    for _ in range(30):
        seq = dice.choice(seqs)
        before = {row[0]: row for row in catalogue.tree()}
        different = {row[0]: row[1:] for row in history.tree_against(catalogue, dice.choice(seqs[1:]) or 0)}
        assert all(old != new for old, new in different.values())
        history.replace_tree(catalogue, seq)
        wanted = [] if seq is None else list(history.entries_at(catalogue, seq))
        assert [row[:5] for row in catalogue.tree()] == wanted
        for row in catalogue.tree():
            if before.get(row[0], ())[:5] == row[:5]:
                assert before[row[0]] == row, "what stays the same keeps what is known of its file"


def test_contents_that_are_entered_before_their_commit_count_with_it(
    memory: Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ingest, "MANY", 4)
    monkeypatch.setattr(ingest, "JOB_FILES", 2)
    monkeypatch.setattr(writer, "MANY", 3)
    for number in range(20):
        memory.write(f"{number}.txt", f"note {number % 15}\n")

    def breaks(*_: object, **__: object) -> None:
        raise RuntimeError("the power went")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(writer.Writer, "add_version", breaks)
        with pytest.raises(RuntimeError):
            memory.store.commit()
    assert memory.reopen().head() is None
    assert not memory.repository.catalogue.holds_objects()
    memory.commit()
    assert memory.manifest() == memory.tree()
    assert memory.store.verify().objects == 15
    assert sum(1 for _ in memory.repository.catalogue.objects_in(1)) == 15
    assert {row.kind for _, row in memory.repository.catalogue.objects_in(1)} == {RecordKind.CONTENT}
