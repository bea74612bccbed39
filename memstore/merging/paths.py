"""Merging three manifests, path by path.

`base` is what both sides had, `first` and `second` what they have now. Everything is told by the manifests, the
contents they name, and who changed a path last on each side; docs/merging.md has the table of what comes out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from enum import Enum
from typing import NamedTuple

from memstore.ids import ContentId, VersionId
from memstore.manifest.version import Entry, Kind
from memstore.merging import content, names, spelling

Manifest = Mapping[str, Entry]


class Prefer(Enum):
    """Whose content a path gets where the two can't be merged."""

    BOTH = "keep-both"
    """The later side's, the other lies beside it: the rules of docs/merging.md."""
    FIRST = "ours"
    SECOND = "theirs"


class LastChange(NamedTuple):
    """A side's last change to a path; the later of two is the greater."""

    time_ms: int
    version: VersionId
    device: str


class Clash(NamedTuple):
    """A path whose two sides could not be merged."""

    path: str
    kept_as: str | None
    """Where the other side lies; None: in history only."""
    why: str
    """Half a sentence."""


class Merged(NamedTuple):
    """What comes out."""

    entries: dict[str, Entry]
    contents: dict[ContentId, bytes]
    """Contents that no version had before."""
    combined: list[str]
    """Paths that hold both sides' changes, sorted."""
    clashes: list[Clash]
    notes: list[str]
    """A sentence for each thing a person may wonder about."""


class Sides(NamedTuple):
    """How the contents and the history of both sides are looked up."""

    read: Callable[[ContentId], bytes | None]
    """A whole content; None for one that was removed on purpose. Raises `DamagedData`."""
    last: Callable[[int, str], LastChange]
    """Of side 0 (`first`) or 1 (`second`), for a path that it changed or has."""


def merge(
    base: Manifest, first: Manifest, second: Manifest, sides: Sides, prefer: Prefer = Prefer.BOTH
) -> Merged:
    """One manifest from three. Raises what `sides.read` raises."""
    return _Merge(base, first, second, sides, prefer).run()


