"""The rows that count bytes: each a small function, all of them in the table at the end."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Sequence
from functools import partial
from random import Random
from typing import Final

from benchmarks import peers_corpora as corpora
from benchmarks.peers_bench import VECTORS, Bench, Outcome, Place, medians
from benchmarks.peers_indexes import ADDED, LAYOUTS, write_index
from benchmarks.peers_reach import OWN, at_most, of
from benchmarks.peers_rows import INDEX, Row

NOTE_BYTES: Final = 40_000


def replayed_store(bench: Bench) -> list[Outcome]:
    """Packs and segment to git's pack and index."""
    return [Outcome({OWN: store}, remark, name) for name, store, _, remark in _replays(bench)] or _none()


def replayed_catalogue(bench: Bench) -> list[Outcome]:
    return [Outcome({OWN: cache}, remark, name) for name, _, cache, remark in _replays(bench)] or _none()


def _none() -> list[Outcome]:
    return [
        Outcome({}, "not measured: no repository was given (--repo), and no replay stands in the document")
    ]


def _replays(bench: Bench) -> list[tuple[str, float, float, str]]:
    """(name, packs and segment / git, catalogue / git, remark) of each history."""
    if not bench.options.repositories:
        return _written_replays(bench.options.document)
    return [_replay(bench, path, name) for path, name in bench.options.repositories]


def _replay(bench: Bench, path: str, name: str) -> tuple[str, float, float, str]:
    from benchmarks.replay import replay

    if path not in bench.replays:
        work = os.path.join(bench.options.work, "replay")
        shutil.rmtree(work, ignore_errors=True)
        os.makedirs(work)
        result = replay(path, work, name=name, pairs=50)
        shutil.rmtree(work)
        remark = f"{result.versions:,} versions, git {result.git_size / 1e6:.2f} MB"
        if result.differences:
            remark += f", {len(result.differences)} DIFFERENCES"
        bench.replays[path] = (
            name,
            result.store / result.git_size,
            result.catalogue / result.git_size,
            remark,
        )
    return bench.replays[path]


_SECTION = re.compile(r"<!-- replay (\S+) -->(.*?)<!-- end of replay \1 -->", re.DOTALL)
_STORE = re.compile(r"^\| packs and segment / git \| \*\*([\d.]+)\*\*", re.MULTILINE)
_CACHE = re.compile(r"^\| catalogue \(a cache\) \| .*?([\d.]+) of git", re.MULTILINE)


def _written_replays(document: str) -> list[tuple[str, float, float, str]]:
    """From the sections that `benchmarks/replay.py` wrote."""
    if not os.path.exists(document):
        return []
    with open(document, encoding="utf-8") as file:
        text = file.read()
    found = []
    for section in _SECTION.finditer(text):
        store, cache = _STORE.search(section[2]), _CACHE.search(section[2])
        if store and cache:
            found.append(
                (section[1], float(store[1]), float(cache[1]), "from its own section of this document")
            )
    return found


def pushed_line(bench: Bench) -> list[Outcome]:
    """Median over runs: each appends another line."""
    place = Place(bench, "line")
    prose, random = corpora.prose(), Random(corpora.SEED)
    for number in range(30):
        corpora.write(place.data, corpora.note_path(number), corpora.note(prose, number))
    corpora.write(place.data, corpora.RULES, prose.text(random, NOTE_BYTES).encode())
    place.save_all()
    lines = [prose.line(random).encode() for _ in bench.turns()]
    changes = [partial(corpora.append, place.data, corpora.RULES, line) for line in lines]
    return [
        Outcome(
            _sent(bench, place, corpora.RULES, changes),
            "git: its thin pack; restic, borg: what their stores grew by",
        )
    ]


def pushed_vectors(layout: str, bench: Bench) -> list[Outcome]:
    place = Place(bench, f"vectors-{layout}")
    index = LAYOUTS[layout](bench.options.scaled(VECTORS, 300))
    path = os.path.join(place.data, INDEX)
    write_index(path, index, 0)
    place.save_all()
    turns = [partial(write_index, path, index, turn + 1) for turn in range(min(3, bench.options.runs))]
    return [Outcome(_sent(bench, place, INDEX, turns), what=layout)]


def _sent(bench: Bench, place: Place, path: str, changes: Sequence[Callable[[], object]]) -> dict[str, float]:
    """Median over the changes of what each tool sends for one."""
    found: dict[str, list[float]] = {name: [] for name in place.tools}
    for change in changes:
        for tool in place.tools.values():
            tool.mark()
        change()
        for name, tool in place.tools.items():
            bench.time(name, tool.save_path(path))
            found[name].append(tool.sent())
    place.remove()
    return medians(found)


def first_push(bench: Bench) -> list[Outcome]:
    place = bench.committed_notes()
    figures = {name: float(size) for name, size in bench.first_sizes.items() if name in {"restic", "borg"}}
    remote = os.path.join(bench.options.work, "first-push")
    shutil.rmtree(remote, ignore_errors=True)
    place.memsync.begin()
    place.memsync.do(place.memsync.save())
    place.memsync.published(remote)
    figures[OWN] = float(place.memsync.remote_size())
    shutil.rmtree(remote)
    return [
        Outcome(figures, "without the readable mirror; restic, borg: their stores after the first backup")
    ]


ROWS: Final = (
    Row(
        "replay",
        "the store after replaying a real history, to git's pack and index after `gc --aggressive`",
        "times",
        at_most(0.95, "0.95 of git"),
        replayed_store,
    ),
    Row(
        "replay-catalogue",
        "its catalogue (a cache), to the same",
        "times",
        at_most(0.3, "0.3 of git"),
        replayed_catalogue,
    ),
    Row(
        "push-line",
        "what a push sends for one line appended to a 40 KB note",
        "bytes",
        at_most(1000, "1 KB"),
        pushed_line,
    ),
    *(
        Row(
            f"push-{layout.lower()}",
            f"the same for {ADDED} vectors (31 KB) added to 20,000 of 384 floats",
            "bytes",
            at_most(limit * 1000, f"{limit} KB"),
            partial(pushed_vectors, layout),
        )
        for layout, limit in (("Flat", 60), ("IVF", 70), ("HNSW", 90))
    ),
    Row("first-push", "the first push of 100,000 notes", "MB", of("restic", 0.8), first_push),
)
