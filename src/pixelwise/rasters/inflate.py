"""DEFLATE streams, inflated up to what their block can hold."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from functools import cache

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "DROPPED",
    "MOST_EXPANSION",
    "MOST_INFLATED",
    "DamagedBlockError",
    "Inflate",
    "inflate_slowly",
    "inflated_size",
    "inflater",
]


#: From a stream, the size of its block, and the most that it may hold, to the bytes of the block.
Inflate = Callable[[NDArray[np.uint8], int, int], bytes | bytearray]


#: A stream is inflated to its end, where its checksum is: up to so many times a block, as its size comes from a file.
MOST_INFLATED = 2


#: A byte of a DEFLATE stream becomes no more than this (zlib's technical details), whatever its block should hold.
MOST_EXPANSION = 1032


#: Bytes that are inflated at once: zlib puts a longer result together of pieces, which takes twice its memory.
AT_ONCE = 4 << 20


#: Bytes that are inflated and dropped at once.
DROPPED = 64 << 10


class DamagedBlockError(Exception):
    """A block whose bytes are not what was written."""


def inflate_slowly(data: NDArray[np.uint8], size: int, most: int) -> bytes | bytearray:
    """Return the first bytes of a zlib stream, by Python's own zlib.

    Parameters
    ----------
    data
        (byte,) the stream.
    size
        So many bytes its block has. Some writers fill up the last strip: then the stream is longer.
    most
        So many a whole one may have; the stream may be `MOST_INFLATED` times as long.

    Raises
    ------
    DamagedBlockError
        When the stream is broken, ends early, or is longer. Its checksum is at its end.
    """
    stream = zlib.decompressobj()
    try:
        first: bytes | bytearray = stream.decompress(data.data, min(size, AT_ONCE))
        if size > AT_ONCE:
            first = bytearray(first)
            while len(first) < size and (
                more := stream.decompress(stream.unconsumed_tail, min(size - len(first), AT_ONCE))
            ):
                first += more
        room = MOST_INFLATED * most - len(first)
        while not stream.eof and room >= 0:
            more = stream.decompress(stream.unconsumed_tail, min(room + 1, DROPPED))
            if not more and not stream.eof:
                raise DamagedBlockError("no whole DEFLATE stream: it ends early")
            room -= len(more)
    except zlib.error as error:
        raise DamagedBlockError(f"no whole DEFLATE stream: {error}") from None
    if room < 0:
        raise DamagedBlockError(f"no whole DEFLATE stream: it has more than {MOST_INFLATED} times a block's bytes")
    if len(first) < size:
        raise DamagedBlockError(f"no whole DEFLATE stream: it has {len(first)} bytes, its block {size}")
    return first


@cache
def inflater() -> Inflate:
    """Return what decompresses zlib streams: libdeflate, 2.4 times as fast as Python's zlib."""
    import deflate

    def inflate(data: NDArray[np.uint8], size: int, most: int) -> bytes | bytearray:
        try:
            inflated = deflate.zlib_decompress(data, size)
        except deflate.DeflateError:
            # Longer streams among them.
            return inflate_slowly(data, size, most)
        return inflated if len(inflated) == size else inflate_slowly(data, size, most)

    return inflate


def inflated_size(data: bytes, most: int) -> int:
    """Return how many bytes a zlib stream holds, more than `most` where it holds more.

    Raises
    ------
    zlib.error
        When it is broken before.
    """
    stream, size = zlib.decompressobj(), 0
    while size <= most and (more := stream.decompress(data, min(most + 1 - size, AT_ONCE))):
        size, data = size + len(more), stream.unconsumed_tail
    return size
