"""What classes cover: pixels, and square kilometres cell by cell."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest
from affine import Affine
from pyproj import CRS, Geod, Transformer

import pixelwise as pw
from pixelwise.grid import Block
from pixelwise.pictures.choosing import scheme_of
from pixelwise.pictures.picture import plot_map
from pixelwise.pictures.tally import tally_of
from support.drawn import NAN, PVALUE, SLOPE, key_title, make_map, row

SINUSOIDAL = "+proj=sinu +R=6371007.181 +units=m"
#: CRS, pixels of a few kilometres.
GRIDS = {
    "geographic": ("EPSG:4326", Affine(0.05, 0, 20, 0, -0.05, 68)),
    "utm": ("EPSG:32633", Affine(2000, 0, 420000, 0, -2000, 7500000)),
    "sinusoidal": (SINUSOIDAL, Affine(4633.127, 0, -5559752, 0, -4633.127, 3335851)),
    "polar": ("EPSG:3413", Affine(5000, 0, -300000, 0, -5000, -1800000)),
    "web mercator": ("EPSG:3857", Affine(4000, 0, 1500000, 0, -4000, 9000000)),
}


def by_geod(crs: str, transform: Affine, shape: tuple[int, int]) -> Any:
    """Return the km2 of each pixel as polygons of geodesics with 60 points along each edge."""
    system = CRS.from_user_input(crs)
    ellipsoid = system.ellipsoid
    geod = Geod(a=ellipsoid.semi_major_metre, b=ellipsoid.semi_minor_metre)
    to_degrees = Transformer.from_crs(system, system.geodetic_crs, always_xy=True)
    steps = np.arange(60) / 60
    ring = [(0 * steps, steps), (steps, 0 * steps + 1), (0 * steps + 1, 1 - steps), (1 - steps, 0 * steps)]
    down, right = (np.concatenate(parts) for parts in zip(*ring, strict=True))
    found = np.empty(shape)
    for line, col in np.ndindex(shape):
        x = transform.c + transform.a * (col + right)
        y = transform.f + transform.e * (line + down)
        found[line, col] = abs(geod.polygon_area_perimeter(*to_degrees.transform(x, y))[0]) / 1e6
    return found


@pytest.mark.parametrize("name", GRIDS)
def test_areas_equal_geod_cell_by_cell(name: str) -> None:
    crs, transform = GRIDS[name]
    shape = (11, 13)
    # Each pixel is a class of its own: what the tally gives for a class is the area of one cell.
    numbers = np.arange(shape[0] * shape[1], dtype=np.int32).reshape(shape)
    map_ = make_map((pw.Band("cell", integer=True, kind="code"),), numbers, crs=crs, transform=transform)
    scheme = scheme_of(map_)
    tally = tally_of(map_, scheme)
    assert tally.km2 is not None
    order = [int(one.label.split(" ")[0]) for one in scheme.classes]
    expected = by_geod(crs, transform, shape).ravel()[order]
    assert np.abs(tally.km2 / expected - 1).max() < 1e-6
    assert tally.shares == pytest.approx(expected / expected.sum(), rel=1e-6)


def test_where_nothing_is_tested_no_share_is_one_of_tests() -> None:
    constant = make_map((SLOPE, PVALUE), np.zeros((2, 2)), np.full((2, 2), NAN), status=[[3, 3], [3, 3]])
    tally = tally_of(constant, scheme_of(constant))
    assert tally.pixels.tolist() == [0, 4, 0, 0, 0, 0, 0]
    assert tally.pixels[tally.tested].sum() == 0
    assert np.array_equal(tally.shares_of_tested, [NAN, NAN, 0, 0, 0, 0, 0], equal_nan=True)
    tally = tally_of(constant, scheme_of(constant, classes="-1,1"))
    assert np.isnan(tally.shares_of_tested).all()
    assert not tally.tested.any()


def test_shares_of_what_is_tested_of_values_and_of_the_region() -> None:
    slope = np.array([[1.0, 1, -1, 2, NAN, NAN]])
    pvalue = np.array([[0.01, NAN, 0.5, 0.5, NAN, NAN]])
    map_ = make_map((SLOPE, PVALUE), slope, pvalue, status=[[0, 6, 0, 0, 1, 9]], crs=None)
    tally = tally_of(map_, scheme_of(map_))
    assert tally.pixels.tolist() == [1, 0, 0, 1, 0, 1, 1]  # not tested, constant, decreases, no change, increases
    assert np.array_equal(tally.shares_of_tested, [NAN, NAN, 0, 1 / 3, 0, 1 / 3, 1 / 3], equal_nan=True)
    assert tally.shares.tolist() == [1 / 4, 0, 0, 1 / 4, 0, 1 / 4, 1 / 4]
    assert tally.shares_of_region.tolist() == [1 / 5, 0, 0, 1 / 5, 0, 1 / 5, 1 / 5]
    assert (tally.missing_pixels, tally.missing) == (1, 1 / 5)
    assert tally.km2 is None


def test_nothing_is_no_share() -> None:
    map_ = make_map((SLOPE, PVALUE), row(NAN), row(NAN), status=[[9]])
    tally = tally_of(map_, scheme_of(map_))
    assert (tally.shares.sum(), tally.shares_of_region.sum(), tally.missing) == (0, 0, 0)
    assert np.nansum(tally.shares_of_tested) == 0


def test_blocks_are_counted_once_each() -> None:
    map_ = make_map((SLOPE, PVALUE), np.ones((1500, 1100)), np.zeros((1500, 1100)))
    seen: list[Block] = []
    tally = tally_of(map_, scheme_of(map_), lambda block, codes: seen.append(block))
    assert len(seen) == 4
    assert tally.pixels.sum() == sum(block.height * block.width for block in seen) == 1500 * 1100


def test_without_pyproj_shares_are_those_of_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyproj", None)
    figure = plot_map(make_map((SLOPE, PVALUE), row(1, NAN), row(0.5, NAN)))
    assert key_title(figure) == "slope\nshare of the pixels with values"
    assert not figure.axes[0].texts  # nor is there a scale bar
