"""Time coordinates of the CF conventions, against cftime and by hand."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import cftime
import numpy as np
import pytest

from pixelwise.dates.axis import Moment, decimal_year
from pixelwise.dates.calendars import YEAR_DAYS
from pixelwise.dates.cf_times import is_time_unit, moments_of
from pixelwise.errors import InputError


@pytest.mark.parametrize("calendar", ["", "standard", "noleap", "360_day", "julian", "all_leap"])
@pytest.mark.parametrize("unit", ["days since 1999-12-30", "hours since 1850-01-01 00:00", "seconds since 2000-01-01"])
def test_numbers_of_every_calendar(calendar: str, unit: str) -> None:
    scale = {"d": 1, "h": 24, "s": 86400}[unit[0]]
    numbers = np.array([0, 59, 60, 61, 400, 800]) * scale
    moments = moments_of(numbers, unit, calendar)
    expected = cftime.num2date(numbers, unit, calendar or "standard")
    for moment, date in zip(moments, expected, strict=True):
        assert (moment.start.year, moment.start.month, moment.start.day + moment.excess) == (
            date.year, date.month, date.day,
        )  # fmt: skip
        assert moment.precision == "day"
        assert moment.calendar == (calendar or "standard")


def test_a_time_of_day_is_kept() -> None:
    moments = moments_of(np.array([0.25, 1.25]), "days since 2001-01-01", "")
    assert moments == tuple(Moment(date, "second", date) for date in (datetime(2001, 1, 1, 6), datetime(2001, 1, 2, 6)))


@pytest.mark.parametrize(
    ("edges", "calendar", "precision", "first", "last"),
    [
        ([0, 31, 59, 90], "", "month", datetime(2001, 1, 1), datetime(2001, 1, 31)),
        ([0, 30, 60, 90], "360_day", "month", datetime(2001, 1, 1), datetime(2001, 1, 30)),
        ([0, 365, 730, 1095], "noleap", "year", datetime(2001, 1, 1), datetime(2001, 1, 1)),
        ([0, 16, 32, 48], "", "period", datetime(2001, 1, 1), datetime(2001, 1, 16)),
        ([0, 1, 2, 3], "", "day", datetime(2001, 1, 1), datetime(2001, 1, 1)),
        ([0.25, 0.5, 0.75, 1], "", "second", datetime(2001, 1, 1, 6), datetime(2001, 1, 1, 6)),
    ],
)
def test_bounds_say_what_a_number_stands_for(
    edges: list[float], calendar: str, precision: str, first: datetime, last: datetime
) -> None:
    bounds = np.column_stack([edges[:-1], edges[1:]])
    middles = bounds.mean(axis=1)
    moments = moments_of(middles, "days since 2001-01-01", calendar, bounds)
    assert {moment.precision for moment in moments} == {precision}
    assert (moments[0].start, moments[0].end) == (first, last)
    assert moments_of(middles, "days since 2001-01-01", calendar, bounds[:, ::-1]) == moments


@pytest.mark.parametrize(("calendar", "lasts"), [("360_day", [29, 59, 89]), ("noleap", [30, 58, 89])])
def test_the_end_of_a_month_is_that_of_its_calendar(calendar: Any, lasts: list[int]) -> None:
    lengths = {"360_day": [0, 30, 60, 90], "noleap": [0, 31, 59, 90]}[calendar]
    bounds = np.column_stack([lengths[:-1], lengths[1:]])
    # Of a leap year, whose 29 February noleap lacks.
    for moment, last in zip(moments_of(bounds[:, 0], "days since 2004-01-01", calendar, bounds), lasts, strict=True):
        year = decimal_year(moment.date("end"), "day", calendar, moment.excess_of("end"))
        first = decimal_year(datetime(2004, 1, 1), "day", calendar)
        assert round((year - first) * YEAR_DAYS[calendar], 6) == last


def test_bounds_have_their_own_unit() -> None:
    bounds = np.array([[3652, 4018], [4018, 4383]])
    found = moments_of(np.array([180, 540]), "days since 2000-01-01", "", bounds, ("days since 1990-01-01", ""))
    assert [moment.start.year for moment in found] == [2000, 2001]
    with pytest.raises(InputError, match="its bounds have the calendar 'noleap', but its times have 'standard'"):
        moments_of(np.array([180, 540]), "days since 2000-01-01", "", bounds, ("", "noleap"))


def test_numbers_that_are_dates_themselves() -> None:
    assert [m.precision for m in moments_of(np.array([1999, 2000]), "", "")] == ["year", "year"]
    assert moments_of(np.array([2000.0]), "years", "")[0].start == datetime(2000, 1, 1)
    assert moments_of(np.array([20010115.5]), "day as %Y%m%d.%f", "")[0].start == datetime(2001, 1, 15, 12)
    month = moments_of(np.array([200112.0]), "month as %Y%m.%f", "")[0]
    assert (month.precision, month.start, month.end) == ("month", datetime(2001, 12, 1), datetime(2001, 12, 31))
    days = moments_of(np.array([20010304, 20010305]), "", "")
    assert [(m.start, m.precision) for m in days] == [(datetime(2001, 3, 4), "day"), (datetime(2001, 3, 5), "day")]
    texts = moments_of(np.array(["2001-03-04", b"2001-03-05T06:00"], dtype=object), "", "")
    assert [m.start for m in texts] == [datetime(2001, 3, 4), datetime(2001, 3, 5, 6)]
    with pytest.raises(InputError, match="first of May"):
        moments_of(np.array(["first of May"]), "", "")
    days = moments_of(np.array(["2001-03-04", "2001-03-05"], dtype="datetime64[ns]"), "", "")
    assert [m.start for m in days] == [datetime(2001, 3, 4), datetime(2001, 3, 5)]


@pytest.mark.parametrize(
    ("numbers", "unit", "calendar", "said"),
    [
        ([0.0, np.nan], "days since 2001-01-01", "", "1 of its 2 values are missing"),
        ([0.0, 1.0], "days since 2001-01-01", "lunar", "calendar 'lunar' is unknown; expected one of standard"),
        ([0.0, 1.0], "months since 2001-01-01", "", "its unit 'months since 2001-01-01' cannot be read"),
        ([0.0, 1.0], "K", "", "its unit 'K' is not a unit of time; expected 'days since 1970-01-01'"),
        ([0.0, 1.0], "", "", "its unit '' is not a unit of time"),
        ([0.0, 1.0], "days since 1500-01-01", "", "1500-01-01 is a date of the Julian calendar"),
        ([20011301.0], "day as %Y%m%d.%f", "", "20011301.0 is not a date"),
        ([20011301.0, 20010101.0], "", "", "its unit '' is not a unit of time"),
        ([3e6], "days since 2001-01-01", "proleptic_gregorian", "out of range"),
    ],
)
def test_what_is_no_time(numbers: list[float], unit: str, calendar: str, said: str) -> None:
    with pytest.raises(InputError, match=said.replace("(", r"\(")):
        moments_of(np.array(numbers), unit, calendar)


def test_units_of_time() -> None:
    assert [is_time_unit(unit) for unit in ("days since 1-1-1", "day as %Y%m%d.%f", "K", "", "since")] == [
        True, True, False, False, False,
    ]  # fmt: skip
