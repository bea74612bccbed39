"""`memsync logout`"""

from __future__ import annotations

import os

import click

from memsync.invocation import Invocation
from memsync.verb import verb


@verb(
    "logout",
    examples=[
        ("memsync logout", "Google forgets the token, and the file is deleted"),
        ("memsync logout && memsync login", "sign in as somebody else"),
    ],
)
def command(call: Invocation) -> int | None:
    """Sign out of Google Drive and delete the token.

    What is on Drive stays there, and commits go on as before; only pushes need a new 'memsync login'.
    """
    from memstore.remotes.drive.auth import logout

    with call.store() as store:
        was_in = os.path.lexists(store.workspace.token_path)
        revoked = logout(store.workspace)
    if call.json:
        call.answer({"logged_in": False, "revoked": revoked})
    elif not was_in:
        click.echo("not signed in: there is no token")
    else:
        click.echo("signed out; the token is deleted")
    if was_in and not revoked:
        return call.warn(
            ["Google could not be told; end memsync's access at https://myaccount.google.com/connections"]
        )
    return None
