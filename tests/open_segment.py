"""A memory's one segment: where it lies, what it is made of, and harms that leave it the same file."""

from __future__ import annotations

import itertools
from pathlib import Path

from memstore.ids import VersionId
from memstore.objects.segment import Segment
from tests.conftest import Memory


def segment_path(memory: Memory) -> Path:
    (path,) = (memory.state / "segments").glob("*.seg")
    return path


def groups(path: Path) -> list[tuple[int, int]]:
    """(start, end) of each group, its commit record included."""
    segment = Segment(str(path))
    ends = [segment.start, *(group.end for group in segment.scan().groups)]
    segment.close()
    return list(itertools.pairwise(ends))


def forget_catalogue(memory: Memory) -> None:
    memory.store.close()
    for path in memory.state.glob("catalogue.sqlite*"):
        path.unlink()


def overwrite(path: Path, content: bytes) -> None:
    """In place: a file of its own would be taken for a copy."""
    with path.open("r+b") as file:
        file.write(content)
        file.truncate()


def flip(path: Path, at: int, bits: int = 0x10) -> None:
    content = bytearray(path.read_bytes())
    content[at] ^= bits
    overwrite(path, bytes(content))


def whole(memory: Memory, expected: dict[VersionId, dict[str, bytes]]) -> None:
    """These versions, and no others, are here, and hold what they should."""
    assert {version.id for version in memory.versions()} == set(expected)
    for id, tree in expected.items():
        found = {entry.path: memory.repository.read(entry.content) for entry in memory.repository.entries(id)}
        assert found == tree
