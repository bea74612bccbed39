"""What of the files that were chosen can be brought back, and what is left as it is: asked before anything is
recorded, so that no version says what `Data/` does not hold.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from memstore import files
from memstore.actions import select
from memstore.actions.checkout import Step
from memstore.actions.here import content_at
from memstore.actions.select import Chosen
from memstore.errors import BadInput, DamagedData, DiskTrouble, typed
from memstore.manifest.version import Entry
from memstore.objects.reader import Removed
from memstore.worktree.names import brief, check_path, problem, shown

if TYPE_CHECKING:
    from memstore.repository import Repository


def differs_on_disk(repository: Repository, step: Step) -> bool:
    """Whether `Data/` does not hold what a path is to hold."""
    here = content_at(repository, step.path)
    if here is None or step.new is None:
        return (here is None) != (step.new is None)
    return here.content != step.new.content or (files.POSIX and here.kind != step.new.kind)


def leave_out_nameless(chosen: dict[str, Chosen], gone: Sequence[str] = ()) -> list[str]:
    """Take out of `chosen` what no file of this system can be called, whoever made a version hold that; a sentence for
    each. Raises `BadInput` if that, and what is to be `gone`, leaves nothing of what was asked for."""
    reasons = {path: reason for path in chosen if (reason := problem(path)) is not None}
    if reasons and len(reasons) == len(chosen) and not gone:
        check_path(next(iter(reasons)))
    for path in reasons:
        del chosen[path]
    return [
        f"{brief(path)} is left out: no file here can have that name: {reason}"
        for path, reason in sorted(reasons.items())
    ]


def leave_out_damaged(
    repository: Repository, chosen: dict[str, Chosen], gone: Sequence[str] = ()
) -> list[str]:
    """Take out of `chosen` what cannot be read back, before anything is recorded or written; a sentence for
    each. Raises `DamagedData` if that, and what is to be `gone`, leaves nothing of what was asked for."""
    told: list[str] = []
    trouble: DamagedData | None = None
    for path, item in list(chosen.items()):
        if not differs_on_disk(repository, Step(path, None, item.entry)):
            continue
        try:
            select.require_known(repository, item.path, item.source, item.entry)
            for _ in repository.stream(item.entry.content):
                pass
        except DamagedData as error:
            del chosen[path]
            trouble = _with_path(error, path) if isinstance(error, Removed) else error
            told.append(f"{path} is left as it was: {error.message}; {trouble.hint}")
    if trouble is not None and not chosen and not gone:
        raise trouble
    return told


def _with_path(error: Removed, path: str) -> Removed:
    """What holds a content that was removed, and what can be done about it."""
    return Removed(
        f"{path} can't be brought back: {error.message}",
        hint=f"'memsync log {typed(path)}' shows its other versions, "
        f"'memsync restore {typed(path)} --at ID' brings one of them back",
    )


def leave_out_removed(repository: Repository, chosen: dict[str, Chosen]) -> list[str]:
    """Take out of `chosen` what was removed on purpose; a sentence for each. Raises `Removed` where that is all."""
    told: list[str] = []
    trouble: Removed | None = None
    for path, item in list(chosen.items()):
        try:
            next(repository.stream(item.entry.content), None)
        except Removed as error:
            del chosen[path]
            trouble = error
            told.append(f"{path} is left out: {error.message}")
        except DamagedData:
            continue  # told when it is written
    if trouble is not None and not chosen:
        raise trouble
    return told


def leave_out_unwritable(repository: Repository, chosen: dict[str, Chosen], gone: set[str]) -> list[str]:
    """Take out of both what lies in a folder that this process may not write to; a sentence for each. Raises
    `DiskTrouble` where that is everything."""
    data = repository.workspace.data
    locked: dict[str, str | None] = {}
    out: dict[str, str] = {}
    for path in {*chosen, *gone}:
        folder = path.rpartition("/")[0]
        if folder not in locked:
            locked[folder] = _locked(data, folder)
        place = locked[folder]
        if place is not None and differs_on_disk(repository, Step(path, None, _entry(chosen, path))):
            out[path] = f"{place} may not be written to"
    if not out:
        return []
    hint = "change its permissions (or those of its disk), and run the command again"
    told = [f"{sentence}; {hint}" for sentence in _taken_out(out, chosen, gone)]
    if not chosen and not gone:
        raise DiskTrouble(f"nothing was restored: {next(iter(out.values()))}", hint=hint)
    return told


def _locked(data: str, folder: str) -> str | None:
    """The folder that must be written to for a file in this one, if that is not allowed."""
    place = os.path.join(data, folder) if folder else data
    while not os.path.lexists(place) and len(place) > len(data):
        place = os.path.dirname(place)
    return None if not os.path.isdir(place) or files.may_write(place) else place


def leave_out_unsaved(
    repository: Repository, chosen: dict[str, Chosen], gone: set[str], left_out: Sequence[str]
) -> list[str]:
    """Take out of both what `Data/` holds otherwise than HEAD although it was just committed: a content that no
    version may have, as `left_out` tells. A sentence for each. Raises `BadInput` where that is everything."""
    out: dict[str, str] = {}
    for path in {*chosen, *gone}:
        here = content_at(repository, path)
        row = repository.catalogue.tree_entry(path)
        entry = _entry(chosen, path)
        if here is not None and here.content not in (
            None if row is None else row[2],
            None if entry is None else entry.content,
        ):
            out[path] = "what it holds could not be saved first"
    if not out:
        return []
    hint = "move that file out of Data/, and run the command again"
    told = [f"{sentence}; {hint}" for sentence in _taken_out(out, chosen, gone)]
    if not chosen and not gone:
        raise BadInput(
            f"nothing was restored, because what is there could not be saved first: {'; '.join(left_out)}",
            hint=hint,
            code="not_saved",
        )
    return told


def _taken_out(out: Mapping[str, str], chosen: dict[str, Chosen], gone: set[str]) -> list[str]:
    """Take these paths out of both, each for its reason, and with a file what was to lie in a folder of its name, or
    the other way round: no version may hold both. A sentence for each."""
    known = {*chosen, *gone}
    folders = {folder for path in known for folder in above(path)}
    reasons: dict[str, str] = {}
    waiting = dict(out)
    while waiting:
        path, why = waiting.popitem()
        reasons[path] = why
        met = [folder for folder in above(path) if folder in known]
        if path in folders:
            met += [other for other in known if other.startswith(path + "/")]
        waiting |= {
            other: f"{shown(path)} stays" for other in met if other not in reasons and other not in waiting
        }
    for path in reasons:
        chosen.pop(path, None)
        gone.discard(path)
    return [f"{shown(path)} is left as it was: {why}" for path, why in sorted(reasons.items())]


def above(path: str) -> list[str]:
    """The folders a path lies in, the outermost first."""
    return [path[:end] for end, sign in enumerate(path) if sign == "/"]


def _entry(chosen: Mapping[str, Chosen], path: str) -> Entry | None:
    item = chosen.get(path)
    return None if item is None else item.entry
