"""The mirror's plan is kept packed, and comes out as it went in."""

from __future__ import annotations

import random

import pytest

from memstore.ids import ContentId
from memstore.manifest.version import Entry, Kind
from memstore.mirror import plan
from memstore.mirror.plan import Mirrored, Plan, Step, Work


def some_step(dice: random.Random) -> Step:
    path = "".join(dice.choices("abé/ 🧠", k=dice.randrange(1, 9)))
    content = ContentId.of(dice.randbytes(2))
    entry = mirrored = name = None
    if dice.random() < 0.7:
        times = dice.randrange(-(1 << 60), 1 << 60)
        entry = Entry(path, dice.choice(list(Kind)), dice.randrange(1 << 40), content, times)
    if dice.random() < 0.7:
        mirrored = Mirrored(path, ContentId.of(b"old"), dice.randrange(9), dice.choice(["", path]), "stamp")
    if dice.random() < 0.4:
        name = f"Archive/{path}"
    return Step(dice.choice(list(Work)), path, entry, mirrored, name, content if name else None)


@pytest.mark.parametrize("count", [0, 1, 6, 7, 8, 500])
def test_steps_come_out_as_they_went_in(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    monkeypatch.setattr(plan, "BATCH", 7)
    dice = random.Random(count)
    made = [some_step(dice) for _ in range(count)]
    packed = Plan(made)
    assert (len(packed), bool(packed)) == (count, bool(count))
    for _ in range(2):
        batches = list(packed)
        assert [step for some in batches for step in some] == made
        assert all(len(some) == 7 for some in batches[:-1])
    for some in packed:
        for step in some:
            assert isinstance(step.work, Work)
            assert step.entry is None or isinstance(step.entry.kind, Kind)
            assert step.archive_content is None or isinstance(step.archive_content, ContentId)
