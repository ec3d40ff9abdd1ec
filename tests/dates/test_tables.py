"""Dates in tables and options."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import pytest

from pixelwise.dates.paths import shard_of
from pixelwise.dates.tables import BandDates, parse_date, read_range, read_table
from pixelwise.errors import InputError, ParameterError

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
        ("2001-03-05T10:00:08+00:00", "2001-03-05T10:00:08", "second"),
        ("2001-03-05T10:00:08+02:00", "2001-03-05T08:00:08", "second"),
        ("2001-03-05 23:30:00.25-0700", "2001-03-06T06:30:00", "second"),
        ("2001-01-01T03:00 +05:30", "2000-12-31T21:30:00", "second"),
        ("2001-03-05T10:00-07", "2001-03-05T17:00:00", "second"),
        ("20010305T100008+1400", "2001-03-04T20:00:08", "second"),
        ("2001-W01", "2001-01-01", "period"),
        ("2020W53", "2020-12-28", "period"),
        ("2001-03-D3", "2001-03-21", "period"),
        ("2004-07-d2", "2004-07-11", "period"),  # as `composite --every dekad` calls it
        ("2001-03-P6", "2001-03-26", "period"),
        ("2001-03-05 10:00", "2001-03-05T10:00:00", "second"),
        ("20010305T100008Z", "2001-03-05T10:00:08", "second"),
        ("0850", "0850-01-01", "year"),
    ],
)
def test_parse_date(text, start, precision):
    moment = parse_date(text)
    assert (str(moment), moment.precision) == (start, precision)


@pytest.mark.parametrize(
    "text",
    [
        *("", "200103", "2001.5", "05/03/2001", "2001-13", "2001-02-30", "2001-366", "2001-03-05T25:00", "May"),
        *("2001-W53", "2001-W00", "2001-03-D4", "2001-03-P7", "2001-03-05T10:00+15:00", "2001-03-05+02:00"),
    ],
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
    "text",
    [
        "path,band,date\na.tif,1,2001-01\na.tif,NDVI,2001-02\n",
        "Date;Band;File;cloud\n2001-01;1;a.tif;3\n2001-02;NDVI;a.tif;4\n",
    ],
)
def test_table_of_paths_bands_and_dates(tmp_path, text):
    assert read_table(write(tmp_path, text)) == BandDates(
        {("a.tif", "1"): parse_date("2001-01"), ("a.tif", "NDVI"): parse_date("2001-02")}
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no dates in it"),
        ("date\n", "no dates in it"),
        ("2001\nMay\n", "dates.csv, line 2: cannot read 'May' as a date"),
        ("a.tif,2001\n\nb.tif,2001-02-30\n", "dates.csv, line 3: '2001-02-30' is not a date"),
        ("a.tif,2001\nb.tif\n", "dates.csv, line 2: 1 column, but 2 in the first line"),
        ("a.tif,2001\na.tif,2002\n", "dates.csv, line 2: a.tif occurs twice"),
        ("a.tif,2001\n,2002\n", "dates.csv, line 2: no path"),
        ("a.tif,x,2001\n", "line 1: 3 columns, but no header with path and date (or path, band and date)"),
        ("path,band,date\na.tif,1,2001\na.tif,1,2002\n", "dates.csv, line 3: a.tif, band 1, occurs twice"),
        ("path,band,date\na.tif,,2001\n", "dates.csv, line 2: no band"),
        ("path,band,date\n,1,2001\n", "dates.csv, line 2: no path"),
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
    with pytest.raises(InputError, match=r"image\.tif: not a text file in UTF-8"):
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
