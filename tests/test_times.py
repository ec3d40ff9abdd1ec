"""Dates from names, tables and options, and the axis that they form."""

from __future__ import annotations

import csv
import pickle
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pixelwise.errors import InputError, ParameterError
from pixelwise.naming import (
    Reading,
    parse_date,
    read_format,
    read_names,
    read_range,
    read_table,
    shard_of,
)
from pixelwise.times import Moment, Step, TimeAxis, decimal_year

FILENAMES = Path(__file__).parents[2] / "shared" / "data" / "filename_conventions" / "filenames.csv"


def real_names() -> list[dict[str, str]]:
    if not FILENAMES.exists():
        return []
    with FILENAMES.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


needs_filenames = pytest.mark.skipif(not FILENAMES.exists(), reason=f"{FILENAMES} is absent")
each_real_name = pytest.mark.parametrize("row", real_names(), ids=lambda row: row["filename"])


def starts(readings: list[Reading]) -> list[str]:
    return [str(reading.moment) for reading in readings]


def refusal(names: list[str], what: str = "file") -> str:
    with pytest.raises(InputError) as caught:
        read_names(names, what=what)
    return str(caught.value)


# ------------------------------------------------------------------------------------------ real names


def variants(row: dict[str, str]) -> list[tuple[str, datetime, datetime | None]]:
    """Write other dates into a real name, each as the name writes its own."""
    start = datetime.fromisoformat(row["start_date"])
    end = datetime.fromisoformat(row["end_date"]) if row["end_date"] else None
    formats = ("%Y-%m-%d", "%Y_%m_%d", "%Y.%m.%d", "%Y%m%d", "%Y%j", "%Y.%m.", "%Y-%m", "%Y_%m", "%Y%m", "%Y")
    style = next(style for style in formats if start.strftime(style) in row["filename"])
    result = []
    for days in (-3000, -701, 402):
        new = start + timedelta(days=days)
        if "%d" not in style and "%j" not in style:
            new = new.replace(day=start.day)
        if style == "%Y":
            new = new.replace(month=1)
        name = row["filename"].replace(start.strftime(style), new.strftime(style))
        if end:
            name = name.replace(end.strftime(style), (end + timedelta(days=days)).strftime(style))
        result.append((name, new, end + timedelta(days=days) if end else None))
    return result


@needs_filenames
def test_the_list_of_real_names_is_whole():
    assert len(real_names()) == 41


@each_real_name
def test_real_name_alone(row):
    [reading] = read_names([row["filename"]])
    assert reading.moment.start.date().isoformat() == row["start_date"]
    if row["end_date"]:
        assert reading.moment.end.date().isoformat() == row["end_date"]
        assert reading.moment.precision == "period"


@each_real_name
def test_real_name_among_others_of_its_kind(row):
    others = variants(row)
    readings = read_names([row["filename"], *(name for name, _, _ in others)])
    assert len({reading.rule for reading in readings}) == 1
    assert readings[0].moment == read_names([row["filename"]])[0].moment
    for reading, (_, start, end) in zip(readings[1:], others, strict=True):
        assert reading.moment.start.date() == start.date()
        if end:
            assert reading.moment.end == end


