"""What each verb costs on Drive, in requests. Token refreshes and the emulator's own affairs aside."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from memstore.remotes.base import BytesSource
from tests.drive_place import DrivePlace

PACK = "packs/" + "ab" * 32
HEADS = ["heads/" + digit * 64 for digit in "123456789"]
MODIFIED = 1_745_416_922_123


@pytest.fixture
def place(tmp_path: Path) -> Iterator[DrivePlace]:
    with DrivePlace(tmp_path) as made:
        yield made


def started(place: DrivePlace, name: str = "laptop") -> None:
    """A remote with a pack, a head and two mirrored notes, made by a process that has ended."""
    remote = place.open(place.workspace(name))
    remote.prepare(create=True)
    remote.create("format", BytesSource(b"format"))
    remote.create("packs/" + "00" * 32, BytesSource(b"first"))
    remote.create(HEADS[0], BytesSource(b"head"), {"pack": "00" * 32})
    for path in ("Core/Rules.txt", "Archive/Core/Rules_old.txt"):
        remote.put(path, BytesSource(path.encode()), {"md5": "x"}, MODIFIED)
    remote.close()


def test_opening_and_preparing_a_known_remote_asks_nothing(place: DrivePlace) -> None:
    started(place)
    with place.costs(0):
        place.open(place.workspace("laptop")).prepare(create=False)


def test_a_push_without_a_mirror_file_is_four_requests(place: DrivePlace) -> None:
    started(place)
    remote = place.open(place.workspace("laptop"))
    with place.costs(4):
        remote.prepare(create=False)
        assert [row.name for row in remote.list("heads/")] == [HEADS[0]]
        remote.create(PACK, BytesSource(b"pack"))
        remote.create(HEADS[1], BytesSource(b"head"), {"pack": "ab" * 32})
        remote.delete(HEADS[0])
    assert remote.requests == 4


def test_an_appended_note_is_two_requests_more(place: DrivePlace) -> None:
    started(place)
    first = place.open(place.workspace("laptop"))
    seen = first.look([("Core/Rules.txt", None)])[0]
    assert seen is not None
    remote = place.open(place.workspace("laptop"))
    with place.costs(2):
        found = remote.look([("Core/Rules.txt", seen.handle)])[0]
        assert found is not None
        assert found.path == "Core/Rules.txt"
        remote.update(found, BytesSource(b"longer"), {"md5": "y"}, MODIFIED)


def test_a_replaced_note_is_three_requests_more(place: DrivePlace) -> None:
    started(place)
    remote = place.open(place.workspace("laptop"))
    handle = place.emulator.person.find("MemoryVDB/Core/Rules.txt")
    with place.costs(3):
        found = remote.look([("Core/Rules.txt", handle)])[0]
        assert found is not None
        remote.move(found, "Archive/Core/Rules_new.txt", {})
        remote.put("Core/Rules.txt", BytesSource(b"new"), {"md5": "z"}, MODIFIED)
    assert place.emulator.tree()["MemoryVDB/Core/Rules.txt"] == b"new"


def test_the_first_replaced_note_makes_its_archive_folders_without_looking_for_them(
    place: DrivePlace,
) -> None:
    remote = place.open(place.workspace("laptop"))
    remote.prepare(create=True)
    handles = {
        path: remote.put(path, BytesSource(b"old"), {}, MODIFIED).handle for path in ("A/x.txt", "B/y.txt")
    }
    for path, made in (("A/x.txt", 2), ("B/y.txt", 1)):
        later = place.open(place.workspace("laptop"))
        with place.costs(3 + made):
            found = later.look([(path, handles[path])])[0]
            assert found is not None
            later.move(found, f"Archive/{path}", {})
            later.put(path, BytesSource(b"new"), {}, MODIFIED)
    other = place.open()
    with place.costs(1 + 1 + 1):  # the root, the listing of B, the file that a person renamed
        place.emulator.person.rename(place.emulator.person.find("MemoryVDB/A/x.txt"), "z.txt")
        assert other.look([("B/y.txt", None)])[0] is not None
    assert sorted(place.emulator.tree()) == [
        "MemoryVDB/A/z.txt", "MemoryVDB/Archive/A/x.txt", "MemoryVDB/Archive/B/y.txt", "MemoryVDB/B/y.txt",
    ]  # fmt: skip


def test_a_first_push_is_nine_requests_and_one_for_each_folder_and_file(place: DrivePlace) -> None:
    remote = place.open()
    with place.costs(9):  # look, ids, root, look for a twin, three folders, pack, head
        remote.prepare(create=True)
        assert not remote.list("heads/")
        assert not remote.list("format")
        remote.create(PACK, BytesSource(bytes(3_000_000)))
        remote.create(HEADS[0], BytesSource(b"head"), {"pack": "ab" * 32})
    with place.costs(1):
        remote.create("format", BytesSource(b"format"))
    paths = [f"Folder{number % 3}/note{number}.txt" for number in range(12)]
    with place.costs(0):
        assert remote.look([(path, None) for path in paths]) == [None] * 12
    with place.costs(3 + 12):
        for path in paths:
            remote.put(path, BytesSource(path.encode()), {}, MODIFIED)
    with place.costs(0):
        assert all(row is not None for row in remote.look([(path, None) for path in paths]))


def test_looking_at_many_files_takes_few_listings(place: DrivePlace) -> None:
    remote = place.open(place.workspace("laptop"))
    remote.prepare(create=True)
    paths = [f"Folder{number % 5}/note{number}.txt" for number in range(60)]
    handles = [remote.put(path, BytesSource(b"x"), {}, MODIFIED).handle for path in paths]
    other = place.open(place.workspace("laptop"))
    with place.costs(1):
        seen = other.look(list(zip(paths, handles, strict=True)))
    assert [row and row.path for row in seen] == paths
    with place.costs(1):
        assert [row and row.path for row in other.look([(path, None) for path in paths])] == paths


def test_a_clone_reads_the_pack_that_a_head_names_without_listing_packs(place: DrivePlace) -> None:
    started(place)
    remote = place.open()
    with place.costs(1):
        remote.prepare(create=False)
    with place.costs(1):
        assert remote.list("heads/")[0].notes == {"pack": "00" * 32}
    with place.costs(1):
        assert remote.read("packs/" + "00" * 32) == b"first"


def test_ids_are_reserved_by_the_thousand_and_kept_across_processes(place: DrivePlace) -> None:
    started(place)
    for number in range(1, 5):
        remote = place.open(place.workspace("laptop"))
        remote.create(HEADS[number], BytesSource(b"head"))
    assert place.emulator.count("files.generateIds") == 1


def test_a_large_file_goes_in_chunks_and_is_read_in_chunks(place: DrivePlace) -> None:
    remote = place.open()
    remote.prepare(create=True)
    content = bytes(range(256)) * 80_000  # 20.48 MB: three chunks of 8 MiB
    with place.costs(1 + 3):
        remote.create(PACK, BytesSource(content))
    with place.costs(3):
        assert b"".join(remote.read_stream(PACK)) == content
    assert remote.bytes_sent == len(content)
    assert place.emulator.violations == []


def test_nothing_of_the_network_is_imported_before_a_drive_remote_is_opened() -> None:
    import subprocess
    import sys

    script = (
        "import sys, memstore.remotes.open, memstore.remotes.folder; print('googleapiclient' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
