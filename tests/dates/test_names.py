"""Dates in names: of real files, of made-up ones, and what is not a date."""

from __future__ import annotations

import csv
import re
from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from pixelwise.dates.formats import read_format
from pixelwise.dates.names import read_names
from pixelwise.errors import InputError
from support.dates import starts
from support.places import SHARED

FILENAMES = SHARED / "filename_conventions" / "filenames.csv"


def real_names() -> list[dict[str, str]]:
    if not FILENAMES.exists():
        return []
    with FILENAMES.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


needs_filenames = pytest.mark.skipif(not FILENAMES.exists(), reason=f"{FILENAMES} is absent")


each_real_name = pytest.mark.parametrize("row", real_names(), ids=lambda row: row["filename"])


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
    if row["filename"].startswith("chirps-v2.0.2022.12.3"):
        # Third dekads alone may as well be third pentads: a user has the other dekads too.
        assert "by CHIRPS pentad" in refusal([row["filename"], *(name for name, _, _ in others)])
        days = [(month, 10 * dekad - 9) for month in (10, 11) for dekad in (1, 2, 3)]
        others += [
            (f"chirps-v2.0.2021.{month}.{day // 10 + 1}.tif", datetime(2021, month, day), None) for month, day in days
        ]
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


# --------------------------------------------------------------------- one text, read in several ways


def listed(*templates: str, years: range = range(2001, 2012), **values: int) -> list[str]:
    return [
        template.format(year=year, next=year + 1, short=(year + 1) % 100, **values)
        for year in years
        for template in templates
    ]


AMBIGUOUS = [
    # Of the list, one name, its two readings, and the rules.
    (listed("x_{year}_{short:02d}.tif"), "x_2004_05", {"2004-05-01": "YYYY-MM", "2004-01-01": "year pair"}),
    (listed("x-{year}-{short:02d}.tif"), "x-2004-05", {"2004-05-01": "YYYY-MM", "2004-01-01": "year pair"}),
    (listed("x{year}{short:02d}.tif"), "x200405", {"2004-05-01": "YYYYMM", "2004-01-01": "year pair"}),
    (
        listed("x.P{year}002.tif", "x.P{year}035.tif"),
        "x.P2004035",
        {"2004-02-04": "YYYYDDD", "2004-08-26": "week from 1 January"},
    ),
    (
        listed("x_{year}_{w:03d}.tif", w=53),
        "x_2004_053",
        {"2004-02-22": "YYYY_DDD", "2004-12-30": "week from 1 January"},
    ),
    (
        listed("x_{year}_week{w}.tif", w=31),
        "x_2004_week31",
        {"2004-07-26": "ISO week", "2004-07-29": "week from 1 January"},
    ),
    (listed("week05-{year}.tif"), "week05-2004", {"2004-01-26": "ISO week", "2004-01-29": "week from 1 January"}),
    (
        [f"chirps-v2.0.2001.01.{k}.tif" for k in (1, 2, 3)],
        "chirps-v2.0.2001.01.2",
        {"2001-01-11": "CHIRPS dekad", "2001-01-06": "CHIRPS pentad"},
    ),
    (listed("a_05-03-{year}.tif"), "a_05-03-2004", {"2004-03-05": "DD-MM-YYYY", "2004-05-03": "MM-DD-YYYY"}),
    (
        listed("a_{year}0304T1000-0930.tif"),
        "a_20040304T1000-0930",
        {"2004-03-04T19:30:00": "YYYYMMDDTHHMM", "2004-03-04T10:00:00": "YYYYMMDDTHHMM-HHMM"},
    ),
]


@pytest.mark.parametrize(("names", "name", "readings"), AMBIGUOUS, ids=[name for _, name, _ in AMBIGUOUS])
def test_list_that_fits_two_readings_is_refused_with_both_and_what_settles_it(names, name, readings):
    message = refusal(names)
    assert message.startswith("more than one date in the name of ")
    [place] = [index for index, one in enumerate(names) if one.startswith(name)]
    alone = refusal([names[place], names[place - 1]])
    for moment, rule in readings.items():
        assert f"{moment} by {rule}" in alone
    # What is to be typed gives one reading each.
    formats = re.findall(r"--times '([^']+)'", message)
    assert len(formats) == 2
    assert {str(read_format(names, one)[place].moment) for one in formats} == set(readings)


