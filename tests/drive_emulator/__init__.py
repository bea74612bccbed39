"""An emulator of the Google Drive API v3 that real client code talks to over HTTP.

It keeps a Drive in memory, listens on loopback only, and needs nothing but the standard
library. It is strict: what Drive refuses is refused in Drive's words, what Drive lets pass
although no sound client does it is listed in `violations`. And it is hostile on demand: any
request can be made to fail, by rule, at an exact place.

In a test::

    from tests.drive_emulator import DriveEmulator
    from tests.drive_emulator.client import service

    with DriveEmulator() as emulator:
        drive = service(emulator.url, emulator.token_info())       # the client library
        emulator.fault("files.create nth=1 drop=after")            # it lands, no answer comes
        ...
        assert emulator.count("files.create") == 1
        assert emulator.tree() == {"notes.txt": b"..."}
        assert emulator.violations == []

As a process (one line of JSON with the url and the file paths, then it serves until SIGTERM,
Ctrl-C, or POST /_control/stop)::

    python -m tests.drive_emulator --port 0 --state DIR \\
        --set name_lag_lists=3 --fault "any p=0.1 seed=7 status=503"

Where to look: the words of fault rules in `faults.py`, request kinds in `kinds.py`, every
switch (unsettled behaviour, limits) in `behaviour.py`, what a human may do in `person.py`, the
control endpoint in `control.py`, sign-in in `oauth.py`.

Time is `emulator.clock`: real, plus what `emulator.advance(seconds)` added, so no test sleeps.
A client under test gets `sleep=emulator.advance`: then buckets fill, Retry-After is obeyed, and
nobody waits.
"""

from .behaviour import Behaviour
from .emulator import DriveEmulator
from .faults import Rule
from .items import FOLDER, SCOPE_FILE, SCOPE_FULL, SCOPE_READONLY
from .person import Person
from .tokens import CLIENT_ID, CLIENT_SECRET
from .tree import Entry

__all__ = [
    "CLIENT_ID",
    "CLIENT_SECRET",
    "FOLDER",
    "SCOPE_FILE",
    "SCOPE_FULL",
    "SCOPE_READONLY",
    "Behaviour",
    "DriveEmulator",
    "Entry",
    "Person",
    "Rule",
]
