"""What the tests of the whole share: a workspace in a temporary place, and nothing of this machine's."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from memstore import Store, suspects
from memstore.manifest.version import Change, Version
from memstore.repository import Repository

if TYPE_CHECKING:
    from tests.drive_emulator import DriveEmulator
    from tests.emulator_wire import Wire

if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    # A job in the background ignores Ctrl-C, and so would the commands that tests start and interrupt.
    signal.signal(signal.SIGINT, signal.default_int_handler)


class Memory:
    """A workspace as its owner sees it: files in `Data/`, a store that can be opened again."""

    def __init__(self, root: Path, environ: dict[str, str] | None = None) -> None:
        self.root = root
        self.data = root / "Data"
        self.state = root / ".memsync"
        self.environ = environ or {}
        self.store = Store.init(root, environ=self.environ)

    @property
    def repository(self) -> Repository:
        return self.store.repository

    def reopen(self) -> Store:
        """As the next command finds it."""
        self.store.close()
        self.store = Store.open(self.root, environ=self.environ)
        return self.store

    def reconfigured(self, toml: str) -> Store:
        """The same with this `.memsync/config.toml`."""
        (self.state / "config.toml").write_text(toml)
        return self.reopen()

    def close(self) -> None:
        self.store.close()

    # -- Data/ ---------------------------------------------------------------------------------------------

    def write(self, path: str, content: bytes | str = b"") -> Path:
        """Put a file there, with the folders above it."""
        place = self.data / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content.encode() if isinstance(content, str) else content)
        return place

    def tree(self) -> dict[str, bytes]:
        """path → bytes (of a symlink: its target) of everything in `Data/`."""
        return tree(self.data)

    # -- short ways ----------------------------------------------------------------------------------------

    def commit(self, *paths: str, **meta: Any) -> Version:
        """A commit that must record something."""
        version = self.store.commit(list(paths) or None, **meta)
        assert version is not None, "nothing was recorded"
        return version

    def save(self, path: str, content: bytes | str, **meta: Any) -> Version:
        """Write one file and commit it."""
        self.write(path, content)
        return self.commit(path, **meta)

    def versions(self) -> list[Version]:
        """Oldest first."""
        return list(self.store.history())[::-1]

    def manifest(self, version: Version | None = None) -> dict[str, bytes]:
        """path → content of a version, HEAD's by default."""
        return {row.path: self.store.read(row.path, at=version) for row in self.listing(version)}

    def listing(self, version: Version | None = None) -> list[Any]:
        """The files of a version, real ones under `Archive/` included, no references."""
        head = self.store.head()
        if version is None and head is None:
            return []
        id = version.id if version is not None else head
        assert id is not None
        return list(self.repository.entries(id))

    def archive_lines(self) -> list[dict[str, Any]]:
        return json_lines(self.root / "archive_log.json")

    def upload_lines(self) -> list[dict[str, Any]]:
        return json_lines(self.root / "upload_log.json")


def tree(folder: Path) -> dict[str, bytes]:
    """path → bytes of the files below a folder, `.memsync` left out; of a symlink, its target."""
    found: dict[str, bytes] = {}
    for place, folders, names in os.walk(folder):
        if ".memsync" in folders:
            folders.remove(".memsync")
        links = [name for name in folders if os.path.islink(os.path.join(place, name))]
        for name in [*names, *links]:
            path = os.path.join(place, name)
            relative = os.path.relpath(path, folder).replace(os.sep, "/")
            found[relative] = os.readlink(path).encode() if os.path.islink(path) else Path(path).read_bytes()
    return found


def json_lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def words(changes: Sequence[Change]) -> dict[str, str]:
    """path → change."""
    return {change.path: change.change.word for change in changes}


def reads_of(memory: Memory, steps: list[tuple[str, str]]) -> set[str]:
    """The files of `Data/` that were opened."""
    inside = str(memory.data) + os.sep
    return {path[len(inside) :] for step, path in steps if step == "read" and path.startswith(inside)}


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What the long runs tried, as they noted it by `record_property("tried", …)`."""
    tried = [
        str(value)
        for report in terminalreporter.getreports("passed")
        for name, value in report.user_properties
        if name == "tried"
    ]
    if tried:
        terminalreporter.section("tried")
        for line in sorted(tried):
            terminalreporter.write_line(line)


@pytest.fixture(autouse=True, scope="session")
def _nothing_of_this_machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No variable and no user configuration reaches a test that does not set it."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("MEMSYNC_")]:
            patch.delenv(name)
        empty = str(tmp_path_factory.mktemp("no-configuration"))
        for name in ("XDG_CONFIG_HOME", "APPDATA"):
            patch.setenv(name, empty)
        # Nor does the scanner for credentials, where its extra is installed: tests/test_secrets.py brings it back.
        patch.setattr(suspects, "installed", lambda: False)
        patch.setenv("MEMSYNC_COMMIT_SECRETS", "off")
        yield


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[Memory]:
    """A fresh workspace with an empty `Data/`."""
    made = Memory(tmp_path / "memory")
    yield made
    made.close()


@pytest.fixture
def three(memory: Memory) -> list[Version]:
    """Three versions of two notes; a third note came last."""
    made = []
    for number in (1, 2, 3):
        memory.write("Core/Rules.txt", f"rules {number}\n")
        memory.write("Core/Tone.txt", f"tone {number}\n")
        if number == 3:
            memory.write("Core/Late.txt", "late\n")
        made.append(memory.commit())
    return made


# -- the Drive emulator, for the tests of itself ---------------------------------------------------------------


@pytest.fixture
def emulator() -> Iterator[DriveEmulator]:
    from tests.drive_emulator import DriveEmulator

    with DriveEmulator() as running:
        yield running


@pytest.fixture
def drive(emulator: DriveEmulator) -> Any:
    """The client library under `drive.file`."""
    from tests.drive_emulator import client

    return client.service(emulator.url, emulator.token_info())


@pytest.fixture
def full(emulator: DriveEmulator) -> Any:
    """The client library under the full scope."""
    from tests.drive_emulator import SCOPE_FULL, client

    return client.service(emulator.url, emulator.token_info(SCOPE_FULL))


@pytest.fixture
def wire(emulator: DriveEmulator) -> Wire:
    from tests.emulator_wire import Wire

    return Wire(emulator)
