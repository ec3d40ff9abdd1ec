"""Time coordinates by the CF conventions: numbers with a unit and a calendar, and the periods that they stand for."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pixelwise.dates.axis import Moment, Precision
from pixelwise.dates.calendars import Calendar, calendar_named, day_before, nearest_date, to_the_second
from pixelwise.dates.tables import parse_date
from pixelwise.errors import InputError, ParameterError

__all__ = ["is_time_unit", "moments_of", "moments_of_dates"]

#: ``days since 1970-01-01``
SINCE = re.compile(r"^\s*\w+\s+since\s", re.IGNORECASE)
#: How CDO writes absolute times: ``day as %Y%m%d.%f``, ``month as %Y%m.%f``, ``year as %Y.%f``.
ABSOLUTE = re.compile(r"^\s*(day|month|year)s?\s+as\s+%Y", re.IGNORECASE)
#: Numbers without a unit are years if they are whole and among these.
FIRST_YEAR, LAST_YEAR = 1000, 3000
#: The Gregorian calendar begins; the standard calendar of CF is the Julian before.
GREGORIAN = datetime(1582, 10, 15)

DAY = timedelta(days=1)


def is_time_unit(unit: str) -> bool:
    """Whether a unit is one of points in time."""
    return bool(SINCE.match(unit) or ABSOLUTE.match(unit))


def moments_of(
    numbers: NDArray[Any],
    unit: str,
    calendar: str,
    bounds: NDArray[Any] | None = None,
    bounds_words: tuple[str, str] = ("", ""),
) -> tuple[Moment, ...]:
    """Return the moments that a time coordinate stands for.

    A period of whole years or months is known to the year or month; other periods of whole days are ``period``. Without
    bounds, the numbers themselves are days, or seconds if any of them has a time of day.

    Parameters
    ----------
    numbers
        (time,) numbers, datetime64, or dates as text.
    unit, calendar
        The attributes; the calendar is empty if there is none.
    bounds
        (time, 2) beginning and end of each period, if the file has them.
    bounds_words
        Their own unit and calendar; empty where they have those of the numbers.

    Raises
    ------
    InputError
        When a number is missing, or unit or calendar are unknown.
    """
    if numbers.dtype.kind in "OSUT":
        return tuple(map(_written, numbers.tolist()))
    missing = np.isnat(numbers) if numbers.dtype.kind == "M" else ~np.isfinite(numbers)
    if missing.any():
        raise InputError(f"{np.count_nonzero(missing)} of its {len(numbers)} values are missing")
    if numbers.dtype.kind != "M" and not SINCE.match(unit):
        return _absolute(numbers, unit)
    named = calendar_named(calendar or "standard")
    if bounds is not None and bounds.shape == (len(numbers), 2):
        own_unit, own_calendar = bounds_words[0] or unit, bounds_words[1] or calendar
        if calendar_named(own_calendar or "standard") != named:
            raise InputError(
                f"its bounds have the calendar {own_calendar!r}, but its times have {calendar or 'standard'!r}"
            )
        both = _decoded(bounds.reshape(-1), own_unit, own_calendar, named)
        return _periods(both[::2], both[1::2], named)
    return moments_of_dates(_decoded(numbers, unit, calendar, named), named)


def moments_of_dates(dates: Sequence[tuple[datetime, int]], calendar: Calendar) -> tuple[Moment, ...]:
    """Return moments known to the day, or to the second if any has a time of day.

    Parameters
    ----------
    dates
        Of each moment the nearest date of our calendar, and the days that it is later, as `nearest_date` returns them.
    calendar
        The calendar in which they are meant.
    """
    whole = all(date == _day_of(date) for date, _ in dates)
    precision: Precision = "day" if whole else "second"
    return tuple(Moment(date, precision, date, calendar, excess) for date, excess in dates)


def _written(date: str | bytes) -> Moment:
    """Return the moment that a text stands for."""
    text = date.decode("utf-8", "replace") if isinstance(date, bytes) else str(date)
    try:
        return parse_date(text.strip())
    except ParameterError as error:
        raise InputError(str(error)) from None


def _absolute(numbers: NDArray[Any], unit: str) -> tuple[Moment, ...]:
    """Return moments of numbers that are written like dates: years, or what CDO writes."""
    found = ABSOLUTE.match(unit)
    if found is None:
        words = unit.strip().lower()
        if not words and (days := _as_days(numbers)):
            return moments_of_dates(days, "standard")
        plain = words in ("", "1", "year", "years", "yr", "calendar_year", "common_year")
        if not plain or not _are_years(numbers):
            raise InputError(
                f"its unit {unit!r} is not a unit of time; expected 'days since 1970-01-01' or similar, or plain years"
            )
        return tuple(Moment(first, "year", first) for first in (datetime(int(number), 1, 1) for number in numbers))
    kind = found[1].lower()
    moments = []
    for number in numbers.tolist():
        whole = int(number)
        fields = {"day": (whole // 10000, whole // 100 % 100, whole % 100), "month": (whole // 100, whole % 100, 1)}
        try:
            start = datetime(*fields.get(kind, (whole, 1, 1)))
        except ValueError:
            raise InputError(f"{number} is not a date, as its unit {unit!r} promises") from None
        if kind == "day":
            date = start + timedelta(seconds=round((number - whole) * 86400))
            moments.append((date, 0))
        else:
            moments.append((start, 0))
    if kind == "day":
        return moments_of_dates(moments, "standard")
    if kind == "year":
        return tuple(Moment(date, "year", date) for date, _ in moments)
    return tuple(Moment(date, "month", _next_month(date) - DAY) for date, _ in moments)


def _as_days(numbers: NDArray[Any]) -> list[tuple[datetime, int]]:
    """Return the days that whole numbers such as 20010131 are; none if some are no days."""
    if not ((numbers == np.floor(numbers)) & (numbers >= 10_000_101) & (numbers < 100_000_000)).all():
        return []
    try:
        return [(datetime.strptime(f"{number:.0f}", "%Y%m%d"), 0) for number in numbers.tolist()]
    except ValueError:
        return []


def _are_years(numbers: NDArray[Any]) -> bool:
    return bool(((numbers == np.floor(numbers)) & (numbers >= FIRST_YEAR) & (numbers <= LAST_YEAR)).all())


def _decoded(numbers: NDArray[Any], unit: str, calendar: str, named: Calendar) -> list[tuple[datetime, int]]:
    """Return of each number the nearest date of our calendar, and the days that it is later."""
    if numbers.dtype.kind == "M":
        return [(to_the_second(date), 0) for date in numbers.astype("datetime64[us]").tolist()]
    try:
        import cftime
    except ImportError:  # pragma: no cover - the tests' environment has it
        raise ParameterError('this needs cftime: pip install "pixelwise[xarray]"') from None
    try:
        # Which of the names of our calendar it is matters for dates before 1582 only.
        meant = "proleptic_gregorian" if calendar.strip().lower() == "proleptic_gregorian" else named
        found = cftime.num2date(numbers, unit, meant, only_use_cftime_datetimes=True)
    except (ValueError, OverflowError) as error:
        raise InputError(f"its unit {unit!r} cannot be read ({error})") from None
    placed = []
    for date in map(to_the_second, found):
        time = timedelta(hours=date.hour, minutes=date.minute, seconds=date.second)
        placed.append(nearest_date(date.year, date.month, date.day, time))
    mixed = calendar.strip().lower() in ("", "standard", "gregorian")
    if mixed and any(date < GREGORIAN for date, _ in placed):
        first = min(date for date, _ in placed)
        raise InputError(
            f"{first.date()} is a date of the Julian calendar, which the standard one is before 15 October 1582; "
            "expected the calendar proleptic_gregorian or julian"
        )
    return placed


def _periods(
    starts: Sequence[tuple[datetime, int]], ends: Sequence[tuple[datetime, int]], calendar: Calendar
) -> tuple[Moment, ...]:
    """Return the moments of periods that begin and end at certain instants, the ends not included."""
    if any(end < start for start, end in zip(starts, ends, strict=True)):
        starts, ends = ([choose(pair) for pair in zip(starts, ends, strict=True)] for choose in (min, max))
    pairs = [(start, end) for (start, _), (end, _) in zip(starts, ends, strict=True)]
    precision: Precision
    if all(_is_new_year(start) and _is_new_year(end) and end.year == start.year + 1 for start, end in pairs):
        return tuple(Moment(start, "year", start, calendar) for start, _ in pairs)
    if all(_is_first_of_month(start) and end == _next_month(start) for start, end in pairs):
        precision = "month"
    elif all(start == _day_of(start) and end == _day_of(end) and end - start > DAY for start, end in pairs):
        precision = "period"
    else:
        # Days and parts of days stand for their beginning.
        return moments_of_dates(starts, calendar)
    lasts = (day_before(end, excess, calendar) for end, excess in ends)
    return tuple(
        Moment(start, precision, last, calendar, excess, last_excess)
        for (start, excess), (last, last_excess) in zip(starts, lasts, strict=True)
    )


def _day_of(date: datetime) -> datetime:
    return date.replace(hour=0, minute=0, second=0, microsecond=0)


def _is_first_of_month(date: datetime) -> bool:
    return date == date.replace(day=1, hour=0, minute=0, second=0, microsecond=0)


def _is_new_year(date: datetime) -> bool:
    return _is_first_of_month(date) and date.month == 1


def _next_month(date: datetime) -> datetime:
    return date.replace(year=date.year + date.month // 12, month=date.month % 12 + 1)
