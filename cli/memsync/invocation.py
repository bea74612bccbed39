"""One call of a command: where it runs, how it answers, and the store it opens."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from memstore.errors import BadInput, typed
from memstore.progress import SILENT, Progress
from memsync import render

if TYPE_CHECKING:
    from memstore.store import Store


left_to_the_end: list[Store] | None = None
"""Stores that are not closed, because the process is about to end: before Python 3.12, closing the catalogue
writes its log back with two fsyncs, which the next opening does not need. None: they are closed."""


class Invocation:
    """What a command is handed beside its arguments."""

    def __init__(self, context: click.Context, *, as_json: bool) -> None:
        self.context = context
        self.json = as_json

    @property
    def cwd(self) -> str:
        """The folder the command runs in, absolute."""
        try:
            return os.getcwd()
        except FileNotFoundError:
            raise BadInput(
                "the current folder no longer exists", hint="cd into a workspace and run the command again"
            ) from None

    @contextlib.contextmanager
    def store(self, *, damaged: bool = False) -> Iterator[Store]:
        """The workspace around the current folder; with `damaged`, one that must be mended before it opens."""
        from memstore.store import Store

        opened = Store.open_damaged if damaged else Store.open
        store = opened(self.cwd, progress=self.progress())
        if left_to_the_end is not None:
            left_to_the_end.append(store)
            yield store
            return
        with store:
            yield store

    def progress(self) -> Progress:
        """A line on stderr where a person sees it, else nothing."""
        if sys.stderr is None or not sys.stderr.isatty() or os.environ.get("TERM") == "dumb":
            return SILENT
        from memsync.progress import ProgressLine

        return ProgressLine()

    def page(self) -> render.Page:
        return render.Page()

    # -- paths ---------------------------------------------------------------------------------------------

    def path(self, store: Store, text: str) -> str:
        """A PATH as the user wrote it, relative to `Data/` ('.' is all of it); one that only history has is good too.

        Raises `BadInput` for one that is nowhere.
        """
        from memstore.worktree.names import resolve

        try:
            return resolve(text, cwd=self.cwd, data=store.workspace.data, known=store.known) or "."
        except BadInput as error:
            if error.code != "unknown_path":
                raise
            if store.holds_references(text):
                raise BadInput(
                    f"{render.name(text)} is a folder of archive references, not of files",
                    hint=f"'memsync ls {typed(text)}' lists them: name the one you mean",
                ) from None
            hint = self._other_meaning(text)
            if not hint and (meant := store.similar(text)):
                hint = f"did you mean {' or '.join(map(render.name, meant))}?"
            raise BadInput(error.message, hint=hint or error.hint, code=error.code) from None

    def _other_meaning(self, text: str) -> str:
        """The hint for a word in the place of a PATH that is probably an id or a note; '' for any other."""
        import re

        verb = self.context.info_name or ""
        if verb == "commit" and " " in text:
            return "a note goes behind -m: memsync commit -m '…'"
        if re.fullmatch("[0-9a-fA-F]{3,7}", text):
            return "if this is a version's id: an id needs 8 or more digits; 'memsync log' shows them"
        from memsync import placing  # for what went wrong only
        from memsync.revision import means_version

        is_id = re.fullmatch("[0-9a-fA-F]{8,64}", text) is not None
        if verb in placing.TAKES_ONE and means_version(text):
            told = placing.line(verb, text, [other for other in self._typed() if not means_version(other)])
        else:
            told = f"'memsync show {text}' shows it" if is_id else ""
        return f"if this is a version's id: {told}" if is_id else told

    def _typed(self) -> list[str]:
        """The arguments that are no options, as they were typed."""
        typed: list[str] = []
        for name in ("paths", "arguments", "path", "what"):
            value = self.context.params.get(name)
            typed += [value] if isinstance(value, str) else value or ()
        return typed

    def paths(self, store: Store, texts: Sequence[str]) -> list[str] | None:
        """The PATHs given; None when there are none, which means everything."""
        return [self.path(store, text) for text in texts] or None

    # -- answers -------------------------------------------------------------------------------------------

    def answer(self, document: Mapping[str, Any]) -> None:
        """The one JSON document of this call."""
        click.echo(render.document(document))

    def warn(self, warnings: Iterable[str]) -> int:
        """Tell the warnings (a JSON document has them already); the exit code they make."""
        code = 0
        for warning in warnings:
            code = 1
            if not self.json:
                said = render.paint("warning:", "yellow", err=True)
                click.echo(f"{said} {render.visible(warning)}", err=True)
        return code
