"""A small store that has a bit of everything, harmed one bit or one byte's length at a time, and what must hold.

A harm is *found* when `verify` names it or opening refuses with exit 6 or 8; it is *harmless* when everything
still reads back as it was and nothing is missing (a digit of a date in the reflog). There is no third kind.
"""

from __future__ import annotations

import json
import random
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from memstore import Store, files
from memstore.actions import checkout
from memstore.errors import MemsyncError
from memstore.ids import ContentId, ManifestId
from memstore.manifest import history
from memstore.objects.encoding import encode
from memstore.objects.record import Encoding, RecordKind
from tests.folder_place import Place, forget_catalogue

ALWAYS_MENDED = ("packs", "segments", "format", "reflog", "remote.json", "catalogue")
Contents = dict[tuple[str, str], bytes]
"""(version, path) → bytes."""


class Harm(NamedTuple):
    path: str
    """Relative to the place's base: `assistant/.memsync/…` or `remote/.memsync/…`."""
    at: int
    """A bit for a flip, a length for a cut."""
    cut: bool

    def done_to(self, data: bytes) -> bytes:
        if self.cut:
            return data[: self.at]
        harmed = bytearray(data)
        harmed[self.at >> 3] ^= 1 << (self.at & 7)
        return bytes(harmed)


class Damaged:
    """The place, as it was built, to be harmed again and again."""

    def __init__(self, base: Path) -> None:
        self.place = build(base)
        self.base = base
        self.expected = contents(self.place)
        self._saved = base.with_name(base.name + "-saved")
        shutil.copytree(base, self._saved, symlinks=True)

    def reset(self) -> None:
        self.forgotten = False
        for folder in ("assistant", "remote"):
            shutil.rmtree(self.base / folder, ignore_errors=True)
            shutil.copytree(self._saved / folder, self.base / folder, symlinks=True)

    def forget(self) -> None:
        """The catalogue is gone as well: what then follows a segment's last good commit is a torn tail, as a
        crash leaves it, and put aside. Nothing is left that could tell otherwise."""
        forget_catalogue(self.place)
        self.forgotten = True

    def _put_aside(self) -> bool:
        torn = self.place.root / ".memsync/torn"
        return self.forgotten and torn.is_dir() and any(torn.iterdir())

    def file(self, path: str) -> bytes:
        return (self._saved / path).read_bytes()

    def harm(self, harm: Harm) -> None:
        self.reset()
        (self.base / harm.path).write_bytes(harm.done_to(self.file(harm.path)))

    def paths(self, *under: str) -> list[str]:
        found = [
            path.relative_to(self._saved).as_posix()
            for path in sorted(self._saved.rglob("*"))
            if path.is_file()
        ]
        return [path for path in found if path.startswith(under)]

    def harms(self, path: str) -> Iterator[Harm]:
        size = len(self.file(path))
        yield from (Harm(path, bit, False) for bit in range(8 * size))
        yield from (Harm(path, length, True) for length in range(size))

    # -- what must hold ------------------------------------------------------------------------------------

    def outcome(self, *, remote: bool = False) -> str:
        """`found`, `harmless`, or `put aside` (see `forget`). Raises `AssertionError` for anything else."""
        found, missing = False, False
        try:
            with self.place.open() as store:
                report = store.verify(remote=remote, read_data=remote)
                found = not report.ok
                assert all(problem.hint for problem in report.problems)
                missing = self._compare(store)
        except MemsyncError as error:
            assert error.exit_code in (6, 8), error
            assert error.hint, error
            return "found"
        if missing and not found and self._put_aside():
            return "put aside"
        assert found or not missing, "lost and not found"
        return "found" if found else "harmless"

    def _compare(self, store: Store) -> bool:
        """Whether something can't be read; what can be must be right."""
        missing = False
        for (version, path), content in self.expected.items():
            try:
                assert store.read(path, at=version) == content, f"wrong content of {path} in {version}"
            except MemsyncError as error:
                assert error.hint, error
                missing = True
        return missing

    def repaired(self, *, with_remote: bool) -> bool:
        """Repair it; whether all of it is back. What isn't must be named, and what is must be right."""
        if not with_remote:
            (self.place.root / ".memsync/remote.json").unlink(missing_ok=True)
            shutil.rmtree(self.place.remote)
        try:
            with Store.open_damaged(self.place.root, environ={}) as store:
                report = store.repair()
        except MemsyncError as error:
            assert error.exit_code in (6, 8) and error.hint, error
            return False
        with self.place.open() as store:
            missing = self._compare(store)
            again = store.verify()
        assert again.ok == (not report.problems) or report.warnings, (report, again)
        assert report.problems or not missing or self._put_aside(), "lost and not named"
        return not report.problems and not missing


