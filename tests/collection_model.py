"""A small world of devices and one remote, in which collections and forgets can be played in every order of their
steps.

The decisions are the code's own (`memstore.actions.collection`): what counts, when a device must look, what it
sends again, when a fossil may be deleted. Around them stands the least that they need: packs as sets of things,
names in `heads/`, devices as lists of steps. A step is one call of the remote; what a device does by itself
commutes with what others do, and is part of the step before.

Everything is a value: a state can be kept, compared, and gone on from in each possible way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Final, NamedTuple

from memstore.actions import collection
from memstore.actions.collection import Marker, Notes
from memstore.actions.forget_remote import ROUNDS

Thing = tuple[str, ...]
"""("object", name), ("delta", object, its base), ("version", name, object, …), ("put away", version, object),
("stone", object, version known to its collector, …) or ("forgotten", object)."""
Packs = tuple[tuple[str, frozenset[Thing]], ...]
"""Sorted by name."""
LEANS: Final = {"z": "x"}
"""Objects that are a delta on another when they are first stored."""


class Decisions(NamedTuple):
    """What the code decides; a test puts a wrong one in its place to see it found out."""

    live: Callable[..., set[str]] = collection.live
    must_settle: Callable[..., bool] = collection.must_settle
    no_longer_there: Callable[..., set[str]] = collection.no_longer_there
    may_delete: Callable[..., bool] = collection.may_delete


class Device(NamedTuple):
    id: str
    """8 hex digits."""
    plan: tuple[str, ...]
    """Steps that are left; see `steps`."""
    here: Packs
    sent: frozenset[str]
    newest: str = ""
    """The version that it has made last."""
    newcomer: bool = False
    settled: frozenset[str] = frozenset()
    superseded: frozenset[str] = frozenset()
    listed: frozenset[str] = frozenset()
    """The names in `heads/`, as it saw them last."""
    made: int = 0
    going: tuple[str, ...] = ()
    """Packs that it is about to delete."""
    erase: frozenset[str] = frozenset()
    """Packs on the remote that held what was forgotten, and are to go as soon as what stays was sent."""
    remade: frozenset[str] = frozenset()
    """Packs that it made of such as others can fetch."""
    unpublished: frozenset[str] = frozenset()
    """Packs that it sent, and whose version it did not publish yet."""


class World(NamedTuple):
    packs: Packs
    names: frozenset[str]
    """In `heads/`."""
    markers: tuple[Marker, ...]
    devices: tuple[Device, ...]


def things(packs: Iterable[tuple[str, frozenset[Thing]]]) -> frozenset[Thing]:
    return frozenset(thing for _, held in packs for thing in held)


def forgotten(held: frozenset[Thing]) -> set[str]:
    return {thing[1] for thing in held if thing[0] == "forgotten"}


def readable(held: frozenset[Thing]) -> set[str]:
    """Objects that are there, and of which all that they lean on is."""
    whole = {thing[1] for thing in held if thing[0] == "object"}
    return whole | {thing[1] for thing in held if thing[0] == "delta" and thing[2] in whole}


def stored(held: frozenset[Thing]) -> set[str]:
    return {thing[1] for thing in held if thing[0] in ("object", "delta")}


def needs(held: frozenset[Thing], version: Thing) -> set[str]:
    """What a version needs: the objects of its manifest, and what it put away by name."""
    return {*version[2:], *(thing[2] for thing in held if thing[0] == "put away" and thing[1] == version[1])}


def all_needed(held: frozenset[Thing]) -> set[str]:
    return {needed for thing in held if thing[0] == "version" for needed in needs(held, thing)}


def removed(held: frozenset[Thing], needs: Callable[[frozenset[Thing], Thing], set[str]] = needs) -> set[str]:
    """The objects that are removed: forgotten, or a stone names them, and no version needs them that its collector
    did not know."""
    gone = forgotten(held)
    for stone in held:
        if stone[0] == "stone":
            others = (v for v in held if v[0] == "version" and v[1] not in stone[2:])
            if not any(stone[1] in needs(held, version) for version in others):
                gone.add(stone[1])
    return gone


def incomplete(held: frozenset[Thing]) -> bool:
    there = readable(held) | removed(held)
    leaning = {thing[1] for thing in held if thing[0] == "delta"}
    return not there.issuperset(all_needed(held) | leaning)


def lost(world: World, *, at_rest: bool = False) -> str | None:
    """A published version that needs something which lies nowhere on the remote, and was not forgotten; `at_rest`:
    or which can't be decoded there. (Who leans on what is forgotten at that very moment sends it anew at the next
    push.)"""
    there = things(world.packs)
    here = (readable(there) if at_rest else stored(there)) | forgotten(there)
    for version in there:
        if version[0] == "version" and version[1] in world.names:
            for needed in sorted(needs(there, version)):
                if needed not in here:
                    return f"{version[1]} needs {needed}"
    return None


def trace(world: World) -> str | None:
    """Something that was forgotten, and lies on the remote or on a device."""
    for where, packs in [
        ("the remote", world.packs),
        *((device.id, device.here) for device in world.devices),
    ]:
        held = things(packs)
        left = forgotten(things(world.packs)) & stored(held)
        if left:
            return f"{sorted(left)} on {where}"
    return None


# -- the steps of a device -------------------------------------------------------------------------------------


def push(version: str = "") -> tuple[str, ...]:
    """A push; with a version (`v1:xy!z`: it holds x and y, and puts away z) that is made just before."""
    return ((f"commit {version}",) if version else ()) + (
        "register",
        "list",
        "settle",
        "send",
        "publish",
        "seen",
        "erase",
    )


def forget(object: str) -> tuple[str, ...]:
    """A forget of an object, everywhere: what others have sent is fetched, it leaves here, and then there."""
    return ("list", "fetch", f"forget {object}", "list", f"look {object} 1")


def gc() -> tuple[str, ...]:
    return (*push(), "compact", "send", "list", "fetch", "mark", "choose", "delete")


def after(world: World, number: int, decide: Decisions) -> World:
    """The world when one device has taken its next step. Steps of the device's own run along with it."""
    device = world.devices[number]
    word, *rest = device.plan[0].split(" ")
    device = device._replace(plan=device.plan[1:])
    world, device = _DO[word](world, device, decide, *rest)
    devices = (*world.devices[:number], device, *world.devices[number + 1 :])
    world = world._replace(devices=devices)
    following = device.plan[0].split(" ")[0] if device.plan else ""
    if following in ("commit", "compact", "forget") or (following == "erase" and not device.erase):
        return after(world, number, decide)
    return world


