"""The emulator as a process: `python -m tests.drive_emulator --port 0`.

Prints one JSON line (`url`, `control`, `root_id`, `token`, `full_token`, `legacy_token`,
`credentials`: the last four are files in the --state folder) and serves until SIGTERM, Ctrl-C
or POST `/_control/stop`. The Drive itself lives in memory and ends with the process.

`--fault RULE` may be repeated and takes a rule of `faults.py`, for instance::

    --fault "upload.chunk nth=2 cut=50%"        the second chunk is cut in the middle
    --fault "create nth=3 drop=after"           the third create lands, and nobody hears of it
    --fault "any p=0.05 seed=1 status=503"      one request in twenty fails, the same each run
    --fault "files.list times=4 status=429 retry-after=1"

`--set NAME=VALUE` sets a switch of `behaviour.py`: `--set creates_per_second=3`.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from .emulator import DriveEmulator
from .items import SCOPE_FULL


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.drive_emulator",
        description="A Google Drive API v3 emulator on loopback.",
        epilog="Rules and switches: see tests/drive_emulator/faults.py and behaviour.py.",
    )
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--state", type=Path, help="folder for token files (default: temporary)")
    parser.add_argument("--fault", action="append", default=[], metavar="RULE")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument("--seed", type=int, default=0, help="decides the ids handed out")
    chosen = parser.parse_args(arguments)
    with ExitStack() as stack:
        emulator = DriveEmulator(port=chosen.port, seed=chosen.seed)
        try:
            for pair in chosen.set:
                name, _, value = pair.partition("=")
                emulator.behaviour.set(name, value)
            for rule in chosen.fault:
                emulator.fault(rule)
        except ValueError as error:
            parser.error(str(error))
        folder: Path = chosen.state or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        folder.mkdir(parents=True, exist_ok=True)
        stack.enter_context(emulator)
        signal.signal(signal.SIGTERM, lambda *_: emulator.asked_to_stop.set())
        print(json.dumps(_announce(emulator, folder)), flush=True)
        try:
            # A wait without end would not be interrupted by signals on every system.
            while not emulator.asked_to_stop.wait(0.5):
                pass
        except KeyboardInterrupt:
            return 0
    return 0


def _announce(emulator: DriveEmulator, folder: Path) -> dict[str, str]:
    return {
        "url": emulator.url,
        "control": f"{emulator.url}_control/",
        "root_id": emulator.drive.root.id,
        "token": str(emulator.write_token(folder / "drive_token.json")),
        "full_token": str(emulator.write_token(folder / "full_token.json", SCOPE_FULL)),
        "legacy_token": str(emulator.write_legacy_token(folder / "legacy_token.json")),
        "credentials": str(emulator.write_credentials(folder / "credentials.json")),
    }


if __name__ == "__main__":
    sys.exit(main())