@pytest.mark.parametrize(
    ("names", "expected", "rule"),
    [
        # One name that is no month, day or dekad tells about all others.
        (listed("x_{year}_{short:02d}.tif", years=range(2001, 2013)), "2001-01-01", "year pair"),
        (listed("x_{year}-{short:02d}.tif", years=range(1995, 2005)), "1995-01-01", "year pair"),
        (listed("x_{year}{short:02d}.tif", years=range(2001, 2013)), "2001-01-01", "year pair"),
        (listed("x_{year}_{next}.tif"), "2001-01-01", "year pair"),
        (listed("{year}-{next}_ndvi_2000m.tif"), "2001-01-01", "year pair"),
        (["x_2001_02.tif", "x_2002_03.tif", "x_2002_04.tif"], "2001-02-01", "YYYY-MM"),
        (["x_200102.tif", "x_200203.tif", "x_200204.tif"], "2001-02-01", "YYYYMM"),
        (["x_2001035.tif", "x_2001054.tif"], "2001-02-04", "YYYYDDD"),
        ([f"chirps-v2.0.2001.01.{k}.tif" for k in (3, 2, 6)], "2001-01-11", "CHIRPS pentad"),
        ([f"chirps-v3.0.2001.0{m}.{k}.tif" for m in (1, 2) for k in (3, 2, 1)], "2001-01-21", "CHIRPS dekad"),
        # So do the days of MODIS, the letter before them, and the folder.
        (listed("x_{year}001.tif", "x_{year}017.tif", "x_{year}033.tif"), "2001-01-01", "YYYYDDD"),
        (listed("x.A{year}002.tif", "x.A{year}003.tif"), "2001-01-02", "YYYYDDD"),
        (listed("A{year}002.tif", "A{year}003.tif"), "2001-01-02", "YYYYDDD"),
        (listed("x_doy{year}002.tif", "x_doy{year}003.tif"), "2001-01-02", "YYYYDDD"),
        ([f"africa_dekad/tifs/chirps-v2.0.2001.01.{k}.tif" for k in (3, 2, 1)], "2001-01-21", "CHIRPS dekad"),
        ([f"global_pentad/tifs/chirps-v2.0.2001.01.{k}.tif" for k in (3, 2)], "2001-01-11", "CHIRPS pentad"),
        (listed("monthly/x_{year}_{short:02d}.tif"), "2001-02-01", "YYYY-MM"),
        (listed("daily/{year}035.tif"), "2001-02-04", "YYYYDDD"),
        (listed("weekly_{year}_035.tif"), "2001-08-27", "week from 1 January"),
        # A time that is no offset from UTC is the end of a range.
        (["x_20010304T1000-1207.tif", "x_20010305T1100-1300.tif"], "2001-03-04T10:00:00", "YYYYMMDDTHHMM-HHMM"),
    ],
)
def test_list_that_settles_its_readings(names, expected, rule):
    readings = read_names(names)
    assert str(readings[0].moment) == expected
    assert {reading.rule for reading in readings} == {rule}


def test_year_pairs_count_in_whole_years():
    readings = read_names(listed("x_{year}_{short:02d}.tif", years=range(1998, 2004)))
    assert {reading.moment.precision for reading in readings} == {"year"}
    assert [reading.moment.date().year for reading in readings] == list(range(1998, 2004))
    assert [reading.moment.date("middle").year for reading in readings] == list(range(1998, 2004))
    assert [reading.moment.date("end").year for reading in readings] == list(range(1999, 2005))


def test_another_date_in_the_name_settles_a_reading():
    names = ["x_2001_02_20010214.tif", "x_2002_03_20020314.tif"]
    assert starts(read_names(names)) == ["2001-02-14", "2002-03-14"]
    names = ["2001-03/x_05-03-2001.tif", "2001-04/x_05-04-2001.tif"]
    assert starts(read_names(names)) == ["2001-03-05", "2001-04-05"]


def test_single_name_is_read_as_most_are():
    assert starts(read_names(["PRISM_200001.tif"])) == ["2000-01-01"]
    assert starts(read_names(["x_2001_02.tif"])) == ["2001-02-01"]
    assert starts(read_names(["x_2001035.tif"])) == ["2001-02-04"]
    assert starts(read_names(["chirps-v2.0.2001.01.2.tif"])) == ["2001-01-11"]


