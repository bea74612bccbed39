"""What is meant by a verb that memsync does not have: one of another tool, or one of ours misspelt."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

FOREIGN: Final = {
    "add": ("commit",), "stage": ("commit",), "save": ("commit",), "backup": ("commit", "push"),
    "rm": ("archive",), "remove": ("archive",), "delete": ("archive",),
    "checkout": ("restore",), "switch": ("restore",), "recover": ("restore",),
    "revert": ("undo", "restore"), "reset": ("undo", "restore"), "rollback": ("undo", "restore"),
    "snapshots": ("log",), "history": ("log",), "reflog": ("log",), "list": ("ls",), "find": ("ls",), "dump": ("cat",),
    "fetch": ("pull",), "merge": ("pull",), "sync": ("push --pull",),
    "check": ("verify",), "fsck": ("verify",), "prune": ("gc",), "compact": ("gc",),
    "help": ("--help",), "version": ("--version",),
}  # fmt: skip
"""Verbs of git, restic and borg, and what does their job here."""
ONLY_IN_FULL: Final = "forget"
"""Nobody may come upon this by a slip of the fingers."""


def hint(words: Sequence[str], verbs: Sequence[str]) -> str:
    """What to type instead of these words, the first of which is none of our verbs."""
    from difflib import get_close_matches

    word = words[0].lower()
    if word == "help" and len(words) > 1 and words[1] in verbs:
        return f"did you mean 'memsync {words[1]} --help'?"
    meant = FOREIGN.get(word) or get_close_matches(word, verbs, n=1, cutoff=0.5)
    if not meant or ONLY_IN_FULL in meant:
        return "'memsync --help' lists the commands"
    return "did you mean " + " or ".join(f"'memsync {line}'" for line in meant) + "?"
