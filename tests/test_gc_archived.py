"""What `memsync archive` put away on one device while another collected: it is kept, in whatever order they met."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from memstore import Store
from memstore.ids import ContentId
from memstore.manifest.retention import Rules
from memstore.objects.reader import Removed
from tests.folder_place import Place, without_waiting

AT_ONCE = "[gc]\ngrace_hours = 0\n"
LAST = Rules(last=1)
PLAN = b"the plan, as it was at first\n"


class Devices:
    """Two that share a remote. The desk has not met what the laptop did with the plan since."""

    def __init__(self, base: Path, *, config: str = AT_ONCE) -> None:
        self.config = config
        self.laptop = Place(base, config=config)
        self.laptop.commit({"plan.txt": PLAN, "stays.txt": b"stays\n"})
        self.laptop.push()
        self.desk = self.cloned("desk")
        for number in range(2):
            self.laptop.commit({"plan.txt": f"another plan, the {number}th\n".encode()})
        self.laptop.push()

    def cloned(self, name: str) -> Place:
        root = self.laptop.base / name
        Store.clone(str(self.laptop.remote), root, environ={}).close()
        (root / ".memsync" / "config.toml").write_text(self.config)
        return Place.at(root, self.laptop.remote)

    # -- what they may do ----------------------------------------------------------------------------------

    def laptop_collects(self) -> None:
        self.collect(self.laptop)

    def desk_archives(self) -> None:
        with self.desk.open() as store:
            assert store.archive(["plan.txt"], reason="keep").version is not None

    def desk_pushes(self) -> None:
        assert self.desk.push().error is None

    def desk_pulls(self) -> None:
        with self.desk.open() as store:
            store.pull()

    def laptop_pulls(self) -> None:
        with self.laptop.open() as store:
            store.pull()

    @staticmethod
    def collect(place: Place, rules: Rules = LAST, *, keep_archived: bool | None = None) -> None:
        with place.open() as store:
            assert store.gc(rules, keep_archived=keep_archived).error is None

    # -- what they find ------------------------------------------------------------------------------------

    def kept(self, place: Place) -> bool:
        """Whether what the desk put away reads back there, and all else. (Asked for by its content: within one second
        its name may be another's as well.)"""
        with place.open() as store:
            report = store.verify(remote=True, read_data=True)
            assert report.ok, report.problems
            try:
                return store.repository.read(ContentId.of(PLAN)) == PLAN
            except Removed:
                return False


ORDERS: dict[str, Sequence[Callable[[Devices], None]]] = {
    "collected, put away": [Devices.laptop_collects, Devices.desk_archives],
    "put away, collected": [Devices.desk_archives, Devices.laptop_collects],
    "put away and pushed, collected": [
        Devices.desk_archives, Devices.desk_pushes, Devices.laptop_collects,
    ],
    "collected, met, put away": [Devices.laptop_collects, Devices.desk_pushes, Devices.desk_archives],
    "collected twice, put away and pushed alone": [
        Devices.laptop_collects, Devices.laptop_collects, Devices.desk_archives, Devices.desk_pushes,
    ],
}  # fmt: skip


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    without_waiting(monkeypatch)


_LONG = ("collected, met, put away", "collected twice, put away and pushed alone")


@pytest.mark.parametrize(
    "order", [pytest.param(order, marks=[pytest.mark.soak] if order in _LONG else []) for order in ORDERS]
)
def test_what_was_put_away_by_name_outlives_a_collection_elsewhere(tmp_path: Path, order: str) -> None:
    devices = Devices(tmp_path)
    for step in ORDERS[order]:
        step(devices)
    devices.desk_pulls()
    devices.desk_pushes()
    assert devices.kept(devices.desk)
    devices.laptop_pulls()
    for place in (devices.laptop, devices.desk, devices.laptop):
        devices.collect(place)
    assert devices.kept(devices.laptop), "it was sent again, and the next collection knows what it is"
    assert devices.kept(devices.desk)
    assert devices.kept(devices.cloned("fresh"))


def test_the_mirrors_archive_keeps_what_was_put_away_on_another_device(tmp_path: Path) -> None:
    """The desk puts away what the laptop replaces at the same time; the laptop's collection then finds it there."""
    devices = Devices(tmp_path)
    devices.desk_pulls()
    devices.desk.commit({"idea.txt": PLAN})
    devices.desk_pushes()
    devices.laptop_pulls()
    with devices.desk.open() as store:
        store.archive(["idea.txt"])
    devices.desk_pushes()
    there = [path for path, data in devices.laptop.mirror.items() if data == PLAN and "idea" in path]
    assert there and all(path.startswith("Archive/") for path in there)
    devices.laptop.commit({"idea.txt": b"another one\n"})
    devices.laptop_collects()
    devices.laptop_pulls()
    assert devices.laptop.push().error is None
    devices.laptop_collects()
    assert all(path in devices.laptop.mirror for path in there)


def test_what_was_put_away_leaves_when_a_collection_that_knows_of_it_is_told_so(tmp_path: Path) -> None:
    devices = Devices(tmp_path)
    devices.laptop_collects()
    devices.desk_archives()
    devices.desk_pulls()
    devices.desk_pushes()
    devices.laptop_pulls()
    devices.collect(devices.laptop, keep_archived=False)
    assert not devices.kept(devices.laptop)
    devices.desk_pulls()
    devices.desk_pushes()
    devices.collect(devices.desk)
    assert not devices.kept(devices.desk), "the collection knew of it, so its word holds"
