"""What the attributes of an array say about its stored numbers: which are missing or valid, and what they mean."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from pixelwise.errors import InputError

__all__ = ["missing_numbers", "packing_of", "valid_range"]

#: What the NetCDF library writes where nothing was written: the default fill values of floating-point numbers.
DEFAULT_FILLS = {"f": 9.969209968386869e36}


def packing_of(attributes: Mapping[str, Any]) -> tuple[float, float]:
    """Return scale and offset: the value is ``stored * scale + offset``."""
    return _number(attributes, "scale_factor", 1.0), _number(attributes, "add_offset", 0.0)


def missing_numbers(attributes: Mapping[str, Any], dtype: np.dtype[Any], *, netcdf: bool) -> tuple[float, ...]:
    """Return the stored numbers that are missing, NaN left out.

    Parameters
    ----------
    attributes
        Those of the array.
    dtype
        Type of the stored numbers.
    netcdf
        Whether the NetCDF library wrote them, which leaves its own number where nothing was written.
    """
    found: list[float] = []
    for key in ("_FillValue", "missing_value"):
        values = _numbers(attributes, key)
        if dtype.kind == "u":
            values = [value % 2 ** (8 * dtype.itemsize) if value < 0 else value for value in values]
        found += values
    if netcdf and dtype.kind in DEFAULT_FILLS and "_FillValue" not in attributes:
        found.append(DEFAULT_FILLS[dtype.kind])
    return tuple(dict.fromkeys(value for value in found if not math.isnan(value)))


def valid_range(
    attributes: Mapping[str, Any], dtype: np.dtype[Any], packing: tuple[float, float]
) -> tuple[float, float]:
    """Return the smallest and largest valid value; the attributes are stored numbers (CF, section 2.5.1)."""
    both = _numbers(attributes, "valid_range")
    low = both[0] if len(both) == 2 else _number(attributes, "valid_min", -math.inf)
    high = both[1] if len(both) == 2 else _number(attributes, "valid_max", math.inf)
    scale, offset = packing
    packed = (scale, offset) != (1.0, 0.0)
    stated = [attributes[key] for key in ("valid_range", "valid_min", "valid_max") if key in attributes]
    given = np.asarray(stated[0] if stated else 0)
    if packed and dtype.kind in "iu" and given.dtype.kind == "f":
        return low, high  # values after all, as many files have it
    # Half a step beyond for integers, so that rounding does not decide about the limits themselves.
    slack = 0.5 if packed and dtype.kind in "iu" else 0.0
    if dtype.kind == "u" and low < 0:
        low = -math.inf
    ends = [(low - slack) * scale + offset, (high + slack) * scale + offset]
    return min(ends), max(ends)


def _numbers(attributes: Mapping[str, Any], name: str) -> list[float]:
    """Return the numbers of an attribute."""
    given = attributes.get(name)
    if given is None:
        return []
    try:
        return [float(value) for value in np.ravel(np.asarray(given, dtype=np.float64))]
    except (TypeError, ValueError):
        raise InputError(f"its attribute {name} is {given!r}; expected numbers") from None


def _number(attributes: Mapping[str, Any], name: str, usual: float) -> float:
    return next(iter(_numbers(attributes, name)), usual)
