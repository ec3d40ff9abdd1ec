"""Moments, and the axis that dates form."""

from __future__ import annotations

import pickle
from datetime import datetime, timedelta

import numpy as np
import pytest

from pixelwise.dates.axis import UNITS, Moment, Step, TimeAxis, decimal_year
from pixelwise.dates.slots import seasons_of
from pixelwise.dates.tables import parse_date
from pixelwise.errors import ParameterError
from pixelwise.methods.trend import PER_YEAR

# ----------------------------------------------------------------------------------------- moments


@pytest.mark.parametrize(
    ("text", "middle", "end"),
    [
        ("2001-02", "2001-02-15", "2001-02-28"),
        ("2001-01", "2001-01-16 ", "2001-01-31"),
        ("2001-Q1", "2001-02-15", "2001-03-31"),
        ("2001-03-05", "2001-03-05", "2001-03-05"),
        ("2001", "2001-01-01", "2001-01-01"),
    ],
)
def test_date_of_a_moment(text, middle, end):
    moment = parse_date(text)
    assert moment.date() == moment.start
    assert moment.date("middle") == datetime.fromisoformat(middle.strip())
    assert moment.date("end") == datetime.fromisoformat(end)


def test_moment_cannot_end_before_it_starts():
    with pytest.raises(ValueError, match="comes before"):
        Moment(datetime(2001, 2, 1), "period", datetime(2001, 1, 1))


def test_decimal_year():
    assert decimal_year(datetime(2001, 1, 1), "year") == 2001.0
    assert decimal_year(datetime(1970, 1, 1), "day") == 1970.0
    assert decimal_year(datetime(1971, 1, 1), "day") == 1970.0 + 365 / 365.25
    assert decimal_year(datetime(1970, 1, 1, 12), "second") == 1970.0 + 0.5 / 365.25


# -------------------------------------------------------------------------------------------- axis


def axis(dates: list[str], precision: str = "day") -> TimeAxis:
    stamps = np.array(dates, dtype="datetime64[s]").tolist()
    return TimeAxis.from_dates(stamps, [precision] * len(stamps))


MODIS_16 = [
    (datetime(year, 1, 1) + timedelta(days=16 * k)).date().isoformat() for year in (2000, 2001) for k in range(23)
]
MODIS_8 = [
    (datetime(year, 1, 1) + timedelta(days=8 * k)).date().isoformat() for year in (2000, 2001) for k in range(46)
]
WEEKS = [(datetime(year, 1, 1) + timedelta(days=7 * k)).date().isoformat() for year in (2000, 2001) for k in range(52)]


