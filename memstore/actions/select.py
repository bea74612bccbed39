"""From what a person writes to what is meant: versions by id or time, paths and references in them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import date
from typing import TYPE_CHECKING, NamedTuple

from memstore.errors import BadInput, DamagedData, typed
from memstore.ids import VersionId
from memstore.manifest import references
from memstore.manifest.version import Entry, Version
from memstore.reports import counted

if TYPE_CHECKING:
    from memstore.repository import Repository

At = Version | VersionId | date | str


class Chosen(NamedTuple):
    """A file of history: where it belongs, what it held, and the version that is taken as its source."""

    path: str
    entry: Entry
    source: VersionId


def version_id(repository: Repository, at: At, *, head: VersionId | None = None) -> VersionId:
    """The version that `at` names; with `head`, that one stands for HEAD. Raises `BadInput`."""
    from memstore.times import looks_like_id, parse_time, steps_back

    if isinstance(at, Version):
        return at.id
    if isinstance(at, VersionId):
        repository.seq(at)
        return at
    if isinstance(at, date):  # a datetime is one, too
        at = at.isoformat()
    name, back = steps_back(at)
    if name.upper() == "HEAD":
        return _before(repository, head or head_or_refuse(repository), back)
    if looks_like_id(name):
        return _before(repository, repository.version_by_prefix(name), back)
    try:
        moment = parse_time(at, now_ms=time.time_ns() // 1_000_000, end=True)
    except BadInput as error:
        raise BadInput(
            f"neither a version nor a time: {at!r}",
            hint="an id is 8 or more digits that 'memsync log' shows; HEAD~1 is the version before the last; "
            + error.hint,
        ) from error
    return repository.version_at(moment)


def counts_from_head(at: str) -> bool:
    """Whether `at` is HEAD, or so many versions before it."""
    from memstore.times import steps_back

    return steps_back(at)[0].upper() == "HEAD"


def _before(repository: Repository, version: VersionId, back: int) -> VersionId:
    """The version so many steps before, from each to its first parent."""
    seq = repository.seq(version)
    for step in range(back):
        (parent,) = repository.catalogue.db.execute(
            "SELECT parent FROM versions WHERE seq = ?", (seq,)
        ).fetchone()
        if parent is None:
            raise BadInput(
                f"history goes back {counted(step, 'version')} from {str(version)[:12]}, not {back:,}",
                hint="'memsync log' lists the versions",
            )
        seq = parent
    return repository.catalogue.version_id(seq)


def head_or_refuse(repository: Repository) -> VersionId:
    head = repository.head()
    if head is None:
        raise BadInput("there is no version yet", hint="'memsync commit' makes the first one")
    return head


def files_at(repository: Repository, path: str, at: At | None) -> Iterator[Chosen]:
    """The file, the folder's files ('' for all) or the reference that `path` names, in the version meant.

    Without `at`: HEAD's, or, for what HEAD has no longer, the last content it had. Raises `BadInput`.
    """
    reference = one_reference(repository, path)
    if reference is not None:
        yield reference
        return
    path = path.rstrip("/")
    version = head_or_refuse(repository) if at is None else version_id(repository, at)
    found = False
    for entry in repository.entries(version, path):
        found = True
        yield Chosen(entry.path, entry, version)
    if found:
        return
    if at is None:
        yield from _last_contents(repository, path)
        return
    if not path:
        return
    raise not_found(
        repository,
        path,
        BadInput(
            f"{path} is not in version {str(version)[:12]}",
            hint=f"'memsync log {typed(path)}' shows which versions have it; "
            f"'memsync ls {str(version)[:12]}' what this one has",
        ),
    )


def require_known(repository: Repository, path: str, version: VersionId, entry: Entry) -> None:
    """Raises `DamagedData` if a version that is lost for good stands between the one asked for and the one that
    gave the path this entry: it may have changed it, and then this would be another content than was asked for.

    Where HEAD is asked for and `Data/` holds the same, a later commit has compared the two.
    """
    lost = repository.lost_before(version, path)
    if lost is None:
        return
    if version == repository.head():
        from memstore.actions.here import content_at

        here = content_at(repository, path)
        if here is not None and here.content == entry.content:
            return
    raise DamagedData(
        f"what {path} held in version {str(version)[:12]} is not known: version {str(lost)[:12]}, before it, is lost",
        hint=f"'memsync repair' may bring it back; 'memsync log {typed(path)}' shows versions whose content is known",
    )


def one_reference(repository: Repository, name: str) -> Chosen | None:
    """The archive reference of that name; None if there is none. Raises `BadInput` if two contents have it."""
    found = references.find(repository.catalogue, name)
    if not found:
        return None
    if len(found) > 1:
        ids = ", ".join(str(reference.version)[:12] for reference in found)
        raise BadInput(
            f"{name} names several contents, recorded by versions {ids}",
            hint=f"restore the one you mean: memsync restore {typed(found[0].path)} --at ID, with the version before "
            "it",
        )
    reference = found[0]
    seq = repository.seq(reference.version)
    parent = repository.catalogue.db.execute("SELECT parent FROM versions WHERE seq = ?", (seq,)).fetchone()[
        0
    ]
    before = repository.catalogue.version_id(parent)
    require_known(repository, reference.path, before, reference.entry)
    return Chosen(reference.path, reference.entry, before)


def _last_contents(repository: Repository, path: str) -> Iterator[Chosen]:
    """For a file that HEAD has no longer: what it held last. For a folder: each file as of the version before
    the last one that took something away from it."""
    catalogue = repository.catalogue
    row = catalogue.db.execute(
        "SELECT seq, parent FROM changes JOIN paths USING (path) JOIN versions USING (seq) "
        "WHERE (? = '' OR name = ? OR (name >= ? AND name < ?)) AND gone "
        "ORDER BY time DESC, generation DESC LIMIT 1",
        (path, path, path + "/", path + "0"),
    ).fetchone()
    if row is not None and row[1] is not None:
        source = catalogue.version_id(row[1])
        found = [Chosen(entry.path, entry, source) for entry in repository.entries(source, path)]
        if found:
            yield from found
            return
    raise not_found(
        repository,
        path,
        BadInput(
            f"{path or '.'} is in no version",
            hint="'memsync ls' shows what the last version holds, 'memsync log' what changed",
        ),
    )


def not_found(repository: Repository, path: str, error: BadInput) -> BadInput:
    """The error for a path that was looked for in history in vain: another one where the file is in `Data/` only."""
    if not path or known(repository, path):
        return error
    from memstore.actions.refused import never_committed  # seldom needed

    return never_committed(repository, path) or error


def known(repository: Repository, path: str) -> bool:
    """Whether HEAD has the path, as a file or a folder, or history has it as a reference or a file once."""
    catalogue = repository.catalogue
    if next(iter(catalogue.tree(path)), None) is not None:
        return True
    if references.find(catalogue, path):
        return True
    return (
        catalogue.db.execute(
            "SELECT 1 FROM paths WHERE name = ? OR (name >= ? AND name < ?) LIMIT 1",
            (path, path + "/", path + "0"),
        ).fetchone()
        is not None
    )
