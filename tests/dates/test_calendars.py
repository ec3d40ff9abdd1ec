"""Calendars of climate models, against cftime."""

from __future__ import annotations

from datetime import datetime, timedelta

import cftime
import numpy as np
import pytest

from pixelwise.dates.axis import Moment, TimeAxis, decimal_year
from pixelwise.dates.calendars import YEAR_DAYS, Calendar, calendar_named, days_since_1970, nearest_date
from pixelwise.dates.periods import make_periods
from pixelwise.errors import InputError

CALENDARS: tuple[Calendar, ...] = ("standard", "noleap", "all_leap", "360_day", "julian")


@pytest.mark.parametrize("calendar", CALENDARS)
def test_days_equal_those_of_cftime(calendar: Calendar) -> None:
    # From 1895 on: 1900 is a leap year in the Julian calendar only.
    numbers = np.arange(-27_000, 20_000, 1 + 1 / 24)
    numbers = np.round(numbers * 24) / 24
    found = cftime.num2date(numbers, "days since 1970-01-01", calendar=calendar)
    placed = [nearest_date(d.year, d.month, d.day, timedelta(hours=d.hour)) for d in found]
    dates = np.array([date for date, _ in placed], dtype="datetime64[s]")
    excess = np.array([days for _, days in placed])
    np.testing.assert_allclose(days_since_1970(dates, calendar, excess), numbers, rtol=0, atol=1e-9)
    assert excess.max() == {"standard": 0, "noleap": 0, "all_leap": 1, "360_day": 2, "julian": 1}[calendar]


@pytest.mark.parametrize("calendar", CALENDARS)
def test_a_year_of_the_calendar_is_one(calendar: Calendar) -> None:
    first = decimal_year(datetime(1971, 7, 1), "day", calendar)
    last = decimal_year(datetime(2011, 7, 1), "day", calendar)
    assert last - first == pytest.approx(40, abs=1 / YEAR_DAYS[calendar])
    if calendar in ("noleap", "all_leap", "360_day"):
        assert last - first == 40


def test_names_of_the_cf_conventions() -> None:
    assert [calendar_named(name) for name in ("gregorian", "Proleptic_Gregorian", "365_day", "366_day")] == [
        "standard", "standard", "noleap", "all_leap",
    ]  # fmt: skip
    with pytest.raises(InputError, match=r"calendar 'none' is unknown; expected one of standard, noleap"):
        calendar_named("none")


def test_dates_that_no_calendar_has() -> None:
    with pytest.raises(InputError, match="no date 2001-02-34 in any calendar"):
        nearest_date(2001, 2, 34)
    with pytest.raises(InputError, match="year 0 is out of range"):
        nearest_date(0, 1, 1)


def test_the_end_of_february_stays_in_order() -> None:
    moments = [
        Moment(date, "day", date, "360_day", excess)
        for date, excess in (nearest_date(2001, 2, day) for day in (27, 28, 29, 30))
    ]
    axis = TimeAxis.from_dates([one.start for one in moments], ["day"] * 4, "360_day", [one.excess for one in moments])
    np.testing.assert_allclose(np.diff(axis.years) * 360, 1)
    assert axis.step is None  # the dates of ours are not distinct: methods that need steps refuse it


def test_periods_keep_the_calendar() -> None:
    dates = [datetime(year, month, 16) for year in range(2001, 2005) for month in range(1, 13)]
    axis = TimeAxis.from_dates(dates, ["day"] * len(dates), "360_day")
    periods = make_periods(axis, "month")
    assert periods.axis.calendar == "360_day"
    np.testing.assert_allclose(np.diff(periods.axis.years) * 12, 1, atol=1e-9)
