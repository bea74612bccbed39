"""Tombstones: what is left of a content that was removed. The payload is in docs/format.md, "Tombstone"."""

from __future__ import annotations

import time
from typing import Final, NamedTuple

import msgpack

from memstore.errors import DamagedData
from memstore.ids import ContentId, VersionId

RETENTION: Final = "retention"
FORGOTTEN: Final = "forgotten"
ANY_FORGOTTEN: Final = "any forgotten"
"""A fact of the catalogue: some tombstone here says that a content was forgotten. Only then need anybody ask."""


class Tombstone(NamedTuple):
    content: ContentId
    why: str
    """`retention` or `forgotten`."""
    time_ms: int
    known: tuple[VersionId, ...] = ()
    """The heads of what its collector knew. A version that is not among these and their ancestors, and holds
    the content, makes a retention tombstone void: nobody asked that version before."""

    def refusal(self) -> str:
        """Why a content that was forgotten is not committed again."""
        day = time.strftime("%Y-%m-%d", time.gmtime(self.time_ms / 1000))
        return f"its content was forgotten on {day} ('memsync forget'), and is not taken in again"

    def packed(self) -> bytes:
        facts: dict[str, object] = {"content": bytes(self.content), "why": self.why, "time": self.time_ms}
        if self.known:
            facts["known"] = [bytes(head) for head in self.known]
        payload: bytes = msgpack.packb(facts, use_bin_type=True)
        return payload

    @classmethod
    def unpacked(cls, payload: bytes) -> Tombstone:
        """Raises `DamagedData` for what is none."""
        try:
            facts = msgpack.unpackb(payload, raw=False)
            known = tuple(VersionId(head) for head in facts.get("known", ()))
            return cls(ContentId(facts["content"]), str(facts["why"]), int(facts["time"]), known)
        except (ValueError, TypeError, KeyError, AttributeError, msgpack.UnpackException) as error:
            raise DamagedData("a tombstone does not decode", hint="run 'memsync verify'") from error
