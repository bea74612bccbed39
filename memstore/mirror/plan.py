"""What should lie in the mirror, and what that asks for: HEAD's manifest against what memsync put there.

The plan asks nothing of the remote; it is made from the catalogue alone. `apply` looks at each file before
it touches it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from enum import Enum
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgpack

from memstore.ids import ContentId, VersionId
from memstore.manifest.removed import is_forgotten
from memstore.manifest.version import Entry, Kind
from memstore.mirror.departure import departure, named
from memstore.objects.catalogue import as_content
from memstore.objects.reader import Removed
from memstore.worktree.names import problem

if TYPE_CHECKING:
    from memstore.config import Config
    from memstore.repository import Repository

INTENDED: Final = "intended"
"""The state of a row of the catalogue's mirror table whose file was not seen to arrive."""
KNOWN: Final = "mirror known"
"""A fact of the catalogue: of which mirror its table tells."""
BATCH: Final = 100
"""Steps that are looked at together on the remote."""
_MEANINGFUL_LIMIT: Final = 1 << 20
"""Bytes up to which two texts are compared for a meaningful difference."""


class Work(Enum):
    """What a path of the mirror needs."""

    CREATE = "create"
    """Nothing of ours lies there."""
    UPDATE = "update"
    """New bytes in place: an append, or a file too large to keep beside it."""
    REPLACE = "replace"
    """The old file moves to its archive name, the new content becomes a new file."""
    RETIRE = "retire"
    """The path is gone from `Data/`: the file moves to its archive name."""
    ERASE = "erase"
    """What lies there was forgotten: it goes for ever, and what the path is to hold, if anything, is a new file."""


class Mirrored(NamedTuple):
    """What memsync put at a path of the mirror."""

    path: str
    content: ContentId
    size: int
    handle: str
    stamp: str


class Step(NamedTuple):
    work: Work
    path: str
    entry: Entry | None
    """What the path is to hold; None for RETIRE, and for ERASE where it is to hold nothing."""
    mirrored: Mirrored | None
    """What memsync put there; None for CREATE."""
    archive_as: str | None = None
    """Where the old file moves to."""
    archive_content: ContentId | None = None
    """What the archive reference of that name holds: mostly the mirrored content, sometimes a later append."""


class Plan:
    """Steps that are still to be done, in batches. They are kept packed: there may be a million, and what HEAD holds
    may change while they are done."""

    def __init__(self, steps: Iterable[Step]) -> None:
        self._batches: list[bytes] = []
        self._count = 0
        rest = iter(steps)
        while some := list(islice(rest, BATCH)):
            self._batches.append(
                msgpack.packb([_packed(step) for step in some], unicode_errors="surrogatepass")
            )
            self._count += len(some)

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[list[Step]]:
        for batch in self._batches:
            yield [_unpacked(row) for row in msgpack.unpackb(batch, unicode_errors="surrogatepass")]


def _packed(step: Step) -> tuple[Any, ...]:
    entry, mirrored = step.entry, step.mirrored
    return (
        step.work.value,
        step.path,
        None if entry is None else entry[1:],
        None if mirrored is None else mirrored[1:],
        step.archive_as,
        step.archive_content,
    )


def _unpacked(row: Sequence[Any]) -> Step:
    work, path, entry, mirrored, archive_as, archive_content = row
    if entry is not None:
        kind, size, content, modified = entry
        entry = Entry(path, Kind(kind), size, ContentId(content), modified)
    if mirrored is not None:
        content, *rest = mirrored
        mirrored = Mirrored(path, ContentId(content), *rest)
    archived = None if archive_content is None else ContentId(archive_content)
    return Step(Work(work), path, entry, mirrored, archive_as, archived)