@pytest.mark.parametrize(
    ("name", "start", "precision", "rule"),
    [
        ("LC08_L1TP_013032_20180131_20180207_01_T1_B4.TIF", "2018-01-31", "day", "Landsat Collection"),
        ("LE07_200012_20010314", "2001-03-14", "day", "Landsat Collection"),  # path 200, row 012
        ("3_LC08_013032_20180131_NDVI", "2018-01-31", "day", "Landsat Collection"),
        ("LC08_CU_027009_20180131_20190101_C01_V01_SRB4.tif", "2018-01-31", "day", "Landsat Collection"),
        ("LC080130322018013101T1-SC20180801.tif", "2018-01-31", "day", "Landsat ESPA"),
        ("LT50350321984108XXX01_stack.gtif", "1984-04-17", "day", "Landsat before collections"),
        (
            "S2A_MSIL2A_20250918T200851_R128_T09UVA_20250919T000714",
            "2025-09-18T20:08:51",
            "second",
            "Sentinel-2",
        ),
        ("T32TQM_20200104T101010_B04_10m.jp2", "2020-01-04T10:10:10", "second", "Sentinel-2 band"),
        ("S3A_SL_2_LST____20200101T101010_20200101T101310_x.tif", "2020-01-01T10:10:10", "second", "Sentinel-3 or 5P"),
        ("HLS.L30.T19LDD.2022165T144027.v2.0.B01.tif", "2022-06-14T14:40:27", "second", "HLS"),
        ("MOD09.A2018113.0025.006.2018130000342.hdf", "2018-04-23T00:25:00", "second", "MODIS or VIIRS"),
        ("VNP13A1.A2018113.h14v10.001.2018130000342.h5", "2018-04-23", "day", "MODIS or VIIRS"),
        ("MOD13Q1_NDVI_2018_113.tif", "2018-04-23", "day", "YYYY_DDD"),
        ("MOD13Q1.006__250m_16_days_NDVI_doy2018113_aid0001.tif", "2018-04-23", "day", "AppEEARS"),
        ("ECO_LSTE_doy2018113101112_aid0001.tif", "2018-04-23T10:11:12", "second", "AppEEARS"),
        ("20221127_LEVEL2_SEN2A_BOA.tif", "2022-11-27", "day", "FORCE"),
        ("s1a-iw-grd-vv-20240629t115716-20240629t115741-054538.tiff", "2024-06-29T11:57:16", "second", "Sentinel-1"),
        ("20200101_101112_ssc4_3B.tif", "2020-01-01T10:11:12", "second", "YYYYMMDDTHHMMSS"),
        ("y2001", "2001-01-01", "year", "year"),
        ("X2000.02.18", "2000-02-18", "day", "YYYY-MM-DD"),
        ("classification2011.tif", "2011-01-01", "year", "year"),
        ("ndvi_2016.Q1.tif", "2016-01-01", "period", "quarter"),
        ("LCMAP_x_2001_123_045.tif", "2001-01-01", "year", "year"),  # path and row, not day 123
    ],
)  # fmt: skip
def test_name(name, start, precision, rule):
    [reading] = read_names([name])
    assert (str(reading.moment), reading.moment.precision, reading.rule) == (start, precision, rule)


@pytest.mark.parametrize(
    ("name", "start", "end"),
    [
        ("chirps-v2.0.2022.12.3.tif", "2022-12-21", "2022-12-31"),
        ("chirps-v2.0.2022.02.1.tif", "2022-02-01", "2022-02-10"),
        ("chirps-v2.0.2022.02.3.tif", "2022-02-21", "2022-02-28"),
        ("ndvi_2016Q2.tif", "2016-04-01", "2016-06-30"),
        ("ndvi_2016_Q4.tif", "2016-10-01", "2016-12-31"),
        ("ndvi_200002.tif", "2000-02-01", "2000-02-29"),
        ("nemo_1m_20150101-20150201_grid-T.nc", "2015-01-01", "2015-02-01"),
        ("x_2001-02-01_to_2001-03-01.tif", "2001-02-01", "2001-03-01"),
        ("x_2001.02.01_2001.03.01.tif", "2001-02-01", "2001-03-01"),
    ],
)
def test_end_of_a_period(name, start, end):
    [reading] = read_names([name])
    assert (str(reading.moment), str(reading.moment.end.date())) == (start, end)


# ------------------------------------------------------------------------------- what is not a date


def test_study_period_and_version_in_every_name_are_not_dates():
    names = [f"ndvi_1984_2020_v20230720_epsg.2056_2000m_{year}.tif" for year in (1990, 1984, 2020)]
    assert starts(read_names(names)) == ["1990-01-01", "1984-01-01", "2020-01-01"]


def test_study_period_in_a_single_name_is_refused_with_all_readings():
    message = refusal(["ndvi_1984_2020_1990.tif"])
    assert "1984-01-01 by year" in message
    assert "2020-01-01 by year" in message
    assert "1990-01-01 by year" in message
    assert "--times FORMAT|FILE" in message


