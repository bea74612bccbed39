"""The open log: a group counts when its commit record's hash holds, and damage is never taken for a torn tail."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from memstore import files
from memstore.errors import DamagedData, DiskTrouble
from memstore.ids import ContentId, VersionId
from memstore.objects.file_header import pack_file_header, parse_file_header
from memstore.objects.record import Encoding, RecordKind, pack_header
from memstore.objects.segment import (
    COMMIT_LENGTH,
    COMMIT_MAGIC,
    MAGIC,
    Segment,
)

STORE = b"s" * 16


def head(number: int) -> VersionId:
    return VersionId.of(b"%d" % number)


def add(segment: Segment, *contents: bytes) -> None:
    for content in contents:
        segment.append(
            pack_header(RecordKind.CONTENT, Encoding.RAW, ContentId.of(content), len(content), len(content)),
            content,
        )


def contents(segment: Segment) -> list[list[bytes]]:
    """Of each good group but the first, which is empty."""
    return [
        [segment.read_at(offset + header.length, header.stored) for header, offset in segment.records(group)]
        for group in segment.scan().groups[1:]
    ]


@pytest.fixture
def segment(tmp_path: Path) -> Iterator[Segment]:
    made = Segment.create(str(tmp_path), STORE, None)
    made.begin(made.end)
    yield made
    made.close()


def reopened(segment: Segment) -> Segment:
    return Segment(segment.path)


def overwrite(segment: Segment, content: bytes) -> None:
    """Give the very same file these bytes: a copy would be another file, and so not our own."""
    with open(segment.path, "r+b") as file:
        file.write(content)
        file.truncate()


def flip(segment: Segment, at: int, bits: int = 1) -> None:
    with open(segment.path, "r+b") as file:
        file.seek(at)
        byte = file.read(1)[0]
        file.seek(at)
        file.write(bytes((byte ^ bits,)))


def test_a_new_segment_is_durable_and_repeats_head(tmp_path: Path) -> None:
    seen: list[str] = []
    with files.watch(lambda step, path, data: seen.append(step)):
        Segment.create(str(tmp_path), STORE, head(1)).close()
    assert seen.index("sync") < seen.index("rename") < seen.index("sync_dir")
    (name,) = os.listdir(tmp_path)
    again = Segment(str(tmp_path / name))
    assert again.own
    assert [group.head for group in again.scan().groups] == [head(1)]
    again.close()


@given(st.lists(st.lists(st.binary(max_size=3000), max_size=4), max_size=6))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40, deadline=None)
def test_groups_read_back_in_order_with_their_heads(tmp_path: Path, groups: list[list[bytes]]) -> None:
    made = Segment.create(str(tmp_path), STORE, None)
    made.begin(made.end)
    for number, group in enumerate(groups):
        add(made, *group)
        made.commit(head(number))
    scan = made.scan()
    assert contents(made) == groups
    assert [group.head for group in scan.groups] == [None, *(head(number) for number in range(len(groups)))]
    assert (scan.damaged, scan.end, scan.size) == ([], made.end, made.size())
    made.close()


def test_a_commit_is_one_write_and_one_sync(segment: Segment) -> None:
    add(segment, b"a" * 100, b"b" * 100)
    seen: list[str] = []
    with files.watch(lambda step, path, data: seen.append(step)):
        segment.commit(head(1))
    assert seen == ["write", "sync"]


def test_a_large_group_is_flushed_on_the_way_and_counts_only_at_its_end(segment: Segment) -> None:
    pieces = [os.urandom(700_000) for _ in range(5)]
    add(segment, *pieces)
    assert segment.size() > 2_000_000
    assert contents(segment) == []
    segment.commit(head(1))
    assert contents(segment) == [pieces]


def test_a_tail_torn_at_any_byte_is_cut_off_and_kept(segment: Segment, tmp_path: Path) -> None:
    add(segment, b"first", b"second")
    segment.commit(head(1))
    before = segment.end
    add(segment, b"third" * 20, b"fourth")
    segment.commit(head(2))
    whole = Path(segment.path).read_bytes()
    torn = tmp_path / "torn"
    for cut in range(before, len(whole)):
        overwrite(segment, whole[:cut])
        again = reopened(segment)
        scan = again.scan()
        assert (scan.groups[-1].head, scan.end, scan.damaged) == (head(1), before, [])
        kept = again.cut_torn_tail(scan, str(torn))
        assert again.size() == before
        if cut == before:
            assert kept is None
        else:
            assert kept is not None
            assert Path(kept).read_bytes() == whole[before:cut]
            os.unlink(kept)
        again.begin(before)
        add(again, b"after the crash")
        again.commit(head(3))
        assert contents(again) == [[b"first", b"second"], [b"after the crash"]]
        again.close()


def test_one_flipped_bit_anywhere_in_a_group_is_damage_once_a_later_group_is_good(segment: Segment) -> None:
    add(segment, b"first")
    segment.commit(head(1))
    start = segment.end
    add(segment, b"second" * 9, COMMIT_MAGIC + b"no commit record")
    segment.commit(head(2))
    end = segment.end
    add(segment, b"third")
    segment.commit(head(3))
    for at in range(start, end):
        flip(segment, at)
        scan = segment.scan()
        assert [group.head for group in scan.groups] == [None, head(1), head(3)], at
        assert scan.damaged == [(start, end)]
        assert scan.end == scan.size
        flip(segment, at)
    assert segment.scan().damaged == []


def test_what_parses_in_a_damaged_group_can_be_salvaged(segment: Segment) -> None:
    add(segment, b"one", b"two", b"three")
    start, end = segment.start + COMMIT_LENGTH, segment.commit(head(1))
    add(segment, b"later")
    segment.commit(head(2))
    flip(segment, start + 36)
    ids = [header.id for header, _ in segment.salvage(start, end)]
    assert ids == [ContentId.of(content) for content in (b"one", b"two", b"three")]


def test_a_damaged_header_hides_none_of_the_groups(segment: Segment) -> None:
    add(segment, b"first")
    segment.commit(head(1))
    for at in range(segment.start):
        flip(segment, at, 0x80)
        try:
            again = reopened(segment)
        except DamagedData as error:  # the flip made another format of it
            raise AssertionError(at) from error
        assert again.header_is_damaged
        assert not again.own
        assert [group.head for group in again.scan().groups] == [None, head(1)]
        again.close()
        flip(segment, at, 0x80)


def test_a_copied_segment_is_read_but_is_nobodys_own(segment: Segment, tmp_path: Path) -> None:
    add(segment, b"first")
    segment.commit(head(1))
    copy = tmp_path / "copy" / os.path.basename(segment.path)
    copy.parent.mkdir()
    shutil.copy2(segment.path, copy)
    other = Segment(str(copy))
    assert not other.own
    assert contents(other) == [[b"first"]]
    other.close()
    moved = tmp_path / "moved.seg"
    os.rename(segment.path, moved)
    same = Segment(str(moved))
    assert same.own
    assert contents(same) == [[b"first"]]
    same.close()


def test_a_segment_stored_as_a_files_content_is_no_group_of_another(segment: Segment) -> None:
    """Its commit records are whole; but they are another segment's, or lie elsewhere."""
    add(segment, b"inner")
    segment.commit(head(1))
    itself = Path(segment.path).read_bytes()
    end = segment.end
    add(segment, itself)
    segment.commit(head(2))
    overwrite(segment, Path(segment.path).read_bytes()[:-1])
    scan = reopened(segment).scan()
    assert [group.head for group in scan.groups] == [None, head(1)]
    assert (scan.damaged, scan.end) == ([], end)


