"""How an object's bytes are stored: raw, zstd, or zstd with an earlier version as prefix.

The smallest within reach wins. A delta is nearly always both the smallest and the fastest (40 KB of text:
42 µs against 156 µs for the whole), so it is tried first, and the whole only when the delta did not pay.

Chains of deltas are bounded by what they cost to decode, in bytes: each link costs its plain length and
`LINK_COST`; together at most `CHAIN_LIMIT`. Measured on real histories (docs/benchmarks.md), that is what
lets hundreds of versions of a note share one full copy, while reading the last stays in the milliseconds.
"""

from __future__ import annotations

import sys
import threading
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from memstore.errors import DamagedData
from memstore.ids import KEY_BYTES
from memstore.objects.dictionary import may_lean
from memstore.objects.record import Encoding

if TYPE_CHECKING:
    from memstore.objects.dictionary import Dictionary

if TYPE_CHECKING or sys.version_info < (3, 14):
    from backports import zstd
else:  # pragma: no cover
    from compression import zstd

LINK_COST: Final = 32 << 10
CHAIN_LIMIT: Final = 33 << 20
"""Bytes: two of the largest objects, and a little. A chain that would cost more starts again from one of its
earlier members, or from a full copy."""

LEVEL: Final = 3
SMALL_LEVEL: Final = 9
"""For deltas of texts: a fifth of a millisecond more, and 2 to 10% smaller."""
SMALL: Final = 128 << 10
SMALL_WHOLE_LEVEL: Final = 6
"""For full copies of texts: 1.7 to 2.3% smaller than level 3, for 10 to 40 µs more."""
WORTH_COMPRESSING: Final = 0.9
WORTH_SEARCHING: Final = 0.85
"""Shares to which a sample of a large object shrinks. Vectors (0.85 to 0.93) have uneven bytes and nothing to find:
level 1 makes them as small as level 3, at 760 MB/s and not 310; above 0.9 even that is half of a commit's time for less
than a tenth of its bytes."""
FAST_LEVEL: Final = 1
SHORTEST_BASE: Final = 8
"""Bytes: zstd takes no shorter prefix."""
LONG: Final = 1 << 20
"""From here on, long-distance matching finds what moved far; the figures are in docs/benchmarks.md."""
TEXT_RATE_LOG: Final = 4
ARRAY_RATE_LOG: Final = 7
"""Binary logarithms of how far apart the positions are that long-distance matching looks at. Of a text, lines of some
dozen bytes move about; of arrays (they have NUL bytes), hundreds of KB stay together, and a delta of 5 MB takes 5 ms
instead of 34 for the same bytes (docs/performance.md)."""

_WHOLE: Final = zstd.ZstdCompressor.FLUSH_FRAME
_MAGIC: Final = b"\x28\xb5\x2f\xfd"
_WINDOW_LOG_MAX: Final = 27

_per_thread = threading.local()


class Base(NamedTuple):
    """An object to take as prefix: its plain bytes, and how its chain stands."""

    key: bytes
    raw: bytes
    rank: int
    cost: int


class Encoded(NamedTuple):
    """An object as it is to be stored."""

    encoding: Encoding
    payload: bytes | memoryview
    base: bytes
    """Key of the base; empty unless a delta."""
    rank: int
    cost: int
    """Bytes that reading it will cost: its own plain length and `LINK_COST`, and its base's cost."""


def own_cost(raw_length: int) -> int:
    """In bytes, rounded up to whole KiB: the catalogue counts in these."""
    return (raw_length + 1023 & -1024) + LINK_COST


def encode(raw: bytes | memoryview, base: Base | None = None) -> Encoded:
    """The smallest form of `raw` (at most 16 MiB) that is worth its time. `base` must fit the chain limit."""
    alone = own_cost(len(raw))
    best = Encoded(Encoding.RAW, raw, b"", 0, alone)
    if len(raw) < 16:
        return best
    if base is not None and len(base.raw) >= SHORTEST_BASE and base.cost + alone <= CHAIN_LIMIT:
        delta = _compress_delta(raw, base.raw)
        if len(delta) < len(raw):
            best = Encoded(Encoding.DELTA, delta, base.key, base.rank + 1, base.cost + alone)
        if len(delta) * 8 < len(raw):
            return best
    payload = _compress(raw)
    # A full copy starts a new, short chain: prefer it when a delta saves next to nothing.
    if len(payload) < len(best.payload) + (len(payload) >> 6 if best.encoding == Encoding.DELTA else 0):
        return Encoded(Encoding.ZSTD, payload, b"", 0, alone)
    return best


def encode_quickly(raw: bytes, dictionary: Dictionary | None = None) -> tuple[Encoding, bytes, bytes]:
    """How to store a small file (at most 16 MiB) that is one of very many, its payload, and the key of what it leans
    on: at level 3 whatever its size, for half the time of level 6; a small text on the dictionary, if there is one."""
    if len(raw) < 16:
        return Encoding.RAW, raw, b""
    if dictionary is not None and may_lean(raw):
        payload = dictionary.compress(raw)
        if len(payload) + KEY_BYTES < len(raw):
            return Encoding.DELTA, payload, dictionary.id[:KEY_BYTES]
    level = LEVEL if len(raw) <= SMALL else _level(raw)
    payload = raw if level is None else _compressor(level).compress(raw, _WHOLE)[len(_MAGIC) :]
    return (Encoding.ZSTD, payload, b"") if len(payload) < len(raw) else (Encoding.RAW, raw, b"")


