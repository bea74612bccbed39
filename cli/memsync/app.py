"""The `memsync` command: it knows every verb's purpose, and imports only the verb that is asked for."""

from __future__ import annotations

import os
import sys
from typing import Any, Final

import click

from memstore import __version__

SECTIONS: Final[tuple[tuple[str, tuple[tuple[str, str], ...]], ...]] = (
    (
        "Begin",
        (
            ("init", "Make a workspace, or complete one."),
            ("clone", "Make a workspace from all that a remote has."),
            ("demo", "Show the main job on a sample memory folder."),
        ),
    ),
    (
        "Save and bring back",
        (
            ("commit", "Record what changed in the memory folder."),
            ("archive", "Put files away: out of the folder, safe in history."),
            ("restore", "Bring back any version of a file or folder."),
            ("undo", "Back out the last commit, restore, pull or merge."),
        ),
    ),
    (
        "Look",
        (
            ("status", "Show what is not committed or not pushed yet."),
            ("log", "Show the history, newest first."),
            ("diff", "Show how files differ between versions and now."),
            ("show", "Show a version, or a file as a version has it."),
            ("cat", "Write a file's bytes, as a version has them, to stdout."),
            ("ls", "List the files of a version, or the archive references."),
        ),
    ),
    (
        "Exchange",
        (
            ("remote", "Set or show where versions are sent."),
            ("login", "Sign in to Google Drive."),
            ("logout", "Sign out of Google Drive and delete the token."),
            ("push", "Send new versions to the remote; refresh its mirror."),
            ("pull", "Fetch new versions from the remote and merge them into Data/."),
        ),
    ),
    (
        "Care",
        (
            ("verify", "Read everything back and compare it with its hashes."),
            ("repair", "Bring back what damage took, here and on the remote."),
            ("gc", "Let old contents go by your rules, and make few packs of many."),
            ("forget", "Remove what should never have been saved, everywhere and for good."),
            ("completion", "Print the line that completes memsync's commands in your shell."),
        ),
    ),
)

PURPOSES: Final = {verb: purpose for _, rows in SECTIONS for verb, purpose in rows}

_WHAT_FOR: Final = """Every save of a memory folder is a version that can't be lost.

\b
  memsync commit     after a save: record what changed, with who and why
  memsync push       send new versions to the remote
  memsync restore    bring any version of any file back, archived ones included
"""


class NoSuchVerb(click.UsageError):
    """A verb, or an option before one, that memsync does not have, with what was probably meant."""

    def __init__(self, message: str, ctx: click.Context | None, hint: str) -> None:
        super().__init__(message, ctx)
        self.hint = hint


class App(click.Group):
    """The group of verbs, none of which is imported before it is called."""

    def list_commands(self, _: click.Context) -> list[str]:
        return list(PURPOSES)

    def get_command(self, _: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in PURPOSES:
            return None
        from importlib import import_module

        command: click.Command = import_module(f"memsync.commands.{cmd_name}").command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args[0] not in PURPOSES and not args[0].startswith("-"):
            from memsync.foreign import hint

            raise NoSuchVerb(f"no such command: {args[0]}", ctx, hint(args, list(PURPOSES)))
        return super().resolve_command(ctx, args)

    def format_commands(self, _: click.Context, formatter: click.HelpFormatter) -> None:
        width = max(map(len, PURPOSES))
        for title, rows in SECTIONS:
            with formatter.section(title):
                formatter.write_dl([(verb.ljust(width), purpose) for verb, purpose in rows])

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[Any]:
        """The verbs with their purposes: completing must not import them all."""
        from click.shell_completion import CompletionItem

        if incomplete.startswith("-"):
            return super().shell_complete(ctx, incomplete)
        return [
            CompletionItem(verb, help=purpose)
            for verb, purpose in PURPOSES.items()
            if verb.startswith(incomplete)
        ]

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        as_json = asks_for_json(args)
        try:
            context = super().make_context(info_name, args, parent, **extra)
        except (click.ClickException, KeyboardInterrupt) as error:
            if extra.get("resilient_parsing"):
                raise
            from memsync.failure import report

            told = self._too_early(error, args) if isinstance(error, click.NoSuchOption) else error
            raise click.exceptions.Exit(report(told, as_json=as_json)) from error
        context.meta["memsync.json"] = as_json
        return context

    def _too_early(self, error: click.NoSuchOption, args: list[str]) -> click.UsageError:
        """An option that stands before the command, where only few do."""
        option, ctx = error.option_name, error.ctx
        verb = next((word for word in args if word in PURPOSES), None)
        command = None if verb is None or ctx is None else self.get_command(ctx, verb)
        has_it = command is not None and any(option in parameter.opts for parameter in command.params)
        typed = f"'memsync {verb} {option}'" if has_it else f"'memsync {verb or 'COMMAND'} --help' has them"
        hint = f"options go behind the command: {typed}"
        return NoSuchVerb(f"no such option before the command: {option}", ctx, hint)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the verb, tell what went wrong, and leave with the contract's exit code."""
        as_json = bool(ctx.meta.get("memsync.json"))
        try:
            code = super().invoke(ctx)
            sys.stdout.flush()
        except click.exceptions.Exit:
            raise
        except BaseException as error:
            from memsync.failure import report

            code = report(error, as_json=as_json)
        if code:
            ctx.exit(code)
        return code


def asks_for_json(args: list[str]) -> bool:
    """Whether `--json` is among the options: known before they are parsed, because parsing may fail."""
    return "--json" in (args[: args.index("--")] if "--" in args else args)


def _version(ctx: click.Context, _: click.Parameter, asked: bool) -> None:
    if asked and not ctx.resilient_parsing:
        click.echo(f"memsync {__version__}")
        ctx.exit()


@click.group(
    cls=App,
    name="memsync",
    help=_WHAT_FOR,
    invoke_without_command=True,
    subcommand_metavar="COMMAND [ARGS]…",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="'memsync COMMAND --help' has examples; 'memsync demo' shows it all at work.",
)
@click.option("-C", "folder", metavar="DIR", type=click.Path(path_type=str), help="Run as if started in DIR.")
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=_version,
    help="Print the version and exit.",
)  # fmt: skip
@click.pass_context
def app(ctx: click.Context, folder: str | None) -> int | None:
    if os.environ.get("NO_COLOR"):
        ctx.color = False
    elif os.environ.get("FORCE_COLOR"):
        ctx.color = True
    # A name that the terminal's encoding lacks must not keep the rest from being printed.
    reconfigure = getattr(sys.stdout, "reconfigure", None)
    if reconfigure is not None:
        reconfigure(errors="backslashreplace")
    if folder is not None:
        try:
            os.chdir(folder)
        except OSError as error:
            raise click.BadParameter(f"{folder}: {error.strerror}", ctx, param_hint="-C") from error
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())
        return 2
    return None
