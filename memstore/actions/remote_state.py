"""What this clone knows of its remote: `.memsync/remote.json`, never derived, replaced as a whole.

A push of hours and a pull beside it both write it. So each state keeps what it was read as, and saving it changes
only what its holder changed since: what others noted meanwhile stays.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

from blake3 import blake3

from memstore import files, locks
from memstore.errors import DamagedData, StoreLocked
from memstore.ids import VersionId
from memstore.reports.looking import RemoteStatus

if TYPE_CHECKING:
    from memstore.repository import Repository

STATE_NAME: Final = "remote.json"
LOCK_NAME: Final = "remote.lock"
"""Held for the moment of one saving."""
_LOCK_SECONDS: Final = 60.0

_OTHERS_PUSHED: Final = "others pushed"
"""A fact of the catalogue."""
MEND: Final = (
    "'memsync repair' on a device that has everything sends again what is missing or damaged there, "
    "and writes its heads anew"
)
"""For a remote that lost something."""
FILL: Final = "nothing is left there: 'memsync push' sends all of it again"
"""For a remote that lost everything."""
SET_ANEW: Final = "'memsync remote set URL' writes it anew; nothing that was sent is lost"
"""For a `remote.json` in which no address can be made out."""


@dataclass(frozen=True, slots=True)
class RemoteState:
    """Times are milliseconds since the epoch, UTC."""

    url: str
    device: str = ""
    """The id of the clone that wrote this."""
    store: str | None = None
    """Hex of the store id found there; None before the first contact."""
    sent: tuple[str, ...] = ()
    """Packs that are known to lie there, by name."""
    unpublished: tuple[str, ...] = ()
    """Those of them that were sent since a head was published last, in the order in which they were sent."""
    unlogged: tuple[str, ...] = ()
    """Those for which a head was published since, and whose files have no line in the upload_log yet."""
    heads: tuple[str, ...] = ()
    """The heads that were listed there last, hex."""
    registered: bool = False
    """Whether this device's file lies there, by which collections know of it."""
    collections: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """The collections whose markers lie there, and the packs that each took (`actions/collection.py`)."""
    settled: tuple[str, ...] = ()
    """Those of them after which all that this device has is there again."""
    superseded: tuple[str, ...] = ()
    """Packs there that a compaction here took the place of, and no marker says so yet."""
    remade: tuple[str, ...] = ()
    """Packs that a compaction made of packs that lay there: their versions are no news."""
    erase: tuple[str, ...] = ()
    """Packs there that hold what was forgotten: to be deleted as soon as what stays of them lies there."""
    last_push_ms: int | None = None
    last_error: str | None = None
    last_error_ms: int | None = None
    mirrored: str | None = None
    """The version whose mirror was finished last, and how it was chosen; None if it has work left."""
    folder: str | None = None
    """The folder that paths.json named for `drive:` at the first contact; None for other addresses."""
    base: RemoteState | None = field(default=None, compare=False, repr=False)
    """What the file said when this was read from it or written to it; None for a state that was made anew."""

    def status(self) -> RemoteStatus:
        return RemoteStatus(self.url, self.last_push_ms, self.last_error, self.last_error_ms)


def load(repository: Repository) -> RemoteState | None:
    """None where no remote is set. Raises `DamagedData` for a file that can't be read."""
    path = os.path.join(repository.state, STATE_NAME)
    try:
        facts: dict[str, Any] = json.loads(files.read(path))
        said = facts.pop("check", None)
        if said not in (None, _check(facts)):
            raise ValueError("it is not what was written")
        known = {name: facts[name] for name in _FACTS if name in facts}
        for name in ("sent", "unpublished", "unlogged", "heads", "settled", "superseded", "remade", "erase"):
            known[name] = tuple(known.get(name, ()))
        known["collections"] = {id: tuple(names) for id, names in known.get("collections", {}).items()}
        state = RemoteState(**_checked(known))
        if state.device != repository.device.id:
            # Of the folder that this one was copied from, or that a sync program laid over it: where the remote
            # is holds here too, but not what was sent or seen.
            state = RemoteState(state.url, repository.device.id)
        state = _where_paths_say(repository, state)
        return replace(state, base=state)
    except FileNotFoundError:
        return None
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise DamagedData(
            f"{path} cannot be read: {error}",
            hint="'memsync repair' asks the remote that it names; 'memsync remote set URL' writes it anew"
            if said_url(repository)
            else SET_ANEW,
        ) from error


