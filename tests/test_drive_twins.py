"""Two devices at one Drive's mirror at the same moment: what they make twice becomes one again, and nothing is lost.

Drive has no compare-and-swap. A hook lets one device do its whole push in the middle of another's.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from memstore.ids import ContentId
from memstore.manifest import references
from tests.drive_emulator import DriveEmulator
from tests.drive_memory import DriveMemory, no_waiting, tree

Two = tuple[DriveMemory, DriveMemory]
RULES = "Core/Rules.txt"
BEGIN = {RULES: b"rules\n", "log.txt": b"begin\n"}
CHANGES: dict[str, dict[str, bytes | None]] = {
    "replaced": {RULES: b"other rules\n"},
    "appended": {RULES: b"rules\nmore\n"},
    "deleted": {RULES: None},
    "added": {"Core/New.txt": b"new\n"},
    "all of it": {RULES: b"other rules\n", "log.txt": b"begin\nmore\n", "Core/New.txt": b"new\n"},
}


@contextmanager
def both(base: Path) -> Iterator[Two]:
    with DriveEmulator() as emulator, no_waiting(emulator):
        laptop = DriveMemory(base, emulator, name="laptop")
        laptop.commit(BEGIN)
        assert laptop.push().exit_code == 0
        yield laptop, laptop.second("server")


def in_the_middle(memory: DriveMemory, request: int, other: Callable[[], object]) -> bool:
    """A push of `memory`, with `other` done before its request of that number; whether it came to that."""
    rule = memory.emulator.fault(f"any nth={request} latency=0 at=before", hook=lambda _: other())
    report = memory.push()
    memory.emulator.clear_faults()
    assert report.error is None, report
    return rule.fired == 1


def pushed(memory: DriveMemory) -> None:
    report = memory.push(pull=True)
    assert report.error is None and report.pull_error is None, report


def at_rest(two: Two) -> None:
    """Each pushes until neither has anything to do; then one file of each name, as it must be."""
    for _ in range(4):
        reports = [memory.push(pull=True) for memory in two]
        assert all(report.error is None and report.pull_error is None for report in reports)
        if all(report.status == "nothing" for report in reports):
            break
    else:
        raise AssertionError("they do not come to rest")
    mirror = two[0].mirror
    assert [path for path in mirror if "#" in path] == []
    assert {k: v for k, v in mirror.items() if not k.startswith("Archive/")} == tree(two[0].data)
    assert tree(two[0].data) == tree(two[1].data)
    for memory in two:
        with memory.open() as store:
            for path, data in mirror.items():
                found = references.find(store.repository.catalogue, path)
                assert not found or ContentId.of(data) in {reference.entry.content for reference in found}


def worked_at_once(two: Two, changes: Mapping[str, bytes | None], own: bool, request: int) -> bool:
    """The server pulls and pushes in the middle of the laptop's push, perhaps with a change of its own; then both
    come to rest, and everything that was ever saved is in history."""
    laptop, server = two
    laptop.commit(changes)
    if own:
        server.commit({RULES: b"rules of the server\n", "log.txt": b"begin\nserver\n"})
    saved = laptop.contents() | server.contents()
    struck = in_the_middle(laptop, request, lambda: pushed(server))
    at_rest(two)
    assert saved <= laptop.contents() == server.contents()
    assert laptop.emulator.violations == []
    return struck


@pytest.mark.parametrize("own", [False, True])
@pytest.mark.parametrize("changes", CHANGES.values(), ids=CHANGES)
@pytest.mark.soak
def test_in_the_middle_of_any_request(tmp_path: Path, changes: Mapping[str, bytes | None], own: bool) -> None:
    for request in itertools.count(1):
        base = tmp_path / str(request)
        base.mkdir()
        with both(base) as two:
            if not worked_at_once(two, changes, own, request):
                break
    assert request > 5
