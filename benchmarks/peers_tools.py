"""memsync and its peers behind one face: what each does for the same piece of work, as command lines.

A **folder of work** is a memsync workspace: its `Data/` is what every tool saves. Each tool keeps its own store
beside it. Settings are each tool's defaults, but for what makes them equal:

- **durability**: git syncs every object and reference (`core.fsync=all`), loose objects in batches, which
  is its fastest way that survives a power cut; restic and borg sync by themselves;
- git never collects by itself in the middle of a row (`gc.auto=0`): where a row wants packed stores, it is
  collected before the clock starts;
- borg does not encrypt (its `none` mode); restic can't do without.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from benchmarks.peers_measure import BenchError, Job, growth, output, run, size, sizes

DATA: Final = "Data"
STORES: Final = "stores"
"""The peers' stores, in the folder of work."""
OWN_ENVIRONMENT: Final = {"MEMSYNC_DEVICE": "bench", "MEMSYNC_COMMIT_SECRETS": "off"}
"""No peer looks for credentials; nor does memsync, unless the extra for it is installed."""


def environment(home: str) -> dict[str, str]:
    """Nothing of the person's own configuration reaches a tool. `home` is an empty folder."""
    kept = {name: os.environ[name] for name in ("PATH", "TMPDIR", "SYSTEMROOT") if name in os.environ}
    settings = {
        "core.fsync": "all",
        "core.fsyncMethod": "batch",
        "gc.auto": "0",
        "maintenance.auto": "false",
        "init.defaultBranch": "main",
        "advice.detachedHead": "false",
        "safe.directory": "*",
    }
    found = {
        **kept,
        "HOME": home,
        "XDG_CONFIG_HOME": os.path.join(home, "config"),
        "XDG_CACHE_HOME": os.path.join(home, "cache"),
        "LC_ALL": "C.UTF-8",
        **OWN_ENVIRONMENT,
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_COUNT": str(len(settings)),
        "RESTIC_PASSWORD": "bench",
        "BORG_BASE_DIR": os.path.join(home, "borg"),
        "BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK": "yes",
        "BORG_RELOCATED_REPO_ACCESS_IS_OK": "yes",
    }
    for number, (key, value) in enumerate(settings.items()):
        found[f"GIT_CONFIG_KEY_{number}"] = key
        found[f"GIT_CONFIG_VALUE_{number}"] = value
    for who in ("AUTHOR", "COMMITTER"):
        found[f"GIT_{who}_NAME"], found[f"GIT_{who}_EMAIL"] = "bench", "bench@example.org"
    return found


class Tool:
    """One tool at work on one folder."""

    name = ""
    program = ""

    def __init__(self, root: str, env: Mapping[str, str]) -> None:
        self.root = root
        self.data = os.path.join(root, DATA)
        self.store = os.path.join(root, STORES, self.name)
        self.env = env
        self._before: dict[str, int] = {}

    @classmethod
    def version(cls) -> str:
        """As its own `version` command says; empty where the tool is not installed."""
        program = shutil.which(cls.program)
        if program is None:
            return ""
        option = "version" if cls.name == "restic" else "--version"
        said = subprocess.run([program, option], capture_output=True, text=True, check=True).stdout
        return next((word for word in said.split() if word[0].isdigit()), "")

    def begin(self) -> None:
        """A fresh, empty store in the place of any earlier one."""
        shutil.rmtree(self.store, ignore_errors=True)
        os.makedirs(self.store)
        self.do(self.init())

    def do(self, jobs: Sequence[Job]) -> None:
        """Run what is not measured."""
        for job in jobs:
            run(job, self.env)

    def job(self, *words: str, folder: str = "") -> Job:
        return Job([self.program, *words], folder or self.root)

    # -- the work ------------------------------------------------------------------------------------------

    def init(self) -> list[Job]:
        raise NotImplementedError

    def save(self) -> list[Job]:
        """Record all of `Data/`."""
        raise NotImplementedError

    def save_path(self, path: str) -> list[Job]:
        """Record one changed file, named relative to `Data/`, in the quickest way the tool has."""
        del path  # restic and borg would make a version that holds this file alone
        return self.save()

    def look(self) -> list[Job]:
        """Find out that nothing changed."""
        return self.save()

    def published(self, place: str) -> str:
        """Make of the store what a clone is taken from, in the new folder `place`; packed. Returns it."""
        shutil.copytree(self.store, place)
        return place

    def checkout(self, source: str, target: str) -> list[Job]:
        """All files of the newest version at `source` into the absent folder `target`."""
        raise NotImplementedError

    def checked_out(self, target: str) -> str:
        """Where in `target` the files of `Data/` lie then."""
        return target

    # -- bytes ---------------------------------------------------------------------------------------------

    def stored(self) -> int:
        """Bytes of the whole store."""
        return size(self.store)

    def mark(self) -> None:
        """From here on `sent` counts."""
        self._before = self._contents()

    def sent(self) -> int:
        """Bytes that the last save sent, or a push of it would send, since `mark`."""
        return growth(self._before, self._contents())

    def _contents(self) -> dict[str, int]:
        return sizes(self.store)


