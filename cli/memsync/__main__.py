"""What `memsync` and `python -m memsync` run."""

from __future__ import annotations

import gc
import os
import sys


def main() -> None:
    """Run the command line of this process and end it with the command's exit code.

    It ends at once when the output is flushed: tearing the interpreter down takes milliseconds, and closing
    the catalogue the usual way would cost a commit two more fsyncs (docs/design.md, "One fsync").
    """
    # A start makes tens of thousands of objects that live to the end: looking for cycles among them again and again
    # is a twentieth of a short command. A long one still does it, now and then.
    gc.set_threshold(50_000)
    code = 0
    try:
        from memsync import invocation
        from memsync.app import app

        invocation.left_to_the_end = []
        app(prog_name="memsync")
    except KeyboardInterrupt:  # before or after the command itself, where there is nothing to undo
        code = 130
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except OSError:  # whoever read our output is gone
        code = code or 141
    os._exit(code)


if __name__ == "__main__":
    main()