class Selection:
    """Which files are mirrored: `mirror.include`, `mirror.exclude`, `mirror.max_file_size`."""

    def __init__(self, config: Config) -> None:
        self._limit = config.mirror_max_file_size
        self.everything = config.mirror_include == ("**",) and not config.mirror_exclude
        """No pattern keeps anything out."""
        self.key = json.dumps(
            [config.mirror_include, config.mirror_exclude, self._limit, config.mirror_meaningful]
        )
        """Changes when the choice does."""
        if not self.everything:
            from pathspec import GitIgnoreSpec

            self._include = GitIgnoreSpec.from_lines(config.mirror_include)
            self._exclude = GitIgnoreSpec.from_lines(config.mirror_exclude)

    def too_large(self, entry: Entry) -> bool:
        return self._named(entry.path) and entry.kind != Kind.SYMLINK and entry.size > self._limit

    def takes(self, entry: Entry) -> bool:
        return entry.kind != Kind.SYMLINK and entry.size <= self._limit and self._named(entry.path)

    def _named(self, path: str) -> bool:
        if self.everything:
            return True
        return self._include.match_file(path) and not self._exclude.match_file(path)


def is_current(repository: Repository, mirrored: str | None) -> bool:
    """Whether the mirror was finished for this HEAD and this choice of files."""
    return mirrored is not None and mirrored == current_key(repository)


def current_key(repository: Repository) -> str:
    return f"{repository.head()} {Selection(repository.workspace.config).key}"


def waiting(repository: Repository, mirrored: str | None) -> int:
    """How many files wait for a push, as far as is known here: after one that was stopped, or did some only."""
    if is_current(repository, mirrored) or not repository.catalogue.fact(KNOWN):
        return 0
    return sum(1 for _ in steps(repository))


def no_path(path: str) -> str | None:
    """Why no mirror whatever can hold a file of that path, as half a sentence."""
    return problem(path, windows=False)


Refuses = Callable[[str], str | None]
"""As `MirrorTarget.refuses`."""


def steps(
    repository: Repository, only: Sequence[str] | None = None, refuses: Refuses = no_path
) -> Iterator[Step]:
    """What the mirror needs; of `only` these paths or folders, where given. What is gone from `Data/` comes
    first: a new folder may need the name of an old file, or the other way round. A path that the mirror refuses
    needs nothing: see `nameless`."""
    config = repository.workspace.config
    selection = Selection(config)
    # Whoever changes the mirror meanwhile takes these into a `Plan` first.
    gone = repository.catalogue.db.execute(
        "SELECT mirror.path, mirror.content, mirror.size, coalesce(handle, mirror.path), stamp FROM mirror "
        "LEFT JOIN tree USING (path) WHERE tree.path IS NULL AND state IN ('', ?) ORDER BY mirror.path",
        (INTENDED,),
    )
    for row in gone:
        if wanted(row[0], only) and refuses(row[0]) is None:
            yield _retire(repository, Mirrored(row[0], as_content(row[1:]), *row[2:]))
    rows = repository.catalogue.db.execute(
        "SELECT tree.path, tree.kind, tree.size, tree.content, tree.modified, "
        "mirror.content, mirror.size, coalesce(mirror.handle, mirror.path), mirror.stamp "
        "FROM tree LEFT JOIN mirror ON mirror.path = tree.path AND mirror.state <> ? "
        "WHERE mirror.path IS NULL OR mirror.content <> tree.content OR tree.size > ? OR ? "
        "ORDER BY tree.path",
        (INTENDED, config.mirror_max_file_size, not selection.everything),
    )
    for path, kind, size, content, modified, old_content, old_size, handle, stamp in rows:
        if not wanted(path, only) or refuses(path) is not None:
            continue
        entry = Entry(path, Kind(kind), size, ContentId(content), modified)
        mirrored = None
        if old_content is not None:
            mirrored = Mirrored(path, ContentId(old_content), old_size, handle, stamp)
        if not selection.takes(entry) or _is_forgotten(repository, entry.content):
            if mirrored is not None:
                yield _retire(repository, mirrored)
            continue
        if mirrored is None:
            yield Step(Work.CREATE, path, entry, None)
        elif mirrored.content != entry.content and _is_meaningful(repository, mirrored, entry):
            yield _changed(repository, entry, mirrored)


def renewed(repository: Repository, step: Step, mirrored: Mirrored) -> Step | None:
    """The step again, now that `mirrored` is known to lie there; None if nothing is left to do."""
    if step.entry is None or step.work == Work.RETIRE:
        return _retire(repository, mirrored)
    if mirrored.content == step.entry.content or not _is_meaningful(repository, mirrored, step.entry):
        return None
    return _changed(repository, step.entry, mirrored)


