"""What docs/dates.md says of names, formats and tables."""

from __future__ import annotations

import re

import pytest

from pixelwise.dates.formats import read_format
from pixelwise.dates.names import read_names
from pixelwise.dates.rules import DIRECTIVES
from pixelwise.dates.tables import parse_date
from support.places import ROOT

PAGE = (ROOT / "docs" / "dates.md").read_text(encoding="utf-8")


def part(title: str) -> str:
    return PAGE.partition(f"## {title}\n")[2].partition("\n## ")[0]


NAMES = [
    example
    for row in part("Names").splitlines()
    if row.startswith("| ") and "`" in row
    for example in re.findall(r"`([^`]+)`", row.split("|")[2])
    if not example.startswith("...")
]


@pytest.mark.parametrize("name", NAMES)
def test_every_example_of_a_name_is_read(name: str) -> None:
    names = [name.replace("...", "x")]
    if name == "2001-2002":  # a pair is told by a list
        names.append("2002-2003")
    reading = read_names([f"{one}.tif" for one in names])[0]
    assert reading.moment.start.year >= 1990


def test_the_examples_are_found() -> None:
    assert len(NAMES) > 30


@pytest.mark.parametrize(
    ("name", "template", "date"),
    [
        ("x_2001_02", "%Y_%m", "2001-02-01"),
        ("x_2001_02", "%Y_%y", "2001-01-01"),
        ("P1996035", "%Y%j", "1996-02-04"),
        ("P1996035", "%Y%J", "1996-08-26"),
        ("2018_week05", "%G_week%V", "2018-01-29"),
        ("2018_week05", "%Y_week%J", "2018-01-29"),
        ("chirps-v2.0.2001.01.3", "%Y.%m.%K", "2001-01-21"),
        ("chirps-v2.0.2001.01.3", "%Y.%m.%P", "2001-01-11"),
        ("05-03-2001", "%d-%m-%Y", "2001-03-05"),
        ("20010305T1000-1200", "%Y%m%dT%H%M%z", "2001-03-05T22:00:00"),
        ("20010305T1000-1200", "%Y%m%dT%H%M-", "2001-03-05T10:00:00"),
    ],
)
def test_what_settles_two_readings(name: str, template: str, date: str) -> None:
    assert f"'{template}'" in part("Ambiguous names")
    assert [str(reading.moment) for reading in read_format([f"{name}.tif"], template)] == [date]


def test_every_directive_is_explained() -> None:
    documented = set(re.findall(r"%([A-Za-z])", part("`--times FORMAT`")))
    assert documented == set(DIRECTIVES)
    assert read_format.__doc__ is not None
    assert set(re.findall(r"%([A-Za-z])", read_format.__doc__)) == set(DIRECTIVES)


def test_every_date_of_a_table_is_read() -> None:
    listed = re.search(r"parts of it: ([^.]+)\.", part("`--times FILE`, and files of many bands"))
    assert listed is not None
    dates = re.findall(r"`([^`]+)`", listed[1])
    assert len(dates) == 9
    for date in dates:
        assert parse_date(date).start.year == 2001
