"""clone: a new workspace with everything a remote has, its newest version in `Data/`.

Where `Data/` holds files already this is *joining*: they are committed, as a version without a parent, and merged
with what the remote has, no common version between them. Nothing in `Data/` is replaced before that.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

from memstore import files, trees
from memstore.actions import behind, checkout, collection, fetch, remote_state
from memstore.actions.fill import Left, fill
from memstore.actions.pull import unite
from memstore.actions.remote_state import RemoteState
from memstore.cycles import no_looking_for_cycles
from memstore.errors import BadInput, DamagedData, MemsyncError, RemoteMissing
from memstore.identity import CATALOGUE_NAME, StoreFormat
from memstore.ids import VersionId
from memstore.manifest import history
from memstore.manifest.removed import forgotten
from memstore.manifest.version import Meta
from memstore.progress import SILENT, Progress
from memstore.remotes.base import OpenRemote
from memstore.remotes.open import open_remote
from memstore.remotes.url import parse_url
from memstore.reports import PullReport
from memstore.repository import Repository
from memstore.workspace import Workspace
from memstore.worktree.found import safe_before
from memstore.worktree.materialise import FreshTree
from memstore.writer import Writer

STAGING_SUFFIX: Final = ".memsync-clone"
"""Beside `Data/`: where it is written until it is whole."""
MARKER_NAME: Final = "clone"
"""In `.memsync`, until the clone is whole: `filling`, then `placing` once all files lie beside `Data/`, or
`joining` where they are merged with what is there."""


LACKING: Final = (
    "the remote lacks contents of earlier versions: 'memsync verify' names them, and 'memsync repair' followed by "
    "'memsync push' on a device that has them brings them there"
)
"""A warning: the store that was cloned is not whole."""


class Cloned(NamedTuple):
    workspace: Workspace
    joined: PullReport | None
    """What came of the files that were there; None where there were none."""
    warnings: tuple[str, ...]
    """What the remote should have had and has not; what this disk can't hold."""


def clone(
    url: str, folder: str, *, environ: Mapping[str, str] | None = None, progress: Progress = SILENT
) -> Cloned:
    """Make a workspace in `folder`. A `paths.json`, a token and a `config.toml` may be there, a workspace without
    versions, and files in its `Data/`, which are joined. Interrupted, the same call goes on where it stopped.

    Raises `BadInput` for a workspace that has versions, and where no store is.
    """
    root = os.path.abspath(os.path.expanduser(folder))
    if os.path.lexists(root) and not os.path.isdir(root):
        raise BadInput(f"{root} is no folder", hint="name a folder that is not there yet")
    parse_url(url)
    made = not os.path.isdir(root)
    empty = not files.names(root)
    # The workspace is only made once the remote has answered: a wrong URL leaves nothing behind.
    workspace = Workspace.planned(root, environ)
    _refuse_occupied(workspace)
    bare = not files.exists(workspace.state)
    remote = open_remote(url, workspace, progress)
    try:
        try:
            format, heads, listed = _first_look(remote)
        except MemsyncError:
            if bare:  # the remote may have noted there what it saw
                _remove_all(workspace.state, itself=True)
                if made and os.path.isdir(root):
                    files.remove_folder(root)
            raise
        _clear_empty_store(workspace)
        workspace = Workspace.create(root, environ)
        # Before the store: what is there without its marker is a workspace, and refused.
        marker = os.path.join(workspace.state, MARKER_NAME)
        if not files.exists(marker):
            files.write_atomic(marker, b"filling")
        repository = Repository.create(workspace, format)
        try:
            with no_looking_for_cycles():
                joined, warnings = _fill(repository, remote, url, heads, listed, progress)
        finally:
            repository.close()
    except DamagedData:
        if empty:  # all that is there now is ours, and another try would only meet the same damage
            _remove_all(root, itself=made)
        raise
    finally:
        remote.close()
    return Cloned(workspace, joined, tuple(warnings))


def _refuse_occupied(workspace: Workspace) -> None:
    if files.exists(os.path.join(workspace.state, MARKER_NAME)):
        return  # an interrupted clone
    if files.exists(os.path.join(workspace.state, "format")) and not _has_no_versions(workspace):
        raise BadInput(
            f"{workspace.root} is a workspace already, with versions of its own",
            hint="if they are of that very store, use 'memsync pull' there; else clone into a folder of its own, and "
            "copy the files of this Data/ into that one, which then commits them",
        )


def _has_no_versions(workspace: Workspace) -> bool:
    """Whether a workspace was only made, to sign in from it say, and nothing was ever committed."""
    repository = Repository(workspace)
    try:
        repository.refresh()
        return repository.catalogue.version_count() == 0 and not repository.warnings
    finally:
        repository.close()


def _clear_empty_store(workspace: Workspace) -> None:
    """Make room for the store that is cloned; paths.json, configuration, token and device stay."""
    if files.exists(os.path.join(workspace.state, MARKER_NAME)):
        return
    for name in files.names(workspace.state):
        if name in ("segments", "packs"):
            trees.remove(os.path.join(workspace.state, name))
        elif name in ("format", "reflog", remote_state.STATE_NAME) or name.startswith(CATALOGUE_NAME):
            files.remove(os.path.join(workspace.state, name))