def decode(
    encoding: Encoding, payload: bytes | memoryview, raw_length: int, base: bytes | None = None
) -> bytes:
    """The plain bytes, exactly `raw_length` of them. Raises `DamagedData`, and never allocates more than
    was declared."""
    if encoding == Encoding.RAW:
        if len(payload) != raw_length:
            raise DamagedData("a raw record is shorter than declared", hint="run 'memsync verify'")
        return bytes(payload)
    if encoding == Encoding.DELTA and base is None:
        raise DamagedData("a delta without its base", hint="run 'memsync verify'")
    if encoding not in (Encoding.ZSTD, Encoding.DELTA):
        raise DamagedData("an encoding this memsync does not know", hint="use a newer memsync")
    try:
        if encoding == Encoding.DELTA and base is not None:
            decoder = zstd.ZstdDecompressor(zstd_dict=_prefix(base))
        else:
            decoder = zstd.ZstdDecompressor()
        # Of itself zstd takes no window above 2^27 bytes (ZSTD_WINDOWLOG_LIMIT_DEFAULT), as the format has it.
        raw = decoder.decompress(_MAGIC + payload, raw_length + 1)
    except (zstd.ZstdError, ValueError, MemoryError) as error:
        raise DamagedData(f"a record does not decode: {error}", hint="run 'memsync verify'") from error
    if len(raw) != raw_length or not decoder.eof:
        raise DamagedData("a record decodes to another length than declared", hint="run 'memsync verify'")
    return raw


def compress_metadata(raw: bytes) -> bytes:
    """Metadata is small, read often and kept for ever: worth a high level."""
    return zstd.compress(raw, 19 if len(raw) < (1 << 20) else 9)[len(_MAGIC) :]


def _prefix(base: bytes) -> tuple[zstd.ZstdDict, int]:
    """A base as zstd takes it for a prefix. The last one of this thread is kept, for very many may lean on it."""
    kept: tuple[bytes, zstd.ZstdDict] | None = getattr(_per_thread, "prefix", None)
    if kept is not None and kept[0] is base:
        return kept[1].as_prefix
    made = zstd.ZstdDict(base, is_raw=True)
    if len(base) <= LONG:
        _per_thread.prefix = base, made
    return made.as_prefix


def _compress(raw: bytes | memoryview) -> bytes | memoryview:
    level = SMALL_WHOLE_LEVEL if len(raw) <= SMALL else _level(raw)
    return raw if level is None else _compressor(level).compress(raw, _WHOLE)[len(_MAGIC) :]


def _level(raw: bytes | memoryview) -> int | None:
    """At what level something larger than `SMALL` is to be compressed; None: not at all."""
    if len(raw) <= LONG:
        return LEVEL
    share = _sampled(raw)
    if share >= WORTH_COMPRESSING:
        return None
    return FAST_LEVEL if share >= WORTH_SEARCHING else LEVEL


def _compressor(level: int) -> zstd.ZstdCompressor:
    """This thread's compressor: making one costs more than compressing a note."""
    kept: dict[int, zstd.ZstdCompressor] | None = getattr(_per_thread, "compressors", None)
    if kept is None:
        kept = _per_thread.compressors = {}
    compressor = kept.get(level)
    if compressor is None:
        compressor = kept[level] = zstd.ZstdCompressor(level=level)
    return compressor


def _sampled(raw: bytes | memoryview) -> float:
    """To what share four samples of 16 KiB shrink, which tells what is worth doing with the whole."""
    step = len(raw) // 4
    sample = b"".join(raw[at : at + 16384] for at in range(0, 4 * step, step))
    return len(_compressor(LEVEL).compress(sample, _WHOLE)) / len(sample)


def _is_text(raw: bytes | memoryview) -> bool:
    """By what is in the middle of it: no NUL byte."""
    middle = len(raw) // 2
    return b"\0" not in bytes(raw[middle : middle + 8192])


def _compress_delta(raw: bytes | memoryview, base: bytes) -> bytes:
    parameter = zstd.CompressionParameter
    span = len(raw) + len(base)
    options: dict[Any, int] = {parameter.window_log: min(max(span.bit_length(), 10), _WINDOW_LOG_MAX)}
    if span > LONG:
        options[parameter.compression_level] = 1
        options[parameter.enable_long_distance_matching] = 1
        options[parameter.ldm_min_match] = 32
        options[parameter.ldm_hash_rate_log] = TEXT_RATE_LOG if _is_text(raw) else ARRAY_RATE_LOG
    else:
        options[parameter.compression_level] = SMALL_LEVEL if len(raw) <= SMALL else LEVEL
    prefix = zstd.ZstdDict(base, is_raw=True).as_prefix
    compressor = zstd.ZstdCompressor(options=options, zstd_dict=prefix)
    return compressor.compress(raw, _WHOLE)[len(_MAGIC) :]
