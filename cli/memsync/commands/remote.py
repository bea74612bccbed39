"""`memsync remote set` and `memsync remote show`"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

from memsync import render
from memsync.invocation import Invocation
from memsync.verb import Verb, verb

if TYPE_CHECKING:
    from memstore.reports import RemoteStatus


class _RemoteGroup(click.Group, Verb):
    """A group whose help ends with examples like any command's."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        return click.Group.parse_args(self, ctx, args)


@click.group(
    cls=_RemoteGroup,
    name="remote",
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    examples=[
        ("memsync remote set drive:", "Google Drive, the folder that paths.json names"),
        ("memsync remote show", "where versions go, and when they last went"),
    ],
)
@click.option("--json", "as_json", is_flag=True, help="Answer with one JSON document on stdout.")
@click.pass_context
def command(context: click.Context, /, *, as_json: bool) -> int | None:
    """Set or show where versions are sent."""
    if context.invoked_subcommand is None:
        code: int | None = context.invoke(show_command, as_json=as_json)
        return code
    if as_json:
        raise click.UsageError(f"--json goes behind '{context.invoked_subcommand}'", context)
    return None


@verb(
    "set",
    examples=[
        ("memsync remote set /mnt/backup/memory", "a folder: a disk, a share, a synced folder"),
        ("memsync remote set drive:", "Google Drive, the folder that paths.json names"),
        ("memsync remote set drive:Backups/Memory", "another folder there"),
    ],
)
@click.argument("url", metavar="URL", type=click.Path(path_type=str))
def set_command(call: Invocation, *, url: str) -> int | None:
    """Set where versions are sent.

    URL is a folder's path, 'drive:' (the folder that paths.json names), 'drive:FOLDER/PATH' or
    'drive://FOLDER_ID'. Nothing is sent yet.
    """
    with call.store() as store:
        status = store.set_remote(url)
    if call.json:
        call.answer({"remote": status.as_json()})
        return None
    with call.page() as page:
        page.line(f"remote: {render.name(status.url)}")
        drive = status.url.startswith("drive:")
        if not drive:
            for line in _about_folder(status.url):
                page.line(line)
        if url.lower() == "drive":
            page.line("(for Google Drive write 'drive:')")
        signed_in = not drive or os.path.lexists(store.workspace.token_path)
        page.line(f"next: memsync {'push' if signed_in else 'login'}")
    return None


def _about_folder(path: str) -> list[str]:
    """What somebody should know of a folder before the first push to it."""
    above = os.path.dirname(path)
    if not os.path.isdir(above):
        return [f"{render.name(above)} is not there: mount the disk or share it is on, or make that folder"]
    if not os.path.lexists(path):
        return ["this folder is not there yet; the first push makes it"]
    if os.path.lexists(os.path.join(path, ".memsync")) or not os.path.isdir(path) or not os.listdir(path):
        return []
    return [
        "this folder holds other files: a push lays the readable copy of Data/ among them",
        "where one has the name of a note, it comes into Data/ too, beside the note, which takes its place there",
    ]


@verb(
    "show",
    examples=[
        ("memsync remote show", "where versions go, and when they last went"),
        ("memsync remote show --json", "the same for a script; null if none is set"),
    ],
)
def show_command(call: Invocation) -> int | None:
    """Show where versions are sent, without asking the network."""
    with call.store() as store:
        status = store.remote()
    if call.json:
        call.answer({"remote": None if status is None else status.as_json()})
        return None
    with call.page() as page:
        _show(page, status)
    return None


def _show(page: render.Page, status: RemoteStatus | None) -> None:
    if status is None:
        page.line("no remote is set")
        page.line("next: memsync remote set FOLDER, or 'drive:' for Google Drive")
        return
    page.line(f"remote: {render.name(status.url)}")
    if status.last_push_ms is None:
        page.line("last push: never")
    else:
        page.line(f"last push: {render.local_time(status.last_push_ms)} ({render.ago(status.last_push_ms)})")
    if status.last_error:
        when = f" ({render.ago(status.last_error_ms)})" if status.last_error_ms is not None else ""
        page.line(f"last error{when}: {render.visible(status.last_error)}")


command.add_command(set_command)
command.add_command(show_command)
