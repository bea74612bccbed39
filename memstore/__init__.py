"""memsync's library: everything the command does, importable.

    from memstore import Store, drive_upload

A newcomer's map: `store` is the face; `actions` has a file for each verb; `worktree` reads and writes `Data/`;
`manifest` knows versions and what they hold; `objects` knows bytes, segments, packs; `remotes` where copies
go; `mirror` the readable copy there; `files` alone touches the disk. Imports point downwards in that list.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from memstore.errors import MemsyncError
    from memstore.store import Store
    from memstore.upload import drive_upload

__all__ = ["MemsyncError", "Store", "drive_upload"]
__version__ = "0.1.0"

_HOMES = {"MemsyncError": "memstore.errors", "Store": "memstore.store", "drive_upload": "memstore.upload"}


def __getattr__(name: str) -> Any:
    # Importing the package must cost nothing: the command imports only what its verb needs.
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'memstore' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(home), name)
