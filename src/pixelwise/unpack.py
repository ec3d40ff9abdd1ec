"""From stored numbers to values with NaN, in one pass."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pixelwise.jit import kernel

__all__ = ["unpack"]

#: Values that are looked at together.
CLEAN = 256


def unpack(
    raw: NDArray[Any],
    nodata: NDArray[Any],
    scale: float,
    offset: float,
    low: float,
    high: float,
    out: NDArray[Any],
) -> None:
    """Write scaled values of `raw` into `out`, NaN where missing.

    Parameters
    ----------
    raw
        (value,) stored numbers.
    nodata
        Stored numbers that are missing, of the dtype of `raw`: they are compared before scaling.
    scale, offset
        The value is ``stored * scale + offset``, computed in float64: int16 scaled in float32 is off by 8e-8.
    low, high
        Values outside are missing, as infinite ones are.
    out
        (value,) float32 or float64; may be `raw` itself.
    """
    bounded = low > -np.inf or high < np.inf
    scaled = scale != 1.0 or offset != 0.0
    if bounded or scaled or nodata.size > 1:
        _unpack_any(raw, nodata, scale, offset, low, high, out)
    elif raw.dtype.kind == "f":
        missing = nodata[0] if nodata.size else raw.dtype.type(np.nan)
        # Compiled code never warns; with NUMBA_DISABLE_JIT the difference of infinities would.
        with np.errstate(invalid="ignore"):
            if np.may_share_memory(raw, out):
                _clean_floats(out, missing)
            else:
                _unpack_floats(raw, missing, out)
    elif nodata.size:
        _unpack_integers(raw, nodata[0], out)
    else:
        np.copyto(out, raw)


@kernel()
def _unpack_floats(raw: NDArray[Any], nodata: Any, out: NDArray[Any]) -> None:
    for i in range(raw.size):
        stored = raw[i]
        # The inner difference is 0 for every number but NaN for an infinity, so no second comparison is needed:
        # 3.0 instead of 2.0 Gvalue/s. Subtracting it keeps the sign of a zero.
        out[i] = np.nan if stored == nodata else stored - (stored - stored)


@kernel()
def _clean_floats(values: NDArray[Any], nodata: Any) -> None:
    """Do what `_unpack_floats` does in place: what most files need.

    Looking is twice as fast as writing: 5.7 instead of 2.7 Gvalue/s from memory, where blobs cover 5 %.
    """
    whole = values.size // CLEAN * CLEAN
    for start in range(0, whole, CLEAN):
        part = values[start : start + CLEAN]
        found = 0
        for i in range(CLEAN):
            stored = part[i]
            rest = stored - stored
            found |= (stored == nodata) | (rest != rest)
        if found:
            _unpack_floats(part, nodata, part)
    _unpack_floats(values[whole:], nodata, values[whole:])


@kernel()
def _unpack_integers(raw: NDArray[Any], nodata: Any, out: NDArray[Any]) -> None:
    for i in range(raw.size):
        out[i] = np.nan if raw[i] == nodata else raw[i]


@kernel()
def _unpack_any(
    raw: NDArray[Any],
    nodata: NDArray[Any],
    scale: float,
    offset: float,
    low: float,
    high: float,
    out: NDArray[Any],
) -> None:
    for i in range(raw.size):
        stored = raw[i]
        value = stored * scale + offset
        missing: Any = not (np.isfinite(value) & (low <= value) & (value <= high))
        for k in range(nodata.size):
            missing |= stored == nodata[k]
        out[i] = np.nan if missing else value