@pytest.mark.parametrize(
    ("dates", "step", "index"),
    [
        (["2000-07-01", "2001-07-01", "2003-07-01", "2004-07-01"], Step(1, "year"), [0, 1, 3, 4]),
        (["1990-01-01", "1995-01-01", "2005-01-01", "2010-01-01"], Step(5, "year"), [0, 1, 3, 4]),
        (["1999-12-31", "2000-12-31", "2001-12-31"], Step(1, "year"), [0, 1, 2]),
        (["2003-04-23", "2004-04-22", "2005-04-23"], Step(1, "year"), [0, 1, 2]),  # day of year 113
        (["2000-01-15", "2000-02-15", "2000-04-15", "2001-01-15", "2001-02-15"], Step(1, "month"), [0, 1, 3, 12, 13]),
        (["2000-01-01", "2000-04-01", "2000-07-01", "2001-01-01"], Step(3, "month"), [0, 1, 2, 4]),
        (["2000-01-31", "2000-02-29", "2000-03-31"], Step(1, "month"), [0, 1, 2]),
        (["2000-01-16", "2000-02-15", "2000-03-16"], Step(1, "month"), [0, 1, 2]),  # middles
        (["1981-12-01", "1981-12-16", "1982-01-01", "1982-02-01"], Step(1, "half-month"), [0, 1, 2, 4]),
        (["2000-02-11", "2000-02-21", "2000-03-01", "2000-03-21"], Step(1, "dekad"), [0, 1, 2, 4]),
        (["2000-02-10", "2000-02-20", "2000-02-29", "2000-03-10"], Step(1, "dekad"), [0, 1, 2, 3]),  # ends
        (["2001-02-06", "2001-02-16", "2001-02-25", "2001-03-06"], Step(1, "dekad"), [0, 1, 2, 3]),  # middles
        (["2000-12-02", "2000-12-18", "2001-01-01", "2001-02-02"], Step(1, "16-day"), [0, 1, 2, 4]),
        (MODIS_16, Step(1, "16-day"), list(range(46))),
        (["2000-12-18", "2000-12-26", "2001-01-01", "2001-01-09"], Step(1, "8-day"), [0, 1, 2, 3]),
        (["2000-12-16", "2000-12-23", "2001-01-01", "2001-01-08", "2001-01-22"], Step(1, "week"), [0, 1, 2, 3, 5]),
        (["2001-12-20", "2001-12-27", "2002-01-04", "2002-01-11"], Step(1, "week"), [0, 1, 2, 3]),  # middles
        (["2001-12-24", "2001-12-31", "2002-01-07"], Step(7, "day"), [0, 1, 2]),  # ISO: Mondays through the year
        (WEEKS, Step(1, "week"), list(range(104))),
        (["2000-02-16", "2000-02-21", "2000-02-26", "2000-03-01", "2000-03-11"], Step(1, "pentad"), [0, 1, 2, 3, 5]),
        (["2000-02-20", "2000-02-25", "2000-02-29", "2000-03-05"], Step(1, "pentad"), [0, 1, 2, 3]),  # ends
        (["2001-01-28", "2001-01-29", "2001-02-03", "2001-02-08"], Step(1, "day"), None),
        (["2001-01-23", "2001-01-29", "2001-02-03", "2001-02-08"], Step(1, "pentad"), [0, 1, 2, 3]),  # middles
        (MODIS_8, Step(1, "8-day"), list(range(92))),
        (["2000-02-28", "2000-02-29", "2000-03-02"], Step(1, "day"), [0, 1, 3]),
        # Few are one step apart, but all lie on the calendar, as composites of some periods do.
        (["1990-01-01", "1993-01-01", "1994-01-01", "1999-01-01", "2003-01-01"], Step(1, "year"), [0, 3, 4, 9, 13]),
        (["1990-07-16", "1992-07-16", "1996-07-16", "2002-07-16"], Step(2, "year"), [0, 1, 3, 6]),
        (["2001-06-16", "2001-09-16", "2002-02-16", "2002-06-16"], Step(1, "month"), [0, 3, 8, 12]),
        (["2001-01-16", "2001-07-16", "2002-10-16", "2003-10-16"], Step(3, "month"), [0, 2, 7, 11]),
        (["2001-01-06", "2001-03-26", "2001-05-16", "2002-01-26"], Step(1, "dekad"), [0, 8, 13, 38]),
        (["2001-01-17", "2001-03-06", "2001-07-28", "2002-01-01"], Step(1, "16-day"), [0, 3, 12, 22]),
        # One scene of each of some summers.
        (["2001-08-01", "2002-06-03", "2004-06-20", "2007-09-01"], Step(1, "year"), [0, 1, 3, 6]),
        (["1984-06-06", "1984-06-22", "1984-07-24", "1984-08-09"], Step(16, "day"), [0, 1, 3, 4]),  # one Landsat
    ],
)  # fmt: skip
def test_step_and_index(dates, step, index):
    result = axis(dates)
    if index is None:
        assert result.step != Step(1, "pentad")
        return
    assert result.step == step
    assert result.index is not None
    assert result.index.tolist() == index
    assert result.index.dtype == np.int64


@pytest.mark.parametrize(
    "dates",
    [
        ["1984-06-06", "1984-06-22", "1984-07-08", "1984-07-17", "1984-09-10", "1985-05-01"],  # Landsat 5 and 7
        ["1999-11-20", "2001-02-03", "2001-12-30"],  # winters: the year does not tell how far apart they are
        ["2001-01-07", "2001-06-30", "2003-07-09", "2004-02-29"],
        ["2000-01-01", "2000-01-01", "2000-02-01"],
        ["2000-01-01"],
        [],
    ],
)
def test_irregular_axis(dates):
    result = axis(dates) if dates else TimeAxis(np.array([], "datetime64[s]"), np.array([]), "day")
    assert result.step is None
    assert result.index is None


def test_months_by_precision_whatever_day_stands_for_them():
    assert axis(["2000-01-10", "2000-02-11", "2000-03-12"], "month").step == Step(1, "month")
    assert axis(["2000-01-10", "2000-02-11", "2000-03-12"]).step is None


def test_single_scenes_of_summers_are_still_told_apart_by_their_day():
    assert axis(["2001-08-01", "2002-06-03", "2004-06-20", "2007-09-01"]).finest == "day"
    assert axis(["2001-08-01", "2002-08-01", "2004-08-01", "2007-08-01"]).finest == "year"
    assert axis(["2001-08-10", "2002-06-11", "2004-06-12", "2007-09-13"], "month").finest == "month"