_FACTS: Final = tuple(name for name in RemoteState.__dataclass_fields__ if name != "base")


def _check(facts: Mapping[str, Any]) -> str:
    """16 hex digits that tell a flipped bit in the file: an address that is another's is no damage to see."""
    return blake3(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]


def _checked(facts: dict[str, Any]) -> dict[str, Any]:
    """Raises `TypeError` for a fact of another type than memsync writes."""
    for name, value in facts.items():
        if isinstance(value, tuple):
            good = all(isinstance(item, str) for item in value)
        elif name == "collections":
            good = all(isinstance(item, str) for names in value.values() for item in names)
        elif name == "registered":
            good = isinstance(value, bool)
        elif name.endswith("_ms"):
            good = value is None or (type(value) is int and abs(value) < 1 << 53)
        else:
            good = isinstance(value, str) or (value is None and name != "url")
        if not good:
            raise TypeError(f"{name} is not what it must be")
    return facts


def _where_paths_say(repository: Repository, state: RemoteState) -> RemoteState:
    """If paths.json names another folder for `drive:` by now, that is another remote, of which nothing is known."""
    if state.folder in (None, _folder(repository, state.url)):
        return state
    return RemoteState(state.url, repository.device.id)


def _folder(repository: Repository, url: str) -> str | None:
    return "/".join(repository.workspace.drive_folder) if url == "drive:" else None


def load_or_none(repository: Repository) -> RemoteState | None:
    """As `load`, where a damaged file is about to be written anew."""
    try:
        return load(repository)
    except DamagedData:
        return None


def said_url(repository: Repository) -> str | None:
    """The address in a damaged file, if one can be made out: to be believed only if this store is there."""
    try:
        url = json.loads(files.read(os.path.join(repository.state, STATE_NAME)))["url"]
    except (FileNotFoundError, ValueError, TypeError, KeyError, RecursionError):
        return None
    return url if isinstance(url, str) else None


def save(repository: Repository, state: RemoteState) -> RemoteState:
    """Replace it, durably, without undoing what others noted since `state` was read. Where they set another remote
    meanwhile nothing is written: what `state` says is of the one before."""
    path = os.path.join(repository.state, STATE_NAME)
    with _alone(repository):
        if state.base is not None:
            with contextlib.suppress(DamagedData):  # which is about to be written anew
                there = load(repository)
                if there is not None and there.url != state.base.url:
                    return state
                if there is not None:
                    state = _joined(state.base, state, there)
        folder = None if state.store is None else _folder(repository, state.url)
        state = replace(state, device=repository.device.id, folder=folder, base=None)
        facts = {name: getattr(state, name) for name in _FACTS}
        files.write_atomic(path, (json.dumps(facts | {"check": _check(facts)}, indent=1) + "\n").encode())
    return replace(state, base=state)


@contextlib.contextmanager
def _alone(repository: Repository) -> Iterator[None]:
    try:
        lock = locks.take(os.path.join(repository.state, LOCK_NAME), _LOCK_SECONDS)
    except TimeoutError:
        raise StoreLocked(
            f"another process has held what is known of the remote for {_LOCK_SECONDS:g} s",
            hint="wait for it to end, then run the command again",
        ) from None
    except OSError as error:
        raise files.disk_error(error, "could not lock", repository.state) from error
    try:
        yield
    finally:
        locks.release(lock)


def _joined(base: RemoteState, ours: RemoteState, theirs: RemoteState) -> RemoteState:
    """Both sides' changes since `base`; of one value that both changed, ours."""
    if theirs == base:
        return ours
    if ours == base:
        return theirs
    facts: dict[str, Any] = {}
    for name in _FACTS:
        was, mine, other = (getattr(state, name) for state in (base, ours, theirs))
        if isinstance(mine, tuple):
            facts[name] = (
                *(item for item in mine if item in other or item not in was),
                *(item for item in other if item not in mine and item not in was),
            )
        elif isinstance(mine, Mapping):
            kept = {key: value for key, value in mine.items() if key in other or key not in was}
            news = {key: value for key, value in other.items() if value != was.get(key) == mine.get(key)}
            facts[name] = kept | news
        else:
            facts[name] = other if mine == was else mine
    return RemoteState(**facts, base=theirs)


