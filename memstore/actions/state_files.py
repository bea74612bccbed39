"""The small files of `.memsync` that are never derived: what `verify` says of them, and what `repair` can do.

Each damaged one is moved to `torn/` before a new one takes its place.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

from memstore import files
from memstore.actions import behind, checkout, remote_state
from memstore.current import pack_names, segment_names
from memstore.errors import DamagedData
from memstore.identity import FORMAT_NAME, StoreFormat, load_format
from memstore.ids import VersionId
from memstore.objects.catalogue import PlaceKind, path_of
from memstore.objects.file_header import parse_file_header
from memstore.objects.pack import MAGIC as PACK_MAGIC
from memstore.objects.segment import MAGIC as SEGMENT_MAGIC
from memstore.reflog import LOST, REFLOG_NAME
from memstore.reports import Mended, Problem
from memstore.repository import BEHIND_NAME, CHECKOUT_NAME, TORN_NAME

if TYPE_CHECKING:
    from memstore.repository import Repository

TORN: Final = TORN_NAME
_REFLOG_LINE: Final = re.compile(r"[0-9a-f]{64} \d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ \w+( -| [0-9a-f]{64})?")
_MEND: Final = "run 'memsync repair'"


def check(repository: Repository) -> Iterator[Problem]:
    """What is wrong with them."""
    path = os.path.join(repository.state, FORMAT_NAME)
    if not files.exists(path):
        yield Problem("damaged_format", FORMAT_NAME, (), f"it is missing; {_MEND}")
    elif files.read(path) != repository.format.encoded():
        yield Problem("damaged_format", FORMAT_NAME, (), f"it is not what it must be; {_MEND}")
    missing = {str(id) for id in missing_heads(repository)}
    for id in sorted(missing):
        hint = f"a segment ends with it, and nothing here holds it; {_MEND}"
        yield Problem("missing_version", id, (), hint)
    _, wrong = _reflog(repository)
    for line in wrong:
        if _names_lost(line) and line[:64] not in missing:
            hint = f"the segment or pack that held it lost it; {_MEND}"
            yield Problem("missing_version", line[:64], (), hint)
    damaged = sum(not _names_lost(line) for line in wrong)
    if damaged:
        hint = f"{damaged} of its lines name no version of this store; {_MEND}"
        yield Problem("damaged_reflog", REFLOG_NAME, (), hint)
    try:
        remote_state.load(repository)
    except DamagedData as error:
        yield Problem("damaged_remote_state", remote_state.STATE_NAME, (), f"{error.message}; {error.hint}")
    try:
        checkout.load(repository)
    except FileNotFoundError:
        pass
    except DamagedData as error:
        yield Problem("damaged_checkout", CHECKOUT_NAME, (), f"{error.message}; {error.hint}")
    try:
        behind.load(repository)
    except DamagedData as error:
        yield Problem("damaged_behind", BEHIND_NAME, (), f"{error.message}; {error.hint}")


def mend(repository: Repository, *, dry_run: bool) -> Iterator[Mended]:
    """Put right what can be. For the holder of the lock, once packs and segments are."""
    for problem in list(check(repository)):
        if problem.kind == "damaged_format":
            how = "written anew: packs and segments say whose they are"
            _replace(repository, FORMAT_NAME, repository.format.encoded(), dry_run)
            yield Mended("format", FORMAT_NAME, how)
        elif problem.kind == "damaged_reflog":
            good, wrong = _reflog(repository)
            kept = [*good, *(line for line in wrong if _names_lost(line))]
            text = "".join(f"{line}\n" for line in kept).encode()
            _replace(repository, REFLOG_NAME, text, dry_run)
            yield Mended("reflog", REFLOG_NAME, "written anew without the lines that name nothing")
        elif problem.kind == "damaged_checkout":
            _replace(repository, CHECKOUT_NAME, None, dry_run)
            how = "put aside: an unfinished restore stays as far as it came; 'memsync status' shows what differs"
            yield Mended("checkout", CHECKOUT_NAME, how)
        elif problem.kind == "damaged_behind":
            _replace(repository, BEHIND_NAME, None, dry_run)
            how = "put aside: 'memsync status' shows which files of HEAD are not in Data/"
            yield Mended("behind", BEHIND_NAME, how)
    # remote.json is the remote's half: only the remote can say whether its address is right.


def _replace(repository: Repository, name: str, data: bytes | None, dry_run: bool) -> None:
    if dry_run:
        return
    path = os.path.join(repository.state, name)
    if files.exists(path):
        put_aside(repository, path)
    if data is None:
        files.remove(path)
        files.sync_dir(repository.state)
    else:
        files.write_atomic(path, data)


def put_aside(repository: Repository, path: str) -> str:
    """Keep what has this path in `torn/` too, durable; where. It still has its own path afterwards."""
    folder = os.path.join(repository.state, TORN)
    files.make_dir(folder)
    kept = os.path.join(folder, f"{os.path.basename(path)}-{os.urandom(4).hex()}")
    files.keep_aside(path, kept)
    return kept


# -- the format file ---------------------------------------------------------------------------------------


def format_of(state: str) -> StoreFormat:
    """What the format file says or, where packs and segments agree on another store, what these say.

    Raises `DamagedData` where neither tells, `BadInput` for a newer format.
    """
    stores = Counter(store for store in map(_store_of, _files(state)) if store is not None)
    said, trouble = None, None
    try:
        said = load_format(state)
    except DamagedData as error:
        trouble = error
    if said is not None and (said.store in stores or not stores):
        return said
    if stores:
        return StoreFormat(stores.most_common(1)[0][0])
    assert trouble is not None
    raise trouble


def _files(state: str) -> Iterator[tuple[str, bytes]]:
    for name in pack_names(state):
        yield path_of(state, name, PlaceKind.PACK), PACK_MAGIC
    for name in segment_names(state):
        yield path_of(state, name, PlaceKind.SEGMENT), SEGMENT_MAGIC


def _store_of(file: tuple[str, bytes]) -> bytes | None:
    """The store that a file's header names; None where it is damaged or newer."""
    path, magic = file
    descriptor = files.open_read(path)
    try:
        facts: dict[str, Any] = parse_file_header(files.read_at(descriptor, 0, 4096), magic, path)[0]
    except DamagedData:
        return None
    finally:
        os.close(descriptor)
    store = facts.get("store")
    return store if isinstance(store, bytes) and len(store) == 16 else None


