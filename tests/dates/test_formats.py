"""Dates in a format: ``--times FORMAT``."""

from __future__ import annotations

from datetime import datetime

import pytest

from pixelwise.dates.formats import read_format
from pixelwise.errors import InputError, ParameterError
from support.dates import starts

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
        ("%Y%V", "%V is the week of the ISO year %G"),
        ("%G%m", "%V is the week of the ISO year %G"),
        ("%Y%W%m", "replace days"),
        ("%Y%m%d%K", "replace days"),
        ("%Y%j%J", "replace days"),
        ("%Y%P", "%P needs %m"),
        ("%Y%m%d%z", "%z needs %H"),
        ("%Y%", "unknown %"),
        ("%Y%m%Y", "%Y occurs more than once"),
        ("%Y%b%m", "%m occurs more than once"),
        ("%Y%d", "%d needs %m"),
        ("%Y%m%d%S", "%S needs %M"),
        ("%Y%m%j", "either %m and %d, or %j"),
        ("%Y%m%H", "hours need a day"),
        ("%Y%W%H", "hours need a day"),
        ("%Y%Y%m", "%Y occurs more than once"),
        ("%y_%Y", "%Y occurs more than once"),
    ],
)
def test_format_that_cannot_work(template, message):
    with pytest.raises(ParameterError, match=message):
        read_format(["x_2001.tif"], template)
