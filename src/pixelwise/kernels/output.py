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

    A table of each type, one of which is empty, so that a kernel is compiled once for both types of maps: that takes up
    to 5 seconds.

    Attributes
    ----------
    rows
        (band,) int64: the result that each row of the table is; negative if something else fills the row.
    singles, doubles
        (band, pixel) float32 and float64.
    status
        (pixel,) uint8.
    """

    rows: NDArray[np.int64]
    singles: NDArray[np.float32]
    doubles: NDArray[np.float64]
    status: NDArray[np.uint8]


def output_into(rows: NDArray[np.int64], table: NDArray[Any], status: NDArray[np.uint8]) -> Output:
    """Return the `Output` that fills a contiguous (band, pixel) float32 or float64 table, and a status per pixel."""
    wide = table.dtype == np.float64
    singles = np.empty((0, 0), dtype=np.float32) if wide else table
    doubles = table if wide else np.empty((0, 0))
    return Output(readonly(rows), singles, doubles, status)


@kernel(helper=True)
def store(result, start, width, output):
    """Copy the wanted rows of a chunk's results, (result, CHUNK), into the table from pixel `start` on."""
    rows, singles, doubles = output.rows, output.singles, output.doubles
    for k in range(rows.size):
        if rows[k] < 0:
            continue
        band = result[rows[k]]
        if doubles.size > 0:
            double = doubles[k, start : start + width]
            for p in range(width):
                double[p] = band[p]
        else:
            single = singles[k, start : start + width]
            for p in range(width):
                single[p] = band[p]
