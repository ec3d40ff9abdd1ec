"""Titles: quantity, band, period and unit in people's words, whatever a file says."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

import pixelwise as pw
from pixelwise.pictures.picture import plot_map
from pixelwise.pictures.quantities import quantity
from support.drawn import PVALUE, SLOPE, headings, key_title, make_map, painted, row, trend_map

SAID = "band slope: Change per year of the fitted line"
YEARS = {"layers": 2, "first": "1995-01-01", "last": "2015-01-01", "layers_used": [{"precision": "year"}] * 2}
DAYS = {**YEARS, "layers_used": [{"precision": "day"}]}


def files(name: str) -> dict[str, Any]:
    return {"files": [{"path": f"../ndvi of others/{name}"}]}


@pytest.mark.parametrize(
    ("provenance", "expected"),
    [
        ({}, ["Change per year", SAID]),
        (
            {"method": "ols", "input": YEARS | files("ndvi_1995.tif")},
            ["NDVI change per year, 1995 to 2015", f"ols, {SAID}; 2 layers"],
        ),
        (
            {"method": "ols", "input": DAYS | files("a.tif")},
            ["Change per year, 1995-01-01 to 2015-01-01", f"ols, {SAID}; 2 layers"],
        ),
        (
            {"method": "ols", "input": DAYS | {"composite": {"periods": ["1995", "1996", "2014"]}}},
            ["Change per year, 1995 to 2014", f"ols, {SAID}; 2 layers"],
        ),
        (
            {"method": "ols", "input": {**YEARS, "last": "1995-01-01"}},
            ["Change per year, 1995", f"ols, {SAID}; 2 layers"],
        ),
        # What a file may say instead.
        ({"method": ["odd"], "input": {"first": "1"}}, ["Change per year", SAID]),
        ({"input": {"files": "x", "spec": 3, "composite": [], "layers_used": 7, **YEARS}}, None),
        ({"input": {"files": [{"path": 5}], "first": 1, "last": {}, "layers": "\x1b[31m"}}, None),
        ({"input": "x", "versions": 1, "fdr": 2}, None),
    ],
)  # fmt: skip
def test_titles_say_quantity_band_and_time(provenance: Mapping[str, Any], expected: list[str] | None) -> None:
    found = headings(plot_map(trend_map(provenance=provenance)))
    assert expected is None or found == expected
    assert all(text.isprintable() for text in found)


@pytest.mark.parametrize(
    ("band", "title"),
    [
        (pw.Band("slope", "Median change", "degC/decade", kind="change"), "NDVI change per decade, 1995 to 2015"),
        (pw.Band("pvalue", "Two-sided p-value (t test)", kind="test"), "NDVI: two-sided p-value, 1995 to 2015"),
        (pw.Band("rmse", "RMSE of the line", kind="level"), "NDVI: RMSE of the line, 1995 to 2015"),
        (pw.Band("thing"), "NDVI: thing, 1995 to 2015"),
    ],
)  # fmt: skip
def test_bands_are_described(band: pw.Band, title: str) -> None:
    map_ = make_map((band,), row(0.1, 0.2), provenance={"method": "ols", "input": YEARS | files("NDVI_1995.tif")})
    assert headings(plot_map(map_))[0] == title


def test_the_line_below_does_not_repeat_the_title() -> None:
    map_ = make_map((PVALUE,), row(0.1), provenance={"method": "ols", "input": YEARS})
    assert headings(plot_map(map_))[1] == "ols, band pvalue; 2 layers"


def test_status_is_explained() -> None:
    map_ = make_map((SLOPE,), row(1), status=[[0]], provenance={"method": "ols"})
    assert headings(plot_map(map_, "status")) == ["Why each pixel has the values it has", "ols, band status"]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("ndvi_2001.tif", "NDVI"), ("MOD13A2.A2001001.EVI.tif", "EVI"), ("pacificSST_1982.tif", "SST"),
        ("chirps-v2.0.1981.tif", "CHIRPS precipitation"), ("mist_1981.tif", ""), ("landslides.tif", ""),
        ("LAI.nc", "LAI"),
        ("precip_1990.nc", "precipitation"), ("x" * 10_000, ""), ("", ""),
    ],
)  # fmt: skip
def test_quantities_in_names_of_files(name: str, expected: str) -> None:
    assert quantity(make_map((SLOPE,), row(1), provenance={"input": files(name)})) == expected


def test_a_variable_is_the_quantity() -> None:
    for variable, expected in (("sst", "SST"), ("tas", "tas"), ("precip", "precipitation"), ("", "NDVI"), (5, "NDVI")):
        provenance = {"input": {"spec": {"variable": variable}, **files("ndvi.nc")}}
        assert quantity(make_map((SLOPE,), row(1), provenance=provenance)) == expected


def test_temperatures_of_the_sea_warm_in_red_without_any_unit() -> None:
    from support.drawn import key_colors

    map_ = make_map((SLOPE, PVALUE), row(1), row(0.01), provenance={"input": files("pacificSST_1982.tif")})
    red = key_colors(plot_map(map_))["significant increase, p < 0.05"]
    assert int(red[1:3], 16) > 2 * int(red[3:5], 16)


def test_a_title_of_ones_own_keeps_the_line_below() -> None:
    assert headings(plot_map(trend_map(), title="Greening\n1982 to 2013")) == ["Greening\n1982 to 2013", SAID]
    assert headings(plot_map(trend_map(), title="")) == []
    assert headings(plot_map(trend_map(), title="\x1b[31mred"))[0] == "\\x1b[31mred"


def test_names_from_files_are_taken_literally() -> None:
    name = "$\\frac{$ _x^\x1b[31m\n\N{RIGHT-TO-LEFT OVERRIDE}"
    band = pw.Band(name, "\\[ $\\sqrt{ \x00", "$m^2$")
    figure = plot_map(
        make_map((band, SLOPE), row(1, 2), row(1, 2), provenance={"method": "$x$", "input": files("$")}), name
    )
    painted(figure)  # mathtext would refuse \frac{
    assert headings(figure) == ["\\[ $\\sqrt{ \\x00", "$x$, band $\\frac{$ _x^\\x1b[31m\\n\\u202e"]
    title = figure.legends[0].get_title()
    assert title.get_text().startswith("$\\frac{$ _x^\\x1b[31m\\n\\u202e ($m^2$)\n")
    assert not title.get_parse_math()
    painted(plot_map(make_map((band, SLOPE), row(1, 2), row(1, 2)), [name, "slope"], classes="continuous"))


def test_legends_name_band_and_unit_where_there_are_limits() -> None:
    map_ = trend_map()
    assert key_title(plot_map(map_)).splitlines()[0] == "slope"
    assert key_title(plot_map(map_, classes="quintile")).splitlines()[0] == "slope (per year)"
    year = make_map((pw.Band("year", unit="year", kind="time"),), row(2001.5, 2003))
    assert key_title(plot_map(year)).splitlines()[0] == "year"
    metres = make_map((pw.Band("b", unit="m/decade", kind="change"),), row(1))
    assert key_title(plot_map(metres)).splitlines()[0] == "b (m/decade)"


def test_several_bands_share_a_title_and_name_themselves() -> None:
    provenance = {"method": "ols", "input": YEARS | files("ndvi_1.tif")}
    figure = plot_map(trend_map(provenance=provenance), ["slope", "pvalue"])
    assert headings(figure) == ["NDVI, 1995 to 2015", "ols; 2 layers"]
    assert key_title(figure, 0).splitlines()[:2] == ["Change per year", "slope"]
    assert key_title(figure, 1).splitlines()[:2] == ["Two-sided p-value of no trend", "pvalue"]
