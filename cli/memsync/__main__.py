"""What `memsync` and `python -m memsync` run."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line of this process and end it with the command's exit code."""
    try:
        from memsync.app import app

        app(prog_name="memsync")
    except KeyboardInterrupt:  # before or after the command itself, where there is nothing to undo
        sys.exit(130)


if __name__ == "__main__":
    main()
