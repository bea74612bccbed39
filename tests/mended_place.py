"""A place to be harmed and mended: what lies there, the harms, and what a repair makes of them."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

from memstore import Store
from memstore.reports import RepairReport
from tests.folder_place import Place

NOTE = b"remember the milk, and what was said of it\n"
NOISE = random.Random(5).randbytes(3000)
LATER = random.Random(6).randbytes(2000)


def stored(base: Path) -> Place:
    """A pack with three versions, and a segment with a fourth."""
    made = Place(base)
    made.commit({"Core/a.txt": NOTE, "noise.bin": NOISE})
    made.commit({"Core/a.txt": NOTE * 40, "Core/gone.txt": b"only in history\n" * 9})
    made.commit({"Core/a.txt": NOTE * 40 + b"and the bread\n", "Core/gone.txt": None})
    assert made.push().status == "success"
    made.commit({"later.bin": LATER, "Core/a.txt": NOTE * 41})
    return made


def repair(place: Place, *, dry_run: bool = False) -> RepairReport:
    with Store.open_damaged(place.root, environ={}) as store:
        return store.repair(dry_run=dry_run)


def whole(place: Place, *, remote: bool = False) -> bool:
    with place.open() as store:
        return store.verify(remote=remote, read_data=remote).ok


def without_remote(place: Place) -> None:
    (place.root / ".memsync/remote.json").unlink()
    shutil.rmtree(place.remote)


def pack_of(place: Place) -> Path:
    (path,) = (place.root / ".memsync/packs").glob("*.pack")
    return path


def segment_of(place: Place) -> Path:
    (path,) = (place.root / ".memsync/segments").glob("*.seg")
    return path


def flip(path: Path, offset: int) -> None:
    data = bytearray(path.read_bytes())
    data[offset] ^= 0x10
    path.chmod(0o644)
    path.write_bytes(data)


def everything(place: Place) -> list[tuple[str, dict[str, bytes]]]:
    """Each version with all that it holds, newest first."""
    with place.open() as store:
        return [
            (str(version.id), {row.path: store.read(row.path, at=version) for row in store.ls(at=version)})
            for version in store.history()
        ]


def harm_flip(path: Path) -> None:
    flip(path, path.stat().st_size // 2)


def harm_tail(path: Path) -> None:
    flip(path, path.stat().st_size - 60)


def harm_cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-30])


def harm_gone(path: Path) -> None:
    path.unlink()


HARMS = [harm_flip, harm_tail, harm_cut, harm_gone]
