"""Dates that label arrays: datetime64, cftime, plain years."""

from __future__ import annotations

from datetime import timedelta

import cftime
import numpy as np
import pytest
import xarray

import pixelwise as pw
from pixelwise.dates.axis import TimeAxis
from pixelwise.dates.cf_times import moments_of
from pixelwise.dates.labels import axis_of, labels_of

CALENDARS = ["360_day", "noleap", "all_leap", "julian", "365_day"]


def labels(*dates):
    return np.array(dates, dtype="datetime64[ns]")


def axis_of_moments(moments):
    dates, precisions = [one.start for one in moments], [one.precision for one in moments]
    return TimeAxis.from_dates(dates, precisions, moments[0].calendar, [one.excess for one in moments])


def test_dates_are_days_unless_they_have_a_time():
    axis = axis_of(labels("2001-01-01", "2001-02-01"), "time")
    assert axis.precision == "day"
    assert axis.years.tolist() == [1970 + day / 365.25 for day in (11323, 11354)]
    assert axis_of(labels("2001-01-01T12", "2001-02-01"), "time").precision == "second"


def test_numbers_are_years():
    axis = axis_of(np.array([1999, 2001]), "year")
    assert axis.precision == "year"
    assert axis.years.tolist() == [1999, 2001]
    assert axis_of(np.array([1999.5, 2001.0]), "year").years.tolist() == [1999.5, 2001]


@pytest.mark.parametrize("calendar", ["standard", *CALENDARS])
def test_a_new_year_less_a_rounding_error_is_the_new_year(calendar):
    days = [cftime.datetime(year, 1, 1, calendar=calendar) for year in (2000, 2001, 2002)]
    exact = axis_of(np.array(days), "time")
    for error in (timedelta(microseconds=-1), timedelta(milliseconds=300)):
        near = np.array([day + error for day in days])
        numbers = cftime.date2num(near, "microseconds since 1990-01-01", calendar)
        from_file = moments_of(numbers, "microseconds since 1990-01-01", calendar)
        for axis in (axis_of(near, "time"), axis_of_moments(from_file)):
            assert axis.years.tolist() == exact.years.tolist()
            assert axis.dates.tolist() == exact.dates.tolist()
            assert axis.precision == "day"


@pytest.mark.parametrize("unit", ["ns", "us", "ms"])
def test_datetime64_is_rounded_to_seconds(unit):
    days = labels("1960-01-01", "2000-01-01").astype(f"datetime64[{unit}]") - np.timedelta64(1, unit)
    for axis in (axis_of(days, "time"), axis_of_moments(moments_of(days, "", ""))):
        assert list(map(str, axis.dates)) == ["1960-01-01T00:00:00", "2000-01-01T00:00:00"]
        assert axis.precision == "day"


@pytest.mark.parametrize("calendar", CALENDARS)
def test_dates_of_other_calendars_come_back(calendar):
    days = xarray.date_range("1999-01-01", periods=800, freq="D", calendar=calendar, use_cftime=True).values
    days = np.array([day + timedelta(hours=6) for day in days])
    axis = axis_of(days, "time")
    numbers = cftime.date2num(days, "seconds since 1970-01-01", calendar) / 86400
    length = {"360_day": 360, "all_leap": 366, "julian": 365.25}.get(calendar, 365)
    np.testing.assert_allclose(axis.years, 1970 + numbers / length, rtol=0, atol=1e-12)
    written, attributes = labels_of(axis)
    assert [str(day) for day in written] == [str(day) for day in days]
    again = axis_of(written, "time", attributes)
    assert again.years.tolist() == axis.years.tolist()
    assert (again.calendar, again.precision) == (axis.calendar, "second")


def test_cftime_in_our_calendar_is_the_same_as_datetime64():
    days = xarray.date_range("1999-01-31", periods=40, freq="MS", calendar="standard", use_cftime=True)
    axis = axis_of(days.values, "time")
    assert axis.years.tolist() == axis_of(days.to_datetimeindex(time_unit="ns").values, "time").years.tolist()
    assert axis.calendar == "standard"


@pytest.mark.parametrize("precision", ["year", "month", "day"])
def test_labels_keep_how_exactly_dates_are_known(precision):
    axis = TimeAxis.from_dates(labels("2001-01-01", "2002-01-01").astype("datetime64[s]").tolist(), [precision] * 2)
    again = axis_of(*labels_of(axis)[:1], "time", labels_of(axis)[1])
    assert again.precision == precision
    assert again.years.tolist() == axis.years.tolist()


@pytest.mark.parametrize(
    ("times", "attributes", "words"),
    [
        (labels("2001", "NaT"), {}, r"its time number 2 of 2 in 't' is missing \(NaT\)"),
        (
            labels("2002", "2001"),
            {},
            "do not ascend: number 2, 2001-01-01T00:00:00, comes after 2002-.*sortby\\('t'\\)",
        ),
        (labels("2001", "2001"), {}, r"its time 2001-01-01T00:00:00 occurs twice in 't': array.groupby\('t'\).mean"),
        (labels("2001"), {}, "has 1 time"),
        (np.array(["12001-01-01", "12002-01-01"], "datetime64[s]"), {}, "from year 12001 to 12002; expected 1 to 9999"),
        (np.array([0, 31]), {"units": "days since 1800-01-01"}, r"numbers \(days since 1800-01-01\) that are not"),
        (np.array([1999, np.nan]), {}, "is missing \\(NaN\\)"),
        (np.array([2001, 2000]), {}, "number 2, 2000, comes after 2001"),
        (np.array(["a", "b"]), {}, "are <U1 values; expected dates, or years as numbers"),
        (np.array([True, False]), {}, "are bool values"),
        (np.array([1, "b"], dtype=object), {}, "hold int, str; expected dates"),
        (np.zeros((2, 2)), {}, "are 2-dimensional"),
        (
            np.array([cftime.DatetimeNoLeap(2000, 1, 1), cftime.Datetime360Day(2000, 2, 1)]),
            {},
            "mix the calendars 360_day, noleap",
        ),
    ],
)
def test_what_is_no_time_axis_is_refused(times, attributes, words):
    with pytest.raises(pw.InputError, match=words) as refused:
        axis_of(times, "t", attributes)
    [problem] = refused.value.problems
    assert "\n" not in problem
