"""What the texts of one large commit have in common: a dictionary (`objects/dictionary.py`) for them.

The first jobs are done by the one who has the store, while its crew still starts. What these stored is what the
dictionary is made of: so nothing of a file that is not a content of this commit ever stands in it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from memstore.ids import ContentId
from memstore.objects import dictionary, encoding
from memstore.objects.dictionary import Text
from memstore.objects.record import RecordKind

if TYPE_CHECKING:
    from memstore.writer import Writer

JOBS: Final = 2
"""Whose texts a dictionary is made of."""
MOST: Final = 2 << 20
"""Bytes of them: training takes 0.15 s with so many, and time grows with them."""
COMING: Final = 1000
"""Files within which it has to pay: a crew is called for as many, and nobody knows how many there will be."""


class Training:
    """For one commit, inside the writer's transaction."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self._texts: list[Text] = []
        self._size = 0
        self._jobs = 0
        self._content = b""
        self._id = b""
        self._told = 0
        self.cost = 0
        """What reading the dictionary costs; 0 where there is none."""

    @property
    def gathering(self) -> bool:
        """Whether a job is to be done here, and its texts gathered."""
        return self._jobs < JOBS

    def gather(self, texts: Iterable[Text]) -> None:
        """The texts of one more job, which are being stored. After the last one there may be a dictionary."""
        for text in texts:
            if self._size < MOST:
                self._texts.append(text)
                self._size += len(text.raw)
        self._jobs += 1
        if not self.gathering:
            content = dictionary.trained(self._texts, COMING)
            self._texts.clear()
            if content is not None:
                self._begin(content)

    def for_job(self, members: int) -> tuple[bytes, bytes] | None:
        """For `bulk.pack_job`; the bytes are in the first job of each of so many members."""
        if not self._content:
            return None
        self._told += 1
        return self._id, self._content if self._told <= max(1, members) else b""

    def close(self) -> None:
        """The second copy, far from the first: one damaged spot must not cost all that leans on it."""
        if self._content:
            self._add()

    def _begin(self, content: bytes) -> None:
        id = ContentId.of(content)
        if not self._writer.forgotten([id]):
            self._content, self._id = content, bytes(id)
            self._add()

    def _add(self) -> None:
        form = encoding.encode(self._content)
        self.cost = form.cost
        self._writer.add(RecordKind.CONTENT, ContentId(self._id), len(self._content), form)
