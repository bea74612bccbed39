"""A new text takes a relative as base where that saves bytes, and reads back whatever became of the marks."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from memstore import Store
from memstore.actions.relatives import LONGEST_CHAIN, marks
from memstore.ids import ContentId
from memstore.objects.catalogue import Location
from memstore.objects.encoding import SMALL
from memstore.objects.record import Encoding
from tests.conftest import Memory


def page(seed: int, lines: int = 60) -> bytes:
    words = [f"word{number}" for number in range(400)]
    choice = random.Random(seed)
    return b"".join(" ".join(choice.choices(words, k=9)).encode() + b".\n" for _ in range(lines))


def form(memory: Memory, content: bytes) -> Location:
    return memory.repository.catalogue.locations(ContentId.of(content))[0]


def test_a_moved_and_edited_page_takes_only_what_is_new_in_it(memory: Memory) -> None:
    first = page(1)
    moved = first + b"And one line more than it had before.\n"
    memory.save("Old/page.md", first.decode())
    memory.save("unlike.md", page(2).decode())
    (memory.data / "Old/page.md").unlink()
    memory.save("New/folder/other.md", moved.decode())
    found = form(memory, moved)
    assert found.encoding == Encoding.DELTA
    assert found.base == form(memory, first).key
    assert found.stored < 100
    assert memory.store.read("New/folder/other.md") == moved


def test_new_texts_of_one_commit_lean_on_one_another(memory: Memory) -> None:
    texts = {f"{name}/readme.md": page(3) + name.encode() * 20 for name in ("en", "fr", "ja")}
    for path, text in texts.items():
        memory.write(path, text.decode())
    memory.store.commit()
    forms = [form(memory, text) for text in texts.values()]
    assert [row.encoding == Encoding.DELTA for row in forms] == [False, True, True]
    assert {path: memory.store.read(path) for path in texts} == texts


def test_chains_of_relatives_stay_short(memory: Memory) -> None:
    for number in range(3 * LONGEST_CHAIN):
        memory.save(f"{number}.md", (page(4) + b"turn %d of the same page\n" % number).decode())
    ranks = [
        row.rank
        for place, *_ in memory.repository.catalogue.places().values()
        for _, row in memory.repository.catalogue.objects_in(place)
    ]
    assert max(ranks) == LONGEST_CHAIN
    assert memory.store.verify().problems == ()


@pytest.mark.parametrize("seed", range(2))
def test_whatever_leans_on_what_everything_reads_back(memory: Memory, tmp_path: Path, seed: int) -> None:
    choice = random.Random(seed)
    memory.store.set_remote(str(tmp_path / "remote"))
    expected: dict[str, bytes] = {}
    for turn in range(12):
        for _ in range(choice.randrange(1, 6)):
            path = f"{choice.choice('abc')}/{choice.randrange(30)}.{choice.choice(['md', 'txt'])}"
            lines = page(choice.randrange(3)).splitlines(keepends=True)
            text = b"".join(choice.sample(lines, choice.randrange(1, len(lines))))
            memory.write(path, text.decode())
            expected[path] = text
        memory.store.commit()
        if turn % 4 == 1:
            assert memory.store.push().status == "success"
        if turn % 5 == 2:  # the marks are lost with it
            memory.store.close()
            for file in memory.state.glob("catalogue.sqlite*"):
                file.unlink()
            memory.reopen()
    assert memory.store.push().status == "success"
    with Store.clone(str(tmp_path / "remote"), tmp_path / "clone", environ={}) as copy:
        assert {path: copy.read(path) for path in expected} == expected
        assert copy.verify().problems == ()


def test_no_marks_for_what_is_no_text_or_too_short_or_too_long() -> None:
    assert marks("a.md", b"short") is None
    assert marks("a.bin", b"\0" * 500) is None
    assert marks("a.md", b"x" * (SMALL + 1)) is None
    assert marks("a.md", page(5)) is not None