def test_years_by_precision():
    result = TimeAxis.from_times([1990.0, 1991.0, 1993.0])
    assert result.step == Step(1, "year")
    assert result.precision == "year"


def test_every_unit_has_its_number_of_steps_a_year():
    assert set(PER_YEAR) == set(UNITS)
    days = np.arange("2001-01-01", "2002-01-01", dtype="datetime64[D]")
    year = TimeAxis.from_times(days)
    for unit in UNITS:
        if unit != "day":
            assert len(np.unique(year.numbers(unit))) == PER_YEAR[unit]
    # From the longest to the shortest.
    assert [PER_YEAR[unit] for unit in UNITS] == sorted(PER_YEAR.values())


@pytest.mark.parametrize(("season", "unit"), [(12, "month"), (24, "half-month"), (36, "dekad"), (72, "pentad"),
                                              (23, "16-day"), (46, "8-day"), (52, "week")])  # fmt: skip
def test_seasons_are_the_units_of_the_calendar(season, unit):
    days = np.arange("2003-01-01", "2005-01-01", dtype="datetime64[D]")
    axis = TimeAxis.from_times(days)
    numbers = axis.numbers(unit)
    first = np.flatnonzero(np.diff(numbers, prepend=-1))
    seasons = seasons_of(axis, season)[first]
    np.testing.assert_array_equal(seasons, np.tile(np.arange(season), 2))


def test_decimal_years_are_not_regular():
    monthly = 2000 + np.arange(24) / 12
    assert TimeAxis.from_times(monthly).step is None


def test_time_of_day_does_not_break_a_step():
    result = axis(["2000-01-01T10:30:00", "2000-01-17T10:31:00", "2000-02-02T10:29:00"], "second")
    assert result.step == Step(1, "16-day")


def test_step_in_words():
    assert str(Step(1, "year")) == "1 year"
    assert str(Step(5, "year")) == "5 years"


def test_index_survives_pickling_and_cannot_be_changed():
    result = axis(["2000-01-01", "2001-01-01"])
    with pytest.raises(ValueError, match="read-only"):
        result.index[0] = 5
    copy = pickle.loads(pickle.dumps(result))
    assert copy.step == Step(1, "year")
    assert copy.index.tolist() == [0, 1]


def test_axis_of_datetimes():
    result = TimeAxis.from_times(np.array(["2000-02-29", "2000-12-31"], "datetime64[D]"))
    assert result.precision == "day"
    assert result.calendar_years.tolist() == [2000, 2000]
    assert result.days_of_year.tolist() == [60, 366]
    assert result.years.tolist() == [
        decimal_year(datetime(2000, 2, 29), "day"),
        decimal_year(datetime(2000, 12, 31), "day"),
    ]


def test_precision_of_an_axis_is_the_coarsest():
    dates = [datetime(2000, 1, 1), datetime(2000, 2, 1)]
    assert TimeAxis.from_dates(dates, ["day", "month"]).precision == "month"


@pytest.mark.parametrize(
    ("dates", "years", "message"),
    [
        (["2000-01-01"], [2000.0, 2001.0], "one of each per layer"),
        (["NaT"], [2000.0], "finite"),
        (["2000-01-01"], [np.nan], "finite"),
        (["2001-01-01", "2000-01-01"], [2001.0, 2000.0], "ascend"),
    ],
)
def test_axis_refuses(dates, years, message):
    with pytest.raises(ParameterError, match=message):
        TimeAxis(np.array(dates, "datetime64[s]"), np.array(years), "day")


@pytest.mark.parametrize(
    ("calendar", "date", "excess", "expected"),
    [
        ("standard", datetime(2000, 12, 31), 0, 366),
        ("360_day", datetime(2001, 2, 16), 0, 46),
        ("360_day", datetime(2001, 2, 28), 2, 60),
        ("360_day", datetime(2001, 12, 30), 0, 360),
        ("noleap", datetime(2000, 12, 31), 0, 365),
        ("all_leap", datetime(2001, 2, 28), 1, 60),
        ("julian", datetime(1900, 12, 31), 0, 366),
        ("julian", datetime(1901, 1, 1), 0, 1),
    ],
)
def test_days_of_the_year_are_those_of_the_calendar(calendar, date, excess, expected):
    for hours in (0, 18):
        axis = TimeAxis.from_dates([date + timedelta(hours=hours)], ["second"], calendar, [excess])
        assert axis.days_of_year.tolist() == [expected]


def test_a_year_known_as_a_year_alone_begins_on_its_first_day():
    axis = TimeAxis.from_dates([datetime(year, 1, 1) for year in range(1898, 1904)], ["year"] * 6, "julian")
    assert axis.days_of_year.tolist() == [1] * 6
