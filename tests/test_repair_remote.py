"""repair of the remote: what it lost or holds damaged is sent again."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.folder_place import Place, without_waiting
from tests.mended_place import HARMS, everything, harm_tail, pack_of, repair, stored, whole


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    without_waiting(monkeypatch)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return stored(tmp_path)


@pytest.mark.parametrize("harm", HARMS)
def test_a_pack_that_the_remote_lost_or_holds_damaged_is_sent_again(
    place: Place, harm: Callable[[Path], None]
) -> None:
    path = place.remote / ".memsync/packs" / place.packs[0]
    harm(path)
    assert not whole(place, remote=True)
    report = repair(place)
    assert report.ok, report
    assert whole(place, remote=True)
    place.push()
    assert everything(place.clone("another")) == everything(place)


def test_a_remote_without_heads_gets_them_from_its_packs(place: Place) -> None:
    other = place.clone("other")
    other.commit({"theirs.txt": b"from the other device\n"})
    other.push()
    heads = place.heads
    for name in heads:
        (place.remote / ".memsync/heads" / name).unlink()
    assert place.push().status == "fail"
    assert repair(place).ok
    assert place.heads == heads
    assert place.push().status == "success"


@pytest.mark.parametrize(
    "text", [None, "", "{", '{"store": "00000000000000000000000000000000", "features": []}']
)
def test_a_remote_s_format_file_is_written_anew(place: Place, text: str | None) -> None:
    path = place.remote / ".memsync/format"
    good = path.read_bytes()
    path.unlink()
    if text is not None:
        path.write_text(text)
    assert not whole(place, remote=True)
    assert repair(place).ok
    assert path.read_bytes() == good


def test_an_unreadable_head_is_written_anew(place: Place) -> None:
    path = place.remote / ".memsync/heads" / place.heads[0]
    path.write_text('{"pa')
    assert not whole(place, remote=True)
    assert repair(place).ok
    assert json.loads(path.read_text())["format"] == 1
    assert whole(place, remote=True)


def test_the_remote_of_another_store_is_left_alone(place: Place, tmp_path: Path) -> None:
    (tmp_path / "strangers").mkdir()
    stranger = Place(tmp_path / "strangers", name="s")
    stranger.commit({"a.txt": b"theirs\n"})
    stranger.push()
    shutil.rmtree(place.remote)
    shutil.copytree(stranger.remote, place.remote)
    before = {path.name: path.read_bytes() for path in place.remote.rglob("*") if path.is_file()}
    report = repair(place)
    assert report.warnings and "another store" in report.warnings[0]
    assert {path.name: path.read_bytes() for path in place.remote.rglob("*") if path.is_file()} == before


def test_a_remote_that_is_away_keeps_nobody_from_mending_what_is_here(place: Place) -> None:
    shutil.rmtree(place.remote)
    path = pack_of(place)
    harm_tail(path)
    report = repair(place)
    assert report.ok, report
    assert whole(place)


def test_what_was_noticed_before_the_mend_is_no_note_after_it(tmp_path: Path) -> None:
    place = Place(tmp_path)
    place.commit({"a.txt": b"a\n"})
    place.push()
    (pack,) = (place.root / ".memsync" / "packs").iterdir()
    place.commit({"b.txt": b"b\n"})
    place.push()
    pack.write_bytes(pack.read_bytes()[:-9] + b"not a tail")
    for file in (place.root / ".memsync").glob("catalogue.*"):
        file.unlink()
    with place.open() as store:
        report = store.repair()
        assert report.mended and not report.problems
        assert not any("damaged" in note for note in report.notes), report.notes