def _with(packs: Packs, *more: tuple[str, frozenset[Thing]]) -> Packs:
    return tuple(sorted({**dict(packs), **dict(more)}.items()))


def _without(packs: Packs, names: Iterable[str]) -> Packs:
    gone = set(names)
    return tuple(pack for pack in packs if pack[0] not in gone)


def _fossils(world: World, device: Device) -> set[str]:
    known = collection.notes_in(device.listed).collections
    return {name for marker in world.markers if marker.id in known for name in marker.fossils}


def _fetch(world: World, device: Device, decide: Decisions) -> tuple[Device, set[str]]:
    """What `fetch.fetch_what_counts` does."""
    fossils = _fossils(world, device)
    counting = decide.live(dict(world.packs), fossils)
    wanted = counting - device.superseded
    device = device._replace(here=_with(device.here, *(pack for pack in world.packs if pack[0] in wanted)))
    if incomplete(things(device.here)):
        back = [pack for pack in world.packs if pack[0] not in device.superseded]
        device = device._replace(here=_with(device.here, *back))
    return device, counting


def _at_hand(device: Device) -> set[str]:
    held = things(device.here)
    return {
        needed
        for version in held
        if version[0] == "version" and version[1] == device.newest
        for needed in version[2:]
    } - forgotten(held)


def _published(device: Device) -> frozenset[str]:
    """As `remote_state.published`."""
    return (device.sent | device.superseded | device.remade) - device.unpublished


def _holding(device: Device, drop: set[str]) -> set[str]:
    """The packs that hold any of these objects, and those with deltas on one (`compact.holding`)."""
    return {
        name
        for name, held in device.here
        if any(t[0] in ("object", "delta") and not drop.isdisjoint(t[1:]) for t in held)
    }


