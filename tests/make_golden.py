"""Makes tests/golden: a small store that uses every part of the format, and what a reader must find in it.

    python -m tests.make_golden

Contents, clock and random numbers are fixed, so that it comes out the same each time but for what zstd
makes of it. It is committed and not made anew when the code changes: stores that exist must stay readable.
"""

from __future__ import annotations

import json
import os
import random
import secrets
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgpack
from blake3 import blake3

from memstore import Store, files
from memstore.ids import ContentId, VersionId
from memstore.manifest import history, references
from memstore.manifest.version import Change, ChangeKind, Entry, Kind
from memstore.objects.encoding import Encoded, encode
from memstore.objects.record import Encoding, RecordKind
from memstore.repository import Repository

GOLDEN = Path(__file__).parent / "golden"
START_MS = 1_745_416_800_000
"""2025-04-23T14:00:00Z."""
SINGLE_LINE = 256
"""Generations made before the devices' work parts; two of them carry a checkpoint."""
FORGOTTEN = b"a content that was to be forgotten"


DEVICE = "89cda0c7"


class Clock:
    """Stands still unless it is told to go on."""

    def __init__(self) -> None:
        self.now_ms = START_MS

    def wait(self, ms: int) -> None:
        self.now_ms += ms


@contextmanager
def fixed(clock: Clock) -> Iterator[None]:
    """Clock, random numbers and the inode of segments are the same on each run."""
    number = 0

    def urandom(length: int) -> bytes:
        nonlocal number
        number += 1
        return blake3(b"golden %d" % number).digest(length)

    gmtime = time.gmtime
    originals = (os.urandom, secrets.token_hex, time.time_ns, time.gmtime, files.identity)
    replaced: tuple[Callable[..., Any], ...] = (
        urandom,
        lambda length: urandom(length).hex(),
        lambda: clock.now_ms * 1_000_000,
        lambda seconds=None: gmtime(clock.now_ms // 1000 if seconds is None else seconds),
        lambda descriptor: (1, 1),
    )
    try:
        os.urandom, secrets.token_hex, time.time_ns, time.gmtime, files.identity = replaced
        yield
    finally:
        os.urandom, secrets.token_hex, time.time_ns, time.gmtime, files.identity = originals


class Golden:
    """The workspace while it is made."""

    def __init__(self, folder: Path, clock: Clock) -> None:
        self.clock = clock
        self.random = random.Random(20250423)
        self.folder = folder
        self.data = folder / "workspace" / "Data"
        state = folder / "workspace" / ".memsync"
        state.mkdir(parents=True)
        (state / "device").write_text(json.dumps({"id": DEVICE, "file": [1, 1]}))
        environ = {"MEMSYNC_DEVICE": "golden", "XDG_CONFIG_HOME": str(folder), "APPDATA": str(folder)}
        self.store = Store.init(folder / "workspace", environ=environ)
        self.data.mkdir(exist_ok=True)
        self.store.set_remote(str(folder / "remote"))

    @property
    def repository(self) -> Repository:
        return self.store.repository

    def write(self, path: str, content: bytes) -> None:
        place = self.data / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)
        self.stamp(place)

    def append(self, path: str, content: bytes) -> None:
        self.write(path, (self.data / path).read_bytes() + content)

    def link(self, path: str, target: str) -> None:
        (self.data / path).unlink(missing_ok=True)
        (self.data / path).symlink_to(target)
        self.stamp(self.data / path)

    def stamp(self, place: Path) -> None:
        """The modification time is half a second before the clock's."""
        moment = (self.clock.now_ms - 500) * 1_000_000
        os.utime(place, ns=(moment, moment), follow_symlinks=False)

    def commit(self, *, after_ms: int = 61_007, **meta: Any) -> VersionId:
        self.clock.wait(after_ms)
        version = self.store.commit(**meta)
        assert version is not None
        return version.id

    def line(self) -> bytes:
        words = ("memory", "user", "prefers", "index", "note", "again", "später", "remember", "turn", "plan")
        return (" ".join(self.random.choices(words, k=9)) + "\n").encode()

    def text(self, lines: int) -> bytes:
        return b"".join(self.line() for _ in range(lines))

    def generation(self) -> int:
        head = self.store.head()
        return self.store.version(head).generation if head else 0


