"""Whatever bit of whatever file flips, wherever a file is cut off: it is found, no read gives anything else than
was written, and repair brings back all that something still has."""

from __future__ import annotations

import contextlib
import os
import random
import re
import sqlite3
import struct
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import pytest

from memstore import Store
from memstore.errors import MemsyncError
from memstore.ids import ContentId
from memstore.objects.catalogue import PlaceKind
from memstore.objects.record import RecordKind
from memstore.objects.tombstone import FORGOTTEN, Tombstone
from tests.damaged_place import Damaged, Harm, add_checkout, one_file_system, told
from tests.folder_place import Place, without_waiting

HERE = "assistant/.memsync/"
THERE = "remote/.memsync/"
FILES = ("packs/", "segments/", "format", "reflog", "remote.json")
EVERY = int(os.environ.get("MEMSYNC_TEST_EVERY", "1"))
"""In the long runs: only each so-manieth bit, for a machine that has less time."""
REPORT = os.environ.get("MEMSYNC_TEST_REPORT")
"""Where the long runs write what they counted. (All are read here: no variable reaches a test.)"""
CATALOGUE_PARTS = 16
SQLITE_PAGE = 4096
SEED = int(os.environ.get("MEMSYNC_TEST_SEED", "1"))


@pytest.fixture(scope="module")
def damaged(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Damaged]:
    with pytest.MonkeyPatch.context() as patch:
        without_waiting(patch)
        one_file_system(patch)
        yield Damaged(tmp_path_factory.mktemp("damaged") / "base")


def sample(harms: Iterator[Harm], number: int, seed: int = 0) -> list[Harm]:
    all_of_them = list(harms)
    return random.Random(f"{SEED}{seed}").sample(all_of_them, min(number, len(all_of_them)))


def telling(damaged: Damaged, path: str) -> Iterator[Harm]:
    """The bits of a database that say something: all but those between a page's cell pointers and its cells,
    which SQLite never reads (https://www.sqlite.org/fileformat.html, "B-tree Pages")."""
    data = damaged.file(path)
    for start in range(0, len(data), SQLITE_PAGE):
        head = start + (100 if not start else 0)
        kind, _, cells, content = struct.unpack_from(">BHHH", data, head)
        pointers_end = head + (12 if kind in (2, 5) else 8) + 2 * cells
        for byte in (*range(start, pointers_end), *range(start + content, start + SQLITE_PAGE)):
            yield from (Harm(path, 8 * byte + bit, False) for bit in range(8))


def of_kind(path: str) -> str:
    return next((name.rstrip("/") for name in FILES if f".memsync/{name}" in path), path.rpartition("/")[2])


# -- a sample, each time ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FILES)
def test_damage_is_found_and_mended(damaged: Damaged, name: str) -> None:
    for path in damaged.paths(HERE + name):
        for number, harm in enumerate(sample(damaged.harms(path), 4)):
            assert try_here(damaged, harm, forgotten=number % 2 == 1) is not None, harm


def test_damage_on_the_remote_is_found_and_mended(damaged: Damaged) -> None:
    for path in damaged.paths(THERE):
        for harm in sample(damaged.harms(path), 2):
            try_there(damaged, harm)


def test_a_damaged_catalogue_is_found_and_built_anew(damaged: Damaged) -> None:
    for path in damaged.paths(HERE + "catalogue.sqlite"):
        for harm in sample(telling(damaged, path), 3):
            try_catalogue(damaged, harm)


def test_a_damaged_tombstone_stops_neither_verify_nor_repair(tmp_path: Path) -> None:
    place = Place(tmp_path / "base")
    place.commit({"a.txt": b"a note\n", "secret.txt": b"a secret\n"})
    secret = ContentId.of(b"a secret\n")
    with place.open() as store:
        with store.repository.writing() as writer:
            writer.add_tombstone(Tombstone(secret, FORGOTTEN, 1_745_416_800_000))
            writer.commit(store.head())
        ((_, row),) = store.repository.catalogue.of_kind(RecordKind.TOMBSTONE)
        payload = slice(row.offset + row.header, row.offset + row.header + row.stored)
    (segment,) = (place.root / ".memsync/segments").iterdir()
    harmed = bytearray(segment.read_bytes())
    harmed[payload] = bytes(row.stored)
    segment.write_bytes(harmed)
    with place.open() as store:
        assert "damaged_segment" in {problem.kind for problem in store.verify().problems}
        repaired = store.repair()
    assert "damaged_segment" in {row.kind for row in repaired.mended}
    with place.open() as store:
        assert store.read("a.txt") == b"a note\n"


def test_names_of_files_that_flipped_in_the_catalogue_are_found_or_built_anew(damaged: Damaged) -> None:
    names = [Path(path).stem.encode() for path in damaged.paths(HERE + "packs", HERE + "segments")]
    (path,) = (path for path in damaged.paths(HERE + "catalogue.sqlite") if "-" not in path)
    data = damaged.file(path)
    places = [found.start() for name in names for found in re.finditer(name, data)]
    assert len(places) > len(names), "in the table, and in its index"
    for place in places:
        try_catalogue(damaged, Harm(path, 8 * place + 1, False))


