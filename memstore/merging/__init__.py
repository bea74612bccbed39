"""Merging what was made apart: from three manifests and what their contents hold, to one.

Nothing here reads a clock, a configuration or the disk: a merge is a function of its parents alone, so that two
devices that merge the same heads make the same version. The rules are in docs/merging.md; whoever changes what
comes out of them raises `RULES`.
"""

from __future__ import annotations

from typing import Final

RULES: Final = 1
"""Revision of the merge rules, carried by every merge made by them (docs/format.md, `extra["merge"]`)."""
DEVICE: Final = "merge"
DEVICE_ID: Final = b"merg".hex()
"""Who made a merge: nobody in particular."""
