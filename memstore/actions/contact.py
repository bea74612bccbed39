"""How a push meets the remote: it makes sure that this is the store's own, and learns what lies there."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from memstore.actions import collection, remote_state
from memstore.actions.remote_state import MEND, RemoteState
from memstore.actions.settle import settle
from memstore.errors import BadInput, RemoteMissing, RemoteTrouble, typed
from memstore.identity import StoreFormat
from memstore.progress import Progress
from memstore.remotes.base import BytesSource, OpenRemote

if TYPE_CHECKING:
    from memstore.repository import Repository


def contact(
    repository: Repository, state: RemoteState, remote: OpenRemote, progress: Progress
) -> tuple[RemoteState, list[str], collection.Notes]:
    """Find the remote, make sure that it is ours, list its heads (before its packs: invariant 2), and see what
    collections have taken."""
    remote.prepare(create=state.store is None)
    if state.store is None:
        state = _first_contact(repository, state, remote)
    elif remote.listing_is_free:
        _require_format(repository, remote)  # another disk may be mounted at that very place
    newcomer = not state.registered
    state = collection.register(repository, state, remote)
    listed = [file.name for file in remote.list("heads/")]
    heads = remote_state.head_ids(listed)
    remote_state.note_listed(repository, state, heads)
    if not heads and state.sent:
        there = {file.name.rpartition("/")[2] for file in remote.list("packs/")}
        # A first push that was cut off before its head leaves packs, all of them of this device.
        if there and (state.heads or there - repository.catalogue.places().keys()):
            raise RemoteTrouble(
                f"{remote.url} shows packs but no heads: its listing lags, or its heads were removed",
                hint=f"try again in a minute; if it stays so, {MEND}",
            )
        # An emptied remote is filled again, which loses nothing; only one that lost some must be looked at.
        if not there:
            _require_format(repository, remote)
            state = remote_state.save(repository, remote_state.emptied(state))
            repository.catalogue.db.execute("DELETE FROM mirror")
    state, notes = collection.learn(state, remote, listed)
    if heads:
        state = settle(repository, state, remote, newcomer=newcomer, progress=progress)
        if remote.listing_is_free and state.sent:
            there = {file.name.rpartition("/")[2] for file in remote.list("packs/")}
            sent = tuple(name for name in state.sent if name in there)
            if sent != state.sent:
                state = remote_state.save(repository, replace(state, sent=sent))
    return state, listed, notes


def _first_contact(repository: Repository, state: RemoteState, remote: OpenRemote) -> RemoteState:
    """Read or write the format file; learn which packs lie there already."""
    try:
        _require_ours(repository, remote)
    except RemoteMissing:
        if remote.list("heads/") or remote.list("packs/"):
            raise RemoteTrouble(
                f"{remote.url} has packs but no format file",
                hint=MEND,
            ) from None
        remote.create("format", BytesSource(repository.format.encoded()))
        state = replace(state, registered=True)
        repository.catalogue.db.execute("DELETE FROM mirror")  # of a store that lay there before
    there = [file.name.rpartition("/")[2] for file in remote.list("packs/")]
    # Where nothing lies nobody can have collected yet: ours, too, if an earlier push was cut off at its format.
    registered = state.registered or not (there or remote.list("heads/"))
    return remote_state.save(
        repository,
        replace(state, store=repository.format.store.hex(), sent=tuple(there), registered=registered),
    )


def _require_ours(repository: Repository, remote: OpenRemote) -> None:
    """Raises `BadInput` for the remote of another store or of a newer memsync, `RemoteMissing` for none."""
    theirs = StoreFormat.parse(remote.read("format"), remote.url)
    if theirs.store != repository.format.store:
        raise BadInput(
            f"{remote.url} belongs to another store",
            hint="choose another folder with 'memsync remote set URL', or bring that store here: "
            f"memsync clone {typed(remote.url)} DIR",
            code="other_store",
        )


def _require_format(repository: Repository, remote: OpenRemote) -> None:
    try:
        _require_ours(repository, remote)
    except RemoteMissing:
        remote.prepare(create=True)
        remote.create("format", BytesSource(repository.format.encoded()))