def large(blocks: int) -> bytes:
    """A file above 16 MiB that hardly takes room: each KiB of noise 2,048 times."""
    return b"".join(random.Random(block).randbytes(1024) * 2048 for block in range(blocks))


def first_files(golden: Golden) -> None:
    golden.write("Core/Rules.txt", golden.text(12))
    golden.write("Core/State.json", json.dumps({"turn": 0, "mood": "calm"}, indent=1).encode())
    golden.write("Core/empty", b"")
    golden.write("Core/tiny", b"raw")
    golden.write("Meta/noise.bin", golden.random.randbytes(700))
    golden.write("Notizen/Größe – 記憶 🧠.md", "# Über alles\n".encode())
    golden.write("Notizen/cafe\u0301.md", b"decomposed\n")
    golden.write("Notizen/.hidden", b"a dot that begins a name begins no extension\n")
    golden.write("run.sh", b"#!/bin/sh\necho remembered\n")
    (golden.data / "run.sh").chmod(0o755)
    golden.link("latest", "Core/Rules.txt")
    golden.write("Index/vectors.bin", large(9))
    golden.commit(
        note="the first", context_tags=["llama", "größe"], chat_name="GPT Memory Build", actor="maker"
    )


def every_change(golden: Golden) -> None:
    golden.append("Core/Rules.txt", golden.text(2))
    golden.commit(note="append")
    golden.append("Index/vectors.bin", large(1)[:200_000])
    golden.commit(note="append to a recipe")
    golden.write("Core/State.json", json.dumps({"turn": 1, "mood": "calm"}, indent=1).encode())
    golden.write("Notizen/.hidden", b"replaced\n")
    golden.commit(note="replace", reason="turn over")
    golden.clock.wait(60_000 - golden.clock.now_ms % 60_000)
    for turn in (2, 3, 4):
        # Three within a second: the second and third name differ by the content's digits.
        golden.write("Core/State.json", json.dumps({"turn": turn, "mood": "hasty"}, indent=1).encode())
        golden.commit(after_ms=100)
    (golden.data / "run.sh").chmod(0o644)
    golden.link("latest", "Core/State.json")
    golden.commit(note="another mode, another target")
    (golden.data / "Core/tiny").unlink()
    golden.commit(reason="not needed")
    golden.clock.wait(1500)
    golden.store.archive(["Notizen/Größe – 記憶 🧠.md"], reason="done", actor="maker")
    golden.clock.wait(1500)
    golden.store.archive(["Core/Rules.txt"], keep=True, note="a milestone")
    golden.clock.wait(1500)
    golden.store.restore(["Core/tiny"])


def many_versions(golden: Golden, until: int) -> None:
    while golden.generation() < until:
        turn = golden.generation()
        golden.append("Core/Rules.txt", golden.line())
        if turn % 12 == 0:
            golden.write("Core/State.json", json.dumps({"turn": turn, "mood": "calm"}, indent=1).encode())
        if turn % 40 == 0:
            golden.write(f"Notizen/{turn}.md", golden.text(3))
        golden.commit(note=f"turn {turn}")


