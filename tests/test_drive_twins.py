"""Two devices at one Drive's mirror at the same moment: what they make twice becomes one again, and nothing is lost.

Drive has no compare-and-swap. A hook lets one device do its whole push in the middle of another's.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from memstore.actions.remote_state import note_others
from memstore.ids import ContentId
from memstore.manifest import references
from memstore.merging.names import apart
from memstore.mirror.known import notes_for
from memstore.remotes.base import BytesSource
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


def in_the_middle(memory: DriveMemory, request: int, other: Callable[[], None]) -> bool:
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


def twin(memory: DriveMemory, path: str, data: bytes) -> None:
    """A file of that name beside what lies there, as a device leaves it that did not see the other."""
    with memory.open() as store:
        remote = store._open_remote()
        source = BytesSource(data)
        remote.put(path, source, notes_for(ContentId.of(data), source.md5()), 0)
        remote.close()


def twins_everywhere(two: Two) -> tuple[str, str]:
    """Twins of a note with the same bytes and with an older one's, of its archive name with the same bytes and with
    others; and two files of a person's, which have no notes. Names of the archive's."""
    laptop, server = two
    for number, rules in enumerate((b"two\n", b"three\n")):
        laptop.commit({RULES: rules, "log.txt": b"%d\n" % number})
        pushed(laptop)
    pushed(server)
    with laptop.open() as store:
        catalogue = store.repository.catalogue
        names = {ref.entry.content: ref.name for ref in references.under(catalogue, "Archive/Core")}
    one, other = names[ContentId.of(b"rules\n")], names[ContentId.of(b"two\n")]
    twin(server, RULES, b"two\n")
    twin(server, "log.txt", b"1\n")
    twin(server, one, b"rules\n")
    twin(server, other, b"three\n")
    person = laptop.emulator.person
    person.add_file("Rules.txt", b"a person's", parent=person.find("MemoryVDB/Core"))
    person.add_file(one.rpartition("/")[2], b"a person's", parent=person.find("MemoryVDB/Archive/Core"))
    assert len([path for path in laptop.mirror if "#" in path]) == 10
    return one, other


def one_of_each(two: Two, one: str, other: str) -> None:
    at_work = {path: data for path, data in two[0].mirror.items() if data != b"a person's"}
    named = {path.partition("#")[0]: data for path, data in at_work.items()}
    assert len(named) == len(at_work)
    assert {k: v for k, v in named.items() if not k.startswith("Archive/")} == tree(two[0].data)
    assert (named[one], named[other]) == (b"rules\n", b"two\n")
    assert named[apart(other, ContentId.of(b"three\n"))] == b"three\n"
    persons = [path for path, data in two[0].mirror.items() if data == b"a person's"]
    assert len(persons) == 2 and all("#" in path for path in persons)


def mended_at_once(two: Two, request: int) -> bool:
    names = twins_everywhere(two)
    laptop, server = two
    for memory in two:
        with memory.open() as store:  # as if both had just met a head that the other had published
            note_others(store.repository, True)
    struck = in_the_middle(laptop, request, lambda: pushed(server))
    one_of_each(two, *names)
    return struck


def test_twins_become_one_and_a_persons_files_are_left_alone(tmp_path: Path) -> None:
    with both(tmp_path) as two:
        mended_at_once(two, 1000)
        assert two[0].push().status == "nothing"


def test_two_devices_that_mend_at_once_leave_one(tmp_path: Path) -> None:
    with both(tmp_path) as two:
        assert mended_at_once(two, 5)


@pytest.mark.soak
def test_two_devices_that_mend_at_once_leave_one_in_the_middle_of_any_request(tmp_path: Path) -> None:
    for request in itertools.count(1):
        base = tmp_path / str(request)
        base.mkdir()
        with both(base) as two:
            if not mended_at_once(two, request):
                break
    print(f"{request - 1} requests")
    assert request > 10


def test_in_the_middle_of_a_push_another_device_may_do_the_same(tmp_path: Path) -> None:
    with both(tmp_path) as two:
        assert worked_at_once(two, CHANGES["all of it"], True, 8)


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
    print(f"{request - 1} requests")
    assert request > 5


def test_what_a_device_that_is_ahead_put_into_the_mirror_meanwhile_is_left_there(tmp_path: Path) -> None:
    with both(tmp_path) as two:
        laptop, server = two
        laptop.commit({RULES: b"rules\nmore\n"})
        server.commit({RULES: b"rules of the server\n"})
        report = laptop.emulator.fault(
            "files.update.multipart nth=1 latency=0 at=before", hook=lambda _: pushed(server)
        )
        laptop.push()
        assert report.fired == 1
        laptop.emulator.clear_faults()
        assert laptop.mirror[RULES] == server.mirror[RULES] == tree(server.data)[RULES]
        with laptop.open() as store:
            assert len(list(store.history())) == 2
        at_rest(two)
