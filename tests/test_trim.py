"""What a collection lets go leaves the mirror's `Archive/` too, on a folder and on Drive, and nothing else does."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from memstore.manifest.retention import Rules
from memstore.reports import GcReport
from tests.drive_emulator import DriveEmulator
from tests.drive_memory import ROOT, DriveMemory, no_waiting
from tests.folder_place import Cut, Death, Place, Watched, without_waiting

LAST = Rules(last=1)
NOW = "[gc]\ngrace_hours = 0\n"


class Person:
    """What somebody does in the mirror by hand."""

    def __init__(self, place: Place | DriveMemory) -> None:
        self.place = place

    def edit(self, path: str, data: bytes) -> None:
        if isinstance(self.place, Place):
            (self.place.remote / path).write_bytes(data)
        else:
            by_hand = self.place.emulator.person
            by_hand.edit(by_hand.find(f"{ROOT}/{path}"), data)

    def add(self, path: str, data: bytes) -> None:
        if isinstance(self.place, Place):
            (self.place.remote / path).write_bytes(data)
        else:
            folder, _, name = (f"{ROOT}/{path}").rpartition("/")
            by_hand = self.place.emulator.person
            by_hand.add_file(name, data, parent=by_hand.find(folder))


@pytest.fixture(params=["folder", "drive"])
def place(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Place | DriveMemory]:
    if request.param == "folder":
        without_waiting(monkeypatch)
        yield Place(tmp_path, config=NOW)
        return
    with DriveEmulator() as running, no_waiting(running):
        made = DriveMemory(tmp_path, running)
        (made.root / ".memsync" / "config.toml").write_text(NOW)
        yield made


def pushed(place: Place | DriveMemory, files: dict[str, bytes | None]) -> None:
    place.commit(files)
    assert place.push().status == "success"


def gc(place: Place | DriveMemory, rules: Rules = LAST, *, keep_archived: bool | None = None) -> GcReport:
    with place.open() as store:
        report = store.gc(rules, keep_archived=keep_archived)
    assert report.error is None, report.error
    return report


def archived(place: Place | DriveMemory) -> dict[bytes, str]:
    """Content → path of what lies in the mirror's `Archive/`."""
    return {data: path for path, data in place.mirror.items() if path.startswith("Archive/")}


def lived(place: Place | DriveMemory) -> None:
    """Three contents of a note, one put away by name, one archived by its end; all pushed."""
    for number in range(3):
        pushed(place, {"Core/note.txt": b"note %d\n" % number, "by name.txt": b"kept by name\n"})
    with place.open() as store:
        store.archive(["by name.txt"])
    assert place.push().status == "success"
    pushed(place, {"short.txt": b"here today\n"})
    pushed(place, {"short.txt": None})


def test_the_archive_of_the_mirror_holds_what_the_rules_keep(place: Place | DriveMemory) -> None:
    lived(place)
    assert archived(place).keys() == {b"note 0\n", b"note 1\n", b"kept by name\n", b"here today\n"}
    assert gc(place, Rules()).trimmed == 0
    assert len(archived(place)) == 4
    before = {path: data for path, data in place.mirror.items() if not path.startswith("Archive/")}
    report = gc(place)
    assert (report.removed, report.trimmed) == (3, 3)
    assert archived(place).keys() == {b"kept by name\n"}
    assert {path: data for path, data in place.mirror.items() if not path.startswith("Archive/")} == before
    assert gc(place).trimmed == 0
    assert place.push().status == "nothing"
    with place.open() as store:
        assert store.verify(remote=True, read_data=True).ok
        assert store.read(archived(place)[b"kept by name\n"]) == b"kept by name\n"
    assert gc(place, keep_archived=False).trimmed == 1
    assert not archived(place)


def test_what_a_person_did_in_the_archive_stays(place: Place | DriveMemory) -> None:
    lived(place)
    person, there = Person(place), archived(place)
    person.edit(there[b"note 1\n"], b"note 1, with my thoughts\n")
    person.add("Archive/my copy.txt", b"note 0\n")
    place.commit(
        {"Archive/mine_2025-01-01T00-00-00Z.txt": b"note 0\n"}
    )  # a file of `Data/`, whatever its name
    assert place.push().status == "success"
    assert gc(place).trimmed == 1, "only what came and went; note 0 is a file of Data/ again"
    kept = {path for path in place.mirror if path.startswith("Archive/")}
    assert kept == {
        there[b"kept by name\n"],
        there[b"note 0\n"],
        there[b"note 1\n"],
        "Archive/my copy.txt",
        "Archive/mine_2025-01-01T00-00-00Z.txt",
    }
    place.commit({"Archive/mine_2025-01-01T00-00-00Z.txt": None})
    assert place.push().status == "success"
    assert gc(place).trimmed == 2, "note 0 under its two references"
    assert {path for path in place.mirror if path.startswith("Archive/")} == {
        there[b"kept by name\n"],
        there[b"note 1\n"],
        "Archive/my copy.txt",
    }


def test_a_mirror_that_is_off_is_not_looked_through(place: Place | DriveMemory) -> None:
    lived(place)
    (place.root / ".memsync" / "config.toml").write_text(NOW + "[mirror]\nenabled = false\n")
    assert (gc(place).trimmed, len(archived(place))) == (0, 4)


def test_a_trim_that_is_cut_off_is_finished_by_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_waiting(monkeypatch)
    place = Place(tmp_path, config=NOW)
    lived(place)
    told: list[tuple[str, str]] = []
    with place.open() as store:
        store._open_remote = lambda: Watched(place.remote, told, None)  # type: ignore[method-assign]
        cut = Cut(2, Death, after=True)
        real = Watched.__getattr__

        def dies(self: Watched, verb: str) -> object:
            self._cut = cut if verb == "remove" else None
            return real(self, verb)

        monkeypatch.setattr(Watched, "__getattr__", dies)
        with pytest.raises(Death):
            store.gc(LAST)
        monkeypatch.setattr(Watched, "__getattr__", real)
    assert len(archived(place)) == 2
    assert gc(place).trimmed == 1
    assert archived(place).keys() == {b"kept by name\n"}