def _remove_all(root: str, *, itself: bool) -> None:
    for name in files.names(root):
        place = os.path.join(root, name)
        if os.path.isdir(place):
            trees.remove(place)
        else:
            files.discard(place)
    if itself and os.path.isdir(root):
        files.remove_folder(root)


def _first_look(remote: OpenRemote) -> tuple[StoreFormat, list[VersionId], list[str]]:
    try:
        remote.prepare(create=False)
        format = StoreFormat.parse(remote.read("format"), remote.url)
    except RemoteMissing as error:
        raise BadInput(
            f"there is no memsync store at {remote.url}",
            hint="check the address; a store is there after the first 'memsync push'",
            code="no_store",
        ) from error
    heads, listed = fetch.look_at_heads(remote)
    return format, sorted(heads), listed


def _fill(
    repository: Repository,
    remote: OpenRemote,
    url: str,
    heads: list[VersionId],
    listed: list[str],
    progress: Progress,
) -> tuple[PullReport | None, list[str]]:
    """What came of files that were there, and warnings."""
    repository.refresh()
    state = RemoteState(
        parse_url(url, repository.workspace).normalised,
        store=repository.format.store.hex(),
        heads=tuple(str(head) for head in heads),
    )
    state, _ = collection.learn(state, remote, listed)
    damaged: list[str] = []
    there = fetch.fetch_what_counts(repository, state, remote, progress, damaged)
    lacking = fetch.lacks_contents(repository, 0)
    if fetch.fetch_named(repository, remote, heads, progress, lacking=lacking, damaged=damaged):
        repository.refresh()
        lacking = lacking and fetch.lacks_contents(repository, 0)
    fetch.require_heads(repository, remote, heads, damaged)
    remote_state.save(repository, remote_state.with_sent(state, there))
    warnings = fetch.set_aside(remote, damaged) + ([LACKING] if lacking else [])
    with repository.writing() as writer:
        checkout.finish(repository, writer)
        newest = repository.catalogue.heads()
        joined = None
        if _holds_others(repository):
            joined = _join(repository, writer, heads, progress)
        elif newest:
            # Where a list may lag, what is missing may be there all the same, and trying again brings it.
            left = Left(bears_losses=remote.listing_is_free or bool(damaged))
            warnings += _materialise(repository, writer, newest[0], left, progress)
    files.remove(os.path.join(repository.state, MARKER_NAME))
    files.sync_dir(repository.state)
    return joined, warnings


def _holds_others(repository: Repository) -> bool:
    """Whether `Data/` holds files that no clone put there."""
    data = repository.workspace.data
    marker = files.read(os.path.join(repository.state, MARKER_NAME))
    ours = marker == b"placing" and not os.path.isdir(data + STAGING_SUFFIX)
    return marker == b"joining" or (bool(files.names(data)) and not ours)


def _join(repository: Repository, writer: Writer, heads: list[VersionId], progress: Progress) -> PullReport:
    """Commit what is in `Data/`, and merge it with what the remote has."""
    marker = os.path.join(repository.state, MARKER_NAME)
    if files.read(marker) != b"joining":
        if repository.head() is not None:  # of a clone that was cut off before its files had their place
            writer.forget_head()
        files.write_atomic(marker, b"joining")
    staging = repository.workspace.data + STAGING_SUFFIX
    if os.path.isdir(staging):
        trees.remove(staging)
    meta = Meta(note="files that were there before", reason="saved before joining")
    return unite(repository, writer, heads, meta, progress=progress)


def _materialise(
    repository: Repository, writer: Writer, target: VersionId, left: Left, progress: Progress
) -> list[str]:
    """Fill `Data/` with a version, and make it HEAD: beside its place first, then under its name as a whole. What an
    interrupted clone left beside it is made anew. Warnings, of paths that this disk can't hold, or that are lost."""
    data = repository.workspace.data
    staging = data + STAGING_SUFFIX
    if files.names(data):  # cut off after they had their place
        writer.move_head(target)
        return []
    if os.path.isdir(staging):
        trees.remove(staging)
    writer.fill_tree(_written(repository, FreshTree(staging), target, left, progress))
    files.sync_all()
    behind.note(repository, dict.fromkeys(left))
    clock = files.clock_of(repository.state)  # now: until here nobody else knew of these files
    writer.head_is_filled(target, safe_before(clock))
    files.write_atomic(os.path.join(repository.state, MARKER_NAME), b"placing")
    if os.path.isdir(data):
        files.remove_folder(data)
    files.rename(staging, data)
    files.sync_dir(os.path.dirname(data))
    return [behind.told(path, error) for path, error in left.items()]


def _written(
    repository: Repository,
    tree: FreshTree,
    target: VersionId,
    left: Left,
    progress: Progress,
) -> Iterator[tuple[object, ...]]:
    """Write all files of a version; the rows of its manifest, each with what was seen of the file."""
    catalogue = repository.catalogue
    seq = repository.seq(target)
    gone = forgotten(catalogue, repository.reader)
    count = catalogue.files_at(seq)
    progress.begin("writing files", count, "files")
    try:
        for row, key in fill(repository, tree, count, history.entries_at(catalogue, seq), gone, left):
            yield (*row, *key)
            progress.advance(1)
    finally:
        progress.end()