def test_pieces_of_one_image_are_one_name_for_all_readings():
    names = [f"S1_2001_02-000000{place}-0000000000.tif" for place in ("0000", "6912")]
    assert starts(read_names(names)) == ["2001-02-01", "2001-02-01"]


def test_year_pairs_are_told_by_all_names_or_none():
    assert "x_2001_2002.tif (2001-01-01 by year, or 2002-01-01 by year)" in refusal(["x_2001_2002.tif", "x_2004.tif"])
    assert starts(read_names(["x_2001_02.tif", "x_2004-05-06.tif"][:1])) == ["2001-02-01"]
    assert "a month in x_2001_02.tif" in refusal(["x_2001_02.tif", "x_2004-05-06.tif"])


def test_kinds_of_readings_are_not_mixed():
    names = ["chirps-v2.0.2001.01.2.tif", "x_2001-02-03.tif"]
    assert "dates of different kinds" in refusal(names)


# ------------------------------------------------------------------ weeks, pentads, dekads, month names


@pytest.mark.parametrize(
    ("name", "start", "end", "rule"),
    [
        ("VHP.G04.C07.NJ.P1996035.SM.SMN.tif", "1996-08-26", "1996-09-01", "NOAA VHP"),
        ("VHP.G04.C07.npp.P2013001.VH.VCI.tif", "2013-01-01", "2013-01-07", "NOAA VHP"),
        ("VHP.G16.C07.j01.P2021052.VH.VHI.tif", "2021-12-24", "2021-12-30", "NOAA VHP"),
        ("x_2018-W01.tif", "2018-01-01", "2018-01-07", "ISO week"),
        ("x_2019W01.tif", "2018-12-31", "2019-01-06", "ISO week"),
        ("x_2020_W53.tif", "2020-12-28", "2021-01-03", "ISO week"),
        ("L2_AETI_D_2018-01-D1.tif", "2018-01-01", "2018-01-10", "dekad"),
        ("WAPOR-3.L2-AETI-D.2024-02-D3.tif", "2024-02-21", "2024-02-29", "dekad"),
        ("AETI_201802D2.tif", "2018-02-11", "2018-02-20", "dekad"),
        ("rfe2018_08-dk3.v3.1.nc", "2018-08-21", "2018-08-31", "dekad"),
        ("rfe2018_08-pt4.v3.1.nc", "2018-08-16", "2018-08-20", "pentad"),
        ("x_2018_dekad36.tif", "2018-12-21", "2018-12-31", "dekad of the year"),
        ("L1_AETI_D_1904.tif", "2019-02-01", "2019-02-10", "WaPOR 2 dekad"),
        ("L2_QUAL_NDVI_D_0936_TUN.tif", "2009-12-21", "2009-12-31", "WaPOR 2 dekad"),
        ("chirps-v2.0.2001.02.6.tif", "2001-02-26", "2001-02-28", "CHIRPS pentad"),
        ("F182010.v4d_web.stable_lights.avg_vis.tif", "2010-01-01", "2010-01-01", "DMSP"),
        ("F101992.v4b_web.stable_lights.avg_vis.tif", "1992-01-01", "1992-01-01", "DMSP"),
        ("clip_F162009_avg.tif", "2009-01-01", "2009-01-01", "DMSP"),
        (
            "SVDNB_npp_20140401-20140430_75N180W_vcmcfg_v10_c201507201613.avg_rade9.tif",
            *("2014-04-01", "2014-04-30", "VIIRS night lights"),
        ),
        (
            "VNL_v21_npp_2014_global_vcmslcfg_c202205302300.average.tif",
            *("2014-01-01", "2014-01-01", "VIIRS annual night lights"),
        ),
        ("ndvi_Jan2001.tif", "2001-01-01", "2001-01-31", "MonYYYY"),
        ("ndvi_february-2004.tif", "2004-02-01", "2004-02-29", "MonYYYY"),
        ("ndvi_2001Jan.tif", "2001-01-01", "2001-01-31", "YYYYMon"),
        ("2001_SEPT_max.tif", "2001-09-01", "2001-09-30", "YYYYMon"),
        ("VV_mst_01Jan2020", "2020-01-01", "2020-01-01", "DDMonYYYY"),
        ("x_5-Mar-2021.tif", "2021-03-05", "2021-03-05", "DDMonYYYY"),
        ("x_2021-Mar-05.tif", "2021-03-05", "2021-03-05", "YYYYMonDD"),
        ("x.2001.Jan.tif", "2001-01-01", "2001-01-31", "YYYYMon"),
        ("x.2018.01.D2.tif", "2018-01-11", "2018-01-20", "dekad"),
        ("x.2018.01.dk2.nc4", "2018-01-11", "2018-01-20", "dekad"),
        ("x.2018.01.P6.tif.gz", "2018-01-26", "2018-01-31", "pentad"),
        ("x_Mar_05_2021.tif", "2021-03-05", "2021-03-05", "MonDDYYYY"),
    ],
)
def test_name_of_a_period(name, start, end, rule):
    [reading] = read_names([name])
    assert (str(reading.moment), str(reading.moment.end.date()), reading.rule) == (start, end, rule)


