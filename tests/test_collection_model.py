"""Every order in which two writers and one collector can take their steps, and no published version lacks anything.

`pytest -s tests/test_collection_model.py` prints how many orders there were.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest

from memstore.actions import collection
from tests import collection_model
from tests.collection_model import Decisions, Device, Explored, World, explore, forget, gc, push, removed

LAPTOP, DESK, PHONE = "aaaaaaaa", "bbbbbbbb", "cccccccc"
OLD = ("p0", frozenset({("version", "v0", "x", "y"), ("object", "x"), ("object", "y")}))
NEW = ("p1", frozenset({("version", "v1", "y")}))


def world(
    desk: tuple[str, ...], phone: tuple[str, ...], laptop: tuple[str, ...], *, newcomer: bool = False
) -> World:
    """v0 needs x and y, v1 came after it and needs y: the laptop's collection takes x, which both writers have as
    well and may need again."""
    packs = (OLD, NEW)
    here: dict[str, Any] = {"here": packs, "sent": frozenset({"p0", "p1"})}
    known = [LAPTOP, DESK, *([PHONE] if phone and not newcomer else [])]
    names = {"v1", *(f"device-{id}" for id in known)}
    devices = (
        Device(LAPTOP, laptop, newest="v1", **here),
        Device(DESK, desk, **here),
        Device(PHONE, phone, newcomer=newcomer, **here),
    )
    return World(packs, frozenset(names), (), devices)


SMALL = world(push("v2:x"), push("v3:xy"), gc())
ALONE = world(push() + push("v4:x"), (), gc() + gc())
AWAY = world(push("v2:y!x"), (), gc() + gc())
FORGOTTEN = world(push("v2:xz"), (), forget("x"))
CASES = {
    "a writer pushes twice, the other once": world(push("v2:x") + push("v4:xy"), push("v3:x"), gc()),
    "two collections, and a writer that only listens": world(push("v2:x"), push(), gc() + gc()),
    "a device that never pushed before": world(push("v2:y"), push("v3:x"), gc(), newcomer=True),
    "a writer puts away what goes, and another needs it": world(push("v2:y!x"), push("v3:xy"), gc()),
    "two collectors, and a writer who puts away what goes": world(gc(), push("v3:y!x"), gc()),
    "two collectors and a writer": world(gc(), push("v3:x"), gc()),
    "two writers, and one who forgets": world(push("v2:xz"), push("v3:xy"), forget("x")),
    "a writer, one who collects, and one who forgets": world(push("v3:xz"), gc(), forget("x")),
}


def explored(name: str, case: World) -> Explored:
    found = explore(case)
    print(f"{name}: {found.interleavings:,} interleavings, {found.states:,} states")
    assert found.lost is None
    return found


def test_in_no_order_of_two_writers_and_a_collector_does_a_published_version_lack_anything() -> None:
    assert explored("both writers need what goes", SMALL).interleavings > 10**6


def test_a_push_at_the_moment_of_a_forget_loses_nothing_else_and_no_trace_is_left_after_the_next() -> None:
    assert explored("a writer who leans on what is being forgotten", FORGOTTEN).interleavings > 10**4


@pytest.mark.soak
@pytest.mark.parametrize("name", CASES)
def test_in_no_order_does_a_published_version_lack_anything(name: str) -> None:
    assert explored(name, CASES[name]).interleavings > 10**6


def test_what_is_put_away_by_name_at_the_moment_of_a_collection_is_sent_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert explored("a writer who puts away what goes", AWAY).interleavings > 10**3
    by_manifest = partial(removed, needs=lambda _, version: set(version[2:]))
    monkeypatch.setattr(collection_model, "removed", by_manifest)
    assert explore(AWAY).lost == "v2 needs x", "so it was when only what a manifest holds made a stone void"


def test_fossils_are_deleted_in_some_order_and_nothing_is_lost_by_it() -> None:
    """Else the promise would be kept by never deleting."""
    assert explored("a writer that needs again what is being deleted", ALONE).deleted


@pytest.mark.parametrize(
    "broken",
    [
        Decisions(may_delete=lambda *_, **__: True),
        Decisions(no_longer_there=lambda *_: set()),
    ],
    ids=["deleting at once", "sending nothing again"],
)
def test_the_model_finds_the_loss_that_a_wrong_decision_brings(broken: Decisions) -> None:
    assert any(explore(case, broken).lost is not None for case in (SMALL, ALONE))


def test_a_device_that_never_pushed_is_known_by_its_file() -> None:
    notes = collection.notes_in([f"heads/device-{PHONE}", "heads/gc-" + "0" * 16, "heads/" + "1" * 64])
    marker = collection.Marker("0" * 16, LAPTOP, 0, frozenset())
    assert notes == collection.Notes(frozenset({"0" * 16}), {}, frozenset({PHONE}))
    assert not collection.all_have_seen(marker, notes, [LAPTOP])
    seen = notes._replace(seen={"0" * 16: frozenset({PHONE})})
    assert collection.all_have_seen(marker, seen, [LAPTOP])