class _Merge:
    def __init__(
        self, base: Manifest, first: Manifest, second: Manifest, sides: Sides, prefer: Prefer
    ) -> None:
        self.base, self.sides, self.prefer = base, sides, prefer
        self.has = (first, second)
        self.before = (first, second)
        self._copies: tuple[dict[str, Entry], tuple[dict[str, Entry], dict[str, Entry]]] | None = None
        """`base` and `has` once they are ours to change: a million files are copied only if need be."""
        self.came_from: tuple[dict[str, str], dict[str, str]] = ({}, {})
        """By what path a side's history knows what it has at a path: other than it where a rename was followed."""
        self.done = Merged({}, {}, [], [], [])
        self.beside: list[tuple[str, Entry, LastChange, str]] = []
        """Losing sides that have no name yet: path, what it holds, whose it was, why."""

    def run(self) -> Merged:
        done = self.done
        self._unify_folders()
        sides, self._copies = self.has, None
        self._follow_renames(0)
        self._follow_renames(1)
        first, second = self.has
        for path in sorted([*first, *(path for path in second if path not in first)]):
            one, two = first.get(path), second.get(path)
            entry = one if _same(one, two) else self._decide(path, self.base.get(path), one, two)
            if entry is not None:
                done.entries[path] = entry
        self._keep_apart(sides)
        for path, entry, change, why in self.beside:
            place = self._place_beside(path, entry, change)
            done.entries.setdefault(place, entry._replace(path=place))
            done.clashes.append(Clash(path, place, why))
        done.clashes.sort()
        done.combined.sort()
        return done

    # -- one path ------------------------------------------------------------------------------------------

    def _decide(self, path: str, base: Entry | None, one: Entry | None, two: Entry | None) -> Entry | None:
        """What a path holds whose sides differ."""
        if _same(base, one):
            return two
        if _same(base, two):
            return one
        if one is None or two is None:
            self.done.notes.append(
                f"{path} was removed on one side and changed on the other: the change stays"
            )
            return one or two
        if Kind.SYMLINK in (one.kind, two.kind):
            return self._keep_both(path, one, two)
        if base is not None and base.kind == Kind.SYMLINK:
            base = None
        entry = self._content(path, base, one, two)
        if entry is None:
            return self._keep_both(path, one, two)
        return entry._replace(kind=_merged_kind(base, one, two))

    def _content(self, path: str, base: Entry | None, one: Entry, two: Entry) -> Entry | None:
        """Two regular files' content, where both changed something of it or of its kind; None: they exclude one
        another."""
        if one.content == two.content:
            return one
        if base is None:
            return None
        if base.content not in (one.content, two.content):
            entry = self._merged_content(path, base, one, two)
        else:
            entry = two if one.content == base.content else one
        if entry is not None:
            self.done.combined.append(path)
        return entry

    def _merged_content(self, path: str, base: Entry, one: Entry, two: Entry) -> Entry | None:
        if one.size + two.size > content.LARGEST or base.size > content.LARGEST:
            return None
        earlier, later = (one, two) if self._change(0, path) < self._change(1, path) else (two, one)
        three = [self.sides.read(entry.content) for entry in (base, earlier, later)]
        if three[1] is None or three[2] is None:
            return None
        data = content.merge(three[0], three[1], three[2])
        if data is None or len(data) > content.LARGEST:
            return None
        id = ContentId.of(data)
        if id not in (one.content, two.content):
            self.done.contents[id] = data
        return Entry(path, one.kind, len(data), id, max(one.modified_ms, two.modified_ms))

    def _keep_both(self, path: str, one: Entry, two: Entry) -> Entry:
        """The later side's entry; the other is laid beside it."""
        why = _why(one, two)
        if self.prefer != Prefer.BOTH:
            self.done.clashes.append(Clash(path, None, why))
            return one if self.prefer == Prefer.FIRST else two
        changes = self._change(0, path), self._change(1, path)
        wins, loses = (two, one) if changes[0] < changes[1] else (one, two)
        if self._is_large_binary(one) or self._is_large_binary(two):
            self.done.clashes.append(Clash(path, None, why + " and too large to be laid beside one another"))
        else:
            self.beside.append((path, loses, min(changes), why))
        return wins

    def _is_large_binary(self, entry: Entry) -> bool:
        if entry.kind == Kind.SYMLINK or entry.size <= content.LARGEST_COPY:
            return False
        data = self.sides.read(entry.content) if entry.size <= content.LARGEST else None
        return data is None or not content.is_text(data)

    def _change(self, side: int, path: str) -> LastChange:
        return self.sides.last(side, self.came_from[side].get(path, path))

    # -- names ---------------------------------------------------------------------------------------------

    def _changeable(self) -> tuple[dict[str, Entry], tuple[dict[str, Entry], dict[str, Entry]]]:
        """`base` and `has`, to be changed in place."""
        if self._copies is None:
            self._copies = dict(self.base), (dict(self.has[0]), dict(self.has[1]))
            self.base, self.has = self._copies
        return self._copies

    def _unify_folders(self) -> None:
        """A folder that each side spells in its own way is one folder, on any disk that ignores case."""
        if next(spelling.agreed(self.base, *self.has), None) is None:
            return
        base, has = self._changeable()
        for old, new in spelling.agreed(base, *has):
            for side, manifest in enumerate(has):
                for path in spelling.renamed(manifest, old, new):
                    self.came_from[side][path] = old + path[len(new) :]
            spelling.renamed(base, old, new)

    def _follow_renames(self, side: int) -> None:
        """What one side renamed and the other changed is changed under its new name."""
        for old, new in list(_renames(self.base, self.has[side])):
            was, changed = self.base[old], self.has[1 - side].get(old)
            if (
                changed is None
                or _same(was, changed)
                or new in self.has[1 - side]
                or Kind.SYMLINK in (was.kind, changed.kind)
            ):
                continue
            base, has = self._changeable()
            theirs = has[1 - side]
            del base[old], theirs[old]
            base[new] = was._replace(path=new)
            theirs[new] = changed._replace(path=new)
            self.came_from[1 - side][new] = self.came_from[1 - side].pop(old, old)
            self.done.combined.append(new)
            self.done.notes.append(
                f"{old} was renamed on one side and changed on the other: {new} has the change"
            )

    def _keep_apart(self, sides: Sequence[Manifest]) -> None:
        """No path is both a file and a folder, and no two are one on a disk that ignores case, unless one of the
        sides had both already."""
        entries = self.done.entries
        for path, other in spelling.collisions(entries, sides):
            entry = entries.pop(path)
            side = 0 if path in self.has[0] else 1
            if other is None:
                self.beside.append(
                    (path, entry, self._change(side, path), "a folder has that name on the other side")
                )
                continue
            if _same(entry._replace(path=other), entries[other]):
                self.done.notes.append(
                    f"{path} and {other} hold the same and are one name on some disks: {other} stays"
                )
                continue
            place = self._free(names.apart(path, entry.content), entry)
            entries[place] = entry._replace(path=place)
            self.done.clashes.append(Clash(other, place, f"'{path}' is the same name on some disks"))

    def _place_beside(self, path: str, entry: Entry, change: LastChange) -> str:
        place = names.beside(path, change.device, change.time_ms)
        if self._is_taken(place, entry):
            place = names.beside(path, change.device, change.time_ms, entry.content)
        return self._free(place, entry)

    def _free(self, place: str, entry: Entry) -> str:
        while self._is_taken(place, entry):
            place = names.apart(place, entry.content)
        return place

    def _is_taken(self, place: str, entry: Entry) -> bool:
        """Whether something else has the name, in what comes out or in what went in."""
        there = self.done.entries.get(place)
        if there is not None:
            return (there.content, there.kind) != (entry.content, entry.kind)
        return any(place in manifest for manifest in (self.base, *self.before))


def _same(one: Entry | None, two: Entry | None) -> bool:
    """Other times alone are no difference."""
    if one is None or two is None:
        return one is two
    return one.content == two.content and one.kind == two.kind


def _merged_kind(base: Entry | None, one: Entry, two: Entry) -> Kind:
    """Of two regular files: executable or not, whichever side changed it; without a base, if one of them is."""
    if one.kind == two.kind:
        return one.kind
    if base is not None:
        return one.kind if two.kind == base.kind else two.kind
    return Kind.EXECUTABLE


def _why(one: Entry, two: Entry) -> str:
    if (one.kind == Kind.SYMLINK) != (two.kind == Kind.SYMLINK):
        return "one side has a symbolic link there, the other a file"
    return "both sides changed it in ways that exclude one another"


def _renames(base: Manifest, side: Manifest) -> Iterator[tuple[str, str]]:
    """(old path, new path) of files that a side has under another name: gone here, new there, the same content;
    where several fit, one of the same last name, else the first. Empty files are all alike and none of these."""
    gone: dict[ContentId, list[str]] = {}
    for path in sorted(base.keys() - side.keys()):
        if base[path].size:
            gone.setdefault(base[path].content, []).append(path)
    if not gone:
        return
    new = sorted(path for path in side.keys() - base.keys() if side[path].content in gone)
    for same_name in (True, False):
        for path in list(new):
            olds = gone[side[path].content]
            last = path.rpartition("/")[2]
            fit = [old for old in olds if not same_name or old.rpartition("/")[2] == last]
            if fit:
                olds.remove(fit[0])
                new.remove(path)
                yield fit[0], path
