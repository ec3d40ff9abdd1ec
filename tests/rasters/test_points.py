"""Points: tables of them, and the pixels in which they lie."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyproj
import pytest
from affine import Affine
from rasterio.crs import CRS

import pixelwise as pw
from pixelwise.grid import Grid, Places
from pixelwise.rasters.points import Point, centre_of, pixel_at, read_points

WGS = "EPSG:4326"
UTM = Grid(CRS.from_epsg(32636), Affine(30, 0, 819105, 0, -30, 832185), 143, 148)
DEGREES = Grid(CRS.from_epsg(4326), Affine(0.5, 0, 0, 0, -0.5, 90), 360, 720)


def test_a_pixel_owns_its_upper_and_left_edges() -> None:
    assert pixel_at(UTM, Point(819105, 832185)) == (0, 0)
    assert pixel_at(UTM, Point(819134.999, 832155.001)) == (0, 0)
    assert pixel_at(UTM, Point(819135, 832155)) == (1, 1)
    assert centre_of(UTM, 1, 1) == (819150, 832140)
    with pytest.raises(pw.ParameterError, match="lies outside"):
        pixel_at(UTM, Point(819105 + 148 * 30, 832185))


def test_points_in_degrees_lie_where_pyproj_says() -> None:
    to_utm = pyproj.Transformer.from_crs(4326, 32636, always_xy=True)
    random = np.random.default_rng(3)
    for row, col in random.integers((143, 148), size=(30, 2)).tolist():
        x, y = centre_of(UTM, row, col)
        lon, lat = to_utm.transform(x + random.uniform(-14, 14), y + random.uniform(-14, 14), direction="INVERSE")
        assert pixel_at(UTM, Point(lon, lat, "EPSG:4326")) == (row, col)


def test_longitudes_are_counted_from_0_or_from_minus_180() -> None:
    assert pixel_at(DEGREES, Point(-150.2, 10)) == pixel_at(DEGREES, Point(209.8, 10)) == (160, 419)


def test_a_point_outside_names_both_extents_and_what_was_swapped() -> None:
    with pytest.raises(pw.ParameterError) as refused:
        pixel_at(UTM, Point(7.5, 35.9, "EPSG:4326", "plot 3"))
    text = str(refused.value)
    assert text.startswith("point plot 3 (7.5, 35.9 in EPSG:4326) lies outside the rasters, which cover x 35.8")
    assert "in EPSG:4326; that is x 819105 to 823545, y 827895 to 832185 in EPSG:32636; (35.9, 7.5) would be" in text
    with pytest.raises(pw.ParameterError) as refused:
        pixel_at(UTM, Point(0, 0))
    assert str(refused.value) == (
        "point (0, 0) lies outside the rasters, which cover x 819105 to 823545, y 827895 to 832185 in EPSG:32636"
    )


def test_a_crs_that_is_unknown_or_missing() -> None:
    with pytest.raises(pw.ParameterError, match="crs 'EPSG:1' is no known CRS: PROJ has no such code"):
        pixel_at(UTM, Point(0, 0, "EPSG:1"))
    bare = Grid(None, UTM.transform, 4, 4)
    assert pixel_at(bare, Point(819140, 832100)) == (2, 1)
    with pytest.raises(pw.ParameterError, match="the rasters have no CRS"):
        pixel_at(bare, Point(0, 0, "EPSG:4326"))
    with pytest.raises(pw.ParameterError, match="expected two finite numbers"):
        Point(np.nan, 0)


def test_pixels_without_a_regular_grid() -> None:
    lat, lon = np.degrees(np.arcsin(np.linspace(0.9, -0.9, 7))), np.arange(5.0, 360, 10)
    gaussian = Grid(CRS.from_epsg(4326), Affine.identity(), 7, 36, Places(lat, lon, {}, {}, "latitudes are uneven"))
    for row, col in ((0, 0), (3, 17), (6, 35)):
        assert centre_of(gaussian, row, col) == (lon[col], lat[row])
        assert pixel_at(gaussian, Point(lon[col] + 2, lat[row] + 1)) == (row, col)
    assert pixel_at(gaussian, Point(lon[34] - 360, lat[2])) == (2, 34)
    with pytest.raises(pw.ParameterError, match=r"cover x 5 to 355, y -64.158067 to 64.158067"):
        pixel_at(gaussian, Point(5, 85))
    x, y = np.meshgrid(np.arange(4.0), np.arange(3.0))
    turned = Grid(None, Affine.identity(), 3, 4, Places(y + x / 10, x - y / 10, {}, {}, "it is curvilinear"))
    assert pixel_at(turned, Point(float(x[2, 1] - 0.2), 2.1)) == (2, 1)
    assert centre_of(turned, 2, 1) == (0.8, 2.1)
    with pytest.raises(pw.ParameterError, match="lies outside"):
        pixel_at(turned, Point(9, 9))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("x,y\n1,2\n3,4.5\n", [Point(1, 2, None, "1"), Point(3, 4.5, None, "2")]),
        ("\ufeffName;LON;Lat;z\nA b;-1e1;2;\n\n;3;4;x\n", [Point(-10, 2, WGS, "A b"), Point(3, 4, WGS, "2")]),
        ("id\tlatitude\tlongitude\n7\t1\t2\n", [Point(2, 1, "EPSG:4326", "7")]),
        ('name,x,y\n"a, b",1,2\n', [Point(1, 2, None, "a, b")]),
    ],
)  # fmt: skip
def test_tables(tmp_path: Path, text: str, expected: list[Point]) -> None:
    path = tmp_path / "plots.csv"
    path.write_text(text, encoding="utf-8")
    assert list(read_points(path)) == expected
    assert {point.crs for point in read_points(path, "EPSG:3035")} == {"EPSG:3035"}


def test_bad_tables(tmp_path: Path) -> None:
    path = tmp_path / "plots.csv"
    for text, problem in (
        ("", "plots.csv: has the columns ''; expected x and y, or lon and lat"),
        ("a,b\n1,2\n", "plots.csv: has the columns 'a,b'; expected x and y, or lon and lat"),
        ("x,y\n", "plots.csv: has no points below its header"),
        ("x,y\n1,2\n1,z\n3\nnan,1\n", "plots.csv: line 3: '1,z' has no numbers in x and y"),
    ):
        path.write_text(text)
        with pytest.raises(pw.InputError) as refused:
            read_points(path)
        assert refused.value.problems[0] == f"{tmp_path}/{problem}"
    assert len(refused.value.problems) == 3