def _held_up(device: Device, settled: Iterable[str]) -> set[str]:
    """What lies in other packs than these, or is leant on there, has to wait (`leaving.leaving`)."""
    others = things(_without(device.here, settled))
    return stored(others) | {thing[2] for thing in others if thing[0] == "delta"}


def _rewritten(
    device: Device, old: set[str], drop: set[str], stones: frozenset[Thing], *, remade: bool = False
) -> Device:
    staying = things(_without(device.here, old))
    whole = readable(things(device.here))
    written = frozenset(
        ("object", t[1]) if t[0] == "delta" and t[2] in drop and t[1] in whole else t  # encoded anew
        for t in things(pack for pack in device.here if pack[0] in old) - staying
    )
    written = frozenset(t for t in written if t[0] not in ("object", "delta") or t[1] not in drop) | stones
    here = _without(device.here, old)
    made = device.made + 1
    if written:
        here = _with(here, (f"{device.id[:1]}{made}", written))
    new = {f"{device.id[:1]}{made}"} if written and remade else set()
    return device._replace(here=here, made=made, remade=(device.remade - old) | new)


def _commit(world: World, device: Device, _: Decisions, version: str) -> tuple[World, Device]:
    name, rest = version.split(":")
    holds, away = rest.split("!") if "!" in rest else (rest, "")
    held = things(device.here)
    assert stored(held).issuperset(away), "nobody puts away what they do not have"
    new = {
        ("delta", needed, LEANS[needed]) if LEANS.get(needed) in readable(held) else ("object", needed)
        for needed in holds
        if needed not in stored(held)
    }
    told = {("version", name, *holds), *(("put away", name, object) for object in away)}
    pack = (f"{device.id[:1]}{device.made + 1}", frozenset({*told, *new}))
    return world, device._replace(here=_with(device.here, pack), made=device.made + 1, newest=name)


def _expunged(device: Device, fossils: Iterable[str]) -> Device:
    """What `expunge.expunge` does: packs that were sent, and those that were not, are written anew apart."""
    told = forgotten(things(device.here)) & stored(things(device.here))
    known = device.sent | device.superseded | set(fossils)
    for published in (False, True):
        theirs = _published(device)
        old = {name for name in _holding(device, told) if (name in theirs) == published}
        if old:
            device = _rewritten(device, old, told, frozenset(), remade=published)
            device = device._replace(
                sent=device.sent - old,
                unpublished=device.unpublished - old,
                superseded=device.superseded | (old & known),
                erase=device.erase | (old & known),
            )
    return device


def _forget(world: World, device: Device, _: Decisions, name: str) -> tuple[World, Device]:
    pack = (f"{device.id[:1]}{device.made + 1}", frozenset({("forgotten", name)}))
    device = device._replace(here=_with(device.here, pack), made=device.made + 1)
    return world, _expunged(device, _fossils(world, device))


def _look(world: World, device: Device, decide: Decisions, name: str, round: str) -> tuple[World, Device]:
    """What `forget_remote._bring` does, and whether `_from_packs` goes on."""
    device, counting = _fetch(world, device, decide)
    device = device._replace(sent=device.sent | counting)
    known = {name for name, _ in device.here} | device.erase
    if incomplete(things(device.here)):
        known -= device.erase
    found = [pack for pack in world.packs if pack[0] not in known and ({name} & stored(pack[1]))]
    before = device.made
    device = _expunged(device._replace(here=_with(device.here, *found)), _fossils(world, device))
    if round != "1" and device.made == before and not device.erase:
        return world, device
    if int(round) <= ROUNDS:
        device = device._replace(plan=(*push(), "list", f"look {name} {int(round) + 1}", *device.plan))
    return world, device


def _erase(world: World, device: Device, _: Decisions) -> tuple[World, Device]:
    """The marker first; then one pack after the other is deleted."""
    doomed = dict(world.packs).keys() & device.erase
    device = device._replace(erase=frozenset(), superseded=device.superseded - device.erase)
    if doomed:
        id = f"{len(world.markers):016x}"
        world = world._replace(
            markers=(*world.markers, Marker(id, device.id, 0, frozenset(doomed))),
            names=world.names | {f"gc-{id}"},
        )
        device = device._replace(
            settled=device.settled | {id},
            listed=device.listed | {f"gc-{id}"},
            going=tuple(sorted(doomed)),
            plan=("delete", *device.plan),
        )
    return world, device


