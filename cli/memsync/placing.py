"""Where a version goes: the hint for who has put one in the place of a PATH, or behind an option that is not there."""

from __future__ import annotations

from collections.abc import Sequence

from memstore.errors import typed
from memsync.revision import means_version

TAKES_ONE = frozenset({"restore", "diff", "ls", "show", "cat", "log"})


def hint(verb: str, arguments: Sequence[str]) -> str:
    """For the arguments of a call as typed: the same with the version where it goes; '' where none is among them, or
    more than one, or options that may have values."""
    if verb not in TAKES_ONE:
        return ""
    at: list[str] = []
    others: list[str] = []
    waiting = iter(arguments)
    for text in waiting:
        name, sign, value = text.partition("=")
        if name == "--at":
            at.append(value if sign else next(waiting, ""))
        elif text.startswith("-") and text not in {"--json", "--exact"}:
            return ""
        elif not text.startswith("-"):
            others.append(text)
    if not at:
        at = [text for text in others if means_version(text)]
        others = [text for text in others if text not in at]
    return line(verb, at[0], others) if len(at) == 1 and means_version(at[0]) else ""


def line(verb: str, at: str, paths: Sequence[str]) -> str:
    """The command line with that version in its place, and what is said of it."""
    version, named = typed(at), " ".join(map(typed, paths))
    if verb == "restore":
        return f"a version goes behind --at: memsync restore {named or 'PATH'} --at {version}"
    if verb in {"diff", "ls"}:
        return f"a version goes before the PATH: memsync {verb} {version} {named}".rstrip()
    if verb == "log":
        if not _is_time(at):
            return f"'memsync show {version}' shows one version"
        asked = " ".join(["memsync log", *filter(None, [named]), f"--since {version} --until {version}"])
        return f"a time goes behind --since and --until: {asked}"
    if not paths and verb == "show":
        return f"a version stands by itself: memsync show {version}"
    whole = typed(f"{at}:{paths[0] if paths else 'PATH'}")
    return f"a version goes before the PATH and a colon: memsync {verb} {whole}"


def _is_time(text: str) -> bool:
    from memstore.times import looks_like_id, steps_back

    name, _ = steps_back(text)
    return name.upper() != "HEAD" and not looks_like_id(name)
