"""What the comparison works on, the same bytes in every run: notes, vector indexes, long histories."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from functools import cache
from random import Random
from typing import Final, NamedTuple

SEED: Final = 20250423
NOTE_BYTES: Final = 4300
"""Mean size of a note; the sizes are spread log-normally, as those of real note folders are."""
_SPREAD: Final = 0.8
_WORDS: Final = 20_000
_VOWELS: Final = "aaeeeiioou"
_CONSONANTS: Final = "bcdfghlmnprrssttvw"
_SYLLABLES: Final = [a + e + n for a in _CONSONANTS for e in _VOWELS for n in ("", "", "n", "r", "s")]

DIMENSIONS: Final = 384
VECTOR: Final = 4 * DIMENSIONS
"""Bytes of a vector: 32-bit floats, little-endian."""


# -- notes -----------------------------------------------------------------------------------------------------


class Prose:
    """Text of made-up words, as frequent as words are (Zipf), in lines and sentences."""

    def __init__(self, seed: int = SEED) -> None:
        random = Random(seed)
        found: dict[str, None] = {}
        while len(found) < _WORDS:
            found[self._word(random)] = None
        words = list(found)
        # 65,536 places, each word as many as it is frequent: two random bytes choose one.
        weights = [1 / (rank + 2.7) for rank in range(len(words))]
        whole = sum(weights)
        table: list[str] = []
        reached = 0.0
        for word, weight in zip(words, weights, strict=True):
            reached += weight
            while len(table) < round(65536 * reached / whole):
                table.append(word)
        self._table = [word + random.choices((" ", ", ", ".\n"), (88, 6, 6))[0] for word in table]
        self.mean = sum(map(len, self._table)) / len(self._table)
        self.words = words

    @staticmethod
    def _word(random: Random) -> str:
        syllables = random.choices((1, 2, 3, 4), (25, 40, 25, 10))[0]
        return "".join(random.choices(_SYLLABLES, k=syllables))

    def text(self, random: Random, length: int) -> str:
        """About `length` bytes, whole words."""
        drawn = memoryview(random.randbytes(2 * max(1, round(length / self.mean)))).cast("H")
        return "".join(map(self._table.__getitem__, drawn))

    def line(self, random: Random) -> str:
        """One short line with its newline."""
        return self.text(random, 60).replace("\n", " ").rstrip() + "\n"


@cache
def prose() -> Prose:
    """The one that all corpora are made of."""
    return Prose()


def note_path(number: int) -> str:
    """A note's path in `Data/`: at most 250 in a folder."""
    folder = number // 250
    return f"Notes/{2015 + folder // 40}-{1 + folder % 40:02}/note-{number:06}.md"


def note(prose: Prose, number: int) -> bytes:
    """One note, by its number alone: front matter, a heading, text."""
    random = Random(SEED * 1_000_003 + number)
    size = math.exp(random.gauss(math.log(NOTE_BYTES) - _SPREAD**2 / 2, _SPREAD))
    tags = ", ".join(random.sample(prose.words[:400], 2))
    title = " ".join(random.sample(prose.words, 3))
    day = f"2025-{1 + number % 12:02}-{1 + number % 28:02}"
    head = f"---\ncreated: {day}\ntags: [{tags}]\n---\n\n# {title.capitalize()}\n\n"
    return (head + prose.text(random, max(40, round(size) - len(head)))).encode()


def write_notes(data: str, count: int) -> int:
    """Write them into an absent or empty folder; the bytes written."""
    words = prose()
    total = 0
    for number in range(count):
        total += write(data, note_path(number), note(words, number))
    os.sync()
    return total


def write(data: str, path: str, content: bytes) -> int:
    place = os.path.join(data, path)
    os.makedirs(os.path.dirname(place), exist_ok=True)
    with open(place, "wb") as file:
        return file.write(content)


def append(data: str, path: str, content: bytes) -> None:
    with open(os.path.join(data, path), "ab") as file:
        file.write(content)


# -- histories -------------------------------------------------------------------------------------------------


class Step(NamedTuple):
    """One version: what is written before it is committed."""

    note: str
    written: dict[str, bytes]


RULES: Final = "Core/Rules.md"
_RULES_EVERY: Final = 200
_LONGEST_NOTE: Final = 40_000


def note_history(versions: int) -> Iterator[Step]:
    """One note: mostly a line is appended, now and then one is rewritten; past 40 KB its older half goes."""
    words, random = prose(), Random(SEED)
    lines = [words.line(random) for _ in range(20)]
    for number in range(versions):
        if number % 40 == 39:
            lines[random.randrange(len(lines))] = words.line(random)
        lines.append(words.line(random))
        if sum(map(len, lines)) > _LONGEST_NOTE:
            del lines[: len(lines) // 2]
        yield Step(f"turn {number}", {RULES: "".join(lines).encode()})


def wide_history(files: int, versions: int) -> Iterator[Step]:
    """Many notes of 1 KB at once, then a line for one of them with each version; every 200th is `RULES`."""
    words, random = prose(), Random(SEED + 1)
    contents = {note_path(number): words.text(random, 1000).encode() for number in range(files - 1)}
    contents[RULES] = words.text(random, 1000).encode()
    yield Step("all of them", dict(contents))
    for number in range(1, versions):
        path = RULES if number % _RULES_EVERY == 0 else note_path(random.randrange(files - 1))
        contents[path] += words.line(random).encode()
        yield Step(f"turn {number}", {path: contents[path]})


# -- vector indexes --------------------------------------------------------------------------------------------


class Vectors:
    """Vectors as embeddings are: normalised, each number with a random mantissa and a sign and exponent as
    frequent as those of a normal distribution. Made by planes of bytes, which needs no numeric library."""

    def __init__(self) -> None:
        import struct

        random = Random(SEED)
        spread = 1 / math.sqrt(DIMENSIONS)
        tops = sorted(struct.pack("<f", random.gauss(0, spread))[3] for _ in range(4096))
        self._tops = bytes(tops[8::16])

    def block(self, name: str, count: int) -> bytes:
        """`count` vectors, by the block's name alone."""
        random = Random(f"{SEED} {name}")
        numbers = count * DIMENSIONS
        block = bytearray(4 * numbers)
        for plane in range(3):
            block[plane::4] = random.randbytes(numbers)
        block[3::4] = random.randbytes(numbers).translate(self._tops)
        return bytes(block)

    def blocks(self, name: str, count: int) -> Iterator[bytes]:
        """The same in pieces of 2,000 vectors: 3 MB."""
        for first in range(0, count, 2000):
            yield self.block(f"{name} {first}", min(2000, count - first))
