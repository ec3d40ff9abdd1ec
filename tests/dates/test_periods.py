"""Which layers make up a year, a season, a month or a dekad."""

from __future__ import annotations

import pickle
from datetime import date, datetime, timedelta

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pixelwise.dates.axis import Step, TimeAxis
from pixelwise.dates.names import read_names
from pixelwise.dates.periods import Incomplete, Periods, Season, make_periods
from pixelwise.errors import InputError, ParameterError
from support.dates import DAY, MONTH


def axis_of(dates, precision="day"):
    dates = [datetime.fromisoformat(str(one)) for one in dates]
    return TimeAxis.from_dates(dates, [precision] * len(dates))


def daily(first, last, step=1):
    return axis_of(np.arange(np.datetime64(first), np.datetime64(last) + DAY, step * DAY).tolist())


def half_monthly(first, last):
    days = np.arange(np.datetime64(first), np.datetime64(last) + DAY).tolist()
    return axis_of([day for day in days if day.day in (1, 16)])


def monthly(first, last, precision="day"):
    months = np.arange(np.datetime64(first, "M"), np.datetime64(last, "M") + MONTH)
    return axis_of(months.astype("datetime64[D]").tolist(), precision)


def refusal(axis, *args, error=InputError, **options):
    with pytest.raises(error) as caught:
        make_periods(axis, *args, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def dates(axis, periods):
    return [[str(day) for day in axis.days[one]] for one in periods.members]


# ---------------------------------------------------------------------------------------- what belongs where


def test_calendar_years():
    axis = daily("2001-01-01", "2003-12-31", 10)
    periods = make_periods(axis)
    assert periods.labels == periods.band_names == ("2001", "2002", "2003")
    assert periods.axis.precision == "year"
    assert periods.axis.years.tolist() == [2001, 2002, 2003]
    assert periods.ordinals.tolist() == [2001, 2002, 2003]
    assert [set(axis.calendar_years[one]) for one in periods.members] == [{2001}, {2002}, {2003}]
    assert periods.starts.tolist() == [date(year, 1, 1) for year in (2001, 2002, 2003)]
    assert periods.ends.tolist() == [date(year, 12, 31) for year in (2001, 2002, 2003)]
    assert (periods.unused, periods.empty, periods.dropped) == (0, (), ())
    np.testing.assert_array_equal(np.concatenate(periods.days), axis.days_of_year)


def test_season_within_a_year_includes_both_ends():
    axis = axis_of(f"{year}-{day}" for year in (2001, 2002) for day in ("04-30", "05-01", "07-15", "09-30", "10-01"))
    periods = make_periods(axis, season="05-01..09-30")
    assert dates(axis, periods) == [[f"{year}-05-01", f"{year}-07-15", f"{year}-09-30"] for year in (2001, 2002)]
    assert periods.unused == 4
    assert periods.band_names == ("2001-07-16", "2002-07-16")


@pytest.mark.parametrize(
    ("season", "middle"),
    [("11-01..04-30", "{year}-01-30"), ("10-01..09-30", "{year}-04-01"), ("07-01..06-30", "{before}-12-30")],
)
def test_season_across_the_new_year(season, middle):
    axis = daily("2002-06-01", "2006-12-31")
    periods = make_periods(axis, season=season)
    assert periods.labels[:2] == ("2002/03", "2003/04")
    assert periods.ordinals[:2].tolist() == [2003, 2004]
    assert periods.band_names[:2] == tuple(middle.format(year=year, before=year - 1) for year in (2003, 2004))
    first, last = season.split("..")
    assert periods.starts[:2].tolist() == [date.fromisoformat(f"{year}-{first}") for year in (2002, 2003)]
    assert periods.ends[:2].tolist() == [date.fromisoformat(f"{year}-{last}") for year in (2003, 2004)]
    for start, end, members in zip(periods.starts, periods.ends, periods.members, strict=True):
        np.testing.assert_array_equal(axis.days[members], np.arange(start, end + DAY))
    assert str(periods.axis.step) == "1 year"


def test_middle_of_an_even_number_of_days_is_the_later():
    assert make_periods(daily("2001-01-01", "2002-12-31"), season="07-01..08-31").band_names[0] == "2001-08-01"


def test_label_at_the_turn_of_the_century():
    assert make_periods(daily("1998-07-01", "2001-06-30"), season="07-01..06-30").labels == (
        "1998/99",
        "1999/00",
        "2000/01",
    )


def test_days_go_on_beyond_the_new_year():
    axis = axis_of(["2003-12-31", "2004-01-01", "2004-12-31", "2005-01-01", "2005-02-28", "2005-12-01"])
    periods = make_periods(axis, season="12-01..02-29")
    assert [days.tolist() for days in periods.days] == [[365, 366], [366, 367, 425]]
    assert periods.dropped[0].label == "2005/06"
    assert "ends 2005-12-01, 89 days before its end" in periods.dropped[0].reason


def test_ends_of_february():
    leap = axis_of(["2003-02-28", "2004-02-28", "2004-02-29", "2004-03-01", "2005-02-28"])
    assert list(map(len, make_periods(leap, season="02-01..02-29").members)) == [1, 2, 1]
    assert list(map(len, make_periods(leap, season="02-01..02-28").members)) == [1, 1, 1]
    assert make_periods(leap, season="02-01..02-29").ends.tolist() == [
        date(2003, 2, 28),
        date(2004, 2, 29),
        date(2005, 2, 28),
    ]


def test_meteorological_seasons():
    axis = daily("2003-12-01", "2005-02-28")
    periods = make_periods(axis, "season")
    assert periods.labels == ("2004-DJF", "2004-MAM", "2004-JJA", "2004-SON", "2005-DJF")
    assert periods.band_names == ("2004-01-16", "2004-04-16", "2004-07-16", "2004-10-16", "2005-01-16")
    assert list(map(len, periods.members)) == [91, 92, 92, 91, 90]
    assert periods.days[0][[0, -1]].tolist() == [335, 365 + 60]
    assert periods.axis.step == Step(3, "month")


def test_months_and_dekads():
    axis = daily("2003-12-01", "2004-03-31")
    months = make_periods(axis, "month")
    assert months.labels == ("2003-12", "2004-01", "2004-02", "2004-03")
    assert list(map(len, months.members)) == [31, 31, 29, 31]
    assert months.axis.step == Step(1, "month")
    dekads = make_periods(axis, "dekad")
    assert dekads.labels[:4] == ("2003-12-d1", "2003-12-d2", "2003-12-d3", "2004-01-d1")
    assert list(map(len, dekads.members)) == [10, 10, 11] * 2 + [10, 10, 9] + [10, 10, 11]
    assert dekads.band_names[6:9] == ("2004-02-06", "2004-02-16", "2004-02-26")
    assert dekads.axis.step == Step(1, "dekad")
    assert (np.diff(dekads.ordinals) == 1).all()


def test_season_restricts_months_and_the_days_in_them():
    axis = daily("2003-01-01", "2005-12-31")
    periods = make_periods(axis, "month", season="05-15..07-31")
    assert periods.labels[:4] == ("2003-05", "2003-06", "2003-07", "2004-05")
    assert periods.starts[0].tolist() == date(2003, 5, 15)
    assert len(periods.members[0]) == 17
    assert periods.empty == ()  # August is no gap
    assert periods.axis.step == Step(1, "month")


def test_ordinals_do_not_depend_on_the_layers():
    long, short = daily("2001-01-01", "2009-12-31", 3), daily("2004-01-01", "2006-12-31", 5)
    for options in ({}, {"every": "season"}, {"every": "month"}, {"season": "07-01..06-30"}):
        more, periods = make_periods(long, **options), make_periods(short, **options)
        of_label = dict(zip(more.labels, more.ordinals, strict=True))
        assert [of_label[label] for label in periods.labels] == periods.ordinals.tolist()


def test_layers_that_know_only_their_year():
    axis = axis_of(["2001-01-01", "2001-01-01", "2002-01-01", "2004-01-01"], "year")
    periods = make_periods(axis, season="01-01..12-31")
    assert [one.tolist() for one in periods.members] == [[0, 1], [2], [3]]
    assert periods.empty == ("2003",)
    assert periods.band_names == ("2001", "2002", "2004")


def test_periods_without_layers_are_left_out_and_named():
    axis = axis_of(day for day in half_monthly("2001-01-01", "2005-12-31").days if day.tolist().year != 2003)
    periods = make_periods(axis)
    assert periods.labels == ("2001", "2002", "2004", "2005")
    assert periods.empty == ("2003",)
    assert periods.axis.index.tolist() == [0, 1, 3, 4]
    assert make_periods(half_monthly("2001-01-01", "2001-03-31"), "dekad").empty == ("2001-01-d3", "2001-02-d3")


# -------------------------------------------------------------------------------------- incomplete periods


def test_half_monthly_data_that_begin_in_july_lose_that_year():
    axis = half_monthly("1981-07-01", "1990-12-16")
    periods = make_periods(axis)
    assert periods.labels == tuple(map(str, range(1982, 1991)))
    assert str(periods.dropped[0]) == (
        "1981: begins 1981-07-01, 181 days after its start (others 0 at most, layers are 15 apart)"
    )
    assert len(periods.dropped) == 1
    assert periods.unused == 12
    assert [len(one) for one in periods.members] == [24] * 9


def scenes(first, last="09-20"):
    """Return dates of nine scenes a season; the first of 2001 and the last of 2005 are given."""
    begin = {2001: first, 2002: "05-02", 2003: "05-20", 2004: "05-09", 2005: "05-05"}
    days = []
    for year, start in begin.items():
        end = last if year == 2005 else ("09-20" if year != 2003 else "09-12")
        ends = [np.datetime64(f"{year}-{day}") for day in (start, end)]
        days += [ends[0] + int(days) * DAY for days in np.linspace(0, (ends[1] - ends[0]).astype(int), 9)]
    return axis_of(days)


@pytest.mark.parametrize(("first", "dropped"), [("05-12", 0), ("05-20", 0), ("05-28", 0), ("05-29", 1), ("07-30", 1)])
def test_first_year_is_compared_with_the_other_years(first, dropped):
    periods = make_periods(scenes(first), season="05-01..09-30")
    assert [one.label for one in periods.dropped] == ["2001"] * dropped


@pytest.mark.parametrize(("last", "dropped"), [("09-20", 0), ("09-12", 0), ("09-11", 1), ("07-30", 1)])
def test_last_year_is_compared_with_the_other_years(last, dropped):
    periods = make_periods(scenes("05-05", last), season="05-01..09-30")
    assert [one.label for one in periods.dropped] == ["2005"] * dropped


@pytest.mark.parametrize("first", ["03-13", "03-15", "03-17", "04-10"])
def test_a_leap_day_or_another_orbit_makes_no_year_incomplete(first):
    days = [f"{year}-{day}" for year in range(2000, 2009) for day in ("03-15", "05-15", "07-15", "09-15")]
    days[0] = f"2000-{first}"
    assert make_periods(axis_of(days)).dropped == ()
    # The first of four is missing.
    assert [one.label for one in make_periods(axis_of(days[1:])).dropped] == ["2000"]


def test_late_start_within_the_usual_gap_is_complete():
    days = [np.datetime64("2001-01-14") + 16 * i * DAY for i in range(22)]
    later = [np.datetime64(f"{year}-01-01") + 16 * i * DAY for year in (2002, 2003) for i in range(23)]
    assert make_periods(axis_of([*days, *later])).dropped == ()
    shifted = [day + 6 * DAY for day in days]
    assert [one.label for one in make_periods(axis_of([*shifted, *later])).dropped] == ["2001"]


@pytest.mark.parametrize("precision", ["month", "day"])
@pytest.mark.parametrize(("first", "last"), [("2001-01", "2001-04"), ("2001-02", "2001-03"), ("2003-11", "2004-03")])
def test_lengths_of_months_are_no_gaps(first, last, precision):
    assert make_periods(monthly(first, last, precision), "month").dropped == ()


def test_two_periods_are_compared_with_the_usual_gap():
    half_years = [f"{year}-{day}" for year in (2001, 2002) for day in ("01-01", "07-01")]
    assert make_periods(axis_of(half_years)).dropped == ()
    message = refusal(daily("2001-03-01", "2002-12-31", 8))
    assert message.startswith("1 year left, but at least 2 are needed: the 84 layers are from 2001-03-01 to")
    assert "2001: begins 2001-03-01, 59 days after its start (layers are 8 apart)" in message


def test_layers_of_one_day_are_no_gap():
    days = [np.datetime64(f"{year}-01-09") + 16 * i * DAY for year in (2001, 2002) for i in range(23)]
    assert make_periods(axis_of(np.repeat(days, 3))).dropped == ()


def test_one_layer_a_year_is_complete():
    days = ["2001-08-01", "2002-06-03", "2003-06-20", "2004-09-01"]
    assert make_periods(axis_of(days), season="05-01..09-30").dropped == ()


# ---------------------------------------------------------------------------------- short periods in between


def monthly_years(first, last, **months):
    """Return monthly layers of some years; keywords such as y2004=(1, 2, 3) give those of one year."""
    days = [
        f"{year}-{month:02}-15" for year in range(first, last + 1) for month in months.get(f"y{year}", range(1, 13))
    ]
    return axis_of(days)


def labels_of(found):
    return [one.label for one in found]


@pytest.mark.parametrize("months", [(1,), (1, 2, 3), (10, 11, 12), range(1, 7), (1, 12), (1, 2, 11, 12)])
def test_a_short_year_in_the_middle_is_dropped_and_hides_no_other(months):
    periods = make_periods(monthly_years(2001, 2012, y2004=months, y2012=range(1, 5)))
    assert labels_of(periods.dropped) == ["2004", "2012"]
    assert periods.labels == tuple(str(year) for year in range(2001, 2012) if year != 2004)
    assert (periods.short, periods.empty) == ((), ())
    assert periods.unused == len(months) + 4
    assert periods.axis.index.tolist() == [0, 1, 2, *range(4, 11)]
    share = 1 / 12 * len(months)
    layers = "only layer covers" if len(months) == 1 else f"{len(months)} layers cover"
    assert f"its {layers} " in periods.dropped[0].reason
    assert float(periods.dropped[0].reason.split("%")[0].split()[-1]) / 100 == pytest.approx(share, abs=0.05)
    assert "others 16 at most" in periods.dropped[1].reason


@pytest.mark.parametrize(
    "months",
    # Without a month, without the last four, with gaps all over: none of them leaves a third of the year bare at once.
    [
        [m for m in range(1, 13) if m != 7],
        [m for m in range(1, 13) if m != 2],
        range(1, 9),
        range(5, 13),
        (2, 5, 8, 11),
    ],
)
def test_a_year_that_lacks_less_stays_and_is_named(months):
    periods = make_periods(monthly_years(2001, 2012, y2004=months))
    assert (labels_of(periods.dropped), labels_of(periods.short)) == ([], ["2004"])
    assert f"its {len(months)} layers cover" in periods.short[0].reason
    assert periods.short[0].reason.endswith("those of a typical one 100%")
    assert len(periods) == 12
    later = periods.subset(periods.ordinals > 2004)
    assert later.short == ()
    assert labels_of(periods.subset(periods.ordinals < 2008).short) == ["2004"]


def test_a_year_that_lacks_less_hides_no_short_end():
    """A year that ends in September stays; that the last one ends in October is said nevertheless."""
    periods = make_periods(monthly_years(2001, 2012, y2004=range(1, 10), y2012=range(1, 11)))
    assert labels_of(periods.short) == ["2004"]
    assert labels_of(periods.dropped) == ["2012"]
    assert (
        "ends 2012-10-15, 77 days before its end (others 16 usually, layers are 31 apart)" in periods.dropped[0].reason
    )


def test_complete_years_are_neither_dropped_nor_named():
    for axis in (
        monthly_years(2001, 2012),
        daily("2001-01-01", "2012-12-31", 16),
        axis_of(
            day for day in daily("2001-01-01", "2012-12-31", 16).days if str(day) != str(np.datetime64("2005-06-25"))
        ),
        axis_of(day for day in daily("2001-01-01", "2006-12-31").days if not str(day).startswith("2004-06-0")),
        axis_of(f"{year}-{day}" for year in range(2001, 2010) for day in ("06-03", "07-21")),
    ):
        periods = make_periods(axis)
        assert (periods.dropped, periods.short) == ((), ())


@pytest.mark.parametrize("kept", [3, 4])
def test_where_many_years_are_short_none_is_dropped(kept):
    """Of twelve years at most four may be exceptions."""
    short = {f"y{year}": (1, 2, 3) for year in range(2003, 2008 if kept == 4 else 2007)}
    periods = make_periods(monthly_years(2001, 2012, **short))
    named = [name[1:] for name in short]
    assert (labels_of(periods.dropped), labels_of(periods.short)) == ((named, []) if kept == 3 else ([], named))


@pytest.mark.parametrize("seed", range(5))
def test_cloudy_years_are_not_lost(seed):
    """Every other scene missing at random: years differ much, but none lacks a third of the year alone."""
    random = np.random.default_rng(seed)
    days = daily("1990-01-01", "2019-12-31", 16).days
    days = days[random.random(len(days)) < 0.5]
    periods = make_periods(axis_of(days))
    inner = [one for one in periods.dropped if one.label not in ("1990", "2019")]
    assert inner == []
    # The same with a year of which only the winter is left.
    short = days[(days.astype("datetime64[Y]").astype(int) != 2005 - 1970)]
    winter = np.arange(np.datetime64("2005-01-03"), np.datetime64("2005-02-20"), 16 * DAY)
    periods = make_periods(axis_of(np.sort(np.concatenate([short, winter]))))
    assert "2005" in labels_of([*periods.dropped, *periods.short])


def test_seasons_are_compared_with_the_same_season():
    """Where the sun does not rise from December to February, that is so each year."""
    days = [day for day in half_monthly("2001-03-01", "2010-11-30").days if not 1 <= (day.tolist().month % 12 + 1) <= 3]
    days += [np.datetime64(f"{year}-02-16") for year in range(2002, 2011)]
    periods = make_periods(axis_of(np.sort(np.array(days))), "season")
    assert (periods.dropped, periods.short) == ((), ())
    # One spring of one layer.
    fewer = [day for day in days if not np.datetime64("2005-03-10") < day < np.datetime64("2005-06-01")]
    periods = make_periods(axis_of(np.sort(np.array(fewer))), "season")
    assert labels_of(periods.dropped) == ["2005-MAM"]
    assert periods.empty == ()


# ----------------------------------------------------------------------------------- dates that are read back

AXES = {
    "daily": daily("1999-01-01", "2004-12-31"),
    "half-monthly": half_monthly("1999-01-01", "2004-12-31"),
    "16 days": daily("1999-02-18", "2005-03-01", 16),
}
OPTIONS = [
    {},
    {"season": "05-01..09-30"},
    {"season": "01-15..02-29"},
    {"season": "02-20..03-11"},
    {"season": "11-01..04-30"},
    {"season": "07-01..06-30"},
    {"season": "10-01..09-30"},
    {"season": "03-01..02-28"},
    {"every": "season"},
    {"every": "month"},
    {"every": "month", "season": "11-15..04-30"},
    {"every": "dekad"},
    {"every": "dekad", "season": "05-06..09-30"},
    {"every": "dekad", "season": "07-11..07-20"},
]


@pytest.mark.parametrize("options", OPTIONS, ids=lambda options: " ".join(options.values()))
@pytest.mark.parametrize("name", AXES)
def test_band_names_read_back_as_the_same_axis(name, options):
    periods = make_periods(AXES[name], **options)
    readings = [reading.moment for reading in read_names(periods.band_names, what="band")]
    again = TimeAxis.from_dates([moment.date() for moment in readings], [moment.precision for moment in readings])
    np.testing.assert_array_equal(again.dates, periods.axis.dates)
    np.testing.assert_array_equal(again.years, periods.axis.years)
    assert again.precision == periods.axis.precision
    assert again.step == periods.axis.step
    if name == "daily" or options.get("every") != "dekad":  # else there are dekads without a layer
        unit = options.get("every", "year") if "07-20" not in str(options) else "year"
        assert str(periods.axis.step) == ("3 months" if unit == "season" else f"1 {unit}")


# ------------------------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    "season",
    ["02-30..05-01", "05-01..06-31", "13-01..05-01", "00-01..05-01", "05-00..06-01", "5-1..9-30", "05-01", "", "MAM"],
)
def test_days_that_do_not_exist(season):
    assert f"season {season}" in refusal(AXES["daily"], season=season, error=ParameterError).replace("'", "")


