"""The dictionaries of a store (`objects/dictionary.py`), for who removes contents. No version names them: they stay as
long as something leans on them, and go with what is forgotten, where its bytes may stand in them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import TYPE_CHECKING, Final

from memstore.errors import DamagedData
from memstore.ids import ContentId
from memstore.manifest import history
from memstore.objects import dictionary
from memstore.objects.record import RecordKind

if TYPE_CHECKING:
    from memstore.repository import Repository

_LONGEST: Final = 1 << 20
"""Plain bytes above which no content ever becomes part of a dictionary (docs/format.md)."""


def no_longer_needed(
    repository: Repository, bases: Iterable[int], going: Collection[ContentId]
) -> set[ContentId]:
    """Those dictionaries among contents with these keys that nothing leans on once the contents `going` are gone."""
    catalogue = repository.catalogue
    below: dict[ContentId, int] = {}
    for base in bases:
        for row in catalogue.with_key(base.to_bytes(8, "big", signed=True)):
            if row.kind == RecordKind.CONTENT and row.rank == 0:
                below[ContentId(catalogue.files.header(row.place, row.offset, row.inner).id)] = row.key
    found = _dictionaries(repository, below.keys()).keys() - set(going)
    if not found:
        return set()
    leant_on: set[int] = set()
    for place, _, _ in catalogue.places().values():
        for id, row in catalogue.objects_in(place):
            if row.base is not None and id not in going:
                leant_on.add(row.base)
    return {id for id in found if below[id] not in leant_on}


def sharing(repository: Repository, contents: Iterable[ContentId]) -> set[ContentId]:
    """The dictionaries in which bytes of these contents may stand, though they can't be read any more. Raises
    `DamagedData` where it can't be told what a content is that no version names."""
    wanted = list(contents)
    if not wanted:
        return set()
    catalogue = repository.catalogue
    alone: set[ContentId] = set()
    for place, _, _ in catalogue.places().values():
        for id, row in catalogue.objects_in(place):
            if row.kind == RecordKind.CONTENT and row.rank == 0 and row.raw <= _LONGEST:
                alone.add(ContentId(id))
    known = _dictionaries(repository, alone)
    alone.clear()
    return {id for id, raw in known.items() if _shares(repository, raw, wanted)}


def _shares(repository: Repository, raw: bytes, contents: Sequence[ContentId]) -> bool:
    """Whether it is made of one of them; or perhaps of one's bytes, where something that it is made of is not here any
    more. (While that is here its bytes stand there as well, and nobody forgot it.)"""
    made_of, pieces = dictionary.parts(raw)
    if any(content.key in made_of for content in contents):
        return True
    if all(_is_here(repository, key) for key in made_of):
        return False
    known = dictionary.units(pieces)
    plain = (_plain(repository, content) for content in contents)
    return any(content is None or dictionary.shares(known, content) for content in plain)


def _dictionaries(repository: Repository, ids: Collection[ContentId]) -> dict[ContentId, bytes]:
    """Those of them that are one, and their bytes."""
    catalogue, reader = repository.catalogue, repository.reader
    if not ids:
        return {}
    unnamed = set(ids)
    unnamed.difference_update(history.each_content(catalogue, lost=True))
    if not unnamed:
        return {}
    for id, _ in catalogue.of_kind(RecordKind.RECIPE):
        unnamed.difference_update(piece for piece, _ in reader.recipe(ContentId(id)) or ())
    contents = {id: reader.object(id, RecordKind.CONTENT) for id in unnamed}
    return {id: raw for id, raw in contents.items() if dictionary.is_dictionary(raw)}


def _is_here(repository: Repository, key: bytes) -> bool:
    return any(row.kind == RecordKind.CONTENT for row in repository.catalogue.with_key(key))


def _plain(repository: Repository, content: ContentId) -> bytes | None:
    """A content of which a dictionary may have pieces; empty for one that is too large, None where it can't be read."""
    forms = repository.catalogue.locations(content)
    if any(row.kind == RecordKind.RECIPE or row.raw > _LONGEST for row in forms):
        return b""
    try:
        return repository.reader.object(content, RecordKind.CONTENT, forms)  # though it be forgotten already
    except DamagedData:
        return None
