"""Three devices on one memory, in any interleaving: what a run does, and what must hold when all have synced.

A run is told by its seed alone. The devices' clocks are apart by up to a minute and stand still at times. On Drive
lists lag, answers are lost and requests fail; in a folder calls fail. Now and then a device dies in the middle of
a pull or a push. The model is small: whatever lay in a `Data/` when it was committed is a content that history
must have on every device in the end.
"""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple, cast

import pytest

import memstore.worktree.materialise
import memstore.writer
from memstore import merging
from memstore.errors import MemsyncError
from memstore.ids import ContentId
from memstore.remotes.base import OpenRemote
from memstore.reports import PullReport
from memstore.store import Store
from tests.drive_emulator import SCOPE_FILE, Behaviour, DriveEmulator
from tests.drive_memory import no_waiting
from tests.folder_place import Cut, Death, Watched, trouble, without_waiting

STEPS: Final = 60
ROUNDS: Final = 4
"""In which all devices have the same, once nothing fails any more: one to send, one to fetch and merge, one to
fetch the merge, and one that finds nothing to do."""
NAMES: Final = ("laptop", "server", "agent 2")
PATHS: Final = (
    "Core/Rules.txt", "Core/Tone.md", "Core/log.txt", "state.json", "turns.jsonl", "Meta/index.bin", "a", "a/b",
    "core/Tone.md", "Core/RULES.txt", "Meta/é.txt", "Meta/e\u0301.txt",
)  # fmt: skip
FAULTS: Final = (
    "drop=before", "drop=after", "drop=after reset", "cut=50%", "status=500", "status=503 at=after",
    "error=userRateLimitExceeded", "error=backendError at=after",
)  # fmt: skip


class Outcome(NamedTuple):
    """How a run went, for the record."""

    versions: int
    merges: int
    conflicts: int
    cuts: int
    rounds: int


class Machine:
    """One device of a run."""

    def __init__(self, run: Run, name: str, skew_ms: int) -> None:
        self.run, self.name, self.skew_ms = run, name, skew_ms
        self.root = run.base / name
        self.data = self.root / "Data"
        self.environ = {"MEMSYNC_DEVICE": name} | run.environ
        self.store: Store | None = None

    @contextlib.contextmanager
    def open(self) -> Iterator[Store]:
        """Mostly the same process goes on, at times another."""
        self.run.skew_ms = self.skew_ms
        if self.store is not None and self.run.dice.random() < 0.3:
            self.close()
        if self.store is None:
            self.store = Store.open(self.root, environ=self.environ)
        yield self.store

    def close(self) -> None:
        if self.store is not None:
            self.store.close()
            self.store = None

    def files(self) -> dict[str, Path]:
        return {
            place.relative_to(self.data).as_posix(): place
            for place in sorted(self.data.rglob("*"))
            if place.is_symlink() or place.is_file()
        }

    def tree(self) -> dict[str, tuple[bytes, bool, bool]]:
        """path → (bytes, executable, a link)."""
        found = {}
        for path, place in self.files().items():
            if place.is_symlink():
                found[path] = (os.readlink(place).encode(), False, True)
            else:
                found[path] = (place.read_bytes(), os.access(place, os.X_OK), False)
        return found


