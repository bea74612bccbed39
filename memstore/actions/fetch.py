"""Fetching: the packs that are missing here, whole, checked, and durable before anything names them."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Final

from blake3 import blake3

from memstore import files
from memstore.actions import remote_state
from memstore.actions.remote_state import MEND, RemoteState, head_ids
from memstore.errors import DamagedData, RemoteMissing, RemoteTrouble
from memstore.ids import PackId, VersionId
from memstore.objects.pack import check_header, read_tail
from memstore.progress import Progress
from memstore.remotes.base import Remote, RemoteFile

if TYPE_CHECKING:
    from memstore.repository import Repository


MARKER_AT_MOST: Final = 1 << 20
"""Bytes of a head's marker that are read: far more than the packs of one push take."""
NEWER: Final = "newer_format"
"""The code of an error that says of a pack not that it is damaged, but that this memsync is too old for it."""
LOST: Final = (
    "'memsync repair' on any device brings back what can be, names what is lost, and lets the rest be fetched"
)
"""The hint for a remote of which a part is damaged or gone."""
HEADER_SPACE: Final = 4096
"""Bytes that hold any pack's header."""


def look_at_heads(remote: Remote) -> tuple[dict[VersionId, str], list[str]]:
    """The same, each with the pack that a note on its marker names ('' where there is none): the last one that came
    with it. And all names in `heads/`."""
    there = remote.list("heads/")
    names = [file.name for file in there]
    heads = {head: file.notes.get("pack", "") for file in there for head in head_ids([file.name])}
    if not heads and remote.list("packs/"):
        raise RemoteTrouble(
            f"{remote.url} shows packs but no heads: its listing lags, or its heads were removed",
            hint=f"try again in a minute; if it stays so, {MEND}",
        )
    return heads, names


def fetch_noted(
    repository: Repository,
    state: RemoteState,
    remote: Remote,
    heads: Mapping[VersionId, str],
    progress: Progress,
) -> list[str] | None:
    """The packs that notes on unknown heads name: mostly they are all that is new, and then nobody need ask which
    packs there are. Their names; None if that was not all."""
    unknown = [head for head in heads if repository.catalogue.seq(head) is None]
    names = sorted({heads[head] for head in unknown})
    since = last_seq(repository)
    # After a collection, what a new version inherits may have been sent again in another pack.
    if not all(names) or state.collections or state.superseded:
        return None
    try:
        for name in names:
            PackId.from_hex(name)
            if not files.exists(os.path.join(repository.state, "packs", name + ".pack")):
                fetch_pack(repository.state, remote, RemoteFile(f"packs/{name}", 0), progress)
    except DamagedData as error:
        if error.code == NEWER:
            raise
        return None
    except (ValueError, RemoteMissing):
        return None
    repository.refresh()
    whole = all(repository.catalogue.seq(head) is not None for head in unknown)
    return names if whole and not lacks_contents(repository, since) else None


def fetch_packs(
    state: str,
    remote: Remote,
    present: Iterable[str],
    progress: Progress,
    damaged: list[str] | None = None,
) -> tuple[list[str], list[str]]:
    """Bring every pack that is not in `present` into `packs/`: (names of all that lie there, of the new ones).

    Heads must have been listed before (invariant 2). A pack that does not match its name is fetched once
    more, then refused with `DamagedData`; with `damaged` it is named there instead, and left out.
    """
    listed = {file.name.rpartition("/")[2]: file for file in remote.list("packs/")}
    known = {*present, *(damaged or ())}
    missing = [listed[name] for name in sorted(listed) if name not in known]
    progress.begin("fetching", sum(file.size for file in missing), "B")
    try:
        for file in missing:
            try:
                fetch_pack(state, remote, file, progress)
            except DamagedData as error:
                if damaged is None or error.code == NEWER:
                    raise
                damaged.append(file.name.rpartition("/")[2])
    finally:
        progress.end()
    bad = set(damaged or ())
    new = [name for file in missing if (name := file.name.rpartition("/")[2]) not in bad]
    return [name for name in sorted(listed) if name not in bad], new


def fetch_what_counts(
    repository: Repository,
    state: RemoteState,
    remote: Remote,
    progress: Progress,
    damaged: list[str] | None = None,
) -> list[str]:
    """Bring every pack that counts and is not here, and let the catalogue know; the names of all that lie there
    and count. `damaged` is as for `fetch_packs`. Where something is missing still, a collection marked it at the
    very moment when somebody counted on it: then its fossils come as well."""
    from memstore.actions.leaving import incomplete
    from memstore.manifest.removed import in_force

    fossils = remote_state.fossils(state)
    no_news = {*repository.catalogue.places(), *state.superseded}
    there, _ = fetch_packs(repository.state, remote, no_news | fossils, progress, damaged)
    repository.refresh()
    if not fossils.isdisjoint(there):
        removed = in_force(repository.catalogue, repository.reader)
        if incomplete(repository, removed):
            no_news |= repository.catalogue.places().keys() | set(damaged or ())
            fetch_packs(repository.state, remote, no_news, progress, damaged)
            repository.refresh()
    return [name for name in there if name not in fossils and name not in state.superseded]


