"""Areas of pixels against pyproj.Geod, which sums geodesics around each pixel."""

from __future__ import annotations

import time

import numpy as np
import pyproj
import pytest
from affine import Affine
from rasterio.crs import CRS

from pixelwise.bands import Floats
from pixelwise.errors import ParameterError
from pixelwise.grid import Block, Grid
from pixelwise.rasters.cell_areas import CellAreas

#: The area of the WGS 84 ellipsoid in square kilometres (NIMA TR8350.2; 510 065 621.724 by its closed form).
EARTH = 510_065_621.724

SINUSOIDAL = "+proj=sinu +R=6371007.181 +units=m"
ALBERS = "EPSG:5070"
DEGREES = Affine(0.25, 0, -30, 0, -0.25, 60)


def grid_of(crs: str, transform: Affine, height: int = 400, width: int = 500) -> Grid:
    return Grid(CRS.from_user_input(crs), transform, height, width)


GRIDS = {
    "geographic": grid_of("EPSG:4326", DEGREES, 240),
    "geographic, fine": grid_of("EPSG:4326", Affine(0.00025, 0, 12, 0, -0.00025, 47)),
    "GRS 80": grid_of("EPSG:4258", DEGREES, 240),
    "grads": grid_of("EPSG:4807", Affine(0.01, 0, 2, 0, -0.01, 54)),
    "UTM 30 m": grid_of("EPSG:32633", Affine(30, 0, 4e5, 0, -30, 5.6e6)),
    "UTM 1 km, far from its meridian": grid_of("EPSG:32633", Affine(1000, 0, 9e5, 0, -1000, 5.6e6)),
    "sinusoidal (MODIS, 463 m)": grid_of(
        SINUSOIDAL, Affine(463.312716528, 0, -6671703.118, 0, -463.312716528, -1111950.519667)
    ),
    "polar": grid_of("EPSG:3413", Affine(1000, 0, -2e5, 0, -1000, 2e5)),
    "Web Mercator": grid_of("EPSG:3857", Affine(300, 0, 1e6, 0, -300, 8e6)),
    "Albers": grid_of(ALBERS, Affine(500, 0, -1e5, 0, -500, 2e6)),
    "rotated": grid_of("EPSG:32633", Affine(30, 0, 4e5, 0, -30, 5.6e6) @ Affine.rotation(30)),
    "rotated, geographic": grid_of("EPSG:4326", Affine(0.01, 0, 5, 0, -0.01, 50) @ Affine.rotation(20)),
    "south up": grid_of("EPSG:32633", Affine(30, 0, 4e5, 0, 30, 5.2e6)),
    "sphere": grid_of("+proj=longlat +R=6370997", DEGREES, 240),
    "coarse climate model": grid_of("EPSG:4326", Affine(2.5, 0, -180, 0, -2.5, 90), 72, 144),
}

#: A geodesic between two points of a parallel runs poleward of it: edges are cut into this many.
CUT = {"geographic": 400, "coarse climate model": 6000, "GRS 80": 400, "sphere": 400}


def geodesic_area(grid: Grid, row: int, col: int, parts: int) -> float:
    """Return the area of a pixel in km2 by pyproj's geodesics between points along its edges."""
    crs = pyproj.CRS.from_wkt(grid.crs.to_wkt())
    steps = np.arange(parts) / parts
    zero, one = np.zeros(parts), np.ones(parts)
    right = np.concatenate([steps, one, 1 - steps, zero])
    down = np.concatenate([zero, steps, one, 1 - steps])
    x, y = grid.transform @ (col + right, row + down)
    to_degrees = pyproj.Transformer.from_crs(crs, crs.geodetic_crs, always_xy=True)
    lon, lat = (np.asarray(axis) for axis in to_degrees.transform(x, y))
    unit = np.degrees(crs.geodetic_crs.axis_info[0].unit_conversion_factor)
    ellipsoid = crs.ellipsoid
    geod = pyproj.Geod(a=ellipsoid.semi_major_metre, b=ellipsoid.semi_minor_metre)
    return abs(geod.polygon_area_perimeter(lon * unit, lat * unit)[0]) / 1e6


def pixels(grid: Grid, count: int = 12) -> list[tuple[int, int]]:
    """Return some pixels at random, and the corners."""
    random = np.random.default_rng(5)
    rows, cols = random.integers(0, grid.height, count), random.integers(0, grid.width, count)
    corners = [(0, 0), (0, grid.width - 1), (grid.height - 1, 0), (grid.height - 1, grid.width - 1)]
    return [*zip(rows.tolist(), cols.tolist(), strict=True), *corners]