def build(base: Path) -> Place:
    """Two packs, one segment of two commits; deltas, a recipe, a tombstone, a checkpoint, groups."""
    random.seed(20)
    place = Place(base)
    note = b"".join(b"line %d of the note\n" % number for number in range(12))
    noise = random.Random(3).randbytes(150)
    place.commit(
        {"Core/a.txt": note, "b.bin": noise, "Meta/c.txt": b"one\n"}, note="first", context_tags=["x"]
    )
    _more_kinds(place, [noise, note[:90]])
    assert place.push().status == "success"
    place.commit({"Core/a.txt": note + b"and one more\n", "b.bin": None, "Meta/d.txt": note[::-1]})
    place.commit({"Core/a.txt": note[40:] + b"changed\n", "Meta/c.txt": None})
    assert place.push().status == "success"
    place.commit({"Core/a.txt": note + b"the last\n", "e.txt": b"a new note\n"})
    place.commit({"Meta/d.txt": b"short\n"})
    return place


def _more_kinds(place: Place, pieces: list[bytes]) -> None:
    """What only large files, long histories and gc make."""
    whole = b"".join(pieces)
    (place.data / "large.bin").write_bytes(whole)
    with place.open() as store, store.repository.writing() as writer:
        for piece in pieces:
            if not writer.has(ContentId.of(piece)):
                writer.add(RecordKind.CONTENT, ContentId.of(piece), len(piece), encode(piece))
        writer.add_recipe(ContentId.of(whole), [(ContentId.of(piece), len(piece)) for piece in pieces])
        gone = ContentId.of(b"forgotten")
        import msgpack

        tombstone = msgpack.packb({"content": bytes(gone), "why": "forgotten", "time": 1_745_416_800_000})
        plain = encode(tombstone)._replace(encoding=Encoding.RAW, payload=tombstone)
        writer.add(RecordKind.TOMBSTONE, gone, len(tombstone), plain)
        canonical = b"".join(history.canonical(row[:5] for row in store.repository.catalogue.tree()))
        writer.add(RecordKind.MANIFEST, ManifestId.of(canonical), len(canonical), encode(canonical))
        writer.commit(store.head())
    place.commit()


def contents(place: Place) -> Contents:
    with place.open() as store:
        return {
            (str(version.id), row.path): store.read(row.path, at=version)
            for version in store.history()
            for row in store.ls(at=version)
        }


def one_file_system(patch: pytest.MonkeyPatch) -> None:
    """Copies of the place are the place: segments don't tell them apart."""
    patch.setattr(files, "identity", lambda _: (1, 1))


def add_checkout(place: Place) -> None:
    """A restore that was cut off before it wrote anything, to a version that is there already."""
    with place.open() as store:
        head = store.head()
        assert head is not None
        entries = {entry.path: entry for entry in store.repository.entries(head)}
        steps = [checkout.Step(path, entry, entry) for path, entry in entries.items()]
        checkout.begin(store.repository, None, steps)


def told(counts: dict[str, Counter[str]]) -> str:
    return json.dumps({name: dict(sorted(count.items())) for name, count in sorted(counts.items())})
