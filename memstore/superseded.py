"""Packs that others have taken the place of go together, or not yet: `.memsync/superseded`.

Of several old packs a power cut may take any and leave the others; what was to leave the store could then lie
there as a delta whose base is gone, and pass for a content that is stored. So their names are written down first,
durable, and whoever opens the store removes what is left of them.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from typing import Final, NamedTuple

from memstore import files
from memstore.ids import PackId
from memstore.objects.places import PlaceKind, path_of

SUPERSEDED_NAME: Final = "superseded"
FORMAT: Final = 1


class _Record(NamedTuple):
    device: str
    """8 hex digits. In a copied folder it is another's, and takes nothing."""
    packs: tuple[str, ...]
    """In the order in which they go."""
    by: tuple[str, ...]
    """The packs that took their place."""


def waits(state: str) -> bool:
    """Whether `finish` has something to do; one look at a name."""
    return files.exists(os.path.join(state, SUPERSEDED_NAME))


def remove(state: str, device: str, packs: Sequence[str], by: Sequence[str]) -> None:
    """Remove these packs, now or when the store is opened next. `by` are durable, and the catalogue knows the old
    ones no more. For the holder of the lock."""
    facts = {"format": FORMAT, "device": device, "packs": list(packs), "by": list(by)}
    files.write_atomic(os.path.join(state, SUPERSEDED_NAME), (json.dumps(facts) + "\n").encode())
    _finish(state, device)


def finish(state: str, device: str) -> None:
    """Remove what is left of such packs, and the record. For the holder of the lock."""
    files.sync_dir(state)  # whoever gave the record its name may have been killed before that was durable
    _finish(state, device)


def _finish(state: str, device: str) -> None:
    path = os.path.join(state, SUPERSEDED_NAME)
    record = _read(path)
    if record is not None and record.device == device and all(_is_here(state, name) for name in record.by):
        # A segment that a killed process removed could come back, and lean on what goes now.
        if files.exists(os.path.join(state, "segments")):
            files.sync_dir(os.path.join(state, "segments"))
        for name in record.packs:
            files.remove(path_of(state, name, PlaceKind.PACK))
        if record.packs and files.exists(os.path.join(state, "packs")):
            files.sync_dir(os.path.join(state, "packs"))
    files.remove(path)
    files.sync_dir(state)  # else it could take packs that come back later under these names


def _is_here(state: str, name: str) -> bool:
    return files.exists(path_of(state, name, PlaceKind.PACK))


def _read(path: str) -> _Record | None:
    """None for one that is not to be understood: it takes nothing, and the next collection tidies."""
    try:
        facts = json.loads(files.read(path))
        packs, by = (tuple(str(PackId.from_hex(name)) for name in facts[key]) for key in ("packs", "by"))
        return _Record(str(facts["device"]), packs, by)
    except (FileNotFoundError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None
