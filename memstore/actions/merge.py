"""merge: one version from several heads. It moves no HEAD and touches no file of `Data/`.

A merge by the rules is a function of its parents alone (docs/merging.md): two parents sorted by id, more heads
folded in the order of time and id; the time is the later parent's and a millisecond more. Its base is the nearest
common version; where there are several (criss-cross), these are merged by the same rules first, in memory.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

from memstore import merging
from memstore.actions.record import log_archived
from memstore.errors import Conflict, DamagedData
from memstore.ids import ContentId, ManifestId, VersionId
from memstore.manifest import history
from memstore.manifest.removed import in_force, later_form
from memstore.manifest.version import Change, ChangeKind, Entry, Kind, Meta, archive_name_with
from memstore.merging import ancestry, paths
from memstore.merging.content import LARGEST_COPY
from memstore.merging.paths import Clash, LastChange, Manifest, Merged, Prefer, Sides
from memstore.objects import encoding
from memstore.objects.encoding import Base
from memstore.objects.record import RecordKind
from memstore.objects.tombstone import FORGOTTEN

if TYPE_CHECKING:
    from memstore.repository import Repository
    from memstore.writer import Writer

DEEPEST: Final = 16
"""Levels of nearest common versions that have several themselves; below, the newest of them is the base."""
ON_CONFLICT: Final = ("keep-both", "ours", "theirs", "fail")


class Joined(NamedTuple):
    """What came of several heads."""

    version: VersionId
    """It descends from all of them."""
    combined: tuple[str, ...] = ()
    """Paths that hold the changes of several sides."""
    clashes: tuple[Clash, ...] = ()
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def merge(
    repository: Repository,
    writer: Writer,
    heads: Sequence[VersionId],
    *,
    ours: VersionId | None = None,
    on_conflict: str = "keep-both",
) -> Joined:
    """Make the version that unites the heads, durable when this returns; none is made where one of them is it.

    `on_conflict` is one of `ON_CONFLICT`; `ours` and `theirs` take a side where the rules would keep both, and
    need to know which head is `ours`. Raises `Conflict` for `fail`, before anything is recorded, and
    `DamagedData` where a content that a merge needs can't be read: it is never merged without it.
    """
    left = ancestry.newest(repository.catalogue, heads)
    maker = _Maker(repository, writer)
    prefer = Prefer.BOTH
    if on_conflict in ("ours", "theirs") and ours in left and len(left) > 1:
        prefer = Prefer.FIRST if on_conflict == "ours" else Prefer.SECOND
        left.remove(ours)
    joined = Joined(left[0])
    for head in left[1:]:
        joined = maker.with_head(joined, head, refuse=on_conflict == "fail")
    if prefer != Prefer.BOTH:
        assert ours is not None
        joined = maker.preferring(ours, joined, prefer)
    return joined


class _Node(NamedTuple):
    """A version, or several merged in memory."""

    tips: tuple[VersionId, ...]
    entries: Manifest


class _Maker:
    def __init__(self, repository: Repository, writer: Writer) -> None:
        self.repository, self.writer = repository, writer
        self.catalogue = repository.catalogue
        self.contents: dict[ContentId, bytes] = {}
        """What no version holds yet, and perhaps never will: merged contents of common versions."""
        self.removed = in_force(repository.catalogue, repository.reader)
        self.nodes: dict[tuple[VersionId, ...], _Node] = {}

    # -- versions ------------------------------------------------------------------------------------------

    def with_head(self, joined: Joined, head: VersionId, *, refuse: bool) -> Joined:
        """The merge by the rules of what came before with one more head."""
        first, second = sorted((joined.version, head))
        one, two = self._node(first), self._node(second)
        base = self._base(one, two)
        merged = self._merged(base, one, two, Prefer.BOTH)
        if refuse and merged.clashes:
            raise _refused(merged.clashes)
        time_ms = max(self._time(first), self._time(second)) + 1
        version = self._recorded((first, second), base, one.entries, merged, time_ms, by_rules=True)
        return _and(joined, version, merged, self._later_forms(base, one, two, merged))

    def preferring(self, ours: VersionId, joined: Joined, prefer: Prefer) -> Joined:
        """Ours with the others, whose side is taken where they exclude one another: a version of this device,
        unless they don't."""
        one, two = self._node(ours), self._node(joined.version)
        base = self._base(one, two)
        merged = self._merged(base, one, two, prefer)
        if not merged.clashes:
            return self.with_head(joined, ours, refuse=False)
        time_ms = self.writer.time_of_next((ours, joined.version))
        version = self._recorded(
            (ours, joined.version), base, one.entries, merged, time_ms, by_rules=False, word=prefer.value
        )
        return _and(joined, version, merged, self._later_forms(base, one, two, merged))

    def _later_forms(self, base: Manifest, one: _Node, two: _Node, merged: Merged) -> list[str]:
        """A warning for each path that both sides changed from a content that was forgotten, one of them by deleting
        it as a rule, and that has a content all the same. Where only one did, that may be whoever forgot it."""
        told = {id for id, stone in self.removed.items() if stone.why == FORGOTTEN}
        if not told:
            return []
        return [
            later_form(path)
            for path, was in base.items()
            if was.content in told
            and (now := merged.entries.get(path)) is not None
            and now.content not in told
            and not any(_same(node.entries.get(path), was) for node in (one, two))
        ]

    def _recorded(
        self,
        parents: tuple[VersionId, VersionId],
        base: Manifest,
        first: Manifest,
        merged: Merged,
        time_ms: int,
        *,
        by_rules: bool,
        word: str = "",
    ) -> VersionId:
        self.contents |= merged.contents
        entries = merged.entries
        for path, entry in entries.items():  # of a million files there is not one more table
            old = first.get(path)
            if old is not None and old is not entry and _same(old, entry):
                entries[path] = old
        changes = [
            self._change(path, base, first, entries, time_ms) for path in sorted(_differing(first, entries))
        ]
        for path, entry in entries.items():
            if entry.content in merged.contents:
                self._store(entry.content, merged.contents[entry.content], first.get(path))
        hasher = ManifestId.hasher()
        for row in history.canonical(
            (e.path, int(e.kind), e.size, bytes(e.content), e.modified_ms) for e in _ordered(entries)
        ):
            hasher.update(row)
        manifest = ManifestId(hasher.digest())
        version = self.writer.add_merge(
            parents,
            changes,
            time_ms=time_ms,
            manifest=manifest,
            meta=Meta(actor=merging.DEVICE)
            if by_rules
            else Meta(reason=f"merged; where both sides changed, {word}"),
            rules=merging.RULES if by_rules else 0,
        )
        log_archived(self.repository, version)
        return version.id

    def _change(self, path: str, base: Manifest, first: Manifest, entries: Manifest, time_ms: int) -> Change:
        """How a path differs from the first parent. What that parent had gets an archive reference if it was its
        own: what the base had got one, or none, from the version that replaced it."""
        old, new = first.get(path), entries.get(path)
        if old is None:
            return Change(path, ChangeKind.ADD, new)
        kind = ChangeKind.DELETE if new is None else ChangeKind.REPLACE
        if new is not None and self._extends(new, old):
            return Change(path, ChangeKind.APPEND, new)
        before = base.get(path)
        own = before is None or before.content != old.content
        return Change(path, kind, new, archive_name_with(path, time_ms, old.content) if own else None)

    def _extends(self, new: Entry, old: Entry) -> bool:
        if new.kind != old.kind or new.kind == Kind.SYMLINK or not old.size <= new.size <= LARGEST_COPY:
            return False
        data = self._read(new.content)
        return data is not None and ContentId.of(memoryview(data)[: old.size]) == old.content

    def _store(self, content: ContentId, data: bytes, like: Entry | None) -> None:
        if not self.writer.has(content):
            encoded = encoding.encode(data, None if like is None else self._as_base(like.content))
            self.writer.add(RecordKind.CONTENT, content, len(data), encoded)

    def _as_base(self, content: ContentId) -> Base | None:
        for location in self.catalogue.locations(content)[:1]:
            if location.kind == RecordKind.CONTENT:
                return Base(content[:8], self.repository.read(content), location.rank, location.cost)
        return None

    # -- manifests -----------------------------------------------------------------------------------------

    def _merged(self, base: Manifest, one: _Node, two: _Node, prefer: Prefer) -> Merged:
        _, only_one, only_two = ancestry.nearest_common(self.catalogue, one.tips, two.tips)
        changes = _Changes(self, one, only_one), _Changes(self, two, only_two)
        sides = Sides(self._read, lambda side, path: changes[side].last(path))
        return paths.merge(base, one.entries, two.entries, sides, prefer)

    def _base(self, one: _Node, two: _Node, depth: int = 0) -> Manifest:
        """What both sides had."""
        common, _, _ = ancestry.nearest_common(self.catalogue, one.tips, two.tips)
        if not common:
            return {}
        if depth >= DEEPEST:
            return self._node(common[-1]).entries
        node = self._node(common[0])
        for version in common[1:]:
            node = self._united(node, self._node(version), depth + 1)
        return node.entries

    def _united(self, one: _Node, two: _Node, depth: int) -> _Node:
        """Both merged in memory, as they would be in a version."""
        tips = (*one.tips, *two.tips)
        if tips not in self.nodes:
            if len(tips) == 2 and tips[1] < tips[0]:
                one, two = two, one
            merged = self._merged(self._base(one, two, depth), one, two, Prefer.BOTH)
            self.contents |= merged.contents
            self.nodes[tips] = _Node(tips, merged.entries)
        return self.nodes[tips]

    def _node(self, version: VersionId) -> _Node:
        if (version,) not in self.nodes:
            # Sides of a merge have nearly everything in common: what is equal is kept once.
            known = next(iter(self.nodes.values())).entries if self.nodes else {}
            entries: dict[str, Entry] = {}
            for entry in self.repository.entries(version):
                same = known.get(entry.path)
                kept = same if same is not None and same == entry else entry
                entries[kept.path] = kept
            self.nodes[version,] = _Node((version,), entries)
        return self.nodes[version,]

    def _read(self, content: ContentId) -> bytes | None:
        """None for what a tombstone says was removed, whether it is still here or not: every device that has
        these heads has the tombstone, and must merge alike."""
        data = self.contents.get(content)
        if data is not None:
            return data
        if content in self.removed:
            return None
        try:
            return self.repository.read(content)
        except DamagedData as error:
            raise DamagedData(
                f"the merge needs a content that cannot be read: {error.message}",
                hint=error.hint or "run 'memsync verify'",
            ) from error

    def _time(self, version: VersionId) -> int:
        return _facts(self.repository, version)[0]