def two_devices(golden: Golden) -> None:
    """A version beside HEAD, as another device makes it, and the merge of both."""
    golden.write("Core/side.txt", b"made elsewhere\n")
    with golden.repository.writing() as writer:
        main = golden.repository.head()
        assert main is not None
        older = golden.repository.version(main).parents[0]
        content = (golden.data / "Core/side.txt").read_bytes()
        id = ContentId.of(content)
        modified = int((golden.data / "Core/side.txt").stat().st_mtime_ns // 1_000_000)
        entry = Entry("Core/side.txt", Kind.FILE, len(content), id, modified)
        changes = [Change("Core/side.txt", ChangeKind.ADD, entry)]
        writer.add(RecordKind.CONTENT, id, len(content), encode(content))
        golden.clock.wait(5000)
        side = writer.add_version(changes, meta=golden.store.version(main).meta, parents=(older,))
        writer.move_head(main)
        golden.clock.wait(5000)
        writer.add_version(changes, meta=golden.store.version(main).meta, parents=(main, side.id))
    # Nothing removes contents in this store; so its tombstone is of one that it never had.
    with golden.repository.writing() as writer:
        id = ContentId.of(FORGOTTEN)
        fact = msgpack.packb({"content": bytes(id), "why": "forgotten", "time": golden.clock.now_ms})
        writer.add(RecordKind.TOMBSTONE, id, len(fact), Encoded(Encoding.RAW, fact, b"", 0, 0))
        writer.commit(golden.repository.head())


def make(folder: Path) -> dict[str, Any]:
    """Make `store` (a `.memsync`) and `remote` (another) in an empty folder; what a reader must find."""
    place = Path(tempfile.mkdtemp(dir=folder))
    clock = Clock()
    with fixed(clock):
        golden = Golden(place, clock)
        first_files(golden)
        every_change(golden)
        many_versions(golden, 131)
        assert golden.store.push(mirror=False).status == "success"
        remote_head = str(golden.store.head())
        shutil.copytree(place / "remote" / ".memsync", folder / "remote")
        many_versions(golden, SINGLE_LINE)
        assert golden.store.push(mirror=False).status == "success"
        golden.append("Core/Rules.txt", golden.line())
        golden.write("Open/segment.txt", b"only in the segment\n")
        golden.commit(note="after the push")
        golden.append("Core/Rules.txt", golden.line())
        golden.commit()
        two_devices(golden)
        expected = {"remote_head": remote_head, **described(golden.store)}
        golden.store.close()
    (folder / "store").mkdir()
    (folder / "store" / "device").write_text(json.dumps({"id": DEVICE}) + "\n")  # not where it was made
    for name in ("format", "reflog", "packs", "segments"):
        source = place / "workspace" / ".memsync" / name
        if source.is_dir():
            shutil.copytree(source, folder / "store" / name)
        else:
            shutil.copy(source, folder / "store" / name)
    shutil.rmtree(place)
    return expected


def described(store: Store) -> dict[str, Any]:
    """What memstore says a store holds, as JSON has it."""
    repository, catalogue = store.repository, store.repository.catalogue
    head = store.head()
    versions = sorted(store.history(), key=lambda version: (version.generation, version.id))
    entries = [change.entry for version in versions for change in version.changes if change.entry]
    return {
        "store": repository.format.store.hex(),
        "head": str(head),
        "heads": [str(id) for id in catalogue.heads()],
        "versions": [
            [
                str(version.id),
                version.generation,
                version.time_ms,
                str(history.manifest_id_at(catalogue, repository.seq(version.id))),
            ]
            for version in versions
        ],
        "first": versions[0].as_json(),
        "last": versions[-1].as_json(),
        "manifests": {
            str(version.id): {
                entry.path: [int(entry.kind), entry.size, str(entry.content), entry.modified_ms]
                for entry in repository.entries(version.id)
            }
            for version in (versions[0], versions[12], versions[127], versions[-1])
        },
        "references": {
            f"{str(reference.version)[:8]} {reference.name}": str(reference.entry.content)
            for reference in references.under(catalogue)
        },
        "contents": {str(entry.content): entry.size for entry in entries},
        "removed": {str(ContentId.of(FORGOTTEN)): "forgotten"},
        "plain": {
            path: store.read(path).decode()
            for path in ("Core/State.json", "Core/empty", "latest", "Notizen/40.md")
        },
    }


def main() -> None:
    with tempfile.TemporaryDirectory() as temporary:
        expected = make(Path(temporary))
        shutil.rmtree(GOLDEN, ignore_errors=True)
        GOLDEN.mkdir()
        for name in ("store", "remote"):
            shutil.copytree(Path(temporary) / name, GOLDEN / name)
    text = json.dumps(expected, ensure_ascii=False, indent=0, sort_keys=True)
    (GOLDEN / "expected.json").write_text(text + "\n", encoding="utf-8")
    size = sum(file.stat().st_size for file in GOLDEN.rglob("*") if file.is_file())
    sys.stdout.write(f"{GOLDEN}: {size:,} bytes\n")


if __name__ == "__main__":
    main()
