"""What kernels write: the wanted bands and the status of each pixel."""

# Numba infers types from arguments; annotations would only repeat the docstrings.
# mypy: allow-untyped-defs

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pixelwise.kernels.jit import kernel, readonly


class Output(NamedTuple):
    """What a kernel fills.

    Bytes instead of numbers, so that a kernel is compiled once for both types of maps: that takes up to 5 seconds.

    Attributes
    ----------
    rows
        (band,) int64: the result that each row of `table` is; negative if something else fills the row.
    table
        (band, bytes) uint8: the bytes of (band, pixel) numbers.
    wide
        Whether the numbers are float64, else float32.
    status
        (pixel,) uint8.
    """

    rows: NDArray[np.int64]
    table: NDArray[np.uint8]
    wide: bool
    status: NDArray[np.uint8]


def output_into(rows: NDArray[np.int64], table: NDArray[Any], status: NDArray[np.uint8]) -> Output:
    """Return the `Output` that fills a contiguous (band, pixel) float32 or float64 table, and a status per pixel."""
    return Output(readonly(rows), table.view(np.uint8), table.dtype == np.float64, status)


@kernel(helper=True)
def store(result, start, width, output):
    """Copy the wanted rows of a chunk's results, (result, CHUNK), into the table from pixel `start` on."""
    rows, table = output.rows, output.table
    for k in range(rows.size):
        if rows[k] < 0:
            continue
        band = result[rows[k]]
        if output.wide:
            doubles = table[k].view(np.float64)[start : start + width]
            for p in range(width):
                doubles[p] = band[p]
        else:
            singles = table[k].view(np.float32)[start : start + width]
            for p in range(width):
                singles[p] = band[p]
