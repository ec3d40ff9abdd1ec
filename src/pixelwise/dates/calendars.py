"""Calendars of climate models: years of 360, 365 or 366 days, whose dates ours may lack.

A date of such a calendar is kept as the nearest earlier date of ours, and the number of days that it is later:
30 February is 28 February and 2 days. The decimal year is that of its own calendar.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Final, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from pixelwise.errors import InputError

__all__ = [
    "YEAR_DAYS",
    "Calendar",
    "calendar_named",
    "day_before",
    "days_since_1970",
    "decimal_years",
    "nearest_date",
    "to_the_second",
]

Calendar = Literal["standard", "noleap", "all_leap", "360_day", "julian"]

#: Days of a year, of which decimal years count parts; for calendars with leap days, on average.
YEAR_DAYS: Final[dict[Calendar, float]] = {
    "standard": 365.25, "noleap": 365.0, "all_leap": 366.0, "360_day": 360.0, "julian": 365.25,
}  # fmt: skip

#: Other names, most of them of the CF conventions, section 4.4.1.
SAME: Final[dict[str, Calendar]] = {
    "gregorian": "standard", "proleptic_gregorian": "standard", "365_day": "noleap", "366_day": "all_leap",
    "360": "360_day",  # not of CF, but of the IRI Data Library
}  # fmt: skip

MONTH_DAYS: Final = (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
EPOCH: Final = datetime(1970, 1, 1)
#: Day number of 1 January 1970 in the Julian calendar, from 1 January of year 0.
JULIAN_EPOCH: Final = 1970 * 365 + (1970 + 3) // 4


def calendar_named(name: str) -> Calendar:
    """Return a calendar by any of its names in the CF conventions.

    Raises
    ------
    InputError
        When there is no such calendar, or none that has years.
    """
    word = name.strip().lower()
    known: tuple[Calendar, ...] = get_args(Calendar)
    for calendar in known:
        if word == calendar:
            return calendar
    if word in SAME:
        return SAME[word]
    raise InputError(f"calendar {name!r} is unknown; expected one of {', '.join((*known, *SAME))}")


def to_the_second(date: Any) -> Any:
    """Return the whole second nearest to a date of `datetime` or cftime.

    6 hours as 0.25 of a day in float32 are off by milliseconds, and a new year less a rounding error is in the old one.

    Raises
    ------
    InputError
        When there is none before the year 10000.
    """
    rest = timedelta(microseconds=date.microsecond)
    try:
        return date - rest + timedelta(seconds=round(rest.total_seconds()))
    except OverflowError:
        raise InputError("year 10000 is out of range: expected 1 to 9999") from None


def nearest_date(year: int, month: int, day: int, time: timedelta = timedelta(0)) -> tuple[datetime, int]:
    """Return the latest date of our calendar that is not after a date of another one, and the days between both.

    Parameters
    ----------
    year, month, day
        The date; its calendar may have a 30 February.
    time
        Time of day.

    Raises
    ------
    InputError
        When the year is not among 1 to 9999, the years of `datetime`.
    """
    if not 1 <= year <= 9999:
        raise InputError(f"year {year} is out of range: expected 1 to 9999")
    for excess in range(4):
        try:
            return datetime(year, month, day - excess) + time, excess
        except ValueError:
            continue
    raise InputError(f"there is no date {year}-{month:02d}-{day:02d} in any calendar")


def day_before(date: datetime, excess: int, calendar: Calendar) -> tuple[datetime, int]:
    """Return the day before a date of a calendar, as `nearest_date` does."""
    if calendar == "standard":
        return date - timedelta(days=1), 0
    if date.day + excess > 1:
        return nearest_date(date.year, date.month, date.day + excess - 1)
    year, month = (date.year, date.month - 1) if date.month > 1 else (date.year - 1, 12)
    leap = calendar == "all_leap" or (calendar == "julian" and year % 4 == 0)
    last = 30 if calendar == "360_day" else MONTH_DAYS[month - 1] + (leap and month == 2)
    return nearest_date(year, month, last)


def days_since_1970(
    dates: NDArray[np.datetime64], calendar: Calendar, excess: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Return (time,) days since the first of January 1970 of a calendar, with the time of day as their fraction.

    Parameters
    ----------
    dates
        (time,) datetime64[s].
    calendar
        The calendar in which their years, months and days are meant.
    excess
        (time,) days that each date is later, as `nearest_date` returns them.
    """
    of_day = dates.astype("datetime64[D]")
    fraction = (dates - of_day).astype("timedelta64[s]").astype(np.float64) / 86400.0
    if calendar == "standard":
        standard: NDArray[np.float64] = of_day.astype(np.int64) + excess + fraction
        return standard
    years = dates.astype("datetime64[Y]").astype(np.int64) + 1970
    months = dates.astype("datetime64[M]").astype(np.int64) % 12
    days = (of_day - dates.astype("datetime64[M]")).astype(np.int64) + excess
    before = np.concatenate([[0], np.cumsum(MONTH_DAYS)[:-1]])[months]
    if calendar == "360_day":
        whole = (years - 1970) * 360 + months * 30 + days
    elif calendar == "julian":
        whole = years * 365 + (years + 3) // 4 - JULIAN_EPOCH + before + ((years % 4 == 0) & (months > 1)) + days
    else:
        leap = calendar == "all_leap"
        whole = (years - 1970) * (365 + leap) + before + (leap & (months > 1)) + days
    other: NDArray[np.float64] = whole + fraction
    return other


def decimal_years(dates: NDArray[np.datetime64], calendar: Calendar, excess: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return (time,) 1970 + `days_since_1970` / days of a year of the calendar."""
    years: NDArray[np.float64] = 1970.0 + days_since_1970(dates, calendar, excess) / YEAR_DAYS[calendar]
    return years
