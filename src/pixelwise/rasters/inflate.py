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

#: Takes a stream, the size of its block and the size of a full block; returns the bytes of the block.
Inflate = Callable[[NDArray[np.uint8], int, int], bytes | bytearray]

#: A stream is inflated to its end, where its checksum is, but to at most this many blocks: its size comes from a file.
MOST_INFLATED = 2

#: A byte of a DEFLATE stream expands to at most this many (zlib's technical details), whatever its block should hold.
MOST_EXPANSION = 1032

#: Bytes to inflate at once: zlib joins longer results from pieces, which takes twice their memory.
AT_ONCE = 4 << 20

#: Bytes to inflate and drop at once.
DROPPED = 64 << 10


class DamagedBlockError(Exception):
    """A block whose bytes are damaged."""


def inflate_slowly(data: NDArray[np.uint8], size: int, most: int) -> bytes | bytearray:
    """Return the first bytes of a zlib stream, inflated by Python's own zlib.

    Parameters
    ----------
    data
        (byte,) the stream.
    size
        Bytes of its block. Some writers pad the last strip: then the stream is longer.
    most
        Bytes of a full block; the stream may expand to `MOST_INFLATED` times as many.

    Raises
    ------
    DamagedBlockError
        When the stream is broken, ends early, or is longer. Its end is read for the checksum there.
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
                raise DamagedBlockError("damaged DEFLATE stream: it ends early")
            room -= len(more)
    except zlib.error as error:
        raise DamagedBlockError(f"damaged DEFLATE stream: {error}") from None
    if room < 0:
        raise DamagedBlockError(f"damaged DEFLATE stream: it has more than {MOST_INFLATED} times a block's bytes")
    if len(first) < size:
        raise DamagedBlockError(f"damaged DEFLATE stream: it has {len(first)} bytes, its block {size}")
    return first


@cache
def inflater() -> Inflate:
    """Return the function that decompresses zlib streams: libdeflate, 2.4 times as fast as Python's zlib."""
    import deflate

    def inflate(data: NDArray[np.uint8], size: int, most: int) -> bytes | bytearray:
        try:
            inflated = deflate.zlib_decompress(data, size)
        except deflate.DeflateError:
            # The stream may merely be longer.
            return inflate_slowly(data, size, most)
        return inflated if len(inflated) == size else inflate_slowly(data, size, most)

    return inflate


def inflated_size(data: bytes, most: int) -> int:
    """Return how many bytes a zlib stream holds; some number above `most` where it holds more.

    Raises
    ------
    zlib.error
        When it is broken before that point.
    """
    stream, size = zlib.decompressobj(), 0
    while size <= most and (more := stream.decompress(data, min(most + 1 - size, AT_ONCE))):
        size, data = size + len(more), stream.unconsumed_tail
    return size