def finished_version(repository: Repository, mirrored: str | None) -> VersionId | None:
    """The version whose mirror was finished last, if it was for the same choice of files."""
    head, _, key = (mirrored or "").partition(" ")
    if key != Selection(repository.workspace.config).key:
        return None
    try:
        id = VersionId.from_hex(head)
    except ValueError:
        return None
    return id if repository.catalogue.seq(id) is not None else None


def too_large(repository: Repository, only: Sequence[str] | None = None) -> list[str]:
    """Paths of HEAD that only their size keeps out of the mirror."""
    selection = Selection(repository.workspace.config)
    rows = repository.catalogue.db.execute(
        "SELECT path, kind, size, content, modified FROM tree WHERE size > ? ORDER BY path",
        (repository.workspace.config.mirror_max_file_size,),
    )
    return [
        row[0]
        for row in rows
        if wanted(row[0], only)
        and selection.too_large(Entry(row[0], Kind(row[1]), row[2], ContentId(row[3]), row[4]))
    ]


def nameless(
    repository: Repository, refuses: Refuses, only: Sequence[str] | None = None
) -> list[tuple[str, str]]:
    """Paths of HEAD that only their name keeps out of the mirror, each with the reason."""
    selection = Selection(repository.workspace.config)
    rows = repository.catalogue.db.execute(
        "SELECT tree.path, tree.kind, tree.size, tree.content, tree.modified FROM tree LEFT JOIN mirror USING (path) "
        "WHERE mirror.path IS NULL ORDER BY tree.path"
    )
    return [
        (row[0], reason)
        for row in rows
        if wanted(row[0], only)
        and (reason := refuses(row[0])) is not None
        and selection.takes(Entry(row[0], Kind(row[1]), row[2], ContentId(row[3]), row[4]))
    ]


def wanted(path: str, only: Sequence[str] | None) -> bool:
    """Whether a path is one of `only`, or below one."""
    return only is None or any(not name or path == name or path.startswith(name + "/") for name in only)


def _is_forgotten(repository: Repository, content: ContentId) -> bool:
    return is_forgotten(repository.catalogue, repository.reader, content)


def _changed(repository: Repository, entry: Entry, mirrored: Mirrored) -> Step:
    if _is_forgotten(repository, mirrored.content):
        return Step(Work.ERASE, entry.path, entry, mirrored)
    if mirrored.size > repository.workspace.config.mirror_archive_max_size:
        return Step(Work.UPDATE, entry.path, entry, mirrored)
    left = departure(repository, entry.path, mirrored.content)
    if left is None:
        return Step(Work.UPDATE, entry.path, entry, mirrored)
    return Step(Work.REPLACE, entry.path, entry, mirrored, *left)


def _retire(repository: Repository, mirrored: Mirrored) -> Step:
    if _is_forgotten(repository, mirrored.content):
        return Step(Work.ERASE, mirrored.path, None, mirrored)
    left = departure(repository, mirrored.path, mirrored.content)
    if left is None:
        head = repository.head()
        time_ms = repository.version(head).time_ms if head is not None else 0
        left = named(repository, mirrored.path, time_ms, mirrored.content)
    return Step(Work.RETIRE, mirrored.path, None, mirrored, *left)


def _is_meaningful(repository: Repository, mirrored: Mirrored, entry: Entry) -> bool:
    """Whether the change is worth sending: other bytes, or with `mirror.meaningful = "text"` more than line
    ends, trailing blanks and a final newline."""
    if repository.workspace.config.mirror_meaningful != "text":
        return True
    if max(mirrored.size, entry.size) > _MEANINGFUL_LIMIT:
        return True
    try:
        return _essence(repository.read(mirrored.content)) != _essence(repository.read(entry.content))
    except Removed:
        return True


def _essence(data: bytes) -> list[bytes]:
    lines = [line.rstrip(b" \t\r") for line in data.replace(b"\r\n", b"\n").split(b"\n")]
    while lines and not lines[-1]:
        lines.pop()
    return lines