@pytest.mark.parametrize("name", GRIDS)
def test_areas_are_those_of_geodesics(name: str) -> None:
    grid = GRIDS[name]
    areas = CellAreas(grid).of(grid.block)
    assert areas.shape == (grid.height, grid.width)
    for row, col in pixels(grid):
        assert areas[row, col] == pytest.approx(geodesic_area(grid, row, col, CUT.get(name, 40)), rel=1e-6)


@pytest.mark.parametrize("name", ["UTM 1 km, far from its meridian", "polar", "geographic", "rotated"])
def test_the_area_of_a_pixel_does_not_depend_on_the_block(name: str) -> None:
    grid = GRIDS[name]
    whole = CellAreas(grid).of(grid.block)
    for block in (Block(3, 5, 1, 1), Block(17, 30, 40, 9), Block(100, 0, 64, 500)):
        np.testing.assert_allclose(CellAreas(grid).of(block), whole[block.slices], rtol=2e-8)


def total(areas: Floats) -> float:
    return float(areas.sum())


def test_the_whole_world_has_the_area_of_the_ellipsoid() -> None:
    by_corners = grid_of("EPSG:4326", Affine(0.5, 0, -180, 0, -0.5, 90), 360, 720)
    assert total(CellAreas(by_corners).of(by_corners.block)) == pytest.approx(EARTH, rel=1e-11)
    # Rows of pixel centres at -90, -87.5, ... 90 reach half a pixel beyond the poles.
    by_centres = grid_of("EPSG:4326", Affine(2.5, 0, -1.25, 0, -2.5, 91.25), 73, 144)
    areas = CellAreas(by_centres).of(by_centres.block)
    assert total(areas) == pytest.approx(EARTH, rel=1e-11)
    assert 0 < areas[0, 0] < areas[1, 0] / 2


def test_pixels_beyond_the_world_have_no_area() -> None:
    """A sinusoidal map of the world is a rectangle of which the corners are empty."""
    size = 6371007.181 * np.pi
    width, height = 720, 360
    grid = grid_of(SINUSOIDAL, Affine(2 * size / width, 0, -size, 0, -size / height, size / 2), height, width)
    areas = CellAreas(grid).of(grid.block)
    assert (areas[:20, :200] == 0).all()
    assert (areas[:20, -200:] == 0).all()
    # The projection keeps areas: each pixel that lies within it entirely has the same, apart from its curved edges.
    whole = areas[170:190, 20:-20]
    np.testing.assert_allclose(whole, (size / 360) ** 2 / 1e6, rtol=1e-6)
    # Pixels that the edge of the world cuts are left out: 1.6 % here.
    assert total(areas) == pytest.approx(4 * np.pi * 6371.007181**2, rel=0.02)


def test_a_cylindrical_map_goes_on_beyond_the_antimeridian() -> None:
    half = 6378137.0 * np.pi
    grid = grid_of("EPSG:3857", Affine(20_000, 0, half - 400_000, 0, -20_000, 8e6), 30, 40)
    areas = CellAreas(grid).of(grid.block)
    assert (areas > 0).all()
    np.testing.assert_allclose(areas, np.broadcast_to(areas[:, :1], areas.shape), rtol=1e-9)


def test_grids_without_a_place_on_earth_have_no_areas() -> None:
    nowhere = Grid(None, Affine(1, 0, 0, 0, -1, 0), 3, 4)
    local = grid_of('LOCAL_CS["lab",UNIT["metre",1]]', Affine(1, 0, 0, 0, -1, 0), 3, 4)
    for grid, why in ((nowhere, "no coordinate reference system"), (local, "not on the Earth")):
        areas = CellAreas(grid)
        assert not areas.known
        assert why in areas.why_unknown
        with pytest.raises(ParameterError, match=why):
            areas.of(grid.block)


@pytest.mark.long
@pytest.mark.parametrize("crs", ["EPSG:32633", "EPSG:4326", "EPSG:3413"])
def test_speed_of_a_large_grid(crs: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Print how long the areas of 20 000 x 20 000 pixels take, block by block."""
    transform = Affine(0.001, 0, 5, 0, -0.001, 55) if crs == "EPSG:4326" else Affine(30, 0, 2e5, 0, -30, 6e6)
    grid = grid_of(crs, transform, 20_000, 20_000)
    areas, began, found = CellAreas(grid), time.perf_counter(), 0.0
    for block in grid.blocks(1024, 1024):
        found += total(areas.of(block))
    with capsys.disabled():
        print(f" {crs}: {time.perf_counter() - began:.1f} s for {grid.block.pixels / 1e6:.0f} million pixels")
    assert found > 0
