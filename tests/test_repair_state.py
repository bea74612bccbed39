"""repair of the small files: format, checkout, remote.json, reflog; and of the catalogue."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from memsync.app import app

from tests.folder_place import Place, without_waiting
from tests.mended_place import everything, repair, stored, whole


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    without_waiting(monkeypatch)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return stored(tmp_path)


@pytest.mark.parametrize("text", ["", "{", '{"format": 1, "features": [], "store": "00"}'])
def test_a_damaged_format_file_is_written_anew(place: Place, text: str) -> None:
    before = everything(place)
    path = place.root / ".memsync/format"
    good = path.read_bytes()
    path.write_text(text)
    assert "format" in {row.kind for row in repair(place, dry_run=True).mended}
    assert path.read_text() == text
    assert repair(place).ok
    assert path.read_bytes() == good
    assert everything(place) == before


def test_a_format_file_that_names_another_store_begins_none(place: Place) -> None:
    before = everything(place)
    path = place.root / ".memsync/format"
    good = json.loads(path.read_bytes())
    path.write_text(json.dumps(good | {"store": "f" * 32}, sort_keys=True) + "\n")
    result = CliRunner().invoke(app, ["-C", str(place.root), "commit"])
    assert (result.exit_code, "memsync repair" in result.stderr) == (6, True)
    assert len(list((place.root / ".memsync/segments").glob("*.seg"))) == 1
    assert repair(place).ok
    assert everything(place) == before


def test_a_damaged_checkout_record_is_put_aside(place: Place) -> None:
    path = place.root / ".memsync/checkout"
    path.write_bytes(b"\x93nonsense")
    result = CliRunner().invoke(app, ["-C", str(place.root), "status"])
    assert (result.exit_code, "memsync repair" in result.stderr) == (6, True)
    assert repair(place).ok
    assert not path.exists()
    assert whole(place)


def test_a_damaged_remote_json_is_written_anew_if_this_store_is_there(place: Place) -> None:
    path = place.root / ".memsync/remote.json"
    path.write_text(path.read_text().replace('"check": "', '"check": "0'))
    assert not whole(place)
    assert repair(place).ok
    assert whole(place, remote=True)
    assert place.push().status == "success"
    path.write_text(json.dumps({"url": str(place.base / "elsewhere"), "check": "0"}))
    report = repair(place)
    assert [problem.kind for problem in report.problems] == ["damaged_remote_state"]
    assert "memsync remote set" in report.problems[0].hint


def test_a_reflog_line_that_names_nothing_goes(place: Place) -> None:
    path = place.root / ".memsync/reflog"
    good = path.read_bytes()
    path.write_bytes(b"0" * 64 + good[64:] + good + good[:70])
    assert not whole(place)
    assert repair(place).ok
    assert path.read_bytes() == good
    assert whole(place)


def test_a_catalogue_that_says_other_things_than_the_versions_is_built_anew(place: Place) -> None:
    before = everything(place)
    with place.open() as store:
        db = store.repository.catalogue.db
        db.execute("UPDATE changes SET change = 1 WHERE change = 2")
        db.execute("UPDATE tree SET kind = 1")
        assert {problem.kind for problem in store.verify().problems} == {"damaged_catalogue"}
    report = repair(place)
    assert report.ok and "catalogue" in {row.kind for row in report.mended}
    assert everything(place) == before
