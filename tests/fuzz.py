"""Coverage-guided fuzzing of every parser: see `tests/fuzz_targets.py`.

    python -m tests.fuzz                       ten minutes, all parsers in turn
    python -m tests.fuzz --seconds 60 record   one of them for a minute

Needs atheris: pip install 'memsync[fuzz]'. What it finds is printed and kept in a folder; put the bytes into
`FOUND` of `tests/test_hostile.py` when it is mended.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

MEMORY_MB = 1024


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("targets", nargs="*")
    parser.add_argument("--seconds", type=int, default=600, help="for all of them together")
    parser.add_argument("--keep", default="", help="folder for corpora and findings")
    parser.add_argument("--inside", default="", help=argparse.SUPPRESS)
    arguments, rest = parser.parse_known_args()
    if arguments.inside:
        return inside(arguments.inside, rest)
    from tests.fuzz_targets import TARGETS

    targets = arguments.targets or list(TARGETS)
    if strange := set(targets) - set(TARGETS):
        parser.error(f"no parser is called {', '.join(sorted(strange))}; there are: {', '.join(TARGETS)}")
    keep = Path(arguments.keep or tempfile.mkdtemp(prefix="memsync-fuzz-"))
    each = max(1, arguments.seconds // len(targets))
    total = failed = 0
    began = time.monotonic()
    for target in targets:
        tries, said = one(target, each, keep)
        total += tries
        failed += said is not None
        print(f"{target}: {tries:,} executions, {said or 'nothing found'}", flush=True)
    minutes = (time.monotonic() - began) / 60
    print(
        f"{len(targets)} parsers, {total:,} executions in {minutes:.0f} minutes, {failed} with findings ({keep})"
    )
    return 1 if failed else 0


def one(target: str, seconds: int, keep: Path) -> tuple[int, str | None]:
    """(executions, what was found) of one parser, in a process of its own."""
    from tests.test_hostile import seeds

    corpus, found = keep / target, keep / "found" / target
    corpus.mkdir(parents=True, exist_ok=True)
    found.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(seeds(target)):
        (corpus / f"seed-{number}").write_bytes(seed)
    command = [
        *(sys.executable, "-m", "tests.fuzz", "--inside", target),
        *(f"-max_total_time={seconds}", f"-rss_limit_mb={MEMORY_MB}", "-timeout=20", "-max_len=4096"),
        *(f"-artifact_prefix={found}{os.sep}", "-print_final_stats=1", str(corpus)),
    ]
    run = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    tries = re.search(r"number_of_executed_units: (\d+)", run.stderr)
    if run.returncode == 0:
        return int(tries[1]) if tries else 0, None
    files = [path.read_bytes() for path in sorted(found.iterdir())]
    tail = "\n".join(run.stderr.splitlines()[-30:])
    return int(tries[1]) if tries else 0, f"FOUND {files[:3]!r}\n{tail}"


def inside(target: str, arguments: list[str]) -> int:
    try:
        import atheris
    except ImportError:
        print("fuzzing needs atheris: pip install 'memsync[fuzz]'", file=sys.stderr)
        return 2
    with atheris.instrument_imports(include=["memstore"]):
        from tests.fuzz_targets import tried
    atheris.Setup([sys.argv[0], *arguments], lambda data: tried(target, bytes(data)))
    atheris.Fuzz()
    return 0


if __name__ == "__main__":
    sys.exit(main())