@pytest.mark.parametrize(
    "token", ["v20230720", "version_2010", "ver2010", "epsg.2056", "EPSG:2056", "2000m", "2000km", "1999 m"]
)
def test_token_that_is_never_a_date(token):
    assert starts(read_names([f"ndvi_{token}_2001.tif"])) == ["2001-01-01"]
    assert "no date in the name of 1 file" in refusal([f"ndvi_{token}.tif"])


def test_start_of_the_study_in_every_name_is_no_from():
    names = ["x_20000101_20010314.tif", "x_20000101_20010401.tif"]
    assert starts(read_names(names)) == ["2001-03-14", "2001-04-01"]


def test_composites_that_follow_each_other_share_a_date():
    names = ["x_20010101_20010116.tif", "x_20010116_20010131.tif"]
    readings = read_names(names)
    assert starts(readings) == ["2001-01-01", "2001-01-16"]
    assert [reading.moment.end.day for reading in readings] == [16, 31]


@pytest.mark.parametrize(
    "token", ["20011301", "20010230", "2001-02-30", "2001366", "2001_366", "17991231", "2200-01-01"]
)
def test_impossible_date(token):
    assert "no date" in refusal([f"x_{token}.tif"])


def test_last_day_of_a_leap_year():
    assert starts(read_names(["x_2004366.tif"])) == ["2004-12-31"]


@pytest.mark.parametrize("year", ["1899", "2100"])
def test_bare_year_of_another_century(year):
    assert "no date" in refusal([f"x_{year}.tif"])


def test_date_that_is_the_same_in_all_names():
    message = refusal(["a_2000.tif", "b_2000.tif"])
    assert "2000 in all of them is not taken for a date" in message


def test_pieces_of_one_image_are_one_name():
    names = ["S1_VH_2020-0000006912-0000000000.tif", "S1_VH_2020-0000000000-0000000000.tif"]
    assert starts(read_names(names)) == ["2020-01-01", "2020-01-01"]


# ------------------------------------------------------------------------------- readings of one name


def test_finer_reading_wins_where_two_agree():
    names = ["2001/x_20010314.tif", "2002/x_20020401.tif"]
    assert starts(read_names(names)) == ["2001-03-14", "2002-04-01"]
    assert starts(read_names(["ndvi2001_20010314.tif"])) == ["2001-03-14"]


def test_two_readings_that_contradict():
    message = refusal(["x_2001-03-14_y_2005-06-07.tif"])
    assert "2001-03-14 by YYYY-MM-DD" in message
    assert "2005-06-07 by YYYY-MM-DD" in message


def test_year_that_contradicts_a_day():
    message = refusal(["ndvi2001_20020314.tif"])
    assert "2001-01-01 by year" in message
    assert "2002-03-14 by YYYYMMDD" in message


def test_two_periods_that_overlap():
    message = refusal(["x_2016Q2_20160101_20161231.tif"])
    assert "2016-04-01 by quarter" in message
    assert "2016-01-01 by from-to" in message


def test_reversed_from_to_is_two_dates():
    message = refusal(["x_20010131_20010101.tif"])
    assert "2001-01-31" in message
    assert "2001-01-01" in message


def test_day_first_or_month_first():
    assert starts(read_names(["x_05-03-2001.tif", "x_14-03-2001.tif"])) == ["2001-03-05", "2001-03-14"]
    assert starts(read_names(["x_05-03-2001.tif", "x_03-14-2001.tif"])) == ["2001-05-03", "2001-03-14"]
    message = refusal(["x_05-03-2001.tif", "x_06-03-2001.tif"])
    assert "2001-03-05 by DD-MM-YYYY" in message
    assert "2001-05-03 by MM-DD-YYYY" in message


def test_dates_of_different_kinds():
    message = refusal(["a_20010314.tif", "a_2002.tif"])
    assert "a day in a_20010314.tif (2001-03-14 by YYYYMMDD)" in message
    assert "a year in a_2002.tif" in message


def test_time_of_day_counts_only_if_all_names_have_it():
    readings = read_names(["20010101_123045_a.tif", "20010102_129999_a.tif"])  # 129/999 may be path and row
    assert [reading.moment.start for reading in readings] == [datetime(2001, 1, 1), datetime(2001, 1, 2)]
    assert {reading.moment.precision for reading in readings} == {"day"}


