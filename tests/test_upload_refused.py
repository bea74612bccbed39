"""What `drive_upload` answers, and logs, where this machine's disk or the file itself is the trouble."""

from __future__ import annotations

from pathlib import Path

import pytest

from memstore import Store, drive_upload
from memstore.errors import DiskTrouble
from tests.conftest import Memory


@pytest.fixture
def linked(memory: Memory, tmp_path: Path) -> Memory:
    """One version is on a folder remote, another is not."""
    memory.store.set_remote(str(tmp_path / "remote"))
    memory.save("a.txt", "a\n")
    memory.store.push()
    memory.save("b.txt", "b\n")
    memory.store.close()
    return memory


def _trouble(memory: Memory) -> str:
    """The message of the error, raised or in the report, that the library's own calls end with."""
    try:
        with Store.open(memory.root, environ={}) as store:
            store.commit()
            return str((store.push().error or {}).get("message"))
    except DiskTrouble as error:
        return error.message


@pytest.mark.parametrize("name", ["remote.json", "reflog", "push.lock", "packs", "segments", "clock"])
def test_a_folder_in_a_file_s_place_and_a_file_in_a_folder_s_is_in_the_answer(
    linked: Memory, name: str
) -> None:
    place = linked.state / name
    wrong = "file" if place.is_dir() else "folder"
    place.rename(linked.root / "aside")
    if wrong == "file":
        place.write_bytes(b"")
    else:
        place.mkdir()
    answer = drive_upload(linked.write("c.txt", "c\n"), {})
    assert answer["status"] == "fail"
    assert name in answer["notes"] and f"a {wrong} stands where" in answer["notes"]
    assert name in _trouble(linked)
    (place.unlink if wrong == "file" else place.rmdir)()
    (linked.root / "aside").rename(place)
    assert drive_upload(linked.data / "c.txt", {})["status"] == "success"
    with Store.open(linked.root, environ={}) as store:
        assert store.verify().ok


def test_whatever_the_system_says_is_in_the_answer(linked: Memory, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(5, "Input/output error", "there")

    monkeypatch.setattr(Store, "commit_report", refuse)
    answer = drive_upload(linked.write("c.txt", "c\n"), {})
    assert answer["status"] == "fail"
    assert "there" in answer["notes"] and "memsync verify" in answer["notes"]
