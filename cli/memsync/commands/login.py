"""`memsync login`"""

from __future__ import annotations

import click

from memsync import render
from memsync.invocation import Invocation
from memsync.verb import verb


@verb(
    "login",
    examples=[
        ("memsync login", "opens the browser on this machine"),
        ("memsync login --no-browser", "prints an address to open on any other machine"),
    ],
)
@click.option("--no-browser", is_flag=True, help="For a machine without one: paste the answer back here.")
@click.option(
    "--scope", type=click.Choice(["drive.file", "drive"]), default="drive.file", show_default=True,
    help="'drive.file' sees only what memsync made; 'drive' is for a folder that others made.",
)  # fmt: skip
def command(call: Invocation, *, no_browser: bool, scope: str) -> int | None:
    """Sign in to Google Drive.

    Needs your own OAuth client file (see docs/google-drive.md; MEMSYNC_DRIVE_CREDENTIALS names another
    place). The token is written to 'drive_token.json' in the workspace, or to MEMSYNC_DRIVE_TOKEN,
    readable by you only.
    """
    from memstore.remotes.drive.auth import login

    # With --json, stdout is the document's: whatever a person must read or answer goes to stderr.
    def say(sentence: str) -> None:
        click.echo(sentence, err=call.json)

    def ask(question: str) -> str:
        answer: str = click.prompt(question, err=call.json)
        return answer

    with call.store() as store:
        try:
            token = login(store.workspace, open_browser=not no_browser, scope=scope, say=say, ask=ask)
        except (KeyboardInterrupt, click.Abort):
            from memsync.failure import Interrupted

            raise Interrupted("stopped; nothing was changed", hint="memsync login") from None
        following = "memsync remote set drive:" if store.remote() is None else "memsync push"
    if call.json:
        call.answer({"logged_in": True, "scope": scope, "token": token})
        return None
    click.echo(f"signed in; the token is in {render.name(token)}")
    click.echo(f"next: {following}")
    return None
