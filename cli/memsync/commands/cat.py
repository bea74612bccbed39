"""`memsync cat`"""

from __future__ import annotations

import sys

import click

from memstore.errors import BadInput
from memsync.invocation import Invocation
from memsync.revision import split_file
from memsync.verb import verb


@verb(
    "cat",
    examples=[
        ("memsync cat 3f2a91c0:Core/Rules.txt", "the file as that version has it"),
        ("memsync cat 2025-04-23:index.faiss > old.faiss", "as it was at the end of that day"),
    ],
)
@click.argument("what", metavar="[ID:]PATH", type=click.Path(path_type=str))
def command(call: Invocation, *, what: str) -> int | None:
    """Write a file's bytes, as a version has them, to stdout.

    ID is 8 or more digits of a version's id, HEAD~1, or a time; without it, HEAD. PATH may be an archive
    reference. The bytes are exactly those that were committed.
    """
    with call.store() as store:
        at, path = split_file(call, store, what)
        if path is None:
            raise click.UsageError(f"which file of {what}? write {what}:PATH", call.context)
        meant = at if at is not None else store.head()
        if meant is None:
            raise BadInput("nothing is committed yet", hint="make a version with 'memsync commit'")
        version = store.version(meant)
        found = call.path(store, path)
        if call.json:
            _answer(call, str(version.id), found, store.read(found, at=version.id))
            return None
        out = sys.stdout.buffer
        for piece in store.read_stream(found, at=version.id):
            left = memoryview(piece)
            while left:  # with PYTHONUNBUFFERED a write may take only a part
                left = left[out.write(left) :]
        out.flush()
    return None


def _answer(call: Invocation, version: str, path: str, content: bytes) -> None:
    from memstore.ids import ContentId

    try:
        encoding, data = "utf-8", content.decode("utf-8")
    except UnicodeDecodeError:
        from base64 import b64encode

        encoding, data = "base64", b64encode(content).decode("ascii")
    call.answer(
        {
            "version": version,
            "path": path,
            "size": len(content),
            "content": str(ContentId.of(content)),
            "encoding": encoding,
            "data": data,
        }
    )
