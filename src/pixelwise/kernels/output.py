"""What kernels write: the wanted bands and the status of each pixel."""

# Numba infers types from arguments; annotations would only repeat the docstrings.
# mypy: allow-untyped-defs

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pixelwise.kernels.jit import kernel


class Output(NamedTuple):
    """The arrays that a kernel fills.

    Attributes
    ----------
    rows
        (band,) int64: the result that each row of `table` is.
    table
        (band, pixel) float32 or float64.
    status
        (pixel,) uint8.
    """

    rows: NDArray[np.int64]
    table: NDArray[Any]
    status: NDArray[np.uint8]


@kernel(helper=True)
def store(result, start, width, output):
    """Copy the wanted rows of a chunk's results, (result, CHUNK), into the table from pixel `start` on."""
    rows, table = output.rows, output.table
    for k in range(rows.size):
        band = result[rows[k]]
        row = table[k, start : start + width]
        for p in range(width):
            row[p] = band[p]
