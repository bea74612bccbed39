"""The files of a version, and the archive references."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from memstore.actions import select
from memstore.actions.select import At
from memstore.errors import BadInput
from memstore.ids import ContentId
from memstore.manifest import references
from memstore.manifest.version import Entry
from memstore.reports.looking import ListedFile

if TYPE_CHECKING:
    from memstore.repository import Repository


def listing(repository: Repository, path: str = "", at: At | None = None) -> Iterator[ListedFile]:
    """A version's files under a folder; the archive references instead or beside them, where `path` is
    `Archive` or below it. Raises `BadInput` for a path that is neither."""
    path = path.rstrip("/")
    rows: list[ListedFile] = []
    any_files = False
    if at is not None or repository.head() is not None:
        version = select.head_or_refuse(repository) if at is None else select.version_id(repository, at)
        for entry in repository.entries(version, path):
            any_files = True
            if (path + "/").startswith(references.FOLDER):
                rows.append(_listed(entry))
            else:
                yield _listed(entry)
    if (path + "/").startswith(references.FOLDER):
        rows += _references(repository, path)
        yield from sorted(rows, key=lambda row: row.path)
        if rows or path + "/" == references.FOLDER:
            return
    if path and not any_files:
        raise select.not_found(
            repository,
            path,
            BadInput(
                f"{path} is not in that version",
                hint="'memsync ls' without a path shows everything it holds",
            ),
        )


def _listed(entry: Entry) -> ListedFile:
    return ListedFile(entry.path, entry.kind.name.lower(), entry.size, entry.content, entry.modified_ms)


def _references(repository: Repository, folder: str) -> Iterator[ListedFile]:
    """Each name once for each content that it stands for, and whether that content is still here."""
    told: dict[tuple[str, ContentId], references.Reference] = {}
    for reference in references.under(repository.catalogue, folder):
        told[reference.name, reference.entry.content] = reference
    for reference in told.values():
        stone = repository.reader.removed(reference.entry.content)
        yield _listed_reference(reference, None if stone is None else stone.why)


def _listed_reference(reference: references.Reference, why_removed: str | None) -> ListedFile:
    entry = reference.entry
    return ListedFile(
        reference.name,
        "archived",
        entry.size,
        entry.content,
        entry.modified_ms,
        reference.path,
        reference.version,
        why_removed,
    )