@pytest.mark.parametrize(
    "name", ["x_2018-W54.tif", "x_2018-W00.tif", "x_2019W53.tif", "x_201813D1.tif", "x_31Feb2001.tif"]
)
def test_period_that_does_not_exist_is_not_read_as_one(name):
    try:
        [reading] = read_names([name])
    except InputError:
        return
    assert reading.moment.precision == "year"  # what is left of x_2018-W54


@pytest.mark.parametrize("word", ["Margin2001", "summar2001", "decade2001", "augment_2001", "x_mars2001"])
def test_word_that_begins_like_a_month(word):
    [reading] = read_names([f"{word}.tif"])
    assert (str(reading.moment), reading.moment.precision) == ("2001-01-01", "year")


def test_every_iso_week_is_that_of_the_standard_library():
    days = [date(1999, 12, 27) + timedelta(weeks=k) for k in range(800)]
    names = [f"x_{day.isocalendar().year}-W{day.isocalendar().week:02d}.tif" for day in days]
    assert [reading.moment.start.date() for reading in read_names(names)] == days
    formatted = read_format([day.strftime("x_%G%V.tif") for day in days], "%G%V")
    assert [reading.moment.start.date() for reading in formatted] == days


@pytest.mark.parametrize("directive", ["U", "W"])
def test_weeks_of_strftime_are_read_as_it_counts_them(directive):
    days = [date(1999, 12, 20) + timedelta(days=k) for k in range(3000)]
    names = [day.strftime(f"x_%Y_%{directive}.tif") for day in days]
    for day, name, reading in zip(days, names, read_format(names, f"%Y_%{directive}"), strict=True):
        moment = reading.moment
        assert moment.start.date() <= day <= moment.end.date()
        # All days of the week are called so, and none beside it.
        called = [moment.start, moment.end]
        beside = [moment.start - timedelta(days=1), moment.end + timedelta(days=1)]
        assert {one.strftime(f"x_%Y_%{directive}.tif") for one in called} == {name}
        assert name not in {one.strftime(f"x_%Y_%{directive}.tif") for one in beside}


@pytest.mark.parametrize(
    ("name", "template", "start", "end"),
    [
        ("VHP.P1996035.tif", "%Y%J", "1996-08-26", "1996-09-01"),
        ("x_1996_05.tif", "%Y_%J", "1996-01-29", "1996-02-04"),
        ("x_1996_5.tif", "%Y_%J", "1996-01-29", "1996-02-04"),
        ("x_1996_53.tif", "%Y_%J", "1996-12-30", "1996-12-31"),
        ("week3of2001.tif", "week%Vof%G", "2001-01-15", "2001-01-21"),
        ("201803.tif", "%Y%m", "2018-03-01", "2018-03-31"),
        ("201803.tif", "%Y%K", "2018-01-21", "2018-01-31"),
        ("2018031.tif", "%Y%m%K", "2018-03-01", "2018-03-10"),
        ("2018036.tif", "%Y%m%P", "2018-03-26", "2018-03-31"),
        ("x_2001_02.tif", "%Y_%y", "2001-01-01", "2002-01-01"),
        ("x_2001-2002.tif", "%Y-%Y", "2001-01-01", "2002-01-01"),
        ("x_199900.tif", "%Y%y", "1999-01-01", "2000-01-01"),
        ("x_211008.tif", "%y%m%d", "2021-10-08", "2021-10-08"),
    ],
)
def test_format_of_a_period(name, template, start, end):
    [reading] = read_format([name], template)
    assert (str(reading.moment), str(reading.moment.end.date())) == (start, end)


