"""Store: the face of the library. It holds the parts together; the actions do the work.

    store = Store.open(".")
    version = store.commit(["Meta/AI_Architecture.txt"], note="…", context_tags=["llama"])
    with store.saving(chat_name="GPT Memory Build") as turn: ...

Paths are relative to `Data/`, `/` between parts, or `Path` objects. `at` takes a `Version`, an id or a unique
prefix of 8 or more digits, or a time (`2025-04-23`, `2025-04-23T14:00Z`, `2 days ago`, a `datetime`).
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from typing import TYPE_CHECKING

from memstore.errors import BadInput
from memstore.ids import VersionId
from memstore.manifest.version import Meta, Version
from memstore.progress import SILENT, Progress

if TYPE_CHECKING:
    from memstore.actions.remote_state import RemoteState
    from memstore.manifest.outline import Outline
    from memstore.manifest.retention import Rules
    from memstore.remotes.base import OpenRemote
    from memstore.reports import (
        CommitReport,
        FileDifference,
        ForgetReport,
        GcReport,
        ListedFile,
        PullReport,
        PushReport,
        RemoteStatus,
        RepairReport,
        RestoreReport,
        StatusReport,
        UndoReport,
        VerifyReport,
    )
    from memstore.repository import Repository
    from memstore.workspace import Workspace

At = Version | VersionId | date | str
AnyPath = str | os.PathLike[str]
Paths = AnyPath | Sequence[AnyPath]


class Turn:
    """What a `saving` block may still say of the version it will make, and that version when it has ended."""

    def __init__(self, note: str, context_tags: list[str], chat_name: str, reason: str, actor: str) -> None:
        self.note = note
        self.context_tags = context_tags
        self.chat_name = chat_name
        self.reason = reason
        self.actor = actor
        self.report: CommitReport | None = None
        """Set when the block has ended."""

    @property
    def version(self) -> Version | None:
        """None before the end of the block, and when nothing had changed."""
        return self.report.version if self.report else None


class Store:
    """A workspace and its versions. Not shared between threads: open one for each (opening is cheap)."""

    def __init__(
        self, workspace: Workspace, progress: Progress = SILENT, *, repository: Repository | None = None
    ) -> None:
        """Of a workspace that is there; finishes a restore that a crash left half-done. With `repository`, of
        that one, and such a restore is left to `repair`."""
        from memstore.repository import Repository

        self.workspace = workspace
        self.progress = progress
        self.repository = repository or Repository(workspace)
        self.joined: PullReport | None = None
        """What `clone` made of files that were in `Data/` before."""
        self.lacking: tuple[str, ...] = ()
        """Warnings of `clone`: the remote lacks something that its versions name."""
        if repository is None and self.repository.checkout_is_open():
            self._finish_checkout()

    # -- opening -------------------------------------------------------------------------------------------

    @classmethod
    def init(
        cls,
        folder: str | os.PathLike[str] = ".",
        *,
        environ: Mapping[str, str] | None = None,
        progress: Progress = SILENT,
    ) -> Store:
        """Make a workspace in `folder`, or complete one that lacks `paths.json`; harmless when repeated."""
        from memstore.repository import Repository
        from memstore.workspace import Workspace

        workspace = Workspace.create(folder, environ)
        Repository.create(workspace).close()
        return cls(workspace, progress)

    @classmethod
    def open(
        cls,
        folder: str | os.PathLike[str] = ".",
        *,
        environ: Mapping[str, str] | None = None,
        flags: Mapping[str, object] | None = None,
        progress: Progress = SILENT,
    ) -> Store:
        """The workspace that `folder` lies in. Raises `NoWorkspace`, `BadInput` (paths.json, config.toml)."""
        from memstore.workspace import Workspace

        return cls(Workspace.find(folder, environ, flags), progress)

    @classmethod
    def open_damaged(
        cls,
        folder: str | os.PathLike[str] = ".",
        *,
        environ: Mapping[str, str] | None = None,
        flags: Mapping[str, object] | None = None,
        progress: Progress = SILENT,
    ) -> Store:
        """As `open`, for `repair`: also where the format file or a checkout record is damaged."""
        from memstore.actions.state_files import format_of
        from memstore.repository import Repository
        from memstore.workspace import Workspace

        workspace = Workspace.find(folder, environ, flags)
        return cls(workspace, progress, repository=Repository(workspace, format_of(workspace.state)))

    @classmethod
    def clone(
        cls,
        url: AnyPath,
        folder: str | os.PathLike[str],
        *,
        environ: Mapping[str, str] | None = None,
        progress: Progress = SILENT,
    ) -> Store:
        """A new workspace with all that the remote at `url` has, its newest version in `Data/`. Files that are in
        `Data/` already are committed and merged with it: `joined` says what came of them."""
        from memstore.actions.clone import clone

        cloned = clone(os.fspath(url), os.fspath(folder), environ=environ, progress=progress)
        store = cls(cloned.workspace, progress)
        store.joined = cloned.joined
        store.lacking = cloned.warnings
        return store

    def close(self) -> None:
        self.repository.close()

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _finish_checkout(self) -> None:
        from memstore.actions import checkout

        with self.repository.writing() as writer:
            checkout.finish(self.repository, writer)

    # -- recording -----------------------------------------------------------------------------------------

    def commit(
        self,
        paths: Paths | None = None,
        *,
        note: str = "",
        context_tags: Sequence[str] = (),
        chat_name: str = "",
        reason: str = "",
        actor: str = "",
        allow_deletions: bool = False,
    ) -> Version | None:
        """Record what changed (in `paths` only, where given). None when nothing had."""
        return self.commit_report(
            paths,
            note=note,
            context_tags=context_tags,
            chat_name=chat_name,
            reason=reason,
            actor=actor,
            allow_deletions=allow_deletions,
        ).version

    def commit_report(
        self,
        paths: Paths | None = None,
        *,
        note: str = "",
        context_tags: Sequence[str] = (),
        chat_name: str = "",
        reason: str = "",
        actor: str = "",
        allow_deletions: bool = False,
    ) -> CommitReport:
        """As `commit`, with the warnings."""
        from memstore.actions.commit import commit

        meta = Meta(note, _tags(context_tags), chat_name, reason, actor)
        return commit(
            self.repository,
            None if paths is None else _chosen(paths),
            meta=meta,
            allow_deletions=allow_deletions,
            progress=self.progress,
        )

    @contextlib.contextmanager
    def saving(
        self,
        *,
        note: str = "",
        context_tags: Sequence[str] = (),
        chat_name: str = "",
        reason: str = "",
        actor: str = "",
        paths: Paths | None = None,
    ) -> Iterator[Turn]:
        """One version at the end of a turn, also when the block raises: what was saved is saved. The note and
        tags may be added to on the way: `turn.note = "…"`, `turn.context_tags.append("…")`."""
        turn = Turn(note, list(_tags(context_tags)), chat_name, reason, actor)
        try:
            yield turn
        finally:
            turn.report = self.commit_report(
                paths,
                note=turn.note,
                context_tags=turn.context_tags,
                chat_name=turn.chat_name,
                reason=turn.reason,
                actor=turn.actor,
            )

    def archive(
        self,
        paths: Paths,
        *,
        reason: str = "",
        note: str = "",
        actor: str = "",
        keep: bool = False,
    ) -> CommitReport:
        """Record an archive reference to each path's current content and remove the file (`keep`: don't)."""
        from memstore.actions.archive import archive

        return archive(
            self.repository,
            _chosen(paths),
            meta=Meta(note=note, reason=reason, actor=actor),
            keep=keep,
            progress=self.progress,
        )

    def restore(
        self,
        paths: Paths,
        *,
        at: At | None = None,
        to: AnyPath | None = None,
        exact: bool = False,
        actor: str = "",
    ) -> RestoreReport:
        """Bring paths, folders (`""` or `.` for all) or archive references back as a new version; `to` writes
        them to a place outside `Data/` instead and makes no version."""
        from memstore.actions.restore import restore, restore_to

        cleaned = _chosen(paths)
        if to is not None:
            self.repository.refresh()
            return restore_to(self.repository, cleaned, os.fspath(to), at=at)
        return restore(self.repository, cleaned, at=at, exact=exact, actor=actor, progress=self.progress)

    def undo(self, *, actor: str = "") -> UndoReport:
        """Back out the last commit, restore, undo, pull or merge as a new version: each path that it changed gets
        what this device had there before. What is not committed is committed first. An undo that was cut off, and
        that opening this store finished, is reported and nothing else is done. Raises `BadInput` where there is no
        version yet."""
        from memstore.actions.undo import undo

        return undo(self.repository, actor=actor, progress=self.progress)

    # -- looking -------------------------------------------------------------------------------------------

    def status(self) -> StatusReport:
        """How `Data/` stands to HEAD, and HEAD to the remote. Asks the remote nothing."""
        from memstore.actions import remote_state
        from memstore.actions.status import status

        self.repository.refresh()
        state = remote_state.load(self.repository)
        unpushed, oldest = remote_state.unpushed(self.repository, state)
        report = status(self.repository, None if state is None else state.status(), unpushed, oldest)
        return report._replace(
            mirror_waiting=remote_state.mirror_waiting(self.repository, state, unpushed),
            ahead=remote_state.is_ahead(self.repository, state),
        )

    def head(self) -> VersionId | None:
        """The version that `Data/` was last brought to, or recorded as; None before the first."""
        self.repository.refresh()
        return self.repository.head()

    def version(self, at: At) -> Version:
        """The version meant. Raises `BadInput` for an unknown or ambiguous id, or a time before the first."""
        from memstore.actions import select

        self.repository.refresh()
        return self.repository.version(select.version_id(self.repository, at))

    def known(self, path: AnyPath) -> bool:
        """Whether some version has the path, as a file or a folder, or an archive reference has that name."""
        from memstore.actions import select

        self.repository.refresh()
        return select.known(self.repository, _clean(path))

    def holds_references(self, folder: str) -> bool:
        """Whether archive references lie in `folder` (`Archive/Core`), which need not be there as a folder."""
        from memstore.manifest import references

        self.repository.refresh()
        return references.any_under(self.repository.catalogue, _clean(folder))

    def similar(self, path: AnyPath) -> list[str]:
        """Paths of history, two at most, that a mistyped one may have meant."""
        from memstore.actions.similar import similar

        return similar(self.repository, _clean(path))

    def history(
        self,
        path: AnyPath | None = None,
        *,
        limit: int | None = None,
        tag: str | None = None,
        chat: str | None = None,
        since: str | date | None = None,
        until: str | date | None = None,
    ) -> Iterator[Version]:
        """Newest first. With `path` (a file or a folder), only versions that changed it, and of their
        `changes` only those rows."""
        from memstore.actions import look

        self.repository.refresh()
        path = None if path is None else _clean(path)
        return look.versions(self.repository, path, limit=limit, tag=tag, chat=chat, since=since, until=until)

    def outlines(
        self,
        path: AnyPath | None = None,
        *,
        limit: int | None = None,
        tag: str | None = None,
        chat: str | None = None,
        since: str | date | None = None,
        until: str | date | None = None,
    ) -> Iterator[Outline]:
        """As `history`, in outline: without what the changes hold, which is quicker to read."""
        from memstore.actions import look

        self.repository.refresh()
        path = None if path is None else _clean(path)
        return look.outlines(self.repository, path, limit=limit, tag=tag, chat=chat, since=since, until=until)

    def family(self) -> Iterator[tuple[VersionId, tuple[VersionId, ...]]]:
        """Every version's id with those of its parents, newest first, children before parents."""
        from memstore.manifest import history

        self.repository.refresh()
        return history.family(self.repository.catalogue)

    def read(self, path: AnyPath, at: At | None = None) -> bytes:
        """The content of a path (or an archive reference) in a version, HEAD's by default."""
        return b"".join(self.read_stream(path, at))

    def read_stream(self, path: AnyPath, at: At | None = None) -> Iterator[bytes]:
        """The same in pieces of at most 16 MiB."""
        from memstore.actions import look

        self.repository.refresh()
        return look.read_stream(self.repository, _clean(path), at)

    def ls(self, path: AnyPath = "", at: At | None = None) -> Iterator[ListedFile]:
        """The files of a version under a folder, sorted; under `Archive/`, the references as well."""
        from memstore.actions.listing import listing

        self.repository.refresh()
        return listing(self.repository, _clean(path), at)

    def diff(self, a: At | None = None, b: At | None = None, paths: Paths = ()) -> Iterator[FileDifference]:
        """Between two versions; without `b`, from `a` (HEAD by default) to what lies in `Data/` now."""
        from memstore.actions.differences import differences

        self.repository.refresh()
        return differences(self.repository, a, b, _chosen(paths))

    # -- the remote ----------------------------------------------------------------------------------------

    def set_remote(self, url: AnyPath) -> RemoteStatus:
        """Where to push. Nothing is asked of it yet; a folder that holds no store (any more) is filled by the next
        push. Raises `BadInput` for what memsync does not understand."""
        from memstore.actions import remote_state

        return remote_state.point_at(self.repository, os.fspath(url)).status()

    def remote(self) -> RemoteStatus | None:
        """What is known of the remote here; None where none is set."""
        from memstore.actions import remote_state

        state = remote_state.load(self.repository)
        return None if state is None else state.status()

    def push(
        self,
        paths: Paths | None = None,
        *,
        mirror: bool = True,
        dry_run: bool = False,
        pull: bool | None = None,
    ) -> PushReport:
        """Send what the remote lacks, then refresh the mirror (of `paths` only, where given). `pull`: pull first,
        so that both have the same; as `push.pull` is configured by default.

        What goes wrong with the remote is in the report (`fail`), not raised. Raises `BadInput` where no
        remote is set.
        """
        state = self._remote_state()
        cleaned = None if paths is None else _chosen(paths)
        if dry_run:
            from memstore.actions.dry_run import dry_run as without_sending

            return without_sending(self.repository, state, paths=cleaned, mirror=mirror)
        from memstore.actions import push

        def send() -> PushReport:
            return push.push(
                self.repository,
                self._remote_state(),
                self._open_remote,
                paths=cleaned,
                mirror=mirror,
                progress=self.progress,
            )

        if not (self.workspace.config.push_pull if pull is None else pull):
            return send()
        from memstore.actions.exchange import exchange

        return exchange(self.pull, send)

    def is_on_remote(self, path: AnyPath) -> bool:
        """Whether the remote has HEAD's content of a path, and its mirror too where the path is mirrored."""
        from memstore.actions.unsent import has_content

        self.repository.refresh()
        return has_content(self.repository, self._remote_state(), _clean(path))

    def pull(self, *, on_conflict: str = "keep-both") -> PullReport:
        """Fetch what the remote has, merge it with what is here where both were made apart, and bring HEAD and
        `Data/` to that. `on_conflict` is `keep-both`, `ours`, `theirs`, or `fail`, which raises `Conflict`."""
        from memstore.actions.pull import pull

        state = self._remote_state()
        remote = self._open_remote()
        try:
            return pull(self.repository, state, remote, on_conflict=on_conflict, progress=self.progress)
        finally:
            remote.close()

    def _remote_state(self) -> RemoteState:
        from memstore.actions import remote_state

        state = remote_state.load(self.repository)
        if state is None:
            raise BadInput(
                "no remote is set",
                hint="'memsync remote set drive:' for Google Drive, 'memsync remote set PATH' for a folder",
                code="no_remote",
            )
        return state

    def _open_remote(self) -> OpenRemote:
        return self._open(self._remote_state().url)

    def _open(self, url: str) -> OpenRemote:
        from memstore.remotes.open import open_remote

        return open_remote(url, self.workspace, self.progress)

    # -- care ----------------------------------------------------------------------------------------------

    def verify(self, *, remote: bool = False, quick: bool = False, read_data: bool = False) -> VerifyReport:
        """Read everything back and compare it with its hash; `quick` reads no contents. `remote` compares
        the remote's listing as well, `read_data` downloads its packs and decodes
        all that is in them."""
        from memstore.actions import verify

        report = verify.verify(self.repository, quick=quick, progress=self.progress)
        if not remote:
            return report
        from memstore.actions.verify_remote import verify_remote

        state = self._remote_state()
        there = self._open_remote()
        try:
            found = verify_remote(self.repository, state, there, read_data=read_data, progress=self.progress)
        finally:
            there.close()
        return report._replace(
            problems=(*report.problems, *found.problems), notes=(*report.notes, *found.notes)
        )

    def repair(self, *, dry_run: bool = False) -> RepairReport:
        """Bring back what damage took: from the remote, from damaged files, from other copies, from `Data/`;
        and send again what the remote has lost. `dry_run` only says what it would do.

        What could not be brought back is in the report, not raised. A store whose format file or checkout
        record is damaged is opened with `open_damaged`.
        """
        from memstore.actions import remote_state
        from memstore.actions.repair import repair

        state = remote_state.load_or_none(self.repository)
        url = state.url if state is not None else remote_state.said_url(self.repository)
        opener = None if url is None else lambda: self._open(url)
        return repair(self.repository, opener, dry_run=dry_run, progress=self.progress)

    def gc(
        self, rules: Rules | None = None, *, keep_archived: bool | None = None, local: bool = False
    ) -> GcReport:
        """Let contents leave that no kept version holds, and make few packs of many; then the same on the
        remote (`local`: not there). Rules are the configuration's by default, and with none everything is kept.
        """
        from memstore.actions import gc, remote_state

        config = self.workspace.config
        state = remote_state.load(self.repository)
        return gc.gc(
            self.repository,
            state,
            None if local or state is None else self._open_remote,
            self._rules() if rules is None else rules,
            keep_archived=config.gc_keep_archived if keep_archived is None else keep_archived,
            progress=self.progress,
        )

    def gc_dry_run(
        self, rules: Rules | None = None, *, keep_archived: bool | None = None, local: bool = False
    ) -> GcReport:
        """What `gc`, called alike, would let go here."""
        from memstore.actions import gc, remote_state

        config = self.workspace.config
        return gc.dry_run(
            self.repository,
            remote_state.load(self.repository),
            self._rules() if rules is None else rules,
            keep_archived=config.gc_keep_archived if keep_archived is None else keep_archived,
            local=local,
        )

    def forget(
        self, targets: Paths, *, at: At | None = None, reason: str = "", actor: str = ""
    ) -> ForgetReport:
        """Remove contents everywhere and for good: from all packs here and on the remote, from `Data/`, from the
        mirror, its `Archive/` and its revisions. A target is a path (all that it ever held; with `at`, what it held
        then), an archive reference, or 8 or more digits of a content's id. Without targets, finish a forget that was
        cut off. Versions, paths, notes and hashes stay.

        What goes wrong with the remote is in the report, not raised; another call finishes it.
        """
        from memstore.actions import remote_state
        from memstore.actions.forget import forget

        return forget(
            self.repository,
            _chosen(targets),
            None if remote_state.load(self.repository) is None else self._open_remote,
            at=at,
            reason=reason,
            actor=actor,
            progress=self.progress,
        )

    def forget_dry_run(self, targets: Paths, *, at: At | None = None) -> ForgetReport:
        """What `forget` would remove, as far as is known here."""
        from memstore.actions import remote_state
        from memstore.actions.forget import dry_run

        state = remote_state.load(self.repository)
        cleaned = _chosen(targets)
        return dry_run(self.repository, cleaned, at=at, url=None if state is None else state.url)

    @property
    def forgetting(self) -> bool:
        """Whether a forget was cut off before its end."""
        from memstore.actions import forgetting

        return forgetting.load(self.repository) != forgetting.Intent()

    def _rules(self) -> Rules:
        """Which versions keep their contents, by the configuration."""
        from memstore.manifest.retention import Rules, span_ms

        config = self.workspace.config
        return Rules(
            last=config.gc_keep_last,
            within_ms=span_ms(config.gc_keep_within),
            daily=config.gc_keep_daily,
            weekly=config.gc_keep_weekly,
            monthly=config.gc_keep_monthly,
            tags=config.gc_keep_tags,
        )


def _tags(given: Sequence[str] | None) -> tuple[str, ...]:
    return (given,) if isinstance(given, str) else tuple(given or ())


def _chosen(given: Paths) -> list[str]:
    """One path where several may be given is meant as one, not as its letters. Raises `BadInput` for an empty one:
    that is a variable that was not set, not all of `Data/`."""
    listed = [given] if isinstance(given, str | os.PathLike) else given
    if any(path == "" for path in listed):
        raise BadInput(
            "no path: '': it is empty",
            hint="name a file or a folder in the data folder; '.' is all of it",
            code="bad_path",
        )
    return [_clean(path) for path in listed]


def _clean(given: AnyPath) -> str:
    """`Core/` and `Core` are one folder, `.` is all of `Data/`."""
    path = given if isinstance(given, str) else os.fspath(given).replace(os.sep, "/")
    path = path.rstrip("/") if path != "/" else path
    if any("\ud800" <= sign <= "\udfff" for sign in path):  # an archive reference may break the other rules
        from memstore.worktree.names import check_path

        check_path(path)
    return "" if path == "." else path
