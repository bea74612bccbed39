"""Contents that no record here holds any more: looked for among the files of `Data/`."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

from memstore.errors import BadInput, DamagedData, DiskTrouble
from memstore.gather import Gathering
from memstore.ids import ContentId
from memstore.manifest import history, removed
from memstore.manifest.version import Change, Kind
from memstore.manifest.version_format import decode
from memstore.objects import chunker, encoding
from memstore.objects.record import PIECE_LIMIT, RecordKind
from memstore.worktree import found, materialise, names, reading
from memstore.worktree.ignore import Ignore
from memstore.worktree.scan import scan

if TYPE_CHECKING:
    from memstore.repository import Repository
    from memstore.writer import Writer


class Search:
    """What is wanted, and where it was found."""

    def __init__(self, repository: Repository, gathering: Gathering) -> None:
        self._repository = repository
        self._gathering = gathering
        self._files: dict[ContentId, str] = {}
        """Contents that a file of `Data/` has, by their path there."""

    def in_data(self) -> dict[ContentId, str]:
        """Look for every content that some version names and that can't be read from any record."""
        wanted = self._wanted()
        if not wanted:
            return {}
        for id, rows in wanted.items():
            for path, _, _ in rows:
                if self._try(id, path):
                    break
        missing = {id for id in wanted if id not in self._files}
        if missing:  # a file that was renamed since
            sizes = {size for id in missing for _, _, size in wanted[id]}
            for path in self._paths_of_size(sizes):
                content = self._content_at(path)
                if content in missing:
                    self._found(content, path)
        return self._files

    def write(self, writer: Writer) -> list[ContentId]:
        """Append what was found, as a commit would; the contents."""
        done = []
        for id, path in self._files.items():
            if self._is_proven(id):
                continue  # a delta that it is the base of, or its own record, came back with it
            try:
                self._store(writer, id, path)
            except (DiskTrouble, FileNotFoundError):
                continue  # changed since; `verify` names it
            done.append(id)
        return done

    # -- inside --------------------------------------------------------------------------------------------

    def _wanted(self) -> dict[ContentId, list[tuple[str, int, int]]]:
        """content → (path, kind, size) of what names it."""
        wanted: dict[ContentId, list[tuple[str, int, int]]] = {}
        repository = self._repository
        good: set[ContentId] = {*removed.in_force(repository.catalogue, repository.reader, lenient=True)}
        for path, kind, size, id in dict.fromkeys(self._named()):
            if id in good:
                continue
            if id in wanted or not self._readable(id):
                wanted.setdefault(id, []).append((path, kind, size))
            else:
                good.add(id)
        return wanted

    def _named(self) -> Iterator[tuple[str, int, int, ContentId]]:
        """(path, kind, size, content) of what HEAD has, then of what versions brought, the newest first: those
        whose records can be read, and those that are proven."""
        catalogue = self._repository.catalogue
        for path, kind, size, content, *_ in list(catalogue.tree()):
            yield path, kind, size, ContentId(content)
        for (seq,) in catalogue.db.execute("SELECT seq FROM versions ORDER BY seq DESC").fetchall():
            try:
                changes = list(history.changes_of(catalogue, seq))
            except DamagedData:
                continue
            yield from _contents(changes)
        for record in self._gathering.versions.values():
            yield from _contents(decode(record).changes)

    def _readable(self, id: ContentId) -> bool:
        """Whether the store has it or, with what is proven, will."""
        try:
            for _ in self._repository.reader.stream(id):
                pass
        except (DamagedData, FileNotFoundError):
            return self._is_proven(id)
        return True

    def _is_proven(self, id: ContentId) -> bool:
        objects = self._gathering.objects
        return any((int(kind), id) in objects for kind in (RecordKind.CONTENT, RecordKind.RECIPE))

    def _try(self, id: ContentId, path: str) -> bool:
        if self._content_at(path) != id:
            return False
        self._found(id, path)
        return True

    def _found(self, id: ContentId, path: str) -> None:
        self._files[id] = path
        self._gathering.add_found(id, self._reader_of(path))

    def _reader_of(self, path: str) -> Callable[[], bytes | None]:
        def read() -> bytes | None:
            try:
                return self._read(path)
            except (DiskTrouble, FileNotFoundError):
                return None  # changed since, or too large to be one record

        return read

    def _read(self, path: str) -> bytes:
        place = os.path.join(self._repository.workspace.data, path)
        item = found.look(self._repository.workspace.data, path)
        if item is not None and item.kind == Kind.SYMLINK:
            return reading.read_link(place)[0]
        return reading.read_small(place)[0]

    def _content_at(self, path: str) -> ContentId | None:
        from memstore.actions.here import content_at

        try:
            names.check_path(path)
            here = content_at(self._repository, path)
        except (BadInput, DiskTrouble, OSError):
            return None
        return None if here is None else here.content

    def _paths_of_size(self, sizes: set[int]) -> Iterable[str]:
        data = self._repository.workspace.data
        if not os.path.isdir(data):
            return
        for item in scan(data, Ignore.load(data), None).files:
            if item.size in sizes and materialise.is_real_path(data, item.path.rpartition("/")[0]):
                yield item.path

    def _store(self, writer: Writer, id: ContentId, path: str) -> None:
        place = os.path.join(self._repository.workspace.data, path)
        item = found.look(self._repository.workspace.data, path)
        if item is None or item.kind == Kind.SYMLINK or item.size <= PIECE_LIMIT:
            raw = self._read(path)
            if ContentId.of(raw) == id:
                writer.add(RecordKind.CONTENT, id, len(raw), encoding.encode(raw))
            return
        with reading.StableFile(place) as file:
            pieces: list[tuple[ContentId, int]] = []
            for piece_id, piece in chunker.pieces(file.read_at, file.size):
                pieces.append((piece_id, len(piece)))
                if self._gathering.plain(piece_id) is None:
                    writer.add(RecordKind.CONTENT, piece_id, len(piece), encoding.encode(piece))
            if not file.changed():
                writer.add_recipe(id, pieces)


def _contents(changes: Iterable[Change]) -> Iterator[tuple[str, int, int, ContentId]]:
    for change in changes:
        if change.entry is not None:
            path, kind, size, content, _ = change.entry
            yield path, kind, size, content