def test_season_cannot_begin_on_a_leap_day():
    assert "begin it on 02-28 or 03-01" in refusal(AXES["daily"], season="02-29..05-01", error=ParameterError)


def test_unknown_period():
    assert "did you mean 'month'" in refusal(AXES["daily"], "months", error=ParameterError)
    assert "every='season'" in refusal(AXES["daily"], "season", season="05-01..09-30", error=ParameterError)


@pytest.mark.parametrize("options", [{"every": "season"}, {"every": "month"}, {"every": "dekad"}])
def test_years_cannot_be_divided(options):
    message = refusal(axis_of(["2001-01-01", "2002-01-01"], "year"), **options)
    assert message.startswith(f"every='{options['every']}' needs dates, but only the year of the layers is known")
    assert "season='05-01..09-30' needs dates" in refusal(
        axis_of(["2001-01-01", "2002-01-01"], "year"), season="05-01..09-30"
    )


def test_months_cannot_be_divided():
    for precision, words in (("month", "are known to the month only"), ("day", "come every 1 month")):
        message = refusal(monthly("2001-01", "2004-12", precision), "dekad")
        assert message.startswith(f"every='dekad' is shorter than a month, but the layers {words}")
    axis = monthly("2001-01", "2004-12", "month")
    assert "cuts a month in two" in refusal(axis, season="05-15..09-30")
    assert "cuts a month in two" in refusal(axis, season="05-01..09-29")
    assert len(make_periods(axis, season="05-01..09-30")) == 4
    ends = axis_of((axis.dates.astype("datetime64[M]") + MONTH).astype("datetime64[D]") - DAY, "month")
    assert [len(one) for one in make_periods(ends, season="12-01..02-28").members] == [3, 3, 3]


