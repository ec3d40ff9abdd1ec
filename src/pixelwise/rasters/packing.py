"""What the attributes of an array say about its stored numbers: which are missing or valid, and what they mean."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pixelwise.errors import InputError

__all__ = ["DEFAULT_FILLS", "is_unsigned", "missing_numbers", "packing_of", "unpacked", "valid_range", "without_sign"]

#: What the NetCDF library writes where nothing was written (netcdf.h, NC_FILL_*). Bytes are all used by data, and
#: float64 does not hold those of 8 bytes.
DEFAULT_FILLS = {
    "f4": 9.969209968386869e36, "f8": 9.969209968386869e36, "i2": -32767.0, "u2": 65535.0, "i4": -2147483647.0,
    "u4": 4294967295.0,
}  # fmt: skip


def is_unsigned(attributes: Mapping[str, Any], dtype: np.dtype[Any]) -> bool:
    """Whether integers that are stored with a sign are meant without (NetCDF users' guide, ``_Unsigned``)."""
    return dtype.kind == "i" and str(attributes.get("_Unsigned", "")).lower() == "true"


def without_sign(stored: NDArray[Any]) -> NDArray[Any]:
    """Return the same bytes as integers without a sign."""
    return stored.view(stored.dtype.str.replace("i", "u"))


def unpacked(stored: NDArray[Any], attributes: Mapping[str, Any]) -> NDArray[Any]:
    """Return the values of a coordinate: as they are stored if nothing is packed, NaN where they are missing."""
    if stored.dtype.kind not in "iuf":
        return stored
    if is_unsigned(attributes, stored.dtype):
        stored = without_sign(stored)
    scale, offset = packing_of(attributes)
    missing = np.isin(stored, missing_numbers(attributes, stored.dtype, netcdf=False))
    if (scale, offset) == (1.0, 0.0) and not missing.any():
        return stored
    return np.where(missing, np.nan, stored * scale + offset)


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
        found += _meant(_numbers(attributes, key), dtype)
    default = DEFAULT_FILLS.get(f"{dtype.kind}{dtype.itemsize}")
    if netcdf and default is not None and "_FillValue" not in attributes:
        found.append(default)
    return tuple(dict.fromkeys(value for value in found if not math.isnan(value)))


def valid_range(
    attributes: Mapping[str, Any], dtype: np.dtype[Any], packing: tuple[float, float]
) -> tuple[float, float]:
    """Return the smallest and largest valid value; the attributes are stored numbers (CF, section 2.5.1)."""
    both = _meant(_numbers(attributes, "valid_range"), dtype)
    low = both[0] if len(both) == 2 else _limit(attributes, "valid_min", -math.inf, dtype)
    high = both[1] if len(both) == 2 else _limit(attributes, "valid_max", math.inf, dtype)
    scale, offset = packing
    packed = (scale, offset) != (1.0, 0.0)
    stated = [attributes[key] for key in ("valid_range", "valid_min", "valid_max") if key in attributes]
    given = np.asarray(stated[0] if stated else 0)
    if packed and dtype.kind in "iu" and given.dtype.kind == "f":
        return low, high  # values after all, as many files have it
    # Half a step beyond for integers, so that rounding does not decide about the limits themselves.
    slack = 0.5 if packed and dtype.kind in "iu" else 0.0
    ends = [(low - slack) * scale + offset, (high + slack) * scale + offset]
    return min(ends), max(ends)


def _meant(numbers: list[float], dtype: np.dtype[Any]) -> list[float]:
    """Return numbers of attributes, which are written with a sign, as those of a type without."""
    if dtype.kind != "u":
        return numbers
    return [number % 2 ** (8 * dtype.itemsize) if number < 0 else number for number in numbers]


def _limit(attributes: Mapping[str, Any], name: str, usual: float, dtype: np.dtype[Any]) -> float:
    return next(iter(_meant(_numbers(attributes, name), dtype)), usual)


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
