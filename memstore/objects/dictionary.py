"""Dictionaries: what many small texts have in common, stored once.

A dictionary is an ordinary content that no version names, made of pieces of texts, on which others are deltas. So
any reader of the format reads it; only who removes contents must know it by its first bytes. zstd finds the pieces
(`ZDICT_trainFromBuffer`), and its result is taken as it is, as text that came before, not as a dictionary in its
format: behind `TITLE`, and the keys of the contents it is made of, it does not begin as one.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from memstore.errors import DamagedData
from memstore.ids import KEY_BYTES
from memstore.objects.record import read_varint, varint

if TYPE_CHECKING or sys.version_info < (3, 14):
    from backports import zstd
else:  # pragma: no cover
    from compression import zstd

TITLE: Final = b"memsync dictionary\n"
LARGEST: Final = 256 << 10
"""Bytes that training may give. Of 100,000 notes (benchmarks/peers_corpora.py) 112 KiB leave 0.379 of the plain bytes,
192 KiB 0.376, this 0.372, and without any it is 0.470."""
LONGEST_TEXT: Final = 16 << 10
"""Plain bytes up to which a text leans on a dictionary. For longer ones zstd copies the dictionary's tables, which
takes half as long as compressing the text, and they shrink by 5 to 8% where short ones do by 20."""
_FEWEST: Final = 64
"""Texts from which on it is tried."""
_SHARE: Final = 5
"""A dictionary is at most this part of what it was made from."""
_PROBE: Final = 8
"""Each text of such a number is not trained with: it shows what the others gain."""
_WORTH: Final = 0.97
"""What a dictionary must make of the probed texts' stored bytes, the longer headers counted."""
_HEADER: Final = KEY_BYTES + len(varint(1))
"""Bytes by which a delta's header is longer."""
_SHARED: Final = 8
"""Bytes in a row. Training takes no shorter pieces: it looks at what texts share in units of eight bytes."""

_WHOLE: Final = zstd.ZstdCompressor.FLUSH_FRAME
_MAGIC_LENGTH: Final = 4
_LEVEL: Final = 3


class Text(NamedTuple):
    """What a dictionary may be made of."""

    key: bytes
    """First 8 bytes of its content id."""
    raw: bytes


class Dictionary:
    """Compresses texts as deltas on a dictionary, one after the other. Not for two threads at once."""

    def __init__(self, id: bytes, content: bytes) -> None:
        """`content` is its plain bytes, of which `id` is the content id."""
        self.id = id
        parameter = zstd.CompressionParameter
        # Level 3 but for its tables, which it chooses by the dictionary's size: larger ones fall out of the
        # processor's cache (32 µs a note and not 29), and with matches from 6 bytes on small ones do as well.
        options: dict[Any, int] = {
            parameter.compression_level: _LEVEL,
            parameter.strategy: zstd.Strategy.dfast,
            parameter.window_log: 18,
            parameter.hash_log: 16,
            parameter.chain_log: 15,
            parameter.min_match: 6,
        }
        # Not "digested" by the library's own word, which takes no options; zstd digests it all the same, once.
        kept = zstd.ZstdDict(content, is_raw=True).as_undigested_dict
        self._zstd = zstd.ZstdCompressor(options=options, zstd_dict=kept)

    def compress(self, text: bytes) -> bytes:
        """A delta's payload."""
        return self._zstd.compress(text, _WHOLE)[_MAGIC_LENGTH:]


def may_lean(raw: bytes) -> bool:
    """Whether a content is worth trying: a small text."""
    return 16 <= len(raw) <= LONGEST_TEXT and b"\0" not in raw


def trained(texts: Sequence[Text], coming: int) -> bytes | None:
    """A dictionary made of pieces of these texts (each such as `may_lean` says); None where it would not pay for being
    stored twice within `coming` more of them."""
    seen = [text for number, text in enumerate(texts) if number % _PROBE]
    size = min(LARGEST, sum(len(text.raw) for text in seen) // _SHARE)
    if len(texts) < _FEWEST or size < 1024:
        return None
    try:
        pieces = zstd.train_dict([text.raw for text in seen], size).dict_content
    except (zstd.ZstdError, ValueError):
        return None  # nothing in them comes again
    content = TITLE + varint(len(seen)) + b"".join(text.key for text in seen) + pieces
    alone, with_it = zstd.ZstdCompressor(level=_LEVEL), Dictionary(b"", content)
    probed = [text.raw for text in texts[::_PROBE]]
    before = sum(len(alone.compress(raw, _WHOLE)) - _MAGIC_LENGTH for raw in probed)
    after = sum(len(with_it.compress(raw)) + _HEADER for raw in probed)
    stored = 2 * len(alone.compress(content, _WHOLE))
    pays = (before - after) * coming > stored * len(probed) and after <= _WORTH * before
    return content if pays else None


def is_dictionary(content: bytes) -> bool:
    """Whether a content that no version names is one."""
    return content.startswith(TITLE)


def parts(content: bytes) -> tuple[frozenset[bytes], bytes]:
    """The keys of the contents that a dictionary is made of, and the pieces of these. Raises `DamagedData` where it
    does not say so."""
    count, start = read_varint(content, len(TITLE))
    end = start + KEY_BYTES * count
    if end > len(content):
        raise DamagedData("a dictionary does not say what it is made of", hint="run 'memsync verify'")
    return frozenset(content[at : at + KEY_BYTES] for at in range(start, end, KEY_BYTES)), content[end:]


def units(pieces: bytes) -> set[bytes]:
    """Every run of so many bytes as the shortest piece has."""
    return {pieces[at : at + _SHARED] for at in range(len(pieces) - _SHARED + 1)}


def shares(known: set[bytes], content: bytes) -> bool:
    """Whether some bytes of a content stand in pieces whose `units` these are. (Nearly any two texts of a kind share as
    many. Whether these came from this one nobody can tell.)"""
    if len(content) < _SHARED:
        return bool(content) and any(content in unit for unit in known)
    return any(content[at : at + _SHARED] in known for at in range(len(content) - _SHARED + 1))