@pytest.mark.parametrize(
    ("name", "template"),
    [
        ("x_2001_03.tif", "%Y_%y"),
        ("x_2001_13.tif", "%Y_%m"),
        ("x_32_3_2001.tif", "%d_%m_%Y"),
        ("x_2019_53.tif", "%G_%V"),
        ("x_1996_54.tif", "%Y_%J"),
        ("x_2018_37.tif", "%Y_%K"),
    ],
)
def test_format_of_a_period_that_does_not_exist(name, template):
    with pytest.raises(InputError, match="no date like"):
        read_format([name], template)


def test_format_with_text_that_is_not_there():
    with pytest.raises(InputError) as caught:
        read_format(["VV_01Jan2020", "VV_13Jan2020"], "..%d%b%Y", what="band")
    assert str(caught.value) == (
        "no date like --times ..%d%b%Y in 2 descriptions: VV_01Jan2020, VV_13Jan2020; "
        "--times '%d%b%Y' matches all of them"
    )


# ------------------------------------------------------------------------- digits, offsets, dates twice


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["x_211008.tif", "x_211109.tif"], "x_211008 may mean 2021-10-08 by --times '%y%m%d', or 2008-10-21 by"),
        (["x_190428.tif", "x_190514.tif"], "x_190428 may mean 2019-04-28 by --times '%y%m%d'; "),
        (["x_182010.tif", "x_182011.tif"], "may mean 1820-10-01 by --times '%Y%m' (before 1840)"),
        (["x_18390101.tif", "x_18390201.tif"], "may mean 1839-01-01 by --times '%Y%m%d' (before 1840)"),
        (["x_05032001.tif", "x_06032001.tif"], "2001-03-05 by --times '%d%m%Y', or 2001-05-03 by --times '%m%d%Y'"),
        (["x_201805.tif", "x_201831.tif"], "x_201831 may mean 2018-07-30 by --times '%G%V'"),
    ],
)
def test_digits_that_are_no_date_say_what_they_may_be(names, message):
    assert "no date in the name of" in refusal(names)
    assert message in refusal(names)


def test_no_format_is_offered_that_gives_all_names_one_date():
    message = refusal(["x_2018_pentad1.tif", "x_2018_pentad5.tif", "x_2018_pentad73.tif"])
    assert "(2018 in all of them is not taken for a date)" in message
    assert "may mean" not in message


@pytest.mark.parametrize("style", ["%Y%m%d", "%Y%m", "%Y%j", "%Y%m%dT%H%M%S", "%Y%m01-%Y%m28"])
def test_digits_in_a_row_are_no_date_of_the_future(style):
    # A time of day that can be no date, so that only the future is left.
    now = datetime.now(UTC).replace(tzinfo=None, hour=23, minute=59, second=58)
    ahead, behind = now + timedelta(days=45), now - timedelta(days=45)
    message = refusal([f"x_{ahead.strftime(style)}.tif"])
    assert "no date in the name of 1 file" in message
    assert "(in the future)" in message
    [reading] = read_names([f"x_{behind.strftime(style)}.tif"])
    assert (reading.moment.start.year, reading.moment.start.month) == (behind.year, behind.month)
    # Today is no future, and neither is the month that has begun.
    assert str(read_names([f"x_{now:%Y%m%d}.tif"])[0].moment) == f"{now:%Y-%m-%d}"
    assert read_names([f"x_{now:%Y%m}.tif"])[0].moment.precision == "month"


def test_dates_of_the_future_that_are_written_as_such():
    assert starts(read_names(["x_2150-12.tif", "x_2151-01.tif"])) == ["2150-12-01", "2151-01-01"]
    assert starts(read_names(["x_2050.tif", "x_2051.tif"])) == ["2050-01-01", "2051-01-01"]


