"""A place with so many notes that a dictionary is made of them, and what leans on it."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path

import pytest
from blake3 import blake3

from memstore import crew as crews
from memstore.actions import fill, ingest
from memstore.manifest.retention import Rules
from memstore.objects import dictionary
from tests.folder_place import Place, without_waiting
from tests.naive_reader import CONTENT, DELTA, NaiveStore
from tests.traces import decoded

NOTES = 300
SECRET = b"the pass phrase is correct-horse-battery-staple, and nobody knows"
WORDS = [
    f"{word}{ending}"
    for word in ["mem", "or", "y", "note", "sav", "turn", "plan", "tool"]
    for ending in ("", "ing", "ed", "s")
]


def note(number: int) -> bytes:
    """A text of some 400 bytes that has much in common with all the others."""
    noise = random.Random(number)
    head = b"---\ncreated: 2025-%02d-01\ntags: [memory, turn]\n---\n\n# A note\n\n" % (1 + number % 12)
    said = " ".join(noise.choices(WORDS, k=40)).encode()
    return head + b"The assistant was asked, and answered as follows: %b.\nSee also note %d.\n" % (
        said,
        number,
    )


def notes(count: int = NOTES) -> dict[str, bytes]:
    return {f"Notes/{number // 50}/{number:04}.md": note(number) for number in range(count)}


def with_secret() -> dict[str, bytes]:
    contents = notes()
    for number in range(3, 60, 6):
        contents[f"Notes/{number // 50}/{number:04}.md"] += SECRET + b"\n"
    return contents


SECRETS = [f"Notes/{number // 50}/{number:04}.md" for number in range(3, 60, 6)]


def few_are_many(patch: pytest.MonkeyPatch) -> None:
    """A crew is called for 40 files already, and is nobody: its work is done here."""
    without_waiting(patch)
    patch.setattr(ingest, "MANY", 40)
    patch.setattr(ingest, "JOB_FILES", 40)
    patch.setattr(fill, "MANY", 40)
    patch.setattr(fill, "JOB_FILES", 30)
    patch.setattr(crews, "_processors", lambda: 0)


def naive(place: Place) -> NaiveStore:
    return decoded(place.root / ".memsync")


def dictionaries(store: NaiveStore) -> dict[bytes, int]:
    """id → how many copies there are."""
    ids = {id for (_, id), plain in store.objects.items() if dictionary.is_dictionary(plain)}
    return Counter(form.id for form in store.forms if form.id in ids)


def leaning(store: NaiveStore) -> int:
    """How many contents lean on a dictionary."""
    keys = {id[:8] for id in dictionaries(store)}
    return len({form.id for form in store.forms if form.encoding == DELTA and form.base in keys})


def whole(place: Place, contents: dict[str, bytes]) -> None:
    """What `Data/` holds is what the store holds, by its own word and by another's."""
    with place.open() as store:
        assert {path: store.read(path) for path in contents} == contents
        report = store.verify(remote=place.remote.exists(), read_data=place.remote.exists())
        assert report.ok, report.problems
    stored = naive(place)
    for content in contents.values():
        assert stored.objects[CONTENT, blake3(content).digest()] == content


def collect(place: Place) -> None:
    with place.open() as store:
        assert store.gc(Rules(last=1)).error is None


def without_remote(base: Path) -> Place:
    place = Place(base)
    (place.root / ".memsync" / "remote.json").unlink()
    return place
