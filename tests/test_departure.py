"""By its name alone: whether a file in the mirror's `Archive/` was archived by a device, or put there by a person."""

from __future__ import annotations

import pytest

from memstore.ids import ContentId
from memstore.manifest.version import archive_name, archive_name_with
from memstore.merging.names import apart
from memstore.mirror.departure import has_left
from memstore.worktree.names import LONGEST_NAME

CONTENT = ContentId.of(b"one\n")
PATHS = [
    "Rules.txt",
    "Core/Rules.txt",
    "Core/README",
    ".hidden",
    "v1.2/state.tar.gz",
    "Archive/Rules.txt",
    "a+b (c)[d]\n~12345678.txt",
    "Rules_2025-04-23T14-02-00Z.txt",
    *("y" * length + ".md" for length in range(215, 253)),
    *("ü" * length for length in range(110, 128)),
    *("🧠" * length + ".md" for length in range(54, 64)),
    f"Archive/{'y' * 240}~12345678.md",
    "." + "z" * 250,
    "a." + "z" * 250,
]


@pytest.mark.parametrize("path", PATHS, ids=lambda path: f"{path[:20]!r} of {len(path.encode())}")
def test_every_name_under_which_a_device_archives_a_file_is_known_as_one(path: str) -> None:
    for time_ms in (0, 1_745_416_920_000, 4_102_444_800_000):
        for name in (archive_name(path, time_ms), archive_name_with(path, time_ms, CONTENT)):
            if len(name.rpartition("/")[2].encode()) <= LONGEST_NAME:
                assert has_left(path, name)
            assert has_left(path, apart(name, CONTENT))
            assert has_left(path, apart(apart(name, CONTENT), CONTENT))
    assert not has_left(path, path)


@pytest.mark.parametrize(
    "now",
    [
        "Archive/Rules.txt",
        "Archive/Core/Rules.txt",
        "Archive/Rules~12345678.txt",
        "Archive/Core/Laws_2025-04-23T14-02-00Z.txt",
        "Archive/Core/Rules_2025-04-23T14-02-00Z.md",
        "Archive/Core/Rules_2025-04-23T14-02-00Z (1).txt",
        "Archive/Core/Rules_2025-04-23.txt",
        "Core/Rules_2025-04-23T14-02-00Z.txt",
        f"Archive/Core/{'y' * 242}~12345678.txt",
    ],
)
def test_any_other_name_is_a_persons(now: str) -> None:
    assert not has_left("Core/Rules.txt", now)


def test_an_archived_file_is_known_in_whatever_folder_of_the_archive() -> None:
    assert has_left("Core/Rules.txt", "Archive/Old/Rules_2025-04-23T14-02-00Z.txt")
