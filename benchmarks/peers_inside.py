"""Commits of one changed note from Python, in a process that is already running.

    python benchmarks/peers_inside.py WORKSPACE RESULT PATH…

Each PATH (relative to `Data/`) gets a line and a `store.commit([PATH])`; after each commit as many bytes as it
appended are appended to a file beside the store's and synced alone. RESULT becomes a JSON document:
milliseconds of each commit, and of that sync beside it. It imports nothing of the bench, which would count.
"""

from __future__ import annotations

import json
import os
import sys
import time

from memstore import Store

WARM = 3
"""Commits before the clock starts: modules imported, pages of the catalogue read."""


def main(root: str, result: str, paths: list[str]) -> None:
    commits, syncs = [], []
    probe = os.path.join(root, ".memsync", "bench-probe")
    with Store.open(root) as store, open(probe, "wb", buffering=0) as beside:
        for path in paths:
            with open(os.path.join(store.workspace.data, path), "ab") as note:
                note.write(b"one more line, from a running process\n")
            before = _segments(root)
            began = time.perf_counter()
            version = store.commit([path])
            commits.append(1000 * (time.perf_counter() - began))
            if version is None:
                raise SystemExit(f"nothing was recorded of {path}")
            appended = os.urandom(max(1, _segments(root) - before))
            began = time.perf_counter()
            beside.write(appended)
            getattr(os, "fdatasync", os.fsync)(beside.fileno())
            syncs.append(1000 * (time.perf_counter() - began))
    os.remove(probe)
    with open(result, "w", encoding="ascii") as file:
        json.dump({"commit": commits[WARM:], "sync": syncs[WARM:]}, file)


def _segments(root: str) -> int:
    folder = os.path.join(root, ".memsync", "segments")
    return sum(
        os.path.getsize(os.path.join(folder, name)) for name in os.listdir(folder) if name.endswith(".seg")
    )


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3:])
