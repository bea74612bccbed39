"""What looks like a credential in a text. The looking is done by Kingfisher (MongoDB, Apache-2.0), in this process
and without the network, where the extra `secrets` is installed; nothing of it is imported before it is needed.

What was found is told by line and kind. The secret itself stays in memory, to be held against what the file held
before, and is never shown.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from functools import cache
from typing import Any, Final, NamedTuple

INSTALL: Final = "pip install 'memsync[secrets]'"
LARGEST: Final = 4 << 20
"""Bytes of new text in a file up to which it is looked through."""
PATIENCE: Final = 10.0
"""Seconds that looking through one file may take."""
_ROOM: Final = re.compile(rb"[!-~]{16}")
"""What has no 16 characters in a row has no room for a credential: most prose. Starting the scanner takes a third of
a second, so it is not asked of that."""
_MODULE: Final = "kingfisher_sdk"
_ONE_AT_A_TIME: Final = threading.Lock()


class Suspect(NamedTuple):
    """A line that looks as if it held a credential."""

    line: int
    """From 1; 0 where the scanner failed, and nothing is known of the file."""
    kind: str
    """What sort of credential, as the scanner calls its rule (`github-pat`); if it failed, the name of its error."""
    secret: bytes = b""

    def __repr__(self) -> str:
        return f"Suspect(line={self.line}, kind={self.kind!r})"


def installed() -> bool:
    from importlib.util import find_spec

    return find_spec(_MODULE) is not None


def look(raw: bytes, known: int = 0) -> tuple[Suspect, ...]:
    """The suspects in a file's bytes, one a line, the first `known` bytes being what it held before; none in what
    is no text or has more than `LARGEST` new bytes. Never raises for what the scanner does."""
    begin = raw.rfind(b"\n", 0, known) + 1  # a credential may begin in a line that had no end yet
    if len(raw) - known > LARGEST or raw.find(b"\0", begin) >= 0:
        return ()
    part = raw[begin:]
    if _ROOM.search(part) is None:
        return ()
    try:
        found = list(_findings(part))
    except (KeyboardInterrupt, SystemExit, GeneratorExit):
        raise
    except BaseException as error:  # a panic of native code is no Exception
        return (Suspect(0, type(error).__name__),)
    before = raw.count(b"\n", 0, begin)
    suspects: dict[int, Suspect] = {}
    for line, kind, secret in found:
        if not (secret and known and raw.find(secret, 0, known) >= 0):
            suspects.setdefault(before + line, Suspect(before + line, kind, secret))
    return tuple(suspects[line] for line in sorted(suspects))


def not_in(suspects: tuple[Suspect, ...], old: bytes) -> tuple[Suspect, ...]:
    """Those whose secret an older content of the file did not hold: of the others was told before."""
    return tuple(suspect for suspect in suspects if not suspect.secret or suspect.secret not in old)


def _findings(text: bytes) -> Iterator[tuple[int, str, bytes]]:
    """(line, kind, secret) of each finding."""
    with _ONE_AT_A_TIME:
        scanner = _scanner()
        if isinstance(scanner, BaseException):
            raise scanner
        found = scanner.scan(text, timeout=PATIENCE)
    for finding in found:
        if finding.visible:
            facts = finding.to_dict(redact=False)
            kind = str(facts["rule_id"]).rpartition(".")[2]
            yield int(facts["location"]["line"]), kind, str(facts["secret"]).encode()


@cache
def _scanner() -> Any:
    """The scanner, or the error that making it raised: it would raise it again for every file."""
    try:
        from kingfisher_sdk import Scanner

        # Base64 is left alone: what it hides would be held against the old content in vain.
        return Scanner(base64=False)
    except Exception as error:
        return error
