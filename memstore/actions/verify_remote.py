"""verify --remote: what lies on the remote, against what was sent there and what a clone would find."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence

from memstore import files
from memstore.actions import fetch
from memstore.actions.remote_state import SEND_ANEW, RemoteState
from memstore.actions.verify import paths_in, verify
from memstore.errors import DamagedData, RemoteMissing, RemoteTrouble
from memstore.objects.catalogue import PlaceKind, path_of
from memstore.progress import SILENT, Progress
from memstore.remotes.base import FileSource, Remote, RemoteFile
from memstore.reports import Problem
from memstore.repository import Repository
from memstore.workspace import Paths, Workspace


def verify_remote(
    repository: Repository,
    state: RemoteState,
    remote: Remote,
    *,
    read_data: bool = False,
    progress: Progress = SILENT,
) -> list[Problem]:
    """Compare the remote's listing with what was sent: names, sizes, md5 where the remote knows it.
    `read_data` downloads every pack and decodes all that is in it."""
    remote.prepare(create=False)
    problems: list[Problem] = []
    heads = remote.list("heads/")
    listed = {file.name.rpartition("/")[2]: file for file in remote.list("packs/")}
    hint = SEND_ANEW
    problems += [
        Problem("remote_missing_pack", name, paths_in(repository, name), hint)
        for name in sorted(set(state.sent) - set(listed))
    ]
    for name, file in sorted(listed.items()):
        path = path_of(repository.state, name, PlaceKind.PACK)
        if not files.exists(path):
            continue
        if files.size(path) != file.size or (file.md5 is not None and file.md5 != _md5(path)):
            problems.append(Problem("remote_damaged_pack", name, paths_in(repository, name), hint))
    if not heads and listed:
        problems.append(
            Problem(
                "remote_missing_head",
                remote.url,
                (),
                f"try again in a minute, in case its listing lags; if it stays so, {SEND_ANEW}",
            )
        )
    if read_data:
        problems += _read_remote(repository, remote, [listed[name] for name in sorted(listed)], progress)
    return problems


def _read_remote(
    repository: Repository, remote: Remote, listed: Sequence[RemoteFile], progress: Progress
) -> Iterator[Problem]:
    """Fetch every pack into a store that is thrown away, and verify that one: what a clone would find."""
    root = os.path.join(repository.state, "verify-" + os.urandom(8).hex())
    workspace = Workspace(root, Paths(), repository.workspace.config)
    scratch = Repository.create(workspace, repository.format)
    progress.begin("reading the remote", sum(file.size for file in listed), "B")
    try:
        for file in listed:
            name = file.name.rpartition("/")[2]
            try:
                fetch.fetch_pack(scratch.state, remote, file, progress)
            except RemoteMissing as error:
                yield Problem("remote_missing_pack", name, paths_in(repository, name), error.message)
            except (DamagedData, RemoteTrouble) as error:  # the remote was there just now: it is this file
                hint = f"{error.message}; {SEND_ANEW}"
                yield Problem("remote_damaged_pack", name, paths_in(repository, name), hint)
        progress.end()
        for problem in verify(scratch, progress=progress).problems:
            yield problem._replace(kind="remote_" + problem.kind)
    finally:
        progress.end()
        scratch.close()
        shutil.rmtree(root, ignore_errors=True)


def _md5(path: str) -> str:
    return FileSource(path).md5()