@pytest.mark.parametrize("text", [b"CREATE TABLE places", b"UNIQUE, end", b"Core/a.txt"])
def test_texts_of_the_catalogue_that_are_no_utf_8_are_damage_to_it(damaged: Damaged, text: bytes) -> None:
    (path,) = (path for path in damaged.paths(HERE + "catalogue.sqlite") if "-" not in path)
    places = [found.start() for found in re.finditer(text, damaged.file(path))]
    assert places
    for place in places:
        try_catalogue(damaged, Harm(path, 8 * place + 7, False))  # the highest bit of its first byte


def test_an_object_that_the_catalogue_has_out_of_its_order_is_found_and_built_anew(damaged: Damaged) -> None:
    damaged.reset()
    (path,) = (path for path in damaged.paths(HERE + "catalogue.sqlite") if "-" not in path)
    with contextlib.closing(sqlite3.connect(damaged.base / path)) as db:
        rows = db.execute("SELECT short FROM objects WHERE inner < 0 AND short NOT BETWEEN -9e6 AND 9e6")
        shorts = [struct.pack(">i", row[0]) for row in rows]
    data = damaged.file(path)
    places = [found.start() for short in shorts[:5] for found in re.finditer(re.escape(short), data)]
    assert "found" in {try_catalogue(damaged, Harm(path, 8 * place + 1, False)) for place in places}


def test_pages_of_the_catalogue_that_say_they_hold_more_or_less_lose_nothing(damaged: Damaged) -> None:
    (path,) = (path for path in damaged.paths(HERE + "catalogue.sqlite") if "-" not in path)
    for page in range(4096, len(damaged.file(path)), 4096):
        try_catalogue(damaged, Harm(path, 8 * (page + 4) + 3, False))  # the number of its rows


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE versions SET id = CAST(substr(id, 1, 31) || x'00' AS BLOB) WHERE seq IN heads",
        "UPDATE records SET encoded = CAST(x'01' || substr(encoded, 2) AS BLOB)",
        *(f'UPDATE places SET "end" = "end" {change} WHERE kind = 0' for change in ("- 1", "- 65", "* -1")),
        "UPDATE versions SET line = line + 1 WHERE seq = 2",
        "UPDATE records SET encoded = -seq",
        "UPDATE versions SET inner = x'01'",
        "UPDATE versions SET id = CAST(x'00' || substr(id, 2) AS BLOB) WHERE seq = 1",
        "UPDATE objects SET offset = -offset",
        "UPDATE places SET name = CAST(x'ff' || substr(name, 2) AS TEXT)",
        "UPDATE sqlite_master SET sql = replace(sql, 'place INTEGER PRIMARY KEY', 'place INTEGER PRIMARY KEX')",
        "UPDATE sqlite_master SET sql = replace(sql, 'offset', 'offses') WHERE name = 'objects'",
    ],
)
def test_what_the_catalogue_says_wrongly_loses_nothing(damaged: Damaged, statement: str) -> None:
    def harm() -> None:
        damaged.reset()
        (path,) = (path for path in damaged.paths(HERE + "catalogue.sqlite") if "-" not in path)
        with contextlib.closing(sqlite3.connect(damaged.base / path)) as db, db:
            db.execute("PRAGMA writable_schema = ON")
            assert db.execute(statement).rowcount

    harm()
    assert damaged.outcome() in ("found", "harmless")
    assert not (damaged.place.root / ".memsync/torn").exists()
    harm()
    assert damaged.repaired(with_remote=True)


def test_a_catalogue_that_takes_a_pack_for_a_segment_is_found_and_built_anew(damaged: Damaged) -> None:
    damaged.reset()
    (path,) = (path for path in damaged.paths(HERE + "catalogue.sqlite") if "-" not in path)
    with contextlib.closing(sqlite3.connect(damaged.base / path)) as db, db:
        db.execute("UPDATE places SET kind = ? WHERE kind = ?", (PlaceKind.SEGMENT, PlaceKind.PACK))
    with Store.open_damaged(damaged.place.root, environ={}) as store:
        report = store.verify()
    assert "damaged_catalogue" in {problem.kind for problem in report.problems}
    assert damaged.repaired(with_remote=False)


def test_a_damaged_checkout_record_is_never_followed(damaged: Damaged) -> None:
    for harm in sample(checkout_harms(damaged), 6):
        try_checkout(damaged, harm)


# -- all of it, in the long runs -------------------------------------------------------------------------------


@pytest.mark.soak
@pytest.mark.parametrize("name", FILES)
def test_every_bit_and_every_length_here(damaged: Damaged, name: str) -> None:
    counts: dict[str, Counter[str]] = {}
    for path in damaged.paths(HERE + name):
        for number, harm in enumerate(islice(damaged.harms(path), SEED % EVERY, None, EVERY)):
            count = counts.setdefault(f"{of_kind(path)} {'cut' if harm.cut else 'flipped'}", Counter())
            damaged.harm(harm)
            if number % 7 == 6:
                damaged.forget()
            count[damaged.outcome()] += 1
            if number % 11 == 0:
                count["all back" if try_here(damaged, harm, forgotten=number % 2 == 1) else "named"] += 1
    report(told(counts))


