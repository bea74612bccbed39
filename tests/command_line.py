"""The real command line in this process: what it says, how it ends, and a workspace that must survive it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from memsync.app import app

from memstore import files
from tests.folder_place import Place

posix = pytest.mark.skipif(not files.POSIX, reason="only POSIX has such a thing")
RULES = b"be kind\n"


def surviving(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    """A workspace with one committed note, and the current folder in it."""
    made = Place(tmp_path)
    made.commit({"Core/Rules.txt": RULES})
    monkeypatch.chdir(made.root)
    yield made
    # Whatever happened: the store is whole, and what was committed is there.
    with made.open() as store:
        assert store.verify().ok
        assert RULES in made.contents()


def run(*args: str) -> Result:
    """A command in this process. What it does not catch fails the test."""
    result = CliRunner().invoke(app, list(args))
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    assert "Traceback" not in result.output
    return result


def fails(code: int, *args: str, says: str, mend: str = "") -> Result:
    """The command ends with this code; its sentence and its hint hold these words (regular expressions)."""
    result = run(*args)
    assert result.exit_code == code, result.output
    assert re.search(says, result.stderr), result.stderr
    hint = result.stderr.partition("hint: ")[2]
    assert hint and re.search(mend, hint), result.stderr
    document = json.loads(run(*args, "--json").stdout)["error"]
    assert set(document) == {"code", "message", "hint", "retryable"}
    assert re.search(says, document["message"]) and re.search(mend, document["hint"])
    return result


def versions(place: Place) -> int:
    with place.open() as store:
        return sum(1 for _ in store.history())
