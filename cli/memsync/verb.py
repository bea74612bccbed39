"""What every command shares: `--json`, examples in its help, and the invocation it is handed."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Sequence
from typing import Any, Concatenate, Final, ParamSpec

import click

from memstore.errors import BadInput
from memsync import render
from memsync.invocation import Invocation

P = ParamSpec("P")
Example = tuple[str, str]
"""(command line, what it does)."""

AFTER_DASHES: Final = "memsync.after_dashes"
"""Where a context keeps the arguments that follow `--`, for commands to which they are paths for sure."""

PLACE: Final = click.Path(path_type=str)
"""The type of an argument that names a folder or file anywhere on the disk: any bytes may be its name."""


class Verb(click.Command):
    """A command whose help ends with examples."""

    def __init__(
        self, *args: Any, examples: Sequence[Example] = (), splits_at_dashes: bool = False, **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self.examples = tuple(examples)
        self.splits_at_dashes = splits_at_dashes

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        typed = list(args)  # parsing takes them out
        if self.splits_at_dashes and "--" in args:
            at = args.index("--")
            ctx.meta[AFTER_DASHES] = tuple(args[at + 1 :])
            args = args[:at]
        try:
            rest = super().parse_args(ctx, args)
        except click.UsageError as error:
            error.ctx = error.ctx or ctx  # an option without its value does not say whose it is
            from memsync import placing  # for what went wrong only

            told = placing.hint(ctx.info_name or "", typed)
            if told:
                error.hint = told  # type: ignore[attr-defined]
            raise
        for parameter in self.get_params(ctx):
            if parameter.type is not PLACE:
                is_path = isinstance(parameter.type, click.Path)
                _require_text(ctx.params.get(parameter.name or ""), is_path=is_path)
        _require_text(ctx.meta.get(AFTER_DASHES), is_path=True)
        return rest

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        super().format_epilog(ctx, formatter)
        if self.examples:
            with formatter.section("Examples"):
                width = max(len(line) for line, _ in self.examples)
                for line, what in self.examples:
                    # A command line is never wrapped: people copy it.
                    indent = " " * formatter.current_indent
                    if formatter.current_indent + width + 4 + len(what) <= formatter.width:
                        formatter.write(f"{indent}{line.ljust(width)}  # {what}\n")
                    else:
                        formatter.write(f"{indent}# {what}\n{indent}{line}\n")


def _require_text(value: object, *, is_path: bool) -> None:
    """Raises `BadInput` for an argument whose bytes are no UTF-8, as everything in history is. A path that is there
    is left to who looks it up: the folders above `Data/` may have any name."""
    for text in value if isinstance(value, tuple) else (value,):
        if not isinstance(text, str) or text.isascii():
            continue
        try:
            text.encode()
        except UnicodeEncodeError:
            if is_path and os.path.lexists(text):
                continue
            raise BadInput(
                f"an argument is not UTF-8: '{render.name(text)}'",
                hint="type it in a terminal whose encoding is UTF-8 ('locale charmap' shows it); "
                "'memsync ls' lists the paths that history has",
                code="not_utf8",
            ) from None


def verb(
    name: str, *, examples: Sequence[Example], splits_at_dashes: bool = False
) -> Callable[[Callable[Concatenate[Invocation, P], int | None]], click.Command]:
    """Make a command of a function that takes the invocation first and returns the exit code.

    The function's docstring is the help; its first line is the purpose.
    """

    def make(function: Callable[Concatenate[Invocation, P], int | None]) -> click.Command:
        @functools.wraps(function)
        def run(*args: Any, as_json: bool, **arguments: Any) -> int | None:
            context = click.get_current_context()
            return function(Invocation(context, as_json=as_json), *args, **arguments)

        run.__doc__ = function.__doc__
        decorated = click.option(
            "--json", "as_json", is_flag=True, help="Answer with one JSON document on stdout."
        )(run)
        return click.command(
            name, cls=Verb, examples=examples, splits_at_dashes=splits_at_dashes,
            context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
        )(decorated)  # fmt: skip

    return make
