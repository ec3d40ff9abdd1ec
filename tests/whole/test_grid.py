"""Grids and blocks."""

from __future__ import annotations

import pickle

import pytest
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st
from rasterio.crs import CRS

from pixelwise.crs import crs_name, crs_remedy, same_crs
from pixelwise.errors import InputError, ParameterError
from pixelwise.grid import Block, Grid

UTM = CRS.from_epsg(32617)
GRID = Grid(UTM, Affine(30, 0, 500000, 0, -30, 3400000), 853, 856)


@given(st.integers(1, 60), st.integers(1, 60))
def test_blocks_cover_every_pixel_once(height: int, width: int) -> None:
    grid = Grid(UTM, GRID.transform, 53, 56)
    blocks = list(grid.blocks(height, width))
    assert sum(block.pixels for block in blocks) == 53 * 56
    assert len({(block.row, block.col) for block in blocks}) == len(blocks)
    assert all(block.intersection(grid.block) == block for block in blocks)


@pytest.mark.parametrize("size", [(0, 5), (5, 0), (-1, 3)])
def test_a_block_has_pixels(size: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="at least one pixel"):
        Block(0, 0, *size)
    with pytest.raises(ValueError, match="at least one pixel"):
        Grid(None, Affine.identity(), *size)


def test_a_flat_transform_is_refused() -> None:
    with pytest.raises(InputError, match="no area"):
        Grid(UTM, Affine(0, 0, 0, 0, -30, 0), 3, 3)


def test_intersection_and_padding() -> None:
    block = Block(10, 20, 30, 40)
    assert block.pad(2) == Block(8, 18, 34, 44)
    assert block.intersection(Block(39, 59, 5, 5)) == Block(39, 59, 1, 1)
    assert block.intersection(Block(40, 20, 5, 5)) is None
    assert block.shift(-10, -20) == Block(0, 0, 30, 40)


def test_crop_keeps_coordinates() -> None:
    part = GRID.crop(Block(100, 50, 10, 20))
    assert part.transform @ (0, 0) == GRID.transform @ (50, 100)
    assert GRID.offset(part) == (100, 50)
    assert (part.height, part.width, part.crs) == (10, 20, UTM)


def test_bounds() -> None:
    assert GRID.bounds == (500000, 3400000 - 853 * 30, 500000 + 856 * 30, 3400000)


@pytest.mark.parametrize(
    ("bounds", "block"),
    [
        (GRID.bounds, GRID.block),
        ((500030, 3399940, 500090, 3400000), Block(0, 1, 2, 2)),  # pixel edges: no further pixel
        ((500031, 3399941, 500089, 3399999), Block(0, 1, 2, 2)),  # touched pixels
        ((500031, 3399999, 500032, 3399999.5), Block(0, 1, 1, 1)),
        ((0, 0, 500001, 9e6), Block(0, 0, 853, 1)),
    ],
)
def test_bounds_choose_the_pixels_they_touch(bounds: tuple[float, ...], block: Block) -> None:
    assert GRID.block_of_bounds(bounds) == block  # type: ignore[arg-type]


def test_bounds_on_a_grid_with_south_up() -> None:
    grid = Grid(UTM, Affine(1, 0, 0, 0, 1, 0), 10, 10)
    assert grid.block_of_bounds((2, 3, 4, 6)) == Block(3, 2, 3, 2)