def test_nothing_within_the_season():
    axis = axis_of(["2001-11-03", "2002-03-01"])
    assert refusal(axis, season="05-01..09-30").startswith(
        "no layer within the season 05-01..09-30: the 2 layers are from 2001-11-03 to 2002-03-01"
    )
    assert refusal(axis_of(["2001-07-03"]), every="dekad") == (
        "1 dekad left, but at least 2 are needed: the only layer is of 2001-07-03; "
        "choose shorter periods or a longer series"
    )
    empty = TimeAxis(np.empty(0, "M8[s]"), np.empty(0), "day")
    assert refusal(empty, season="05-01..09-30").startswith("no layer: the stack is empty")


def test_parts_that_do_not_fit_are_refused():
    periods = make_periods(AXES["daily"])
    parts = {name: getattr(periods, name) for name in periods.__dataclass_fields__}
    with pytest.raises(ParameterError, match="different lengths"):
        Periods(**{**parts, "labels": parts["labels"][1:]})
    with pytest.raises(ParameterError, match="ascend"):
        Periods(**{**parts, "members": parts["members"][::-1]})


def test_periods_travel():
    periods = make_periods(half_monthly("1981-07-01", "1990-12-16"))
    again = pickle.loads(pickle.dumps(periods))
    assert again.dropped == periods.dropped == (Incomplete("1981", periods.dropped[0].reason),)
    np.testing.assert_array_equal(np.concatenate(again.members), np.concatenate(periods.members))
    with pytest.raises(ValueError, match="read-only"):
        periods.members[0][0] = 5


