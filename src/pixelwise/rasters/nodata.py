"""Which stored numbers are missing because a file or a user declares them: within rounding, as in GDAL."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["is_among", "nodata_bounds", "spelled"]

#: GDAL treats a floating-point number as nodata if it is within ``2 * SINGLE * abs(stored + nodata)`` of it, even in
#: float64: a number once rounded to float32 still counts as the declared one (ARE_REAL_EQUAL in gdal_priv.h).
SINGLE = float(np.finfo(np.float32).eps)


def nodata_bounds(nodata: Sequence[float], dtype: str | np.dtype[Any]) -> NDArray[Any]:
    """Return (value, 2) smallest and largest stored number that counts as each nodata value, in the band's own type.

    Values that the type cannot hold never occur and are left out, as is NaN, which is missing anyway. For integers both
    bounds are the value itself.
    """
    kind = np.dtype(dtype)
    kept: list[tuple[Any, Any]] = []
    for value in nodata:
        if np.isnan(value):
            continue
        if kind.kind == "f":
            with np.errstate(over="ignore"):
                kept.append(_around(float(kind.type(value)), kind.name))
        elif np.iinfo(kind).min <= value <= np.iinfo(kind).max and float(value).is_integer():
            kept.append((kind.type(int(value)),) * 2)
    return np.array(kept, dtype=kind).reshape(-1, 2)


def is_among(stored: NDArray[Any], bounds: NDArray[Any]) -> NDArray[np.bool_]:
    """Return whether each stored number is within one of the bounds from `nodata_bounds`."""
    found = np.zeros(stored.shape, dtype=bool)
    for low, high in bounds:
        found |= (low <= stored) & (stored <= high)
    return found


def spelled(value: float, dtype: str | np.dtype[Any] = "float64") -> str:
    """Return a number with as few digits as its type needs to read it back unchanged."""
    number = np.dtype(dtype).type(value) if np.dtype(dtype).kind == "f" else value
    return str(number).removesuffix(".0")


@cache
def _around(value: float, dtype: str) -> tuple[Any, Any]:
    """Return the smallest and largest number that GDAL treats as a floating-point nodata `value`, by bisection.

    Magnitudes are counted in steps of the type: their bits as integers.
    """
    kind = np.dtype(dtype)
    nodata = kind.type(value)
    if nodata == 0 or not np.isfinite(nodata):
        return nodata, nodata
    counted = np.dtype(f"i{kind.itemsize}")
    largest = int(np.finfo(kind).max.view(counted))
    magnitude = abs(nodata)
    step = int(magnitude.view(counted))

    def meant(count: int) -> bool:
        other = np.array(count, counted).view(kind)[()]
        with np.errstate(over="ignore", under="ignore"):
            return bool(other == magnitude or abs(other - magnitude) < kind.type(SINGLE) * abs(other + magnitude) * 2)

    def last(inside: int, outside: int) -> int:
        while abs(outside - inside) > 1:
            middle = (inside + outside) // 2
            inside, outside = (middle, outside) if meant(middle) else (inside, middle)
        return inside

    with np.errstate(over="ignore"):
        huge = np.isinf(2 * magnitude)
    # GDAL's sum overflows: every larger number is nodata too. Otherwise only neighbours within 16 steps of float32 are.
    outer = largest if huge else last(step, step + (16 << (np.finfo(kind).nmant - 23)))
    ends = [np.array(count, counted).view(kind)[()] for count in (last(step, -1), outer)]
    low, high = ends if nodata > 0 else (-ends[1], -ends[0])
    return low, high
