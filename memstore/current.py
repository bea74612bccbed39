"""Whether the catalogue knows all that lies on the disk: what every command asks first, at the cost of two listings
and a `stat` for each segment. What brings it up to date is `recovery`."""

from __future__ import annotations

import os

from memstore import files
from memstore.objects.catalogue import Catalogue
from memstore.objects.places import PlaceKind, path_of


def segment_names(state: str) -> list[str]:
    return [name[:-4] for name in files.names(os.path.join(state, "segments")) if name.endswith(".seg")]


def pack_names(state: str) -> list[str]:
    return [name[:-5] for name in files.names(os.path.join(state, "packs")) if name.endswith(".pack")]


def is_current(state: str, catalogue: Catalogue) -> bool:
    """Whether the catalogue knows of every segment and pack, to its end."""
    if catalogue.fact("complete") != 1:
        return False
    places = catalogue.places()
    on_disk = 0
    for name in segment_names(state):
        known = places.get(name)
        try:
            grown = known is None or os.stat(path_of(state, name, PlaceKind.SEGMENT)).st_size != known[2]
        except FileNotFoundError:
            grown = True
        if grown:
            return False
        on_disk += 1
    packs = pack_names(state)
    return all(name in places for name in packs) and len(places) == on_disk + len(packs)