def test_digits_of_the_future_beside_a_date():
    assert starts(read_names(["tile_205012_2001.tif", "tile_205011_2002.tif"])) == ["2001-01-01", "2002-01-01"]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("x_20200101T231112-0700.tif", "2020-01-02T06:11:12"),
        ("x_20200101T011112+0200.tif", "2019-12-31T23:11:12"),
        ("x_20200101T011112+02.tif", "2019-12-31T23:11:12"),
        ("x_20200101T231112Z.tif", "2020-01-01T23:11:12"),
        ("x_20200101_231112.tif", "2020-01-01T23:11:12"),
        ("x_2020001T101112+0530.tif", "2020-01-01T04:41:12"),
        ("x_20200101T1011+0100.tif", "2020-01-01T09:11:00"),
        ("x_20200101T101112-0703.tif", "2020-01-01T10:11:12"),  # no offset: their minutes are 0, 15, 30 or 45
        ("x_20200101T101112-20.tif", "2020-01-01T10:11:12"),
    ],
)
def test_offset_from_utc_in_a_name(name, expected):
    assert starts(read_names([name])) == [expected]


@pytest.mark.parametrize("text", ["2020-01-01T23:11:12-07:00", "2020-01-01T23:11:12-0700", "2020-01-02T06:11:12Z"])
def test_offset_from_utc_in_a_band_or_by_format(text):
    assert starts(read_names([text], what="band")) == ["2020-01-02T06:11:12"]
    assert starts(read_format([text], "%Y-%m-%dT%H:%M:%S%z", what="band")) == ["2020-01-02T06:11:12"]


@pytest.mark.parametrize(
    ("template", "start", "precision"),
    [
        ("{y}{m}_a_{y}{m}_b.tif", "2014-04-01", "month"),
        ("{y}{m}_{y}{m}.tif", "2014-04-01", "month"),
        ("{y}-{m}_a_{y}{m}.tif", "2014-04-01", "month"),
        ("{y}{m}09_{y}{m}09T101112.tif", "2014-04-09T10:11:12", "second"),
        ("{y}_{m}_09_{y}.tif", "2014-04-09", "day"),
        ("{y}_{m}_09_{y}_{m}.tif", "2014-04-09", "day"),
        ("{y}_{m}_09_a_{y}_{m}_09_b.tif", "2014-04-09", "day"),
    ],
)
def test_date_that_is_twice_in_a_name(template, start, precision):
    names = [template.format(y=year, m=month) for year, month in (("2014", "04"), ("2014", "07"), ("2015", "04"))]
    readings = read_names(names)
    assert str(readings[0].moment) == start
    assert {reading.moment.precision for reading in readings} == {precision}
    assert starts(read_names(names[:1])) == [start]


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
    st.datetimes(datetime(1900, 1, 1), datetime(2025, 12, 31)).map(lambda date: date.replace(microsecond=0)),
    min_size=1,
    max_size=6,
)


@pytest.mark.parametrize("style", ROUND_TRIPS)
@given(dates=any_dates)
def test_round_trip(style, dates):
    template, precision = ROUND_TRIPS[style]
    dates = list(dict.fromkeys(date.replace(**PERIOD_STARTS[precision]) for date in dates))
    # Whole lists that fit two readings are refused: 2001_02 and 2002_03, or days up to 53 of a year.
    assume(precision != "month" or len(dates) == 1 or any(date.month != (date.year + 1) % 100 for date in dates))
    assume("%j" not in template or len(dates) == 1 or any(date.timetuple().tm_yday > 53 for date in dates))
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


def test_few_names_without_a_date_are_named_with_a_way_out() -> None:
    dated = [f"annual/ndvi_{year}.tif" for year in range(1982, 2014)]
    assert refusal([*dated, "annual/mean.tif"]) == (
        "no date in the name of 1 file: annual/mean.tif; the names of the other 32 have one (1982 to 2013 by rule "
        "year): move it to another folder, give a pattern that leaves it out: 'annual/ndvi_*.tif', or use --times "
        "FORMAT|FILE"
    )
    # No pattern of one star leaves it out.
    assert "move them to another folder, or use --times" in refusal([*dated, "annual/ndvi_a.tif", "annual/ndvi_b.tif"])
    assert "the other" not in refusal([*dated[:2], "annual/mean.tif"])
