"""What a push sends is what its name says, and what a pull writes anew at that very moment stops no push."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from memstore.actions import remote_state, sending
from memstore.remotes.folder import FolderRemote
from tests.folder_place import Place, trouble, without_waiting
from tests.forgetful_place import forget, note, other, password, pull, where, whole
from tests.mended_place import flip, repair


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    without_waiting(monkeypatch)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    made = Place(tmp_path)
    made.commit({"a.txt": note(1)})
    assert made.push().status == "success"
    return made


def sealed_and_not_sent(place: Place, files: dict[str, bytes | None]) -> Path:
    """A commit in a pack that never reached the remote; the pack."""
    place.commit(files)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(FolderRemote, "create", lambda *_: (_ for _ in ()).throw(trouble()))
        assert place.push().status == "fail"
    (pack,) = {path for path in (place.root / ".memsync/packs").iterdir() if path.stem not in place.packs}
    return pack


def test_a_pack_that_is_damaged_here_is_not_sent_and_its_repair_brings_the_push_to_its_end(
    place: Place,
) -> None:
    pack = sealed_and_not_sent(place, {"n.bin": random.Random(1).randbytes(3000)})
    before = place.packs, place.heads
    flip(pack, 1000)
    report = place.push(mirror=False)
    assert (report.status, report.exit_code, report.packs) == ("fail", 6, 0)
    assert report.error is not None and "memsync repair" in str(report.error["hint"])
    assert (place.packs, place.heads) == before
    place.commit({"later.txt": note(2)})
    assert repair(place).ok, "n.bin still lies in Data/"
    assert place.push().status == "success"
    with place.open() as store:
        assert store.verify(remote=True, read_data=True).ok
    assert (place.clone("another").data / "n.bin").read_bytes() == random.Random(1).randbytes(3000)


@pytest.mark.parametrize("moment", ["before", "while"])
def test_a_pull_that_drops_what_was_forgotten_from_the_pack_that_is_about_to_be_sent_stops_no_push(
    place: Place, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    place.commit({"Core/Keys.txt": password(0)})
    desk = other(place)
    desk.commit({"Core/Keys.txt": password(0)})
    desk.push()
    pack = sealed_and_not_sent(place, {"b.txt": note(3), "Core/Copy.txt": password(0)})
    begun: list[str] = []

    def meanwhile(real: Any) -> Any:
        def call(*args: Any) -> Any:
            if pack.exists() and not begun:
                begun.append(moment)
                forget(desk, "Core/Keys.txt")
                pull(place)
            return real(*args)

        return call

    if moment == "before":
        monkeypatch.setattr(sending, "_send", meanwhile(sending._send))
    else:
        monkeypatch.setattr(FolderRemote, "_has_same", meanwhile(FolderRemote._has_same))
    report = place.push()
    assert report.exit_code == 0, report
    assert not pack.exists()
    monkeypatch.undo()
    pull(place)
    place.push()
    pull(desk)
    desk.push()
    assert where(place.base) == []
    assert (desk.data / "b.txt").read_bytes() == note(3)
    whole(place)
    with place.open() as store:
        assert remote_state.unpushed(store.repository, remote_state.load(store.repository)) == (0, None)
