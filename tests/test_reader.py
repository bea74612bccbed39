"""Reading back: what an id names is compared with it every time, by whatever chain it is reached, and a chain
never costs more than the format allows."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from memstore import Store, files
from memstore.actions.candidate import Candidate, Old
from memstore.actions.ingest import ingest
from memstore.errors import DamagedData
from memstore.ids import ContentId
from memstore.objects.catalogue import Location, key_of, path_of
from memstore.objects.encoding import CHAIN_LIMIT, Base, encode, own_cost
from memstore.objects.reader import Missing
from memstore.objects.record import PIECE_LIMIT, Encoding, RecordKind
from memstore.progress import SILENT
from memstore.repository import Repository
from memstore.worktree.found import look
from tests.conftest import Memory

NOTE = "2025-04-23 14:00 the assistant noted line {} of many that are alike\n"


def flip(repository: Repository, location: Location, at: int = 0) -> None:
    """Change one byte of a record's payload, in place."""
    known = repository.catalogue.place_name(location.place)
    assert known is not None
    with open(path_of(repository.state, *known), "r+b") as file:
        place = location.offset + location.header + at
        file.seek(place)
        byte = file.read(1)[0]
        file.seek(place)
        file.write(bytes((byte ^ 0xFF,)))
    repository.reader.close()


def forms(repository: Repository, content: bytes) -> list[Location]:
    return repository.catalogue.locations(ContentId.of(content))


def store_alone(repository: Repository, content: bytes, base: bytes | None = None, rank: int = 0) -> None:
    """Add one stored form of a content, whether there are others or not."""
    with repository.writing() as writer:
        below = None
        if base is not None:
            below = Base(ContentId.of(base)[:8], base, rank, own_cost(len(base)))
        id = ContentId.of(content)
        writer.add(RecordKind.CONTENT, id, len(content), encode(content, below))
        writer.commit(repository.head())


# -- many versions -----------------------------------------------------------------------------------------


def ingested(repository: Repository, contents: list[bytes]) -> None:
    """Store contents as the versions of one note are stored, each against the one before."""
    old: Old | None = None
    data = Path(repository.workspace.data)
    with repository.writing() as writer:
        for content in contents:
            (data / "note").write_bytes(content)
            found = look(str(data), "note")
            assert found is not None
            assert len(list(ingest(repository, writer, [Candidate(found, old)], SILENT))) == 1
            writer.commit(None)
            old = Old(0, len(content), ContentId.of(content), 0)


def edits(count: int) -> list[bytes]:
    """A note and its next versions, each with a small change somewhere."""
    note = b"".join(NOTE.format(number).encode() for number in range(100))
    made = [note]
    choice = random.Random(8)
    for number in range(count - 1):
        at = choice.randrange(len(note))
        note = note[:at] + b"%d " % number + note[at + choice.randrange(9) :]
        made.append(note)
    return made