class Memsync(Tool):
    name = "memsync"
    program = "memsync"

    def __init__(self, root: str, env: Mapping[str, str]) -> None:
        super().__init__(root, env)
        self.store = os.path.join(root, ".memsync")
        self.remote = os.path.join(root, STORES, "memsync-remote")

    @classmethod
    def version(cls) -> str:
        from importlib import metadata

        return metadata.version("memsync")

    def job(self, *words: str, folder: str = "") -> Job:
        script = os.path.join(os.path.dirname(sys.executable), "memsync")
        start = [script] if os.access(script, os.X_OK) else [sys.executable, "-m", "memsync"]
        return Job([*start, *words], folder or self.root)

    def begin(self) -> None:
        for place in (self.store, self.remote):
            shutil.rmtree(place, ignore_errors=True)
        self.make()

    def make(self) -> None:
        """The workspace, in this process: it is not measured. Harmless when repeated."""
        from memstore import Store

        Store.init(self.root, environ=OWN_ENVIRONMENT).close()

    def save(self) -> list[Job]:
        return [self.job("commit", "-m", "saved")]

    def save_path(self, path: str) -> list[Job]:
        return [self.job("commit", f"{DATA}/{path}", "-m", "saved")]

    def look(self) -> list[Job]:
        return [self.job("commit")]

    def push(self, *, mirror: bool) -> None:
        """To the folder remote, in this process: it is not timed."""
        from memstore import Store

        os.makedirs(self.remote, exist_ok=True)
        with Store.open(self.root, environ=OWN_ENVIRONMENT) as store:
            store.set_remote(self.remote)
            report = store.push(mirror=mirror)
        if report.status == "fail":
            raise BenchError(f"a push to a folder failed: {report.error}")

    def published(self, place: str) -> str:
        self.remote = place
        self.push(mirror=False)
        return place

    def checkout(self, source: str, target: str) -> list[Job]:
        return [self.job("clone", source, target)]

    def checked_out(self, target: str) -> str:
        return os.path.join(target, DATA)

    def mark(self) -> None:
        self.push(mirror=True)
        super().mark()

    def sent(self) -> int:
        self.push(mirror=True)
        return super().sent()

    def remote_size(self) -> int:
        """Bytes of the remote without the mirror."""
        return sum(self._contents().values())

    def _contents(self) -> dict[str, int]:
        """Bodies of all files of the remote but the mirror's: packs, heads, format."""
        return sizes(os.path.join(self.remote, ".memsync"))


class Git(Tool):
    name = "git"
    program = "git"

    def job(self, *words: str, folder: str = "") -> Job:
        own = ["--git-dir", self.store, "--work-tree", self.data]
        return Job([self.program, *own, *words], folder or self.data)

    def init(self) -> list[Job]:
        return [self.job("init", "--quiet")]

    def save(self) -> list[Job]:
        return [self.job("add", "--all"), self._commit()]

    def save_path(self, path: str) -> list[Job]:
        return [self.job("add", "--", path), self._commit()]

    def _commit(self) -> Job:
        return self.job("commit", "--quiet", "--allow-empty", "--message", "saved")

    def look(self) -> list[Job]:
        return [self.job("status", "--porcelain")]

    def published(self, place: str) -> str:
        self.do([Job(["git", "clone", "--quiet", "--bare", "--no-local", self.store, place], self.root)])
        self.do([Job(["git", "-C", place, "gc", "--quiet"], self.root)])
        return place

    def checkout(self, source: str, target: str) -> list[Job]:
        return [Job(["git", "clone", "--quiet", source, target], self.root)]

    def sent(self) -> int:
        """The thin pack of a push of the last commit: its deltas may lean on what the other side has."""
        words = ("pack-objects", "--thin", "--revs", "--stdout", "--delta-base-offset", "-q")
        return len(output(self.job(*words), self.env, b"HEAD\n^HEAD~1\n"))


class Restic(Tool):
    name = "restic"
    program = "restic"

    def job(self, *words: str, folder: str = "") -> Job:
        return Job([self.program, "--quiet", "--repo", self.store, *words], folder or self.root)

    def init(self) -> list[Job]:
        return [self.job("init", "--repository-version", "2")]

    def save(self) -> list[Job]:
        return [self.job("backup", DATA)]

    def checkout(self, source: str, target: str) -> list[Job]:
        words = ("--quiet", "--repo", source, "restore", "latest", "--target", target)
        return [Job([self.program, *words], self.root)]

    def checked_out(self, target: str) -> str:
        return os.path.join(target, DATA)


class Borg(Tool):
    name = "borg"
    program = "borg"

    def __init__(self, root: str, env: Mapping[str, str]) -> None:
        super().__init__(root, env)
        self._archives = 0

    def init(self) -> list[Job]:
        return [self.job("init", "--encryption", "none", self.store)]

    def save(self) -> list[Job]:
        self._archives += 1
        return [self.job("create", f"{self.store}::v{self._archives}", DATA)]

    def checkout(self, source: str, target: str) -> list[Job]:
        os.makedirs(target)
        return [self.job("extract", f"{source}::v{self._archives}", folder=target)]

    def checked_out(self, target: str) -> str:
        return os.path.join(target, DATA)

    def _contents(self) -> dict[str, int]:
        """Its segments: what it would send to a server; the rest it keeps to find them."""
        return sizes(os.path.join(self.store, "data"))


PEERS: Final[dict[str, Callable[[str, Mapping[str, str]], Tool]]] = {
    "git": Git,
    "restic": Restic,
    "borg": Borg,
}
TOOLS: Final[tuple[type[Tool], ...]] = (Memsync, Git, Restic, Borg)


def installed(names: Sequence[str]) -> tuple[dict[str, str], list[str]]:
    """(name → version of the wanted tools that are here, the wanted ones that are not)."""
    known = {tool.name: tool for tool in TOOLS}
    unknown = set(names) - known.keys()
    if unknown:
        raise BenchError(f"no such tool: {', '.join(sorted(unknown))}; there are {', '.join(known)}")
    versions = {name: known[name].version() for name in known if name in names}
    return {name: text for name, text in versions.items() if text}, [
        name for name, text in versions.items() if not text
    ]