def test_names_of_two_products():
    names = ["LC08_L2SP_092068_20230522_20230524_02_T2.tif", "LT50350321984108XXX01_stack.tif"]
    assert starts(read_names(names)) == ["2023-05-22", "1984-04-17"]


def test_one_odd_name_among_products_is_named_alone():
    message = refusal(["LC08_013032_20180131.tif", "mean.tif"])
    assert "1 file: mean.tif" in message
    assert "LC08" not in message
    assert starts(read_names(["LC08_013032_20180131.tif", "x_2001-02-03.tif"])) == ["2018-01-31", "2001-02-03"]


# ---------------------------------------------------------------------------------- paths and bands


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["2001/ndvi.tif", "2002/ndvi.tif"], ["2001-01-01", "2002-01-01"]),
        (["/data/2019/2001/ndvi.tif", "/data/2019/2002/ndvi.tif"], ["2001-01-01", "2002-01-01"]),
        (["y/2001/03/a.tif", "y/2002/04/a.tif"], ["2001-03-01", "2002-04-01"]),
        (["y/2001/03/14/a.tif", "y/2002/04/01/a.tif"], ["2001-03-14", "2002-04-01"]),
        (["1990/ndvi_2001_2020.tif", "1991/ndvi_2001_2020.tif"], ["1990-01-01", "1991-01-01"]),
        (
            [
                "LC08_L1TP_013032_20180131_20180207_01_T1/B4.TIF",
                "LC08_L1TP_013032_20180216_20180307_01_T1/B4.TIF",
            ],
            ["2018-01-31", "2018-02-16"],
        ),
    ],
)
def test_date_in_the_path(names, expected):
    assert starts(read_names(names)) == expected


def test_common_parent_folder_holds_no_dates():
    assert "no date" in refusal(["/work/2019/a.tif", "/work/2019/b.tif"])
    assert "no date" in refusal(["/work/2019/a.tif"])


def test_bands():
    assert starts(read_names(["2001_01_01_NDVI", "2001_02_01_NDVI"], what="band")) == ["2001-01-01", "2001-02-01"]
    assert starts(read_names(["2001/03/05", "2001/03/21"], what="band")) == ["2001-03-05", "2001-03-21"]
    assert starts(read_names(["2001-03-05T10:00:08.000000000"], what="band")) == ["2001-03-05T10:00:08"]
    earth_engine = ["20170328T083601_20170328T084228_T35RNK_B4", "20170407T083601_20170407T084228_T35RNK_B4"]
    assert starts(read_names(earth_engine, what="band")) == ["2017-03-28T08:36:01", "2017-04-07T08:36:01"]
    assert "no date in the name of 2 bands: 0_NDVI, 1_NDVI" in refusal(["0_NDVI", "1_NDVI"], "band")


def test_no_names():
    assert read_names([]) == []


def test_refusal_lists_five_names_and_counts_the_others():
    message = refusal([f"image_{letter}.tif" for letter in "abcdefgh"])
    assert "image_e.tif and 3 more" in message
    assert "image_f.tif" not in message


def test_names_cannot_command_the_terminal():
    assert "a\\x1b[31m.tif" in refusal(["a\x1b[31m.tif"])


# --------------------------------------------------------------------------------------- round trips

ROUND_TRIPS = {
    "YYYYMMDD": ("%Y%m%d", "day"),
    "YYYY-MM-DD": ("%Y-%m-%d", "day"),
    "YYYY_MM_DD": ("%Y_%m_%d", "day"),
    "YYYY.MM.DD": ("%Y.%m.%d", "day"),
    "YYYYDDD": ("%Y%j", "day"),
    "YYYY_DDD": ("%Y_%j", "day"),
    "doyYYYYDDD": ("doy%Y%j", "day"),
    "YYYYMM": ("%Y%m", "month"),
    "YYYY-MM": ("%Y-%m", "month"),
    "YYYY_MM": ("%Y_%m", "month"),
    "YYYY.MM": ("%Y.%m", "month"),
    "year": ("%Y", "year"),
    "yYYYY": ("y%Y", "year"),
    "YYYYMMDDTHHMMSS": ("%Y%m%dT%H%M%S", "second"),
    "YYYYMMDD_HHMMSS": ("%Y%m%d_%H%M%S", "second"),
    "YYYYMMDDHHMMSS": ("%Y%m%d%H%M%S", "second"),
    "ISO with time": ("%Y-%m-%dT%H:%M:%S", "second"),
    "YYYY-MM-DD_HH-MM-SS": ("%Y-%m-%d_%H-%M-%S", "second"),
}
PERIOD_STARTS = {"year": {"month": 1, "day": 1, "hour": 0, "minute": 0, "second": 0}}
PERIOD_STARTS["month"] = {"day": 1, "hour": 0, "minute": 0, "second": 0}
PERIOD_STARTS["day"] = {"hour": 0, "minute": 0, "second": 0}
PERIOD_STARTS["second"] = {}

