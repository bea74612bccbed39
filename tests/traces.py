"""Where on a disk some bytes are still to be found, however they are stored."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from tests.folder_place import tree
from tests.naive_reader import NaiveStore, read_pack, read_segment

Identities = Mapping[tuple[int, int], tuple[int, int]]
"""(device, inode) of a file → what it is taken for."""


def decoded(folder: Path, identities: Identities | None = None) -> NaiveStore:
    """All records of the packs and segments in a `.memsync`, each decoded with what lies beside it."""
    store = NaiveStore(bytes.fromhex(json.loads((folder / "format").read_text())["store"]))
    for path in sorted((folder / "packs").glob("[!.]*")):
        read_pack(store, path.name, path.read_bytes())
    for path in sorted((folder / "segments").glob("[!.]*.seg")):
        facts = path.stat().st_dev, path.stat().st_ino
        read_segment(store, path.name, path.read_bytes(), (identities or {}).get(facts, facts))
    store.settle()
    return store


def where(base: Path, needle: bytes, identities: Identities | None = None) -> list[str]:
    """Every file below, and every object in a pack or segment below, that holds these bytes."""
    found = [path for path, data in tree(base).items() if needle in data]
    for format in base.rglob(".memsync/format"):
        folder = format.parent
        for (kind, id), plain in decoded(folder, identities).objects.items():
            if needle in plain:
                found.append(f"{folder.relative_to(base)}: object {kind} {id.hex()[:12]}")
    return found