def test_a_write_that_fails_anywhere_is_rolled_back(segment: Segment) -> None:
    add(segment, b"first")
    segment.commit(head(1))
    end = segment.end
    for failing in ("write", "sync"):

        def full(step: str, path: str, data: bytes, failing: str = failing) -> None:
            if step == failing:
                raise DiskTrouble("full")

        add(segment, os.urandom(1_500_000) if failing == "sync" else b"small")
        with files.watch(full), pytest.raises(DiskTrouble):
            segment.commit(head(2))
        segment.rollback()
        assert (segment.size(), segment.end) == (end, end)
    add(segment, b"second")
    segment.commit(head(3))
    assert contents(segment) == [[b"first"], [b"second"]]


def test_half_a_write_is_rolled_back(segment: Segment, monkeypatch: pytest.MonkeyPatch) -> None:
    add(segment, b"first")
    segment.commit(head(1))
    whole = os.write

    def half(descriptor: int, data: memoryview) -> int:
        whole(descriptor, data[: len(data) // 2])
        raise OSError(28, "No space left on device")

    add(segment, b"second" * 100)
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", half)
        with pytest.raises(DiskTrouble, match="No space"):
            segment.commit(head(2))
    assert segment.size() > segment.end
    segment.rollback()
    assert segment.size() == segment.end
    add(segment, b"third")
    segment.commit(head(3))
    assert contents(segment) == [[b"first"], [b"third"]]


# -- file headers ------------------------------------------------------------------------------------------

FACTS: dict[str, object] = {"format": 1, "features": [], "key": None, "store": STORE}


def test_a_file_header_reads_back() -> None:
    header = pack_file_header(MAGIC, FACTS)
    assert parse_file_header(header + b"records", MAGIC, "it") == (FACTS, len(header))


@pytest.mark.parametrize(
    "facts",
    [
        {**FACTS, "format": 2},
        {**FACTS, "features": ["telepathy"]},
        {**FACTS, "features": [1, "x", None]},
        {**FACTS, "key": b"1"},
        {},
        {"format": 1},
        {**FACTS, "features": 5},
        {**FACTS, "features": [[]]},
    ],
)
def test_a_header_that_asks_for_more_or_makes_no_sense_is_refused(facts: dict[str, object]) -> None:
    with pytest.raises(DamagedData):
        parse_file_header(pack_file_header(MAGIC, facts), MAGIC, "it")


@given(st.binary(max_size=200))
@settings(deadline=None)
def test_any_bytes_are_a_header_or_damage(data: bytes) -> None:
    whole = pack_file_header(MAGIC, FACTS)
    for hostile in (data, MAGIC + data, whole[: len(data) % len(whole)]):
        with pytest.raises(DamagedData):
            parse_file_header(hostile, MAGIC, "it")


def test_a_newer_segment_is_not_taken_for_a_damaged_one(tmp_path: Path) -> None:
    path = tmp_path / "0123456789abcdef.seg"
    path.write_bytes(pack_file_header(MAGIC, {**FACTS, "format": 2, "name": "x", "device": 0, "inode": 0}))
    with pytest.raises(DamagedData, match="newer"):
        Segment(str(path))
