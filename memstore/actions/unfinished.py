"""The record of a forget that is not finished, for whoever only asks whether it is there; `forgetting` writes it."""

from __future__ import annotations

from typing import Final

FORGETTING: Final = "forgetting"
"""Its name in `.memsync/`."""
FINISH_FORGETTING: Final = "'memsync forget --everywhere' finishes it"