def _register(world: World, device: Device, _: Decisions) -> tuple[World, Device]:
    return world._replace(names=world.names | {f"device-{device.id}"}), device


def _list(world: World, device: Device, _: Decisions) -> tuple[World, Device]:
    return world, device._replace(listed=world.names)


def _settle(world: World, device: Device, decide: Decisions) -> tuple[World, Device]:
    fossils = _fossils(world, device)
    markers = collection.notes_in(device.listed).collections
    here = {name for name, _ in device.here}
    if not decide.must_settle(bool(markers - device.settled) or device.newcomer, here, fossils):
        return world, _expunged(device, fossils)
    counting = decide.live(dict(world.packs), fossils)
    gone = decide.no_longer_there(here, fossils | device.sent, counting)
    if gone or markers - device.settled:
        device, counting = _fetch(world, device, decide)
    if gone:
        here = {name for name, _ in device.here}
        gone = decide.no_longer_there(here, fossils | device.sent, counting)
        held = things(device.here)
        unwanted = removed(held) - forgotten(held) - _at_hand(device)
        drop = unwanted - _held_up(device, _published(device) | gone)
        old = gone | _holding(device, drop)
        device = _rewritten(device, old, drop, frozenset(), remade=True)
        there = old & (device.sent - fossils)
        device = device._replace(superseded=device.superseded | there, sent=device.sent - there)
        here = {name for name, _ in device.here}
    sent = (device.sent | here) & counting
    device = device._replace(settled=frozenset(markers), sent=frozenset(sent), newcomer=False)
    return world, _expunged(device, fossils)


def _send(world: World, device: Device, _: Decisions) -> tuple[World, Device]:
    """One pack at a time; the step stays in the plan until all are there."""
    unsent = [pack for pack in device.here if pack[0] not in device.sent]
    if not unsent:
        return world, device
    plan = ("send", *device.plan) if len(unsent) > 1 else device.plan
    world = world._replace(packs=_with(world.packs, unsent[0]))
    sent = {unsent[0][0]}
    return world, device._replace(sent=device.sent | sent, unpublished=device.unpublished | sent, plan=plan)


def _publish(world: World, device: Device, _: Decisions) -> tuple[World, Device]:
    world = world._replace(names=world.names | ({device.newest} if device.newest else set()))
    return world, device._replace(unpublished=frozenset())


def _seen(world: World, device: Device, _: Decisions) -> tuple[World, Device]:
    told = {f"seen-{id}-{device.id}" for id in device.settled}
    return world._replace(names=world.names | told), device


def _compact(world: World, device: Device, _: Decisions) -> tuple[World, Device]:
    """All packs that were sent become one; what only older versions need leaves."""
    held = things(device.here)
    versions = {thing[1] for thing in held if thing[0] == "version"}
    parents = {"v0"}  # all others spring from it, and are heads
    newest = (v for v in held if v[0] == "version" and v[1] not in parents)
    needed = {o for v in newest for o in needs(held, v)} | _at_hand(device)
    named = all_needed(held)
    here = stored(held)
    drop = ((named - needed) | (removed(held) - needed)) & here
    stones = frozenset(("stone", o, *sorted(versions)) for o in drop)
    old = {name for name, _ in device.here} & device.sent
    device = _rewritten(device, old, drop, stones, remade=True)
    return world, device._replace(superseded=device.superseded | old)


def _fetch_all(world: World, device: Device, decide: Decisions) -> tuple[World, Device]:
    device, counting = _fetch(world, device, decide)
    return world, device._replace(sent=device.sent | counting)