any_dates = st.lists(
    st.datetimes(datetime(1900, 1, 1), datetime(2099, 12, 31)).map(lambda date: date.replace(microsecond=0)),
    min_size=1,
    max_size=6,
)


@pytest.mark.parametrize("style", ROUND_TRIPS)
@given(dates=any_dates)
def test_round_trip(style, dates):
    template, precision = ROUND_TRIPS[style]
    dates = list(dict.fromkeys(date.replace(**PERIOD_STARTS[precision]) for date in dates))
    readings = read_names([f"h12v04_ndvi_{date.strftime(template)}_max.tif" for date in dates])
    assert [reading.moment.start for reading in readings] == dates
    assert {reading.moment.precision for reading in readings} == {precision}


@pytest.mark.parametrize("style", ["%Y%m%d", "%Y-%m-%d", "%Y_%m_%d", "%Y.%m.%d"])
@pytest.mark.parametrize("join", ["_", "-"])
@given(dates=any_dates, days=st.integers(1, 400))
def test_round_trip_of_from_to(style, join, dates, days):
    dates = list(dict.fromkeys(date.replace(**PERIOD_STARTS["day"]) for date in dates))
    ends = [date + timedelta(days=days) for date in dates]
    pairs = zip(dates, ends, strict=True)
    readings = read_names([f"x_{a.strftime(style)}{join}{b.strftime(style)}_max.tif" for a, b in pairs])
    assert [reading.moment.start for reading in readings] == dates
    assert [reading.moment.end for reading in readings] == ends


@given(dates=st.lists(st.datetimes(datetime(1969, 1, 1), datetime(2068, 12, 31)), min_size=1, max_size=6))
def test_format_finds_what_strftime_wrote(dates):
    template = "%d%b%y-%H.%M"
    dates = [date.replace(second=0, microsecond=0) for date in dates]
    readings = read_format([f"x2001_{date.strftime(template)}.tif" for date in dates], template)
    assert [reading.moment.start for reading in readings] == dates


# ------------------------------------------------------------------------------------- --times FORMAT


@pytest.mark.parametrize(
    ("name", "template", "start", "precision"),
    [
        ("ndvi_1984_2020_1990.tif", "2020_%Y", "1990-01-01", "year"),
        ("d/20010314.tif", "%Y%m%d", "2001-03-14", "day"),
        ("LT50350321984108XXX01.tif", "%Y%j", "1984-04-17", "day"),
        ("x_2001_3_5.tif", "%Y_%m_%d", "2001-03-05", "day"),
        ("x_2001_74.tif", "%Y_%j", "2001-03-15", "day"),
        ("geo81jul15a.tif", "geo%y%b", "1981-07-01", "month"),
        ("x_March2001.tif", "%B%Y", "2001-03-01", "month"),
        ("x_14.03.2001.tif", "%d.%m.%Y", "2001-03-14", "day"),
        ("x_20010314101112.tif", "%Y%m%d%H%M%S", "2001-03-14T10:11:12", "second"),
        ("x_20010314101112.tif", "%Y%m%d", "2001-03-14", "day"),
        ("x_100%_2001.tif", "%%_%Y", "2001-01-01", "year"),
        ("/data/2001/03/a.tif", "%Y/%m/", "2001-03-01", "month"),
    ],
)
def test_format(name, template, start, precision):
    [reading] = read_format([name], template)
    assert str(reading.moment) == start
    assert reading.moment.precision == precision
    assert reading.rule == f"--times {template}"


