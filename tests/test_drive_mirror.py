"""A person's hand on Drive: what they edit, rename, move, trash and delete is seen and never overwritten."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from memstore.errors import Conflict, RemoteMissing
from memstore.remotes.base import BytesSource, MirrorFile
from memstore.remotes.drive import layout, mirror
from memstore.remotes.drive.mirror import TRUSTED
from memstore.remotes.drive.remote import DriveRemote
from tests.drive_emulator import SCOPE_FULL
from tests.drive_place import DrivePlace

MODIFIED = 1_745_416_922_123


@pytest.fixture
def place(tmp_path: Path) -> Iterator[DrivePlace]:
    with DrivePlace(tmp_path) as made:
        yield made


@pytest.fixture
def remote(place: DrivePlace) -> DriveRemote:
    opened = place.open(place.workspace("laptop"))
    opened.prepare(create=True)
    return opened


def put(remote: DriveRemote, path: str, content: bytes = b"ours") -> MirrorFile:
    return remote.put(path, BytesSource(content), {"content": "ab" * 32}, MODIFIED)


def look(remote: DriveRemote, path: str, handle: str | None = None) -> MirrorFile | None:
    return remote.look([(path, handle)])[0]


def test_an_edit_keeps_the_notes_so_that_untouched_can_be_told(
    place: DrivePlace, remote: DriveRemote
) -> None:
    made = put(remote, "Core/Rules.txt")
    place.edit("Core/Rules.txt", b"theirs")
    seen = look(remote, "Core/Rules.txt", made.handle)
    assert seen is not None
    assert seen.notes == made.notes
    assert seen.md5 != made.md5
    assert remote.fetch(made.handle) == b"theirs"


def test_a_renamed_and_a_moved_file_are_found_by_their_handles(
    place: DrivePlace, remote: DriveRemote
) -> None:
    made, other = put(remote, "Core/Rules.txt"), put(remote, "Meta/Notes.txt")
    place.emulator.person.rename(made.handle, "Laws.txt")
    place.emulator.person.move(other.handle, place.emulator.person.find("MemoryVDB/Core"))
    seen = remote.look([("Core/Rules.txt", made.handle), ("Meta/Notes.txt", other.handle)])
    assert [row and row.path for row in seen] == ["Core/Laws.txt", "Core/Notes.txt"]
    assert look(remote, "Core/Rules.txt") is None


def test_a_trashed_file_says_so_and_a_deleted_one_is_not_there(
    place: DrivePlace, remote: DriveRemote
) -> None:
    made, other = put(remote, "a/one.txt"), put(remote, "a/two.txt")
    place.emulator.person.trash(made.handle)
    place.emulator.person.delete(other.handle)
    seen = remote.look([("a/one.txt", made.handle), ("a/two.txt", other.handle)])
    assert seen[0] is not None
    assert seen[0].trashed
    assert seen[1] is None
    assert not list(remote.walk())
    with pytest.raises(RemoteMissing):
        remote.fetch(other.handle)


def test_a_trashed_folder_takes_its_files_along(place: DrivePlace, remote: DriveRemote) -> None:
    made = [put(remote, f"a/{number}.txt") for number in range(6)]
    place.emulator.person.trash(place.emulator.person.find("MemoryVDB/a"))
    other = place.open(place.workspace("laptop"))
    seen = other.look([(row.path, row.handle) for row in made])
    assert [row is not None and row.trashed for row in seen] == [True] * 6


def test_a_file_that_was_moved_out_of_the_mirror_counts_as_thrown_away(
    place: DrivePlace, remote: DriveRemote
) -> None:
    made = put(remote, "Core/Rules.txt")
    place.emulator.person.move(made.handle, place.emulator.person.add_folder("Elsewhere"))
    seen = look(remote, "Core/Rules.txt", made.handle)
    assert seen is not None
    assert seen.trashed


def test_a_renamed_folder_is_shown_under_its_new_name(place: DrivePlace, remote: DriveRemote) -> None:
    put(remote, "Core/Rules.txt")
    place.emulator.person.rename(place.emulator.person.find("MemoryVDB/Core"), "Kern")
    assert [row.path for row in place.open().walk()] == ["Kern/Rules.txt"]


@pytest.mark.parametrize("how", ["trash", "delete"])
def test_a_new_file_for_a_folder_that_is_gone_goes_into_a_new_folder(
    place: DrivePlace, remote: DriveRemote, how: str
) -> None:
    put(remote, "Core/Deep/one.txt")
    getattr(place.emulator.person, how)(place.emulator.person.find("MemoryVDB/Core"))
    for client in (remote, place.open(place.workspace("laptop"))):
        made = put(client, f"Core/Deep/two{id(client)}.txt")
        assert not made.trashed
        assert made.path == f"Core/Deep/two{id(client)}.txt"
        assert client.fetch(made.handle) == b"ours"
    assert len([path for path in place.emulator.tree() if path.startswith("MemoryVDB/Core/Deep/two")]) == 2


@pytest.mark.parametrize("how", ["trash", "delete"])
def test_a_move_to_a_folder_that_is_gone_makes_it_anew(
    place: DrivePlace, remote: DriveRemote, how: str
) -> None:
    put(remote, "Archive/old.txt")
    made = put(remote, "Core/Rules.txt")
    getattr(place.emulator.person, how)(place.emulator.person.find("MemoryVDB/Archive"))
    moved = remote.move(made, "Archive/Rules_old.txt", {})
    assert (moved.path, moved.trashed) == ("Archive/Rules_old.txt", False)
    assert "MemoryVDB/Archive/Rules_old.txt" in place.emulator.tree()
    assert remote.update(moved, BytesSource(b"more"), {}, MODIFIED).handle == made.handle


@pytest.mark.parametrize("repeated", ["accepted", "refused"])
@pytest.mark.parametrize("fault", ["drop=after", "status=503 at=after", "drop=before"])
@pytest.mark.parametrize("request_", [1, 2])
def test_a_move_out_of_a_folder_in_the_trash_survives_a_lost_answer(
    place: DrivePlace, remote: DriveRemote, repeated: str, fault: str, request_: int
) -> None:
    place.emulator.behaviour.set("repeated_add_parent", repeated)
    put(remote, "Archive/old.txt")
    made = put(remote, "Core/Rules.txt")
    place.emulator.person.trash(place.emulator.person.find("MemoryVDB/Archive"))
    place.emulator.fault(f"files.update nth={request_} {fault}")
    assert not remote.move(made, "Archive/Rules_old.txt", {}).trashed
    assert place.emulator.tree()["MemoryVDB/Archive/Rules_old.txt"] == b"ours"


@pytest.mark.parametrize("verb", ["update", "move", "remove"])
@pytest.mark.parametrize("how", ["edit", "trash", "delete"])
def test_what_a_person_did_since_the_look_stops_the_verb(
    place: DrivePlace, remote: DriveRemote, verb: str, how: str
) -> None:
    made = put(remote, "Core/Rules.txt")
    if how == "edit":
        place.emulator.person.edit(made.handle, b"theirs")
    else:
        getattr(place.emulator.person, how)(made.handle)
    with pytest.raises(Conflict):
        if verb == "update":
            remote.update(made, BytesSource(b"more"), {}, MODIFIED)
        elif verb == "move":
            remote.move(made, "Archive/x.txt", {})
        else:
            remote.remove(made)
    if how != "delete":
        assert place.emulator.read(made.handle) == (b"theirs" if how == "edit" else b"ours")


def test_a_look_is_trusted_for_a_while_and_once(place: DrivePlace, remote: DriveRemote) -> None:
    now = [0.0]
    remote._mirror._clock = lambda: now[0]
    put(remote, "a.txt")
    seen = look(remote, "a.txt")
    assert seen is not None
    with place.costs(1):
        later = remote.update(seen, BytesSource(b"more"), {}, MODIFIED)
    with place.costs(2):
        last = remote.update(later, BytesSource(b"still more"), {}, MODIFIED)
    look(remote, "a.txt", last.handle)
    now[0] = TRUSTED + 1
    place.edit("a.txt", b"theirs")
    with pytest.raises(Conflict):
        remote.update(last, BytesSource(b"ours again"), {}, MODIFIED)


def test_an_update_whose_answer_was_lost_does_not_overwrite_what_came_after(
    place: DrivePlace, remote: DriveRemote
) -> None:
    made = put(remote, "a.txt")
    place.emulator.fault(
        "files.update.multipart nth=1 status=503 at=after",
        hook=lambda request: place.emulator.person.edit(made.handle, b"theirs"),
    )
    with pytest.raises(Conflict):
        remote.update(made, BytesSource(b"more"), {}, MODIFIED)
    assert place.emulator.read(made.handle) == b"theirs"


@pytest.mark.parametrize("repeated", ["accepted", "refused"])
@pytest.mark.parametrize("fault", ["drop=after", "status=503 at=after", "drop=before"])
def test_a_move_whose_answer_was_lost_is_not_sent_twice(
    place: DrivePlace, remote: DriveRemote, repeated: str, fault: str
) -> None:
    place.emulator.behaviour.set("repeated_add_parent", repeated)
    made = put(remote, "Core/Rules.txt")
    put(remote, "Archive/other.txt")
    seen = look(remote, "Core/Rules.txt", made.handle)
    assert seen is not None
    place.emulator.fault(f"files.update nth=1 {fault}")
    assert remote.move(seen, "Archive/Rules_old.txt", {}).path == "Archive/Rules_old.txt"
    assert sorted(place.emulator.tree()) == ["MemoryVDB/Archive/Rules_old.txt", "MemoryVDB/Archive/other.txt"]


def test_of_twins_the_one_that_memsync_made_is_found(place: DrivePlace, remote: DriveRemote) -> None:
    folder = place.emulator.person.find("MemoryVDB")
    place.emulator.person.add_file("note.txt", b"a person's, and older", parent=folder)
    made = put(remote, "note.txt")
    full = place.open(place.workspace("full", SCOPE_FULL))
    full.prepare(create=False)
    seen = look(full, "note.txt")
    assert seen is not None
    assert seen.handle == made.handle
    assert len(list(full.walk())) == 2


def test_names_that_no_path_can_hold_are_shown_so_that_one_can(
    place: DrivePlace, remote: DriveRemote
) -> None:
    names = {"a/b.txt": "a_b.txt", "..": "_..", ".memsync": "_.memsync", "nul\0": "nul_"}
    for number, name in enumerate(names):
        made = put(remote, f"{number}.txt")
        place.emulator.person.rename(made.handle, name)
    assert sorted(row.path for row in place.open().walk()) == sorted(names.values())


def test_googles_own_formats_and_strangers_files_are_no_part_of_the_mirror(
    place: DrivePlace, remote: DriveRemote
) -> None:
    put(remote, "ours.txt")
    root = place.emulator.person.find("MemoryVDB")
    place.emulator.person.add_document("A document", parent=root)
    place.emulator.person.add_file("theirs.txt", b"x", parent=root)
    assert [row.path for row in place.open().walk()] == ["ours.txt"]
    full = place.open(place.workspace("full", SCOPE_FULL))
    assert sorted(row.path for row in full.walk()) == ["ours.txt", "theirs.txt"]


def test_a_put_that_was_cut_off_is_found_by_the_next_look(place: DrivePlace, remote: DriveRemote) -> None:
    place.emulator.behaviour.parent_lag_lists = 100
    place.emulator.fault("files.create.multipart drop=after")
    with pytest.raises(Exception, match="no answer"):
        put(place.open(place.workspace("laptop"), attempts=1), "note.txt", b"first")
    place.emulator.clear_faults()
    later = place.open(place.workspace("laptop"))
    seen = look(later, "note.txt")
    assert seen is not None
    later.update(seen, BytesSource(b"second"), {}, MODIFIED)
    assert place.emulator.tree() == {"MemoryVDB/note.txt": b"second"}


def test_a_file_that_moved_away_leaves_its_path_to_a_new_one(place: DrivePlace, remote: DriveRemote) -> None:
    first = put(remote, "note.txt", b"one")
    place.emulator.person.rename(first.handle, "renamed by a person.txt")
    second = put(remote, "note.txt", b"two")
    remote.move(second, "Archive/note.txt", {})
    put(remote, "note.txt", b"three")
    assert place.emulator.tree() == {
        "MemoryVDB/renamed by a person.txt": b"one",
        "MemoryVDB/Archive/note.txt": b"two",
        "MemoryVDB/note.txt": b"three",
    }


def test_a_large_file_of_the_mirror_is_put_and_updated_in_chunks(
    place: DrivePlace, remote: DriveRemote
) -> None:
    content = bytes(range(256)) * 24_000
    made = put(remote, "index.faiss", content)
    place.emulator.fault("upload.chunk nth=1 cut=50%")
    more = content + b"20 vectors more"
    later = remote.update(made, BytesSource(more), {"content": "cd" * 32}, MODIFIED + 1)
    assert later.notes["content"] == "cd" * 32
    assert remote.fetch(made.handle) == more


def test_a_file_deleted_for_ever_leaves_its_path_and_the_ids_in_hand_to_a_new_one(
    place: DrivePlace, remote: DriveRemote
) -> None:
    for number in range(3):
        made = put(remote, "note.txt", b"%d" % number)
        place.emulator.person.delete(made.handle)
    put(remote, "note.txt", b"last")
    assert place.emulator.tree() == {"MemoryVDB/note.txt": b"last"}
    assert place.emulator.count("files.generateIds") == 1


def test_a_few_files_in_a_folder_of_very_many_are_looked_up_one_by_one(
    place: DrivePlace, remote: DriveRemote, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = [put(remote, f"{number}.txt") for number in range(40)]
    monkeypatch.setattr(mirror, "PAGE", 3)
    monkeypatch.setattr(layout, "PAGE", 3)
    asked = [(row.path, row.handle) for row in made[-4:]]
    before = place.emulator.requests
    assert [row and row.handle for row in place.open(place.workspace("laptop")).look(asked)] == [
        handle for _, handle in asked
    ]
    assert place.emulator.requests - before < 12