class _Changes:
    """Who changed a path last, on one side of a merge."""

    def __init__(self, maker: _Maker, node: _Node, only: set[int]) -> None:
        self._maker, self._node, self._only = maker, node, only

    def last(self, path: str) -> LastChange:
        """Of the versions that only this side has, merges by the rules left out: they only pass changes on. Where
        none of them changed the path, the side's newest version."""
        catalogue = self._maker.catalogue
        rows = catalogue.db.execute(
            "SELECT seq FROM paths JOIN changes USING (path) WHERE name = ?", (path,)
        ).fetchall()
        changed = [history.version_of(catalogue, seq, under=path) for (seq,) in rows if seq in self._only]
        found = [
            LastChange(version.time_ms, version.id, version.device)
            for version in changed
            if version.device_id != merging.DEVICE_ID
        ]
        if not found:
            for tip in self._node.tips:
                time_ms, device = _facts(self._maker.repository, tip)
                found.append(LastChange(time_ms, tip, device))
        return max(found)


def _facts(repository: Repository, version: VersionId) -> tuple[int, str]:
    facts = history.version_of(repository.catalogue, repository.seq(version))
    return facts.time_ms, facts.device


def _and(joined: Joined, version: VersionId, merged: Merged, warnings: Sequence[str]) -> Joined:
    return Joined(
        version,
        tuple(sorted({*joined.combined, *merged.combined})),
        (*joined.clashes, *merged.clashes),
        (*joined.notes, *merged.notes),
        (*joined.warnings, *warnings),
    )


def _same(one: Entry | None, two: Entry) -> bool:
    return one is not None and (one.content, one.kind) == (two.content, two.kind)


def _differing(first: Manifest, entries: Manifest) -> set[str]:
    return {path for path, entry in entries.items() if first.get(path) is not entry} | (
        first.keys() - entries.keys()
    )


def _ordered(entries: Manifest) -> Iterator[Entry]:
    return (entries[path] for path in sorted(entries))


def _refused(clashes: Sequence[Clash]) -> Conflict:
    some = ", ".join(clash.path for clash in clashes[:3]) + (" …" if len(clashes) > 3 else "")
    refused = Conflict(
        f"both sides changed {some} in ways that exclude one another; nothing was merged, everything is safe here",
        hint="'memsync pull' keeps both sides; '--on-conflict ours' or 'theirs' takes one",
    )
    refused.paths = tuple(clash.path for clash in clashes)
    return refused
