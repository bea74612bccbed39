"""What is cut off, damaged, or of a format from the future: both readers draw the line in the same place."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from memstore import Store
from memstore.errors import BadInput, DamagedData, MemsyncError, RemoteTrouble
from memstore.ids import ContentId
from memstore.objects.encoding import encode
from memstore.objects.record import RecordKind
from memstore.objects.segment import Segment
from tests import make_golden
from tests.conftest import Memory
from tests.naive_reader import COMMIT_SIZE, NotReadable, read_store

EXPECTED: dict[str, Any] = json.loads((make_golden.GOLDEN / "expected.json").read_text(encoding="utf-8"))


@pytest.fixture
def golden_remote(tmp_path: Path) -> Path:
    shutil.copytree(make_golden.GOLDEN / "remote", tmp_path / "remote" / ".memsync")
    return tmp_path / "remote"


# -- what is cut off, or damaged ---------------------------------------------------------------------------


def three_versions(memory: Memory) -> tuple[Path, bytes]:
    for turn in range(3):
        memory.save("a.txt", f"turn {turn}\n" * (turn + 5))
    memory.store.close()
    (segment,) = (memory.state / "segments").iterdir()
    return segment, segment.read_bytes()


def test_wherever_a_segment_is_cut_both_readers_see_the_same_versions(memory: Memory) -> None:
    segment, content = three_versions(memory)
    whole = read_store(memory.state)
    seen = set()
    header = content.index(b"\xf0COMMIT\r\n")
    for length in range(header, len(content) + 1):
        segment.write_bytes(content[:length])
        naive = read_store(memory.state)
        opened = Segment(str(segment))
        scan = opened.scan()
        opened.close()
        assert naive.torn[segment.name] == scan.size - scan.end
        head = scan.groups[-1].head if scan.groups else None
        assert naive.segments[segment.name][1] == head
        assert naive.versions.items() <= whole.versions.items()
        seen.add(len(naive.versions))
    assert seen == {0, 1, 2, 3}


def test_whatever_byte_is_damaged_both_readers_skip_the_same_group(memory: Memory) -> None:
    segment, content = three_versions(memory)
    start = content.index(b"\xf0COMMIT\r\n") + COMMIT_SIZE
    end = content.index(b"\xf0COMMIT\r\n", start) + COMMIT_SIZE
    for at in range(start, end):
        segment.write_bytes(content[:at] + bytes([content[at] ^ 0x10]) + content[at + 1 :])
        opened = Segment(str(segment))
        scan = opened.scan()
        opened.close()
        assert scan.damaged == [(start, end)]
        with pytest.raises(NotReadable, match="no base"):
            read_store(memory.state)  # a strict reader: the second version leans on the first


def test_a_copy_of_a_segment_in_a_commit_that_was_cut_off_counts_for_nothing(memory: Memory) -> None:
    """Its groups are whole, but lie where they do not belong."""
    segment, content = three_versions(memory)
    before = read_store(memory.state)
    memory.reopen()
    with memory.repository.writing() as writer:
        copy = os.urandom(9) + content
        writer.add(RecordKind.CONTENT, ContentId.of(copy), len(copy), encode(b"")._replace(payload=copy))
        writer.commit(memory.repository.head())
    memory.store.close()
    whole = segment.read_bytes()
    assert content in whole
    segment.write_bytes(whole[:-1])
    naive = read_store(memory.state)
    assert (naive.torn[segment.name], naive.damaged[segment.name]) == (len(whole) - 1 - len(content), 0)
    assert naive.head == before.head
    opened = Segment(str(segment))
    scan = opened.scan()
    opened.close()
    assert scan.damaged == [] and scan.end == len(content)


@pytest.mark.parametrize("where", [60, -200, -30])
def test_a_damaged_pack_is_refused_by_the_second_reader(golden_remote: Path, where: int) -> None:
    (pack,) = (golden_remote / ".memsync" / "packs").iterdir()
    content = bytearray(pack.read_bytes())
    content[where] ^= 1
    pack.write_bytes(content)
    with pytest.raises(NotReadable, match="is not the pack of that name"):
        read_store(golden_remote / ".memsync")


# -- remotes -----------------------------------------------------------------------------------------------


def test_listed_heads_are_reduced_to_those_without_a_listed_descendant(golden_remote: Path) -> None:
    heads = golden_remote / ".memsync" / "heads"
    marker = (heads / EXPECTED["remote_head"]).read_bytes()
    older = EXPECTED["versions"][7][0]
    (heads / older).write_bytes(marker)
    assert [head.hex() for head in read_store(heads.parent).heads] == [EXPECTED["remote_head"]]


def test_packs_without_any_head_are_no_empty_store(golden_remote: Path, tmp_path: Path) -> None:
    (golden_remote / ".memsync" / "heads" / EXPECTED["remote_head"]).unlink()
    with pytest.raises(NotReadable, match="without any head"):
        read_store(golden_remote / ".memsync")
    with pytest.raises(RemoteTrouble) as caught:
        Store.clone(str(golden_remote), tmp_path / "clone")
    assert caught.value.exit_code == 5 and caught.value.hint


# -- formats from the future -------------------------------------------------------------------------------

FUTURE: list[Callable[[dict[str, Any]], None]] = [
    lambda document: document.update(format=2),
    lambda document: document.update(format=0),
    lambda document: document.update(features=["encryption"]),
]


def from_the_future(state: Path, change: Callable[[dict[str, Any]], None]) -> None:
    document = json.loads((state / "format").read_text())
    change(document)
    (state / "format").write_text(json.dumps(document))


@pytest.mark.parametrize("change", FUTURE)
def test_a_store_of_a_format_that_is_not_known_is_refused(
    memory: Memory, change: Callable[[dict[str, Any]], None]
) -> None:
    memory.save("a.txt", "kept")
    memory.store.close()
    from_the_future(memory.state, change)
    with pytest.raises(NotReadable):
        read_store(memory.state)
    with pytest.raises(BadInput) as caught:
        Store.open(memory.root)
    refused_with_its_mend(caught.value, 8)


@pytest.mark.parametrize("change", FUTURE)
def test_a_remote_of_a_format_that_is_not_known_is_refused(
    golden_remote: Path, tmp_path: Path, change: Callable[[dict[str, Any]], None]
) -> None:
    from_the_future(golden_remote / ".memsync", change)
    with pytest.raises(BadInput) as caught:
        Store.clone(str(golden_remote), tmp_path / "clone")
    refused_with_its_mend(caught.value, 8)
    assert not (tmp_path / "clone").exists()


def refused_with_its_mend(error: MemsyncError, exit_code: int) -> None:
    assert error.exit_code == exit_code
    assert not error.retryable
    assert "newer memsync" in error.message
    assert error.hint == "pip install --upgrade memsync"


@pytest.mark.parametrize(
    "text", [b"", b"{}", b'{"format": 1, "features": [], "store": "xyz"}', b"[1]", b"\xff"]
)
def test_a_damaged_format_file_is_named(memory: Memory, text: bytes) -> None:
    memory.store.close()
    (memory.state / "format").write_bytes(text)
    with pytest.raises(DamagedData) as caught:
        Store.open(memory.root)
    assert caught.value.exit_code == 6 and caught.value.hint