class Run:
    """From a seed to three devices that have synced."""

    def __init__(self, base: Path, seed: int, *, drive: bool, faults: bool = True) -> None:
        self.base, self.dice, self.drive, self.faults = base, random.Random(seed), drive, faults
        self.now_ms, self.skew_ms = 1_745_416_920_000, 0
        self.environ: dict[str, str] = {}
        self.emulator: DriveEmulator | None = None
        self.ever: set[bytes] = set()
        self.conflicts = self.cuts = self.serial = 0
        self.said: list[str] = []

    def play(self, steps: int = STEPS) -> Outcome:
        with contextlib.ExitStack() as stack:
            patch = stack.enter_context(pytest.MonkeyPatch.context())
            without_waiting(patch)
            patch.setattr(memstore.writer, "time", types.SimpleNamespace(time_ns=self._time_ns))
            if self.drive:
                self.emulator = stack.enter_context(DriveEmulator(behaviour=self._behaviour(), seed=1))
                stack.enter_context(no_waiting(self.emulator))
                self.environ["MEMSYNC_DRIVE_ROOT_URL"] = self.emulator.url
            machines = self._machines()
            self._lists_lag(True)
            try:
                for _ in range(steps):
                    self._step(self.dice.choice(machines))
                return self._settled(machines)
            finally:
                for machine in machines:
                    machine.close()

    def _time_ns(self) -> int:
        return (self.now_ms + self.skew_ms) * 1_000_000

    def _behaviour(self) -> Behaviour:
        dice = self.dice
        return Behaviour(
            page_limit=dice.choice([None, 2]),
            empty_pages=dice.choice([True, False]),
            resumable_id_check=dice.choice(["start", "finish"]),
        )

    def _lists_lag(self, lags: bool) -> None:
        if self.emulator is not None:
            behaviour = self.emulator.behaviour
            behaviour.name_lag_lists = self.dice.choice([0, 0, 2, 5]) if lags else 0
            behaviour.parent_lag_lists = self.dice.choice([0, 0, 2]) if lags else 0

    def _machines(self) -> list[Machine]:
        dice = self.dice
        skews = [dice.choice([0, 0, 1, -30_000, 60_000]) for _ in NAMES]
        machines = [Machine(self, name, skew) for name, skew in zip(NAMES, skews, strict=True)]
        url = "drive:" if self.drive else str(self.base / "remote")
        first = machines[0]
        Store.init(first.root, environ=first.environ).close()
        config = "[mirror]\nenabled = false\n" if dice.random() < 0.6 else "[push]\nattempts = 4\n"
        self.mirrored = "mirror" not in config
        for machine in machines:
            (machine.root / ".memsync").mkdir(parents=True, exist_ok=True)
            (machine.root / ".memsync" / "config.toml").write_text(config)
            if self.emulator is not None:
                self.emulator.write_token(machine.root / "drive_token.json", SCOPE_FILE)
        with first.open() as store:
            store.set_remote(url)
        for path in ("Core/Rules.txt", "Core/log.txt", "state.json", "turns.jsonl"):
            self._write(first, path, self._content(path))
        self._commit(first)
        with first.open() as store:
            assert store.push().exit_code == 0
        self._pass_time(3600)
        for machine in machines[1:]:
            Store.clone(url, machine.root, environ=machine.environ).close()
        return machines

    def _pass_time(self, seconds: float) -> None:
        if self.emulator is not None:
            self.emulator.advance(seconds)

    # -- steps ---------------------------------------------------------------------------------------------

    def _step(self, machine: Machine) -> None:
        dice = self.dice
        self.now_ms += dice.choice([0, 0, 1, 400, 1000, 61_000])
        roll = dice.random()
        if roll < 0.45:
            self._change(machine)
            if dice.random() < 0.5:
                self._commit(machine)
        elif roll < 0.55:
            self._commit(machine)
        elif roll < 0.60:
            self._archive(machine)
        elif roll < 0.90:
            self._sync(machine, dice.choice(["push", "pull", "both", "both"]))
        else:
            self._cut_short(machine)

    def _change(self, machine: Machine) -> None:
        """One change in `Data/`, as an editor or an agent makes it."""
        dice = self.dice
        files = machine.files()
        how = dice.choice(["save", "append", "append", "edit", "edit", "delete", "rename", "mode", "link"])
        if how == "save" or not files:
            path = dice.choice(PATHS)
            self._write(machine, path, self._content(path))
            return
        path = dice.choice(sorted(files))
        place = files[path]
        self._note(f"{machine.name}: {how} {path}")
        if how == "delete":
            self._drop(machine, path)
        elif how == "link":
            self._drop(machine, path)
            place.parent.mkdir(parents=True, exist_ok=True)
            place.symlink_to(dice.choice(["nowhere", "Core/Rules.txt"]))
        elif how == "rename":
            other = dice.choice([dice.choice(PATHS), path + ".old"])
            if not place.is_symlink() and other != path:
                data = place.read_bytes()
                self._drop(machine, path)
                self._write(machine, other, data)
        elif place.is_symlink():
            return
        elif how == "mode":
            place.chmod(0o644 if os.access(place, os.X_OK) else 0o755)
        else:
            place.write_bytes(self._altered(path, place.read_bytes(), append=how == "append"))

    def _content(self, path: str) -> bytes:
        self.serial += 1
        if path.endswith(".json"):
            return b'{\n  "a": %d,\n  "list": [1],\n  "b": {"c": %d}\n}\n' % (self.serial, self.serial)
        if path.endswith(".jsonl"):
            return b"".join(b'{"turn": %d}\n' % (self.serial * 100 + n) for n in range(3))
        if path.endswith(".bin"):
            return self.dice.randbytes(200) + b"\0"
        return b"".join(b"line %d of %d\n" % (n, self.serial) for n in range(self.dice.choice([0, 1, 8])))

    def _altered(self, path: str, data: bytes, *, append: bool) -> bytes:
        self.serial += 1
        mark = b"%d" % self.serial
        if append:
            return data + (b'{"turn": %s}\n' % mark if path.endswith(".jsonl") else b"more %s\n" % mark)
        rows = data.split(b"\n")
        row = self.dice.randrange(len(rows))
        if path.endswith(".json") and b'"a"' in data:
            return data.replace(b'"a": ', b'"a": %s' % mark, 1)[:4000]
        rows[row] = rows[row] + b" edited " + mark if rows[row] else mark
        return b"\n".join(rows)

    def _write(self, machine: Machine, path: str, data: bytes) -> None:
        self._note(f"{machine.name}: write {path} ({len(data)})")
        place = machine.data / path
        for other in list(machine.files()):
            if path.startswith(other + "/") or other.startswith(path + "/"):
                self._drop(machine, other)
        if place.is_symlink():
            place.unlink()
        if place.is_dir():
            place.rmdir()
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(data)

    def _drop(self, machine: Machine, path: str) -> None:
        place = machine.data / path
        place.unlink()
        folder = place.parent
        while folder != machine.data and not any(folder.iterdir()):
            folder.rmdir()
            folder = folder.parent

    # -- what memsync does ---------------------------------------------------------------------------------

    def _commit(self, machine: Machine) -> None:
        self._note(f"{machine.name}: commit")
        with machine.open() as store:
            store.commit(allow_deletions=True)
        self._remember(machine)

    def _remember(self, machine: Machine) -> None:
        """What is in `Data/` was committed, and so must never be lost."""
        self.ever |= {row[0] for row in machine.tree().values()}

    def _archive(self, machine: Machine) -> None:
        self._commit(machine)  # which also finishes what a death left
        files = machine.files()
        if not files:
            return
        path = self.dice.choice(sorted(files))
        self._note(f"{machine.name}: archive {path}")
        with machine.open() as store:
            store.archive([path])

    def _sync(self, machine: Machine, how: str) -> None:
        self._note(f"{machine.name}: {how}")
        with self._weather(machine), machine.open() as store:
            self._synced(machine, store, how)

    def _synced(self, machine: Machine, store: Store, how: str) -> None:
        """What goes wrong is told with its mend; the next one goes on. A pull that brings something has committed
        what was there before; one that only ends what an earlier one had begun has not, nor one with nothing to do."""
        before = {row[0] for row in machine.tree().values()}
        on_conflict = self.dice.choice(["keep-both"] * 8 + ["ours", "theirs", "fail"])
        try:
            if how == "pull":
                pulled = store.pull(on_conflict=on_conflict)
                self.conflicts += len(pulled.conflicts)
                self.ever |= before if _brought(pulled) else set()
                self._note(f"  {pulled.status} {str(pulled.version)[:8]} {pulled.conflicts}")
                return
            report = store.push(pull=how == "both")
        except MemsyncError as error:
            self._note(f"  {error.code}: {error.message}")
            assert error.exit_code in (3, 5), error
            assert error.hint
            self.ever |= before if error.exit_code == 3 else set()
            return
        self._note(f"  {report.status} {report.error or ''}")
        assert report.exit_code in (0, 3, 5), report
        if report.pulled is not None:
            self.conflicts += len(report.pulled.conflicts)
            self.ever |= before if _brought(report.pulled) else set()

    @contextlib.contextmanager
    def _weather(self, machine: Machine) -> Iterator[None]:
        """While it lasts, some of the remote's calls fail."""
        dice = self.dice
        if not self.faults or dice.random() < 0.5:
            yield
            return
        if self.emulator is not None:
            for number, way in enumerate(dice.sample(FAULTS, 3)):
                self.emulator.fault(f"any p=0.06 seed={dice.randrange(10**6) + number} {way}")
            yield
            self.emulator.clear_faults()
            return
        cut = Cut(dice.randrange(1, 12), trouble, after=dice.random() < 0.5)
        with self._watched(machine, cut):
            yield

    @contextlib.contextmanager
    def _watched(self, machine: Machine, cut: Cut) -> Iterator[None]:
        with machine.open() as store:
            store._open_remote = lambda: cast(  # type: ignore[method-assign]
                OpenRemote, Watched(self.base / "remote", [], cut)
            )
        yield
        machine.close()

    def _cut_short(self, machine: Machine) -> None:
        """The device dies in the middle: of what it writes, or of what it asks of the remote."""
        dice = self.dice
        how = dice.choice(["pull", "both"])
        self._note(f"{machine.name}: {how}, cut short")
        with pytest.MonkeyPatch.context() as patch:
            left = [dice.randrange(4)]
            place = dice.choice(["write_file", "remove_file", "commit"])
            room: Any = memstore.writer.Writer if place == "commit" else memstore.worktree.materialise
            real = getattr(room, place)
            after = dice.random() < 0.5

            def dies(*args: Any, **named: Any) -> Any:
                left[0] -= 1
                if left[0] == -1 and not after:
                    raise Death
                answer = real(*args, **named)
                if left[0] == -1:
                    raise Death
                return answer

            patch.setattr(room, place, dies)
            try:
                with machine.open() as store:
                    self._synced(machine, store, how)
            except Death:
                self.cuts += 1
                self._note("  died")
                machine.close()

    # -- the end -------------------------------------------------------------------------------------------

    def _settled(self, machines: list[Machine]) -> Outcome:
        """Everyone syncs until quiet; then all have the same, and nothing is lost."""
        self.now_ms += 3_600_000
        self._lists_lag(False)
        rounds = 0
        for machine in machines:
            self._commit(machine)
        while True:
            rounds += 1
            assert rounds <= ROUNDS, "the devices do not come to rest"
            quiet = True
            self.dice.shuffle(machines)
            for machine in machines:
                self._pass_time(3600)
                with machine.open() as store:
                    report = store.push(pull=True)
                    self._note(f"{machine.name}: last round {rounds}: {report}")
                    assert report.exit_code in (0, 1), report
                    assert report.error is None and report.pull_error is None, report
                    quiet &= report.status == "nothing"
                    quiet &= report.pulled is None or report.pulled.status == "nothing"
            if quiet:
                break
        first = machines[0].tree()
        heads = set()
        contents = {ContentId.of(data) for data in self.ever}
        counts = (0, 0)
        for machine in machines:
            assert machine.tree() == first, machine.name
            with machine.open() as store:
                heads |= set(store.repository.catalogue.heads())
                status = store.status()
                assert status.clean, status
                for content in contents:
                    assert ContentId.of(store.repository.read(content)) == content
                devices = [version.device_id for version in store.history()]
                counts = (len(devices), devices.count(merging.DEVICE_ID))
        with machines[0].open() as store:
            checked = store.verify()
            assert checked.ok, checked.problems
        assert len(heads) == 1
        markers = [name for name in self._remote("/.memsync/heads/") if len(name.rpartition("/")[2]) == 64]
        assert [name.rpartition("/")[2] for name in markers] == [str(next(iter(heads)))]
        if self.mirrored:
            self._mirror_is(first)
        return Outcome(*counts, self.conflicts, self.cuts, rounds)

    def _remote(self, part: str) -> dict[str, bytes]:
        if self.emulator is not None:
            return {path: data for path, data in self.emulator.tree().items() if part in path}
        root = self.base / "remote"
        return {
            "/" + place.relative_to(root).as_posix(): place.read_bytes()
            for place in root.rglob("*")
            if place.is_file() and part in "/" + place.relative_to(root).as_posix()
        }

    def _mirror_is(self, tree: dict[str, tuple[bytes, bool, bool]]) -> None:
        files = {path: row[0] for path, row in tree.items() if not row[2]}
        top = "MemoryVDB/" if self.drive else "/"
        there = {
            path.removeprefix(top): data
            for path, data in self._remote("").items()
            if "/.memsync/" not in path and not path.removeprefix(top).startswith("Archive/")
        }
        wrong = {path: (there.get(path), files.get(path)) for path in there.keys() | files.keys()}
        said = {
            path: [len(side or b"") for side in pair] for path, pair in wrong.items() if pair[0] != pair[1]
        }
        assert there == files, said

    def _note(self, line: str) -> None:
        self.said.append(line)


def _brought(pulled: PullReport) -> bool:
    ended = any(note.startswith("an interrupted pull ") for note in pulled.notes)
    return pulled.status != "nothing" and not ended


def play(base: Path, seed: int, **how: Any) -> Outcome:
    """One run in a folder that is gone afterwards; what happened is told where it fails."""
    run = Run(base, seed, **how)
    try:
        return run.play()
    except BaseException:
        print(f"\nseed {seed} {how}:\n" + "\n".join(run.said))
        raise
    finally:
        shutil.rmtree(base, ignore_errors=True)