def test_month_by_format_has_an_end():
    assert read_format(["x_02-2000.tif"], "%m-%Y")[0].moment.end == datetime(2000, 2, 29)


def test_format_that_is_not_found_or_found_twice():
    with pytest.raises(InputError) as caught:
        read_format(["a_2001.tif", "b.tif", "c_1984_2020.tif"], "%Y")
    assert caught.value.problems[0] == "no date like --times %Y in 1 name: b.tif"
    assert "c_1984_2020.tif (1984-01-01, 2020-01-01)" in caught.value.problems[1]
    with pytest.raises(InputError, match=r"no date like .*20010230"):
        read_format(["x_20010230.tif"], "%Y%m%d")


def test_same_date_twice_is_one_date():
    assert starts(read_format(["2001_x_2001.tif"], "%Y")) == ["2001-01-01"]


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("dates.csv", "neither an existing file nor a format"),
        ("%m%d", "neither an existing file nor a format"),
        ("%Y%q", "unknown %q"),
        ("%Y%", "unknown %"),
        ("%Y%m%Y", "%Y is there more than once"),
        ("%Y%b%m", "%m is there more than once"),
        ("%Y%d", "%d needs %m"),
        ("%Y%m%d%S", "%S needs %M"),
        ("%Y%m%j", "either %m and %d, or %j"),
        ("%Y%m%H", "hours need a day"),
    ],
)
def test_format_that_cannot_work(template, message):
    with pytest.raises(ParameterError, match=message):
        read_format(["x_2001.tif"], template)


# -------------------------------------------------------------------------------- tables and options


@pytest.mark.parametrize(
    ("text", "start", "precision"),
    [
        ("2001", "2001-01-01", "year"),
        ("2001-03", "2001-03-01", "month"),
        ("2001/03", "2001-03-01", "month"),
        ("2001-Q2", "2001-04-01", "period"),
        ("2001-03-05", "2001-03-05", "day"),
        ("20010305", "2001-03-05", "day"),
        ("2001/03/05", "2001-03-05", "day"),
        ("2001-064", "2001-03-05", "day"),
        (" 2001-03-05T10:00:08 ", "2001-03-05T10:00:08", "second"),
        ("2001-03-05T10:00:08.500Z", "2001-03-05T10:00:08", "second"),
        ("2001-03-05 10:00", "2001-03-05T10:00:00", "second"),
        ("20010305T100008Z", "2001-03-05T10:00:08", "second"),
        ("0850", "0850-01-01", "year"),
    ],
)
def test_parse_date(text, start, precision):
    moment = parse_date(text)
    assert (str(moment), moment.precision) == (start, precision)


@pytest.mark.parametrize(
    "text", ["", "200103", "2001.5", "05/03/2001", "2001-13", "2001-02-30", "2001-366", "2001-03-05T25:00", "May"]
)
def test_parse_date_refuses(text):
    with pytest.raises(ParameterError) as caught:
        parse_date(text)
    assert repr(text) in str(caught.value)


def test_six_digits_get_a_hint():
    with pytest.raises(ParameterError, match="write 2001-03 for a month"):
        parse_date("200103")


@pytest.mark.parametrize(
    ("text", "first", "last"),
    [
        ("1990", "1990-01-01T00:00:00", "1990-12-31T23:59:59"),
        ("2020-06", "2020-06-01T00:00:00", "2020-06-30T23:59:59"),
        ("2020-Q1", "2020-01-01T00:00:00", "2020-03-31T23:59:59"),
        ("2020-06-15", "2020-06-15T00:00:00", "2020-06-15T23:59:59"),
        ("2020-06-15 10:00", "2020-06-15T10:00:00", "2020-06-15T10:00:59"),
        ("2020-06-15T10:00:08", "2020-06-15T10:00:08", "2020-06-15T10:00:08"),
    ],
)
def test_read_range(text, first, last):
    assert read_range(text) == (datetime.fromisoformat(first), datetime.fromisoformat(last))


def write(folder: Path, text: str) -> Path:
    path = folder / "dates.csv"
    path.write_bytes(text.encode())
    return path