def point_at(repository: Repository, url: str) -> RemoteState:
    """Where to push from now on. What was sent elsewhere, or to a store that is gone, counts no more. Raises
    `BadInput` for a URL that is none."""
    from memstore.remotes.url import parse_url
    from memstore.workspace import STATE_NAME as STORE_FOLDER

    place = parse_url(url, repository.workspace)
    state = load_or_none(repository)
    gone = place.path is not None and not os.path.isdir(os.path.join(place.path, STORE_FOLDER))
    if state is None or state.url != place.normalised or gone:
        state = save(repository, RemoteState(place.normalised))
    return state


def take_back(repository: Repository) -> None:
    """Forget an address that nobody chose and at which nothing was ever reached."""
    state = load(repository)
    if state is not None and state.store is None and not state.sent:
        files.remove(os.path.join(repository.state, STATE_NAME))


def with_sent(state: RemoteState, names: Sequence[str]) -> RemoteState:
    return replace(state, sent=tuple(sorted({*state.sent, *names})))


def just_sent(state: RemoteState, name: str) -> RemoteState:
    """With a pack that lies there now, and that no head stands for yet."""
    before = tuple(other for other in state.unpublished if other != name)
    return replace(with_sent(state, [name]), unpublished=(*before, name))


def emptied(state: RemoteState) -> RemoteState:
    """Of a remote on which nothing lies any more."""
    return replace(
        state,
        sent=(), unpublished=(), heads=(), mirrored=None,
        registered=True, collections={}, settled=(), superseded=(), remade=(), erase=(),
    )  # fmt: skip


def published(state: RemoteState) -> set[str]:
    """Packs that lie there and belong to a head that does: what is in them can be fetched by others."""
    return {*state.sent, *state.superseded, *state.remade} - set(state.unpublished)


def fossils(state: RemoteState) -> set[str]:
    """Packs there that do not count any more: a collection took what stays of them elsewhere."""
    return {name for names in state.collections.values() for name in names}


def unpushed(repository: Repository, state: RemoteState | None) -> tuple[int, int | None]:
    """(versions the remote lacks as far as is known here, time of the oldest in ms); (0, None) without one."""
    if state is None:
        return 0, None
    sent = published(state)
    count, oldest = 0, None
    rows = repository.catalogue.db.execute(
        "SELECT places.name, count(*), min(time) FROM versions JOIN places USING (place) GROUP BY place"
    )
    for name, number, time_ms in rows:
        if name not in sent:
            count += number
            oldest = time_ms if oldest is None else min(oldest, time_ms)
    return count, oldest


def is_ahead(repository: Repository, state: RemoteState | None) -> bool:
    """Whether a push or a pull has seen heads on the remote whose versions are not here."""
    seq = repository.catalogue.seq
    return state is not None and any(seq(VersionId.from_hex(head)) is None for head in state.heads)


def mirror_waiting(repository: Repository, state: RemoteState | None, unpushed: int) -> int:
    """Files of the mirror that a push left to the next one. 0 where another device may have seen to them, and where
    the next push has versions to send first."""
    if state is None or unpushed or others_pushed(repository) or len(repository.catalogue.heads()) != 1:
        return 0
    if not repository.workspace.config.mirror_enabled:
        return 0
    from memstore.mirror import plan

    return plan.waiting(repository, state.mirrored)


def note_listed(repository: Repository, state: RemoteState, heads: Sequence[VersionId]) -> None:
    """Other heads than those we left there: another device has pushed, and may have refreshed the mirror."""
    if {str(head) for head in heads} - set(state.heads):
        note_others(repository, True)


def note_others(repository: Repository, pushed: bool) -> None:
    if others_pushed(repository) != pushed:
        repository.catalogue.set_fact(_OTHERS_PUSHED, int(pushed))


def others_pushed(repository: Repository) -> bool:
    """Whether another device may have changed the mirror since this one did. Without a catalogue nothing is
    known of the mirror anyway."""
    return repository.catalogue.fact(_OTHERS_PUSHED) == 1


def head_ids(names: Sequence[str]) -> list[VersionId]:
    """Ids from the names of head markers; what is no id is passed over."""
    found = []
    for name in names:
        try:
            found.append(VersionId.from_hex(name.rpartition("/")[2]))
        except ValueError:
            continue
    return found