def bounded(repository: Repository, contents: list[bytes], limit: int) -> None:
    """Every chain costs `limit` at most, is as long as that allows, and restarts from an earlier member; what
    is stored is little, and reads back."""
    chains = [repository.catalogue.chain(forms(repository, content)[0]) for content in contents]
    costs = [sum(own_cost(row.raw) for row in chain) for chain in chains]
    assert costs == [chain[0].cost for chain in chains]
    assert limit // 2 < max(costs) <= limit
    depths = [len(chain) for chain in chains]
    restarts = [at for at in range(1, len(depths)) if depths[at] <= depths[at - 1]]
    assert restarts
    assert all(depths[at] > 1 for at in restarts), "not from a full copy: an earlier member will do"
    assert len(restarts) < 4 * len(contents) / max(depths), "and leaves room for the versions to come"
    assert sum(chain[0].stored for chain in chains[1:]) < 250 * len(contents)
    choice = random.Random(9)
    for at in {0, 1, len(contents) // 2, len(contents) - 1, *choice.sample(range(len(contents)), 20)}:
        assert repository.read(ContentId.of(contents[at])) == contents[at]


def test_over_2000_versions_of_a_note_chains_stay_bounded_and_the_oldest_and_newest_read_back(
    memory: Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit = CHAIN_LIMIT // 32
    for module in ("memstore.objects.encoding", "memstore.actions.chains"):
        monkeypatch.setattr(f"{module}.CHAIN_LIMIT", limit)
    monkeypatch.setattr(files, "sync", lambda descriptor, path: None)
    contents = edits(2000)
    ingested(memory.repository, contents)
    bounded(memory.repository, contents, limit)


@pytest.mark.soak
def test_over_1500_versions_the_same_holds_with_the_formats_limit(memory: Memory) -> None:
    contents = edits(1500)
    ingested(memory.repository, contents)
    bounded(memory.repository, contents, CHAIN_LIMIT)


@pytest.mark.soak
def test_the_oldest_and_the_newest_of_2000_commits_read_back(memory: Memory, tmp_path: Path) -> None:
    texts: list[str] = []
    for number in range(2000):
        texts.append(NOTE.format(number) + (texts[-1] if number % 40 else ""))
        memory.save("note.txt", texts[-1])
    versions = memory.versions()
    memory.store.set_remote(str(tmp_path / "remote"))
    assert memory.store.push().status == "success"
    memory.reopen()
    for at in (0, 1, 39, 40, 1000, 1999):
        assert memory.store.read("note.txt", at=versions[at]).decode() == texts[at]


# -- the largest, and larger -------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 1, PIECE_LIMIT - 1, PIECE_LIMIT, PIECE_LIMIT + 1])
def test_files_around_the_size_of_a_piece_come_back(memory: Memory, size: int) -> None:
    content = random.Random(size).randbytes(size)
    first = memory.save("vectors.bin", content)
    second = memory.save("vectors.bin", content + b"one more")
    assert memory.store.read("vectors.bin", at=first) == content
    assert memory.store.read("vectors.bin", at=second) == content + b"one more"
    assert second.changes[0].change.word == "append"


def test_a_damaged_recipe_is_damage_and_gives_no_other_files_bytes(memory: Memory) -> None:
    content = random.Random(1).randbytes(PIECE_LIMIT + 5)
    memory.save("large.bin", content)
    (recipe,) = [row for row in forms(memory.repository, content) if row.kind == RecordKind.RECIPE]
    for at in (0, 5, recipe.stored - 1):
        flip(memory.repository, recipe, at)
        with pytest.raises(DamagedData):
            memory.store.read("large.bin")
        flip(memory.repository, recipe, at)
    assert memory.store.read("large.bin") == content


# -- damage ------------------------------------------------------------------------------------------------


@given(st.integers(0, 10_000), st.integers(1, 255))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40, deadline=None)
def test_a_flipped_byte_never_reads_as_other_bytes(
    tmp_path_factory: pytest.TempPathFactory, at: int, bits: int
) -> None:
    memory = Memory(tmp_path_factory.mktemp("flipped"))
    text = "".join(NOTE.format(number) for number in range(50))
    memory.save("note.txt", text)
    memory.save("note.txt", text + "more\n")
    first, second = text.encode(), (text + "more\n").encode()
    (whole,) = forms(memory.repository, first)
    flip(memory.repository, whole, at % whole.stored)
    for content in (first, second):
        try:
            # A zstd frame has a few bits that mean nothing: then the right bytes are the right answer.
            assert memory.repository.read(ContentId.of(content)) == content
        except DamagedData as error:
            assert "damaged" in error.message
    memory.close()


def test_damage_costs_no_more_than_its_chain(memory: Memory) -> None:
    texts = []
    for number in range(4):
        texts.append(os.urandom(1500).hex())  # no text that another could lean on
        memory.save(f"note{number}.txt", texts[-1])
    (hit,) = forms(memory.repository, texts[1].encode())
    flip(memory.repository, hit)
    assert [
        problem.paths for problem in memory.store.verify().problems if problem.kind == "damaged_object"
    ] == [("note1.txt",)]
    for number in (0, 2, 3):
        assert memory.store.read(f"note{number}.txt").decode() == texts[number]


def test_of_several_stored_forms_one_good_one_is_enough(memory: Memory) -> None:
    content = os.urandom(3000)
    for _ in range(3):
        store_alone(memory.repository, content)
    three = forms(memory.repository, content)
    assert len(three) == 3
    for form in three[:2]:
        flip(memory.repository, form)
        assert memory.repository.read(ContentId.of(content)) == content
    flip(memory.repository, three[2])
    with pytest.raises(DamagedData):
        memory.repository.read(ContentId.of(content))


def test_of_several_forms_of_a_base_one_good_one_is_enough(memory: Memory) -> None:
    base = os.urandom(3000)
    store_alone(memory.repository, base)
    store_alone(memory.repository, base)
    store_alone(memory.repository, base + b"delta", base)
    assert forms(memory.repository, base + b"delta")[0].encoding == Encoding.DELTA
    for form in forms(memory.repository, base):
        flip(memory.repository, form)
        assert memory.repository.read(ContentId.of(base + b"delta")) == base + b"delta"
        assert memory.repository.read(ContentId.of(base)) == base
        flip(memory.repository, form)


def test_deltas_in_opposite_directions_never_lean_on_one_another(memory: Memory) -> None:
    """As two devices store them: each has one content whole and the other as a delta of it."""
    one, two = os.urandom(3000), b""
    two = one + b"and more"
    store_alone(memory.repository, one)
    store_alone(memory.repository, two, one)
    store_alone(memory.repository, two)
    store_alone(memory.repository, one, two)
    for content in (one, two):
        assert [row.rank for row in forms(memory.repository, content)] == [0, 1]
        for form in forms(memory.repository, content):
            chain = memory.repository.catalogue.chain(form)
            assert [row.rank for row in chain] == sorted((row.rank for row in chain), reverse=True)
            assert chain[-1].rank == 0
        assert memory.repository.read(ContentId.of(content)) == content


def test_a_content_that_is_nowhere_is_missing(memory: Memory) -> None:
    with pytest.raises(Missing):
        memory.repository.read(ContentId.of(b"never stored"))


def test_a_delta_whose_base_is_nowhere_is_damage(memory: Memory) -> None:
    base = os.urandom(3000)
    store_alone(memory.repository, base + b"delta", base)
    with pytest.raises(DamagedData, match="base"):
        memory.repository.read(ContentId.of(base + b"delta"))


def test_a_broken_base_is_never_built_upon(memory: Memory) -> None:
    """The new content is stored so that it can be read without what is damaged."""
    text = "".join(NOTE.format(number) for number in range(60))
    memory.save("note.txt", text)
    flip(memory.repository, forms(memory.repository, text.encode())[0])
    changed = "changed\n" + text
    memory.save("note.txt", changed)
    assert memory.store.read("note.txt").decode() == changed


# -- two contents with one key -----------------------------------------------------------------------------


@pytest.fixture
def colliding(memory: Memory) -> Callable[[bytes, bytes], None]:
    """Let the catalogue take a stored content for another as well, as it does when their keys are the same."""

    def collide(stored: bytes, other: bytes) -> None:
        row = forms(memory.repository, stored)[0]
        memory.repository.catalogue.add_objects([row._replace(key=key_of(ContentId.of(other)))])

    return collide


def test_a_content_whose_key_another_has_is_stored_all_the_same(
    memory: Memory, colliding: Callable[[bytes, bytes], None], tmp_path: Path
) -> None:
    first, second = os.urandom(500), os.urandom(500)
    memory.save("first.bin", first)
    colliding(first, second)
    memory.save("second.bin", second)
    assert memory.store.read("second.bin") == second
    assert memory.store.read("first.bin") == first
    memory.store.set_remote(str(tmp_path / "remote"))
    assert memory.store.push().status == "success"
    again = Store.clone(str(tmp_path / "remote"), tmp_path / "clone")
    assert again.read("second.bin") == second
    again.close()


def test_a_large_file_whose_key_another_has_is_stored_all_the_same(
    memory: Memory, colliding: Callable[[bytes, bytes], None]
) -> None:
    first, second = random.Random(1).randbytes(PIECE_LIMIT + 1), random.Random(2).randbytes(PIECE_LIMIT + 1)
    memory.save("first.bin", first)
    small = b"small"
    colliding(first, second)
    colliding(first, small)
    memory.save("second.bin", second)
    memory.save("small.txt", small)
    assert memory.store.read("second.bin") == second
    assert memory.store.read("small.txt") == small


# -- memory ------------------------------------------------------------------------------------------------

PEAK = """
import resource, sys
from memstore import Store
store = Store.open(sys.argv[1])
if sys.argv[2] == "commit":
    store.commit(["large.bin"])
else:
    store.restore(["large.bin"], to=sys.argv[3])
if sys.platform == "linux":  # getrusage would count what the parent held when it started this process
    status = open("/proc/self/status").read()
    print(int(status.split("VmHWM:")[1].split()[0]) * 1024)
else:
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""

BOUND = 256 << 20


def peak(*arguments: str) -> int:
    """Bytes that a process of its own held at most."""
    told = subprocess.run(
        [sys.executable, "-c", PEAK, *arguments], capture_output=True, check=True, text=True
    )
    return int(told.stdout)


@pytest.mark.soak
@pytest.mark.skipif(os.name != "posix", reason="peak memory is told by getrusage")
@pytest.mark.parametrize("kind", ["sparse", "noise", "repeats"])
def test_300_megabytes_are_committed_and_restored_in_bounded_memory(
    memory: Memory, tmp_path: Path, kind: str
) -> None:
    size = 300 << 20
    place = memory.write("large.bin")
    with place.open("wb") as file:
        if kind == "sparse":
            file.truncate(size)
        else:
            noise = random.Random(3)
            for _ in range(size >> 20):
                file.write(noise.randbytes(1 << 18) * 4 if kind == "repeats" else noise.randbytes(1 << 20))
    whole = ContentId.of(place.read_bytes())
    assert peak(str(memory.root), "commit") < BOUND
    with place.open("r+b") as file:
        file.seek(100 << 20)
        file.write(b"a small change in the middle")
    changed = ContentId.of(place.read_bytes())
    assert peak(str(memory.root), "commit") < BOUND
    memory.reopen()
    added = [row.entry.content for version in memory.versions() for row in version.changes if row.entry]
    assert added == [whole, changed]
    assert peak(str(memory.root), "restore", str(tmp_path / "back")) < BOUND
    assert ContentId.of((tmp_path / "back").read_bytes()) == changed
