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
_ALIKE: Final = 0.65
"""Share of letters, as `difflib` counts: a slip of the fingers leaves more (`lgo` and `log` have 0.67), and words that
only resemble one another less (`bogus` and `logout` 0.55)."""


def hint(words: Sequence[str], verbs: Sequence[str]) -> str:
    """What to type instead of these words, the first of which is none of our verbs."""
    word = words[0].lower()
    if word == "help" and len(words) > 1 and words[1] in verbs:
        return f"did you mean 'memsync {words[1]} --help'?"
    meant = FOREIGN.get(word) or _alike(word, verbs)
    if not meant or ONLY_IN_FULL in meant:
        return "'memsync --help' lists the commands"
    return "did you mean " + " or ".join(f"'memsync {line}'" for line in meant) + "?"


def _alike(word: str, verbs: Sequence[str]) -> list[str]:
    """The verb that is most like the word, none if none is; of two the one of nearly its length."""
    from difflib import SequenceMatcher

    def likeness(verb: str) -> tuple[float, int]:
        return SequenceMatcher(None, verb, word).ratio(), -abs(len(verb) - len(word))

    best = max(verbs, key=likeness)
    return [best] if likeness(best)[0] >= _ALIKE else []