@pytest.mark.soak
def test_every_bit_and_every_length_on_the_remote(damaged: Damaged) -> None:
    counts: dict[str, Counter[str]] = {}
    for path in damaged.paths(THERE):
        for number, harm in enumerate(islice(damaged.harms(path), SEED % EVERY, None, EVERY)):
            count = counts.setdefault(f"{path.split('/')[2]} {'cut' if harm.cut else 'flipped'}", Counter())
            damaged.harm(harm)
            count[damaged.outcome(remote=True)] += 1
            if number % 11 == 0:
                try_there(damaged, harm)
                count["mended"] += 1
    report(told(counts))


@pytest.mark.soak
@pytest.mark.parametrize("part", range(CATALOGUE_PARTS))
def test_every_bit_of_the_catalogue(damaged: Damaged, part: int) -> None:
    count: Counter[str] = Counter()
    failed: list[tuple[Harm, str]] = []
    for path in damaged.paths(HERE + "catalogue.sqlite"):
        for harm in islice(telling(damaged, path), part, None, CATALOGUE_PARTS * EVERY):
            try:
                count[try_catalogue(damaged, harm)] += 1
            except Exception as error:  # all that fail, not the first only: an hour lies between two runs
                failed.append((harm, repr(error)))
    report(told({f"catalogue {part}": count}))
    assert not failed


@pytest.mark.soak
def test_a_catalogue_cut_anywhere_is_found_or_built_anew(damaged: Damaged) -> None:
    count: Counter[str] = Counter()
    for path in damaged.paths(HERE + "catalogue.sqlite"):
        lengths = {*range(0, len(damaged.file(path)), 64 * EVERY), *range(0, SQLITE_PAGE, 4 * EVERY)}
        for length in sorted(lengths):
            count[try_catalogue(damaged, Harm(path, length, True))] += 1
    report(told({"catalogue cut": count}))


@pytest.mark.soak
def test_every_bit_and_every_length_of_a_checkout_record(damaged: Damaged) -> None:
    count = Counter(try_checkout(damaged, harm) for harm in islice(checkout_harms(damaged), 0, None, EVERY))
    report(told({"checkout": count}))


def report(text: str) -> None:
    if REPORT:
        with Path(REPORT).open("a", encoding="utf-8") as file:
            file.write(text + "\n")


# -- one harm --------------------------------------------------------------------------------------------------


def try_here(damaged: Damaged, harm: Harm, *, forgotten: bool) -> bool:
    """Found, mended from the remote, and without a remote mended or named. Whether the latter was mended."""
    damaged.harm(harm)
    if forgotten:
        damaged.forget()
    damaged.outcome()
    damaged.harm(harm)
    back = damaged.repaired(with_remote=True)
    if not ("segments" in harm.path or "remote.json" in harm.path):
        assert back or "newer" in refused(damaged), harm
    damaged.harm(harm)
    if forgotten:
        damaged.forget()
    return damaged.repaired(with_remote=False)


def refused(damaged: Damaged) -> str:
    """What opening says: a format file that was flipped into a newer format's is a person's to judge."""
    try:
        Store.open(damaged.place.root, environ={}).close()
    except MemsyncError as error:
        return error.message
    return ""


def try_there(damaged: Damaged, harm: Harm) -> None:
    damaged.harm(harm)
    found = damaged.outcome(remote=True)
    with damaged.place.open() as store:
        mended = store.repair()
    if found == "found" and not mended.warnings:
        assert mended.ok, (harm, mended)
        assert damaged.outcome(remote=True) == "harmless", harm
    else:
        assert found == "harmless" or "newer" in mended.warnings[0], (harm, mended)


def try_catalogue(damaged: Damaged, harm: Harm) -> str:
    """A cache: what it says wrongly `verify` finds, and repair leaves nothing of it."""
    damaged.harm(harm)
    with Store.open_damaged(damaged.place.root, environ={}) as store:
        try:
            found = not store.verify().ok
        except (MemsyncError, sqlite3.DatabaseError):
            found = True
    damaged.harm(harm)
    assert damaged.repaired(with_remote=True), harm
    return "found" if found else "harmless"


def checkout_harms(damaged: Damaged) -> Iterator[Harm]:
    damaged.reset()
    add_checkout(damaged.place)
    path = damaged.base / HERE / "checkout"
    whole = path.read_bytes()
    (damaged._saved / HERE / "checkout").write_bytes(whole)
    harms = list(damaged.harms(HERE + "checkout"))
    yield from harms


def try_checkout(damaged: Damaged, harm: Harm) -> str:
    data = damaged.file(harm.path)
    (damaged.base / harm.path).write_bytes(harm.done_to(data))
    try:
        outcome = damaged.outcome()
    finally:
        (damaged._saved / harm.path).unlink(missing_ok=True)
        damaged.reset()
        (damaged._saved / harm.path).write_bytes(data)
    (damaged._saved / harm.path).unlink()
    damaged.reset()
    (damaged._saved / harm.path).write_bytes(data)
    return outcome