def _mark(world: World, device: Device, _: Decisions) -> tuple[World, Device]:
    if any(name not in device.sent for name, _ in device.here):
        return world, device
    fossils = (dict(world.packs).keys() & device.superseded) - _fossils(world, device)
    if fossils:
        id = f"{len(world.markers):016x}"
        marker = Marker(id, device.id, 0, frozenset(fossils))
        world = world._replace(markers=(*world.markers, marker), names=world.names | {f"gc-{id}"})
        device = device._replace(settled=device.settled | {id}, listed=device.listed | {f"gc-{id}"})
    return world, device._replace(superseded=frozenset(), sent=device.sent - device.superseded)


def _choose(world: World, device: Device, decide: Decisions) -> tuple[World, Device]:
    """What `gc._on_the_remote` decides before it deletes. (It read the names before it marked.)"""
    fossils = _fossils(world, device)
    if fossils & {name for name, _ in device.here} or incomplete(things(device.here)):
        return world, device._replace(going=())
    notes = collection.notes_in(device.listed)
    known = {
        other.id for other in world.devices if not other.newcomer or f"device-{other.id}" in device.listed
    }
    ripe = [
        marker
        for marker in world.markers
        if marker.id in notes.collections
        and decide.may_delete(marker, notes, known & _registered(device), 0, grace_ms=0, silence_ms=1)
    ]
    return world, device._replace(going=tuple(sorted({name for marker in ripe for name in marker.fossils})))


def _registered(device: Device) -> set[str]:
    return set(collection.notes_in(device.listed).devices)


def _delete(world: World, device: Device, _: Decisions) -> tuple[World, Device]:
    if not device.going:
        return world, device
    first, *rest = device.going
    plan = ("delete", *device.plan) if rest else device.plan
    return world._replace(packs=_without(world.packs, [first])), device._replace(going=tuple(rest), plan=plan)


_DO: dict[str, Callable[..., tuple[World, Device]]] = {
    "commit": _commit,
    "register": _register,
    "list": _list,
    "settle": _settle,
    "send": _send,
    "publish": _publish,
    "seen": _seen,
    "compact": _compact,
    "fetch": _fetch_all,
    "mark": _mark,
    "choose": _choose,
    "delete": _delete,
    "forget": _forget,
    "look": _look,
    "erase": _erase,
}


# -- every order -----------------------------------------------------------------------------------------------


class Explored(NamedTuple):
    interleavings: int
    states: int
    lost: str | None
    """The first loss that was met."""
    deleted: bool
    """Whether in some order a fossil was deleted."""


def explore(start: World, decide: Decisions = Decisions()) -> Explored:  # noqa: B008 - a tuple of functions
    """Every order of the devices' steps from a world on; ends at the first loss."""
    counts: dict[World, int] = {}
    initial = {name for name, _ in start.packs}
    deleted = False
    stack: list[tuple[World, Iterator[World], int]] = []

    def enter(world: World) -> str | None:
        nonlocal deleted
        deleted = deleted or not initial <= {name for name, _ in world.packs}
        stack.append((world, _next(world, decide), 0))
        return lost(world)

    trouble = enter(start)
    while stack and trouble is None:
        world, following, count = stack.pop()
        nxt = next(following, None)
        if nxt is None:
            counts[world] = count or 1
            trouble = None if count else _at_rest(world, decide)
            if stack:
                above, others, sofar = stack.pop()
                stack.append((above, others, sofar + counts[world]))
        elif nxt in counts:
            stack.append((world, following, count + counts[nxt]))
        else:
            stack.append((world, following, count))
            trouble = enter(nxt)
    return Explored(counts.get(start, 0), len(counts), trouble, deleted)


def _at_rest(world: World, decide: Decisions) -> str | None:
    """What is wrong when all plans have ended, and each device, one after the other, has pushed once more."""
    for number in (*range(len(world.devices)), 0):
        devices = list(world.devices)
        devices[number] = devices[number]._replace(plan=push())
        world = world._replace(devices=tuple(devices))
        while world.devices[number].plan:
            world = after(world, number, decide)
            trouble = lost(world)
            if trouble is not None:
                return trouble
    return lost(world, at_rest=True) or trace(world)


def _next(world: World, decide: Decisions) -> Iterator[World]:
    for number, device in enumerate(world.devices):
        if device.plan:
            yield after(world, number, decide)


__all__ = ["Decisions", "Device", "Explored", "Notes", "World", "explore", "forget", "gc", "push"]
