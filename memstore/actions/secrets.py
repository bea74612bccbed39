"""What a commit does about credentials in its new contents: says so, refuses, or does not look (`commit.secrets`).

Only what a commit adds is looked through, so one secret is told of once and not with every save.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

from memstore.errors import BadInput, typed
from memstore.worktree.names import shown

if TYPE_CHECKING:
    from memstore.config import Config
    from memstore.suspects import Suspect

OFF: Final = "off"
REFUSE: Final = "refuse"
REFUSED: Final = "secret"
"""The code of the error."""
TOLD: Final = 20
"""Warnings of one commit at most; then how many more there are."""


class Suspected(NamedTuple):
    """A file whose new content holds suspects."""

    path: str
    suspects: tuple[Suspect, ...]


def require(config: Config) -> None:
    """Raises `BadInput` where commits are to be refused that nobody could look through."""
    if config.commit_secrets == REFUSE:
        from memstore import suspects

        if not suspects.installed():
            raise BadInput(
                'commit.secrets is "refuse", and the scanner that finds credentials is not installed; '
                "nothing was recorded",
                hint=f'run {suspects.INSTALL}, or set commit.secrets to "warn"',
                code="no_scanner",
            )


def wanted(config: Config) -> bool:
    """Whether new contents are to be looked through."""
    if config.commit_secrets == OFF:
        return False
    from memstore import suspects

    return suspects.installed()


def weighed(config: Config, found: Sequence[Suspected]) -> list[str]:
    """A sentence for each line that looks like a credential, and one for what could not be looked through.

    Raises `BadInput`, for the first of them, where the commit is to be refused.
    """
    lines = [
        (shown(path), f"{shown(path)}, line {suspect.line}: this looks like a credential ({suspect.kind})")
        for path, suspects in found
        for suspect in suspects
        if suspect.line
    ]
    if lines and config.commit_secrets == REFUSE:
        more = f" (and {len(lines) - 1} more)" if len(lines) > 1 else ""
        raise BadInput(
            f"nothing was recorded. {lines[0][1]}{more}",
            hint="take it out and run the command again; if it is none, let it through once: "
            "MEMSYNC_COMMIT_SECRETS=warn memsync commit",
            code=REFUSED,
        )
    told = [
        f"{line}; it is committed all the same. If it is one: 'memsync forget {typed(path)} --everywhere' takes all "
        "that the file held out of every version and copy, best before the next push"
        for path, line in lines[:TOLD]
    ]
    if len(lines) > TOLD:
        told.append(f"{len(lines) - TOLD} more lines look like credentials")
    failed = [(path, suspect.kind) for path, suspects in found for suspect in suspects if not suspect.line]
    if failed:
        path, kind = failed[0]
        more = f" and {len(failed) - 1} more" if len(failed) > 1 else ""
        told.append(
            f"{shown(path)}{more} could not be looked through for credentials: the scanner failed ({kind})"
        )
    return told
