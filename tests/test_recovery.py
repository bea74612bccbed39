"""After a crash, a copy, or damage: what was committed is whole, what was not never happened, and nothing is
thrown away."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from memstore import Store, files
from memstore.errors import DamagedData, DiskTrouble
from memstore.ids import VersionId
from tests.conftest import Memory
from tests.open_segment import forget_catalogue, overwrite, segment_path, whole

# -- torn tails ------------------------------------------------------------------------------------------------


def test_a_log_cut_at_any_byte_of_its_last_commit_has_all_versions_before_it(
    memory: Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "sync", lambda descriptor, path: None)  # 300 crashes; this is not about fsync
    monkeypatch.setattr(files, "sync_dir", lambda path: None)
    expected: dict[VersionId, dict[str, bytes]] = {}
    for number in range(3):
        memory.write("a.txt", f"{number}\n" * 20)
        expected[memory.commit().id] = memory.tree()
    head = memory.store.head()
    path = segment_path(memory)
    start = path.stat().st_size
    memory.store.close()
    before = {place: place.read_bytes() for place in memory.state.glob("catalogue.sqlite*")}
    memory.reopen()
    memory.save("b.txt", "never happened")
    content = path.read_bytes()
    assert len(content) - start > 150
    torn = memory.state / "torn"
    for cut in range(start, len(content)):
        forget_catalogue(memory)
        if cut % 16:  # else it is built anew
            for place, saved in before.items():
                place.write_bytes(saved)
        overwrite(path, content[:cut])
        memory.reopen()
        assert memory.store.head() == head
        assert len(memory.versions()) == len(expected)
        kept = sorted(torn.iterdir()) if torn.exists() else []
        assert [file.read_bytes() for file in kept] == ([content[start:cut]] if cut > start else [])
        for file in kept:
            file.unlink()
        assert path.stat().st_size == start
        version = memory.commit("b.txt")
        assert version.parents == (head,)
        if cut % 16 == 0 or cut + 1 == len(content):
            whole(memory, expected | {version.id: memory.tree()})
            assert memory.store.verify().problems == ()


@given(st.integers(0, 1 << 16), st.binary(max_size=2000))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25, deadline=None)
def test_whatever_follows_the_last_commit_is_put_aside(
    tmp_path_factory: pytest.TempPathFactory, zeros: int, garbage: bytes
) -> None:
    """A disk may have given the tail its length and not its bytes."""
    memory = Memory(tmp_path_factory.mktemp("tail"))
    version = memory.save("a.txt", "kept")
    path = segment_path(memory)
    content = path.read_bytes()
    tail = bytes(zeros) + garbage
    overwrite(path, content + tail)
    memory.reopen()
    after = memory.save("a.txt", "after")
    assert [row.id for row in memory.versions()] == [version.id, after.id]
    kept = list((memory.state / "torn").iterdir()) if (memory.state / "torn").exists() else []
    assert [file.read_bytes() for file in kept] == ([tail] if tail else [])
    assert memory.store.verify().problems == ()
    memory.close()


def test_what_a_killed_commit_left_is_made_durable_before_it_is_believed(memory: Memory) -> None:
    """It was written and not synced: a commit that then finds nothing new must not promise what may vanish."""

    def killed(step: str, path: str, data: bytes) -> None:
        if step == "sync" and path.endswith(".seg"):
            raise KeyboardInterrupt

    memory.save("a.txt", "one")
    memory.write("a.txt", "two")
    repository = memory.repository
    with files.watch(killed), pytest.raises(KeyboardInterrupt), repository.writing() as writer:
        writer.rollback = lambda: writer.repository.catalogue.db.execute("ROLLBACK")  # type: ignore[method-assign,assignment]
        from memstore.actions.record import record
        from memstore.manifest.version import NO_META

        record(repository, writer, None, meta=NO_META)
    steps: list[str] = []
    memory.store.close()
    with files.watch(lambda step, path, data: steps.append(step + " " + path[-4:])):
        memory.reopen()
        assert memory.store.commit() is None
    assert "sync .seg" in steps
    assert memory.store.read("a.txt") == b"two"


# -- no room, at every step ------------------------------------------------------------------------------------


class Failing:
    """Raises at the nth step on the disk, once; counts all steps."""

    def __init__(self, at: int, error: Callable[[], BaseException]) -> None:
        self.at = at
        self.error = error
        self.seen = 0

    def __call__(self, step: str, path: str, data: bytes) -> None:
        if step == "read":
            return
        self.seen += 1
        if self.seen == self.at:
            raise self.error()


def no_room() -> BaseException:
    return DiskTrouble("could not write: No space left on device", hint="free some space")


def tries(error: Callable[[], BaseException]) -> Iterator[Failing]:
    """One fault after the other, until a run meets none."""
    at = 1
    while True:
        fault = Failing(at, error)
        yield fault
        if fault.seen < at:
            return
        at += 1


@pytest.mark.parametrize("error", [no_room, KeyboardInterrupt, MemoryError])
@pytest.mark.parametrize("size", [100, 3_000_000])
def test_a_commit_that_fails_at_any_step_leaves_the_store_as_it_was(
    memory: Memory, error: Callable[[], BaseException], size: int
) -> None:
    memory.save("a.txt", "one")
    expected = {memory.versions()[0].id: memory.tree()}
    head = memory.store.head()
    noise = random.Random(size)
    steps = 0
    for number, fault in enumerate(tries(error)):
        memory.write("a.txt", f"try {number}")
        memory.write("b.bin", noise.randbytes(size))
        torn = False
        try:
            with files.watch(fault):
                version = memory.store.commit()
        except BaseException as trouble:
            torn = True
            assert type(trouble) is type(error())
        if torn:
            memory.repository.reader.close()
            if memory.store.head() == head:
                whole(memory, expected)
            else:
                # After the barrier: the version is there, whole, though its maker never heard of it.
                (added,) = {row.id for row in memory.versions()} - set(expected)
                expected[added] = memory.tree()
                head = added
                whole(memory, expected)
            steps += 1
            continue
        assert version is not None
        head = version.id
        expected[head] = memory.tree()
    assert steps >= 2
    memory.reopen()
    whole(memory, expected)
    assert memory.store.verify().problems == ()


# -- HEAD ------------------------------------------------------------------------------------------------------


def test_without_any_log_head_is_what_the_reflog_said_last(memory: Memory, tmp_path: Path) -> None:
    memory.save("a.txt", "one")
    memory.store.set_remote(str(tmp_path / "remote"))
    memory.store.push()
    second = memory.save("a.txt", "two")
    memory.store.push()
    forget_catalogue(memory)
    for path in (memory.state / "segments").iterdir():
        path.unlink()
    memory.reopen()
    assert memory.store.head() == second.id
    assert memory.store.status().clean
    memory.save("a.txt", "three")


def test_a_line_of_the_reflog_that_is_cut_short_is_passed_over(memory: Memory, tmp_path: Path) -> None:
    first = memory.save("a.txt", "one")
    memory.store.set_remote(str(tmp_path / "remote"))
    memory.store.push()
    with (memory.state / "reflog").open("ab") as file:
        file.write(str(first.id).encode()[:40])
    second = memory.save("a.txt", "two")
    memory.store.push()
    forget_catalogue(memory)
    for path in (memory.state / "segments").iterdir():
        path.unlink()
    memory.reopen()
    assert memory.store.head() == second.id


def test_a_store_whose_format_file_is_gone_says_so(memory: Memory) -> None:
    memory.close()
    (memory.state / "format").unlink()
    with pytest.raises(DamagedData, match="format"):
        Store.open(memory.root)
