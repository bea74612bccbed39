"""Every pair of changes to one note, as the table of docs/merging.md has it.

The earlier device's change and the later device's are both made from the same version; each word of the table
says what their merge holds.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from memstore.ids import VersionId
from memstore.manifest.version import Kind
from tests.folder_place import put, without_waiting
from tests.merge_places import Apart, Clock

DOCS = Path(__file__).parent.parent / "docs" / "merging.md"
NOTE, OTHER = "note.txt", "other.txt"
BASE = b"one\ntwo\nthree\n"
CHANGES = ("add", "append", "edit", "delete", "rename", "chmod", "archive", "type")
ORDER = {"rename": 1, "delete": 2, "archive": 2}
Tree = dict[str, tuple[Kind, bytes]]


def table() -> dict[tuple[str, str], str]:
    """(change, change) → word, from the page."""
    rows = [
        [cell.strip() for cell in line.strip("|\n ").split("|")]
        for line in DOCS.read_text().splitlines()
        if line.startswith("| **")
    ]
    names = [row[0].strip("*") for row in rows]
    return {
        (row[0].strip("*"), column): word for row in rows for column, word in zip(names, row[1:], strict=True)
    }


TABLE = table()


def change(here: Apart, how: str, device: str) -> None:
    """What a device does to the note; an add and a rename give a note the same new name."""
    text = device.encode()
    place = here.data / NOTE
    if how == "add":
        put(here.data, {OTHER: text + b" began\n"})
    elif how == "append":
        put(here.data, {NOTE: BASE + text + b"\n"})
    elif how == "edit":
        put(here.data, {NOTE: BASE.replace(b"two", b"two of " + text)})
    elif how == "delete":
        place.unlink()
    elif how == "rename":
        place.rename(here.data / OTHER)
    elif how == "chmod":
        place.chmod(0o755)
    elif how == "archive":
        here.store.archive([NOTE])
    else:
        place.unlink()
        place.symlink_to(f"kept by {device}")


def applied(tree: Tree, how: str, device: str) -> Tree:
    """The same to a tree that may hold the other's change already."""
    text = device.encode()
    tree = dict(tree)
    kind, content = tree.get(NOTE, (Kind.FILE, b""))
    if how == "add":
        tree[OTHER] = (Kind.FILE, text + b" began\n")
    elif how == "append":
        tree[NOTE] = (kind, content + text + b"\n")
    elif how == "edit":
        tree[NOTE] = (kind, content.replace(b"two", b"two of " + text))
    elif how in ("delete", "archive"):
        tree.pop(NOTE, None)
    elif how == "rename":
        if NOTE in tree:
            tree[OTHER] = tree.pop(NOTE)
    elif how == "chmod":
        tree[NOTE] = (Kind.EXECUTABLE, content)
    else:
        tree[NOTE] = (Kind.SYMLINK, b"kept by " + text)
    return tree


@pytest.fixture(scope="module")
def made(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[Apart, dict[tuple[str, str], VersionId]]]:
    """Each device's version of each change, all of one base."""
    with pytest.MonkeyPatch.context() as patch:
        without_waiting(patch)
        here = Apart(tmp_path_factory.mktemp("table") / "memory", Clock(patch))
        base = here.saved("laptop", None, {NOTE: BASE, "stays.txt": b"stays\n"})
        versions = {}
        for device in ("laptop", "server"):
            for how in CHANGES:
                does = functools.partial(change, how=how, device=device)
                versions[device, how] = here.made(device, base, does)
        yield here, versions
        here.store.close()


def test_the_table_has_every_pair() -> None:
    assert set(TABLE) == {(one, two) for one in CHANGES for two in CHANGES}
    assert all(TABLE[one, two] == TABLE[two, one] for one, two in TABLE)


@pytest.mark.parametrize("later", CHANGES)
@pytest.mark.parametrize("earlier", CHANGES)
def test_a_pair_of_changes_is_merged_as_the_table_says(
    made: tuple[Apart, dict[tuple[str, str], VersionId]], earlier: str, later: str
) -> None:
    here, versions = made
    joined = here.merged(versions["laptop", earlier], versions["server", later])
    begun: Tree = {NOTE: (Kind.FILE, BASE), "stays.txt": (Kind.FILE, b"stays\n")}
    mine, theirs = applied(begun, earlier, "laptop"), applied(begun, later, "server")
    tree, word = here.tree(joined.version), TABLE[earlier, later]
    if word == "both":
        steps = sorted([(earlier, "laptop"), (later, "server")], key=lambda step: ORDER.get(step[0], 0))
        for how, device in steps:
            begun = applied(begun, how, device)
        assert tree == begun
    elif word == "same":
        assert tree == mine == theirs
    elif word == "change":
        assert tree == mine | theirs
        assert joined.notes == (f"{NOTE} was removed on one side and changed on the other: the change stays",)
    else:
        assert word == "beside"
        (clash,) = joined.clashes
        assert clash.path == (OTHER if "add" in (earlier, later) else NOTE)
        assert clash.kept_as is not None
        assert re.fullmatch(r"(note|other) \(from laptop 2025-04-23T14-\d\d-00Z\)\.txt", clash.kept_as)
        expected = mine | theirs | {clash.kept_as: mine[clash.path]}
        if "rename" in (earlier, later):
            del expected[NOTE]
        assert tree == expected
    assert bool(joined.clashes) == (word == "beside")
    if word not in ("change", "beside") and {earlier, later} != {"rename", "delete"}:
        assert all("renamed" in note for note in joined.notes)