# ------------------------------------------------------------------------------------ against definitions


@given(
    st.sets(st.integers(0, 3000), min_size=2, max_size=60),
    st.integers(1, 365),
    st.integers(1, 365),
)
def test_members_are_those_between_start_and_end(offsets, first, last):
    axis = axis_of(datetime(1999, 1, 1) + timedelta(days=offset) for offset in sorted(offsets))
    days = [(date(2001, 1, 1) + timedelta(days=number - 1)).strftime("%m-%d") for number in (first, last)]
    season = "..".join(days)
    try:
        periods = make_periods(axis, season=season)
    except InputError:
        return
    assert Season.parse(season).crosses == (last < first)
    within = [
        Season.parse(season).contains(np.array([day.month]), np.array([day.day]))[0] for day in axis.days.tolist()
    ]
    of_period = [
        np.flatnonzero((axis.days >= start) & (axis.days <= end)).tolist()
        for start, end in zip(periods.starts, periods.ends, strict=True)
    ]
    assert [one.tolist() for one in periods.members] == of_period
    assert np.array(within)[np.concatenate(periods.members)].all()
    first_kept, last_kept = periods.starts[0], periods.ends[-1]
    between = np.array(within) & (axis.days >= first_kept) & (axis.days <= last_kept)
    assert between.sum() == len(axis) - periods.unused
    inner = [one for one in periods.dropped if periods.labels[0] < one.label < periods.labels[-1]]
    assert len(periods) + len(periods.empty) + len(inner) == periods.ordinals[-1] - periods.ordinals[0] + 1


@pytest.mark.parametrize(
    ("options", "frequency"),
    [({}, "Y-DEC"), ({"season": "07-01..06-30"}, "Y-JUN"), ({"every": "season"}, "Q-NOV"), ({"every": "month"}, "M")],
)
def test_pandas_groups_the_same_layers(options, frequency):
    axis = AXES["16 days"]
    groups = pd.Series(np.arange(len(axis)), pd.DatetimeIndex(axis.dates).to_period(frequency)).groupby(level=0)
    wanted = {tuple(group) for _, group in groups}
    periods = make_periods(axis, **options)
    assert {tuple(one.tolist()) for one in periods.members} <= wanted
    assert len(wanted) - len(periods) == len(periods.dropped)