@pytest.mark.parametrize(("bounds", "message"), [((5, 5, 5, 6), "empty"), ((0, 0, 1, 1), "outside")])
def test_impossible_bounds(bounds: tuple[float, ...], message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        GRID.block_of_bounds(bounds)  # type: ignore[arg-type]


def moved(dx: float) -> Grid:
    return Grid(UTM, Affine(30, 0, 500000 + dx, 0, -30, 3400000), 853, 856)


def test_corners_may_be_off_by_a_hundredth_of_a_pixel() -> None:
    assert GRID.differences(moved(0.29)) == []
    assert "off by 0.0103 pixels" in GRID.differences(moved(0.31))[0]


def test_a_drifting_pixel_size_is_found_at_the_far_corner() -> None:
    other = Grid(UTM, Affine(30.001, 0, 500000, 0, -30, 3400000), 853, 856)
    assert "off by 0.0285 pixels" in GRID.differences(other)[0]


def test_all_differences_are_named_with_both_values() -> None:
    other = Grid(CRS.from_epsg(4326), Affine(0.1, 0, 0, 0, -0.1, 0), 5, 6)
    words = "; ".join(GRID.differences(other))
    assert "CRS EPSG:4326 instead of EPSG:32617" in words
    assert "size 6 x 5 instead of 856 x 853" in words
    assert "transform (0.1, 0, 0, 0, -0.1, 0) instead of (30, 0, 500000, 0, -30, 3400000)" in words


def test_crs_spelt_in_two_ways_is_one() -> None:
    other = Grid(CRS.from_wkt(UTM.to_wkt(version="WKT2_2019")), GRID.transform, 853, 856)
    assert GRID.differences(other) == []
    bare = Grid(None, GRID.transform, 853, 856)
    assert GRID.differences(bare) == ["no CRS instead of EPSG:32617"]
    assert bare.differences(GRID) == ["CRS EPSG:32617 instead of none"]


LAEA = CRS.from_epsg(3035).to_wkt()
METRE = 'UNIT["metre",1,AUTHORITY["EPSG","9001"]]'


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("EPSG:3035", "IGNF:ETRS89LAEA"),
        ("EPSG:3034", "IGNF:ETRS89LCC"),
        ("EPSG:25833", "IGNF:UTM33ETRS89"),
        ("EPSG:32632", "IGNF:UTM32W84"),
        ("EPSG:4258", "IGNF:ETRS89G"),
        ("EPSG:2154", "IGNF:LAMB93"),  # standard parallels in the other order
        ("ESRI:54009", "+proj=moll +datum=WGS84"),
        (LAEA, LAEA.replace("ETRS89-extended / LAEA Europe", "unnamed").replace(',AUTHORITY["EPSG","3035"]', "")),
        (LAEA, LAEA.replace(METRE, 'UNIT["Meter",1]').replace("298.257222101", "298.257222101004")),
    ],
)
def test_names_and_authorities_do_not_make_another_crs(one: str, other: str) -> None:
    first, second = CRS.from_user_input(one), CRS.from_user_input(other)
    assert same_crs(first, second)
    assert same_crs(second, first)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("EPSG:25833", "EPSG:26933"),  # ETRS89 and NAD83: one ellipsoid, two datums
        ("EPSG:4258", "EPSG:4269"),
        ("EPSG:25833", "EPSG:32633"),
        ("IGNF:UTM33ETRS89", "EPSG:32633"),
        ("IGNF:ETRS89LAEA", "EPSG:3034"),
        ("IGNF:ETRS89LAEA", "EPSG:4258"),
        ("EPSG:2263", "EPSG:32118"),  # feet and metres
        ("EPSG:3857", "EPSG:3395"),
        ("EPSG:4326", "EPSG:4979"),  # with heights
        ("EPSG:4807", "EPSG:4275"),  # from Paris in grads, from Greenwich in degrees
        (LAEA, LAEA.replace("4321000", "4321000.5")),
        (LAEA, LAEA.replace(METRE, 'UNIT["foot",0.3048]')),
        (LAEA, LAEA.replace(METRE, 'UNIT["US survey foot",0.304800609601219]')),
        (LAEA, LAEA.replace('AXIS["Northing",NORTH]', 'AXIS["Southing",SOUTH]')),
        (LAEA, LAEA.replace('"Greenwich",0,AUTHORITY["EPSG","8901"]', '"Paris",2.33722917')),
        (LAEA, LAEA.replace("298.257222101", "298.257223563").replace("7019", "7030")),
        (LAEA, LAEA.replace("European_Terrestrial_Reference_System_1989", "X").replace("6258", "6269")),
    ],
)
def test_datum_units_axes_and_numbers_make_another_crs(one: str, other: str) -> None:
    without_code = other.replace(',AUTHORITY["EPSG","3035"]', "")
    assert one != without_code
    assert not same_crs(CRS.from_user_input(one), CRS.from_user_input(without_code))
    assert not same_crs(CRS.from_user_input(without_code), CRS.from_user_input(one))


def test_a_shift_by_nothing_to_wgs_84_is_none_but_a_real_one_is() -> None:
    text = "+proj=laea +lat_0=52 +lon_0=10 +ellps=GRS80 +units=m"
    crs = [CRS.from_user_input(f"{text} +towgs84={shift}") for shift in ("0,0,0", "0,0,0,0,0,0,0", "1,0,0")]
    assert not same_crs(crs[0], crs[2])
    assert not same_crs(crs[1], crs[2])


NAMED = f'PROJCS["MODIS Sinusoidal",{CRS.from_user_input("+proj=sinu +R=6371007.181").to_wkt().split(",", 1)[1]}'


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("EPSG:3035", "EPSG:3035"),
        (NAMED, "MODIS Sinusoidal"),
        ("+proj=sinu +R=6371007.181 +units=m", "+proj=sinu +lon_0=0 +x_0=0 +y_0=0 +R=6371007.181 +units=m"),
        ("+proj=longlat +R=6370000", "+proj=longlat +R=6370000"),
    ],
)
def test_a_crs_has_a_name_and_only_a_code_is_an_option(text: str, name: str) -> None:
    crs = CRS.from_user_input(text)
    assert crs_name(crs) == name
    assert CRS.from_user_input(name if name.startswith(("+", "EPSG")) else text) == crs
    given = "give --crs EPSG:3035, or write" if name.startswith("EPSG") else "give it with --crs, or write"
    assert given in crs_remedy("a.tif", crs, option=True)


def test_pickle() -> None:
    for grid in (GRID, Grid(None, Affine.identity(), 2, 3)):
        assert pickle.loads(pickle.dumps(grid)) == grid
