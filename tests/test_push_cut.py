"""A push cut at any call of the remote, and made again, leaves what an undisturbed one leaves."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.folder_place import (
    SMALL_ARCHIVE,
    Cut,
    Death,
    Place,
    again,
    everything_happens,
    expected_mirror,
    head_of,
    tree,
    trouble,
    without_waiting,
)

# -- cut anywhere ----------------------------------------------------------------------------------------------

CUTS: list[tuple[str, Callable[[], BaseException], bool]] = [
    ("trouble before", trouble, False),
    ("trouble after", trouble, True),
    ("Ctrl-C", KeyboardInterrupt, False),
    ("death", Death, True),
]


def snapshot(place: Place) -> tuple[dict[str, bytes], list[str], list[str]]:
    hidden = [path for path in tree(place.remote) if "memsync-tmp" in path]
    assert not hidden
    return place.mirror, place.heads, place.packs


def count_calls(place: Place) -> int:
    told: list[tuple[str, str]] = []
    with place.open() as store:
        assert place.push_of(store, told=told).status == "success"
    return len(told)


@pytest.mark.parametrize(("how", "after"), [row[1:] for row in CUTS], ids=[row[0] for row in CUTS])
@pytest.mark.parametrize("first", [True, False], ids=["first push", "later push"])
def test_a_push_cut_at_any_call_and_made_again_leaves_what_an_undisturbed_one_leaves(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    how: Callable[[], BaseException],
    after: bool,
    first: bool,
) -> None:
    without_waiting(monkeypatch)
    work, saved = tmp_path / "work", tmp_path / "saved"
    place = Place(work, config=SMALL_ARCHIVE)
    if first:
        place.commit({"Core/a.txt": b"a\n", "Core/b.txt": b"b\n", "Archive/own.txt": b"a real one\n"})
    else:
        everything_happens(place)
    shutil.copytree(work, saved, symlinks=True)
    calls = count_calls(place)
    wanted = snapshot(place)
    assert expected_mirror(place).items() <= wanted[0].items()
    assert wanted[1] == [head_of(place)]
    for at in range(1, calls + 1):
        again(saved, work)
        cut = Cut(at, how, after=after)
        try:
            report = place.push(cut=cut)
        except (KeyboardInterrupt, Death):
            pass
        else:
            stopped = report.status == "success" and any("next push" in note for note in report.notes)
            assert stopped if how is KeyboardInterrupt else report.exit_code == 5, (at, report)
        report = place.push()
        assert report.status in ("success", "nothing"), (at, report)
        assert not [note for note in report.notes if "by hand" in note], (at, report.notes)
        assert snapshot(place) == wanted, at
        assert place.push().status == "nothing", at


def test_after_a_cut_only_what_is_missing_is_sent(tmp_path: Path) -> None:
    place = Place(tmp_path, config="[push]\npack_size = 1048576\n[mirror]\nenabled = false\n")
    place.commit({f"{number}.bin": os.urandom(900_000) for number in range(4)})
    calls: list[tuple[str, str]] = []
    cut = Cut(10, trouble, after=False)
    with place.open() as store:
        report = place.push_of(store, cut=cut, told=calls)
    assert report.status == "fail"
    sent = [name for verb, name in calls[:-1] if verb == "create"]
    calls.clear()
    with place.open() as store:
        assert place.push_of(store, told=calls).status == "success"
    later = [name for verb, name in calls if verb == "create"]
    assert [name for name in sent if name.startswith("packs/")]
    assert not set(sent) & set(later)