@pytest.mark.parametrize(
    "text", ["2001-03-05\n2002\n", "date\n2001-03-05\n\n2002", "# my dates\r\n2001-03-05\r\n # more\r\n2002\r\n"]
)
def test_table_of_dates(tmp_path, text):
    assert read_table(write(tmp_path, text)) == [parse_date("2001-03-05"), parse_date("2002")]


@pytest.mark.parametrize(
    "text",
    [
        "a.tif,2001\nb/c.tif,2002\n",
        "path,date\na.tif,2001\nb/c.tif,2002\n",
        "\ufeffDate;Cloud;Path\n2001;3;a.tif\n2002;4;b/c.tif\n",
        '# mine\ndate,path\n2001,"a.tif"\n2002, b/c.tif\n',
    ],
)
def test_table_of_paths_and_dates(tmp_path, text):
    assert read_table(write(tmp_path, text)) == {"a.tif": parse_date("2001"), "b/c.tif": parse_date("2002")}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no dates in it"),
        ("date\n", "no dates in it"),
        ("2001\nMay\n", "dates.csv, line 2: cannot read 'May' as a date"),
        ("a.tif,2001\n\nb.tif,2001-02-30\n", "dates.csv, line 3: '2001-02-30' is not a date"),
        ("a.tif,2001\nb.tif\n", "dates.csv, line 2: 1 column, but 2 in the first line"),
        ("a.tif,2001\na.tif,2002\n", "dates.csv, line 2: a.tif is there twice"),
        ("a.tif,2001\n,2002\n", "dates.csv, line 2: no path"),
        ("a.tif,x,2001\n", "dates.csv, line 1: 3 columns, but no header with path and date"),
        ("cloud,date\n3,2001\n", "dates.csv, line 1: 2 columns, but no header with path and date"),
    ],
)
def test_table_with_mistakes(tmp_path, text, message):
    with pytest.raises(InputError) as caught:
        read_table(write(tmp_path, text))
    assert message in str(caught.value)


def test_table_with_many_mistakes_shows_the_first(tmp_path):
    with pytest.raises(InputError) as caught:
        read_table(write(tmp_path, "date\n" + "x\n" * 8))
    assert len(caught.value.problems) == 6
    assert caught.value.problems[-1].endswith("3 more lines like these")


def test_table_that_cannot_be_read(tmp_path):
    with pytest.raises(InputError, match=r"absent\.csv"):
        read_table(tmp_path / "absent.csv")
    (tmp_path / "image.tif").write_bytes(b"II*\x00\xff\xfe")
    with pytest.raises(InputError, match=r"image\.tif: cannot be read"):
        read_table(tmp_path / "image.tif")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("S1_VH_2020-0000006912-0000000000.tif", ("S1_VH_2020", 6912, 0)),
        ("a/b_2001-02-01_2001-03-01-0000000000-0000023296.tif", ("a/b_2001-02-01_2001-03-01", 0, 23296)),
        ("S1_VH_2020.tif", None),
        ("x-20200101-20200131.tif", None),
    ],
)
def test_shard_of(name, expected):
    assert shard_of(name) == expected


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
        (MODIS_8, Step(1, "8-day"), list(range(92))),
        (["2000-02-28", "2000-02-29", "2000-03-02"], Step(1, "day"), [0, 1, 3]),
        (["1984-06-06", "1984-06-22", "1984-07-24", "1984-08-09"], Step(16, "day"), [0, 1, 3, 4]),  # one Landsat
    ],
)  # fmt: skip
def test_step_and_index(dates, step, index):
    result = axis(dates)
    assert result.step == step
    assert result.index is not None
    assert result.index.tolist() == index
    assert result.index.dtype == np.int64


@pytest.mark.parametrize(
    "dates",
    [
        ["1984-06-06", "1984-06-22", "1984-07-08", "1984-07-17", "1984-09-10", "1985-05-01"],  # Landsat 5 and 7
        ["2000-01-01", "2001-01-01", "2003-01-01", "2006-01-01"],  # one of three pairs is a year apart
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


def test_years_by_precision():
    result = TimeAxis.from_times([1990.0, 1991.0, 1993.0])
    assert result.step == Step(1, "year")
    assert result.precision == "year"


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
