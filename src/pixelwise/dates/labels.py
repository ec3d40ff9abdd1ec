"""Dates as arrays label them: datetime64, dates of cftime, or plain years; read, and written."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from pixelwise.dates.axis import Precision, TimeAxis
from pixelwise.dates.calendars import YEAR_DAYS, calendar_named, nearest_date, to_the_second
from pixelwise.errors import InputError, ParameterError

__all__ = ["axis_of", "labels_of"]

#: The attribute of a time coordinate that says how exactly its dates are known, in `TimeAxis`'s words.
PRECISION = "precision"

#: The years of `datetime`.
FIRST_YEAR, LAST_YEAR = 1, 9999
#: The first and the last year, in part, of datetime64[ns].
NANOSECONDS = (1677, 2262)


def axis_of(labels: NDArray[Any], name: str, attributes: Mapping[str, Any] | None = None) -> TimeAxis:
    """Return the time axis of an array.

    Parameters
    ----------
    labels
        (time,) datetime64, objects of cftime, or years as numbers.
    name
        Name of the dimension, for messages.
    attributes
        Attributes of the coordinate: `labels_of` says there how exactly dates are known.

    Raises
    ------
    InputError
        When they are no dates, not ascending, or one is missing or there twice; without the name of the array.
    """
    attributes = attributes or {}
    if labels.ndim != 1:
        raise InputError(f"its times {name!r} are {labels.ndim}-dimensional; expected one for each layer")
    if len(labels) < 2:
        raise InputError(f"its dimension {name!r} has {len(labels)} time(s); a series needs at least two")
    if labels.dtype.kind == "M":
        axis = _of_datetimes(labels, name, attributes)
    elif labels.dtype.kind == "O":
        axis = _of_objects(labels, name, attributes)
    elif labels.dtype.kind in "iuf":
        axis = _of_numbers(labels, name, attributes)
    else:
        raise InputError(f"its times {name!r} are {labels.dtype} values; expected dates, or years as numbers")
    return axis


def _of_datetimes(labels: NDArray[Any], name: str, attributes: Mapping[str, Any]) -> TimeAxis:
    missing = np.flatnonzero(np.isnat(labels))
    if missing.size:
        raise InputError(f"its time number {missing[0] + 1} of {len(labels)} in {name!r} is missing (NaT)")
    years = labels.astype("datetime64[Y]").astype(np.int64) + 1970
    if years.min() < FIRST_YEAR or years.max() > LAST_YEAR:
        first, last = years.min(), years.max()
        raise InputError(f"its times {name!r} go from year {first} to {last}; expected {FIRST_YEAR} to {LAST_YEAR}")
    dates = list(map(to_the_second, labels.astype("datetime64[us]").tolist()))
    rounded = np.array(dates, dtype="datetime64[s]")
    _check_order(rounded, name)
    timed = (rounded != rounded.astype("datetime64[D]")).any()
    precision = _precision(attributes, "second" if timed else "day")
    return TimeAxis.from_dates(dates, [precision] * len(dates))


def _of_objects(labels: NDArray[Any], name: str, attributes: Mapping[str, Any]) -> TimeAxis:
    kinds = {type(label) for label in labels.tolist()}
    calendars = {getattr(label, "calendar", None) for label in labels.tolist()}
    if None in calendars or "" in calendars:
        odd = sorted(kind.__name__ for kind in kinds)
        raise InputError(f"its times {name!r} hold {', '.join(odd)}; expected dates, or years as numbers")
    if len(calendars) > 1:
        raise InputError(f"its times {name!r} mix the calendars {', '.join(sorted(map(str, calendars)))}")
    calendar = calendar_named(str(calendars.pop()))
    rounded = list(map(to_the_second, labels.tolist()))
    _check_order(np.array(rounded, dtype=object), name)
    times = [timedelta(hours=t.hour, minutes=t.minute, seconds=t.second) for t in rounded]
    found = [nearest_date(t.year, t.month, t.day, time) for t, time in zip(rounded, times, strict=True)]
    precision = _precision(attributes, "second" if any(times) else "day")
    dates, excess = zip(*found, strict=True)
    return TimeAxis.from_dates(dates, [precision] * len(dates), calendar, excess)


def _of_numbers(labels: NDArray[Any], name: str, attributes: Mapping[str, Any]) -> TimeAxis:
    units = str(attributes.get("units", ""))
    if " since " in units:
        raise InputError(
            f"its times {name!r} are numbers ({units}) that are not decoded: xarray.decode_cf(dataset) makes them dates"
        )
    missing = np.flatnonzero(~np.isfinite(labels))
    if missing.size:
        raise InputError(f"its time number {missing[0] + 1} of {len(labels)} in {name!r} is missing (NaN)")
    _check_order(labels, name)
    try:
        return TimeAxis.from_times(labels)
    except ParameterError as error:  # pragma: no cover - what it refuses is refused above
        raise InputError(f"its times {name!r}: {error}") from None


def _check_order(labels: NDArray[Any], name: str) -> None:
    """Refuse times that do not ascend."""
    later = np.array(labels[1:] > labels[:-1], dtype=bool)
    if later.all():
        return
    at = int(np.flatnonzero(~later)[0])
    before, after = str(labels[at]), str(labels[at + 1])
    if before == after:
        raise InputError(
            f"its time {before} occurs twice in {name!r}: array.groupby({name!r}).mean() makes one layer of each, "
            f"array.drop_duplicates({name!r}) keeps the first"
        )
    raise InputError(
        f"its times {name!r} do not ascend: number {at + 2}, {after}, comes after {before}; array.sortby({name!r}) "
        "sorts them"
    )


def _precision(attributes: Mapping[str, Any], usual: Precision) -> Precision:
    said = attributes.get(PRECISION)
    known: tuple[Precision, ...] = get_args(Precision)
    return next((precision for precision in known if precision == said), usual)


def labels_of(axis: TimeAxis) -> tuple[NDArray[Any], dict[str, str]]:
    """Return the dates of an axis as labels, and the attributes of their coordinate; `axis_of` reads both back.

    Returns
    -------
    labels
        (time,) datetime64, or objects of cftime for dates of another calendar.
    attributes
        As in CF, and ``precision``: how exactly the dates are known, in the words of `TimeAxis`.
    """
    attributes = {"standard_name": "time", "long_name": "time", "axis": "T", PRECISION: axis.precision}
    if axis.calendar == "standard" or axis.precision == "year":
        # xarray before 2025.1 knows nanoseconds only, which hold the years 1678 to 2261.
        inside = (axis.calendar_years > NANOSECONDS[0]) & (axis.calendar_years < NANOSECONDS[1])
        return axis.dates.astype("datetime64[ns]") if inside.all() else axis.dates, attributes
    import cftime

    # Days that our calendar lacks are in the decimal years only.
    seconds = np.round((axis.years - 1970.0) * YEAR_DAYS[axis.calendar] * 86400.0)
    return np.array(cftime.num2date(seconds, "seconds since 1970-01-01", axis.calendar)), attributes
