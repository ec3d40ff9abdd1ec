"""From stored numbers to values with NaN, in one pass."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pixelwise.jit import kernel

__all__ = ["unpack"]


@kernel()
def unpack(
    raw: NDArray[Any],
    nodata: NDArray[Any],
    scale: float,
    offset: float,
    low: float,
    high: float,
    out: NDArray[Any],
) -> None:
    """Write scaled values of `raw` into `out`, NaN where missing; both flat, `out` may be `raw` itself.

    `nodata` has the dtype of `raw`: it is compared before scaling. Scaling is done in float64, because
    int16 scaled in float32 is off by 8e-8. Infinite values and those outside low..high are missing.
    """
    scaled = scale != 1.0 or offset != 0.0
    bounded = low > -np.inf or high < np.inf
    for i in range(raw.size):
        stored = raw[i]
        value = np.float64(stored)
        if scaled:
            value = value * scale + offset
        missing: Any = not np.isfinite(value)
        for k in range(nodata.size):
            missing |= stored == nodata[k]
        if bounded:
            missing |= (value < low) | (value > high)
        out[i] = np.nan if missing else value
