"""The remote's half of repair: fetch from it what is damaged here, send it again what it lost.

Whatever is taken away there is provably not what its name says (a pack is named by its hash), and is sent
again at once; if that is cut off, the pack counts as not sent, and the next push sends it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from memstore import files
from memstore.actions import fetch as fetch_actions
from memstore.actions import remote_state, repair_theirs, state_files
from memstore.actions.remote_state import RemoteState
from memstore.actions.repair_theirs import Theirs
from memstore.actions.verify import paths_in
from memstore.actions.verify_remote import Found, is_damaged, is_news, verify_remote
from memstore.errors import BadInput, DamagedData, RemoteMissing, RemoteTrouble
from memstore.identity import StoreFormat
from memstore.ids import VersionId
from memstore.objects.catalogue import PlaceKind, path_of
from memstore.objects.pack import check_header
from memstore.progress import Progress
from memstore.remotes.base import BytesSource, FileSource, OpenRemote, RemoteFile, ToldSource
from memstore.reports import Mended, Problem

if TYPE_CHECKING:
    from memstore.repository import Repository

FETCHED: Final = "fetched from the remote"
LOST_TWICE: Final = "gone here too: 'memsync push' sends what is left of it in another pack"


# -- from there --------------------------------------------------------------------------------------------


def fetch(
    repository: Repository,
    remote: OpenRemote,
    damaged: Sequence[str],
    *,
    losses: bool,
    dry_run: bool,
    progress: Progress,
) -> list[Mended]:
    """Bring the packs that are damaged here, or gone, from the remote. What is damaged there too goes into
    `torn/`: it may be damaged in another place. A pack that is not here is only missed where something in the
    store is (`losses`): a collection may have put it away."""
    try:
        remote.prepare(create=False)
        heads = remote_state.head_ids([file.name for file in remote.list("heads/")])
        listed = {file.name.rpartition("/")[2]: file for file in remote.list("packs/")}
    except RemoteMissing:
        return []
    state = remote_state.load_or_none(repository)
    # Where the heads are gone, they are derived from packs: then all of these are needed here.
    known = state.sent if state is not None and losses else ()
    gone = [
        name
        for name in (known if heads else sorted(listed))
        if name in listed and not files.exists(path_of(repository.state, name, PlaceKind.PACK))
    ]
    wanted = [name for name in [*damaged, *gone] if name in listed]
    done: list[Mended] = []
    progress.begin("fetching", sum(listed[name].size for name in wanted), "B")
    try:
        for name in wanted:
            paths = paths_in(repository, name)
            kind = "damaged_pack" if name in damaged else "missing_pack"
            if dry_run or _fetch_one(repository, remote, listed[name], progress):
                how = FETCHED + ("; the damaged file goes to torn/" if name in damaged else "")
                done.append(Mended(kind, name, how, paths))
    finally:
        progress.end()
    return done


def _fetch_one(repository: Repository, remote: OpenRemote, file: RemoteFile, progress: Progress) -> bool:
    name = file.name.rpartition("/")[2]
    folder = os.path.join(repository.state, "packs")
    path = path_of(repository.state, name, PlaceKind.PACK)
    try:
        temporary, found = fetch_actions.download(folder, remote, file, progress)
    except RemoteMissing:
        return False
    except RemoteTrouble as error:
        if error.retryable:
            raise
        return False
    if str(found) != name:
        torn = os.path.join(repository.state, state_files.TORN)
        files.make_dir(torn)
        files.publish(temporary, os.path.join(torn, f"{name}.pack-remote-{os.urandom(4).hex()}"))
        return False
    if files.exists(path):
        state_files.put_aside(repository, path)
    files.publish(temporary, path)
    return True


# -- to there ----------------------------------------------------------------------------------------------


def mend(
    repository: Repository,
    remote: OpenRemote,
    aside: Collection[str],
    theirs: Theirs,
    *,
    dry_run: bool,
    progress: Progress,
) -> tuple[list[Mended], Found]:
    """Format, packs, heads: (what was mended, what is still to be said of the remote). `aside` are packs that were
    damaged here, and are put into `torn/` (in a dry run also those that are still to be fetched); `theirs` is what
    came of other devices. Raises `RemoteMissing` where a remote that was pushed to is not there."""
    state = remote_state.load_or_none(repository)
    done: list[Mended] = []
    try:
        remote.prepare(create=False)
    except RemoteMissing:
        if state is not None and state.store is None:
            return [], Found([], [])  # nothing was sent yet
        raise
    listed = {file.name.rpartition("/")[2]: file for file in remote.list("packs/")}
    heads = remote.list("heads/")
    if not listed and not heads:  # an emptied remote is filled by the next push
        return [], Found([], []) if state is None else verify_remote(repository, state, remote)
    done += _mend_format(repository, remote, sorted(listed), dry_run)
    if state is None:  # remote.json could not be read, and the remote is ours: what lies there is learnt anew
        state = RemoteState(remote.url)
        done.append(
            Mended("remote_state", remote_state.STATE_NAME, "written anew: the remote is this store's")
        )
        if not dry_run:
            path = os.path.join(repository.state, remote_state.STATE_NAME)
            state_files.put_aside(repository, path)
            state = replace(state, store=repository.format.store.hex(), sent=tuple(sorted(listed)))
            remote_state.save(repository, state)
    done += _mend_packs(repository, state, remote, listed, aside, dry_run, progress)
    done += repair_theirs.mend_packs(repository, state, remote, theirs, dry_run)
    heads_done, lost = _mend_heads(repository, remote, theirs, dry_run)
    done += heads_done
    if dry_run:
        names = {row.id for row in done}
        found = verify_remote(repository, state, remote)
        return done, Found([row for row in found.problems if row.id not in names], found.notes)
    state = remote_state.load_or_none(repository) or state
    found = verify_remote(repository, state, remote)
    return done, Found([*lost, *found.problems], found.notes)


def _mend_format(
    repository: Repository, remote: OpenRemote, packs: Sequence[str], dry_run: bool
) -> list[Mended]:
    """Write the format file anew if it is gone or damaged, and the packs are this store's. Raises `BadInput`
    for the remote of another store, or a newer one."""
    try:
        data = remote.read("format")
        StoreFormat.parse(data, remote.url)
        if data == repository.format.encoded():
            return []
        damaged = True
        trouble: BadInput | DamagedData = BadInput(
            f"{remote.url} belongs to another store", hint="choose another with 'memsync remote set URL'"
        )
    except RemoteMissing:
        damaged, trouble = (
            False,
            BadInput(f"{remote.url} has no format file", hint="see 'memsync remote show'"),
        )
    except DamagedData as error:
        damaged, trouble = True, error
    if not any(_is_ours(repository, remote, name) for name in packs):
        raise trouble
    if not dry_run:
        if damaged:
            remote.delete("format")
        remote.create("format", BytesSource(repository.format.encoded()))
    return [Mended("remote_format", "format", "written anew: the packs there are this store's")]


def _is_ours(repository: Repository, remote: OpenRemote, name: str) -> bool:
    try:
        facts = check_header(remote.read(f"packs/{name}", 0, 4096), f"pack {name[:12]}")
    except (DamagedData, RemoteMissing):
        return False
    return bool(facts.get("store") == repository.format.store)


def _mend_packs(
    repository: Repository,
    state: RemoteState,
    remote: OpenRemote,
    listed: dict[str, RemoteFile],
    aside: Collection[str],
    dry_run: bool,
    progress: Progress,
) -> list[Mended]:
    """Send again the packs that were sent and are not there, or not as they were sent. What is left of one that
    is lost here as well lies in the open segment now, and the next push sends it."""
    here = {
        name: path_of(repository.state, name, PlaceKind.PACK)
        for name, (_, kind, _) in repository.catalogue.places().items()
        if kind == PlaceKind.PACK and name not in aside
    }
    missing = [name for name in state.sent if name not in listed]
    if missing and is_news(state, remote.list("heads/")):
        missing = []  # taken on purpose, perhaps because of what they hold: a push sends what is to lie there
    damaged = [
        name for name in sorted(here.keys() & listed.keys()) if is_damaged(remote, listed[name], here[name])
    ]
    lost = [name for name in missing if name not in here]
    missing = [name for name in missing if name in here]
    if lost and not dry_run:
        state = remote_state.save(
            repository, replace(state, sent=tuple(name for name in state.sent if name not in lost))
        )
    done = [Mended("remote_missing_pack", name, LOST_TWICE) for name in lost]
    progress.begin("sending", sum(files.size(here[name]) for name in [*missing, *damaged]), "B")
    try:
        for name in [*missing, *damaged]:
            if not dry_run:
                # First of all it counts as not sent: cut off anywhere, the next push sends it.
                state = remote_state.save(
                    repository, replace(state, sent=tuple(other for other in state.sent if other != name))
                )
                if name in damaged:
                    remote.delete(f"packs/{name}")
                source = ToldSource(FileSource(here[name]), progress.advance)
                remote.create(f"packs/{name}", source)
                source.finish()
                state = remote_state.save(repository, remote_state.with_sent(state, [name]))
            kind = "remote_damaged_pack" if name in damaged else "remote_missing_pack"
            done.append(Mended(kind, name, "sent again", paths_in(repository, name)))
    finally:
        progress.end()
    return done


def _mend_heads(
    repository: Repository, remote: OpenRemote, theirs: Theirs, dry_run: bool
) -> tuple[list[Mended], list[Problem]]:
    """Derive heads from packs, and write those that are not there or can't be read; then remove those of versions
    that no pack there holds: (what was done, what is lost)."""
    packs = {file.name.rpartition("/")[2] for file in remote.list("packs/")}
    names = {file.name.rpartition("/")[2] for file in remote.list("heads/")}
    lost = {} if dry_run else repair_theirs.lost_heads(repository, remote, theirs, packs)
    unknown = [
        head for head in remote_state.head_ids(sorted(names)) if repository.catalogue.seq(head) is None
    ]
    ahead = any(head not in lost for head in unknown)
    done = []
    for head in _heads_of(repository, packs):
        name = str(head)
        if name in names:
            if _is_marker(remote, name):
                continue
            if not dry_run:
                remote.delete(f"heads/{name}")
        elif ahead:
            continue  # it may well be superseded by one that is not known here; our own a push sees to
        if not dry_run:
            body = {"format": 1, "device": repository.device.name, "packs": []}
            remote.create(f"heads/{name}", BytesSource(json.dumps(body).encode()))
        done.append(Mended("remote_head", name, "derived from the packs that are there"))
    if ahead:
        return done, []  # what is whole before the lost ones may have no marker yet: another time
    taken, problems = repair_theirs.take_markers(repository, remote, lost, sorted(names))
    return [*done, *taken], problems


def _is_marker(remote: OpenRemote, name: str) -> bool:
    try:
        return fetch_actions.packs_named(remote, VersionId.from_hex(name)) is not None
    except RemoteMissing:
        return False
    except RemoteTrouble as error:
        if error.retryable:
            raise
        return False


def _heads_of(repository: Repository, packs: set[str]) -> list[VersionId]:
    """Versions in these packs that no version in them has as a parent."""
    db = repository.catalogue.db
    rows = db.execute("SELECT seq, id, parent, name FROM versions LEFT JOIN places USING (place)").fetchall()
    there = {seq: id for seq, id, _, name in rows if name in packs}
    parents = {parent for seq, _, parent, _ in rows if seq in there}
    parents |= {parent for seq, parent in db.execute("SELECT seq, parent FROM other_parents") if seq in there}
    return [VersionId(id) for seq, id in there.items() if seq not in parents]
