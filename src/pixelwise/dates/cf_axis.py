"""The time coordinate of an axis by the CF conventions, as `cf_times` reads it back."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from pixelwise.dates.axis import TimeAxis
from pixelwise.dates.calendars import YEAR_DAYS, days_since_1970

__all__ = ["bounds_of", "time_of"]

#: Names of calendars in the conventions: the standard one there is Julian before 1582, ours is not.
NAMES = {"standard": "proleptic_gregorian"}


def time_of(axis: TimeAxis) -> tuple[NDArray[Any], dict[str, str]]:
    """Return the (time,) numbers of a time coordinate and its attributes: days since 1970 in the axis' calendar."""
    attributes = {
        "standard_name": "time",
        "long_name": "time",
        "axis": "T",
        "units": "days since 1970-01-01",
        "calendar": NAMES.get(axis.calendar, axis.calendar),
    }
    return _whole(_days(axis)), attributes


def bounds_of(axis: TimeAxis) -> NDArray[Any] | None:
    """Return the (time, 2) days at which the years or months of an axis begin and end; None if it has days.

    A year that is known as a year alone must not become a date, which would fall on another decimal year.
    """
    dates = axis.dates.astype("datetime64[s]")
    units: dict[str, Literal["Y", "M"]] = {"year": "Y", "month": "M"}
    unit = units.get(axis.precision)
    if unit is None:
        return None
    starts = dates.astype(f"datetime64[{unit}]")
    # A month may be represented by its middle or last day, which bounds would turn into its first.
    if (starts != dates).any():
        return None
    edges = np.stack([starts, starts + np.timedelta64(1, unit)], axis=1).astype("datetime64[s]")
    nothing = np.zeros(edges.size, dtype=np.int64)
    return _whole(days_since_1970(edges.reshape(-1), axis.calendar, nothing).reshape(edges.shape))


def _days(axis: TimeAxis) -> NDArray[np.float64]:
    if axis.precision == "year":
        starts = (axis.calendar_years - 1970).astype("datetime64[Y]").astype("datetime64[s]")
        return days_since_1970(starts, axis.calendar, np.zeros(len(axis), dtype=np.int64))
    # Decimal years know the days of other calendars that ours lacks; rounded to seconds.
    days: NDArray[np.float64] = np.round((axis.years - 1970.0) * YEAR_DAYS[axis.calendar] * 86400) / 86400
    return days


def _whole(days: NDArray[np.float64]) -> NDArray[Any]:
    """Return whole days as integers: what reads them loses nothing."""
    whole = days.astype(np.int64)
    return whole if (whole == days).all() else days
