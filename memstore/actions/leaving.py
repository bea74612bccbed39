"""What leaves the store: contents that are not wanted any more, with the pieces of large ones."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from typing import TYPE_CHECKING, Final, NamedTuple

from memstore.actions.dictionaries import no_longer_needed
from memstore.current import pack_names
from memstore.errors import DamagedData
from memstore.ids import ContentId
from memstore.manifest import history
from memstore.objects.catalogue import key_of
from memstore.objects.record import RecordKind

if TYPE_CHECKING:
    from memstore.repository import Repository


_CONTENTS: Final = frozenset({RecordKind.CONTENT, RecordKind.RECIPE})


class Leaving(NamedTuple):
    contents: frozenset[ContentId]
    """What versions name, and what gets a tombstone."""
    objects: frozenset[ContentId]
    """The same, the pieces that no other content has, and the dictionaries that nothing else leans on."""


def leaving(
    repository: Repository,
    unwanted: Iterable[ContentId],
    settled: Collection[str] | None,
    *,
    orphans: Collection[ContentId] = (),
) -> Leaving:
    """Of these contents the ones that are here and can go. `settled` are the packs that may be rewritten (None:
    all places); what lies in any other place, or is leant on there, has to wait. `orphans` are pieces of contents
    whose recipes may be gone already: they go as well."""
    held_up = _held_up(repository, settled)
    pieces_of = dict(_recipes(repository))
    contents = set()
    bases: set[int] = set()
    for id in unwanted:
        parts = [id, *pieces_of.get(id, ())]
        if held_up.isdisjoint(map(key_of, parts)):
            forms = [row for row in repository.catalogue.locations(id) if row.kind in _CONTENTS]
            bases.update(row.base for row in forms if row.base is not None and row.rank == 1)
            if forms:
                contents.add(id)
    if not contents and not orphans:
        return Leaving(frozenset(), frozenset())
    staying = {piece for id, pieces in pieces_of.items() if id not in contents for piece in pieces}
    contents -= staying  # a file that is a piece of another's
    pieces = {piece for id in contents for piece in pieces_of.get(id, ())}.union(orphans) - staying
    files = history.contents(repository.catalogue, lost=True) - contents if pieces else set()
    objects = contents | (pieces - files)
    objects |= no_longer_needed(repository, bases - held_up, objects)
    return Leaving(frozenset(contents), frozenset(objects))


def incomplete(repository: Repository, removed: Collection[ContentId]) -> bool:
    """Whether something that a version names is not here and not removed: a content, a piece of one, or what
    a stored form leans on."""
    catalogue = repository.catalogue
    here: set[bytes] = set()
    lowest: dict[int, int] = {}
    leaning: set[tuple[int, int]] = set()
    for place, _, _ in catalogue.places().values():
        for id, row in catalogue.objects_in(place):
            if row.kind in _CONTENTS:
                here.add(id)
            at = row.key << 4 | row.kind
            lowest[at] = min(row.rank, lowest.get(at, row.rank))
            if row.base is not None:
                leaning.add((row.base << 4 | row.kind, row.rank))
    if any(lowest.get(base, rank) >= rank for base, rank in leaning):
        return True
    lowest.clear()
    if any(id not in here and id not in removed for id in history.each_content(catalogue, lost=True)):
        return True
    return any(piece not in here for _, pieces in _recipes(repository) for piece in pieces)


def plain_size(repository: Repository, contents: Iterable[ContentId]) -> int:
    """Bytes that these contents have as files."""
    total = 0
    for id in contents:
        forms = repository.catalogue.locations(id)
        whole = next((row.raw for row in forms if row.kind == RecordKind.CONTENT), None)
        if whole is None:
            whole = sum(length for _, length in repository.reader.recipe(id) or ())
        total += whole
    return total


def stored_size(repository: Repository, objects: Iterable[ContentId]) -> int:
    """Bytes that all stored forms of these objects take."""
    forms = (row for id in objects for row in repository.catalogue.locations(id))
    return sum(row.header + row.stored for row in forms if row.kind in _CONTENTS)


def require_whole_history(repository: Repository) -> None:
    """Raises `DamagedData` where a pack or version can't be read: what it names is not known, and might go."""

    if lost_versions(repository) or unread_packs(repository):
        raise DamagedData(
            "part of the history cannot be read, so nothing is collected: what it needs is not known",
            hint="run 'memsync verify' to see what is missing; 'memsync pull' may bring it",
        )


def lost_versions(repository: Repository) -> int:
    """How many versions are known of whose records, or those of versions before them, are nowhere."""
    db = repository.catalogue.db
    (lost,) = db.execute("SELECT count(*) FROM versions WHERE place = ?", (history.NOWHERE,)).fetchone()
    (strays,) = db.execute("SELECT count(*) FROM strays").fetchone()
    return int(lost + strays)


def unread_packs(repository: Repository) -> list[str]:
    """The names of packs here that can't be read."""
    places = repository.catalogue.places()
    return [name for name in pack_names(repository.state) if name not in places]


def _held_up(repository: Repository, settled: Collection[str] | None) -> set[int]:
    """Keys of what lies outside the settled packs, and of what is leant on there."""
    if settled is None:
        return set()
    places = [row[0] for name, row in repository.catalogue.places().items() if name not in settled]
    keys: set[int] = set()
    for place in places:
        for _, row in repository.catalogue.objects_in(place):
            if row.kind in _CONTENTS:
                keys.add(row.key)
                if row.base is not None:
                    keys.add(row.base)
    return keys


def _recipes(repository: Repository) -> Iterator[tuple[ContentId, list[ContentId]]]:
    """Every large content that is here, and its pieces."""
    for id, _ in repository.catalogue.of_kind(RecordKind.RECIPE):
        content = ContentId(id)
        yield content, [piece for piece, _ in repository.reader.recipe(content) or ()]
