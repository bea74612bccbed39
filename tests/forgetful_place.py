"""A place with a secret in it: what a forget of it must leave, and where traces of it are looked for."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

from memstore.objects.reader import Removed
from memstore.reports import ForgetReport
from tests.folder_place import Place
from tests.traces import where as traces_of

SECRET = b"hunter2-correct-horse"


def note(number: int, more: bytes = b"") -> bytes:
    """Forty lines that are always the same, and one that is not: versions lean on one another."""
    noise = random.Random(number)
    rows = [b"line %d as it always was\n" % line for line in range(40)]
    rows[number % 40] = b"%f in %d\n" % (noise.random(), number)
    return b"".join(rows) + more


def keys(number: int) -> bytes:
    return note(number, password(number))


def password(number: int) -> bytes:
    return b"password %d: %b\n" % (number, SECRET)


def where(base: Path, needle: bytes = SECRET) -> list[str]:
    return traces_of(base, needle)


def forget(place: Place, *targets: str, **how: Any) -> ForgetReport:
    with place.open() as store:
        report = store.forget(list(targets), **how)
    assert report.error is None, report.error
    return report


def whole(place: Place) -> None:
    with place.open() as store:
        report = store.verify(remote=True, read_data=True)
        assert report.ok, report.problems


def other(place: Place, name: str = "desk") -> Place:
    return place.clone(name)


def pull(place: Place) -> Any:
    with place.open() as store:
        return store.pull()


def read(place: Place, path: str, at: Any = None) -> bytes | None:
    """A content of history; None for one that was removed on purpose."""
    with place.open() as store:
        try:
            return store.read(path, at=at)
        except Removed as error:
            assert "forgotten on purpose" in error.message
            return None


def lived(place: Place) -> list[str]:
    """A file with a secret that was appended to, copied, replaced and deleted, beside notes that stay; all pushed."""
    made = []
    for number in range(4):
        made.append(place.commit({"Core/Keys.txt": keys(number), "Core/Rules.txt": note(number)}))
        place.push()
    place.commit({"Core/Copy.txt": keys(3)})
    place.push()
    place.commit({"Core/Keys.txt": keys(3) + b"and more\n"})
    place.push()
    place.commit({"Core/Rules.txt": note(9)})
    place.push()
    return [id for id in made if id is not None]
