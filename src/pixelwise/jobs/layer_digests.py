"""A digest of the values of each layer that a job writes, whatever blocks the job consists of.

Each value is hashed with its position, and the hashes are added: in any order, and from any number of workers.
It reveals values that were changed by accident or by another program, not by somebody who knows how it is computed.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pixelwise.grid import Block
from pixelwise.stacks.base import LayerStack

__all__ = ["digests_of_layers", "digests_of_sums", "like_digests", "sums_of"]

#: Odd constants of the finalizer of SplitMix64 (Steele, Lea & Flood 2014), and the step between positions.
FIRST, SECOND, STEP = (np.uint64(one) for one in (0xBF58476D1CE4E5B9, 0x94D049BB133111EB, 0x9E3779B97F4A7C15))
#: Missing values count as the same, whatever their bits.
MISSING: Final = np.uint64(0x7FF8000000000000)
#: Rows and columns that are read at a time.
EDGE: Final = 1024


def sums_of(block: Block, width: int, values: NDArray[Any]) -> tuple[int, ...]:
    """Return the sum of the hashes of each layer's values in a block.

    Parameters
    ----------
    block
        The pixels.
    width
        Columns of the whole grid.
    values
        (layer, y, x) or (layer, pixel) floating-point values as they are written.
    """
    rows = np.arange(block.row, block.row + block.height, dtype=np.uint64)[:, None]
    cols = np.arange(block.col, block.col + block.width, dtype=np.uint64)
    keys: NDArray[np.uint64] = (rows * np.uint64(width) + cols).ravel() * STEP
    unsigned = np.dtype(f"u{values.dtype.itemsize}")
    sums = []
    for layer in values.reshape(len(values), -1):
        hashes = np.ascontiguousarray(layer).view(unsigned).astype(np.uint64)
        hashes[np.isnan(layer)] = MISSING
        hashes += keys
        hashes ^= hashes >> np.uint64(30)
        hashes *= FIRST
        hashes ^= hashes >> np.uint64(27)
        hashes *= SECOND
        hashes ^= hashes >> np.uint64(31)
        sums.append(int(hashes.sum(dtype=np.uint64)))
    return tuple(sums)


def digests_of_sums(sums: Sequence[Sequence[int]]) -> list[str]:
    """Return the digest of each layer, from the sums of all blocks."""
    return [f"{sum(own) % (1 << 64):016x}" for own in zip(*sums, strict=True)]


def like_digests(count: int) -> list[str]:
    """Return as many texts that take as much room as digests, which are not known before the last block."""
    nothing = np.zeros((count, 1))
    return [f"{one:016x}" for row in range(count) for one in sums_of(Block(row, 0, 1, 1), 1, nothing[:1])]


def digests_of_layers(stack: LayerStack, indices: Sequence[int], dtype: str, threads: int) -> list[str]:
    """Read some layers of a stack, and return the digest of each.

    Parameters
    ----------
    stack, indices
        The stack, and which of its layers.
    dtype
        Data type in which they were written.
    threads
        How many layers are read at the same time.
    """

    def digest(index: int) -> str:
        layer = stack.take([index])
        blocks = stack.grid.blocks(EDGE, EDGE)
        with np.errstate(over="ignore", under="ignore"):
            sums = [sums_of(block, stack.grid.width, layer.read(block).astype(dtype)) for block in blocks]
        return digests_of_sums(sums)[0]

    with ThreadPoolExecutor(threads, thread_name_prefix="pixelwise-digest") as pool:
        return list(pool.map(digest, indices))
