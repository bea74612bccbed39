"""undo where something was forgotten: that stays so, the rest goes back, and every path that can't is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.command_line import run
from tests.conftest import Memory
from tests.folder_place import without_waiting
from tests.merge_places import Clock, Device

SECRET = b"the password\n"


@pytest.fixture
def merged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Device, Device, dict[str, bytes]]:
    """A laptop that has merged a secret with its own work; what it had before."""
    without_waiting(monkeypatch)
    clock = Clock(monkeypatch)
    laptop = Device.first(tmp_path, "laptop", {"a.txt": b"one\n", "b.txt": b"one\n", "keys.txt": b"none\n"})
    server = laptop.joined_by("server")
    clock.tick()
    server.save({"a.txt": b"two\n", "keys.txt": SECRET, "new.txt": b"new\n"})
    server.push()
    clock.tick()
    laptop.save({"b.txt": b"two\n"})
    had = laptop.tree
    laptop.pull()
    laptop.push()
    server.pull()
    return laptop, server, had


def forget(device: Device) -> None:
    with device.open() as store:
        assert store.forget(["keys.txt"], at="HEAD").deleted == ("keys.txt",)


def test_undo_looks_past_what_a_forget_took_away(
    merged: tuple[Device, Device, dict[str, bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    laptop, _, had = merged
    merge = laptop.head
    forget(laptop)
    forgot = laptop.head
    monkeypatch.chdir(laptop.root)
    done = run("undo")
    assert done.exit_code == 0, done.output
    assert f"version {forgot[:12]} took away what was forgotten" in done.stdout
    assert f"undid the merge {merge[:12]}" in done.stdout
    assert laptop.tree == had
    assert run("undo").exit_code == 0
    assert laptop.tree == {"a.txt": b"two\n", "b.txt": b"two\n", "new.txt": b"new\n"}


def test_a_pull_that_ends_with_a_forget_goes_back_whole_but_for_what_was_forgotten(
    merged: tuple[Device, Device, dict[str, bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    laptop, server, _ = merged
    for number in range(2):
        server.save({f"later {number}.txt": b"later\n"})
    forget(server)
    server.push()
    laptop.pull()
    assert "later 0.txt" in laptop.tree and "keys.txt" not in laptop.tree
    monkeypatch.chdir(laptop.root)
    done = run("undo")
    assert done.exit_code == 1
    assert "keys.txt is left as it was: content" in done.stderr
    assert laptop.tree == {"a.txt": b"two\n", "b.txt": b"two\n", "new.txt": b"new\n"}


def test_what_is_forgotten_stays_out_of_an_undo_that_brings_the_rest_back(
    memory: Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the rest is only what the commit had added."""
    old = memory.save("keys.txt", SECRET)
    memory.write("keys.txt", "cleaned\n")
    memory.write("added.txt", "added\n")
    memory.commit()
    memory.store.forget(["keys.txt"], at=old)
    monkeypatch.chdir(memory.root)
    done = run("undo")
    assert done.exit_code == 1, done.output
    assert "keys.txt is left as it was: content" in done.stderr
    assert "'memsync restore keys.txt --at ID'" in done.stderr
    assert memory.tree() == {"keys.txt": b"cleaned\n"}


def test_an_undo_of_which_all_is_forgotten_names_the_path_and_the_way_on(
    memory: Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = memory.save("keys.txt", SECRET)
    memory.save("keys.txt", "cleaned\n")
    memory.store.forget(["keys.txt"], at=old)
    monkeypatch.chdir(memory.root)
    done = run("undo")
    assert done.exit_code == 8
    assert "keys.txt can't be brought back: content" in done.stderr
    assert "'memsync log keys.txt' shows its other versions" in done.stderr
    assert memory.tree() == memory.manifest() == {"keys.txt": b"cleaned\n"}