# -- the reflog --------------------------------------------------------------------------------------------


def _reflog(repository: Repository) -> tuple[list[str], list[str]]:
    """(lines that name a version of this store, lines that were damaged). A line that a crash cut short is
    neither."""
    try:
        text = files.read(os.path.join(repository.state, REFLOG_NAME)).decode("ascii", "replace")
    except FileNotFoundError:
        return [], []
    good: list[str] = []
    damaged: list[str] = []
    lines = [line.lstrip("\0") for line in text.split("\n")]  # a sync that was refused may leave a hole
    known = {
        line: repository.catalogue.seq(VersionId.from_hex(line[:64])) is not None
        for line in lines
        if _REFLOG_LINE.fullmatch(line)
    }
    # Where one is lost, others may be as well, and the lines are all that tells of them.
    lost = bool(missing_heads(repository)) or any(_names_lost(line) and not known[line] for line in known)
    for line in lines:
        if line in known:
            (good if known[line] or (lost and not _names_lost(line)) else damaged).append(line)
        elif line and not _is_beginning(line):
            damaged.append(line)
    return good, damaged


def missing_heads(repository: Repository) -> list[VersionId]:
    """Versions that a segment ends with, by a hash that holds, and that neither pack nor segment has: where packs are
    gone and the catalogue with them, nothing else tells that they were there."""
    catalogue = repository.catalogue
    said = {catalogue.fact("head of " + name) for name in segment_names(repository.state)}
    heads = [VersionId(head) for head in sorted(head for head in said if isinstance(head, bytes))]
    here = "SELECT 1 FROM strays WHERE id = ?"
    return [
        head
        for head in heads
        if catalogue.seq(head) is None and catalogue.db.execute(here, (bytes(head),)).fetchone() is None
    ]


def _names_lost(line: str) -> bool:
    return bool(_REFLOG_LINE.fullmatch(line)) and line.endswith(f" {LOST}")


def lost_heads(repository: Repository) -> list[VersionId]:
    """Versions that segments lost, the newest last."""
    return [VersionId.from_hex(line[:64]) for line in _reflog(repository)[1] if _names_lost(line)]


def _is_beginning(line: str) -> bool:
    """Whether a line could go on to be one of ours."""
    model = "0" * 64 + " 2000-01-01T00:00:00Z pulled " + "0" * 64
    return len(line) < len(model) and bool(_REFLOG_LINE.fullmatch(line + model[len(line) :]))
