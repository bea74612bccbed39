"""`memsync completion`"""

from __future__ import annotations

import os
from typing import Final

import click

from memstore.errors import BadInput
from memsync.invocation import Invocation
from memsync.verb import verb

LINES: Final = {
    "bash": ("~/.bashrc", 'eval "$(_MEMSYNC_COMPLETE=bash_source memsync)"'),
    "zsh": ("~/.zshrc", 'eval "$(_MEMSYNC_COMPLETE=zsh_source memsync)"'),
    "fish": ("~/.config/fish/completions/memsync.fish", "_MEMSYNC_COMPLETE=fish_source memsync | source"),
}
"""For each shell: its start file, and the line for it (the shells that click completes in)."""


@verb(
    "completion",
    examples=[
        ("memsync completion", "the line for the shell you use, and where it goes"),
        ("memsync completion bash >> ~/.bashrc", "put it there at once"),
    ],
)
@click.argument("shell", metavar="[bash|zsh|fish]", required=False, type=click.Choice(list(LINES)))
def command(call: Invocation, *, shell: str | None) -> int | None:
    """Print the line that completes memsync's commands in your shell."""
    if shell is None:
        shell = os.path.basename(os.environ.get("SHELL", "")).removesuffix(".exe")
        if shell not in LINES:
            raise BadInput(
                "which shell? $SHELL names none that can be completed in",
                hint="memsync completion bash, zsh or fish",
            )
    file, line = LINES[shell]
    if call.json:
        call.answer({"shell": shell, "file": file, "line": line})
        return None
    click.echo(f"# memsync: completes its commands; for {file}")
    click.echo(line)
    return None
