"""Workspaces, remotes and data folders are kept apart, whoever mixes them up; an empty workspace may be cloned
into, since that is how one signs in before the first clone."""

from __future__ import annotations

from pathlib import Path

import pytest

from memstore import Store
from memstore.errors import BadInput, RemoteTrouble
from tests.conftest import Memory


def test_a_workspace_is_no_remote_to_clone_or_to_push_to(memory: Memory, tmp_path: Path) -> None:
    memory.save("a.txt", b"mine\n")
    with pytest.raises(BadInput, match="is a memsync workspace, not a remote"):
        Store.clone(str(memory.store.workspace.root), tmp_path / "copy", environ={})
    with Store.init(tmp_path / "other", environ={}) as other:
        with pytest.raises(BadInput, match="is a memsync workspace, not a remote"):
            other.set_remote(str(memory.store.workspace.root))
        with pytest.raises(BadInput, match="lies in the data folder of the workspace"):
            other.set_remote(str(Path(memory.store.workspace.data) / "backup"))
    assert memory.store.verify().ok
    assert not (Path(memory.store.workspace.state) / "heads").exists()


def test_a_stray_heads_folder_does_not_lock_a_workspace_out(memory: Memory) -> None:
    memory.save("a.txt", b"mine\n")
    (Path(memory.store.workspace.state) / "heads").mkdir()
    with Store.open(memory.store.workspace.root, environ={}) as again:
        assert again.read("a.txt") == b"mine\n"


def test_no_workspace_is_made_inside_a_data_folder(memory: Memory) -> None:
    inside = Path(memory.store.workspace.data) / "Core"
    inside.mkdir()
    with pytest.raises(BadInput, match="lies in the data folder of the workspace"):
        Store.init(inside, environ={})
    assert list(inside.iterdir()) == []


def test_a_workspace_without_versions_is_filled_by_a_clone_and_keeps_what_is_its_own(
    memory: Memory, tmp_path: Path
) -> None:
    memory.save("a.txt", b"one\n")
    memory.store.set_remote(str(tmp_path / "remote"))
    assert memory.store.push().status == "success"
    root = tmp_path / "new machine"
    Store.init(root, environ={}).close()
    (root / "drive_token.json").write_text("{}")
    with Store.clone(str(tmp_path / "remote"), root, environ={}) as clone:
        assert clone.read("a.txt") == b"one\n"
        assert (root / "Data" / "a.txt").read_bytes() == b"one\n"
        assert (root / "drive_token.json").read_text() == "{}"
        (root / "Data" / "b.txt").write_bytes(b"two\n")
        assert clone.commit() is not None
        assert clone.push().status == "success"
    with pytest.raises(BadInput, match="with versions of its own"):
        Store.clone(str(tmp_path / "remote"), root, environ={})


def test_a_push_makes_the_remote_folder_but_not_the_disk_above_it(memory: Memory, tmp_path: Path) -> None:
    memory.save("a.txt", b"one\n")
    memory.store.set_remote(str(tmp_path / "unmounted" / "memory"))
    report = memory.store.push()
    assert (report.status, report.exit_code) == ("fail", RemoteTrouble.exit_code)
    assert not (tmp_path / "unmounted").exists()
    (tmp_path / "unmounted").mkdir()
    assert memory.store.push().status == "success"


def test_one_path_and_one_tag_may_be_plain_texts(memory: Memory) -> None:
    memory.write("Core/Rules.txt", b"be kind\n")
    memory.write("b.txt", b"not this\n")
    version = memory.store.commit("Core/Rules.txt", context_tags="llama")
    assert version is not None
    assert [change.path for change in version.changes] == ["Core/Rules.txt"]
    assert version.context_tags == ("llama",)
