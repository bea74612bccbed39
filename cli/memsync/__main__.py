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
    _with_streams()
    code = 0
    try:
        from memsync import invocation
        from memsync.app import app

        invocation.left_to_the_end = []
        app(prog_name="memsync")
    except KeyboardInterrupt:  # before or after the command itself, where there is nothing to undo
        code = _stopped()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except OSError:  # whoever read our output is gone
        code = code or 141
    except KeyboardInterrupt:  # all is done but the last lines
        code = code or 130
    os._exit(code)


def _with_streams() -> None:
    """Whoever starts us may have closed some of the three. Then a file of the store would be opened in its place, and
    there is nothing to print to."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode))


def _stopped() -> int:
    """Say so, as a command does that is stopped at its work; whoever presses Ctrl-C once more is not heard."""
    import signal

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    from memsync.app import asks_for_json
    from memsync.failure import report

    return report(KeyboardInterrupt(), as_json=asks_for_json(sys.argv[1:]))


if __name__ == "__main__":
    main()