def fetch_pack(state: str, remote: Remote, file: RemoteFile, progress: Progress) -> None:
    """Bring one pack into `packs/`, durable. Raises `DamagedData` if it does not match its name twice."""
    name = file.name.rpartition("/")[2]
    folder = os.path.join(state, "packs")
    for attempt in (1, 2):
        temporary, found = download(folder, remote, file, progress)
        if attempt == 1 and not files.exists(temporary):
            continue  # a forget at this very moment removes all that is half-written
        if str(found) == name:
            _require_pack(temporary, name)
            files.rename(temporary, os.path.join(folder, name + ".pack"))
            files.sync_dir(folder)
            return
        files.discard(temporary)
        if attempt == 2:
            raise DamagedData(
                f"pack {name[:12]} on {remote.url} is damaged: its bytes do not match its name",
                hint=MEND,
            )


def download(folder: str, remote: Remote, file: RemoteFile, progress: Progress) -> tuple[str, PackId]:
    """Bring a pack's bytes into a temporary file of `folder`, durable: (its path, the name these bytes have)."""
    hasher = blake3(max_threads=blake3.AUTO)
    with files.new_file(folder, make=True) as (descriptor, temporary):
        for piece in remote.read_stream(file.name):
            hasher.update(piece)
            files.write_all(descriptor, piece, temporary)
            progress.advance(len(piece))
        files.sync(descriptor, temporary)
    return temporary, PackId(hasher.digest())


def _require_pack(path: str, name: str) -> None:
    """A name can be right and the file no pack all the same. Raises `DamagedData`, the file removed."""
    what = f"pack {name[:12]}"
    descriptor = files.open_read(path)
    try:
        check_header(files.read_at(descriptor, 0, HEADER_SPACE), what)
        read_tail(lambda offset, length: files.read_at(descriptor, offset, length), files.size(path), what)
    except DamagedData:
        files.discard(path)
        raise
    finally:
        os.close(descriptor)


def require_heads(
    repository: Repository, remote: Remote, heads: Sequence[VersionId], damaged: Sequence[str] = ()
) -> None:
    """Every head that was listed is known now. A marker names the packs it came with, so that one which a lagging
    list did not show is read by name. Where one of those was `damaged`, or the list of a folder does not show it, it
    is lost, and waiting brings nothing."""
    missing = [head for head in heads if repository.catalogue.seq(head) is None]
    if not missing:
        return
    named = ", ".join(", ".join(_packs_of(remote, head)) or str(head)[:12] for head in missing)
    if not (damaged or remote.listing_is_free):
        raise _lags(remote, named)
    bad = ", ".join(f"pack {name[:12]}" for name in damaged)
    why = f"is damaged ({bad})" if damaged else f"is missing ({named})"
    raise DamagedData(
        f"{remote.url} has lost its newest version {str(missing[0])[:12]}: what held it {why}",
        hint=LOST if damaged else f"if a program syncs that folder, let it end; else {LOST}",
    )


def set_aside(remote: Remote, damaged: Sequence[str]) -> list[str]:
    """A warning of damaged packs that nothing which was fetched needs."""
    some = ", ".join(name[:12] for name in damaged[:3]) + (" …" if len(damaged) > 3 else "")
    return [f"left out what is damaged on {remote.url}: pack {some}; {LOST}"] if damaged else []


def _lags(remote: Remote, named: str) -> RemoteTrouble:
    return RemoteTrouble(
        f"{remote.url} does not show yet all packs of its newest version ({named})",
        hint="its listing lags behind: try again in a minute",
    )


def last_seq(repository: Repository) -> int:
    """The catalogue's number of the newest version."""
    return int(repository.catalogue.db.execute("SELECT coalesce(max(seq), 0) FROM versions").fetchone()[0])


def lacks_contents(repository: Repository, since: int) -> bool:
    """Whether a version with a greater number names a content that is not here: a list that lags may have shown
    the last of several packs that came with a head, and not the first."""
    from memstore.manifest import history

    return not repository.catalogue.may_hold(
        history.each_content(repository.catalogue, since=since, lost=True)
    )


def fetch_named(
    repository: Repository,
    remote: Remote,
    heads: Sequence[VersionId],
    progress: Progress,
    *,
    lacking: bool,
    damaged: Sequence[str] = (),
) -> list[str]:
    """Packs that the markers of unknown heads name and no list shows; their names. Of known heads as well, where
    new versions lack contents. Not those that are known to be `damaged`."""
    fetched = []
    for head in heads:
        if lacking or repository.catalogue.seq(head) is None:
            for name in _packs_of(remote, head):
                path = os.path.join(repository.state, "packs", name + ".pack")
                if name not in damaged and not files.exists(path):
                    try:
                        size = sum(file.size for file in remote.list(f"packs/{name}"))
                        fetch_pack(repository.state, remote, RemoteFile(f"packs/{name}", size), progress)
                    except RemoteMissing:
                        if repository.catalogue.seq(head) is None:
                            continue  # `require_heads` says so
                        raise _lags(remote, name) from None
                    fetched.append(name)
    return fetched


def packs_named(remote: Remote, head: VersionId) -> list[str] | None:
    """The packs that a head's marker names; None if it can't be read. Raises `RemoteMissing`."""
    data = remote.read(f"heads/{head}", 0, MARKER_AT_MOST)
    try:
        return [str(PackId.from_hex(name)) for name in json.loads(data)["packs"]]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


def _packs_of(remote: Remote, head: VersionId) -> list[str]:
    try:
        return packs_named(remote, head) or []
    except RemoteMissing:
        return []
