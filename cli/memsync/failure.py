"""What a person, or a program, is told when a command fails, and the exit code it fails with."""

from __future__ import annotations

import errno
import os
import sys
from typing import Final

import click

from memstore.errors import DamagedData, DiskTrouble, MemsyncError

INTERRUPTED: Final = 130
"""128 + SIGINT, as shells count it."""
PIPE_CLOSED: Final = 141
"""128 + SIGPIPE: whoever read our output had enough."""
INTERNAL: Final = 70
"""EX_SOFTWARE of sysexits.h."""


class _Usage(MemsyncError):
    code = "usage"
    exit_code = 2


class Interrupted(MemsyncError):
    """A person stopped the command."""

    code = "interrupted"
    exit_code = INTERRUPTED
    retryable = True

    def __init__(
        self,
        message: str = "stopped; what was committed is safe",
        *,
        hint: str = "run the same command again: it goes on where it stopped",
    ) -> None:
        super().__init__(message, hint=hint)


class _Internal(MemsyncError):
    code = "internal"
    exit_code = INTERNAL


def report(error: BaseException, *, as_json: bool) -> int:
    """Tell of the error (with `as_json` as a document on stdout) and return the exit code."""
    if isinstance(error, SystemExit):
        raise error
    if isinstance(error, BrokenPipeError):
        _stop_writing()
        return PIPE_CLOSED
    known = _as_known(error)
    if _is_output(error):
        _stop_writing()
        as_json = False  # a document could not be written either
    if os.environ.get("MEMSYNC_DEBUG") and not isinstance(known, _Usage | Interrupted):
        import traceback

        traceback.print_exception(error, file=sys.stderr)
    try:
        if as_json:
            from memsync.render import document

            click.echo(document({"error": known.as_json()}))
        else:
            tell(known.message, known.hint)
    except BrokenPipeError:
        _stop_writing()
    return known.exit_code


def tell(message: str, hint: str = "") -> None:
    """An error's two lines on stderr."""
    from memsync.render import paint, visible

    if sys.stderr.isatty() and os.environ.get("TERM") != "dumb":
        click.echo("\r\x1b[K", nl=False, err=True, color=True)  # a progress line may stand there, or a ^C
    click.echo(f"{paint('memsync:', 'red', err=True)} {visible(message)}", err=True)
    if hint:
        click.echo(f"  hint: {visible(hint)}", err=True)


def _as_known(error: BaseException) -> MemsyncError:
    if isinstance(error, MemsyncError):
        return error
    if isinstance(error, click.ClickException):
        return _usage(error)
    if isinstance(error, KeyboardInterrupt | click.Abort):
        return Interrupted()
    if isinstance(error, OSError) and _is_output(error):
        return DiskTrouble(
            f"could not write to the output: {error.strerror}",
            hint="send it somewhere that has room; nothing that was committed is lost",
        )
    if isinstance(error, OSError):
        from memstore.files import disk_error

        return disk_error(error, "could not use", str(error.filename or "the disk"))
    return _unforeseen(error)


def _unforeseen(error: BaseException) -> MemsyncError:
    if type(error).__module__ == "sqlite3":
        return DamagedData(
            f"the catalogue is damaged: {error}",
            hint="run 'memsync repair': it is only a cache, and is built anew",
        )
    said = f"{type(error).__name__}: {error}".rstrip(": ")
    return _Internal(
        f"internal error, which is a fault in memsync: {said}",
        hint="nothing that was committed is lost; please report this with what MEMSYNC_DEBUG=1 prints",
    )


def _is_output(error: BaseException) -> bool:
    """Whether it is a failed write to stdout: what the library writes has a name, and an error of its own."""
    return (
        isinstance(error, OSError)
        and error.filename is None
        and error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO}
    )


def _usage(error: click.ClickException) -> _Usage:
    message = error.format_message().rstrip(".")
    hint = getattr(error, "hint", "")
    if not hint:
        context = getattr(error, "ctx", None)
        path = context.command_path if context is not None else "memsync"
        hint = f"'{path} --help' has examples"
    return _Usage(message[:1].lower() + message[1:], hint=hint)


def _stop_writing() -> None:
    """Send what is still buffered nowhere, so that closing stdout at exit does not complain."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, sys.stdout.fileno())
    except (OSError, ValueError):  # stdout is no file (a test's buffer, or closed)
        pass
    finally:
        os.close(nowhere)
